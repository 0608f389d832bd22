//! Work rows: folding triggers in, claiming, reading.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde::Serialize;
use sqlx::{SqliteConnection, sqlite::SqliteRow};
use std::sync::atomic::Ordering;
use uuid::Uuid;

use crate::{clock::millis, ids::WebsiteId};

use super::{
    super::work::{Claim, Enqueue, Trigger, Urgency, WorkKind, WorkRow, WorkState, priority},
    LedgerError, LedgerSettings, Store, begin,
    cells::{Cells, failed, json, ms, span},
    held, pauses, upkeep,
};

const ROW: &str = "a work row";

/// Which row.
pub(super) type Key = (&'static str, String, String);

/// All triggers of one batch for one row.
#[derive(Debug, Clone, Serialize)]
struct Asked {
    #[serde(rename = "k")]
    kind: &'static str,
    #[serde(rename = "w")]
    website: String,
    #[serde(rename = "y")]
    key: String,
    #[serde(rename = "n")]
    triggers: u32,
    #[serde(rename = "p")]
    priority: u8,
    #[serde(rename = "g")]
    trigger: &'static str,
    #[serde(rename = "d")]
    debounce: i64,
    #[serde(rename = "u")]
    urgent_at: Option<i64>,
    #[serde(rename = "o")]
    normal_at: Option<i64>,
    #[serde(rename = "f")]
    fresh: Option<i64>,
    #[serde(rename = "t")]
    timer_at: Option<i64>,
}

fn earliest(one: Option<i64>, other: Option<i64>) -> Option<i64> {
    [one, other].into_iter().flatten().min()
}

impl Asked {
    fn of(enqueue: &Enqueue) -> Self {
        let run_at = ms(enqueue.run_at);
        let (mut urgent_at, mut normal_at, mut fresh, mut timer_at) = (None, None, None, None);
        match enqueue.urgency {
            Urgency::Urgent => urgent_at = Some(run_at),
            Urgency::Normal { fresh_for } => {
                normal_at = Some(run_at);
                fresh = Some(span(fresh_for));
            }
            Urgency::Timer => timer_at = Some(run_at),
        }
        Self {
            kind: enqueue.kind.as_str(),
            website: enqueue.website.as_str().to_owned(),
            key: enqueue.key.clone(),
            triggers: 1,
            priority: priority(enqueue.kind, enqueue.trigger),
            trigger: enqueue.trigger.as_str(),
            debounce: span(enqueue.debounce),
            urgent_at,
            normal_at,
            fresh,
            timer_at,
        }
    }

    fn fold(&mut self, later: &Self) {
        self.triggers += later.triggers;
        if later.priority < self.priority || self.is_timer() {
            self.priority = self.priority.min(later.priority);
            self.trigger = later.trigger;
        }
        self.debounce = self.debounce.min(later.debounce);
        self.urgent_at = earliest(self.urgent_at, later.urgent_at);
        self.normal_at = earliest(self.normal_at, later.normal_at);
        self.fresh = earliest(self.fresh, later.fresh);
        self.timer_at = earliest(self.timer_at, later.timer_at);
    }

    fn is_timer(&self) -> bool {
        self.urgent_at.is_none() && self.normal_at.is_none()
    }
}

/// Triggers folded by row and in the order of the rows, so that a batch is one statement whatever it holds.
#[derive(Debug, Default)]
pub(super) struct Fold(BTreeMap<Key, Asked>);

impl Fold {
    pub(super) fn add(&mut self, enqueue: &Enqueue) {
        let asked = Asked::of(enqueue);
        let key = (asked.kind, asked.website.clone(), asked.key.clone());
        match self.0.entry(key) {
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(asked);
            }
            std::collections::btree_map::Entry::Occupied(mut entry) => entry.get_mut().fold(&asked),
        }
    }

    /// Forgets what was folded for a row.
    pub(super) fn remove(&mut self, key: &Key) {
        self.0.remove(key);
    }

    /// Writes the triggers into their rows.
    pub(super) async fn write(
        self,
        tx: &mut SqliteConnection,
        settings: &LedgerSettings,
        now: i64,
    ) -> Result<(), LedgerError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let rows: Vec<Asked> = self.0.into_values().collect();
        sqlx::query(include_str!("statements/enqueue.sql"))
            .bind(json(&rows))
            .bind(now)
            .bind(i64::from(settings.urgent_limit))
            .bind(span(settings.urgent_window))
            .bind(span(settings.revive_every))
            .execute(tx)
            .await
            .map_err(failed("enqueue"))?;
        Ok(())
    }
}

