//! What mails nobody by itself: switching events on, a change of the definition, a website more, and every way in which a
//! ledger is copied, restored, failed over or lost.

use std::time::Duration;

use crisp_sync::{
    ids::{UserKey, WebsiteId},
    ledger::OutboxFilter,
    lifecycle::OutboxState,
    sandbox::OpenChat,
    server::command::Operation,
};

use super::{
    ADA, arm, assert_stands, happens, minutes, outbox, perform, posts, refresh, refresh_of,
    unarmed, world,
};
use crate::world::{SECOND_WEBSITE, World};

/// Months in which nothing happens, but time passes.
async fn months(world: &mut World, months: u64) {
    world.clock.advance(Duration::from_hours(months * 30 * 24));
    world.service.worker.beat().await;
    world.settle().await;
}

/// How many rows the whole outbox has.
async fn rows(world: &World) -> usize {
    let all = OutboxFilter {
        limit: 1_000,
        ..OutboxFilter::default()
    };
    let listed = world.service.ledger.outbox_list(&all).await;
    listed.expect("a list").len()
}

/// Somebody says that the ledger belongs where it lies, and arms what is not armed.
async fn arm_here(world: &World) {
    let answer = perform(world, Operation::EventsArm { event: None }).await;
    assert!(answer.ok, "{answer:?}");
}

#[tokio::test]
async fn switching_it_on_mails_none_of_those_who_are_there_and_lists_none() {
    let mut world = unarmed(|_| {}).await;
    world
        .sql(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
             INSERT INTO users (id, email, name, tenant, plan, status, created_at, onboarded_at, subscribed_at, canceled_at)
             SELECT 'p' || i, 'p' || i || '@northwind.example', 'Pat', 'Northwind', 'pro', 'canceled',
                    '2026-03-02 08:00:00', '2026-03-02 08:30:00', '2026-03-02 08:31:00', '2026-03-02 08:59:59'
             FROM n",
        )
        .await;
    arm(&world).await;
    let some = [1, 2, 3, 4_999, 50_000, 77_777, 99_999, 100_000];
    for round in 0..3 {
        for number in some {
            refresh_of(&mut world, &format!("p{number}@northwind.example")).await;
        }
        minutes(&mut world, 61).await;
        assert_eq!(rows(&world).await, 0, "round {round}: nobody is listed");
    }
    assert_eq!(posts(&world), 0);
    let there = |number: u32| {
        let email = format!("p{number}@northwind.example");
        world.sandbox.look(|state| state.contact(&email).is_some())
    };
    assert!(!some.into_iter().any(there), "and nobody becomes a contact");
    world.finish().await;
}

#[tokio::test]
async fn a_rule_that_comes_in_month_six_starts_there() {
    let mut world = world(|_| {}).await;
    happens(&mut world, "created_at").await;
    refresh(&mut world).await;
    assert_eq!(posts(&world), 1);
    happens(&mut world, "trial_ends_at").await;
    months(&mut world, 6).await;
    world
        .change_user("u1", "trial_ends_at = '2026-08-29 08:00:00'")
        .await;
    world
        .restart(|setup| {
            setup.add(
                "[[lifecycle.event]]\nname = \"user:trial:ended\"\nat = \"trial_ends_at\"\nmax_age = \"30d\"\n\n\
                 [[lifecycle.event]]\nname = \"user:plan:changed\"\non_change = \"plan\"\nmax_age = \"30d\"\n",
            );
        })
        .await;
    refresh(&mut world).await;
    world.change_user("u1", "plan = 'team'").await;
    refresh(&mut world).await;
    assert_eq!(posts(&world), 1, "not armed");
    arm_new(&world).await;
    refresh(&mut world).await;
    minutes(&mut world, 61).await;
    refresh(&mut world).await;
    assert_eq!(posts(&world), 1, "what was before is over");
    world.change_user("u1", "plan = 'pro'").await;
    happens(&mut world, "trial_ends_at").await;
    refresh(&mut world).await;
    assert_eq!(posts(&world), 3);
    world.finish().await;
}

