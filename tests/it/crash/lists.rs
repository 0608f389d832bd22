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
pub(super) const SIGHT: Duration = Duration::from_mins(31);

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
    // What the app's database dates is not older than that, whatever the ledger forgot.
    if row.change.is_some() {
        let forgotten = (weather.rollbacks.iter()).filter(|back| back.at <= row.updated_at);
        for back in forgotten {
            earliest = earliest.min(back.copied_at - AT_ONCE);
        }
    }
    earliest
}

/// Somebody else put it there, and there is an entry of theirs for each.
pub(super) fn told_by_others<S: Stage>(audit: &Audit<'_, '_, S>, row: &Row) -> Excused {
    // What was told under another name, and forgotten, is nobody's.
    let is_nobodys = |entry: &Entry| {
        audit.play.app.is_renamed
            && (audit.play.weather.rollbacks.iter())
                .any(|back| back.forgets && (back.copied_at..=back.at).contains(&entry.at()))
    };
    let foreign: Vec<&Entry> = (audit.entries.iter())
        .filter(|entry| !entry.is_ours() || is_nobodys(entry))
        .filter(|entry| entry.who == row.who && entry.event.text == row.event)
        .collect();
    let fits = |one: &Row, entry: &Entry| {
        // For as long as it waited; a row says when its run began, and the list was read within it.
        let near = one.at + audit.play.rules.match_within;
        let (from, to) = (
            earliest(audit, one),
            near.max(one.updated_at + S::TOLERANCE),
        );
        entry.occurred_at() == one.at.to_string() || (from..=to).contains(&entry.at())
    };
    excused(
        foreign.iter().any(|entry| fits(row, entry)),
        "nobody else said anything then",
    )?;
    let alike: Vec<&Row> = (audit.rows.iter())
        .filter(|other| {
            other.who == row.who && other.event == row.event && other.state == row.state
        })
        .collect();
    let mut taken: Vec<Option<usize>> = vec![None; foreign.len()];
    let each = (0..alike.len()).all(|one| {
        let fits = |one: usize, entry: usize| fits(alike[one], foreign[entry]);
        pairs(one, &fits, &mut taken, &mut vec![false; foreign.len()])
    });
    excused(each, "one entry for two")
}

/// Gives a row an entry that fits, where need be one that another row can do without.
fn pairs(
    row: usize,
    fits: &impl Fn(usize, usize) -> bool,
    taken: &mut [Option<usize>],
    asked: &mut [bool],
) -> bool {
    for entry in 0..taken.len() {
        if asked[entry] || !fits(row, entry) {
            continue;
        }
        asked[entry] = true;
        if taken[entry].is_none_or(|other| pairs(other, fits, taken, asked)) {
            taken[entry] = Some(row);
            return true;
        }
    }
    false
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
