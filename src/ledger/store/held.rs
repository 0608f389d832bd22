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
        mirror::ERASED,
        trigger::{Enqueue, Trigger, Urgency},
        work::WorkKind,
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

/// What is kept of a conversation's sayings while it is leased: more than an honest attempt ever hears.
const KEPT: i64 = 65_536;
/// Between two sayings. JSON as it is written here has none.
const BETWEEN: &str = "\n";
/// Stands for sayings that were too many to keep.
const FORGOTTEN: &str = "null";

/// Takes a saying: kept for the settlement while the row is leased, judged by the mirror otherwise, if there is one.
pub(super) async fn take(
    tx: &mut Transaction<'_>,
    fold: &mut Fold,
    website: &WebsiteId,
    session: &SessionId,
    held: &Held,
    now: i64,
) -> Result<(), LedgerError> {
    let is_leased = query(
        "SELECT CAST(1 AS BIGINT) FROM work \
         WHERE kind = 'conversation' AND website = $1 AND key = $2 AND lease_token IS NOT NULL",
    )
    .bind(website.as_str())
    .bind(session.as_str())
    .fetch_number(&mut *tx)
    .await
    .map_err(failed("look at a lease"))?;
    if is_leased.is_none() {
        let mut sayings = Sayings::default();
        sayings.data.extend(held.data.clone().map(Some));
        sayings.segments.extend(held.segments.clone().map(Some));
        return judge(tx, fold, website, session, &sayings, now).await;
    }
    // All of them, in order: the last one may be our own echo, and what somebody else wrote behind it came before.
    query(
        "INSERT INTO held (website, session, data, segments) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (website, session) DO UPDATE SET \
           data = CASE WHEN length(held.data || excluded.data) > $5 THEN $6 || $7 || excluded.data \
                       ELSE coalesce(held.data || $7 || excluded.data, excluded.data, held.data) END, \
           segments = CASE WHEN length(held.segments || excluded.segments) > $5 THEN $6 || $7 || excluded.segments \
                           ELSE coalesce(held.segments || $7 || excluded.segments, excluded.segments, held.segments) \
                      END",
    )
    .bind(website.as_str())
    .bind(session.as_str())
    .bind(held.data.as_ref().map(json))
    .bind(held.segments.as_ref().map(json))
    .bind(KEPT)
    .bind(FORGOTTEN)
    .bind(BETWEEN)
    .execute(tx)
    .await
    .map_err(failed("keep what Crisp holds"))?;
    Ok(())
}

/// What Crisp said, in the order in which it was heard; `None` for what was forgotten.
#[derive(Debug, Default)]
struct Sayings {
    data: Vec<Option<Map<String, Json>>>,
    segments: Vec<Option<Vec<String>>>,
}

/// Reads what was kept. What cannot be read counts as forgotten.
fn sayings<T: serde::de::DeserializeOwned>(kept: Option<String>) -> Vec<Option<T>> {
    let kept = kept.unwrap_or_default();
    let lines = kept.split(BETWEEN).filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_str(line).ok()).collect()
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
    let kept = Sayings {
        data: sayings(cells.text_if("data")?),
        segments: sayings(cells.text_if("segments")?),
    };
    judge(tx, fold, website, session, &kept, now).await
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
    sayings: &Sayings,
    now: i64,
) -> Result<(), LedgerError> {
    let row = query(
        "SELECT trust, session_layer, crisp_form, corrections FROM conversations WHERE website = $1 AND session = $2",
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
    // What is under our names there is somebody's who was erased, and is not kept to be compared with.
    let is_erased = cells.text_if("trust")?.as_deref() == Some(ERASED);
    let owned = mirror::owned_names(&mut *tx).await?;
    let mut verdicts = Vec::new();
    for data in &sayings.data {
        verdicts.push(data.as_ref().map_or(Verdict::Look, |data| {
            judge_data(&layer, &mut form, &mut corrections, data, &owned)
        }));
    }
    for segments in &sayings.segments {
        verdicts.push(segments.as_ref().map_or(Verdict::Look, |segments| {
            judge_segments(&layer, &mut form, &mut corrections, segments, &owned)
        }));
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
    let dirty = correct || verdicts.contains(&Verdict::Look);
    if dirty {
        let key = (
            WorkKind::Conversation.as_str(),
            website.as_str().to_owned(),
            session.as_str().to_owned(),
        );
        soil(tx, &[key], false).await?;
    }
    if correct {
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
    if dirty || before != (form.clone(), corrections.clone()) {
        query(
            "UPDATE conversations SET crisp_form = $3, corrections = $4, dirty = max(dirty, $5) \
             WHERE website = $1 AND session = $2",
        )
        .bind(website.as_str())
        .bind(session.as_str())
        .bind(form.as_ref().filter(|_| !is_erased).map(json))
        .bind((!is_erased).then(|| json(&corrections)))
        .bind(i64::from(dirty))
        .execute(tx)
        .await
        .map_err(failed("mark the mirror"))?;
    }
    Ok(())
}
