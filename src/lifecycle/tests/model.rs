//! Random histories: users change their mind, the app tells Crisp itself, answers are lost, processes die, clocks jump and
//! are set back, backups are restored, and Crisp forgets.
//!
//! The caller is the one of the module's documentation, in memory; Crisp is a list that keeps the newest entries and may
//! apply a request up to `quiet` late. Beside them stands a [`Book`], which knows nothing of rows, keys and states: it is
//! told what really happened to the user and when, and judges each request by that alone. At the end the weather is good
//! for some hours, and whatever is still true has to be told, or say why not.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use proptest::prelude::*;

use super::{book::Book, *};
use crate::lifecycle::timeline::{Clearance, Entry, clear, match_timeline, reaches_back_past};

const RULES: &str = r#"
    after_ambiguous = "resend"
    min_gap = "0s"
    require = "consent"
    [[event]]
    name = "canceled"
    at = "canceled_at"
    when = "not paused"
    group = "subscription"
    [[event]]
    name = "started"
    on_change = "plan"
    group = "subscription"
    [[event]]
    name = "subscribed"
    at = "subscription"
"#;
const QUIET: i64 = 15;
/// How many entries Crisp keeps, and how many a page has.
const KEPT: usize = 25;
const PAGE: usize = 20;

#[derive(Debug, Clone)]
pub(super) enum Step {
    Wait(i64),
    Cancel,
    Return,
    Pause(bool),
    Plan(u8),
    Subscribe(u8),
    /// The app tells Crisp of the cancellation itself.
    AppTells,
    /// A visitor writes to the timeline.
    Noise(usize),
    /// They give their consent, or take it back.
    Consent(bool),
    /// Our clock is set forward or back by so many minutes; Crisp's and the app's go on.
    Clock(i64),
    Refresh {
        dies: bool,
    },
    Send(Fate),
    /// Looks after the request that got no answer.
    Settle {
        cached: bool,
    },
    Backup,
    /// The backup comes back, once no request is under way.
    Restore,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fate {
    Answered,
    Refused,
    /// It never arrives, and nobody knows.
    Lost,
    /// It arrives that many minutes later, without an answer.
    Late(i64),
    /// The process dies before it leaves.
    DiesBefore,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..40_i64).prop_map(Step::Wait),
        1 => (0..3000_i64).prop_map(Step::Wait),
        2 => Just(Step::Cancel),
        1 => Just(Step::Return),
        1 => any::<bool>().prop_map(Step::Pause),
        2 => (0..4_u8).prop_map(Step::Plan),
        2 => (0..3_u8).prop_map(Step::Subscribe),
        1 => Just(Step::AppTells),
        1 => prop_oneof![1..15_usize, 20..40_usize].prop_map(Step::Noise),
        1 => prop::bool::weighted(0.7).prop_map(Step::Consent),
        1 => (-60..60_i64).prop_map(Step::Clock),
        5 => any::<bool>().prop_map(|dies| Step::Refresh { dies }),
        6 => fate().prop_map(Step::Send),
        5 => any::<bool>().prop_map(|cached| Step::Settle { cached }),
        1 => Just(Step::Backup),
        1 => Just(Step::Restore),
    ]
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        2 => Just(Fate::Answered),
        1 => Just(Fate::Refused),
        2 => Just(Fate::Lost),
        3 => (0..QUIET).prop_map(Fate::Late),
        1 => Just(Fate::DiesBefore),
    ]
}

/// What the ledger holds.
#[derive(Debug, Clone)]
struct Store {
    remembered: Remembered,
    edges: Edges,
    at: i64,
}

#[derive(Debug)]
struct World {
    rules: Rules,
    now: i64,
    user: User,
    store: Store,
    backup: Option<Store>,
    gap: Option<Gap>,
    /// Everything Crisp ever took.
    taken: Vec<Entry>,
    under_way: Vec<(i64, Entry)>,
    /// What a cache would answer.
    cached: Vec<Entry>,
    /// Crisp's clock, in seconds before or after the true time.
    skew: i64,
    /// Our clock, in minutes before or after the true time.
    off: i64,
    book: Book,
}

