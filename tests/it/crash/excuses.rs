//! What excuses that somebody was not told: each excuse is derived from what the schedule did, and when.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    app::{CANCELED, Happening, PLAN, STARTED, second},
    audit::Audit,
    evidence::{Entry, Row},
    stage::Stage,
};

/// The longest that a change is looked for in the past.
const MAX_AGE: Duration = Duration::from_hours(72);
/// What is due is told within so much, where nothing stands in the way.
const AT_ONCE: Duration = Duration::from_mins(2);

type Excused = Result<(), String>;

fn excused(yes: bool, why_not: &str) -> Excused {
    if yes { Ok(()) } else { Err(why_not.to_owned()) }
}

/// Why there is neither an entry nor a row.
pub(super) fn unseen<S: Stage>(audit: &Audit<'_, '_, S>, one: &Happening) -> Excused {
    let looked = |from, to| looks(audit, one.who).any(|at| from <= at && at < to);
    // It was over before anybody looked.
    if let Some(ended) = one.ended
        && !looked(one.noted_at, ended)
    {
        return Ok(());
    }
    if one.text == PLAN {
        // The first plan that is seen is no change, and neither is one that came back before anybody looked.
        let had_it_until = had_before(audit, one);
        if !looked(Timestamp::MIN, one.noted_at)
            || had_it_until.is_some_and(|until| !looked(until, one.noted_at))
            || was_told_with_another(audit, one)
        {
            return Ok(());
        }
    }
    let forgotten = audit.play.weather.rollbacks.iter().any(|back| {
        let is_in_the_copy = looked(one.noted_at, back.copied_at);
        let found_again = match one.ended {
            Some(ended) => looked(back.at, ended),
            None if one.text == PLAN => {
                // The copy may know nobody, or may know the very same plan.
                looked(Timestamp::MIN, back.copied_at) && had_before(audit, one).is_none()
            }
            None => true,
        };
        one.noted_at <= back.at && !is_in_the_copy && !found_again
    });
    excused(forgotten, "somebody looked while it was true")
}

/// When everybody who wrote was looked at, where nothing stood in the way.
fn looks<S: Stage>(audit: &Audit<'_, '_, S>, who: usize) -> impl Iterator<Item = Timestamp> {
    let weather = &audit.play.weather;
    weather
        .looks
        .iter()
        .filter(move |(one, at)| *one == who && !weather.hindered(*at, *at, S::RECOVERS))
        .map(|(_, at)| *at)
}

/// Until when they had the very same plan before.
fn had_before<S: Stage>(audit: &Audit<'_, '_, S>, one: &Happening) -> Option<Timestamp> {
    let changes = || {
        (audit.play.app.happenings.iter())
            .filter(|other| other.who == one.who && other.text == PLAN)
            .filter(|other| other.number < one.number)
    };
    let first = changes().next().map(|first| first.noted_at);
    let last = changes()
        .filter(|other| other.plan == one.plan)
        .filter_map(|other| other.ended)
        .max();
    last.or(first.filter(|_| one.plan.as_deref() == Some("free")))
}

/// Whether a change was told as a later one to the same plan: it was seen as this one, and left when it was that one.
fn was_told_with_another<S: Stage>(audit: &Audit<'_, '_, S>, one: &Happening) -> bool {
    audit.rows.iter().any(|row| {
        let later = row.change.map(|number| &audit.play.app.happenings[number]);
        later.is_some_and(|later| {
            row.who == one.who
                && later.plan == one.plan
                && later.number > one.number
                && row.at >= second(one.noted_at)
                && row.at <= later.noted_at
        })
    })
}

/// Whether a row is `sent` because an entry has its `ref` that told of a change which the ledger forgot: after a rollback the
/// next change has the number of the first one that was forgotten.
pub(super) fn was_told_before<S: Stage>(audit: &Audit<'_, '_, S>, row: &Row) -> bool {
    row.event == PLAN
        && row.reason == "found_in_timeline"
        && audit.play.weather.rollbacks.iter().any(|back| {
            back.copied_at <= row.at
                && ours_of(audit, row)
                    .any(|entry| entry.at() <= back.at && entry.at() >= back.copied_at)
        })
}

