//! Plays a schedule, lets the dust settle, and looks.

use std::{collections::BTreeSet, time::Duration};

use crisp_sync::{
    ledger::WorkKind,
    sandbox::{Author, Fault, LabelEdit, OpenChat, Reset, State},
    worker::{Step as Stepped, Worked},
};
use serde_json::{Map, json};
use tokio::task::JoinHandle;

use super::{
    books::{Attempt, Books, OUR_KEYS, is_our_segment},
    contacts::{self, Contact},
    courier::Courier,
    schedule::{Bad, PAUSES, Step, Stop, Typist},
};
use crate::world::World;

const PLANS: [&str; 3] = ["pro", "starter", "team"];
/// Keys that somebody may type: ours first.
const KEYS: [&str; 6] = ["plan", "tenant", "legacy", "context_state", "note", "mood"];
const VALUES: [&str; 3] = ["enterprise", "pro", "calls on Mondays"];
/// Segments that somebody may set: ours first.
const SEGMENTS: [&str; 6] = [
    "plan-pro",
    "plan-gold",
    "status-active",
    "unverified",
    "vip",
    "lead",
];

/// How late Crisp may apply a request.
const QUIET: Duration = Duration::from_mins(15);
/// Nothing that is still to be done waits longer than this, but for the mirror's age.
const SETTLES_WITHIN: Duration = Duration::from_mins(25);
/// A mirror is never believed for longer than this.
const MIRROR_MAX_AGE: Duration = Duration::from_hours(12);

/// What is ours in a contact is asserted again so often.
const ASSERTED_EVERY: Duration = Duration::from_hours(7 * 24 + 1);

type Checked = Result<(), String>;

/// An attempt that was stopped.
struct Stopped {
    attempt: Attempt,
    working: JoinHandle<Worked>,
}

/// One schedule being played.
pub(super) struct Play<'world> {
    world: &'world mut World,
    name: String,
    session: String,
    books: Books,
    contacts: [Contact; 2],
    /// Whether an agent typed over what is ours in a contact: that is asserted again when a week is over.
    contact_is_overwritten: bool,
    courier: Courier,
    plans: [usize; 2],
    stopped: Option<Stopped>,
    attempts: Attempt,
    database_is_up: bool,
    /// What could have made a request: the calls are in proportion to it.
    causes: usize,
}

impl<'world> Play<'world> {
    /// Two people have accounts, and the first opens a chat.
    pub(super) async fn begin(world: &'world mut World, name: &str) -> Self {
        let courier = Courier::new(world);
        for user in ["a", "b"] {
            let (id, email) = (format!("{user}-{name}"), address(user, name));
            world.add_user(&id, &email).await;
        }
        let session = world
            .sandbox
            .open_chat(OpenChat::by(&address("a", name)).proven());
        let books = world.sandbox.look(|state| Books::open(state, &session));
        let contacts = ["a", "b"].map(|user| {
            let email = address(user, name);
            world.sandbox.look(|state| Contact::open(state, email))
        });
        Self {
            world,
            name: name.to_owned(),
            session,
            books,
            contacts,
            contact_is_overwritten: false,
            courier,
            plans: [0, 0],
            stopped: None,
            attempts: 0,
            database_is_up: true,
            causes: 4,
        }
    }

    pub(super) async fn play(mut self, steps: &[Step]) -> Checked {
        for (place, step) in steps.iter().enumerate() {
            let done = self.step(*step).await;
            done.map_err(|why| format!("step {place}, {step:?}: {why}"))?;
        }
        self.dust_settles().await?;
        self.look_at_the_end().await
    }

    async fn step(&mut self, step: Step) -> Checked {
        match step {
            Step::Data { by, key, value } => self.types(by, data_edit(key, value)),
            Step::Segment { by, segment, on } => self.types(by, segment_edit(segment, on)),
            Step::ContactData { user, key, value } => {
                self.contact_is_overwritten |= OUR_KEYS.contains(&KEYS[key]);
                self.types_into_contact(user, data_edit(key, value));
            }
            Step::ContactSegment { user, segment, on } => {
                self.contact_is_overwritten |= contacts::is_ours(SEGMENTS[segment]);
                self.types_into_contact(user, segment_edit(segment, on));
            }
            Step::Plan { user, plan } => {
                self.plans[user] = plan;
                let id = format!("{}-{}", ["a", "b"][user], self.name);
                let set = format!("plan = '{}'", PLANS[plan]);
                self.world.change_user(&id, &set).await;
            }
            Step::Address { address, proven } => {
                let address = self.address_of(address);
                let sandbox = &self.world.sandbox;
                sandbox
                    .change_identity(&self.session, address.as_deref(), proven)
                    .expect("it is there");
            }
            Step::Message => {
                let said = self.world.sandbox.message(&self.session, "Hello?");
                said.expect("it is there");
            }
            Step::Look => self.agent_looks(),
            Step::Hook { which, again } => {
                self.courier.one(self.world, which, again).await;
            }
            Step::Hooks => while self.courier.next(self.world).await {},
            Step::Lose { which } => self.courier.lose(self.world, which),
            Step::Work => self.work().await?,
            Step::Pass { which } => self.pass(PAUSES[which])?,
            Step::Begin(until) => self.begin_conversation(until).await?,
            Step::BeginContact { user, stop } => self.begin_contact(user, stop).await?,
            Step::Resume => self.resume().await?,
            Step::Kill => self.kill().await?,
            Step::Land => self.land()?,
            Step::Bad(bad) => self.goes_wrong(bad),
            Step::Database { up } => self.database(up).await,
        }
        Ok(())
    }

