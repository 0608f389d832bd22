//! The bad days of the app's database. While it has one, Crisp is not asked again and again.

use std::time::Duration;

use crisp_sync::{ledger::WorkKind, sandbox::OpenChat};

use super::{ADA, ada_chats, agent_looks, assert_shows};
use crate::world::{Setup, World};

/// What happens to the database, and how it is put right.
#[derive(Debug, Clone, Copy)]
struct Story {
    breaks: &'static str,
    mends: &'static str,
    /// The breaker that opens.
    breaker: &'static str,
    lasts: Duration,
}

/// A value that only an instant has.
fn with_days_left(setup: &mut Setup) {
    setup.replace(
        "[context.segments]",
        "days_left = { value = \"{{ days_until(trial_ends_at) }}\", when = \"trial_ends_at\" }\n\n[context.segments]",
    );
}

/// Tells it with three chats: Ada's plan changes, and then the look-ups fail, for everybody.
async fn told(story: Story) {
    let (mut world, first) = ada_chats(|setup| {
        with_days_left(setup);
        if story.breaker == "users" {
            setup.impatient();
        }
    })
    .await;
    let mut sessions = vec![first];
    for _ in 0..2 {
        sessions.push(world.open(OpenChat::by(ADA).proven()).await);
    }
    world.pass(Duration::from_mins(2)).await;
    world.change_user("u1", "plan = 'starter'").await;
    let marker = world.marker();
    world.sql(story.breaks).await;
    for session in &sessions {
        agent_looks(&mut world, session).await;
    }
    world.pass(Duration::from_mins(10)).await;
    let told = world.calls_since(marker).len();
    let left = story.lasts.saturating_sub(Duration::from_mins(10));
    for _ in 0..left.as_secs() / 600 {
        world.pass(Duration::from_mins(10)).await;
    }
    for session in &sessions {
        assert_eq!(world.data(session, "plan"), "pro", "what was known stays");
        assert_eq!(world.data(session, "context_state"), "stale");
        let row = world.work(WorkKind::Conversation, session).await;
        assert!(row.is_some_and(|row| row.is_pending()), "the work waits");
    }
    let gauge = format!("crisp_sync_breaker{{name=\"{}\"}}", story.breaker);
    assert!(world.metric(&gauge) > 0, "{gauge}");
    let all = world.calls_since(marker);
    // Chance decides which attempt marks. Where it is a second one, the next reads what became of the mark.
    let most = 3 * sessions.len();
    assert!(told <= most, "a read, a mark and a read each: {all:?}");
    // A write that may still land is looked at once more.
    assert!(all.len() <= told + 3, "{all:?}");
    world.sql(story.mends).await;
    world.pass(Duration::from_mins(12)).await;
    for session in &sessions {
        assert_shows(&world, session, "starter");
    }
    assert_eq!(world.metric(&gauge), 0, "{gauge}");
    world.finish().await;
}

#[tokio::test]
async fn two_hours_without_the_database_bury_nothing() {
    told(Story {
        breaks: "BEGIN EXCLUSIVE",
        mends: "COMMIT",
        breaker: "users",
        lasts: Duration::from_hours(2),
    })
    .await;
}

#[tokio::test]
async fn a_table_that_was_renamed_waits_for_its_name() {
    told(Story {
        breaks: "ALTER TABLE users RENAME TO people",
        mends: "ALTER TABLE people RENAME TO users",
        breaker: "users.query",
        lasts: Duration::from_mins(90),
    })
    .await;
}

#[tokio::test]
async fn a_column_that_was_renamed_waits_for_its_name() {
    told(Story {
        breaks: "ALTER TABLE users RENAME COLUMN status TO state",
        mends: "ALTER TABLE users RENAME COLUMN state TO status",
        breaker: "users.query",
        lasts: Duration::from_mins(90),
    })
    .await;
}

#[tokio::test]
async fn a_value_of_a_wrong_type_in_every_row_waits_for_a_right_one() {
    told(Story {
        breaks: "UPDATE users SET trial_ends_at = 'next week'",
        mends: "UPDATE users SET trial_ends_at = NULL",
        breaker: "definition",
        lasts: Duration::from_mins(90),
    })
    .await;
}

