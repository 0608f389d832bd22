//! Compiles what the operator wrote, and says everything that is wrong with it at once.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use super::{
    AS_OF, Context, Fault, Layer, Owned, OwnedNames, STAMPS, STATE, Target, UNVERIFIED, limits,
    owned,
    segment::{Reach, Segment},
    source::{DataFieldSource, DataFieldTable, DefinitionSource, ProfileSource},
};
use crate::{
    data::DataValue,
    expression::{Expression, Language, Template},
};

/// A compiled context definition.
#[derive(Debug, Clone)]
pub struct Definition {
    pub(super) fields: BTreeMap<String, Field>,
    pub(super) segments: BTreeMap<String, Segment>,
    pub(super) profile: BTreeMap<&'static str, Template>,
    pub(super) as_of: bool,
    pub(super) longest: usize,
    language: Language,
    hash: String,
}

/// One data field.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) value: Template,
    pub(super) when: Option<Expression>,
    pub(super) target: Target,
    pub(super) otherwise: DataValue,
}

impl Definition {
    /// Compiles a definition, or tells all that is wrong with it.
    pub fn compile(source: &DefinitionSource) -> Result<Self, Vec<Fault>> {
        let language = Language::new(source.maps.clone());
        let mut faults = Vec::new();
        if source.longest_value < limits::KEY {
            faults.push(Fault::new(
                ["context", "longest_value"],
                format!("a value takes at least {} characters", limits::KEY),
            ));
        }
        let fields = fields(source, &language, &mut faults);
        let segments = segments(source, &language, &mut faults);
        let profile = profile(&source.profile, &language, &mut faults);
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(Self {
            fields,
            segments,
            profile,
            as_of: source.as_of,
            longest: source.longest_value,
            language,
            hash: hash(source),
        })
    }

    /// Names this definition: the same for two files that mean the same.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The language with this definition's maps; lifecycle rules are written in it too.
    pub fn language(&self) -> &Language {
        &self.language
    }

    /// The columns that are read: `plan`, and `billing.amount` for a further look-up.
    pub fn columns(&self) -> BTreeSet<String> {
        let fields = self.fields.values().flat_map(|field| {
            let when = field.when.as_ref().map(Expression::columns);
            field
                .value
                .columns()
                .into_iter()
                .chain(when.unwrap_or_default())
        });
        let segments = self.segments.values().flat_map(Segment::columns);
        let profile = self.profile.values().flat_map(Template::columns);
        fields.chain(segments).chain(profile).collect()
    }

    /// The names that are ours to change. Those of definitions gone by are merged in by who remembers them.
    pub fn owned(&self) -> OwnedNames {
        let mut names = OwnedNames::default();
        for (key, field) in &self.fields {
            if field.target.is_session() {
                names.session.keys.insert(key.clone());
            }
            if field.target.is_contact() {
                names.contact.keys.insert(key.clone());
            }
        }
        let sides: [&mut Owned; 2] = [&mut names.session, &mut names.contact];
        for owned in sides {
            if self.as_of {
                owned.keys.extend(STAMPS.map(str::to_owned));
            }
            for segment in self.segments.values() {
                match &segment.reach {
                    Reach::Whole(name) => owned.segments.insert(name.clone()),
                    Reach::Prefix(prefix) => owned.segment_prefixes.insert(prefix.clone()),
                };
            }
        }
        names.session.segments.insert(UNVERIFIED.to_owned());
        names
    }

    /// The context of somebody whom the app's database does not know: every value absent, no segments.
    pub fn empty_context(&self) -> Context {
        let layer = |is_there: fn(Target) -> bool| {
            Layer {
                data: self
                    .fields
                    .iter()
                    .filter(|(_, field)| is_there(field.target))
                    .map(|(key, _)| (key.clone(), DataValue::absent()))
                    .collect(),
                segments: BTreeSet::new(),
            }
            .without_data()
        };
        Context {
            session: layer(Target::is_session),
            contact: layer(Target::is_contact),
            ..Context::default()
        }
    }
}

fn fields(
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

fn segments(
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

fn profile(
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

/// The source in one form: keys sorted, short fields written out.
fn hash(source: &DefinitionSource) -> String {
    let canonical = DefinitionSource {
        data: source
            .data
            .iter()
            .map(|(key, field)| (key.clone(), DataFieldSource::Table(field.to_table())))
            .collect(),
        ..source.clone()
    };
    let bytes = serde_json::to_vec(&canonical).expect("maps with text keys become JSON");
    hex::encode(Sha256::digest(&bytes))
}
