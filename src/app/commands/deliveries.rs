//! `deliveries`: what came in, what came of it, and doing it again.

use anyhow::Context as _;
use serde_json::json;

use super::super::Service;
use super::refresh::worked_answer;
use crate::{
    ids::SessionId,
    ledger::{DeliveryFilter, DeliveryId, DeliveryRow, WorkKind},
    server::command::{Answer, Table, instant},
};

impl Service {
    pub(super) async fn list_deliveries(
        &self,
        event: Option<String>,
        session: Option<String>,
        limit: u32,
    ) -> anyhow::Result<Answer> {
        let filter = DeliveryFilter {
            event,
            session: session.as_deref().map(SessionId::parse).transpose()?,
            limit,
            ..DeliveryFilter::default()
        };
        let deliveries = self.ledger.deliveries(&filter).await?;
        Ok(Answer {
            ok: true,
            lines: if deliveries.is_empty() {
                vec!["no delivery matches".to_owned()]
            } else {
                Vec::new()
            },
            json: serde_json::to_value(&deliveries)?,
            table: (!deliveries.is_empty()).then(|| Table {
                headings: ["id", "received_at", "event", "about", "hook", "attempt"]
                    .map(str::to_owned)
                    .to_vec(),
                rows: deliveries.iter().map(delivery_cells).collect(),
                below: None,
            }),
        })
    }

    pub(super) async fn show_delivery(&self, id: DeliveryId) -> anyhow::Result<Answer> {
        let delivery = self.delivery(id).await?;
        let mut lines = vec![
            format!(
                "delivery {} · {} · {}",
                id.0,
                delivery.event,
                instant(delivery.received_at)
            ),
            format!("  website {}", delivery.website),
        ];
        let mut work_json = serde_json::Value::Null;
        let mut traces_json = serde_json::Value::Null;
        if let Some(session) = &delivery.session {
            lines.push(format!("  conversation {session}"));
            if let Some(work) = self
                .ledger
                .work(WorkKind::Conversation, &delivery.website, session)
                .await?
            {
                let what = match (work.state.as_str(), work.is_pending()) {
                    ("dead", _) => "a dead letter",
                    (_, true) => "waiting",
                    _ => "done",
                };
                lines.push(format!(
                    "  its work is {what}; attempts {}, crashes {}",
                    work.attempts, work.crashes
                ));
                if let Some(error) = &work.last_error {
                    lines.push(format!("  last error: {error}"));
                }
                work_json = json!({ "state": work.state.as_str(), "pending": work.is_pending(), "attempts": work.attempts, "last_error": work.last_error });
            }
            let traces = self
                .ledger
                .traces(WorkKind::Conversation, &delivery.website, session)
                .await?;
            for trace in &traces {
                lines.push(format!(
                    "  {} {} (trigger {}, attempt {})",
                    instant(trace.at),
                    trace.trace.outcome,
                    trace.trigger,
                    trace.attempt
                ));
                for fact in trace.trace.detail["facts"].as_array().into_iter().flatten() {
                    lines.push(format!("    {}", fact.as_str().unwrap_or_default()));
                }
                for change in trace.trace.detail["changes"]
                    .as_array()
                    .into_iter()
                    .flatten()
                {
                    lines.push(format!(
                        "    {} {}: {} → {}",
                        change["kind"].as_str().unwrap_or_default(),
                        change["name"].as_str().unwrap_or_default(),
                        change["before"],
                        change["after"]
                    ));
                }
            }
            traces_json = traces
                .iter()
                .map(|trace| json!({ "at": trace.at, "outcome": trace.trace.outcome, "detail": trace.trace.detail }))
                .collect();
        }
        Ok(Answer {
            ok: true,
            lines,
            table: None,
            json: json!({ "delivery": delivery, "work": work_json, "traces": traces_json }),
        })
    }

    pub(super) async fn retry_delivery(&self, id: DeliveryId) -> anyhow::Result<Answer> {
        let delivery = self.delivery(id).await?;
        let session = delivery.session.context(
            "this delivery is about no conversation\nhint: `reconcile --email` refreshes a person",
        )?;
        let now = self.clock.now();
        self.ledger
            .revive(WorkKind::Conversation, &delivery.website, &session, now)
            .await?;
        let worked = self
            .refresh_now(WorkKind::Conversation, &delivery.website, &session)
            .await?;
        Ok(worked_answer(vec![("conversation", session, worked)]))
    }

    pub(super) async fn revive_all(&self) -> anyhow::Result<Answer> {
        let revived = self.ledger.revive_all(self.clock.now()).await?;
        Ok(Answer::said(
            format!("{revived} dead letters revived"),
            json!({ "revived": revived }),
        ))
    }

    pub(super) async fn delivery(&self, id: DeliveryId) -> anyhow::Result<DeliveryRow> {
        self.ledger.delivery(id).await?.with_context(|| {
            format!(
                "there is no delivery {}\nhint: `deliveries list` shows those that are kept",
                id.0
            )
        })
    }
}

fn delivery_cells(delivery: &DeliveryRow) -> Vec<String> {
    vec![
        delivery.id.0.to_string(),
        instant(delivery.received_at),
        delivery.event.clone(),
        delivery
            .session
            .clone()
            .or_else(|| delivery.people.clone())
            .unwrap_or_default(),
        delivery.hook.clone(),
        delivery
            .attempt
            .map(|attempt| attempt.to_string())
            .unwrap_or_default(),
    ]
}
