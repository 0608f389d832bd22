//! What Crisp says it holds, against the mirror: at once, or when the work under way is settled.

use serde_json::{Map, Value as Json};

use crate::{
    context::Layer,
    ids::{SessionId, WebsiteId},
    telemetry::events,
};

use super::{
    super::{
        echo::{Corrections, Verdict, judge_data, judge_segments},
        work::{Enqueue, Trigger, Urgency, WorkKind},
    },
    LedgerError,
    cells::{Cells, failed, json},
    engine::{Transaction, query},
    mirror,
    work::{Fold, soil},
};

/// One saying of Crisp about one conversation.
#[derive(Debug, Clone, Default)]
pub(super) struct Held {
    pub(super) data: Option<Map<String, Json>>,
    pub(super) segments: Option<Vec<String>>,
}

/// Takes a saying: nothing without a mirror, kept for the settlement while the row is leased, judged otherwise.
pub(super) async fn take(
    tx: &mut Transaction<'_>,
    fold: &mut Fold,
    website: &WebsiteId,
    session: &SessionId,
    held: &Held,
    now: i64,
) -> Result<(), LedgerError> {
    let state: Option<i64> = query(
        "SELECT coalesce((SELECT lease_token IS NOT NULL FROM work \
                          WHERE kind = 'conversation' AND work.website = $1 AND work.key = $2), FALSE) \
         FROM conversations WHERE website = $1 AND session = $2",
    )
    .bind(website.as_str())
    .bind(session.as_str())
    .fetch_number(&mut *tx)
    .await
    .map_err(failed("look at the mirror"))?;
    match state {
        None => Ok(()),
        Some(0) => judge(tx, fold, website, session, held, now).await,
        Some(_) => {
            query(
                "INSERT INTO held (website, session, data, segments) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (website, session) DO UPDATE SET \
                   data = coalesce(excluded.data, held.data), segments = coalesce(excluded.segments, held.segments)",
            )
            .bind(website.as_str())
            .bind(session.as_str())
            .bind(held.data.as_ref().map(json))
            .bind(held.segments.as_ref().map(json))
            .execute(tx)
            .await
            .map_err(failed("keep what Crisp holds"))?;
            Ok(())
        }
    }
}

/// Judges what was kept while the row was leased. `complete` tells whether the attempt went through: if not, Crisp is
/// read again anyway.
pub(super) async fn settle(
    tx: &mut Transaction<'_>,
    fold: &mut Fold,
    website: &WebsiteId,
    session: &SessionId,
    complete: bool,
    now: i64,
) -> Result<(), LedgerError> {
    let row =
        query("DELETE FROM held WHERE website = $1 AND session = $2 RETURNING data, segments")
            .bind(website.as_str())
            .bind(session.as_str())
            .fetch_optional(&mut *tx)
            .await
            .map_err(failed("take what Crisp holds"))?;
    let Some(row) = row else { return Ok(()) };
    if !complete {
        return mirror::dirty(tx, website.as_str(), session.as_str()).await;
    }
    let cells = Cells::of(&row, "what Crisp holds");
    let held = Held {
        data: cells.json_if("data")?,
        segments: cells.json_if("segments")?,
    };
    judge(tx, fold, website, session, &held, now).await
}

/// The work on a conversation came to nothing anybody knows: Crisp is to be read.
pub(super) async fn spoil(
    tx: &mut Transaction<'_>,
    website: &str,
    session: &str,
) -> Result<(), LedgerError> {
    query("DELETE FROM held WHERE website = $1 AND session = $2")
        .bind(website)
        .bind(session)
        .execute(&mut *tx)
        .await
        .map_err(failed("take what Crisp holds"))?;
    mirror::dirty(tx, website, session).await
}

async fn judge(
    tx: &mut Transaction<'_>,
    fold: &mut Fold,
    website: &WebsiteId,
    session: &SessionId,
    held: &Held,
    now: i64,
) -> Result<(), LedgerError> {
    let row = query(
        "SELECT session_layer, crisp_form, corrections FROM conversations WHERE website = $1 AND session = $2",
    )
    .bind(website.as_str())
    .bind(session.as_str())
    .fetch_optional(&mut *tx)
    .await
    .map_err(failed("look at the mirror"))?;
    let Some(row) = row else { return Ok(()) };
    let cells = Cells::of(&row, "a conversation");
    let layer: Layer = cells.json("session_layer")?;
    let mut form: Option<Layer> = cells.json_if("crisp_form")?;
    let mut corrections: Corrections = cells.json_if("corrections")?.unwrap_or_default();
    let before = (form.clone(), corrections.clone());
    let mut verdicts = Vec::new();
    if let Some(data) = &held.data {
        verdicts.push(judge_data(&layer, &mut form, &mut corrections, data));
    }
    if let Some(segments) = &held.segments {
        let owned = mirror::owned_names(&mut *tx).await?;
        verdicts.push(judge_segments(
            &layer,
            &mut form,
            &mut corrections,
            segments,
            &owned,
        ));
    }
    if verdicts.contains(&Verdict::Accept) {
        tracing::warn!(
            event = events::MIRROR_NORMALISED,
            "website.id" = %website,
            "session.id" = %session,
            "Crisp keeps another form of what we wrote; it is taken as ours"
        );
    }
    let correct = verdicts.contains(&Verdict::Correct);
    if correct {
        let key = (
            WorkKind::Conversation.as_str(),
            website.as_str().to_owned(),
            session.as_str().to_owned(),
        );
        soil(tx, &[key], false).await?;
        fold.add(&Enqueue {
            kind: WorkKind::Conversation,
            website: website.clone(),
            key: session.as_str().to_owned(),
            trigger: Trigger::Overwritten,
            run_at: crate::clock::millis(now),
            // Urgent runs are counted: whoever writes our names over and over does not spend the quota.
            urgency: Urgency::Urgent,
            debounce: std::time::Duration::ZERO,
        });
    }
    if correct || before != (form.clone(), corrections.clone()) {
        query(
            "UPDATE conversations SET crisp_form = $3, corrections = $4, dirty = max(dirty, $5) \
             WHERE website = $1 AND session = $2",
        )
        .bind(website.as_str())
        .bind(session.as_str())
        .bind(form.as_ref().map(json))
        .bind(json(&corrections))
        .bind(i64::from(correct))
        .execute(tx)
        .await
        .map_err(failed("mark the mirror"))?;
    }
    Ok(())
}
