//! When a breaker opens, when it lets a probe through, when it closes. Pure.

use std::time::Duration;

use jiff::Timestamp;

/// When a breaker opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerSettings {
    /// So many failures in a row open it.
    pub in_a_row: u32,
    /// So many failures among the last [`WINDOW`] open it, too: a thing that mostly fails is down.
    pub in_window: u32,
    /// How long it is open at first.
    pub shortest: Duration,
    /// Each failed probe doubles that, up to here.
    pub longest: Duration,
    /// After so many failed probes…
    pub patience: u32,
    /// …they go only this often: each may be a call that is counted.
    pub rarest: Duration,
}

/// How many outcomes are remembered.
pub const WINDOW: u32 = 20;

impl Default for BreakerSettings {
    /// Five in a row are an outage and no accident; a minute at the most passes between its end and the probe that sees it,
    /// or five once it has lasted for an hour.
    fn default() -> Self {
        Self {
            in_a_row: 5,
            in_window: 15,
            shortest: Duration::from_secs(5),
            longest: Duration::from_mins(1),
            patience: 60,
            rarest: Duration::from_mins(5),
        }
    }
}

/// Whether something may be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// As always.
    Go,
    /// As the one probe.
    Probe,
    /// Not before then.
    Wait {
        /// When to ask again.
        until: Timestamp,
    },
}

/// What an outcome changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// From now on everything waits.
    Opened {
        /// Until the first probe.
        until: Timestamp,
    },
    /// The probe failed.
    StaysOpen {
        /// Until the next probe.
        until: Timestamp,
    },
    /// It works again.
    Closed {
        /// How long it did not.
        after: Duration,
    },
}

/// While a probe is on its way, the others ask again this often.
const BEHIND_PROBE: Duration = Duration::from_secs(1);

/// The state of one breaker.
#[derive(Debug, Clone)]
pub struct Machine {
    settings: BreakerSettings,
    failures_in_a_row: u32,
    /// The last outcomes, the youngest lowest; 1 is a failure.
    window: u32,
    seen: u32,
    open: Option<Open>,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    since: Timestamp,
    until: Timestamp,
    /// Probes that failed.
    failed: u32,
    probing: bool,
}

/// An outage that is not over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// When the breaker opened.
    pub since: Timestamp,
    /// When the next probe may go; in the past, it may go now.
    pub until: Timestamp,
}

impl Machine {
    /// A closed breaker.
    pub fn new(settings: BreakerSettings) -> Self {
        Self {
            settings,
            failures_in_a_row: 0,
            window: 0,
            seen: 0,
            open: None,
        }
    }

    /// Whether something may be tried now.
    pub fn admit(&mut self, now: Timestamp) -> Admission {
        let longest = self.settings.rarest;
        let Some(open) = &mut self.open else {
            return Admission::Go;
        };
        if open.waits(now, longest) {
            return Admission::Wait { until: open.until };
        }
        if open.probing {
            return Admission::Wait {
                until: later(now, BEHIND_PROBE),
            };
        }
        open.probing = true;
        Admission::Probe
    }

    /// The probe ended and proved nothing: another may go.
    pub fn release(&mut self) {
        if let Some(open) = &mut self.open {
            open.probing = false;
        }
    }

    /// It worked.
    pub fn succeeded(&mut self, now: Timestamp) -> Option<Change> {
        self.failures_in_a_row = 0;
        self.remember(false);
        let open = self.open.take()?;
        // What failed during the outage says nothing about the time after it.
        (self.window, self.seen) = (0, 0);
        Some(Change::Closed {
            after: Duration::try_from(now.duration_since(open.since)).unwrap_or_default(),
        })
    }

    /// It failed.
    pub fn failed(&mut self, now: Timestamp) -> Option<Change> {
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        self.remember(true);
        let settings = self.settings;
        if let Some(open) = &mut self.open {
            // What was on its way when it opened fails late, and is no probe.
            if open.waits(now, settings.rarest) {
                return None;
            }
            open.failed = open.failed.saturating_add(1);
            open.until = later(now, settings.wait(open.failed));
            open.probing = false;
            return Some(Change::StaysOpen { until: open.until });
        }
        let mostly = self.seen >= WINDOW && self.window.count_ones() >= settings.in_window;
        if self.failures_in_a_row < settings.in_a_row && !mostly {
            return None;
        }
        let until = later(now, settings.wait(0));
        self.open = Some(Open {
            since: now,
            until,
            failed: 0,
            probing: false,
        });
        Some(Change::Opened { until })
    }

    /// Failures since the last success.
    pub fn failures_in_a_row(&self) -> u32 {
        self.failures_in_a_row
    }

    /// The outage, if there is one.
    pub fn outage(&self) -> Option<Outage> {
        self.open.map(|open| Outage {
            since: open.since,
            until: open.until,
        })
    }

    /// Whether it waits for the outcome of a probe, or for somebody to make one.
    pub fn is_half_open(&self, now: Timestamp) -> bool {
        self.open
            .is_some_and(|open| !open.waits(now, self.settings.rarest))
    }

    fn remember(&mut self, failure: bool) {
        self.window = (self.window << 1 | u32::from(failure)) & ((1 << WINDOW) - 1);
        self.seen = (self.seen + 1).min(WINDOW);
    }
}

