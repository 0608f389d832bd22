//! The bad days of our own ledger: a result that cannot be written.
//!
//! A row whose result was not taken would be done again when its lease is over, and each time a crash would be counted that
//! was none. So it is given back, and nothing more is taken but one probe at a time: what is done under a claim cannot be
//! written down either.

use std::{sync::PoisonError, time::Duration};

use jiff::Timestamp;

use super::{AfterFailure, Worked, Worker, log, settle::BEHIND_OTHERS};
use crate::{
    breaker::{LEDGER, RESULTS},
    ledger::{Claim, LedgerError, Outcome as Settling, Settled, Settlement, WorkKind},
};

/// How long a row waits that was given back; the breaker spaces the probes.
const AGAIN_IN: Duration = Duration::from_secs(5);

impl Worker {
    /// Takes due rows, after what could not be given back before is: else its lease would run out, and count as a crash.
    pub(super) async fn take(&self, limit: u32) -> Result<Vec<Claim>, LedgerError> {
        while let Some((claim, settlement)) = self.owed(Vec::pop) {
            let now = self.clock.now();
            let settled = self.ledger.settle(&claim, settlement.clone(), now).await;
            match settled {
                Err(error) if error.is_transient() => {
                    self.owed(|owed| owed.push((claim, settlement)));
                    return Err(error);
                }
                // It never will be. Nobody else may have to wait for it; its lease runs out.
                Err(error) => log::fault(&error),
                Ok(_) => {}
            }
        }
        let now = self.clock.now();
        self.ledger.claim(limit, self.settings.lease, now).await
    }

    /// The ledger did not take the result, nor count the calls that were made for it. It may have room for so much that the
    /// row is ours no more; something may have been done under this claim that nobody wrote down.
    pub(super) async fn unsettled(
        &self,
        claim: &Claim,
        error: &LedgerError,
        calls: Vec<(&'static str, u32)>,
    ) -> Worked {
        log::fault(error);
        let now = self.clock.now();
        let told = error.to_string();
        let outcome = self.given_back(claim, error, now);
        let is_buried = matches!(outcome, Settling::Buried { .. });
        let settlement = Settlement {
            writes: Self::doubt(claim).into_iter().collect(),
            calls,
            ..Settlement::of(outcome)
        };
        let again_at = match &settlement.outcome {
            Settling::Wait { at, .. } | Settling::Retry { at, .. } => Some(*at),
            _ => None,
        };
        let given_back = self.ledger.settle(claim, settlement.clone(), now).await;
        let is_buried = is_buried && matches!(given_back, Ok(Settled::Written));
        if given_back.is_err_and(|error| error.is_transient()) {
            self.owed(|owed| owed.push((claim.clone(), settlement)));
        }
        Worked {
            outcome: if is_buried { "buried" } else { "unsettled" },
            error: Some(told),
            again_at,
            ..Worked::default()
        }
    }

    /// How a row is given back. Who would be made again at once, each time with its calls to Crisp, waits longer each time if
    /// it is the only one; and what the ledger refuses of one row and takes of others of its kind ends as that row's fault.
    fn given_back(&self, claim: &Claim, error: &LedgerError, now: Timestamp) -> Settling {
        let told = error.to_string();
        let later = |wait| now.checked_add(wait).unwrap_or(Timestamp::MAX);
        if error.is_transient() {
            self.storage_failed(error);
            // A full disk or a server that is gone is everybody's, though it may take something small in between.
            let may_be_its_own = matches!(error, LedgerError::Storage { .. });
            if !may_be_its_own || self.fails_everybody(LEDGER) {
                // Behind the next probe: if it is the only one that fails, it must not be all that is ever tried.
                let outage = self.breakers.outage(LEDGER);
                let behind = outage.and_then(|outage| outage.until.checked_add(BEHIND_OTHERS).ok());
                return Settling::Wait {
                    at: behind.unwrap_or(now).max(later(AGAIN_IN)),
                    error: told,
                };
            }
        }
        let results = results_of(claim.kind);
        if error.is_of_a_row() {
            self.breakers.of(&results).failed(&told);
        }
        let policy = self.settings.retry;
        let ends =
            error.is_of_a_row() && !claim.kind.stands_for_ever() && !self.fails_everybody(&results);
        match policy.after_failure(claim.attempt, None, 1.0) {
            AfterFailure::Bury if ends => Settling::Buried { error: told },
            _ => Settling::Retry {
                at: later(policy.without_end(claim.attempt, 1.0).max(AGAIN_IN)),
                error: told,
            },
        }
    }

    /// Whether it failed before, and for nobody it worked between.
    fn fails_everybody(&self, name: &str) -> bool {
        self.breakers.outage(name).is_some() || self.breakers.failures_in_a_row(name) > 1
    }

    /// Results of such work can be written.
    pub(super) fn storage_works(&self, kind: WorkKind) {
        self.breakers.of(LEDGER).succeeded();
        self.breakers.of(&results_of(kind)).succeeded();
    }

    pub(super) fn storage_failed(&self, error: &LedgerError) {
        self.breakers.of(LEDGER).failed(&error.to_string());
    }

    fn owed<T>(&self, change: impl FnOnce(&mut Vec<(Claim, Settlement)>) -> T) -> T {
        let owed = self.unsettled.lock();
        change(&mut owed.unwrap_or_else(PoisonError::into_inner))
    }
}

/// A table that takes no person's results may take every conversation's.
fn results_of(kind: WorkKind) -> String {
    format!("{RESULTS}.{}", kind.as_str())
}
