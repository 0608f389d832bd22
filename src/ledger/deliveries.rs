//! Deliveries, and what each of them asks the ledger to do.
//!
//! A delivery is the audit line of one verified webhook: ids, times and sizes, never an e-mail, a message or a body.
//! Its effects are what the webhook says, in the ledger's words; delivery and effects are committed together.

use jiff::Timestamp;
use serde_json::{Map, Value as Json};

use crate::{
    ids::{PeopleId, SessionId, WebsiteId},
    pseudonym::EmailMac,
};

use super::trigger::{Enqueue, Trigger};

/// One receipt of one verified webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Whose.
    pub website: WebsiteId,
    /// Crisp's name of the event, such as `message:send`; at most 128 characters.
    pub event: String,
    /// The conversation it is about.
    pub session: Option<SessionId>,
    /// The contact it is about.
    pub people: Option<PeopleId>,
    /// Which kind of hook carried it: `plugin` or `website`.
    pub hook: &'static str,
    /// Where the message came from, such as `chat` or `email`.
    pub origin: Option<String>,
    /// Which of Crisp's tries this was, from 1.
    pub attempt: Option<u32>,
    /// When Crisp signed it.
    pub signed_at: Option<Timestamp>,
    /// When the event happened.
    pub event_at: Option<Timestamp>,
    /// How long its body was.
    pub bytes: u32,
}

/// What is committed before Crisp gets its answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Acceptance {
    /// The receipt.
    pub delivery: Delivery,
    /// What it asks for, in order.
    pub effects: Vec<Effect>,
}

/// By what a person is known before their user key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PersonBy {
    /// The code of an address.
    Email(EmailMac),
    /// Crisp's id of the contact.
    People(PeopleId),
}

/// What a webhook says, in the ledger's words.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// A row is to be worked.
    Enqueue(Enqueue),
    /// The person row is to be worked, if the ledger knows the person.
    EnqueuePerson {
        /// Whose.
        website: WebsiteId,
        /// Who.
        by: PersonBy,
        /// Why.
        trigger: Trigger,
        /// Not before this instant.
        run_at: Timestamp,
    },
    /// The conversation's e-mail changed: the mirror is dirty, and triggers are debounced until it was looked at.
    IdentityChanged {
        /// Whose.
        website: WebsiteId,
        /// Which conversation.
        session: SessionId,
    },
    /// The conversation's e-mail may be proven no more: the mirror is dirty.
    LowerTrust {
        /// Whose.
        website: WebsiteId,
        /// Which conversation.
        session: SessionId,
    },
    /// Crisp says which session data it holds: an echo of ours, or somebody's edit.
    HeldData {
        /// Whose.
        website: WebsiteId,
        /// Which conversation.
        session: SessionId,
        /// The data of the webhook.
        data: Map<String, Json>,
    },
    /// Crisp says which segments it holds.
    HeldSegments {
        /// Whose.
        website: WebsiteId,
        /// Which conversation.
        session: SessionId,
        /// The complete list.
        segments: Vec<String>,
    },
    /// The conversation was removed.
    ForgetConversation {
        /// Whose.
        website: WebsiteId,
        /// Which conversation.
        session: SessionId,
    },
    /// A contact came into being.
    ContactCreated {
        /// Whose.
        website: WebsiteId,
        /// Which contact.
        people: PeopleId,
        /// Its address.
        email: Option<EmailMac>,
    },
    /// A contact was removed: a tombstone stays on the person.
    ContactRemoved {
        /// Whose.
        website: WebsiteId,
        /// Which contact.
        people: PeopleId,
        /// Its address.
        email: Option<EmailMac>,
    },
    /// The subscription changed: calls for the website may go on.
    Resume {
        /// Whose.
        website: WebsiteId,
    },
}

/// The number of a delivery, in the order of acceptance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct DeliveryId(pub i64);

/// A delivery as it was kept.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct DeliveryRow {
    /// Its number.
    pub id: DeliveryId,
    /// When it was accepted.
    pub received_at: Timestamp,
    /// Whose.
    pub website: WebsiteId,
    /// Crisp's name of the event.
    pub event: String,
    /// The conversation.
    pub session: Option<String>,
    /// The contact.
    pub people: Option<String>,
    /// `plugin` or `website`.
    pub hook: String,
    /// Where the message came from.
    pub origin: Option<String>,
    /// Which of Crisp's tries this was.
    pub attempt: Option<u32>,
    /// When Crisp signed it.
    pub signed_at: Option<Timestamp>,
    /// When the event happened.
    pub event_at: Option<Timestamp>,
    /// How long its body was.
    pub bytes: u32,
}

/// Which deliveries to list; the newest come first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// Only of this website.
    pub website: Option<WebsiteId>,
    /// Only of this conversation.
    pub session: Option<SessionId>,
    /// Only of this event.
    pub event: Option<String>,
    /// Only since.
    pub since: Option<Timestamp>,
    /// Only older than this one: the next page.
    pub before: Option<DeliveryId>,
    /// At most so many; 0 takes 50.
    pub limit: u32,
}
