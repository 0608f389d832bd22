//! What really happened to the user, by the true time in minutes, and what left for Crisp. It knows nothing of rows, keys
//! and states.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::{
    DAY, HOUR,
    steps::{Step, Weather},
};

/// What a rule promises.
#[derive(Debug)]
pub(super) struct Law {
    /// The column with its moment.
    pub(super) column: Option<&'static str>,
    /// The group, and the place in it.
    pub(super) group: Option<(&'static str, usize)>,
    pub(super) delay: i64,
    pub(super) max_age: i64,
}

pub(super) fn law(event: &str) -> Law {
    let of = |column, group| Law {
        column,
        group,
        delay: 0,
        max_age: 3 * DAY,
    };
    match event {
        "canceled" => of(Some("canceled_at"), Some(("subscription", 0))),
        "churned" => of(Some("ends_at"), Some(("subscription", 1))),
        "started" => of(None, Some(("subscription", 2))),
        "winback" => Law {
            delay: 12 * HOUR,
            max_age: 6 * HOUR,
            ..of(Some("canceled_at"), None)
        },
        "greeted" => Law {
            max_age: 36 * HOUR,
            ..of(Some("seen_at"), None)
        },
        "imported" => of(None, Some(("import", 0))),
        "failed" => of(None, Some(("import", 1))),
        _ => of(None, None),
    }
}

/// Something of a tenant's.
#[derive(Debug)]
pub(super) struct Import {
    pub(super) tenant: u8,
    pub(super) done_at: i64,
    pub(super) failed_at: Option<i64>,
}

/// A request that leaves.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) event: String,
    pub(super) data: Map<String, Json>,
    /// When it happened, as the request tells it.
    pub(super) at: i64,
    /// When it leaves, by our clock.
    pub(super) left_at: i64,
    /// Whether Crisp gets it, sooner or later.
    pub(super) arrives: bool,
    /// Whether Crisp refused it, or its list proved that it is not there.
    pub(super) is_absent: bool,
}

impl Request {
    /// What it tells, beside when.
    pub(super) fn told(&self, key: &str) -> &str {
        told(&self.data, key)
    }
}

pub(super) fn told<'a>(data: &'a Map<String, Json>, key: &str) -> &'a str {
    data.get(key).and_then(Json::as_str).unwrap_or_default()
}

#[derive(Debug)]
pub(super) struct Book {
    pub(super) shared: bool,
    /// Since when events may be sent.
    pub(super) armed: i64,
    /// Whether clock and memory are to be relied on.
    pub(super) is_tame: bool,
    pub(super) flags: BTreeMap<&'static str, bool>,
    /// When a guard of every event was shut last.
    pub(super) shut_at: Option<i64>,
    pub(super) dates: BTreeMap<&'static str, Option<i64>>,
    /// Each moment that a date ever was.
    pub(super) moments: BTreeMap<&'static str, Vec<i64>>,
    pub(super) plan: u8,
    /// How often each plan was begun.
    pub(super) begun: BTreeMap<u8, usize>,
    /// The plan at the last look that was remembered.
    pub(super) plan_seen: Option<u8>,
    /// When a change was seen, by our clock, and the plan.
    pub(super) changes: Vec<(i64, u8)>,
    pub(super) subscription: u8,
    pub(super) imports: Vec<Import>,
    /// The moments of the subscription that had come when somebody looked, and stood then.
    pub(super) seen: Vec<(&'static str, i64)>,
    /// What others told Crisp, or of which nobody can prove that Crisp does not have it.
    pub(super) maybe_told: Vec<(String, i64)>,
    /// Every request, also one that died before it left.
    pub(super) requests: Vec<Request>,
    /// Whether the brake has latched.
    pub(super) is_latched: bool,
}

impl Book {
    pub(super) fn new(sender: &str, armed: i64, weather: Weather) -> Self {
        Self {
            shared: sender == "shared",
            armed,
            is_tame: weather != Weather::Wild,
            flags: [("consent", true), ("news", true)].into(),
            shut_at: None,
            dates: [("opens_at", Some(0)), ("welcome_at", Some(0))].into(),
            moments: BTreeMap::new(),
            plan: 1,
            begun: BTreeMap::new(),
            plan_seen: None,
            changes: Vec::new(),
            subscription: 0,
            imports: Vec::new(),
            seen: Vec::new(),
            maybe_told: Vec::new(),
            requests: Vec::new(),
            is_latched: false,
        }
    }

