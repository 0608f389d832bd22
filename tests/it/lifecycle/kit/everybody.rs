//! Looks at everybody: what arming or a backfill would let out, with nothing written.

use std::collections::{BTreeMap, BTreeSet};

use crisp_sync::{
    ledger::OutboxFilter,
    server::{
        command::Operation,
        survey::{Cursor, PersonLine, Question, SurveyPage, SurveyRequest},
    },
};

use super::{
    super::{ADA, outbox, perform, posts, refresh, refresh_of, sql_now, unarmed, world},
    SIGNUP,
};
use crate::world::{Setup, World};

/// Looks at everybody, `limit` at a time.
pub(crate) async fn everybody(
    world: &World,
    question: Question,
    emails: &[&str],
    limit: u32,
) -> (Vec<PersonLine>, SurveyPage) {
    let mut people = Vec::new();
    let mut after: Option<Cursor> = None;
    for _ in 0..100 {
        let request = SurveyRequest {
            question: question.clone(),
            emails: emails.iter().map(|email| (*email).to_owned()).collect(),
            after: after.clone(),
            limit,
        };
        let answer = perform(world, Operation::Survey(request)).await;
        assert!(answer.ok, "{answer:?}");
        let page: SurveyPage = serde_json::from_value(answer.json).expect("a page");
        assert!(page.people.len() <= limit as usize);
        people.extend(page.people.clone());
        after.clone_from(&page.next);
        if after.is_none() {
            return (people, page);
        }
    }
    panic!("it never ends");
}

/// How many occurrences of an event would come to what.
fn counts(people: &[PersonLine], event: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    let sites = people.iter().flat_map(|person| &person.sites);
    for found in sites.flat_map(|site| &site.events) {
        if found.event == event {
            let kind = format!("{} {}", found.state, found.reason);
            *counts.entry(kind).or_default() += 1;
        }
    }
    counts
}

async fn table(world: &World) -> usize {
    let all = OutboxFilter::default();
    let rows = world.service.ledger.outbox_list(&all).await;
    rows.expect("a list").len()
}

#[tokio::test]
async fn what_arming_would_let_out_is_counted_and_nothing_is_written() {
    let mut world = unarmed(|_| {}).await;
    let now = sql_now(&world);
    for (id, email, changes) in [
        (
            "u1",
            ADA,
            format!("created_at = '{now}', onboarded_at = '{now}'"),
        ),
        (
            "u2",
            "bob@northwind.example",
            format!("created_at = '{now}', marketing_opt_in = 0"),
        ),
        ("u3", "eve@acme.example", format!("created_at = '{now}'")),
        (
            "u4",
            "old@northwind.example",
            "created_at = '2026-02-20 09:00:00'".to_owned(),
        ),
        (
            "u5",
            "late@northwind.example",
            "created_at = '2026-02-26 09:30:00'".to_owned(),
        ),
        (
            "u6",
            "soon@northwind.example",
            "created_at = '2026-03-10 09:00:00'".to_owned(),
        ),
    ] {
        if id != "u1" {
            world.add_user(id, email).await;
        }
        refresh_of(&mut world, email).await;
        world.change_user(id, &changes).await;
    }
    let ledger = world.service.ledger.clone();
    let since = "2026-02-26T09:00:00Z".parse().expect("an instant");
    ledger
        .arm(&world.website, SIGNUP, since, world.now())
        .await
        .expect("armed");
    let marker = world.marker();
    let question = Question::Arm { event: None };
    let (people, page) = everybody(&world, question, &[], 4).await;
    assert_eq!(
        counts(&people, SIGNUP),
        BTreeMap::from(
            [
                "baseline before_armed",
                "due due",
                "excluded exclude",
                "expired max_age",
                "no_consent require",
                "scheduled not_due",
            ]
            .map(|kind| (kind.to_owned(), 1))
        )
    );
    // A rule that is not armed yet would be armed by the clock of the app's database: today.
    assert_eq!(
        counts(&people, "user:onboarding:completed"),
        BTreeMap::from([("baseline before_armed".to_owned(), 1)])
    );
    assert!(page.rooms.iter().all(|room| room.room == 20), "{page:?}");
    let only = Question::Arm {
        event: Some("user:onboarding:completed".to_owned()),
    };
    let (people, _) = everybody(&world, only, &[], 4).await;
    assert!(counts(&people, SIGNUP).is_empty());

    // Without arming, the same is told as it is.
    let (people, _) = everybody(&world, Question::Refresh, &[], 4).await;
    assert_eq!(
        counts(&people, "user:onboarding:completed"),
        BTreeMap::from([("not_armed not_armed".to_owned(), 1)])
    );
    let text = format!("{people:?}");
    assert!(text.contains("POST people/events"), "{text}");
    assert!(!text.contains('@'), "{text}");

    assert!(world.calls_since(marker).is_empty(), "Crisp was not asked");
    assert_eq!(table(&world).await, 0);
    let armed = ledger.armings(&world.website).await.expect("readable");
    assert_eq!(armed.len(), 1, "{armed:?}");
    drop(ledger);
    world.finish().await;
}

