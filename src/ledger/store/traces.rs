//! Traces: what the last attempts at a row decided.

use crate::ids::WebsiteId;

use super::{
    super::{
        trigger::Trigger,
        work::{Claim, Trace, TraceRow, WorkKind},
    },
    LedgerError, Store,
    cells::{Cells, failed, json},
    engine::{Transaction, query},
};

/// Keeps a trace, and of the older ones only so many.
pub(super) async fn keep(
    tx: &mut Transaction<'_>,
    claim: &Claim,
    trace: &Trace,
    keep: u32,
    now: i64,
) -> Result<(), LedgerError> {
    const WHAT: &str = "keep a trace";
    query(
        "INSERT INTO traces (kind, website, key, at, trigger, attempt, outcome, detail) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(claim.kind.as_str())
    .bind(claim.website.as_str())
    .bind(&claim.key)
    .bind(now)
    .bind(claim.trigger.as_str())
    .bind(i64::from(claim.attempt))
    .bind(&trace.outcome)
    .bind(json(&trace.detail))
    .execute(&mut *tx)
    .await
    .map_err(failed(WHAT))?;
    query(
        "DELETE FROM traces WHERE kind = $1 AND website = $2 AND key = $3 AND id <= \
           (SELECT id FROM traces WHERE kind = $1 AND website = $2 AND key = $3 ORDER BY id DESC LIMIT 1 OFFSET $4)",
    )
    .bind(claim.kind.as_str())
    .bind(claim.website.as_str())
    .bind(&claim.key)
    .bind(i64::from(keep))
    .execute(tx)
    .await
    .map_err(failed(WHAT))?;
    Ok(())
}

impl Store {
    pub(in super::super) async fn traces(
        &self,
        kind: WorkKind,
        website: &WebsiteId,
        key: &str,
    ) -> Result<Vec<TraceRow>, LedgerError> {
        query(
            "SELECT at, trigger, attempt, outcome, detail FROM traces \
             WHERE kind = $1 AND website = $2 AND key = $3 ORDER BY id DESC",
        )
        .bind(kind.as_str())
        .bind(website.as_str())
        .bind(key)
        .fetch_all(&self.readers)
        .await
        .map_err(failed("read traces"))?
        .iter()
        .map(|row| {
            let cells = Cells::of(row, "a trace");
            Ok(TraceRow {
                at: cells.instant("at")?,
                trigger: cells.parsed("trigger", Trigger::parse)?,
                attempt: cells.count("attempt")?,
                trace: Trace {
                    outcome: cells.text("outcome")?,
                    detail: cells.json("detail")?,
                },
            })
        })
        .collect()
    }
}
