//! What visitors and agents do, and the webhooks Crisp sends about it, in its order.
//!
//! The order of an opening: `message:send`, `session:set_email`, `session:update_verify`, then what Crisp makes of it:
//! `people:profile:created` for a new address, `people:bind:session`. A browser's own data and segments come last.

use serde::Deserialize;
use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use super::{
    emit::Happening,
    labels::LabelEdit,
    state::{
        Author, Conversation, Labels, Message, Opening, OpeningMark, Seen, State, Verification,
    },
};

/// Somebody opens a chat, anew or again.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OpenChat {
    /// The website; the first one when left out.
    pub website: Option<String>,
    /// An existing conversation that is taken up again.
    pub session_id: Option<String>,
    /// The address the page or the visitor gives.
    pub email: Option<String>,
    /// The visitor's name.
    pub nickname: Option<String>,
    /// Whether the page signed the address.
    pub verified: bool,
    /// `chat` (the default) or `email`.
    pub channel: Option<String>,
    /// The first message; a greeting when left out.
    pub text: Option<String>,
    /// Session data the browser sets.
    pub data: Map<String, Json>,
    /// Segments the browser sets.
    pub segments: Vec<String>,
}

impl OpenChat {
    /// A chat in the website's widget.
    pub fn by(email: &str) -> Self {
        Self {
            email: Some(email.to_owned()),
            ..Self::default()
        }
    }

    /// With a signed address.
    #[must_use]
    pub fn proven(mut self) -> Self {
        self.verified = true;
        self
    }

    /// By e-mail instead.
    #[must_use]
    pub fn by_email_channel(mut self) -> Self {
        self.channel = Some("email".to_owned());
        self
    }

    /// In a conversation that exists.
    #[must_use]
    pub fn again_in(mut self, session_id: &str) -> Self {
        self.session_id = Some(session_id.to_owned());
        self
    }
}

impl State {
    pub(super) fn open_chat(&mut self, open: OpenChat, now: i64) -> String {
        let again = open
            .session_id
            .filter(|session| self.conversation(session).is_some());
        let session = again.unwrap_or_else(|| {
            let website = open.website.unwrap_or_else(|| self.website_of(None, None));
            let origin = open.channel.unwrap_or_else(|| "chat".to_owned());
            self.new_conversation(website, origin, now)
        });
        self.mark_opening(&session, Author::Visitor, open.email.as_deref(), now);
        let text = open
            .text
            .unwrap_or_else(|| "Hello, I have a question about my account.".to_owned());
        if let (Some(nickname), Some(conversation)) =
            (open.nickname, self.conversation_mut(&session))
        {
            conversation.nickname = Some(nickname);
        }
        let origin_email = open.email.clone();
        self.visitor_message_as(&session, &text, origin_email.as_deref(), now);
        if let Some(email) = open.email {
            self.set_email(&session, Some(email), Author::Visitor, now);
            self.set_verified(&session, open.verified, now);
            self.bind(&session, now);
        }
        if !open.data.is_empty() || !open.segments.is_empty() {
            self.edit_session(
                &session,
                LabelEdit {
                    data: open.data,
                    segments: open.segments,
                    ..LabelEdit::default()
                },
                Author::Visitor,
                now,
            );
        }
        session
    }

    pub(super) fn new_conversation(&mut self, website: String, origin: String, now: i64) -> String {
        let session_id = format!("session_{}", Uuid::new_v4());
        self.conversations.push(Conversation {
            website,
            session_id: session_id.clone(),
            people_id: None,
            origin,
            state: "pending".to_owned(),
            nickname: None,
            email: None,
            is_verified: false,
            verifications: Vec::new(),
            labels: Labels::default(),
            metas: Map::new(),
            messages: Vec::new(),
            created_at: now,
            updated_at: now,
            opening: Opening::default(),
            openings: Vec::new(),
        });
        session_id
    }

