//! What erasures owe.

use jiff::Timestamp;

use crate::{
    clock::millis,
    ids::{SessionId, WebsiteId},
    ledger::{
        trigger::{Enqueue, Trigger, Urgency},
        work::{Claim, WorkKind},
    },
};

use super::{
    LedgerError, Store, begin,
    cells::{Cells, failed, json, ms},
    engine::{Transaction, query},
    erasure::{Debt, DebtKind},
    remove::look_at,
    work::{Fold, Key},
};

const WHAT: &str = "note what an erasure owes";

/// A debt but for its subject.
pub(super) struct Owing<'a> {
    pub(super) receipt: &'a str,
    pub(super) website: &'a str,
    pub(super) what: DebtKind,
    pub(super) final_at: Option<i64>,
}

pub(super) async fn owe(
    tx: &mut Transaction<'_>,
    owing: &Owing<'_>,
    subject: &str,
) -> Result<(), LedgerError> {
    query(
        "INSERT INTO erasure_debts (receipt, website, what, subject, generation, final_at) VALUES ($1, $2, $3, $4, 0, $5) \
         ON CONFLICT (receipt, website, what, subject) DO UPDATE SET final_at = excluded.final_at",
    )
    .bind(owing.receipt)
    .bind(owing.website)
    .bind(owing.what.as_str())
    .bind(subject)
    .bind(owing.final_at)
    .execute(tx)
    .await
    .map_err(failed(WHAT))?;
    Ok(())
}

/// A conversation's debt is paid by a run that is claimed from now on, and by none that was claimed before.
pub(super) async fn date(tx: &mut Transaction<'_>, receipt: &str) -> Result<(), LedgerError> {
    query(
        "UPDATE erasure_debts SET generation = coalesce((SELECT want_gen FROM work WHERE kind = 'conversation' \
           AND work.website = erasure_debts.website AND work.key = erasure_debts.subject), 0) \
         WHERE receipt = $1 AND what = 'conversation'",
    )
    .bind(receipt)
    .execute(tx)
    .await
    .map_err(failed(WHAT))?;
    Ok(())
}

/// Dead letters among these are tried anew.
pub(super) async fn revive(tx: &mut Transaction<'_>, keys: &[Key]) -> Result<(), LedgerError> {
    query(
        "UPDATE work SET state = 'ready', attempts = 0, crashes = 0, not_before = 0, dead_at = NULL \
         WHERE state = 'dead' \
           AND (kind, website, key) IN (SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each($1))",
    )
    .bind(json(&keys))
    .execute(tx)
    .await
    .map_err(failed("revive dead letters"))?;
    Ok(())
}

/// The work of an erasure on one website.
pub(super) fn work_of(website: &str, receipt: &str, now: i64) -> Result<Enqueue, LedgerError> {
    let Ok(website) = WebsiteId::parse(website) else {
        return Err(LedgerError::Unreadable { what: "an erasure" });
    };
    Ok(Enqueue {
        kind: WorkKind::Erase,
        website,
        key: receipt.to_owned(),
        trigger: Trigger::Command,
        run_at: millis(now),
        urgency: Urgency::Timer,
        debounce: std::time::Duration::ZERO,
    })
}

/// A run of this conversation showed what it has to show of nobody.
pub(in super::super) async fn settle_conversation(
    tx: &mut Transaction<'_>,
    claim: &Claim,
) -> Result<(), LedgerError> {
    query(
        "DELETE FROM erasure_debts WHERE website = $1 AND what = 'conversation' AND subject = $2 AND generation <= $3",
    )
    .bind(claim.website.as_str())
    .bind(&claim.key)
    .bind(claim.generation)
    .execute(tx)
    .await
    .map_err(failed("settle what an erasure owes"))?;
    Ok(())
}

/// A run that began before the erasure wrote what it is not to write: it is looked at again.
pub(in super::super) fn enqueue_look(
    fold: &mut Fold,
    website: &WebsiteId,
    session: &SessionId,
    now: Timestamp,
) -> Result<(), LedgerError> {
    fold.add(&look_at(website.as_str(), session.as_str(), ms(now))?);
    Ok(())
}

impl Store {
    pub(in super::super::super) async fn debts(
        &self,
        receipt: &str,
        website: &WebsiteId,
    ) -> Result<Vec<Debt>, LedgerError> {
        query("SELECT receipt, what, subject, final_at FROM erasure_debts WHERE receipt = $1 AND website = $2 ORDER BY what, subject")
            .bind(receipt)
            .bind(website.as_str())
            .fetch_all(&self.readers)
            .await
            .map_err(failed("read what an erasure owes"))?
            .iter()
            .map(|row| {
                let cells = Cells::of(row, "a debt");
                Ok(Debt {
                    receipt: cells.text("receipt")?,
                    website: website.clone(),
                    what: cells.parsed("what", DebtKind::parse)?,
                    subject: cells.text("subject")?,
                    final_at: cells.instant_if("final_at")?,
                })
            })
            .collect()
    }

    pub(in super::super::super) async fn erasures_owed(
        &self,
        before: Timestamp,
    ) -> Result<u64, LedgerError> {
        let count = query(
            "SELECT count(*) FROM erasures WHERE at <= $1 AND lifted_at IS NULL \
               AND receipt IN (SELECT receipt FROM erasure_debts)",
        )
        .bind(ms(before))
        .fetch_number(&self.readers)
        .await
        .map_err(failed("count what erasures owe"))?;
        Ok(count
            .and_then(|count| u64::try_from(count).ok())
            .unwrap_or(0))
    }

    pub(in super::super::super) async fn paid(&self, debt: &Debt) -> Result<(), LedgerError> {
        let mut writer = self.writer().await?;
        query("DELETE FROM erasure_debts WHERE receipt = $1 AND website = $2 AND what = $3 AND subject = $4")
            .bind(&debt.receipt)
            .bind(debt.website.as_str())
            .bind(debt.what.as_str())
            .bind(&debt.subject)
            .execute(&mut *writer)
            .await
            .map_err(failed("settle what an erasure owes"))?;
        Ok(())
    }

    pub(in super::super::super) async fn take_up_debts(
        &self,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let now = ms(now);
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, WHAT).await?;
        let rows = query("SELECT receipt, website, what, subject FROM erasure_debts")
            .fetch_all(&mut tx)
            .await
            .map_err(failed(WHAT))?;
        let mut fold = Fold::default();
        let mut keys = Vec::new();
        for row in &rows {
            let cells = Cells::of(row, "a debt");
            let website = cells.text("website")?;
            let work = match cells.parsed("what", DebtKind::parse)? {
                DebtKind::Conversation => look_at(&website, &cells.text("subject")?, now)?,
                DebtKind::Contact | DebtKind::Look => {
                    work_of(&website, &cells.text("receipt")?, now)?
                }
            };
            keys.push((work.kind.as_str(), website, work.key.clone()));
            fold.add(&work);
        }
        if !keys.is_empty() {
            revive(&mut tx, &keys).await?;
            fold.write(&mut tx, self, now).await?;
        }
        tx.commit().await.map_err(failed(WHAT))
    }
}
