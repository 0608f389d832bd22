//! The caller of the module's documentation, with a memory in place of a ledger.

use std::collections::BTreeSet;

use super::{
    Fate, QUIET, RULES, Step, Weather,
    book::{Book, Request, law},
    crisp::{Crisp, Read},
    judge::Refusal,
    *,
};
use crate::lifecycle::timeline::{Clearance, clear, match_timeline, reaches_back_past};

/// How many entries a page of the timeline has.
const PAGE: usize = 20;

/// What the ledger holds.
#[derive(Debug, Clone)]
struct Store {
    remembered: Remembered,
    edges: Edges,
    /// What a person let go, by key.
    released: BTreeSet<String>,
    /// Events whose brake has latched.
    latched: BTreeSet<String>,
    /// The times of which it may know less than happened.
    gaps: Vec<Gap>,
    at: i64,
}

#[derive(Debug)]
pub(super) struct Caller {
    rules: Rules,
    now: i64,
    /// Our clock, in minutes before or after the true time.
    off: i64,
    user: User,
    imports: Vec<Record>,
    store: Store,
    backup: Option<Store>,
    pub(super) crisp: Crisp,
    book: Book,
}

impl Caller {
    pub(super) fn new(sender: &str, skew: i64, armed: i64, weather: Weather) -> Self {
        let rules = rules(&format!("sender = \"{sender}\"\n{RULES}"));
        let remembered = Remembered::armed(&rules, armed);
        Self {
            rules,
            now: 0,
            off: 0,
            user: user([
                ("canceled_at", Value::Null),
                ("ends_at", Value::Null),
                ("seen_at", Value::Null),
                ("opens_at", at(0)),
                ("welcome_at", at(0)),
                ("consent", Value::Bool(true)),
                ("banned", Value::Bool(false)),
                ("paused", Value::Bool(false)),
                ("news", Value::Bool(true)),
                ("vip", Value::Bool(false)),
                ("plan", text("plan-1")),
                ("subscription", text("sub-0")),
            ]),
            imports: Vec::new(),
            store: Store {
                remembered,
                edges: Edges::default(),
                released: BTreeSet::new(),
                latched: BTreeSet::new(),
                gaps: Vec::new(),
                at: 0,
            },
            backup: None,
            crisp: Crisp::new(skew),
            book: Book::new(sender, armed, weather),
        }
    }

    pub(super) fn run(&mut self, step: &Step) {
        self.book.hears(step, self.now);
        match *step {
            Step::Wait(minutes) => self.wait(minutes),
            Step::Flag(name, is) => self.set(name, Value::Bool(is)),
            Step::Date(name, moment) => {
                self.set(
                    name,
                    moment.map_or(Value::Null, |later| at(self.now + later)),
                );
            }
            Step::Plan(0) => self.set("plan", Value::Null),
            Step::Plan(plan) => self.set("plan", text(&format!("plan-{plan}"))),
            Step::Subscribe(id) => self.set("subscription", text(&format!("sub-{id}"))),
            Step::Import(_) | Step::Fail(_) => self.set_imports(),
            Step::AppTells { event, happens } => {
                if let Some(column) = law(event).column.filter(|_| happens) {
                    self.set(column, at(self.now));
                }
                self.take(event);
            }
            Step::Noise(count) => (0..count).for_each(|_| self.take("clicked")),
            Step::Clock(minutes) => self.set_clock(minutes),
            Step::Refresh { dies } => self.refresh(dies),
            Step::Send { fate, cached } => self.send(fate, cached),
            Step::Settle { cached } => self.settle(cached),
            Step::Release => self.release(),
            Step::Backup => self.backup = Some(self.store.clone()),
            Step::Restore => self.restore(),
        }
        if !matches!(step, Step::Restore) {
            self.store.at = self.ours();
        }
        self.book.assert_nothing_was_told_twice(self.crisp.ours());
    }

    /// The time by our clock, in minutes.
    fn ours(&self) -> i64 {
        self.now + self.off
    }

    fn wait(&mut self, minutes: i64) {
        self.now += minutes;
        self.crisp.pass(self.now);
    }

