//! Which lifecycle events Crisp missed, and whether it is safe to send them.

mod ambiguity;
pub mod limits;
mod occurrence;
mod outbox;
mod period;
mod source;
pub mod timeline;

pub use ambiguity::{Ambiguity, BETWEEN_READS, PATIENCE, Reading, settle_ambiguous};
pub use occurrence::{Occurrence, OccurrenceAt, payload};
pub use outbox::{Known, OutboxState, UnknownOutboxState};
pub use source::{AfterAmbiguous, Color, LifecycleSource, RuleSource, Sender};
