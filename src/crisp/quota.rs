//! Estimates how much of the day's quota is left, and who may still use it.
//!
//! Crisp counts requests per token and day and tells nobody the count, the hour of the reset, or who else used the token.
//! So this is an estimate: our own count, taken to the limit by a refusal ([`ELSEWHERE`]), started again by a new day or by
//! a probe that came through ([`CREDIT`]). What matters least stops first. An operator who opens a conversation is never
//! stopped by the estimate, only by Crisp: a refused call costs nothing but itself.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::client::Tier;

/// Counted once more, beside its own purpose: a call for a conversation without a proven address, or for a contact that only
/// such a conversation asked for.
pub const UNPROVEN: &str = "unproven";
/// Calls that somebody else must have made with our token: Crisp refused us before our own count reached the limit.
pub const ELSEWHERE: &str = "elsewhere";
/// Calls of this day that no longer count: Crisp's own day began anew.
pub const CREDIT: &str = "credit";
/// The same for [`UNPROVEN`].
pub const UNPROVEN_CREDIT: &str = "unproven_credit";

/// A refusal that lasts so long is no burst that was too fast.
const LONG: Duration = Duration::from_mins(10);
/// A refusal beyond this share of the quota, in percent, is its end.
const NEARLY_ALL: u32 = 80;
/// A forecast that said "not enough" is taken back once it is this share of the quota, in percent: else it would be said
/// and taken back all day.
const ENOUGH: u32 = 95;

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
    /// How long after midnight UTC Crisp's day begins.
    pub day_begins: Duration,
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
            day_begins: Duration::ZERO,
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
    /// Whether Crisp refuses calls for the quota now.
    pub refused: bool,
}

impl Usage {
    /// From the day's counts by purpose.
    pub fn of<'a>(counts: impl IntoIterator<Item = (&'a str, u64)>, refused: bool) -> Self {
        let (mut calls, mut credit, mut unproven, mut unproven_credit) = (0_u64, 0, 0, 0);
        for (purpose, count) in counts {
            let sum = match purpose {
                UNPROVEN => &mut unproven,
                CREDIT => &mut credit,
                UNPROVEN_CREDIT => &mut unproven_credit,
                _ => &mut calls,
            };
            *sum = sum.saturating_add(count);
        }
        let left = |of: u64, credit| u32::try_from(of.saturating_sub(credit)).unwrap_or(u32::MAX);
        Self {
            calls: left(calls, credit),
            unproven: left(unproven, unproven_credit),
            refused,
        }
    }
}

