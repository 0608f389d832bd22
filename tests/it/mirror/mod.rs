//! The mirror under every order of events: agents, visitors, echoes, late and lost webhooks, zombie workers, faults.
//!
//! A schedule is a list of steps drawn from a seed, played over the whole service and a stand-in for Crisp. Books are kept
//! beside it, of what agents and visitors typed and of what each attempt read before it wrote. In the end the dust
//! settles, and what Crisp shows is compared with the definition and with the books.
//!
//! A failing schedule is shrunk and printed with its seed; `CRISP_SYNC_TEST_SEED=<seed>` plays that one alone, and
//! `CRISP_SYNC_TEST_SCHEDULES=<number>` plays more of them than the usual few hundred.

mod books;
mod contacts;
mod courier;
mod play;
mod schedule;

use proptest::strategy::ValueTree as _;

use self::{play::Play, schedule::Step};
use crate::{
    soak::{caught, number},
    world::{World, wants_postgres},
};

/// Schedules in a usual run.
const SCHEDULES: u64 = 240;
/// As many where each statement is a message to a server.
const ON_POSTGRES: u64 = 30;
/// Tests that share them, so that more than one core is busy.
const SHARES: u64 = 3;
/// Schedules that are played in one world, one after the other, each with a conversation of its own.
const TOGETHER: u64 = 10;
/// How often a failing schedule is played again to make it smaller.
const SHRINKING: u32 = 300;

/// A world in which verified conversations are usual, a name is retired, and Crisp's webhooks wait for a courier.
async fn world() -> World {
    let mut world = World::with(|setup| {
        setup.impatient();
        setup.add("[worker]\nbackoff_min = \"1s\"\nbackoff_max = \"2s\"");
        setup.replace(
            "plan = \"{{ plan }}\"\n",
            "plan = \"{{ plan }}\"\nlegacy = \"{{ plan }}\"\n",
        );
    })
    .await;
    world
        .restart(|setup| setup.replace("legacy = \"{{ plan }}\"\n", ""))
        .await;
    world.add_user("zoe", "zoe@eastwind.example").await;
    let proven = crisp_sync::sandbox::OpenChat::by("zoe@eastwind.example").proven();
    world.open(proven).await;
    world.sandbox.set_webhook(None);
    world
}

async fn played(world: &mut World, name: &str, steps: &[Step]) -> Result<(), String> {
    caught(async { Play::begin(world, name).await.play(steps).await }).await
}

/// Plays it in a world of its own.
async fn played_alone(name: &str, steps: &[Step]) -> Result<(), String> {
    let mut world = world().await;
    let result = played(&mut world, name, steps).await;
    if result.is_ok() {
        world.finish().await;
    } else {
        world.abandon();
    }
    result
}

/// Finds the smallest schedule that still fails, and says everything about it.
async fn shrunk(seed: u64, first: String) -> String {
    let mut tree = schedule::tree(seed);
    let mut failure = first;
    let mut smallest = tree.current();
    let mut moved = tree.simplify();
    for _ in 0..SHRINKING {
        if !moved {
            break;
        }
        let steps = tree.current();
        moved = match played_alone(&format!("shrunk{seed}"), &steps).await {
            Err(why) => {
                failure = why;
                smallest = steps;
                tree.simplify()
            }
            Ok(()) => tree.complicate(),
        };
    }
    format!(
        "schedule {seed} fails: {failure}\nthe smallest that does: {smallest:#?}\n\
         play it alone with CRISP_SYNC_TEST_SEED={seed}"
    )
}

/// Plays every `SHARES`-th batch of seeds.
async fn explore(share: u64) {
    if let Some(seed) = number("CRISP_SYNC_TEST_SEED") {
        if share == 0
            && let Err(why) = played_alone("alone", &schedule::tree(seed).current()).await
        {
            panic!("{}", shrunk(seed, why).await);
        }
        return;
    }
    let usual = if wants_postgres() {
        ON_POSTGRES
    } else {
        SCHEDULES
    };
    let schedules = number("CRISP_SYNC_TEST_SCHEDULES").unwrap_or(usual);
    let batches = (0..schedules.div_ceil(TOGETHER)).filter(|batch| batch % SHARES == share);
    for batch in batches {
        let mut world = world().await;
        for seed in batch * TOGETHER..schedules.min((batch + 1) * TOGETHER) {
            let steps = schedule::tree(seed).current();
            if let Err(why) = played(&mut world, &format!("s{seed}"), &steps).await {
                world.abandon();
                panic!("{}", shrunk(seed, why).await);
            }
        }
        world.finish().await;
    }
}

#[tokio::test]
async fn whatever_the_order_nothing_is_lost_and_everything_converges_1() {
    explore(0).await;
}

#[tokio::test]
async fn whatever_the_order_nothing_is_lost_and_everything_converges_2() {
    explore(1).await;
}

#[tokio::test]
async fn whatever_the_order_nothing_is_lost_and_everything_converges_3() {
    explore(2).await;
}

crate::world::also_on_postgres! {
    whatever_the_order_nothing_is_lost_and_everything_converges_1,
    whatever_the_order_nothing_is_lost_and_everything_converges_2,
    whatever_the_order_nothing_is_lost_and_everything_converges_3,
}
