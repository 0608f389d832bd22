//! What became of a request that ended without an answer.
//!
//! Crisp gives an event no id and no idempotency key, so only its timeline can tell. An entry that is there proves that
//! the event was sent. One that is missing counts only in a list that was not cached, that reaches back past the attempt,
//! and that was read when no request could still be under way; and then it has to be missing twice. Whatever cannot be
//! proven within [`PATIENCE`] is [`Ambiguity::Unsure`], and is never sent again by itself.

use jiff::{SignedDuration, Timestamp};

use super::{
    Gap, Known,
    period::{earlier, later},
};

/// How long after the attempt a proof is still looked for.
pub const PATIENCE: SignedDuration = SignedDuration::from_hours(24);
/// The most that is waited between the two reads that prove absence, and before a cached read is tried again.
const LONGEST_BETWEEN_READS: SignedDuration = SignedDuration::from_mins(5);
/// The most between two cached reads of a row that was not attempted.
const LONGEST_BETWEEN_CACHED_READS: SignedDuration = SignedDuration::from_hours(1);
/// The least: however sure somebody is that Crisp is quick, it is not asked without a pause.
const SHORTEST_BETWEEN_READS: SignedDuration = SignedDuration::from_secs(1);

/// How long is waited between the two reads that prove absence, and before a cached read is tried again: a third of the time
/// in which Crisp may still apply a request, so five minutes by default, and never more.
pub fn between_reads(quiet: SignedDuration) -> SignedDuration {
    (quiet / 3).clamp(SHORTEST_BETWEEN_READS, LONGEST_BETWEEN_READS)
}

/// How long is waited before a list is asked for again that a cache answered for a row which is due since `due_at`. A
/// quarter of the time that it is late already, where that is longer: a cache that never lets go costs few calls.
pub fn between_cached_reads(
    quiet: SignedDuration,
    due_at: Timestamp,
    now: Timestamp,
) -> SignedDuration {
    let late = now.duration_since(due_at);
    between_reads(quiet).max((late / 4).min(LONGEST_BETWEEN_CACHED_READS))
}

/// One read of a contact's timeline after the attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// When the read began.
    pub at: Timestamp,
    /// Whether Crisp answered from a cache.
    pub cached: bool,
    /// Whether an entry carries the occurrence's `ref`.
    pub found: bool,
    /// Whether the list reaches back past the attempt (`reaches_back_past`).
    pub reaches_back: bool,
}

/// What a read says about the attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ambiguity {
    /// Crisp has the event.
    Sent,
    /// Nothing is proven yet. The counts go into the row.
    ReadAgain {
        /// When to read again.
        at: Timestamp,
        /// How many reads counted as absence.
        absent_reads: u32,
        /// When the first of them was made.
        first_absent_at: Option<Timestamp>,
    },
    /// Crisp does not have the event and will not get it from this attempt: `after_ambiguous` decides.
    Absent,
    /// Nobody will ever know.
    Unsure,
}

/// Judges the attempt of `known`, with a read if one was made. `gaps` are those of the ledger.
///
/// A row without an attempt was never on its way: it is absent.
pub fn settle_ambiguous(
    known: &Known,
    reading: Option<&Reading>,
    quiet: SignedDuration,
    gaps: &[Gap],
    now: Timestamp,
) -> Ambiguity {
    if reading.is_some_and(|reading| reading.found) {
        return Ambiguity::Sent;
    }
    let Some(attempted_at) = known.attempted_at else {
        return Ambiguity::Absent;
    };
    let quiet_from = quiet_from(attempted_at, quiet, gaps);
    let between = between_reads(quiet);
    let read_again = |at: Timestamp| Ambiguity::ReadAgain {
        at,
        absent_reads: known.absent_reads,
        first_absent_at: known.first_absent_at,
    };
    let counts = |reading: &&Reading| reading.at >= quiet_from && !reading.cached;
    let Some(reading) = reading.filter(counts) else {
        return if now < quiet_from {
            read_again(quiet_from)
        } else if earlier(now, PATIENCE) > quiet_from {
            Ambiguity::Unsure
        } else if reading.is_some() {
            read_again(later(now, between))
        } else {
            read_again(now)
        };
    };
    if !reading.reaches_back {
        // A timeline only grows at its newer end: a later read reaches back no further.
        return Ambiguity::Unsure;
    }
    // One that was made before a gap was noticed may have been too early, too.
    let first = known.first_absent_at.filter(|at| *at >= quiet_from);
    match first.filter(|_| known.absent_reads > 0) {
        None => Ambiguity::ReadAgain {
            at: later(reading.at, between),
            absent_reads: 1,
            first_absent_at: Some(reading.at),
        },
        Some(first) if reading.at < later(first, between) => read_again(later(first, between)),
        Some(_) => Ambiguity::Absent,
    }
}

