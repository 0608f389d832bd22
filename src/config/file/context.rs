//! `[context]`: what a conversation and a contact show, as written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::context::{DataFieldSource, DefinitionSource};

/// `[context]`: what a conversation and a contact show.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ContextFile {
    /// Whether `context_as_of` and `context_state` are written, which tell agents how old the context is.
    pub as_of: bool,
    /// Characters a value may have before it is cut.
    pub longest_value: usize,
    /// Data by key: a template, or a table of `value`, `when` (an expression), `target` (`contact`, `session` or `both`) and `else` (what stands for "absent").
    #[schemars(with = "BTreeMap<String, DataFieldSource>")]
    pub data: BTreeMap<String, DataFieldSource>,
    /// Segments by name, which may hold placeholders: each is there while its expression is true.
    pub segments: BTreeMap<String, String>,
}

impl Default for ContextFile {
    fn default() -> Self {
        let DefinitionSource {
            data,
            segments,
            as_of,
            longest_value,
            ..
        } = DefinitionSource::default();
        Self {
            as_of,
            longest_value,
            data,
            segments,
        }
    }
}