    pub(super) fn hears(&mut self, step: &Step, now: i64) {
        match *step {
            Step::Flag(name, is) => {
                if matches!((name, is), ("consent", false) | ("banned", true)) {
                    self.shut_at = Some(now);
                }
                self.flags.insert(name, is);
            }
            Step::Date(name, at) => self.dates_to(name, at.map(|at| now + at)),
            Step::AppTells {
                event,
                happens: true,
            } => self.dates_to(law(event).column.expect("a date"), Some(now)),
            Step::Plan(plan) => {
                if plan != self.plan {
                    *self.begun.entry(plan).or_default() += 1;
                }
                self.plan = plan;
            }
            Step::Subscribe(id) => self.subscription = id,
            Step::Import(tenant) => self.imports.push(Import {
                tenant,
                done_at: now,
                failed_at: None,
            }),
            Step::Fail(tenant) => {
                let last = self.imports.iter_mut().rfind(|one| one.tenant == tenant);
                if let Some(last) = last.filter(|last| last.failed_at.is_none()) {
                    last.failed_at = Some(now);
                }
            }
            Step::Release => self.is_latched = false,
            Step::Refresh { .. } | Step::Send { .. } => {
                for (event, column) in [("canceled", "canceled_at"), ("churned", "ends_at")] {
                    let come = self.date(column).filter(|at| *at <= now);
                    self.seen.extend(come.map(|at| (event, at)));
                }
            }
            _ => {}
        }
    }

    fn dates_to(&mut self, name: &'static str, at: Option<i64>) {
        self.dates.insert(name, at);
        self.moments.entry(name).or_default().extend(at);
    }

    /// A look at the user was stored, at a moment by our clock.
    pub(super) fn looked(&mut self, ours: i64) {
        if self.plan_seen.is_some_and(|seen| seen != self.plan) && self.plan > 0 {
            self.changes.push((ours, self.plan));
        }
        self.plan_seen = Some(self.plan);
    }

    pub(super) fn is(&self, flag: &str) -> bool {
        self.flags.get(flag).copied().unwrap_or_default()
    }

    pub(super) fn date(&self, name: &str) -> Option<i64> {
        self.dates.get(name).copied().flatten()
    }

    /// Whether a guard that opens at a moment is open.
    pub(super) fn is_past(&self, name: &str, ours: i64) -> bool {
        self.date(name).is_some_and(|at| at <= ours)
    }

    /// How long the app has before us.
    pub(super) fn grace(&self) -> i64 {
        if self.shared { 10 } else { 0 }
    }

    /// When the last change of the plan was seen, if it stands.
    pub(super) fn change(&self) -> Option<i64> {
        let (at, plan) = *self.changes.last()?;
        (plan == self.plan && self.plan_seen == Some(plan)).then_some(at)
    }

    /// Whether no date of the subscription that anybody saw come was a later one.
    pub(super) fn is_last(&self, event: &str, at: i64) -> bool {
        let place = |event| law(event).group.map(|(_, place)| place);
        let mut seen = self.seen.iter();
        seen.all(|(other, moment)| (*moment, place(other)) <= (at, place(event)))
    }

    /// What of the group has happened by now that is true now: the moments of each event.
    pub(super) fn happened(&self, tenant: &str) -> Vec<(&'static str, i64)> {
        let mut happened = Vec::new();
        if !self.is("paused") {
            happened.extend(self.date("canceled_at").map(|at| ("canceled", at)));
        }
        happened.extend(self.date("ends_at").map(|at| ("churned", at)));
        let change = self.change().filter(|at| *at >= self.armed);
        // What was superseded by something that was taken back stays superseded.
        let stands = change.filter(|at| self.is_last("started", *at));
        happened.extend(stands.map(|at| ("started", at)));
        for import in self.of_tenant(tenant) {
            happened.push(("imported", import.done_at));
            happened.extend(import.failed_at.map(|at| ("failed", at)));
        }
        happened
    }

    pub(super) fn of_tenant(&self, tenant: &str) -> impl Iterator<Item = &Import> {
        self.imports
            .iter()
            .filter(move |import| import.tenant.to_string() == tenant)
    }
}
