//! The ledger's server falls silent: it had acknowledged what was sent to it, so that no connection ever fails, and its answer
//! never comes.

use std::time::Duration;

use crisp_sync::sandbox::HookState;
use reqwest::StatusCode;
use tokio::time::timeout;

use super::{
    ada_chats, assert_shows, operators_see_that_the_ledger_can_be_read,
    operators_see_that_the_ledger_cannot_be_read,
};
use crate::{
    engines::{
        Database,
        silence::{Trigger, Way},
    },
    world::World,
};

/// How long the server may take here. No statement of a story takes nearly as long.
const ANSWER: Duration = Duration::from_secs(2);

/// Nobody waits so long who does not wait for ever.
const IN_TIME: Duration = Duration::from_secs(30);

/// Ada's chat, with the ledger behind a way that can fall silent.
struct Story {
    world: World,
    session: String,
    way: Way,
    database: Database,
}

impl Story {
    async fn begins() -> Option<Self> {
        Self::begins_with(ANSWER).await
    }

    async fn begins_with(answer: Duration) -> Option<Self> {
        let database = Database::create().await?;
        let way = Way::to(&database.url).await;
        let url = way.url.clone();
        let (world, session) = ada_chats(|setup| {
            setup.set("CRISP_SYNC_LEDGER", url);
            setup.answer_timeout = Some(answer);
            setup.add("[webhooks]\naccept_deadline = \"9s\"");
        })
        .await;
        Some(Self {
            world,
            session,
            way,
            database,
        })
    }

    /// An agent looks at the chat, after the plan has changed.
    async fn looks_after_a_change_to(&mut self, plan: &str) {
        let assignment = format!("plan = '{plan}'");
        self.world.change_user("u1", &assignment).await;
        self.world
            .sandbox
            .operator_opens(&self.session)
            .expect("there");
        self.world.hooks_arrive().await;
    }

    fn last_hook(&self) -> Option<HookState> {
        self.world
            .sandbox
            .look(|state| state.hooks().last().map(|hook| hook.state))
    }

    async fn readiness(&self) -> StatusCode {
        let request = World::http().get(self.world.public_url("/readyz"));
        request.send().await.expect("an answer in time").status()
    }

    /// By itself, without a restart of ours.
    async fn ends_well(mut self, plan: &str) {
        self.world.pass(Duration::from_mins(5)).await;
        assert_shows(&self.world, &self.session, plan);
        self.world.finish().await;
        self.database.drop().await;
    }
}

#[tokio::test]
async fn a_webhook_whose_commit_is_not_answered_is_refused_and_the_next_one_is_taken() {
    let Some(mut story) = Story::begins().await else {
        return;
    };
    story.way.falls_silent_at(Trigger::Commit(1));
    story.looks_after_a_change_to("starter").await;
    assert_eq!(story.last_hook(), Some(HookState::Failed), "sent again");
    assert!(story.world.sandbox.retry_hooks() > 0);
    story.world.hooks_arrive().await;
    assert_eq!(story.last_hook(), Some(HookState::Accepted));
    story.ends_well("starter").await;
}

/// The first of a run's commits takes the row, the second writes down what came of it.
#[tokio::test]
async fn the_worker_goes_on_whichever_of_its_commits_is_not_answered() {
    let Some(mut story) = Story::begins().await else {
        return;
    };
    // More often than there are connections: a place in the pool that is lost would be missing.
    for (nth, plan) in [(1, "starter"), (2, "team"), (1, "trial"), (2, "pro")] {
        story.looks_after_a_change_to(plan).await;
        story.world.clock.advance(Duration::from_secs(2));
        story.way.falls_silent_at(Trigger::Commit(nth));
        let step = timeout(IN_TIME, story.world.service.worker.step()).await;
        let step = step.expect("an end in time");
        assert_eq!(step.is_err(), nth == 1, "{step:?}");
        if let Err(error) = step {
            let error = error.to_string();
            assert!(error.contains("does not answer\nhint:"), "{error}");
        }
        story.way.fell_silent().await;
        story.world.pass(Duration::from_mins(5)).await;
        assert_shows(&story.world, &story.session, plan);
    }
    story.ends_well("pro").await;
}

#[tokio::test]
async fn readyz_says_in_time_that_the_server_is_silent_and_that_it_is_back() {
    let Some(story) = Story::begins().await else {
        return;
    };
    story.way.goes_away_at(Trigger::Text("FROM pauses"));
    assert_eq!(story.readiness().await, StatusCode::SERVICE_UNAVAILABLE);
    story.way.fell_silent().await;
    story.world.clock.advance(Duration::from_secs(2));
    assert_eq!(story.readiness().await, StatusCode::SERVICE_UNAVAILABLE);
    story.way.comes_back();
    story.world.clock.advance(Duration::from_secs(2));
    assert_eq!(story.readiness().await, StatusCode::OK);
    story.ends_well("pro").await;
}

/// Prometheus does not wait for as long as a statement may take: they are told what is known, after one wait and not several.
#[tokio::test]
async fn operators_are_answered_in_time_while_the_server_is_silent() {
    let Some(story) = Story::begins_with(Duration::from_secs(20)).await else {
        return;
    };
    story
        .way
        .goes_away_at(Trigger::Text("FROM outbox GROUP BY"));
    operators_see_that_the_ledger_cannot_be_read(&story.world).await;
    story.way.fell_silent().await;
    story.way.comes_back();
    operators_see_that_the_ledger_can_be_read(&story.world).await;
    story.ends_well("pro").await;
}

#[tokio::test]
async fn a_silence_while_a_connection_is_returned_costs_no_place_in_the_pool() {
    let Some(story) = Story::begins().await else {
        return;
    };
    for _ in 0..4 {
        story.way.falls_silent_at(Trigger::Ping);
        assert_eq!(story.readiness().await, StatusCode::OK);
        story.way.fell_silent().await;
        story.world.clock.advance(Duration::from_secs(2));
    }
    story.ends_well("pro").await;
}
