//! The tools of the language: what a definition can do with a value.
//!
//! Each takes NULL and gives NULL, unless its line says otherwise, so that an absent column stays absent.

use jiff::Timestamp;
use rust_decimal::{Decimal, RoundingStrategy};

use super::{
    Maps,
    evaluate::{self, Datum},
    limits, markdown, number,
    scope::{self, from_json},
};
use crate::record::Value;

/// What a tool sees besides its arguments.
pub(super) struct Surroundings<'a> {
    pub(super) now: Timestamp,
    pub(super) maps: &'a Maps,
}

type Outcome = Result<Datum, &'static str>;

/// One tool.
pub(super) struct Tool {
    pub(super) name: &'static str,
    /// How it is written, for a fault.
    pub(super) usage: &'static str,
    /// The least and the most arguments it takes.
    pub(super) least: usize,
    pub(super) most: usize,
    pub(super) run: fn(&[Datum], &Surroundings<'_>) -> Outcome,
}

impl std::fmt::Debug for Tool {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name)
    }
}

macro_rules! tool {
    ($name:ident, $least:literal..=$most:literal, $usage:literal) => {
        Tool {
            name: stringify!($name),
            usage: $usage,
            least: $least,
            most: $most,
            run: $name,
        }
    };
}

static TOOLS: [Tool; 27] = [
    tool!(days_until, 1..=1, "`days_until(moment)`"),
    tool!(days_since, 1..=1, "`days_since(moment)`"),
    tool!(date, 1..=2, "`date(moment)` or `date(moment, '%d %b %Y')`"),
    tool!(round_day, 1..=1, "`round_day(moment)`"),
    tool!(money, 1..=2, "`amount | money('EUR')`"),
    tool!(round, 1..=2, "`round(number)` or `round(number, 2)`"),
    tool!(abs, 1..=1, "`abs(number)`"),
    tool!(number, 1..=1, "`number(text)`"),
    tool!(text, 1..=1, "`text(value)`"),
    tool!(
        yes_no,
        1..=3,
        "`yes_no(value)` or `yes_no(value, 'yes', 'no')`"
    ),
    tool!(default, 2..=2, "`value | default('other')`"),
    tool!(
        map,
        2..=3,
        "`value | map('name')` or `value | map('name', 'other')`"
    ),
    tool!(slug, 1..=1, "`slug(text)`"),
    tool!(upper, 1..=1, "`upper(text)`"),
    tool!(lower, 1..=1, "`lower(text)`"),
    tool!(trim, 1..=1, "`trim(text)`"),
    tool!(replace, 3..=3, "`text | replace('from', 'to')`"),
    tool!(truncate, 2..=2, "`text | truncate(40)`"),
    tool!(length, 1..=1, "`length(value)`"),
    tool!(starts_with, 2..=2, "`starts_with(text, 'start')`"),
    tool!(ends_with, 2..=2, "`ends_with(text, 'end')`"),
    tool!(contains, 2..=2, "`contains(text, 'part')`"),
    tool!(join, 1..=2, "`list | join(', ')`"),
    tool!(pluck, 2..=2, "`accounts | pluck('plan')`"),
    tool!(first, 1..=1, "`first(list)`"),
    tool!(last, 1..=1, "`last(list)`"),
    tool!(link, 2..=2, "`link('label', url)`"),
];

pub(super) fn find(name: &str) -> Option<&'static Tool> {
    TOOLS.iter().find(|tool| tool.name == name)
}

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    TOOLS.iter().map(|tool| tool.name)
}

const NULL: Outcome = Ok(Datum::Value(Value::Null));
const SECONDS_A_DAY: i64 = 86_400;

fn null_or(datum: &Datum, run: impl FnOnce(&Value) -> Outcome) -> Outcome {
    match datum {
        Datum::Value(Value::Null) => NULL,
        Datum::Value(Value::Text(blank)) if blank.is_empty() => NULL,
        Datum::Value(value) => run(value),
        Datum::Markup(text) => run(&Value::Text(text.clone())),
        Datum::List(_) => Err("takes one value, not a list"),
    }
}

fn null_or_text(datum: &Datum, run: impl FnOnce(&str) -> String) -> Outcome {
    null_or(datum, |value| {
        Ok(Value::Text(run(&scope::text(value))).into())
    })
}

