//! The brake's latch: which events are held on which websites, since when, and what ends it.
//!
//! A latch is a fact about the ledger, and not the rows that it holds: those grow old and expire, the latch does not. It
//! ends when a person has decided about everything that it held.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::{
    clock::millis,
    ids::WebsiteId,
    lifecycle::{OutboxState, reason},
};

use super::{
    super::outbox::{Latch, OutboxFilter, OutboxRow, SendCount},
    LedgerError, Store,
    cells::{Cells, failed, list, ms},
    engine::{Row, Through, Transaction, query},
};

/// How the name of a latch among the facts begins; website and event follow.
const LATCH: &str = "brake/";

fn name(website: &WebsiteId, event: &str) -> String {
    format!("{LATCH}{website}/{event}")
}

/// What the brake looks at, for an event under all its names.
pub(super) async fn send_count(
    from: impl Into<Through<'_>>,
    website: &WebsiteId,
    events: &[String],
    since: Timestamp,
) -> Result<SendCount, LedgerError> {
    let latches: Vec<String> = events.iter().map(|event| name(website, event)).collect();
    let row = query(
        "SELECT (SELECT count(*) FROM outbox WHERE website = $1 AND event IN (SELECT value ->> 0 FROM json_each($2)) \
                   AND state IN ('sending', 'sent', 'unsure') AND attempted_at >= $3) AS sent, \
                (SELECT count(*) FROM outbox WHERE website = $1 AND event IN (SELECT value ->> 0 FROM json_each($2)) \
                   AND state = 'held' AND reason = $4) AS held, \
                (SELECT count(*) FROM meta WHERE key IN (SELECT value ->> 0 FROM json_each($5))) AS latches",
    )
    .bind(website.as_str())
    .bind(list(events))
    .bind(ms(since))
    .bind(reason::BRAKE)
    .bind(list(&latches))
    .fetch_one(from)
    .await
    .map_err(failed("count what was sent"))?;
    let cells = Cells::of(&row, "a count");
    let held = cells.total("held")?;
    Ok(SendCount {
        sent: cells.total("sent")?,
        held,
        latched: held > 0 || cells.total("latches")? > 0,
    })
}

/// Latches the brake for the event of a row that it holds. The first moment stays.
pub(super) async fn latch(tx: &mut Transaction<'_>, row: &OutboxRow) -> Result<(), LedgerError> {
    if row.state != OutboxState::Held || row.reason != reason::BRAKE {
        return Ok(());
    }
    query("INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING")
        .bind(name(&row.website, &row.event))
        .bind(ms(row.updated_at).to_string())
        .execute(tx)
        .await
        .map_err(failed("latch the brake"))?;
    Ok(())
}

/// Ends the latches that a person's decision leaves with nothing to hold. `rows`: those that it was about, with their website
/// and their event.
pub(super) async fn unlatch(
    tx: &mut Transaction<'_>,
    filter: &OutboxFilter,
    rows: &[Row],
) -> Result<(), LedgerError> {
    const WHAT: &str = "release the brake";
    if filter.state.is_some_and(|state| state != OutboxState::Held) {
        return Ok(());
    }
    let mut decided = BTreeSet::new();
    for row in rows {
        let cells = Cells::of(row, "an occurrence");
        decided.insert((cells.text("website")?, cells.text("event")?));
    }
    // Whoever chooses among the rows of an event has decided about those alone; so has whoever stops at a number of them.
    let is_choosy = filter.reference.is_some()
        || filter.user_key.is_some()
        || filter.since.is_some()
        || u32::try_from(rows.len()).is_ok_and(|count| count >= filter.limit);
    for latch in latches(&mut *tx).await? {
        let is_decided =
            decided.contains(&(latch.website.as_str().to_owned(), latch.event.clone()));
        let is_named = filter
            .events()
            .is_none_or(|names| names.contains(&latch.event.as_str()))
            && filter
                .website
                .as_ref()
                .is_none_or(|website| *website == latch.website);
        if !is_decided && (is_choosy || !is_named) {
            continue;
        }
        query(
            "DELETE FROM meta WHERE key = $1 AND NOT EXISTS ( \
               SELECT 1 FROM outbox WHERE website = $2 AND event = $3 AND state = 'held' AND reason = $4)",
        )
        .bind(name(&latch.website, &latch.event))
        .bind(latch.website.as_str())
        .bind(&latch.event)
        .bind(reason::BRAKE)
        .execute(&mut *tx)
        .await
        .map_err(failed(WHAT))?;
    }
    Ok(())
}

/// Every event that the brake holds.
async fn latches(from: impl Into<Through<'_>>) -> Result<Vec<Latch>, LedgerError> {
    let rows = query("SELECT key, value FROM meta WHERE key LIKE 'brake/%' ORDER BY key")
        .fetch_all(from)
        .await
        .map_err(failed("list what the brake holds"))?;
    rows.iter()
        .map(|row| {
            const WHAT: &str = "a latch";
            let cells = Cells::of(row, WHAT);
            let unreadable = || LedgerError::Unreadable { what: WHAT };
            let (key, since) = (cells.text("key")?, cells.text("value")?);
            let (website, event) = key
                .strip_prefix(LATCH)
                .and_then(|rest| rest.split_once('/'))
                .ok_or_else(unreadable)?;
            Ok(Latch {
                website: WebsiteId::parse(website).map_err(|_not_an_id| unreadable())?,
                event: event.to_owned(),
                since: millis(
                    since
                        .parse()
                        .map_err(|_not_a_number: std::num::ParseIntError| unreadable())?,
                ),
            })
        })
        .collect()
}

impl Store {
    pub(in super::super) async fn send_count(
        &self,
        website: &WebsiteId,
        events: &[String],
        since: Timestamp,
    ) -> Result<SendCount, LedgerError> {
        send_count(&self.readers, website, events, since).await
    }

    pub(in super::super) async fn latches(&self) -> Result<Vec<Latch>, LedgerError> {
        latches(&self.readers).await
    }
}
