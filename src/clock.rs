//! The one place that reads the clock.
//!
//! Everything below the edges takes `now` as an argument. The edges hold a [`Clock`], and a test holds the other kind.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Instant,
};

use jiff::Timestamp;

/// Where an edge gets `now` from.
#[derive(Debug, Clone)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// What a clock that several machines follow said last, and the time since, whatever becomes of the machine's own: a
    /// time server that puts that one right moves no lease.
    Following(Arc<Mutex<Followed>>),
    /// A clock that stands still until it is moved: milliseconds since the epoch.
    Manual(Arc<AtomicI64>),
}

/// A moment that is known, by two clocks: milliseconds since the epoch, and one that nobody sets.
#[derive(Debug, Clone, Copy)]
pub struct Followed {
    time: i64,
    at: Instant,
}

impl Followed {
    fn now(self) -> i64 {
        self.time.saturating_add(whole(self.at.elapsed()))
    }
}

impl Clock {
    /// A clock that stands at `now`.
    pub fn standing_at(now: Timestamp) -> Self {
        Self::Manual(Arc::new(AtomicI64::new(now.as_millisecond())))
    }

    /// The same clock, able to [follow](Clock::follow) another. One that is moved by hand stays as it is.
    #[must_use]
    pub fn able_to_follow(self) -> Self {
        match self {
            Self::System => Self::Following(Arc::new(Mutex::new(Followed {
                time: machine(),
                at: Instant::now(),
            }))),
            other => other,
        }
    }

    /// Corrects the clock by what another one said between two moments of ours. Half of the time in between is not known,
    /// and a small difference is not worth a step.
    pub fn follow(&self, theirs: Timestamp, asked: Timestamp, answered: Timestamp) {
        const TOLERANCE: i64 = 100;
        let Self::Following(followed) = self else {
            return;
        };
        let (asked, answered) = (asked.as_millisecond(), answered.as_millisecond());
        let lacks = theirs.as_millisecond() - (asked + (answered - asked) / 2);
        if lacks.abs() > TOLERANCE.max((answered - asked) / 2) {
            let mut followed = followed.lock().unwrap_or_else(PoisonError::into_inner);
            followed.time = followed.time.saturating_add(lacks);
        }
    }

    /// The time, in whole milliseconds: what the ledger keeps.
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => millis(machine()),
            Self::Following(followed) => {
                let followed = *followed.lock().unwrap_or_else(PoisonError::into_inner);
                millis(followed.now())
            }
            Self::Manual(time) => millis(time.load(Ordering::SeqCst)),
        }
    }

    /// Moves a manual clock. The machine's clock is not ours to move.
    pub fn advance(&self, by: std::time::Duration) {
        if let Self::Manual(time) = self {
            time.fetch_add(whole(by), Ordering::SeqCst);
        }
    }

    /// Moves a manual clock back, as when a wrong clock is put right.
    pub fn set_back(&self, by: std::time::Duration) {
        if let Self::Manual(time) = self {
            time.fetch_sub(whole(by), Ordering::SeqCst);
        }
    }
}

fn whole(time: std::time::Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[expect(clippy::disallowed_methods, reason = "this is the one place")]
fn machine() -> i64 {
    Timestamp::now().as_millisecond()
}

/// The moment that many milliseconds after the epoch; what is out of range is taken to the nearest end.
pub fn millis(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(milliseconds).unwrap_or(if milliseconds < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_clock_follows_another_and_leaves_a_small_difference() {
        let clock = Clock::System.able_to_follow();
        let now = clock.now();
        let later = |by: i64| millis(now.as_millisecond() + by);
        clock.follow(later(50), now, now);
        assert!(clock.now() < later(40), "a hair is no reason for a step");
        clock.follow(later(3_600_000), now, now);
        assert!(clock.now() >= later(3_600_000));
        clock.follow(later(3_600_500), later(3_600_000), later(3_601_000));
        assert!(clock.now() < later(3_600_000 + 3_000), "asked for a second");

        let Clock::Following(followed) = &clock else {
            panic!("it follows")
        };
        // An hour by the clock that nobody sets is an hour, whatever the machine's says.
        let before = clock.now();
        followed.lock().expect("nobody panicked").at -= Duration::from_hours(1);
        let passed = clock.now().duration_since(before).unsigned_abs();
        assert!(passed >= Duration::from_hours(1) && passed < Duration::from_mins(61));

        let standing = Clock::standing_at(now).able_to_follow();
        standing.follow(later(3_600_000), now, now);
        assert_eq!(standing.now(), now);
    }
}