/// Whether an entry was made by a ledger that was rolled back to before it knew them: where it was told, nobody can say who
/// looks for it at another address.
pub(super) fn is_of_a_stranger<S: Stage>(audit: &Audit<'_, '_, S>, entry: &Entry) -> bool {
    audit.play.weather.rollbacks.iter().any(|back| {
        (back.copied_at..=back.at).contains(&entry.at())
            && !looks(audit, entry.who).any(|look| look <= back.copied_at)
    })
}

/// Whether the ledger was rolled back since something later of the event was told, and forgot how high the water stood.
pub(super) fn was_forgotten_before<S: Stage>(audit: &Audit<'_, '_, S>, entry: &Entry) -> bool {
    audit.ours().any(|other| {
        other.who == entry.who
            && other.event.text == entry.event.text
            && other.occurred_at() > entry.occurred_at()
            && (audit.play.weather.rollbacks.iter()).any(|back| {
                (back.copied_at..=back.at).contains(&other.at()) && back.at <= entry.at()
            })
    })
}

fn ours_of<'a, S: Stage>(
    audit: &'a Audit<'_, '_, S>,
    row: &'a Row,
) -> impl Iterator<Item = &'a Entry> {
    audit
        .ours()
        .filter(|entry| entry.who == row.who && entry.event.text == row.event)
}

fn is_there<S: Stage>(audit: &Audit<'_, '_, S>, row: &Row) -> bool {
    ours_of(audit, row).any(|entry| match row.change {
        // The row's time is when the change was seen, and after a rollback it is seen again.
        Some(number) => entry.what() == number.to_string(),
        None => entry.occurred_at() == row.at.to_string(),
    })
}

/// Whether the schedule forced a row to where it stands.
pub(super) fn forced<S: Stage>(audit: &Audit<'_, '_, S>, row: &Row) -> Excused {
    match (row.state.as_str(), row.reason.as_str()) {
        ("sent", _) => excused(
            is_there(audit, row) || was_told_before(audit, row),
            "Crisp does not have it",
        ),
        ("already_in_crisp", _) => told_by_others(audit, row),
        ("superseded", "later_event") => later_event(audit, row),
        ("superseded", "no_longer_true") => no_longer_true(audit, row),
        ("superseded", "older_than_sent") => older(audit, row),
        ("held", "min_gap") => too_soon(audit, row),
        ("held", "proven_absent") => {
            excused(!is_there(audit, row), "Crisp has it")?;
            excused(audit.play.rules.holds, "nobody said so")?;
            unclear(audit, row)
        }
        ("unsure", "address_changed") => match row.attempted_at {
            Some(attempted_at) => {
                let moved = (audit.play.weather.moves.iter()).any(|(who, at)| {
                    let under_way = attempted_at - S::TOLERANCE..=row.updated_at;
                    *who == row.who && under_way.contains(at)
                });
                excused(moved, "they did not move")?;
                unclear(audit, row)
            }
            None => forgotten_elsewhere(audit, row),
        },
        ("unsure", "timeline_too_short") => cut(audit, row),
        _ => Err("nothing asks for that".to_owned()),
    }
}

/// The request got no answer that tells.
fn unclear<S: Stage>(audit: &Audit<'_, '_, S>, row: &Row) -> Excused {
    let unclear = row
        .attempted_at
        .is_some_and(|at| audit.play.weather.was_unclear(at, S::TOLERANCE));
    excused(unclear, "its request was answered")
}

/// The ledger may have told it at another address and forgotten: it was rolled back to before they moved, and this is the
/// first look since.
fn forgotten_elsewhere<S: Stage>(audit: &Audit<'_, '_, S>, row: &Row) -> Excused {
    let weather = &audit.play.weather;
    let moved = |back_to: Timestamp, back: Timestamp| {
        weather.moves.iter().any(|(who, at)| {
            let is_known = |look| {
                (*at < look && look <= back_to) || (back.max(*at) < look && look < row.updated_at)
            };
            *who == row.who && *at <= row.updated_at && !looks(audit, row.who).any(is_known)
        })
    };
    let forced = (weather.rollbacks.iter())
        .any(|back| back.at <= row.updated_at && moved(back.copied_at, back.at));
    excused(forced, "nothing was forgotten about where they were")
}

