//! Alerts: a person is told once when something begins that asks for one, and once when it is over.
//!
//! A [`Watch`] looks twice a minute. What it sees ([`conditions`]) is written into the ledger, where a condition begins with
//! the first look that sees it and is over when no process has seen it for five minutes: so neither a restart, nor a
//! replica that looks at the same ledger, nor a condition that comes and goes tells anybody twice. What is owed goes to
//! `alerts.url` in one message, at most one a minute for all processes together, and is owed until the receiver takes it.
//!
//! Nobody waits for a look, and a receiver that does not answer delays nothing but its own message. That the ledger itself
//! cannot be used is told by [`fault`].

mod conditions;
mod fault;
mod message;
mod receiver;

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use jiff::Timestamp;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{
    breaker::Breakers,
    clock::Clock,
    crisp::{client::ClientError, quota::QuotaSettings},
    ledger::{Condition, ConditionRow, Ledger, LedgerError},
    telemetry::{Metrics, events, metrics::OutcomeLabels},
};
pub use conditions::KINDS;

use conditions::Refusals;
use fault::Fault;
use message::{MOST, Told, message};
use receiver::Receiver;

/// What alerts take from the configuration.
#[derive(Clone)]
pub struct AlertSettings {
    /// Where messages go. Without it, what there is to tell stands in the log alone.
    pub url: Option<Url>,
    /// The proxy on the way there.
    pub proxy: Option<Url>,
    /// What a message calls this service.
    pub name: String,
    /// Requests that prove no right to be there, in 10 minutes, from which somebody is told.
    pub signature_failures: u64,
    /// How the quota is shared, for its forecast.
    pub quota: QuotaSettings,
    /// How often the sweep looks for what is new, if there is one.
    pub sweeps_every: Option<Duration>,
}

/// Without the addresses: one is a secret, the other may hold one.
impl std::fmt::Debug for AlertSettings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("AlertSettings")
            .field("url", &self.url.as_ref().map(|_| "…"))
            .field("name", &self.name)
            .field("signature_failures", &self.signature_failures)
            .finish_non_exhaustive()
    }
}

/// How often it looks.
const LOOK: Duration = Duration::from_secs(30);
/// How long nobody may have seen a condition before it is over: what comes and goes within is one.
pub const CALM: Duration = Duration::from_mins(5);
/// Between two messages, for all processes together.
const PACE: Duration = Duration::from_mins(1);
/// Between two attempts at a receiver that does not take a message, at the most.
const LONGEST_WAIT: Duration = Duration::from_mins(15);

/// Looks for conditions and tells of them. Clones share everything.
#[derive(Debug, Clone)]
pub struct Watch {
    ledger: Ledger,
    metrics: Metrics,
    breakers: Breakers,
    clock: Clock,
    settings: Arc<AlertSettings>,
    receiver: Option<Receiver>,
    memory: Arc<Mutex<Memory>>,
}

/// What only this process remembers.
#[derive(Debug, Default)]
struct Memory {
    refusals: Refusals,
    /// Messages in a row that the receiver did not take.
    failures: u32,
    /// Not before: the receiver did not take the last one.
    not_before: Option<Timestamp>,
    /// The ledger cannot be used, or could not lately.
    fault: Option<Fault>,
}

impl Watch {
    /// Builds the watch. Nothing is sent.
    pub fn new(
        settings: AlertSettings,
        ledger: Ledger,
        metrics: Metrics,
        breakers: Breakers,
        clock: Clock,
    ) -> Result<Self, ClientError> {
        let receiver = settings
            .url
            .clone()
            .map(|url| Receiver::new(url, settings.proxy.as_ref()))
            .transpose()?;
        Ok(Self {
            ledger,
            metrics,
            breakers,
            clock,
            settings: Arc::new(settings),
            receiver,
            memory: Arc::default(),
        })
    }

