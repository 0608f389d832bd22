//! What excuses that somebody was not told: each excuse is derived from what the schedule did, and when.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    acts::Decision,
    app::{DELAYED, GROUP, PLAN},
    audit::Audit,
    evidence::{Entry, Row},
    forgotten::{
        contact_at, forgot_the_return, forgot_the_telling, forgotten_elsewhere, newer_contact,
        unreadable_elsewhere, was_told_before,
    },
    lists::{cut, earliest, told_by_others},
    seen::looks,
    stage::Stage,
    twists::Twist,
};

/// What is due is told within so much, where nothing stands in the way.
pub(super) const AT_ONCE: Duration = Duration::from_mins(2);

/// How far Crisp's clock and ours may lie apart.
pub(super) const CLOCKS_APART: Duration = Duration::from_mins(2);

pub(super) type Excused = Result<(), String>;

pub(super) fn excused(yes: bool, why_not: &str) -> Excused {
    if yes { Ok(()) } else { Err(why_not.to_owned()) }
}

pub(super) fn ours_of<'a, S: Stage>(
    audit: &'a Audit<'_, '_, S>,
    row: &'a Row,
) -> impl Iterator<Item = &'a Entry> {
    audit
        .ours()
        .filter(|entry| entry.who == row.who && entry.event.text == row.event)
}

fn is_there<S: Stage>(audit: &Audit<'_, '_, S>, row: &Row) -> bool {
    ours_of(audit, row).any(|entry| entry.is_of(row))
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
        ("held", "changed_unseen") => forgot_the_return(audit, row),
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
            None => forgotten_elsewhere(audit, row).or_else(|_| unreadable_elsewhere(audit, row)),
        },
        ("unsure", "contact_newer") => newer_contact(audit, row),
        ("unsure", "one_of_several") => one_of_several(audit, row),
        ("unsure", "timeline_too_short") => cut(audit, row),
        ("unsure", "contact_removed" | "contact_gone") => removed(audit, row),
        ("unsure", "contact_replaced") => removed(audit, row).or_else(|_| replaced(audit, row)),
        ("expired", "dropped") => dropped(audit, row),
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

/// Somebody else told of one, and so late that nothing says of which, while two or more waited; of those some may wait no more.
fn one_of_several<S: Stage>(audit: &Audit<'_, '_, S>, row: &Row) -> Excused {
    let waited = |other: &Row, told_at: Timestamp| match other.state.as_str() {
        "already_in_crisp" | "unsure" => true,
        "expired" | "superseded" => told_at <= other.updated_at + CLOCKS_APART,
        _ => false,
    };
    let told = audit.entries.iter().any(|entry| {
        let may_be_of = |one: &Row| (earliest(audit, one)..=one.updated_at).contains(&entry.at());
        let is_late = |one: &Row| one.at + audit.play.rules.match_within < entry.at();
        let mut others = audit.rows.iter().filter(|other| {
            other.who == row.who && other.event == row.event && !std::ptr::eq(*other, row)
        });
        !entry.is_ours()
            && entry.who == row.who
            && entry.event.text == row.event
            && may_be_of(row)
            && others.any(|other| {
                earliest(audit, other) <= entry.at()
                    && waited(other, entry.at())
                    && (is_late(row) || is_late(other))
            })
    });
    excused(told, "nobody told of another one")
}

/// The contact that its request went to was removed before there was an answer.
fn removed<S: Stage>(audit: &Audit<'_, '_, S>, row: &Row) -> Excused {
    let attempted_at = row.attempted_at.ok_or("it never left")?;
    let weather = &audit.play.weather;
    let addresses = &audit.play.app.people[row.who].addresses;
    let (from, to) = (attempted_at - S::TOLERANCE, row.updated_at + S::TOLERANCE);
    let removed = (addresses.iter()).any(|address| weather.was_removed(address, from, to));
    excused(removed, "nobody removed their contact")?;
    unclear(audit, row)
}

/// Another contact had taken the place of the one that was known before the request left, and nobody had noticed by then.
fn replaced<S: Stage>(audit: &Audit<'_, '_, S>, row: &Row) -> Excused {
    let attempted_at = row.attempted_at.ok_or("it never left")?;
    let replaced = is_another_unnoticed(audit, row.who, attempted_at);
    excused(replaced, "nobody took the place of their contact unnoticed")?;
    unclear(audit, row)
}

/// Whether another contact has the place of the one that was known, and nobody had noticed by a moment.
pub(super) fn is_another_unnoticed<S: Stage>(
    audit: &Audit<'_, '_, S>,
    who: usize,
    by: Timestamp,
) -> bool {
    let addresses = &audit.play.app.people[who].addresses;
    (audit.play.weather.removals.iter()).any(|one| {
        // A contact to which nothing is new is not written to, and nothing says that it is gone.
        let written = looks(audit, who).filter(|look| *look <= one.at).max();
        let is_news = |look: Timestamp| {
            (audit.play.app.happenings.iter()).any(|news| {
                news.who == who
                    && news.text == PLAN
                    && written.is_none_or(|written| written < news.noted_at)
                    && news.noted_at <= look
            })
        };
        let noticed = |look| one.at < look && look < by && is_news(look);
        addresses.contains(&one.address)
            && one.at <= by
            && one.back.is_some()
            && !looks(audit, who).any(noticed)
    })
}

