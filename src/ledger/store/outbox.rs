//! The outbox's tables: occurrences, high water, armings.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{
    clock::millis,
    ids::{UserKey, WebsiteId},
    lifecycle::{BRAKE, OutboxState},
    pseudonym::{EmailMac, OccurrenceRef},
};

use super::{
    super::{
        outbox::{Arming, OutboxFilter, OutboxRow, SendCount},
        work::{Enqueue, Trigger, Urgency, WorkKind},
    },
    LedgerError, Store, begin,
    cells::{Cells, failed, json, ms},
    engine::{Row, Through, Transaction, query, query_for},
    work::Fold,
};

const ROW: &str = "an occurrence";

/// How many rows a list has; 0 takes 50.
pub(super) fn page(limit: u32) -> i64 {
    if limit == 0 { 50 } else { i64::from(limit) }
}

/// Writes an occurrence down, if it may go from the state it has to the one it is given; if not, what is there stays.
/// Counts and instants of attempts never fall, because the caller may have read the row before it began to send.
pub(super) async fn write(tx: &mut Transaction<'_>, row: &OutboxRow) -> Result<(), LedgerError> {
    const WHAT: &str = "write the outbox";
    // An operator's command moves rows without the person's lease.
    let before: Option<String> = query_for(
        "SELECT state FROM outbox WHERE website = $1 AND user_key = $2 AND key = $3",
        "SELECT state FROM outbox WHERE website = $1 AND user_key = $2 AND key = $3 FOR UPDATE",
    )
    .bind(row.website.as_str())
    .bind(row.user_key.as_str())
    .bind(&row.key)
    .fetch_text(&mut *tx)
    .await
    .map_err(failed(WHAT))?;
    if let Some(before) = before {
        let before = OutboxState::parse(&before).ok_or(LedgerError::Unreadable { what: ROW })?;
        if !before.may_become(row.state) {
            return Ok(());
        }
    }
    query(
        "INSERT INTO outbox (website, user_key, key, event, subject, instant, state, reference, due_at, not_before, \
           attempts, attempted_at, sent_at, absent_reads, first_absent_at, reason, email_mac, data, color, created_at, \
           updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21) \
         ON CONFLICT (website, user_key, key) DO UPDATE SET \
           instant = excluded.instant, state = excluded.state, due_at = excluded.due_at, \
           not_before = excluded.not_before, attempts = max(outbox.attempts, excluded.attempts), \
           attempted_at = max(coalesce(excluded.attempted_at, outbox.attempted_at), \
                              coalesce(outbox.attempted_at, excluded.attempted_at)), \
           sent_at = coalesce(excluded.sent_at, outbox.sent_at), absent_reads = excluded.absent_reads, \
           first_absent_at = excluded.first_absent_at, reason = excluded.reason, email_mac = excluded.email_mac, \
           data = excluded.data, color = excluded.color, updated_at = excluded.updated_at",
    )
    .bind(row.website.as_str())
    .bind(row.user_key.as_str())
    .bind(&row.key)
    .bind(&row.event)
    .bind(&row.subject)
    .bind(row.instant.map(ms))
    .bind(row.state.as_str())
    .bind(row.reference.as_str())
    .bind(ms(row.due_at))
    .bind(row.not_before.map(ms))
    .bind(i64::from(row.attempts))
    .bind(row.attempted_at.map(ms))
    .bind(row.sent_at.map(ms))
    .bind(i64::from(row.absent_reads))
    .bind(row.first_absent_at.map(ms))
    .bind(&row.reason)
    .bind(row.email_mac.as_ref().map(EmailMac::as_str))
    .bind(json(&row.data))
    .bind(&row.color)
    .bind(ms(row.created_at))
    .bind(ms(row.updated_at))
    .execute(tx)
    .await
    .map_err(failed(WHAT))?;
    Ok(())
}

/// Raises the high water; it never falls.
pub(super) async fn raise(
    tx: &mut Transaction<'_>,
    website: &WebsiteId,
    user_key: &UserKey,
    event: &str,
    subject: &str,
    instant: Timestamp,
) -> Result<(), LedgerError> {
    query(
        "INSERT INTO high_water (website, user_key, event, subject, instant) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (website, user_key, event, subject) DO UPDATE SET \
           instant = max(high_water.instant, excluded.instant)",
    )
    .bind(website.as_str())
    .bind(user_key.as_str())
    .bind(event)
    .bind(subject)
    .bind(ms(instant))
    .execute(tx)
    .await
    .map_err(failed("raise the high water"))?;
    Ok(())
}

