//! A look at many people, page by page: what would become of their events, with nothing written and Crisp not asked.
//!
//! Whoever asks keeps the count. A page is small, so that the service that answers holds no more than it, and so does the
//! command that asks; a [`Cursor`] says where the next one begins.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One page, please.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SurveyRequest {
    /// What is asked.
    pub question: Question,
    /// Addresses to look at before everybody else.
    pub emails: Vec<String>,
    /// Where the page before ended.
    pub after: Option<Cursor>,
    /// At most this many people.
    pub limit: u32,
}

/// What is asked about each person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "question", rename_all = "snake_case")]
pub enum Question {
    /// What a refresh would do now: calls, and what becomes of every occurrence.
    Refresh,
    /// What would become of every occurrence if the rules were armed now.
    Arm {
        /// Only this event.
        event: Option<String>,
    },
    /// What would become of the occurrences of one event if its watermark were moved back.
    Backfill {
        /// The event.
        event: String,
        /// To here.
        since: Timestamp,
        /// Put everybody to work who has one to be sent. The watermark has been moved by then.
        put_to_work: bool,
    },
}

/// Where a look at everybody stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum Cursor {
    /// So many of the addresses that were typed are done.
    Typed {
        /// How many.
        done: usize,
    },
    /// Among the people that the ledger knows.
    Ledger {
        /// On this website.
        website: String,
        /// Up to this key.
        key: String,
    },
    /// Among those whom `lifecycle.query` finds and the ledger does not know.
    Table {
        /// Up to this instant on the database's clock; the time of the first page where it is not said.
        until: Option<Timestamp>,
        /// The instant and the key of the last row, as the database showed them.
        after: Option<(String, String)>,
    },
}

/// What was found about some people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SurveyPage {
    /// The people.
    pub people: Vec<PersonLine>,
    /// Where the next page begins; `None` after the last one.
    pub next: Option<Cursor>,
    /// How many people there are to look at, as far as that is known.
    pub total: Option<u64>,
    /// How many of each event the brake lets go in this hour; only on the last page.
    pub rooms: Vec<Room>,
}

/// One person, as a line of a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PersonLine {
    /// Where to go on behind them.
    pub cursor: Cursor,
    /// Which definition this was found by.
    pub definition: String,
    /// The key in the app's database; `None` when the app does not know the person.
    pub user: Option<String>,
    /// The person as logs and `events list` show them.
    #[serde(rename = "user.ref")]
    pub user_ref: Option<String>,
    /// What was found, by website.
    pub sites: Vec<SiteLine>,
}

/// One person on one website.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SiteLine {
    /// The website.
    pub website: String,
    /// What becomes of each occurrence.
    pub events: Vec<EventLine>,
    /// The calls that a refresh would make, without whom they name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<String>,
    /// Rules that could not be evaluated; or why the person could not be looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<String>,
    /// Whether the person was put to work.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub put_to_work: bool,
}

/// What becomes of one occurrence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventLine {
    /// The event.
    pub event: String,
    /// The state.
    pub state: String,
    /// Why.
    pub reason: String,
    /// When it happened, or will.
    pub happened_at: Timestamp,
    /// When it may be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Timestamp>,
}

/// How many of one event the brake would let go now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// The website.
    pub website: String,
    /// The event.
    pub event: String,
    /// So many.
    pub room: u64,
}