fn wanted_text(datum: &Datum) -> String {
    datum.text()
}

/// Whole days that are left, a begun one counted whole: 0 on the day it ends, negative afterwards. Dates count calendar days.
fn days_until(arguments: &[Datum], around: &Surroundings<'_>) -> Outcome {
    days(&arguments[0], around.now)
}

/// Whole days that have passed: `-days_until`.
fn days_since(arguments: &[Datum], around: &Surroundings<'_>) -> Outcome {
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

fn date(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    null_or(&arguments[0], |value| {
        let Some(format) = arguments.get(1) else {
            return number::day(value)
                .map(|day| Value::Text(day.to_string()).into())
                .ok_or("takes a moment or a date");
        };
        let instant = number::instant(value).ok_or("takes a moment or a date")?;
        jiff::fmt::strtime::format(
            wanted_text(format).as_str(),
            &instant.to_zoned(jiff::tz::TimeZone::UTC),
        )
        .map(|text| Value::Text(text).into())
        .or(Err("does not know this format"))
    })
}

/// The day of a moment in UTC: a value that changes once a day, not with every click.
fn round_day(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    null_or(&arguments[0], |value| {
        number::day(value)
            .map(|day| Value::Date(day).into())
            .ok_or("takes a moment or a date")
    })
}

fn decimal(value: &Value) -> Result<Decimal, &'static str> {
    match value {
        Value::Text(text) => number::parse(text),
        other => number::decimal(other),
    }
    .ok_or("takes a number")
}

/// Currencies without a smaller unit, and those with a thousandth.
const WHOLE: [&str; 10] = [
    "CLP", "ISK", "JPY", "KRW", "PYG", "UGX", "VND", "VUV", "XAF", "XOF",
];
const THOUSANDTHS: [&str; 5] = ["BHD", "JOD", "KWD", "OMR", "TND"];

fn money(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    null_or(&arguments[0], |value| {
        let currency = arguments.get(1).map(wanted_text).unwrap_or_default();
        let currency = currency.trim().to_uppercase();
        let places = if WHOLE.contains(&currency.as_str()) {
            0
        } else if THOUSANDTHS.contains(&currency.as_str()) {
            3
        } else {
            2
        };
        let amount = rounded(decimal(value)?, places);
        let text = format!("{amount:.places$} {currency}", places = places as usize);
        Ok(Value::Text(text.trim_end().to_owned()).into())
    })
}

fn rounded(number: Decimal, places: u32) -> Decimal {
    number.round_dp_with_strategy(places, RoundingStrategy::MidpointAwayFromZero)
}

fn round(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    null_or(&arguments[0], |value| {
        let places = match arguments.get(1) {
            None => 0,
            Some(Datum::Value(Value::Int(places @ 0..=28))) => {
                u32::try_from(*places).or(Err("takes 0 to 28 places"))?
            }
            Some(_) => return Err("takes 0 to 28 places"),
        };
        Ok(number::value(rounded(decimal(value)?, places)).into())
    })
}

fn abs(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    null_or(&arguments[0], |value| {
        Ok(number::value(decimal(value)?.abs()).into())
    })
}

/// Text as a number.
fn number(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    null_or(&arguments[0], |value| {
        Ok(number::value(decimal(value)?).into())
    })
}

/// A value as text: `{{ text(id) }}` keeps a number from becoming one in Crisp.
fn text(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    null_or_text(&arguments[0], str::to_owned)
}

/// NULL is a no.
fn yes_no(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    let answer = |place: usize, otherwise: &str| {
        arguments
            .get(place)
            .map_or_else(|| otherwise.to_owned(), wanted_text)
    };
    Ok(Value::Text(if arguments[0].is_true() {
        answer(1, "yes")
    } else {
        answer(2, "no")
    })
    .into())
}

/// The other value for NULL and for the empty text.
fn default(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    let is_blank = arguments[0].is_null()
        || matches!(&arguments[0], Datum::Value(Value::Text(text)) if text.is_empty());
    Ok(arguments[usize::from(is_blank)].clone())
}

/// The value's entry in a map; without one the other value, or the value itself, so that a new plan shows at once.
fn map(arguments: &[Datum], around: &Surroundings<'_>) -> Outcome {
    null_or(&arguments[0], |value| {
        let found = around
            .maps
            .get(&wanted_text(&arguments[1]))
            .and_then(|map| map.get(&scope::text(value)));
        Ok(match (found, arguments.get(2)) {
            (Some(found), _) => Value::Text(found.clone()).into(),
            (None, Some(other)) => other.clone(),
            (None, None) => value.clone().into(),
        })
    })
}

