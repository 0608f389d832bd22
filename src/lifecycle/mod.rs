//! Which lifecycle events Crisp missed, and whether it is safe to send them.
//!
//! "Sorry to see you go" reaches a customer once. Everything that decides it is here, and none of it reads a clock, a
//! socket or a table: [`occurrences`] says what happened, [`decide()`] what becomes of it, [`recheck()`] whether it may leave
//! now, [`timeline`] what Crisp has, and [`settle_ambiguous`] what became of a request without an answer.
//!
//! # The order that makes an event unrepeatable
//!
//! The caller, for one user at a time and under one lease:
//!
//! 1. reads the user, calls [`occurrences`] and [`decide()`], and stores rows and [`Edges`] in one transaction;
//! 2. for each `due` row reads the user again and calls [`recheck()`], with a [`Memory`] that holds what was sent a moment ago,
//!    and asks the [`Brake`] whether it is one too many;
//! 3. where [`Rules::needs_timeline`] says so reads Crisp's timeline past [`timeline::Sought::earliest`], and calls
//!    [`timeline::clear`]; where a cache answered, and shows nothing, it asks again after [`between_cached_reads`], and a list
//!    from before [`Rules::proof_from`] lets nothing go, nor one from before [`Rules::under_way_until`] what a person lets go
//!    without proof;
//! 4. commits `sending` with `attempted_at` and the address, if nothing of the event went to that address within `min_gap`:
//!    from then on nothing older of the event goes ([`OutboxState::may_be_in_crisp`]);
//! 5. posts, once;
//! 6. stores `sent` with the high-water mark of the event, or on a clear refusal what follows from it, or leaves `sending` for [`settle_ambiguous`].
//!
//! A row found in `sending` by a later claim is an attempt without an answer, whatever ended it. `sent` has one way in:
//! Crisp's answer or Crisp's timeline.

mod ambiguity;
mod brake;
mod compile;
mod decide;
mod due;
mod edges;
mod error;
mod forecast;
mod forgotten;
mod gaps;
mod gate;
mod later_events;
pub mod limits;
mod memory;
mod moment;
mod occurrence;
mod outbox;
mod period;
pub mod reason;
mod recheck;
mod rule;
mod rules;
mod source;
mod sweep;
pub mod timeline;
mod trial;
mod words;

pub use ambiguity::{
    Ambiguity, PATIENCE, Reading, between_cached_reads, between_reads, settle_ambiguous,
};
pub use brake::{BRAKE_WINDOW, Brake, Release, Share};
pub use decide::{Decision, Judgement, decide, judge, look_again};
pub use due::{Found, occurrences};
pub use edges::{Edge, Edges};
pub use error::RuleError;
pub use forecast::{Forecast, forecast};
pub use gaps::{Gap, note_gap};
pub use memory::{Guards, LOOK_AGAIN, Memory, Swept, Verdict};
pub use occurrence::{Occurrence, OccurrenceAt, payload};
pub use outbox::{Known, OutboxState, UnknownOutboxState};
pub use recheck::{Fresh, Recheck, recheck};
pub use rule::Rule;
pub use rules::Rules;
pub use source::{
    AfterAmbiguous, BrakeSource, Color, LifecycleSource, RuleBrakeSource, RuleSource, Sender,
};
pub use sweep::{Sweep, SweepSource};
pub use trial::{is_trial, new_trial_ref, trial};
pub use words::span;

/// What is wrong with the table, and where.
pub use crate::expression::DefinitionFault as Fault;

#[cfg(test)]
mod tests;