/// From when on no request of the attempt is under way any more. A gap may be a clock that jumped: of the time that it
/// seems to have taken, none may have passed.
pub(super) fn quiet_from(
    attempted_at: Timestamp,
    quiet: SignedDuration,
    gaps: &[Gap],
) -> Timestamp {
    let (mut since, mut left) = (attempted_at, quiet);
    for gap in gaps.iter().filter(|gap| attempted_at <= gap.until) {
        let passed = gap.from.duration_since(since).max(SignedDuration::ZERO);
        left = (left - passed).max(SignedDuration::ZERO);
        since = since.max(gap.until);
    }
    later(since, left).max(later(attempted_at, quiet))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::OutboxState;

    const QUIET: SignedDuration = SignedDuration::from_mins(15);

    /// Minutes after the attempt.
    fn minute(minutes: i64) -> Timestamp {
        Timestamp::from_second(1_767_355_200 + minutes * 60).expect("an instant")
    }

    fn sending(absent: Option<i64>) -> Known {
        Known {
            key: "a//edge=1".to_owned(),
            event: "a".to_owned(),
            subject: String::new(),
            instant: Some(minute(-20)),
            state: OutboxState::Sending,
            reference: "5eed".to_owned(),
            due_at: minute(-10),
            attempted_at: Some(minute(0)),
            sent_at: None,
            absent_reads: u32::from(absent.is_some()),
            first_absent_at: absent.map(minute),
            updated_at: minute(0),
        }
    }

    fn read(at: i64) -> Reading {
        Reading {
            at: minute(at),
            cached: false,
            found: false,
            reaches_back: true,
        }
    }

    fn again(at: i64, absent: Option<i64>) -> Ambiguity {
        Ambiguity::ReadAgain {
            at: minute(at),
            absent_reads: u32::from(absent.is_some()),
            first_absent_at: absent.map(minute),
        }
    }

    fn cached(reading: Reading) -> Reading {
        Reading {
            cached: true,
            ..reading
        }
    }

    fn found(reading: Reading) -> Reading {
        Reading {
            found: true,
            ..reading
        }
    }

    fn cut(reading: Reading) -> Reading {
        Reading {
            reaches_back: false,
            ..reading
        }
    }

    #[test]
    fn presence_is_proof_and_absence_has_to_earn_it() {
        // (first absent read, this read, now, verdict); the attempt was at minute 0, quiet until minute 15.
        for (absent, reading, now, verdict) in [
            (None, Some(found(read(1))), 1, Ambiguity::Sent),
            (None, Some(found(cached(read(1)))), 1, Ambiguity::Sent),
            (Some(16), Some(found(cut(read(21)))), 21, Ambiguity::Sent),
            // Too early to count.
            (None, None, 1, again(15, None)),
            (None, Some(read(1)), 1, again(15, None)),
            (None, Some(read(14)), 14, again(15, None)),
            (None, None, 15, again(15, None)),
            // A read that began too early and ended late does not count either.
            (None, Some(read(14)), 16, again(21, None)),
            // The first that counts.
            (None, Some(read(15)), 15, again(20, Some(15))),
            // The second, too soon after it and then not.
            (Some(15), Some(read(19)), 19, again(20, Some(15))),
            (Some(15), Some(read(20)), 20, Ambiguity::Absent),
            // A cache proves nothing.
            (None, Some(cached(read(15))), 15, again(20, None)),
            (Some(15), Some(cached(read(20))), 20, again(25, Some(15))),
            // Crisp keeps only the newest entries.
            (None, Some(cut(read(15))), 15, Ambiguity::Unsure),
            (Some(15), Some(cut(read(20))), 20, Ambiguity::Unsure),
            // A cache for a day and a quarter of an hour.
            (None, Some(cached(read(1_455))), 1_455, again(1_460, None)),
            (None, Some(cached(read(1_456))), 1_456, Ambiguity::Unsure),
            (None, None, 1_456, Ambiguity::Unsure),
            (None, Some(read(1_456)), 1_456, again(1_461, Some(1_456))),
        ] {
            assert_eq!(
                settle_ambiguous(&sending(absent), reading.as_ref(), QUIET, &[], minute(now)),
                verdict,
                "{absent:?} {reading:?} at {now}"
            );
        }
    }

    #[test]
    fn a_quick_crisp_is_asked_again_sooner_and_a_slow_one_no_later() {
        let seconds = |quiet: i64| between_reads(SignedDuration::from_secs(quiet)).as_secs();
        for (quiet, between) in [(0, 1), (2, 1), (60, 20), (900, 300), (7_200, 300)] {
            assert_eq!(seconds(quiet), between, "{quiet}");
        }
    }

    #[test]
    fn the_longer_a_cache_keeps_a_row_the_seldomer_it_is_asked() {
        for (late, wait) in [(-5, 5), (0, 5), (20, 5), (40, 10), (240, 60), (4_000, 60)] {
            assert_eq!(
                between_cached_reads(QUIET, minute(0), minute(late)),
                SignedDuration::from_mins(wait),
                "{late}"
            );
        }
    }

    #[test]
    fn what_never_left_is_absent() {
        let mut known = sending(None);
        known.attempted_at = None;
        assert_eq!(
            settle_ambiguous(&known, None, QUIET, &[], minute(0)),
            Ambiguity::Absent
        );
    }

    /// The clock jumped an hour ahead, four minutes after the attempt.
    #[test]
    fn a_clock_that_jumped_does_not_make_it_quiet() {
        let gap = Gap {
            from: minute(4),
            until: minute(64),
        };
        for (absent, at, verdict) in [
            (None, 64, again(75, None)),
            (None, 74, again(75, None)),
            (None, 75, again(80, Some(75))),
            // Read after the jump, and before anybody noticed it.
            (Some(62), 75, again(80, Some(75))),
            (Some(75), 80, Ambiguity::Absent),
        ] {
            let (known, reading) = (sending(absent), read(at));
            assert_eq!(
                settle_ambiguous(&known, Some(&reading), QUIET, &[gap], minute(at)),
                verdict,
                "{absent:?} at {at}"
            );
        }
        // It jumped once more: seven of the fifteen minutes have passed for sure.
        let again_from = Gap {
            from: minute(67),
            until: minute(90),
        };
        let gaps = [gap, again_from];
        let (known, reading) = (sending(None), read(97));
        assert_eq!(
            settle_ambiguous(&known, Some(&reading), QUIET, &gaps, minute(97)),
            again(98, None)
        );
        // An attempt after it has nothing to do with it.
        let later = Known {
            attempted_at: Some(minute(70)),
            ..sending(None)
        };
        let reading = read(85);
        assert_eq!(
            settle_ambiguous(&later, Some(&reading), QUIET, &[gap], minute(85)),
            again(90, Some(85))
        );
    }
}
