//! What a share of the schedules have besides: an act of its own among those that are drawn for all.

use rand::{SeedableRng as _, rngs::StdRng};

use super::{
    acts::{Act, Change, PEOPLE, Push, Route, Span},
    draw::Draw,
};

/// What is different in a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Twist {
    Nothing,
    /// The app tells Crisp minutes or an hour after.
    Later,
    /// People are asked whether they want to be told, and change their mind.
    Guarded,
    /// The rules get other names.
    Renamed,
    /// A signup and a cancellation are told some time after.
    Delayed,
    /// Who has no contact gets none from us.
    Contactless,
}

/// The draws of the twist are its own: what else happens does not depend on it.
fn own_draw(seed: u64) -> (Draw, Twist) {
    let mut draw = Draw(StdRng::seed_from_u64(seed.reverse_bits()));
    let twist = match draw.below(8) {
        0 => Twist::Later,
        1 => Twist::Guarded,
        2 => Twist::Renamed,
        3 => Twist::Delayed,
        4 => Twist::Contactless,
        _ => Twist::Nothing,
    };
    (draw, twist)
}

pub(super) fn twist(seed: u64) -> Twist {
    own_draw(seed).1
}

/// Puts the acts of the twist among those of the schedule, of which the first `before` stay the first.
pub(super) fn twist_in(seed: u64, acts: &mut Vec<Act>, before: usize) {
    let (mut draw, twist) = own_draw(seed);
    for _ in 0..2 {
        let who = draw.below(PEOPLE);
        let own = match twist {
            Twist::Nothing => return,
            Twist::Later => later(&mut draw, who),
            Twist::Guarded => guarded(&mut draw, who),
            Twist::Renamed => renamed(&mut draw, who),
            Twist::Delayed => delayed(&mut draw, who),
            Twist::Contactless => contactless(&mut draw),
        };
        let at = before + draw.below(acts.len() - before + 1);
        acts.splice(at..at, own);
    }
}

fn later(draw: &mut Draw, who: usize) -> Vec<Act> {
    let mut acts = Vec::new();
    if draw.one_in(3) {
        acts.push(Act::Fails {
            route: Route::Any,
            how: draw.failure(),
            times: 2,
        });
    }
    acts.push(Act::Changes(who, draw.change(), Push::No));
    if draw.one_in(2) {
        acts.push(Act::Chats(who));
    }
    acts.push(Act::Passes(match draw.below(4) {
        0 | 1 => Span::Minutes,
        2 => Span::Grace,
        _ => Span::Long,
    }));
    let push = if draw.one_in(3) {
        Push::Dated
    } else {
        Push::Plain
    };
    acts.push(Act::Tells(who, push));
    if draw.one_in(2) {
        acts.push(Act::Chats(who));
    }
    if draw.one_in(2) {
        acts.push(Act::Passes(Span::Grace));
    }
    acts
}

fn guarded(draw: &mut Draw, who: usize) -> Vec<Act> {
    let mut acts = vec![Act::Opts(who, false)];
    happens(draw, who, &mut acts);
    // Before it is due, or after it would have gone.
    acts.push(Act::Passes(if draw.one_in(3) {
        Span::Minutes
    } else {
        Span::Grace
    }));
    acts.push(Act::Opts(who, true));
    if !draw.one_in(3) {
        acts.push(Act::Chats(who));
    }
    acts.push(Act::Passes(Span::Long));
    if draw.one_in(2) {
        // What waits meets a closed door, or what has no answer yet.
        happens(draw, who, &mut acts);
        acts.push(Act::Opts(who, false));
        acts.push(Act::Passes(Span::Grace));
    }
    acts
}

fn renamed(draw: &mut Draw, who: usize) -> Vec<Act> {
    let mut acts = Vec::new();
    happens(draw, who, &mut acts);
    if draw.one_in(2) {
        acts.push(Act::Passes(Span::Grace));
    }
    acts.push(Act::Renames);
    if draw.one_in(2) {
        acts.push(Act::Chats(who));
    }
    if draw.one_in(3) {
        acts.push(Act::Arms);
    }
    acts.push(Act::Passes(Span::Grace));
    happens(draw, who, &mut acts);
    acts.push(Act::Passes(Span::Grace));
    acts
}

fn delayed(draw: &mut Draw, who: usize) -> Vec<Act> {
    let newcomer = PEOPLE;
    let mut acts = Vec::new();
    if draw.one_in(2) {
        acts.push(Act::SignsUp(draw.push()));
        acts.push(Act::Chats(newcomer));
        acts.push(Act::Passes(Span::Grace));
    }
    acts.push(Act::Changes(who, Change::Cancels, draw.push()));
    acts.push(Act::Chats(who));
    if draw.one_in(3) {
        acts.push(Act::Passes(Span::Grace));
        acts.push(Act::Tells(who, Push::Plain));
    }
    acts.push(Act::Passes(if draw.one_in(2) {
        Span::Grace
    } else {
        Span::Long
    }));
    acts.push(Act::Changes(who, Change::ComesBack, draw.push()));
    if draw.one_in(2) {
        acts.push(Act::Chats(who));
    }
    acts.push(Act::Passes(Span::Grace));
    acts
}

/// Somebody is looked at who never wrote, and appears in Crisp later.
fn contactless(draw: &mut Draw) -> Vec<Act> {
    let newcomer = PEOPLE;
    let mut acts = vec![Act::SignsUp(draw.push()), Act::Commands(newcomer)];
    if draw.one_in(2) {
        acts.push(Act::Passes(Span::Grace));
    }
    acts.push(Act::Changes(newcomer, draw.change(), draw.push()));
    acts.push(Act::Commands(newcomer));
    acts.push(Act::Passes(if draw.one_in(3) {
        Span::Long
    } else {
        Span::Grace
    }));
    if draw.one_in(2) {
        acts.push(Act::Fails {
            route: Route::Add,
            how: draw.failure(),
            times: 1,
        });
    }
    acts.push(if draw.one_in(2) {
        Act::Chats(newcomer)
    } else {
        Act::Returns(newcomer)
    });
    acts.push(Act::Passes(Span::Grace));
    acts
}

/// Something happens to somebody who is looked at, and its request may go wrong.
fn happens(draw: &mut Draw, who: usize, acts: &mut Vec<Act>) {
    if draw.one_in(2) {
        acts.push(Act::Fails {
            route: Route::Add,
            how: draw.failure(),
            times: 1,
        });
    }
    acts.push(Act::Changes(who, draw.change(), draw.push()));
    acts.push(Act::Chats(who));
}
