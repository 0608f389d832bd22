//! How often lines of one kind are written: junk costs its sender nothing, so it must not fill our disk.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;

/// So many lines of one kind are written in a window; the rest of them are counted.
const LINES: u64 = 10;
/// That window.
const WINDOW: Duration = Duration::from_mins(1);

/// Counts the lines of each kind.
#[derive(Debug, Default)]
pub(super) struct Throttle(Mutex<BTreeMap<&'static str, Window>>);

#[derive(Debug)]
struct Window {
    began: Timestamp,
    seen: u64,
}

/// What may be written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// The line; and before it, how many were left out in a window that is over.
    Write {
        /// Lines left out.
        left_out: u64,
    },
    /// Nothing.
    LeaveOut,
}

impl Throttle {
    /// Whether a line of that kind may be written now.
    pub(super) fn line(&self, kind: &'static str, now: Timestamp) -> Line {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = Window {
            began: now,
            seen: 0,
        };
        let window = windows.entry(kind).or_insert(fresh);
        let mut left_out = 0;
        if now.duration_since(window.began).unsigned_abs() >= WINDOW {
            left_out = window.left_out();
            *window = Window {
                began: now,
                seen: 0,
            };
        }
        window.seen += 1;
        if window.seen <= LINES {
            Line::Write { left_out }
        } else {
            Line::LeaveOut
        }
    }
}

impl Window {
    fn left_out(&self) -> u64 {
        self.seen.saturating_sub(LINES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_lines_of_a_minute_are_written_and_the_rest_counted() {
        let throttle = Throttle::default();
        let at = |second| Timestamp::from_second(second).expect("a moment");
        for _ in 0..LINES {
            assert_eq!(throttle.line("refused", at(0)), Line::Write { left_out: 0 });
        }
        for second in 0..30 {
            assert_eq!(throttle.line("refused", at(second)), Line::LeaveOut);
        }
        assert_eq!(
            throttle.line("malformed", at(30)),
            Line::Write { left_out: 0 },
            "another kind"
        );
        assert_eq!(
            throttle.line("refused", at(60)),
            Line::Write { left_out: 30 }
        );
        for _ in 1..LINES {
            throttle.line("refused", at(61));
        }
        assert_eq!(throttle.line("refused", at(61)), Line::LeaveOut);
    }
}
