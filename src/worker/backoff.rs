//! How long a failed attempt waits before the next one.

use std::time::Duration;

use jiff::Timestamp;

use crate::breaker::Outage;

/// Exponential growth with full jitter: the wait before attempt n + 1 is a random share of `base · 2^(n-1)`, capped.
///
/// With the defaults the caps are 2 s, 4 s, 8 s … 34 min, and twelve attempts span about half an hour on average: long
/// enough for what concerns one row to pass. What concerns everybody spends no attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The cap of the first wait.
    pub base: Duration,
    /// No wait is longer, whatever Crisp asks for.
    pub longest: Duration,
    /// After this many attempts a row is buried.
    pub attempts: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            base: Duration::from_secs(2),
            longest: Duration::from_hours(1),
            attempts: 12,
        }
    }
}

/// What a failed attempt leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterFailure {
    /// Another attempt, after this long.
    RetryIn(Duration),
    /// None: the row becomes a dead letter.
    Bury,
}

impl RetryPolicy {
    /// Decides after attempt number `attempt` (from 1) failed. `jitter` is drawn from `0.0..1.0`; what Crisp asked for
    /// in `Retry-After` is a floor below which jitter may not go.
    pub fn after_failure(
        &self,
        attempt: u32,
        asked_for: Option<Duration>,
        jitter: f64,
    ) -> AfterFailure {
        if attempt >= self.attempts {
            return AfterFailure::Bury;
        }
        let doublings = attempt.saturating_sub(1).min(20);
        let cap = self.base.saturating_mul(1 << doublings).min(self.longest);
        let wait = cap.mul_f64(jitter.clamp(0.0, 1.0));
        let floor = asked_for.unwrap_or_default().min(self.longest);
        AfterFailure::RetryIn(wait.max(floor))
    }

    /// The wait before the next of attempts that never end.
    pub(super) fn without_end(&self, attempt: u32, jitter: f64) -> Duration {
        match self.after_failure(attempt, None, jitter) {
            AfterFailure::RetryIn(wait) => wait,
            AfterFailure::Bury => self.longest,
        }
    }
}

/// When a row that met an outage looks again: after the next probe, and the later, the longer the outage lasts. Rows that
/// each look at what is down every minute are a load of their own, and at the end they must not all come at once. Those of
/// the first priority have somebody in front of them who waits.
pub(super) fn after_outage(outage: Outage, priority: u8, now: Timestamp, jitter: f64) -> Timestamp {
    let lasted = Duration::try_from(now.duration_since(outage.since)).unwrap_or_default();
    let spread = if priority == 0 {
        SPREAD_MIN
    } else {
        (lasted / 4).clamp(SPREAD_MIN, SPREAD_MAX)
    };
    let probe = outage.until.max(now);
    probe
        .checked_add(spread.mul_f64(jitter.clamp(0.0, 1.0)))
        .unwrap_or(Timestamp::MAX)
}

const SPREAD_MIN: Duration = Duration::from_secs(2);
/// Nobody waits longer for an outage that is over.
const SPREAD_MAX: Duration = Duration::from_mins(3);

/// How long a row waits for something that failed, while nobody knows yet whether it is down: half a second, and twice as
/// long with every failure. Half of it is chance.
pub(super) fn soon(failures_in_a_row: u32, jitter: f64) -> Duration {
    let doublings = failures_in_a_row.clamp(1, 7) - 1;
    let cap = Duration::from_millis(500) * (1 << doublings);
    cap.mul_f64(f64::midpoint(1.0, jitter.clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_cap_and_end() {
        let policy = RetryPolicy::default();
        let table = [
            (1, None, 1.0, 2.0),
            (2, None, 1.0, 4.0),
            (4, None, 0.5, 8.0),
            (11, None, 1.0, 2048.0),
            (1, None, 0.0, 0.0),
            (1, Some(20), 0.5, 20.0),
            (5, Some(2), 1.0, 32.0),
            (1, Some(86_400), 0.0, 3600.0),
        ];
        for (attempt, asked_for, jitter, seconds) in table {
            assert_eq!(
                policy.after_failure(attempt, asked_for.map(Duration::from_secs), jitter),
                AfterFailure::RetryIn(Duration::from_secs_f64(seconds)),
                "attempt {attempt}, asked for {asked_for:?}, jitter {jitter}"
            );
        }
        assert_eq!(policy.after_failure(12, None, 0.5), AfterFailure::Bury);
    }
}