/// The condition of a filter, for its parameters 1 to 5.
macro_rules! filtered {
    ($head:literal, $tail:literal) => {
        concat!(
            $head,
            " WHERE ($1 IS NULL OR website = $1) AND ($2 IS NULL OR user_key = $2) AND ($3 IS NULL OR event = $3) \
             AND ($4 IS NULL OR state = $4) AND ($5 IS NULL OR reference = $5) ",
            $tail
        )
    };
}

macro_rules! bind_filter {
    ($query:expr, $filter:expr) => {
        $query
            .bind($filter.website.as_ref().map(WebsiteId::as_str))
            .bind($filter.user_key.as_ref().map(UserKey::as_str))
            .bind($filter.event.as_deref())
            .bind($filter.state.map(OutboxState::as_str))
            .bind($filter.reference.as_ref().map(OccurrenceRef::as_str))
            .bind(page($filter.limit))
    };
}

/// What the brake looks at.
pub(super) async fn send_count(
    from: impl Into<Through<'_>>,
    website: &WebsiteId,
    event: &str,
    since: Timestamp,
) -> Result<SendCount, LedgerError> {
    let row = query(
            "SELECT (SELECT count(*) FROM outbox WHERE website = $1 AND event = $2 \
                       AND state IN ('sending', 'sent', 'unsure') AND attempted_at >= $3) AS sent, \
                    (SELECT count(*) FROM outbox WHERE website = $1 AND event = $2 AND state = 'held' \
                       AND reason = $4) AS held",
        )
        .bind(website.as_str())
        .bind(event)
        .bind(ms(since))
        .bind(BRAKE)
        .fetch_one(from)
        .await
        .map_err(failed("count what was sent"))?;
    let cells = Cells::of(&row, "a count");
    Ok(SendCount {
        sent: cells.total("sent")?,
        held: cells.total("held")?,
    })
}

impl Store {
    pub(in super::super) async fn outbox(
        &self,
        website: &WebsiteId,
        user_key: &UserKey,
    ) -> Result<Vec<OutboxRow>, LedgerError> {
        query("SELECT * FROM outbox WHERE website = $1 AND user_key = $2 ORDER BY created_at, key")
            .bind(website.as_str())
            .bind(user_key.as_str())
            .fetch_all(&self.readers)
            .await
            .map_err(failed("read the outbox"))?
            .iter()
            .map(outbox_row)
            .collect()
    }

    pub(in super::super) async fn outbox_list(
        &self,
        filter: &OutboxFilter,
    ) -> Result<Vec<OutboxRow>, LedgerError> {
        const LIST: &str = filtered!(
            "SELECT * FROM outbox",
            "ORDER BY created_at DESC, key LIMIT $6"
        );
        bind_filter!(query(LIST), filter)
            .fetch_all(&self.readers)
            .await
            .map_err(failed("list the outbox"))?
            .iter()
            .map(outbox_row)
            .collect()
    }

