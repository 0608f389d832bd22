//! From what a run came to, to what the ledger is told. Pure.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use super::{
    AfterFailure, WorkerSettings,
    backoff::{after_outage, soon},
    budget::Answered,
};
use crate::{
    breaker::Outage,
    crisp::CrispError,
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

/// How the outside thing stands that a run failed on.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Around {
    /// Its failures since its last success, whoever they hit.
    pub(super) failures_in_a_row: u32,
    /// Whether it is down.
    pub(super) outage: Option<Outage>,
    /// Whether rows are not taken at all while it is down, so that they need no wait of their own.
    pub(super) is_gated: bool,
}

impl Around {
    /// Whether it failed for somebody else, or for this row before, and for nobody it worked between: then nothing says
    /// that the row is at fault.
    fn fails_everybody(&self) -> bool {
        self.outage.is_some() || self.failures_in_a_row > 1
    }
}

/// A row that failed as the probe lets the others go first, however urgent it is: if it is the only one that fails, it must
/// not be all that is ever tried.
pub(super) const BEHIND_OTHERS: Duration = Duration::from_secs(1);

/// Decides how a run is settled.
pub(super) fn verdict(
    claim: &Claim,
    result: Result<Reconciled, ReconcileError>,
    settings: &WorkerSettings,
    around: Around,
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
    let wait = |at| Settling::Wait {
        at,
        error: told.clone(),
    };
    let over = |outage: Outage| {
        if around.is_gated {
            later(outage.until, BEHIND_OTHERS)
        } else {
            after_outage(outage, claim.priority, now, jitter)
        }
    };
    let longest = later(now, settings.retry.longest);
    let settling = match (error.disposition(), around.outage) {
        (Disposition::Retry { after }, Some(outage)) => {
            let asked_for = after.unwrap_or_default().min(settings.retry.longest);
            wait(over(outage).max(later(now, asked_for)))
        }
        (Disposition::Wait, Some(outage)) => wait(over(outage)),
        (Disposition::Retry { after }, None) => {
            match settings.retry.after_failure(claim.attempt, after, jitter) {
                AfterFailure::RetryIn(wait) => Settling::Retry {
                    at: later(now, wait),
                    error: told.clone(),
                },
                AfterFailure::Bury if around.fails_everybody() => wait(longest),
                AfterFailure::Bury => Settling::Buried {
                    error: told.clone(),
                },
            }
        }
        // Nobody counts such failures but the row, so its own attempts space them; they do not end it.
        (Disposition::Wait, None) if around.failures_in_a_row == 0 => Settling::Retry {
            at: later(now, settings.retry.without_end(claim.attempt, jitter)),
            error: told.clone(),
        },
        (Disposition::Wait, None) => wait(later(now, soon(around.failures_in_a_row, jitter))),
        (Disposition::PauseToken { after, reason }, _) => Settling::PauseToken {
            until: later(now, after.unwrap_or(settings.probe_every)),
            probe_every: settings.probe_every,
            reason,
        },
        // What is refused for contacts must not make the chats of a website old: they have a pause of their own.
        (Disposition::PauseKind { reason }, _) if claim.kind.is_about_people() => {
            Settling::PausePeople {
                until: later(now, settings.probe_every),
                probe_every: settings.probe_every,
                reason,
            }
        }
        (Disposition::PauseWebsite { reason } | Disposition::PauseKind { reason }, _) => {
            Settling::PauseWebsite {
                until: later(now, settings.probe_every),
                probe_every: settings.probe_every,
                reason,
            }
        }
        (Disposition::Gone, _) => Settling::Gone,
        (Disposition::Invalid, _) => Settling::Invalid {
            error: told.clone(),
        },
        // Refused by the ledger if somebody else has the row by now.
        (Disposition::LeaseLost, _) => Settling::Retry {
            at: now,
            error: told.clone(),
        },
    };
    // An accident is told of as one; in an outage the breaker has told already.
    let word = match &settling {
        Settling::Wait { .. } if around.outage.is_none() => "retry",
        settling => settling.as_str(),
    };
    let settling = kept(claim, settling, in_doubt, wait(longest));
    Verdict {
        word,
        settling,
        writes: reconciled.writes,
        error: Some(told),
        in_doubt,
    }
}

