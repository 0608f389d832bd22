//! From what a run came to, to what the ledger is told. Pure.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use super::{AfterFailure, WorkerSettings};
use crate::{
    ledger::{Claim, Outcome as Settling, Write},
    reconcile::{Disposition, ReconcileError, Reconciled},
};

/// What the ledger is told about a run.
#[derive(Debug)]
pub(super) struct Verdict {
    /// The word in logs and metrics.
    pub(super) word: &'static str,
    /// The settlement's outcome.
    pub(super) settling: Settling,
    /// What is written with it.
    pub(super) writes: Vec<Write>,
    /// What went wrong, for people: the chain of causes, and a hint.
    pub(super) error: Option<String>,
    /// Whether a write may have been applied though nobody said so.
    pub(super) in_doubt: bool,
}

/// Decides how a run is settled.
pub(super) fn verdict(
    claim: &Claim,
    result: Result<Reconciled, ReconcileError>,
    settings: &WorkerSettings,
    now: Timestamp,
    jitter: f64,
) -> Verdict {
    let (reconciled, error) = match result {
        Ok(mut reconciled) => {
            let owed = reconciled.owed.take();
            (reconciled, owed)
        }
        Err(error) => (Reconciled::default(), Some(error)),
    };
    let Some(error) = error else {
        return Verdict {
            word: reconciled.outcome.as_str(),
            settling: reconciled
                .again_at
                .map_or(Settling::Done, |at| Settling::Again { at }),
            writes: reconciled.writes,
            error: None,
            in_doubt: false,
        };
    };
    let in_doubt = error.leaves_doubt();
    let told = told(&error);
    let settling = match error.disposition() {
        Disposition::Retry { after } => {
            match settings.retry.after_failure(claim.attempt, after, jitter) {
                AfterFailure::RetryIn(wait) => Settling::Retry {
                    at: later(now, wait),
                    error: told.clone(),
                },
                AfterFailure::Bury => Settling::Buried {
                    error: told.clone(),
                },
            }
        }
        Disposition::Wait => {
            // As far apart as the last attempt but one would be: the count is not what ends it.
            let attempt = claim
                .attempt
                .min(settings.retry.attempts.saturating_sub(1))
                .max(1);
            match settings.retry.after_failure(attempt, None, jitter) {
                AfterFailure::RetryIn(wait) => Settling::Retry {
                    at: later(now, wait),
                    error: told.clone(),
                },
                AfterFailure::Bury => Settling::Buried {
                    error: told.clone(),
                },
            }
        }
        Disposition::PauseToken { after, reason } => Settling::PauseToken {
            until: later(now, after.unwrap_or(settings.probe_every)),
            probe_every: settings.probe_every,
            reason,
        },
        Disposition::PauseWebsite { reason } => Settling::PauseWebsite {
            until: later(now, settings.probe_every),
            probe_every: settings.probe_every,
            reason,
        },
        Disposition::Gone => Settling::Gone,
        Disposition::Invalid => Settling::Invalid {
            error: told.clone(),
        },
        // Refused by the ledger if somebody else has the row by now.
        Disposition::LeaseLost => Settling::Retry {
            at: now,
            error: told.clone(),
        },
    };
    Verdict {
        word: settling.as_str(),
        settling,
        writes: reconciled.writes,
        error: Some(told),
        in_doubt,
    }
}

/// The chain of causes in one line, with the hint behind it.
fn told(error: &ReconcileError) -> String {
    let mut told = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let text = error.to_string();
        if !told.contains(&text) {
            told.push_str(": ");
            told.push_str(&text);
        }
        cause = error.source();
    }
    if let Some(hint) = error.hint().filter(|_| !told.contains("hint: ")) {
        told.push_str("\nhint: ");
        told.push_str(&hint);
    }
    told
}

fn later(now: Timestamp, wait: Duration) -> Timestamp {
    now.checked_add(wait).unwrap_or(Timestamp::MAX)
}

/// Calls by purpose.
pub(super) fn count(purposes: &[&'static str]) -> Vec<(&'static str, u32)> {
    let mut counts = BTreeMap::new();
    for purpose in purposes {
        *counts.entry(*purpose).or_insert(0) += 1;
    }
    counts.into_iter().collect()
}
