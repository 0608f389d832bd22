//! The caller of the module's documentation, with a memory in place of a ledger.

use super::{
    Fate, RULES, Step, Weather,
    book::{Book, law},
    crisp::Crisp,
    judge::Refusal,
    store::Store,
    *,
};

#[derive(Debug)]
pub(super) struct Caller {
    pub(super) rules: Rules,
    pub(super) now: i64,
    /// Our clock, in minutes before or after the true time.
    pub(super) off: i64,
    pub(super) user: User,
    imports: Vec<Record>,
    pub(super) store: Store,
    pub(super) backup: Option<Store>,
    pub(super) crisp: Crisp,
    pub(super) book: Book,
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
            store: Store::new(remembered),
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
            Step::Vouch => self.vouch(),
            Step::Replace => self.crisp.replace(self.now),
            Step::Away(minutes) => self.is_away(minutes),
            Step::Backup => self.backup = Some(self.store.clone()),
            Step::Restore => self.restore(),
        }
        if !matches!(step, Step::Restore) {
            self.store.at = self.ours();
        }
        self.book.assert_nothing_was_told_twice(self.crisp.ours());
    }

    /// The time by our clock, in minutes.
    pub(super) fn ours(&self) -> i64 {
        self.now + self.off
    }

    pub(super) fn wait(&mut self, minutes: i64) {
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
    pub(super) fn rows(&self) -> BTreeMap<String, Vec<Record>> {
        ["imported", "failed"]
            .map(|event| (event.to_owned(), self.imports.clone()))
            .into()
    }

    /// Somebody else puts an entry on the timeline.
    fn take(&mut self, event: &str) {
        let none = serde_json::Map::new();
        self.crisp.take(self.now, self.now, event, none);
    }

    pub(super) fn refresh(&mut self, dies: bool) {
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
        self.meet();
    }

    /// Whether Crisp still has the contact that the last look saw.
    pub(super) fn is_known_contact(&self) -> bool {
        self.store.contact == self.crisp.contact()
    }

    /// Each look sees the contact first. Where another has the place of the one that is known, nobody will know what was told
    /// there; not every webhook that says so arrives.
    fn meet(&mut self) {
        let met = self.crisp.contact();
        if std::mem::replace(&mut self.store.contact, met) == met {
            return;
        }
        for row in 0..self.store.remembered.known.len() {
            let known = &self.store.remembered.known[row];
            let is_lost = if known.state == OutboxState::Sending {
                true
            } else {
                known.state.is_undecided()
                    && !self.store.vouched.contains(&known.key)
                    && self.forgotten_since(known).is_some()
            };
            if is_lost {
                self.enter(row, OutboxState::Unsure);
            }
        }
    }

    /// Since when the ledger may have told it and forgotten.
    pub(super) fn forgotten_since(&self, known: &Known) -> Option<Timestamp> {
        let (edges, gaps) = (&self.store.edges, &self.store.gaps);
        self.rules.forgotten_since(known, edges, gaps)
    }

    fn position(&self, key: &str) -> Option<usize> {
        let mut known = self.store.remembered.known.iter();
        known.position(|known| known.key == key)
    }

    pub(super) fn enter(&mut self, row: usize, state: OutboxState) {
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
    pub(super) fn is_absent(&mut self, row: usize) {
        let reference = &self.store.remembered.known[row].reference;
        let mut requests = self.book.requests.iter_mut();
        if let Some(last) = requests.rfind(|request| request.told("ref") == reference) {
            last.is_absent = true;
        }
    }

    /// The row stands where it stands for a reason, which has to be so.
    pub(super) fn refuse(&self, row: usize, reason: &'static str) {
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
    pub(super) fn first(&self, state: OutboxState) -> Option<usize> {
        let known = self.store.remembered.known.iter().enumerate();
        known
            .filter(|(_, known)| known.state == state)
            .min_by_key(|(_, known)| known.happened_at())
            .map(|(row, _)| row)
    }

    fn release(&mut self) {
        self.store.latched.clear();
        while let Some(row) = self.first(OutboxState::Held) {
            let key = self.store.remembered.known[row].key.clone();
            self.store.released.insert(key);
            self.enter(row, OutboxState::Due);
        }
    }

    /// A person looks after what nobody could prove, and lets go what Crisp never had. Of what is still under way they know
    /// nothing.
    fn vouch(&mut self) {
        let known = self.store.remembered.known.iter();
        let untold = known.enumerate().find(|(_, known)| {
            known.state == OutboxState::Unsure && !self.crisp.ever_had(&known.event)
        });
        if let Some((row, known)) = untold {
            let key = known.key.clone();
            self.store.released.insert(key.clone());
            self.store.vouched.insert(key);
            self.store.remembered.known[row].state = OutboxState::Due;
            self.store.remembered.known[row].updated_at = minute(self.ours());
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
pub(super) fn minutes(instant: Timestamp) -> i64 {
    (instant.as_second() - minute(0).as_second()).div_euclid(60)
}
