//! What some schedules have besides what is drawn for all: things that take several acts to happen.

use rand::{SeedableRng as _, rngs::StdRng};

use super::{
    acts::{Act, Change, Decision, PEOPLE, Push, Route, Span},
    draw::Draw,
};

/// What a schedule is about besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    Nothing,
    /// A contact is removed in Crisp, and is there again.
    Removal,
    /// Somebody is erased, and may come back.
    Erasure,
    /// The brake lets few go.
    Brake,
    /// `lifecycle.query` finds people without a chat.
    Sweep,
    /// Somebody changes their mind within the hour, and again.
    Haste,
    /// What was told turns out to have happened earlier, and nothing else makes it untrue.
    Correction,
    /// A contact is removed and made anew, and nobody says so.
    Replacement,
    /// The service is away, perhaps on a ledger that was rolled back just before.
    Absence,
}

/// The draws of the subject are its own: what else happens does not depend on it.
fn own_draw(seed: u64) -> (Draw, Subject) {
    let mut draw = Draw(StdRng::seed_from_u64(!seed));
    let subject = match draw.below(10) {
        0 | 1 => Subject::Removal,
        2 | 3 => Subject::Erasure,
        4 => Subject::Brake,
        5 => Subject::Sweep,
        6 => Subject::Haste,
        7 => Subject::Correction,
        8 if draw.one_in(2) => Subject::Replacement,
        9 if draw.one_in(2) => Subject::Absence,
        _ => Subject::Nothing,
    };
    (draw, subject)
}

pub(super) fn subject(seed: u64) -> Subject {
    own_draw(seed).1
}

/// Puts the acts of the subject among those of the schedule, of which the first `before` stay the first.
pub(super) fn bring_up(seed: u64, acts: &mut Vec<Act>, before: usize) {
    let (mut draw, subject) = own_draw(seed);
    let who = draw.below(PEOPLE);
    let own = match subject {
        Subject::Nothing => return,
        Subject::Removal => removal(&mut draw, who),
        Subject::Erasure => erasure(&mut draw, who),
        Subject::Brake => brake(&mut draw),
        Subject::Sweep => sweep(&mut draw, who),
        Subject::Haste => haste(&mut draw, who),
        Subject::Correction => correction(&mut draw),
        Subject::Replacement => replacement(&mut draw, who),
        Subject::Absence => absence(&mut draw, who),
    };
    let at = before + draw.below(acts.len() - before + 1);
    acts.splice(at..at, own);
}

/// Something happens to somebody, and its request may go wrong.
fn happens(draw: &mut Draw, who: usize, acts: &mut Vec<Act>) {
    if draw.one_in(2) {
        acts.push(Act::Fails {
            route: Route::Add,
            how: draw.failure(),
            times: 1,
        });
    }
    let change = draw.change();
    acts.push(Act::Changes(who, change, draw.push()));
    if !draw.one_in(3) {
        acts.push(Act::Chats(who));
        if !draw.one_in(3) {
            acts.push(Act::Passes(Span::Grace));
        }
    }
}

fn removal(draw: &mut Draw, who: usize) -> Vec<Act> {
    let mut acts = Vec::new();
    happens(draw, who, &mut acts);
    acts.push(Act::Removes(who));
    if draw.one_in(2) {
        let change = draw.change();
        acts.push(Act::Changes(who, change, Push::No));
    }
    acts.push(match draw.below(4) {
        0 => Act::Chats(who),
        1 => Act::Commands(who),
        2 => Act::Passes(Span::Long),
        _ => Act::Returns(who),
    });
    acts.push(Act::Passes(Span::Grace));
    if draw.one_in(2) {
        acts.push(Act::Returns(who));
    }
    acts
}

fn replacement(draw: &mut Draw, who: usize) -> Vec<Act> {
    let how = draw.failure();
    let mut acts = vec![Act::Fails {
        route: Route::Add,
        how,
        times: 1,
    }];
    let change = draw.change();
    acts.push(Act::Changes(who, change, Push::No));
    acts.push(Act::Chats(who));
    if !draw.one_in(3) {
        acts.push(Act::Passes(Span::Grace));
    }
    acts.push(Act::Replaces(who));
    if draw.one_in(3) {
        happens(draw, who, &mut acts);
    }
    acts.push(Act::Passes(Span::Quiet));
    acts
}

