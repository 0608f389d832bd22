//! Instants as an operator types them: `2d` for two days ago, `2026-03-01`, `2026-03-01T09:00:00Z`.

use jiff::{Span, SpanRelativeTo, Timestamp, civil, tz::TimeZone};

use crate::clock::Clock;

/// Reads one for clap; what is wrong with it is wrong usage.
pub(super) fn parse(text: &str) -> Result<Timestamp, String> {
    read(text.trim(), Clock::System.now())
}

fn read(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(instant);
    }
    if let Ok(date) = text.parse::<civil::Date>() {
        return TimeZone::UTC
            .to_timestamp(date.at(0, 0, 0, 0))
            .map_err(|error| error.to_string());
    }
    let ago = text
        .parse::<Span>()
        .ok()
        .and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok())
        .filter(|ago| !ago.is_negative())
        .and_then(|ago| now.checked_sub(ago).ok());
    ago.ok_or_else(|| "write `2d` for two days ago, a day like `2026-03-01`, or an instant like `2026-03-01T09:00:00Z`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_a_day_or_a_length_of_time() {
        let now: Timestamp = "2026-03-02T09:00:00Z".parse().expect("an instant");
        for (text, instant) in [
            ("2d", "2026-02-28T09:00:00Z"),
            ("90m", "2026-03-02T07:30:00Z"),
            ("2026-03-01", "2026-03-01T00:00:00Z"),
            ("2026-03-01T09:00:00+01:00", "2026-03-01T08:00:00Z"),
        ] {
            assert_eq!(
                read(text, now),
                Ok(instant.parse().expect("an instant")),
                "{text}"
            );
        }
        for text in ["", "yesterday", "2", "-2d", "1 month", "2026-13-01"] {
            assert!(read(text, now).is_err(), "{text}");
        }
    }
}
