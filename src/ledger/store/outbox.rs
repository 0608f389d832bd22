//! The outbox's tables: occurrences, high water, armings.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{
    clock::millis,
    ids::{UserKey, WebsiteId},
    lifecycle::OutboxState,
    pseudonym::{EmailMac, OccurrenceRef},
};

use super::{
    super::outbox::{Arming, OutboxRow},
    LedgerError, Store, brake,
    cells::{Cells, failed, json, ms},
    columns::columns,
    engine::{Row, Transaction, query, query_for},
};

pub(super) const ROW: &str = "an occurrence";

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
    .execute(&mut *tx)
    .await
    .map_err(failed(WHAT))?;
    brake::latch(tx, row).await
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

impl Store {
    pub(in super::super) async fn outbox(
        &self,
        website: &WebsiteId,
        user_key: &UserKey,
    ) -> Result<Vec<OutboxRow>, LedgerError> {
        query(concat!(
            "SELECT ",
            columns!(outbox),
            " FROM outbox WHERE website = $1 AND user_key = $2 ORDER BY created_at, key"
        ))
        .bind(website.as_str())
        .bind(user_key.as_str())
        .fetch_all(&self.readers)
        .await
        .map_err(failed("read the outbox"))?
        .iter()
        .map(outbox_row)
        .collect()
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

pub(super) fn outbox_row(row: &Row) -> Result<OutboxRow, LedgerError> {
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