fn absence(draw: &mut Draw, who: usize) -> Vec<Act> {
    let mut acts = Vec::new();
    let is_rolled_back = draw.one_in(2);
    if is_rolled_back {
        acts.push(Act::Copies {
            raw: draw.one_in(2),
        });
    }
    let change = draw.change();
    acts.push(Act::Changes(who, change, draw.push()));
    acts.push(Act::Chats(who));
    acts.push(Act::Passes(Span::Grace));
    if draw.one_in(2) {
        acts.push(Act::Replaces(who));
    }
    if is_rolled_back {
        acts.push(Act::Restores {
            in_place: draw.one_in(2),
        });
    }
    if draw.one_in(3) {
        acts.push(Act::Passes(Span::Moment));
    }
    acts.push(Act::Away);
    if draw.one_in(2) {
        acts.push(Act::Arms);
    }
    happens(draw, who, &mut acts);
    if draw.one_in(4) {
        acts.push(Act::Away);
    }
    acts
}

fn erasure(draw: &mut Draw, who: usize) -> Vec<Act> {
    let mut acts = Vec::new();
    happens(draw, who, &mut acts);
    acts.push(Act::Erases(who));
    if draw.one_in(3) {
        acts.push(draw.death(who));
    }
    happens(draw, who, &mut acts);
    acts.push(Act::Passes(Span::Grace));
    if draw.one_in(2) {
        acts.push(Act::Lifts(who));
        acts.push(Act::Chats(who));
        happens(draw, who, &mut acts);
    }
    acts
}

fn brake(draw: &mut Draw) -> Vec<Act> {
    let mut acts = Vec::new();
    for _ in 0..3 {
        for who in 0..PEOPLE {
            if !draw.one_in(4) {
                acts.push(Act::Changes(who, Change::Plan, Push::No));
                acts.push(Act::Chats(who));
            }
        }
        acts.push(Act::Passes(if draw.one_in(4) {
            Span::Long
        } else {
            Span::Grace
        }));
        match draw.below(5) {
            0 => acts.push(Act::Decides(Decision::Release)),
            1 => acts.push(Act::Decides(Decision::ReleaseOverCap)),
            2 => acts.push(Act::Decides(Decision::Drop)),
            _ => {}
        }
    }
    acts
}

/// Nobody writes.
fn sweep(draw: &mut Draw, who: usize) -> Vec<Act> {
    let mut acts = vec![Act::SignsUp(draw.push()), Act::Passes(Span::Long)];
    for _ in 0..2 {
        let change = draw.change();
        acts.push(Act::Changes(who, change, draw.push()));
        acts.push(Act::Passes(Span::Long));
    }
    acts
}

/// What was told a moment ago is untrue, and true again.
fn haste(draw: &mut Draw, who: usize) -> Vec<Act> {
    let mut acts = Vec::new();
    for change in [Change::Cancels, Change::ComesBack, Change::Cancels] {
        acts.push(Act::Changes(who, change, Push::No));
        acts.push(Act::Chats(who));
        let is_brief = matches!(change, Change::ComesBack) && !draw.one_in(3);
        acts.push(Act::Passes(if is_brief {
            Span::Moment
        } else {
            Span::Grace
        }));
    }
    acts
}

fn correction(draw: &mut Draw) -> Vec<Act> {
    let newcomer = PEOPLE;
    let mut acts = vec![Act::SignsUp(draw.push()), Act::Chats(newcomer)];
    if !draw.one_in(4) {
        acts.push(Act::Passes(Span::Grace));
    }
    acts.push(Act::Changes(newcomer, Change::Corrects, Push::No));
    acts.push(Act::Chats(newcomer));
    acts.push(Act::Passes(Span::Grace));
    acts
}
