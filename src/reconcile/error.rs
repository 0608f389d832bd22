//! What can stop a refresh, and what to do next.

use std::time::Duration;

use crate::{
    breaker::{CRISP, DEFINITION},
    context::EvaluateError,
    crisp::error::{CrispError, Verdict},
    ledger::LedgerError,
    lifecycle::RuleError,
    users::UsersError,
};

/// Why a refresh stopped.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// Crisp refused or did not answer.
    #[error("a call to Crisp failed")]
    Crisp(#[from] CrispError),
    /// The app's database refused or did not answer.
    #[error("the look-up in the app's database failed")]
    Users(#[from] UsersError),
    /// The ledger could not be read or written.
    #[error("the ledger failed")]
    Ledger(#[from] LedgerError),
    /// The definition does not fit the row.
    #[error("the context definition could not be evaluated")]
    Evaluate(#[from] EvaluateError),
    /// A lifecycle rule does not fit the row.
    #[error("a lifecycle rule could not be evaluated")]
    Rule(#[from] RuleError),
    /// The lease ran out; somebody else has the work now.
    #[error("the lease was lost")]
    LeaseLost,
    /// The run took longer than its lease allows, and was dropped.
    #[error("the refresh took longer than its deadline")]
    Deadline,
    /// The run panicked. Nothing of its words is kept: they may hold a value.
    #[error("the refresh panicked")]
    Panicked,
}

/// What to do with the work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disposition {
    /// Another attempt, not before what was asked for.
    Retry {
        /// What Crisp asked for.
        after: Option<Duration>,
    },
    /// Another attempt, however often it takes.
    Wait,
    /// Every call with this token waits.
    PauseToken {
        /// What Crisp asked for.
        after: Option<Duration>,
        /// Why, for people.
        reason: String,
    },
    /// Every call for this website waits.
    PauseWebsite {
        /// Why, for people.
        reason: String,
    },
    /// Every call for this website waits that is of the work's kind.
    PauseKind {
        /// Why, for people.
        reason: String,
    },
    /// What it was about is gone; there is nothing to do.
    Gone,
    /// Trying again would fail the same way.
    Invalid,
    /// Nothing may be written: somebody else has the work.
    LeaseLost,
}

impl ReconcileError {
    /// Says what to do next. Only the worker acts on it.
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Crisp(error) => match error.verdict() {
                Verdict::Retry { after } => Disposition::Retry { after },
                Verdict::PauseToken { after, reason } => Disposition::PauseToken {
                    after,
                    reason: reason.to_owned(),
                },
                Verdict::PauseWebsite { reason } => Disposition::PauseWebsite {
                    reason: reason.to_owned(),
                },
                Verdict::PauseKind { reason } => Disposition::PauseKind {
                    reason: reason.to_owned(),
                },
                Verdict::Gone => Disposition::Gone,
                Verdict::Invalid => Disposition::Invalid,
            },
            // An outage of the app's database or of the ledger is nobody's fault but the outage's: it buries no work.
            Self::Users(error) if error.is_transient() => Disposition::Wait,
            Self::Ledger(_) => Disposition::Wait,
            // The next attempt asks for the same, and will not find it.
            Self::Users(UsersError::Config { .. }) => Disposition::Invalid,
            // The tables changed under the query, or the rows under the definition: that is everybody's, and is put right by
            // a person. Or it is this row's, and then the attempts end it. A deadline that passed may be met the next time.
            Self::Users(_)
            | Self::Evaluate(_)
            | Self::Rule(_)
            | Self::Deadline
            | Self::Panicked => Disposition::Retry { after: None },
            Self::LeaseLost => Disposition::LeaseLost,
        }
    }

    /// The breaker that counts such failures: what stands behind a failure that may be everybody's.
    pub fn breaker(&self) -> Option<String> {
        match self {
            Self::Crisp(error) => error.is_outage().then(|| CRISP.to_owned()),
            Self::Users(error) => error.breaker(),
            Self::Evaluate(_) | Self::Rule(_) => Some(DEFINITION.to_owned()),
            Self::Ledger(_) | Self::LeaseLost | Self::Deadline | Self::Panicked => None,
        }
    }

    /// Whether the same thing may well work later.
    pub fn is_transient(&self) -> bool {
        matches!(
            self.disposition(),
            Disposition::Retry { .. } | Disposition::Wait
        )
    }

    /// Whether a write may have been applied though nobody said so: what the mirror holds is in doubt.
    pub fn leaves_doubt(&self) -> bool {
        match self {
            Self::Crisp(error) => error.is_ambiguous(),
            Self::Deadline | Self::Panicked => true,
            _ => false,
        }
    }

    /// Whether it may be the trouble of this one person's row, so that others can be looked at all the same. Where it is
    /// everybody's, a breaker opens, and what is refused then is nobody's in particular.
    pub fn may_be_of_one(&self) -> bool {
        match self {
            Self::Users(error) => error.may_be_of_one(),
            Self::Evaluate(_) | Self::Rule(_) => true,
            _ => false,
        }
    }

    /// The next step for a person, where there is one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Crisp(error) => error.hint().map(Into::into),
            Self::Users(error) => error.hint().map(Into::into),
            Self::Evaluate(_) | Self::Rule(_) => {
                Some("`crisp-sync plan --email …` shows the same fault".to_owned())
            }
            Self::Panicked => Some(
                "this is a fault of crisp-sync: standard error tells where it happened".to_owned(),
            ),
            Self::Ledger(_) | Self::LeaseLost | Self::Deadline => None,
        }
    }
}
