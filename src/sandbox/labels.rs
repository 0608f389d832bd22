//! Data and segments: how a write changes them, and who is noted as their author.

use serde_json::{Map, Value as Json};

use super::state::{Author, Labels};

/// A change of data and segments by hand.
#[derive(Debug, Clone, Default)]
pub struct LabelEdit {
    /// Keys to set.
    pub data: Map<String, Json>,
    /// Keys to take away.
    pub remove_data: Vec<String>,
    /// Segments to add.
    pub segments: Vec<String>,
    /// Segments to take away.
    pub remove_segments: Vec<String>,
}

impl Labels {
    pub(super) fn set_data(&mut self, data: Map<String, Json>, author: Author) {
        for (key, value) in data {
            if self.data.get(&key) != Some(&value) || !self.data_authors.contains_key(&key) {
                self.data_authors.insert(key.clone(), author);
            }
            self.data.insert(key, value);
        }
    }

    pub(super) fn replace_data(&mut self, data: Map<String, Json>, author: Author) {
        self.data.retain(|key, _| data.contains_key(key));
        self.data_authors.retain(|key, _| data.contains_key(key));
        self.set_data(data, author);
    }

    pub(super) fn add_segments(&mut self, segments: Vec<String>, author: Author) {
        for segment in segments {
            if !self.segments.contains(&segment) {
                self.segment_authors.insert(segment.clone(), author);
                self.segments.push(segment);
            }
        }
    }

    pub(super) fn replace_segments(&mut self, segments: &[String], author: Author) {
        self.segment_authors
            .retain(|segment, _| segments.contains(segment));
        self.segments.retain(|segment| segments.contains(segment));
        self.add_segments(segments.to_vec(), author);
        self.segments
            .sort_by_key(|segment| segments.iter().position(|other| other == segment));
    }

    /// Returns whether data, and whether segments changed.
    pub(super) fn edit(&mut self, edit: LabelEdit, author: Author) -> (bool, bool) {
        let before = (self.data.clone(), self.segments.clone());
        for key in edit.remove_data {
            self.data.remove(&key);
            self.data_authors.remove(&key);
        }
        self.set_data(edit.data, author);
        self.segments
            .retain(|segment| !edit.remove_segments.contains(segment));
        self.add_segments(edit.segments, author);
        let segments = &self.segments;
        self.segment_authors
            .retain(|segment, _| segments.contains(segment));
        (before.0 != self.data, before.1 != self.segments)
    }
}
