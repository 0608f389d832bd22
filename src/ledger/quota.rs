//! Pauses, counted calls, and the state of the whole.

use jiff::{Timestamp, civil::Date};

use crate::ids::WebsiteId;

use super::work::words;

words! {
    /// What a pause covers.
    PauseScope {
        /// Every call with our token.
        Token = "token",
        /// The calls for one website.
        Website = "website",
        /// The work on people of one website.
        People = "people",
    }
}

/// Why nothing, or nothing for one website, is sent to Crisp.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Pause {
    /// What it covers.
    pub scope: PauseScope,
    /// The website, if it covers one.
    pub website: Option<WebsiteId>,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// When the next probe may go.
    pub until: Timestamp,
}

/// Calls of one day (UTC) for one purpose.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct DayQuota {
    /// The day.
    pub day: Date,
    /// Why the calls were made.
    pub purpose: String,
    /// How many.
    pub calls: u64,
}

/// The state of the whole, for `status`, readiness and gauges.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Health {
    /// Rows that a trigger waits for, due or not, leased or not; without dead letters.
    pub pending: u64,
    /// Those of them that could be worked now.
    pub due: u64,
    /// Those of them that somebody works on.
    pub leased: u64,
    /// Dead letters.
    pub dead: u64,
    /// Since when the oldest due row could have been worked.
    pub oldest_due: Option<Timestamp>,
    /// What is paused.
    pub pauses: Vec<Pause>,
    /// Acceptances that could not be committed and were set aside, since the start of this process.
    pub quarantined: u64,
    /// Until when every occurrence needs a complete timeline.
    pub cautious_until: Option<Timestamp>,
    /// The last heartbeat.
    pub heartbeat_at: Option<Timestamp>,
    /// Bytes of the ledger's file.
    pub file_bytes: u64,
    /// Occurrences in the outbox by state.
    pub outbox: Vec<(crate::lifecycle::OutboxState, u64)>,
}

/// Whether a process may claim with the definition it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Standing {
    /// It has the newest.
    Current,
    /// The ledger has seen a newer one: this process claims nothing more.
    Older,
}

/// A time nobody listened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The last heartbeat.
    pub from: Timestamp,
    /// When it was noticed.
    pub to: Timestamp,
}
