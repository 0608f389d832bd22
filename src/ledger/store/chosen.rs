//! The rows of the outbox that a person looks at, or decides about.

use jiff::Timestamp;

use crate::{
    ids::{UserKey, WebsiteId},
    lifecycle::{OutboxState, reason},
    pseudonym::OccurrenceRef,
};

use super::{
    super::{
        outbox::{OutboxFilter, OutboxRow, OutboxTotal},
        trigger::{Enqueue, Trigger, Urgency},
        work::WorkKind,
    },
    LedgerError, Store, begin, brake,
    cells::{Cells, failed, list, ms},
    columns::columns,
    engine::query,
    outbox::{ROW, outbox_row},
    work::Fold,
};

/// How many rows a list has; 0 takes 50.
pub(super) fn page(limit: u32) -> i64 {
    if limit == 0 { 50 } else { i64::from(limit) }
}

const LISTING: &str = "list the outbox";

/// The condition of a filter, for its parameters 1 to 8.
macro_rules! filtered {
    ($head:expr, $tail:literal) => {
        concat!(
            $head,
            " WHERE ($1 IS NULL OR website = $1) AND ($2 IS NULL OR user_key = $2) AND ($3 IS NULL OR event IN (SELECT value ->> 0 FROM json_each($3))) \
             AND ($4 IS NULL OR state = $4) AND ($5 IS NULL OR reference = $5) \
             AND ($6 IS NULL OR updated_at >= $6) AND ($7 IS NULL OR updated_at < $7) \
             AND ($8 IS NULL OR state IN (SELECT value ->> 0 FROM json_each($8))) ",
            $tail
        )
    };
}

macro_rules! bind_filter {
    ($query:expr, $filter:expr) => {
        $query
            .bind($filter.website.as_ref().map(WebsiteId::as_str))
            .bind($filter.user_key.as_ref().map(UserKey::as_str))
            .bind($filter.events().map(|names| list(&names)))
            .bind($filter.state.map(OutboxState::as_str))
            .bind($filter.reference.as_ref().map(OccurrenceRef::as_str))
            .bind($filter.since.map(ms))
            .bind($filter.until.map(ms))
            .bind(states(&$filter.states))
    };
}

/// States as a list for a parameter; none is no condition.
fn states(states: &[OutboxState]) -> Option<String> {
    let words: Vec<&str> = states.iter().map(|state| state.as_str()).collect();
    (!words.is_empty()).then(|| list(&words))
}

impl Store {
    pub(in super::super) async fn outbox_list(
        &self,
        filter: &OutboxFilter,
    ) -> Result<Vec<OutboxRow>, LedgerError> {
        const LIST: &str = filtered!(
            concat!("SELECT ", columns!(outbox), " FROM outbox"),
            "ORDER BY created_at DESC, key, reference LIMIT $9"
        );
        bind_filter!(query(LIST), filter)
            .bind(page(filter.limit))
            .fetch_all(&self.readers)
            .await
            .map_err(failed(LISTING))?
            .iter()
            .map(outbox_row)
            .collect()
    }

    /// Behind a row, and not so many rows later: of a list that is read page by page nothing is left out because something
    /// came to it.
    pub(in super::super) async fn outbox_list_behind(
        &self,
        filter: &OutboxFilter,
        behind: &OccurrenceRef,
    ) -> Result<Option<Vec<OutboxRow>>, LedgerError> {
        const LAST: &str = "SELECT created_at, key FROM outbox WHERE reference = $1 LIMIT 1";
        const LIST: &str = filtered!(
            concat!("SELECT ", columns!(outbox), " FROM outbox"),
            "AND (created_at < $10 OR (created_at = $10 AND (key > $11 OR (key = $11 AND reference > $12)))) \
             ORDER BY created_at DESC, key, reference LIMIT $9"
        );
        let last = query(LAST)
            .bind(behind.as_str())
            .fetch_optional(&self.readers)
            .await
            .map_err(failed(LISTING))?;
        let Some(last) = last else {
            return Ok(None);
        };
        let last = Cells::of(&last, ROW);
        let rows: Result<Vec<OutboxRow>, LedgerError> = bind_filter!(query(LIST), filter)
            .bind(page(filter.limit))
            .bind(last.int("created_at")?)
            .bind(last.text("key")?)
            .bind(behind.as_str())
            .fetch_all(&self.readers)
            .await
            .map_err(failed(LISTING))?
            .iter()
            .map(outbox_row)
            .collect();
        rows.map(Some)
    }

