//! The state of the service, for people and for machines that run it.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value as Json, json};
use tokio::time::timeout;

use crate::{
    breaker::{Breakers, Standing},
    crisp::quota::QuotaSettings,
    ledger::{ConditionRow, Health, Ledger, LedgerError, Listening, Sweeping},
    reconcile::{Outlook, outlook},
};

/// What the service is at.
#[derive(Debug, serde::Serialize)]
pub struct Status {
    /// The ledger: work, outbox, pauses.
    #[serde(flatten)]
    pub health: Health,
    /// What is down, and what works.
    pub breakers: Vec<Standing>,
    /// The day's quota, and where it will end.
    pub quota: Outlook,
    /// How far each website was listened to.
    pub listening: Vec<Listening>,
    /// How far the sweeps have come, and how far they are behind.
    pub sweeps: Vec<SweepStanding>,
    /// What asks for a person.
    pub conditions: Vec<ConditionRow>,
    /// Erasures of which something is still to be done in Crisp.
    pub erasures_owed: u64,
}

impl Status {
    /// Looks.
    pub async fn read(
        ledger: &Ledger,
        breakers: &Breakers,
        quota: QuotaSettings,
        now: Timestamp,
    ) -> Result<Self, LedgerError> {
        Ok(Self {
            health: ledger.health(now).await?,
            breakers: breakers.standings(),
            quota: outlook(ledger, quota, now).await?,
            listening: ledger.listening().await?,
            sweeps: SweepStanding::read(ledger, now).await?,
            conditions: ledger.conditions().await?,
            erasures_owed: ledger.erasures_owed(now).await?,
        })
    }
}

/// Why the ledger could not be read, for people. It names no row and no secret.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(super) struct Unread {
    /// What was tried, on what.
    error: String,
    /// What to do.
    hint: String,
}

impl From<LedgerError> for Unread {
    fn from(error: LedgerError) -> Self {
        let text = error.to_string();
        // What has no hint of its own passes, or repeats itself where somebody writes down why.
        let otherwise = "look again; if it stays so, `worker.fault` in the log says why";
        let (error, hint) = text.split_once("\nhint: ").unwrap_or((&text, otherwise));
        Self {
            error: error.to_owned(),
            hint: hint.to_owned(),
        }
    }
}

/// How long a look through the ledger may take, all in all: well below the ten seconds after which Prometheus gives up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks, for no longer than whoever asks waits.
pub(super) async fn look(
    ledger: &Ledger,
    breakers: &Breakers,
    quota: QuotaSettings,
    now: Timestamp,
) -> Result<Status, Unread> {
    match timeout(PATIENCE, Status::read(ledger, breakers, quota, now)).await {
        Ok(status) => Ok(status?),
        Err(_elapsed) => Err(Unread {
            error: format!("the ledger did not answer within {} s", PATIENCE.as_secs()),
            hint: "is its server up, and the network to it? Of a file: is the disk slow?"
                .to_owned(),
        }),
    }
}

/// What is told of a look: everything, or what the process knows without its ledger.
pub(super) fn told(look: Result<Status, Unread>, breakers: &Breakers) -> Json {
    match look {
        Ok(status) => {
            let mut told = json!(status);
            told["ledger"] = json!({ "readable": true });
            told
        }
        Err(unread) => {
            let mut ledger = json!(unread);
            ledger["readable"] = json!(false);
            json!({ "ledger": ledger, "breakers": breakers.standings() })
        }
    }
}

/// How far a sweep has come, and what is left to do.
#[derive(Debug, serde::Serialize)]
pub struct SweepStanding {
    /// Where it stands.
    #[serde(flatten)]
    pub sweeping: Sweeping,
    /// When the last look that is over began; for a sweep of which none is, when it was first to begin.
    pub since: Timestamp,
    /// How long ago that was.
    pub lag_seconds: i64,
    /// What its last attempt failed over.
    pub last_error: Option<String>,
    /// People whom it found and who wait.
    pub waiting: u32,
}

impl SweepStanding {
    /// Looks at every sweep.
    pub async fn read(ledger: &Ledger, now: Timestamp) -> Result<Vec<Self>, LedgerError> {
        /// More are not counted: no sweep lets so many wait.
        const MANY: u32 = 100_000;
        let sweeps = ledger.sweeps().await?;
        let mut standings = Vec::new();
        for behind in ledger.sweep_lags(now).await? {
            let sweeping = sweeps.iter().find(|one| one.lane == behind.lane).cloned();
            standings.push(Self {
                sweeping: sweeping.unwrap_or_else(|| Sweeping::fresh(behind.lane)),
                lag_seconds: i64::try_from(behind.lag(now).as_secs()).unwrap_or(i64::MAX),
                since: behind.since,
                last_error: behind.error,
                waiting: ledger.swept_waiting(behind.lane, MANY).await?,
            });
        }
        Ok(standings)
    }
}