/// From when on the service has to look for somebody else's entry.
fn earliest<S: Stage>(audit: &Audit<'_, '_, S>, row: &Row) -> Timestamp {
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
                    look - audit.play.rules.match_within
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
fn told_by_others<S: Stage>(audit: &Audit<'_, '_, S>, row: &Row) -> Excused {
    let (from, to) = (earliest(audit, row), row.at + audit.play.rules.match_within);
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

/// Something of the group happened later, and there was no time before.
fn later_event<S: Stage>(audit: &Audit<'_, '_, S>, row: &Row) -> Excused {
    const GROUP: [&str; 2] = [CANCELED, STARTED];
    excused(GROUP.contains(&row.event.as_str()), "it is of no group")?;
    let later = (audit.play.app.happenings.iter())
        .filter(|one| one.who == row.who && GROUP.contains(&one.text) && one.at > row.at)
        .map(|one| one.noted_at)
        .min();
    match later.filter(|at| *at <= row.updated_at + S::TOLERANCE) {
        Some(at) => in_time(audit, row, at),
        None => Err("nothing happened later".to_owned()),
    }
}

fn no_longer_true<S: Stage>(audit: &Audit<'_, '_, S>, row: &Row) -> Excused {
    let ended = (audit.play.app.happenings.iter())
        .filter(|one| row.is_of(one))
        .filter_map(|one| one.ended)
        .min();
    match ended.filter(|at| *at <= row.updated_at + S::TOLERANCE) {
        Some(at) => in_time(audit, row, at),
        None => Err("it is true".to_owned()),
    }
}

/// A row that was overtaken at a moment could not have left before.
fn in_time<S: Stage>(audit: &Audit<'_, '_, S>, row: &Row, overtaken_at: Timestamp) -> Excused {
    let Some(one) = (audit.play.app.happenings.iter()).find(|one| row.is_of(one)) else {
        return Ok(());
    };
    let Some(look) = looks(audit, row.who).find(|at| *at >= one.noted_at) else {
        return Ok(());
    };
    let seen_at = if one.text == PLAN { look } else { one.at };
    let due = look.max(seen_at + audit.play.rules.grace) + AT_ONCE;
    excused(
        overtaken_at <= due || audit.play.weather.hindered(look, overtaken_at, S::RECOVERS),
        "there was time to tell it",
    )
}

/// A later one may be in Crisp, or might have been for as long as its request had no answer; and this one could not go before
/// it.
fn older<S: Stage>(audit: &Audit<'_, '_, S>, row: &Row) -> Excused {
    let may_be_there = ["sending", "sent", "already_in_crisp", "unsure"];
    let later = (audit.rows.iter()).any(|other| {
        other.who == row.who
            && other.event == row.event
            && other.at > row.at
            && (may_be_there.contains(&other.state.as_str()) || unclear(audit, other).is_ok())
    });
    excused(later, "there is no later one")?;
    let one = (audit.play.app.happenings.iter()).find(|one| row.is_of(one));
    let was_corrected = one.is_some_and(|one| {
        one.noted_at.duration_since(one.at).unsigned_abs() >= Duration::from_secs(1)
    });
    excused(
        was_corrected || row.attempted_at.is_some() || !audit.play.rules.min_gap.is_zero(),
        "it was overtaken",
    )
}

/// Another one of the event went to them within the gap.
fn too_soon<S: Stage>(audit: &Audit<'_, '_, S>, row: &Row) -> Excused {
    let gap = audit.play.rules.min_gap;
    let window = row.updated_at - gap - S::TOLERANCE..=row.updated_at;
    let told = ours_of(audit, row)
        .filter(|entry| entry.occurred_at() != row.at.to_string())
        .any(|entry| window.contains(&entry.at()));
    let tried = (audit.rows.iter()).any(|other| {
        other.who == row.who
            && other.event == row.event
            && other.at != row.at
            && other.attempted_at.is_some_and(|at| window.contains(&at))
    });
    excused(!gap.is_zero() && (told || tried), "no other one went")
}

/// Crisp's list did not reach back far enough.
fn cut<S: Stage>(audit: &Audit<'_, '_, S>, row: &Row) -> Excused {
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