    /// Notes what was there before an opening. A new conversation is not bound yet: its contact is found by address.
    fn mark_opening(&mut self, session: &str, by: Author, email: Option<&str>, now: i64) {
        let (call_marker, hook_marker) = (self.calls.marker(), self.hook_marker());
        let Some(conversation) = self.conversation(session) else {
            return;
        };
        let contact = conversation
            .people_id
            .as_deref()
            .or(email)
            .and_then(|people| self.contact_of(&conversation.website, people));
        let opening = Opening {
            count: conversation.opening.count + 1,
            at: now,
            call_marker,
            hook_marker,
            before: Seen {
                session: conversation.labels.clone(),
                contact: contact.map_or_else(Labels::default, |contact| contact.labels.clone()),
                events: contact.map_or(0, |contact| contact.events.len()),
            },
        };
        if let Some(conversation) = self.conversation_mut(session) {
            conversation.openings.push(OpeningMark {
                at: now,
                by,
                call_marker,
            });
            conversation.opening = opening;
        }
    }

    pub(super) fn visitor_message(&mut self, session: &str, text: &str, now: i64) -> bool {
        let Some(conversation) = self.conversation(session) else {
            return false;
        };
        let email = conversation.email.clone();
        self.visitor_message_as(session, text, email.as_deref(), now);
        true
    }

    /// A message from the visitor; it reopens what was resolved.
    fn visitor_message_as(&mut self, session: &str, text: &str, email: Option<&str>, now: i64) {
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

    /// A changed address voids its proof and its contact.
    pub(super) fn set_email(
        &mut self,
        session: &str,
        email: Option<String>,
        author: Author,
        now: i64,
    ) {
        let Some(conversation) = self.conversation_mut(session) else {
            return;
        };
        if conversation.email == email {
            return;
        }
        conversation.email.clone_from(&email);
        conversation.people_id = None;
        conversation.updated_at = now;
        let extra = json!({"email": email.unwrap_or_default()});
        self.emit_session(session, "session:set_email", extra, author, now);
        if self
            .conversation(session)
            .is_some_and(|conversation| conversation.is_verified)
        {
            self.set_verified(session, false, now);
        }
    }

    /// Crisp calls the visitor verified, by one proof of something that need not be the conversation's address.
    pub(super) fn verify(&mut self, session: &str, identity: &str, of: &str, now: i64) -> bool {
        let Some(conversation) = self.conversation_mut(session) else {
            return false;
        };
        conversation.is_verified = true;
        conversation.verifications = vec![Verification {
            identity: identity.to_owned(),
            method: "signature".to_owned(),
            annotation: of.to_owned(),
        }];
        let extra = json!({"is_verified": true, "verifications": conversation.verifications});
        self.emit_session(session, "session:update_verify", extra, Author::Crisp, now);
        true
    }

    pub(super) fn set_verified(&mut self, session: &str, verified: bool, now: i64) {
        let Some(conversation) = self.conversation_mut(session) else {
            return;
        };
        let verifications = match &conversation.email {
            Some(email) if verified => vec![Verification {
                identity: "email".to_owned(),
                method: "signature".to_owned(),
                annotation: email.clone(),
            }],
            _ => Vec::new(),
        };
        if conversation.is_verified == verified && conversation.verifications == verifications {
            return;
        }
        conversation.is_verified = verified;
        conversation.verifications = verifications;
        let extra = json!({
            "is_verified": verified,
            "verifications": conversation.verifications,
        });
        self.emit_session(session, "session:update_verify", extra, Author::Crisp, now);
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

    pub(super) fn change_identity(
        &mut self,
        session: &str,
        email: Option<String>,
        verified: bool,
        now: i64,
    ) -> bool {
        if self.conversation(session).is_none() {
            return false;
        }
        self.set_email(session, email, Author::Visitor, now);
        self.set_verified(session, verified, now);
        self.bind(session, now);
        true
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
