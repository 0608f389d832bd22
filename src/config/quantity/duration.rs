//! Lengths of time.

use std::{fmt, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Text;

/// A length of time above zero: `"500ms"`, `"10s"`, `"15m"`, `"1h 30m"`, `"3d"`, `"2w"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval(Duration);

/// A length of time that may be nothing: `"0s"` and all that [`Interval`] takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wait(Duration);

const UNITS: &[(&str, u64)] = &[
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("min", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
    ("w", 604_800_000),
];

/// Milliseconds of one or more numbers, each with its unit.
fn parse_milliseconds(text: &str) -> Option<u64> {
    let mut rest = text.trim();
    let mut total: u64 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit())?;
        let (number, after) = rest.split_at(digits);
        let after = after.trim_start();
        let unit_end = after
            .find(|character: char| !character.is_ascii_alphabetic())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*scale)?)?;
        rest = after.trim_start();
    }
    // The ledger keeps instants as signed milliseconds.
    (total <= i64::MAX.unsigned_abs() / 2).then_some(total)
}

/// The largest unit that divides it: what a person would have written.
fn write_duration(duration: Duration, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    for (unit, scale) in [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
    ] {
        // "24h" and "60s" say more than "1d" and "1m".
        let single = matches!(unit, "d" | "m") && milliseconds < 2 * scale;
        if milliseconds > 0 && milliseconds.is_multiple_of(scale) && !single {
            return write!(formatter, "{}{unit}", milliseconds / scale);
        }
    }
    match milliseconds {
        0 => formatter.write_str("0s"),
        milliseconds => write!(formatter, "{milliseconds}ms"),
    }
}

const DURATION: &str = "it takes a duration such as `500ms`, `10s`, `15m`, `1h 30m` or `3d`";

impl Interval {
    /// So many seconds; `seconds` is a literal above zero.
    pub(in super::super) const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// So many days of 24 hours; `days` is a literal above zero.
    pub(in super::super) const fn days(days: u64) -> Self {
        Self(Duration::from_secs(days * 86_400))
    }

    /// The duration.
    pub const fn get(self) -> Duration {
        self.0
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        match parse_milliseconds(text) {
            Some(0) => Err("it takes a duration above zero"),
            Some(milliseconds) => Ok(Self(Duration::from_millis(milliseconds))),
            None => Err(DURATION),
        }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_duration(self.0, formatter)
    }
}

impl Wait {
    /// So many seconds.
    pub(in super::super) const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// The duration.
    pub const fn get(self) -> Duration {
        self.0
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        parse_milliseconds(text)
            .map(|milliseconds| Self(Duration::from_millis(milliseconds)))
            .ok_or(DURATION)
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_duration(self.0, formatter)
    }
}

text!(
    Interval,
    "duration",
    "a duration in quotes, such as \"10s\", \"15m\" or \"3d\"",
    None,
    Interval::parse
);
text!(
    Wait,
    "duration",
    "a duration in quotes, such as \"10s\", \"15m\" or \"3d\"",
    None,
    Wait::parse
);
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_as_people_do() {
        for (text, milliseconds, shown) in [
            ("500ms", 500, "500ms"),
            ("10s", 10_000, "10s"),
            ("15 m", 900_000, "15m"),
            ("1h 30m", 5_400_000, "90m"),
            ("24h", 86_400_000, "24h"),
            ("3d", 259_200_000, "3d"),
            ("2w", 1_209_600_000, "14d"),
        ] {
            let interval = Interval::parse(text).expect(text);
            assert_eq!(
                interval.get(),
                Duration::from_millis(milliseconds),
                "{text}"
            );
            assert_eq!(interval.to_string(), shown);
        }
        for text in [
            "",
            "10",
            "s",
            "10 parsecs",
            "-3s",
            "3.5h",
            "99999999999999w",
        ] {
            assert_eq!(Interval::parse(text), Err(DURATION), "{text}");
        }
    }

    #[test]
    fn only_a_wait_may_be_nothing() {
        assert_eq!(Wait::parse("0s").expect("a wait").to_string(), "0s");
        assert!(Interval::parse("0s").is_err());
    }
}
