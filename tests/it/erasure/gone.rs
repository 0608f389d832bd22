//! What goes, what stays, and what the receipt says.

use crisp_sync::{
    ids::{Email, WebsiteId},
    ledger::{Erasing, Tombstoned},
    sandbox::{Author, OpenChat},
    server::{command::Operation, desk::Whom},
};

use super::{
    ADA, BEN, EVENT, assert_forgotten, assert_unknown, chats, erase, onboards, perform, theirs,
    whom,
};
use crate::{
    telemetry::lines,
    world::{Setup, World, also_on_postgres},
};

also_on_postgres! {
    everything_of_ours_goes_and_nothing_of_others,
    a_person_is_erased_by_their_key,
    the_contact_goes_if_that_is_asked,
    accounts_on_one_address_go_together,
    a_person_is_erased_on_one_website_alone,
    the_contact_at_an_address_that_was_left_is_cleared_and_stays,
}

#[tokio::test]
async fn everything_of_ours_goes_and_nothing_of_others() {
    let (mut world, ada, ben) = chats(|_| {}).await;
    onboards(&mut world, "u1").await;
    world
        .sandbox
        .message(&ada, "Hello again")
        .expect("it is there");
    world.pass(std::time::Duration::from_mins(2)).await;
    assert_eq!(world.timeline(ADA), [EVENT]);
    assert_eq!(world.data(&ada, "plan"), "pro");
    let before = world.deliveries().await.len();

    let receipt = erase(&mut world, ADA).await;
    assert_eq!(receipt.owed, [], "{receipt:#?}");
    assert_forgotten(&world, &ada).await;
    for (what, rows) in [
        ("persons", 1),
        ("conversations", 1),
        ("occurrences", 1),
        ("high_water_marks", 1),
        ("work", 1),
    ] {
        assert_eq!(receipt.deleted[what], rows, "{what}: {receipt:#?}");
    }
    assert!(receipt.deleted["traces"] >= 2, "{receipt:#?}");
    // Two people chatted; half of the deliveries were hers, but for what our clearing made.
    assert!(receipt.deleted["deliveries"] > 0 && receipt.deleted["deliveries"] < before as u64);
    assert_eq!(receipt.tombstones.len(), 2, "an address and a key");
    assert_eq!(world.timeline(ADA), [EVENT], "what was sent is Crisp's");

    // Ben is none of it.
    assert_eq!(world.data(&ben, "plan"), "pro");
    assert_eq!(world.contact_data(BEN, "plan"), "pro");
    let mirror = world.mirror(&ben).await.expect("a mirror");
    assert!(mirror.email.is_some());
    world.finish().await;
}

#[tokio::test]
async fn a_person_is_erased_by_their_key() {
    let (mut world, ada, _) = chats(|_| {}).await;
    let whom = Whom {
        user_key: Some("u1".to_owned()),
        ..Whom::default()
    };
    assert!(perform(&world, Operation::Erase { whom }).await.ok);
    world.settle().await;
    assert_forgotten(&world, &ada).await;
    world.pass(std::time::Duration::from_mins(3)).await;
    world.finish().await;
}

/// The app deleted the row before anybody thought of us.
#[tokio::test]
async fn whom_the_app_has_deleted_is_erased_all_the_same() {
    for by_key in [false, true] {
        let (mut world, ada, _) = chats(|_| {}).await;
        world.sql("DELETE FROM users WHERE id = 'u1'").await;
        let whom = if by_key {
            Whom {
                user_key: Some("u1".to_owned()),
                ..Whom::default()
            }
        } else {
            whom(ADA)
        };
        assert!(perform(&world, Operation::Erase { whom }).await.ok);
        world.settle().await;
        assert_forgotten(&world, &ada).await;
        world.finish().await;
    }
}

#[tokio::test]
async fn a_database_that_is_away_holds_nothing_up() {
    let (mut world, ada, _) = chats(Setup::impatient).await;
    world.database_goes_down().await;
    assert!(
        perform(&world, Operation::Erase { whom: whom(ADA) })
            .await
            .ok
    );
    world.settle().await;
    assert_forgotten(&world, &ada).await;
    world.database_comes_back().await;
    world.finish().await;
}

