//! The worker: takes due work from the ledger, has it reconciled, and settles it.
//!
//! It is the only place that retries. A [`Worker::step`] does what is due and says so; [`Worker::run`] is that step and a
//! wait. Work is done at least once: a crash between a refresh and its settlement leads to another refresh, whose
//! effects are in force already.

mod backoff;
mod settle;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use backoff::{AfterFailure, RetryPolicy};

use crate::{
    clock::Clock,
    ids::{SessionId, UserKey},
    ledger::{Claim, Ledger, LedgerError, Outcome as Settling, Settled, Settlement, WorkKind},
    reconcile::{ReconcileError, Reconciled, Reconciler, Run},
    telemetry::{Metrics, events, metrics::WorkLabels},
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worked {
    /// The word for it: an outcome of the refresh, or of the failure.
    pub outcome: &'static str,
    /// What went wrong, for people.
    pub error: Option<String>,
    /// What was changed, by name.
    pub changed: String,
    /// Requests to Crisp.
    pub calls: usize,
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
        let mut working = JoinSet::new();
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !stop.is_cancelled() {
            // Registered before the table is looked at, so that a trigger in between is not slept through.
            let wake = self.ledger.wake().notified();
            let wait = match self.claim_into(&mut working).await {
                Ok(0) => self.until_due().await,
                Ok(_) => continue,
                Err(error) => {
                    fault(&error);
                    AFTER_FAULT
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = working.join_next(), if !working.is_empty() => {}
                () = wake, if working.len() < self.settings.concurrency => {}
                _ = heartbeat.tick() => self.beat().await,
                () = tokio::time::sleep(wait) => {}
            }
        }
        while working.join_next().await.is_some() {}
    }

    async fn until_due(&self) -> Duration {
        let now = self.clock.now();
        match self.ledger.next_due(now).await {
            Ok(Some(due)) => Duration::try_from(due.duration_since(now))
                .unwrap_or_default()
                .clamp(MIN_WAIT, POLL),
            Ok(None) => POLL,
            Err(error) => {
                fault(&error);
                AFTER_FAULT
            }
        }
    }

    /// Says that somebody listens, and drops what is old.
    pub async fn beat(&self) {
        let now = self.clock.now();
        if let Err(error) = self.ledger.heartbeat(now).await {
            fault(&error);
        }
        if let Err(error) = self.ledger.prune(self.settings.keep, now).await {
            fault(&error);
        }
    }

    /// Works one claim to its settlement.
    pub async fn work(&self, claim: Claim) -> Worked {
        let started = self.clock.now();
        let mut run = self.reconciler.run(claim.clone(), started);
        let deadline = self
            .settings
            .lease
            .saturating_sub(self.settings.call_timeout);
        let result = match tokio::time::timeout(deadline, self.reconcile(&mut run, &claim)).await {
            Ok(result) => result,
            // The request in flight is dropped with the future: its effect is unknown, and the next run reads first.
            Err(_elapsed) => Err(ReconcileError::Deadline),
        };
        let ended = self.settle(&claim, run, result).await;
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
        let verdict = settle::verdict(claim, result, &self.settings, now, backoff::jitter());
        let calls = run.calls();
        let worked = Worked {
            outcome: verdict.word,
            error: verdict.error.clone(),
            changed: run.trace.changed_names(),
            calls: calls.len(),
        };
        let settlement = Settlement {
            outcome: verdict.settling.clone(),
            writes: verdict.writes,
            trace: Some(run.into_trace(verdict.word, verdict.error)),
            calls: settle::count(&calls),
        };
        match self.ledger.settle(claim, settlement, now).await {
            Ok(Settled::Written) => {
                Self::announce(claim, &verdict.settling);
                worked
            }
            Ok(Settled::LeaseLost) => Worked {
                outcome: "lease_lost",
                ..worked
            },
            Err(error) => {
                // The lease runs out and the row is taken again; nothing is lost but time.
                fault(&error);
                Worked {
                    outcome: "unsettled",
                    error: Some(error.to_string()),
                    ..worked
                }
            }
        }
    }

    fn announce(claim: &Claim, settling: &Settling) {
        let (scope, until, reason): (_, &Timestamp, &str) = match settling {
            Settling::PauseToken { until, reason, .. } => ("token", until, reason),
            Settling::PauseWebsite { until, reason, .. } => ("website", until, reason),
            _ if claim.probe => {
                tracing::info!(
                    event = events::CRISP_RESUMED,
                    "website.id" = %claim.website,
                    "a probe came through; calls to Crisp go on"
                );
                return;
            }
            _ => return,
        };
        tracing::warn!(
            event = events::CRISP_PAUSED,
            scope,
            "website.id" = %claim.website,
            reason,
            until = %until,
            "calls to Crisp wait"
        );
    }

    fn log(&self, claim: &Claim, worked: &Worked, duration: Duration) {
        let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let website = &claim.website;
        let conversation = claim.kind == WorkKind::Conversation;
        let session = conversation.then_some(claim.key.as_str());
        let user = UserKey::parse(&claim.key)
            .ok()
            .filter(|_| !conversation)
            .map(|key| self.ledger.pseudonyms().user(&key).as_str().to_owned());
        match worked.outcome {
            "lease_lost" => tracing::warn!(
                event = events::WORK_LEASE_LOST,
                "work.kind" = claim.kind.as_str(),
                "website.id" = %website,
                "session.id" = session,
                "user.ref" = user,
                duration_ms,
                "the lease was lost; nothing was written"
            ),
            "retry" | "pause_token" | "pause_website" | "unsettled" => tracing::warn!(
                event = events::WORK_RETRY,
                "work.kind" = claim.kind.as_str(),
                "website.id" = %website,
                "session.id" = session,
                "user.ref" = user,
                attempt = claim.attempt,
                error = worked.error,
                "an attempt failed and will be made again"
            ),
            "invalid" | "buried" => tracing::error!(
                event = events::WORK_BURIED,
                "work.kind" = claim.kind.as_str(),
                "website.id" = %website,
                "session.id" = session,
                "user.ref" = user,
                attempt = claim.attempt,
                outcome = worked.outcome,
                error = worked.error,
                "an attempt failed for good; `deliveries retry --dead` revives it"
            ),
            outcome if conversation => {
                let since_hook = self
                    .clock
                    .now()
                    .duration_since(claim.first_triggered_at)
                    .unsigned_abs();
                self.metrics
                    .hook_to_context_seconds
                    .observe(since_hook.as_secs_f64());
                tracing::info!(
                    event = events::CONVERSATION_REFRESHED,
                    "website.id" = %website,
                    "session.id" = session,
                    trigger = claim.trigger.as_str(),
                    outcome,
                    changed = worked.changed,
                    "crisp.calls" = worked.calls,
                    attempt = claim.attempt,
                    duration_ms,
                    hook_to_context_ms = u64::try_from(since_hook.as_millis()).unwrap_or(u64::MAX),
                    "refreshed a conversation"
                );
            }
            outcome => tracing::info!(
                event = events::PERSON_REFRESHED,
                "website.id" = %website,
                "user.ref" = user,
                trigger = claim.trigger.as_str(),
                outcome,
                changed = worked.changed,
                "crisp.calls" = worked.calls,
                attempt = claim.attempt,
                duration_ms,
                "refreshed a person"
            ),
        }
    }
}

/// A wait of nothing would spin when the clock and the ledger disagree by a hair.
const MIN_WAIT: Duration = Duration::from_millis(5);

fn fault(error: &LedgerError) {
    tracing::error!(event = events::WORKER_FAULT, %error, "the worker could not use the ledger; it tries again");
}
