//! Whether anybody looked while something was true: what excuses that there is neither an entry nor a row of it.

use jiff::Timestamp;

use super::{
    app::{Happening, PLAN, second},
    audit::Audit,
    excuses::{Excused, excused},
    stage::Stage,
};

/// Why there is neither an entry nor a row.
pub(super) fn unseen<S: Stage>(audit: &Audit<'_, '_, S>, one: &Happening) -> Excused {
    let looked = |from, to| looks(audit, one.who).any(|at| from <= at && at < to);
    // Whoever is erased is told of nothing, and whoever is back of what happens from then on, as somebody who is new.
    let erasures = || (audit.play.weather.erasures.iter()).filter(|erased| erased.who == one.who);
    if erasures().any(|erased| erased.lifted.is_none_or(|lifted| one.at < lifted)) {
        return Ok(());
    }
    let known_since = erasures()
        .filter_map(|erased| erased.lifted)
        .max()
        .unwrap_or(Timestamp::MIN);
    // It was over before anybody looked.
    if let Some(ended) = one.ended
        && !looked(one.noted_at, ended)
    {
        return Ok(());
    }
    if one.text == PLAN {
        // The first plan that is seen is no change, and neither is one that came back before anybody looked.
        let had_it_until = had_before(audit, one);
        let is_known = |at| {
            (known_since..one.noted_at).contains(&at)
                && !audit.play.weather.was_forgotten(one.who, at, one.noted_at)
        };
        if !looks(audit, one.who).any(is_known)
            || had_it_until.is_some_and(|until| !looked(until, one.noted_at))
            || was_told_with_another(audit, one)
        {
            return Ok(());
        }
    }
    let forgotten = audit.play.weather.rollbacks.iter().any(|back| {
        let is_in_the_copy = looked(one.noted_at, back.copied_at);
        let found_again = match one.ended {
            Some(ended) => {
                // The copy may know the very same plan, from before, and not that it ended.
                let is_known = one.text == PLAN
                    && had_before(audit, one).is_some_and(|until| !looked(until, back.copied_at));
                looked(back.at, ended) && !is_known
            }
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

/// Whether somebody left an address before anybody looked at them there: then nobody knows that there is something to read.
pub(super) fn left_unseen<S: Stage>(audit: &Audit<'_, '_, S>, who: usize, address: &str) -> bool {
    let mut moves = (audit.play.weather.moves.iter())
        .filter(|(one, _)| *one == who)
        .map(|(_, at)| *at);
    let addresses = &audit.play.app.people[who].addresses;
    let Some(number) = addresses.iter().position(|one| one == address) else {
        return false;
    };
    let arrived_at = match number.checked_sub(1) {
        Some(before) => moves.nth(before).unwrap_or(Timestamp::MAX),
        None => Timestamp::MIN,
    };
    let Some(left_at) = moves.next() else {
        return false;
    };
    if S::STANDS_STILL {
        return !looks(audit, who).any(|look| arrived_at <= look && look < left_at);
    }
    let wrote = audit.play.stage.sandbox().look(|state| {
        (state.conversations().iter()).any(|chat| chat.email.as_deref() == Some(address))
    });
    !wrote
}

/// When everybody who wrote was looked at, where nothing stood in the way.
pub(super) fn looks<S: Stage>(
    audit: &Audit<'_, '_, S>,
    who: usize,
) -> impl Iterator<Item = Timestamp> {
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
