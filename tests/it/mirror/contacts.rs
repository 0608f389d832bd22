//! The books of a contact. Crisp merges a contact's data by key, so nothing of theirs may be lost there; its segments are
//! replaced as a whole, so what is typed between an attempt's read and its write may be, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use crisp_sync::sandbox::{Call, State};
use serde_json::{Map, Value as Json};

use super::books::{Attempt, ROUND_TRIP_MS, is_our_segment, their_data};

/// What is not ours in a contact.
#[derive(Debug, Clone, Default, PartialEq)]
struct Theirs {
    data: Map<String, Json>,
    segments: BTreeSet<String>,
}

/// The books of one contact.
#[derive(Debug)]
pub(super) struct Contact {
    email: String,
    /// What must be there.
    theirs: Theirs,
    /// What an attempt read of the segments, and when.
    reads: BTreeMap<Attempt, (BTreeSet<String>, i64)>,
    calls: u64,
}

impl Contact {
    pub(super) fn open(state: &State, email: String) -> Self {
        Self {
            theirs: theirs(state, &email),
            email,
            reads: BTreeMap::new(),
            calls: state.calls().marker(),
        }
    }

    /// Somebody typed: what is there now is what must be there.
    pub(super) fn typed(&mut self, state: &State) {
        self.theirs = theirs(state, &self.email);
    }

    /// Something else happened, in which `attempt`, and nobody else, talked to Crisp.
    pub(super) fn note(&mut self, state: &State, attempt: Attempt) -> Result<(), String> {
        let calls = state.calls().since(self.calls).to_vec();
        self.calls = state.calls().marker();
        let Some(contact) = state.contact(&self.email) else {
            return Ok(());
        };
        let ours = |call: &&Call| call.applied && call.people.as_ref() == Some(&contact.people_id);
        for call in calls.iter().filter(ours) {
            match call.name {
                "profile.get" => {
                    let read = (self.theirs.segments.clone(), call.at);
                    self.reads.insert(attempt, read);
                }
                "profile.update" => {
                    let read = self.reads.get(&attempt);
                    let (segments, at) = read.ok_or("a profile was written without a read")?;
                    if call.at - at > ROUND_TRIP_MS {
                        let late = call.at - at;
                        return Err(format!("a profile was written {late} ms after its read"));
                    }
                    // One that brings no segments leaves them as they are.
                    let there = theirs(state, &self.email).segments;
                    if there == *segments {
                        self.theirs.segments = there;
                    }
                }
                _ => {}
            }
        }
        self.balance(state)
    }

    /// What is there is what must be there.
    pub(super) fn balance(&self, state: &State) -> Result<(), String> {
        let (there, expected) = (theirs(state, &self.email), &self.theirs);
        if there == *expected {
            return Ok(());
        }
        Err(format!(
            "theirs in the contact is {there:?}, and must be {expected:?}"
        ))
    }
}

/// Whether an address was proven is a conversation's affair.
pub(super) fn is_ours(segment: &str) -> bool {
    segment != "unverified" && is_our_segment(segment)
}

fn theirs(state: &State, email: &str) -> Theirs {
    let Some(contact) = state.contact(email) else {
        return Theirs::default();
    };
    Theirs {
        data: their_data(&contact.labels.data),
        segments: contact
            .labels
            .segments
            .iter()
            .filter(|segment| !is_ours(segment))
            .cloned()
            .collect(),
    }
}