    fn types(&mut self, by: Typist, edit: LabelEdit) {
        let author = match by {
            Typist::Agent => Author::Agent,
            Typist::Visitor => Author::Visitor,
        };
        let sandbox = &self.world.sandbox;
        sandbox
            .edit_session(&self.session, author, edit)
            .expect("it is there");
        sandbox.look(|state| self.books.typed(state));
    }

    fn types_into_contact(&mut self, user: usize, edit: LabelEdit) {
        let (sandbox, email) = (&self.world.sandbox, self.address_of(user));
        let email = email.expect("a user has an address");
        // Whom Crisp does not know nobody can edit.
        if sandbox.edit_contact(&email, Author::Agent, edit).is_ok() {
            sandbox.look(|state| self.contacts[user].typed(state));
        }
    }

    fn agent_looks(&self) {
        let opened = self.world.sandbox.operator_opens(&self.session);
        opened.expect("it is there");
    }

    fn address_of(&self, which: usize) -> Option<String> {
        let names = [Some("a"), Some("b"), Some("stranger"), None];
        names[which].map(|name| address(name, &self.name))
    }

    async fn database(&mut self, up: bool) {
        if up == self.database_is_up {
            return;
        }
        self.database_is_up = up;
        if up {
            self.world.database_comes_back().await;
        } else {
            self.world.database_goes_down().await;
        }
    }

    fn next_attempt(&mut self) -> Attempt {
        self.attempts += 1;
        self.attempts
    }

    fn note(&mut self, attempt: Attempt) -> Checked {
        let (books, contacts) = (&mut self.books, &mut self.contacts);
        self.world.sandbox.look(|state| {
            for contact in contacts {
                contact.note(state, attempt)?;
            }
            books.note(state, attempt)
        })
    }

    /// Everything that is due is worked, step by step, so that each is an attempt of its own.
    async fn work(&mut self) -> Checked {
        for _ in 0..40 {
            let attempt = self.next_attempt();
            let stepped = self.world.step().await;
            self.note(attempt)?;
            if stepped == Stepped::Idle {
                return Ok(());
            }
            self.causes += 1;
        }
        Err("every step makes more work".to_owned())
    }

    fn pass(&mut self, time: Duration) -> Checked {
        self.world.clock.advance(time);
        // A write on its way lands at the first thing that happens after its time.
        self.world.sandbox.behave(|_| {});
        let books = &mut self.books;
        self.world.sandbox.look(|state| books.landed(state))
    }

    fn land(&mut self) -> Checked {
        self.world.sandbox.apply_late();
        let books = &mut self.books;
        self.world.sandbox.look(|state| books.landed(state))
    }

    fn a_write_is_underway(&self) -> bool {
        self.world.sandbox.look(State::late_count) > 0
    }

    fn goes_wrong(&mut self, bad: Bad) {
        let metas = "metas.update";
        let fault = match bad {
            Bad::FailedButApplied => Fault::status(metas, 500).but_applied(),
            Bad::Failed => Fault::status(metas, 500),
            Bad::CutAfter => Fault::reset(metas, Reset::After),
            Bad::CutBefore => Fault::reset(metas, Reset::Before),
            Bad::Late => Fault::applied_late(metas, QUIET),
            Bad::TooMany => Fault::status(metas, 429).retry_after("3"),
            Bad::ReadFails => Fault::status("conversation.get", 503),
        };
        // One at a time, so that the books know whose write lands.
        let armed = self.world.sandbox.look(|state| !state.faults().is_empty());
        if !armed && (bad != Bad::Late || !self.a_write_is_underway()) {
            self.world.sandbox.fault(fault);
            self.causes += 1;
        }
    }

