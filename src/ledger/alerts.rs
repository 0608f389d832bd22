//! Conditions that ask for a person, and whether one was told: shared by every process on the ledger.
//!
//! Whoever sees a condition says so each time they look. It began when it was first seen, and is over when nobody has seen
//! it for a while: so a process that dies with one leaves nothing behind, and of several processes none can end what
//! another still sees. What was told is kept too, so that a restart does not tell it twice.

use std::time::Duration;

use jiff::Timestamp;

use super::{Ledger, LedgerError, again::again};

/// A condition that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Its kind, one fixed word: `dead_letters`.
    pub kind: String,
    /// Of what: a website, a name from the configuration; may be empty.
    pub subject: String,
    /// What it means, without private text.
    pub detail: String,
}

/// A condition as it was kept.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ConditionRow {
    /// Its kind.
    pub kind: String,
    /// Of what.
    pub subject: String,
    /// What it meant when it was last seen.
    pub detail: String,
    /// When it was first seen.
    pub since: Timestamp,
    /// When it was last seen.
    pub seen_at: Timestamp,
    /// When a person was told that it began.
    pub told_at: Option<Timestamp>,
}

impl ConditionRow {
    /// Whether nobody has seen it for so long that it is over.
    pub fn is_over(&self, calm: Duration, now: Timestamp) -> bool {
        self.seen_at
            .checked_add(calm)
            .is_ok_and(|until| until <= now)
    }

    /// Whether a person is to be told that it began, or that it is over.
    pub fn is_owed(&self, calm: Duration, now: Timestamp) -> bool {
        self.told_at.is_none() || self.is_over(calm, now)
    }
}

/// Who is to tell a person that the ledger cannot be used, which it cannot remember.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Teller {
    /// This process.
    This,
    /// Another one, which asked the server before.
    Another,
    /// Each for itself: the server cannot be asked.
    Each,
}

/// How much waits for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Waiting {
    /// Lifecycle events that are `held`.
    pub held: u64,
    /// Lifecycle events that are `unsure`.
    pub unsure: u64,
    /// Dead letters.
    pub dead: u64,
}

impl Ledger {
    /// How much waits for a person. Its cost does not grow with the ledger.
    pub async fn waiting(&self) -> Result<Waiting, LedgerError> {
        self.shared.store.waiting().await
    }

    /// Says which conditions somebody sees now. Returns those that begin with it.
    pub async fn see_conditions(
        &self,
        seen: &[Condition],
        now: Timestamp,
    ) -> Result<Vec<Condition>, LedgerError> {
        if seen.is_empty() {
            return Ok(Vec::new());
        }
        again!(self.shared.store.see_conditions(seen, now))
    }

    /// Every condition that holds, or of which nobody was told that it is over.
    pub async fn conditions(&self) -> Result<Vec<ConditionRow>, LedgerError> {
        self.shared.store.conditions().await
    }

    /// Whether the ledger's server takes writes, as far as it says so: one that is read-only can be read. A file tells only
    /// whoever writes.
    pub async fn takes_writes(&self) -> Result<(), LedgerError> {
        self.shared.store.takes_writes().await
    }

    /// Who is to tell a person that the ledger cannot be used. It stays the same one until [`Ledger::fault_is_over`], or until
    /// that process is gone.
    pub async fn teller_of_fault(&self) -> Teller {
        self.shared.store.teller_of_fault().await
    }

    /// The ledger can be used again.
    pub async fn fault_is_over(&self) {
        self.shared.store.fault_is_over().await;
    }

    /// Says that somebody was told of a condition while nothing could be written: since when it held, and when it was last
    /// seen. The row of another process that told the same is the same row.
    pub async fn note_told(
        &self,
        told: &Condition,
        since: Timestamp,
        seen_at: Timestamp,
    ) -> Result<(), LedgerError> {
        again!(self.shared.store.note_told(told, since, seen_at))
    }

    /// Asks for the right to tell somebody now. Whoever gets it is the only one until `until`.
    pub async fn take_alert_turn(
        &self,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<bool, LedgerError> {
        again!(self.shared.store.take_alert_turn(until, now))
    }

    /// Says that somebody was told of these, as they were read; those that are over are forgotten, unless they were seen
    /// again since: then they begin anew.
    pub async fn conditions_told(
        &self,
        begun: &[ConditionRow],
        over: &[ConditionRow],
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        again!(self.shared.store.conditions_told(begun, over, now))
    }
}
