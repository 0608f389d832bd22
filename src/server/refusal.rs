//! Why a request on the webhook route is not accepted, and what its sender is told.
//!
//! The answer says nothing but a status: who forges requests learns nothing from it, and Crisp reads only the status.
//! The reason goes to the log, once.

use actix_web::{
    HttpResponse, ResponseError,
    http::{StatusCode, header},
};

use crate::crisp::{event::EnvelopeError, signature::SignatureError};

/// After how many seconds a sender may try again that found no room.
const RETRY_AFTER: &str = "5";

/// A request that ends without a commit.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// No genuine webhook. Crisp's own examples answer 403 (official Node and Go SDKs).
    #[error("the signature does not verify: {0}")]
    Unsigned(#[from] SignatureError),
    /// Genuine, but not an envelope that we can read.
    #[error("the body is not a webhook envelope: {0}")]
    Malformed(#[source] EnvelopeError),
    /// The key in the URL speaks for another website: it proves nothing about this one.
    #[error("the key in the query belongs to another website than the body names")]
    KeyOfAnotherWebsite,
    /// Compressed, or encoded otherwise. Crisp signs what it sends as it is; nothing is ever unpacked here.
    #[error("the body has a content encoding")]
    Encoded,
    /// Longer than `server.max_body`.
    #[error("the body is longer than {limit} bytes")]
    TooLarge {
        /// The limit in force.
        limit: usize,
    },
    /// The sender went away or sent too slowly.
    #[error("the body did not arrive in full")]
    Incomplete,
    /// More bodies are in memory than `server.body_memory` allows. The sender should try again.
    #[error("there is no room for another body")]
    Overloaded,
    /// Verified, but it could not be committed. The sender should try again.
    #[error("the ledger could not commit the delivery")]
    Unavailable,
}

impl From<EnvelopeError> for Refusal {
    fn from(error: EnvelopeError) -> Self {
        match error {
            EnvelopeError::Foreign => Self::KeyOfAnotherWebsite,
            error => Self::Malformed(error),
        }
    }
}

impl Refusal {
    /// The reason in logs and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unsigned(_) | Self::KeyOfAnotherWebsite => "refused",
            Self::Malformed(_) => "malformed",
            Self::Encoded => "encoded",
            Self::TooLarge { .. } => "too_large",
            Self::Incomplete => "incomplete",
            Self::Overloaded => "overloaded",
            Self::Unavailable => "unavailable",
        }
    }
}

impl Refusal {
    /// Which hook it claims to come from, as far as that was looked at.
    pub(super) fn hook(&self) -> &'static str {
        match self {
            // Signed, by a secret that we do not know.
            Self::Unsigned(SignatureError::Mismatch) => "plugin",
            _ => "none",
        }
    }
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Unsigned(_) | Self::KeyOfAnotherWebsite => StatusCode::FORBIDDEN,
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Encoded => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Incomplete => StatusCode::REQUEST_TIMEOUT,
            Self::Overloaded | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut answer = HttpResponse::build(self.status_code());
        if self.status_code() == StatusCode::SERVICE_UNAVAILABLE {
            answer.insert_header((header::RETRY_AFTER, RETRY_AFTER));
        }
        answer.finish()
    }
}
