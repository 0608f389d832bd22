//! The worker: takes due work from the ledger, has it reconciled, and settles it.
//!
//! It is the only place that retries. A [`Worker::step`] does what is due and says so; [`Worker::run`] is that step and a
//! wait. Work is done at least once: a crash between a refresh and its settlement leads to another refresh, whose
//! effects are in force already.
//!
//! While Crisp is down nothing is taken but one probe at a time; while the app's database is down a row is worked once, so
//! that agents see what is old, and then waits; while our own disk is full nothing is taken either. None of it spends an
//! attempt: a row is buried only for a fault of its own.

mod attempt;
mod backoff;
mod budget;
mod chance;
mod log;
mod run;
mod settle;
mod storage;
mod within;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use tokio::{sync::RwLock, task::JoinSet};

pub use backoff::{AfterFailure, RetryPolicy};
pub use chance::Chance;

use crate::{
    breaker::{Breaker, Breakers, CRISP, CRISP_WRITES, LEDGER, Permit},
    clock::Clock,
    crisp::{client::Tier, quota::QuotaSettings},
    ledger::{Claim, Ledger, LedgerError, Settlement},
    pseudonym::UserRef,
    reconcile::Reconciler,
    telemetry::Metrics,
};

/// What the worker takes from the configuration.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// Refreshes at the same time.
    pub concurrency: usize,
    /// How long a claim holds.
    pub lease: Duration,
    /// The longest a single call to Crisp takes; a run's deadline is this much shorter than its lease.
    pub call_timeout: Duration,
    /// How failed attempts are spaced.
    pub retry: RetryPolicy,
    /// How long a pause lasts when Crisp names no time, and how far apart its probes are.
    pub probe_every: Duration,
    /// How long deliveries and traces are kept.
    pub keep: Duration,
    /// How the day's quota is shared.
    pub quota: QuotaSettings,
    /// Where jitter comes from.
    pub chance: Chance,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            concurrency: 8,
            lease: Duration::from_mins(2),
            call_timeout: Duration::from_secs(10),
            retry: RetryPolicy::default(),
            probe_every: Duration::from_mins(15),
            keep: Duration::from_hours(30 * 24),
            quota: QuotaSettings::for_tier(Tier::Plugin),
            chance: Chance::System,
        }
    }
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// So many rows were worked.
    Worked(usize),
    /// Nothing is due.
    Idle,
}

/// What became of one row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Worked {
    /// The word for it: an outcome of the refresh, or of the failure.
    pub outcome: &'static str,
    /// What went wrong, for people.
    pub error: Option<String>,
    /// What was changed, by name.
    pub changed: String,
    /// Requests to Crisp.
    pub calls: usize,
    /// The person, once found, for the log.
    user: Option<UserRef>,
    /// Whether the visitor proved their address, where there is one.
    trust: Option<&'static str>,
    /// What was found on the way, for the log.
    reason: String,
    /// When a failed attempt is made again.
    again_at: Option<Timestamp>,
}

/// Takes, works, settles. Clones share everything.
#[derive(Debug, Clone)]
pub struct Worker {
    ledger: Ledger,
    reconciler: Reconciler,
    metrics: Metrics,
    clock: Clock,
    settings: Arc<WorkerSettings>,
    breakers: Breakers,
    /// Work is only taken with leave of all of these.
    gates: [Breaker; 3],
    /// Claims whose result the ledger did not take and which it did not take back either.
    unsettled: Arc<Mutex<Vec<(Claim, Settlement)>>>,
    /// Read by every attempt, written by one that must be the only one: see [`attempt`].
    alone: Arc<RwLock<()>>,
}

impl Worker {
    /// Builds the worker.
    pub fn new(
        ledger: Ledger,
        reconciler: Reconciler,
        metrics: Metrics,
        clock: Clock,
        breakers: Breakers,
        settings: WorkerSettings,
    ) -> Self {
        Self {
            gates: [CRISP, CRISP_WRITES, LEDGER].map(|name| breakers.of(name)),
            unsettled: Arc::default(),
            breakers,
            alone: Arc::default(),
            ledger,
            reconciler,
            metrics,
            clock,
            settings: Arc::new(settings),
        }
    }

    /// How long a claim holds.
    pub fn lease(&self) -> Duration {
        self.settings.lease
    }

    /// Works what is due, up to the concurrency, and returns when all of it is settled.
    pub async fn step(&self) -> Result<Step, LedgerError> {
        let mut working = JoinSet::new();
        let claimed = self.claim_into(&mut working).await?;
        while working.join_next().await.is_some() {}
        Ok(match claimed {
            Claimed::Rows { count, .. } => Step::Worked(count),
            Claimed::Nothing | Claimed::NotYet { .. } | Claimed::NoRoom | Claimed::Held { .. } => {
                Step::Idle
            }
        })
    }

    /// When there will be something to do if nothing else happens. It may be in the past.
    pub async fn next_due(&self) -> Result<Option<Timestamp>, LedgerError> {
        let due = self.ledger.next_due(self.clock.now()).await?;
        let outages = [CRISP, LEDGER].map(|name| self.breakers.outage(name));
        let held = outages.into_iter().flatten().map(|outage| outage.until);
        let held = held.max();
        Ok(due.map(|due| held.map_or(due, |held| due.max(held))))
    }

    async fn claim_into(&self, working: &mut JoinSet<Worked>) -> Result<Claimed, LedgerError> {
        let free = self.settings.concurrency.saturating_sub(working.len());
        if free == 0 {
            return Ok(Claimed::NoRoom);
        }
        let leave: Vec<Permit> = match self.gates.iter().map(Breaker::admit).collect() {
            Ok(leave) => leave,
            Err(until) => return Ok(Claimed::Held { until }),
        };
        let limit = if leave.iter().any(Permit::is_probe) {
            1
        } else {
            u32::try_from(free).unwrap_or(u32::MAX)
        };
        let claims = match self.take(limit).await {
            Ok(claims) => claims,
            Err(error) => {
                self.storage_failed(&error);
                return Err(error);
            }
        };
        if claims.is_empty() {
            return Ok(Claimed::Nothing);
        }
        let count = claims.len();
        let leave = Arc::new(leave);
        for claim in claims {
            let (this, leave) = (self.clone(), Arc::clone(&leave));
            working.spawn(async move {
                let worked = this.work(claim).await;
                // A probe is over when its row is.
                drop::<Arc<Vec<Permit>>>(leave);
                worked
            });
        }
        Ok(Claimed::Rows {
            count,
            more: count == usize::try_from(limit).unwrap_or(usize::MAX),
        })
    }
}

/// What there was to take.
enum Claimed {
    /// Rows.
    Rows {
        /// So many.
        count: usize,
        /// Whether there may be more that are due.
        more: bool,
    },
    /// Nothing is due.
    Nothing,
    /// Nothing was claimed: a look said that nothing is due yet.
    NotYet {
        /// How long until something is.
        wait: Duration,
    },
    /// As much is in hand as may be.
    NoRoom,
    /// Crisp is down: nothing is taken before then.
    Held {
        /// When a probe may go.
        until: Timestamp,
    },
}