/// A person gave it up.
fn dropped<S: Stage>(audit: &Audit<'_, '_, S>, row: &Row) -> Excused {
    let dropped = (audit.play.weather.decisions.iter()).any(|one| {
        let apart = one.at.duration_since(row.updated_at).unsigned_abs();
        one.how == Decision::Drop && apart <= S::TOLERANCE
    });
    excused(dropped, "nobody did")
}

/// Something of the group happened later, and there was no time before.
fn later_event<S: Stage>(audit: &Audit<'_, '_, S>, row: &Row) -> Excused {
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
    let delay = if DELAYED.contains(&one.text) {
        audit.play.rules.delay
    } else {
        Duration::ZERO
    };
    let due = look.max(seen_at + audit.play.rules.grace + delay) + AT_ONCE;
    let weather = &audit.play.weather;
    excused(
        overtaken_at <= due
            || forgot_the_telling(audit, row)
            || weather.hindered(look, overtaken_at, S::RECOVERS)
            || weather.was_braked(&row.event, look, overtaken_at)
            || is_too_soon(audit, row, due - AT_ONCE, overtaken_at)
            || weather.was_shut(row.who, look, overtaken_at)
            || audit.play.rules.twist == Twist::Contactless
                && contact_at(audit, row.who, overtaken_at).is_none()
            || audit.play.app.people[row.who]
                .addresses
                .iter()
                .any(|address| weather.was_without(address, look, overtaken_at)),
        "there was time to tell it",
    )
}

/// A later one was in Crisp by then, or might have been for as long as its request had no answer; and this one could not go
/// before it.
fn older<S: Stage>(audit: &Audit<'_, '_, S>, row: &Row) -> Excused {
    let went_at = |other: &Row| match other.state.as_str() {
        "sending" | "sent" | "already_in_crisp" | "unsure" => {
            other.attempted_at.or(Some(other.updated_at))
        }
        _ => other.attempted_at.filter(|_| unclear(audit, other).is_ok()),
    };
    let by = row.updated_at + S::TOLERANCE;
    let later: Vec<Timestamp> = (audit.rows.iter())
        .filter(|other| other.who == row.who && other.event == row.event && other.at > row.at)
        .filter_map(went_at)
        .filter(|at| *at <= by)
        .collect();
    excused(!later.is_empty(), "there is no later one")?;
    let one = (audit.play.app.happenings.iter()).find(|one| row.is_of(one));
    let was_corrected = one.is_some_and(|one| {
        one.noted_at.duration_since(one.at).unsigned_abs() >= Duration::from_secs(1)
    });
    // Another one before both kept this one waiting, and it waits for a person when that is over.
    let was_too_soon = || {
        let gap = gap(audit, row);
        let mut others = others_went_at(audit, row).filter(|at| later.iter().all(|one| at < one));
        !gap.is_zero() && others.any(|at| row.at - gap - S::TOLERANCE <= at)
    };
    // It was held until then, and for that.
    let was_held = || forgot_the_return(audit, row).is_ok();
    excused(
        was_corrected || row.attempted_at.is_some() || was_too_soon() || was_held(),
        "it was overtaken",
    )
}

/// Another one of the event went to them within the gap.
fn too_soon<S: Stage>(audit: &Audit<'_, '_, S>, row: &Row) -> Excused {
    let went = is_too_soon(audit, row, row.updated_at, row.updated_at + S::TOLERANCE);
    excused(went, "no other one went")
}

/// Whether another one of the event went to them so shortly before a time that a row had to wait in it.
fn is_too_soon<S: Stage>(
    audit: &Audit<'_, '_, S>,
    row: &Row,
    from: Timestamp,
    to: Timestamp,
) -> bool {
    let gap = gap(audit, row);
    let window = from - gap - S::TOLERANCE..=to;
    !gap.is_zero() && others_went_at(audit, row).any(|at| window.contains(&at))
}

/// How far two of the event have to lie apart: changes of plan need not.
fn gap<S: Stage>(audit: &Audit<'_, '_, S>, row: &Row) -> Duration {
    if row.event == PLAN {
        Duration::ZERO
    } else {
        audit.play.rules.min_gap
    }
}

/// When others of the event went to them, or were tried.
fn others_went_at<'a, S: Stage>(
    audit: &'a Audit<'_, '_, S>,
    row: &'a Row,
) -> impl Iterator<Item = Timestamp> {
    let told = ours_of(audit, row)
        .filter(|entry| entry.occurred_at() != row.at.to_string())
        .map(Entry::at);
    let tried = (audit.rows.iter())
        .filter(|other| other.who == row.who && other.event == row.event && other.at != row.at)
        .filter_map(|other| other.attempted_at);
    told.chain(tried)
}
