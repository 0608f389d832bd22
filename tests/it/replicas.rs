//! Several processes, one PostgreSQL ledger: what each of them could break for the others.
//!
//! Two [`Ledger`]s on one database are two processes as far as the database can tell: they share no lock and no memory.

use std::{collections::BTreeSet, time::Duration};

use crisp_sync::{
    clock::{Clock, millis},
    ids::{SessionId, UserKey, WebsiteId},
    ledger::{
        Acceptance, Begun, Claim, Effect, Enqueue, Ledger, LedgerError, LedgerSettings, Location,
        OutboxRow, Outcome, Receipt, SendLimits, Settled, Settlement, Trigger, Urgency, WorkKind,
        WorkRow, Write, erasure::Code,
    },
    lifecycle::OutboxState,
    pseudonym::OccurrenceRef,
    sandbox::{Fault, OpenChat, State},
    worker::Step,
};
use futures_util::future::{join, join_all};
use jiff::{Timestamp, civil::date};
use serde_json::json;
use sqlx::{Connection as _, Executor as _, PgConnection, SqliteConnection};

use crate::{
    engines::{Database, execute, with_a_server},
    ledger::delivery,
    world::World,
};

const LEASE: Duration = Duration::from_mins(1);

fn secs(seconds: i64) -> Timestamp {
    millis(1_763_700_000_000 + seconds * 1_000)
}

fn website() -> WebsiteId {
    WebsiteId::parse("w-1").expect("an id")
}

fn enqueue(kind: WorkKind, key: &str, now: Timestamp) -> Enqueue {
    Enqueue {
        kind,
        website: website(),
        key: key.to_owned(),
        trigger: Trigger::MessageSend,
        run_at: now,
        urgency: Urgency::Normal {
            fresh_for: Duration::ZERO,
        },
        debounce: Duration::ZERO,
    }
}

fn session(number: usize) -> SessionId {
    SessionId::parse(&format!("session_{number:04}")).expect("an id")
}

fn message(number: usize, now: Timestamp) -> Acceptance {
    let key = session(number);
    told(vec![Effect::Enqueue(enqueue(
        WorkKind::Conversation,
        key.as_str(),
        now,
    ))])
}

fn told(effects: Vec<Effect>) -> Acceptance {
    Acceptance {
        delivery: delivery("message:send"),
        effects,
    }
}

fn settings(url: &str) -> LedgerSettings {
    LedgerSettings::of(Location::Server(url.to_owned().into()))
}

async fn open(url: &str, now: Timestamp) -> Ledger {
    let ledger = Ledger::open(settings(url), now).await;
    ledger.expect("the ledger opens")
}

async fn two(url: &str) -> [Ledger; 2] {
    [open(url, secs(0)).await, open(url, secs(0)).await]
}

async fn claims(ledger: &Ledger, limit: u32, now: Timestamp) -> Vec<Claim> {
    let claims = ledger.claim(limit, LEASE, now).await;
    claims.expect("a claim")
}

async fn settle(ledger: &Ledger, claim: &Claim, outcome: Outcome, now: Timestamp) -> Settled {
    let settled = ledger.settle(claim, Settlement::of(outcome), now).await;
    settled.expect("an answer")
}

async fn row(ledger: &Ledger, number: usize) -> WorkRow {
    let (website, key) = (website(), session(number));
    let row = ledger.work(WorkKind::Conversation, &website, key.as_str());
    row.await.expect("a read").expect("a row")
}

with_a_server! {
    processes_that_open_at_once_migrate_once_and_have_one_secret,
    each_row_has_one_worker,
    triggers_from_both_sides_are_all_counted,
    batches_that_touch_the_same_rows_do_not_stop_each_other,
    what_is_triggered_while_it_is_settled_is_not_lost,
    a_lost_lease_writes_nothing,
    leases_that_ran_out_are_taken_back_once,
    a_pause_is_everybodys_and_so_is_its_probe,
    a_websites_pause_that_is_over_is_no_leave_to_try_the_token,
    the_counted_calls_are_everybodys,
    two_accounts_on_one_address_are_told_once,
    the_brake_counts_what_all_of_them_send,
    the_newest_definition_that_lives_works,
    who_only_observes_leaves_the_work_to_those_who_act,
    what_one_takes_wakes_the_others,
    a_listening_connection_that_is_cut_heals,
    connections_that_are_cut_heal,
    a_row_that_somebody_sits_on_is_an_answer_and_not_a_hang,
    a_look_for_who_was_erased_is_tried_anew,
    a_clock_set_back_is_followed_once,
    another_timeline_makes_cautious,
    a_schema_that_is_newer_or_foreign_is_refused_untouched,
    a_clock_follows_the_servers,
    both_engines_have_the_same_columns,
}

