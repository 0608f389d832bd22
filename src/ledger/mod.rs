//! The ledger: our own durable store, inbox and outbox.
//!
//! It promises that what it acknowledged survives `kill -9` and power loss, that a row is worked by one holder of a lease
//! at a time, and that a settlement is written whole or not at all. It never decides what to do: it keeps what happened
//! ([`deliveries`]), what is to be done ([`work`]), what Crisp held when we last looked ([`mirror`]), and what we owe
//! people's timelines ([`outbox`]).
//!
//! [`Ledger`] is the one public type to act through. The SQL behind it is one text for two engines: a SQLite file, which one
//! process has, and a PostgreSQL database, which any number share. Instants are whole milliseconds.

mod accept;
mod again;
pub mod alerts;
mod commands;
pub mod deliveries;
mod echo;
pub mod erasure;
mod error;
pub mod listening;
mod location;
pub mod mirror;
mod moving;
pub mod outbox;
pub mod quota;
mod reads;
mod store;
pub mod sweeping;
pub mod trigger;
pub mod work;

use std::{path::PathBuf, sync::Arc, time::Duration};

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use secrecy::SecretString;
use tokio::sync::Notify;

use crate::pseudonym::Pseudonyms;

pub use alerts::{Condition, ConditionRow, Teller, Waiting};
pub use deliveries::{
    Acceptance, Delivery, DeliveryFilter, DeliveryId, DeliveryRow, Effect, PersonBy,
};
pub use erasure::{Debt, DebtKind, Erasing, Lifted, Owed, Receipt, Tombstoned};
pub use error::{LedgerError, Source};
pub use listening::{Listened, Listening, Scan};
pub use location::Location;
pub use mirror::{
    ContactState, ConversationMirror, ERASED, FormerContact, OwnedKind, OwnedName, PersonMirror,
    Side, Write, note_former,
};
pub use moving::{MoveError, Stage, TableRows};
pub use outbox::{
    Arming, Begun, Latch, OutboxFilter, OutboxRow, OutboxTotal, SendCount, SendLimits,
};
pub use quota::{DayQuota, Gap, Health, Pause, PauseScope, Standing};
pub use store::{MIGRATIONS, MigrationFile, Move, POSTGRES_MIGRATIONS};
pub use sweeping::{Lane, SweepCounts, SweepLag, SweepLook, SweepSpan, Sweeping, SweptPage};
pub use trigger::{Enqueue, Trigger, Urgency};
pub use work::{
    Claim, Outcome, Settled, Settlement, Trace, TraceRow, WorkKind, WorkRow, WorkState,
};

/// What the ledger has to know before it is opened.
#[derive(Debug, Clone)]
pub struct LedgerSettings {
    /// Where it is kept.
    pub location: Location,
    /// Bytes that the file does not grow beyond; then callers are told that the disk is full.
    pub size_limit: Option<u64>,
    /// Connections to the file that only read.
    pub readers: u32,
    /// How long a statement waits for a lock that another program holds on the file.
    pub busy_timeout: Duration,
    /// Connections of this process to the server.
    pub connections: u32,
    /// How long the server may take for an answer. Longer than the half minute after which it ends a statement itself, and
    /// shorter than a lease.
    pub answer_timeout: Duration,
    /// Acceptances that may wait for the disk; beyond, callers are refused at once.
    pub waiting_limit: usize,
    /// Acceptances in one commit.
    pub batch_limit: usize,
    /// No lease is longer; one that seems to be was taken before the clock was set back.
    pub longest_lease: Duration,
    /// A row whose lease ran out so often, over most of an hour, is dead.
    pub crash_limit: u32,
    /// Urgent runs per row and window.
    pub urgent_limit: u32,
    /// That window.
    pub urgent_window: Duration,
    /// How long a dead row that a trigger revived stays dead the next time.
    pub revive_every: Duration,
    /// Traces kept per row.
    pub traces_per_key: u32,
    /// A silence longer than this is a gap.
    pub gap: Duration,
    /// How long after midnight UTC the day begins by which calls are counted.
    pub day_begins: Duration,
}

impl LedgerSettings {
    /// The usual settings for a ledger in this file.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self::of(Location::File(path.into()))
    }

    /// The usual settings for a ledger that is kept there.
    pub fn of(location: Location) -> Self {
        Self {
            location,
            size_limit: None,
            readers: 4,
            busy_timeout: Duration::from_secs(5),
            connections: 8,
            answer_timeout: Duration::from_secs(35),
            waiting_limit: 8192,
            batch_limit: 1000,
            longest_lease: Duration::from_mins(15),
            crash_limit: 8,
            urgent_limit: 5,
            urgent_window: Duration::from_mins(10),
            revive_every: Duration::from_mins(15),
            traces_per_key: 20,
            gap: Duration::from_mins(5),
            day_begins: Duration::ZERO,
        }
    }

    /// The day by which a call at this instant is counted.
    fn quota_day(&self, at: Timestamp) -> Date {
        at.checked_sub(self.day_begins)
            .unwrap_or(at)
            .to_zoned(TimeZone::UTC)
            .date()
    }
}

/// The ledger, open. Clones are handles to the same.
#[derive(Debug, Clone)]
pub struct Ledger {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Arc<store::Store>,
    writer: accept::Writer,
    pseudonyms: Pseudonyms,
    heard: listening::Heard,
    wake: Arc<Notify>,
}

impl Ledger {
    /// Opens the ledger, makes it if there is none, and brings its schema up to date. Starts the writer on the current
    /// tokio runtime; every other method may be called from any.
    pub async fn open(settings: LedgerSettings, now: Timestamp) -> Result<Self, LedgerError> {
        let wake = Arc::new(Notify::new());
        let (waiting, batch) = (settings.waiting_limit, settings.batch_limit);
        let (store, secret) = store::Store::open(settings, now).await?;
        let store = Arc::new(store);
        let writer = accept::Writer::start(&store, &wake, waiting, batch);
        Ok(Self {
            shared: Arc::new(Shared {
                store,
                writer,
                pseudonyms: Pseudonyms::new(secret),
                heard: listening::Heard::default(),
                wake,
            }),
        })
    }

    /// Finishes what waits, folds the write-ahead log into the file and lets go of the lock. Dropping every handle loses
    /// nothing either; it only leaves the folding to the next start.
    pub async fn close(&self) -> Result<(), LedgerError> {
        self.shared.writer.close().await;
        self.last_words().await;
        self.shared.store.close().await
    }

    /// Opens connections to the server with this URL from now on, which differs from the one before in the user or the
    /// password. Those that are open stay. A file has neither.
    pub fn renew(&self, url: &SecretString) -> Result<(), LedgerError> {
        self.shared.store.renew(url)
    }

    /// The keyed hashes of this ledger. Their secret was made with it and never changes.
    pub fn pseudonyms(&self) -> &Pseudonyms {
        &self.shared.pseudonyms
    }

    /// Notified whenever there may be something new to claim. Ask for the notification before looking at the rows.
    pub fn wake(&self) -> &Notify {
        &self.shared.wake
    }

    /// Commits a delivery with its effects. `Ok` means that it is on the disk. An error means that nothing of this
    /// acceptance is kept; it never concerns its neighbours in the same commit.
    pub async fn accept(&self, acceptance: Acceptance, now: Timestamp) -> Result<(), LedgerError> {
        self.shared.writer.accept(acceptance, now).await
    }

    /// Ends when nothing is accepted any more: the ledger was closed, or its writer ended without being asked to.
    pub async fn stops_accepting(&self) {
        self.shared.writer.ended().await;
    }
}
