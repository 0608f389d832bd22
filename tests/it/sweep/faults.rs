//! A sweep that cannot go on: told, tried again, and nobody else's trouble. And what is wrong with it in the file.

use std::time::Duration;

use crisp_sync::{
    config::{Config, environment::Environment},
    ledger::{Lane, WorkKind, WorkRow},
    sandbox::OpenChat,
};

use super::{ADA, DAY, address, is_known, lane, next_look, people, sweep, touched, world};
use crate::{
    telemetry::lines,
    world::{DEFINITION, World},
};

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
    let mut world = world(|_| {}).await;
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

#[tokio::test]
async fn a_query_that_was_taken_out_ends_it() {
    let mut world = world(|_| {}).await;
    sweep(&mut world).await;
    world
        .restart(|setup| {
            let from = setup
                .definition
                .find("query = \"\"\"\n  SELECT id, email, changed_at")
                .expect("it");
            let to = from
                + setup.definition[from..]
                    .find("LIMIT :limit\n\"\"\"\n")
                    .expect("it");
            setup
                .definition
                .replace_range(from..to + "LIMIT :limit\n\"\"\"\n".len(), "");
        })
        .await;
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

#[tokio::test]
async fn how_far_it_came_is_seen_from_outside() {
    let mut world = world(|_| {}).await;
    people(&mut world, 7).await;
    sweep(&mut world).await;
    let http = World::http();
    let get = async |world: &World, path: &str| {
        let answer = http
            .get(world.ops_url(path))
            .send()
            .await
            .expect("answered");
        answer.text().await.expect("a text")
    };
    let status: serde_json::Value =
        serde_json::from_str(&get(&world, "/status").await).expect("JSON");
    let sweeps = status["sweeps"].as_array().expect("two");
    assert_eq!(sweeps[0]["lane"], "changes");
    assert_eq!(sweeps[0]["last"]["enqueued"], 7);
    assert_eq!(sweeps[0]["lag_seconds"], 0);
    assert_eq!(sweeps[0]["waiting"], 0);
    assert!(!status.to_string().contains(&address(0)));
    world.clock.advance(Duration::from_mins(3));
    let metrics = get(&world, "/metrics").await;
    assert!(
        metrics.contains("crisp_sync_sweep_lag_seconds{lane=\"changes\"} 180"),
        "{metrics}"
    );
    let told = lines().into_iter().any(|line| {
        line["event"] == "sweep.finished" && line["lane"] == "changes" && line["enqueued"] == 7
    });
    assert!(told, "the end of a look is told");
    next_look(&mut world).await;
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
      --> crisp-sync.toml:36:9
       |
    36 | query = "SELECT id, at FROM u WHERE (at, id) > (:since, :after) AND at < :until ORDER BY at, id LIMIT :limit"
       |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
       |
       = hint: write `query_by_key = "SELECT id, email FROM users WHERE id = :key"` below `[users]`

    error: several websites are configured, and the query does not say to which a row belongs
      --> crisp-sync.toml:36:9
       |
    36 | query = "SELECT id, at FROM u WHERE (at, id) > (:since, :after) AND at < :until ORDER BY at, id LIMIT :limit"
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
        "crisp-sync.toml:38:9",
        "more often than every ten seconds",
        "crisp-sync.toml:39:8",
        "crisp-sync.toml:40:11",
        "this website is not one of `crisp.websites`",
    ] {
        assert!(settings.contains(said), "{said}: {settings}");
    }
}
