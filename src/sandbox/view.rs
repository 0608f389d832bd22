//! The state as JSON: what the inbox page and scripts see.

use serde::Serialize;
use serde_json::{Value as Json, json};

use super::{
    journal::{Call, Hook},
    state::{Contact, Conversation, State},
};

/// How many journal entries a look at the whole state shows; the journals have their own addresses.
const RECENT: usize = 300;

/// Everything the page draws.
#[derive(Debug, Serialize)]
struct View<'a> {
    version: u64,
    now: i64,
    conversations: &'a [Conversation],
    contacts: &'a [Contact],
    calls: &'a [Call],
    hooks: &'a [Hook],
    hooks_held: bool,
    late: usize,
    faults: &'a [super::fault::Fault],
    behaviour: &'a super::settings::Behaviour,
    websites: &'a [super::state::Website],
    receiver: bool,
    unexpected: usize,
}

impl State {
    /// The whole state; journals are cut to their end.
    pub(super) fn view(&self, now: i64) -> Json {
        let view = View {
            version: self.version,
            now,
            conversations: &self.conversations,
            contacts: &self.contacts,
            calls: tail(self.calls.all()),
            hooks: tail(&self.hooks),
            hooks_held: self.hooks_held,
            late: self.late.len(),
            faults: &self.faults,
            behaviour: &self.behaviour,
            websites: &self.websites,
            receiver: self.webhook.is_some(),
            unexpected: self.calls.unexpected.len(),
        };
        serde_json::to_value(view).unwrap_or_else(|_impossible| json!({}))
    }
}

fn tail<T>(all: &[T]) -> &[T] {
    &all[all.len().saturating_sub(RECENT)..]
}
