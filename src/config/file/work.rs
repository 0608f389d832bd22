//! `[triggers]`, `[worker]`: what is done when, as written.

use std::num::{NonZeroU32, NonZeroUsize};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::quantity::{Interval, Wait};

/// A webhook that asks for a refresh, by Crisp's name.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum TriggerName {
    /// The visitor wrote.
    #[serde(rename = "message:send")]
    MessageSend,
    /// The conversation got an e-mail address.
    #[serde(rename = "session:set_email")]
    SetEmail,
    /// The address was verified, or no longer is.
    #[serde(rename = "session:update_verify")]
    UpdateVerify,
    /// The conversation was put into a state other than resolved.
    #[serde(rename = "session:set_state")]
    SetState,
    /// An operator opened the conversation.
    #[serde(rename = "session:set_opened")]
    SetOpened,
    /// An operator started the conversation.
    #[serde(rename = "session:request:initiated")]
    RequestInitiated,
    /// A contact was bound to the conversation.
    #[serde(rename = "people:bind:session")]
    BindSession,
}

impl TriggerName {
    /// Every trigger.
    pub const ALL: [Self; 7] = [
        Self::MessageSend,
        Self::SetEmail,
        Self::UpdateVerify,
        Self::SetState,
        Self::SetOpened,
        Self::RequestInitiated,
        Self::BindSession,
    ];
}

/// `[triggers]`: what makes a conversation be refreshed, and how often.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TriggersFile {
    /// The webhooks that ask for a refresh; all of them by default.
    pub on: Vec<TriggerName>,
    /// How long a refreshed conversation counts as fresh: a message within it is looked at when it is over.
    pub fresh_for: Wait,
    /// How long the first refresh waits for what belongs together, such as a message and the e-mail address.
    pub debounce: Wait,
    /// Most refreshes of one conversation, in 10 minutes, that do not wait for `fresh_for`.
    pub urgent_cap: NonZeroU32,
}

impl Default for TriggersFile {
    fn default() -> Self {
        Self {
            on: TriggerName::ALL.to_vec(),
            fresh_for: Wait::seconds(60),
            debounce: Wait::seconds(1),
            urgent_cap: NonZeroU32::new(5).expect("not zero"),
        }
    }
}

/// `[worker]`: how work is done and tried again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WorkerFile {
    /// Pieces of work in hand at a time.
    pub concurrency: NonZeroUsize,
    /// How long one attempt may take before another process may take over; at least three times `crisp.timeout`.
    pub lease: Interval,
    /// Attempts before work is buried as a dead letter.
    pub attempts: NonZeroU32,
    /// The first wait after a failure; it doubles, and chance shortens it.
    pub backoff_min: Interval,
    /// The longest wait after a failure.
    pub backoff_max: Interval,
}

impl Default for WorkerFile {
    fn default() -> Self {
        Self {
            concurrency: NonZeroUsize::new(8).expect("not zero"),
            lease: Interval::seconds(120),
            attempts: NonZeroU32::new(12).expect("not zero"),
            backoff_min: Interval::seconds(2),
            backoff_max: Interval::seconds(60 * 60),
        }
    }
}
