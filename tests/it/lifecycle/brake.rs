//! The brake: a mass of one event waits for a person, is said loudly, and stays until they have decided.

use std::time::Duration;

use crisp_sync::{
    ledger::OutboxFilter,
    lifecycle::OutboxState,
    sandbox::Fault,
    server::command::{Chosen, Operation},
    worker::Step,
};
use futures_util::future::join;
use serde_json::Value as Json;

use super::{
    assert_stands, happens, minutes, outbox_of, perform, posts, refresh, refresh_of, sql_now, world,
};
use crate::{
    engines::servers::Server,
    telemetry::lines,
    world::{World, ledgers_on_a_server},
};

const EVENT: &str = "user:onboarding:completed";

/// People to whom the same happens now, all of whom are looked at.
async fn crowd(world: &mut World, first: usize, count: usize) {
    let now = sql_now(world);
    for number in first..first + count {
        let id = format!("m{number:02}");
        let email = format!("{id}@northwind.example");
        world.add_user(&id, &email).await;
        world
            .change_user(&id, &format!("onboarded_at = '{now}'"))
            .await;
        refresh_of(world, &email).await;
    }
}

async fn held(world: &World) -> usize {
    let held = OutboxFilter {
        state: Some(OutboxState::Held),
        limit: 1_000,
        ..OutboxFilter::default()
    };
    let listed = world.service.ledger.outbox_list(&held).await;
    listed.expect("a list").len()
}

fn all_of_it(over_cap: bool) -> Chosen {
    Chosen {
        event: Some(EVENT.to_owned()),
        reference: None,
        state: None,
        limit: 1_000,
        over_cap,
        confirmed: true,
        ..Chosen::default()
    }
}

/// A world whose brake lets five of each go, and a hundred of the others.
async fn braked() -> World {
    world(|setup| {
        setup.add("[lifecycle.brake]\nper_hour = 5\nshare = \"0%\"\n");
        setup.replace(
            "at = \"created_at\"\n",
            "at = \"created_at\"\nbrake = { per_hour = 100 }\n",
        );
    })
    .await
}

#[tokio::test]
async fn the_settings_are_the_cap_and_a_rule_may_have_its_own() {
    let mut world = braked().await;
    crowd(&mut world, 0, 8).await;
    assert_eq!((posts(&world), held(&world).await), (5, 3));
    // Another event is counted by itself, and this one may go more often.
    let now = sql_now(&world);
    world
        .sql(&format!("UPDATE users SET created_at = '{now}'"))
        .await;
    for number in 0..8 {
        refresh_of(&mut world, &format!("m{number:02}@northwind.example")).await;
    }
    assert_eq!((posts(&world), held(&world).await), (13, 3));
    world.finish().await;
}

#[tokio::test]
async fn the_hour_slides_while_nothing_is_held() {
    let mut world = braked().await;
    for (first, count) in [(0, 3), (3, 2)] {
        crowd(&mut world, first, count).await;
        minutes(&mut world, 31).await;
    }
    // The first three are an hour old by now.
    crowd(&mut world, 5, 3).await;
    assert_eq!((posts(&world), held(&world).await), (8, 0));
    crowd(&mut world, 8, 1).await;
    assert_eq!((posts(&world), held(&world).await), (8, 1));
    world.finish().await;
}

/// The migration came on a Friday. On Monday week its events are too old to be sent, and the brake is on all the same.
#[tokio::test]
async fn the_latch_outlives_what_it_holds() {
    let mut world = braked().await;
    crowd(&mut world, 0, 7).await;
    world.clock.advance(Duration::from_hours(10 * 24));
    world.service.worker.beat().await;
    for number in [5, 6] {
        let id = format!("m{number:02}");
        refresh_of(&mut world, &format!("{id}@northwind.example")).await;
        let row = &outbox_of(&world, &id).await[0];
        assert_eq!(
            (row.state, row.reason.as_str()),
            (OutboxState::Expired, "max_age")
        );
    }
    // Nor does a decision about something else.
    let parked = Chosen {
        state: Some("parked".to_owned()),
        limit: 1_000,
        confirmed: true,
        ..Chosen::default()
    };
    assert!(perform(&world, Operation::EventsDrop(parked)).await.ok);
    // What nobody was there for is over.
    minutes(&mut world, 1).await;
    happens(&mut world, "onboarded_at").await;
    refresh(&mut world).await;
    assert_stands(&world, EVENT, OutboxState::Held, "brake").await;
    // A restart does not lift it, and it can be seen.
    world.restart(|_| {}).await;
    let latches = world.service.ledger.latches().await.expect("readable");
    assert_eq!(latches[0].event, EVENT);
    let answer = perform(&world, Operation::EventsRelease(all_of_it(false))).await;
    assert_eq!(answer.json["released"], 1);
    world.settle().await;
    assert_eq!(posts(&world), 6);
    let latches = world.service.ledger.latches().await.expect("readable");
    assert!(latches.is_empty(), "{latches:?}");
    world.finish().await;
}

