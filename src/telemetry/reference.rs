//! The page about logs and metrics, made from the tables that the code logs and counts by.
//!
//! Nothing of it is written by hand twice: a line or a series that is not in a table does not exist.

use std::fmt::Write as _;

use super::{
    events,
    metrics::{
        BreakerLabels, ConditionLabels, CrispCallLabels, LaneLabels, Metrics, OutcomeLabels,
        PeopleEventLabels, ScopeLabels, SweepLabels, WebhookLabels, WorkLabels,
    },
};

/// `docs/logging.md`: every kind of line with its fields, and every metric.
pub fn reference() -> String {
    let mut page = String::from(
        "# Logs and metrics\n\n\
         <!-- Made from the source by `UPDATE_DOCS=1 cargo test --test it telemetry`; do not edit. -->\n\n\
         Both are interfaces: what stands here is kept, and a test holds every line of many runs against it.\n\
         No line, series or error answer carries an e-mail address, a name, a token, a message or a body. People appear as\n\
         `user.ref`, a hash keyed with a secret of the ledger: the same person has the same one, and nobody outside can tell\n\
         whose it is.\n\n\
         ## Log lines\n\n\
         JSON lines on standard error (`log.format`), one object each. Every line has `timestamp`, `level`, `target`, `message`,\n\
         a sentence for people, and `event`, its name for machines. Fields that say nothing are left out.\n\
         By default `INFO` and above are written; `CRISP_SYNC_LOG=info,crisp_sync=debug` shows the rest.\n\n\
         | event | level | meaning | fields |\n|---|---|---|---|\n",
    );
    for event in events::ALL {
        let fields: Vec<_> = event
            .fields
            .iter()
            .map(|field| format!("`{field}`"))
            .collect();
        // Writing to a String cannot fail.
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} |",
            event.name,
            event.level,
            event.meaning,
            fields.join(", ")
        );
    }
    page.push_str(
        "\n## Metrics\n\n\
         `GET /metrics` on the ops listener, in the OpenMetrics text format. Label values come from closed sets; the only\n\
         exceptions are the names of lifecycle events and of queries, which the definition bounds.\n\n\
         | metric | type | meaning | labels |\n|---|---|---|---|\n",
    );
    let text = one_of_each().render();
    for line in text.lines() {
        if let Some((name, meaning)) = line
            .strip_prefix("# HELP ")
            .and_then(|rest| rest.split_once(' '))
        {
            let kind = text
                .lines()
                .find_map(|line| line.strip_prefix(&format!("# TYPE {name} ")))
                .unwrap_or_default();
            let shown = if kind == "counter" {
                format!("{name}_total")
            } else {
                name.to_owned()
            };
            let _ = writeln!(
                page,
                "| `{shown}` | {kind} | {} | {} |",
                meaning.trim_end_matches('.'),
                labels(&text, &shown)
            );
        }
    }
    page
}

/// The labels of a series, from the first sample of it.
fn labels(text: &str, name: &str) -> String {
    let sample = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('{'));
    let Some((labels, _)) = sample.and_then(|rest| rest.split_once('}')) else {
        return String::new();
    };
    let names: Vec<_> = labels
        .split(',')
        .filter_map(|label| Some(format!("`{}`", label.split_once('=')?.0)))
        .collect();
    names.join(", ")
}

/// Metrics in which every family has a series, because an empty one is not printed.
fn one_of_each() -> Metrics {
    let metrics = Metrics::default();
    // What is got is a guard over the family: it is let go of at once, or the next one would wait for it.
    drop(metrics.webhooks.get_or_create(&WebhookLabels {
        outcome: "accepted",
        hook: "plugin",
    }));
    drop(metrics.crisp_calls.get_or_create(&CrispCallLabels {
        purpose: "conversation",
        answer: "2xx",
    }));
    let found = OutcomeLabels { outcome: "found" };
    drop(metrics.lookups.get_or_create(&found));
    drop(metrics.work.get_or_create(&WorkLabels {
        kind: "conversation",
        outcome: "patched",
    }));
    drop(metrics.people_events.get_or_create(&PeopleEventLabels {
        name: "user:signup".to_owned(),
        state: "sent",
    }));
    let token = ScopeLabels { scope: "token" };
    drop(metrics.paused.get_or_create(&token));
    let crisp = BreakerLabels {
        name: "crisp".to_owned(),
    };
    drop(metrics.breaker.get_or_create(&crisp));
    drop(metrics.watch.conditions.get_or_create(&ConditionLabels {
        condition: "dead_letters".to_owned(),
    }));
    drop(metrics.watch.alerts.get_or_create(&found));
    let (lane, sweep) = ("changes", &metrics.watch.sweep);
    drop(sweep.rows.get_or_create(&SweepLabels {
        lane,
        outcome: "enqueued",
    }));
    drop(sweep.lag.get_or_create(&LaneLabels { lane }));
    drop(sweep.waiting.get_or_create(&LaneLabels { lane }));
    metrics
}
