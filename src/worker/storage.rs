//! The bad days of our own ledger: a result that cannot be written.
//!
//! A row whose result was not taken would be done again when its lease is over, and each time a crash would be counted that
//! was none. So it is given back, and nothing more is taken but one probe at a time: what is done under a claim cannot be
//! written down either.

use std::sync::PoisonError;

use jiff::{SignedDuration, Timestamp};

use super::{Worked, Worker, log};
use crate::{
    breaker::LEDGER,
    ledger::{Claim, LedgerError, Outcome as Settling, Settlement},
};

/// How long a row waits that was given back; the breaker spaces the probes.
const AGAIN_IN: SignedDuration = SignedDuration::from_secs(5);

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
        let outcome = if error.is_transient() {
            self.storage_failed(error);
            Settling::Wait {
                at: now.checked_add(AGAIN_IN).unwrap_or(Timestamp::MAX),
                error: told.clone(),
            }
        } else {
            let wait = self.settings.retry.without_end(claim.attempt, 1.0);
            Settling::Retry {
                at: now.checked_add(wait).unwrap_or(Timestamp::MAX),
                error: told.clone(),
            }
        };
        let settlement = Settlement {
            writes: Self::doubt(claim).into_iter().collect(),
            calls,
            ..Settlement::of(outcome)
        };
        let given_back = self.ledger.settle(claim, settlement.clone(), now).await;
        if given_back.is_err_and(|error| error.is_transient()) {
            self.owed(|owed| owed.push((claim.clone(), settlement)));
        }
        Worked {
            outcome: "unsettled",
            error: Some(told),
            ..Worked::default()
        }
    }

    /// Results can be written.
    pub(super) fn storage_works(&self) {
        self.breakers.of(LEDGER).succeeded();
    }

    pub(super) fn storage_failed(&self, error: &LedgerError) {
        self.breakers.of(LEDGER).failed(&error.to_string());
    }

    fn owed<T>(&self, change: impl FnOnce(&mut Vec<(Claim, Settlement)>) -> T) -> T {
        let owed = self.unsettled.lock();
        change(&mut owed.unwrap_or_else(PoisonError::into_inner))
    }
}
