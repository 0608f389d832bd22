//! `/healthz` says that the process answers, `/readyz` that it can do its work.
//!
//! Both are bare: a status and a word. Details are for the ops listener. Anybody may ask, so the ledger is asked at most
//! once a second, whoever and how many ask.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use jiff::Timestamp;
use tokio::{sync::Mutex, time::timeout};

use super::Draining;
use crate::{clock::Clock, ledger::Ledger};

/// How long an answer of the ledger counts.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// How long it may take: a little longer than the wait for a connection to a server. Who asks does not wait for ever.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the two routes look at.
#[derive(Debug)]
pub(super) struct Health {
    ledger: Ledger,
    draining: Draining,
    clock: Clock,
    /// Whether the ledger could be read, and when. Who finds it old asks, and the others wait for the answer.
    seen: Mutex<Option<(Timestamp, bool)>>,
}

impl Health {
    pub(super) fn new(ledger: Ledger, draining: Draining, clock: Clock) -> Self {
        Self {
            ledger,
            draining,
            clock,
            seen: Mutex::default(),
        }
    }

    async fn ledger_answers(&self) -> bool {
        let mut seen = self.seen.lock().await;
        let now = self.clock.now();
        match *seen {
            Some((at, answers)) if now.duration_since(at).unsigned_abs() < FRESH_FOR => answers,
            _ => {
                let read = timeout(PATIENCE, self.ledger.pauses()).await;
                let answers = matches!(read, Ok(Ok(_)));
                *seen = Some((now, answers));
                answers
            }
        }
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
    if health.ledger_answers().await {
        HttpResponse::Ok().body("ready")
    } else {
        HttpResponse::ServiceUnavailable().body("ledger")
    }
}
