//! Whose write was last: the check that an older claim never has the last word.
//!
//! The service says in `X-Request-Id` which claim of a row it works under, `<generation>.<attempt>`. A process that was
//! frozen, cut off or thought dead may go on under a claim that somebody else has taken over; what it writes then would
//! undo what the newer one wrote.

use std::collections::BTreeMap;

use serde::Serialize;

use super::journal::Call;

/// A write that took effect after one of a newer claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The number of the late write.
    pub call: u64,
    /// Its stamp.
    pub stamp: String,
    /// The number of the write before it that was newer.
    pub after: u64,
    /// The stamp of that one.
    pub newer: String,
    /// The conversation or the contact, by id.
    pub about: String,
}

/// The newest stamp that was seen to write, per conversation and contact.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Stamps {
    newest: BTreeMap<String, Newest>,
    violations: Vec<Violation>,
}

#[derive(Debug, Clone, Serialize)]
struct Newest {
    order: (u64, u64),
    stamp: String,
    call: u64,
}

impl Stamps {
    pub(super) fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// A write took effect.
    pub(super) fn landed(&mut self, call: &Call) {
        let Some((stamp, order)) = call.stamp.as_deref().zip(order(call.stamp.as_deref())) else {
            return;
        };
        let Some(about) = call.session.as_ref().or(call.people.as_ref()) else {
            return;
        };
        let this = Newest {
            order,
            stamp: stamp.to_owned(),
            call: call.number,
        };
        match self.newest.get_mut(about) {
            Some(newest) if newest.order > order => self.violations.push(Violation {
                call: call.number,
                stamp: this.stamp,
                after: newest.call,
                newer: newest.stamp.clone(),
                about: about.clone(),
            }),
            Some(newest) => *newest = this,
            None => {
                self.newest.insert(about.clone(), this);
            }
        }
    }
}

/// `12.3` as two numbers; what looks otherwise is not ours.
fn order(stamp: Option<&str>) -> Option<(u64, u64)> {
    let (generation, attempt) = stamp?.split_once('.')?;
    Some((generation.parse().ok()?, attempt.parse().ok()?))
}
