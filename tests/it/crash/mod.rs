//! The crash campaign: lifecycle events under everything that may happen at once, counted by Crisp's own books.
//!
//! A schedule is drawn from a seed: users sign up, change plans, cancel, come back, are corrected and move; people chat; the
//! app pushes the same events seconds apart, or an hour later; people do not want to be told, and do; rules wait, and get
//! other names; visitors forge entries; requests are dropped before and after they take effect, answered by failures, applied
//! late, refused, slow, cut; lists are cached and cut; the process is killed; the ledger is rolled back to a copy, of which
//! the service is told or not; commands work beside the service, a second process wants the same file, or has the same ledger
//! on a server; contacts are removed in Crisp and made again, or never made by us, people are erased and come back, the brake
//! holds until somebody decides, and a sweep finds whom nobody brings up. Then the weather clears, everything drains, and the
//! audit counts.
//!
//! What may never be: somebody told twice of one thing, by us or by the app and us; something that happened and is neither
//! told nor has a row that says why; a state that the schedule did not force, by what it did and when; an older thing told
//! after a newer; a copy that tells anything; what was not true when it left, or what something later had made untrue; two of
//! one event within the gap; more of one than the brake lets go, or any while it holds; a removed contact that we make again;
//! anything told to, shown of or known about somebody who was erased; anything told to somebody who does not want to be told;
//! an acknowledged webhook that the ledger does not have; and in the end a new event that does not get through.
//!
//! Most schedules are played [here], by a clock that is moved: the process "dies" when its work is dropped in the
//! middle. A share is played by the [spawned] binary and `kill -9`. `CRISP_SYNC_TEST_ROUNDS` says how many;
//! a failing one prints its seed and its acts, and `CRISP_SYNC_TEST_SEED` plays it alone, or is the first of so many rounds.

mod acts;
mod app;
mod audit;
mod beside;
mod death;
mod definition;
mod deliveries;
mod draw;
mod evidence;
mod excuses;
mod forgotten;
mod here;
mod limits;
mod lists;
mod orders;
mod passing;
mod play;
mod seen;
mod spawned;
mod stage;
mod subjects;
mod twists;
mod weather;

use std::{path::Path, time::Instant};

use futures_util::{StreamExt as _, stream};

use self::{
    acts::Act,
    audit::Count,
    definition::{definition, rules_here, rules_spawned, spawned_config},
    draw::drawn,
    here::Here,
    play::{Play, Rules},
    spawned::Spawned,
    stage::Stage,
};
use crate::{
    engines::servers::Server,
    soak::{caught, number},
};

/// Schedules in a usual run; `.ci/run` plays as many again, and more.
const SCHEDULES: u64 = 128;
/// Tests that share them, so that more than one core is busy.
const SHARES: u64 = 4;
/// One in so many has two processes on a server's ledger, where there is a server: such a one takes as long as fifty others.
const TWO_PROCESSES: u64 = 100;
/// One in so many is played by the spawned binary.
const SPAWNED: u64 = 20;
/// So many of those at a time: they mostly wait.
const AT_A_TIME: usize = 16;

/// The ledger's file is another one now.
fn put_in_place(copy: &Path, ledger: &Path, in_place: bool) {
    for suffix in ["-wal", "-shm"] {
        let mut beside = ledger.as_os_str().to_owned();
        beside.push(suffix);
        drop(std::fs::remove_file(beside));
    }
    if in_place {
        std::fs::copy(copy, ledger).expect("restored");
    } else {
        let other = ledger.with_extension("other");
        std::fs::copy(copy, &other).expect("restored");
        std::fs::rename(&other, ledger).expect("restored");
    }
}

async fn played<S: Stage>(stage: &mut S, rules: Rules, acts: &[Act]) -> Result<Count, String> {
    caught(Box::pin(async {
        let mut play = Play::begin(stage, rules).await;
        play.acts(acts).await;
        audit::whole(&play).await
    }))
    .await
}

