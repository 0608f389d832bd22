//! Counts calls to Crisp.
//!
//! The quota is daily and every call costs one, so whoever starts a run hands its [`Meter`] to each call and reads it
//! afterwards. A call is recorded by purpose and route template; nothing of whom it was about.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// One request that was made, or tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Why it was made: `read_conversation`.
    pub purpose: &'static str,
    /// Its method.
    pub method: &'static str,
    /// Its path with placeholders for ids.
    pub route: &'static str,
    /// The answer's status, if one came.
    pub status: Option<u16>,
    /// How long it took.
    pub duration: Duration,
}

/// Collects the calls of one run. Clones share the list.
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<Mutex<Vec<Call>>>);

impl Meter {
    /// A meter at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// The calls so far, in their order.
    pub fn calls(&self) -> Vec<Call> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// How many calls there were, answered or not.
    pub fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub(super) fn record(&self, call: Call) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(call);
    }
}
