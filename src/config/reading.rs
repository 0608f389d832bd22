//! From a document to the structs of the file tier, collecting every fault on the way.
//!
//! serde stops at the first error. So the value that caused it is noted, taken out of the document, and the rest is read
//! again, until nothing is wrong any more. Each turn takes something out, so it ends.

use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use toml::de::{DeValue, ValueDeserializer};

use super::{document::Document, faults::Fault};
use crate::expression::nearest;

/// Keys that people look for in vain, and where what they want is said instead.
const MISPLACED: &[(&str, &str)] = &[
    (
        "signing_secret",
        "secrets never stand in the file: set CRISP_SIGNING_SECRETS, or name files in `webhooks.signing_secret_files`",
    ),
    (
        "signing_secrets",
        "secrets never stand in the file: set CRISP_SIGNING_SECRETS, or name files in `webhooks.signing_secret_files`",
    ),
    (
        "token_identifier",
        "secrets never stand in the file: set CRISP_TOKEN_IDENTIFIER, or name a file in `crisp.token_identifier_file`",
    ),
    (
        "token_key",
        "secrets never stand in the file: set CRISP_TOKEN_KEY, or name a file in `crisp.token_key_file`",
    ),
    (
        "website_keys",
        "secrets never stand in the file: set CRISP_WEBSITE_KEYS, or name files in `webhooks.website_key_files`",
    ),
    (
        "ops_read_token",
        "secrets never stand in the file: set CRISP_SYNC_OPS_READ_TOKEN, or name a file in `server.ops_read_token_file`",
    ),
    (
        "ops_act_token",
        "secrets never stand in the file: set CRISP_SYNC_OPS_ACT_TOKEN, or name a file in `server.ops_act_token_file`",
    ),
    ("events", "events are written `[[lifecycle.event]]`"),
    ("port", "the port is part of `server.listen`, or set PORT"),
];

/// Reads `document` as a `T`, taking out what cannot be read. `None` only if nothing readable is left.
pub(super) fn read<T: DeserializeOwned>(document: &mut Document<'_>) -> (Option<T>, Vec<Fault>) {
    let mut faults = Vec::new();
    let mut removed: Vec<Vec<String>> = Vec::new();
    loop {
        let root = document.root();
        let span = root.span();
        let root =
            ValueDeserializer::from(toml::Spanned::new(span, DeValue::Table(root.into_inner())));
        let error = match serde_path_to_error::deserialize::<_, T>(root) {
            Ok(value) => return (Some(value), faults),
            Err(error) => error,
        };
        let mut path = steps(error.path());
        let message = error.inner().message().trim().to_owned();
        let unknown = quoted_after(&message, "unknown field `");
        if let Some(key) = unknown
            && path.last().map(String::as_str) != Some(key)
        {
            path.push(key.to_owned());
        }
        // Deeper than what is written: the error is about the nearest thing that is.
        while !path.is_empty() && document.node(&path).is_none() {
            path.pop();
        }
        let missing = quoted_after(&message, "missing field `").map(|field| {
            let mut path = path.clone();
            path.push(field.to_owned());
            path
        });
        // A mandatory key that was itself refused has been reported once.
        if missing.is_none_or(|missing| !removed.contains(&missing)) {
            faults.push(describe(document, &path, &message));
        }
        if !document.remove(&path) {
            return (None, faults);
        }
        removed.push(path);
    }
}

fn steps(path: &serde_path_to_error::Path) -> Vec<String> {
    path.iter()
        .filter_map(|segment| match segment {
            Segment::Seq { index } => Some(index.to_string()),
            Segment::Map { key } => Some(key.clone()),
            Segment::Enum { .. } | Segment::Unknown => None,
        })
        .collect()
}

