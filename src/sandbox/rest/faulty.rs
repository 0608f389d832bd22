//! How a fault spoils an answer.

use actix_web::{HttpResponse, body::SizedStream, http::header, web};
use futures_util::{StreamExt as _, stream};
use serde_json::json;

use super::{
    super::{
        Shared,
        fault::{Fault, FaultBody},
    },
    answer::code,
};

/// What a fault has the client wait for.
pub(super) async fn wait_out(fault: &Fault, shared: &Shared, releases: u64) {
    if fault.delay_ms > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(fault.delay_ms)).await;
    }
    if fault.hold {
        shared
            .wait_for(|state| (state.releases > releases).then_some(()))
            .await;
    }
}

/// The answer a fault gives.
pub(super) fn spoil(fault: &Fault, request_id: &str) -> HttpResponse {
    let mut response = HttpResponse::build(code(fault.status.unwrap_or(500)));
    response.insert_header(("Request-Id", request_id));
    if let Some(value) = &fault.retry_after {
        response.insert_header((header::RETRY_AFTER, value.as_str()));
    }
    match fault.body {
        FaultBody::Empty => response.finish(),
        FaultBody::Html => response
            .content_type("text/html")
            .body("<html><body><h1>Something went wrong</h1></body></html>"),
        FaultBody::Json => {
            response.json(json!({"error": true, "reason": fault.reason_text(), "data": {}}))
        }
        FaultBody::Half => {
            let half = web::Bytes::from_static(br#"{"error":false,"reason":"resol"#);
            let length = u64::try_from(2 * half.len()).unwrap_or(u64::MAX);
            // What is at hand goes out while the rest is waited for.
            let rest = async {
                tokio::task::yield_now().await;
                Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))
            };
            let parts = stream::once(std::future::ready(Ok(half))).chain(stream::once(rest));
            response
                .content_type("application/json")
                .body(SizedStream::new(length, parts))
        }
    }
}
