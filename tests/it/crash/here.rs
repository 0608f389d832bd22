//! The service in this process, by a clock that stands until it is moved: an hour costs nothing. It is "killed" by dropping
//! what it does in the middle, at a request or some turns of the scheduler later, and is built anew on the same ledger.

use std::{path::PathBuf, time::Duration};

use crisp_sync::{
    app::Service,
    ledger::{Ledger, LedgerError, LedgerSettings},
    sandbox::Sandbox,
    server::{Server, command::Operation},
};
use jiff::Timestamp;
use serde_json::Value as Json;

use super::{
    acts::{Order, Point, Span},
    app::App,
    death::busy,
    definition::{CHANGED_AT, renaming},
    orders::operation,
    stage::{Stage, read_lists},
};
use crate::{
    soak::Books,
    world::{Setup, World},
};

/// How long what is in doubt may take in fair weather: the quiet, two reads, and a pause of everything for what went before.
const SETTLES_WITHIN: Duration = Duration::from_hours(6);
/// Longer than the ledger may be left alone before that is noticed.
const AWAY: Duration = Duration::from_mins(6);

/// How long until somebody looks again whether all is decided.
const A_WHILE: Duration = Duration::from_mins(20);

pub(super) struct Here {
    pub(super) world: World,
    copy: Option<Copied>,
    /// Another process on the same ledger.
    pub(super) second: Option<(Box<Service>, Server)>,
}

/// A copy of the ledger.
#[derive(Debug, Clone)]
struct Copied {
    path: PathBuf,
    /// Whether it is the file as it lay there, and not one that says that it is a copy.
    raw: bool,
}

impl Here {
    pub(super) async fn begin(change: impl FnOnce(&mut Setup), two: bool, sweeps: bool) -> Self {
        let world = World::with(|setup| {
            setup.in_memory = true;
            change(setup);
        })
        .await;
        let mut world = world;
        world.sql("ALTER TABLE users ADD COLUMN change TEXT").await;
        for statement in CHANGED_AT {
            world.sql(statement).await;
        }
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
        if sweeps {
            world.service.begin_sweeps().await.expect("enqueued");
        }
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
}

impl Stage for Here {
    const LATE: Duration = Duration::from_mins(10);
    const SLOW: Duration = Duration::from_millis(3_200);
    const STANDS_STILL: bool = true;
    const TOLERANCE: Duration = Duration::ZERO;
    const BEAT: Duration = Duration::ZERO;
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
            Span::Minutes => Duration::from_mins(6),
            Span::Grace => Duration::from_mins(11),
            Span::Quiet => Duration::from_mins(16),
            Span::Long => Duration::from_mins(70),
        })
        .await;
    }

    async fn dies(&mut self, at: Point) -> Timestamp {
        self.is_dropped(at).await
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

    async fn goes_away(&mut self) -> bool {
        if self.second.is_some() {
            return false;
        }
        self.world.hooks_arrive().await;
        self.world.service.worker.beat().await;
        let clock = self.world.clock.clone();
        self.world.restart(|_| clock.advance(AWAY)).await;
        true
    }

    async fn renames(&mut self) -> bool {
        if self.second.is_some() {
            return false;
        }
        self.world.hooks_arrive().await;
        self.world
            .restart(|setup| {
                for (from, to) in renaming() {
                    setup.replace(&from, &to);
                }
            })
            .await;
        true
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

    async fn performs(&mut self, order: &Order) -> Json {
        self.world.hooks_arrive().await;
        let receipts_at = self.world.folder().join("receipts.json");
        let operation = operation(order.clone(), &receipts_at);
        let (service, worker) = (
            self.world.service.clone(),
            self.world.service.worker.clone(),
        );
        // Whom the ledger forgot is there until the receipts are replayed.
        let answer = if matches!(order, Order::Replay(_)) {
            Box::pin(service.perform(operation)).await
        } else {
            let asked = Box::pin(service.perform(operation));
            futures_util::future::join(asked, busy(worker)).await.0
        };
        assert!(answer.ok, "{:?}", answer.lines);
        answer.json
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
