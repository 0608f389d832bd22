//! What an operator's commands do, whoever performs them: the command itself, or the running service for it.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;

use super::Service;
use crate::{
    ids::{Email, SessionId, WebsiteId},
    ledger::{
        DeliveryFilter, DeliveryId, DeliveryRow, Enqueue, LedgerError, OutboxFilter, Trigger,
        Urgency, WorkKind, WorkState,
    },
    lifecycle::OutboxState,
    server::command::{Answer, Operation, Table, instant},
    users::{Freshness, Lookup},
    worker::Worked,
};

/// How long a command waits for a row that somebody else works, and how far ahead of the worker it is.
const AHEAD: Duration = Duration::from_secs(30);
/// How often it looks whether the row is free.
const LOOK: Duration = Duration::from_millis(20);

impl Service {
    /// Performs an operation. A failure is an answer too: it goes to whoever typed the command.
    pub async fn perform(&self, operation: Operation) -> Answer {
        let performed = match operation {
            Operation::Plan { email } => self.plan(&email).await,
            Operation::ReconcileEmail { email } => self.reconcile_email(&email).await,
            Operation::ReconcileSession { website, session } => {
                self.reconcile_session(website, &session).await
            }
            Operation::EventsArm { event } => self.arm(event.as_deref()).await,
            Operation::EventsList { state, limit } => {
                self.list_events(state.as_deref(), limit).await
            }
            Operation::DeliveriesList {
                event,
                session,
                limit,
            } => self.list_deliveries(event, session, limit).await,
            Operation::DeliveriesShow { id } => self.show_delivery(DeliveryId(id)).await,
            Operation::DeliveriesRetry { id: Some(id) } => {
                self.retry_delivery(DeliveryId(id)).await
            }
            Operation::DeliveriesRetry { id: None } => self.revive_all().await,
        };
        performed.unwrap_or_else(|error| Answer::failed(chain(&error)))
    }

    async fn plan(&self, email: &str) -> anyhow::Result<Answer> {
        let email = Email::parse(email)?;
        let websites = self.named_websites()?;
        let now = self.clock.now();
        let mut lines = Vec::new();
        let mut plans = Vec::new();
        for website in websites {
            let plan = self.reconciler.plan(website, &email, now).await?;
            lines.push(format!("website {website}"));
            lines.push(match plan.accounts {
                0 => "  the app does not know this address".to_owned(),
                1 => "  one account".to_owned(),
                accounts => format!("  {accounts} accounts; the first row decides"),
            });
            lines.extend(plan.facts.iter().map(|fact| format!("  {fact}")));
            lines.push(format!(
                "  {} conversations that the ledger knows",
                plan.conversations.len()
            ));
            for call in &plan.calls {
                let note = call
                    .note
                    .map(|note| format!("   ({note})"))
                    .unwrap_or_default();
                lines.push(format!("  {} {}{note}", call.method, call.path));
                if let Some(body) = &call.body {
                    lines.extend(
                        format!("{body:#}")
                            .lines()
                            .map(|line| format!("    {line}")),
                    );
                }
            }
            for event in &plan.events {
                lines.push(format!(
                    "  event {}: {} ({})",
                    event.name, event.state, event.reason
                ));
            }
            if plan.calls.is_empty() {
                lines.push("  nothing would be sent".to_owned());
            }
            plans.push(plan);
        }
        lines.push("no call was made".to_owned());
        Ok(Answer {
            ok: true,
            lines,
            table: None,
            json: serde_json::to_value(plans)?,
        })
    }

    /// The websites a command speaks of. A service may serve every website that installed the plugin, but a command that
    /// found none to act on would do nothing and look like a success.
    fn named_websites(&self) -> anyhow::Result<&[WebsiteId]> {
        anyhow::ensure!(
            !self.websites.is_empty(),
            "no website is named\nhint: set `crisp.websites` or CRISP_WEBSITES, also where every website is served"
        );
        Ok(&self.websites)
    }

    async fn reconcile_email(&self, email: &str) -> anyhow::Result<Answer> {
        let email = Email::parse(email)?;
        let websites = self.named_websites()?;
        let lookup = self.users.by_email(&email, Freshness::Fresh).await?;
        let mut rows = Vec::new();
        for website in websites {
            for session in self.ledger.conversations_of(website, &email).await? {
                let worked = self
                    .refresh_now(WorkKind::Conversation, website, session.as_str())
                    .await?;
                rows.push(("conversation", session.as_str().to_owned(), worked));
            }
            if let Lookup::Found(user) = &lookup {
                let worked = self
                    .refresh_now(WorkKind::Person, website, user.key.as_str())
                    .await?;
                let reference = self.ledger.pseudonyms().user(&user.key);
                rows.push(("contact", reference.as_str().to_owned(), worked));
            }
        }
        if rows.is_empty() {
            return Ok(Answer::failed(
                "the app does not know this address, and the ledger knows no conversation with it\nhint: `check` tells whether the look-up works",
            ));
        }
        Ok(worked_answer(rows))
    }

