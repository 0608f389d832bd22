//! One person's outbox while a run works on it: what is remembered of their events, whose turn it is, and when the next
//! one comes.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{ReconcileError, Reconciler, gone::MARK_LAPSES};
use crate::{
    ids::WebsiteId,
    ledger::{ContactState, Lane, OutboxRow, PersonMirror, Tombstoned},
    lifecycle::{
        Found, Gap, Known, LOOK_AGAIN, Memory, Occurrence, OutboxState, Release, Rules, Swept,
        reason,
    },
};

/// What is past is past by so much.
const ONE_SECOND: SignedDuration = SignedDuration::from_secs(1);

/// The outbox of one person, while a run works on it.
#[derive(Debug)]
pub(super) struct Outbox {
    pub(super) rows: BTreeMap<String, OutboxRow>,
    high_water: BTreeMap<(String, String), Timestamp>,
    pub(super) watermarks: BTreeMap<String, Timestamp>,
    last_to_address: BTreeMap<String, Timestamp>,
    pub(super) gaps: Vec<Gap>,
    swept: Option<Swept>,
}

impl Reconciler {
    /// Everything the ledger remembers that bears on this user's events.
    pub(super) async fn remembered(
        &self,
        website: &WebsiteId,
        mirror: &PersonMirror,
        gaps: Vec<Gap>,
    ) -> Result<Outbox, ReconcileError> {
        let last_to_address = match &mirror.email_mac {
            Some(email) => self.ledger.last_sent_to(website, email).await?,
            None => BTreeMap::new(),
        };
        let rows = self.ledger.outbox(website, &mirror.user_key).await?;
        let armings = self.ledger.armings(website).await?;
        // Whoever was erased and is back is told of what happens from then on: what was sent before, nobody knows any more.
        let user_key = Some(&mirror.user_key);
        let back_since = match self
            .ledger
            .tombstoned_by(website, user_key, mirror.email_mac.as_ref())
            .await?
        {
            Tombstoned::Lifted { at } => at,
            Tombstoned::No | Tombstoned::Yes => Timestamp::MIN,
        };
        Ok(Outbox {
            rows: rows.into_iter().map(|row| (row.key.clone(), row)).collect(),
            high_water: self.ledger.high_water(website, &mirror.user_key).await?,
            watermarks: armings
                .into_iter()
                .map(|arming| (arming.rule, arming.watermark.max(back_since)))
                .collect(),
            last_to_address,
            gaps,
            swept: None,
        })
    }

    /// Has an outbox know what the sweep answers for, where a change was found that nobody dates. `asked_at` is since when
    /// the person was to be looked at.
    pub(super) async fn swept(
        &self,
        outbox: &mut Outbox,
        found: &Found,
        asked_at: Timestamp,
    ) -> Result<(), ReconcileError> {
        let is_undated = |one: &Occurrence| one.earliest < one.happened_at();
        if self.users.can_sweep() && found.occurrences.iter().any(is_undated) {
            let sweeps = self.ledger.sweeps().await?;
            let changes = sweeps.iter().find(|one| one.lane == Lane::Changes);
            outbox.swept = changes
                .and_then(|changes| changes.answers_for(asked_at, self.rules.sweep().pause()));
        }
        Ok(())
    }
}

impl Outbox {
    /// The rows as the core sees them.
    pub(super) fn known(&self) -> Vec<Known> {
        self.rows.values().map(known).collect()
    }

    /// All that is remembered, with the rows as the core sees them.
    pub(super) fn memory<'a>(&'a self, known: &'a [Known]) -> Memory<'a> {
        Memory {
            known,
            high_water: &self.high_water,
            watermarks: &self.watermarks,
            last_to_address: &self.last_to_address,
            swept: self.swept,
        }
    }

    /// The rows whose turn it is, in the order they happened; those that hold others up are among them.
    pub(super) fn turns(
        &self,
        mirror: &PersonMirror,
        creates: bool,
        now: Timestamp,
    ) -> Vec<String> {
        self.in_order()
            .into_iter()
            .filter(|row| Self::is_up(row, mirror, creates, now) || Self::is_barrier(row, now))
            .map(|row| row.key.clone())
            .collect()
    }

    fn in_order(&self) -> Vec<&OutboxRow> {
        let mut rows: Vec<&OutboxRow> = self.rows.values().collect();
        rows.sort_by_key(|row| (row.instant.unwrap_or(row.due_at), &row.key));
        rows
    }

    /// Whether it is a row's turn. A parked one comes back when there is a contact, or one may be made; an attempt without
    /// an answer when there is something to read.
    pub(super) fn is_up(
        row: &OutboxRow,
        mirror: &PersonMirror,
        creates: bool,
        now: Timestamp,
    ) -> bool {
        let not_before = row.not_before.is_none_or(|at| at <= now);
        match row.state {
            OutboxState::Due | OutboxState::Scheduled => row.due_at <= now && not_before,
            OutboxState::Sending => not_before,
            OutboxState::Parked => match mirror.contact {
                ContactState::Exists => true,
                ContactState::Unknown => creates,
                ContactState::Removed => false,
            },
            _ => false,
        }
    }

    /// Whether it is on its way and cannot go on yet: nothing that happened later may go before it.
    pub(super) fn is_barrier(row: &OutboxRow, now: Timestamp) -> bool {
        matches!(row.state, OutboxState::Sending | OutboxState::Due)
            && row.not_before.is_some_and(|at| at > now)
    }

