//! What a request says of the claim it was made under.
//!
//! Crisp takes any `X-Request-Id` and does nothing with it. It is there for whoever reads both sides: our traces, a proxy's
//! log, the sandbox, which checks that of two writers the older one never has the last word.

use std::fmt;

use reqwest::header::{HeaderName, HeaderValue};

/// Carries the [`RequestStamp`].
pub(super) const STAMP: HeaderName = HeaderName::from_static("x-request-id");

/// The claim behind a request, written `<generation>.<attempt>`. Of two stamps of one row the smaller is the older.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestStamp {
    /// The generation that was claimed: grows with every trigger.
    pub generation: i64,
    /// Grows with every claim of that generation that failed or was taken over after a crash; from 1.
    pub attempt: u32,
}

impl RequestStamp {
    pub(super) fn header(self) -> HeaderValue {
        HeaderValue::from_str(&self.to_string()).expect("digits and a dot are fit for a header")
    }
}

impl fmt::Display for RequestStamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.generation, self.attempt)
    }
}