/// Counts that mirrors became dirty, so that a settlement under way does not clean them. `keys` are (kind, website, key).
pub(super) async fn soil(
    tx: &mut SqliteConnection,
    keys: &[Key],
    unsettled: bool,
) -> Result<(), LedgerError> {
    if keys.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "UPDATE work SET dirt = dirt + 1, unsettled = max(unsettled, ?2) \
         WHERE (kind, website, key) IN \
           (SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?1))",
    )
    .bind(json(&keys))
    .bind(i64::from(unsettled))
    .execute(tx)
    .await
    .map_err(failed("mark what is dirty"))?;
    Ok(())
}

/// Takes rows back whose lease ran out: a crash is counted, the mirror is dirty, the row is due at once or dead.
async fn reap(
    tx: &mut SqliteConnection,
    settings: &LedgerSettings,
    now: i64,
) -> Result<(), LedgerError> {
    let rows = sqlx::query(
        "UPDATE work SET lease_token = NULL, lease_until = NULL, claimed_gen = NULL, probe = 0, \
           crashes = crashes + 1, dirt = dirt + 1, run_at = min(run_at, ?1), \
           state = CASE WHEN crashes + 1 >= ?3 THEN 'dead' ELSE 'ready' END, \
           dead_at = CASE WHEN crashes + 1 >= ?3 THEN ?1 ELSE dead_at END, \
           last_error = 'the lease ran out before the result was settled' \
         WHERE lease_token IS NOT NULL AND (lease_until <= ?1 OR lease_until > ?1 + ?2) \
         RETURNING kind, website, key",
    )
    .bind(now)
    .bind(span(settings.longest_lease))
    .bind(i64::from(settings.crash_limit))
    .fetch_all(&mut *tx)
    .await
    .map_err(failed("take back expired leases"))?;
    for row in &rows {
        let cells = Cells::of(row, ROW);
        if cells.text("kind")? == WorkKind::Conversation.as_str() {
            held::spoil(tx, &cells.text("website")?, &cells.text("key")?).await?;
        }
    }
    Ok(())
}

/// Which rows a selection may take.
struct Selection<'a> {
    /// Only those that do not call Crisp, or only those that do, or all.
    calling: Option<bool>,
    /// None of these websites, unless it does not call.
    without: &'a [String],
    /// Only this website.
    only: Option<&'a str>,
    limit: i64,
}

async fn select(
    tx: &mut SqliteConnection,
    selection: &Selection<'_>,
    now: i64,
) -> Result<Vec<Key>, LedgerError> {
    let kinds: Vec<&str> = WorkKind::ALL
        .iter()
        .filter(|kind| {
            selection
                .calling
                .is_none_or(|calling| kind.calls_crisp() == calling)
        })
        .map(|kind| kind.as_str())
        .collect();
    let calling: Vec<&str> = WorkKind::ALL
        .iter()
        .filter(|kind| kind.calls_crisp())
        .map(|kind| kind.as_str())
        .collect();
    let rows = sqlx::query(
        "SELECT kind, website, key FROM work \
         WHERE state = 'ready' AND want_gen > done_gen AND lease_token IS NULL \
           AND priority IN (0, 1, 2, 3) AND due_at <= ?1 \
           AND kind IN (SELECT value FROM json_each(?2)) \
           AND (kind NOT IN (SELECT value FROM json_each(?3)) \
                OR website NOT IN (SELECT value FROM json_each(?4))) \
           AND (?5 IS NULL OR website = ?5) \
         ORDER BY priority, due_at LIMIT ?6",
    )
    .bind(now)
    .bind(json(&kinds))
    .bind(json(&calling))
    .bind(json(&selection.without))
    .bind(selection.only)
    .bind(selection.limit)
    .fetch_all(tx)
    .await
    .map_err(failed("look for due work"))?;
    rows.iter()
        .map(|row| {
            let cells = Cells::of(row, ROW);
            Ok((
                cells.parsed("kind", WorkKind::parse)?.as_str(),
                cells.text("website")?,
                cells.text("key")?,
            ))
        })
        .collect()
}

/// The rows to take now, and which of them are probes.
async fn candidates(
    tx: &mut SqliteConnection,
    limit: i64,
    now: i64,
) -> Result<Vec<(Key, bool)>, LedgerError> {
    let state = pauses::state(tx, now).await?;
    let mut taken: Vec<(Key, bool)> = Vec::new();
    if state.token_paused {
        if state.token_probe {
            let probe = Selection {
                calling: Some(true),
                without: &state.blocked,
                only: None,
                limit: 1,
            };
            for key in select(tx, &probe, now).await? {
                pauses::probe(tx, Some(&key.1), true, now).await?;
                taken.push((key, true));
            }
        }
        let others = Selection {
            calling: Some(false),
            without: &[],
            only: None,
            limit: limit - i64::try_from(taken.len()).unwrap_or(0),
        };
        let others = select(tx, &others, now).await?;
        taken.extend(others.into_iter().map(|key| (key, false)));
        return Ok(taken);
    }
    for website in &state.probes {
        let probe = Selection {
            calling: Some(true),
            without: &[],
            only: Some(website),
            limit: 1,
        };
        for key in select(tx, &probe, now).await? {
            pauses::probe(tx, Some(website), false, now).await?;
            taken.push((key, true));
        }
    }
    let paused: Vec<String> = state.blocked.iter().chain(&state.probes).cloned().collect();
    let rest = Selection {
        calling: None,
        without: &paused,
        only: None,
        limit: (limit - i64::try_from(taken.len()).unwrap_or(0)).max(0),
    };
    let rest = select(tx, &rest, now).await?;
    taken.extend(rest.into_iter().map(|key| (key, false)));
    Ok(taken)
}

