//! The sweep: whom no conversation brings up is found all the same, once, and costs what changed.
//!
//! The app's database tells its own time, which is the real one; everybody else lives months earlier. So each of these
//! stories is one in which the clocks differ, and `changed_at` is always written by the database.

mod events;
mod everybody;
mod faults;
mod million;
mod pages;

use std::time::Duration;

use crisp_sync::{
    ids::UserKey,
    ledger::{Lane, OutboxRow, Sweeping, WorkKind},
};

use crate::world::{Setup, World};

const ADA: &str = "ada@northwind.example";

const EVERY: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// The sweep's query, two events, and pages so small that a few people are many pages.
const SWEEP: &str = r#"
[lifecycle]
sender = "sole"
query = """
  SELECT id, email, changed_at AS at FROM users
  WHERE (changed_at, id) > (:since, :after) AND changed_at < :until
  ORDER BY changed_at, id LIMIT :limit
"""

[lifecycle.sweep]
every = "1h"
page = 3

[[lifecycle.event]]
name = "user:subscription:canceled"
at = "canceled_at"
when = "status == 'canceled'"
color = "orange"

[[lifecycle.event]]
name = "user:subscription:churned"
at = "ends_at"
color = "red"
"#;

/// A world with the sweep's query, armed since its beginning.
async fn world(change: impl FnOnce(&mut Setup)) -> World {
    let world = unarmed(change).await;
    for rule in world.service.rule_names() {
        let ledger = &world.service.ledger;
        let (website, now) = (&world.website, world.now());
        ledger.arm(website, &rule, now, now).await.expect("armed");
    }
    world
}

async fn unarmed(change: impl FnOnce(&mut Setup)) -> World {
    let mut world = World::with(|setup| {
        setup.replace("canceled_at, marketing_opt_in", "canceled_at, ends_at");
        setup.add(SWEEP);
        change(setup);
    })
    .await;
    for column in ["ends_at DATETIME", "changed_at TEXT"] {
        world
            .sql(&format!("ALTER TABLE users ADD COLUMN {column}"))
            .await;
    }
    world
}

/// What a start does beside listening; then the looks that are due, and what follows from them.
async fn sweep(world: &mut World) {
    world.service.begin_sweeps().await.expect("enqueued");
    world.settle().await;
}

/// The next look for what is new.
async fn next_look(world: &mut World) {
    world.pass(EVERY).await;
}

/// Somebody's row is touched, so many minutes ago. To the millisecond: a story that is told within a second has to show two
/// changes as two.
async fn touched(world: &mut World, user: &str, minutes_ago: u32) {
    let changed = format!(
        "changed_at = strftime('%Y-%m-%d %H:%M:%f', 'now', '-{minutes_ago} minutes', '-5 seconds')"
    );
    world.change_user(user, &changed).await;
}

/// So many people sign up in one instant of a migration: `p000`, `p001`, …
async fn people(world: &mut World, count: usize) {
    for number in 0..count {
        let user = format!("p{number:03}");
        world.add_user(&user, &address(number)).await;
    }
    world
        .sql("UPDATE users SET changed_at = datetime('now', '-1 minutes') WHERE id LIKE 'p%'")
        .await;
}

fn address(number: usize) -> String {
    format!("p{number:03}@northwind.example")
}

/// The app's own word for now, as everybody but its database has it.
fn sql_now(world: &World, after: Duration) -> String {
    (world.now() + after)
        .strftime("%Y-%m-%d %H:%M:%S")
        .to_string()
}

/// Somebody cancels: the row says when, and is touched.
async fn cancels(world: &mut World, user: &str) {
    let now = sql_now(world, Duration::ZERO);
    world
        .change_user(user, &format!("status = 'canceled', canceled_at = '{now}'"))
        .await;
    touched(world, user, 0).await;
}

async fn lane(world: &World, lane: Lane) -> Sweeping {
    let sweeps = world.service.ledger.sweeps().await.expect("readable");
    let found = sweeps.into_iter().find(|one| one.lane == lane);
    found.expect("it has begun")
}

async fn outbox(world: &World, user: &str) -> Vec<OutboxRow> {
    let key = UserKey::parse(user).expect("a key");
    let ledger = &world.service.ledger;
    ledger.outbox(&world.website, &key).await.expect("readable")
}

async fn is_known(world: &World, user: &str) -> bool {
    let row = world.work(WorkKind::Person, user).await;
    row.is_some_and(|row| !row.is_pending() && row.done_at.is_some())
}

fn count(calls: &[&'static str], name: &str) -> usize {
    calls.iter().filter(|call| **call == name).count()
}