    /// Looks until `stop`.
    pub async fn run(&self, stop: CancellationToken) {
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = looks.tick() => {}
            }
            // A look that panics has said so on standard error, and says nothing about the next one.
            let look = AssertUnwindSafe(self.look()).catch_unwind();
            tokio::select! {
                () = stop.cancelled() => return,
                _looked = look => {}
            }
        }
    }

    /// Looks once, and tells what is owed.
    pub async fn look(&self) {
        let now = self.clock.now();
        let mut memory = self.memory.lock().await;
        match self.look_through_ledger(&mut memory, now).await {
            Ok(()) => self.ledger_works(&mut memory, now).await,
            Err(_) => self.ledger_fails(&mut memory, now).await,
        }
    }

    async fn look_through_ledger(
        &self,
        memory: &mut Memory,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        self.ledger.takes_writes().await?;
        let before = self.ledger.conditions().await?;
        let seen = self.conditions(&mut memory.refusals, &before, now).await?;
        self.see(&seen, now).await?;
        let owed = self.ledger.conditions().await?;
        self.tell_owed(memory, owed, now).await
    }

    /// Writes down what is seen, and says in the log what begins with it.
    async fn see(&self, seen: &[Condition], now: Timestamp) -> Result<(), LedgerError> {
        for begun in self.ledger.see_conditions(seen, now).await? {
            raised(&begun);
        }
        Ok(())
    }

    /// Tells what is owed of these, if it is this process's turn.
    async fn tell_owed(
        &self,
        memory: &mut Memory,
        mut owed: Vec<ConditionRow>,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        owed.retain(|row| row.is_owed(CALM, now));
        owed.truncate(MOST);
        let may_try = memory.not_before.is_none_or(|at| at <= now);
        if owed.is_empty() || !may_try {
            return Ok(());
        }
        if !self.ledger.take_alert_turn(later(now, PACE), now).await? {
            return Ok(());
        }
        let (over, begun): (Vec<_>, Vec<_>) =
            owed.into_iter().partition(|row| row.is_over(CALM, now));
        let told: Vec<_> = begun
            .iter()
            .map(|row| told(row, None))
            .chain(over.iter().map(|row| told(row, Some(row.seen_at))))
            .collect();
        if !self.tell(memory, &told, now).await {
            return Ok(());
        }
        self.ledger.conditions_told(&begun, &over, now).await?;
        for row in &over {
            tracing::info!(
                event = events::ALERT_OVER,
                condition = row.kind,
                subject = row.subject,
                since = %row.since,
                "a condition is over"
            );
        }
        Ok(())
    }

    /// Sends a message. `false`: it is owed still.
    async fn tell(&self, memory: &mut Memory, told: &[Told<'_>], now: Timestamp) -> bool {
        let Some(receiver) = &self.receiver else {
            return true;
        };
        let message = message(&self.settings.name, told);
        let count = |outcome| {
            self.metrics
                .watch
                .alerts
                .get_or_create(&OutcomeLabels { outcome })
                .inc();
        };
        let undelivered = match receiver.post(&message).await {
            Ok(()) => {
                count("delivered");
                memory.failures = 0;
                memory.not_before = None;
                return true;
            }
            Err(undelivered) => undelivered,
        };
        count(undelivered.code());
        let doubled = LOOK.saturating_mul(1 << memory.failures.min(10));
        let wait = doubled
            .max(undelivered.retry_after().unwrap_or_default())
            .min(LONGEST_WAIT);
        memory.failures = memory.failures.saturating_add(1);
        memory.not_before = Some(later(now, wait));
        tracing::warn!(
            event = events::ALERT_UNDELIVERED,
            error = %undelivered,
            retry_in_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            hint = undelivered.hint(),
            "the receiver of alerts did not take a message"
        );
        false
    }
}

fn raised(condition: &Condition) {
    tracing::warn!(
        event = events::ALERT_RAISED,
        condition = condition.kind,
        subject = condition.subject,
        reason = condition.detail,
        "a condition began that asks for a person"
    );
}

fn told(row: &ConditionRow, until: Option<Timestamp>) -> Told<'_> {
    Told {
        condition: &row.kind,
        subject: &row.subject,
        detail: &row.detail,
        since: row.since,
        until,
    }
}

fn later(now: Timestamp, wait: Duration) -> Timestamp {
    now.checked_add(wait).unwrap_or(Timestamp::MAX)
}
