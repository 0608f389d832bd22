//! Compares what should be with what Crisp holds.
//!
//! Crisp's writes may replace or may merge; nobody outside knows for each. So a patch carries the complete object and the
//! complete list, with everything that is not ours as it was, whatever it is, and says "absent" by `""` and not by leaving out.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};

use super::{Layer, Owned, STAMPS};
use crate::data::DataValue;

/// What Crisp holds in one place.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Held {
    /// Data, whatever its shape.
    pub data: Map<String, Json>,
    /// Segments, in Crisp's order.
    pub segments: Vec<String>,
}

/// The least change that makes Crisp hold what it should.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Patch {
    /// The complete data, if something in it changes.
    pub data: Option<Map<String, Json>>,
    /// The complete segments, if one of them changes.
    pub segments: Option<Vec<String>>,
    /// What changes, by name.
    pub changes: Vec<Change>,
}

impl Patch {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.data.is_none() && self.segments.is_none()
    }

    /// What Crisp holds once the patch is written.
    pub fn applied_to(&self, held: &Held) -> Held {
        Held {
            data: self.data.clone().unwrap_or_else(|| held.data.clone()),
            segments: self
                .segments
                .clone()
                .unwrap_or_else(|| held.segments.clone()),
        }
    }
}

/// One thing that changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The key, or the segment.
    pub name: String,
    /// What it is.
    pub kind: ChangeKind,
    /// What Crisp held; `None` for nothing.
    pub before: Option<Json>,
    /// What it will hold; `None` for nothing, which for data is written as `""`.
    pub after: Option<Json>,
}

/// What a change is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// A data key.
    Data,
    /// A segment.
    Segment,
}

impl ChangeKind {
    /// The word for logs and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Segment => "segment",
        }
    }
}

/// The least patch from `held` to `desired` that touches nothing but `owned` names. A name that is owned and not desired goes;
/// a stamp that is not desired stays, because it only ever rides along with another change.
pub fn diff(desired: &Layer, held: &Held, owned: &Owned) -> Patch {
    let mut changes = Vec::new();
    let data = data(desired, held, owned, &mut changes);
    let segments = segments(desired, held, owned, &mut changes);
    Patch {
        data,
        segments,
        changes,
    }
}

fn data(
    desired: &Layer,
    held: &Held,
    owned: &Owned,
    changes: &mut Vec<Change>,
) -> Option<Map<String, Json>> {
    let absent = DataValue::absent();
    let mut merged: Option<Map<String, Json>> = None;
    for key in &owned.keys {
        let wanted = match desired.data.get(key) {
            Some(value) => value,
            None if STAMPS.contains(&key.as_str()) => continue,
            None => &absent,
        };
        let before = held.data.get(key);
        if wanted.is_held_as(before) {
            continue;
        }
        merged
            .get_or_insert_with(|| held.data.clone())
            .insert(key.clone(), wanted.to_json());
        changes.push(Change {
            name: key.clone(),
            kind: ChangeKind::Data,
            before: before.cloned(),
            after: (*wanted != absent).then(|| wanted.to_json()),
        });
    }
    merged
}

fn segments(
    desired: &Layer,
    held: &Held,
    owned: &Owned,
    changes: &mut Vec<Change>,
) -> Option<Vec<String>> {
    let there: BTreeSet<&str> = held.segments.iter().map(String::as_str).collect();
    let stays =
        |segment: &&String| desired.segments.contains(*segment) || !owned.owns_segment(segment);
    let mut kept: Vec<String> = held.segments.iter().filter(stays).cloned().collect();
    let before = changes.len();
    for segment in held.segments.iter().filter(|segment| !stays(segment)) {
        changes.push(segment_change(segment, true));
    }
    for segment in &desired.segments {
        if !there.contains(segment.as_str()) && owned.owns_segment(segment) {
            kept.push(segment.clone());
            changes.push(segment_change(segment, false));
        }
    }
    (changes.len() > before).then_some(kept)
}

fn segment_change(segment: &str, goes: bool) -> Change {
    let value = || Some(Json::String(segment.to_owned()));
    Change {
        name: segment.to_owned(),
        kind: ChangeKind::Segment,
        before: if goes { value() } else { None },
        after: if goes { None } else { value() },
    }
}