impl Store {
    pub(in super::super) async fn enqueue(
        &self,
        enqueues: &[Enqueue],
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        const WHAT: &str = "enqueue";
        let mut fold = Fold::default();
        for enqueue in enqueues {
            fold.add(enqueue);
        }
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, WHAT).await?;
        fold.write(&mut tx, &self.settings, ms(now)).await?;
        tx.commit().await.map_err(failed(WHAT))
    }

    pub(in super::super) async fn claim(
        &self,
        limit: u32,
        lease: Duration,
        now: Timestamp,
    ) -> Result<Vec<Claim>, LedgerError> {
        const WHAT: &str = "claim work";
        if limit == 0 || self.older.load(Ordering::SeqCst) {
            return Ok(Vec::new());
        }
        let now = ms(now);
        let lease_until = now + span(lease.min(self.settings.longest_lease));
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, WHAT).await?;
        if let Some(back) = self.watch_clock(now) {
            upkeep::clamp(&mut tx, now, back).await?;
        }
        reap(&mut tx, &self.settings, now).await?;
        let chosen = candidates(&mut tx, i64::from(limit), now).await?;
        let mut claims = Vec::new();
        if !chosen.is_empty() {
            let chosen: Vec<_> = chosen
                .iter()
                .map(|((kind, website, key), probe)| (kind, website, key, i64::from(*probe)))
                .collect();
            let rows = sqlx::query(
                "UPDATE work SET lease_token = ?2, lease_until = ?3, claimed_gen = want_gen, claimed_dirt = dirt, \
                   probe = chosen.value ->> 3 \
                 FROM json_each(?1) AS chosen \
                 WHERE work.kind = chosen.value ->> 0 AND work.website = chosen.value ->> 1 \
                   AND work.key = chosen.value ->> 2 \
                 RETURNING kind, website, work.key, claimed_gen, lease_token, attempts, crashes, trigger, priority, \
                   first_triggered_at, lease_until, probe, due_at",
            )
            .bind(json(&chosen))
            .bind(Uuid::new_v4().simple().to_string())
            .bind(lease_until)
            .fetch_all(&mut *tx)
            .await
            .map_err(failed(WHAT))?;
            for row in &rows {
                let due_at = Cells::of(row, ROW).int("due_at")?;
                claims.push((due_at, claim(row)?));
            }
        }
        tx.commit().await.map_err(failed(WHAT))?;
        claims.sort_by_key(|(due_at, claim)| (claim.priority, *due_at));
        Ok(claims.into_iter().map(|(_, claim)| claim).collect())
    }

    pub(in super::super) async fn revive(
        &self,
        row: Option<(WorkKind, &WebsiteId, &str)>,
        now: Timestamp,
    ) -> Result<u64, LedgerError> {
        const WHAT: &str = "revive dead letters";
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, WHAT).await?;
        let done = sqlx::query(
            "UPDATE work SET state = 'ready', attempts = 0, crashes = 0, not_before = 0, run_at = ?1, dead_at = NULL, \
               want_gen = max(want_gen, done_gen + 1), trigger = 'command', first_triggered_at = ?1 \
             WHERE state = 'dead' AND (?2 IS NULL OR (kind = ?2 AND website = ?3 AND key = ?4))",
        )
        .bind(ms(now))
        .bind(row.map(|(kind, ..)| kind.as_str()))
        .bind(row.map(|(_, website, _)| website.as_str()))
        .bind(row.map(|(.., key)| key))
        .execute(&mut *tx)
        .await
        .map_err(failed(WHAT))?;
        tx.commit().await.map_err(failed(WHAT))?;
        Ok(done.rows_affected())
    }

    pub(in super::super) async fn work(
        &self,
        kind: WorkKind,
        website: &WebsiteId,
        key: &str,
    ) -> Result<Option<WorkRow>, LedgerError> {
        sqlx::query("SELECT * FROM work WHERE kind = ?1 AND website = ?2 AND key = ?3")
            .bind(kind.as_str())
            .bind(website.as_str())
            .bind(key)
            .fetch_optional(&self.readers)
            .await
            .map_err(failed("read a work row"))?
            .as_ref()
            .map(work_row)
            .transpose()
    }

    pub(in super::super) async fn dead(&self, limit: u32) -> Result<Vec<WorkRow>, LedgerError> {
        sqlx::query("SELECT * FROM work WHERE state = 'dead' ORDER BY dead_at DESC LIMIT ?1")
            .bind(i64::from(limit))
            .fetch_all(&self.readers)
            .await
            .map_err(failed("list dead letters"))?
            .iter()
            .map(work_row)
            .collect()
    }

    pub(in super::super) async fn next_due(
        &self,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, LedgerError> {
        if self.older.load(Ordering::SeqCst) {
            return Ok(None);
        }
        let calling: Vec<&str> = WorkKind::ALL
            .iter()
            .filter(|kind| kind.calls_crisp())
            .map(|kind| kind.as_str())
            .collect();
        // A paused row is due when it is due and a probe may go. Without a pause only the first entry of the index per
        // priority is looked at.
        let pauses = pauses::list(&self.readers).await?;
        let statement = if pauses.is_empty() {
            "SELECT min(at) FROM ( \
               SELECT min(CASE WHEN lease_until > ?2 + ?3 THEN ?2 ELSE lease_until END) AS at FROM work \
               WHERE lease_token IS NOT NULL \
               UNION ALL SELECT (SELECT due_at FROM work WHERE state = 'ready' AND want_gen > done_gen \
                 AND lease_token IS NULL AND priority = p.value ORDER BY due_at LIMIT 1) \
               FROM json_each('[0,1,2,3]') AS p)"
        } else {
            "SELECT min(at) FROM ( \
               SELECT min(CASE WHEN lease_until > ?2 + ?3 THEN ?2 ELSE lease_until END) AS at FROM work \
               WHERE lease_token IS NOT NULL \
               UNION ALL SELECT min(CASE WHEN kind IN (SELECT value FROM json_each(?1)) THEN max(due_at, \
                 coalesce((SELECT until FROM pauses WHERE scope = 'token'), 0), \
                 coalesce((SELECT until FROM pauses WHERE scope = 'website' AND pauses.website = work.website), 0)) \
                 ELSE due_at END) \
               FROM work WHERE state = 'ready' AND want_gen > done_gen AND lease_token IS NULL)"
        };
        let at: Option<i64> = sqlx::query_scalar(statement)
            .bind(json(&calling))
            .bind(ms(now))
            .bind(span(self.settings.longest_lease))
            .fetch_one(&self.readers)
            .await
            .map_err(failed("look for the next due work"))?;
        Ok(at.map(millis))
    }
}

