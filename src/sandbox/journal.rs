//! What came in and what went out, in order.
//!
//! Entries are numbered from 1 and never change their number, so "since that moment" is a number to remember
//! ([`CallJournal::marker`]), not a time to guess.

use serde::Serialize;

use super::stamps::{Stamps, Violation};

/// One request to the sandbox's REST API.
#[derive(Debug, Clone, Serialize)]
pub struct Call {
    /// Its place in the journal, from 1.
    pub number: u64,
    /// The HTTP method.
    pub method: String,
    /// The route's short name, `metas.update`; `unknown` when there is no such route.
    pub name: &'static str,
    /// The route's template, without ids.
    pub route: &'static str,
    /// The status answered; none while it is held, or when the connection was cut.
    pub status: Option<u16>,
    /// The envelope's `reason`.
    pub reason: String,
    /// Whether it did what it asked for.
    pub applied: bool,
    /// Whether a fault shaped the answer.
    pub faulted: bool,
    /// When it arrived, in milliseconds since the epoch.
    pub at: i64,
    /// The website in its path.
    pub website: Option<String>,
    /// The conversation it names.
    pub session: Option<String>,
    /// The contact it concerns, as id, when there is one.
    pub people: Option<String>,
    /// `X-Request-Id`: which claim of the service it was made under.
    pub stamp: Option<String>,
    /// The address it names, in its path or as a new contact's.
    #[serde(skip)]
    pub address: Option<String>,
    /// `Request-Id` of the answer.
    pub request_id: String,
}

/// Every REST request since the start.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CallJournal {
    pub(super) entries: Vec<Call>,
    pub(super) unexpected: Vec<Unexpected>,
    pub(super) stamps: Stamps,
}

/// A request that no correct client makes: an unknown route, a body that Crisp refuses.
#[derive(Debug, Clone, Serialize)]
pub struct Unexpected {
    /// The call's number.
    pub call: u64,
    /// The route's template, or the method and "unknown route".
    pub what: String,
    /// What is wrong with it. Never the value itself.
    pub why: String,
}

impl CallJournal {
    /// The number of the last call: what came later is [`CallJournal::since`] it.
    pub fn marker(&self) -> u64 {
        self.entries.last().map_or(0, |call| call.number)
    }

    /// The calls after a marker.
    pub fn since(&self, marker: u64) -> &[Call] {
        let from = self.entries.partition_point(|call| call.number <= marker);
        &self.entries[from..]
    }

    /// All calls.
    pub fn all(&self) -> &[Call] {
        &self.entries
    }

    /// How many calls of that route, by short name, came after a marker.
    pub fn count(&self, name: &str, marker: u64) -> usize {
        self.since(marker)
            .iter()
            .filter(|call| call.name == name)
            .count()
    }

    /// Requests that no correct client makes.
    pub fn unexpected(&self) -> &[Unexpected] {
        &self.unexpected
    }

    /// Writes that took effect after a newer claim's.
    pub fn violations(&self) -> &[Violation] {
        self.stamps.violations()
    }

    pub(super) fn entry(&mut self, number: u64) -> Option<&mut Call> {
        let place = self
            .entries
            .binary_search_by_key(&number, |call| call.number)
            .ok()?;
        self.entries.get_mut(place)
    }
}

/// How far a webhook has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HookState {
    /// Waits for its turn.
    Queued,
    /// Is on its way.
    Sending,
    /// The receiver answered 2xx.
    Accepted,
    /// The receiver answered something else, or nothing; may be tried again.
    Failed,
    /// The last attempt failed: Crisp forgets it.
    Lost,
    /// There was no receiver when it happened.
    NoReceiver,
}

/// One try at delivering a webhook.
#[derive(Debug, Clone, Serialize)]
pub struct HookAttempt {
    /// `X-Delivery-Attempt-Count`.
    pub count: u32,
    /// The status answered; none when there was no answer.
    pub status: Option<u16>,
    /// When, in milliseconds since the epoch.
    pub at: i64,
    /// How long the answer took.
    pub duration_ms: u64,
}

/// One webhook and what became of it.
#[derive(Debug, Clone, Serialize)]
pub struct Hook {
    /// Its place in the order of events, from 1.
    pub number: u64,
    /// The event's name.
    pub event: String,
    /// The website.
    pub website: String,
    /// The conversation, when it is about one.
    pub session: Option<String>,
    /// The contact, when it is about one.
    pub people: Option<String>,
    /// Who caused it.
    pub cause: super::state::Author,
    /// The exact body.
    #[serde(skip)]
    pub body: String,
    /// The envelope's timestamp.
    pub at: i64,
    /// How far it has come.
    pub state: HookState,
    /// The tries so far.
    pub attempts: Vec<HookAttempt>,
    /// Not to be sent before this moment; what a retry waits for.
    #[serde(skip)]
    pub(super) not_before: Option<std::time::Instant>,
}
