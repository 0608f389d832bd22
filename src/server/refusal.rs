//! Why a request on the webhook route is not accepted, and what its sender is told.
//!
//! The answer says nothing but a status: who forges requests learns nothing from it, and Crisp reads only the status.
//! The reason goes to the log, once.

use actix_web::{HttpResponse, ResponseError, http::StatusCode};

use crate::crisp::{event::EnvelopeError, signature::SignatureError};

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
    /// Longer than `server.max_body`.
    #[error("the body is longer than {limit} bytes")]
    TooLarge {
        /// The limit in force.
        limit: usize,
    },
    /// The sender went away or sent too slowly.
    #[error("the body did not arrive in full")]
    Incomplete,
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
            Self::TooLarge { .. } => "too_large",
            Self::Incomplete => "incomplete",
            Self::Unavailable => "unavailable",
        }
    }
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Unsigned(_) | Self::KeyOfAnotherWebsite => StatusCode::FORBIDDEN,
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Incomplete => StatusCode::REQUEST_TIMEOUT,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::new(self.status_code())
    }
}
