//! The outbox: what we owe Crisp's timelines, recorded before it is sent.

use std::fmt;

use jiff::Timestamp;
use serde_json::Value as Json;

use crate::{
    ids::{UserKey, WebsiteId},
    lifecycle::{Brake, OutboxState},
    pseudonym::{EmailMac, OccurrenceRef},
};

/// One occurrence of one event for one person.
#[derive(Clone, PartialEq)]
pub struct OutboxRow {
    /// Whose.
    pub website: WebsiteId,
    /// Who.
    pub user_key: UserKey,
    /// The occurrence, as one text; unique per website and person.
    pub key: String,
    /// Which event.
    pub event: String,
    /// About what.
    pub subject: String,
    /// When it happened, if it is told apart by time.
    pub instant: Option<Timestamp>,
    /// Where it stands.
    pub state: OutboxState,
    /// What it carries into Crisp, so that we know it again.
    pub reference: OccurrenceRef,
    /// When it is to be sent.
    pub due_at: Timestamp,
    /// Backoff: not before.
    pub not_before: Option<Timestamp>,
    /// How often it was sent, or tried to be.
    pub attempts: u32,
    /// When it was last tried.
    pub attempted_at: Option<Timestamp>,
    /// When Crisp confirmed it.
    pub sent_at: Option<Timestamp>,
    /// How many complete reads of the timeline did not show it.
    pub absent_reads: u32,
    /// When the first such read was.
    pub first_absent_at: Option<Timestamp>,
    /// Why it stands where it stands.
    pub reason: String,
    /// The code of the address it goes to.
    pub email_mac: Option<EmailMac>,
    /// What it carries.
    pub data: Json,
    /// Its colour in the timeline.
    pub color: String,
    /// When it entered the outbox. The first writing counts.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl fmt::Debug for OutboxRow {
    /// Leaves person and values out.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("OutboxRow")
            .field("website", &self.website)
            .field("event", &self.event)
            .field("state", &self.state)
            .field("reference", &self.reference)
            .field("due_at", &self.due_at)
            .field("attempts", &self.attempts)
            .field("attempted_at", &self.attempted_at)
            .field("sent_at", &self.sent_at)
            .field("absent_reads", &self.absent_reads)
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}

/// Which occurrences to list, release or drop; the newest come first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutboxFilter {
    /// Only of this website.
    pub website: Option<WebsiteId>,
    /// Only of this person.
    pub user_key: Option<UserKey>,
    /// Only of this event.
    pub event: Option<String>,
    /// The name that the event had: what is stored under it counts as the event's.
    pub former: Option<String>,
    /// Only in this state.
    pub state: Option<OutboxState>,
    /// Only in one of these states; in any where the list is empty.
    pub states: Vec<OutboxState>,
    /// Only the one with this `ref`.
    pub reference: Option<OccurrenceRef>,
    /// Only those that changed at this instant or later: mostly, when they entered their state.
    pub since: Option<Timestamp>,
    /// Only those that changed before.
    pub until: Option<Timestamp>,
    /// At most so many; 0 takes 50.
    pub limit: u32,
}

impl OutboxFilter {
    /// The names of the event, if it is about one.
    pub(super) fn events(&self) -> Option<Vec<&str>> {
        let event = self.event.as_deref()?;
        Some(
            [Some(event), self.former.as_deref()]
                .into_iter()
                .flatten()
                .collect(),
        )
    }
}

/// How many occurrences of a filter stand alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxTotal {
    /// Whose.
    pub website: WebsiteId,
    /// Which event.
    pub event: String,
    /// Where they stand.
    pub state: OutboxState,
    /// Why.
    pub reason: String,
    /// How many.
    pub rows: u64,
}

/// A rule that a person armed on one website.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arming {
    /// Whose.
    pub website: WebsiteId,
    /// Which rule.
    pub rule: String,
    /// What happened before is baseline.
    pub watermark: Timestamp,
    /// When it was armed.
    pub armed_at: Timestamp,
}

/// What keeps an occurrence back at the last moment, because of others of the same event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SendLimits {
    /// The names of the event.
    pub events: Vec<String>,
    /// None of them may have been sent to the same address since then.
    pub spaced_since: Option<Timestamp>,
    /// How many of them may go.
    pub brake: Brake,
}

/// Whether an occurrence is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Begun {
    /// `sending` is committed: make the request.
    Yes,
    /// Another occurrence went to the same address too short a time ago. Nothing was written.
    TooSoon,
    /// So many of this event went out that another one is held ([`Brake`]). Nothing was written.
    Braked,
    /// The row was moved since it was read. Nothing was written.
    Moved,
    /// The lease is over. Nothing was written.
    LeaseLost,
}

/// What the brake looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendCount {
    /// Occurrences sent, or being sent, since the instant asked for.
    pub sent: u64,
    /// Occurrences that the brake holds now: those `held` for the reason [`BRAKE`](crate::lifecycle::reason::BRAKE).
    pub held: u64,
    /// Whether it holds every further one, until a person decides.
    pub latched: bool,
}

/// An event that the brake holds on a website, until a person decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latch {
    /// Whose.
    pub website: WebsiteId,
    /// Which event.
    pub event: String,
    /// Since when.
    pub since: Timestamp,
}
