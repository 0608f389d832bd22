//! The worker: takes due work from the ledger, has it reconciled, and settles it.
//!
//! It is the only place that retries. A [`Worker::step`] does what is due and says so; [`Worker::run`] is that step and a
//! wait. Work is done at least once: a crash between a refresh and its settlement leads to another refresh, whose
//! effects are in force already.

mod backoff;
mod budget;
mod log;
mod settle;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use backoff::{AfterFailure, RetryPolicy};

use crate::{
    clock::Clock,
    crisp::{client::Tier, quota::QuotaSettings},
    identity::Trust,
    ids::{SessionId, UserKey},
    ledger::{
        Claim, ConversationMirror, Ledger, LedgerError, Outcome as Settling, Settled, Settlement,
        WorkKind, Write,
    },
    pseudonym::UserRef,
    reconcile::{ReconcileError, Reconciled, Reconciler, Run},
    telemetry::{Metrics, metrics::WorkLabels},
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

impl Worked {
    /// The ledger did not take the result: the lease runs out and the row is taken again, and nothing is lost but time.
    fn unsettled(error: &LedgerError) -> Self {
        log::fault(error);
        Self {
            outcome: "unsettled",
            error: Some(error.to_string()),
            ..Self::default()
        }
    }
}

/// Takes, works, settles. Clones share everything.
#[derive(Debug, Clone)]
pub struct Worker {
    ledger: Ledger,
    reconciler: Reconciler,
    metrics: Metrics,
    clock: Clock,
    settings: Arc<WorkerSettings>,
}

/// The heartbeat of an idle service; a gap between two of them that is much longer means that nobody listened.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// Looking for what is old reads the whole of some tables, and an hour more or less is nothing to what is kept for days.
const PRUNE: Duration = Duration::from_hours(1);
/// However quiet it is, the table is looked at this often: a wake-up may be lost, a poll is not.
const POLL: Duration = Duration::from_secs(10);
/// After a fault of the ledger the worker does not spin.
const AFTER_FAULT: Duration = Duration::from_secs(1);

impl Worker {
    /// Builds the worker.
    pub fn new(
        ledger: Ledger,
        reconciler: Reconciler,
        metrics: Metrics,
        clock: Clock,
        settings: WorkerSettings,
    ) -> Self {
        Self {
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
        Ok(if claimed == 0 {
            Step::Idle
        } else {
            Step::Worked(claimed)
        })
    }

    async fn claim_into(&self, working: &mut JoinSet<Worked>) -> Result<usize, LedgerError> {
        let free = self.settings.concurrency.saturating_sub(working.len());
        if free == 0 {
            return Ok(0);
        }
        let limit = u32::try_from(free).unwrap_or(u32::MAX);
        let claims = self
            .ledger
            .claim(limit, self.settings.lease, self.clock.now())
            .await?;
        let count = claims.len();
        for claim in claims {
            let worker = self.clone();
            working.spawn(async move { worker.work(claim).await });
        }
        Ok(count)
    }

    /// Steps and waits until `stop`; then finishes what is in hand. Dropping the future aborts it: leases expire.
    pub async fn run(&self, stop: CancellationToken) {
        // Beside one another: neither a busy day nor a long removal of old rows may silence the heartbeat, also while the
        // last work is being finished.
        tokio::select! {
            () = self.work_until(stop) => {}
            () = self.upkeep() => {}
        }
    }

    async fn work_until(&self, stop: CancellationToken) {
        let mut working = JoinSet::new();
        while !stop.is_cancelled() {
            // Registered before the table is looked at, so that a trigger in between is not slept through.
            let wake = self.ledger.wake().notified();
            let (wait, has_room) = match self.claim_into(&mut working).await {
                Ok(0) if working.len() < self.settings.concurrency => {
                    (self.until_due().await, true)
                }
                // Everything is in use: only an end makes room, whatever else is due or comes in.
                Ok(0) => (POLL, false),
                Ok(_) => continue,
                // Nor may each trigger try a ledger again that has just failed.
                Err(error) => {
                    log::fault(&error);
                    (AFTER_FAULT, false)
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = working.join_next(), if !working.is_empty() => log::ended(&ended),
                () = wake, if has_room => {}
                () = tokio::time::sleep(wait) => {}
            }
            // One claim for all that ended meanwhile: each is a commit.
            while let Some(ended) = working.try_join_next() {
                log::ended(&ended);
            }
        }
        while let Some(ended) = working.join_next().await {
            log::ended(&ended);
        }
    }

    /// Says that somebody listens, and now and then drops what is old, for as long as it is polled.
    async fn upkeep(&self) {
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut pruning = tokio::time::interval(PRUNE);
        pruning.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let beating = async {
            loop {
                heartbeat.tick().await;
                self.beat().await;
            }
        };
        let pruning = async {
            loop {
                pruning.tick().await;
                if let Err(error) = self
                    .ledger
                    .prune(self.settings.keep, self.clock.now())
                    .await
                {
                    log::fault(&error);
                }
            }
        };
        tokio::join!(beating, pruning);
    }

    async fn until_due(&self) -> Duration {
        let now = self.clock.now();
        match self.ledger.next_due(now).await {
            Ok(Some(due)) => Duration::try_from(due.duration_since(now))
                .unwrap_or_default()
                .clamp(MIN_WAIT, POLL),
            Ok(None) => POLL,
            Err(error) => {
                log::fault(&error);
                AFTER_FAULT
            }
        }
    }

    /// Says that somebody listens.
    pub async fn beat(&self) {
        if let Err(error) = self.ledger.heartbeat(self.clock.now()).await {
            log::fault(&error);
        }
    }

    /// Works one claim to its settlement.
    pub async fn work(&self, claim: Claim) -> Worked {
        let started = self.clock.now();
        let ended = match budget::admits(&self.ledger, self.settings.quota, &claim, started).await {
            Ok(true) => self.refresh(&claim).await,
            Ok(false) => self.put_off(&claim, started).await,
            Err(error) => Worked::unsettled(&error),
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

    async fn refresh(&self, claim: &Claim) -> Worked {
        let mut run = self.reconciler.run(claim.clone(), self.clock.clone());
        let deadline = self
            .settings
            .lease
            .saturating_sub(self.settings.call_timeout);
        let result = match tokio::time::timeout(deadline, self.reconcile(&mut run, claim)).await {
            Ok(result) => result,
            // The request in flight is dropped with the future; what became of it is in doubt.
            Err(_elapsed) => Err(ReconcileError::Deadline),
        };
        self.settle(claim, run, result).await
    }

    /// The day's quota is kept for what matters more: the row stays, and spends no attempt.
    async fn put_off(&self, claim: &Claim, now: Timestamp) -> Worked {
        let at = now
            .checked_add(self.settings.probe_every)
            .unwrap_or(Timestamp::MAX);
        let settlement = Settlement::of(Settling::Again { at });
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
            Err(error) => Worked::unsettled(&error),
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
            // Nothing enqueues these yet; a row that is there all the same is done.
            WorkKind::Sweep | WorkKind::Gap | WorkKind::Prune => Ok(Reconciled::default()),
        }
    }

    async fn settle(
        &self,
        claim: &Claim,
        run: Run,
        result: Result<Reconciled, ReconcileError>,
    ) -> Worked {
        let now = self.clock.now();
        let mut verdict = settle::verdict(claim, result, &self.settings, now, backoff::jitter());
        if verdict.in_doubt {
            verdict.writes.extend(self.doubt(claim).await);
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
                Settling::Retry { at, .. } => Some(*at),
                Settling::PauseToken { until, .. } | Settling::PauseWebsite { until, .. } => {
                    Some(*until)
                }
                _ => None,
            },
        };
        let mut counted = settle::count(&calls);
        if run.trust == Some(Trust::Unproven) && !calls.is_empty() {
            counted.push((
                budget::UNPROVEN,
                u32::try_from(calls.len()).unwrap_or(u32::MAX),
            ));
        }
        let settlement = Settlement {
            outcome: verdict.settling.clone(),
            writes: verdict.writes,
            trace: Some(run.into_trace(verdict.word, verdict.error)),
            calls: counted,
        };
        match self.ledger.settle(claim, settlement, now).await {
            Ok(Settled::Written) => {
                log::announce(claim, &verdict.settling, worked.error.as_deref());
                worked
            }
            Ok(Settled::LeaseLost) => Worked {
                outcome: "lease_lost",
                ..worked
            },
            Err(error) => Worked::unsettled(&error),
        }
    }

    /// A write may have been applied though nobody said so: the mirror must not conclude anything from what it holds.
    async fn doubt(&self, claim: &Claim) -> Option<Write> {
        let website = claim.website.clone();
        if claim.kind != WorkKind::Conversation {
            let user_key = UserKey::parse(&claim.key).ok()?;
            return Some(Write::AssertContact { website, user_key });
        }
        let session = SessionId::parse(&claim.key).ok()?;
        let mirror = self.ledger.conversation(&website, &session).await.ok()??;
        Some(Write::Conversation(ConversationMirror {
            dirty: true,
            ..mirror
        }))
    }
}

/// A wait of nothing would spin when the clock and the ledger disagree by a hair.
const MIN_WAIT: Duration = Duration::from_millis(5);
