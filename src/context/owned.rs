//! Which names are ours to change.
//!
//! Data keys are compared exactly. Segments are compared without ASCII case: a visitor can write segments, and `Plan-pro`
//! next to `plan-free` would fool an agent as well as `plan-pro` does.

use std::collections::BTreeSet;

/// The names that are ours in one place.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Owned {
    /// Data keys.
    pub keys: BTreeSet<String>,
    /// Whole segments.
    pub segments: BTreeSet<String>,
    /// Beginnings of segments: `plan-` owns `plan-pro`.
    pub segment_prefixes: BTreeSet<String>,
}

impl Owned {
    /// Adds the other's names.
    pub fn merge(&mut self, other: Self) {
        self.keys.extend(other.keys);
        self.segments.extend(other.segments);
        self.segment_prefixes.extend(other.segment_prefixes);
    }

    /// Whether a segment is ours.
    pub fn owns_segment(&self, segment: &str) -> bool {
        let segment = segment.trim();
        self.segments
            .iter()
            .any(|owned| owned.eq_ignore_ascii_case(segment))
            || self
                .segment_prefixes
                .iter()
                .any(|prefix| starts_with(segment, prefix))
    }
}

/// Whether a segment falls under a prefix, whatever the case of its ASCII letters.
pub(super) fn starts_with(segment: &str, prefix: &str) -> bool {
    segment
        .get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// The names that are ours in both places.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct OwnedNames {
    /// On conversations.
    pub session: Owned,
    /// On contacts.
    pub contact: Owned,
}

impl OwnedNames {
    /// Adds the other's names: those of definitions gone by, which are still ours to clean up.
    pub fn merge(&mut self, other: Self) {
        self.session.merge(other.session);
        self.contact.merge(other.contact);
    }
}
