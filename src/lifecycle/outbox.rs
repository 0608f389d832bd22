//! What may become of an occurrence, and what the ledger remembers of it.
//!
//! `scheduled → due → sending → sent` is the way to Crisp. Every other state says in one word why an occurrence is not
//! on it. A state that reached, or may have reached, the customer is never left for one that sends.

use std::{fmt, str::FromStr};

use jiff::Timestamp;

/// Where an occurrence stands.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum OutboxState {
    /// Its time has not come: a future instant, the grace, a guard that opens later.
    Scheduled,
    /// It waits for a worker to check it once more and send it.
    Due,
    /// The request is under way, or was when something died. Committed before the request leaves.
    Sending,
    /// Crisp has it, by our hand.
    Sent,
    /// It happened before the rule was armed.
    Baseline,
    /// It was older than the rule's `max_age` before it could be sent.
    Expired,
    /// Something later made it untrue.
    Superseded,
    /// Another sender told Crisp first.
    AlreadyInCrisp,
    /// `lifecycle.require` is not true of this user.
    NoConsent,
    /// `lifecycle.exclude` is true of this user.
    Excluded,
    /// A person has to release it: the brake, `min_gap`, `after_ambiguous = "hold"`.
    Held,
    /// Crisp has no contact to put it on.
    Parked,
    /// Nobody can prove whether Crisp has it, so it is not sent again.
    Unsure,
}

impl OutboxState {
    /// Every state, in the order of the documentation.
    pub const ALL: [Self; 13] = [
        Self::Scheduled,
        Self::Due,
        Self::Sending,
        Self::Sent,
        Self::Baseline,
        Self::Expired,
        Self::Superseded,
        Self::AlreadyInCrisp,
        Self::NoConsent,
        Self::Excluded,
        Self::Held,
        Self::Parked,
        Self::Unsure,
    ];

    /// The states that say why an occurrence was not sent.
    pub const SKIPPED: [Self; 9] = [
        Self::Baseline,
        Self::Expired,
        Self::Superseded,
        Self::AlreadyInCrisp,
        Self::NoConsent,
        Self::Excluded,
        Self::Held,
        Self::Parked,
        Self::Unsure,
    ];

    /// The word for it, in tables, commands and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Due => "due",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Baseline => "baseline",
            Self::Expired => "expired",
            Self::Superseded => "superseded",
            Self::AlreadyInCrisp => "already_in_crisp",
            Self::NoConsent => "no_consent",
            Self::Excluded => "excluded",
            Self::Held => "held",
            Self::Parked => "parked",
            Self::Unsure => "unsure",
        }
    }

    /// Reads the word; `None` for a word of a newer version.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// What it means, in a sentence for the operator.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Scheduled => {
                "Its moment has not come: it is looked at again then, without anybody asking."
            }
            Self::Due => "Its turn has come: it is checked once more, and sent.",
            Self::Sending => {
                "The request left, and its answer is not known. Committed before it left, so that no crash repeats it."
            }
            Self::Sent => "Crisp has it, by our hand.",
            Self::Baseline => {
                "It happened before the rule was armed. What is found so makes no row at all; this is for a watermark that was moved under a row."
            }
            Self::Expired => "It was too old, or a person gave it up. It is never sent.",
            Self::Superseded => "Something later made it untrue. It is never sent.",
            Self::AlreadyInCrisp => {
                "Somebody else told Crisp, most often the app. It is never sent."
            }
            Self::NoConsent => {
                "`require` is not true of the user. It goes if that changes within `max_age`."
            }
            Self::Excluded => {
                "`exclude` is true of the user. It goes if that changes within `max_age`."
            }
            Self::Held => "A person has to decide, within `max_age`.",
            Self::Parked => {
                "Crisp has no contact to put it on. It goes when there is one, within `max_age`."
            }
            Self::Unsure => {
                "Nobody can prove whether Crisp has it, so it is not sent again by itself."
            }
        }
    }

    /// Whether `events release` lets such a row go; `unsure` has to be named.
    pub const fn is_released(self) -> bool {
        matches!(self, Self::Held | Self::Parked | Self::Unsure)
    }

    /// Whether `events drop` gives such a row up.
    pub const fn is_dropped(self) -> bool {
        matches!(
            self,
            Self::Scheduled
                | Self::Due
                | Self::Held
                | Self::Parked
                | Self::NoConsent
                | Self::Excluded
        )
    }

    /// Whether nothing has been decided for good: it may still be sent, or be dropped because something later happened.
    pub const fn is_undecided(self) -> bool {
        matches!(
            self,
            Self::Scheduled
                | Self::Due
                | Self::NoConsent
                | Self::Excluded
                | Self::Held
                | Self::Parked
        )
    }

    /// Whether Crisp has the occurrence, or may have it: then nothing older of its event is sent.
    pub const fn may_be_in_crisp(self) -> bool {
        matches!(
            self,
            Self::Sending | Self::Sent | Self::AlreadyInCrisp | Self::Unsure
        )
    }

    /// Whether a row may go from this state to `next`. The ledger refuses anything else.
    ///
    /// `sending` is entered from `due` alone. It is left for a state that sends (`due`, `held`) when an answer proved, or
    /// two late reads showed, that Crisp did not take the event. `unsure` is left only by a person (`held`) or by proof.
    pub fn may_become(self, next: Self) -> bool {
        use OutboxState::{
            AlreadyInCrisp, Baseline, Due, Excluded, Expired, Held, NoConsent, Parked, Scheduled,
            Sending, Sent, Superseded, Unsure,
        };
        match self {
            Due => true,
            Scheduled | NoConsent | Excluded | Held | Parked => next != Sending,
            Sending => next != Baseline,
            Unsure => matches!(next, Unsure | Sent | AlreadyInCrisp | Held),
            Sent | AlreadyInCrisp | Baseline | Expired | Superseded => next == self,
        }
    }
}