impl World {
    fn new(sender: &str, skew: i64, armed: i64) -> Self {
        let rules = rules(&format!("sender = \"{sender}\"\n{RULES}"));
        let remembered = Remembered::armed(&rules, armed);
        Self {
            rules,
            now: 0,
            user: user([
                ("canceled_at", Value::Null),
                ("paused", Value::Bool(false)),
                ("consent", Value::Bool(true)),
                ("plan", text("plan-0")),
                ("subscription", text("sub-0")),
            ]),
            store: Store {
                remembered,
                edges: Edges::default(),
                at: 0,
            },
            backup: None,
            gap: None,
            taken: Vec::new(),
            under_way: Vec::new(),
            cached: Vec::new(),
            skew,
            off: 0,
            book: Book {
                shared: sender == "shared",
                armed,
                consent: true,
                ..Book::default()
            },
        }
    }

    fn run(&mut self, step: &Step) {
        let now = minute(self.now);
        self.book.hears(step, self.now);
        match step {
            Step::Wait(minutes) => self.wait(*minutes),
            Step::Cancel => self.set("canceled_at", Value::Instant(now)),
            Step::Return => self.set("canceled_at", Value::Null),
            Step::Pause(paused) => self.set("paused", Value::Bool(*paused)),
            Step::Plan(0) => self.set("plan", Value::Null),
            Step::Plan(plan) => self.set("plan", text(&format!("plan-{plan}"))),
            Step::Subscribe(id) => self.set("subscription", text(&format!("sub-{id}"))),
            Step::AppTells => self.take("canceled", serde_json::Map::new()),
            Step::Noise(count) => {
                for _ in 0..*count {
                    self.take("clicked", serde_json::Map::new());
                }
            }
            Step::Consent(given) => self.set("consent", Value::Bool(*given)),
            Step::Clock(minutes) => self.set_clock(*minutes),
            Step::Refresh { dies } => self.refresh(*dies),
            Step::Send(fate) => self.send(*fate),
            Step::Settle { cached } => self.settle(*cached),
            Step::Backup => self.backup = Some(self.store.clone()),
            Step::Restore => self.restore(),
        }
        if !matches!(step, Step::Restore) {
            self.store.at = self.now + self.off;
        }
    }

    /// The time by our clock.
    fn ours(&self) -> Timestamp {
        minute(self.now + self.off)
    }

    /// The next heartbeat takes a jump for a time in which nobody listened.
    fn set_clock(&mut self, minutes: i64) {
        let from = self.ours();
        self.off += minutes;
        if minutes > 5 {
            self.gap = Some(Gap {
                from: self.gap.map_or(from, |gap| gap.from.min(from)),
                until: self
                    .ours()
                    .max(self.gap.map_or(Timestamp::MIN, |gap| gap.until)),
            });
        }
    }

    fn set(&mut self, column: &str, value: Value) {
        self.user.record.insert(column, value);
    }

    fn wait(&mut self, minutes: i64) {
        self.now += minutes;
        self.under_way.sort_by_key(|(at, _)| *at);
        let arrive = self.under_way.partition_point(|(at, _)| *at <= self.now);
        for (_, entry) in self.under_way.drain(..arrive).collect::<Vec<_>>() {
            self.taken.push(entry);
        }
        self.taken.sort_by_key(|entry| entry.timestamp);
    }

    fn entry(
        &self,
        at: i64,
        text: &str,
        data: serde_json::Map<String, serde_json::Value>,
    ) -> Entry {
        Entry {
            text: text.to_owned(),
            data,
            timestamp: minute(at) + SignedDuration::from_secs(self.skew),
        }
    }

    fn take(&mut self, text: &str, data: serde_json::Map<String, serde_json::Value>) {
        let entry = self.entry(self.now, text, data);
        self.taken.push(entry);
    }

    /// What Crisp shows: the newest entries, newest first.
    fn shown(&self) -> Vec<Entry> {
        self.taken.iter().rev().take(KEPT).cloned().collect()
    }