#[tokio::test]
async fn everybody_comes_once_whatever_the_page() {
    let mut world = world(|_| {}).await;
    for number in 0..7 {
        let id = format!("m{number}");
        let email = format!("{id}@northwind.example");
        world.add_user(&id, &email).await;
        refresh_of(&mut world, &email).await;
    }
    for limit in [1, 3, 7, 8, 500] {
        let (people, _) = everybody(&world, Question::Refresh, &[], limit).await;
        let keys: Vec<_> = people
            .iter()
            .filter_map(|person| person.user.clone())
            .collect();
        let distinct: BTreeSet<_> = keys.iter().collect();
        assert_eq!(keys.len(), 7, "{limit}: {keys:?}");
        assert_eq!(distinct.len(), 7, "{limit}: {keys:?}");
    }
    // Who was typed comes first, known to the ledger or not, and nobody's address is repeated.
    let typed = [ADA, "nobody@northwind.example"];
    let (people, _) = everybody(&world, Question::Refresh, &typed, 1).await;
    assert_eq!(people[0].user.as_deref(), Some("u1"));
    assert_eq!(people[1].user, None);
    assert_eq!(people.len(), 9);
    world.finish().await;
}

/// A row that the query stumbles over is told and passed by; everybody else is looked at, and put to work.
#[tokio::test]
async fn one_bad_row_ends_no_look_at_everybody() {
    let mut world = world(|setup| {
        setup.replace(
            "SELECT id, email, name,",
            "SELECT id, email, CASE name WHEN '{' THEN json_extract(name, '$.first') END AS first, name,",
        );
    })
    .await;
    for number in 0..5 {
        let id = format!("m{number}");
        let email = format!("{id}@northwind.example");
        world.add_user(&id, &email).await;
        refresh_of(&mut world, &email).await;
    }
    let now = sql_now(&world);
    world
        .sql(&format!("UPDATE users SET created_at = '{now}'"))
        .await;
    world.change_user("m2", "name = '{'").await;
    let look = |put_to_work| Question::Backfill {
        event: SIGNUP.to_owned(),
        since: world.now(),
        put_to_work,
    };
    for question in [
        Question::Arm { event: None },
        Question::Refresh,
        look(false),
        look(true),
    ] {
        let typed = ["m2@northwind.example"];
        let (people, _) = everybody(&world, question.clone(), &typed, 2).await;
        let found: Vec<_> = people.iter().map(|one| one.user.as_deref()).collect();
        assert_eq!(
            found,
            [None, Some("m0"), Some("m1"), None, Some("m3"), Some("m4")],
            "{question:?}"
        );
        for failed in [&people[0], &people[3]] {
            let failure = &failed.sites[0].failures[0];
            assert!(failure.contains("`users.query` failed"), "{failure}");
            assert!(!failure.contains('@'), "{failure}");
        }
        assert_eq!(counts(&people, SIGNUP).values().sum::<usize>(), 4);
    }
    world.change_user("m2", "name = 'Em'").await;
    world.settle().await;
    assert_eq!(posts(&world), 4);
    world.finish().await;
}

