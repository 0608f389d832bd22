//! A sweep that cannot go on: told, tried again, and nobody else's trouble. And what is wrong with it in the file.

use std::time::Duration;

use crisp_sync::{
    alerts::CALM,
    config::{Config, environment::Environment},
    ledger::{Lane, WorkKind, WorkRow},
    sandbox::OpenChat,
    server::command::Operation,
};

use super::{ADA, DAY, cancels, is_known, lane, people, sweep, touched, world};
use crate::world::{DEFINITION, Setup, World};

async fn row(world: &World) -> WorkRow {
    let website = crisp_sync::ids::WebsiteId::parse("all").expect("plain");
    let ledger = &world.service.ledger;
    let row = ledger.work(WorkKind::Sweep, &website, "changes").await;
    row.expect("readable").expect("the row of the sweep")
}

#[tokio::test]
async fn a_query_that_fails_is_tried_again_and_spoils_nothing() {
    let mut world = world(|setup| setup.replace("changed_at AS at", "changed_ta AS at")).await;
    world.add_user("u1", ADA).await;
    touched(&mut world, "u1", 0).await;
    sweep(&mut world).await;
    let failed = row(&world).await;
    assert!(failed.is_pending());
    let error = failed.last_error.expect("it is told");
    assert!(error.contains("`lifecycle.query`"), "{error}");
    world.pass(Duration::from_hours(6)).await;
    assert!(row(&world).await.is_pending(), "it is never buried");
    let session = world.open(OpenChat::by(ADA).proven()).await;
    assert_eq!(world.data(&session, "plan"), "pro", "chats go on");
    world
        .restart(|setup| setup.replace("changed_ta AS at", "changed_at AS at"))
        .await;
    touched(&mut world, "u1", 0).await;
    world.change_user("u1", "plan = 'starter'").await;
    world.pass(Duration::from_hours(2)).await;
    assert_eq!(world.contact_data(ADA, "plan"), "starter");
    world.finish().await;
}

#[tokio::test]
async fn an_app_database_that_is_away_is_waited_for() {
    let mut world = world(Setup::impatient).await;
    people(&mut world, 4).await;
    world.database_goes_down().await;
    sweep(&mut world).await;
    world.pass(Duration::from_mins(10)).await;
    world.database_comes_back().await;
    world.pass(Duration::from_mins(30)).await;
    for number in 0..4 {
        assert!(is_known(&world, &format!("p{number:03}")).await);
    }
    world.finish().await;
}

/// A clock that ran ten days ahead is put right: nobody waits ten days for the next look, nor for the event that it finds.
#[tokio::test]
async fn a_clock_that_was_ahead_stops_no_look() {
    let mut world = world(|_| {}).await;
    world.add_user("u1", ADA).await;
    world.sandbox.create_contact(ADA, "Ada");
    // It is older than what is told by more than clocks lie apart.
    world.pass(Duration::from_mins(3)).await;
    sweep(&mut world).await;
    world.service.worker.beat().await;
    world.clock.advance(10 * DAY);
    world.service.worker.beat().await;
    world.settle().await;
    world.service.worker.beat().await;
    world.clock.set_back(10 * DAY);
    world.service.worker.beat().await;
    let lags = world.service.ledger.sweep_lags(world.now()).await;
    let now = world.now();
    assert!(lags.expect("readable").iter().all(|lag| lag.since <= now));
    cancels(&mut world, "u1").await;
    // The hour of a look, and the time in which a request of before the jump may still be under way.
    world.pass(Duration::from_mins(80)).await;
    assert_eq!(world.timeline(ADA), ["user:subscription:canceled"]);
    world.finish().await;
}

fn without_the_query(setup: &mut Setup) {
    let query = setup
        .definition
        .find("query = \"\"\"\n  SELECT id, email, changed_at");
    let from = query.expect("it");
    let end = "LIMIT :limit\n\"\"\"\n";
    let to = from + setup.definition[from..].find(end).expect("it") + end.len();
    setup.definition.replace_range(from..to, "");
}

#[tokio::test]
async fn a_query_that_was_taken_out_ends_it() {
    let mut world = world(|_| {}).await;
    sweep(&mut world).await;
    world.restart(without_the_query).await;
    world.pass(DAY).await;
    assert!(!row(&world).await.is_pending());
    world.finish().await;
}

