//! Work rows: folding triggers in, reviving, reading.

use std::{collections::BTreeMap, sync::LazyLock};

use jiff::Timestamp;

use crate::ids::WebsiteId;

use super::{
    super::{
        trigger::{Enqueue, Trigger, Urgency, priority},
        work::{WorkKind, WorkRow, WorkState},
    },
    LedgerError, Store, begin,
    cells::{Cells, failed, json, ms, span},
    columns::columns,
    engine::{Column, Row, RowsStatement, Transaction, Value, query},
    erasure,
};

pub(super) const ROW: &str = "a work row";

/// Which row.
pub(super) type Key = (&'static str, String, String);

/// All triggers of one batch for one row.
#[derive(Debug, Clone)]
struct Asked {
    triggers: i64,
    priority: u8,
    trigger: Trigger,
    debounce: i64,
    urgent_at: Option<i64>,
    normal_at: Option<i64>,
    fresh: Option<i64>,
    timer_at: Option<i64>,
}

/// The columns of [`Fold::into_rows`].
const ASKED: [Column; 12] = [
    Column::Text,
    Column::Text,
    Column::Text,
    Column::Int,
    Column::Int,
    Column::Text,
    Column::Int,
    Column::Int,
    Column::Int,
    Column::Int,
    Column::Int,
    Column::Int,
];

static ENQUEUE: LazyLock<RowsStatement> = LazyLock::new(|| {
    let singles = ["now", "urgent_limit", "urgent_window", "revive_every"];
    let template = include_str!("statements/enqueue.sql")
        .replace("{standing}", &standing())
        .replace("{last}", &Trigger::LAST.to_string());
    RowsStatement::new(&template, &ASKED, &singles)
});

/// The standing of a row's trigger, as SQL.
fn standing() -> String {
    let cases = (Trigger::ALL.iter())
        .map(|trigger| format!(" WHEN '{trigger}' THEN {}", trigger.standing()));
    format!("CASE old.trigger{} END", cases.collect::<String>())
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
            triggers: 1,
            priority: priority(enqueue.kind, enqueue.trigger),
            trigger: enqueue.trigger,
            debounce: span(enqueue.debounce),
            urgent_at,
            normal_at,
            fresh,
            timer_at,
        }
    }

    fn fold(&mut self, later: &Self) {
        self.triggers += later.triggers;
        let is_sooner = later.priority < self.priority || self.is_timer();
        let (one, other) = (self.trigger.standing(), later.trigger.standing());
        if other < one || (other == one && is_sooner) {
            self.trigger = later.trigger;
        }
        self.priority = self.priority.min(later.priority);
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
        let key = (
            enqueue.kind.as_str(),
            enqueue.website.as_str().to_owned(),
            enqueue.key.clone(),
        );
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
        mut self,
        tx: &mut Transaction<'_>,
        store: &Store,
        now: i64,
    ) -> Result<(), LedgerError> {
        erasure::leave_out(tx, &store.pseudonyms, &mut self.0).await?;
        if self.0.is_empty() {
            return Ok(());
        }
        let settings = &store.settings;
        lock_all(tx, &self.0.keys().collect::<Vec<_>>(), now).await?;
        let singles = [
            now,
            i64::from(settings.urgent_limit),
            span(settings.urgent_window),
            span(settings.revive_every),
        ];
        ENQUEUE
            .execute(tx, self.into_rows(), &singles)
            .await
            .map_err(failed("enqueue"))
    }

    /// The rows of [`ENQUEUE`].
    fn into_rows(self) -> Vec<Value<'static>> {
        let mut rows = Vec::with_capacity(self.0.len() * ASKED.len());
        for ((kind, website, key), asked) in self.0 {
            let row: [Value<'_>; ASKED.len()] = [
                kind.into(),
                website.into(),
                key.into(),
                asked.triggers.into(),
                i64::from(asked.priority).into(),
                asked.trigger.as_str().into(),
                i64::from(asked.trigger.standing()).into(),
                asked.debounce.into(),
                asked.urgent_at.into(),
                asked.normal_at.into(),
                asked.fresh.into(),
                asked.timer_at.into(),
            ];
            rows.extend(row);
        }
        rows
    }
}