    pub(in super::super) async fn outbox_totals(
        &self,
        filter: &OutboxFilter,
    ) -> Result<Vec<OutboxTotal>, LedgerError> {
        const TOTALS: &str = filtered!(
            "SELECT website, event, state, reason, count(*) AS rows FROM outbox",
            "GROUP BY website, event, state, reason ORDER BY website, event, state, reason"
        );
        bind_filter!(query(TOTALS), filter)
            .fetch_all(&self.readers)
            .await
            .map_err(failed("count the outbox"))?
            .iter()
            .map(|row| {
                let cells = Cells::of(row, "a count");
                Ok(OutboxTotal {
                    website: cells.parsed("website", |text| WebsiteId::parse(text).ok())?,
                    event: cells.text("event")?,
                    state: cells.parsed("state", OutboxState::parse)?,
                    reason: cells.text("reason")?,
                    rows: cells.total("rows")?,
                })
            })
            .collect()
    }

    pub(in super::super) async fn release(
        &self,
        filter: &OutboxFilter,
        over_cap: bool,
        now: Timestamp,
    ) -> Result<u64, LedgerError> {
        const WHAT: &str = "release occurrences";
        // The state is asked for twice: on PostgreSQL only the outer question is asked again of a row that another process
        // has changed meanwhile, and what is being sent must not become due once more.
        const RELEASE: &str = filtered!(
            "UPDATE outbox SET state = 'due', due_at = $10, not_before = NULL, updated_at = $10, \
               reason = CASE WHEN state = 'unsure' THEN $12 ELSE $11 END \
             WHERE state IN ('held', 'parked', 'unsure') AND (website, user_key, key) IN (SELECT website, user_key, key FROM outbox",
            "AND (state IN ('held', 'parked') OR (state = 'unsure' AND $4 = 'unsure' AND reason <> 'dropped')) \
             ORDER BY created_at, key LIMIT $9) \
             RETURNING website, user_key, event"
        );
        let [released, vouched] = if over_cap {
            [reason::RELEASED_OVER_CAP, reason::RELEASED_UNSURE_OVER_CAP]
        } else {
            [reason::RELEASED, reason::RELEASED_UNSURE]
        };
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, WHAT).await?;
        let rows = bind_filter!(query(RELEASE), filter)
            .bind(page(filter.limit))
            .bind(ms(now))
            .bind(released)
            .bind(vouched)
            .fetch_all(&mut tx)
            .await
            .map_err(failed(WHAT))?;
        let mut fold = Fold::default();
        for row in &rows {
            let cells = Cells::of(row, ROW);
            fold.add(&Enqueue {
                kind: WorkKind::Person,
                website: cells.parsed("website", |text| WebsiteId::parse(text).ok())?,
                key: cells.text("user_key")?,
                trigger: Trigger::Command,
                run_at: now,
                urgency: Urgency::Normal {
                    fresh_for: std::time::Duration::ZERO,
                },
                debounce: std::time::Duration::ZERO,
            });
        }
        fold.write(&mut tx, self, ms(now)).await?;
        brake::unlatch(&mut tx, filter, &rows).await?;
        tx.commit().await.map_err(failed(WHAT))?;
        Ok(rows.len() as u64)
    }

    pub(in super::super) async fn drop_occurrences(
        &self,
        filter: &OutboxFilter,
        now: Timestamp,
    ) -> Result<u64, LedgerError> {
        const WHAT: &str = "drop occurrences";
        const DROP: &str = filtered!(
            "UPDATE outbox SET state = CASE state WHEN 'unsure' THEN state ELSE 'expired' END, updated_at = $10, \
               reason = 'dropped' \
             WHERE state IN ('scheduled', 'due', 'held', 'parked', 'no_consent', 'excluded', 'unsure') \
               AND (website, user_key, key) IN (SELECT website, user_key, key FROM outbox",
            "AND (state IN ('scheduled', 'due', 'held', 'parked', 'no_consent', 'excluded') \
                  OR (state = 'unsure' AND $4 = 'unsure' AND reason <> 'dropped')) \
             ORDER BY created_at, key LIMIT $9) \
             RETURNING website, event"
        );
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, WHAT).await?;
        let rows = bind_filter!(query(DROP), filter)
            .bind(page(filter.limit))
            .bind(ms(now))
            .fetch_all(&mut tx)
            .await
            .map_err(failed(WHAT))?;
        brake::unlatch(&mut tx, filter, &rows).await?;
        tx.commit().await.map_err(failed(WHAT))?;
        Ok(rows.len() as u64)
    }
}
