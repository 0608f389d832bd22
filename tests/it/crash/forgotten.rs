//! What excuses a row because the ledger forgot, or because nobody can read any more what was told elsewhere.

use jiff::Timestamp;

use super::{
    app::PLAN,
    audit::Audit,
    evidence::{Entry, Row},
    excuses::{CLOCKS_APART, Excused, excused, is_another_unnoticed, ours_of},
    lists::{SIGHT, earliest},
    seen::looks,
    stage::Stage,
    weather::Rollback,
};

/// Whether a row is `sent` because an entry has its `ref` that told of a change which the ledger forgot: after a rollback, or
/// for somebody who is back after an erasure, the next change has the number of the first one that was forgotten.
pub(super) fn was_told_before<S: Stage>(audit: &Audit<'_, '_, S>, row: &Row) -> bool {
    let weather = &audit.play.weather;
    let is_forgotten = |entry: &Entry| {
        let rolled_back = weather.rollbacks.iter().any(|back| {
            back.forgets
                && row.is_since(back.at)
                && (back.copied_at..=back.at).contains(&entry.at())
        });
        let erased = weather.erasures.iter().any(|one| {
            let until = one.at + S::TOLERANCE;
            one.who == row.who && audit.left_at(entry) <= until && row.is_since(one.at)
        });
        rolled_back || erased
    };
    row.event == PLAN && row.reason == "found_in_timeline" && ours_of(audit, row).any(is_forgotten)
}

/// Whether what a row tells was told in a time that the ledger forgot: it waits once more, and what comes then finds it old.
pub(super) fn forgot_the_telling<S: Stage>(audit: &Audit<'_, '_, S>, row: &Row) -> bool {
    let mut told = ours_of(audit, row).filter(|entry| entry.is_of(row));
    told.any(|entry| {
        (audit.play.weather.rollbacks.iter()).any(|back| {
            back.forgets
                && back.at <= row.updated_at
                && (back.copied_at..=back.at).contains(&entry.at())
        })
    })
}

/// The ledger forgot that they were erased and came back, and what it remembers of them is from before: a change since then
/// may be one that nobody is to be told of.
pub(super) fn forgot_the_return<S: Stage>(audit: &Audit<'_, '_, S>, row: &Row) -> Excused {
    let weather = &audit.play.weather;
    let back_again = |back: &Rollback| {
        (weather.erasures.iter()).any(|one| {
            let forgotten = |lifted| (back.copied_at..=back.at).contains(&lifted);
            one.who == row.who && one.lifted.is_some_and(forgotten)
        })
    };
    // Once somebody has looked at them again, a change is as old as that look at the most.
    let is_first_seen = |back: &Rollback| {
        row.change.is_some_and(|number| {
            let changed = audit.play.app.happenings[number].noted_at;
            !looks(audit, row.who).any(|look| back.at <= look && look < changed)
        })
    };
    let forced = (weather.rollbacks.iter()).any(|back| {
        back.forgets && row.is_since(back.at) && back_again(back) && is_first_seen(back)
    });
    excused(forced, "nothing was forgotten about their return")
}