/// Whoever lets one go, whatever it is, has said nothing of the others.
#[tokio::test]
async fn a_decision_about_one_leaves_the_latch_of_another_event() {
    let mut world = world(|setup| {
        setup.add("[lifecycle.brake]\nper_hour = 5\nshare = \"0%\"\n");
    })
    .await;
    crowd(&mut world, 0, 6).await;
    world.clock.advance(Duration::from_hours(10 * 24));
    world.service.worker.beat().await;
    refresh_of(&mut world, "m05@northwind.example").await;
    assert_eq!(held(&world).await, 0, "it has expired");
    // What nobody was there for is over.
    minutes(&mut world, 1).await;
    let now = sql_now(&world);
    for number in 20..27 {
        let (id, email) = (format!("m{number}"), format!("m{number}@northwind.example"));
        world.add_user(&id, &email).await;
        world
            .change_user(&id, &format!("created_at = '{now}'"))
            .await;
        refresh_of(&mut world, &email).await;
    }
    assert!(held(&world).await > 1, "sign-ups wait for a person");
    let latched = async |world: &World| {
        let latches = world.service.ledger.latches().await.expect("readable");
        latches.iter().any(|latch| latch.event == EVENT)
    };
    let any = |limit| Chosen {
        event: None,
        limit,
        ..all_of_it(false)
    };
    let answer = perform(&world, Operation::EventsDrop(any(1))).await;
    assert_eq!(answer.json["dropped"], 1, "{answer:?}");
    assert!(latched(&world).await, "one of another event was given up");
    assert!(perform(&world, Operation::EventsDrop(any(1_000))).await.ok);
    assert!(!latched(&world).await, "all that waits was decided about");
    world.finish().await;
}

#[tokio::test]
async fn what_expired_under_the_brake_leaves_a_latch_that_a_person_ends() {
    for release in [true, false] {
        let mut world = braked().await;
        crowd(&mut world, 0, 6).await;
        world.clock.advance(Duration::from_hours(10 * 24));
        world.service.worker.beat().await;
        refresh_of(&mut world, "m05@northwind.example").await;
        assert_eq!(held(&world).await, 0);
        let decide = if release {
            Operation::EventsRelease(all_of_it(false))
        } else {
            Operation::EventsDrop(all_of_it(false))
        };
        assert!(perform(&world, decide).await.ok);
        // What nobody was there for is over.
        minutes(&mut world, 1).await;
        happens(&mut world, "onboarded_at").await;
        refresh(&mut world).await;
        assert_eq!(posts(&world), 6, "release: {release}");
        world.finish().await;
    }
}

#[tokio::test]
async fn a_release_stays_under_the_cap_unless_told() {
    let mut world = braked().await;
    crowd(&mut world, 0, 9).await;
    assert_eq!((posts(&world), held(&world).await), (5, 4));
    let answer = perform(&world, Operation::EventsRelease(all_of_it(false))).await;
    assert_eq!(answer.json["released"], 4);
    world.settle().await;
    assert_eq!((posts(&world), held(&world).await), (5, 4));
    // One of them is not true any more: also past the cap each is checked again.
    world.change_user("m08", "onboarded_at = NULL").await;
    let answer = perform(&world, Operation::EventsRelease(all_of_it(true))).await;
    assert_eq!(answer.json["released"], 4);
    world.settle().await;
    assert_eq!((posts(&world), held(&world).await), (8, 0));
    // One look proves little; the second one does.
    minutes(&mut world, 11).await;
    assert_eq!(posts(&world), 8);
    let gone = &outbox_of(&world, "m08").await[0];
    assert_eq!(
        (gone.state, gone.reason.as_str()),
        (OutboxState::Superseded, "no_longer_true")
    );
    world.finish().await;
}

/// What a person decided is not forgotten because Crisp has a bad hour.
#[tokio::test]
async fn a_release_outlives_a_refusal() {
    let mut world = braked().await;
    crowd(&mut world, 0, 9).await;
    world.sandbox.fault(Fault::status("people_event.add", 429));
    let answer = perform(&world, Operation::EventsRelease(all_of_it(true))).await;
    assert_eq!(answer.json["released"], 4);
    world.settle().await;
    minutes(&mut world, 40).await;
    assert_eq!(held(&world).await, 0);
    let mut told = 0;
    for number in 0..9 {
        told += world
            .timeline(&format!("m{number:02}@northwind.example"))
            .len();
    }
    assert_eq!(told, 9);
    world.finish().await;
}

