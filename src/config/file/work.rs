//! `[triggers]`, `[worker]`, `[sweep]`, `[brake]`: what is done when, as written.

use std::num::{NonZeroU32, NonZeroUsize};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::quantity::{Interval, Percent, Wait};

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

/// `[sweep]`: finding users that no conversation brings up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SweepFile {
    /// Query for users with a change since `:since` and until `:until`, after key `:after`, at most `:limit`, ordered by (`at`, key). No sweep when unset.
    pub query: Option<String>,
    /// Website id of the swept users, unless each row has a `website` column.
    pub website: Option<String>,
    /// Time between two sweeps.
    pub every: Interval,
    /// How far each sweep reaches back before the last one, for rows that were committed late.
    pub overlap: Wait,
    /// Time between two scans of everything a rule could still send.
    pub rescan: Interval,
    /// Rows of one page.
    pub page: NonZeroU32,
}

impl Default for SweepFile {
    fn default() -> Self {
        Self {
            query: None,
            website: None,
            every: Interval::seconds(5 * 60),
            overlap: Wait::seconds(30 * 60),
            rescan: Interval::seconds(24 * 60 * 60),
            page: NonZeroU32::new(500).expect("not zero"),
        }
    }
}

/// `[brake]`: what stops a flood of lifecycle events. Beyond the cap every further one is held until a person releases it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BrakeFile {
    /// Events of one name, per website and sliding hour, that are always let through.
    pub at_least: NonZeroU32,
    /// Share of the known users, in percent, that is let through if it is more than `at_least`.
    pub share: Percent,
}

impl Default for BrakeFile {
    fn default() -> Self {
        Self {
            at_least: NonZeroU32::new(20).expect("not zero"),
            share: Percent(2),
        }
    }
}
