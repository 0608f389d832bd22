//! What visitors and agents do in a conversation that is open, and the webhooks Crisp sends about it, in its order.

use serde_json::{Value as Json, json};

use super::{
    emit::Happening,
    labels::LabelEdit,
    state::{Author, Message, State},
};

impl State {
    pub(super) fn visitor_message(&mut self, session: &str, text: &str, now: i64) -> bool {
        let Some(conversation) = self.conversation(session) else {
            return false;
        };
        let email = conversation.email.clone();
        self.visitor_message_as(session, text, email.as_deref(), now);
        true
    }

    /// A message from the visitor; it reopens what was resolved.
    pub(super) fn visitor_message_as(
        &mut self,
        session: &str,
        text: &str,
        email: Option<&str>,
        now: i64,
    ) {
        let Some(conversation) = self.conversation_mut(session) else {
            return;
        };
        conversation.messages.push(Message {
            from: "user",
            text: text.to_owned(),
            at: now,
        });
        conversation.updated_at = now;
        let reopened = conversation.state == "resolved";
        if reopened {
            "unresolved".clone_into(&mut conversation.state);
        }
        let by_email = conversation.origin == "email";
        let extra = json!({
            "type": "text",
            "from": "user",
            "origin": conversation.origin,
            "content": text,
            "fingerprint": now.saturating_mul(100).saturating_add(i64::try_from(conversation.messages.len()).unwrap_or(0)),
            "timestamp": now,
            "stamped": true,
            "user": {
                "type": "website",
                "nickname": conversation.nickname.clone().unwrap_or_else(|| "Visitor".to_owned()),
                // An e-mail conversation names its visitor by address.
                "user_id": email.filter(|_| by_email).unwrap_or(session),
            },
        });
        self.emit_session(session, "message:send", extra, Author::Visitor, now);
        if reopened {
            let extra = json!({"state": "unresolved"});
            self.emit_session(session, "session:set_state", extra, Author::Visitor, now);
        }
    }

    /// An agent's answer. Not every plugin is told of it.
    pub(super) fn agent_answer(&mut self, session: &str, text: &str, now: i64) -> bool {
        let Some(conversation) = self.conversation_mut(session) else {
            return false;
        };
        conversation.messages.push(Message {
            from: "operator",
            text: text.to_owned(),
            at: now,
        });
        conversation.updated_at = now;
        let extra = json!({
            "type": "text",
            "from": "operator",
            "origin": "chat",
            "content": text,
            "timestamp": now,
        });
        self.emit_session(session, "message:received", extra, Author::Agent, now);
        true
    }

    /// The website of a conversation or contact; the first one otherwise.
    pub(super) fn website_of(&self, session: Option<&str>, people: Option<&str>) -> String {
        let of_session = session
            .and_then(|session| self.conversation(session))
            .map(|conversation| &conversation.website);
        let of_people = people
            .and_then(|people| self.contact(people))
            .map(|contact| &contact.website);
        of_session
            .or(of_people)
            .or(self.websites.first().map(|website| &website.website_id))
            .cloned()
            .unwrap_or_default()
    }

    pub(super) fn operator_opens(&mut self, session: &str, now: i64) -> bool {
        let found = self.conversation(session).is_some();
        self.mark_opening(session, Author::Agent, None, now);
        let extra = json!({"operator": {"user_id": "6b1f0d52-3a5e-4c0c-9a51-0c8c3e7d2f10", "nickname": "Sam"}});
        self.emit_session(session, "session:set_opened", extra, Author::Agent, now);
        found
    }

    pub(super) fn operator_starts(&mut self, session: &str, now: i64) -> bool {
        let found = self.conversation(session).is_some();
        self.emit_session(
            session,
            "session:request:initiated",
            Json::Null,
            Author::Agent,
            now,
        );
        found
    }

    pub(super) fn set_state(&mut self, session: &str, to: &str, author: Author, now: i64) -> bool {
        let Some(conversation) = self.conversation_mut(session) else {
            return false;
        };
        to.clone_into(&mut conversation.state);
        conversation.updated_at = now;
        self.emit_session(
            session,
            "session:set_state",
            json!({"state": to}),
            author,
            now,
        );
        true
    }

    pub(super) fn edit_session(
        &mut self,
        session: &str,
        edit: LabelEdit,
        author: Author,
        now: i64,
    ) -> bool {
        let Some(conversation) = self.conversation_mut(session) else {
            return false;
        };
        let (data, segments) = conversation.labels.edit(edit, author);
        self.tell_labels(session, data, segments, author, now);
        true
    }

    /// The webhooks about changed labels, and the flow of session data into the contact where that is switched on.
    pub(super) fn tell_labels(
        &mut self,
        session: &str,
        data: bool,
        segments: bool,
        author: Author,
        now: i64,
    ) {
        let Some(conversation) = self.conversation_mut(session) else {
            return;
        };
        conversation.updated_at = now;
        let (all_data, all_segments) = (
            conversation.labels.data.clone(),
            conversation.labels.segments.clone(),
        );
        let people = conversation.people_id.clone();
        if data {
            let extra = json!({"data": all_data});
            self.emit_session(session, "session:set_data", extra, author, now);
            if let Some(people) = people.filter(|_| self.behaviour.session_data_flows_into_contacts)
                && let Some(contact) = self.contact_mut(&people)
            {
                contact.labels.set_data(all_data, author);
            }
        }
        if segments {
            let extra = json!({"segments": all_segments});
            self.emit_session(session, "session:set_segments", extra, author, now);
        }
    }

    pub(super) fn remove_conversation(&mut self, session: &str, author: Author, now: i64) -> bool {
        let found = self.conversation(session).is_some();
        self.emit_session(session, "session:removed", Json::Null, author, now);
        self.conversations
            .retain(|conversation| conversation.session_id != session);
        found
    }

    pub(super) fn subscribe(&mut self, website: &str, bound: bool, now: i64) -> bool {
        let Some(found) = self
            .websites
            .iter_mut()
            .find(|known| known.website_id == website)
        else {
            return false;
        };
        found.subscribed = bound;
        let extra =
            json!({"plugin_id": super::rest::PLUGIN_ID, "bound": bound, "target": "website"});
        self.emit(
            Happening {
                website,
                event: "plugin:subscription:updated",
                session: None,
                people: None,
                data: extra,
                cause: Author::Crisp,
            },
            now,
        );
        true
    }
}