    /// When the next row can be worked on; what waits behind one that cannot go on waits with it.
    pub(super) fn next_at(&self, rules: &Rules, now: Timestamp) -> Option<Timestamp> {
        let mut next = None;
        for row in self.in_order() {
            let at = match row.state {
                // Nobody may ever come for it: it is looked at once it is too old.
                OutboxState::Parked | OutboxState::Held => over_at(row, rules, now),
                // Nobody tells when that changes, so it is looked at: in the app's database, which costs no call.
                OutboxState::NoConsent | OutboxState::Excluded => {
                    after(now, LOOK_AGAIN).min(over_at(row, rules, now))
                }
                OutboxState::Scheduled | OutboxState::Due => {
                    row.due_at.max(row.not_before.unwrap_or(row.due_at))
                }
                OutboxState::Sending => row.not_before.unwrap_or(now),
                _ => continue,
            };
            if Self::is_barrier(row, now) {
                return Some(next.map_or(at, |next: Timestamp| next.min(at)));
            }
            next = Some(next.map_or(at, |next: Timestamp| next.min(at)));
        }
        next
    }
}

/// When a row is too old to be sent; at once where its rule is gone.
pub(super) fn over_at(row: &OutboxRow, rules: &Rules, now: Timestamp) -> Timestamp {
    rules.rule(&row.event).map_or(now, |rule| {
        after(rule.sent_until(known(row).happened_at()), ONE_SECOND)
    })
}

/// A row as the core sees it.
pub(super) fn known(row: &OutboxRow) -> Known {
    Known {
        key: row.key.clone(),
        event: row.event.clone(),
        subject: row.subject.clone(),
        instant: row.instant,
        state: row.state,
        reference: row.reference.as_str().to_owned(),
        due_at: row.due_at,
        attempted_at: row.attempted_at,
        sent_at: row.sent_at,
        absent_reads: row.absent_reads,
        first_absent_at: row.first_absent_at,
        updated_at: row.updated_at,
    }
}

/// Whether a person let the row go. That stands until it leaves, whatever keeps it back for a while.
pub(super) fn is_released(row: &OutboxRow) -> bool {
    Release::of(&row.reason) != Release::No
}

/// When the second look is due at a row that a look at the app's database has missed, which is `look_twice` later. One that a
/// person let go bears that word instead, and is known by how long it waits. A first look that is long past does not count any
/// more.
pub(super) fn second_look(
    row: &OutboxRow,
    look_twice: SignedDuration,
    now: Timestamp,
) -> Option<Timestamp> {
    let is_marked = [reason::NOT_SEEN, reason::USER_MISSING].contains(&row.reason.as_str());
    let waits_for_it = row.not_before == Some(after(row.updated_at, look_twice));
    row.not_before.filter(|at| {
        (is_marked || is_released(row) && waits_for_it) && now < after(*at, MARK_LAPSES)
    })
}

/// Whether a look has missed the row already, so long ago that another one counts.
pub(super) fn was_missed(row: &OutboxRow, look_twice: SignedDuration, now: Timestamp) -> bool {
    second_look(row, look_twice, now).is_some_and(|at| at <= now)
}

/// Whether a person answers for it that the row was not told. What cannot be proven is no reason any more to keep it back.
pub(super) fn is_vouched(row: &OutboxRow) -> bool {
    [reason::RELEASED_UNSURE, reason::RELEASED_UNSURE_OVER_CAP].contains(&row.reason.as_str())
}

/// Why a row takes a state: where it expires while it waits for a list that no cache answers, that is said.
pub(super) fn why_over(row: &OutboxRow, state: OutboxState, why: &'static str) -> &'static str {
    if state == OutboxState::Expired && row.reason == reason::TIMELINE_CACHED {
        reason::CACHED_TOO_LONG
    } else {
        why
    }
}

/// A length of time the standard library's way, for the ledger.
pub(super) fn after(now: Timestamp, wait: SignedDuration) -> Timestamp {
    now.checked_add(wait).unwrap_or(Timestamp::MAX)
}

/// The moment so long before.
pub(super) fn earlier(now: Timestamp, by: SignedDuration) -> Timestamp {
    now.checked_sub(by).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{ids::UserKey, pseudonym::OccurrenceRef};

    /// Minutes after noon.
    fn minute(minutes: i64) -> Timestamp {
        Timestamp::from_second(1_767_355_200 + minutes * 60).expect("an instant")
    }

    /// Written at noon, to wait for so many minutes.
    fn waiting(reason: &str, minutes: i64) -> OutboxRow {
        OutboxRow {
            website: WebsiteId::parse("w-1").expect("an id"),
            user_key: UserKey::parse("42").expect("a key"),
            key: "a//edge=1".to_owned(),
            event: "a".to_owned(),
            subject: String::new(),
            instant: None,
            state: OutboxState::Due,
            reference: OccurrenceRef::from_stored("5eed".to_owned()),
            due_at: minute(0),
            not_before: Some(minute(minutes)),
            attempts: 0,
            attempted_at: None,
            sent_at: None,
            absent_reads: 0,
            first_absent_at: None,
            reason: reason.to_owned(),
            email_mac: None,
            data: json!({}),
            color: "green".to_owned(),
            created_at: minute(0),
            updated_at: minute(0),
        }
    }

    #[test]
    fn a_look_counts_as_the_second_only_soon_after_one_that_missed_the_row() {
        for (why, waits, now, counts) in [
            (reason::NOT_SEEN, 10, 9, false),
            (reason::NOT_SEEN, 10, 10, true),
            (reason::USER_MISSING, 10, 69, true),
            (reason::USER_MISSING, 10, 70, false),
            (reason::RELEASED_UNSURE, 10, 10, true),
            // It waited for something else.
            (reason::RELEASED_UNSURE, 15, 15, false),
            (reason::DUE, 10, 10, false),
        ] {
            let row = waiting(why, waits);
            let look_twice = SignedDuration::from_mins(10);
            let counted = was_missed(&row, look_twice, minute(now));
            assert_eq!(counted, counts, "{why} at {now}");
        }
    }
}
