//! The state of the service, for people and for machines that run it.

use jiff::Timestamp;

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
    /// How far the sweeps have come.
    pub sweeps: Vec<SweepStanding>,
    /// What asks for a person.
    pub conditions: Vec<ConditionRow>,
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
        })
    }
}

/// How far a sweep has come, and what is left to do.
#[derive(Debug, serde::Serialize)]
pub struct SweepStanding {
    /// Where it stands.
    #[serde(flatten)]
    pub sweeping: Sweeping,
    /// How long ago the last look that is over began.
    pub lag_seconds: i64,
    /// People whom it found and who wait.
    pub waiting: u32,
}

impl SweepStanding {
    /// Looks at every sweep.
    pub async fn read(ledger: &Ledger, now: Timestamp) -> Result<Vec<Self>, LedgerError> {
        /// More are not counted: no sweep lets so many wait.
        const MANY: u32 = 100_000;
        let mut standings = Vec::new();
        for sweeping in ledger.sweeps().await? {
            let began = sweeping.look.as_ref().map(|look| look.began_at);
            let since = sweeping.covered_at.or(began).unwrap_or(now);
            standings.push(Self {
                lag_seconds: now.duration_since(since).as_secs().max(0),
                waiting: ledger.swept_waiting(sweeping.lane, MANY).await?,
                sweeping,
            });
        }
        Ok(standings)
    }
}