async fn processes_that_open_at_once_migrate_once_and_have_one_secret(url: String) {
    let all = join_all((0..6).map(|_| open(&url, secs(0)))).await;
    let email = crisp_sync::ids::Email::parse("ada@example.org").expect("an address");
    let pseudonyms: BTreeSet<_> = all
        .iter()
        .map(|ledger| ledger.pseudonyms().email(&email).as_str().to_owned())
        .collect();
    assert_eq!(pseudonyms.len(), 1);
    for ledger in &all {
        assert_eq!(ledger.cautious_until().await.expect("a read"), None);
    }
}

async fn each_row_has_one_worker(url: String) {
    const ROWS: usize = 300;
    let both = two(&url).await;
    let accepted =
        (0..ROWS).map(|number| both[number % 2].accept(message(number, secs(0)), secs(0)));
    for answer in join_all(accepted).await {
        answer.expect("accepted");
    }
    let work = |ledger: Ledger| async move {
        let mut keys = Vec::new();
        loop {
            let claimed = claims(&ledger, 7, secs(1)).await;
            if claimed.is_empty() {
                return keys;
            }
            for claim in claimed {
                let settled = settle(&ledger, &claim, Outcome::Done, secs(1)).await;
                assert_eq!(settled, Settled::Written);
                keys.push(claim.key);
            }
        }
    };
    let workers = (0..4).map(|number| tokio::spawn(work(both[number % 2].clone())));
    let mut worked: Vec<String> = Vec::new();
    for ended in join_all(workers).await {
        worked.extend(ended.expect("no panic"));
    }
    // A claim passes over what another one takes at this moment, so the last of them may have gone home early.
    worked.extend(work(both[0].clone()).await);
    let distinct: BTreeSet<_> = worked.iter().collect();
    assert_eq!((worked.len(), distinct.len()), (ROWS, ROWS));
    let health = both[1].health(secs(1)).await.expect("a read");
    assert_eq!((health.pending, health.leased, health.dead), (0, 0, 0));
}

async fn triggers_from_both_sides_are_all_counted(url: String) {
    const EACH: usize = 40;
    let both = two(&url).await;
    // Nobody has a row to lock yet.
    let first = join_all(
        both.each_ref()
            .map(|ledger| ledger.accept(message(1, secs(0)), secs(0))),
    );
    for answer in first.await {
        answer.expect("accepted");
    }
    let before = row(&both[0], 1).await.want_generation;
    assert_eq!(claims(&both[0], 1, secs(0)).await.len(), 1);
    // While it is worked each trigger counts.
    let one_by_one = |ledger: Ledger| async move {
        for _ in 0..EACH {
            let accepted = ledger.accept(message(1, secs(1)), secs(1)).await;
            accepted.expect("accepted");
        }
    };
    let [one, other] = both.clone().map(|ledger| tokio::spawn(one_by_one(ledger)));
    let (one, other) = join(one, other).await;
    one.expect("no panic");
    other.expect("no panic");
    let after = row(&both[0], 1).await.want_generation;
    assert_eq!(after - before, i64::try_from(2 * EACH).expect("few"));
}

async fn batches_that_touch_the_same_rows_do_not_stop_each_other(url: String) {
    let both = two(&url).await;
    // The same conversations in opposite orders, new ones and known ones, and words about what they hold.
    let told_about = |number: usize, now: Timestamp| {
        let (website, session) = (website(), session(number));
        told(vec![
            Effect::IdentityChanged {
                website: website.clone(),
                session: session.clone(),
            },
            Effect::Enqueue(enqueue(WorkKind::Conversation, session.as_str(), now)),
        ])
    };
    for round in 0..6_i64 {
        let now = secs(round);
        let forth = join_all((0..60).map(|number| both[0].accept(told_about(number, now), now)));
        let back = join_all(
            (0..60)
                .rev()
                .map(|number| both[1].accept(told_about(number, now), now)),
        );
        let (forth, back) = join(forth, back).await;
        for answer in forth.into_iter().chain(back) {
            answer.expect("accepted");
        }
    }
    let health = both[0].health(secs(10)).await.expect("a read");
    assert_eq!((health.pending, health.quarantined), (60, 0));
}

