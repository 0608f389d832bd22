//! Work: one row per (kind, website, key), its triggers, and how an attempt ends.
//!
//! A trigger raises a generation, so that ten webhooks are one refresh; one that a planned run covers changes nothing. A
//! claim hands a row out for a time under a token; only who holds the token may settle it. Nothing here knows how the rows
//! are stored.

use std::{fmt, time::Duration};

use jiff::Timestamp;
use serde_json::Value as Json;

use crate::ids::WebsiteId;

use super::{mirror::Write, trigger::Trigger};

/// Declares an enum whose variants are stored, logged and typed by one word each.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// Every variant.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word in tables, logs and commands.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// Takes the word back.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)* _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(self.as_str())
            }
        }
    };
}
pub(super) use words;

words! {
    /// What a row is about.
    WorkKind {
        /// A conversation; the key is its session id.
        Conversation = "conversation",
        /// A person; the key is the user key.
        Person = "person",
        /// The look through the app's database for missed events; the key is a name of the caller's choice.
        Sweep = "sweep",
        /// The look at what happened while nobody listened.
        Gap = "gap",
        /// The removal of what is too old.
        Prune = "prune",
        /// What an erasure still owes Crisp; the key is its receipt.
        Erase = "erase",
    }
}

impl WorkKind {
    /// Whether such work calls Crisp, and so waits while calls are paused. A sweep only reads the app's database and
    /// enqueues; a prune only deletes.
    pub fn calls_crisp(self) -> bool {
        matches!(
            self,
            Self::Conversation | Self::Person | Self::Gap | Self::Erase
        )
    }

    /// Whether such work calls Crisp for contacts alone, and so waits while these are refused.
    pub fn is_about_people(self) -> bool {
        matches!(self, Self::Person | Self::Erase)
    }

    /// Whether such a row is tried for ever: nothing else would take up its work. It is about no conversation's mirror and no
    /// person's.
    pub fn stands_for_ever(self) -> bool {
        matches!(self, Self::Gap | Self::Sweep | Self::Erase | Self::Prune)
    }
}

/// Prints a key unless it names a person.
pub(super) struct Key<'a>(pub(super) WorkKind, pub(super) &'a str);

impl fmt::Debug for Key<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0 == WorkKind::Person {
            "…"
        } else {
            self.1
        })
    }
}

/// A row handed out for a time. Who holds it may settle it; when the lease has run out, somebody else may.
#[derive(Clone, PartialEq, Eq)]
pub struct Claim {
    /// What the row is about.
    pub kind: WorkKind,
    /// Whose.
    pub website: WebsiteId,
    /// Which.
    pub key: String,
    /// The generation that a settlement completes.
    pub generation: i64,
    /// Proves the lease.
    pub token: String,
    /// The attempt at this generation, from 1.
    pub attempt: u32,
    /// How often the lease ran out since the last settlement.
    pub crashes: u32,
    /// Why it runs.
    pub trigger: Trigger,
    /// 0 runs first.
    pub priority: u8,
    /// When the first trigger of this run came.
    pub first_triggered_at: Timestamp,
    /// When the lease runs out.
    pub lease_until: Timestamp,
    /// Whether this row was let through to find out whether a pause is over.
    pub probe: bool,
}

impl Claim {
    /// Tells this claim of its generation from an earlier one of the same: it grows when an attempt failed and when a lease
    /// ran out. Only a claim that was put back as if it had not been made is followed by an equal one.
    pub fn fence(&self) -> u32 {
        self.attempt.saturating_add(self.crashes)
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Claim")
            .field("kind", &self.kind)
            .field("website", &self.website)
            .field("key", &Key(self.kind, &self.key))
            .field("generation", &self.generation)
            .field("attempt", &self.attempt)
            .field("crashes", &self.crashes)
            .field("trigger", &self.trigger)
            .field("priority", &self.priority)
            .field("first_triggered_at", &self.first_triggered_at)
            .field("lease_until", &self.lease_until)
            .field("probe", &self.probe)
            .finish_non_exhaustive()
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The claimed generation is complete.
    Done,
    /// Complete, and to be looked at again.
    Again {
        /// When.
        at: Timestamp,
    },
    /// It failed and will be tried again. Whether there were too many attempts is the caller's decision.
    Retry {
        /// Not before this instant; no trigger moves it.
        at: Timestamp,
        /// Why, without private text.
        error: String,
    },
    /// Something that everybody needs is down: the row waits, and the attempt is not counted.
    Wait {
        /// Not before this instant; no trigger moves it.
        at: Timestamp,
        /// Why, without private text.
        error: String,
    },
    /// Its turn has not come: it stays what it is, keeps its trigger and its priority, and whoever asks anew may bring it
    /// forward. Nothing was tried.
    PutOff {
        /// Until when.
        at: Timestamp,
        /// Why, without private text.
        reason: String,
    },
    /// Crisp refuses our token: every call waits. The attempt is not counted.
    PauseToken {
        /// When the first probe may go.
        until: Timestamp,
        /// How long after an unanswered probe the next may go.
        probe_every: Duration,
        /// Why, without private text.
        reason: String,
    },
    /// Crisp refuses us for this website: its calls wait. The attempt is not counted.
    PauseWebsite {
        /// When the first probe may go.
        until: Timestamp,
        /// How long after an unanswered probe the next may go.
        probe_every: Duration,
        /// Why, without private text.
        reason: String,
    },
    /// Crisp refuses us for contacts of this website: the work on people waits, conversations go on. The attempt is not
    /// counted.
    PausePeople {
        /// When the first probe may go.
        until: Timestamp,
        /// How long after an unanswered probe the next may go.
        probe_every: Duration,
        /// Why, without private text.
        reason: String,
    },
    /// What the row is about does not exist any more.
    Gone,
    /// Crisp refuses what we wrote; the same would be refused again. The row is dead until revived.
    Invalid {
        /// Why, without private text.
        error: String,
    },
    /// Tried too often. The row is dead until revived.
    Buried {
        /// Why, without private text.
        error: String,
    },
}

impl Outcome {
    /// The outcome in traces, logs and metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Again { .. } => "again",
            Self::Retry { .. } => "retry",
            Self::Wait { .. } => "waits",
            Self::PutOff { .. } => "put_off",
            Self::PauseToken { .. } => "pause_token",
            Self::PauseWebsite { .. } => "pause_website",
            Self::PausePeople { .. } => "pause_people",
            Self::Gone => "gone",
            Self::Invalid { .. } => "invalid",
            Self::Buried { .. } => "buried",
        }
    }
}

