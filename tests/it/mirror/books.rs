//! The books: what agents and visitors typed, what each attempt read, and what its write did to it.
//!
//! Crisp has no compare-and-set, so what is typed between an attempt's read and its write may be lost, and nothing else.
//! The books know both moments of every attempt, so they know exactly what must be there.

use std::collections::{BTreeMap, BTreeSet};

use crisp_sync::sandbox::{Author, Call, State};
use serde_json::{Map, Value as Json};

/// The longest from an attempt's read to its write, by the clock: more than one round trip, less than anything else.
pub(super) const ROUND_TRIP_MS: i64 = 20_000;

/// Which attempt.
pub(super) type Attempt = u32;

/// Data keys that are ours on conversations and contacts: the definition's, the stamps, and a retired one.
pub(super) const OUR_KEYS: [&str; 6] = [
    "plan",
    "tenant",
    "admin",
    "legacy",
    "context_as_of",
    "context_state",
];

pub(super) fn is_our_segment(segment: &str) -> bool {
    segment.starts_with("plan-")
        || segment.starts_with("status-")
        || ["onboarded", "unverified"].contains(&segment)
}

/// What is not ours in a conversation.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Theirs {
    data: Map<String, Json>,
    segments: BTreeSet<String>,
}

impl Theirs {
    pub(super) fn of(state: &State, session: &str) -> Self {
        let labels = &state.conversation(session).expect("it is there").labels;
        Self {
            data: their_data(&labels.data),
            segments: their_segments(labels.segments.iter().map(String::as_str)),
        }
    }
}

pub(super) fn their_data(data: &Map<String, Json>) -> Map<String, Json> {
    let theirs = data
        .iter()
        .filter(|(key, _)| !OUR_KEYS.contains(&key.as_str()));
    theirs
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn their_segments<'a>(segments: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    segments
        .filter(|segment| !is_our_segment(segment))
        .map(str::to_owned)
        .collect()
}

/// A read, and when it was.
#[derive(Debug)]
struct Read {
    theirs: Theirs,
    at: i64,
}

/// A write that Crisp has taken: when, and whose.
#[derive(Debug, Clone, Copy)]
struct Write {
    by: Attempt,
    at: i64,
}

/// The books of one conversation.
#[derive(Debug)]
pub(super) struct Books {
    session: String,
    /// What must be there.
    theirs: Theirs,
    reads: BTreeMap<Attempt, Read>,
    /// Writes on their way, the first to land first.
    underway: Vec<Write>,
    calls: u64,
    hooks: u64,
    /// Requests about the conversation.
    pub(super) requests: usize,
}

impl Books {
    pub(super) fn open(state: &State, session: &str) -> Self {
        Self {
            session: session.to_owned(),
            theirs: Theirs::of(state, session),
            reads: BTreeMap::new(),
            underway: Vec::new(),
            calls: state.calls().marker(),
            hooks: state.hook_marker(),
            requests: 0,
        }
    }

    /// Somebody typed: what is there now is what must be there.
    pub(super) fn typed(&mut self, state: &State) {
        self.theirs = Theirs::of(state, &self.session);
        self.hooks = state.hook_marker();
    }

    /// Something else happened, in which `attempt`, and nobody else, talked to Crisp.
    pub(super) fn note(&mut self, state: &State, attempt: Attempt) -> Result<(), String> {
        let calls = state.calls().since(self.calls).to_vec();
        self.calls = state.calls().marker();
        let mut written = None;
        let ours = |call: &&Call| call.session.as_deref() == Some(self.session.as_str());
        let calls: Vec<&Call> = calls.iter().filter(ours).collect();
        self.requests += calls.len();
        for call in calls {
            match (call.name, call.applied) {
                ("conversation.get", true) => {
                    let theirs = self.theirs.clone();
                    let at = call.at;
                    self.reads.insert(attempt, Read { theirs, at });
                }
                ("metas.update", true) => {
                    written = Some(Write {
                        by: attempt,
                        at: call.at,
                    });
                }
                // Taken, and not applied yet.
                ("metas.update", false) if state.late_count() > self.underway.len() => {
                    self.underway.push(Write {
                        by: attempt,
                        at: call.at,
                    });
                }
                _ => {}
            }
        }
        self.apply(state, written)
    }

    /// Writes on their way landed, or never will.
    pub(super) fn landed(&mut self, state: &State) -> Result<(), String> {
        self.apply(state, None)
    }

    /// Crisp tells what each write did to it.
    fn apply(&mut self, state: &State, written: Option<Write>) -> Result<(), String> {
        let echoes: Vec<Json> = state
            .hooks()
            .iter()
            .filter(|hook| hook.number > self.hooks)
            .filter(|hook| hook.cause == Author::Service)
            .filter(|hook| hook.session.as_deref() == Some(&self.session))
            .map(|hook| serde_json::from_str(&hook.body).expect("JSON"))
            .collect();
        self.hooks = state.hook_marker();
        if echoes.is_empty() {
            return Ok(());
        }
        let write = match written {
            Some(write) => write,
            None => *self
                .underway
                .first()
                .ok_or("something was written by nobody")?,
        };
        let read = self
            .reads
            .get(&write.by)
            .ok_or("an attempt wrote without a read")?;
        if write.at - read.at > ROUND_TRIP_MS {
            let late = write.at - read.at;
            return Err(format!("a write left {late} ms after its read"));
        }
        for echo in echoes {
            let said = &echo["data"];
            if let Some(data) = said["data"].as_object() {
                let data = their_data(data);
                if data != read.theirs.data {
                    let was = &read.theirs.data;
                    return Err(format!(
                        "a write changed what is theirs: {was:?} to {data:?}"
                    ));
                }
                self.theirs.data = data;
            }
            if let Some(segments) = said["segments"].as_array() {
                let segments = their_segments(segments.iter().filter_map(Json::as_str));
                if segments != read.theirs.segments {
                    let was = &read.theirs.segments;
                    return Err(format!(
                        "a write changed what is theirs: {was:?} to {segments:?}"
                    ));
                }
                self.theirs.segments = segments;
            }
        }
        if written.is_none() {
            self.underway.remove(0);
        }
        Ok(())
    }

    /// What is there is what must be there.
    pub(super) fn balance(&self, state: &State) -> Result<(), String> {
        let there = Theirs::of(state, &self.session);
        if there == self.theirs {
            return Ok(());
        }
        let expected = &self.theirs;
        Err(format!("theirs is {there:?}, and must be {expected:?}"))
    }
}
