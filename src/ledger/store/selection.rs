//! Which rows are taken next: what is due by priority, without what is paused, and the probes that look whether a pause is over.

use super::{
    super::{quota::PauseScope, work::WorkKind},
    LedgerError,
    cells::{Cells, failed, list},
    engine::{Transaction, query_for},
    pauses,
    work::{Key, ROW},
};

/// Which rows a selection may take.
struct Selection<'a> {
    /// Of these kinds alone.
    kinds: fn(WorkKind) -> bool,
    /// None of these websites, unless it does not call.
    without: &'a [String],
    /// No work on people of these websites.
    without_people: &'a [String],
    /// Only this website.
    only: Option<&'a str>,
    limit: i64,
}

macro_rules! due {
    ($priorities:literal) => {
        concat!(
            "SELECT kind, website, key FROM work \
             WHERE state = 'ready' AND want_gen > done_gen AND lease_token IS NULL \
               AND priority IN (",
            $priorities,
            ") AND due_at <= $1 \
               AND kind IN (SELECT value ->> 0 FROM json_each($2)) \
               AND (kind NOT IN (SELECT value ->> 0 FROM json_each($3)) \
                    OR website NOT IN (SELECT value ->> 0 FROM json_each($4))) \
               AND (kind NOT IN (SELECT value ->> 0 FROM json_each($8)) \
                    OR website NOT IN (SELECT value ->> 0 FROM json_each($7))) \
               AND ($5 IS NULL OR website = $5) \
             ORDER BY priority, due_at LIMIT $6"
        )
    };
}

/// The same for several processes: what another one takes at this moment is passed over, and what is taken is locked. The
/// order of an index over (`priority`, `due_at`) is not seen through a list of priorities, so each is walked by itself, the most
/// urgent first, and none that the limit has not left room for.
macro_rules! due_and_free {
    ($priorities:literal) => {
        concat!(
            "SELECT kind, website, key FROM (VALUES ",
            $priorities,
            ") AS p (level), LATERAL (SELECT kind, website, key FROM work \
             WHERE state = 'ready' AND want_gen > done_gen AND lease_token IS NULL \
               AND priority = p.level AND due_at <= $1 \
               AND kind IN (SELECT value ->> 0 FROM json_each($2)) \
               AND (kind NOT IN (SELECT value ->> 0 FROM json_each($3)) \
                    OR website NOT IN (SELECT value ->> 0 FROM json_each($4))) \
               AND (kind NOT IN (SELECT value ->> 0 FROM json_each($8)) \
                    OR website NOT IN (SELECT value ->> 0 FROM json_each($7))) \
               AND ($5 IS NULL OR website = $5) \
             ORDER BY due_at LIMIT $6 FOR UPDATE SKIP LOCKED) AS due LIMIT $6"
        )
    };
}

fn about_people() -> Vec<&'static str> {
    let about_people = WorkKind::ALL.iter().filter(|kind| kind.is_about_people());
    about_people.map(|kind| kind.as_str()).collect()
}

async fn select(
    tx: &mut Transaction<'_>,
    selection: &Selection<'_>,
    now: i64,
) -> Result<Vec<Key>, LedgerError> {
    let kinds: Vec<&str> = WorkKind::ALL
        .iter()
        .filter(|kind| (selection.kinds)(**kind))
        .map(|kind| kind.as_str())
        .collect();
    let calling: Vec<&str> = WorkKind::ALL
        .iter()
        .filter(|kind| kind.calls_crisp())
        .map(|kind| kind.as_str())
        .collect();
    // What never calls Crisp is never urgent: what waits for a pause need not be walked past to find it.
    let is_calling = |kind: &WorkKind| (selection.kinds)(*kind) && kind.calls_crisp();
    let statement = if WorkKind::ALL.iter().any(is_calling) {
        query_for(
            due!("0, 1, 2, 3"),
            due_and_free!("(CAST(0 AS BIGINT)), (1), (2), (3)"),
        )
    } else {
        query_for(due!("3"), due_and_free!("(CAST(3 AS BIGINT))"))
    };
    let rows = statement
        .bind(now)
        .bind(list(&kinds))
        .bind(list(&calling))
        .bind(list(selection.without))
        .bind(selection.only)
        .bind(selection.limit)
        .bind(list(selection.without_people))
        .bind(list(&about_people()))
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
pub(super) async fn candidates(
    tx: &mut Transaction<'_>,
    limit: i64,
    now: i64,
) -> Result<Vec<(Key, bool)>, LedgerError> {
    let state = pauses::state(tx, now).await?;
    let calling: fn(WorkKind) -> bool = WorkKind::calls_crisp;
    let about_people_alone: fn(WorkKind) -> bool = WorkKind::is_about_people;
    let mut taken: Vec<(Key, bool)> = Vec::new();
    let left =
        |taken: &[(Key, bool)]| (limit - i64::try_from(taken.len()).unwrap_or(i64::MAX)).max(0);
    if state.token_paused {
        if state.token_probe {
            let probe = Selection {
                kinds: calling,
                without: &state.blocked,
                without_people: &state.people_blocked,
                only: None,
                limit: 1,
            };
            for key in select(tx, &probe, now).await? {
                if pauses::probe(tx, &key.1, PauseScope::Token, now).await? {
                    taken.push((key, true));
                }
            }
        }
        let others = Selection {
            kinds: |kind| !kind.calls_crisp(),
            without: &[],
            without_people: &[],
            only: None,
            limit: left(&taken),
        };
        let others = select(tx, &others, now).await?;
        taken.extend(others.into_iter().map(|key| (key, false)));
        return Ok(taken);
    }
    let paused: Vec<String> = state.blocked.iter().chain(&state.probes).cloned().collect();
    let probes = (state.probes.iter()).map(|website| (website, PauseScope::Website, calling));
    // Where nothing is called, contacts are not either.
    let people_probes = (state.people_probes.iter())
        .filter(|website| !paused.contains(website))
        .map(|website| (website, PauseScope::People, about_people_alone));
    for (website, scope, kinds) in probes.chain(people_probes) {
        if left(&taken) == 0 {
            break;
        }
        let probe = Selection {
            kinds,
            without: &[],
            without_people: &state.people_blocked,
            only: Some(website),
            limit: 1,
        };
        for key in select(tx, &probe, now).await? {
            if pauses::probe(tx, website, scope, now).await? {
                taken.push((key, true));
            }
        }
    }
    let people = [state.people_blocked, state.people_probes].concat();
    let rest = Selection {
        kinds: |_| true,
        without: &paused,
        without_people: &people,
        only: None,
        limit: left(&taken),
    };
    let rest = select(tx, &rest, now).await?;
    taken.extend(rest.into_iter().map(|key| (key, false)));
    Ok(taken)
}
