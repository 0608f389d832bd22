//! `erase`: forgetting a person, and what is said of it.

use std::{collections::BTreeSet, fmt::Write as _, path::Path};

use anyhow::Context as _;
use serde_json::json;

use super::{
    super::Service,
    receipt::{as_json, receipts_in, told},
};
use crate::{
    ids::{Email, UserKey, WebsiteId},
    ledger::{Erasing, Lifted, Receipt, WorkKind},
    server::{
        command::{Answer, Table, instant},
        desk::Whom,
    },
    telemetry::events,
    users::{Freshness, Lookup},
};

impl Service {
    /// Erases the person in the ledger. What is owed to Crisp is the worker's.
    pub(super) async fn erase(&self, whom: &Whom) -> anyhow::Result<Receipt> {
        let website = whom
            .website_id
            .as_deref()
            .map(WebsiteId::parse)
            .transpose()?;
        if let Some(website) = &website {
            anyhow::ensure!(
                self.websites.is_empty() || self.websites.contains(website),
                "website `{website}` is not served\nhint: `crisp.websites` names those that are"
            );
        }
        let mut emails = BTreeSet::new();
        let mut users = BTreeSet::new();
        match (&whom.email, &whom.user_key) {
            (Some(email), None) => {
                emails.insert(Email::parse(email)?);
            }
            (None, Some(key)) => {
                users.insert(UserKey::parse(key)?);
            }
            _ => anyhow::bail!("say one of `email` and `user_key`"),
        }
        self.add_accounts(&mut emails, &mut users).await;
        let receipt = format!("er_{}", uuid::Uuid::new_v4().simple());
        let erasing = Erasing {
            receipt: receipt.clone(),
            website,
            served: self.websites.clone(),
            emails,
            users,
            delete_contact: whom.delete_contact,
        };
        if self.mode == crate::reconcile::Mode::Live {
            self.take_charge().await?;
        }
        self.ledger.erase(&erasing, self.clock.now()).await?;
        // Again, now that nobody looks up any more.
        for email in &erasing.emails {
            self.users.forget(email).await;
        }
        tracing::info!(
            event = events::ERASURE_RECORDED,
            "erasure.receipt" = receipt,
            "website.id" = erasing.website.as_ref().map(tracing::field::display),
            outcome = "erased",
            "erased a person from the ledger"
        );
        self.receipt_of(&receipt).await
    }

    /// What the app knows besides: other accounts on the address, the address of the account. Whoever it has deleted
    /// already, or if it does not answer, the ledger alone tells.
    async fn add_accounts(&self, emails: &mut BTreeSet<Email>, users: &mut BTreeSet<UserKey>) {
        let mut found = Vec::new();
        for email in emails.iter() {
            if let Ok(Lookup::Found(user)) = self.users.by_email(email, Freshness::Fresh).await {
                found.push(user);
            }
        }
        for key in users.iter() {
            if let Ok(Lookup::Found(user)) = self.users.by_key(key, None, Freshness::Fresh).await {
                emails.insert(user.email.clone());
                found.push(user);
            }
        }
        for user in found {
            users.extend(self.users.keys(&user));
        }
    }

    pub(super) async fn receipt_of(&self, receipt: &str) -> anyhow::Result<Receipt> {
        self.ledger.receipt(receipt).await?.with_context(|| {
            format!("there is no receipt `{receipt}`\nhint: `erase --list` shows those there are")
        })
    }

    /// Erases, and pays at once what can be paid.
    pub(super) async fn erase_now(&self, whom: Whom) -> anyhow::Result<Answer> {
        let receipt = self.erase(&whom).await?;
        Ok(told(&self.pay(&receipt.receipt).await?))
    }

    /// Tries once, now, whatever a receipt owes. What fails stays owed.
    async fn pay(&self, receipt: &str) -> anyhow::Result<Receipt> {
        let mut tried = BTreeSet::new();
        for owed in &self.receipt_of(receipt).await?.owed {
            let (kind, key) = match &owed.session_id {
                Some(session) => (WorkKind::Conversation, session.as_str()),
                None => (WorkKind::Erase, receipt),
            };
            // Several debts are one row's, and the worker beside us may have been faster.
            let is_first = tried.insert((kind, &owed.website_id, key));
            if is_first && self.receipt_of(receipt).await?.owed.contains(owed) {
                let website = WebsiteId::parse(&owed.website_id)?;
                self.refresh_now(kind, &website, key).await?;
            }
        }
        self.receipt_of(receipt).await
    }

