//! The recipes of `fixtures/recipes`: the whole life of a subscription, as the billing libraries of two frameworks keep it.
//! Neither notes when somebody canceled or changed their plan. The sweep finds what the library writes; its database tells the
//! real time, and everybody else lives months earlier.

use std::time::Duration;

use super::{ADA, arm, minutes, refresh, sql_now};
use crate::world::World;

/// How a library keeps a subscription.
struct Library {
    recipe: &'static str,
    tables: &'static [&'static str],
    subscriptions: &'static str,
    /// The columns for what the processor calls state and plan.
    status: &'static str,
    price: &'static str,
    /// What `INSERT` needs besides.
    owner: (&'static str, &'static str),
}

const CASHIER: Library = Library {
    recipe: include_str!("../../../fixtures/recipes/laravel-cashier.toml"),
    tables: &[
        "CREATE TABLE subscriptions (id INTEGER PRIMARY KEY, user_id TEXT NOT NULL, type TEXT NOT NULL, stripe_id TEXT, \
         stripe_status TEXT NOT NULL, stripe_price TEXT, quantity INTEGER, trial_ends_at DATETIME, ends_at DATETIME, \
         created_at DATETIME, updated_at DATETIME)",
    ],
    subscriptions: "subscriptions",
    status: "stripe_status",
    price: "stripe_price",
    owner: ("user_id, type", "'u1', 'default'"),
};

const PAY: Library = Library {
    recipe: include_str!("../../../fixtures/recipes/rails-pay.toml"),
    tables: &[
        "CREATE TABLE pay_customers (id INTEGER PRIMARY KEY, owner_type TEXT, owner_id TEXT, processor TEXT, \
         processor_id TEXT, \"default\" BOOLEAN)",
        "CREATE TABLE pay_subscriptions (id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL, name TEXT NOT NULL, \
         processor_id TEXT, processor_plan TEXT NOT NULL, quantity INTEGER, status TEXT NOT NULL, \
         current_period_start DATETIME, current_period_end DATETIME, trial_ends_at DATETIME, ends_at DATETIME, \
         created_at DATETIME, updated_at DATETIME)",
        "INSERT INTO pay_customers VALUES (1, 'User', 'u1', 'stripe', 'cus_1', 1)",
    ],
    subscriptions: "pay_subscriptions",
    status: "status",
    price: "processor_plan",
    owner: ("customer_id, name", "1, 'default'"),
};

/// An app with the library, and Ada, who has an account and a contact.
async fn app(library: &Library) -> World {
    let mut world = World::with(|setup| {
        setup.definition = format!(
            "{}\n[server]\nworkers = 1\n\n[users.cache]\nfound = \"0s\"\nnot_found = \"0s\"\n\n[lifecycle.sweep]\nevery = \"30m\"\n",
            library.recipe
        );
        setup.replace("mode = \"observe\"", "mode = \"live\"");
    })
    .await;
    for table in library.tables {
        world.sql(table).await;
    }
    let advice = world.service.users.inspect().await;
    assert!(advice.is_empty(), "`check` would say: {advice:?}");
    arm(&world).await;
    world.sandbox.create_contact(ADA, "Ada");
    world.hooks_arrive().await;
    minutes(&mut world, 1).await;
    world.add_user("u1", ADA).await;
    let now = sql_now(&world);
    world
        .change_user("u1", &format!("created_at = '{now}'"))
        .await;
    world.service.begin_sweeps().await.expect("enqueued");
    world.settle().await;
    world
}

/// When the library touched a row, by the database's clock: a row that changed within seconds is read again.
const TOUCHED: &str = "strftime('%Y-%m-%d %H:%M:%f', 'now', '-6 seconds')";

/// The next look of the sweep, and what follows from it.
async fn looked_at(world: &mut World) {
    minutes(world, 31).await;
}

/// What the library's own code writes.
async fn writes(world: &mut World, library: &Library, assignments: &str) {
    let assignments = assignments
        .replace("{status}", library.status)
        .replace("{price}", library.price);
    let table = library.subscriptions;
    world
        .sql(&format!(
            "UPDATE {table} SET {assignments}, updated_at = {TOUCHED}"
        ))
        .await;
    looked_at(world).await;
}

async fn subscribes(world: &mut World, library: &Library, trial: Duration) {
    let (now, ends) = (sql_now(world), sql_in(world, trial));
    let Library {
        subscriptions,
        status,
        price,
        owner: (columns, values),
        ..
    } = library;
    world
        .sql(&format!(
            "INSERT INTO {subscriptions} ({columns}, {status}, {price}, trial_ends_at, created_at, updated_at) \
             VALUES ({values}, 'trialing', 'price_pro', '{ends}', '{now}', {TOUCHED})"
        ))
        .await;
    looked_at(world).await;
}

fn sql_in(world: &World, time: Duration) -> String {
    (world.now() + time)
        .strftime("%Y-%m-%d %H:%M:%S")
        .to_string()
}

const DAY: Duration = Duration::from_hours(24);

async fn days(world: &mut World, days: u64) {
    for _ in 0..days {
        minutes(world, 24 * 60).await;
    }
}

/// The events of Ada's timeline since the last time, with the plan where one is told.
fn news(world: &World, seen: &mut usize) -> Vec<String> {
    let events = world.contact(ADA).events;
    let news = events[*seen..].iter().map(|event| {
        let plan = event.data.get("plan").and_then(|plan| plan.as_str());
        plan.map_or_else(
            || event.text.clone(),
            |plan| format!("{} {plan}", event.text),
        )
    });
    let news = news.collect();
    *seen = events.len();
    news
}

