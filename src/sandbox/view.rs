//! The state as JSON: what the inbox page and scripts see.

use serde::Serialize;
use serde_json::{Value as Json, json};

use super::{
    journal::{Call, Hook},
    state::{Contact, Conversation, State},
};

/// How many journal entries a look at the whole state shows; the journals have their own addresses.
const RECENT: usize = 300;

/// How many openings of a conversation are shown with their cost.
const OPENINGS: usize = 6;

/// Everything the page draws.
#[derive(Debug, Serialize)]
struct View<'a> {
    version: u64,
    now: i64,
    conversations: Vec<Opened<'a>>,
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

/// A conversation and what its last openings cost.
#[derive(Debug, Serialize)]
struct Opened<'a> {
    #[serde(flatten)]
    conversation: &'a Conversation,
    openings: Vec<Json>,
}

impl State {
    /// The last openings of a conversation, the newest first, with the calls that each one cost.
    fn costs(&self, conversation: &Conversation) -> Vec<Json> {
        let mut until = u64::MAX;
        let mut costs = Vec::new();
        for mark in conversation.openings.iter().rev().take(OPENINGS) {
            let calls = self.calls_between(conversation, mark.call_marker, until);
            costs.push(json!({"at": mark.at, "by": mark.by, "calls": calls}));
            until = mark.call_marker;
        }
        costs
    }

    /// The whole state; journals are cut to their end.
    pub(super) fn view(&self, now: i64) -> Json {
        let view = View {
            version: self.version,
            now,
            conversations: self
                .conversations
                .iter()
                .map(|conversation| Opened {
                    conversation,
                    openings: self.costs(conversation),
                })
                .collect(),
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
