//! Deliveries, listed and shown.

use crate::ids::{SessionId, WebsiteId};

use super::{
    super::deliveries::{DeliveryFilter, DeliveryId, DeliveryRow},
    LedgerError, Store,
    cells::{Cells, failed, ms},
    columns::columns,
    engine::{Row, query},
};

impl Store {
    pub(in super::super) async fn deliveries(
        &self,
        filter: &DeliveryFilter,
    ) -> Result<Vec<DeliveryRow>, LedgerError> {
        query(concat!(
            "SELECT ",
            columns!(deliveries),
            " FROM deliveries \
             WHERE ($1 IS NULL OR website = $1) AND ($2 IS NULL OR session = $2) AND ($3 IS NULL OR event = $3) \
               AND ($4 IS NULL OR received_at >= $4) AND ($5 IS NULL OR id < $5) \
             ORDER BY id DESC LIMIT $6",
        ))
        .bind(filter.website.as_ref().map(WebsiteId::as_str))
        .bind(filter.session.as_ref().map(SessionId::as_str))
        .bind(filter.event.as_deref())
        .bind(filter.since.map(ms))
        .bind(filter.before.map(|id| id.0))
        .bind(super::chosen::page(filter.limit))
        .fetch_all(&self.readers)
        .await
        .map_err(failed("list deliveries"))?
        .iter()
        .map(delivery_row)
        .collect()
    }

    pub(in super::super) async fn delivery(
        &self,
        id: DeliveryId,
    ) -> Result<Option<DeliveryRow>, LedgerError> {
        query(concat!(
            "SELECT ",
            columns!(deliveries),
            " FROM deliveries WHERE id = $1"
        ))
        .bind(id.0)
        .fetch_optional(&self.readers)
        .await
        .map_err(failed("read a delivery"))?
        .as_ref()
        .map(delivery_row)
        .transpose()
    }
}

fn delivery_row(row: &Row) -> Result<DeliveryRow, LedgerError> {
    let cells = Cells::of(row, "a delivery");
    Ok(DeliveryRow {
        id: DeliveryId(cells.int("id")?),
        received_at: cells.instant("received_at")?,
        website: cells.parsed("website", |text| WebsiteId::parse(text).ok())?,
        event: cells.text("event")?,
        session: cells.text_if("session")?,
        people: cells.text_if("people")?,
        hook: cells.text("hook")?,
        origin: cells.text_if("origin")?,
        attempt: cells
            .int_if("attempt")?
            .and_then(|attempt| u32::try_from(attempt).ok()),
        signed_at: cells.instant_if("signed_at")?,
        event_at: cells.instant_if("event_at")?,
        bytes: cells.count("bytes")?,
    })
}
