//! Plays the acts of a schedule on a stage, until everything has drained.

use crisp_sync::sandbox::{Author, OpenChat, State, TimelineEvent};
use jiff::Timestamp;
use serde_json::{Map, json};

use super::{
    acts::{Act, Change, Decision, Order, Push, Span},
    app::{App, TEXTS, second},
    stage::{Stage, fault},
    twists::Twist,
    weather::{Rollback, Weather},
};

/// More entries than Crisp keeps where it keeps few.
const CROWD: usize = 25;
/// How many Crisp keeps then.
const CAP: usize = 20;

pub(super) struct Play<'stage, S> {
    pub(super) stage: &'stage mut S,
    pub(super) app: App,
    pub(super) weather: Weather,
    pub(super) rules: Rules,
    /// The last copy of the ledger: when it was made, and the last webhook before it.
    copied: Option<(Timestamp, u64)>,
}

/// What of the definition the audit has to know.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// Whether the app sends, too.
    pub(super) shared: bool,
    /// Whether what was proven absent waits for a person.
    pub(super) holds: bool,
    pub(super) min_gap: std::time::Duration,
    pub(super) grace: std::time::Duration,
    /// How long a signup and a cancellation wait.
    pub(super) delay: std::time::Duration,
    pub(super) match_within: std::time::Duration,
    /// How many of one event may go within an hour.
    pub(super) brake: Option<u64>,
    /// Whether people are found whom nobody brings up.
    pub(super) sweeps: bool,
    pub(super) twist: Twist,
    /// How many entries a page of a timeline has.
    pub(super) page_size: usize,
}

impl<'stage, S: Stage> Play<'stage, S> {
    pub(super) async fn begin(stage: &'stage mut S, rules: Rules) -> Self {
        let mut app = App::default();
        for statement in app.begin() {
            stage.sql(statement).await;
        }
        let page_size = rules.page_size;
        stage
            .sandbox()
            .behave(|behaviour| behaviour.page_size = page_size);
        Self {
            stage,
            app,
            weather: Weather::of_pages(page_size),
            rules,
            copied: None,
        }
    }

    pub(super) async fn acts(&mut self, acts: &[Act]) {
        for act in acts {
            self.act(*act).await;
        }
        self.calms_down().await;
        let sandbox = self.stage.sandbox();
        self.weather.reads_the_journal(sandbox);
    }

    async fn act(&mut self, act: Act) {
        match act {
            Act::SignsUp(push) => {
                self.stage.ticks().await;
                let statement = self.app.signs_up(self.stage.now());
                self.stage.sql(statement).await;
                self.app_pushes(self.app.happenings.len() - 1, push);
            }
            Act::Tells(who, push) => {
                self.stage.ticks().await;
                if let Some(number) = self.app.untold(self.app.who(who)) {
                    self.app_pushes(number, push);
                }
            }
            Act::Opts(who, in_or_out) => self.opts(who, in_or_out).await,
            Act::Renames => self.renames().await,
            Act::Changes(who, change, push) => self.changes(who, change, push).await,
            Act::Chats(who) => {
                let who = self.app.who(who);
                self.chats(who);
                self.stage.works().await;
                self.looked(&[who]);
            }
            Act::Forges { who, text, dated } => self.forges(who, TEXTS[text], dated),
            Act::Fills(who) => {
                let address = self.address(who);
                for _ in 0..CROWD {
                    self.entry(&address, "page:viewed", Map::new());
                }
            }
            Act::Fails { route, how, times } => {
                let fault = fault::<S>(route, how).times(times);
                self.stage.sandbox().fault(fault);
            }
            Act::Lists { cached, capped } => self.lists(cached, capped.then_some(CAP)),
            Act::Flushes => self.stage.sandbox().flush_cache(),
            Act::Reads => self.stage.reads_lists(&self.app).await,
            Act::Passes(span) => self.stage.passes(span).await,
            Act::Dies { who, at } => {
                let who = self.app.who(who);
                self.chats(who);
                let died_at = self.stage.dies(at).await;
                self.weather.deaths.push(died_at);
            }
            Act::Copies { raw } => {
                let heard = self.heard();
                if let Some(at) = self.stage.copies(raw).await {
                    self.copied = Some((at, heard));
                }
            }
            Act::Restores { in_place } => self.rolls_back(in_place).await,
            Act::Arms => self.arms().await,
            Act::StartsTwice => self.stage.starts_twice().await,
            Act::Commands(who) => {
                let address = self.address(who);
                self.stage.commands(&address).await;
            }
            Act::Removes(who) => self.removes(who).await,
            Act::Returns(who) => self.returns(who).await,
            Act::Replaces(who) => self.replaces(who).await,
            Act::Away => self.is_away().await,
            Act::Erases(who) => self.erases(who).await,
            Act::Lifts(who) => self.lifts(who).await,
            Act::Decides(how) => self.decides(how).await,
        }
    }

    async fn changes(&mut self, who: usize, change: Change, push: Push) {
        let who = self.app.who(who);
        let before = self.app.happenings.len();
        // The statement and the books say the same second.
        self.stage.ticks().await;
        let now = self.stage.now();
        let Some(statement) = self.app.changes(who, change, now) else {
            return;
        };
        self.stage.sql(statement).await;
        match change {
            Change::Moves => self.weather.moves.push((who, now)),
            // Nobody is told of a slip of the pen.
            Change::Corrects => {}
            _ if self.app.happenings.len() > before => self.app_pushes(before, push),
            _ => {}
        }
    }

