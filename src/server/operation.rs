//! What an operator can ask for, whoever performs it: the command itself, or the running service for it.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{desk::Whom, survey::SurveyRequest};

/// What an operator can ask for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "operation", rename_all = "snake_case")]
pub enum Operation {
    /// What the service is at: mode, armed rules, outbox, quota, pauses.
    Status,
    /// What would be sent for a person, without a single call to Crisp.
    Plan {
        /// The person's address.
        email: String,
    },
    /// What would become of the next few people, without a single call to Crisp.
    Survey(SurveyRequest),
    /// Refresh everything known of a person now.
    ReconcileEmail {
        /// The person's address.
        email: String,
    },
    /// Refresh one conversation now.
    ReconcileSession {
        /// Its website; may be left out where only one is served.
        website: Option<String>,
        /// The conversation.
        session: String,
    },
    /// Let lifecycle events go out, from now on.
    EventsArm {
        /// Only this event; all of them without.
        event: Option<String>,
    },
    /// Move the watermark of an armed rule back.
    EventsBackfill {
        /// The event.
        event: String,
        /// To here, and not beyond its `max_age`.
        since: Timestamp,
        /// Whether it is moved; otherwise only told.
        confirmed: bool,
    },
    /// The configured events, for those who write campaigns.
    EventsCheatsheet {
        /// The tester whose values are shown; the first one of the configuration without.
        tester: Option<String>,
    },
    /// One event to one tester.
    EventsTest {
        /// The event.
        event: String,
        /// The tester's address.
        to: String,
        /// The website; may be left out where only one is named.
        website: Option<String>,
        /// The payload as it was shown: it is sent. Without it, it is made and shown, and nothing is sent.
        shown: Option<Json>,
    },
    /// The outbox, newest first.
    EventsList(Listed),
    /// Let go what was held, parked or left unsure.
    EventsRelease(Chosen),
    /// Give up what was not sent.
    EventsDrop(Chosen),
    /// Deliveries, newest first.
    DeliveriesList {
        /// Only of this webhook event.
        event: Option<String>,
        /// Only of this conversation.
        session: Option<String>,
        /// At most this many.
        limit: u32,
    },
    /// One delivery, the work it led to and what was decided.
    DeliveriesShow {
        /// Its id.
        id: i64,
    },
    /// Do the work of one delivery again, or revive every dead letter.
    DeliveriesRetry {
        /// The delivery; without it, every dead letter.
        id: Option<i64>,
    },
    /// Forget a person, and let them not come back.
    Erase {
        /// Whom.
        whom: Whom,
    },
    /// Every receipt.
    EraseList,
    /// One receipt, and what it still owes.
    EraseStatus {
        /// Its id.
        receipt: String,
    },
    /// Set the tombstones of receipts that were kept in a file.
    EraseReplay {
        /// The file: an absolute path.
        from: PathBuf,
    },
    /// Let somebody who was erased be looked up again.
    EraseLift {
        /// Whom.
        whom: Whom,
    },
    /// Write a whole copy of the ledger.
    LedgerBackup {
        /// Where to: an absolute path.
        to: PathBuf,
    },
}

/// Which rows of the outbox to list.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Listed {
    /// Only in one of these states; in any without.
    pub states: Vec<String>,
    /// Only of this event.
    pub event: Option<String>,
    /// Only of this website.
    pub website: Option<String>,
    /// Only of the person with this key.
    pub user: Option<String>,
    /// Only of the person with this address.
    pub email: Option<String>,
    /// Only those that entered their state from here on.
    pub since: Option<Timestamp>,
    /// Only those that entered their state before.
    pub until: Option<Timestamp>,
    /// At most this many.
    pub limit: u32,
    /// Only those that come behind the one with this `ref`.
    pub behind: Option<String>,
    /// How many were shown before them, where no more are asked for: then it is said how many there are.
    pub shown: Option<u64>,
    /// With the key that the app's database has for each person.
    pub show_user: bool,
}

/// Rows of the outbox that a person chose.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Chosen {
    /// Only this event.
    pub event: Option<String>,
    /// Only the occurrence with this `ref`.
    pub reference: Option<String>,
    /// Only this state.
    pub state: Option<String>,
    /// Only of this website.
    pub website: Option<String>,
    /// Only those that entered their state from here on.
    pub since: Option<Timestamp>,
    /// At most this many, oldest first.
    pub limit: u32,
    /// Whether more than one may be moved.
    pub confirmed: bool,
    /// Only tell how many would be moved.
    pub dry_run: bool,
    /// Past the brake's cap.
    pub over_cap: bool,
}

impl Operation {
    /// The name in logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Plan { .. } => "plan",
            Self::Survey(_) => "survey",
            Self::ReconcileEmail { .. } | Self::ReconcileSession { .. } => "reconcile",
            Self::EventsArm { .. } => "events arm",
            Self::EventsBackfill { .. } => "events backfill",
            Self::EventsCheatsheet { .. } => "events cheatsheet",
            Self::EventsTest { .. } => "events test",
            Self::EventsList(_) => "events list",
            Self::EventsRelease(_) => "events release",
            Self::EventsDrop(_) => "events drop",
            Self::DeliveriesList { .. } => "deliveries list",
            Self::DeliveriesShow { .. } => "deliveries show",
            Self::DeliveriesRetry { .. } => "deliveries retry",
            Self::Erase { .. }
            | Self::EraseList
            | Self::EraseStatus { .. }
            | Self::EraseReplay { .. }
            | Self::EraseLift { .. } => "erase",
            Self::LedgerBackup { .. } => "ledger backup",
        }
    }
}
