//! One attempt: from a claim to its settlement.
//!
//! An attempt that panics is settled like one that failed. One whose process died is not settled at all: its lease runs out,
//! and the ledger counts a crash. Whose fault a crash was nobody can tell while several rows were in hand, so a row that saw
//! two is worked alone from then on, and only what happens to it there speaks against it.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt as _;
use jiff::Timestamp;
use tokio::sync::{RwLockReadGuard, RwLockWriteGuard};

use super::{
    Worked, Worker, backoff, budget, log,
    settle::{self, Around},
    within::within,
};
use crate::{
    breaker::{CRISP, DEFINITION, PEOPLE, Permit},
    identity::Trust,
    ids::{SessionId, UserKey},
    ledger::{Claim, LedgerError, Outcome as Settling, Settled, Settlement, WorkKind, Write},
    reconcile::{Outcome, ReconcileError, Reconciled, Run},
    telemetry::metrics::WorkLabels,
};

/// From so many crashes on a row is worked alone.
const SUSPECT: u32 = 2;

/// Held while a row is worked.
enum Place<'worker> {
    Shared {
        _guard: RwLockReadGuard<'worker, ()>,
    },
    Alone {
        _guard: RwLockWriteGuard<'worker, ()>,
    },
}

impl Worker {
    /// Works one claim to its settlement.
    pub async fn work(&self, claim: Claim) -> Worked {
        let started = self.clock.now();
        let ended = match self.place(&claim).await {
            // Boxed: whoever awaits an attempt is nested deep already.
            Ok(Some((_place, until))) => Box::pin(self.placed(&claim, started, until)).await,
            Ok(None) => Worked {
                outcome: "lease_lost",
                ..Worked::default()
            },
            Err(error) => self.unsettled(&claim, &error, Vec::new()).await,
        };
        let duration = self.clock.now().duration_since(started).unsigned_abs();
        self.metrics
            .work
            .get_or_create(&WorkLabels {
                kind: claim.kind.as_str(),
                outcome: ended.outcome,
            })
            .inc();
        self.log(&claim, &ended, duration);
        ended
    }

    /// Works a row that has its place.
    async fn placed(&self, claim: &Claim, started: Timestamp, until: Timestamp) -> Worked {
        match (self.leave(claim), self.admits(claim, started).await) {
            (_, Err(error)) => self.unsettled(claim, &error, Vec::new()).await,
            (Err(at), _) => self.wait_for_people(claim, at, started).await,
            (Ok(_), Ok(false)) => self.put_off(claim, started).await,
            (Ok(_leave), Ok(true)) => self.refresh(claim, until).await,
        }
    }

    /// Waits for a place to work the row in, and says how long the lease is from then on. `None`: it was lost meanwhile.
    async fn place(&self, claim: &Claim) -> Result<Option<(Place<'_>, Timestamp)>, LedgerError> {
        if claim.crashes < SUSPECT
            && let Ok(guard) = self.alone.try_read()
        {
            return Ok(Some((Place::Shared { _guard: guard }, claim.lease_until)));
        }
        let waiting = async {
            if claim.crashes < SUSPECT {
                Place::Shared {
                    _guard: self.alone.read().await,
                }
            } else {
                Place::Alone {
                    _guard: self.alone.write().await,
                }
            }
        };
        let mut waiting = std::pin::pin!(waiting);
        loop {
            let turn = tokio::time::timeout(self.settings.lease / 3, &mut waiting).await;
            // The wait uses up the lease. Should it run out here, that would count as a crash of a row that did nothing.
            let now = self.clock.now();
            if !self.ledger.extend(claim, self.settings.lease, now).await? {
                return Ok(None);
            }
            if let Ok(place) = turn {
                let until = now.checked_add(self.settings.lease);
                return Ok(Some((place, until.unwrap_or(Timestamp::MAX))));
            }
        }
    }