    async fn reconcile_session(
        &self,
        website: Option<String>,
        session: &str,
    ) -> anyhow::Result<Answer> {
        let session = SessionId::parse(session)?;
        let website = match (website, self.websites.as_slice()) {
            (Some(website), served) => {
                let website = WebsiteId::parse(&website)?;
                anyhow::ensure!(
                    served.is_empty() || served.contains(&website),
                    "website `{website}` is not served\nhint: `crisp.websites` names those that are"
                );
                website
            }
            (None, [website]) => website.clone(),
            (None, _) => {
                anyhow::bail!(
                    "it is not clear which website this is\nhint: say which with --website"
                )
            }
        };
        let worked = self
            .refresh_now(WorkKind::Conversation, &website, session.as_str())
            .await?;
        let mut rows = vec![("conversation", session.as_str().to_owned(), worked)];
        let mirror = self.ledger.conversation(&website, &session).await?;
        if let Some(user) = mirror.and_then(|mirror| mirror.user_key) {
            let worked = self
                .refresh_now(WorkKind::Person, &website, user.as_str())
                .await?;
            rows.push((
                "contact",
                self.ledger.pseudonyms().user(&user).as_str().to_owned(),
                worked,
            ));
        }
        Ok(worked_answer(rows))
    }

    /// Enqueues one row and works it at once, so that whoever asked sees what came of it.
    async fn refresh_now(
        &self,
        kind: WorkKind,
        website: &WebsiteId,
        key: &str,
    ) -> anyhow::Result<Worked> {
        self.take_charge().await?;
        let claimed = tokio::time::timeout(AHEAD, async {
            loop {
                let now = self.clock.now();
                let row = self.ledger.work(kind, website, key).await?;
                match row.map(|row| (row.state, row.is_pending())) {
                    // A trigger revives a dead letter now and then; a person does whenever they ask.
                    Some((WorkState::Dead, _)) => {
                        self.ledger.revive(kind, website, key, now).await?;
                    }
                    Some((_, true)) => {}
                    // Due a little later: a worker beside us must not take the row before we do. If this process ends in
                    // between, the worker does it then.
                    _ => {
                        let wanted = command(kind, website, key, now + AHEAD);
                        self.ledger.enqueue(vec![wanted], now).await?;
                    }
                }
                let lease = self.worker.lease();
                let claim = self
                    .ledger
                    .claim_key(kind, website, key, lease, now)
                    .await?;
                if let Some(claim) = claim {
                    return Ok::<_, LedgerError>(claim);
                }
                tokio::time::sleep(LOOK).await;
            }
        });
        let claim = claimed.await.ok().transpose()?.context(
            "the row is being worked at this moment\nhint: its result is in the log; ask again in a moment",
        )?;
        Ok(self.worker.work(claim).await)
    }

    async fn arm(&self, event: Option<&str>) -> anyhow::Result<Answer> {
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

    async fn list_events(&self, state: Option<&str>, limit: u32) -> anyhow::Result<Answer> {
        let state = state
            .map(|state| {
                OutboxState::parse(state).with_context(|| {
                    let known = OutboxState::ALL.map(OutboxState::as_str).join(", ");
                    format!("`{state}` is no state of the outbox\nhint: the states are {known}")
                })
            })
            .transpose()?;
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

    async fn list_deliveries(
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
            }),
        })
    }

    async fn show_delivery(&self, id: DeliveryId) -> anyhow::Result<Answer> {
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

    async fn retry_delivery(&self, id: DeliveryId) -> anyhow::Result<Answer> {
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

    async fn revive_all(&self) -> anyhow::Result<Answer> {
        let revived = self.ledger.revive_all(self.clock.now()).await?;
        Ok(Answer::said(
            format!("{revived} dead letters revived"),
            json!({ "revived": revived }),
        ))
    }

    async fn delivery(&self, id: DeliveryId) -> anyhow::Result<DeliveryRow> {
        self.ledger.delivery(id).await?.with_context(|| {
            format!(
                "there is no delivery {}\nhint: `deliveries list` shows those that are kept",
                id.0
            )
        })
    }
}

fn command(kind: WorkKind, website: &WebsiteId, key: &str, now: jiff::Timestamp) -> Enqueue {
    Enqueue {
        kind,
        website: website.clone(),
        key: key.to_owned(),
        trigger: Trigger::Command,
        run_at: now,
        urgency: Urgency::Timer,
        debounce: Duration::ZERO,
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

fn worked_answer(rows: Vec<(&'static str, String, Worked)>) -> Answer {
    let ok = rows.iter().all(|(_, _, worked)| worked.error.is_none());
    let json = rows
        .iter()
        .map(|(what, key, worked)| {
            json!({ "what": what, "key": key, "outcome": worked.outcome, "changed": worked.changed, "crisp_calls": worked.calls, "error": worked.error })
        })
        .collect();
    let lines = rows
        .iter()
        .filter_map(|(_, _, worked)| worked.error.clone())
        .collect();
    let rows = rows
        .into_iter()
        .map(|(what, key, worked)| {
            vec![
                what.to_owned(),
                key,
                worked.outcome.to_owned(),
                worked.calls.to_string(),
                worked.changed,
            ]
        })
        .collect();
    Answer {
        ok,
        lines,
        json: serde_json::Value::Array(json),
        table: Some(Table {
            headings: ["what", "key", "outcome", "crisp calls", "changed"]
                .map(str::to_owned)
                .to_vec(),
            rows,
        }),
    }
}

fn chain(error: &anyhow::Error) -> String {
    let mut told = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if !told.contains(&text) {
            if !told.is_empty() {
                told.push_str(": ");
            }
            told.push_str(&text);
        }
    }
    told
}
