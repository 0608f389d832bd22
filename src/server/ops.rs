//! The ops listener: metrics and the state of the service, for people and machines that run it.

use std::{collections::BTreeMap, net::SocketAddr};

use actix_web::{HttpRequest, HttpResponse, ResponseError, http::StatusCode, web};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq as _;

use crate::{
    breaker::{Breakers, Standing},
    clock::Clock,
    crisp::quota::QuotaSettings,
    ledger::{ConditionRow, Health, Ledger, LedgerError, Listening, Sweeping},
    reconcile::{Outlook, outlook},
    telemetry::{
        Metrics,
        metrics::{ConditionLabels, LaneLabels, ScopeLabels},
    },
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

/// The state of the service, for people and for machines that run it.
#[derive(Debug, serde::Serialize)]
struct Status {
    #[serde(flatten)]
    health: Health,
    /// What is down, and what works.
    breakers: Vec<Standing>,
    /// The day's quota, and where it will end.
    quota: Outlook,
    /// How far each website was listened to.
    listening: Vec<Listening>,
    /// How far the sweeps have come.
    sweeps: Vec<SweepStanding>,
    /// What asks for a person.
    conditions: Vec<ConditionRow>,
}

/// How far a sweep has come, and what is left to do.
#[derive(Debug, serde::Serialize)]
struct SweepStanding {
    #[serde(flatten)]
    sweeping: Sweeping,
    /// How long ago the last look that is over began.
    lag_seconds: i64,
    /// People whom it found and who wait.
    waiting: u32,
}

impl Ops {
    async fn sweeps(&self) -> Result<Vec<SweepStanding>, LedgerError> {
        /// More are not counted: no sweep lets so many wait.
        const MANY: u32 = 100_000;
        let now = self.clock.now();
        let mut standings = Vec::new();
        for sweeping in self.ledger.sweeps().await? {
            let began = sweeping.look.as_ref().map(|look| look.began_at);
            let since = sweeping.covered_at.or(began).unwrap_or(now);
            standings.push(SweepStanding {
                lag_seconds: now.duration_since(since).as_secs().max(0),
                waiting: self.ledger.swept_waiting(sweeping.lane, MANY).await?,
                sweeping,
            });
        }
        Ok(standings)
    }

    async fn status(&self) -> Result<Status, LedgerError> {
        let now = self.clock.now();
        Ok(Status {
            health: self.ledger.health(now).await?,
            breakers: self.breakers.standings(),
            quota: outlook(&self.ledger, self.quota, now).await?,
            listening: self.ledger.listening().await?,
            sweeps: self.sweeps().await?,
            conditions: self.ledger.conditions().await?,
        })
    }

    /// Reads the gauges of what is looked after without anybody asking.
    async fn gauge_watch(&self) -> Result<(), LedgerError> {
        let outlook = outlook(&self.ledger, self.quota, self.clock.now()).await?;
        let gauges = &self.metrics.watch;
        gauges.quota_calls.set(outlook.calls.into());
        gauges.quota_limit.set(outlook.limit.into());
        gauges
            .quota_forecast_calls
            .set(outlook.forecast.calls.into());
        let exhausted_at = outlook.forecast.exhausted_at;
        gauges
            .quota_exhausted_at
            .set(exhausted_at.map_or(0, jiff::Timestamp::as_second));
        let listening = self.ledger.listening().await?;
        let silent = listening
            .iter()
            .filter(|one| one.silent_since.is_some())
            .count();
        gauges
            .silent_websites
            .set(i64::try_from(silent).unwrap_or(i64::MAX));
        for standing in self.sweeps().await? {
            let labels = LaneLabels {
                lane: standing.sweeping.lane.as_str(),
            };
            let gauges = &self.metrics.watch.sweep;
            gauges.lag.get_or_create(&labels).set(standing.lag_seconds);
            gauges
                .waiting
                .get_or_create(&labels)
                .set(standing.waiting.into());
        }
        gauges.conditions.clear();
        for row in self.ledger.conditions().await? {
            let labels = ConditionLabels {
                condition: row.kind,
            };
            gauges.conditions.get_or_create(&labels).set(1);
        }
        Ok(())
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
    ops.gauge_watch()
        .await
        .map_err(|_logged_by_the_ledger| OpsError::Ledger)?;
    Ok(HttpResponse::Ok()
        .content_type(Metrics::CONTENT_TYPE)
        .body(ops.metrics.render()))
}

async fn status(ops: web::Data<Ops>, request: HttpRequest) -> Result<HttpResponse, OpsError> {
    ops.admit(&request)?;
    let status = ops
        .status()
        .await
        .map_err(|_logged_by_the_ledger| OpsError::Ledger)?;
    Ok(HttpResponse::Ok().json(status))
}
