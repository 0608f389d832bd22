//! Every metric, registered once.
//!
//! Names follow `crisp_sync_<what>_<unit>_total`; label values come from closed sets, so that nobody outside can grow
//! the number of series. Two exceptions are bounded by the definition: the name of a lifecycle event, and of a query.

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use std::sync::Arc;

/// Handles to every metric. Clones share the same series.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    /// Requests on the webhook route, by what became of them.
    pub webhooks: Family<WebhookLabels, Counter>,
    /// Genuine webhooks whose signature was old: accepted all the same.
    pub webhooks_late: Counter,
    /// From a request's first byte to its commit.
    pub accept_seconds: Histogram,
    /// Requests to Crisp, by purpose and by class of answer.
    pub crisp_calls: Family<CrispCallLabels, Counter>,
    /// How long Crisp took to answer.
    pub crisp_call_seconds: Histogram,
    /// Look-ups in the app's database.
    pub lookups: Family<OutcomeLabels, Counter>,
    /// How long a look-up took that was not answered from the cache.
    pub lookup_seconds: Histogram,
    /// Work done, by kind and outcome.
    pub work: Family<WorkLabels, Counter>,
    /// From a webhook's arrival to the refreshed conversation.
    pub hook_to_context_seconds: Histogram,
    /// Lifecycle events by name and the state they entered.
    pub people_events: Family<PeopleEventLabels, Counter>,
    /// Those that expired because Crisp's timeline came from a cache all the time.
    pub people_events_unproven: Counter,
    /// What is read from the ledger.
    pub ledger: LedgerMetrics,
    /// 1 while calls to Crisp are paused, by scope.
    pub paused: Family<ScopeLabels, Gauge>,
    /// How each circuit breaker stands: 0 closed, 1 half open, 2 open.
    pub breaker: Family<BreakerLabels, Gauge>,
    /// What is looked after without anybody asking.
    pub watch: Arc<WatchMetrics>,
}

/// What is looked after without anybody asking: the quota, silent websites, what a person should know.
#[derive(Debug, Clone)]
pub struct WatchMetrics {
    /// Calls that count against the quota, since its day began.
    pub quota_calls: Gauge,
    /// Calls that Crisp grants a day.
    pub quota_limit: Gauge,
    /// Calls by the end of the day, at the pace since it began.
    pub quota_forecast_calls: Gauge,
    /// When the quota will be used up at this pace, in Unix seconds; 0 while it lasts.
    pub quota_exhausted_at: Gauge,
    /// Websites that send no webhook though their conversations go on.
    pub silent_websites: Gauge,
    /// 1 while a condition holds that asks for a person; no series once it is over.
    pub conditions: Family<ConditionLabels, Gauge>,
    /// Erasures of which something is owed.
    pub erasures_owed: Gauge,
    /// Messages to `alerts.url`, by what became of them.
    pub alerts: Family<OutcomeLabels, Counter>,
    /// How the sweeps come along.
    pub sweep: SweepMetrics,
}

/// What became of a request on the webhook route.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct WebhookLabels {
    /// `accepted`, `ignored`, `foreign`, `refused`, `malformed`, `too_large`, `unavailable`.
    pub outcome: &'static str,
    /// `plugin`, `website` or `none`; a signature that none of the secrets made is `plugin` too.
    pub hook: &'static str,
}

/// Which request to Crisp, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CrispCallLabels {
    /// Why it was made.
    pub purpose: &'static str,
    /// `2xx`, `3xx`, `4xx`, `5xx`, `throttled`, `no_answer` or `not_sent`.
    pub answer: &'static str,
}

/// How something ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabels {
    /// The outcome.
    pub outcome: &'static str,
}

/// Which work, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct WorkLabels {
    /// The kind of work row.
    pub kind: &'static str,
    /// The outcome.
    pub outcome: &'static str,
}

/// Which lifecycle event, and the state it entered.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PeopleEventLabels {
    /// The event's name in the definition.
    pub name: String,
    /// The outbox state.
    pub state: &'static str,
}

/// What is paused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ScopeLabels {
    /// `token`, `website`, or `people`: the work on people of a website.
    pub scope: &'static str,
}

/// Which circuit breaker.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct BreakerLabels {
    /// `crisp`, `users`, `users.more.<name>`, `definition`, `ledger`, `results.<kind>`, or a query by its path in the configuration file.
    pub name: String,
}

/// What became of a sweep's rows.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SweepLabels {
    /// `changes` or `rescan`.
    pub lane: &'static str,
    /// `enqueued`, `known` or `unusable`.
    pub outcome: &'static str,
}

/// Which sweep.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LaneLabels {
    /// `changes` or `rescan`.
    pub lane: &'static str,
}

/// Which condition.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ConditionLabels {
    /// Its kind: `dead_letters`.
    pub condition: String,
}

/// Bounds that tell a millisecond from ten and a second from five.
const SECONDS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}

macro_rules! register {
    ($registry:expr, $metric:expr, $name:literal, $help:literal $(,)?) => {{
        let metric = $metric;
        $registry.register($name, $help, metric.clone());
        metric
    }};
}

/// What is read from the ledger.
#[derive(Debug, Clone)]
pub struct LedgerMetrics {
    /// 1 while the ledger can be read.
    pub up: Gauge,
    /// Rows that wait for the worker.
    pub pending: Gauge,
    /// Dead letters.
    pub dead: Gauge,
}