    fn set(&mut self, column: &str, value: Value) {
        self.user.record.insert(column, value);
    }

    fn set_imports(&mut self) {
        let row = |(id, import): (usize, &super::book::Import)| {
            record([
                ("id", text(&id.to_string())),
                ("tenant", text(&import.tenant.to_string())),
                ("done_at", at(import.done_at)),
                ("failed_at", import.failed_at.map_or(Value::Null, at)),
            ])
        };
        self.imports = self.book.imports.iter().enumerate().map(row).collect();
    }

    /// What the queries of the rules give.
    fn rows(&self) -> BTreeMap<String, Vec<Record>> {
        ["imported", "failed"]
            .map(|event| (event.to_owned(), self.imports.clone()))
            .into()
    }

    /// Somebody else puts an entry on the timeline.
    fn take(&mut self, event: &str) {
        let none = serde_json::Map::new();
        self.crisp.take(self.now, self.now, event, none);
    }

    /// The next heartbeat takes a jump for a time in which nobody listened.
    fn set_clock(&mut self, minutes: i64) {
        let from = self.ours();
        self.off += minutes;
        if minutes > 5 {
            self.note_gap(from);
        }
    }

    /// The ledger knows less than happened since then.
    fn note_gap(&mut self, from: i64) {
        let (from, until) = (minute(from), minute(self.ours()));
        note_gap(&mut self.store.gaps, Gap { from, until });
    }

    fn restore(&mut self) {
        let Some(backup) = self.backup.take() else {
            return;
        };
        self.wait(QUIET);
        // Nobody restores a ledger by a clock that is behind: what happened since would seem to lie ahead.
        self.off = self.off.max(0);
        self.book.plan_seen = None;
        let copied_at = backup.at;
        self.store = backup;
        self.note_gap(copied_at);
        self.store.at = self.ours();
    }

    fn refresh(&mut self, dies: bool) {
        let now = minute(self.ours());
        let rows = self.rows();
        let found = occurrences(
            &self.rules,
            &self.user,
            &rows,
            &self.store.edges,
            &self.store.gaps,
            now,
        );
        assert_eq!(found.failures, []);
        let decisions = decide(
            &self.rules,
            &found,
            &self.store.remembered.memory(),
            self.rules.guards(&self.user, now).expect("guards"),
            now,
        );
        if dies {
            return;
        }
        self.book.looked(self.ours());
        self.store.edges = found.edges;
        for decision in decisions {
            let (state, reason) = (decision.state, decision.reason);
            let row = match decision.occurrence {
                None => self.position(&decision.key).expect("a row that is known"),
                Some(occurrence) => {
                    assert!(self.position(&decision.key).is_none(), "one row per key");
                    let known = &mut self.store.remembered.known;
                    known.push(Known {
                        reference: format!("ref {}", decision.key),
                        key: decision.key,
                        instant: occurrence.instant(),
                        event: occurrence.event,
                        subject: occurrence.subject,
                        state,
                        due_at: decision.due_at,
                        attempted_at: None,
                        sent_at: None,
                        absent_reads: 0,
                        first_absent_at: None,
                        updated_at: now,
                    });
                    known.len() - 1
                }
            };
            self.refuse(row, reason);
            self.enter(row, state);
        }
    }

    fn position(&self, key: &str) -> Option<usize> {
        let mut known = self.store.remembered.known.iter();
        known.position(|known| known.key == key)
    }

    fn enter(&mut self, row: usize, state: OutboxState) {
        let now = minute(self.ours());
        let known = &mut self.store.remembered.known[row];
        assert!(
            known.state == state || known.state.may_become(state),
            "{} → {state}",
            known.state
        );
        known.state = state;
        known.updated_at = now;
        if matches!(state, OutboxState::AlreadyInCrisp | OutboxState::Unsure) {
            let told = (known.event.clone(), minutes(known.happened_at()));
            self.book.maybe_told.push(told);
        }
    }

