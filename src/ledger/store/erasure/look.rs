//! Looking through the whole ledger by codes: after a restore, and where something was on its way.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::ids::Email;

use super::{
    LedgerError, Pair, Store, begin,
    cells::{Cells, failed, list, ms},
    debts::{self, Owing, work_of},
    engine::query,
    erase::{final_at, websites},
    erasure::{CodeKind, DebtKind, Receipt},
    receipts,
    remove::{Found, key_of_mark, remove},
    tombstones::{self, mac_of_user, of_kind},
    work::Fold,
};

const WHAT: &str = "look for a person by code";

/// Rows that are read at a time.
const PAGE: i64 = 2_000;
/// Deliveries that are looked through in one transaction: webhooks wait for it.
const DELIVERIES: i64 = 20_000;

/// Every table that holds something by user key, as pages of website and key. $1 and $2 are where the page before ended.
const KEYS: [&str; 5] = [
    "SELECT website, user_key AS key, email_mac AS code FROM persons \
     WHERE (website, user_key) > ($1, $2) ORDER BY website, user_key LIMIT $3",
    // Where an occurrence was sent says who had that address then, and not who has it now.
    "SELECT website, user_key AS key, NULL AS code FROM outbox \
     WHERE (website, user_key) > ($1, $2) GROUP BY website, user_key ORDER BY website, user_key LIMIT $3",
    "SELECT website, user_key AS key, NULL AS code FROM high_water \
     WHERE (website, user_key) > ($1, $2) GROUP BY website, user_key ORDER BY website, user_key LIMIT $3",
    "SELECT website, key, NULL AS code FROM work \
     WHERE kind = 'person' AND (website, key) > ($1, $2) ORDER BY website, key LIMIT $3",
    "SELECT website, key, NULL AS code FROM traces \
     WHERE kind = 'person' AND (website, key) > ($1, $2) GROUP BY website, key ORDER BY website, key LIMIT $3",
];

