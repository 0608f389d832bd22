//! Tools for text, and for turning values into it.

#![expect(
    clippy::unnecessary_wraps,
    reason = "every tool has one signature, whether it can fail or not"
)]

use super::{Datum, Outcome, Surroundings, null_or, null_or_text};
use crate::{
    expression::{limits, markdown, scope},
    record::Value,
};

/// A value as text: `{{ text(id) }}` keeps a number from becoming one in Crisp.
pub(super) fn text(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    null_or_text(&arguments[0], str::to_owned)
}

/// NULL is a no.
pub(super) fn yes_no(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    let answer = |place: usize, otherwise: &str| {
        arguments
            .get(place)
            .map_or_else(|| otherwise.to_owned(), Datum::text)
    };
    Ok(Value::Text(if arguments[0].is_true() {
        answer(1, "yes")
    } else {
        answer(2, "no")
    })
    .into())
}

/// The other value for NULL and for the empty text.
pub(super) fn default(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    let is_blank = arguments[0].is_null()
        || matches!(&arguments[0], Datum::Value(Value::Text(text)) if text.is_empty());
    Ok(arguments[usize::from(is_blank)].clone())
}

/// The value's entry in a map; without one the other value, or the value itself, so that a new plan shows at once.
pub(super) fn map(arguments: &[Datum], around: &Surroundings<'_>) -> Outcome {
    null_or(&arguments[0], |value| {
        let found = around
            .maps
            .get(&arguments[1].text())
            .and_then(|map| map.get(&scope::text(value)));
        Ok(match (found, arguments.get(2)) {
            (Some(found), _) => Value::Text(found.clone()).into(),
            (None, Some(other)) => other.clone(),
            (None, None) => value.clone().into(),
        })
    })
}

pub(super) fn slug(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    null_or_text(&arguments[0], |text| {
        text.split(|character: char| !character.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_lowercase)
            .collect::<Vec<_>>()
            .join("-")
    })
}

pub(super) fn upper(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    null_or_text(&arguments[0], str::to_uppercase)
}

pub(super) fn lower(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    null_or_text(&arguments[0], str::to_lowercase)
}

pub(super) fn trim(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    null_or_text(&arguments[0], |text| text.trim().to_owned())
}

pub(super) fn replace(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    null_or_text(&arguments[0], |text| {
        let from = arguments[1].text();
        if from.is_empty() {
            text.to_owned()
        } else {
            text.replace(&from, &arguments[2].text())
        }
    })
}

/// At most that many characters, the last of them `…` if something was cut.
pub(super) fn truncate(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    let Datum::Value(Value::Int(longest @ 1..)) = arguments[1] else {
        return Err("takes a length of 1 or more");
    };
    let longest = usize::try_from(longest).unwrap_or(usize::MAX);
    null_or_text(&arguments[0], |text| limits::shorten(text, longest))
}

fn asks(arguments: &[Datum], test: fn(&str, &str) -> bool) -> Outcome {
    let holds = !arguments[0].is_null()
        && !arguments[1].is_null()
        && test(&arguments[0].text(), &arguments[1].text());
    Ok(Value::Bool(holds).into())
}

/// False for NULL.
pub(super) fn starts_with(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    asks(arguments, |text, start| text.starts_with(start))
}

/// False for NULL.
pub(super) fn ends_with(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    asks(arguments, |text, end| text.ends_with(end))
}

/// A link. An address that is not plain `http` or `https` gives the bare label: a visitor's own website field may hold anything,
/// and must neither become a link nor stop the refresh.
pub(super) fn link(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    let label = arguments[0].text();
    null_or(&arguments[1], |address| {
        Ok(markdown::link(&label, &scope::text(address))
            .map_or_else(|| Value::Text(label.clone()).into(), Datum::Markup))
    })
}
