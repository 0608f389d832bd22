//! Pages: in order, each once, whatever dies between them; and never more people waiting than were allowed.

use std::time::Duration;

use crisp_sync::{
    ledger::{Lane, Trigger, WorkKind},
    sandbox::{Fault, OpenChat},
    server::{command::Operation, desk::Whom},
    worker::Step,
};

use super::{ADA, DAY, EVERY, address, is_known, lane, next_look, people, sweep, touched, world};
use crate::{
    telemetry::lines,
    world::{World, also_on_postgres},
};

also_on_postgres! {
    who_was_erased_marks_no_page,
    a_change_is_found_again_while_an_answer_from_before_it_may_be_kept,
    a_look_that_is_killed_goes_on_with_its_page,
    what_commits_late_is_found,
    what_waits_is_bounded_and_the_quota_is_left_to_others,
    a_change_goes_before_looking_once_more,
}

/// Everybody at one instant: only the key tells one page from the next.
#[tokio::test]
async fn who_shares_an_instant_is_found_once_each() {
    let mut world = world(|_| {}).await;
    people(&mut world, 20).await;
    sweep(&mut world).await;
    for number in 0..20 {
        assert!(is_known(&world, &format!("p{number:03}")).await, "{number}");
    }
    let look = lane(&world, Lane::Changes).await.last;
    assert_eq!((look.pages, look.rows, look.enqueued), (7, 20, 20));
    assert_eq!(
        world.metric("crisp_sync_sweep_rows_total{lane=\"changes\",outcome=\"enqueued\"}"),
        20
    );
    world.finish().await;
}

#[tokio::test]
async fn a_look_that_is_killed_goes_on_with_its_page() {
    const PEOPLE: usize = 11;
    for killed_at in 0..4 {
        let mut world = world(|_| {}).await;
        people(&mut world, PEOPLE).await;
        world.service.begin_sweeps().await.expect("enqueued");
        // Pages go one at a time; who was found on them is worked beside.
        for _ in 0..killed_at {
            assert!(matches!(world.step().await, Step::Worked(_)));
        }
        // Killed with the page in hand: claimed, perhaps asked for, and not settled.
        let lease = Duration::from_mins(2);
        let ledger = world.service.ledger.clone();
        let claims = ledger.claim(200, lease, world.now()).await.expect("claims");
        assert!(claims.iter().any(|claim| claim.kind == WorkKind::Sweep));
        world.clock.advance(3 * Duration::from_mins(1));
        world.restart(|_| {}).await;
        sweep(&mut world).await;
        // Whatever else a crash delays is over by then.
        world.pass(Duration::from_hours(1)).await;
        for number in 0..PEOPLE {
            assert!(
                is_known(&world, &format!("p{number:03}")).await,
                "killed at {killed_at}: {number}"
            );
        }
        let rows =
            world.metric("crisp_sync_sweep_rows_total{lane=\"rescan\",outcome=\"enqueued\"}");
        let before = 3 * killed_at;
        assert!(
            rows <= u64::try_from(PEOPLE - before + 3).expect("small"),
            "killed at {killed_at}: {rows} rows after it, {before} before"
        );
        world.finish().await;
    }
}

/// Where a look stands is told by the last row of its page, which may be somebody's who is erased by then.
#[tokio::test]
async fn who_was_erased_marks_no_page() {
    let mut world = world(|_| {}).await;
    people(&mut world, 10).await;
    world.service.begin_sweeps().await.expect("enqueued");
    let marked = async |world: &World| -> Vec<String> {
        let sweeps = world.service.ledger.sweeps().await.expect("readable");
        let looks = sweeps.into_iter().filter_map(|one| one.look?.after);
        looks.map(|(_, key)| key).collect()
    };
    while marked(&world).await.is_empty() {
        assert!(matches!(world.step().await, Step::Worked(_)));
    }
    let key = marked(&world).await.remove(0);
    assert_eq!(key, "\"p002");
    let whom = Whom {
        user_key: Some("p002".to_owned()),
        ..Whom::default()
    };
    let erased = world.service.perform(Operation::Erase { whom }).await;
    assert!(erased.ok, "{erased:?}");
    assert_eq!(marked(&world).await, [""; 0]);
    world.sql("DELETE FROM users WHERE id = 'p002'").await;
    world.settle().await;
    world.pass(Duration::from_hours(1)).await;
    for number in (0..10).filter(|number| *number != 2) {
        assert!(is_known(&world, &format!("p{number:03}")).await, "{number}");
    }
    world.finish().await;
}

