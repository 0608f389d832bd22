//! The service in this process, by a clock that stands until it is moved: an hour costs nothing. It is "killed" by dropping
//! what it does in the middle, at a request or some turns of the scheduler later, and is built anew on the same ledger.

use std::{path::PathBuf, time::Duration};

use crisp_sync::{
    app::Service,
    ledger::{Ledger, LedgerError, LedgerSettings, OutboxFilter},
    lifecycle::OutboxState,
    sandbox::{Fault, Sandbox},
    server::{Server, command::Operation},
    worker::{Step, Worker},
};
use jiff::Timestamp;

use super::{
    acts::{Point, Span},
    app::App,
    stage::{Stage, read_lists},
};
use crate::{
    soak::Books,
    world::{Setup, World},
};

/// A row that is due within this is worth waiting for before somebody dies.
const NEAR: Duration = Duration::from_mins(20);
/// How long what is in doubt may take in fair weather: the quiet, two reads, and a pause of everything for what went before.
const SETTLES_WITHIN: Duration = Duration::from_hours(6);
/// Longer than the ledger may be left alone before that is noticed.
const AWAY: Duration = Duration::from_mins(6);

/// The service says that it is there long before anybody believes that it is not.
const BETWEEN_BEATS: Duration = Duration::from_mins(4);

/// How long until somebody looks again whether all is decided.
const A_WHILE: Duration = Duration::from_mins(20);

pub(super) struct Here {
    pub(super) world: World,
    copy: Option<Copied>,
    /// Another process on the same ledger.
    second: Option<(Box<Service>, Server)>,
}

/// A copy of the ledger.
#[derive(Debug, Clone)]
struct Copied {
    path: PathBuf,
    /// Whether it is the file as it lay there, and not one that says that it is a copy.
    raw: bool,
}

impl Here {
    pub(super) async fn begin(change: impl FnOnce(&mut Setup), two: bool) -> Self {
        let world = World::with(|setup| {
            setup.in_memory = true;
            change(setup);
        })
        .await;
        let mut world = world;
        world.sql("ALTER TABLE users ADD COLUMN change TEXT").await;
        let second = if two {
            Some(world.replica(|_| {}).await)
        } else {
            None
        };
        let here = Self {
            world,
            copy: None,
            second,
        };
        let world = &here.world;
        world.service.worker.beat().await;
        for rule in world.service.rule_names() {
            let armed = world
                .service
                .ledger
                .arm(&world.website, &rule, world.now(), world.now());
            armed.await.expect("armed");
        }
        world.clock.advance(Duration::from_secs(5));
        here
    }

    pub(super) async fn ends(self) {
        if let Some((service, mut server)) = self.second {
            server.drain().await;
            server.close().await;
            service.ledger.close().await.expect("it closes");
        }
        self.world.finish().await;
    }

    pub(super) fn abandon(self) {
        self.world.abandon();
    }

    /// Both processes take what they get, at once.
    async fn compete(&self) {
        let Some((second, _)) = &self.second else {
            return;
        };
        for _ in 0..50 {
            self.world.hooks_arrive().await;
            let both =
                futures_util::future::join(self.world.service.worker.step(), second.worker.step());
            let (one, other) = both.await;
            if one.expect("the ledger works") == Step::Idle
                && other.expect("the ledger works") == Step::Idle
            {
                return;
            }
        }
        panic!("two processes do not come to rest");
    }

    /// What nothing has become of yet.
    async fn undecided(&self) -> Vec<String> {
        let filter = OutboxFilter {
            states: vec![
                OutboxState::Scheduled,
                OutboxState::Due,
                OutboxState::Sending,
            ],
            limit: 100,
            ..OutboxFilter::default()
        };
        let rows = self.world.service.ledger.outbox_list(&filter).await;
        rows.expect("readable")
            .iter()
            .map(|row| format!("{row:?}"))
            .collect()
    }

    /// Time goes by in a service that is alive, and what falls due is worked at its moment.
    async fn pass(&mut self, time: Duration) {
        let until = self.now() + time;
        for _ in 0..500 {
            self.compete().await;
            self.world.settle().await;
            let due = self.world.service.worker.next_due().await;
            let due = due.expect("readable").filter(|due| *due < until);
            self.idle_until(due.unwrap_or(until)).await;
            if due.is_none() {
                self.compete().await;
                self.world.settle().await;
                return;
            }
        }
        panic!("too much falls due within {time:?}");
    }

    /// Time goes by, and nothing happens but that the service says that it is there.
    async fn idle_until(&self, until: Timestamp) {
        let world = &self.world;
        while world.now() < until {
            let left = until.duration_since(world.now()).unsigned_abs();
            world.clock.advance(left.min(BETWEEN_BEATS));
            world.service.worker.beat().await;
        }
    }
}

async fn busy(worker: Worker) {
    while matches!(worker.step().await, Ok(Step::Worked(_))) {}
}

impl Stage for Here {
    const LATE: Duration = Duration::from_mins(10);
    const SLOW: Duration = Duration::from_millis(3_200);
    const STANDS_STILL: bool = true;
    const TOLERANCE: Duration = Duration::ZERO;
    const RECOVERS: Duration = Duration::from_hours(1);

    fn sandbox(&self) -> &Sandbox {
        &self.world.sandbox
    }

