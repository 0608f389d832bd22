//! Estimates how much of the day's quota is left, and who may still use it.
//!
//! Crisp counts requests per token and day and tells nobody the count, the hour of the reset, or who else used the token.
//! So this is an estimate: our own count, taken to the limit by a refusal, started again by a new day or a probe that came
//! through. What matters least stops first, so that an operator who opens a conversation is served to the last.

use jiff::{SignedDuration, Timestamp};

use super::client::Tier;

/// What a call is for, the most important first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// An operator looks at the conversation now.
    OperatorOpened,
    /// A conversation goes on.
    Conversation,
    /// A lifecycle event happened.
    Event,
    /// Sweeps, backfills, rescans.
    Background,
}

/// How the day's quota is shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaSettings {
    /// Requests per day.
    pub daily: u32,
    /// Percent that background work leaves to the rest. Events leave half of it, conversations an eighth.
    pub reserve_percent: u8,
    /// Percent that conversations without a proven address share: a stranger must not use up the day.
    pub unproven_percent: u8,
}

impl QuotaSettings {
    /// What Crisp grants a tier unless asked for more, with 40 % in reserve and 20 % for the unproven.
    pub fn for_tier(tier: Tier) -> Self {
        Self {
            daily: match tier {
                Tier::Plugin => 5_000,
                Tier::Website => 10_000,
            },
            reserve_percent: 40,
            unproven_percent: 20,
        }
    }
}

/// What was used since the day began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Calls made.
    pub calls: u32,
    /// Of these, for conversations without a proven address.
    pub unproven: u32,
    /// Whether Crisp has refused a call for the quota since, and none came through after it.
    pub refused: bool,
}

/// Where the day will end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forecast {
    /// Calls by the end of the day, if it goes on like this.
    pub calls: u32,
    /// When the quota will be used up, if before the day ends.
    pub exhausted_at: Option<Timestamp>,
}

impl QuotaSettings {
    /// How many calls a priority may still make.
    pub fn left(self, usage: Usage, priority: Priority) -> u32 {
        if usage.refused {
            return 0;
        }
        self.allowance(priority).saturating_sub(usage.calls)
    }

    /// Whether work of that priority and cost may begin. Without a proven address, the share of the unproven counts too.
    pub fn admits(self, usage: Usage, priority: Priority, proven: bool, cost: u32) -> bool {
        let share = self
            .percent(self.unproven_percent.into())
            .saturating_sub(usage.unproven);
        cost <= self.left(usage, priority) && (proven || cost <= share)
    }

    /// Where the day ends, at the pace since it began. The first hour counts as a whole one: it says little.
    pub fn forecast(self, usage: Usage, now: Timestamp) -> Forecast {
        const DAY: i64 = 24 * 3600;
        let began = day_began(now);
        let elapsed = now.duration_since(began).as_secs().clamp(3600, DAY);
        let calls = i64::from(usage.calls) * DAY / elapsed;
        let exhausted_at = if usage.refused || usage.calls >= self.daily {
            Some(now)
        } else if calls > i64::from(self.daily) {
            let seconds = i64::from(self.daily) * elapsed / i64::from(usage.calls.max(1));
            began
                .checked_add(SignedDuration::from_secs(seconds))
                .ok()
                .map(|at| at.max(now))
        } else {
            None
        };
        Forecast {
            calls: u32::try_from(calls).unwrap_or(u32::MAX),
            exhausted_at,
        }
    }

    /// The count at which a priority stops.
    fn allowance(self, priority: Priority) -> u32 {
        let reserve = u32::from(self.reserve_percent.min(100));
        let kept = match priority {
            Priority::OperatorOpened => 0,
            Priority::Conversation => reserve / 8,
            Priority::Event => reserve / 2,
            Priority::Background => reserve,
        };
        self.percent(100 - kept)
    }

    fn percent(self, percent: u32) -> u32 {
        let share = u64::from(self.daily) * u64::from(percent.min(100)) / 100;
        u32::try_from(share).unwrap_or(u32::MAX)
    }
}

/// When the quota's day began. Crisp does not say when it resets; midnight UTC is the guess that a refusal corrects.
pub fn day_began(now: Timestamp) -> Timestamp {
    let seconds = now.as_second();
    Timestamp::from_second(seconds - seconds.rem_euclid(24 * 3600)).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(calls: u32) -> Usage {
        Usage {
            calls,
            ..Usage::default()
        }
    }

    #[test]
    fn what_matters_least_stops_first() {
        use Priority::{Background, Conversation, Event, OperatorOpened};
        let quota = QuotaSettings::for_tier(Tier::Plugin);
        for (calls, admitted) in [
            (0, &[OperatorOpened, Conversation, Event, Background][..]),
            (2_999, &[OperatorOpened, Conversation, Event, Background]),
            (3_000, &[OperatorOpened, Conversation, Event]),
            (4_000, &[OperatorOpened, Conversation]),
            (4_750, &[OperatorOpened]),
            (5_000, &[]),
            (9_999, &[]),
        ] {
            for priority in [OperatorOpened, Conversation, Event, Background] {
                assert_eq!(
                    quota.admits(used(calls), priority, true, 1),
                    admitted.contains(&priority),
                    "{priority:?} at {calls}"
                );
            }
        }
        assert!(!quota.admits(used(4_999), OperatorOpened, true, 2));
    }

    #[test]
    fn strangers_cannot_use_up_the_day() {
        let quota = QuotaSettings::for_tier(Tier::Plugin);
        let usage = Usage {
            calls: 1_200,
            unproven: 999,
            refused: false,
        };
        assert!(quota.admits(usage, Priority::Conversation, false, 1));
        assert!(!quota.admits(usage, Priority::Conversation, false, 2));
        assert!(quota.admits(usage, Priority::Conversation, true, 2));
    }

    #[test]
    fn a_refusal_overrules_the_count() {
        let quota = QuotaSettings::for_tier(Tier::Website);
        let usage = Usage {
            refused: true,
            ..used(10)
        };
        assert_eq!(quota.left(usage, Priority::OperatorOpened), 0);
        let now: Timestamp = "2026-11-21T09:30:00Z".parse().expect("a time");
        assert_eq!(quota.forecast(usage, now).exhausted_at, Some(now));
    }

    #[test]
    fn the_forecast_follows_the_pace() {
        let quota = QuotaSettings::for_tier(Tier::Plugin);
        let noon: Timestamp = "2026-11-21T12:00:00Z".parse().expect("a time");
        assert_eq!(
            quota.forecast(used(2_000), noon),
            Forecast {
                calls: 4_000,
                exhausted_at: None
            }
        );
        let ahead = quota.forecast(used(4_000), noon);
        assert_eq!(ahead.calls, 8_000);
        assert_eq!(
            ahead.exhausted_at,
            Some("2026-11-21T15:00:00Z".parse().expect("a time"))
        );
        // Ten calls in the first minute are no catastrophe.
        let early: Timestamp = "2026-11-21T00:01:00Z".parse().expect("a time");
        assert_eq!(quota.forecast(used(10), early).calls, 240);
        assert_eq!(quota.forecast(Usage::default(), noon).calls, 0);
    }
}
