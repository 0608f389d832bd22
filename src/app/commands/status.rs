//! `status`: what the service is at, for a person at a terminal.

use serde_json::json;

use super::super::{Service, mode_name};
use crate::{
    ledger::{ConditionRow, PauseScope},
    lifecycle::OutboxState,
    server::{
        command::{Answer, instant},
        status::{Status, SweepStanding},
    },
};

/// How far a sweep is behind, and why, if that is known.
fn swept(standing: &SweepStanding) -> String {
    let behind = jiff::SignedDuration::from_secs(standing.lag_seconds);
    let error = standing.last_error.as_deref().unwrap_or_default();
    let why = error.split('\n').next().filter(|error| !error.is_empty());
    format!(
        "sweep {}: {behind:#} behind, since {}; {} people wait{}",
        standing.sweeping.lane,
        instant(standing.since),
        standing.waiting,
        why.map(|error| format!("; {error}")).unwrap_or_default()
    )
}

/// A condition that asks for a person. One of the whole service has no subject.
fn asks(condition: &ConditionRow) -> String {
    let about = [condition.kind.as_str(), condition.subject.as_str()];
    format!(
        "{} since {}: {}",
        about.join(" ").trim_end(),
        instant(condition.since),
        condition.detail
    )
}

impl Service {
    pub(super) async fn status(&self) -> anyhow::Result<Answer> {
        let now = self.clock.now();
        let quota = self.server.quota;
        let status = Status::read(&self.ledger, &self.breakers, quota, now).await?;
        let mut lines = vec![format!("mode {}", mode_name(self.mode))];
        let mut armed = Vec::new();
        for website in &self.websites {
            let armings = self.ledger.armings(website).await?;
            for rule in self.rules.iter() {
                let arming = rule
                    .names()
                    .find_map(|name| armings.iter().find(|arming| arming.rule == name));
                let since = arming.map(|arming| arming.watermark);
                lines.push(match since {
                    Some(since) => {
                        format!("{website} {} armed since {}", rule.name(), instant(since))
                    }
                    None => format!("{website} {} not armed", rule.name()),
                });
                armed.push(json!({ "website": website.as_str(), "event": rule.name(), "watermark": since }));
            }
        }
        let health = &status.health;
        lines.push(format!(
            "work: {} waiting, {} of it due, {} dead letters",
            health.pending, health.due, health.dead
        ));
        for (state, rows) in &health.outbox {
            let next = match state {
                OutboxState::Held | OutboxState::Parked => {
                    format!("; `crisp-sync events release --state {state}` lets them go")
                }
                OutboxState::Unsure => {
                    "; `crisp-sync events list --state unsure` tells why".to_owned()
                }
                _ => String::new(),
            };
            lines.push(format!("outbox: {rows} {state}{next}"));
        }
        let outlook = &status.quota;
        let end = match outlook.forecast.exhausted_at {
            Some(at) => format!("used up at {}", instant(at)),
            None => format!("{} by the end of the day", outlook.forecast.calls),
        };
        lines.push(format!(
            "quota: {} of {} calls on {}; at this pace {end}",
            outlook.calls, outlook.limit, outlook.day
        ));
        lines.extend(status.sweeps.iter().map(swept));
        for pause in &health.pauses {
            let what = match &pause.website {
                Some(website) if pause.scope == PauseScope::People => {
                    format!("contacts of {website}")
                }
                Some(website) => format!("website {website}"),
                None => "the token".to_owned(),
            };
            lines.push(format!(
                "paused: {what} until {}: {}",
                instant(pause.until),
                pause.reason
            ));
        }
        if let Some(until) = health.cautious_until {
            lines.push(format!("cautious until {}", instant(until)));
        }
        for condition in &status.conditions {
            lines.push(asks(condition));
        }
        let mut json = serde_json::to_value(&status)?;
        json["mode"] = json!(mode_name(self.mode));
        json["armed"] = json!(armed);
        Ok(Answer {
            ok: true,
            lines,
            table: None,
            json,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_without_a_subject_leaves_no_gap() {
        let at = "2026-03-02T09:00:00Z".parse().expect("an instant");
        let mut condition = ConditionRow {
            kind: "events_held".to_owned(),
            subject: String::new(),
            detail: "2 held".to_owned(),
            since: at,
            seen_at: at,
            told_at: None,
        };
        let since = "since 2026-03-02 09:00:00Z: 2 held";
        assert_eq!(asks(&condition), format!("events_held {since}"));
        "a on b".clone_into(&mut condition.subject);
        assert_eq!(asks(&condition), format!("events_held a on b {since}"));
    }
}
