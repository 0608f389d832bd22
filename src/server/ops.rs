//! The ops listener: metrics and the state of the service, for people and machines that run it.

use std::{collections::BTreeMap, net::SocketAddr};

use actix_web::{HttpRequest, HttpResponse, ResponseError, http::StatusCode, web};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq as _;

use crate::{
    breaker::{Breakers, Standing},
    clock::Clock,
    ledger::{Health, Ledger},
    telemetry::{Metrics, metrics::ScopeLabels},
};

/// A bearer token that opens the ops listener.
#[derive(Debug, Clone)]
pub struct OpsToken(pub SecretString);

/// What the ops routes look at.
#[derive(Debug)]
pub(super) struct Ops {
    ledger: Ledger,
    metrics: Metrics,
    breakers: Breakers,
    clock: Clock,
    tokens: Vec<OpsToken>,
}

impl Ops {
    pub(super) fn new(
        ledger: Ledger,
        metrics: Metrics,
        breakers: Breakers,
        clock: Clock,
        tokens: Vec<OpsToken>,
    ) -> Self {
        Self {
            ledger,
            metrics,
            breakers,
            clock,
            tokens,
        }
    }

    /// Lets a request pass that bears a token; without tokens, one that comes from this machine.
    fn admit(&self, request: &HttpRequest) -> Result<(), OpsError> {
        if self.tokens.is_empty() {
            let from_here = request
                .peer_addr()
                .is_some_and(|peer: SocketAddr| peer.ip().is_loopback());
            return if from_here {
                Ok(())
            } else {
                Err(OpsError::Forbidden)
            };
        }
        let given = request
            .headers()
            .get("authorization")
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "))
            .ok_or(OpsError::Forbidden)?;
        let known = self
            .tokens
            .iter()
            .fold(subtle::Choice::from(0), |known, token| {
                known | token.0.expose_secret().as_bytes().ct_eq(given.as_bytes())
            });
        if bool::from(known) {
            Ok(())
        } else {
            Err(OpsError::Forbidden)
        }
    }
}

/// Why an ops request is not answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpsError {
    #[error("a bearer token is needed")]
    Forbidden,
    #[error("the ledger could not be read")]
    Ledger,
}

impl ResponseError for OpsError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Forbidden => StatusCode::UNAUTHORIZED,
            Self::Ledger => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// Mounts the routes.
pub(super) fn routes(services: &mut web::ServiceConfig) {
    services
        .route("/metrics", web::get().to(metrics))
        .route("/status", web::get().to(status));
}

async fn metrics(ops: web::Data<Ops>, request: HttpRequest) -> Result<HttpResponse, OpsError> {
    ops.admit(&request)?;
    // Gauges are read when somebody looks: between two looks they would only grow old.
    let health = ops
        .ledger
        .health(ops.clock.now())
        .await
        .map_err(|_logged_by_the_ledger| OpsError::Ledger)?;
    ops.metrics
        .work_pending
        .set(i64::try_from(health.pending).unwrap_or(i64::MAX));
    ops.metrics
        .work_dead
        .set(i64::try_from(health.dead).unwrap_or(i64::MAX));
    let mut paused: BTreeMap<&'static str, i64> = BTreeMap::from([("token", 0), ("website", 0)]);
    for pause in ops
        .ledger
        .pauses()
        .await
        .map_err(|_logged_by_the_ledger| OpsError::Ledger)?
    {
        paused.insert(
            if pause.website.is_some() {
                "website"
            } else {
                "token"
            },
            1,
        );
    }
    for (scope, value) in paused {
        ops.metrics
            .paused
            .get_or_create(&ScopeLabels { scope })
            .set(value);
    }
    Ok(HttpResponse::Ok()
        .content_type(Metrics::CONTENT_TYPE)
        .body(ops.metrics.render()))
}

/// The state of the whole.
#[derive(Debug, serde::Serialize)]
struct Status {
    #[serde(flatten)]
    health: Health,
    /// What is down, and what works.
    breakers: Vec<Standing>,
}

async fn status(ops: web::Data<Ops>, request: HttpRequest) -> Result<HttpResponse, OpsError> {
    ops.admit(&request)?;
    let health = ops
        .ledger
        .health(ops.clock.now())
        .await
        .map_err(|_logged_by_the_ledger| OpsError::Ledger)?;
    Ok(HttpResponse::Ok().json(Status {
        health,
        breakers: ops.breakers.standings(),
    }))
}