#[tokio::test]
async fn what_commits_late_is_found() {
    let mut world = world(|_| {}).await;
    for (user, email) in [
        ("u1", ADA),
        ("u2", "ben@northwind.example"),
        ("u3", "cleo@northwind.example"),
    ] {
        world.add_user(user, email).await;
    }
    sweep(&mut world).await;
    // Stamped when their transactions began, seen when they ended.
    touched(&mut world, "u1", 25).await;
    touched(&mut world, "u2", 90).await;
    next_look(&mut world).await;
    assert!(is_known(&world, "u1").await, "within the overlap");
    assert!(!is_known(&world, "u2").await, "beyond it");
    // Another row, at the very instant of one that was read.
    world
            .sql("UPDATE users SET email = 'cleo@elsewhere.example', changed_at = (SELECT changed_at FROM users WHERE id = 'u1') WHERE id = 'u3'")
            .await;
    next_look(&mut world).await;
    assert!(is_known(&world, "u3").await, "a tie with what was read");
    world.pass(DAY).await;
    assert!(is_known(&world, "u2").await, "the rescan finds it");
    world.finish().await;
}

#[tokio::test]
async fn whoever_changed_long_ago_is_looked_at_once_if_so_wished() {
    let mut world = world(|_| {}).await;
    world.add_user("u1", ADA).await;
    touched(&mut world, "u1", 400 * 24 * 60).await;
    sweep(&mut world).await;
    world.pass(DAY).await;
    assert!(!is_known(&world, "u1").await);
    world
        .restart(|setup| setup.replace("page = 3", "page = 3\nfirst = \"3650d\""))
        .await;
    world.pass(DAY).await;
    assert!(
        is_known(&world, "u1").await,
        "also if it is wished for later"
    );
    assert_eq!(lane(&world, Lane::Rescan).await.last.rows, 1);
    world.pass(DAY).await;
    assert_eq!(lane(&world, Lane::Rescan).await.last.rows, 0, "once");
    world.finish().await;
}

/// Two changes of one row within a second, and a look between them: the row says the same both times.
#[tokio::test]
async fn what_changes_twice_in_a_second_is_looked_at_twice() {
    let mut world = world(|_| {}).await;
    world.add_user("u1", ADA).await;
    world.sandbox.create_contact(ADA, "Ada");
    let changed = "UPDATE users SET changed_at = datetime('now', '-1 seconds')";
    world.sql(changed).await;
    sweep(&mut world).await;
    assert_eq!(world.contact_data(ADA, "plan"), "pro");
    world.change_user("u1", "plan = 'starter'").await;
    next_look(&mut world).await;
    assert_eq!(world.contact_data(ADA, "plan"), "starter");
    world.finish().await;
}

/// A run that a chat has planned, and that is late, takes an answer that may be kept from before the change.
#[tokio::test]
async fn a_change_is_found_again_while_an_answer_from_before_it_may_be_kept() {
    let mut world = world(|setup| setup.replace("found = \"0s\"", "found = \"10m\"")).await;
    world.add_user("u1", ADA).await;
    sweep(&mut world).await;
    world
        .pass(EVERY.saturating_sub(Duration::from_mins(10)))
        .await;
    let refused = Fault::status("people_data.update", 503).retry_after("1200");
    world.sandbox.fault(refused);
    world.open(OpenChat::by(ADA).proven()).await;
    assert_eq!(world.contact_data(ADA, "plan"), "", "it is put off");
    world
        .sql("UPDATE users SET plan = 'starter', changed_at = datetime('now', '-20 seconds')")
        .await;
    world.pass(Duration::from_mins(30)).await;
    assert_eq!(world.contact_data(ADA, "plan"), "pro", "as it was kept");
    next_look(&mut world).await;
    assert_eq!(world.contact_data(ADA, "plan"), "starter");
    world.finish().await;
}

/// Of so many people, how many were not looked at.
async fn unknown(world: &World, count: usize) -> usize {
    let mut unknown = 0;
    for number in 0..count {
        unknown += usize::from(!is_known(world, &format!("p{number:03}")).await);
    }
    unknown
}