    fn refresh(&mut self, dies: bool) {
        self.cached = self.shown();
        let now = self.ours();
        let found = occurrences(
            &self.rules,
            &self.user,
            &BTreeMap::new(),
            &self.store.edges,
            self.gap,
            now,
        );
        assert_eq!(found.failures, []);
        let guards = self.rules.guards(&self.user, now).expect("guards");
        let decisions = decide(
            &self.rules,
            &found.occurrences,
            &self.store.remembered.memory(),
            guards,
            now,
        );
        if dies {
            return;
        }
        self.book.plan_seen = Some(self.book.plan);
        self.store.edges = found.edges;
        for decision in decisions {
            if let Some(occurrence) = decision.occurrence {
                assert!(self.position(&decision.key).is_none(), "one row per key");
                self.store.remembered.known.push(Known {
                    reference: format!("ref {}", decision.key),
                    key: decision.key,
                    instant: occurrence.instant(),
                    event: occurrence.event,
                    subject: occurrence.subject,
                    state: decision.state,
                    due_at: decision.due_at,
                    attempted_at: None,
                    sent_at: None,
                    absent_reads: 0,
                    first_absent_at: None,
                });
            } else {
                let row = self.position(&decision.key).expect("a row that is known");
                self.become_(row, decision.state);
            }
        }
    }

    fn position(&self, key: &str) -> Option<usize> {
        self.store
            .remembered
            .known
            .iter()
            .position(|known| known.key == key)
    }

    fn become_(&mut self, row: usize, state: OutboxState) {
        let known = &mut self.store.remembered.known[row];
        assert!(known.state.may_become(state), "{} → {state}", known.state);
        known.state = state;
    }

    fn first(&self, state: OutboxState) -> Option<usize> {
        self.store
            .remembered
            .known
            .iter()
            .position(|known| known.state == state)
    }

    fn send(&mut self, fate: Fate) {
        let Some(row) = self.first(OutboxState::Due) else {
            return;
        };
        let now = self.ours();
        let known = self.store.remembered.known[row].clone();
        let fresh = Fresh {
            user: Some(&self.user),
            rows: &[],
            edges: &self.store.edges,
        };
        let checked = recheck(
            &self.rules,
            &known,
            &fresh,
            &self.store.remembered.memory(),
            now,
        );
        let (text, data) = match checked.expect("it is evaluated") {
            Recheck::Drop { state, .. } => return self.become_(row, state),
            Recheck::Wait { until, .. } => {
                self.store.remembered.known[row].due_at = until;
                return self.become_(row, OutboxState::Scheduled);
            }
            Recheck::Send { text, data, .. } => (text, data),
        };
        if self.rules.needs_timeline(&known, self.gap) {
            match self.timeline_says(&known) {
                Clearance::Post => {}
                Clearance::Has(state) => return self.become_(row, state),
                Clearance::ReadOn | Clearance::Unsure => {
                    return self.become_(row, OutboxState::Unsure);
                }
            }
        }
        self.become_(row, OutboxState::Sending);
        let stored = &mut self.store.remembered;
        stored.known[row].attempted_at = Some(now);
        stored.known[row].absent_reads = 0;
        stored.known[row].first_absent_at = None;
        let mark = stored
            .high_water
            .entry((known.event.clone(), known.subject.clone()))
            .or_insert(known.happened_at());
        *mark = known.happened_at().max(*mark);
        let data: serde_json::Map<_, _> = data
            .iter()
            .map(|(key, value)| (key.clone(), value.to_json()))
            .collect();
        let occurred_at: Timestamp = data["occurred_at"]
            .as_str()
            .and_then(|text| text.parse().ok())
            .expect("an instant");
        let occurred_at = (occurred_at.as_second() - minute(0).as_second()) / 60;
        let shown: Vec<i64> = self
            .shown()
            .iter()
            .filter(|entry| entry.text == "canceled" && !entry.data.contains_key("ref"))
            .map(|entry| (entry.timestamp.as_second() - minute(0).as_second()) / 60)
            .collect();
        let ours = self.now + self.off;
        if !matches!(fate, Fate::DiesBefore) {
            self.book.judge(&text, occurred_at, ours, &shown);
        }
        match fate {
            Fate::Answered => {
                self.take(&text, data);
                self.store.remembered.known[row].sent_at = Some(now);
                self.become_(row, OutboxState::Sent);
            }
            Fate::Refused => self.become_(row, OutboxState::Due),
            Fate::Lost | Fate::DiesBefore => {}
            Fate::Late(minutes) => {
                let at = self.now + minutes;
                let entry = self.entry(at, &text, data);
                self.under_way.push((at, entry));
                self.wait(0);
            }
        }
    }