/// Where the day will end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
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
        let has_room = match priority {
            Priority::OperatorOpened => !usage.refused,
            _ => cost <= self.left(usage, priority),
        };
        has_room && (proven || cost <= share)
    }

    /// What a refusal says about the day: how many calls somebody else must have made. Nothing, if we may only have been too
    /// fast for a moment. `asked_to_wait` is what Crisp asked for, `refused_for` how long it has refused already, `usage` is
    /// without the refused call.
    pub fn calls_elsewhere(
        self,
        usage: Usage,
        asked_to_wait: Option<Duration>,
        refused_for: Duration,
    ) -> u32 {
        let is_the_end = asked_to_wait.is_some_and(|wait| wait >= LONG)
            || refused_for >= LONG
            || usage.calls >= self.percent(NEARLY_ALL);
        if is_the_end {
            self.daily.saturating_sub(usage.calls)
        } else {
            0
        }
    }

    /// Whether the day's quota is used up by the estimate.
    pub fn is_spent(self, usage: Usage) -> bool {
        usage.calls >= self.daily
    }

    /// Whether a forecast is bad news. One that was stays so until it is clearly better.
    pub fn falls_short(self, forecast: Forecast, did_before: bool) -> bool {
        forecast.exhausted_at.is_some() || (did_before && forecast.calls > self.percent(ENOUGH))
    }

    /// Where the day ends, at the pace since it began. The first hour counts as a whole one: it says little.
    pub fn forecast(self, usage: Usage, now: Timestamp) -> Forecast {
        const DAY: i64 = 24 * 3600;
        let began = self.day_began(now);
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

    /// When the quota's day began. Crisp does not say when it does; midnight UTC is the guess that a setting and refusals
    /// correct.
    pub fn day_began(self, now: Timestamp) -> Timestamp {
        const DAY: i64 = 24 * 3600;
        let offset = i64::try_from(self.day_begins.as_secs()).unwrap_or(0) % DAY;
        let seconds = now.as_second();
        Timestamp::from_second(seconds - (seconds - offset).rem_euclid(DAY)).unwrap_or(now)
    }

    fn percent(self, percent: u32) -> u32 {
        let share = u64::from(self.daily) * u64::from(percent.min(100)) / 100;
        u32::try_from(share).unwrap_or(u32::MAX)
    }
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
            // The count is an estimate, and only Crisp knows better.
            (5_000, &[OperatorOpened]),
            (9_999, &[OperatorOpened]),
        ] {
            for priority in [OperatorOpened, Conversation, Event, Background] {
                assert_eq!(
                    quota.admits(used(calls), priority, true, 1),
                    admitted.contains(&priority),
                    "{priority:?} at {calls}"
                );
            }
        }
        assert!(!quota.admits(used(3_999), Event, true, 2));
        let refused = Usage {
            refused: true,
            ..used(0)
        };
        assert!(!quota.admits(refused, OperatorOpened, true, 1));
    }

    #[test]
    fn the_reserve_is_a_setting() {
        let quota = QuotaSettings {
            reserve_percent: 0,
            ..QuotaSettings::for_tier(Tier::Plugin)
        };
        assert!(quota.admits(used(4_999), Priority::Background, true, 1));
        assert!(!quota.admits(used(5_000), Priority::Background, true, 1));
    }

    #[test]
    fn the_days_counts_add_up_to_what_is_used() {
        let counts = [
            ("read_conversation", 700),
            ("update_metas", 300),
            (UNPROVEN, 250),
        ];
        let usage = Usage::of(counts, false);
        assert_eq!((usage.calls, usage.unproven), (1_000, 250));
        let elsewhere = counts.into_iter().chain([(ELSEWHERE, 4_000)]);
        assert_eq!(Usage::of(elsewhere.clone(), false).calls, 5_000);
        let credited =
            elsewhere.chain([(CREDIT, 5_000), (UNPROVEN_CREDIT, 250), ("read_contact", 3)]);
        let usage = Usage::of(credited, false);
        assert_eq!((usage.calls, usage.unproven), (3, 0));
        let more_credit_than_calls = [("read_contact", 3), (CREDIT, 4)];
        assert_eq!(Usage::of(more_credit_than_calls, false).calls, 0);
    }

    #[test]
    fn a_refusal_is_the_end_of_the_quota_or_a_moments_haste() {
        let quota = QuotaSettings::for_tier(Tier::Plugin);
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        for (calls, asked_to_wait, refused_for, elsewhere) in [
            // A burst: Crisp names a moment, or nothing.
            (100, seconds(20), 0, 0),
            (100, None, 0, 0),
            // It names hours; or it refuses still, a quarter of an hour later; or we had used nearly all ourselves.
            (100, seconds(7 * 3600), 0, 4_900),
            (100, None, 900, 4_900),
            (4_100, None, 0, 900),
            (6_000, None, 0, 0),
        ] {
            assert_eq!(
                quota.calls_elsewhere(used(calls), asked_to_wait, Duration::from_secs(refused_for)),
                elsewhere,
                "{calls} calls, asked for {asked_to_wait:?}, refused for {refused_for} s"
            );
        }
        assert!(quota.is_spent(used(5_000)));
        assert!(!quota.is_spent(used(4_999)));
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
        assert!(quota.falls_short(ahead, false));
        // Just enough is no news, unless there was just too little before.
        let narrow = quota.forecast(used(2_450), noon);
        assert_eq!(narrow.exhausted_at, None);
        assert!(!quota.falls_short(narrow, false));
        assert!(quota.falls_short(narrow, true));
        assert!(!quota.falls_short(quota.forecast(used(2_000), noon), true));
        // Ten calls in the first minute are no catastrophe.
        let early: Timestamp = "2026-11-21T00:01:00Z".parse().expect("a time");
        assert_eq!(quota.forecast(used(10), early).calls, 240);
        assert_eq!(quota.forecast(Usage::default(), noon).calls, 0);
    }

    #[test]
    fn a_day_that_begins_elsewhere_is_forecast_from_there() {
        let quota = QuotaSettings {
            day_begins: Duration::from_hours(8),
            ..QuotaSettings::for_tier(Tier::Plugin)
        };
        for (now, began) in [
            ("2026-11-21T07:59:59Z", "2026-11-20T08:00:00Z"),
            ("2026-11-21T08:00:00Z", "2026-11-21T08:00:00Z"),
            ("2026-11-21T23:00:00Z", "2026-11-21T08:00:00Z"),
        ] {
            let now: Timestamp = now.parse().expect("a time");
            assert_eq!(quota.day_began(now).to_string(), began, "at {now}");
        }
        let noon: Timestamp = "2026-11-21T12:00:00Z".parse().expect("a time");
        assert_eq!(
            quota.forecast(used(2_000), noon).exhausted_at,
            Some("2026-11-21T18:00:00Z".parse().expect("a time"))
        );
    }
}
