//! What Crisp should show of a user.

use std::collections::BTreeSet;

use crate::data::DataMap;

/// Data and segments of one side: the session or the contact.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Layer {
    /// Data by key.
    pub data: DataMap,
    /// Segments.
    pub segments: BTreeSet<String>,
}
