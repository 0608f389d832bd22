//! Circuit breakers: one per outside thing, so that what is down is asked once in a while and not by everybody.
//!
//! An adapter reports how each of its calls ended; whoever would make one asks [`Breaker::admit`] first. While a breaker is
//! open nothing is tried but one probe at a time, and work waits: it spends no attempt and is not buried for a fault that
//! is everybody's. Breakers live in the process; several replicas have one each, and one probe each.
//!
//! A breaker says what it does in one log line per change, in the metric `breaker`, and in `/status` of the ops listener.

mod machine;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;

pub use machine::{Admission, BreakerSettings, Change, Machine, Outage, WINDOW};

use crate::{
    clock::Clock,
    telemetry::{Metrics, events, metrics::BreakerLabels},
};

/// The breakers of a process. Clones share them.
#[derive(Debug, Clone)]
pub struct Breakers {
    process: Arc<Process>,
}

#[derive(Debug)]
struct Process {
    clock: Clock,
    metrics: Metrics,
    settings: BreakerSettings,
    all: Mutex<BTreeMap<String, Breaker>>,
}

/// The breaker of one thing. Clones share it.
#[derive(Clone)]
pub struct Breaker {
    shared: Arc<Shared>,
}

struct Shared {
    name: String,
    clock: Clock,
    metrics: Metrics,
    state: Mutex<State>,
}

struct State {
    machine: Machine,
    /// Why the last attempt failed, without private text.
    error: Option<String>,
}

/// Leave to try. While it is held by a probe, nobody else is let through.
#[derive(Debug)]
#[must_use]
pub struct Permit {
    probe: Option<Breaker>,
}

/// How a breaker stands, for people.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Standing {
    /// What it guards: `crisp`, `crisp.writes`, `people.<purpose>`, `users`, `users.more.<name>`, `definition`, `ledger`, `results.<kind>`, or a query by its path in the file.
    pub name: String,
    /// `closed`, `open` or `half_open`.
    pub state: &'static str,
    /// When it opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// When the next probe may go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe_at: Option<Timestamp>,
    /// Failures since the last success.
    pub failures_in_a_row: u32,
    /// The last failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The breaker of Crisp's REST API.
pub const CRISP: &str = "crisp";
/// The breaker of the writes among them: Crisp may answer every read and take nothing.
pub const CRISP_WRITES: &str = "crisp.writes";
/// The breakers of what Crisp does for contacts, `people.<purpose>` each: it may serve conversations and no contact, or read
/// contacts and take no event. Only the work on people waits for them.
pub const PEOPLE: &str = "people";
/// The breaker of the app's database. A further look-up with a database of its own has `users.more.<name>`; each query has
/// one of its own as well, by its path in the configuration file: a query that no longer fits the tables is no outage of
/// the others.
pub const USERS: &str = "users";
/// The breaker of our own ledger, by whether the results of work can be written.
pub const LEDGER: &str = "ledger";
/// The counters of results that the ledger refuses, `results.<kind>` each. Nothing asks them for leave; they tell a row that
/// does not fit from a ledger that takes nobody's of its kind.
pub const RESULTS: &str = "results";
/// The counter of evaluations. Nothing asks it for leave; it tells a row that does not fit from a definition that fits no row.
pub const DEFINITION: &str = "definition";

impl Breakers {
    /// None yet; each comes into being when it is first asked for.
    pub fn new(clock: Clock, metrics: Metrics, settings: BreakerSettings) -> Self {
        Self {
            process: Arc::new(Process {
                clock,
                metrics,
                settings,
                all: Mutex::default(),
            }),
        }
    }

    /// The breaker of that name.
    pub fn of(&self, name: &str) -> Breaker {
        let Process {
            clock,
            metrics,
            settings,
            all,
        } = &*self.process;
        lock(all)
            .entry(name.to_owned())
            .or_insert_with(|| Breaker::new(name, clock, metrics, *settings))
            .clone()
    }

