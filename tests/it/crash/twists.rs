//! What a share of the schedules have besides: an act of its own among those that are drawn for all.

use rand::{SeedableRng as _, rngs::StdRng};

use super::{
    acts::{Act, PEOPLE, Push, Route, Span},
    draw::Draw,
};

/// What is different in a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Twist {
    Nothing,
    /// The app tells Crisp minutes or an hour after.
    Later,
}

/// The draws of the twist are its own: what else happens does not depend on it.
fn own_draw(seed: u64) -> (Draw, Twist) {
    let mut draw = Draw(StdRng::seed_from_u64(seed.reverse_bits()));
    let twist = match draw.below(8) {
        0 => Twist::Later,
        _ => Twist::Nothing,
    };
    (draw, twist)
}

/// Puts the acts of the twist among those of the schedule, of which the first `before` stay the first.
pub(super) fn twist_in(seed: u64, acts: &mut Vec<Act>, before: usize) {
    let (mut draw, twist) = own_draw(seed);
    for _ in 0..2 {
        let who = draw.below(PEOPLE);
        let own = match twist {
            Twist::Nothing => return,
            Twist::Later => later(&mut draw, who),
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