/// Whom Crisp cannot know costs nothing: nobody's address, and another's website.
#[tokio::test]
async fn rows_of_nobody_are_counted_and_passed_over() {
    let mut world = world(|setup| {
        setup.replace(
            "SELECT id, email, changed_at AS at FROM users",
            "SELECT id, nullif(email, 'none') AS email, changed_at AS at, tenant AS website FROM users",
        );
    })
    .await;
    people(&mut world, 4).await;
    let ours = world.website.as_str().to_owned();
    world
        .sql(&format!("UPDATE users SET tenant = '{ours}'"))
        .await;
    world
        .sql("UPDATE users SET tenant = NULL WHERE id = 'p001'")
        .await;
    world
        .sql("UPDATE users SET tenant = 'another' WHERE id = 'p002'")
        .await;
    world
        .sql("UPDATE users SET email = 'none' WHERE id = 'p003'")
        .await;
    sweep(&mut world).await;
    let look = lane(&world, Lane::Changes).await.last;
    assert_eq!((look.rows, look.enqueued, look.unusable), (4, 2, 2));
    assert!(is_known(&world, "p001").await, "there is one website only");
    world.finish().await;
}

/// As long as something keeps it from looking, from its first page on or later.
#[tokio::test]
async fn a_sweep_that_lags_behind_is_told_until_it_has_caught_up() {
    let mut world = world(|setup| setup.replace("changed_at AS at", "changed_ta AS at")).await;
    world.add_user("u1", ADA).await;
    sweep(&mut world).await;
    let told = async |world: &World| {
        world.service.watch.look().await;
        let rows = world.service.ledger.conditions().await.expect("readable");
        let rows = rows.into_iter().filter(|row| row.kind == "sweep_behind");
        rows.map(|row| row.detail).next()
    };
    world.pass(Duration::from_hours(3)).await;
    assert_eq!(told(&world).await, None, "it looks once an hour");
    world.pass(Duration::from_mins(61)).await;
    let detail = told(&world).await.expect("four hours are too many");
    assert!(detail.contains("since 2026-03-02T09:00:00Z"), "{detail}");
    let get = async |world: &World, path: &str| {
        let request = World::http().get(world.ops_url(path)).send();
        let answer = request.await.expect("answered");
        answer.text().await.expect("a text")
    };
    let metrics = get(&world, "/metrics").await;
    assert!(
        metrics.contains("crisp_sync_sweep_lag_seconds{lane=\"changes\"} 14460"),
        "{metrics}"
    );
    let status = world.service.perform(Operation::Status).await;
    let lines = status.lines.join("\n");
    assert!(
        lines.contains("sweep changes: 4h 1m behind, since 2026-03-02 09:00:00Z")
            && lines.contains("`lifecycle.query`"),
        "{lines}"
    );
    world
        .restart(|setup| setup.replace("changed_ta AS at", "changed_at AS at"))
        .await;
    world.pass(Duration::from_hours(1)).await;
    world.clock.advance(CALM);
    assert_eq!(told(&world).await, None, "it has caught up");
    assert_eq!(lane(&world, Lane::Changes).await.last.pages, 1);
    world.settle().await;
    world.finish().await;
}

/// Nobody waits for a query that was taken out.
#[tokio::test]
async fn a_sweep_without_a_query_lags_behind_nothing() {
    let mut world = world(|_| {}).await;
    sweep(&mut world).await;
    world.restart(without_the_query).await;
    world.pass(DAY).await;
    world.service.watch.look().await;
    let rows = world.service.ledger.conditions().await.expect("readable");
    assert!(
        rows.iter().all(|row| row.kind != "sweep_behind"),
        "{rows:?}"
    );
    world.finish().await;
}

