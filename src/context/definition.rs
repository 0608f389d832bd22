//! What the operator wrote, compiled: the names that are ours, and what names the definition itself.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use super::{
    Context, Fault, Layer, Owned, OwnedNames, STAMPS, Target, UNVERIFIED, compile, limits,
    segment::{Reach, Segment},
    source::{DataFieldSource, DefinitionSource},
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
        let fields = compile::fields(source, &language, &mut faults);
        let segments = compile::segments(source, &language, &mut faults);
        let profile = compile::profile(&source.profile, &language, &mut faults);
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