    /// The pages one after the other, as far as they are needed.
    fn timeline_says(&self, known: &Known) -> Clearance {
        let shown = self.shown();
        let sought: Vec<_> = self
            .store
            .remembered
            .known
            .iter()
            .map(|known| self.rules.sought(known, &self.store.edges, self.gap))
            .collect();
        let this = self.rules.sought(known, &self.store.edges, self.gap);
        for read in [PAGE.min(shown.len()), shown.len()] {
            let entries = &shown[..read];
            let complete = read == shown.len();
            let matches = match_timeline(&sought, entries);
            match clear(&this, &matches, entries, complete) {
                Clearance::ReadOn => {}
                clearance => return clearance,
            }
        }
        Clearance::Unsure
    }

    fn settle(&mut self, cached: bool) {
        let Some(row) = self.first(OutboxState::Sending) else {
            return;
        };
        let known = self.store.remembered.known[row].clone();
        let shown = if cached {
            self.cached.clone()
        } else {
            self.shown()
        };
        let reading = Reading {
            at: self.ours(),
            cached,
            found: shown.iter().any(|entry| {
                entry.data.get("ref").and_then(|found| found.as_str()) == Some(&known.reference)
            }),
            reaches_back: reaches_back_past(
                &shown,
                true,
                known.attempted_at.expect("it was attempted"),
            ),
        };
        let verdict = settle_ambiguous(
            &known,
            Some(&reading),
            self.rules.quiet(),
            self.gap,
            self.ours(),
        );
        match verdict {
            Ambiguity::Sent => self.become_(row, OutboxState::Sent),
            Ambiguity::Absent => self.become_(row, self.rules.after_ambiguous().state()),
            Ambiguity::Unsure => self.become_(row, OutboxState::Unsure),
            Ambiguity::ReadAgain {
                absent_reads,
                first_absent_at,
                ..
            } => {
                let known = &mut self.store.remembered.known[row];
                known.absent_reads = absent_reads;
                known.first_absent_at = first_absent_at;
            }
        }
    }

    fn restore(&mut self) {
        let Some(backup) = self.backup.take() else {
            return;
        };
        self.wait(QUIET);
        // Nobody restores a ledger by a clock that is behind: what happened since would seem to lie ahead.
        self.off = self.off.max(0);
        self.book.plan_seen = None;
        // Two gaps are one that began with the first: what a backup forgot may have been forgotten before.
        let from = minute(backup.at);
        self.gap = Some(Gap {
            from: self.gap.map_or(from, |gap| gap.from.min(from)),
            until: self
                .ours()
                .max(self.gap.map_or(Timestamp::MIN, |gap| gap.until)),
        });
        self.store = backup;
        self.store.at = self.now + self.off;
    }

    /// Some hours in which everything works.
    fn good_weather(&mut self) {
        for _ in 0..15 {
            self.run(&Step::Wait(20));
            self.run(&Step::Refresh { dies: false });
            for _ in 0..8 {
                self.run(&Step::Settle { cached: false });
                self.run(&Step::Send(Fate::Answered));
            }
            self.assert_nothing_was_told_twice();
        }
    }