async fn what_is_triggered_while_it_is_settled_is_not_lost(url: String) {
    let [one, other] = two(&url).await;
    for round in 0..40_i64 {
        let now = secs(round * 10);
        one.accept(message(1, now), now).await.expect("accepted");
        let claim = claims(&one, 1, now).await.remove(0);
        let (settled, accepted) = join(
            settle(&one, &claim, Outcome::Done, now),
            other.accept(message(1, now), now),
        )
        .await;
        assert_eq!(settled, Settled::Written);
        accepted.expect("accepted");
        // Whichever came first: the trigger was told after the work was claimed.
        let again = claims(&other, 1, now).await;
        assert_eq!(again.len(), 1, "round {round}");
        assert_eq!(
            settle(&other, &again[0], Outcome::Done, now).await,
            Settled::Written
        );
    }
}

async fn a_lost_lease_writes_nothing(url: String) {
    let [one, other] = two(&url).await;
    one.accept(message(1, secs(0)), secs(0))
        .await
        .expect("accepted");
    let lost = claims(&one, 1, secs(0)).await.remove(0);
    assert!(claims(&other, 1, secs(59)).await.is_empty(), "it is leased");
    let taken = claims(&other, 1, secs(61)).await.remove(0);
    assert_eq!(taken.crashes, 1);
    assert_eq!(
        settle(&one, &lost, Outcome::Done, secs(61)).await,
        Settled::LeaseLost
    );
    let extended = one.extend(&lost, LEASE, secs(61)).await;
    assert!(!extended.expect("an answer"));
    assert_eq!(
        settle(&other, &taken, Outcome::Done, secs(62)).await,
        Settled::Written
    );
    // Nor does another process that starts take a living one's lease.
    one.accept(message(2, secs(70)), secs(70))
        .await
        .expect("accepted");
    let held = claims(&one, 1, secs(70)).await.remove(0);
    let third = open(&url, secs(71)).await;
    assert!(claims(&third, 1, secs(72)).await.is_empty());
    assert_eq!(
        settle(&one, &held, Outcome::Done, secs(73)).await,
        Settled::Written
    );
}

async fn leases_that_ran_out_are_taken_back_once(url: String) {
    const ROWS: usize = 120;
    let both = two(&url).await;
    for answer in
        join_all((0..ROWS).map(|number| both[0].accept(message(number, secs(0)), secs(0)))).await
    {
        answer.expect("accepted");
    }
    assert_eq!(claims(&both[0], 200, secs(0)).await.len(), ROWS);
    let all = (0..4).map(|number| {
        let ledger = both[number % 2].clone();
        tokio::spawn(async move { claims(&ledger, 200, secs(61)).await })
    });
    let mut taken = Vec::new();
    for claimed in join_all(all).await {
        taken.extend(claimed.expect("no panic"));
    }
    taken.extend(claims(&both[0], 200, secs(61)).await);
    assert_eq!(taken.len(), ROWS);
    assert!(taken.iter().all(|claim| claim.crashes == 1));
}

async fn a_pause_is_everybodys_and_so_is_its_probe(url: String) {
    let both = two(&url).await;
    for number in 0..20 {
        both[0]
            .accept(message(number, secs(0)), secs(0))
            .await
            .expect("accepted");
    }
    for round in 0..5_i64 {
        let now = secs(round * 1_000);
        let first = claims(&both[0], 1, now).await;
        assert_eq!(first.len(), 1);
        let pause = Outcome::PauseToken {
            until: now + Duration::from_mins(10),
            probe_every: Duration::from_mins(15),
            reason: "quota".to_owned(),
        };
        assert_eq!(
            settle(&both[0], &first[0], pause, now).await,
            Settled::Written
        );
        let waits = now + Duration::from_secs(599);
        assert!(claims(&both[1], 10, waits).await.is_empty());
        let probes_at = now + Duration::from_mins(10);
        let (one, other) = join(
            claims(&both[0], 10, probes_at),
            claims(&both[1], 10, probes_at),
        )
        .await;
        let probes: Vec<_> = one.into_iter().chain(other).collect();
        assert_eq!(probes.len(), 1, "round {round}");
        assert!(probes[0].probe);
        // The next round begins without a pause.
        both[1].resume(None).await.expect("resumed");
        assert_eq!(
            settle(&both[1], &probes[0], Outcome::Done, probes_at).await,
            Settled::Written
        );
    }
}

