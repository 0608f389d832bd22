//! Looking through the outbox, and deciding about what waits there.

use crisp_sync::{
    lifecycle::OutboxState,
    server::command::{Chosen, Listed, Operation},
};
use serde_json::{Value as Json, json};

use super::super::{
    arm, happens, outbox_of, perform, refresh, refresh_of, sql_now, unarmed, world,
};
use crate::world::World;

/// Three people whose events wait for a contact.
async fn three_parked() -> World {
    let mut world = world(|setup| {
        setup.replace(
            "sender = \"sole\"",
            "sender = \"sole\"\ncreate_contacts = false",
        );
    })
    .await;
    let now = sql_now(&world);
    for number in 0..3 {
        let id = format!("m{number}");
        let email = format!("{id}@northwind.example");
        world.add_user(&id, &email).await;
        world
            .change_user(&id, &format!("created_at = '{now}'"))
            .await;
        refresh_of(&mut world, &email).await;
    }
    world
}

/// What is listed.
async fn rows(world: &World, listed: Listed) -> Vec<Json> {
    let answer = perform(world, Operation::EventsList(listed)).await;
    assert!(answer.ok, "{answer:?}");
    answer.json.as_array().expect("rows").clone()
}

fn all() -> Listed {
    Listed {
        limit: 50,
        ..Listed::default()
    }
}

#[tokio::test]
async fn the_outbox_is_listed_by_what_one_knows() {
    let world = three_parked().await;
    let parked = rows(
        &world,
        Listed {
            states: vec!["held".to_owned(), "parked".to_owned()],
            ..all()
        },
    )
    .await;
    assert_eq!(parked.len(), 3);
    assert_eq!(parked[0]["reason"], "no_contact");
    for (listed, expected) in [
        (
            Listed {
                states: vec!["sent".to_owned()],
                ..all()
            },
            0,
        ),
        (
            Listed {
                since: Some(world.now()),
                ..all()
            },
            3,
        ),
        (
            Listed {
                until: Some(world.now()),
                ..all()
            },
            0,
        ),
        (
            Listed {
                event: Some("user:import:completed".to_owned()),
                ..all()
            },
            0,
        ),
        (
            Listed {
                user: Some("m1".to_owned()),
                ..all()
            },
            1,
        ),
        (
            Listed {
                email: Some("m2@northwind.example".to_owned()),
                ..all()
            },
            1,
        ),
        (Listed { limit: 2, ..all() }, 2),
    ] {
        let said = format!("{listed:?}");
        assert_eq!(rows(&world, listed).await.len(), expected, "{said}");
    }
    for unknown in [
        Listed {
            email: Some("stranger@northwind.example".to_owned()),
            ..all()
        },
        Listed {
            website: Some("elsewhere".to_owned()),
            ..all()
        },
        Listed {
            event: Some("user:typo".to_owned()),
            ..all()
        },
    ] {
        let answer = perform(&world, Operation::EventsList(unknown)).await;
        assert!(
            !answer.ok && answer.lines[0].contains("hint:"),
            "{answer:?}"
        );
    }
    world.finish().await;
}

#[tokio::test]
async fn more_than_one_takes_a_yes() {
    let mut world = three_parked().await;
    let parked = rows(&world, all()).await;
    let chosen = || Chosen {
        limit: u32::MAX,
        ..Chosen::default()
    };
    let refused = perform(&world, Operation::EventsRelease(chosen())).await;
    assert!(!refused.ok, "{refused:?}");
    assert!(
        refused.lines[0].starts_with(
            "3 would be released: 3 user:signup (parked no_contact)\nhint: add `--yes`"
        ),
        "{refused:?}"
    );
    let counted = Chosen {
        dry_run: true,
        ..chosen()
    };
    let counted = perform(&world, Operation::EventsDrop(counted)).await;
    assert!(counted.ok, "{counted:?}");
    assert_eq!(counted.json["would_be"], json!({ "dropped": 3 }));
    let nothing = Chosen {
        limit: 0,
        confirmed: true,
        ..chosen()
    };
    assert!(!perform(&world, Operation::EventsDrop(nothing)).await.ok);
    let one = Chosen {
        reference: parked[0]["ref"].as_str().map(str::to_owned),
        ..chosen()
    };
    let dropped = perform(&world, Operation::EventsDrop(one)).await;
    assert_eq!(dropped.json, json!({ "dropped": 1 }), "one needs no yes");
    let later = Chosen {
        since: world
            .now()
            .checked_add(jiff::SignedDuration::from_secs(1))
            .ok(),
        ..chosen()
    };
    let none = perform(&world, Operation::EventsRelease(later)).await;
    assert_eq!(none.json, json!({ "released": 0 }));
    let rest = Chosen {
        confirmed: true,
        ..chosen()
    };
    let released = perform(&world, Operation::EventsRelease(rest)).await;
    assert_eq!(released.json, json!({ "released": 2 }));
    world.settle().await;
    // Each was checked again: there is still no contact.
    let mut states = Vec::new();
    for user in ["m0", "m1", "m2"] {
        states.extend(
            outbox_of(&world, user)
                .await
                .into_iter()
                .map(|row| row.state),
        );
    }
    states.sort();
    assert_eq!(
        states,
        [
            OutboxState::Expired,
            OutboxState::Parked,
            OutboxState::Parked
        ]
    );
    world.finish().await;
}

#[tokio::test]
async fn the_status_names_what_waits_and_the_command() {
    let mut world = unarmed(|setup| {
        setup.replace(
            "sender = \"sole\"",
            "sender = \"sole\"\ncreate_contacts = false",
        );
    })
    .await;
    let before = perform(&world, Operation::Status).await;
    let text = before.lines.join("\n");
    assert!(text.starts_with("mode live\n"), "{text}");
    assert!(text.contains("user:signup not armed"), "{text}");
    arm(&world).await;
    happens(&mut world, "created_at").await;
    refresh(&mut world).await;
    let after = perform(&world, Operation::Status).await;
    let text = after.lines.join("\n");
    assert!(
        text.contains("user:signup armed since 2026-03-02 09:00:00Z"),
        "{text}"
    );
    assert!(
        text.contains("1 parked; `crisp-sync events release --state parked`"),
        "{text}"
    );
    assert!(text.contains("quota: "), "{text}");
    assert_eq!(after.json["mode"], "live");
    assert_eq!(after.json["armed"].as_array().map(Vec::len), Some(6));
    world.finish().await;
}

crate::world::also_on_postgres! {
    the_outbox_is_listed_by_what_one_knows,
    more_than_one_takes_a_yes,
}