#[tokio::test]
async fn a_change_of_before_a_rule_was_armed_that_is_seen_after_it_waits_for_a_person() {
    let mut world = world(|_| {}).await;
    let rule = "[[lifecycle.event]]\nname = \"user:plan:changed\"\non_change = \"plan\"\n";
    world.restart(|setup| setup.add(rule)).await;
    refresh(&mut world).await;
    months(&mut world, 1).await;
    world.change_user("u1", "plan = 'team'").await;
    months(&mut world, 4).await;
    arm_new(&world).await;
    months(&mut world, 1).await;
    refresh(&mut world).await;
    assert_eq!(posts(&world), 0);
    assert_stands(
        &world,
        "user:plan:changed",
        OutboxState::Held,
        "changed_unseen",
    )
    .await;
    minutes(&mut world, 1).await;
    world.change_user("u1", "plan = 'pro'").await;
    refresh(&mut world).await;
    assert_eq!(posts(&world), 1, "the next one is told");
    world.finish().await;
}

#[tokio::test]
async fn a_map_that_says_another_word_for_the_same_value_is_no_change() {
    let rule =
        "[[lifecycle.event]]\nname = \"user:plan:changed\"\non_change = \"plan | map('plan')\"\n";
    let mut world = world(|setup| {
        setup.add(rule);
        setup.add("[maps.plan]\nstarter = \"Starter\"\npro = \"Pro\"\nteam = \"Team\"\n");
    })
    .await;
    refresh(&mut world).await;
    world
        .restart(|setup| setup.replace("\"Pro\"", "\"Professional\""))
        .await;
    refresh(&mut world).await;
    assert_eq!(posts(&world), 0, "what changed is the definition");
    world.change_user("u1", "plan = 'team'").await;
    refresh(&mut world).await;
    assert_eq!(posts(&world), 1);
    world.finish().await;
}

/// Arms what is not armed, as of now by the story's clock.
async fn arm_new(world: &World) {
    let ledger = &world.service.ledger;
    let armed = ledger.armings(&world.website).await.expect("readable");
    for rule in world.service.rule_names() {
        if armed.iter().all(|arming| arming.rule != rule) {
            let now = world.now();
            let done = ledger.arm(&world.website, &rule, now, now).await;
            done.expect("armed");
        }
    }
}

#[tokio::test]
async fn a_rule_that_is_renamed_repeats_nothing_whether_it_says_so_or_not() {
    for says_so in [true, false] {
        let mut world = world(|setup| {
            setup.replace("sender = \"sole\"", "sender = \"shared\"");
            setup.replace("at = \"subscribed_at\"", "on_change = \"plan\"");
        })
        .await;
        refresh(&mut world).await;
        happens(&mut world, "created_at").await;
        world.change_user("u1", "plan = 'team'").await;
        refresh(&mut world).await;
        minutes(&mut world, 15).await;
        assert_eq!(posts(&world), 2);
        // One more is under way when the names change.
        happens(&mut world, "onboarded_at").await;
        refresh(&mut world).await;
        world
            .restart(|setup| {
                for (from, to) in [
                    ("user:signup", "user:registered"),
                    ("user:subscription:started", "user:subscription:changed"),
                    ("user:onboarding:completed", "user:ready"),
                ] {
                    let renamed = if says_so {
                        format!("name = \"{to}\"\nrenamed_from = \"{from}\"")
                    } else {
                        format!("name = \"{to}\"")
                    };
                    setup.replace(&format!("name = \"{from}\""), &renamed);
                }
            })
            .await;
        refresh(&mut world).await;
        minutes(&mut world, 30).await;
        let expected = if says_so { 3 } else { 2 };
        assert_eq!(posts(&world), expected, "says so: {says_so}");
        if !says_so {
            let event = "user:onboarding:completed";
            assert_stands(&world, event, OutboxState::Superseded, "rule_removed").await;
            arm_new(&world).await;
            refresh(&mut world).await;
            minutes(&mut world, 30).await;
            assert_eq!(posts(&world), 2, "what was before is over");
        }
        // From here on both are told.
        world.change_user("u1", "plan = 'free'").await;
        world.clock.advance(Duration::from_hours(25));
        world.service.worker.beat().await;
        refresh(&mut world).await;
        minutes(&mut world, 30).await;
        assert_eq!(posts(&world), expected + 1, "says so: {says_so}");
        world.finish().await;
    }
}

