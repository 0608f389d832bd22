//! `/healthz` says that the process answers, `/readyz` that it can do its work.
//!
//! Both are bare: a status and a word. Details are for the ops listener.

use actix_web::{HttpResponse, web};

use super::Draining;
use crate::ledger::Ledger;

/// What the two routes look at.
#[derive(Debug)]
pub(super) struct Health {
    ledger: Ledger,
    draining: Draining,
}

impl Health {
    pub(super) fn new(ledger: Ledger, draining: Draining) -> Self {
        Self { ledger, draining }
    }
}

/// Mounts the two routes.
pub(super) fn routes(services: &mut web::ServiceConfig) {
    services
        .route(
            "/healthz",
            web::get().to(async || HttpResponse::Ok().body("ok")),
        )
        .route("/readyz", web::get().to(readiness));
}

/// Ready means: not draining, and the ledger can be read. An outage of Crisp or of the app's database does not make the
/// service unready, because deliveries are still accepted and kept.
async fn readiness(health: web::Data<Health>) -> HttpResponse {
    if health.draining.has_begun() {
        return HttpResponse::ServiceUnavailable().body("draining");
    }
    match health.ledger.pauses().await {
        Ok(_) => HttpResponse::Ok().body("ready"),
        Err(_) => HttpResponse::ServiceUnavailable().body("ledger"),
    }
}