    /// What is true at the end was told, or says why not. `calm`: nothing ever went wrong.
    fn assert_nothing_was_lost(&self, calm: bool) {
        use OutboxState::{AlreadyInCrisp, Expired, Held, NoConsent, Sent, Superseded, Unsure};
        let book = &self.book;
        for known in &self.store.remembered.known {
            let is_settled = matches!(
                known.state,
                Sent | AlreadyInCrisp | Unsure | Held | Superseded | Expired | NoConsent
            );
            // `when` may stay false; a clock that was set back may have the moment ahead.
            let waits = book.paused || self.off < 0;
            assert!(is_settled || waits, "{} is {}", known.key, known.state);
        }
        let Some(at) = book.canceled_at else { return };
        // Taken back and done again within one second, it is the one that was taken back.
        let is_one = book.cancels.iter().filter(|other| **other == at).count() == 1;
        let is_true = !book.paused && book.consent && at >= book.armed && is_one;
        if calm && is_true && self.now - at < 3 * DAY {
            let told = self.taken.iter().filter(|entry| {
                let occurred_at = entry.data.get("occurred_at").and_then(|at| at.as_str());
                entry.text == "canceled"
                    && occurred_at.is_some_and(|text| text == minute(at).to_string())
            });
            assert_eq!(told.count(), 1, "the cancellation at {at} was lost");
        }
    }

    fn assert_nothing_was_told_twice(&self) {
        let mut told = BTreeSet::new();
        for entry in self
            .taken
            .iter()
            .chain(self.under_way.iter().map(|(_, entry)| entry))
        {
            if let Some(reference) = entry.data.get("ref") {
                assert!(
                    told.insert(reference.to_string()),
                    "{reference} was told twice"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_occurrence_is_told_twice(
        sender in prop_oneof![Just("shared"), Just("sole")],
        skew in -60..60_i64,
        armed in prop_oneof![Just(0), 0..200_i64],
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut world = World::new(sender, skew, armed);
        for step in &steps {
            world.run(step);
            world.assert_nothing_was_told_twice();
        }
        world.good_weather();
        world.assert_nothing_was_lost(steps.iter().all(is_calm));
    }

    /// Where nothing goes wrong, nothing is lost either.
    #[test]
    fn in_calm_weather_what_is_true_is_told(
        sender in prop_oneof![Just("shared"), Just("sole")],
        steps in prop::collection::vec(step().prop_filter("calm", is_calm), 1..60),
    ) {
        let mut world = World::new(sender, 0, 0);
        for step in &steps {
            world.run(step);
        }
        world.good_weather();
        world.assert_nothing_was_lost(true);
    }
}

/// Whether a step is none that may cost an event: a lost answer, a list that is cut, a clock, a backup, another sender, a
/// change of plan that undoes the cancellation.
fn is_calm(step: &Step) -> bool {
    match step {
        Step::Wait(minutes) => *minutes < 40,
        Step::Cancel
        | Step::Return
        | Step::Pause(_)
        | Step::Consent(_)
        | Step::Subscribe(_)
        | Step::Refresh { .. }
        | Step::Settle { .. } => true,
        Step::Send(fate) => matches!(fate, Fate::Answered | Fate::Refused),
        Step::Plan(_)
        | Step::AppTells
        | Step::Noise(_)
        | Step::Clock(_)
        | Step::Backup
        | Step::Restore => false,
    }
}

/// The model does send: a proof about a caller that never sends would be worth nothing.
#[test]
fn in_good_weather_each_occurrence_is_told_once() {
    for (sender, fate) in [
        ("shared", Fate::Answered),
        ("sole", Fate::Answered),
        ("shared", Fate::Late(3)),
        ("shared", Fate::Lost),
        ("sole", Fate::DiesBefore),
    ] {
        let mut world = World::new(sender, 0, 0);
        let mut steps = vec![
            Step::Refresh { dies: false },
            Step::Wait(5),
            Step::Cancel,
            Step::Refresh { dies: false },
            Step::Wait(10),
            Step::Refresh { dies: false },
            Step::Send(fate),
        ];
        for _ in 0..2 {
            steps.extend([Step::Wait(QUIET), Step::Settle { cached: false }]);
        }
        steps.push(Step::Send(Fate::Answered));
        steps.extend([Step::Wait(DAY), Step::Plan(2), Step::Refresh { dies: true }]);
        steps.extend([Step::Refresh { dies: false }, Step::Wait(10)]);
        steps.extend([Step::Refresh { dies: false }, Step::Send(Fate::Answered)]);
        for step in &steps {
            world.run(step);
        }
        let texts: Vec<&str> = world
            .taken
            .iter()
            .map(|entry| entry.text.as_str())
            .collect();
        assert_eq!(texts, ["canceled", "started"], "{sender} {fate:?}");
    }
}
