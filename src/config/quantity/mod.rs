//! Values that are written as text and mean more: durations, sizes, addresses.
//!
//! Each is read where it stands, so a bad one is a fault at its own place like a wrong type.

use std::{fmt, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use url::{Host, Url};

struct Text<T> {
    expecting: &'static str,
    number: Option<fn(u64) -> Option<T>>,
    parse: fn(&str) -> Result<T, &'static str>,
}

impl<T> de::Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.expecting)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        self.number
            .and_then(|read| read(u64::try_from(number).ok()?))
            .ok_or_else(|| E::invalid_type(de::Unexpected::Signed(number), &self))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).map_err(E::custom)
    }
}

macro_rules! text {
    ($type:ty, $name:literal, $expecting:literal, $number:expr, $parse:expr) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Text {
                    expecting: $expecting,
                    number: $number,
                    parse: $parse,
                })
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "format": $name })
            }
        }
    };
}

mod duration;

pub use duration::{Interval, Wait};

/// A number of bytes: `"1MiB"`, `"512KiB"`, or a whole number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub usize);

/// An `http` or `https` URL without a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebAddress(pub Url);

/// A share in percent, 0 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Percent(pub u8);

/// A time of the day: `"08:30"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeOfDay {
    minutes: u16,
}

impl TimeOfDay {
    /// The beginning of the day.
    pub const MIDNIGHT: Self = Self { minutes: 0 };

    /// Reads hours and minutes.
    pub fn parse(text: &str) -> Option<Self> {
        let (hours, minutes) = text.trim().split_once(':')?;
        let number = |text: &str, end: u16| {
            let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u16>()
                .ok()
                .filter(|number| digits && *number < end)
        };
        Some(Self {
            minutes: number(hours, 24)? * 60 + number(minutes, 60)?,
        })
    }

    /// How long after midnight it is.
    pub fn since_midnight(self) -> Duration {
        Duration::from_secs(u64::from(self.minutes) * 60)
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{:02}:{:02}",
            self.minutes / 60,
            self.minutes % 60
        )
    }
}

impl Size {
    /// Reads a whole number and a unit of bytes.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let digits = text
            .find(|character: char| !character.is_ascii_digit())
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let scale: usize = match unit.trim() {
            "" | "B" => 1,
            "kB" | "KB" => 1_000,
            "KiB" => 1 << 10,
            "MB" => 1_000_000,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return None,
        };
        number.parse::<usize>().ok()?.checked_mul(scale).map(Self)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, shift) in [("GiB", 30_u32), ("MiB", 20), ("KiB", 10)] {
            if self.0 > 0 && self.0.trailing_zeros() >= shift {
                return write!(formatter, "{}{unit}", self.0 >> shift);
            }
        }
        write!(formatter, "{}B", self.0)
    }
}

impl WebAddress {
    /// Reads a URL; says what it takes otherwise.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let Ok(url) = Url::parse(text.trim()) else {
            return Err("it takes a URL such as `https://host/path`");
        };
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err("it takes an `http` or `https` URL with a host");
        }
        if url.password().is_some() {
            return Err("a password never stands in the file; set it in the environment");
        }
        Ok(Self(url))
    }

    /// Whether it leads to this machine.
    pub fn is_local(&self) -> bool {
        match self.0.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
    }
}

text!(
    Size,
    "size",
    "a size in quotes, such as \"1MiB\"",
    Some(|bytes| usize::try_from(bytes).ok().map(Size)),
    |text| Size::parse(text).ok_or("it takes a size such as `512KiB` or `1MiB`")
);
text!(
    TimeOfDay,
    "time-of-day",
    "a time of the day in quotes, such as \"08:30\"",
    None,
    |text| TimeOfDay::parse(text).ok_or("it takes a time of the day such as `08:30`")
);
text!(
    WebAddress,
    "uri",
    "a URL in quotes",
    None,
    WebAddress::parse
);

impl fmt::Display for WebAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Text {
            expecting: "a whole number from 0 to 100",
            number: Some(|number| {
                u8::try_from(number)
                    .ok()
                    .filter(|share| *share <= 100)
                    .map(Percent)
            }),
            parse: |_| Err("it takes a whole number from 0 to 100, without quotes"),
        })
    }
}

impl JsonSchema for Percent {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "percent".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 0, "maximum": 100 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written_as_people_do() {
        for (text, bytes, shown) in [
            ("1MiB", 1 << 20, "1MiB"),
            ("512 KiB", 1 << 19, "512KiB"),
            ("7", 7, "7B"),
        ] {
            assert_eq!(Size::parse(text), Some(Size(bytes)), "{text}");
            assert_eq!(Size(bytes).to_string(), shown);
        }
        for text in ["", "1 mile", "MiB"] {
            assert_eq!(Size::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_time_of_the_day_is_written_as_on_a_clock() {
        for (text, minutes) in [("00:00", 0), ("08:30", 510), ("23:59", 1_439)] {
            let time = TimeOfDay::parse(text).expect(text);
            assert_eq!(time.since_midnight(), Duration::from_secs(minutes * 60));
            assert_eq!(time.to_string(), text);
        }
        for text in ["", "8:30", "24:00", "08:60", "08", "+1:00", "08:30:00"] {
            assert_eq!(TimeOfDay::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_address_is_of_the_web_and_holds_no_password() {
        assert!(WebAddress::parse("https://api.crisp.chat/v1/").is_ok());
        for text in [
            "api.crisp.chat",
            "ftp://host/",
            "https://u:p@host/",
            "mailto:a@b",
        ] {
            assert!(WebAddress::parse(text).is_err(), "{text}");
        }
    }
}
