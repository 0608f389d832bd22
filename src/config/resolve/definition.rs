//! `[maps]`, `[context]`, `[profile]`, `[lifecycle]`, compiled.

use std::collections::BTreeMap;

use super::{
    super::{
        document::Document,
        faults::Fault,
        file::{ConfigFile, ContextFile},
    },
    Resolver,
};
use crate::{
    context::{Definition, DefinitionSource},
    expression::{DefinitionFault, Language},
    lifecycle::Rules,
};

impl Resolver<'_> {
    /// The definition; the empty one, with the faults noted, when it does not compile.
    pub(super) fn definition(&mut self, written: &ConfigFile) -> Definition {
        let ContextFile {
            as_of,
            longest_value,
            data,
            segments,
        } = written.context.clone();
        let source = DefinitionSource {
            maps: written.maps.clone(),
            data,
            segments,
            profile: written.profile.clone(),
            as_of,
            longest_value,
        };
        Definition::compile(&source).unwrap_or_else(|faults| {
            self.note(faults);
            Definition::compile(&DefinitionSource::default())
                .expect("the empty definition compiles")
        })
    }

    /// The rules, in the language with the file's maps: they are read even where the context does not compile.
    pub(super) fn rules(&mut self, written: &ConfigFile) -> Rules {
        let language = Language::new(written.maps.clone());
        Rules::compile(&written.lifecycle, &language).unwrap_or_else(|faults| {
            self.note(faults);
            Rules::compile(&crate::lifecycle::LifecycleSource::default(), &language)
                .expect("a table without rules compiles")
        })
    }

    /// The SQL of the rules that have their own, by event name.
    pub(super) fn event_queries(written: &ConfigFile) -> BTreeMap<String, String> {
        written
            .lifecycle
            .event
            .iter()
            .filter_map(|rule| Some((rule.name.clone(), rule.query.clone()?)))
            .collect()
    }

    pub(super) fn note(&mut self, faults: impl IntoIterator<Item = DefinitionFault>) {
        let placed = faults.into_iter().map(|fault| placed(self.document, fault));
        self.faults.extend(placed);
    }
}

/// A fault of a definition, at its bytes of the file.
pub(in super::super) fn placed(document: &Document<'_>, fault: DefinitionFault) -> Fault {
    let path = document.indexed(fault.path);
    Fault {
        place: document.string_place(&path, fault.on_key, fault.range.as_ref()),
        message: fault.message,
        hint: fault.hint,
    }
}