/// The same, with what the next run has to know, and never an end for a row whose work nothing would take up.
fn kept(claim: &Claim, settling: Settling, in_doubt: bool, waits: Settling) -> Settling {
    match settling {
        // A write of an earlier run may still land.
        Settling::Wait { at, error } if in_doubt && claim.attempt == 1 => {
            Settling::Retry { at, error }
        }
        Settling::Buried { .. } | Settling::Invalid { .. } | Settling::Gone
            if claim.kind.stands_for_ever() =>
        {
            waits
        }
        settling => settling,
    }
}

/// What a run that called Crisp tells about the quota. What failed for another reason tells nothing.
pub(super) fn answered(result: &Result<Reconciled, ReconcileError>) -> Option<Answered> {
    let error = match result {
        Ok(reconciled) => reconciled.owed.as_ref(),
        Err(error) => Some(error),
    };
    match error {
        None => Some(Answered::Through),
        Some(ReconcileError::Crisp(CrispError::Throttled { retry_after, .. })) => {
            Some(Answered::Throttled {
                asked_to_wait: *retry_after,
            })
        }
        Some(_) => None,
    }
}

/// The chain of causes in one line, with the hint behind it.
pub(super) fn told(error: &ReconcileError) -> String {
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

#[cfg(test)]
mod tests {
    use crate::{
        ids::WebsiteId,
        ledger::{LedgerError, Trigger, WorkKind},
    };

    use super::*;

    fn claim(attempt: u32) -> Claim {
        Claim {
            kind: WorkKind::Conversation,
            website: WebsiteId::parse("8c842203-7ed8-4e29-a608-7cf78a7d2fcc").expect("an id"),
            key: "session_5d0f6f1e-3c1b-4a3e-8a57-9f1f0a1b2c3d".to_owned(),
            generation: 1,
            token: String::new(),
            attempt,
            crashes: 0,
            trigger: Trigger::MessageSend,
            priority: 1,
            first_triggered_at: Timestamp::UNIX_EPOCH,
            lease_until: Timestamp::UNIX_EPOCH,
            probe: false,
        }
    }

    fn decided(attempt: u32, error: ReconcileError, around: Around) -> Verdict {
        let settings = WorkerSettings::default();
        let now = Timestamp::UNIX_EPOCH;
        verdict(&claim(attempt), Err(error), &settings, around, now, 1.0)
    }

    #[test]
    fn a_fault_of_the_ledger_that_stays_is_looked_at_ever_more_rarely_and_never_buried() {
        for (attempt, seconds) in [(1, 2), (4, 16), (11, 2048), (12, 3600), (400, 3600)] {
            let decided = decided(attempt, LedgerError::Closed.into(), Around::default());
            let Settling::Retry { at, .. } = decided.settling else {
                panic!("attempt {attempt}: {decided:?}")
            };
            assert_eq!(at.as_second(), seconds, "attempt {attempt}");
        }
    }

    #[test]
    fn that_a_write_may_still_land_is_known_to_the_next_run_also_in_an_outage() {
        let until = Timestamp::from_second(60).expect("an instant");
        let around = Around {
            failures_in_a_row: 9,
            outage: Some(Outage {
                since: Timestamp::UNIX_EPOCH,
                until,
            }),
            is_gated: true,
        };
        let first = decided(1, ReconcileError::Deadline, around);
        assert!(
            matches!(first.settling, Settling::Retry { .. }),
            "{first:?}"
        );
        assert_eq!(first.word, "waits", "one line about the outage is enough");
        let later = decided(2, ReconcileError::Deadline, around);
        assert!(matches!(later.settling, Settling::Wait { .. }), "{later:?}");
    }
}