    pub(in super::super) async fn release(
        &self,
        filter: &OutboxFilter,
        now: Timestamp,
    ) -> Result<u64, LedgerError> {
        const WHAT: &str = "release occurrences";
        // The state is asked for twice: on PostgreSQL only the outer question is asked again of a row that another process
        // has changed meanwhile, and what is being sent must not become due once more.
        const RELEASE: &str = filtered!(
            "UPDATE outbox SET state = 'due', due_at = $7, not_before = NULL, updated_at = $7, reason = 'released' \
             WHERE state IN ('held', 'parked', 'unsure') AND (website, user_key, key) IN (SELECT website, user_key, key FROM outbox",
            "AND (state IN ('held', 'parked') OR (state = 'unsure' AND $4 = 'unsure')) ORDER BY created_at, key LIMIT $6) \
             RETURNING website, user_key"
        );
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, WHAT).await?;
        let rows = bind_filter!(query(RELEASE), filter)
            .bind(ms(now))
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
        tx.commit().await.map_err(failed(WHAT))?;
        Ok(rows.len() as u64)
    }

    pub(in super::super) async fn drop_occurrences(
        &self,
        filter: &OutboxFilter,
        now: Timestamp,
    ) -> Result<u64, LedgerError> {
        const DROP: &str = filtered!(
            "UPDATE outbox SET state = 'expired', updated_at = $7, reason = 'dropped' \
             WHERE state IN ('scheduled', 'due', 'held', 'parked', 'no_consent', 'excluded') \
               AND (website, user_key, key) IN (SELECT website, user_key, key FROM outbox",
            "AND state IN ('scheduled', 'due', 'held', 'parked', 'no_consent', 'excluded') \
             ORDER BY created_at, key LIMIT $6)"
        );
        let mut writer = self.writer().await?;
        let done = bind_filter!(query(DROP), filter)
            .bind(ms(now))
            .execute(&mut *writer)
            .await
            .map_err(failed("drop occurrences"))?;
        Ok(done)
    }

    pub(in super::super) async fn high_water(
        &self,
        website: &WebsiteId,
        user_key: &UserKey,
    ) -> Result<BTreeMap<(String, String), Timestamp>, LedgerError> {
        query("SELECT event, subject, instant FROM high_water WHERE website = $1 AND user_key = $2")
            .bind(website.as_str())
            .bind(user_key.as_str())
            .fetch_all(&self.readers)
            .await
            .map_err(failed("read the high water"))?
            .iter()
            .map(|row| {
                let cells = Cells::of(row, "a high water");
                Ok((
                    (cells.text("event")?, cells.text("subject")?),
                    cells.instant("instant")?,
                ))
            })
            .collect()
    }

    pub(in super::super) async fn last_sent_to(
        &self,
        website: &WebsiteId,
        email: &EmailMac,
    ) -> Result<BTreeMap<String, Timestamp>, LedgerError> {
        query(
            "SELECT event, max(max(coalesce(attempted_at, sent_at), coalesce(sent_at, attempted_at))) AS at FROM outbox \
             WHERE website = $1 AND email_mac = $2 AND state IN ('sending', 'sent', 'unsure') \
               AND coalesce(attempted_at, sent_at) IS NOT NULL \
             GROUP BY event",
        )
        .bind(website.as_str())
        .bind(email.as_str())
        .fetch_all(&self.readers)
        .await
        .map_err(failed("read what was sent to an address"))?
        .iter()
        .map(|row| {
            let cells = Cells::of(row, ROW);
            Ok((cells.text("event")?, cells.instant("at")?))
        })
        .collect()
    }

    pub(in super::super) async fn send_count(
        &self,
        website: &WebsiteId,
        event: &str,
        since: Timestamp,
    ) -> Result<SendCount, LedgerError> {
        send_count(&self.readers, website, event, since).await
    }

    pub(in super::super) async fn arm(
        &self,
        website: &WebsiteId,
        rule: &str,
        watermark: Timestamp,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let mut writer = self.writer().await?;
        query(
            "INSERT INTO armings (website, rule, watermark, armed_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (website, rule) DO UPDATE SET watermark = excluded.watermark",
        )
        .bind(website.as_str())
        .bind(rule)
        .bind(ms(watermark))
        .bind(ms(now))
        .execute(&mut *writer)
        .await
        .map_err(failed("arm a rule"))?;
        Ok(())
    }

    pub(in super::super) async fn disarm(
        &self,
        website: &WebsiteId,
        rule: &str,
    ) -> Result<bool, LedgerError> {
        let mut writer = self.writer().await?;
        let done = query("DELETE FROM armings WHERE website = $1 AND rule = $2")
            .bind(website.as_str())
            .bind(rule)
            .execute(&mut *writer)
            .await
            .map_err(failed("disarm a rule"))?;
        Ok(done > 0)
    }

    pub(in super::super) async fn armings(
        &self,
        website: &WebsiteId,
    ) -> Result<Vec<Arming>, LedgerError> {
        query("SELECT rule, watermark, armed_at FROM armings WHERE website = $1 ORDER BY rule")
            .bind(website.as_str())
            .fetch_all(&self.readers)
            .await
            .map_err(failed("list the armed rules"))?
            .iter()
            .map(|row| {
                let cells = Cells::of(row, "an arming");
                Ok(Arming {
                    website: website.clone(),
                    rule: cells.text("rule")?,
                    watermark: cells.instant("watermark")?,
                    armed_at: cells.instant("armed_at")?,
                })
            })
            .collect()
    }
}

fn outbox_row(row: &Row) -> Result<OutboxRow, LedgerError> {
    let cells = Cells::of(row, ROW);
    Ok(OutboxRow {
        website: cells.parsed("website", |text| WebsiteId::parse(text).ok())?,
        user_key: cells.parsed("user_key", |text| UserKey::parse(text).ok())?,
        key: cells.text("key")?,
        event: cells.text("event")?,
        subject: cells.text("subject")?,
        instant: cells.int_if("instant")?.map(millis),
        state: cells.parsed("state", OutboxState::parse)?,
        reference: OccurrenceRef::from_stored(cells.text("reference")?),
        due_at: cells.instant("due_at")?,
        not_before: cells.instant_if("not_before")?,
        attempts: cells.count("attempts")?,
        attempted_at: cells.instant_if("attempted_at")?,
        sent_at: cells.instant_if("sent_at")?,
        absent_reads: cells.count("absent_reads")?,
        first_absent_at: cells.instant_if("first_absent_at")?,
        reason: cells.text("reason")?,
        email_mac: cells.text_if("email_mac")?.map(EmailMac::from_stored),
        data: cells.json("data")?,
        color: cells.text("color")?,
        created_at: cells.instant("created_at")?,
        updated_at: cells.instant("updated_at")?,
    })
}
