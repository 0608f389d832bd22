//! Deleting what the ledger holds of a person, once it is known under which keys.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    ids::{SessionId, UserKey, WebsiteId},
    ledger::{
        mirror::FormerContact,
        trigger::{Enqueue, Trigger, Urgency},
        work::WorkKind,
    },
};

use super::{
    LedgerError, Pair, Store,
    cells::{Cells, failed, json, list},
    debts::{self, Owing},
    engine::{Transaction, query},
    erasure::DebtKind,
    work::{Fold, Key, soil},
};

const WHAT: &str = "delete what is known of a person";

/// Under which keys somebody was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Website and user key.
    pub(super) users: BTreeSet<Pair>,
    /// Website and session.
    pub(super) sessions: BTreeSet<Pair>,
    /// The codes of their addresses.
    pub(super) macs: BTreeSet<String>,
    /// Where a sweep stands, told by a row of theirs.
    pub(super) marks: BTreeSet<String>,
}

impl Found {
    /// Whether there is nobody.
    pub(super) fn is_empty(&self) -> bool {
        self.users.is_empty() && self.sessions.is_empty() && self.marks.is_empty()
    }
}

/// How a sweep's mark shows a key: a text has a quote before it, a number has none.
pub(super) fn key_of_mark(mark: &str) -> &str {
    mark.strip_prefix('"').unwrap_or(mark)
}

/// Every table that holds something by user key, and what it is called on a receipt.
const BY_USER: [(&str, &str); 4] = [
    (
        "occurrences",
        "DELETE FROM outbox WHERE (website, user_key) IN (SELECT value ->> 0, value ->> 1 FROM json_each($1))",
    ),
    (
        "high_water_marks",
        "DELETE FROM high_water WHERE (website, user_key) IN (SELECT value ->> 0, value ->> 1 FROM json_each($1))",
    ),
    (
        "traces",
        "DELETE FROM traces WHERE kind = 'person' \
           AND (website, key) IN (SELECT value ->> 0, value ->> 1 FROM json_each($1))",
    ),
    (
        "work",
        "DELETE FROM work WHERE kind = 'person' \
           AND (website, key) IN (SELECT value ->> 0, value ->> 1 FROM json_each($1))",
    ),
];

/// Deletes what was found, and owes the rest to Crisp. A conversation stays as something of which nothing is known: it is
/// read, and cleared, by its own work, so that nobody else is at it at the same time.
pub(super) async fn remove(
    store: &Store,
    tx: &mut Transaction<'_>,
    receipt: &str,
    found: &Found,
    final_at: Option<i64>,
    now: i64,
) -> Result<BTreeMap<String, u64>, LedgerError> {
    let mut deleted: BTreeMap<String, u64> = BTreeMap::new();
    let mut count = |what: &str, rows: u64| *deleted.entry(what.to_owned()).or_default() += rows;
    let rows = query(
        "DELETE FROM persons WHERE (website, user_key) IN (SELECT value ->> 0, value ->> 1 FROM json_each($1)) \
         RETURNING website, people, former",
    )
    .bind(json(&found.users))
    .fetch_all(&mut *tx)
    .await
    .map_err(failed(WHAT))?;
    count("persons", rows.len() as u64);
    let mut people: BTreeSet<Pair> = BTreeSet::new();
    for row in &rows {
        let cells = Cells::of(row, "a person");
        let former: Option<Vec<FormerContact>> = cells.json_if("former")?;
        let former = former.into_iter().flatten().filter_map(|one| one.people);
        let former = former.map(|id| id.as_str().to_owned());
        for id in cells.text_if("people")?.into_iter().chain(former) {
            people.insert((cells.text("website")?, id));
        }
    }
    for (what, statement) in BY_USER {
        let rows = query(statement)
            .bind(json(&found.users))
            .execute(&mut *tx)
            .await
            .map_err(failed(WHAT))?;
        count(what, rows);
    }
    // The look begins anew: what it has read already is known, or refreshed once more.
    let marks: BTreeSet<String> = found
        .users
        .iter()
        .flat_map(|(_, key)| [key.clone(), format!("\"{key}")])
        .chain(found.marks.iter().cloned())
        .collect();
    query(
        "UPDATE sweeps SET after_at = NULL, after_key = NULL \
         WHERE after_key IN (SELECT value ->> 0 FROM json_each($1))",
    )
    .bind(list(&marks.iter().collect::<Vec<_>>()))
    .execute(&mut *tx)
    .await
    .map_err(failed(WHAT))?;
    // What went to their address when somebody else had it: that account's memory stays, or it would be told once more.
    let websites: BTreeSet<&String> = found
        .users
        .iter()
        .chain(&found.sessions)
        .map(|pair| &pair.0)
        .collect();
    let addressed: Vec<(&String, &String)> = websites
        .iter()
        .flat_map(|website| found.macs.iter().map(move |mac| (*website, mac)))
        .collect();
    query(
        "UPDATE outbox SET email_mac = NULL \
         WHERE (website, email_mac) IN (SELECT value ->> 0, value ->> 1 FROM json_each($1))",
    )
    .bind(json(&addressed))
    .execute(&mut *tx)
    .await
    .map_err(failed(WHAT))?;
    count("conversations", found.sessions.len() as u64);
    let traces = forget_conversations(store, tx, receipt, found, now).await?;
    count("traces", traces);
    for (website, id) in &people {
        let owing = Owing {
            receipt,
            website,
            what: DebtKind::Contact,
            final_at,
        };
        debts::owe(tx, &owing, id).await?;
    }
    Ok(deleted)
}

