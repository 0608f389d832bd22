//! What the sandbox says, in Crisp's envelope.

use actix_web::{HttpResponse, http::StatusCode};
use serde_json::{Value as Json, json};

use super::body::Refusal;

/// What the sandbox says.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) reason: String,
    pub(super) error: bool,
    pub(super) data: Json,
    pub(super) bloom: &'static str,
}

impl Answer {
    fn good(status: u16, reason: &str, data: Json) -> Self {
        Self {
            status,
            reason: reason.to_owned(),
            error: false,
            data,
            bloom: if reason == "resolved" || reason == "listed" {
                "MISS"
            } else {
                "DIRECT"
            },
        }
    }

    pub(super) fn resolved(data: Json) -> Self {
        Self::good(200, "resolved", data)
    }

    pub(super) fn listed(data: Json) -> Self {
        Self::good(200, "listed", data)
    }

    pub(super) fn added(data: Json) -> Self {
        Self::good(201, "added", data)
    }

    pub(super) fn updated() -> Self {
        Self::good(200, "updated", json!({}))
    }

    pub(super) fn deleted() -> Self {
        Self::good(200, "deleted", json!({}))
    }

    pub(super) fn refused(refusal: &Refusal) -> Self {
        Self {
            status: refusal.status,
            reason: refusal.reason.to_owned(),
            error: true,
            data: json!({"message": &refusal.message}),
            bloom: "DIRECT",
        }
    }

    pub(super) fn respond(&self, request_id: &str, head: bool) -> HttpResponse {
        let mut response = HttpResponse::build(code(self.status));
        response
            .insert_header(("Request-Id", request_id))
            .insert_header(("Bloom-Status", self.bloom));
        if head {
            return response.finish();
        }
        response.json(json!({"error": self.error, "reason": self.reason, "data": self.data}))
    }
}

pub(super) fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
