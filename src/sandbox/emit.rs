//! What the world tells the outside: the events behind webhooks.

use serde_json::{Map, Value as Json, json};

use super::{
    journal::{Hook, HookState},
    state::{Author, State},
    wire,
};

/// Something that happened.
#[derive(Debug)]
pub(super) struct Happening<'a> {
    pub(super) website: &'a str,
    pub(super) event: &'a str,
    pub(super) session: Option<&'a str>,
    pub(super) people: Option<&'a str>,
    /// The fields besides the ids.
    pub(super) data: Json,
    pub(super) cause: Author,
}

impl State {
    /// Tells the receiver what happened.
    pub(super) fn emit(&mut self, happening: Happening<'_>, now: i64) {
        let Happening {
            website,
            event,
            session,
            people,
            data: extra,
            cause,
        } = happening;
        let mut data = Map::new();
        data.insert("website_id".to_owned(), json!(website));
        if let Some(session) = session {
            data.insert("session_id".to_owned(), json!(session));
            data.insert("inbox_id".to_owned(), Json::Null);
        }
        if let Some(people) = people {
            data.insert("people_id".to_owned(), json!(people));
        }
        if let Json::Object(extra) = extra {
            data.extend(extra);
        }
        self.hooks.push(Hook {
            number: self.hook_marker() + 1,
            event: event.to_owned(),
            website: website.to_owned(),
            session: session.map(str::to_owned),
            people: people.map(str::to_owned),
            cause,
            body: wire::envelope(website, event, &Json::Object(data), now),
            at: now,
            state: if self.webhook.is_some() {
                HookState::Queued
            } else {
                HookState::NoReceiver
            },
            attempts: Vec::new(),
            not_before: None,
        });
    }

    /// An event about a conversation.
    pub(super) fn emit_session(
        &mut self,
        session_id: &str,
        event: &str,
        extra: Json,
        cause: Author,
        now: i64,
    ) {
        if cause == Author::Service && !self.behaviour.echoes {
            return;
        }
        if let Some(conversation) = self.conversation(session_id) {
            let website = conversation.website.clone();
            self.emit(
                Happening {
                    website: &website,
                    event,
                    session: Some(session_id),
                    people: None,
                    data: extra,
                    cause,
                },
                now,
            );
        }
    }

    /// An event about a contact.
    pub(super) fn emit_contact(
        &mut self,
        people_id: &str,
        event: &str,
        update: Option<Json>,
        cause: Author,
        now: i64,
    ) {
        if cause == Author::Service && !self.behaviour.echoes {
            return;
        }
        let Some(contact) = self.contact(people_id) else {
            return;
        };
        let website = contact.website.clone();
        let mut extra = Map::new();
        if let Some(email) = &contact.email {
            extra.insert("email".to_owned(), json!(email));
        }
        if let Some(Json::Object(mut update)) = update {
            update.insert("updated_at".to_owned(), json!(now));
            extra.insert("update".to_owned(), Json::Object(update));
        }
        self.emit(
            Happening {
                website: &website,
                event,
                session: None,
                people: Some(people_id),
                data: Json::Object(extra),
                cause,
            },
            now,
        );
    }
}