/// Whether an entry was made by a ledger that was rolled back to before it knew them: where it was told, nobody can say who
/// looks for it at another address.
pub(super) fn is_of_a_stranger<S: Stage>(audit: &Audit<'_, '_, S>, entry: &Entry) -> bool {
    let weather = &audit.play.weather;
    let moved = (weather.moves.iter()).any(|(who, at)| *who == entry.who && *at >= entry.at());
    moved
        && weather.rollbacks.iter().any(|back| {
            back.forgets
                && (back.copied_at..=back.at).contains(&entry.at())
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

/// The ledger may have told it at another address and forgotten: it was rolled back to before it knew that they moved.
pub(super) fn forgotten_elsewhere<S: Stage>(audit: &Audit<'_, '_, S>, row: &Row) -> Excused {
    let weather = &audit.play.weather;
    let moved = |back_to: Timestamp, back: Timestamp| {
        weather.moves.iter().any(|(who, at)| {
            let is_known = |look| *at < look && look <= back_to;
            // A change is as old as the look that shows it.
            let is_older = row.change.is_some()
                || looks(audit, row.who)
                    .find(|look| *look >= back.max(*at))
                    .is_none_or(|look| row.at <= look);
            *who == row.who
                && *at <= row.updated_at
                && is_older
                && !looks(audit, row.who).any(is_known)
        })
    };
    let forced = (weather.rollbacks.iter())
        .any(|back| back.at <= row.updated_at && moved(back.copied_at, back.at));
    excused(forced, "nothing was forgotten about where they were")
}

/// The app may have told it at an address that they left, and nobody can read what stands there.
pub(super) fn unreadable_elsewhere<S: Stage>(audit: &Audit<'_, '_, S>, row: &Row) -> Excused {
    excused(audit.play.rules.shared, "only we tell it")?;
    let weather = &audit.play.weather;
    let addresses = &audit.play.app.people[row.who].addresses;
    let forced = weather.moves.iter().any(|(who, at)| {
        let is_removed =
            |address: &String| weather.was_removed(address, Timestamp::MIN, row.updated_at);
        let came_at = (weather.moves.iter())
            .filter(|(who, came_at)| *who == row.who && came_at < at)
            .map(|(_, came_at)| *came_at)
            .max()
            .unwrap_or(Timestamp::MIN);
        let is_known = |look| {
            let is_there = came_at <= look && look < *at;
            is_there && !weather.was_forgotten(row.who, look, row.updated_at)
        };
        // Whoever decided about the row looked at them, too.
        let noticed = noticed(audit, row.who, *at).min(row.updated_at);
        *who == row.who
            && *at <= row.updated_at
            && earliest(audit, row) <= noticed
            && (addresses.iter().any(is_removed) || !looks(audit, row.who).any(is_known))
    });
    excused(forced, "what was told at the old address can be read")
}

/// The first look at somebody who had moved at a moment; never where nobody knows when they were looked at.
fn noticed<S: Stage>(audit: &Audit<'_, '_, S>, who: usize, moved_at: Timestamp) -> Timestamp {
    let mut later = looks(audit, who).filter(|look| *look >= moved_at);
    later.next().unwrap_or(Timestamp::MAX).max(moved_at)
}

/// The ledger may have told it and forgotten, and the contact of now is not the one that it had then, or there is none.
pub(super) fn newer_contact<S: Stage>(audit: &Audit<'_, '_, S>, row: &Row) -> Excused {
    let decided_at = row.updated_at;
    let forced = (audit.play.weather.rollbacks.iter())
        .filter(|back| back.at <= decided_at && lies_in(audit, row, back))
        .any(|back| {
            let since = match row.change {
                Some(_) => back.copied_at,
                // Before it happened nobody told it.
                None => back.copied_at.max(row.at),
            };
            is_another_unnoticed(audit, row.who, decided_at)
                || contact_at(audit, row.who, decided_at).is_none_or(|made_at| {
                    // By a clock that goes on, the ledger says only now and then that it is there.
                    made_at + S::BEAT + CLOCKS_APART > since
                })
        });
    excused(forced, "they have the contact that they had")
}

/// Whether the ledger may have told of a row in a time that it forgot: it happened before that was over, or it is a change that
/// nobody saw the person without since.
fn lies_in<S: Stage>(audit: &Audit<'_, '_, S>, row: &Row, back: &Rollback) -> bool {
    let over = back
        .armed
        .filter(|_| back.displaced)
        .map_or(back.at, |(_, armed)| armed);
    let is_seen_again = row.change.is_some_and(|number| {
        let changed = audit.play.app.happenings[number].noted_at;
        !looks(audit, row.who).any(|look| over + SIGHT <= look && look < changed)
    });
    row.at <= over || is_seen_again
}

/// When the contact was made that somebody had at a moment, at the address of then.
pub(super) fn contact_at<S: Stage>(
    audit: &Audit<'_, '_, S>,
    who: usize,
    at: Timestamp,
) -> Option<Timestamp> {
    let weather = &audit.play.weather;
    let moved = (weather.moves.iter()).filter(|(one, moved)| *one == who && *moved <= at);
    let address = &audit.play.app.people[who].addresses[moved.count()];
    let removed = (weather.removals.iter())
        .filter(|one| one.address == *address && one.at > at)
        .map(|one| one.made_at);
    let now = audit.play.stage.sandbox().look(|state| {
        let made_at = state.contact(address)?.created_at;
        Timestamp::from_millisecond(made_at).ok()
    });
    removed.chain(now).filter(|made_at| *made_at <= at).max()
}