fn slug(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    null_or_text(&arguments[0], |text| {
        text.split(|character: char| !character.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_lowercase)
            .collect::<Vec<_>>()
            .join("-")
    })
}

fn upper(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    null_or_text(&arguments[0], str::to_uppercase)
}

fn lower(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    null_or_text(&arguments[0], str::to_lowercase)
}

fn trim(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    null_or_text(&arguments[0], |text| text.trim().to_owned())
}

fn replace(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    null_or_text(&arguments[0], |text| {
        let from = wanted_text(&arguments[1]);
        if from.is_empty() {
            text.to_owned()
        } else {
            text.replace(&from, &wanted_text(&arguments[2]))
        }
    })
}

/// At most that many characters, the last of them `…` if something was cut.
fn truncate(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    let Datum::Value(Value::Int(longest @ 1..)) = arguments[1] else {
        return Err("takes a length of 1 or more");
    };
    let longest = usize::try_from(longest).unwrap_or(usize::MAX);
    null_or_text(&arguments[0], |text| limits::shorten(text, longest))
}

/// Characters of a text, items of a list; 0 for NULL.
fn length(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    let length = match &arguments[0] {
        Datum::Value(Value::Null) => 0,
        Datum::List(values) => values.len(),
        Datum::Value(Value::Json(serde_json::Value::Array(items))) => items.len(),
        other => other.text().chars().count(),
    };
    Ok(Value::Int(i64::try_from(length).unwrap_or(i64::MAX)).into())
}

fn asks(arguments: &[Datum], test: fn(&str, &str) -> bool) -> Outcome {
    let holds = !arguments[0].is_null()
        && !arguments[1].is_null()
        && test(&wanted_text(&arguments[0]), &wanted_text(&arguments[1]));
    Ok(Value::Bool(holds).into())
}

/// False for NULL.
fn starts_with(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    asks(arguments, |text, start| text.starts_with(start))
}

/// False for NULL.
fn ends_with(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    asks(arguments, |text, end| text.ends_with(end))
}

/// False for NULL; a list contains its items.
fn contains(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    evaluate::contains(&arguments[0], &arguments[1])
        .map(|holds| Value::Bool(holds).into())
        .or(Err("takes a text and a part of it, or a list and an item"))
}

fn items(datum: &Datum) -> Result<Vec<Value>, &'static str> {
    match datum {
        Datum::List(values) => Ok(values.clone()),
        Datum::Value(Value::Null) => Ok(Vec::new()),
        Datum::Value(Value::Json(serde_json::Value::Array(items))) => {
            Ok(items.iter().map(from_json).collect())
        }
        _ => Err("takes a list"),
    }
}

/// The items as text; NULLs are left out.
fn join(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    let between = arguments
        .get(1)
        .map_or_else(|| ", ".to_owned(), wanted_text);
    let words: Vec<String> = items(&arguments[0])?
        .iter()
        .map(scope::text)
        .filter(|word| !word.is_empty())
        .collect();
    if words.is_empty() {
        return NULL;
    }
    Ok(Value::Text(words.join(&between)).into())
}

/// One field of each item.
fn pluck(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    let name = wanted_text(&arguments[1]);
    Ok(Datum::List(
        items(&arguments[0])?
            .iter()
            .map(|item| match item {
                Value::Json(json) => json.get(&name).map_or(Value::Null, from_json),
                _ => Value::Null,
            })
            .collect(),
    ))
}

fn first(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    Ok(items(&arguments[0])?
        .into_iter()
        .next()
        .unwrap_or(Value::Null)
        .into())
}

fn last(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    Ok(items(&arguments[0])?.pop().unwrap_or(Value::Null).into())
}

/// A link. An address that is not plain `http` or `https` gives the bare label: a visitor's own website field may hold anything,
/// and must neither become a link nor stop the refresh.
fn link(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    let label = wanted_text(&arguments[0]);
    null_or(&arguments[1], |address| {
        Ok(markdown::link(&label, &scope::text(address))
            .map_or_else(|| Value::Text(label.clone()).into(), Datum::Markup))
    })
}