impl Open {
    /// Whether it is too early for a probe. A wait that is longer than any we give was planned by a clock that has been set
    /// back since.
    fn waits(&self, now: Timestamp, longest: Duration) -> bool {
        now < self.until && self.until <= later(now, longest)
    }
}

impl BreakerSettings {
    fn wait(&self, failed_probes: u32) -> Duration {
        if failed_probes >= self.patience {
            return self.rarest;
        }
        self.shortest
            .saturating_mul(1 << failed_probes.min(20))
            .min(self.longest)
    }
}

fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + seconds).expect("an instant")
    }

    fn machine() -> Machine {
        Machine::new(BreakerSettings::default())
    }

    /// A machine that opened at 0.
    fn opened() -> Machine {
        let mut machine = machine();
        for _ in 0..4 {
            assert_eq!(machine.failed(at(0)), None);
        }
        assert_eq!(machine.failed(at(0)), Some(Change::Opened { until: at(5) }));
        machine
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_starts_the_count_anew() {
        let mut machine = machine();
        for round in 0..3 {
            for _ in 0..4 {
                assert_eq!(machine.failed(at(round)), None);
            }
            assert_eq!(machine.succeeded(at(round)), None);
            assert_eq!(machine.admit(at(round)), Admission::Go);
        }
        opened();
    }

    #[test]
    fn mostly_failing_opens_it_too() {
        let mut machine = machine();
        let mut opened = None;
        for number in 1..100 {
            let change = if number % 4 == 0 {
                machine.succeeded(at(number))
            } else {
                machine.failed(at(number))
            };
            if let Some(Change::Opened { .. }) = change {
                opened = Some(number);
                break;
            }
        }
        assert_eq!(opened, Some(21), "15 of the last 20 failed");
        // Every second one is no outage.
        let mut machine = super::Machine::new(BreakerSettings::default());
        for number in 0..100 {
            let change = if number % 2 == 0 {
                machine.succeeded(at(number))
            } else {
                machine.failed(at(number))
            };
            assert_eq!(change, None, "{number}");
        }
    }

    #[test]
    fn one_probe_goes_when_the_wait_is_over_and_the_others_wait_for_it() {
        let mut machine = opened();
        let table = [
            (0, Admission::Wait { until: at(5) }),
            (4, Admission::Wait { until: at(5) }),
            (5, Admission::Probe),
            (5, Admission::Wait { until: at(6) }),
            (9, Admission::Wait { until: at(10) }),
        ];
        for (seconds, expected) in table {
            assert_eq!(machine.admit(at(seconds)), expected, "at {seconds}");
        }
        // A probe that proves nothing makes room for another.
        machine.release();
        assert_eq!(machine.admit(at(9)), Admission::Probe);
        assert_eq!(
            machine.succeeded(at(10)),
            Some(Change::Closed {
                after: Duration::from_secs(10)
            })
        );
        assert_eq!(machine.admit(at(10)), Admission::Go);
        assert_eq!(machine.failures_in_a_row(), 0);
    }

    #[test]
    fn each_failed_probe_doubles_the_wait_up_to_a_cap() {
        let mut machine = opened();
        let mut now = 5;
        for wait in [10, 20, 40, 60, 60] {
            assert_eq!(machine.admit(at(now)), Admission::Probe, "at {now}");
            let until = at(now + wait);
            assert_eq!(machine.failed(at(now)), Some(Change::StaysOpen { until }));
            assert_eq!(machine.admit(at(now)), Admission::Wait { until });
            now += wait;
        }
        assert_eq!(machine.outage().map(|outage| outage.since), Some(at(0)));
        for _ in 5..59 {
            assert_eq!(machine.admit(at(now)), Admission::Probe, "at {now}");
            let until = at(now + 60);
            assert_eq!(machine.failed(at(now)), Some(Change::StaysOpen { until }));
            now += 60;
        }
        // From the sixtieth on there is time.
        assert_eq!(machine.admit(at(now)), Admission::Probe);
        let until = at(now + 300);
        assert_eq!(machine.failed(at(now)), Some(Change::StaysOpen { until }));
        assert_eq!(machine.admit(at(now + 299)), Admission::Wait { until });
        assert_eq!(machine.admit(until), Admission::Probe);
    }

    #[test]
    fn what_was_on_its_way_when_it_opened_neither_prolongs_nor_doubles() {
        let mut machine = opened();
        for _ in 0..20 {
            assert_eq!(machine.failed(at(3)), None);
        }
        assert_eq!(machine.admit(at(5)), Admission::Probe);
        // One that was on its way and succeeds is as good as a probe.
        let mut machine = opened();
        assert!(matches!(
            machine.succeeded(at(1)),
            Some(Change::Closed { .. })
        ));
    }

    #[test]
    fn after_an_outage_the_count_starts_anew() {
        let mut machine = opened();
        machine.succeeded(at(6));
        for _ in 0..4 {
            assert_eq!(machine.failed(at(7)), None);
        }
        assert_eq!(machine.admit(at(7)), Admission::Go);
    }

    #[test]
    fn a_clock_that_jumps_does_not_keep_it_open() {
        let mut machine = opened();
        assert_eq!(machine.admit(at(-3600)), Admission::Probe, "set back");
        let mut machine = opened();
        assert_eq!(machine.admit(at(86_400)), Admission::Probe, "set forward");
        assert!(matches!(
            machine.succeeded(at(-10)),
            Some(Change::Closed {
                after: Duration::ZERO
            })
        ));
    }
}