async fn a_websites_pause_that_is_over_is_no_leave_to_try_the_token(url: String) {
    let both = two(&url).await;
    for round in 0..5_i64 {
        let now = secs(round * 10_000);
        let until = now + Duration::from_mins(1);
        let probe_every = Duration::from_mins(15);
        let mut rows = Vec::new();
        for number in 1..=3 {
            let website = WebsiteId::parse(&format!("w-{round}-{number}")).expect("an id");
            rows.push(Enqueue {
                website,
                ..enqueue(WorkKind::Conversation, "session_1", now)
            });
        }
        both[0].enqueue(rows, now).await.expect("enqueued");
        let claimed = claims(&both[0], 10, now).await;
        assert_eq!(claimed.len(), 3);
        for (claim, is_token) in claimed.iter().zip([false, false, true]) {
            let reason = "quota".to_owned();
            let pause = if is_token {
                Outcome::PauseToken {
                    until,
                    probe_every,
                    reason,
                }
            } else {
                Outcome::PauseWebsite {
                    until,
                    probe_every,
                    reason,
                }
            };
            assert_eq!(settle(&both[0], claim, pause, now).await, Settled::Written);
        }
        let (one, other) = join(claims(&both[0], 10, until), claims(&both[1], 10, until)).await;
        let probes: Vec<_> = one.into_iter().chain(other).collect();
        assert_eq!(probes.len(), 1, "round {round}");
        // The next round begins with nothing left.
        both[0].resume(None).await.expect("resumed");
        for claim in &claimed {
            both[0].resume(Some(&claim.website)).await.expect("resumed");
        }
        let rest = claims(&both[0], 10, until).await;
        for claim in rest.iter().chain(&probes) {
            let settled = settle(&both[0], claim, Outcome::Done, until).await;
            assert_eq!(settled, Settled::Written);
        }
    }
}

async fn the_counted_calls_are_everybodys(url: String) {
    let both = two(&url).await;
    let count = |ledger: Ledger| async move {
        for _ in 0..50 {
            ledger
                .count_calls(&[("refresh", 2)], secs(0))
                .await
                .expect("counted");
        }
    };
    let [one, other] = both.clone().map(|ledger| tokio::spawn(count(ledger)));
    let (one, other) = join(one, other).await;
    one.expect("no panic");
    other.expect("no panic");
    let day = both[0].quota(date(2025, 11, 21)).await.expect("a read");
    assert_eq!(day.iter().map(|day| day.calls).collect::<Vec<_>>(), [200]);
}

fn occurrence(ledger: &Ledger, user: &str, key: &str, now: Timestamp) -> OutboxRow {
    let email = crisp_sync::ids::Email::parse("ada@example.org").expect("an address");
    OutboxRow {
        website: website(),
        user_key: UserKey::parse(user).expect("a key"),
        key: key.to_owned(),
        event: "user:trial:ended".to_owned(),
        subject: String::new(),
        instant: Some(now),
        state: OutboxState::Due,
        reference: OccurrenceRef::from_stored(format!("ref-{user}-{key}")),
        due_at: now,
        not_before: None,
        attempts: 0,
        attempted_at: None,
        sent_at: None,
        absent_reads: 0,
        first_absent_at: None,
        reason: "new".to_owned(),
        email_mac: Some(ledger.pseudonyms().email(&email)),
        data: json!({"plan": "pro"}),
        color: "green".to_owned(),
        created_at: now,
        updated_at: now,
    }
}

async fn two_accounts_on_one_address_are_told_once(url: String) {
    let both = two(&url).await;
    for round in 0..10_i64 {
        let now = secs(round * 1_000);
        let mut begins = Vec::new();
        for (ledger, user) in both.iter().zip(["41", "42"]) {
            let work = enqueue(WorkKind::Person, user, now);
            ledger
                .accept(told(vec![Effect::Enqueue(work)]), now)
                .await
                .expect("accepted");
            let claim = claims(ledger, 1, now).await.remove(0);
            let row = occurrence(ledger, &claim.key, &round.to_string(), now);
            let write = vec![Write::Outbox(row.clone())];
            let written = ledger.checkpoint(&claim, write, now).await;
            assert_eq!(written.expect("an answer"), Settled::Written);
            begins.push((ledger.clone(), claim, row));
        }
        let begun = begins.iter().map(|(ledger, claim, row)| {
            let (ledger, claim, row) = (ledger.clone(), claim.clone(), row.clone());
            tokio::spawn(async move {
                let limits = SendLimits {
                    events: vec![row.event.clone()],
                    spaced_since: Some(now - Duration::from_mins(1)),
                    ..SendLimits::default()
                };
                let begun = ledger.begin_send(&claim, &row, &limits, now).await;
                begun.expect("an answer")
            })
        });
        let begun: Vec<Begun> = join_all(begun)
            .await
            .into_iter()
            .map(|begun| begun.expect("no panic"))
            .collect();
        let count = |wanted| begun.iter().filter(|begun| **begun == wanted).count();
        assert_eq!(
            (count(Begun::Yes), count(Begun::TooSoon)),
            (1, 1),
            "{begun:?}"
        );
        for (ledger, claim, _) in &begins {
            assert_eq!(
                settle(ledger, claim, Outcome::Done, now).await,
                Settled::Written
            );
        }
    }
}