/// Where several processes write, locks those of these rows that are there, in the order of their keys. Returns how many
/// there are.
pub(super) async fn lock(tx: &mut Transaction<'_>, keys: &[&Key]) -> Result<usize, LedgerError> {
    if !tx.is_shared() || keys.is_empty() {
        return Ok(0);
    }
    let rows = query(
        "SELECT kind FROM work WHERE (kind, website, key) IN \
           (SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each($1)) \
         ORDER BY kind, website, key FOR UPDATE",
    )
    .bind(json(&keys))
    .fetch_all(tx)
    .await
    .map_err(failed("lock work rows"))?;
    Ok(rows.len())
}

/// The same for rows that are about to be written from what they were: those that are not there yet are made, so that
/// there is something to lock. Such a row wants nothing and equals none for what is folded into it.
async fn lock_all(tx: &mut Transaction<'_>, keys: &[&Key], now: i64) -> Result<(), LedgerError> {
    /// A row can only vanish in between when its conversation is forgotten.
    const TRIES: usize = 3;
    if !tx.is_shared() {
        return Ok(());
    }
    for _ in 0..TRIES {
        if lock(tx, keys).await? >= keys.len() {
            break;
        }
        query(
            "INSERT INTO work (kind, website, key, want_gen, run_at, trigger, priority, first_triggered_at) \
             SELECT value ->> 0, value ->> 1, value ->> 2, 0, $2, '', 3, $2 FROM json_each($1) \
             ON CONFLICT (kind, website, key) DO NOTHING",
        )
        .bind(json(&keys))
        .bind(now)
        .execute(&mut *tx)
        .await
        .map_err(failed("make work rows"))?;
    }
    Ok(())
}

/// Counts that mirrors became dirty, so that a settlement under way does not clean them. `keys` are (kind, website, key).
pub(super) async fn soil(
    tx: &mut Transaction<'_>,
    keys: &[Key],
    unsettled: bool,
) -> Result<(), LedgerError> {
    if keys.is_empty() {
        return Ok(());
    }
    query(
        "UPDATE work SET dirt = dirt + 1, unsettled = max(unsettled, $2) \
         WHERE (kind, website, key) IN \
           (SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each($1))",
    )
    .bind(json(&keys))
    .bind(i64::from(unsettled))
    .execute(tx)
    .await
    .map_err(failed("mark what is dirty"))?;
    Ok(())
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
        fold.write(&mut tx, self, ms(now)).await?;
        tx.commit().await.map_err(failed(WHAT))
    }

    pub(in super::super) async fn revive(
        &self,
        row: Option<(WorkKind, &WebsiteId, &str)>,
        now: Timestamp,
    ) -> Result<u64, LedgerError> {
        const WHAT: &str = "revive dead letters";
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, WHAT).await?;
        let done = query(
            "UPDATE work SET state = 'ready', attempts = 0, crashes = 0, not_before = 0, run_at = $1, dead_at = NULL, \
               want_gen = want_gen + 1, trigger = 'command' \
             WHERE state = 'dead' AND ($2 IS NULL OR (kind = $2 AND website = $3 AND key = $4))",
        )
        .bind(ms(now))
        .bind(row.map(|(kind, ..)| kind.as_str()))
        .bind(row.map(|(_, website, _)| website.as_str()))
        .bind(row.map(|(.., key)| key))
        .execute(&mut tx)
        .await
        .map_err(failed(WHAT))?;
        tx.commit().await.map_err(failed(WHAT))?;
        Ok(done)
    }

    pub(in super::super) async fn work(
        &self,
        kind: WorkKind,
        website: &WebsiteId,
        key: &str,
    ) -> Result<Option<WorkRow>, LedgerError> {
        query(concat!(
            "SELECT ",
            columns!(work),
            " FROM work WHERE kind = $1 AND website = $2 AND key = $3"
        ))
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
        query(concat!(
            "SELECT ",
            columns!(work),
            " FROM work WHERE state = 'dead' ORDER BY dead_at DESC LIMIT $1"
        ))
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await
        .map_err(failed("list dead letters"))?
        .iter()
        .map(work_row)
        .collect()
    }
}

fn work_row(row: &Row) -> Result<WorkRow, LedgerError> {
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