/// A database that is away is nobody's row: the look ends, and says so.
#[tokio::test]
async fn a_look_at_everybody_ends_where_nobody_can_be_looked_up() {
    let mut world = world(Setup::impatient).await;
    refresh(&mut world).await;
    world.database_goes_down().await;
    let request = SurveyRequest {
        question: Question::Arm { event: None },
        emails: Vec::new(),
        after: None,
        limit: 10,
    };
    let answer = perform(&world, Operation::Survey(request)).await;
    assert!(
        !answer.ok && answer.lines[0].contains("no connection for"),
        "{answer:?}"
    );
    world.database_comes_back().await;
    world.finish().await;
}

#[tokio::test]
async fn a_backfill_goes_as_far_as_max_age_and_is_sent_once() {
    let mut world = world(|_| {}).await;
    refresh(&mut world).await;
    world
        .change_user("u1", "created_at = '2026-02-28 09:00:00'")
        .await;
    refresh(&mut world).await;
    assert!(
        outbox(&world).await.is_empty(),
        "it was before the watermark"
    );
    let backfill = async |confirmed| {
        let since = "2026-01-01T00:00:00Z".parse().expect("an instant");
        let event = SIGNUP.to_owned();
        let operation = Operation::EventsBackfill {
            event,
            since,
            confirmed,
        };
        perform(&world, operation).await
    };
    let question = |put_to_work| Question::Backfill {
        event: SIGNUP.to_owned(),
        since: "2026-01-01T00:00:00Z".parse().expect("an instant"),
        put_to_work,
    };
    let told = backfill(false).await;
    assert!(
        told.lines[0].contains("not beyond `max_age` (3 days)"),
        "{told:?}"
    );
    assert_eq!(told.json["watermark"], "2026-02-27T09:00:00Z");
    let (people, _) = everybody(&world, question(false), &[], 10).await;
    let due = BTreeMap::from([("due due".to_owned(), 1)]);
    assert_eq!(counts(&people, SIGNUP), due);
    let (people, _) = everybody(&world, Question::Refresh, &[], 10).await;
    let baseline = BTreeMap::from([("baseline before_armed".to_owned(), 1)]);
    assert_eq!(counts(&people, SIGNUP), baseline, "nothing was moved");

    let done = backfill(true).await;
    assert!(done.ok, "{done:?}");
    let (people, _) = everybody(&world, question(true), &[], 10).await;
    assert_eq!(counts(&people, SIGNUP), due);
    assert!(people[0].sites[0].put_to_work);
    world.settle().await;
    assert_eq!(world.timeline(ADA), [SIGNUP]);
    // Once more moves nothing and sends nothing.
    let again = perform(
        &world,
        Operation::EventsBackfill {
            event: SIGNUP.to_owned(),
            since: "2026-02-28T00:00:00Z".parse().expect("an instant"),
            confirmed: true,
        },
    )
    .await;
    assert!(again.lines[0].contains("stays"), "{again:?}");
    let (people, _) = everybody(&world, question(true), &[], 10).await;
    assert!(!people[0].sites[0].put_to_work);
    world.settle().await;
    assert_eq!(posts(&world), 1);
    world.finish().await;
}

#[tokio::test]
async fn what_is_not_armed_has_nothing_to_move_back() {
    let world = unarmed(|_| {}).await;
    for (event, since, hint) in [
        (
            SIGNUP,
            "2026-03-01T00:00:00Z",
            "hint: `crisp-sync events arm",
        ),
        (
            SIGNUP,
            "2026-04-01T00:00:00Z",
            "hint: a watermark only goes back",
        ),
        (
            "user:nothing",
            "2026-03-01T00:00:00Z",
            "hint: configured are",
        ),
    ] {
        let operation = Operation::EventsBackfill {
            event: event.to_owned(),
            since: since.parse().expect("an instant"),
            confirmed: true,
        };
        let answer = perform(&world, operation).await;
        assert!(!answer.ok && answer.lines[0].contains(hint), "{answer:?}");
    }
    world.finish().await;
}

crate::world::also_on_postgres! {
    what_arming_would_let_out_is_counted_and_nothing_is_written,
    everybody_comes_once_whatever_the_page,
    one_bad_row_ends_no_look_at_everybody,
    a_backfill_goes_as_far_as_max_age_and_is_sent_once,
}
