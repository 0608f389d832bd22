//! Tools for moments and days. A day is a day in UTC.

use jiff::Timestamp;

use super::{Datum, Outcome, Surroundings, null_or};
use crate::{expression::number, record::Value};

const SECONDS_A_DAY: i64 = 86_400;

/// Whole days that are left, a begun one counted whole: 0 on the day it ends, negative afterwards. Dates count calendar days.
pub(super) fn days_until(arguments: &[Datum], around: &Surroundings<'_>) -> Outcome {
    days(&arguments[0], around.now)
}

/// Whole days that have passed: `-days_until`.
pub(super) fn days_since(arguments: &[Datum], around: &Surroundings<'_>) -> Outcome {
    Ok(match days(&arguments[0], around.now)? {
        Datum::Value(Value::Int(days)) => Value::Int(-days).into(),
        other => other,
    })
}

fn days(datum: &Datum, now: Timestamp) -> Outcome {
    null_or(datum, |value| {
        if let Value::Date(date) = value {
            let today = number::day(&Value::Instant(now)).ok_or("has no day")?;
            let days = (*date - today).get_days();
            return Ok(Value::Int(i64::from(days)).into());
        }
        let instant = number::instant(value).ok_or("takes a moment or a date")?;
        let seconds = instant.as_second() - now.as_second();
        Ok(Value::Int(-(-seconds).div_euclid(SECONDS_A_DAY)).into())
    })
}

pub(super) fn date(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    null_or(&arguments[0], |value| {
        let Some(format) = arguments.get(1) else {
            return number::day(value)
                .map(|day| Value::Text(day.to_string()).into())
                .ok_or("takes a moment or a date");
        };
        let instant = number::instant(value).ok_or("takes a moment or a date")?;
        jiff::fmt::strtime::format(
            format.text().as_str(),
            &instant.to_zoned(jiff::tz::TimeZone::UTC),
        )
        .map(|text| Value::Text(text).into())
        .or(Err("does not know this format"))
    })
}

/// The day of a moment in UTC: a value that changes once a day, not with every click.
pub(super) fn round_day(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    null_or(&arguments[0], |value| {
        number::day(value)
            .map(|day| Value::Date(day).into())
            .ok_or("takes a moment or a date")
    })
}
