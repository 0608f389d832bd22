//! Triggers: why a row is to be worked, how soon, and which of several stands on it.

use std::{fmt, time::Duration};

use jiff::Timestamp;

use crate::ids::WebsiteId;

use super::work::{Key, WorkKind, words};

words! {
    /// Why a row is to be worked.
    Trigger {
        /// The visitor wrote.
        MessageSend = "message_send",
        /// The conversation's e-mail was set.
        SetEmail = "set_email",
        /// The e-mail is no longer verified.
        UpdateVerify = "update_verify",
        /// The e-mail was verified, says Crisp. No stranger can cause this, so the share of strangers does not hold it back.
        Verified = "verified",
        /// The conversation was reopened.
        SetState = "set_state",
        /// An operator opened it.
        SetOpened = "set_opened",
        /// An operator started it.
        RequestInitiated = "request_initiated",
        /// A contact was bound to it.
        BindSession = "bind_session",
        /// Somebody changed what is ours.
        Overwritten = "overwritten",
        /// A contact came into being.
        ProfileCreated = "profile_created",
        /// A contact was removed.
        ProfileRemoved = "profile_removed",
        /// The refresh of a conversation asks for its person.
        Conversation = "conversation",
        /// The same, of a conversation whose visitor did not prove their address: anybody can type that of somebody else.
        Unproven = "unproven",
        /// It changed while nobody listened.
        Gap = "gap",
        /// A sweep found that something happened to them.
        Sweep = "sweep",
        /// A sweep looks at everybody once more.
        Rescan = "rescan",
        /// An earlier run asked to look again.
        FollowUp = "follow_up",
        /// An operator, or the app, asked.
        Command = "command",
    }
}

impl Trigger {
    /// The standing of what makes no run more urgent that somebody else has planned.
    pub const LAST: u8 = 5;

    /// Which of the triggers that one run serves stands on its row: the smallest, since what a run does depends on who asked.
    /// Among equals the more urgent one does, or the one that brought the run forward.
    pub fn standing(self) -> u8 {
        match self {
            // It says that no stranger asks, whoever else does.
            Self::Verified => 0,
            // It hands on that nobody waits.
            Self::Gap => 2,
            Self::Sweep | Self::FollowUp => 3,
            // Something happened to them: that goes before looking once more.
            Self::Rescan => 4,
            // What others asked for stays theirs, and is not held up for a stranger's sake.
            Self::Unproven => Self::LAST,
            // Somebody looks at the result.
            Self::MessageSend
            | Self::SetEmail
            | Self::UpdateVerify
            | Self::SetState
            | Self::SetOpened
            | Self::RequestInitiated
            | Self::BindSession
            | Self::Overwritten
            | Self::ProfileCreated
            | Self::ProfileRemoved
            | Self::Conversation
            | Self::Command => 1,
        }
    }

    /// Whether nobody asked but a sweep, or an earlier run that waits for something: there is no chat in which somebody looks
    /// at the result.
    pub fn is_unwatched(self) -> bool {
        matches!(self, Self::Sweep | Self::FollowUp | Self::Rescan)
    }
}

/// The order in which due rows are claimed: smaller first.
pub fn priority(kind: WorkKind, trigger: Trigger) -> u8 {
    match (kind, trigger) {
        (WorkKind::Conversation, Trigger::SetOpened) => 0,
        // Nobody waits for it, unless somebody comes and asks, too.
        (_, Trigger::Gap | Trigger::Sweep | Trigger::Rescan) => 3,
        (WorkKind::Conversation, _) => 1,
        (WorkKind::Person | WorkKind::Erase, _) => 2,
        _ => 3,
    }
}

/// How soon a trigger wants its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// Once the last refresh is older than this. The trigger is moved there, never dropped.
    Normal {
        /// How long a refresh counts as fresh.
        fresh_for: Duration,
    },
    /// At once, but only so many times per window and row; what is beyond moves to the window's end.
    Urgent,
    /// At `run_at`, whatever was refreshed before.
    Timer,
}

/// A trigger for one row.
#[derive(Clone, PartialEq, Eq)]
pub struct Enqueue {
    /// What the row is about.
    pub kind: WorkKind,
    /// Whose.
    pub website: WebsiteId,
    /// Which: a session id, a user key, or a name.
    pub key: String,
    /// Why.
    pub trigger: Trigger,
    /// Not before this instant; usually now.
    pub run_at: Timestamp,
    /// How soon.
    pub urgency: Urgency,
    /// Added to `run_at` while the row was never refreshed or its identity is unsettled, whatever the urgency, except
    /// [`Urgency::Timer`]. Fixed from the first trigger: later ones do not push it on.
    pub debounce: Duration,
}

impl fmt::Debug for Enqueue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Enqueue")
            .field("kind", &self.kind)
            .field("website", &self.website)
            .field("key", &Key(self.kind, &self.key))
            .field("trigger", &self.trigger)
            .field("run_at", &self.run_at)
            .field("urgency", &self.urgency)
            .field("debounce", &self.debounce)
            .finish()
    }
}
