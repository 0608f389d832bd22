//! Tools for numbers.

use rust_decimal::{Decimal, RoundingStrategy};

use super::{Datum, Outcome, Surroundings, null_or};
use crate::{expression::number as exact, record::Value};

fn decimal(value: &Value) -> Result<Decimal, &'static str> {
    match value {
        Value::Text(text) => exact::parse(text),
        other => exact::decimal(other),
    }
    .ok_or("takes a number")
}

/// Currencies without a smaller unit, and those with a thousandth.
const WHOLE: [&str; 10] = [
    "CLP", "ISK", "JPY", "KRW", "PYG", "UGX", "VND", "VUV", "XAF", "XOF",
];
const THOUSANDTHS: [&str; 5] = ["BHD", "JOD", "KWD", "OMR", "TND"];

pub(super) fn money(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    null_or(&arguments[0], |value| {
        let currency = arguments.get(1).map(Datum::text).unwrap_or_default();
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

pub(super) fn round(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    null_or(&arguments[0], |value| {
        let places = match arguments.get(1) {
            None => 0,
            Some(Datum::Value(Value::Int(places @ 0..=28))) => {
                u32::try_from(*places).or(Err("takes 0 to 28 places"))?
            }
            Some(_) => return Err("takes 0 to 28 places"),
        };
        Ok(exact::value(rounded(decimal(value)?, places)).into())
    })
}

pub(super) fn abs(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    null_or(&arguments[0], |value| {
        Ok(exact::value(decimal(value)?.abs()).into())
    })
}

/// Text as a number.
pub(super) fn number(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    null_or(&arguments[0], |value| {
        Ok(exact::value(decimal(value)?).into())
    })
}
