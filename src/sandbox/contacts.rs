//! Contacts: how they come to be, are tied to conversations, change and go.

use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use super::{
    emit::Happening,
    labels::LabelEdit,
    state::{Author, Contact, Labels, State, TimelineEvent},
};

impl State {
    /// Ties a conversation to the contact with its address, which Crisp makes when there is none.
    pub(super) fn bind(&mut self, session: &str, now: i64) {
        let Some(conversation) = self.conversation(session) else {
            return;
        };
        let (Some(email), None) = (conversation.email.clone(), &conversation.people_id) else {
            return;
        };
        let (website, nickname) = (conversation.website.clone(), conversation.nickname.clone());
        let known = self
            .contact_of(&website, &email)
            .map(|contact| contact.people_id.clone());
        let people = match known {
            Some(people) => people,
            None if self.behaviour.creates_contacts => {
                let name = nickname
                    .or_else(|| email.split('@').next().map(str::to_owned))
                    .unwrap_or_default();
                let mut card = Map::new();
                card.insert("person".to_owned(), json!({"nickname": name}));
                self.new_contact(&website, Some(&email), card, Author::Crisp, now)
            }
            None => return,
        };
        self.bind_to(session, &people, now);
    }

    fn bind_to(&mut self, session: &str, people: &str, now: i64) {
        let Some(conversation) = self.conversation_mut(session) else {
            return;
        };
        conversation.people_id = Some(people.to_owned());
        let website = conversation.website.clone();
        self.emit(
            Happening {
                website: &website,
                event: "people:bind:session",
                session: Some(session),
                people: Some(people),
                data: Json::Null,
                cause: Author::Crisp,
            },
            now,
        );
    }

    pub(super) fn new_contact(
        &mut self,
        website: &str,
        email: Option<&str>,
        card: Map<String, Json>,
        author: Author,
        now: i64,
    ) -> String {
        let people_id = Uuid::new_v4().to_string();
        self.contacts.push(Contact {
            website: website.to_owned(),
            people_id: people_id.clone(),
            email: email.map(str::to_owned),
            card,
            labels: Labels::default(),
            events: Vec::new(),
            created_at: now,
            updated_at: now,
        });
        self.emit_contact(&people_id, "people:profile:created", None, author, now);
        if author != Author::Crisp {
            // A contact made by hand or by REST takes in the conversations that were waiting for it.
            let waiting: Vec<String> = self
                .conversations
                .iter()
                .filter(|conversation| {
                    conversation.website == website
                        && conversation.people_id.is_none()
                        && email.is_some()
                        && conversation.email.as_deref() == email
                })
                .map(|conversation| conversation.session_id.clone())
                .collect();
            for session in waiting {
                self.bind_to(&session, &people_id, now);
            }
        }
        people_id
    }

    /// A contact made by hand.
    pub(super) fn make_contact(
        &mut self,
        website: Option<String>,
        email: &str,
        nickname: &str,
        now: i64,
    ) -> String {
        if let Some(known) = self.contact(email) {
            return known.people_id.clone();
        }
        let website = website.unwrap_or_else(|| self.website_of(None, None));
        let mut card = Map::new();
        card.insert("person".to_owned(), json!({"nickname": nickname}));
        self.new_contact(&website, Some(email), card, Author::Agent, now)
    }

    pub(super) fn edit_contact(
        &mut self,
        contact: &str,
        edit: LabelEdit,
        author: Author,
        now: i64,
    ) -> bool {
        let Some(contact) = self.contact_mut(contact) else {
            return false;
        };
        let (_, segments) = contact.labels.edit(edit, author);
        contact.updated_at = now;
        let people = contact.people_id.clone();
        let update = if segments {
            json!({"segments": contact.labels.segments})
        } else {
            json!({})
        };
        self.emit_contact(&people, "people:profile:updated", Some(update), author, now);
        true
    }

    pub(super) fn add_event(&mut self, contact: &str, event: TimelineEvent) -> bool {
        let Some(contact) = self.contact_mut(contact) else {
            return false;
        };
        contact.events.push(event);
        true
    }

    pub(super) fn remove_contact(&mut self, contact: &str, author: Author, now: i64) -> bool {
        let Some(people) = self.contact(contact).map(|found| found.people_id.clone()) else {
            return false;
        };
        self.emit_contact(&people, "people:profile:removed", None, author, now);
        self.contacts.retain(|contact| contact.people_id != people);
        for conversation in &mut self.conversations {
            if conversation.people_id.as_deref() == Some(&people) {
                conversation.people_id = None;
            }
        }
        true
    }
}
