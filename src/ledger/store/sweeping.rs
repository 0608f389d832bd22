//! How far the sweeps have come, as rows.

use crate::clock::millis;

use super::{
    super::sweeping::{Lane, SweepLook, SweepSpan, Sweeping, SweptPage},
    LedgerError, Store,
    cells::{Cells, failed, json, ms},
    engine::{Row, Transaction, query},
    facts::{fact, set_fact},
};

const ROW: &str = "how far a sweep has come";
/// The fact that tells since when looks for what is new follow one another.
const SPAN: &str = "sweep_span";

/// Codes that are forgotten at a time: a page leaves fewer behind, and no commit takes long.
const FORGOTTEN: i64 = 10_000;

/// Writes down what a page leaves behind.
pub(super) async fn write(tx: &mut Transaction<'_>, page: &SweptPage) -> Result<(), LedgerError> {
    let sweeping = &page.sweeping;
    let look = sweeping.look.as_ref();
    let after = look.and_then(|look| look.after.as_ref());
    query(
        "INSERT INTO sweeps (lane, since, until, after_at, after_key, began_at, counts, covered_to, covered_at, \
           finished_at, last, reached) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
         ON CONFLICT (lane) DO UPDATE SET \
           since = excluded.since, until = excluded.until, after_at = excluded.after_at, \
           after_key = excluded.after_key, began_at = excluded.began_at, counts = excluded.counts, \
           covered_to = excluded.covered_to, covered_at = excluded.covered_at, \
           finished_at = excluded.finished_at, last = excluded.last, reached = excluded.reached",
    )
    .bind(sweeping.lane.as_str())
    .bind(look.map(|look| ms(look.since)))
    .bind(look.map(|look| ms(look.until)))
    .bind(after.map(|(at, _)| at.as_str()))
    .bind(after.map(|(_, key)| key.as_str()))
    .bind(look.map(|look| ms(look.began_at)))
    .bind(look.map(|look| json(&look.counts)))
    .bind(sweeping.covered_to.map(ms))
    .bind(sweeping.covered_at.map(ms))
    .bind(sweeping.finished_at.map(ms))
    .bind(json(&sweeping.last))
    .bind(sweeping.reached.map(ms))
    .execute(&mut *tx)
    .await
    .map_err(failed("note how far a sweep has come"))?;
    if let (Lane::Changes, None, Some(span)) = (sweeping.lane, look, sweeping.span) {
        set_fact(&mut *tx, SPAN, &json(&span)).await?;
    }
    if !page.known.is_empty() {
        let rows: Vec<_> = page
            .known
            .iter()
            .map(|(code, at)| (code.as_str(), ms(*at)))
            .collect();
        query(
            "INSERT INTO swept (code, at) \
             SELECT value ->> 0, CAST(value ->> 1 AS BIGINT) FROM json_each($1) WHERE TRUE \
             ON CONFLICT (code) DO NOTHING",
        )
        .bind(json(&rows))
        .execute(&mut *tx)
        .await
        .map_err(failed("note what a sweep has read"))?;
    }
    if let Some(before) = page.forget_before {
        query("DELETE FROM swept WHERE code IN (SELECT code FROM swept WHERE at < $1 LIMIT $2)")
            .bind(ms(before))
            .bind(FORGOTTEN)
            .execute(tx)
            .await
            .map_err(failed("forget what a sweep had read"))?;
    }
    Ok(())
}

impl Store {
    pub(in super::super) async fn sweeps(&self) -> Result<Vec<Sweeping>, LedgerError> {
        // Read first: what a look that ends meanwhile says is later, and answers for less.
        let span = fact(&self.readers, SPAN).await?;
        let span = span.and_then(|span| serde_json::from_str(&span).ok());
        query("SELECT lane, since, until, began_at, after_at, after_key, counts, covered_to, reached, covered_at, finished_at, last FROM sweeps ORDER BY lane")
            .fetch_all(&self.readers)
            .await
            .map_err(failed("read how far the sweeps have come"))?
            .iter()
            .map(|row| sweeping(row, span))
            .collect()
    }

    pub(in super::super) async fn known_rows(
        &self,
        codes: &[String],
    ) -> Result<Vec<String>, LedgerError> {
        if codes.is_empty() {
            return Ok(Vec::new());
        }
        query("SELECT code FROM swept WHERE code IN (SELECT value ->> 0 FROM json_each($1))")
            .bind(json(&codes.iter().map(|code| [code]).collect::<Vec<_>>()))
            .fetch_texts(&self.readers)
            .await
            .map_err(failed("read what a sweep has read"))
    }

    pub(in super::super) async fn swept_waiting(
        &self,
        lane: Lane,
        limit: u32,
    ) -> Result<u32, LedgerError> {
        let count: Option<i64> = query(
            "SELECT count(*) FROM (SELECT 1 FROM work \
               WHERE state = 'ready' AND want_gen > done_gen AND lease_token IS NULL AND priority = 3 \
                 AND kind = 'person' AND trigger = $1 LIMIT $2) AS waiting",
        )
        .bind(lane.trigger().as_str())
        .bind(i64::from(limit))
        .fetch_number(&self.readers)
        .await
        .map_err(failed("count who waits for a sweep"))?;
        Ok(count
            .and_then(|count| u32::try_from(count).ok())
            .unwrap_or(0))
    }
}

fn sweeping(row: &Row, span: Option<SweepSpan>) -> Result<Sweeping, LedgerError> {
    let cells = Cells::of(row, ROW);
    let bounds = (
        cells.int_if("since")?,
        cells.int_if("until")?,
        cells.int_if("began_at")?,
    );
    let look = match bounds {
        (Some(since), Some(until), Some(began_at)) => Some(SweepLook {
            since: millis(since),
            until: millis(until),
            after: cells.text_if("after_at")?.zip(cells.text_if("after_key")?),
            began_at: millis(began_at),
            counts: cells.json_if("counts")?.unwrap_or_default(),
        }),
        _ => None,
    };
    let lane = cells.parsed("lane", Lane::parse)?;
    Ok(Sweeping {
        lane,
        look,
        span: span.filter(|_| lane == Lane::Changes),
        covered_to: cells.instant_if("covered_to")?,
        reached: cells.instant_if("reached")?,
        covered_at: cells.instant_if("covered_at")?,
        finished_at: cells.instant_if("finished_at")?,
        last: cells.json("last")?,
    })
}
