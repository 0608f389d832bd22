//! `events arm` and `events backfill`: from when on events go out.

use anyhow::Context as _;
use jiff::Timestamp;
use serde_json::json;

use super::super::Service;
use crate::{
    ledger::Arming,
    lifecycle::span,
    server::command::{Answer, Table, instant},
};

impl Service {
    pub(super) async fn arm(&self, event: Option<&str>) -> anyhow::Result<Answer> {
        let websites = self.named_websites()?;
        let chosen = self.known_rules(event)?;
        let watermark = self.watermark_now().await?;
        let now = self.clock.now();
        anyhow::ensure!(
            event.is_none() || self.ledger.displaced_since().await?.is_none(),
            "this ledger is a copy, or was moved, and no lifecycle event leaves it\nhint: if it belongs here, `crisp-sync events arm` without `--event` says so, and everything that is armed in it goes out"
        );
        // Whoever arms here says that the ledger belongs here.
        self.ledger.settle_in().await?;
        let mut rows = Vec::new();
        for website in websites {
            let armed = self.ledger.armings(website).await?;
            for name in &chosen {
                let before = self.arming(&armed, name);
                // Arming again must not mail what happened since: the first watermark stays.
                let (since, said) = if let Some(arming) = before {
                    if arming.rule != *name {
                        // Under the new name too: the file need not say for ever which one it had.
                        let watermark = arming.watermark;
                        self.ledger.arm(website, name, watermark, now).await?;
                    }
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
                below: None,
            }),
        })
    }

    /// Moves the watermark of an armed rule back, or tells where it would go.
    pub(super) async fn backfill(
        &self,
        event: &str,
        since: Timestamp,
        confirmed: bool,
    ) -> anyhow::Result<Answer> {
        let websites = self.named_websites()?;
        self.known_rules(Some(event))?;
        let now = self.clock.now();
        anyhow::ensure!(
            since < now,
            "{} has not come yet\nhint: a watermark only goes back",
            instant(since)
        );
        let earliest = self.reconciler.earliest_watermark(event, now);
        let to = since.max(earliest);
        let mut lines = Vec::new();
        if to > since {
            let age = self.rules.rule(event).map(crate::lifecycle::Rule::max_age);
            lines.push(format!(
                "not beyond `max_age` ({}): older ones would expire",
                span(age.unwrap_or_default())
            ));
        }
        let mut moves = Vec::new();
        for website in websites {
            let armed = self.ledger.armings(website).await?;
            match self.arming(&armed, event) {
                Some(arming) if to < arming.watermark => moves.push((website, arming.watermark)),
                Some(arming) => lines.push(format!(
                    "on {website} the watermark is {} and stays",
                    instant(arming.watermark)
                )),
                None => anyhow::bail!(
                    "`{event}` is not armed on {website}\nhint: `crisp-sync events arm --event {event}`"
                ),
            }
        }
        for (website, from) in &moves {
            if confirmed {
                self.ledger.arm(website, event, to, now).await?;
            }
            let verb = if confirmed { "moved" } else { "would move" };
            lines.push(format!(
                "on {website} the watermark {verb} from {} to {}",
                instant(*from),
                instant(to)
            ));
        }
        Ok(Answer {
            ok: true,
            lines,
            table: None,
            json: json!({
                "event": event,
                "watermark": to,
                "moved": confirmed,
                "websites": moves.iter().map(|(website, from)| json!({ "website": website.as_str(), "from": from })).collect::<Vec<_>>(),
            }),
        })
    }

    /// What armed an event, under its name or the one it had.
    fn arming<'a>(&self, armed: &'a [Arming], event: &str) -> Option<&'a Arming> {
        let rule = self.rules.rule(event)?;
        rule.names()
            .find_map(|name| armed.iter().find(|arming| arming.rule == name))
    }

    /// The names of all rules, or the one that was named.
    pub(super) fn known_rules(&self, event: Option<&str>) -> anyhow::Result<Vec<String>> {
        let names = self.rule_names();
        let chosen: Vec<String> = names
            .iter()
            .filter(|name| event.is_none_or(|event| event == name.as_str()))
            .cloned()
            .collect();
        anyhow::ensure!(
            !chosen.is_empty(),
            "no lifecycle event of this name is configured\nhint: {}",
            self.configured()
        );
        Ok(chosen)
    }

    /// What a name could have been.
    pub(super) fn configured(&self) -> String {
        let names = self.rule_names();
        if names.is_empty() {
            return "configured are none".to_owned();
        }
        format!("configured are {}", names.join(", "))
    }

    /// The watermark of a rule that is armed now.
    pub(super) async fn watermark_now(&self) -> anyhow::Result<Timestamp> {
        self.users
            .now()
            .await
            .context("the watermark is taken from the app's database")
    }
}