    pub(super) async fn show_receipt(&self, receipt: &str) -> anyhow::Result<Answer> {
        Ok(told(&self.receipt_of(receipt).await?))
    }

    pub(super) async fn list_receipts(&self) -> anyhow::Result<Answer> {
        let receipts = self.ledger.receipts().await?;
        let rows: Vec<Vec<String>> = receipts
            .iter()
            .map(|receipt| {
                vec![
                    receipt.receipt.clone(),
                    instant(receipt.erased_at),
                    receipt
                        .website_id
                        .clone()
                        .unwrap_or_else(|| "all".to_owned()),
                    receipt.owed.len().to_string(),
                    receipt.lifted_at.map(instant).unwrap_or_default(),
                ]
            })
            .collect();
        Ok(Answer {
            ok: true,
            lines: if rows.is_empty() {
                vec!["nobody was erased".to_owned()]
            } else {
                Vec::new()
            },
            json: receipts.iter().map(as_json).collect(),
            table: (!rows.is_empty()).then(|| Table {
                headings: ["receipt", "erased_at", "website", "owed", "lifted_at"]
                    .map(str::to_owned)
                    .to_vec(),
                rows,
                below: None,
            }),
        })
    }

    pub(super) async fn replay(&self, from: &Path) -> anyhow::Result<Answer> {
        let text = std::fs::read_to_string(from).with_context(|| {
            format!(
                "could not read `{}`\nhint: it takes the file that `crisp-sync erase --list --json` was written to; beside a running service, that has to be allowed to read it",
                from.display()
            )
        })?;
        let receipts = receipts_in(&text).with_context(|| {
            format!(
                "`{}` holds something that is no receipt\nhint: it takes what `erase --json` and `erase --list --json` print",
                from.display()
            )
        })?;
        let ours = self.ledger.pseudonyms().fingerprint();
        // All or none: a file of another ledger is somebody's mistake.
        if let Some(foreign) = receipts.iter().find(|receipt| receipt.ledger != ours) {
            anyhow::bail!(
                "receipt `{}` is of another ledger, whose codes mean nothing to this one\nhint: after the loss of a ledger, erase by `--email` again",
                foreign.receipt
            );
        }
        let mut replayed = 0_u64;
        for receipt in &receipts {
            let served = &self.websites;
            if self
                .ledger
                .replay(receipt, served, self.clock.now())
                .await?
            {
                replayed += 1;
                tracing::info!(
                    event = events::ERASURE_RECORDED,
                    "erasure.receipt" = receipt.receipt,
                    "website.id" = receipt.website_id,
                    outcome = "replayed",
                    "erased a person from the ledger once more"
                );
                self.pay(&receipt.receipt).await?;
            }
        }
        let known = receipts.len() as u64 - replayed;
        Ok(Answer::said(
            format!(
                "{replayed} erased again, {known} known already; the rest is in `erase --list`"
            ),
            json!({ "replayed": replayed, "known": known }),
        ))
    }

    pub(super) async fn lift(&self, whom: Whom) -> anyhow::Result<Answer> {
        let email = whom.email.as_deref().map(Email::parse).transpose()?;
        let user = whom.user_key.as_deref().map(UserKey::parse).transpose()?;
        let now = self.clock.now();
        let lifted = self.ledger.lift(user.as_ref(), email.as_ref(), now).await?;
        let (receipts, stopped_by) = match lifted {
            Lifted::Back {
                receipts,
                stopped_by,
            } => (receipts, stopped_by),
            Lifted::NobodyOfSeveral => {
                return Ok(Answer::failed(
                    "people with different accounts were erased while they had this address; nobody is lifted\nhint: name the account that is back: `erase --lift --user KEY`",
                ));
            }
        };
        if receipts.is_empty() {
            return Ok(Answer::failed(
                "no tombstone stands for this person\nhint: `erase --list` shows the receipts",
            ));
        }
        for receipt in &receipts {
            tracing::info!(
                event = events::ERASURE_LIFTED,
                "erasure.receipt" = receipt.as_str(),
                "an erasure was ended"
            );
        }
        let mut said =
            "lifted: they are looked up again, and told of what happens from now on".to_owned();
        for other in &stopped_by {
            let _infallible = write!(
                said,
                "\nan address of theirs stays stopped, by `{other}`, which names it too\nhint: it is looked up again once that is lifted as well"
            );
        }
        let json = json!({ "lifted": receipts, "stopped_by": stopped_by });
        Ok(Answer::said(said, json))
    }
}
