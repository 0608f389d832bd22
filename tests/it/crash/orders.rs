//! What is typed beside the service, as the service takes it and as a person types it.

use std::path::Path;

use crisp_sync::server::{
    command::{Chosen, Operation},
    desk::Whom,
};
use serde_json::Value as Json;

use super::acts::{Decision, Order};

fn keep(receipts: &Json, at: &Path) {
    std::fs::write(at, receipts.to_string()).expect("a file");
}

/// The order as the service takes it. Receipts that are replayed are kept at a path.
pub(super) fn operation(order: Order, receipts_at: &Path) -> Operation {
    let held = |over_cap| Chosen {
        state: Some("held".to_owned()),
        limit: 1_000,
        confirmed: true,
        over_cap,
        ..Chosen::default()
    };
    match order {
        Order::Decide(Decision::Release) => Operation::EventsRelease(held(false)),
        Order::Decide(Decision::ReleaseOverCap) => Operation::EventsRelease(held(true)),
        Order::Decide(Decision::Drop) => Operation::EventsDrop(held(false)),
        Order::Erase(email) => Operation::Erase {
            whom: Whom {
                email: Some(email),
                ..Whom::default()
            },
        },
        Order::Lift(key) => Operation::EraseLift {
            whom: Whom {
                user_key: Some(key),
                ..Whom::default()
            },
        },
        Order::Receipts => Operation::EraseList,
        Order::Replay(receipts) => {
            keep(&receipts, receipts_at);
            Operation::EraseReplay {
                from: receipts_at.to_owned(),
            }
        }
    }
}

/// The order as a person types it.
pub(super) fn arguments(order: Order, receipts_at: &Path) -> Vec<String> {
    let words =
        |words: &[&str]| -> Vec<String> { words.iter().map(|word| (*word).to_owned()).collect() };
    match order {
        Order::Decide(how) => {
            let mut typed = words(&["events", "release", "--state", "held", "--yes", "--json"]);
            match how {
                Decision::Release => {}
                Decision::ReleaseOverCap => typed.push("--over-cap".to_owned()),
                Decision::Drop => "drop".clone_into(&mut typed[1]),
            }
            typed
        }
        Order::Erase(email) => words(&["erase", "--email", &email, "--json"]),
        Order::Lift(key) => words(&["erase", "--user", &key, "--lift", "--json"]),
        Order::Receipts => words(&["erase", "--list", "--json"]),
        Order::Replay(receipts) => {
            keep(&receipts, receipts_at);
            let at = receipts_at.to_string_lossy();
            words(&["erase", "--replay", &at, "--json"])
        }
    }
}
