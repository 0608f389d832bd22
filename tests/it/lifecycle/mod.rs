//! Lifecycle events over the real service: once, in time, for the right person, and never twice.

mod addresses;
mod brake;
mod contacts;
mod crashes;
mod early;
mod guards;
pub(crate) mod kit;
mod moved;
mod nobody;
mod owed;
mod pages;
mod paper;
mod promoted;
mod rechecks;
mod recipes;
mod refusals;
mod restored;
mod shared;
mod told;
mod unclear;

use std::time::Duration;

use crisp_sync::{
    ids::UserKey,
    ledger::OutboxRow,
    lifecycle::OutboxState,
    sandbox::{Author, TimelineEvent},
    server::command::{Answer, Operation},
};
use serde_json::{Map, Value as Json};

use crate::world::{Setup, World};

/// Whom the stories are about.
const ADA: &str = "ada@northwind.example";

/// The six events of the source documents.
const RULES: &str = r#"
[lifecycle]
sender = "sole"
require = "marketing_opt_in"
exclude = "ends_with(email, '@acme.example')"

[[lifecycle.event]]
name = "user:signup"
at = "created_at"
color = "green"
data = { tenant_name = "{{ tenant }}" }

[[lifecycle.event]]
name = "user:subscription:started"
at = "subscribed_at"
group = "subscription"
color = "green"
data = { plan = "{{ plan }}" }

[[lifecycle.event]]
name = "user:subscription:canceled"
at = "canceled_at"
when = "status == 'canceled' or status == 'ended'"
group = "subscription"
color = "orange"

[[lifecycle.event]]
name = "user:subscription:churned"
at = "ends_at"
when = "status == 'ended'"
group = "subscription"
color = "red"

[[lifecycle.event]]
name = "user:onboarding:completed"
at = "onboarded_at"
color = "green"

[[lifecycle.event]]
name = "user:import:completed"
query = "SELECT id, file, finished_at FROM imports WHERE user_id = :key AND finished_at >= :since ORDER BY finished_at, id"
at = "event.finished_at"
id = "event.id"
color = "green"
data = { file = "{{ event.file }}" }
"#;

/// A world with the rules, armed since its beginning, and Ada, of whom Crisp has a contact for longer than clocks lie apart.
async fn world(change: impl FnOnce(&mut Setup)) -> World {
    const OLDER: Duration = Duration::from_mins(3);
    let world = unarmed(change).await;
    arm(&world).await;
    world.clock.set_back(OLDER);
    world.sandbox.create_contact(ADA, "Ada");
    world.clock.advance(OLDER);
    world.hooks_arrive().await;
    world
}

async fn unarmed(change: impl FnOnce(&mut Setup)) -> World {
    let mut world = World::with(|setup| {
        setup.replace(
            "canceled_at, marketing_opt_in",
            "canceled_at, ends_at, created_at, marketing_opt_in",
        );
        setup.add(RULES);
        change(setup);
    })
    .await;
    world
        .sql("ALTER TABLE users ADD COLUMN ends_at DATETIME")
        .await;
    world
        .sql("CREATE TABLE imports (id INTEGER PRIMARY KEY, user_id TEXT, file TEXT, finished_at DATETIME)")
        .await;
    world.add_user("u1", ADA).await;
    world
}

async fn arm(world: &World) {
    for rule in world.service.rule_names() {
        world
            .service
            .ledger
            .arm(&world.website, &rule, world.now(), world.now())
            .await
            .expect("armed");
    }
}

async fn perform(world: &World, operation: Operation) -> Answer {
    world.service.perform(operation).await
}

/// Somebody asks for Ada's refresh; what follows from it at once is done.
async fn refresh(world: &mut World) {
    refresh_of(world, ADA).await;
}

async fn refresh_of(world: &mut World, email: &str) {
    let email = email.to_owned();
    perform(world, Operation::ReconcileEmail { email }).await;
    world.settle().await;
}

/// The app notes an instant of Ada's, now.
async fn happens(world: &mut World, column: &str) {
    let now = sql_now(world);
    world
        .change_user("u1", &format!("{column} = '{now}'"))
        .await;
}

fn sql_now(world: &World) -> String {
    world.now().strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// The minutes pass, and what falls due is worked.
async fn minutes(world: &mut World, minutes: u64) {
    world.pass(Duration::from_mins(minutes)).await;
}

async fn outbox(world: &World) -> Vec<OutboxRow> {
    outbox_of(world, "u1").await
}

async fn outbox_of(world: &World, user: &str) -> Vec<OutboxRow> {
    let key = UserKey::parse(user).expect("a key");
    world
        .service
        .ledger
        .outbox(&world.website, &key)
        .await
        .expect("readable")
}

/// The one row of an event: its state and why.
async fn stands(world: &World, event: &str) -> (OutboxState, String) {
    let mut rows = outbox(world).await;
    rows.retain(|row| row.event == event);
    assert_eq!(rows.len(), 1, "one row of `{event}`: {rows:#?}");
    let row = rows.remove(0);
    (row.state, row.reason)
}

async fn assert_stands(world: &World, event: &str, state: OutboxState, reason: &str) {
    assert_eq!(stands(world, event).await, (state, reason.to_owned()));
}

/// The app itself puts an event on Ada's timeline.
fn app_pushes(world: &World, text: &str) {
    let event = TimelineEvent {
        text: text.to_owned(),
        data: Map::<String, Json>::new(),
        color: None,
        timestamp: world.now().as_millisecond(),
        author: Author::Agent,
    };
    world.sandbox.add_event(ADA, event).expect("a contact");
}

/// The requests that put something on a timeline.
fn posts(world: &World) -> usize {
    world
        .calls_since(0)
        .into_iter()
        .filter(|name| *name == "people_event.add")
        .count()
}
