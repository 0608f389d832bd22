//! The little world a sandbox keeps: conversations and contacts, as Crisp would hold them.
//!
//! Everything that changes it runs under one lock ([`super::Shared::act`]) and is told what time it is, so the world is
//! never seen half changed. What the world tells the outside leaves through [`State::emit`], in `emit`, in order.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::{
    fault::Fault,
    journal::{Call, CallJournal, Hook, HookState},
    rest::LateRequest,
    settings::{Behaviour, TokenSettings, WebhookSettings},
};

/// Who changed something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Author {
    /// A REST call: the service under test.
    Service,
    /// An agent in the inbox.
    Agent,
    /// The visitor's browser.
    Visitor,
    /// Crisp itself.
    Crisp,
}

/// An event on a contact's timeline.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TimelineEvent {
    /// Its name.
    pub text: String,
    /// Its flat data.
    pub data: Map<String, Json>,
    /// One of Crisp's ten colours.
    pub color: Option<String>,
    /// When Crisp received it, in milliseconds since the epoch.
    pub timestamp: i64,
    /// Who sent it.
    pub author: Author,
}

/// A line of the conversation.
#[derive(Debug, Clone, Serialize)]
pub struct Message {
    /// `user` or `operator`.
    pub from: &'static str,
    /// What was said.
    pub text: String,
    /// When, in milliseconds since the epoch.
    pub at: i64,
}

/// A proof of an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// `email`.
    pub identity: String,
    /// `signature`.
    pub method: String,
    /// The address that was proven.
    pub annotation: String,
}

/// Data and segments, and who wrote each.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Labels {
    /// Data by key.
    pub data: Map<String, Json>,
    /// Segments in the order they came.
    pub segments: Vec<String>,
    /// Who wrote a key last.
    pub data_authors: BTreeMap<String, Author>,
    /// Who added a segment.
    pub segment_authors: BTreeMap<String, Author>,
}

/// What an agent saw before a conversation was last opened.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Seen {
    /// On the conversation.
    pub session: Labels,
    /// On the contact.
    pub contact: Labels,
    /// How many events its timeline held.
    pub events: usize,
}

/// The last time somebody opened the conversation.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Opening {
    /// How many times so far.
    pub count: u32,
    /// When, in milliseconds since the epoch.
    pub at: i64,
    /// The last call before it: later ones are what the opening cost.
    pub call_marker: u64,
    /// The last webhook before it.
    pub hook_marker: u64,
    /// What the agent saw until then.
    pub before: Seen,
}

/// One time that somebody opened it.
#[derive(Debug, Clone, Serialize)]
pub struct OpeningMark {
    /// When, in milliseconds since the epoch.
    pub at: i64,
    /// The visitor, or an agent in the inbox.
    pub by: Author,
    /// The last call before it.
    pub call_marker: u64,
}

/// A conversation.
#[derive(Debug, Clone, Serialize)]
pub struct Conversation {
    /// Its website.
    pub website: String,
    /// `session_…`.
    pub session_id: String,
    /// The contact it is bound to.
    pub people_id: Option<String>,
    /// `chat`, `email` or another.
    pub origin: String,
    /// `pending`, `unresolved` or `resolved`.
    pub state: String,
    /// The visitor's name.
    pub nickname: Option<String>,
    /// The visitor's address, proven or not.
    pub email: Option<String>,
    /// Whether Crisp calls the visitor verified.
    pub is_verified: bool,
    /// Which proofs it has.
    pub verifications: Vec<Verification>,
    /// Session data and segments.
    #[serde(flatten)]
    pub labels: Labels,
    /// The other metas, `phone`, `subject`, `device` …
    pub metas: Map<String, Json>,
    /// What was said.
    pub messages: Vec<Message>,
    /// When it began.
    pub created_at: i64,
    /// When it last changed.
    pub updated_at: i64,
    /// The last opening.
    pub opening: Opening,
    /// Every opening, the first one first.
    #[serde(skip)]
    pub openings: Vec<OpeningMark>,
}

/// A contact: a profile in Crisp's CRM.
#[derive(Debug, Clone, Serialize)]
pub struct Contact {
    /// Its website.
    pub website: String,
    /// Crisp's id.
    pub people_id: String,
    /// Its address.
    pub email: Option<String>,
    /// The rest of the card: `person`, `company`, `notepad`, `active`.
    pub card: Map<String, Json>,
    /// Contact data and segments.
    #[serde(flatten)]
    pub labels: Labels,
    /// Its timeline, oldest first.
    pub events: Vec<TimelineEvent>,
    /// When it was created.
    pub created_at: i64,
    /// When it last changed.
    pub updated_at: i64,
}

impl Contact {
    /// The name on the card.
    pub fn nickname(&self) -> Option<&str> {
        self.card.get("person")?.get("nickname")?.as_str()
    }
}

/// A website and whether the plugin is installed on it.
#[derive(Debug, Clone, Serialize)]
pub struct Website {
    /// Its id.
    pub website_id: String,
    /// Whether the plugin is installed; otherwise `not_subscribed`.
    pub subscribed: bool,
}