    /// The last request of a row did not arrive, and never will.
    fn is_absent(&mut self, row: usize) {
        let reference = &self.store.remembered.known[row].reference;
        let mut requests = self.book.requests.iter_mut();
        if let Some(last) = requests.rfind(|request| request.told("ref") == reference) {
            last.is_absent = true;
        }
    }

    /// The row stands where it stands for a reason, which has to be so.
    fn refuse(&self, row: usize, reason: &'static str) {
        let known = &self.store.remembered.known[row];
        let refusal = Refusal {
            event: &known.event,
            subject: &known.subject,
            at: minutes(known.happened_at()),
            reason,
        };
        self.book.judge_refusal(&refusal, self.ours());
    }

    /// The first row in a state, in the order they happened.
    fn first(&self, state: OutboxState) -> Option<usize> {
        let known = self.store.remembered.known.iter().enumerate();
        known
            .filter(|(_, known)| known.state == state)
            .min_by_key(|(_, known)| known.happened_at())
            .map(|(row, _)| row)
    }

    fn send(&mut self, fate: Fate, cached: bool) {
        let Some(row) = self.first(OutboxState::Due) else {
            return;
        };
        let now = minute(self.ours());
        let known = self.store.remembered.known[row].clone();
        let rows = if self.rules.needs_rows(&known.event) {
            self.rows()
        } else {
            BTreeMap::new()
        };
        let fresh = Fresh {
            user: Some(&self.user),
            rows: &rows,
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
            Recheck::Drop { state, reason } => {
                self.refuse(row, reason);
                self.enter(row, state);
                if state == OutboxState::Superseded {
                    // What made it untrue may be an event itself.
                    self.refresh(false);
                }
                return;
            }
            Recheck::Wait { until, reason } => {
                self.refuse(row, reason);
                self.store.remembered.known[row].due_at = until;
                return self.enter(row, OutboxState::Scheduled);
            }
            Recheck::Send { text, data, .. } => (text, data),
        };
        if self.is_braked(&known) {
            self.refuse(row, crate::lifecycle::reason::BRAKE);
            self.store.latched.insert(known.event.clone());
            self.book.is_latched = true;
            return self.enter(row, OutboxState::Held);
        }
        if self.rules.needs_timeline(&known, &self.store.gaps) {
            match self.timeline_says(&known, cached) {
                Clearance::Post => {}
                Clearance::ReadLater => return,
                Clearance::Has(state) => return self.enter(row, state),
                Clearance::ReadOn | Clearance::Unsure | Clearance::Contested => {
                    return self.enter(row, OutboxState::Unsure);
                }
            }
        }
        self.post(row, &text, &data, fate);
    }

    /// What the ledger counts, and the brake says of it.
    fn is_braked(&self, row: &Known) -> bool {
        use OutboxState::{Sending, Sent, Unsure};
        let since = minute(self.ours()) - BRAKE_WINDOW;
        let sent = self.store.remembered.known.iter().filter(|known| {
            known.event == row.event
                && matches!(known.state, Sending | Sent | Unsure)
                && known.attempted_at.is_some_and(|at| at >= since)
        });
        let release = if self.store.released.contains(&row.key) {
            Release::UnderCap
        } else {
            Release::No
        };
        let brake = self.rules.rule(&row.event).expect("a rule").brake();
        let sent = u64::try_from(sent.count()).expect("few");
        brake.holds(sent, self.store.latched.contains(&row.event), 1, release)
    }