    fn now(&self) -> Timestamp {
        self.world.now()
    }

    async fn ticks(&mut self) {
        // Each thing has a second of its own, and a slip of the pen one before it.
        self.world.clock.advance(Duration::from_secs(2));
    }

    async fn sql(&mut self, statement: String) {
        self.world.sql(&statement).await;
    }

    async fn works(&mut self) {
        self.compete().await;
        self.world.refresh().await;
        self.world.service.worker.beat().await;
    }

    async fn passes(&mut self, span: Span) {
        self.pass(match span {
            Span::Moment => Duration::from_secs(30),
            Span::Grace => Duration::from_mins(11),
            Span::Quiet => Duration::from_mins(16),
            Span::Long => Duration::from_mins(70),
        })
        .await;
    }

    async fn dies(&mut self, at: Point) -> Timestamp {
        self.world.hooks_arrive().await;
        if at.when_due {
            // What was asked for first, so that what follows from it is there.
            self.world.settle().await;
        }
        let due = self.world.service.worker.next_due().await;
        let soon = self.now() + NEAR;
        if let Some(due) = due.expect("readable").filter(|due| *due <= soon) {
            self.idle_until(due).await;
        }
        let world = &mut self.world;
        let died_at = world.now();
        let marker = world.sandbox.call_marker();
        if at.in_flight {
            world.sandbox.fault(Fault {
                hold: true,
                skip: u32::try_from(at.calls - 1).expect("few"),
                status: (!at.applied).then_some(500),
                ..Fault::default()
            });
        }
        let mut working = tokio::spawn(busy(world.service.worker.clone()));
        let ended = {
            let arrived = world.sandbox.wait_until("some requests", |state| {
                state.calls().since(marker).len() >= at.calls
            });
            tokio::select! {
                // It had less to do than that.
                _ended = &mut working => true,
                waited = arrived => { waited.expect("it works on"); false }
            }
        };
        if !ended {
            for _ in 0..at.turns {
                tokio::task::yield_now().await;
            }
            working.abort();
            drop(working.await);
        }
        world.sandbox.release();
        world.sandbox.clear_faults();
        world.restart(|_| {}).await;
        died_at
    }

    async fn copies(&mut self, raw: bool) -> Option<Timestamp> {
        if self.second.is_some() {
            return None;
        }
        self.world.hooks_arrive().await;
        let ledger = self.world.ledger_path();
        let path = ledger.with_extension("copy");
        drop(std::fs::remove_file(&path));
        self.world.service.worker.beat().await;
        if raw {
            // A file that nobody writes meanwhile is whole.
            self.world
                .restart(|_| {
                    std::fs::copy(&ledger, &path).expect("a copy");
                })
                .await;
        } else {
            let copied = self.world.service.ledger.backup(&path).await;
            copied.expect("a copy");
        }
        self.copy = Some(Copied { path, raw });
        Some(self.now())
    }

    async fn restores(&mut self, in_place: bool) -> Option<bool> {
        let copy = self.copy.clone()?;
        self.world.hooks_arrive().await;
        let (ledger, clock) = (self.world.ledger_path(), self.world.clock.clone());
        let is_hidden = copy.raw && in_place;
        self.world
            .restart(|_| {
                if is_hidden {
                    // Nothing tells that it is a copy, but that nobody was there for a while.
                    clock.advance(AWAY);
                }
                super::put_in_place(&copy.path, &ledger, in_place);
            })
            .await;
        Some(!is_hidden)
    }

    async fn is_displaced(&mut self) -> bool {
        let since = self.world.service.ledger.displaced_since().await;
        since.expect("readable").is_some()
    }

    async fn arms(&mut self) {
        let arm = Operation::EventsArm { event: None };
        let answer = Box::pin(self.world.service.perform(arm)).await;
        assert!(answer.ok, "{:?}", answer.lines);
    }

    async fn starts_twice(&mut self) {
        if self.second.is_some() {
            return;
        }
        let settings = LedgerSettings::at(self.world.ledger_path());
        let opened = Ledger::open(settings, self.now()).await;
        assert!(
            matches!(opened, Err(LedgerError::Locked { .. })),
            "one process has a file"
        );
    }

    async fn commands(&mut self, address: &str) {
        self.world.hooks_arrive().await;
        let worker = self.world.service.worker.clone();
        let service = self.world.service.clone();
        let email = address.to_owned();
        // Boxed: what a command does is nested deep already.
        let asked = Box::pin(service.perform(Operation::ReconcileEmail { email }));
        let (_answer, ()) = futures_util::future::join(asked, busy(worker)).await;
        self.works().await;
    }

    async fn reads_lists(&mut self, app: &App) {
        read_lists(&self.world.sandbox, app).await;
    }

    async fn drains(&mut self) {
        let until = self.now() + SETTLES_WITHIN;
        // Most of it is soon over.
        while !self.undecided().await.is_empty() && self.now() < until {
            self.pass(A_WHILE).await;
        }
        let left = self.undecided().await;
        assert!(left.is_empty(), "does not drain: {left:#?}");
    }

    async fn books(&self) -> Books {
        match self.world.ledger_url() {
            Some(url) => Books::server(&url).await,
            None => Books::file(&self.world.ledger_path()).await,
        }
    }
}
