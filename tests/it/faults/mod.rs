//! Bad days. Each fault has a test of its own, and each test a line in `docs/failure-modes.md`.
//!
//! A story says what goes wrong, what the work comes to meanwhile, how many calls that costs, and what heals it. What was
//! there before must be there afterwards: nothing may be buried, and what was owed is done.

mod app_server;
mod book;
mod breaker;
mod clock;
mod crisp;
mod database;
mod ledger;
mod opening;
mod results;
mod secrets;
mod server;
mod silence;

use std::time::Duration;

use crisp_sync::{
    ledger::{PauseScope, WorkKind, WorkState},
    sandbox::{DEFAULT_WEBSITE, Fault, OpenChat},
};
use serde_json::Value as Json;

use crate::world::{Setup, World};

/// Somebody with an account and a proven conversation.
const ADA: &str = "ada@northwind.example";

/// A world with Ada's chat in it, refreshed and in order.
async fn ada_chats(change: impl FnOnce(&mut Setup)) -> (World, String) {
    let mut world = World::with(|setup| {
        setup.in_memory = true;
        change(setup);
    })
    .await;
    world.add_user("u1", ADA).await;
    let session = world.open(OpenChat::by(ADA).proven()).await;
    world.pass(Duration::from_mins(2)).await;
    assert_eq!(world.data(&session, "plan"), "pro");
    (world, session)
}

async fn agent_looks(world: &mut World, session: &str) {
    world
        .sandbox
        .operator_opens(session)
        .expect("it is still there");
    world.refresh().await;
}

/// Lets a long time pass: more falls due in it than [`World::pass`] believes in.
async fn hours(world: &mut World, hours: u64) {
    for _ in 0..hours * 6 {
        world.pass(Duration::from_mins(10)).await;
    }
}

/// The conversation and the contact show what the app says now.
#[track_caller]
fn assert_shows(world: &World, session: &str, plan: &str) {
    assert_eq!(world.data(session, "plan"), plan);
    assert_eq!(world.data(session, "context_state"), "", "nothing is old");
    assert_eq!(world.contact_data(ADA, "plan"), plan);
}

/// What the ops listener answers, within the time that Prometheus gives a scrape.
async fn operators_see(world: &World, path: &str) -> String {
    let asked = async {
        let answer = World::http().get(world.ops_url(path)).send().await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status().as_u16(), 200, "{path}");
        answer.text().await.expect("a body")
    };
    let answered = tokio::time::timeout(Duration::from_secs(10), asked).await;
    answered.expect("an answer in time")
}

/// The ledger cannot be read: operators are told so, and whatever the process knows. Returns the metrics.
async fn operators_see_that_the_ledger_cannot_be_read(world: &World) -> String {
    let status = operators_see(world, "/status").await;
    assert!(!status.contains("postgres://"), "{status}");
    let status: Json = serde_json::from_str(&status).expect("JSON");
    assert_eq!(status["ledger"]["readable"], false, "{status:#}");
    for said in ["error", "hint"] {
        assert!(status["ledger"][said].is_string(), "{status:#}");
    }
    assert!(status["breakers"].is_array(), "{status:#}");
    assert!(status.get("pending").is_none(), "nobody knows: {status:#}");
    let metrics = operators_see(world, "/metrics").await;
    assert!(metrics.contains("\ncrisp_sync_ledger_up 0\n"), "{metrics}");
    assert!(metrics.ends_with("# EOF\n"), "{metrics}");
    metrics
}

/// And when it can be read again, everything is there.
async fn operators_see_that_the_ledger_can_be_read(world: &World) {
    let status = operators_see(world, "/status").await;
    let status: Json = serde_json::from_str(&status).expect("JSON");
    assert_eq!(status["ledger"]["readable"], true, "{status:#}");
    assert!(status["pending"].is_u64(), "{status:#}");
    let metrics = operators_see(world, "/metrics").await;
    assert!(metrics.contains("\ncrisp_sync_ledger_up 1\n"), "{metrics}");
}

/// What the conversation's row comes to while Crisp has its bad day.
#[derive(Debug, Clone, Copy)]
enum Meanwhile {
    /// It is tried again, and waits with everybody else once that has failed often enough.
    IsTriedAgain,
    /// Crisp did what it did not confirm: the next read tells, and nothing is written twice.
    WasDone,
    /// No call with this token is made but a probe.
    PausesToken(&'static str),
    /// No call for this website is made but a probe.
    PausesWebsite(&'static str),
}

/// What ends it once Crisp is well again.
#[derive(Debug, Clone, Copy)]
enum Heals {
    /// Time alone: so much of it at the most.
    Within(Duration),
    /// The plugin is installed anew: at once.
    WithTheSubscription,
}

/// One bad day of Crisp's.
#[derive(Debug)]
struct Story {
    /// What every matching request meets.
    fault: Fault,
    /// How long.
    lasts: Duration,
    /// What becomes of the work.
    meanwhile: Meanwhile,
    /// The most calls that are made meanwhile.
    calls: usize,
    /// What ends it.
    heals: Heals,
}

impl Story {
    /// Tells it: an agent opens Ada's chat after her plan has changed, and Crisp has its bad day.
    async fn told(self) {
        let begun = ada_chats(|setup| {
            // Real time, that only a silence costs.
            if self.fault.hold {
                setup.add("[crisp]\ntimeout = \"1s\"\nconnect_timeout = \"1s\"");
            }
        });
        let (mut world, session) = Box::pin(begun).await;
        world.change_user("u1", "plan = 'starter'").await;
        world.sandbox.fault(self.fault.clone().times(0));
        let marker = world.marker();
        agent_looks(&mut world, &session).await;
        world.pass(self.lasts).await;

        let calls = world.calls_since(marker);
        assert!(
            !calls.is_empty() && calls.len() <= self.calls,
            "{} calls: {calls:?}",
            calls.len()
        );
        let row = world.work(WorkKind::Conversation, &session).await;
        let person = world.work(WorkKind::Person, "u1").await;
        let waiting = [row, person].into_iter().flatten();
        let mut waiting = waiting.filter(|row| row.is_pending() && row.state == WorkState::Ready);
        let waits = waiting.next().is_some();
        let writes = calls.iter().filter(|call| **call == "metas.update").count();
        if let Meanwhile::WasDone = self.meanwhile {
            assert_eq!(writes, 1, "{calls:?}");
            assert_eq!(world.data(&session, "plan"), "starter");
        } else {
            assert!(waits, "the work waits");
        }
        let pauses = world.service.ledger.pauses().await.expect("readable");
        let pauses: Vec<_> = pauses
            .iter()
            .map(|pause| (pause.scope, pause.reason.as_str()))
            .collect();
        match self.meanwhile {
            Meanwhile::IsTriedAgain | Meanwhile::WasDone => assert_eq!(pauses, []),
            Meanwhile::PausesToken(reason) => assert_eq!(pauses, [(PauseScope::Token, reason)]),
            Meanwhile::PausesWebsite(reason) => {
                assert_eq!(pauses, [(PauseScope::Website, reason)]);
            }
        }

        world.sandbox.clear_faults();
        world.sandbox.release();
        match self.heals {
            Heals::Within(time) => world.pass(time).await,
            Heals::WithTheSubscription => {
                world
                    .sandbox
                    .subscribe(DEFAULT_WEBSITE, true)
                    .expect("the website is there");
                world.settle().await;
            }
        }
        assert_shows(&world, &session, "starter");
        let pauses = world.service.ledger.pauses().await.expect("readable");
        assert_eq!(pauses, []);
        world.finish().await;
    }
}