/// It is stopped by the database, and nobody's look-up pays for it.
#[tokio::test]
async fn a_query_that_takes_too_long_is_tried_again_and_stops_nobody_else() {
    let mut world = world(|setup| {
        setup.impatient();
        setup.replace(
            "WHERE (changed_at, id) > (:since, :after)",
            "WHERE (SELECT count(*) FROM load a, load b, load c) >= 0 AND (changed_at, id) > (:since, :after)",
        );
    })
    .await;
    world.sql("CREATE TABLE load (n INTEGER)").await;
    world
        .sql("INSERT INTO load WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 3000) SELECT n FROM n")
        .await;
    world.add_user("u1", ADA).await;
    touched(&mut world, "u1", 0).await;
    sweep(&mut world).await;
    world.pass(Duration::from_mins(30)).await;
    let failed = row(&world).await;
    assert!(failed.is_pending(), "it is never buried");
    let error = failed.last_error.expect("it is told");
    assert!(
        error.contains("`lifecycle.query` took longer than"),
        "{error}"
    );
    let session = world.open(OpenChat::by(ADA).proven()).await;
    assert_eq!(world.data(&session, "plan"), "pro", "chats go on");
    assert_eq!(world.metric("crisp_sync_breaker{name=\"users\"}"), 0);
    world.sql("DELETE FROM load").await;
    world.change_user("u1", "plan = 'starter'").await;
    touched(&mut world, "u1", 0).await;
    world.pass(Duration::from_hours(2)).await;
    assert_eq!(world.contact_data(ADA, "plan"), "starter");
    world.finish().await;
}

fn faults(websites: &str, query_by_key: bool, lifecycle: &str) -> String {
    let environment: Environment = [
        ("DATABASE_URL", "sqlite:///nowhere/app.db"),
        ("CRISP_TOKEN_IDENTIFIER", "id"),
        ("CRISP_TOKEN_KEY", "key"),
        ("CRISP_SIGNING_SECRETS", "secret"),
        ("CRISP_WEBSITES", websites),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect();
    let mut text = DEFINITION.to_owned();
    if !query_by_key {
        let from = text.find("query_by_key").expect("it");
        let to = from + text[from..].find('\n').expect("a line");
        text.replace_range(from..to, "");
    }
    text.push_str(lifecycle);
    match Config::from_text("crisp-sync.toml", &text, &environment) {
        Ok(_) => String::new(),
        Err(faults) => faults.to_string(),
    }
}

#[test]
fn what_is_wrong_with_it_is_drawn_at_its_place() {
    const ONE: &str = "8c842203-7ed8-4e29-a608-7cf78a7d2fcc";
    let many = format!("{ONE},42286ab3-b29a-4fde-8538-da0ae501d825");
    let query = |more: &str| {
        format!(
            "[lifecycle]\nquery = \"SELECT id, at{more} FROM u WHERE (at, id) > (:since, :after) AND at < :until ORDER BY at, id LIMIT :limit\"\n"
        )
    };
    assert_eq!(faults(ONE, true, &query("")), "");
    assert_eq!(faults(&many, true, &query(", website")), "");
    let named = format!("{}[lifecycle.sweep]\nwebsite = \"{ONE}\"\n", query(""));
    assert_eq!(faults(&many, true, &named), "");
    insta::assert_snapshot!(faults(&many, false, &query("")), @r#"
    error: whom it finds is looked up by key, and there is no `users.query_by_key`
      --> crisp-sync.toml:37:9
       |
    37 | query = "SELECT id, at FROM u WHERE (at, id) > (:since, :after) AND at < :until ORDER BY at, id LIMIT :limit"
       |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
       |
       = hint: write `query_by_key = "SELECT id, email FROM users WHERE id = :key"` below `[users]`

    error: several websites are configured, and the query does not say to which a row belongs
      --> crisp-sync.toml:37:9
       |
    37 | query = "SELECT id, at FROM u WHERE (at, id) > (:since, :after) AND at < :until ORDER BY at, id LIMIT :limit"
       |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
       |
       = hint: select a column `website` with its id, or name one in `lifecycle.sweep.website`

    error: 2 faults in the configuration `crisp-sync.toml`
    "#);
    let behind = faults(ONE, true, &query("").replace(":after", ":behind"));
    for said in [
        "the query does not use `:after`",
        "there is no parameter `:behind` here",
        "LIMIT :limit`",
    ] {
        assert!(behind.contains(said), "{behind}");
    }
    let settings = format!(
        "{}[lifecycle.sweep]\nevery = \"1s\"\npage = 0\nwebsite = \"another\"\n",
        query("")
    );
    let settings = faults(ONE, true, &settings);
    for said in [
        "crisp-sync.toml:39:9",
        "more often than every ten seconds",
        "crisp-sync.toml:40:8",
        "crisp-sync.toml:41:11",
        "this website is not one of `crisp.websites`",
    ] {
        assert!(settings.contains(said), "{said}: {settings}");
    }
}