#[tokio::test]
async fn the_contact_goes_if_that_is_asked() {
    let (mut world, ada, _) = chats(|_| {}).await;
    let whom = Whom {
        delete_contact: true,
        ..whom(ADA)
    };
    assert!(perform(&world, Operation::Erase { whom }).await.ok);
    world.settle().await;
    world.pass(std::time::Duration::from_mins(3)).await;
    let is_there = |email: &str| world.sandbox.look(|state| state.contact(email).is_some());
    assert!(!is_there(ADA) && is_there(BEN));
    assert_eq!(world.data(&ada, "plan"), "");
    assert_unknown(&world, &ada).await;
    world.finish().await;
}

#[tokio::test]
async fn accounts_on_one_address_go_together() {
    let (mut world, ada, _) = chats(|_| {}).await;
    world.add_user("u9", ADA).await;
    onboards(&mut world, "u9").await;
    let receipt = erase(&mut world, ADA).await;
    assert_eq!(receipt.tombstones.len(), 3, "an address and two keys");
    let email = ADA.to_owned();
    perform(&world, Operation::ReconcileEmail { email }).await;
    world.settle().await;
    assert_eq!(world.timeline(ADA), Vec::<String>::new());
    assert_forgotten(&world, &ada).await;
    world.finish().await;
}

/// Carol's address before she moved, and after.
const CAROL: &str = "carol@northwind.example";
const MOVED: &str = "carol@moved.example";

/// Carol never chatted. She has another address now, and Crisp has a contact at both, with an agent's notes.
async fn carol_moves() -> World {
    let (mut world, _, _) = chats(|_| {}).await;
    world.add_user("u3", CAROL).await;
    for email in [CAROL, MOVED] {
        world.sandbox.create_contact(email, "Carol");
        world
            .sandbox
            .edit_contact(email, Author::Agent, theirs())
            .expect("a contact");
        world.change_user("u3", &format!("email = '{email}'")).await;
        refresh(&mut world, email).await;
        assert_eq!(world.contact_data(email, "plan"), "pro");
    }
    assert_eq!(world.contact_data(CAROL, "plan"), "pro", "it stayed there");
    world
}

async fn refresh(world: &mut World, email: &str) {
    let email = email.to_owned();
    perform(world, Operation::ReconcileEmail { email }).await;
    world.settle().await;
}

#[tokio::test]
async fn the_contact_at_an_address_that_was_left_is_cleared_and_stays() {
    for delete_contact in [false, true] {
        let mut world = carol_moves().await;
        let whom = Whom {
            delete_contact,
            ..whom(MOVED)
        };
        let answer = perform(&world, Operation::Erase { whom }).await;
        assert!(
            answer
                .lines
                .iter()
                .any(|line| line.contains("at an address that the person left")),
            "{answer:?}"
        );
        world.settle().await;
        world.pass(std::time::Duration::from_mins(3)).await;
        let left = world.contact(CAROL).labels;
        assert_eq!(left.data["shoe_size"], "43");
        assert_eq!(left.segments, ["vip"]);
        for key in ["plan", "tenant", "admin", "context_as_of"] {
            assert_eq!(world.contact_data(CAROL, key), "", "{key}");
        }
        let is_there = world.sandbox.look(|state| state.contact(MOVED).is_some());
        assert_eq!(is_there, !delete_contact);
        world.finish().await;
    }
}

#[tokio::test]
async fn the_contact_at_an_address_that_somebody_else_has_by_now_is_theirs() {
    let mut world = carol_moves().await;
    world
        .change_user("u2", &format!("email = '{CAROL}', plan = 'team'"))
        .await;
    refresh(&mut world, CAROL).await;
    assert_eq!(world.contact_data(CAROL, "plan"), "team");
    let receipt = erase(&mut world, MOVED).await;
    assert_eq!(receipt.owed, []);
    assert_eq!(world.contact_data(CAROL, "plan"), "team");
    assert_eq!(world.contact_data(MOVED, "plan"), "");
    world.finish().await;
}