    async fn refresh(&self, claim: &Claim, until: Timestamp) -> Worked {
        let mut run = self.reconciler.run(claim.clone(), self.clock.clone());
        // Some of the lease is gone by now, and a request must not outlive it.
        let left = Duration::try_from(until.duration_since(self.clock.now())).unwrap_or_default();
        let deadline = left
            .min(self.settings.lease)
            .saturating_sub(self.settings.call_timeout);
        let working = AssertUnwindSafe(self.reconcile(&mut run, claim)).catch_unwind();
        let result = match within(deadline, working).await {
            Some(Ok(result)) => result,
            // Not the panic's own words: they may hold a value.
            Some(Err(_panic)) => Err(ReconcileError::Panicked),
            // The request in flight is dropped with the future; what became of it is in doubt.
            None => Err(ReconcileError::Deadline),
        };
        self.judge_definition(&result);
        self.settle(claim, run, result).await
    }

    async fn admits(&self, claim: &Claim, now: Timestamp) -> Result<bool, LedgerError> {
        budget::admits(&self.ledger, self.settings.quota, claim, now).await
    }

    /// Leave to call what this kind of work calls beyond what all work does, or when to look again.
    fn leave(&self, claim: &Claim) -> Result<Vec<Permit>, Timestamp> {
        if claim.kind != WorkKind::Person {
            return Ok(Vec::new());
        }
        let now = self.clock.now();
        self.breakers.admit(PEOPLE).map_err(|until| {
            let outage = self.breakers.outage(PEOPLE);
            let after = outage.map(|outage| {
                backoff::after_outage(outage, claim.priority, now, self.settings.chance.jitter())
            });
            after.map_or(until, |after| after.max(until))
        })
    }

    /// Crisp does nothing for contacts: the row stays, and spends no attempt.
    async fn wait_for_people(&self, claim: &Claim, at: Timestamp, now: Timestamp) -> Worked {
        let error = "Crisp does nothing for contacts now\nhint: `GET /status` lists the breakers `people.…` with the last error";
        let settlement = Settlement::of(Settling::Wait {
            at,
            error: error.to_owned(),
        });
        match self.ledger.settle(claim, settlement, now).await {
            Ok(_) => Worked {
                outcome: "waits",
                error: Some(error.to_owned()),
                again_at: Some(at),
                ..Worked::default()
            },
            Err(error) => self.unsettled(claim, &error, Vec::new()).await,
        }
    }

    /// The day's quota is kept for what matters more: the row stays, and spends no attempt.
    async fn put_off(&self, claim: &Claim, now: Timestamp) -> Worked {
        let at = now
            .checked_add(self.settings.probe_every)
            .unwrap_or(Timestamp::MAX);
        let settlement = Settlement::of(Settling::PutOff {
            at,
            reason: "the day's quota is kept for what matters more".to_owned(),
        });
        match self.ledger.settle(claim, settlement, now).await {
            Ok(_) => Worked {
                outcome: "over_quota",
                error: Some(
                    "the day's quota is kept for what matters more\nhint: `crisp.daily_quota` says how much Crisp grants"
                        .to_owned(),
                ),
                again_at: Some(at),
                ..Worked::default()
            },
            Err(error) => self.unsettled(claim, &error, Vec::new()).await,
        }
    }

    async fn reconcile(&self, run: &mut Run, claim: &Claim) -> Result<Reconciled, ReconcileError> {
        match claim.kind {
            WorkKind::Conversation => match SessionId::parse(&claim.key) {
                Ok(session) => {
                    self.reconciler
                        .conversation(run, &claim.website, &session)
                        .await
                }
                Err(_) => Ok(Reconciled::default()),
            },
            WorkKind::Person => match UserKey::parse(&claim.key) {
                Ok(key) => self.reconciler.person(run, &claim.website, &key).await,
                Err(_) => Ok(Reconciled::default()),
            },
            WorkKind::Gap => self.reconciler.gap(run, &claim.website).await,
            WorkKind::Erase => self.reconciler.erase(run, &claim.website, &claim.key).await,
            WorkKind::Sweep => self.reconciler.sweep(run, &claim.key).await,
            // Nothing enqueues this yet; a row that is there all the same is done.
            WorkKind::Prune => Ok(Reconciled::default()),
        }
    }

