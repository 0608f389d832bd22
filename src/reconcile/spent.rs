//! What was used of the day's quota, from the ledger's counts: the same for every process and command on it.

use jiff::{Timestamp, civil::Date};

use crate::{
    crisp::quota::{Forecast, QuotaSettings, Usage},
    ledger::{Ledger, LedgerError},
};

/// The day's quota as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Outlook {
    /// The day, as calls are counted.
    pub day: Date,
    /// Calls that Crisp grants.
    pub limit: u32,
    /// Calls that count, those of others included as far as they are known.
    pub calls: u32,
    /// Of these, for conversations without a proven address.
    pub unproven: u32,
    /// Where the day ends at the pace since it began.
    pub forecast: Forecast,
}

/// What was used of the quota since its day began.
pub async fn used(ledger: &Ledger, now: Timestamp) -> Result<Usage, LedgerError> {
    let counted = ledger.quota(ledger.quota_day(now)).await?;
    let counts = counted
        .iter()
        .map(|count| (count.purpose.as_str(), count.calls));
    Ok(Usage::of(counts, false))
}

/// How the day stands and where it will end.
pub async fn outlook(
    ledger: &Ledger,
    settings: QuotaSettings,
    now: Timestamp,
) -> Result<Outlook, LedgerError> {
    let usage = used(ledger, now).await?;
    Ok(Outlook {
        day: ledger.quota_day(now),
        limit: settings.daily,
        calls: usage.calls,
        unproven: usage.unproven,
        forecast: settings.forecast(usage, now),
    })
}