/// Everything a sandbox knows.
#[derive(Debug)]
pub struct State {
    pub(super) behaviour: Behaviour,
    pub(super) tokens: Vec<TokenSettings>,
    pub(super) webhook: Option<WebhookSettings>,
    pub(super) websites: Vec<Website>,
    pub(super) conversations: Vec<Conversation>,
    pub(super) contacts: Vec<Contact>,
    pub(super) faults: Vec<Fault>,
    pub(super) late: Vec<LateRequest>,
    pub(super) calls: CallJournal,
    pub(super) hooks: Vec<Hook>,
    pub(super) hooks_held: bool,
    /// Answers given once and given again while lists are cached.
    pub(super) cache: BTreeMap<String, Json>,
    /// Counts how often held answers were let go.
    pub(super) releases: u64,
    pub(super) version: u64,
}

impl State {
    pub(super) fn new(
        websites: Vec<String>,
        tokens: Vec<TokenSettings>,
        webhook: Option<WebhookSettings>,
        behaviour: Behaviour,
    ) -> Self {
        Self {
            behaviour,
            tokens,
            webhook,
            websites: websites
                .into_iter()
                .map(|website_id| Website {
                    website_id,
                    subscribed: true,
                })
                .collect(),
            conversations: Vec::new(),
            contacts: Vec::new(),
            faults: Vec::new(),
            late: Vec::new(),
            calls: CallJournal::default(),
            hooks: Vec::new(),
            hooks_held: false,
            cache: BTreeMap::new(),
            releases: 0,
            version: 1,
        }
    }

    /// The conversations, oldest first.
    pub fn conversations(&self) -> &[Conversation] {
        &self.conversations
    }

    /// One conversation.
    pub fn conversation(&self, session_id: &str) -> Option<&Conversation> {
        self.conversations
            .iter()
            .find(|conversation| conversation.session_id == session_id)
    }

    pub(super) fn conversation_mut(&mut self, session_id: &str) -> Option<&mut Conversation> {
        self.conversations
            .iter_mut()
            .find(|conversation| conversation.session_id == session_id)
    }

    /// The contacts, oldest first.
    pub fn contacts(&self) -> &[Contact] {
        &self.contacts
    }

    /// One contact, by id or by address, on the first website that has it.
    pub fn contact(&self, id_or_email: &str) -> Option<&Contact> {
        self.contacts
            .iter()
            .find(|contact| names(contact, id_or_email))
    }

    pub(super) fn contact_mut(&mut self, id_or_email: &str) -> Option<&mut Contact> {
        self.contacts
            .iter_mut()
            .find(|contact| names(contact, id_or_email))
    }

    pub(super) fn contact_of(&self, website: &str, id_or_email: &str) -> Option<&Contact> {
        self.contacts
            .iter()
            .find(|contact| contact.website == website && names(contact, id_or_email))
    }

    /// The REST requests so far.
    pub fn calls(&self) -> &CallJournal {
        &self.calls
    }

    /// The webhooks so far.
    pub fn hooks(&self) -> &[Hook] {
        &self.hooks
    }

    /// The number of the last webhook.
    pub fn hook_marker(&self) -> u64 {
        // Webhooks are never taken out, only reordered.
        u64::try_from(self.hooks.len()).unwrap_or(u64::MAX)
    }

    /// The faults that still wait for their request.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// How many requests were taken and have not taken effect yet.
    pub fn late_count(&self) -> usize {
        self.late.len()
    }

    /// Whether no webhook waits for its turn or its answer.
    pub fn hooks_idle(&self) -> bool {
        !self.hooks.iter().any(|hook| {
            hook.state == HookState::Sending
                || (hook.state == HookState::Queued && !self.hooks_held)
        })
    }

    /// The calls since a conversation was last opened that concern it or its contact.
    pub fn calls_of_opening(&self, session_id: &str) -> Vec<&Call> {
        self.conversation(session_id)
            .map(|conversation| {
                self.calls_between(conversation, conversation.opening.call_marker, u64::MAX)
            })
            .unwrap_or_default()
    }

    /// The calls about a conversation or its contact: those after one marker, up to another.
    pub(super) fn calls_between(
        &self,
        conversation: &Conversation,
        after: u64,
        until: u64,
    ) -> Vec<&Call> {
        self.calls
            .since(after)
            .iter()
            .take_while(|call| call.number <= until)
            .filter(|call| {
                call.session.as_deref() == Some(&conversation.session_id)
                    || (call.people.is_some() && call.people == conversation.people_id)
                    || call.address.as_deref().is_some_and(|address| {
                        conversation
                            .email
                            .as_deref()
                            .is_some_and(|email| email.eq_ignore_ascii_case(address))
                    })
            })
            .collect()
    }
}

fn names(contact: &Contact, id_or_email: &str) -> bool {
    if id_or_email.contains('@') {
        contact
            .email
            .as_deref()
            .is_some_and(|email| email.eq_ignore_ascii_case(id_or_email))
    } else {
        contact.people_id == id_or_email
    }
}