#[tokio::test]
async fn a_release_after_max_age_sends_nothing() {
    let mut world = braked().await;
    crowd(&mut world, 0, 7).await;
    world.clock.advance(Duration::from_hours(73));
    world.service.worker.beat().await;
    // Right then; a moment later they expire by themselves.
    let answer = perform(&world, Operation::EventsRelease(all_of_it(true))).await;
    assert_eq!(answer.json["released"], 2);
    world.settle().await;
    assert_eq!((posts(&world), held(&world).await), (5, 0));
    world.finish().await;
}

#[tokio::test]
async fn a_new_name_does_not_lift_the_brake() {
    let mut world = braked().await;
    crowd(&mut world, 0, 4).await;
    let new = "name = \"user:ready\"\nrenamed_from = \"user:onboarding:completed\"";
    world
        .restart(|setup| setup.replace("name = \"user:onboarding:completed\"", new))
        .await;
    crowd(&mut world, 4, 3).await;
    assert_eq!((posts(&world), held(&world).await), (5, 2));
    world.finish().await;
}

/// Once at its beginning, as an error with the command that ends it; as a condition, a metric and a status until then.
#[tokio::test]
async fn the_brake_is_said_loudly() {
    let event = "user:brake:loud";
    let mut world = world(|setup| {
        setup.replace(EVENT, event);
        setup.add("[lifecycle.brake]\nper_hour = 2\n");
    })
    .await;
    crowd(&mut world, 0, 5).await;
    let loud: Vec<Json> = lines()
        .into_iter()
        .filter(|line| line["event"] == "people_event.braked" && line["people_event.name"] == event)
        .collect();
    assert_eq!(loud.len(), 1, "{loud:#?}");
    assert_eq!(
        (&loud[0]["sent"], &loud[0]["limit"]),
        (&2.into(), &2.into())
    );
    let hint = loud[0]["hint"].as_str().expect("a hint");
    assert!(
        hint.contains("crisp-sync events release --event 'user:brake:loud'"),
        "{hint}"
    );
    world.service.watch.look().await;
    let ask = async |path: &str| {
        let answer = World::http().get(world.ops_url(path)).send().await;
        answer.expect("an answer").text().await.expect("a body")
    };
    let status: Json = serde_json::from_str(&ask("/status").await).expect("JSON");
    let conditions = status["conditions"].as_array().expect("a list");
    assert!(
        conditions.iter().any(|one| one["kind"] == "brake_latched"
            && one["detail"]
                .as_str()
                .is_some_and(|text| text.contains("events release"))),
        "{conditions:#?}"
    );
    let metrics = ask("/metrics").await;
    assert!(
        metrics.contains("crisp_sync_condition{condition=\"brake_latched\"} 1"),
        "{metrics}"
    );
    world.finish().await;
}

/// Two processes at the same crowd: five go, whoever of them sends.
#[tokio::test]
async fn two_processes_have_one_brake() {
    if Server::Postgres.url().is_none() {
        return;
    }
    ledgers_on_a_server(true);
    let mut world = braked().await;
    let (other, mut server) = world.replica(|_| {}).await;
    let now = sql_now(&world);
    for number in 0..12 {
        let id = format!("m{number:02}");
        let email = format!("{id}@northwind.example");
        world.add_user(&id, &email).await;
        world
            .change_user(&id, &format!("onboarded_at = '{now}'"))
            .await;
        perform(&world, Operation::ReconcileEmail { email }).await;
    }
    let mut steps = 0;
    loop {
        world.hooks_arrive().await;
        let (one, two) = join(world.service.worker.step(), other.worker.step()).await;
        if [one, two].map(|step| step.expect("it works")) == [Step::Idle, Step::Idle] {
            break;
        }
        steps += 1;
        assert!(steps < 50, "they do not come to rest");
    }
    assert_eq!((posts(&world), held(&world).await), (5, 7));
    server.drain().await;
    server.close().await;
    other.ledger.close().await.expect("closed");
    world.finish().await;
}

crate::world::also_on_postgres! {
    the_settings_are_the_cap_and_a_rule_may_have_its_own,
    the_hour_slides_while_nothing_is_held,
    the_latch_outlives_what_it_holds,
    what_expired_under_the_brake_leaves_a_latch_that_a_person_ends,
    a_release_stays_under_the_cap_unless_told,
    a_release_outlives_a_refusal,
    a_release_after_max_age_sends_nothing,
    a_new_name_does_not_lift_the_brake,
}