impl Store {
    pub(in super::super::super) async fn replay(
        &self,
        receipt: &Receipt,
        served: &[crate::ids::WebsiteId],
        now: Timestamp,
    ) -> Result<bool, LedgerError> {
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, WHAT).await?;
        let only = receipt.website_id.as_deref();
        let row = receipts::Row {
            receipt: &receipt.receipt,
            website: only.unwrap_or_default(),
            at: receipt.erased_at,
            delete_contact: receipt.delete_contact,
            codes: &receipt.tombstones,
            lifted_at: receipt.lifted_at,
        };
        if !receipts::write(&mut tx, &row, &receipt.deleted).await? {
            tx.rollback().await.map_err(failed(WHAT))?;
            return Ok(false);
        }
        let scope = (row.website, row.receipt);
        tombstones::set(&mut tx, row.codes, scope, row.at, row.lifted_at).await?;
        if row.lifted_at.is_none() {
            let served: Vec<String> = served.iter().map(|one| one.as_str().to_owned()).collect();
            let mut fold = Fold::default();
            for website in websites(&mut tx, only, &served).await? {
                let owing = Owing {
                    receipt: row.receipt,
                    website: &website,
                    what: DebtKind::Look,
                    final_at: final_at(&mut tx, ms(now)).await?,
                };
                debts::owe(&mut tx, &owing, "").await?;
                fold.add(&work_of(&website, row.receipt, ms(now))?);
            }
            fold.write(&mut tx, self, ms(now)).await?;
        }
        tx.commit().await.map_err(failed(WHAT))?;
        Ok(true)
    }

    pub(in super::super::super) async fn look_for_erased(
        &self,
        receipt: &str,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let Some(known) = self.receipts(Some(receipt)).await?.pop() else {
            return Ok(());
        };
        if known.lifted_at.is_some() {
            return Ok(());
        }
        let (found, addresses) = self.found_by_code(&known).await?;
        if found.is_empty() {
            return Ok(());
        }
        let now = ms(now);
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, WHAT).await?;
        let final_at = final_at(&mut tx, now).await?;
        let deleted = remove(self, &mut tx, receipt, &found, final_at, now).await?;
        receipts::add(&mut tx, receipt, &deleted).await?;
        let mut fold = Fold::default();
        for (website, address) in &addresses {
            let owing = Owing {
                receipt,
                website,
                what: DebtKind::Contact,
                final_at,
            };
            debts::owe(&mut tx, &owing, address).await?;
        }
        let websites: BTreeSet<&String> = found
            .users
            .iter()
            .chain(&found.sessions)
            .map(|pair| &pair.0)
            .collect();
        for website in websites {
            fold.add(&work_of(website, receipt, now)?);
        }
        fold.write(&mut tx, self, now).await?;
        tx.commit().await.map_err(failed(WHAT))
    }

    /// Whose rows there are, and which addresses stand in them.
    async fn found_by_code(
        &self,
        receipt: &Receipt,
    ) -> Result<(Found, BTreeSet<Pair>), LedgerError> {
        let users = of_kind(&receipt.tombstones, CodeKind::User);
        let emails = of_kind(&receipt.tombstones, CodeKind::Email);
        let is_meant = |website: &str| {
            receipt
                .website_id
                .as_deref()
                .is_none_or(|only| only == website)
        };
        let is_user =
            |key: &str| mac_of_user(&self.pseudonyms, key).is_some_and(|mac| users.contains(&mac));
        let mut found = Found {
            macs: emails.clone(),
            ..Found::default()
        };
        for statement in KEYS {
            let mut after = (String::new(), String::new());
            loop {
                let rows = query(statement)
                    .bind(&after.0)
                    .bind(&after.1)
                    .bind(PAGE)
                    .fetch_all(&self.readers)
                    .await
                    .map_err(failed(WHAT))?;
                for row in &rows {
                    let cells = Cells::of(row, "a person");
                    after = (cells.text("website")?, cells.text("key")?);
                    let code = cells.text_if("code")?;
                    let is_erased =
                        is_user(&after.1) || code.is_some_and(|code| emails.contains(&code));
                    if is_erased && is_meant(&after.0) {
                        found.users.insert(after.clone());
                    }
                }
                if i64::try_from(rows.len()).is_ok_and(|rows| rows < PAGE) {
                    break;
                }
            }
        }
        let marks = query("SELECT after_key FROM sweeps WHERE after_key IS NOT NULL")
            .fetch_texts(&self.readers)
            .await
            .map_err(failed(WHAT))?;
        found.marks = marks
            .into_iter()
            .filter(|mark| is_user(key_of_mark(mark)))
            .collect();
        let mut addresses = BTreeSet::new();
        let mut after = (String::new(), String::new());
        loop {
            let rows = query(
                "SELECT website, session, email, user_key FROM conversations \
                 WHERE (website, session) > ($1, $2) ORDER BY website, session LIMIT $3",
            )
            .bind(&after.0)
            .bind(&after.1)
            .bind(PAGE)
            .fetch_all(&self.readers)
            .await
            .map_err(failed(WHAT))?;
            for row in &rows {
                let cells = Cells::of(row, "a conversation");
                after = (cells.text("website")?, cells.text("session")?);
                let email = cells.text_if("email")?;
                let mac = email.as_deref().and_then(|email| {
                    let email = Email::parse(email).ok()?;
                    Some(self.pseudonyms.email(&email).as_str().to_owned())
                });
                let by_address = mac.is_some_and(|mac| emails.contains(&mac));
                let by_key = cells.text_if("user_key")?.is_some_and(|key| is_user(&key));
                if (by_address || by_key) && is_meant(&after.0) {
                    found.sessions.insert(after.clone());
                    // Whoever has another address by now is another contact.
                    if let (true, Some(email)) = (by_address, email) {
                        addresses.insert((after.0.clone(), email));
                    }
                }
            }
            if i64::try_from(rows.len()).is_ok_and(|rows| rows < PAGE) {
                break;
            }
        }
        Ok((found, addresses))
    }

    /// The receipts of webhooks about their conversations and contacts. There may be very many of everybody's.
    pub(in super::super::super) async fn forget_deliveries(
        &self,
        receipt: &str,
    ) -> Result<(), LedgerError> {
        const WHAT: &str = "delete deliveries";
        let subjects = query("SELECT subject FROM erasure_debts WHERE receipt = $1 AND what IN ('conversation', 'contact')")
            .bind(receipt)
            .fetch_texts(&self.readers)
            .await
            .map_err(failed(WHAT))?;
        if subjects.is_empty() {
            return Ok(());
        }
        let newest = query("SELECT max(id) FROM deliveries")
            .fetch_number(&self.readers)
            .await
            .map_err(failed(WHAT))?
            .unwrap_or(0);
        let oldest = query("SELECT min(id) FROM deliveries")
            .fetch_number(&self.readers)
            .await
            .map_err(failed(WHAT))?
            .unwrap_or(0);
        let subjects = list(&subjects);
        let mut deleted = 0;
        let mut from = oldest;
        while from <= newest {
            let mut writer = self.writer().await?;
            deleted += query(
                "DELETE FROM deliveries WHERE id >= $1 AND id < $2 \
                   AND (session IN (SELECT value ->> 0 FROM json_each($3)) \
                        OR people IN (SELECT value ->> 0 FROM json_each($3)))",
            )
            .bind(from)
            .bind(from + DELIVERIES)
            .bind(&subjects)
            .execute(&mut *writer)
            .await
            .map_err(failed(WHAT))?;
            from += DELIVERIES;
        }
        if deleted > 0 {
            let counted = [("deliveries".to_owned(), deleted)].into();
            let mut writer = self.writer().await?;
            let mut tx = begin(&mut writer, WHAT).await?;
            receipts::add(&mut tx, receipt, &counted).await?;
            tx.commit().await.map_err(failed(WHAT))?;
        }
        Ok(())
    }
}