async fn the_brake_counts_what_all_of_them_send(url: String) {
    const PEOPLE: usize = 24;
    let both = two(&url).await;
    let mut begins = Vec::new();
    for number in 0..PEOPLE {
        let ledger = &both[number % 2];
        let work = enqueue(WorkKind::Person, &format!("{number}"), secs(0));
        ledger
            .accept(told(vec![Effect::Enqueue(work)]), secs(0))
            .await
            .expect("accepted");
        let claim = claims(ledger, 1, secs(0)).await.remove(0);
        let row = OutboxRow {
            email_mac: None,
            ..occurrence(ledger, &claim.key, "one", secs(0))
        };
        let written = ledger
            .checkpoint(&claim, vec![Write::Outbox(row.clone())], secs(0))
            .await;
        assert_eq!(written.expect("an answer"), Settled::Written);
        begins.push((ledger.clone(), claim, row));
    }
    let begun = begins.into_iter().map(|(ledger, claim, row)| {
        tokio::spawn(async move {
            let limits = SendLimits::default();
            ledger.begin_send(&claim, &row, &limits, secs(1)).await
        })
    });
    let mut went = 0;
    for begun in join_all(begun).await {
        match begun.expect("no panic").expect("an answer") {
            Begun::Yes => went += 1,
            Begun::Braked => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(went, 20, "of one event an hour");
}

async fn the_newest_definition_that_lives_works(url: String) {
    let [old, new] = two(&url).await;
    let works = async |ledger: &Ledger, now: Timestamp| {
        let claimed = claims(ledger, 1, now).await;
        for claim in &claimed {
            assert_eq!(
                settle(ledger, claim, Outcome::Again { at: now }, now).await,
                Settled::Written
            );
        }
        !claimed.is_empty()
    };
    old.accept(message(1, secs(0)), secs(0))
        .await
        .expect("accepted");
    old.join("one", secs(0)).await.expect("joined");
    assert!(works(&old, secs(0)).await);
    new.join("two", secs(1)).await.expect("joined");
    assert!(!works(&old, secs(2)).await, "a newer one lives");
    assert!(works(&new, secs(2)).await);
    // An old one that is started again in the middle of the change does not stop the new ones.
    let late = open(&url, secs(3)).await;
    late.join("one", secs(3)).await.expect("joined");
    assert!(!works(&late, secs(3)).await);
    assert!(works(&new, secs(3)).await);
    // Whoever goes back ends the newer ones.
    new.close().await.expect("closed");
    assert!(works(&old, secs(4)).await);
    assert!(works(&late, secs(4)).await);
    // Of one that died nothing is heard any more; and what is heard of itself keeps one alive.
    let dies = open(&url, secs(5)).await;
    dies.join("three", secs(5)).await.expect("joined");
    assert!(!works(&old, secs(94)).await);
    assert_eq!(old.next_due(secs(94)).await.expect("a read"), None);
    dies.heartbeat(secs(90)).await.expect("a beat");
    assert!(!works(&old, secs(179)).await);
    drop(dies);
    assert!(works(&old, secs(181)).await);
    assert!(old.next_due(secs(181)).await.expect("a read").is_some());
}

async fn who_only_observes_leaves_the_work_to_those_who_act(url: String) {
    let [observes, acts] = two(&url).await;
    observes.join_to_observe(secs(0)).await.expect("joined");
    let accepted = observes.accept(message(1, secs(0)), secs(0)).await;
    accepted.expect("accepted");
    // Alone it observes.
    let claimed = claims(&observes, 1, secs(0)).await;
    let again = Outcome::Again { at: secs(1) };
    assert_eq!(
        settle(&observes, &claimed[0], again, secs(0)).await,
        Settled::Written
    );
    acts.join("one", secs(1)).await.expect("joined");
    assert!(claims(&observes, 1, secs(2)).await.is_empty());
    assert_eq!(observes.next_due(secs(2)).await.expect("a read"), None);
    let late = open(&url, secs(2)).await;
    late.join_to_observe(secs(2)).await.expect("joined");
    assert!(claims(&late, 1, secs(2)).await.is_empty());
    // It stops nobody, and its turn comes when nobody acts any more.
    let claimed = claims(&acts, 1, secs(3)).await;
    let again = Outcome::Again { at: secs(4) };
    assert_eq!(
        settle(&acts, &claimed[0], again, secs(3)).await,
        Settled::Written
    );
    acts.close().await.expect("closed");
    assert_eq!(claims(&observes, 1, secs(5)).await.len(), 1);
}

/// Waits until somebody is woken; a story does not wait for ever.
async fn woken(ledger: &Ledger) {
    let woken = tokio::time::timeout(Duration::from_secs(20), ledger.wake().notified()).await;
    woken.expect("it is told that there is work");
}

async fn what_one_takes_wakes_the_others(url: String) {
    let [takes, works] = two(&url).await;
    works.join("one", secs(0)).await.expect("joined");
    // Once, when it has begun to listen: what came before is looked for.
    woken(&works).await;
    for number in 0..3 {
        let accepted = takes.accept(message(number, secs(0)), secs(0)).await;
        accepted.expect("accepted");
        woken(&works).await;
    }
    // A command wakes those who work before it ends.
    let command = open(&url, secs(0)).await;
    let row = enqueue(WorkKind::Conversation, session(7).as_str(), secs(0));
    command.enqueue(vec![row], secs(0)).await.expect("enqueued");
    command.close().await.expect("closed");
    woken(&works).await;
    works.close().await.expect("closed");
    takes.close().await.expect("closed");
}

async fn a_listening_connection_that_is_cut_heals(url: String) {
    let [takes, works] = two(&url).await;
    works.join("one", secs(0)).await.expect("joined");
    woken(&works).await;
    execute(
        &url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = current_database() AND query LIKE 'LISTEN%'",
    )
    .await;
    // Connected anew, it looks for what came meanwhile.
    woken(&works).await;
    let accepted = takes.accept(message(1, secs(0)), secs(0)).await;
    accepted.expect("accepted");
    woken(&works).await;
    works.close().await.expect("closed");
}

async fn connections_that_are_cut_heal(url: String) {
    let ledger = open(&url, secs(0)).await;
    for number in 0..5 {
        ledger
            .accept(message(number, secs(0)), secs(0))
            .await
            .expect("accepted");
        execute(
            &url,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .await;
        ledger.health(secs(0)).await.expect("a read");
    }
    assert_eq!(claims(&ledger, 10, secs(1)).await.len(), 5);
}

async fn a_row_that_somebody_sits_on_is_an_answer_and_not_a_hang(url: String) {
    let ledger = open(&url, secs(0)).await;
    ledger
        .accept(message(1, secs(0)), secs(0))
        .await
        .expect("accepted");
    let mut thief = PgConnection::connect(&url).await.expect("postgres");
    thief
        .execute("BEGIN; SELECT 1 FROM crisp_sync.work FOR UPDATE")
        .await
        .expect("the lock");
    let error = ledger.accept(message(1, secs(1)), secs(1)).await;
    let error = error.expect_err("the row is locked");
    assert!(
        matches!(error, LedgerError::Interrupted { .. }),
        "{error:?}"
    );
    assert!(error.is_transient());
    thief.execute("ROLLBACK").await.expect("let go");
    ledger
        .accept(message(1, secs(2)), secs(2))
        .await
        .expect("accepted");
}

/// Whoever is erased may be settled by another process at that moment, and the server ends one of the two.
async fn a_look_for_who_was_erased_is_tried_anew(url: String) {
    let ledger = open(&url, secs(0)).await;
    let person = enqueue(WorkKind::Person, "u1", secs(0));
    ledger
        .enqueue(vec![person], secs(0))
        .await
        .expect("enqueued");
    execute(
        &url,
        "CREATE SEQUENCE deleted; \
         CREATE FUNCTION in_the_way() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
           IF nextval('public.deleted') = 1 THEN RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '40P01'; END IF; \
           RETURN OLD; END $$; \
         CREATE TRIGGER in_the_way BEFORE DELETE ON crisp_sync.work FOR EACH ROW EXECUTE FUNCTION in_the_way()",
    )
    .await;
    let codes = ledger.pseudonyms();
    let user = UserKey::parse("u1").expect("a key");
    let receipt = Receipt {
        receipt: "er_kept".to_owned(),
        ledger: codes.fingerprint(),
        website_id: None,
        erased_at: secs(0),
        lifted_at: None,
        tombstones: vec![Code {
            kind: "user".to_owned(),
            mac: codes.erased_user(&user).as_str().to_owned(),
        }],
        deleted: [].into(),
        delete_contact: false,
        owed: Vec::new(),
    };
    let replayed = ledger.replay(&receipt, &[website()], secs(1)).await;
    assert!(replayed.expect("tried anew"));
    let work = ledger.work(WorkKind::Person, &website(), "u1").await;
    assert_eq!(work.expect("a read"), None);
}

async fn a_clock_set_back_is_followed_once(url: String) {
    let both = two(&url).await;
    let later = enqueue(WorkKind::Conversation, session(1).as_str(), secs(7_300));
    both[0]
        .accept(told(vec![Effect::Enqueue(later)]), secs(7_200))
        .await
        .expect("accepted");
    for ledger in &both {
        ledger.heartbeat(secs(7_200)).await.expect("a beat");
    }
    // Each notices, one pulls.
    for ledger in &both {
        ledger.heartbeat(secs(0)).await.expect("a beat");
        assert_eq!(row(ledger, 1).await.run_at, secs(100));
    }
    // One that is a little behind pulls nothing.
    both[0].heartbeat(secs(30)).await.expect("a beat");
    both[1].heartbeat(secs(29)).await.expect("a beat");
    assert_eq!(row(&both[0], 1).await.run_at, secs(100));
}

async fn another_timeline_makes_cautious(url: String) {
    let ledger = open(&url, secs(0)).await;
    ledger.heartbeat(secs(0)).await.expect("a beat");
    ledger.heartbeat(secs(30)).await.expect("a beat");
    assert_eq!(ledger.cautious_until().await.expect("a read"), None);
    // What a promoted standby holds: the timeline of the server that it followed.
    execute(
        &url,
        "UPDATE crisp_sync.meta SET value = '0' WHERE key = 'timeline'",
    )
    .await;
    // Whoever notices looks for what was lost, at once.
    let lost = ledger.heartbeat(secs(60)).await.expect("a beat");
    let gap = ledger.last_gap().await.expect("a read").expect("a gap");
    assert_eq!((gap.from, gap.to), (secs(30), secs(60)));
    assert_eq!(lost, Some(gap));
    // A copy in another database, or one that was restored.
    execute(
        &url,
        "UPDATE crisp_sync.meta SET value = 'elsewhere' WHERE key = 'place'",
    )
    .await;
    let copy = open(&url, secs(90)).await;
    assert_eq!(copy.cautious_until().await.expect("a read"), Some(secs(90)));
}

async fn a_schema_that_is_newer_or_foreign_is_refused_untouched(url: String) {
    execute(
        &url,
        "CREATE SCHEMA crisp_sync; CREATE TABLE crisp_sync.theirs (id int)",
    )
    .await;
    let error = Ledger::open(settings(&url), secs(0))
        .await
        .expect_err("not ours");
    assert!(
        matches!(error, LedgerError::ForeignSchema { .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("\nhint: "), "{error}");
    execute(&url, "DROP SCHEMA crisp_sync CASCADE").await;
    let ledger = open(&url, secs(0)).await;
    let newer = "INSERT INTO crisp_sync._sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (999, 'later', true, '', 0)";
    execute(&url, newer).await;
    let error = Ledger::open(settings(&url), secs(0))
        .await
        .expect_err("newer");
    let LedgerError::NewerSchema { found: 999, .. } = error else {
        panic!("{error:?}");
    };
    // One that runs already goes on: a rolling change migrates under it.
    ledger
        .accept(message(1, secs(0)), secs(0))
        .await
        .expect("accepted");
    let nowhere = Ledger::open(settings("postgres://u:hunter2@127.0.0.1:1/db"), secs(0)).await;
    let error = nowhere.expect_err("nobody is there");
    assert!(matches!(error, LedgerError::Connect { .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

async fn a_clock_follows_the_servers(url: String) {
    let ledger = open(&url, secs(0)).await;
    let ours = Clock::System;
    let clock = ours.clone().able_to_follow();
    let wrong = ours.now() + Duration::from_hours(5);
    clock.follow(wrong, ours.now(), ours.now());
    assert!(clock.now() > ours.now() + Duration::from_hours(4));
    ledger.correct(&clock).await.expect("the server tells");
    let off = clock.now().duration_since(ours.now()).abs();
    assert!(off < jiff::SignedDuration::from_mins(1), "{off:?}");
}

async fn both_engines_have_the_same_columns(url: String) {
    drop(open(&url, secs(0)).await);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ledger.db");
    let ledger = Ledger::open(LedgerSettings::at(&file), secs(0)).await;
    ledger.expect("a ledger").close().await.expect("closed");
    let mut server = PgConnection::connect(&url).await.expect("postgres");
    let mut on_server: Vec<String> = sqlx::query_scalar(
        "SELECT table_name || '.' || column_name || CASE is_nullable WHEN 'NO' THEN ' NOT NULL' ELSE '' END \
         FROM information_schema.columns \
         WHERE table_schema = 'crisp_sync' AND table_name NOT IN ('_sqlx_migrations', 'processes')",
    )
    .fetch_all(&mut server)
    .await
    .expect("columns");
    let mut connection = SqliteConnection::connect(&format!("sqlite://{}", file.display()))
        .await
        .expect("the file");
    let mut in_file: Vec<String> = sqlx::query_scalar(
        "SELECT t.name || '.' || c.name || CASE WHEN c.\"notnull\" OR c.pk THEN ' NOT NULL' ELSE '' END \
         FROM sqlite_schema AS t, pragma_table_xinfo(t.name) AS c \
         WHERE t.type = 'table' AND t.name NOT IN ('_sqlx_migrations', 'sqlite_sequence')",
    )
    .fetch_all(&mut connection)
    .await
    .expect("columns");
    on_server.sort();
    in_file.sort();
    assert_eq!(on_server, in_file);
}

/// A row that saw crashes is worked alone, and whoever waits beside it dies of no fault of the ledger: it is given back.
#[tokio::test]
async fn who_waits_for_a_place_while_the_ledger_fails_saw_no_crash() {
    let Some(database) = Database::create().await else {
        return;
    };
    let mut world = World::with(|setup| setup.set("CRISP_SYNC_LEDGER", &database.url)).await;
    world.add_user("u1", "ada@example.org").await;
    let sessions = [1, 2].map(|_| OpenChat::by("ada@example.org").proven());
    let suspect = world.open(sessions[0].clone()).await;
    let other = world.open(sessions[1].clone()).await;
    world.change_user("u1", "plan = 'starter'").await;
    for session in [&suspect, &other] {
        world.sandbox.operator_opens(session).expect("there");
    }
    world.hooks_arrive().await;
    let crashed = format!("UPDATE crisp_sync.work SET crashes = 2 WHERE key = '{suspect}'");
    execute(&database.url, &crashed).await;
    world.sandbox.fault(Fault {
        route: Some("conversation.get".to_owned()),
        hold: true,
        times: Some(1),
        ..Fault::default()
    });
    let marker = world.marker();
    let worker = world.service.worker.clone();
    let step = tokio::spawn(async move { worker.step().await });
    let called = |state: &State| !state.calls().since(marker).is_empty();
    let called = world.sandbox.wait_until("one of them is worked", called);
    called.await.expect("a call");
    database
        .alter("SET default_transaction_read_only = on")
        .await;
    world.sandbox.release();
    let ended = step.await.expect("no panic").expect("claimed");
    assert_eq!(ended, Step::Worked(2));
    let count = |outcome: &str| {
        let kind = "kind=\"conversation\"";
        world.metric(&format!(
            "crisp_sync_work_total{{{kind},outcome=\"{outcome}\"}}"
        ))
    };
    assert_eq!((count("unsettled"), count("lease_lost")), (2, 0));
    database
        .alter_quietly("RESET default_transaction_read_only")
        .await;
    world.pass(Duration::from_mins(3)).await;
    for session in [&suspect, &other] {
        assert_eq!(world.data(session, "plan"), "starter");
    }
    let today = world.now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let counted = world.service.ledger.quota(today).await.expect("a read");
    let counted: u64 = counted.iter().map(|one| one.calls).sum();
    assert_eq!(
        counted,
        world.calls_since(0).len() as u64,
        "each call is counted"
    );
    world.finish().await;
    database.drop().await;
}

/// While replicas are replaced, the old definition and the new one do not correct each other.
#[tokio::test]
async fn a_rolling_change_of_the_definition_does_not_flap() {
    let Some(mut world) = World::on_a_server().await else {
        return;
    };
    world.add_user("u1", "ada@example.org").await;
    let session = world.open(OpenChat::by("ada@example.org").proven()).await;
    assert_eq!(world.data(&session, "plan"), "pro");

    let (new, mut server) = world
        .replica(|setup| setup.replace("plan = \"{{ plan }}\"", "plan = \"{{ plan }}!\""))
        .await;
    let marker = world.marker();
    for _ in 0..5 {
        world
            .sandbox
            .message(&session, "anybody there?")
            .expect("there");
        for _ in 0..4 {
            world.hooks_arrive().await;
            assert_eq!(
                world.step().await,
                Step::Idle,
                "the old one leaves it to the new one"
            );
            new.worker.step().await.expect("the ledger works");
        }
        world.clock.advance(Duration::from_secs(80));
        new.worker.beat().await;
    }
    assert_eq!(world.data(&session, "plan"), "pro!");
    let writes = world.calls_since(marker);
    let writes = writes
        .iter()
        .filter(|name| **name == "metas.update")
        .count();
    assert_eq!(writes, 1, "written once, by one of them");

    // Back to the old one: the new one ends.
    server.drain().await;
    server.close().await;
    new.ledger.close().await.expect("the ledger closes");
    world
        .sandbox
        .message(&session, "still there?")
        .expect("there");
    world.refresh().await;
    assert_eq!(world.data(&session, "plan"), "pro");
    world.finish().await;
}
