//! The tools of the language: what a definition can do with a value.
//!
//! Each takes NULL and gives NULL, unless its line says otherwise, so that an absent column stays absent.

mod amount;
mod list;
mod text;
mod time;

use jiff::Timestamp;

use super::{Maps, evaluate::Datum, scope};
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
    ($room:ident::$name:ident, $least:literal..=$most:literal, $usage:literal) => {
        Tool {
            name: stringify!($name),
            usage: $usage,
            least: $least,
            most: $most,
            run: $room::$name,
        }
    };
}

static TOOLS: [Tool; 27] = [
    tool!(time::days_until, 1..=1, "`days_until(moment)`"),
    tool!(time::days_since, 1..=1, "`days_since(moment)`"),
    tool!(
        time::date,
        1..=2,
        "`date(moment)` or `date(moment, '%d %b %Y')`"
    ),
    tool!(time::round_day, 1..=1, "`round_day(moment)`"),
    tool!(amount::money, 1..=2, "`amount | money('EUR')`"),
    tool!(
        amount::round,
        1..=2,
        "`round(number)` or `round(number, 2)`"
    ),
    tool!(amount::abs, 1..=1, "`abs(number)`"),
    tool!(amount::number, 1..=1, "`number(text)`"),
    tool!(text::text, 1..=1, "`text(value)`"),
    tool!(
        text::yes_no,
        1..=3,
        "`yes_no(value)` or `yes_no(value, 'yes', 'no')`"
    ),
    tool!(text::default, 2..=2, "`value | default('other')`"),
    tool!(
        text::map,
        2..=3,
        "`value | map('name')` or `value | map('name', 'other')`"
    ),
    tool!(text::slug, 1..=1, "`slug(text)`"),
    tool!(text::upper, 1..=1, "`upper(text)`"),
    tool!(text::lower, 1..=1, "`lower(text)`"),
    tool!(text::trim, 1..=1, "`trim(text)`"),
    tool!(text::replace, 3..=3, "`text | replace('from', 'to')`"),
    tool!(text::truncate, 2..=2, "`text | truncate(40)`"),
    tool!(list::length, 1..=1, "`length(value)`"),
    tool!(text::starts_with, 2..=2, "`starts_with(text, 'start')`"),
    tool!(text::ends_with, 2..=2, "`ends_with(text, 'end')`"),
    tool!(list::contains, 2..=2, "`contains(text, 'part')`"),
    tool!(list::join, 1..=2, "`list | join(', ')`"),
    tool!(list::pluck, 2..=2, "`accounts | pluck('plan')`"),
    tool!(list::first, 1..=1, "`first(list)`"),
    tool!(list::last, 1..=1, "`last(list)`"),
    tool!(text::link, 2..=2, "`link('label', url)`"),
];

pub(super) fn find(name: &str) -> Option<&'static Tool> {
    TOOLS.iter().find(|tool| tool.name == name)
}

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    TOOLS.iter().map(|tool| tool.name)
}

const NULL: Outcome = Ok(Datum::Value(Value::Null));
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
