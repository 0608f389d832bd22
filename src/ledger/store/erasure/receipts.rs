//! Receipts as rows.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    LedgerError, Store,
    cells::{Cells, failed, json, ms},
    engine::{Connection, Transaction, query},
    erasure::{Code, Owed, Receipt},
};

const ROW: &str = "a receipt";

/// A receipt but for its counts.
pub(super) struct Row<'a> {
    pub(super) receipt: &'a str,
    /// Empty for every website.
    pub(super) website: &'a str,
    pub(super) at: Timestamp,
    pub(super) delete_contact: bool,
    pub(super) codes: &'a [Code],
    pub(super) lifted_at: Option<Timestamp>,
}

/// Writes a receipt down. `false`: it is there already.
pub(super) async fn write(
    tx: &mut Transaction<'_>,
    row: &Row<'_>,
    deleted: &BTreeMap<String, u64>,
) -> Result<bool, LedgerError> {
    let written = query(
        "INSERT INTO erasures (receipt, website, at, delete_contact, codes, deleted, lifted_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (receipt) DO NOTHING",
    )
    .bind(row.receipt)
    .bind(row.website)
    .bind(ms(row.at))
    .bind(i64::from(row.delete_contact))
    .bind(json(&row.codes))
    .bind(json(deleted))
    .bind(row.lifted_at.map(ms))
    .execute(tx)
    .await
    .map_err(failed("write a receipt"))?;
    Ok(written > 0)
}

/// Adds to the counts of a receipt.
pub(super) async fn add(
    tx: &mut Transaction<'_>,
    receipt: &str,
    deleted: &BTreeMap<String, u64>,
) -> Result<(), LedgerError> {
    const WHAT: &str = "count on a receipt";
    let before = query("SELECT deleted FROM erasures WHERE receipt = $1")
        .bind(receipt)
        .fetch_optional(&mut *tx)
        .await
        .map_err(failed(WHAT))?;
    let Some(before) = before else { return Ok(()) };
    let mut counts: BTreeMap<String, u64> = Cells::of(&before, ROW).json("deleted")?;
    for (what, rows) in deleted {
        *counts.entry(what.clone()).or_default() += rows;
    }
    query("UPDATE erasures SET deleted = $2 WHERE receipt = $1")
        .bind(receipt)
        .bind(json(&counts))
        .execute(tx)
        .await
        .map_err(failed(WHAT))?;
    Ok(())
}

impl Store {
    pub(in super::super::super) async fn receipts(
        &self,
        only: Option<&str>,
    ) -> Result<Vec<Receipt>, LedgerError> {
        let mut owed: BTreeMap<String, Vec<Owed>> = BTreeMap::new();
        let debts = query(
            "SELECT debt.receipt, debt.website, debt.what, debt.subject, debt.final_at, work.last_error \
             FROM erasure_debts AS debt LEFT JOIN work ON work.website = debt.website \
               AND work.kind = CASE debt.what WHEN 'conversation' THEN 'conversation' ELSE 'erase' END \
               AND work.key = CASE debt.what WHEN 'conversation' THEN debt.subject ELSE debt.receipt END \
             WHERE $1 IS NULL OR debt.receipt = $1 ORDER BY debt.receipt, debt.website, debt.what, debt.subject",
        )
        .bind(only)
        .fetch_all(&self.readers)
        .await
        .map_err(failed("read what erasures owe"))?;
        for row in &debts {
            let cells = Cells::of(row, "a debt");
            let what = cells.text("what")?;
            let session = (what == "conversation")
                .then(|| cells.text("subject"))
                .transpose()?;
            owed.entry(cells.text("receipt")?).or_default().push(Owed {
                website_id: cells.text("website")?,
                session_id: session,
                what,
                not_before: cells.instant_if("final_at")?,
                last_error: cells.text_if("last_error")?,
            });
        }
        query("SELECT receipt, website, at, lifted_at, codes, deleted, delete_contact FROM erasures WHERE $1 IS NULL OR receipt = $1 ORDER BY at DESC, receipt")
            .bind(only)
            .fetch_all(&self.readers)
            .await
            .map_err(failed("read receipts"))?
            .iter()
            .map(|row| {
                let cells = Cells::of(row, ROW);
                let receipt = cells.text("receipt")?;
                Ok(Receipt {
                    ledger: self.pseudonyms.fingerprint(),
                    website_id: Some(cells.text("website")?).filter(|website| !website.is_empty()),
                    erased_at: cells.instant("at")?,
                    lifted_at: cells.instant_if("lifted_at")?,
                    tombstones: cells.json("codes")?,
                    deleted: cells.json("deleted")?,
                    delete_contact: cells.flag("delete_contact")?,
                    owed: owed.remove(&receipt).unwrap_or_default(),
                    receipt,
                })
            })
            .collect()
    }

    /// Folds the write-ahead log into the file and empties it: pages of before stand in it.
    pub(in super::super::super) async fn truncate_log(&self) -> Result<(), LedgerError> {
        let mut writer = self.writer().await?;
        if let Connection::Sqlite(_) = &*writer {
            // Somebody who reads at this moment keeps a part of it; the next time takes that, too.
            query("PRAGMA wal_checkpoint(TRUNCATE)")
                .fetch_all(&mut *writer)
                .await
                .map_err(failed("empty the write-ahead log"))?;
        }
        Ok(())
    }
}
