//! A result that the ledger takes of everybody but one row.

use std::time::Duration;

use crisp_sync::{
    ledger::{WorkKind, WorkState},
    sandbox::OpenChat,
};

use super::{ada_chats, agent_looks, assert_shows};
use crate::{
    engines::servers::Server,
    telemetry::lines,
    world::{World, ledgers_on_a_server},
};

const BEN: &str = "ben@southwind.example";

/// How PostgreSQL refuses Ada's results: with this code.
fn refuses(session: &str, code: &str) -> String {
    format!(
        "CREATE FUNCTION crisp_sync.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
           IF NEW.key = '{session}' THEN RAISE EXCEPTION 'no' USING ERRCODE = '{code}'; END IF; RETURN NEW; END $$; \
         CREATE TRIGGER refuse BEFORE INSERT ON crisp_sync.traces FOR EACH ROW EXECUTE FUNCTION crisp_sync.refuse()"
    )
}

const TAKES: &str = "DROP TRIGGER refuse ON crisp_sync.traces";

/// Ada's chat, of which no result can be written from now on, and Ben's.
async fn two_chats(code: &str) -> Option<(World, String, String)> {
    Server::Postgres.url()?;
    ledgers_on_a_server(true);
    let (mut world, ada) = ada_chats(|_| {}).await;
    world.add_user("u2", BEN).await;
    let ben = world.open(OpenChat::by(BEN).proven()).await;
    world.ledger_sql(&refuses(&ada, code)).await;
    world.change_user("u1", "plan = 'starter'").await;
    agent_looks(&mut world, &ada).await;
    Some((world, ada, ben))
}

/// Half a day in which Ben is served; how many calls Ada's conversation costs meanwhile.
async fn half_a_day(world: &mut World, ada: &str, ben: &str) -> usize {
    let marker = world.marker();
    for turn in 0..72 {
        let plan = if turn % 2 == 0 { "starter" } else { "pro" };
        world.change_user("u2", &format!("plan = '{plan}'")).await;
        agent_looks(world, ben).await;
        world.pass(Duration::from_mins(10)).await;
        assert_eq!(world.data(ben, "plan"), plan, "turn {turn}");
    }
    let calls = world.requests_since(marker).into_iter();
    calls
        .filter(|call| call.session.as_deref() == Some(ada))
        .count()
}

/// Twelve attempts, as for whatever else fails for one row while others succeed.
#[tokio::test]
async fn a_result_that_is_refused_for_one_row_is_buried_with_it() {
    let Some((mut world, ada, ben)) = two_chats("23514").await else {
        return;
    };
    let calls = half_a_day(&mut world, &ada, &ben).await;
    assert!((2..=30).contains(&calls), "{calls} calls");
    let dead = world.service.ledger.dead(10).await.expect("readable");
    let keys: Vec<_> = dead.iter().map(|row| row.key.as_str()).collect();
    assert_eq!(keys, [ada.as_str()]);
    assert!(
        lines()
            .iter()
            .any(|line| line["event"] == "work.buried" && line["session.id"] == ada.as_str())
    );
    world.ledger_sql(TAKES).await;
    agent_looks(&mut world, &ada).await;
    assert_shows(&world, &ada, "starter");
    world.finish().await;
}

/// Whose fault it is nobody knows, so it is not given up; but it may not spend the day's quota.
#[tokio::test]
async fn a_result_that_fails_for_one_row_waits_longer_each_time() {
    let Some((mut world, ada, ben)) = two_chats("P0001").await else {
        return;
    };
    half_a_day(&mut world, &ada, &ben).await;
    let calls = half_a_day(&mut world, &ada, &ben).await;
    assert!((2..=15).contains(&calls), "{calls} calls");
    let row = world.work(WorkKind::Conversation, &ada).await;
    let row = row.expect("a row");
    assert!(
        row.is_pending() && row.state == WorkState::Ready,
        "{row:#?}"
    );
    world.ledger_sql(TAKES).await;
    world.pass(Duration::from_hours(1)).await;
    assert_shows(&world, &ada, "starter");
    world.finish().await;
}

/// A table that takes nobody's: that is no row's fault.
#[tokio::test]
async fn results_that_are_refused_for_everybody_bury_nobody() {
    let Some((mut world, ada, ben)) = two_chats("23514").await else {
        return;
    };
    let everybody = "CREATE OR REPLACE FUNCTION crisp_sync.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         RAISE EXCEPTION 'no' USING ERRCODE = '23514'; END $$";
    world.ledger_sql(everybody).await;
    world.change_user("u2", "plan = 'starter'").await;
    for _ in 0..36 {
        agent_looks(&mut world, &ben).await;
        world.pass(Duration::from_mins(10)).await;
    }
    let dead = world.service.ledger.dead(10).await.expect("readable");
    assert!(dead.is_empty(), "{dead:#?}");
    world.ledger_sql(TAKES).await;
    world.pass(Duration::from_mins(90)).await;
    for session in [&ada, &ben] {
        assert_eq!(world.data(session, "plan"), "starter");
    }
    world.finish().await;
}

/// Nor is a table that takes every conversation's and no person's.
#[tokio::test]
async fn results_that_are_refused_for_all_people_bury_nobody() {
    let Some((mut world, _, ben)) = two_chats("23514").await else {
        return;
    };
    let people = "CREATE OR REPLACE FUNCTION crisp_sync.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF NEW.kind = 'person' THEN RAISE EXCEPTION 'no' USING ERRCODE = '23514'; END IF; RETURN NEW; END $$";
    world.ledger_sql(people).await;
    for turn in 0..72 {
        let plan = if turn % 2 == 0 { "starter" } else { "pro" };
        world.change_user("u2", &format!("plan = '{plan}'")).await;
        agent_looks(&mut world, &ben).await;
        world.pass(Duration::from_mins(10)).await;
        assert_eq!(world.data(&ben, "plan"), plan, "turn {turn}");
    }
    let open = world.service.breakers.standings().into_iter();
    let open: Vec<_> = open.filter(|one| one.state != "closed").collect();
    assert!(
        matches!(&open[..], [one] if one.name == "results.person"),
        "{open:#?}"
    );
    let dead = world.service.ledger.dead(10).await.expect("readable");
    assert!(dead.is_empty(), "{dead:#?}");
    world.ledger_sql(TAKES).await;
    world.pass(Duration::from_mins(90)).await;
    let row = world.work(WorkKind::Person, "u2").await.expect("a row");
    assert!(!row.is_pending(), "{row:#?}");
    world.finish().await;
}