#[tokio::test]
async fn a_website_that_is_added_starts_unarmed() {
    let mut world = world(|setup| setup.second_website = true).await;
    happens(&mut world, "created_at").await;
    refresh(&mut world).await;
    assert_eq!(posts(&world), 1);
    world
        .restart(|setup| {
            let both = format!("{},{SECOND_WEBSITE}", crisp_sync::sandbox::DEFAULT_WEBSITE);
            setup.set("CRISP_WEBSITES", both);
        })
        .await;
    let chat = OpenChat {
        website: Some(SECOND_WEBSITE.to_owned()),
        ..OpenChat::by(ADA).proven()
    };
    world.open(chat).await;
    while world.run_due().await {}
    refresh(&mut world).await;
    minutes(&mut world, 61).await;
    let second = WebsiteId::parse(SECOND_WEBSITE).expect("an id");
    let key = UserKey::parse("u1").expect("a key");
    let there = world.service.ledger.outbox(&second, &key).await;
    assert!(there.expect("readable").is_empty());
    assert_eq!(posts(&world), 1);
    // Armed, it starts from then on.
    let now = world.now();
    for rule in world.service.rule_names() {
        let done = world.service.ledger.arm(&second, &rule, now, now).await;
        done.expect("armed");
    }
    refresh(&mut world).await;
    assert_eq!(posts(&world), 1);
    world.finish().await;
}

/// The ledger, as it is now, is taken up somewhere else.
async fn copied_elsewhere(world: &mut World) {
    if world.is_on_postgres() {
        world
            .ledger_sql("UPDATE crisp_sync.meta SET value = 'elsewhere' WHERE key = 'place'")
            .await;
        world.restart(|_| {}).await;
        return;
    }
    let from = world.ledger_path();
    let to = from.with_file_name("staging.db");
    world
        .restart(|setup| {
            std::fs::copy(&from, &to).expect("copied");
            setup.set("CRISP_SYNC_LEDGER", to.display().to_string());
        })
        .await;
}

#[tokio::test]
async fn a_copy_of_production_tells_crisp_nothing_until_somebody_arms_it_there() {
    let mut world = world(|setup| {
        setup.replace("sender = \"sole\"", "sender = \"shared\"");
    })
    .await;
    happens(&mut world, "created_at").await;
    refresh(&mut world).await;
    // Within the grace, so that production and copy both owe it.
    copied_elsewhere(&mut world).await;
    minutes(&mut world, 1).await;
    happens(&mut world, "onboarded_at").await;
    refresh(&mut world).await;
    minutes(&mut world, 90).await;
    refresh(&mut world).await;
    assert_eq!(posts(&world), 0);
    let displaced = world.service.ledger.displaced_since().await;
    assert!(displaced.expect("readable").is_some());
    world.service.watch.look().await;
    let conditions = world.service.ledger.conditions().await.expect("readable");
    assert!(
        conditions.iter().any(|row| row.kind == "ledger_displaced"),
        "{conditions:?}"
    );
    // A restart does not make it belong there, and its chats are refreshed all the same.
    world.restart(|_| {}).await;
    world.open(OpenChat::by(ADA).proven()).await;
    while world.run_due().await {}
    assert_eq!(posts(&world), 0);
    assert_eq!(world.contact_data(ADA, "plan"), "pro");
    // Whoever tries one rule there does not let out all the others.
    let event = Some("user:signup".to_owned());
    let refused = perform(&world, Operation::EventsArm { event }).await;
    assert!(!refused.ok, "{refused:?}");
    minutes(&mut world, 70).await;
    assert_eq!(posts(&world), 0);
    // It was moved on purpose after all: what it owes goes now, once.
    arm_here(&world).await;
    minutes(&mut world, 70).await;
    assert_eq!(
        world.timeline(ADA),
        ["user:signup", "user:onboarding:completed"]
    );
    world.finish().await;
}