async fn whole_life(library: &Library) {
    let mut world = app(library).await;
    let seen = &mut 0;
    refresh(&mut world).await;
    minutes(&mut world, 15).await;
    assert_eq!(news(&world, seen), ["user:signup"]);

    subscribes(&mut world, library, 2 * DAY).await;
    minutes(&mut world, 15).await;
    assert_eq!(news(&world, seen), ["user:trial:started"]);

    // The end of the trial comes by itself; the processor says what follows from it.
    days(&mut world, 2).await;
    assert_eq!(news(&world, seen), ["user:trial:ended"]);
    writes(&mut world, library, "{status} = 'active'").await;
    minutes(&mut world, 15).await;
    assert_eq!(news(&world, seen), ["user:subscription:started pro"]);

    // Another plan, and a payment that fails and is made good.
    days(&mut world, 3).await;
    writes(&mut world, library, "{price} = 'price_team'").await;
    minutes(&mut world, 15).await;
    assert_eq!(news(&world, seen), ["user:subscription:started team"]);
    days(&mut world, 3).await;
    for status in ["past_due", "active"] {
        writes(&mut world, library, &format!("{{status}} = '{status}'")).await;
        minutes(&mut world, 90).await;
    }
    assert!(news(&world, seen).is_empty());

    // Canceled to the end of the period, and resumed within the hour: no goodbye, and no welcome.
    let end = sql_in(&world, 20 * DAY);
    writes(&mut world, library, &format!("ends_at = '{end}'")).await;
    minutes(&mut world, 10).await;
    writes(&mut world, library, "ends_at = NULL").await;
    days(&mut world, 1).await;
    refresh(&mut world).await;
    assert!(news(&world, seen).is_empty());

    // Canceled for good.
    let end = sql_in(&world, 5 * DAY);
    writes(&mut world, library, &format!("ends_at = '{end}'")).await;
    minutes(&mut world, 80).await;
    assert_eq!(news(&world, seen), ["user:subscription:canceled team"]);
    days(&mut world, 5).await;
    assert_eq!(news(&world, seen), ["user:subscription:ended team"]);
    writes(&mut world, library, "{status} = 'canceled'").await;
    days(&mut world, 9).await;
    assert!(news(&world, seen).is_empty());
    days(&mut world, 2).await;
    assert_eq!(news(&world, seen), ["user:subscription:win-back"]);
    days(&mut world, 30).await;
    refresh(&mut world).await;
    assert!(news(&world, seen).is_empty());
    world.finish().await;
}

#[tokio::test]
async fn cashier_plays_the_whole_life_of_a_subscription() {
    whole_life(&CASHIER).await;
}

#[tokio::test]
async fn pay_plays_the_whole_life_of_a_subscription() {
    whole_life(&PAY).await;
}

/// `cancelNow()` and `cancel_now!`: the end, and no cancellation after it. Whoever comes back is not won back.
#[tokio::test]
async fn who_ends_at_once_is_told_the_end_alone() {
    for library in [&CASHIER, &PAY] {
        let mut world = app(library).await;
        subscribes(&mut world, library, DAY).await;
        days(&mut world, 2).await;
        writes(&mut world, library, "{status} = 'active'").await;
        days(&mut world, 2).await;
        let seen = &mut world.contact(ADA).events.len();
        let now = sql_now(&world);
        minutes(&mut world, 1).await;
        let ended = format!("ends_at = '{now}', {{status}} = 'canceled'");
        writes(&mut world, library, &ended).await;
        days(&mut world, 1).await;
        assert_eq!(news(&world, seen), ["user:subscription:ended pro"]);
        // Eight days later a new subscription.
        days(&mut world, 7).await;
        let again = "ends_at = NULL, {status} = 'active'";
        writes(&mut world, library, again).await;
        days(&mut world, 4).await;
        refresh(&mut world).await;
        assert_eq!(news(&world, seen), ["user:subscription:started pro"]);
        world.finish().await;
    }
}

/// They sign up and pay within the minutes between two looks.
#[tokio::test]
async fn who_pays_before_anybody_looked_is_told_of_the_first_plan() {
    for library in [&CASHIER, &PAY] {
        let mut world = app(library).await;
        let now = sql_now(&world);
        let Library {
            subscriptions,
            status,
            price,
            owner: (columns, values),
            ..
        } = library;
        world
            .sql(&format!(
                "INSERT INTO {subscriptions} ({columns}, {status}, {price}, created_at, updated_at) \
                 VALUES ({values}, 'active', 'price_pro', '{now}', {TOUCHED})"
            ))
            .await;
        looked_at(&mut world).await;
        let told = ["user:signup", "user:subscription:started pro"];
        assert_eq!(news(&world, &mut 0), told);
        days(&mut world, 2).await;
        refresh(&mut world).await;
        assert_eq!(news(&world, &mut 0), told, "once");
        world.finish().await;
    }
}

crate::world::also_on_postgres! {
    who_pays_before_anybody_looked_is_told_of_the_first_plan,
    cashier_plays_the_whole_life_of_a_subscription,
    pay_plays_the_whole_life_of_a_subscription,
    who_ends_at_once_is_told_the_end_alone,
}