fn claim(row: &SqliteRow) -> Result<Claim, LedgerError> {
    let cells = Cells::of(row, ROW);
    Ok(Claim {
        kind: cells.parsed("kind", WorkKind::parse)?,
        website: cells.parsed("website", |text| WebsiteId::parse(text).ok())?,
        key: cells.text("key")?,
        generation: cells.int("claimed_gen")?,
        token: cells.text("lease_token")?,
        attempt: cells.count("attempts")?.saturating_add(1),
        crashes: cells.count("crashes")?,
        trigger: cells.parsed("trigger", Trigger::parse)?,
        priority: u8::try_from(cells.int("priority")?).unwrap_or(u8::MAX),
        first_triggered_at: cells.instant("first_triggered_at")?,
        lease_until: cells.instant("lease_until")?,
        probe: cells.flag("probe")?,
    })
}

fn work_row(row: &SqliteRow) -> Result<WorkRow, LedgerError> {
    let cells = Cells::of(row, ROW);
    Ok(WorkRow {
        kind: cells.parsed("kind", WorkKind::parse)?,
        website: cells.parsed("website", |text| WebsiteId::parse(text).ok())?,
        key: cells.text("key")?,
        want_generation: cells.int("want_gen")?,
        done_generation: cells.int("done_gen")?,
        run_at: cells.instant("run_at")?,
        not_before: cells.instant("not_before")?,
        attempts: cells.count("attempts")?,
        crashes: cells.count("crashes")?,
        lease_until: cells.instant_if("lease_until")?,
        state: cells.parsed("state", WorkState::parse)?,
        trigger: cells.parsed("trigger", Trigger::parse)?,
        priority: u8::try_from(cells.int("priority")?).unwrap_or(u8::MAX),
        first_triggered_at: cells.instant("first_triggered_at")?,
        done_at: cells.instant_if("done_at")?,
        unsettled: cells.flag("unsettled")?,
        dead_at: cells.instant_if("dead_at")?,
        last_error: cells.text_if("last_error")?,
    })
}