    /// Works the conversation up to the point.
    async fn begin_conversation(&mut self, stop: Stop) -> Checked {
        if stop == Stop::Underway && self.a_write_is_underway() {
            return Ok(());
        }
        let mut fault = hold(if stop == Stop::Read {
            "conversation.get"
        } else {
            "metas.update"
        });
        if stop == Stop::Underway {
            fault.applied_late_ms = Some(u64::try_from(QUIET.as_millis()).expect("small"));
        }
        let session = self.session.clone();
        self.begin_attempt(WorkKind::Conversation, &session, fault)
            .await
    }

    /// Works the contact up to the point.
    async fn begin_contact(&mut self, user: usize, stop: Stop) -> Checked {
        let fault = hold(if stop == Stop::Read {
            "profile.get"
        } else {
            "profile.update"
        });
        let key = format!("{}-{}", ["a", "b"][user], self.name);
        self.begin_attempt(WorkKind::Person, &key, fault).await
    }

    /// Claims a row, as its work is due or as an operator asks, and works it up to where the fault holds it.
    async fn begin_attempt(&mut self, kind: WorkKind, key: &str, fault: Fault) -> Checked {
        if self.stopped.is_some() {
            return Ok(());
        }
        let now = self.world.now();
        let worker = self.world.service.worker.clone();
        let ledger = &self.world.service.ledger;
        let claimed = ledger
            .claim_key(kind, &self.world.website, key, worker.lease(), now)
            .await
            .expect("the ledger works");
        let Some(claim) = claimed else { return Ok(()) };
        self.causes += 2;
        let attempt = self.next_attempt();
        let sandbox = &self.world.sandbox;
        sandbox.clear_faults();
        sandbox.fault(fault);
        let mut working = tokio::spawn(async move { worker.work(claim).await });
        let struck = sandbox.wait_until("the attempt reaches the point", |state| {
            state.faults().is_empty()
        });
        tokio::select! {
            biased;
            struck = struck => {
                struck.map_err(|error| error.to_string())?;
                self.stopped = Some(Stopped { attempt, working });
            }
            // It had nothing to read, or nothing to write.
            ended = &mut working => drop(ended),
        }
        self.world.sandbox.clear_faults();
        self.note(attempt)
    }

    async fn resume(&mut self) -> Checked {
        let Some(Stopped { attempt, working }) = self.stopped.take() else {
            return Ok(());
        };
        self.world.sandbox.release();
        let ended = working.await;
        ended.map_err(|error| error.to_string())?;
        self.note(attempt)
    }

    async fn kill(&mut self) -> Checked {
        let Some(Stopped { attempt, working }) = self.stopped.take() else {
            return Ok(());
        };
        working.abort();
        drop(working.await);
        self.world.sandbox.release();
        self.note(attempt)
    }

    /// Everything that is on its way arrives, and everything that is to be done is done.
    async fn dust_settles(&mut self) -> Checked {
        self.database(true).await;
        self.world.sandbox.clear_faults();
        self.resume().await?;
        self.rest().await?;
        self.land()?;
        self.rest().await
    }

    async fn rest(&mut self) -> Checked {
        for _ in 0..200 {
            while self.courier.next(self.world).await {}
            self.work().await?;
            if self.courier.next(self.world).await {
                continue;
            }
            let now = self.world.now();
            let ledger = &self.world.service.ledger;
            let due = ledger.next_due(now).await.expect("readable");
            let Some(wait) = due
                .and_then(|due| Duration::try_from(due.duration_since(now)).ok())
                .filter(|wait| *wait <= SETTLES_WITHIN)
            else {
                return Ok(());
            };
            self.pass(wait)?;
        }
        Err("it never comes to rest".to_owned())
    }

    async fn look_at_the_end(&mut self) -> Checked {
        if self.courier.lost == 0 {
            self.the_mirror_is_true()
                .await
                .map_err(|why| format!("at rest, {why}"))?;
        } else {
            // What nobody told us is found when the mirror is too old to be believed.
            self.pass(MIRROR_MAX_AGE)?;
        }
        if self.contact_is_overwritten {
            self.pass(ASSERTED_EVERY)?;
        }
        self.rest().await?;
        // A row that was buried is revived now and then.
        self.pass(QUIET)?;
        self.agent_looks();
        self.rest().await?;
        self.everything_is_as_it_should_be()
            .map_err(|why| format!("in the end, {why}"))?;
        self.the_mirror_is_true().await?;
        let limit = 3 * (self.causes + self.courier.delivered);
        if self.books.requests > limit {
            let requests = self.books.requests;
            return Err(format!("{requests} requests, more than {limit}"));
        }
        self.nothing_more_is_asked().await
    }

