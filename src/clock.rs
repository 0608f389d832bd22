//! The one place that reads the clock.
//!
//! Everything below the edges takes `now` as an argument. The edges hold a [`Clock`], and a test holds the other kind.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use jiff::Timestamp;

/// Where an edge gets `now` from.
#[derive(Debug, Clone)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// A clock that stands still until it is moved: milliseconds since the epoch.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands at `now`.
    pub fn standing_at(now: Timestamp) -> Self {
        Self::Manual(Arc::new(AtomicI64::new(now.as_millisecond())))
    }

    /// The time, in whole milliseconds: what the ledger keeps.
    pub fn now(&self) -> Timestamp {
        match self {
            #[expect(clippy::disallowed_methods, reason = "this is the one place")]
            Self::System => millis(Timestamp::now().as_millisecond()),
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

/// The moment that many milliseconds after the epoch; what is out of range is taken to the nearest end.
pub fn millis(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(milliseconds).unwrap_or(if milliseconds < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}
