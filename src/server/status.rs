//! The state of the service, for people and for machines that run it.

use jiff::Timestamp;

use crate::{
    breaker::{Breakers, Standing},
    crisp::quota::QuotaSettings,
    ledger::{ConditionRow, Health, Ledger, LedgerError, Listening},
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
            conditions: ledger.conditions().await?,
        })
    }
}
