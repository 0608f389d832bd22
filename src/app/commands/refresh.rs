//! `plan` and `reconcile`: what would be done for a person, and doing it now.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;

use super::super::Service;
use crate::{
    ids::{Email, SessionId, WebsiteId},
    ledger::{Enqueue, LedgerError, Tombstoned, Trigger, Urgency, WorkKind, WorkState},
    server::command::{Answer, Table},
    users::{Freshness, Lookup},
    worker::Worked,
};

/// How long a command waits for a row that somebody else works, and how far ahead of the worker it is.
const AHEAD: Duration = Duration::from_secs(30);
/// What is said of somebody who was erased.
pub(super) const ERASED: &str = "this person was erased: nobody is looked up\nhint: `erase --lift` ends it for somebody who is back";
/// How often it looks whether the row is free.
const LOOK: Duration = Duration::from_millis(20);

impl Service {
    pub(super) async fn plan(&self, email: &str) -> anyhow::Result<Answer> {
        let email = Email::parse(email)?;
        let websites = self.named_websites()?;
        let now = self.clock.now();
        let mut lines = Vec::new();
        let mut plans = Vec::new();
        for website in websites {
            let plan = self.reconciler.plan(website, &email, now).await?;
            lines.push(format!("website {website}"));
            lines.extend(plan.accounts.map(|accounts| match accounts {
                0 => "  the app does not know this address".to_owned(),
                1 => "  one account".to_owned(),
                accounts => format!("  {accounts} accounts; the first row decides"),
            }));
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
    pub(super) fn named_websites(&self) -> anyhow::Result<&[WebsiteId]> {
        anyhow::ensure!(
            !self.websites.is_empty(),
            "no website is named\nhint: set `crisp.websites` or CRISP_WEBSITES, also where every website is served"
        );
        Ok(&self.websites)
    }

    pub(super) async fn reconcile_email(&self, email: &str) -> anyhow::Result<Answer> {
        let email = Email::parse(email)?;
        let websites = self.named_websites()?;
        for website in websites {
            if self.ledger.tombstoned(website, None, Some(&email)).await? == Tombstoned::Yes {
                anyhow::bail!(ERASED);
            }
        }
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

    pub(super) async fn reconcile_session(
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
    pub(super) async fn refresh_now(
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
}

pub(super) fn command(
    kind: WorkKind,
    website: &WebsiteId,
    key: &str,
    now: jiff::Timestamp,
) -> Enqueue {
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

pub(super) fn worked_answer(rows: Vec<(&'static str, String, Worked)>) -> Answer {
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
            below: None,
        }),
    }
}