/// What is wrong with one row is that row's: it is buried, says which column it is, and nobody else is the worse for it.
#[tokio::test]
async fn a_value_of_a_wrong_type_in_one_row_is_buried_alone() {
    const BEN: &str = "ben@southwind.example";
    let (mut world, ada) = ada_chats(with_days_left).await;
    world.add_user("u2", BEN).await;
    let ben = world.open(OpenChat::by(BEN).proven()).await;
    world.pass(Duration::from_mins(2)).await;
    world
        .change_user("u2", "plan = 'starter', trial_ends_at = 'next week'")
        .await;
    agent_looks(&mut world, &ben).await;
    for turn in 0..30 {
        let plan = if turn % 2 == 0 { "starter" } else { "pro" };
        world.change_user("u1", &format!("plan = '{plan}'")).await;
        agent_looks(&mut world, &ada).await;
        world.pass(Duration::from_mins(3)).await;
        assert_eq!(world.data(&ada, "plan"), plan, "turn {turn}");
    }
    let dead = world.service.ledger.dead(10).await.expect("readable");
    let dead: Vec<_> = dead
        .iter()
        .map(|row| (row.key.as_str(), row.last_error.as_deref().unwrap_or("")))
        .collect();
    let keys: Vec<_> = dead.iter().map(|(key, _)| *key).collect();
    assert!(keys.contains(&ben.as_str()), "{dead:?}");
    assert!(!keys.contains(&ada.as_str()), "{dead:?}");
    for (_, error) in &dead {
        assert!(error.contains("trial_ends_at"), "{error}");
        assert!(!error.contains("next week"), "{error}");
    }
    world.change_user("u2", "trial_ends_at = NULL").await;
    agent_looks(&mut world, &ben).await;
    world.pass(Duration::from_mins(1)).await;
    assert_eq!(world.data(&ben, "plan"), "starter");
    world.abandon();
}

/// A query that takes too long is stopped, and counts like a database that is away.
#[tokio::test]
async fn a_slow_database_is_not_waited_for() {
    let mut world = World::with(|setup| {
        setup.impatient();
        setup.replace(
            "WHERE email = :email",
            "WHERE (SELECT count(*) FROM load a, load b, load c) >= 0 AND email = :email",
        );
    })
    .await;
    world.sql("CREATE TABLE load (n INTEGER)").await;
    world.add_user("u1", ADA).await;
    let session = world.open(OpenChat::by(ADA).proven()).await;
    world.pass(Duration::from_mins(2)).await;
    world.change_user("u1", "plan = 'starter'").await;
    world
        .sql("INSERT INTO load WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 3000) SELECT n FROM n")
        .await;
    agent_looks(&mut world, &session).await;
    world.pass(Duration::from_mins(30)).await;
    assert_eq!(world.data(&session, "plan"), "pro");
    assert_eq!(world.data(&session, "context_state"), "stale");
    assert!(world.metric("crisp_sync_lookups_total{outcome=\"timeout\"}") > 0);
    assert!(world.metric("crisp_sync_breaker{name=\"users\"}") > 0);
    world.sql("DELETE FROM load").await;
    world.pass(Duration::from_mins(12)).await;
    assert_shows(&world, &session, "starter");
    world.finish().await;
}

/// One look-up that fails is an accident: it is made again at once, and costs Crisp no call.
#[tokio::test]
async fn a_first_accident_costs_no_call_and_marks_nothing() {
    let (mut world, session) = ada_chats(Setup::impatient).await;
    world.change_user("u1", "plan = 'starter'").await;
    let marker = world.marker();
    world.database_goes_down().await;
    world.sandbox.operator_opens(&session).expect("there");
    world.settle().await;
    assert_eq!(world.calls_since(marker), [""; 0]);
    world.database_comes_back().await;
    world.pass(Duration::from_secs(5)).await;
    assert_shows(&world, &session, "starter");
    assert_eq!(
        world.calls_since(marker),
        [
            "conversation.get",
            "metas.update",
            "people_data.update",
            "profile.get",
            "profile.update"
        ]
    );
    world.finish().await;
}

/// Somebody signs up and opens a chat at once; the replica that we read is half a minute behind.
#[tokio::test]
async fn a_replica_that_lags_is_asked_again() {
    let mut world = World::start().await;
    let session = world.open(OpenChat::by(ADA).proven()).await;
    assert_eq!(world.data(&session, "plan"), "");
    world.pass(Duration::from_secs(30)).await;
    let marker = world.marker();
    world.add_user("u1", ADA).await;
    world.pass(Duration::from_secs(40)).await;
    assert_shows(&world, &session, "pro");
    assert!(
        world.calls_since(marker).len() <= 5,
        "{:?}",
        world.calls_since(marker)
    );
    world.finish().await;
}