    async fn rolls_back(&mut self, in_place: bool) {
        let Some((copied_at, heard)) = self.copied else {
            return;
        };
        let receipts = self.receipts().await;
        let call = self.stage.sandbox().call_marker();
        let until = self.heard();
        let Some(says_so) = self.stage.restores(in_place).await else {
            return;
        };
        // A service that does not stand still makes Crisp tell of what it does, up to its end.
        let until = if S::STANDS_STILL { until } else { self.heard() };
        let displaced = self.stage.is_displaced().await;
        assert!(displaced || !says_so, "a copy that nobody takes for one");
        self.weather.rollbacks.push(Rollback {
            copied_at,
            at: self.stage.now(),
            hooks: (heard, until),
            call,
            displaced,
            armed: None,
            forgets: true,
        });
        if let Some(receipts) = receipts {
            // Before anything is worked, as an operator does.
            self.stage.performs(&Order::Replay(receipts)).await;
        }
    }

    /// To the events that is as if it were rolled back to when it left: nobody knows what it did then.
    async fn is_away(&mut self) {
        let call = self.stage.sandbox().call_marker();
        let (heard, left_at) = (self.heard(), self.stage.now());
        if self.stage.goes_away().await {
            self.weather.rollbacks.push(Rollback {
                copied_at: left_at,
                at: self.stage.now(),
                hooks: (heard, heard),
                call,
                displaced: false,
                armed: None,
                forgets: false,
            });
        }
    }

    async fn arms(&mut self) {
        let call = self.stage.sandbox().call_marker();
        self.stage.arms().await;
        let now = self.stage.now();
        for one in &mut self.weather.rollbacks {
            one.armed.get_or_insert((call, now));
        }
    }

    fn lists(&mut self, cached: bool, cap: Option<usize>) {
        self.weather.lists(self.stage.now(), cached, cap);
        self.stage.sandbox().behave(|behaviour| {
            behaviour.cached_lists = cached;
            behaviour.list_cap = cap;
        });
    }

    fn looked(&mut self, who: &[usize]) {
        if S::STANDS_STILL {
            let now = self.stage.now();
            self.weather.looks.extend(who.iter().map(|who| (*who, now)));
        }
    }

    fn heard(&self) -> u64 {
        self.stage.sandbox().look(State::hook_marker)
    }

    pub(super) fn address(&self, who: usize) -> String {
        self.app.people[self.app.who(who)].address().to_owned()
    }

    /// Mostly the app is faster than the grace.
    fn app_pushes(&mut self, number: usize, push: Push) {
        // Where only we send, the app does not.
        if push != Push::No && self.rules.shared {
            let address = self.address(self.app.happenings[number].who);
            self.appears(&address);
            (self.app).pushes(self.stage.sandbox(), number, push, self.stage.now());
        }
    }

    fn chats(&mut self, who: usize) {
        let address = self.address(who);
        self.appears(&address);
        let chat = OpenChat::by(&address).proven();
        self.stage.sandbox().open_chat(chat);
    }

    fn forges(&mut self, who: usize, text: &'static str, dated: bool) {
        let who = self.app.who(who);
        let address = self.address(who);
        let last = self
            .app
            .happenings
            .iter()
            .rfind(|one| one.who == who && one.text == text);
        let at = last.map_or_else(|| second(self.stage.now()), |last| last.at);
        let mut data = Map::new();
        if dated {
            data.insert("occurred_at".to_owned(), json!(at.to_string()));
        }
        self.entry(&address, text, data);
    }

    /// Something that no app of ours and none of us puts on a timeline.
    fn entry(&mut self, address: &str, text: &str, data: Map<String, serde_json::Value>) {
        self.appears(address);
        let sandbox = self.stage.sandbox();
        sandbox.create_contact(address, "Kim");
        let event = TimelineEvent {
            text: text.to_owned(),
            data,
            color: None,
            timestamp: self.stage.now().as_millisecond(),
            author: Author::Visitor,
        };
        sandbox.add_event(address, event).expect("it is there");
    }

    /// The weather clears, everybody writes once more, and everything drains; a while later everybody gets a plan that
    /// nobody had.
    async fn calms_down(&mut self) {
        self.stage.sandbox().clear_faults();
        self.lists(false, None);
        self.stage.sandbox().flush_cache();
        for who in 0..self.app.people.len() {
            self.opts(who, true).await;
        }
        if self.weather.is_displaced() {
            // Whoever is looked at is not told.
            self.everybody_chats().await;
        }
        self.arms().await;
        self.everybody_chats().await;
        self.stage.drains().await;
        self.decides(Decision::ReleaseOverCap).await;
        self.stage.passes(Span::Long).await;
        self.everybody_chats().await;
        self.stage.drains().await;
        // What somebody put on a timeline is old by then.
        self.stage.passes(Span::Quiet).await;
        for who in 0..self.app.people.len() {
            self.changes(who, Change::Plan, Push::No).await;
        }
        if self.rules.sweeps {
            // Nobody has to write.
            self.stage.passes(Span::Long).await;
        } else {
            self.everybody_chats().await;
        }
        self.stage.passes(Span::Grace).await;
        self.stage.drains().await;
        self.decides(Decision::ReleaseOverCap).await;
        self.stage.drains().await;
    }

    async fn everybody_chats(&mut self) {
        let everybody: Vec<usize> = (0..self.app.people.len()).collect();
        for who in &everybody {
            self.chats(*who);
        }
        self.stage.works().await;
        self.looked(&everybody);
    }
}
