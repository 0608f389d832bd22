//! `[maps]`, `[context]`, `[profile]`, `[lifecycle]`, compiled.

use std::collections::{BTreeMap, BTreeSet};

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
    ids::WebsiteId,
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

    /// What has to be true of the sweep together with the rest: whom a row is about, and on which website.
    pub(super) fn sweep(&mut self, written: &ConfigFile, websites: &BTreeSet<WebsiteId>) {
        let website = written.lifecycle.sweep.website.as_deref();
        if let Some(website) = website {
            match WebsiteId::parse(website) {
                Err(_) => self.fault(
                    &["lifecycle", "sweep", "website"],
                    "this is no website's id",
                    "Crisp shows it in the settings of the website",
                ),
                Ok(website) if !websites.is_empty() && !websites.contains(&website) => self.fault(
                    &["lifecycle", "sweep", "website"],
                    "this website is not one of `crisp.websites`",
                    "name it there, too",
                ),
                Ok(_) => {}
            }
        }
        let Some(query) = &written.lifecycle.query else {
            return;
        };
        if written.users.query_by_key.is_none() {
            self.fault(
                &["lifecycle", "query"],
                "whom it finds is looked up by key, and there is no `users.query_by_key`",
                "write `query_by_key = \"SELECT id, email FROM users WHERE id = :key\"` below `[users]`",
            );
        }
        if website.is_none() && websites.len() != 1 && !query.contains("website") {
            let many = if websites.is_empty() {
                "no website is configured"
            } else {
                "several websites are configured"
            };
            self.fault(
                &["lifecycle", "query"],
                format!("{many}, and the query does not say to which a row belongs"),
                "select a column `website` with its id, or name one in `lifecycle.sweep.website`",
            );
        }
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
