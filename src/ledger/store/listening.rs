//! How far each website was listened to, as rows.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{
    clock::millis,
    ids::{SessionId, WebsiteId},
    telemetry::events,
};

use super::{
    super::{
        listening::{Listened, Listening, Scan},
        mirror::ConversationMirror,
    },
    LedgerError, Store, begin,
    cells::{Cells, failed, json, ms},
    columns::columns,
    engine::{Row, Transaction, query},
    mirror::conversation_row,
};

const ROW: &str = "what is known of a website";

/// Writes down what a look has come to.
pub(super) async fn write(
    tx: &mut Transaction<'_>,
    listened: &Listened,
) -> Result<(), LedgerError> {
    let scan = listened.scan.as_ref();
    query(
        "INSERT INTO listening (website, since, checked_to, scan_from, scan_to, scan_page, unheard_at, silent_since) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
         ON CONFLICT (website) DO UPDATE SET \
           checked_to = coalesce(excluded.checked_to, listening.checked_to), scan_from = excluded.scan_from, \
           scan_to = excluded.scan_to, scan_page = excluded.scan_page, \
           unheard_at = CASE WHEN listening.heard_at >= excluded.unheard_at THEN NULL \
                             ELSE excluded.unheard_at END, \
           silent_since = CASE WHEN listening.heard_at > excluded.silent_since THEN NULL \
                               ELSE coalesce(listening.silent_since, excluded.silent_since) END",
    )
    .bind(listened.website.as_str())
    .bind(ms(listened.at))
    .bind(listened.checked_to.map(ms))
    .bind(scan.map(|scan| ms(scan.from)))
    .bind(scan.map(|scan| ms(scan.to)))
    .bind(scan.map(|scan| i64::from(scan.page)))
    .bind(listened.unheard_at.map(ms))
    .bind(listened.silent_since.map(ms))
    .execute(tx)
    .await
    .map_err(failed("note how far a website was listened to"))?;
    Ok(())
}

impl Store {
    /// Writes down when websites were last heard, which ends their silence. Returns those that were unknown.
    pub(in super::super) async fn hear(
        &self,
        heard: &BTreeMap<WebsiteId, Timestamp>,
        now: Timestamp,
    ) -> Result<Vec<WebsiteId>, LedgerError> {
        const WHAT: &str = "note which websites were heard";
        let rows: Vec<_> = heard
            .iter()
            .map(|(website, at)| (website.as_str(), ms(*at)))
            .collect();
        let rows = json(&rows);
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, WHAT).await?;
        let known = query(
            "SELECT website, silent_since FROM listening \
             WHERE website IN (SELECT value ->> 0 FROM json_each($1))",
        )
        .bind(&rows)
        .fetch_all(&mut tx)
        .await
        .map_err(failed(WHAT))?
        .iter()
        .map(|row| {
            let cells = Cells::of(row, ROW);
            Ok((cells.text("website")?, cells.instant_if("silent_since")?))
        })
        .collect::<Result<BTreeMap<_, _>, LedgerError>>()?;
        query(
            "INSERT INTO listening (website, since, heard_at) \
             SELECT value ->> 0, $2, CAST(value ->> 1 AS BIGINT) FROM json_each($1) WHERE TRUE \
             ON CONFLICT (website) DO UPDATE SET \
               heard_at = CASE WHEN listening.heard_at > excluded.heard_at THEN listening.heard_at \
                               ELSE excluded.heard_at END, \
               unheard_at = NULL, silent_since = NULL",
        )
        .bind(&rows)
        .bind(ms(now))
        .execute(&mut tx)
        .await
        .map_err(failed(WHAT))?;
        tx.commit().await.map_err(failed(WHAT))?;
        for website in heard.keys() {
            if let Some(Some(since)) = known.get(website.as_str()) {
                tracing::info!(
                    event = events::CRISP_HEARD,
                    "website.id" = %website,
                    since = %since,
                    "a website that was silent sends webhooks again"
                );
            }
        }
        Ok(heard
            .keys()
            .filter(|website| !known.contains_key(website.as_str()))
            .cloned()
            .collect())
    }

    pub(in super::super) async fn listening(
        &self,
        website: Option<&WebsiteId>,
    ) -> Result<Vec<Listening>, LedgerError> {
        query("SELECT website, since, heard_at, checked_to, scan_from, scan_to, scan_page, unheard_at, silent_since FROM listening WHERE $1 IS NULL OR website = $1 ORDER BY website")
            .bind(website.map(WebsiteId::as_str))
            .fetch_all(&self.readers)
            .await
            .map_err(failed("read how far websites were listened to"))?
            .iter()
            .map(listening_row)
            .collect()
    }

    pub(in super::super) async fn mirrors(
        &self,
        website: &WebsiteId,
        sessions: &[SessionId],
    ) -> Result<Vec<ConversationMirror>, LedgerError> {
        let sessions: Vec<_> = sessions.iter().map(|session| [session.as_str()]).collect();
        query(concat!(
            "SELECT ",
            columns!(conversations),
            " FROM conversations WHERE website = $1 AND session IN (SELECT value ->> 0 FROM json_each($2))",
        ))
        .bind(website.as_str())
        .bind(json(&sessions))
        .fetch_all(&self.readers)
        .await
        .map_err(failed("read the conversations of a page"))?
        .iter()
        .map(conversation_row)
        .collect()
    }
}

fn listening_row(row: &Row) -> Result<Listening, LedgerError> {
    let cells = Cells::of(row, ROW);
    let scan = match (
        cells.int_if("scan_from")?,
        cells.int_if("scan_to")?,
        cells.int_if("scan_page")?,
    ) {
        (Some(from), Some(to), Some(page)) => Some(Scan {
            from: millis(from),
            to: millis(to),
            page: u32::try_from(page).unwrap_or(1).max(1),
        }),
        _ => None,
    };
    Ok(Listening {
        website: cells.parsed("website", |text| WebsiteId::parse(text).ok())?,
        since: cells.instant("since")?,
        heard_at: cells.instant_if("heard_at")?,
        checked_to: cells.instant_if("checked_to")?,
        scan,
        unheard_at: cells.instant_if("unheard_at")?,
        silent_since: cells.instant_if("silent_since")?,
    })
}