/// Everything an attempt leaves behind. It is written in one transaction or not at all.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// How it ended.
    pub outcome: Outcome,
    /// What is known now.
    pub writes: Vec<Write>,
    /// What was decided and why, for `explain`.
    pub trace: Option<Trace>,
    /// Calls to Crisp by purpose.
    pub calls: Vec<(&'static str, u32)>,
}

impl Settlement {
    /// A settlement that writes nothing else.
    pub fn of(outcome: Outcome) -> Self {
        Self {
            outcome,
            writes: Vec::new(),
            trace: None,
            calls: Vec::new(),
        }
    }
}

/// Whether a settlement was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Settled {
    /// All of it.
    Written,
    /// The lease was lost: nothing of it.
    LeaseLost,
}

/// What one attempt decided and why. The caller keeps private text out of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// One word: what became of it.
    pub outcome: String,
    /// The steps.
    pub detail: Json,
}

/// A trace as it was kept.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceRow {
    /// When the attempt was settled.
    pub at: Timestamp,
    /// Why it ran.
    pub trigger: Trigger,
    /// Which attempt it was.
    pub attempt: u32,
    /// What became of it.
    pub trace: Trace,
}

words! {
    /// Where a row stands.
    WorkState {
        /// Idle, waiting or leased.
        Ready = "ready",
        /// A dead letter.
        Dead = "dead",
    }
}

/// A work row as `status`, `explain` and tests see it.
#[derive(Clone, PartialEq, Eq)]
pub struct WorkRow {
    /// What the row is about.
    pub kind: WorkKind,
    /// Whose.
    pub website: WebsiteId,
    /// Which.
    pub key: String,
    /// The generation that triggers asked for.
    pub want_generation: i64,
    /// The last generation that was completed.
    pub done_generation: i64,
    /// When it is to run.
    pub run_at: Timestamp,
    /// Backoff: not before.
    pub not_before: Timestamp,
    /// Attempts that failed since the last completion.
    pub attempts: u32,
    /// Leases that ran out since the last completion.
    pub crashes: u32,
    /// Who works on it is to be done by then.
    pub lease_until: Option<Timestamp>,
    /// Where it stands.
    pub state: WorkState,
    /// The trigger that decides when it runs, or did.
    pub trigger: Trigger,
    /// 0 runs first.
    pub priority: u8,
    /// When the first trigger of the next run came.
    pub first_triggered_at: Timestamp,
    /// When it was last completed.
    pub done_at: Option<Timestamp>,
    /// Whether its identity changed and was not looked at since.
    pub unsettled: bool,
    /// When it died.
    pub dead_at: Option<Timestamp>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

impl WorkRow {
    /// Whether a trigger waits.
    pub fn is_pending(&self) -> bool {
        self.want_generation > self.done_generation
    }
}

impl fmt::Debug for WorkRow {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("WorkRow")
            .field("kind", &self.kind)
            .field("website", &self.website)
            .field("key", &Key(self.kind, &self.key))
            .field("want_generation", &self.want_generation)
            .field("done_generation", &self.done_generation)
            .field("run_at", &self.run_at)
            .field("not_before", &self.not_before)
            .field("attempts", &self.attempts)
            .field("crashes", &self.crashes)
            .field("lease_until", &self.lease_until)
            .field("state", &self.state)
            .field("trigger", &self.trigger)
            .field("priority", &self.priority)
            .field("unsettled", &self.unsettled)
            .field("last_error", &self.last_error)
            .finish_non_exhaustive()
    }
}
