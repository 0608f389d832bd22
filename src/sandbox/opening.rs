//! Somebody opens a chat, and the webhooks Crisp sends about it, in its order: `message:send`, `session:set_email`,
//! `session:update_verify`, then what Crisp makes of it: `people:profile:created` for a new address, `people:bind:session`.
//! A browser's own data and segments come last.

use serde::Deserialize;
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::{
    labels::LabelEdit,
    state::{Author, Conversation, Labels, Opening, OpeningMark, Seen, State},
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
    pub(super) fn mark_opening(
        &mut self,
        session: &str,
        by: Author,
        email: Option<&str>,
        now: i64,
    ) {
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
}
