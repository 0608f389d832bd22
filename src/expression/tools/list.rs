//! Tools for lists: the user's accounts, and JSON columns.

#![expect(
    clippy::unnecessary_wraps,
    reason = "every tool has one signature, whether it can fail or not"
)]

use super::{Datum, NULL, Outcome, Surroundings};
use crate::{
    expression::{
        evaluate,
        scope::{self, from_json},
    },
    record::Value,
};

/// Characters of a text, items of a list; 0 for NULL.
pub(super) fn length(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    let length = match &arguments[0] {
        Datum::Value(Value::Null) => 0,
        Datum::List(values) => values.len(),
        Datum::Value(Value::Json(serde_json::Value::Array(items))) => items.len(),
        other => other.text().chars().count(),
    };
    Ok(Value::Int(i64::try_from(length).unwrap_or(i64::MAX)).into())
}

/// False for NULL; a list contains its items.
pub(super) fn contains(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
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
pub(super) fn join(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    let between = arguments
        .get(1)
        .map_or_else(|| ", ".to_owned(), Datum::text);
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
pub(super) fn pluck(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    let name = arguments[1].text();
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

pub(super) fn first(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    Ok(items(&arguments[0])?
        .into_iter()
        .next()
        .unwrap_or(Value::Null)
        .into())
}

pub(super) fn last(arguments: &[Datum], _: &Surroundings<'_>) -> Outcome {
    Ok(items(&arguments[0])?.pop().unwrap_or(Value::Null).into())
}