/// Ada's signup and plan were told, and the ledger that knew is not there any more.
async fn told() -> World {
    let mut world = world(|setup| {
        setup.replace("at = \"subscribed_at\"", "on_change = \"plan\"");
    })
    .await;
    refresh(&mut world).await;
    world.service.worker.beat().await;
    happens(&mut world, "created_at").await;
    world.change_user("u1", "plan = 'team'").await;
    world
}

#[tokio::test]
async fn a_ledger_that_is_lost_mails_nobody_and_its_successor_starts_anew() {
    let mut world = told().await;
    refresh(&mut world).await;
    assert_eq!(posts(&world), 2);
    if world.is_on_postgres() {
        world.ledger_sql("DROP SCHEMA crisp_sync CASCADE").await;
        world.restart(|_| {}).await;
    } else {
        let ledger = world.ledger_path();
        world
            .restart(|_| {
                for suffix in ["", "-wal", "-shm"] {
                    let mut file = ledger.clone().into_os_string();
                    file.push(suffix);
                    drop(std::fs::remove_file(file));
                }
            })
            .await;
    }
    for _ in 0..2 {
        refresh(&mut world).await;
        minutes(&mut world, 61).await;
        assert_eq!((posts(&world), rows(&world).await), (2, 0));
        arm_new(&world).await;
    }
    happens(&mut world, "onboarded_at").await;
    refresh(&mut world).await;
    assert_eq!(posts(&world), 3);
    world.finish().await;
}

/// The standby lacks what was committed last, though Crisp has it already.
#[tokio::test]
async fn a_standby_that_lacks_the_last_commits_repeats_nothing() {
    let mut world = told().await;
    if !world.is_on_postgres() {
        // A file has no standby: this is the story of a server's ledger, told below.
        world.abandon();
        return;
    }
    world.settle().await;
    world
        .ledger_sql("CREATE TABLE crisp_sync.kept AS SELECT * FROM crisp_sync.persons")
        .await;
    refresh(&mut world).await;
    assert_eq!(posts(&world), 2);
    for statement in [
        "DELETE FROM crisp_sync.outbox",
        "DELETE FROM crisp_sync.high_water",
        "DELETE FROM crisp_sync.persons",
        "INSERT INTO crisp_sync.persons SELECT * FROM crisp_sync.kept",
        "DROP TABLE crisp_sync.kept",
        "UPDATE crisp_sync.meta SET value = '0' WHERE key = 'timeline'",
    ] {
        world.ledger_sql(statement).await;
    }
    refresh(&mut world).await;
    minutes(&mut world, 61).await;
    assert_eq!(posts(&world), 2);
    for row in outbox(&world).await {
        assert_eq!(row.state, OutboxState::Sent, "{row:?}");
    }
    assert_eq!(outbox(&world).await.len(), 2, "both are known again");
    world.finish().await;
}

crate::world::also_on_postgres! {
    switching_it_on_mails_none_of_those_who_are_there_and_lists_none,
    a_rule_that_comes_in_month_six_starts_there,
    a_rule_that_is_renamed_repeats_nothing_whether_it_says_so_or_not,
    a_website_that_is_added_starts_unarmed,
    a_copy_of_production_tells_crisp_nothing_until_somebody_arms_it_there,
    a_ledger_that_is_lost_mails_nobody_and_its_successor_starts_anew,
    a_standby_that_lacks_the_last_commits_repeats_nothing,
}