async fn forget_conversations(
    store: &Store,
    tx: &mut Transaction<'_>,
    receipt: &str,
    found: &Found,
    now: i64,
) -> Result<u64, LedgerError> {
    if found.sessions.is_empty() {
        return Ok(0);
    }
    let sessions = json(&found.sessions);
    // `written_for` keeps the code, so that they can be found if the tombstone is lifted.
    query(
        "UPDATE conversations SET email = NULL, user_key = NULL, people = NULL, trust = 'erased', \
           session_layer = '{\"data\":{},\"segments\":[]}', crisp_form = NULL, corrections = NULL, dirty = 1, \
           written_for = CASE WHEN written_for IN (SELECT value ->> 0 FROM json_each($2)) THEN written_for END, \
           email_since = NULL \
         WHERE (website, session) IN (SELECT value ->> 0, value ->> 1 FROM json_each($1))",
    )
    .bind(&sessions)
    .bind(list(&found.macs.iter().collect::<Vec<_>>()))
    .execute(&mut *tx)
    .await
    .map_err(failed(WHAT))?;
    query("DELETE FROM held WHERE (website, session) IN (SELECT value ->> 0, value ->> 1 FROM json_each($1))")
        .bind(&sessions)
        .execute(&mut *tx)
        .await
        .map_err(failed(WHAT))?;
    let traces = query(
        "DELETE FROM traces WHERE kind = 'conversation' \
           AND (website, key) IN (SELECT value ->> 0, value ->> 1 FROM json_each($1))",
    )
    .bind(&sessions)
    .execute(&mut *tx)
    .await
    .map_err(failed(WHAT))?;
    let keys: Vec<Key> = found
        .sessions
        .iter()
        .map(|(website, session)| {
            let kind = WorkKind::Conversation.as_str();
            (kind, website.clone(), session.clone())
        })
        .collect();
    // Whoever is at one now saw the person: what they settle may not clean the mirror.
    soil(tx, &keys, false).await?;
    debts::revive(tx, &keys).await?;
    let mut fold = Fold::default();
    for (website, session) in &found.sessions {
        fold.add(&look_at(website, session, now)?);
        let owing = Owing {
            receipt,
            website,
            what: DebtKind::Conversation,
            final_at: None,
        };
        debts::owe(tx, &owing, session).await?;
    }
    fold.write(tx, store, now).await?;
    debts::date(tx, receipt).await?;
    Ok(traces)
}

/// A conversation's refresh, now.
pub(super) fn look_at(website: &str, session: &str, now: i64) -> Result<Enqueue, LedgerError> {
    let unreadable = LedgerError::Unreadable {
        what: "a conversation",
    };
    let (Ok(website), Ok(session)) = (WebsiteId::parse(website), SessionId::parse(session)) else {
        return Err(unreadable);
    };
    Ok(Enqueue {
        kind: WorkKind::Conversation,
        website,
        key: session.as_str().to_owned(),
        trigger: Trigger::Command,
        run_at: crate::clock::millis(now),
        urgency: Urgency::Timer,
        debounce: std::time::Duration::ZERO,
    })
}

/// Deletes one person's rows, where somebody was found to be erased who got in before.
pub(in super::super) async fn forget_person(
    tx: &mut Transaction<'_>,
    website: &WebsiteId,
    user_key: &UserKey,
) -> Result<(), LedgerError> {
    let one = json(&[(website.as_str(), user_key.as_str())]);
    let persons = (
        "persons",
        "DELETE FROM persons WHERE (website, user_key) IN (SELECT value ->> 0, value ->> 1 FROM json_each($1))",
    );
    for (_, statement) in BY_USER.iter().chain([&persons]) {
        query(statement)
            .bind(&one)
            .execute(&mut *tx)
            .await
            .map_err(failed(WHAT))?;
    }
    Ok(())
}