/// serde's message in an operator's words. It never repeats a string that stands in the file: it may be a secret.
fn describe(document: &Document<'_>, path: &[String], message: &str) -> Fault {
    let last = path.last().map_or("", String::as_str);
    if message.starts_with("unknown field `") {
        let allowed = listed(message);
        let fault = Fault::new(
            document.key_place(path),
            format!("unknown key `{last}`{}", section(path)),
        );
        if let Some(meant) = nearest(last, allowed.iter().copied()) {
            return fault.hint(format!("did you mean `{meant}`?"));
        }
        if let Some((_, hint)) = MISPLACED.iter().find(|(key, _)| *key == last) {
            return fault.hint(*hint);
        }
        return match allowed.as_slice() {
            [] => fault,
            keys => fault.hint(format!(
                "the keys here are {}",
                keys.iter()
                    .map(|key| format!("`{key}`"))
                    .collect::<Vec<_>>()
                    .join(", ")
            )),
        };
    }
    let place = document.place(path);
    if let Some(written) = quoted_after(message, "unknown variant `") {
        let allowed = listed(message);
        let fault = Fault::new(place, format!("`{}` does not take this value", shown(path)));
        return match nearest(written, allowed.iter().copied()) {
            Some(meant) => fault.hint(format!("did you mean `{meant}`?")),
            None => fault.hint(format!("it takes {}", alternatives(&allowed))),
        };
    }
    if let Some(field) = quoted_after(message, "missing field `") {
        return Fault::new(
            place,
            format!(
                "the key `{field}` is missing{}",
                section(&[path, &[String::new()]].concat())
            ),
        );
    }
    if let Some((_, expected)) = message
        .strip_prefix("invalid type: ")
        .or_else(|| message.strip_prefix("invalid value: "))
        .and_then(|rest| rest.rsplit_once(", expected "))
    {
        let found = document
            .node(path)
            .map_or("nothing", |node| kind(node.value.get_ref()));
        return Fault::new(
            place,
            format!(
                "`{}` takes {}; this is {found}",
                shown(path),
                plain(expected)
            ),
        );
    }
    Fault::new(place, format!("`{}`: {message}", shown(path)))
}

/// "in `[section]`", for a key that stands in one.
fn section(path: &[String]) -> String {
    let Some((_, parents)) = path.split_last() else {
        return String::new();
    };
    let in_list = parents.last().is_some_and(|step| is_index(step));
    match (shown(parents), in_list) {
        (parents, _) if parents.is_empty() => parents,
        (parents, true) => format!(" in `[[{parents}]]`"),
        (parents, false) => format!(" in `[{parents}]`"),
    }
}

/// The path as a person would write it: which element of a list it is, the caret shows.
fn shown(path: &[String]) -> String {
    let steps: Vec<&str> = path
        .iter()
        .map(String::as_str)
        .filter(|step| !is_index(step))
        .collect();
    steps.join(".")
}

fn is_index(step: &str) -> bool {
    step.parse::<usize>().is_ok()
}

fn quoted_after<'m>(message: &'m str, prefix: &str) -> Option<&'m str> {
    message.strip_prefix(prefix)?.split('`').next()
}

/// What serde lists after `expected`.
pub(super) fn listed(message: &str) -> Vec<&str> {
    message
        .rsplit_once("expected ")
        .map(|(_, list)| list.split('`').skip(1).step_by(2).collect())
        .unwrap_or_default()
}

pub(super) fn alternatives(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(number) if number.as_str().starts_with('-') => "a negative number",
        DeValue::Integer(number) if number.as_str() == "0" => "0",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// Rust's name for a type, in TOML's words.
fn plain(expected: &str) -> &str {
    match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "i8" | "i16" | "i32" | "i64" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a map" => "a table",
        "a sequence" => "an array",
        "path string" => "a path in quotes",
        text if text.starts_with("a nonzero") => "a whole number, 1 or more",
        text if text.starts_with("struct ") => "a table",
        text if text.starts_with("enum ") => "one of a few words in quotes",
        text => text,
    }
}