async fn played_here(seed: u64) -> Result<Count, String> {
    let two = seed % TWO_PROCESSES == TWO_PROCESSES - 1 && Server::Postgres.url().is_some();
    crate::world::ledgers_on_a_server(two);
    let sweeps = rules_here(seed).sweeps;
    let mut stage = Here::begin(|setup| definition(setup, seed), two, sweeps).await;
    let result = played(&mut stage, rules_here(seed), &drawn(seed)).await;
    if result.is_ok() {
        stage.ends().await;
    } else {
        stage.abandon();
    }
    result
}

async fn played_spawned(seed: u64) -> Result<Count, String> {
    let rules = rules_spawned(seed);
    let mut stage = Spawned::begin(spawned_config(rules)).await;
    let result = played(&mut stage, rules, &drawn(seed)).await;
    if result.is_ok() {
        stage.ends().await;
    }
    result
}

/// Each that fails is told of, as soon as it has: of most no more is printed.
fn say(seed: u64, why: &str) {
    let first = why.lines().next().unwrap_or_default();
    eprintln!("crash campaign: schedule {seed} fails: {first}");
}

/// Says which schedules failed: how the first one did, and how to play each alone.
#[track_caller]
fn judge(what: &str, failed: &[(u64, String)]) {
    let Some((seed, why)) = failed.first() else {
        return;
    };
    let acts: Vec<String> = drawn(*seed).iter().map(|act| format!("{act:?}")).collect();
    let others: Vec<u64> = failed.iter().skip(1).map(|(seed, _)| *seed).collect();
    panic!(
        "schedule {seed} fails: {why}\nits acts:\n  {}\nplay it alone with CRISP_SYNC_TEST_SEED={seed} cargo test --test it crash::{what}\nothers that fail: {others:?}",
        acts.join("\n  ")
    )
}

/// The seeds of this run: the one that was asked for alone, or so many rounds from it on.
fn seeds(of: u64) -> std::ops::Range<u64> {
    let (first, rounds) = (
        number("CRISP_SYNC_TEST_SEED"),
        number("CRISP_SYNC_TEST_ROUNDS"),
    );
    let count = match (first, rounds) {
        (Some(_), None | Some(1)) => 1,
        (_, rounds) => rounds.unwrap_or(SCHEDULES) / of,
    };
    let first = first.unwrap_or(0);
    first..first + count
}

/// Plays every `SHARES`-th seed.
async fn explore(share: u64) {
    let began = Instant::now();
    let (mut count, mut all, mut failed) = (0, Count::default(), Vec::new());
    for seed in seeds(1).filter(|seed| seed % SHARES == share) {
        match Box::pin(played_here(seed)).await {
            Ok(counted) => all.add(counted),
            Err(why) => {
                say(seed, &why);
                failed.push((seed, why));
            }
        }
        count += 1;
    }
    eprintln!(
        "crash campaign: {count} schedules in {:?}: {all:?}",
        began.elapsed()
    );
    judge("here", &failed);
}

#[tokio::test]
async fn here_whatever_dies_nobody_is_told_twice_1() {
    explore(0).await;
}

#[tokio::test]
async fn here_whatever_dies_nobody_is_told_twice_2() {
    explore(1).await;
}

#[tokio::test]
async fn here_whatever_dies_nobody_is_told_twice_3() {
    explore(2).await;
}

#[tokio::test]
async fn here_whatever_dies_nobody_is_told_twice_4() {
    explore(3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn spawned_whatever_dies_nobody_is_told_twice() {
    let began = Instant::now();
    let played = stream::iter(seeds(SPAWNED))
        .map(|seed| async move { (seed, tokio::spawn(played_spawned(seed)).await) })
        .buffer_unordered(AT_A_TIME)
        .collect::<Vec<_>>()
        .await;
    let (count, mut all, mut failed) = (played.len(), Count::default(), Vec::new());
    for (seed, ended) in played {
        match ended.expect("its panic is caught") {
            Ok(counted) => all.add(counted),
            Err(why) => {
                say(seed, &why);
                failed.push((seed, why));
            }
        }
    }
    eprintln!(
        "crash campaign: {count} spawned schedules in {:?}: {all:?}",
        began.elapsed()
    );
    judge("spawned", &failed);
}