#[tokio::test]
async fn what_waits_is_bounded_and_the_quota_is_left_to_others() {
    /// What background work may use of the day, and what is in hand when that is used up.
    const ALLOWED: usize = 60 + 8 * 3;
    let mut world = world(|setup| {
        setup.replace("page = 3", "page = 3\nbacklog = 6");
        setup.add("[crisp]\ndaily_quota = 100\nreserve = 40");
    })
    .await;
    people(&mut world, 40).await;
    for number in 0..40 {
        world
            .sandbox
            .create_contact(&address(number), "One of many");
    }
    sweep(&mut world).await;
    let (mut days, mut marker) = (0, 0);
    while unknown(&world, 40).await > 0 {
        // Whom the one has found the other may find as well.
        let mut all = 0;
        for lane in [Lane::Changes, Lane::Rescan] {
            let ledger = &world.service.ledger;
            let waiting = ledger.swept_waiting(lane, 100).await;
            all += waiting.expect("readable");
        }
        // Those in hand are not counted while a page is read.
        assert!(all <= 2 * (6 + 2) + 8, "{all} wait");
        world.pass(Duration::from_mins(20)).await;
        let spent = world.calls_since(marker).len();
        assert!(
            spent <= ALLOWED,
            "{spent} calls: the reserve is not the sweep's"
        );
        world.clock.advance(DAY);
        marker = world.marker();
        world.settle().await;
        days += 1;
        assert!(days < 9, "it goes on when a new day begins");
    }
    assert!(days > 0, "a day was not enough");
    for number in 0..40 {
        assert_eq!(world.contact_data(&address(number), "plan"), "pro");
    }
    world.finish().await;
}

#[tokio::test]
async fn a_change_goes_before_looking_once_more() {
    let mut world = world(|setup| {
        setup.add("[crisp]\ndaily_quota = 100\nreserve = 40");
    })
    .await;
    world.add_user("u1", ADA).await;
    world.sandbox.create_contact(ADA, "Ada");
    touched(&mut world, "u1", 60).await;
    // Half of what background work has is gone: looking once more waits for tomorrow.
    let used = [("conversation.get", 40)];
    let ledger = world.service.ledger.clone();
    ledger
        .count_calls(&used, world.now())
        .await
        .expect("counted");
    sweep(&mut world).await;
    let row = world.work(WorkKind::Person, "u1").await.expect("a row");
    assert_eq!((row.trigger, row.done_at), (Trigger::Rescan, None));
    touched(&mut world, "u1", 0).await;
    next_look(&mut world).await;
    let row = world.work(WorkKind::Person, "u1").await.expect("a row");
    assert_eq!(row.trigger, Trigger::Sweep);
    assert_eq!(world.contact_data(ADA, "plan"), "pro");
    world.finish().await;
}

#[tokio::test]
async fn how_far_it_came_is_seen_from_outside() {
    let mut world = world(|_| {}).await;
    people(&mut world, 7).await;
    sweep(&mut world).await;
    let http = World::http();
    let get = async |world: &World, path: &str| {
        let answer = http
            .get(world.ops_url(path))
            .send()
            .await
            .expect("answered");
        answer.text().await.expect("a text")
    };
    let status: serde_json::Value =
        serde_json::from_str(&get(&world, "/status").await).expect("JSON");
    let sweeps = status["sweeps"].as_array().expect("two");
    assert_eq!(sweeps[0]["lane"], "changes");
    assert_eq!(sweeps[0]["last"]["enqueued"], 7);
    assert_eq!(sweeps[0]["lag_seconds"], 0);
    assert_eq!(sweeps[0]["waiting"], 0);
    assert!(!status.to_string().contains(&address(0)));
    world.clock.advance(Duration::from_mins(3));
    let metrics = get(&world, "/metrics").await;
    assert!(
        metrics.contains("crisp_sync_sweep_lag_seconds{lane=\"changes\"} 180"),
        "{metrics}"
    );
    let told = lines().into_iter().any(|line| {
        line["event"] == "sweep.finished" && line["lane"] == "changes" && line["enqueued"] == 7
    });
    assert!(told, "the end of a look is told");
    next_look(&mut world).await;
    world.finish().await;
}
