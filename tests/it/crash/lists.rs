//! What Crisp's lists showed when they were read: what somebody else had said, and how far back they reached.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    audit::Audit,
    evidence::{Entry, Row},
    excuses::{AT_ONCE, Excused, excused},
    seen::looks,
    stage::Stage,
};

/// The longest that a change is looked for in the past.
const MAX_AGE: Duration = Duration::from_hours(72);

/// How much older than a look may be what it shows: a replica lags by as much as the sweep's overlap allows for, and an answer
/// may have been kept.
const SIGHT: Duration = Duration::from_mins(31);

/// From when on the service has to look for somebody else's entry.
pub(super) fn earliest<S: Stage>(audit: &Audit<'_, '_, S>, row: &Row) -> Timestamp {
    let weather = &audit.play.weather;
    let near = row.at - audit.play.rules.match_within;
    let noted_at = |number: usize| audit.play.app.happenings[number].noted_at;
    let mut earliest = match row.change.map(noted_at) {
        None => near,
        // A change was made after the last look that did not show it.
        Some(changed) => {
            let is_remembered = |look: &Timestamp| {
                !(weather.rollbacks.iter())
                    .any(|back| back.copied_at <= *look && *look <= back.at && back.at <= row.at)
            };
            looks(audit, row.who)
                .filter(|look| *look < changed && is_remembered(look))
                .max()
                .map_or(row.at - MAX_AGE, |look| {
                    look - audit.play.rules.match_within - SIGHT
                })
                .min(near)
        }
    };
    for back in weather
        .rollbacks
        .iter()
        .filter(|back| back.at <= row.updated_at)
    {
        earliest = earliest.min(back.copied_at - AT_ONCE);
    }
    earliest
}

/// Somebody else put it there, and there is an entry of theirs for each.
pub(super) fn told_by_others<S: Stage>(audit: &Audit<'_, '_, S>, row: &Row) -> Excused {
    // For as long as it waited.
    let near = row.at + audit.play.rules.match_within;
    let (from, to) = (earliest(audit, row), near.max(row.updated_at));
    let foreign = || {
        (audit.entries.iter()).filter(|entry| {
            !entry.is_ours() && entry.who == row.who && entry.event.text == row.event
        })
    };
    let fits = |entry: &Entry| {
        entry.occurred_at() == row.at.to_string() || (from..=to).contains(&entry.at())
    };
    excused(foreign().any(fits), "nobody else said anything then")?;
    let alike = (audit.rows.iter()).filter(|other| {
        other.who == row.who && other.event == row.event && other.state == row.state
    });
    excused(alike.count() <= foreign().count(), "one entry for two")
}

/// Crisp's list did not reach back far enough.
pub(super) fn cut<S: Stage>(audit: &Audit<'_, '_, S>, row: &Row) -> Excused {
    let weather = &audit.play.weather;
    let back_to = [Some(earliest(audit, row)), row.attempted_at];
    // A row says when its run began, and the list was read within it.
    let read_at = [row.updated_at, row.updated_at + S::TOLERANCE];
    let is_cut = audit.play.app.people[row.who]
        .addresses
        .iter()
        .any(|address| {
            let entries: Vec<Timestamp> = (audit.entries.iter())
                .filter(|entry| entry.address == *address)
                .filter(|entry| entry.gone.is_none_or(|gone| gone > row.updated_at))
                .map(Entry::at)
                .collect();
            (back_to.iter().flatten()).any(|back_to| {
                read_at
                    .iter()
                    .any(|at| weather.is_cut(&entries, *at, *back_to))
            })
        });
    excused(is_cut, "the list was long enough")
}