    /// Commits `sending`, and lets the request go.
    fn post(&mut self, row: usize, text: &str, data: &crate::data::DataMap, fate: Fate) {
        let now = minute(self.ours());
        self.enter(row, OutboxState::Sending);
        let known = &mut self.store.remembered.known[row];
        known.attempted_at = Some(now);
        known.absent_reads = 0;
        known.first_absent_at = None;
        let data: serde_json::Map<_, _> = data
            .iter()
            .map(|(key, value)| (key.clone(), value.to_json()))
            .collect();
        let occurred_at: Timestamp = data["occurred_at"]
            .as_str()
            .and_then(|text| text.parse().ok())
            .expect("an instant");
        let request = Request {
            event: text.to_owned(),
            data: data.clone(),
            at: minutes(occurred_at),
            left_at: self.ours(),
            arrives: matches!(fate, Fate::Answered | Fate::Late(_)),
            is_absent: matches!(fate, Fate::Refused),
        };
        if !matches!(fate, Fate::DiesBefore) {
            let told = self.crisp.told_by_others(text);
            self.book.judge(&request, &told);
        }
        self.book.requests.push(request);
        match fate {
            Fate::Answered => {
                self.crisp.take(self.now, self.now, text, data);
                self.store.remembered.known[row].sent_at = Some(now);
                self.enter(row, OutboxState::Sent);
            }
            Fate::Refused => self.enter(row, OutboxState::Due),
            Fate::Lost | Fate::DiesBefore => {}
            Fate::Late(minutes) => {
                self.crisp.take(self.now + minutes, self.now, text, data);
            }
        }
    }

    /// The pages one after the other, as far as they are needed.
    fn timeline_says(&mut self, known: &Known, cached: bool) -> Clearance {
        let Read { entries, cached } = self.crisp.read(cached);
        let rows = self.store.remembered.known.iter();
        let sought: Vec<_> = rows
            .map(|known| {
                self.rules
                    .sought(known, &self.store.edges, &self.store.gaps)
            })
            .collect();
        let this = self
            .rules
            .sought(known, &self.store.edges, &self.store.gaps);
        for read in [PAGE.min(entries.len()), entries.len()] {
            let complete = read == entries.len();
            let matches = match_timeline(&sought, &entries[..read]);
            match clear(&this, &matches, &entries[..read], complete, cached) {
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
        let read = self.crisp.read(cached);
        let reading = Reading {
            at: minute(self.ours()),
            cached: read.cached,
            found: read.entries.iter().any(|entry| {
                entry.data.get("ref").and_then(|found| found.as_str()) == Some(&known.reference)
            }),
            reaches_back: reaches_back_past(
                &read.entries,
                true,
                known.attempted_at.expect("it was attempted"),
            ),
        };
        let verdict = settle_ambiguous(
            &known,
            Some(&reading),
            self.rules.quiet(),
            &self.store.gaps,
            minute(self.ours()),
        );
        match verdict {
            Ambiguity::Sent => self.enter(row, OutboxState::Sent),
            Ambiguity::Absent => {
                self.is_absent(row);
                self.enter(row, self.rules.after_ambiguous().state());
            }
            Ambiguity::Unsure => self.enter(row, OutboxState::Unsure),
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

    fn release(&mut self) {
        self.store.latched.clear();
        while let Some(row) = self.first(OutboxState::Held) {
            let key = self.store.remembered.known[row].key.clone();
            self.store.released.insert(key);
            self.enter(row, OutboxState::Due);
        }
    }

    /// Some hours in which everything works, and a person looks after what is held.
    pub(super) fn good_weather(&mut self) {
        for _ in 0..15 {
            self.run(&Step::Wait(20));
            self.run(&Step::Refresh { dies: false });
            self.run(&Step::Release);
            for _ in 0..8 {
                self.run(&Step::Settle { cached: false });
                self.run(&Step::Send {
                    fate: Fate::Answered,
                    cached: false,
                });
            }
        }
    }

    pub(super) fn assert_every_row_is_settled(&self) {
        for known in &self.store.remembered.known {
            // `when` may stay false, and a guard closed; a clock that was set back may have the moment ahead, and so may an end.
            let waits = matches!(known.state, OutboxState::Scheduled);
            assert!(
                waits || !matches!(known.state, OutboxState::Due | OutboxState::Sending),
                "{} is {}",
                known.key,
                known.state
            );
        }
    }

    pub(super) fn assert_nothing_was_lost(&self) {
        let ours: Vec<_> = self.crisp.ours().collect();
        self.book
            .assert_all_was_told(self.now, &ours.iter().copied());
    }
}

/// Minutes after noon.
fn minutes(instant: Timestamp) -> i64 {
    (instant.as_second() - minute(0).as_second()).div_euclid(60)
}