    /// Leave to try everything of that name, or when to ask again.
    pub fn admit(&self, name: &str) -> Result<Vec<Permit>, Timestamp> {
        self.part_of(name).map(|breaker| breaker.admit()).collect()
    }

    /// How each stands, by name.
    pub fn standings(&self) -> Vec<Standing> {
        lock(&self.process.all)
            .values()
            .map(Breaker::standing)
            .collect()
    }

    /// The outage of the thing of that name, or of a part of it, that lets the next probe through last.
    pub fn outage(&self, name: &str) -> Option<Outage> {
        self.part_of(name)
            .filter_map(|breaker| breaker.outage())
            .max_by_key(|outage| outage.until)
    }

    /// Failures since the last success, of the thing of that name or of the part of it that fails most.
    pub fn failures_in_a_row(&self, name: &str) -> u32 {
        self.part_of(name)
            .map(|breaker| breaker.failures_in_a_row())
            .max()
            .unwrap_or(0)
    }

    fn part_of(&self, name: &str) -> impl Iterator<Item = Breaker> {
        let parts: Vec<Breaker> = lock(&self.process.all)
            .iter()
            .filter(|(part, _)| {
                part.strip_prefix(name)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
            .map(|(_, breaker)| breaker.clone())
            .collect();
        parts.into_iter()
    }
}

impl Breaker {
    fn new(name: &str, clock: &Clock, metrics: &Metrics, settings: BreakerSettings) -> Self {
        let breaker = Self {
            shared: Arc::new(Shared {
                name: name.to_owned(),
                clock: clock.clone(),
                metrics: metrics.clone(),
                state: Mutex::new(State {
                    machine: Machine::new(settings),
                    error: None,
                }),
            }),
        };
        breaker.gauge(CLOSED);
        breaker
    }

    /// Leave to try, or when to ask again.
    pub fn admit(&self) -> Result<Permit, Timestamp> {
        let admission = self.state().machine.admit(self.shared.clock.now());
        match admission {
            Admission::Go => Ok(Permit { probe: None }),
            Admission::Probe => {
                self.gauge(HALF_OPEN);
                Ok(Permit {
                    probe: Some(self.clone()),
                })
            }
            Admission::Wait { until } => Err(until),
        }
    }

    /// It worked.
    pub fn succeeded(&self) {
        let change = {
            let mut state = self.state();
            state.error = None;
            state.machine.succeeded(self.shared.clock.now())
        };
        if let Some(Change::Closed { after }) = change {
            self.gauge(CLOSED);
            tracing::info!(
                event = events::BREAKER_CLOSED,
                breaker = self.shared.name,
                duration_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
                "it works again: what waited goes on"
            );
        }
    }

    /// It failed. `error` may bring its hint behind a line end, and holds no private text.
    pub fn failed(&self, error: &str) {
        let now = self.shared.clock.now();
        let (change, failures) = {
            let mut state = self.state();
            state.error = Some(error.to_owned());
            let change = state.machine.failed(now);
            (change, state.machine.failures_in_a_row())
        };
        let (error, hint) = match error.split_once("\nhint: ") {
            Some((error, hint)) => (error, Some(hint)),
            None => (error, None),
        };
        match change {
            Some(Change::Opened { until }) => {
                self.gauge(OPEN);
                tracing::warn!(
                    event = events::BREAKER_OPENED,
                    breaker = self.shared.name,
                    failures,
                    until = %until,
                    error,
                    hint,
                    "it fails again and again: what needs it waits, and a probe finds out when it works"
                );
            }
            Some(Change::StaysOpen { until }) => {
                self.gauge(OPEN);
                tracing::debug!(
                    event = events::BREAKER_PROBED,
                    breaker = self.shared.name,
                    until = %until,
                    error,
                    "a probe failed"
                );
            }
            Some(Change::Closed { .. }) | None => {}
        }
    }

    /// What it guards.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The outage, if there is one.
    pub fn outage(&self) -> Option<Outage> {
        self.state().machine.outage()
    }

    /// Failures since the last success.
    pub fn failures_in_a_row(&self) -> u32 {
        self.state().machine.failures_in_a_row()
    }

    fn standing(&self) -> Standing {
        let now = self.shared.clock.now();
        let state = self.state();
        let outage = state.machine.outage();
        Standing {
            name: self.shared.name.clone(),
            state: match outage {
                None => "closed",
                Some(_) if state.machine.is_half_open(now) => "half_open",
                Some(_) => "open",
            },
            since: outage.map(|outage| outage.since),
            probe_at: outage.map(|outage| outage.until),
            failures_in_a_row: state.machine.failures_in_a_row(),
            error: state.error.clone(),
        }
    }

    fn gauge(&self, value: i64) {
        self.shared
            .metrics
            .breaker
            .get_or_create(&BreakerLabels {
                name: self.shared.name.clone(),
            })
            .set(value);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.shared.state)
    }
}

const CLOSED: i64 = 0;
const HALF_OPEN: i64 = 1;
const OPEN: i64 = 2;

/// Each change is whole before the lock is let go of, so a panic elsewhere leaves nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Permit {
    /// Whether it is the one probe.
    pub fn is_probe(&self) -> bool {
        self.probe.is_some()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(breaker) = &self.probe {
            breaker.state().machine.release();
        }
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Breaker")
            .field("name", &self.shared.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn breakers() -> (Breakers, Clock) {
        let clock = Clock::standing_at(Timestamp::UNIX_EPOCH);
        let breakers = Breakers::new(
            clock.clone(),
            Metrics::default(),
            BreakerSettings::default(),
        );
        (breakers, clock)
    }

    fn fail(breaker: &Breaker, times: u32) {
        for _ in 0..times {
            breaker.failed("it is away");
        }
    }

    #[test]
    fn a_probe_that_is_dropped_makes_room_for_the_next() {
        let (breakers, clock) = breakers();
        let breaker = breakers.of(CRISP);
        fail(&breaker, 5);
        assert!(breaker.admit().is_err());
        clock.advance(Duration::from_secs(5));
        let probe = breaker.admit().expect("a probe");
        assert!(breaker.admit().is_err(), "one at a time");
        drop(probe);
        let _probe = breaker.admit().expect("another");
    }

    #[test]
    fn a_probe_that_failed_does_not_let_another_through_when_it_is_dropped() {
        let (breakers, clock) = breakers();
        let breaker = breakers.of(CRISP);
        fail(&breaker, 5);
        clock.advance(Duration::from_secs(5));
        let probe = breaker.admit().expect("a probe");
        fail(&breaker, 1);
        drop(probe);
        assert!(breaker.admit().is_err());
    }

    #[test]
    fn parts_are_told_from_other_things() {
        let (breakers, _) = breakers();
        fail(&breakers.of("users.more.billing"), 5);
        fail(&breakers.of("userspace"), 7);
        assert!(breakers.outage(USERS).is_some());
        assert_eq!(breakers.failures_in_a_row(USERS), 5);
        assert_eq!(breakers.outage(CRISP), None);
    }

    #[test]
    fn people_see_what_is_wrong() {
        let (breakers, clock) = breakers();
        let breaker = breakers.of(USERS);
        assert_eq!(breakers.standings()[0].state, "closed");
        fail(&breaker, 5);
        let standing = &breakers.standings()[0];
        assert_eq!((standing.state, standing.failures_in_a_row), ("open", 5));
        assert_eq!(standing.error.as_deref(), Some("it is away"));
        clock.advance(Duration::from_secs(5));
        assert_eq!(breakers.standings()[0].state, "half_open");
        breaker.succeeded();
        assert_eq!(breakers.standings()[0].state, "closed");
        assert_eq!(breakers.standings()[0].error, None);
    }
}
