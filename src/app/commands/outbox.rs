//! `events list`, `release`, `drop`: the outbox, and what a person decides about it.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde_json::json;

use super::super::Service;
use crate::{
    ids::{Email, UserKey, WebsiteId},
    ledger::{OutboxFilter, OutboxRow, OutboxTotal},
    lifecycle::{OutboxState, reason},
    pseudonym::OccurrenceRef,
    server::command::{Answer, Chosen, Listed, Table, instant},
    users::{Freshness, Lookup},
};

const HEADINGS: [&str; 9] = [
    "event",
    "state",
    "reason",
    "happened_at",
    "due_at",
    "sent_at",
    "website",
    "user.ref",
    "ref",
];

/// The heading of whom it is about, where somebody asks for it by name.
const USER_KEY: &str = "user.key";

/// What a person decides about occurrences.
#[derive(Clone, Copy)]
enum Verdict {
    Release,
    Drop,
}

impl Service {
    pub(super) async fn list_events(&self, listed: Listed) -> anyhow::Result<Answer> {
        let mut filter = OutboxFilter {
            website: website(listed.website.as_deref())?,
            former: self.former_name(listed.event.as_deref()),
            event: listed.event,
            states: (listed.states.iter())
                .map(|word| state(word))
                .collect::<anyhow::Result<_>>()?,
            since: listed.since,
            until: listed.until,
            limit: listed.limit,
            ..OutboxFilter::default()
        };
        filter.user_key = match (listed.user, listed.email) {
            (Some(key), _) => Some(UserKey::parse(&key)?),
            (None, Some(email)) => Some(self.key_of(&Email::parse(&email)?).await?),
            (None, None) => None,
        };
        let behind = listed.behind.map(OccurrenceRef::from_stored);
        let rows = match &behind {
            None => self.ledger.outbox_list(&filter).await?,
            Some(behind) => (self.ledger.outbox_list_behind(&filter, behind).await?)
                .context("the outbox has changed while it was read\nhint: type it again")?,
        };
        if rows.is_empty() && behind.is_none() {
            self.ensure_named(&filter).await?;
        }
        let mut headings = HEADINGS.to_vec();
        headings.extend(listed.show_user.then_some(USER_KEY));
        let cells: Vec<Vec<String>> = rows
            .iter()
            .map(|row| {
                let mut cells = self.cells(row);
                cells.extend(listed.show_user.then(|| row.user_key.as_str().to_owned()));
                cells
            })
            .collect();
        let count = cells.len() as u64;
        let below = match listed.shown {
            Some(before) if count >= filter.limit.into() => {
                self.cut(&filter, before + count).await?
            }
            _ => None,
        };
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
                vec!["nothing in the outbox matches".to_owned()]
            } else {
                Vec::new()
            },
            json: serde_json::Value::Array(json),
            table: Some(Table {
                headings: headings.into_iter().map(str::to_owned).collect(),
                rows: cells,
                below,
            }),
        })
    }

    /// What to say where there are more than were asked for.
    async fn cut(&self, filter: &OutboxFilter, shown: u64) -> anyhow::Result<Option<String>> {
        let totals = self.ledger.outbox_totals(filter).await?;
        let all: u64 = totals.iter().map(|total| total.rows).sum();
        Ok((all > shown).then(|| {
            format!(
                "{shown} of {all}: `--limit` shows more of them, `--csv` and `--json` all of them"
            )
        }))
    }

    fn cells(&self, row: &OutboxRow) -> Vec<String> {
        vec![
            row.event.clone(),
            row.state.as_str().to_owned(),
            row.reason.clone(),
            instant(row.instant.unwrap_or(row.due_at)),
            instant(row.due_at),
            row.sent_at.map(instant).unwrap_or_default(),
            row.website.to_string(),
            self.ledger
                .pseudonyms()
                .user(&row.user_key)
                .as_str()
                .to_owned(),
            row.reference.as_str().to_owned(),
        ]
    }

    /// The name that an event had before the one it has.
    fn former_name(&self, event: Option<&str>) -> Option<String> {
        let rule = self.rules.iter().find(|rule| Some(rule.name()) == event)?;
        rule.renamed_from().map(str::to_owned)
    }

    /// Whose address this is: the app's database knows it best, the ledger may know somebody who has left the app.
    async fn key_of(&self, email: &Email) -> anyhow::Result<UserKey> {
        let asked = self.users.by_email(email, Freshness::Cached).await;
        if let Ok(Lookup::Found(user)) = &asked {
            return Ok(user.key.clone());
        }
        let code = self.ledger.pseudonyms().email(email);
        for website in &self.websites {
            if let Some(person) = self.ledger.person_by_email(website, &code).await? {
                return Ok(person.user_key);
            }
        }
        asked?;
        anyhow::bail!(
            "neither the app nor the ledger knows this address\nhint: `--user` takes the key that the app has for somebody"
        )
    }

    /// Lets occurrences go that were held, parked or left unsure. Each is checked again before it is sent.
    pub(super) async fn release(&self, chosen: Chosen) -> anyhow::Result<Answer> {
        self.decide(chosen, Verdict::Release).await
    }

    /// Gives occurrences up that were not sent.
    pub(super) async fn drop_events(&self, chosen: Chosen) -> anyhow::Result<Answer> {
        self.decide(chosen, Verdict::Drop).await
    }

    async fn decide(&self, chosen: Chosen, verdict: Verdict) -> anyhow::Result<Answer> {
        let (confirmed, dry_run, over_cap) = (chosen.confirmed, chosen.dry_run, chosen.over_cap);
        let mut filter = filter(chosen)?;
        filter.former = self.former_name(filter.event.as_deref());
        anyhow::ensure!(filter.limit > 0, "`--limit 0` chooses nothing");
        let movable = verdict.movable(filter.state);
        let totals = self
            .ledger
            .outbox_totals(&OutboxFilter {
                states: movable,
                ..filter.clone()
            })
            .await?;
        let totals: Vec<OutboxTotal> = totals
            .into_iter()
            .filter(|total| total.state != OutboxState::Unsure || total.reason != reason::DROPPED)
            .collect();
        let found: u64 = totals.iter().map(|total| total.rows).sum();
        let count = found.min(filter.limit.into());
        let said = verdict.participle();
        if found == 0 {
            self.ensure_named(&filter).await?;
        }
        if dry_run || (count > 1 && !confirmed) {
            let lines = if dry_run {
                vec![format!("{count} would be {said}; nothing was done")]
            } else {
                let told: Vec<String> = totals.iter().map(told).collect();
                vec![format!(
                    "{count} would be {said}: {}\nhint: add `--yes` to do it, `--dry-run` to see them counted",
                    told.join(", ")
                )]
            };
            let json = json!({ "error": (!dry_run).then(|| lines[0].clone()), "would_be": { said: count }, "counts": totals.iter().map(counted).collect::<Vec<_>>() });
            return Ok(Answer {
                ok: dry_run,
                lines,
                table: (dry_run && !totals.is_empty()).then(|| table(&totals)),
                json,
            });
        }
        let nothing = if found == 0 {
            let states = verdict.movable(filter.state);
            Some(self.nothing_moved(&filter, said, &states).await?)
        } else {
            None
        };
        if !confirmed && found > 0 {
            // What came to it since it was counted was not agreed to.
            filter.limit = 1;
        }
        let now = self.clock.now();
        let (done, line) = match verdict {
            Verdict::Release if over_cap => {
                let done = self.ledger.release_over_cap(&filter, now).await?;
                let line = format!(
                    "{done} released past the brake's cap; each is checked again before it is sent"
                );
                (done, line)
            }
            Verdict::Release => {
                let done = self.ledger.release(&filter, now).await?;
                let line = format!(
                    "{done} released; each is checked again before it is sent, and the brake still counts"
                );
                (done, line)
            }
            Verdict::Drop => {
                let done = self.ledger.drop_occurrences(&filter, now).await?;
                (done, format!("{done} dropped; none of them will be sent"))
            }
        };
        // A decision about nothing is one all the same: it ends a brake whose rows have expired.
        let line = nothing.filter(|_| done == 0).unwrap_or(line);
        Ok(Answer::said(line, json!(BTreeMap::from([(said, done)]))))
    }
}