impl fmt::Display for OutboxState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A word that is no state of the outbox.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a state of the outbox")]
pub struct UnknownOutboxState(String);

impl FromStr for OutboxState {
    type Err = UnknownOutboxState;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text).ok_or_else(|| UnknownOutboxState(text.to_owned()))
    }
}

/// An occurrence that the ledger remembers: one row of the outbox, as the rules see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// The occurrence key, unique per website and user.
    pub key: String,
    /// The rule's name when the row was made.
    pub event: String,
    /// What the event is about, where a user has several; mostly empty.
    pub subject: String,
    /// When it happened.
    pub instant: Option<Timestamp>,
    /// Where it stands.
    pub state: OutboxState,
    /// The `ref` that it carries, or will carry, into Crisp.
    pub reference: String,
    /// When it may be sent.
    pub due_at: Timestamp,
    /// When the last request left, if one did.
    pub attempted_at: Option<Timestamp>,
    /// When Crisp confirmed it.
    pub sent_at: Option<Timestamp>,
    /// How many reads after the last request counted as proof of absence.
    pub absent_reads: u32,
    /// When the first of them was made.
    pub first_absent_at: Option<Timestamp>,
    /// When the row was written last: of one that is over, when that was decided.
    pub updated_at: Timestamp,
}

impl Known {
    /// When it happened; a row without an instant happened when it became due.
    pub fn happened_at(&self) -> Timestamp {
        self.instant.unwrap_or(self.due_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_its_word() {
        for state in OutboxState::ALL {
            assert_eq!(OutboxState::parse(state.as_str()), Some(state));
            assert_eq!(
                serde_json::to_value(state).expect("a state is text"),
                state.as_str()
            );
        }
        assert!("posted".parse::<OutboxState>().is_err());
    }

    #[test]
    fn what_is_in_crisp_is_never_sent_again() {
        for state in [
            OutboxState::Sent,
            OutboxState::AlreadyInCrisp,
            OutboxState::Baseline,
            OutboxState::Expired,
            OutboxState::Superseded,
        ] {
            for next in OutboxState::ALL {
                assert_eq!(state.may_become(next), next == state, "{state} → {next}");
            }
        }
    }

    #[test]
    fn sending_begins_at_due_alone() {
        for state in OutboxState::ALL {
            assert_eq!(
                state.may_become(OutboxState::Sending),
                matches!(state, OutboxState::Due | OutboxState::Sending),
                "{state}"
            );
        }
    }

    #[test]
    fn nobody_knows_is_settled_by_a_person_or_by_proof() {
        let ways: Vec<_> = OutboxState::ALL
            .into_iter()
            .filter(|next| OutboxState::Unsure.may_become(*next))
            .collect();
        assert_eq!(
            ways,
            [
                OutboxState::Sent,
                OutboxState::AlreadyInCrisp,
                OutboxState::Held,
                OutboxState::Unsure
            ]
        );
    }
}
