//! The context of a user: what Crisp should show of them, and how far Crisp is from showing it.
//!
//! A [`Definition`] is the compiled form of what the operator wrote. [`evaluate()`] turns a user into a desired [`Context`];
//! [`diff()`] compares a desired [`Layer`] with what Crisp holds and gives the least [`Patch`]. All three are pure: no clock, no
//! request, no Crisp JSON beyond plain values.
//!
//! Only what the definition owns, or owned once, is ever changed. "Absent" is written as `""`, because a key that is left out
//! of a write is not removed everywhere.

mod compile;
mod definition;
mod diff;
mod evaluate;
mod owned;
mod segment;
mod source;

use std::collections::BTreeSet;

use crate::data::{DataMap, DataValue};

pub use crate::expression::{DefinitionFault as Fault, limits};
pub use definition::Definition;
pub use diff::{Change, ChangeKind, Held, Patch, diff};
pub use evaluate::{EvaluateError, evaluate};
pub use owned::{Owned, OwnedNames};
pub use source::{DataFieldSource, DataFieldTable, DefinitionSource, ProfileSource, Target};

/// The segment that marks a session whose e-mail nobody has proven.
pub const UNVERIFIED: &str = "unverified";
/// The data key that tells how old the context is.
pub const AS_OF: &str = "context_as_of";
/// The data key that tells that the context could not be refreshed.
pub const STATE: &str = "context_state";
/// The keys that are stamped on top of the definition.
pub const STAMPS: [&str; 2] = [AS_OF, STATE];

/// Data and segments of one place: a session, or a contact.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct Layer {
    /// Every key that the definition writes there, absent ones as `""`.
    pub data: DataMap,
    /// The segments that should be there.
    pub segments: BTreeSet<String>,
}

impl Layer {
    /// The layer with every value absent, for who may not see them. The stamps go too.
    #[must_use]
    pub fn without_data(mut self) -> Self {
        for value in self.data.values_mut() {
            *value = DataValue::absent();
        }
        for stamp in STAMPS {
            self.data.insert(stamp.to_owned(), DataValue::absent());
        }
        self
    }

    /// The layer without segments.
    #[must_use]
    pub fn without_segments(mut self) -> Self {
        self.segments.clear();
        self
    }

    /// The layer with one more segment: a mark such as [`UNVERIFIED`].
    #[must_use]
    pub fn marked(mut self, mark: &str) -> Self {
        self.segments.insert(mark.to_owned());
        self
    }

    fn stamp(&mut self, as_of: &str, state: &str) {
        for (key, value) in [(AS_OF, as_of), (STATE, state)] {
            self.data
                .entry(key.to_owned())
                .or_insert_with(|| DataValue::from(value));
        }
    }
}

/// What fills empty fields of a contact's profile. `None` where the user has nothing to fill them with.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Profile {
    /// `person.nickname`.
    pub nickname: Option<String>,
    /// `person.phone`.
    pub phone: Option<String>,
    /// `person.avatar`: an `http` or `https` address.
    pub avatar: Option<String>,
    /// `person.website`: an `http` or `https` address.
    pub website: Option<String>,
    /// `company.name`.
    pub company: Option<String>,
}

/// What Crisp should show of one user.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Context {
    /// On the conversation. The visitor can read its data, not its segments.
    pub session: Layer,
    /// On the contact. Only agents see it.
    pub contact: Layer,
    /// What fills empty fields of the contact's profile.
    pub profile: Profile,
}

impl Context {
    /// Says how old the context is and, if it is stale, why; `state` is `""` while all is well. A layer whose stamps were
    /// taken away, and any layer of a definition with `as_of = false`, stays without.
    pub fn stamp(&mut self, as_of: &str, state: &str) {
        self.session.stamp(as_of, state);
        self.contact.stamp(as_of, state);
    }
}

#[cfg(test)]
mod tests;
