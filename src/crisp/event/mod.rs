//! Reads what a verified webhook says.
//!
//! Only `event` and `data` are mandatory (as in Crisp's own SDKs); unknown events become [`WebhookEvent::Other`] and
//! unknown fields are passed over. Ids are checked here, once. The text of a message is never read: it stays in the body
//! and goes when the body goes. An address that is none is `None`; the event stands.

mod fields;
mod read;

use jiff::Timestamp;
use serde_json::{Map, Value as Json};

pub use self::read::EnvelopeError;
use crate::ids::{Email, PeopleId, SessionId, WebsiteId};

/// A webhook: which website, what happened, when.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    /// The website it is about.
    pub website: WebsiteId,
    /// What happened.
    pub event: WebhookEvent,
    /// What happened, in Crisp's words: `message:send`.
    pub name: String,
    /// When it happened, by Crisp's clock.
    pub at: Option<Timestamp>,
    /// What Crisp numbers a message with. It exceeds 32 bits.
    pub fingerprint: Option<i64>,
}

/// What a webhook says happened. Names are Crisp's, seen from the visitor: `message:send` is sent by the visitor.
#[derive(Debug, Clone, PartialEq)]
pub enum WebhookEvent {
    /// A message from the visitor.
    MessageSend {
        /// The conversation.
        session: SessionId,
        /// Whether a person on the visitor's side wrote it.
        from_user: bool,
        /// The channel: `chat`, `email`, `urn:…`.
        origin: Option<String>,
    },
    /// The visitor's address became known or changed. Anybody can claim any address.
    SessionSetEmail {
        /// The conversation.
        session: SessionId,
        /// The address, if it is one.
        email: Option<Email>,
    },
    /// The visitor's identity was verified, or no longer is.
    SessionUpdateVerify {
        /// The conversation.
        session: SessionId,
        /// Whether it is verified now.
        is_verified: bool,
    },
    /// The conversation was opened, waits or is resolved.
    SessionSetState {
        /// The conversation.
        session: SessionId,
        /// `pending`, `unresolved` or `resolved`.
        state: String,
    },
    /// An operator opened the conversation in the inbox.
    SessionSetOpened {
        /// The conversation.
        session: SessionId,
    },
    /// An operator started the conversation.
    SessionRequestInitiated {
        /// The conversation.
        session: SessionId,
    },
    /// The conversation was bound to a contact.
    PeopleBindSession {
        /// The conversation.
        session: SessionId,
        /// The contact.
        people: PeopleId,
    },
    /// The conversation's data changed: by an operator, the page, or us.
    SessionSetData {
        /// The conversation.
        session: SessionId,
        /// The data it has now.
        data: Map<String, Json>,
    },
    /// The conversation's segments changed: by an operator, the page, or us.
    SessionSetSegments {
        /// The conversation.
        session: SessionId,
        /// The segments it has now.
        segments: Vec<String>,
    },
    /// The conversation is gone.
    SessionRemoved {
        /// The conversation.
        session: SessionId,
    },
    /// A contact was made.
    PeopleProfileCreated {
        /// The contact.
        people: PeopleId,
        /// Its address, if told.
        email: Option<Email>,
    },
    /// A contact is gone.
    PeopleProfileRemoved {
        /// The contact.
        people: PeopleId,
        /// Its address, if told.
        email: Option<Email>,
    },
    /// A contact's card changed: by an operator, or us.
    PeopleProfileUpdated {
        /// The contact.
        people: PeopleId,
        /// Its address, if told.
        email: Option<Email>,
    },
    /// The plugin was installed on the website, or removed from it.
    PluginSubscriptionUpdated {
        /// Whether it is installed now.
        bound: bool,
    },
    /// Something that asks nothing of us.
    Other,
}

impl Envelope {
    /// The conversation it is about.
    pub fn session(&self) -> Option<&SessionId> {
        match &self.event {
            WebhookEvent::MessageSend { session, .. }
            | WebhookEvent::SessionSetEmail { session, .. }
            | WebhookEvent::SessionUpdateVerify { session, .. }
            | WebhookEvent::SessionSetState { session, .. }
            | WebhookEvent::SessionSetOpened { session }
            | WebhookEvent::SessionRequestInitiated { session }
            | WebhookEvent::PeopleBindSession { session, .. }
            | WebhookEvent::SessionSetData { session, .. }
            | WebhookEvent::SessionSetSegments { session, .. }
            | WebhookEvent::SessionRemoved { session } => Some(session),
            WebhookEvent::PeopleProfileCreated { .. }
            | WebhookEvent::PeopleProfileRemoved { .. }
            | WebhookEvent::PeopleProfileUpdated { .. }
            | WebhookEvent::PluginSubscriptionUpdated { .. }
            | WebhookEvent::Other => None,
        }
    }

    /// The contact it is about.
    pub fn people(&self) -> Option<&PeopleId> {
        match &self.event {
            WebhookEvent::PeopleBindSession { people, .. }
            | WebhookEvent::PeopleProfileCreated { people, .. }
            | WebhookEvent::PeopleProfileRemoved { people, .. }
            | WebhookEvent::PeopleProfileUpdated { people, .. } => Some(people),
            _ => None,
        }
    }
}
