//! The ops listener: metrics and the state of the service, for people and machines that run it.

use std::net::SocketAddr;

use actix_web::{HttpRequest, HttpResponse, ResponseError, http::StatusCode, web};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq as _;

use crate::{
    breaker::Breakers,
    clock::Clock,
    crisp::quota::QuotaSettings,
    ledger::{Ledger, PauseScope},
    telemetry::{
        Metrics,
        metrics::{ConditionLabels, LaneLabels, ScopeLabels},
    },
};

use super::status::{self, Status, Unread};

/// A bearer token that opens the ops listener.
#[derive(Debug, Clone)]
pub struct OpsToken {
    /// What is presented.
    pub secret: SecretString,
    /// Whether it may act, and not only read.
    pub may_act: bool,
}

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    /// Look.
    Read,
    /// Change something.
    Act,
}

/// What the ops routes look at.
#[derive(Debug)]
pub(super) struct Ops {
    ledger: Ledger,
    metrics: Metrics,
    breakers: Breakers,
    clock: Clock,
    tokens: Vec<OpsToken>,
    quota: QuotaSettings,
}

impl Ops {
    pub(super) fn new(
        ledger: Ledger,
        metrics: Metrics,
        breakers: Breakers,
        clock: Clock,
        tokens: Vec<OpsToken>,
        quota: QuotaSettings,
    ) -> Self {
        Self {
            ledger,
            metrics,
            breakers,
            clock,
            tokens,
            quota,
        }
    }

    /// Lets a request pass that bears a token with the right. Without tokens, one that comes from this machine may look;
    /// whatever runs here, or is lured into a request by a page, may not act.
    pub(super) fn admit(&self, request: &HttpRequest, right: Right) -> Result<(), OpsError> {
        if right == Right::Act && !self.tokens.iter().any(|token| token.may_act) {
            return Err(OpsError::NoActToken);
        }
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
        let none = || subtle::Choice::from(0);
        let (known, may_act) =
            self.tokens
                .iter()
                .fold((none(), none()), |(known, may_act), token| {
                    let same = token
                        .secret
                        .expose_secret()
                        .as_bytes()
                        .ct_eq(given.as_bytes());
                    let acts = same & subtle::Choice::from(u8::from(token.may_act));
                    (known | same, may_act | acts)
                });
        match right {
            _ if !bool::from(known) => Err(OpsError::Forbidden),
            Right::Act if !bool::from(may_act) => Err(OpsError::ReadOnly),
            Right::Act | Right::Read => Ok(()),
        }
    }
}

impl Ops {
    async fn look(&self) -> Result<Status, Unread> {
        let now = self.clock.now();
        status::look(&self.ledger, &self.breakers, self.quota, now).await
    }

    /// Sets the gauges of what the ledger knows.
    fn gauge(&self, status: &Status) {
        let total = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.metrics
            .ledger
            .pending
            .set(total(status.health.pending));
        self.metrics.ledger.dead.set(total(status.health.dead));
        for scope in PauseScope::ALL {
            let mut pauses = status.health.pauses.iter();
            let is_paused = pauses.any(|pause| pause.scope == *scope);
            let scope = scope.as_str();
            let gauge = self.metrics.paused.get_or_create(&ScopeLabels { scope });
            gauge.set(is_paused.into());
        }
        let gauges = &self.metrics.watch;
        let outlook = &status.quota;
        gauges.quota_calls.set(outlook.calls.into());
        gauges.quota_limit.set(outlook.limit.into());
        gauges
            .quota_forecast_calls
            .set(outlook.forecast.calls.into());
        let exhausted_at = outlook.forecast.exhausted_at;
        gauges
            .quota_exhausted_at
            .set(exhausted_at.map_or(0, jiff::Timestamp::as_second));
        let silent = status.listening.iter();
        let silent = silent.filter(|one| one.silent_since.is_some()).count();
        gauges
            .silent_websites
            .set(i64::try_from(silent).unwrap_or(i64::MAX));
        gauges.erasures_owed.set(total(status.erasures_owed));
        for standing in &status.sweeps {
            let labels = LaneLabels {
                lane: standing.sweeping.lane.as_str(),
            };
            let gauges = &gauges.sweep;
            gauges.lag.get_or_create(&labels).set(standing.lag_seconds);
            gauges
                .waiting
                .get_or_create(&labels)
                .set(standing.waiting.into());
        }
        gauges.conditions.clear();
        for row in &status.conditions {
            let labels = ConditionLabels {
                condition: row.kind.clone(),
            };
            gauges.conditions.get_or_create(&labels).set(1);
        }
    }
}

/// Why an ops request is not answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpsError {
    #[error("a bearer token is needed")]
    Forbidden,
    #[error("this token may read, and not act")]
    ReadOnly,
    #[error(
        "nothing can be changed over HTTP\nhint: set CRISP_SYNC_OPS_ACT_TOKEN, or `server.ops_act_token_file`, and restart"
    )]
    NoActToken,
}

impl ResponseError for OpsError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Forbidden => StatusCode::UNAUTHORIZED,
            Self::ReadOnly | Self::NoActToken => StatusCode::FORBIDDEN,
        }
    }
}

/// Mounts the routes.
pub(super) fn routes(services: &mut web::ServiceConfig) {
    services
        .route("/metrics", web::get().to(metrics))
        .route("/status", web::get().to(status));
}

/// The answer does not hang on the ledger: what the process counts is asked for most when the ledger is away.
async fn metrics(ops: web::Data<Ops>, request: HttpRequest) -> Result<HttpResponse, OpsError> {
    ops.admit(&request, Right::Read)?;
    // Gauges are read when somebody looks: between two looks they would only grow old.
    let look = ops.look().await;
    if let Ok(status) = &look {
        ops.gauge(status);
    }
    ops.metrics.ledger.up.set(i64::from(look.is_ok()));
    Ok(HttpResponse::Ok()
        .content_type(Metrics::CONTENT_TYPE)
        .body(ops.metrics.render()))
}

async fn status(ops: web::Data<Ops>, request: HttpRequest) -> Result<HttpResponse, OpsError> {
    ops.admit(&request, Right::Read)?;
    let look = ops.look().await;
    Ok(HttpResponse::Ok().json(status::told(look, &ops.breakers)))
}
