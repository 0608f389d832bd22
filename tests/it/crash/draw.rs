//! The drawing of a schedule from its seed.

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::{
    acts::{Act, Change, Failure, PEOPLE, Point, Push, Route, Span},
    subjects::bring_up,
    twists::twist_in,
};

/// What a schedule is mostly about: what takes several acts to happen would happen once in a thousand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Theme {
    Anything,
    /// The ledger is rolled back.
    Rollback,
    /// It is rolled back while Crisp answers lists from a cache.
    CachedRollback,
    /// Deaths.
    Deaths,
}

/// The acts of a seed.
pub(super) fn drawn(seed: u64) -> Vec<Act> {
    let mut draw = Draw(StdRng::seed_from_u64(seed));
    let theme = match draw.below(8) {
        0..4 => Theme::Anything,
        4 => Theme::Rollback,
        5 => Theme::CachedRollback,
        _ => Theme::Deaths,
    };
    // Edges have to be seen once before they change.
    let mut acts = vec![Act::Chats(0), Act::Chats(1)];
    let before = acts.len();
    let count = 5 + draw.below(8);
    for _ in 0..count {
        let act = draw.act(theme);
        // Who dies mostly had something to tell.
        if let Act::Dies { who, .. } = act
            && !draw.one_in(3)
        {
            let change = draw.change();
            acts.push(Act::Changes(who, change, draw.push()));
        }
        acts.push(act);
        match act {
            // What was changed is mostly noticed, and mostly soon.
            Act::Changes(who, ..) if draw.one_in(2) => acts.push(Act::Chats(who)),
            // What goes wrong mostly meets somebody.
            Act::Fails { .. } if !draw.one_in(3) => {
                let (who, change) = (draw.who(), draw.change());
                acts.push(Act::Changes(who, change, draw.push()));
                acts.push(Act::Chats(who));
                acts.push(Act::Passes(Span::Grace));
            }
            _ => {}
        }
    }
    if matches!(theme, Theme::Rollback | Theme::CachedRollback) {
        draw.rolls_back(theme, &mut acts, before);
    }
    bring_up(seed, &mut acts, before);
    twist_in(seed, &mut acts, before);
    acts
}

pub(super) struct Draw(pub(super) StdRng);

impl Draw {
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0.random_range(0..end)
    }

    pub(super) fn one_in(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }

    fn who(&mut self) -> usize {
        self.below(PEOPLE + 1)
    }

    pub(super) fn push(&mut self) -> Push {
        match self.below(6) {
            0 | 1 => Push::Plain,
            2 => Push::Dated,
            _ => Push::No,
        }
    }

    /// A copy, things that happen and are told, the copy again, and somebody who writes then.
    fn rolls_back(&mut self, theme: Theme, acts: &mut Vec<Act>, before: usize) {
        let restored = before + 2 + self.below(acts.len() - before - 1);
        let (who, push) = (self.below(PEOPLE), self.push());
        let change = self.change();
        let mut after = vec![
            Act::Changes(who, change, push),
            Act::Chats(who),
            Act::Passes(Span::Grace),
            Act::Restores {
                in_place: !self.one_in(3),
            },
            Act::Chats(who),
        ];
        if self.one_in(2) {
            after.push(Act::Passes(Span::Grace));
        }
        if self.one_in(2) {
            after.push(Act::Arms);
            after.push(Act::Chats(who));
        }
        acts.splice(restored..restored, after);
        let copied = before + self.below(restored - before);
        let raw = !self.one_in(3);
        acts.insert(copied, Act::Copies { raw });
        if theme == Theme::CachedRollback {
            let lists = Act::Lists {
                cached: true,
                capped: false,
            };
            acts.insert(copied, lists);
            // Somebody's list is read, and kept.
            acts.insert(copied + 1, Act::Reads);
        }
    }

    fn act(&mut self, theme: Theme) -> Act {
        let who = self.who();
        if theme == Theme::Deaths && self.one_in(4) {
            return self.death(who);
        }
        match self.below(100) {
            0..6 => Act::SignsUp(self.push()),
            6..32 => {
                let change = self.change();
                Act::Changes(who, change, self.push())
            }
            32..42 => Act::Chats(who),
            42..46 => Act::Forges {
                who,
                text: self.below(4),
                dated: self.one_in(2),
            },
            46..49 => Act::Fills(who),
            49..66 => Act::Fails {
                route: self.route(),
                how: self.failure(),
                times: 1 + u32::from(self.one_in(3)),
            },
            66..70 => Act::Lists {
                cached: self.one_in(2),
                capped: self.one_in(2),
            },
            70..72 => Act::Flushes,
            72..82 => Act::Passes(self.span()),
            82..90 => self.death(who),
            90..92 => Act::Copies {
                raw: self.one_in(2),
            },
            92..94 => Act::Restores {
                in_place: self.one_in(2),
            },
            94 => Act::Arms,
            95 => Act::StartsTwice,
            _ => Act::Commands(who),
        }
    }

    pub(super) fn death(&mut self, who: usize) -> Act {
        Act::Dies {
            who,
            at: Point {
                calls: 1 + self.below(7),
                in_flight: self.one_in(2),
                applied: self.one_in(2),
                turns: u32::try_from(self.below(60)).expect("few"),
                when_due: !self.one_in(3),
            },
        }
    }

    pub(super) fn change(&mut self) -> Change {
        match self.below(20) {
            0..7 => Change::Plan,
            7 => Change::PlanBack,
            8..12 => Change::Cancels,
            12..16 => Change::ComesBack,
            16..18 => Change::Corrects,
            _ => Change::Moves,
        }
    }

    fn route(&mut self) -> Route {
        match self.below(8) {
            0..5 => Route::Add,
            5 => Route::List,
            6 => Route::Contact,
            _ => Route::Any,
        }
    }

    pub(super) fn failure(&mut self) -> Failure {
        match self.below(25) {
            0..4 => Failure::DroppedBefore,
            4..8 => Failure::DroppedAfter,
            8..10 => Failure::Fails,
            10..14 => Failure::FailsApplied,
            14..16 => Failure::PageApplied,
            16..20 => Failure::Late,
            20..22 => Failure::Throttled,
            22..24 => Failure::Half,
            _ => Failure::Slow,
        }
    }

    fn span(&mut self) -> Span {
        match self.below(5) {
            0 => Span::Moment,
            1 | 2 => Span::Grace,
            3 => Span::Quiet,
            _ => Span::Long,
        }
    }
}
