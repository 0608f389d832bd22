//! Compiles the parts of a definition, and tells all that is wrong with each.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    AS_OF, Fault, STAMPS, STATE, UNVERIFIED,
    definition::Field,
    limits, owned,
    segment::{Reach, Segment},
    source::{DataFieldSource, DataFieldTable, DefinitionSource, ProfileSource},
};
use crate::{
    data::DataValue,
    expression::{Language, Template},
};

pub(super) fn fields(
    source: &DefinitionSource,
    language: &Language,
    faults: &mut Vec<Fault>,
) -> BTreeMap<String, Field> {
    let mut fields = BTreeMap::new();
    let mut folded: BTreeMap<String, &str> = BTreeMap::new();
    for (key, written) in &source.data {
        faults.extend(key_fault(key));
        if let Some(first) = folded.insert(key.to_ascii_lowercase(), key) {
            faults.push(
                data_fault(key, format!("`{key}` and `{first}` differ only by case"))
                    .hint("agents could not tell them apart; rename one"),
            );
        }
        match field(key, written, language, source.longest_value) {
            Ok(field) => {
                fields.insert(key.clone(), field);
            }
            Err(found) => faults.extend(found),
        }
    }
    fields
}

fn data_fault(key: &str, message: String) -> Fault {
    Fault::new(["context", "data", key], message).on_key()
}

fn key_fault(key: &str) -> Option<Fault> {
    if STAMPS.iter().any(|stamp| stamp.eq_ignore_ascii_case(key)) {
        return Some(
            data_fault(key, format!("`{key}` is written by crisp-sync itself")).hint(format!(
                "rename it; `{AS_OF}` tells the age of the context, `{STATE}` that it is stale"
            )),
        );
    }
    let fault = data_fault(key, limits::key_fault(key)?);
    Some(match limits::key_like(key) {
        Some(like) => fault.hint(format!("write `{like}`")),
        None => fault,
    })
}

fn field(
    key: &str,
    written: &DataFieldSource,
    language: &Language,
    longest: usize,
) -> Result<Field, Vec<Fault>> {
    let is_table = matches!(written, DataFieldSource::Table(_));
    let DataFieldTable {
        value,
        when,
        target,
        otherwise,
    } = written.to_table();
    let path = |part: &'static str| {
        let mut path = vec!["context".to_owned(), "data".to_owned(), key.to_owned()];
        if is_table {
            path.push(part.to_owned());
        }
        path
    };
    let mut faults = Vec::new();
    let value = language
        .template(&value)
        .map_err(|fault| faults.push(fault.at(path("value"))))
        .ok();
    if let Some(value) = &value {
        faults.extend(event_fault(path("value"), value.source(), &value.columns()));
    }
    let when = when.and_then(|when| {
        language
            .expression(&when)
            .map_err(|fault| faults.push(fault.at(path("when"))))
            .ok()
    });
    if let Some(when) = &when {
        faults.extend(event_fault(path("when"), when.source(), &when.columns()));
    }
    if let DataValue::Text(text) = &otherwise
        && text.chars().count() > longest
    {
        faults.push(Fault::new(
            path("else"),
            format!("a value has at most {longest} characters"),
        ));
    }
    match value {
        Some(value) if faults.is_empty() => Ok(Field {
            value,
            when,
            target,
            otherwise,
        }),
        _ => Err(faults),
    }
}

/// A context is evaluated without an event.
fn event_fault(path: Vec<String>, source: &str, columns: &BTreeSet<String>) -> Option<Fault> {
    let column = columns.iter().find(|column| column.starts_with("event."))?;
    let fault = Fault::new(
        path,
        "`event` is only known to a lifecycle rule that has a query",
    )
    .hint("read a column of `users.query`, or of a look-up in `users.more`");
    Some(match source.find(column.as_str()) {
        Some(start) => fault.within(start..start + column.len()),
        None => fault,
    })
}

pub(super) fn segments(
    source: &DefinitionSource,
    language: &Language,
    faults: &mut Vec<Fault>,
) -> BTreeMap<String, Segment> {
    let mut segments = BTreeMap::new();
    for (name, when) in &source.segments {
        match Segment::compile(name, when, language, source.longest_value) {
            Ok(segment) => {
                let path = || {
                    ["context", "segments", name.as_str()]
                        .map(str::to_owned)
                        .to_vec()
                };
                faults
                    .extend(event_fault(path(), name, &segment.name_columns()).map(Fault::on_key));
                faults.extend(event_fault(path(), when, &segment.when_columns()));
                segments.insert(name.clone(), segment);
            }
            Err(found) => faults.extend(found),
        }
    }
    for (name, segment) in &segments {
        faults.extend(collision(name, segment, &segments).map(Fault::on_key));
    }
    segments
}

/// Two rules that would claim one segment: one of them would remove what the other wants.
fn collision(name: &str, segment: &Segment, all: &BTreeMap<String, Segment>) -> Option<Fault> {
    let fault = |message: String| Fault::new(["context", "segments", name], message);
    match &segment.reach {
        Reach::Whole(whole) => {
            if whole.eq_ignore_ascii_case(UNVERIFIED) {
                return Some(
                    fault(format!("`{UNVERIFIED}` is written by crisp-sync itself"))
                        .hint("it marks a session whose e-mail nobody has proven; rename this one"),
                );
            }
            all.iter().find_map(|(other, segment)| match &segment.reach {
                // Only the later of two equal names is at fault, so that it is said once.
                Reach::Whole(taken) if other.as_str() < name && taken.eq_ignore_ascii_case(whole) => {
                    Some(
                        fault(format!("`{name}` and `{other}` are one segment"))
                            .hint("blanks and case do not tell segments apart; join the conditions with `or`"),
                    )
                }
                Reach::Prefix(prefix) if owned::starts_with(whole, prefix) => Some(
                    fault(format!("`{name}` falls under `{other}`"))
                        .hint(format!("every segment that starts with `{prefix}` belongs to that rule; rename one")),
                ),
                _ => None,
            })
        }
        Reach::Prefix(prefix) if owned::starts_with(UNVERIFIED, prefix) => Some(
            fault(format!(
                "`{prefix}…` would take in `{UNVERIFIED}`, which crisp-sync writes itself"
            ))
            .hint("start it differently"),
        ),
        Reach::Prefix(_) => None,
    }
}

pub(super) fn profile(
    source: &ProfileSource,
    language: &Language,
    faults: &mut Vec<Fault>,
) -> BTreeMap<&'static str, Template> {
    // Named in full, so that a new field cannot be forgotten here.
    let ProfileSource {
        nickname,
        phone,
        avatar,
        website,
        company,
    } = source;
    let mut templates = BTreeMap::new();
    for (name, written) in [
        ("nickname", nickname),
        ("phone", phone),
        ("avatar", avatar),
        ("website", website),
        ("company", company),
    ] {
        let Some(written) = written else { continue };
        match language.template(written) {
            Ok(template) if template.makes_links() => faults.push(
                Fault::new(["profile", name], "a profile is plain text")
                    .hint("write the address itself"),
            ),
            Ok(template) => {
                let path = vec!["profile".to_owned(), name.to_owned()];
                faults.extend(event_fault(path, written, &template.columns()));
                templates.insert(name, template);
            }
            Err(fault) => faults.push(fault.at(["profile", name])),
        }
    }
    templates
}