    /// Opened again, it costs nothing, at once and after an hour.
    async fn nothing_more_is_asked(&mut self) -> Checked {
        let marker = self.world.marker();
        self.agent_looks();
        self.rest().await?;
        self.pass(Duration::from_hours(1))?;
        self.agent_looks();
        self.rest().await?;
        let calls = self.world.calls_since(marker);
        if calls.is_empty() {
            return Ok(());
        }
        Err(format!("an unchanged conversation costs {calls:?}"))
    }

    /// What the mirror holds of ours is what Crisp holds.
    async fn the_mirror_is_true(&self) -> Checked {
        let Some(mirror) = self.world.mirror(&self.session).await else {
            return Ok(());
        };
        // A webhook that leaves out a key of ours does not say whether it is gone: that waits for the next opening.
        let may_be_gone = mirror.dirty;
        for key in ["plan", "tenant", "legacy", "context_state"] {
            let there = self.world.data(&self.session, key);
            let known = mirror.session_layer.data.get(key);
            let known =
                crate::world::text(known.map(crisp_sync::data::DataValue::to_json).as_ref());
            if there != known && !(may_be_gone && there.is_empty()) {
                return Err(format!(
                    "`{key}` is `{there}`, and the mirror says `{known}`"
                ));
            }
        }
        let there = self.our_segments();
        if there != mirror.session_layer.segments {
            let known = &mirror.session_layer.segments;
            return Err(format!(
                "segments are {there:?}, and the mirror says {known:?}"
            ));
        }
        Ok(())
    }

    fn our_segments(&self) -> BTreeSet<String> {
        let segments = self.world.segments(&self.session);
        segments
            .into_iter()
            .filter(|segment| is_our_segment(segment))
            .collect()
    }

    /// The definition, by hand: for the person whose address is there, as far as they proved it.
    fn everything_is_as_it_should_be(&self) -> Checked {
        self.world.sandbox.look(|state| {
            for contact in &self.contacts {
                contact.balance(state)?;
            }
            self.books.balance(state)
        })?;
        let conversation = self.world.conversation(&self.session);
        let email = conversation.email.as_deref();
        let user = ["a", "b"]
            .into_iter()
            .position(|name| email == Some(&address(name, &self.name)));
        let plan = user.map(|user| PLANS[self.plans[user]]);
        let shows = plan.filter(|_| conversation.is_verified);
        let wanted = [
            ("plan", shows.unwrap_or("")),
            ("tenant", if shows.is_some() { "Northwind" } else { "" }),
            ("legacy", ""),
            ("context_state", ""),
        ];
        for (key, wanted) in wanted {
            let there = self.world.data(&self.session, key);
            if there != wanted {
                return Err(format!("`{key}` is `{there}`, and should be `{wanted}`"));
            }
        }
        let mut segments = BTreeSet::new();
        if let Some(plan) = plan {
            segments.extend([format!("plan-{plan}"), "status-active".to_owned()]);
            if !conversation.is_verified {
                segments.insert("unverified".to_owned());
            }
        }
        let there = self.our_segments();
        if there != segments {
            return Err(format!(
                "segments are {there:?}, and should be {segments:?}"
            ));
        }
        if let (Some(email), Some(plan)) = (email, plan) {
            let there = self.world.contact_data(email, "plan");
            if there != plan {
                return Err(format!(
                    "the contact's plan is `{there}`, and should be `{plan}`"
                ));
            }
            let mut there = self.world.contact(email).labels.segments;
            there.retain(|segment| contacts::is_ours(segment));
            let there: BTreeSet<String> = there.into_iter().collect();
            let wanted = BTreeSet::from([format!("plan-{plan}"), "status-active".to_owned()]);
            if there != wanted {
                return Err(format!(
                    "the contact's segments are {there:?}, and should be {wanted:?}"
                ));
            }
        }
        Ok(())
    }
}

/// The next request of that name is answered when the attempt is resumed.
fn hold(route: &str) -> Fault {
    Fault {
        route: Some(route.to_owned()),
        hold: true,
        ..Fault::default()
    }
}

fn data_edit(key: usize, value: Option<usize>) -> LabelEdit {
    let (key, mut edit) = (KEYS[key], LabelEdit::default());
    match value {
        Some(value) => edit.data = Map::from_iter([(key.to_owned(), json!(VALUES[value]))]),
        None => edit.remove_data = vec![key.to_owned()],
    }
    edit
}

fn segment_edit(segment: usize, on: bool) -> LabelEdit {
    let (segments, mut edit) = (vec![SEGMENTS[segment].to_owned()], LabelEdit::default());
    if on {
        edit.segments = segments;
    } else {
        edit.remove_segments = segments;
    }
    edit
}

fn address(who: &str, name: &str) -> String {
    format!("{who}.{name}@northwind.example")
}