/// Nobody's name or address stands in the ledger's file, or in its log beside it, or in what was said about it.
#[tokio::test]
async fn the_files_hold_nothing_of_the_person_afterwards() {
    let (mut world, ada, _) = chats(|setup| setup.needs_file = true).await;
    // In her address there is what is in nobody else's.
    let parts: [&str; 3] = ["ada@northwind", "ada%40northwind", "users/u1"];
    let holds = |world: &World, part: &str| {
        let file = world.ledger_path();
        let log = file.with_file_name("ledger.db-wal");
        [file, log].iter().any(|file| {
            let bytes = std::fs::read(file).unwrap_or_default();
            bytes
                .windows(part.len())
                .any(|window| window == part.as_bytes())
        })
    };
    assert!(holds(&world, parts[0]) && holds(&world, parts[2]), "before");
    let receipt = erase(&mut world, ADA).await;
    assert_eq!(receipt.owed, []);
    for part in parts {
        assert!(!holds(&world, part), "`{part}` is in the files");
    }
    let told = lines()
        .iter()
        .filter(|line| line.to_string().contains(parts[0]))
        .count();
    assert_eq!(told, 0);
    assert_forgotten(&world, &ada).await;
    world.open(OpenChat::by(ADA).proven()).await;
    assert!(!holds(&world, parts[0]), "after she wrote again");
    // Under our names, whoever writes it.
    let mut forged = theirs();
    forged.data.insert("plan".to_owned(), "pearl-of-ada".into());
    let visitor = Author::Visitor;
    world
        .sandbox
        .edit_session(&ada, visitor, forged)
        .expect("it is there");
    world.hooks_arrive().await;
    assert!(
        !holds(&world, "pearl-of-ada"),
        "while it waits to be cleared"
    );
    world.pass(std::time::Duration::from_mins(2)).await;
    assert_forgotten(&world, &ada).await;
    assert!(!holds(&world, "pearl-of-ada"), "afterwards");
    world.finish().await;
}

/// Another website may be another company's.
#[tokio::test]
async fn a_person_is_erased_on_one_website_alone() {
    const OTHER: &str = "8c842203-7ed8-4e29-a608-7cf78a7d2fcc";
    let (mut world, ada, _) = chats(|setup| {
        let both = format!("{},{OTHER}", crisp_sync::sandbox::DEFAULT_WEBSITE);
        setup.set("CRISP_WEBSITES", both);
    })
    .await;
    let there = |website: &str| Whom {
        website_id: Some(website.to_owned()),
        ..whom(ADA)
    };
    let unserved = perform(
        &world,
        Operation::Erase {
            whom: there("another"),
        },
    )
    .await;
    assert!(
        !unserved.ok && unserved.lines[0].contains("not served"),
        "{unserved:?}"
    );
    let email = Email::parse(ADA).expect("an address");
    let other = WebsiteId::parse(OTHER).expect("an id");
    let erasing = Erasing {
        receipt: "er_there".to_owned(),
        website: Some(other.clone()),
        served: vec![other.clone(), world.website.clone()],
        emails: [email.clone()].into(),
        users: [].into(),
        delete_contact: false,
    };
    let ledger = world.service.ledger.clone();
    ledger.erase(&erasing, world.now()).await.expect("erased");
    for (website, standing) in [(&world.website, Tombstoned::No), (&other, Tombstoned::Yes)] {
        let asked = ledger.tombstoned(website, None, Some(&email)).await;
        assert_eq!(asked.expect("readable"), standing);
    }
    let of_here = ledger.conversations_of(&world.website, &email).await;
    assert_eq!(of_here.expect("readable").len(), 1);
    assert_eq!(world.data(&ada, "plan"), "pro");
    // Here, from here on.
    let here = there(world.website.as_str());
    assert!(perform(&world, Operation::Erase { whom: here }).await.ok);
    world.settle().await;
    world.pass(std::time::Duration::from_mins(3)).await;
    assert_forgotten(&world, &ada).await;
    world.finish().await;
}
