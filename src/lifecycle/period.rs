//! Lengths of time as an operator writes them: `"10m"`, `"3d"`, `"24h"`, `"1h 30m"`.
//!
//! A day is 24 hours and a week seven of them: the rules speak of UTC instants, where no day is longer than another.
//! Months and years have no fixed length and are refused.

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};

/// The longest length a setting takes. Beyond it somebody slipped a unit.
const LONGEST: SignedDuration = SignedDuration::from_hours(24 * 366 * 10);

/// Reads a length of time; the error says what is wrong with it, in a sentence for the operator.
pub(super) fn parse(text: &str) -> Result<SignedDuration, String> {
    let span: Span = (text.trim().parse())
        .map_err(|_grammar: jiff::Error| format!("`{}` is not a length of time", text.trim()))?;
    let period = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_unit| format!("`{}` has no fixed length", text.trim()))?;
    if period.is_negative() {
        return Err(format!("`{}` is negative", text.trim()));
    }
    if period > LONGEST {
        return Err(format!("`{}` is longer than ten years", text.trim()));
    }
    Ok(period)
}

/// The moment `period` after `instant`, or the end of time.
pub(super) fn later(instant: Timestamp, period: SignedDuration) -> Timestamp {
    instant.checked_add(period).unwrap_or(Timestamp::MAX)
}

/// The moment `period` before `instant`, or the beginning of time.
pub(super) fn earlier(instant: Timestamp, period: SignedDuration) -> Timestamp {
    instant.checked_sub(period).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_as_people_write_them() {
        for (text, seconds) in [
            ("0s", 0),
            ("10m", 600),
            ("24h", 86_400),
            ("3d", 259_200),
            ("1w", 604_800),
            ("1h 30m", 5_400),
            (" 15 minutes ", 900),
            ("PT10M", 600),
        ] {
            assert_eq!(
                parse(text),
                Ok(SignedDuration::from_secs(seconds)),
                "{text:?}"
            );
        }
    }

    #[test]
    fn what_has_no_fixed_length_is_refused() {
        for text in ["", "10", "m", "-3d", "3d ago", "1 month", "2y", "20000d"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_ends_of_time_hold() {
        let day = SignedDuration::from_hours(24);
        assert_eq!(later(Timestamp::MAX, day), Timestamp::MAX);
        assert_eq!(earlier(Timestamp::MIN, day), Timestamp::MIN);
    }
}