impl Verdict {
    const fn participle(self) -> &'static str {
        match self {
            Self::Release => "released",
            Self::Drop => "dropped",
        }
    }

    /// The states of which it moves rows. What may be in Crisp already has to be named.
    fn movable(self, named: Option<OutboxState>) -> Vec<OutboxState> {
        let mut states = vec![OutboxState::Held, OutboxState::Parked];
        if let Self::Drop = self {
            states.extend([
                OutboxState::Scheduled,
                OutboxState::Due,
                OutboxState::NoConsent,
                OutboxState::Excluded,
            ]);
        }
        states.extend(named.filter(|state| *state == OutboxState::Unsure));
        states
    }
}

/// The rows that a person chose.
fn filter(chosen: Chosen) -> anyhow::Result<OutboxFilter> {
    Ok(OutboxFilter {
        website: website(chosen.website.as_deref())?,
        event: chosen.event,
        reference: chosen.reference.map(OccurrenceRef::from_stored),
        state: chosen.state.as_deref().map(state).transpose()?,
        since: chosen.since,
        limit: chosen.limit,
        ..OutboxFilter::default()
    })
}

fn website(text: Option<&str>) -> anyhow::Result<Option<WebsiteId>> {
    Ok(text.map(WebsiteId::parse).transpose()?)
}

fn state(word: &str) -> anyhow::Result<OutboxState> {
    OutboxState::parse(word).with_context(|| {
        let known = OutboxState::ALL.map(OutboxState::as_str).join(", ");
        format!("`{word}` is no state of the outbox\nhint: the states are {known}")
    })
}

fn told(total: &OutboxTotal) -> String {
    format!(
        "{} {} ({} {})",
        total.rows, total.event, total.state, total.reason
    )
}

fn counted(total: &OutboxTotal) -> serde_json::Value {
    json!({ "website": total.website.as_str(), "event": total.event, "state": total.state, "reason": total.reason, "count": total.rows })
}

fn table(totals: &[OutboxTotal]) -> Table {
    Table {
        headings: ["website", "event", "state", "reason", "count"]
            .map(str::to_owned)
            .to_vec(),
        rows: totals
            .iter()
            .map(|total| {
                vec![
                    total.website.to_string(),
                    total.event.clone(),
                    total.state.as_str().to_owned(),
                    total.reason.clone(),
                    total.rows.to_string(),
                ]
            })
            .collect(),
        below: None,
    }
}
