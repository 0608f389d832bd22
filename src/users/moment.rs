//! Moments: from what a database prints to an instant.
//!
//! A column without a zone means the wall clock of `users.timezone`. A local time that a change of clocks skipped or
//! repeated is read the way most databases do: shifted forward out of the gap, and the earlier of the two. Sentinels that
//! mean "never" (`infinity`, `9999-12-31`) go to the ends of the range instead of failing a person's look-up.

use jiff::{
    Timestamp,
    civil::{Date, DateTime},
    tz::TimeZone,
};

/// The wall clock of the app's database.
#[derive(Debug, Clone)]
pub(super) struct WallClock {
    zone: TimeZone,
}

impl WallClock {
    pub(super) fn new(zone: TimeZone) -> Self {
        Self { zone }
    }

    /// The instant of a local time.
    pub(super) fn instant(&self, local: DateTime) -> Timestamp {
        self.zone.to_timestamp(local).unwrap_or_else(|_| {
            // Only the last day of the range has no instant.
            if local.year() > 0 {
                Timestamp::MAX
            } else {
                Timestamp::MIN
            }
        })
    }

    /// The local time of an instant.
    pub(super) fn local(&self, instant: Timestamp) -> DateTime {
        self.zone.to_datetime(instant)
    }

    /// Reads a date with a time. An offset in the text wins over the zone of the database.
    pub(super) fn parse(&self, text: &str) -> Option<Timestamp> {
        let text = text.trim();
        if let Ok(instant) = text.parse() {
            return Some(instant);
        }
        if let Some(end) = never(text) {
            return Some(if end { Timestamp::MAX } else { Timestamp::MIN });
        }
        // An offset that takes the last day of the range over its edge ends here too; the offset no longer matters.
        let local = text.trim_end_matches(['Z', 'z']).parse().ok()?;
        Some(self.instant(local))
    }
}

/// Reads a day.
pub(super) fn parse_date(text: &str) -> Option<Date> {
    let text = text.trim();
    if let Some(end) = never(text) {
        return Some(if end { Date::MAX } else { Date::MIN });
    }
    text.parse().ok()
}

/// PostgreSQL's ends of time, and years of more than four digits: `true` for the far future.
fn never(text: &str) -> Option<bool> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    match text {
        "infinity" => Some(true),
        "-infinity" => Some(false),
        _ if text.ends_with(" BC") => Some(false),
        _ if digits > 4 && text.as_bytes().get(digits) == Some(&b'-') => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(zone: &str, text: &str) -> Option<String> {
        let zone = TimeZone::get(zone).expect("a zone");
        WallClock::new(zone)
            .parse(text)
            .map(|instant| instant.to_string())
    }

    #[test]
    fn a_local_time_takes_the_zone_and_an_offset_wins() {
        for (zone, text, instant) in [
            ("UTC", "2026-03-01 10:00:00", "2026-03-01T10:00:00Z"),
            (
                "Europe/Berlin",
                "2026-03-01 10:00:00",
                "2026-03-01T09:00:00Z",
            ),
            (
                "Europe/Berlin",
                "2026-07-01T10:00:00.25",
                "2026-07-01T08:00:00.25Z",
            ),
            (
                "Europe/Berlin",
                "2026-03-01T10:00:00+00:00",
                "2026-03-01T10:00:00Z",
            ),
            (
                "Europe/Berlin",
                "2026-03-01 10:00:00Z",
                "2026-03-01T10:00:00Z",
            ),
            ("UTC", "2026-03-01 10:00:00+05:30", "2026-03-01T04:30:00Z"),
        ] {
            assert_eq!(
                parsed(zone, text).as_deref(),
                Some(instant),
                "{zone} {text}"
            );
        }
    }

    #[test]
    fn gaps_and_repeats_of_a_clock_change_have_one_answer() {
        // 02:30 does not exist on that night, and occurs twice on the other.
        for (text, instant) in [
            ("2026-03-29 02:30:00", "2026-03-29T01:30:00Z"),
            ("2026-10-25 02:30:00", "2026-10-25T00:30:00Z"),
        ] {
            assert_eq!(parsed("Europe/Berlin", text).as_deref(), Some(instant));
        }
    }

    #[test]
    fn never_is_the_end_of_the_range() {
        let end = Timestamp::MAX.to_string();
        for text in [
            "infinity",
            "9999-12-31 23:59:59",
            "9999-12-31T23:59:59+00:00",
            "9999-12-31T23:59:59Z",
            "20000-01-01T00:00:00+00:00",
        ] {
            assert_eq!(parsed("UTC", text), Some(end.clone()), "{text}");
        }
        assert_eq!(parsed("UTC", "-infinity"), Some(Timestamp::MIN.to_string()));
        assert_eq!(parse_date("infinity"), Some(Date::MAX));
        assert_eq!(parsed("UTC", "soon"), None);
    }
}
