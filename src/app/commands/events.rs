//! `events`: arming, the outbox, and what a person decides about it.

use anyhow::Context as _;
use serde_json::json;

use super::super::Service;
use crate::{
    ledger::OutboxFilter,
    lifecycle::OutboxState,
    pseudonym::OccurrenceRef,
    server::command::{Answer, Chosen, Table, instant},
};

impl Service {
    pub(super) async fn arm(&self, event: Option<&str>) -> anyhow::Result<Answer> {
        let websites = self.named_websites()?;
        let names = self.rule_names();
        let chosen: Vec<&String> = names
            .iter()
            .filter(|name| event.is_none_or(|event| event == name.as_str()))
            .collect();
        if chosen.is_empty() {
            anyhow::bail!(
                "no lifecycle event of this name is configured\nhint: configured are {}",
                if names.is_empty() {
                    "none".to_owned()
                } else {
                    names.join(", ")
                }
            );
        }
        let watermark = self
            .users
            .now()
            .await
            .context("the watermark is taken from the app's database")?;
        let now = self.clock.now();
        // Whoever arms here says that the ledger belongs here.
        self.ledger.settle_in().await?;
        let mut rows = Vec::new();
        for website in websites {
            let armed = self.ledger.armings(website).await?;
            for name in &chosen {
                let before = armed.iter().find(|arming| arming.rule == **name);
                // Arming again must not mail what happened since: the first watermark stays.
                let (since, said) = if let Some(arming) = before {
                    (arming.watermark, "armed already")
                } else {
                    self.ledger.arm(website, name, watermark, now).await?;
                    (watermark, "armed")
                };
                rows.push(vec![
                    website.to_string(),
                    (*name).clone(),
                    instant(since),
                    said.to_owned(),
                ]);
            }
        }
        Ok(Answer {
            ok: true,
            lines: vec!["what happened before the watermark stays unsent".to_owned()],
            json: json!(rows),
            table: Some(Table {
                headings: ["website", "event", "watermark", ""]
                    .map(str::to_owned)
                    .to_vec(),
                rows,
            }),
        })
    }

    pub(super) async fn list_events(
        &self,
        word: Option<&str>,
        limit: u32,
    ) -> anyhow::Result<Answer> {
        let state = word.map(state).transpose()?;
        let rows = self
            .ledger
            .outbox_list(&OutboxFilter {
                state,
                limit,
                ..OutboxFilter::default()
            })
            .await?;
        let cells: Vec<Vec<String>> = rows
            .iter()
            .map(|row| {
                vec![
                    row.event.clone(),
                    row.state.as_str().to_owned(),
                    row.reason.clone(),
                    instant(row.instant.unwrap_or(row.due_at)),
                    instant(row.due_at),
                    row.sent_at.map(instant).unwrap_or_default(),
                    self.ledger
                        .pseudonyms()
                        .user(&row.user_key)
                        .as_str()
                        .to_owned(),
                    row.reference.as_str().to_owned(),
                ]
            })
            .collect();
        let headings = [
            "event",
            "state",
            "reason",
            "happened_at",
            "due_at",
            "sent_at",
            "user.ref",
            "ref",
        ];
        let json = cells
            .iter()
            .map(|row| {
                headings
                    .iter()
                    .zip(row)
                    .map(|(name, cell)| ((*name).to_owned(), json!(cell)))
                    .collect()
            })
            .collect();
        Ok(Answer {
            ok: true,
            lines: if cells.is_empty() {
                vec!["the outbox is empty".to_owned()]
            } else {
                Vec::new()
            },
            json: serde_json::Value::Array(json),
            table: (!cells.is_empty()).then(|| Table {
                headings: headings.map(str::to_owned).to_vec(),
                rows: cells,
            }),
        })
    }

    /// Lets occurrences go that were held, parked or left unsure. Each is checked again before it is sent.
    pub(super) async fn release(&self, chosen: Chosen) -> anyhow::Result<Answer> {
        let (over_cap, now) = (chosen.over_cap, self.clock.now());
        let filter = filter(chosen)?;
        let released = if over_cap {
            self.ledger.release_over_cap(&filter, now).await?
        } else {
            self.ledger.release(&filter, now).await?
        };
        Ok(Answer::said(
            format!("{released} released; each is checked again before it is sent"),
            json!({ "released": released }),
        ))
    }

    /// Gives occurrences up that were not sent.
    pub(super) async fn drop_events(&self, chosen: Chosen) -> anyhow::Result<Answer> {
        let dropped = self
            .ledger
            .drop_occurrences(&filter(chosen)?, self.clock.now())
            .await?;
        Ok(Answer::said(
            format!("{dropped} dropped; none of them will be sent"),
            json!({ "dropped": dropped }),
        ))
    }
}

/// The rows that a person chose.
fn filter(chosen: Chosen) -> anyhow::Result<OutboxFilter> {
    Ok(OutboxFilter {
        event: chosen.event,
        reference: chosen.reference.map(OccurrenceRef::from_stored),
        state: chosen.state.as_deref().map(state).transpose()?,
        limit: chosen.limit,
        ..OutboxFilter::default()
    })
}

fn state(word: &str) -> anyhow::Result<OutboxState> {
    OutboxState::parse(word).with_context(|| {
        let known = OutboxState::ALL.map(OutboxState::as_str).join(", ");
        format!("`{word}` is no state of the outbox\nhint: the states are {known}")
    })
}