impl LedgerMetrics {
    fn register(registry: &mut Registry) -> Self {
        let up = register!(
            registry,
            Gauge::default(),
            "ledger_up",
            "1 while the ledger can be read; at 0 the gauges that are read from it keep what they last said"
        );
        let pending = register!(registry, Gauge::default(), "work_pending", "Rows that wait");
        let dead = register!(registry, Gauge::default(), "work_dead", "Dead letters");
        Self { up, pending, dead }
    }
}

/// How the sweeps come along.
#[derive(Debug, Clone)]
pub struct SweepMetrics {
    /// Rows that were read.
    pub rows: Family<SweepLabels, Counter>,
    /// How long ago the last look that is over began.
    pub lag: Family<LaneLabels, Gauge>,
    /// People whom a sweep found and who wait.
    pub waiting: Family<LaneLabels, Gauge>,
}

impl SweepMetrics {
    fn register(registry: &mut Registry) -> Self {
        let rows = register!(
            registry,
            Family::default(),
            "sweep_rows",
            "Rows that a sweep read"
        );
        let lag = register!(
            registry,
            Family::default(),
            "sweep_lag_seconds",
            "How long ago the last look that is over began"
        );
        let waiting = register!(
            registry,
            Family::default(),
            "sweep_waiting",
            "People whom a sweep found and who wait, up to `lifecycle.sweep.backlog`"
        );
        Self { rows, lag, waiting }
    }
}

impl WatchMetrics {
    fn register(registry: &mut Registry) -> Self {
        let quota_calls = register!(
            registry,
            Gauge::default(),
            "quota_calls",
            "Calls that count against Crisp's quota since its day began"
        );
        let quota_limit = register!(
            registry,
            Gauge::default(),
            "quota_limit",
            "Calls that Crisp grants a day"
        );
        let quota_forecast_calls = register!(
            registry,
            Gauge::default(),
            "quota_forecast_calls",
            "Calls by the end of the quota's day at the pace since it began"
        );
        let quota_exhausted_at = register!(
            registry,
            Gauge::default(),
            "quota_exhausted_at_seconds",
            "When the quota is used up at this pace in Unix time; 0 while it lasts the day"
        );
        let silent_websites = register!(
            registry,
            Gauge::default(),
            "silent_websites",
            "Websites that send no webhook though their conversations go on"
        );
        let conditions = register!(
            registry,
            Family::default(),
            "condition",
            "1 while a condition holds that asks for a person"
        );
        let erasures_owed = register!(
            registry,
            Gauge::default(),
            "erasures_owed",
            "Erasures of which something is still to be done in Crisp"
        );
        let alerts = register!(
            registry,
            Family::default(),
            "alerts",
            "Messages to `alerts.url`"
        );
        Self {
            quota_calls,
            quota_limit,
            quota_forecast_calls,
            quota_exhausted_at,
            silent_websites,
            conditions,
            erasures_owed,
            alerts,
            sweep: SweepMetrics::register(registry),
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("crisp_sync");
        let webhooks = register!(
            registry,
            Family::default(),
            "webhooks",
            "Requests on the webhook route"
        );
        let webhooks_late = register!(
            registry,
            Counter::default(),
            "webhooks_late",
            "Genuine webhooks with an old signature; accepted"
        );
        let accept_seconds = register!(
            registry,
            seconds(),
            "accept_seconds",
            "From a webhook's arrival to its commit"
        );
        let crisp_calls = register!(
            registry,
            Family::default(),
            "crisp_calls",
            "Requests to Crisp"
        );
        let crisp_call_seconds = register!(
            registry,
            seconds(),
            "crisp_call_seconds",
            "How long Crisp took to answer"
        );
        let lookups = register!(
            registry,
            Family::default(),
            "lookups",
            "Look-ups in the app's database"
        );
        let lookup_seconds = register!(
            registry,
            seconds(),
            "lookup_seconds",
            "How long the app's database took"
        );
        let work = register!(registry, Family::default(), "work", "Work done");
        let hook_to_context_seconds = register!(
            registry,
            seconds(),
            "hook_to_context_seconds",
            "From a webhook's arrival to the refreshed conversation"
        );
        let people_events = register!(
            registry,
            Family::default(),
            "people_events",
            "Lifecycle events by the state they entered"
        );
        let people_events_unproven = register!(
            registry,
            Counter::default(),
            "people_events_unproven",
            "Lifecycle events that expired while Crisp's timeline came from a cache"
        );
        let ledger = LedgerMetrics::register(&mut registry);
        let paused = register!(
            registry,
            Family::default(),
            "paused",
            "1 while calls to Crisp are paused"
        );
        let breaker = register!(
            registry,
            Family::default(),
            "breaker",
            "Circuit breakers by what they guard: 0 closed, 1 half open, 2 open"
        );
        let watch = Arc::new(WatchMetrics::register(&mut registry));
        Self {
            registry: Arc::new(registry),
            webhooks,
            webhooks_late,
            accept_seconds,
            crisp_calls,
            crisp_call_seconds,
            lookups,
            lookup_seconds,
            work,
            hook_to_context_seconds,
            people_events,
            people_events_unproven,
            ledger,
            paused,
            breaker,
            watch,
        }
    }
}

impl Metrics {
    /// The content type of [`Metrics::render`].
    pub const CONTENT_TYPE: &'static str =
        "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// Every series in the `OpenMetrics` text format.
    pub fn render(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string does not fail");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counted_webhook_shows_under_its_name() {
        let metrics = Metrics::default();
        metrics
            .webhooks
            .get_or_create(&WebhookLabels {
                outcome: "accepted",
                hook: "plugin",
            })
            .inc();
        let text = metrics.render();
        assert!(
            text.contains("crisp_sync_webhooks_total{outcome=\"accepted\",hook=\"plugin\"} 1"),
            "{text}"
        );
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}