    async fn settle(
        &self,
        claim: &Claim,
        run: Run,
        result: Result<Reconciled, ReconcileError>,
    ) -> Worked {
        let now = self.clock.now();
        let around = self.around(claim, &result);
        let answered = settle::answered(&result);
        let mut verdict = settle::verdict(
            claim,
            result,
            &self.settings,
            around,
            now,
            self.settings.chance.jitter(),
        );
        if verdict.in_doubt {
            verdict.writes.extend(Self::doubt(claim));
        }
        let calls = run.calls();
        let worked = Worked {
            outcome: verdict.word,
            error: verdict.error.clone(),
            changed: run.trace.changed_names(),
            calls: calls.len(),
            user: run.user.clone(),
            trust: run.trust.map(Trust::as_str),
            reason: run.trace.facts.join("; "),
            again_at: match &verdict.settling {
                Settling::Retry { at, .. } | Settling::Wait { at, .. } => Some(*at),
                Settling::PauseToken { until, .. }
                | Settling::PauseWebsite { until, .. }
                | Settling::PausePeople { until, .. } => Some(*until),
                _ => None,
            },
        };
        let mut made = settle::count(&calls);
        made.extend(budget::unproven(claim, run.trust, calls.len()));
        let mut counted = made.clone();
        if let Some(answered) = answered.filter(|_| !calls.is_empty()) {
            let corrected =
                budget::corrections(&self.ledger, self.settings.quota, claim, answered, now).await;
            // Without them the estimate is what it was.
            counted.extend(corrected.unwrap_or_default());
        }
        let settlement = Settlement {
            outcome: verdict.settling.clone(),
            writes: verdict.writes,
            trace: Some(run.into_trace(verdict.word, verdict.error)),
            calls: counted,
        };
        match self.ledger.settle(claim, settlement, now).await {
            Ok(Settled::Written) => {
                self.storage_works(claim.kind);
                log::announce(claim, &verdict.settling, worked.error.as_deref());
                worked
            }
            Ok(Settled::LeaseLost) => {
                // The calls were made all the same.
                if let Err(error) = self.ledger.count_calls(&made, now).await {
                    log::fault(&error);
                }
                Worked {
                    outcome: "lease_lost",
                    ..worked
                }
            }
            Err(error) => self.unsettled(claim, &error, made).await,
        }
    }

    /// A definition that fits no row is everybody's fault, one that does not fit this row is the row's.
    fn judge_definition(&self, result: &Result<Reconciled, ReconcileError>) {
        let definition = self.breakers.of(DEFINITION);
        let failed = match result {
            Ok(reconciled) => reconciled.owed.as_ref(),
            Err(error) => Some(error),
        };
        match (failed, result) {
            (Some(error @ (ReconcileError::Evaluate(_) | ReconcileError::Rule(_))), _) => {
                definition.failed(&settle::told(error));
            }
            (
                None,
                Ok(Reconciled {
                    outcome: Outcome::Unchanged | Outcome::Patched | Outcome::WouldPatch,
                    ..
                }),
            ) => definition.succeeded(),
            _ => {}
        }
    }

    /// How the thing stands that a run failed on.
    fn around(&self, claim: &Claim, result: &Result<Reconciled, ReconcileError>) -> Around {
        let error = match result {
            Ok(reconciled) => reconciled.owed.as_ref(),
            Err(error) => Some(error),
        };
        let Some(name) = error.and_then(ReconcileError::breaker) else {
            return Around::default();
        };
        if name == CRISP && claim.kind == WorkKind::Person {
            return Around {
                failures_in_a_row: self.breakers.failures_in_a_row(PEOPLE),
                outage: self.breakers.outage(PEOPLE),
                is_gated: false,
            };
        }
        Around {
            failures_in_a_row: self.breakers.failures_in_a_row(&name),
            outage: self.breakers.outage(&name),
            is_gated: name == CRISP,
        }
    }

    /// A write may have been applied though nobody said so: the mirror must not conclude anything from what it holds.
    pub(super) fn doubt(claim: &Claim) -> Option<Write> {
        let website = claim.website.clone();
        if claim.kind.stands_for_ever() {
            return None;
        }
        if claim.kind != WorkKind::Conversation {
            let user_key = UserKey::parse(&claim.key).ok()?;
            return Some(Write::AssertContact { website, user_key });
        }
        let session = SessionId::parse(&claim.key).ok()?;
        Some(Write::Doubt {
            website,
            sessions: vec![session],
        })
    }
}
