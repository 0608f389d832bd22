//! The bad days of our own file, and of the disk below it.

use std::{
    fs,
    io::{Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use crisp_sync::{
    ledger::{Ledger, LedgerError, LedgerSettings, WorkKind},
    sandbox::{HookState, OpenChat},
};
use jiff::Timestamp;
use sqlx::{Connection as _, Executor as _, SqliteConnection};

use super::{
    ADA, ada_chats, agent_looks, assert_shows, operators_see_that_the_ledger_can_be_read,
    operators_see_that_the_ledger_cannot_be_read,
};
use crate::{
    telemetry::lines,
    world::{BEGINNING, World},
};

const PAGE: u64 = 4096;

/// A closed ledger of that many KiB beyond what an empty one has.
struct File {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn now() -> Timestamp {
    BEGINNING.parse().expect("an instant")
}

async fn sql(path: &Path, statement: &str) {
    let url = format!("sqlite://{}", path.display());
    let mut connection = SqliteConnection::connect(&url).await.expect("a file");
    connection
        .execute(sqlx::AssertSqlSafe(statement.to_owned()))
        .await
        .expect("a statement");
    connection.close().await.expect("closed");
}

async fn file(kib: u64) -> File {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    let ledger = open(&path).await.expect("a ledger");
    ledger.close().await.expect("closed");
    let fill = format!(
        "INSERT INTO definitions (hash, noted_at) \
         WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {kib}) \
         SELECT n || hex(zeroblob(480)), 0 FROM n"
    );
    sql(&path, &fill).await;
    sql(&path, "PRAGMA wal_checkpoint(TRUNCATE)").await;
    File {
        _folder: folder,
        path,
    }
}

async fn open(path: &Path) -> Result<Ledger, LedgerError> {
    Ledger::open(LedgerSettings::at(path), now()).await
}

/// Writes noise over some bytes.
fn scribble(path: &Path, from: u64, length: u64) {
    let file = fs::OpenOptions::new().write(true).open(path);
    let mut file = file.expect("a file");
    file.seek(SeekFrom::Start(from)).expect("a place");
    let length = usize::try_from(length).expect("small");
    file.write_all(&vec![0xa5; length]).expect("written");
}

fn length(path: &Path) -> u64 {
    path.metadata().expect("a file").len()
}

impl File {
    fn scribble(&self, from: u64, length: u64) {
        scribble(&self.path, from, length);
    }

    fn cut(&self, length: u64) {
        let file = fs::OpenOptions::new()
            .write(true)
            .open(&self.path)
            .expect("a file");
        file.set_len(length).expect("cut");
    }

    fn length(&self) -> u64 {
        length(&self.path)
    }

    /// It is refused, with what to do, and left as it was.
    async fn is_refused(&self) {
        let before = fs::read(&self.path).expect("bytes");
        let error = open(&self.path).await.expect_err("it is damaged");
        assert!(matches!(error, LedgerError::Damaged { .. }), "{error:?}");
        let said = error.to_string();
        assert!(said.contains("the file is damaged"), "{said}");
        assert!(said.contains("\nhint: stop the service and move"), "{said}");
        let after = fs::read(&self.path).expect("bytes");
        assert!(before == after, "it was changed");
    }
}

#[tokio::test]
async fn a_file_that_begins_with_junk_is_refused() {
    let file = file(64).await;
    file.scribble(0, 100);
    file.is_refused().await;
}

#[tokio::test]
async fn a_file_that_was_cut_is_refused() {
    let file = file(64).await;
    file.cut(file.length() / 2 / PAGE * PAGE);
    file.is_refused().await;
}

#[tokio::test]
async fn a_large_file_that_was_cut_is_refused() {
    let file = file(20_000).await;
    assert!(file.length() > 16 * 1024 * 1024, "{}", file.length());
    file.cut(file.length() / 2 / PAGE * PAGE);
    file.is_refused().await;
}

#[tokio::test]
async fn a_page_of_noise_is_refused() {
    let file = file(64).await;
    file.scribble(3 * PAGE, PAGE);
    file.is_refused().await;
}

/// What the hint advises: the broken file away, a copy in its place.
#[tokio::test]
async fn a_copy_in_the_place_of_a_damaged_file_is_taken_up() {
    let file = file(64).await;
    let copy = file.path.with_extension("copy");
    fs::copy(&file.path, &copy).expect("copied");
    file.scribble(0, 100);
    file.is_refused().await;
    fs::rename(&copy, &file.path).expect("moved");
    let ledger = open(&file.path).await.expect("it is whole");
    // Who comes from a copy is careful with lifecycle events.
    let gap = ledger.last_gap().await.expect("readable");
    assert!(gap.is_some());
    ledger.close().await.expect("closed");
}

/// Damage that happens while the file is open is told by the statement that meets it, with the same advice.
#[tokio::test]
async fn damage_under_a_running_service_is_told_with_what_to_do() {
    let file = file(64).await;
    let ledger = open(&file.path).await.expect("a ledger");
    sql(&file.path, "PRAGMA wal_checkpoint(TRUNCATE)").await;
    file.scribble(PAGE, file.length() - PAGE);
    let error = ledger.heartbeat(now()).await.expect_err("damaged");
    assert!(matches!(error, LedgerError::Corrupt { .. }), "{error:?}");
    assert!(
        error.to_string().contains("\nhint: stop the service"),
        "{error}"
    );
    drop(ledger.close().await);
}

/// Whoever has read the file reads it anew once somebody has written to it.
async fn sees_the_file_anew(path: &Path) {
    sql(
        path,
        "INSERT INTO definitions (hash, noted_at) VALUES ('x', 0)",
    )
    .await;
    sql(path, "PRAGMA wal_checkpoint(TRUNCATE)").await;
}

#[tokio::test]
async fn operators_are_answered_while_the_file_is_damaged() {
    let (world, session) = ada_chats(|setup| setup.needs_file = true).await;
    operators_see_that_the_ledger_can_be_read(&world).await;
    let path = world.ledger_path();
    sees_the_file_anew(&path).await;
    scribble(&path, PAGE, length(&path) - PAGE);
    world.sandbox.operator_opens(&session).expect("there");
    world.hooks_arrive().await;
    let metrics = operators_see_that_the_ledger_cannot_be_read(&world).await;
    let counted = "crisp_sync_webhooks_total{outcome=\"unavailable\",hook=\"plugin\"} 1\n";
    assert!(metrics.contains(counted), "{metrics}");
    world.abandon();
}

/// What is answered 2xx is kept, and nothing can be: Crisp is told to come again, and the process goes on saying why.
#[tokio::test]
async fn nothing_is_acknowledged_while_the_file_is_damaged() {
    let (world, session) = ada_chats(|setup| setup.needs_file = true).await;
    let path = world.ledger_path();
    let answers = async |route: &str| {
        let answer = World::http().get(world.public_url(route)).send().await;
        answer.expect("an answer").status().as_u16()
    };
    assert_eq!(answers("/readyz").await, 200);
    sees_the_file_anew(&path).await;
    scribble(&path, PAGE, length(&path) - PAGE);
    let delivered = world.sandbox.look(|state| state.hooks().len());
    for _ in 0..5 {
        world.sandbox.operator_opens(&session).expect("there");
        world.sandbox.message(&session, "hello?").expect("there");
        world.hooks_arrive().await;
        let error = world.service.worker.step().await;
        let error = error.expect_err("damaged").to_string();
        assert!(error.contains("\nhint: stop the service"), "{error}");
        world.clock.advance(Duration::from_secs(15));
    }
    let states: Vec<_> = world.sandbox.look(|state| {
        let later = state.hooks().iter().skip(delivered);
        later.map(|hook| hook.state).collect()
    });
    assert!(
        states.len() >= 10 && states.iter().all(|state| *state == HookState::Failed),
        "{states:?}"
    );
    assert_eq!(answers("/readyz").await, 503);
    assert_eq!(answers("/healthz").await, 200, "it runs");
    let said = |event: &str| lines().iter().any(|line| line["event"] == event);
    assert!(said("delivery.unavailable"));
    world.abandon();
}

/// As when a disk was mounted anew after a fault: it can be read, so it is ready, and takes nothing.
#[tokio::test]
async fn a_file_that_becomes_read_only_takes_nothing_and_says_so() {
    let (mut world, session) = ada_chats(|setup| setup.needs_file = true).await;
    world.change_user("u1", "plan = 'starter'").await;
    let path = world.ledger_path();
    sees_the_file_anew(&path).await;
    let may_be_written = |yes: bool| {
        let file = fs::OpenOptions::new().write(true).open(&path);
        let mut file = file.expect("a file");
        file.seek(SeekFrom::Start(18)).expect("a place");
        file.write_all(&[if yes { 2 } else { 3 }]).expect("written");
    };
    may_be_written(false);
    world.sandbox.operator_opens(&session).expect("there");
    world.hooks_arrive().await;
    let last = world
        .sandbox
        .look(|state| state.hooks().last().map(|hook| hook.state));
    assert_eq!(last, Some(HookState::Failed), "Crisp is to send it again");
    let error = world.service.worker.step().await.expect_err("read-only");
    let error = error.to_string();
    assert!(
        error.contains("read-only") && error.contains("\nhint: "),
        "{error}"
    );
    let ready = World::http().get(world.public_url("/readyz")).send();
    assert_eq!(ready.await.expect("an answer").status(), 200);
    may_be_written(true);
    world.restart(|_| {}).await;
    assert!(world.sandbox.retry_hooks() > 0);
    world.refresh().await;
    world.pass(Duration::from_mins(2)).await;
    assert_shows(&world, &session, "starter");
    world.finish().await;
}

/// A backup is put in the place of a file that is in use, or the file is removed: nothing is acknowledged into what nobody will
/// read, what is still open can be saved, and where the file is put back everything goes on.
#[tokio::test]
async fn a_file_that_is_replaced_while_the_service_runs_takes_nothing() {
    for is_removed in [false, true] {
        let (mut world, session) = ada_chats(|setup| setup.needs_file = true).await;
        let path = world.ledger_path();
        let aside = path.with_extension("aside");
        let copy = path.with_extension("copy");
        let copied = world.service.ledger.backup(&copy).await;
        copied.expect("a copy");
        fs::rename(&path, &aside).expect("put aside");
        if !is_removed {
            fs::copy(&copy, &path).expect("in its place");
        }
        let refused = world.service.ledger.heartbeat(world.now()).await;
        let error = refused.expect_err("it is another file").to_string();
        assert!(
            error.contains("removed, or another one") && error.contains("\nhint: "),
            "{error}"
        );
        world.change_user("u1", "plan = 'starter'").await;
        world.sandbox.operator_opens(&session).expect("there");
        world.hooks_arrive().await;
        let last = world
            .sandbox
            .look(|state| state.hooks().last().map(|hook| hook.state));
        assert_eq!(last, Some(HookState::Failed), "Crisp is to send it again");
        let stepped = world.service.worker.step().await;
        assert!(matches!(stepped, Err(LedgerError::Replaced { .. })));
        let saved = path.with_extension("saved");
        let rescued = world.service.ledger.backup(&saved).await;
        rescued.expect("what is open can be saved");
        if is_removed {
            fs::rename(&aside, &path).expect("put back");
        } else {
            world.restart(|_| {}).await;
        }
        assert!(world.sandbox.retry_hooks() > 0);
        world.refresh().await;
        world.pass(Duration::from_mins(2)).await;
        assert_shows(&world, &session, "starter");
        world.finish().await;
    }
}

/// What lies beside a file when it is replaced belongs to the old one: it is not folded into the new one when the service is
/// stopped, nor when it is started again.
#[tokio::test]
async fn the_log_of_a_file_that_was_replaced_is_not_taken_for_that_of_the_copy() {
    let file = file(64).await;
    let ledger = open(&file.path).await.expect("a ledger");
    let copy = file.path.with_extension("copy");
    ledger.backup(&copy).await.expect("a copy");
    for second in 1..50 {
        let at = now() + Duration::from_secs(second);
        ledger.heartbeat(at).await.expect("it says so");
    }
    fs::rename(&copy, &file.path).expect("in its place");
    let whole = fs::read(&file.path).expect("readable");
    ledger.close().await.expect("it closes");
    let found = fs::read(&file.path).expect("readable");
    assert!(whole == found, "something was written into the copy");
    let log = file.path.with_extension("db-wal");
    assert!(fs::metadata(&log).is_ok_and(|log| log.len() == 0));
    let ledger = open(&file.path).await.expect("whole");
    ledger.close().await.expect("it closes");
}

/// A file of a format that this SQLite may read and not write, which is how it looks when nothing can be written.
#[tokio::test]
async fn a_ledger_that_cannot_be_written_is_refused_at_the_start() {
    let file = file(1).await;
    let mut bytes = fs::read(&file.path).expect("bytes");
    bytes[18] = 3;
    fs::write(&file.path, bytes).expect("written");
    let error = open(&file.path).await.expect_err("read-only");
    let said = error.to_string();
    assert!(
        said.contains("read-only") && said.contains("\nhint: "),
        "{said}"
    );
}

/// Deliveries are refused while the disk is full, and come again; what is in hand is neither buried nor done a hundred times.
#[tokio::test]
async fn a_disk_that_is_full_for_hours_loses_nothing() {
    let (mut world, session) = ada_chats(|setup| setup.ledger_limit = Some(400_000)).await;
    world.change_user("u1", "plan = 'starter'").await;
    world.sandbox.operator_opens(&session).expect("there");
    let mut others = Vec::new();
    for _ in 0..40 {
        others.push(world.sandbox.open_chat(OpenChat::by(ADA).proven()));
        world.hooks_arrive().await;
    }
    // Deliveries until there is no room.
    let mut full = false;
    for _ in 0..2_000 {
        world.sandbox.message(&session, "hello?").expect("there");
        world.hooks_arrive().await;
        full = world.sandbox.look(|state| {
            let last = state.hooks().last();
            last.is_some_and(|hook| hook.state == HookState::Failed)
        });
        if full {
            break;
        }
    }
    assert!(full, "there is always room");
    assert!(others.len() == 40 && world.mirror(&others[39]).await.is_none());
    let marker = world.marker();
    for _ in 0..720 {
        // The worker says what is wrong, and goes on.
        drop(world.service.worker.step().await);
        world.clock.advance(Duration::from_secs(15));
    }
    let calls = world.calls_since(marker);
    assert!(calls.len() <= 200, "{}: {calls:?}", calls.len());
    assert!(world.metric("crisp_sync_work_total{kind=\"conversation\",outcome=\"unsettled\"}") > 5);
    assert!(world.metric("crisp_sync_breaker{name=\"ledger\"}") > 0);
    let dead = world.service.ledger.dead(10).await.expect("readable");
    assert!(dead.is_empty(), "{dead:#?}");
    // Somebody makes room.
    let ledger = world.service.ledger.clone();
    ledger
        .prune(Duration::ZERO, world.now())
        .await
        .expect("pruned");
    world.sandbox.retry_hooks();
    world.pass(Duration::from_mins(12)).await;
    assert_shows(&world, &session, "starter");
    for other in &others {
        assert_eq!(world.data(other, "plan"), "starter");
        let row = world.work(WorkKind::Conversation, other).await;
        assert!(row.is_none_or(|row| !row.is_pending()));
    }
    assert_eq!(world.metric("crisp_sync_breaker{name=\"ledger\"}"), 0);
    world.finish().await;
}

/// A backup program holds the file for a while: deliveries are refused, and nothing else happens.
#[tokio::test]
async fn a_ledger_that_somebody_holds_is_waited_for() {
    let (mut world, session) = ada_chats(|setup| {
        setup.needs_file = true;
        setup.add("[webhooks]\naccept_deadline = \"2s\"");
    })
    .await;
    world.change_user("u1", "plan = 'starter'").await;
    let url = format!("sqlite://{}", world.ledger_path().display());
    let mut holder = SqliteConnection::connect(&url).await.expect("a file");
    holder.execute("BEGIN IMMEDIATE").await.expect("held");
    let other = world.sandbox.open_chat(OpenChat::by(ADA).proven());
    world.hooks_arrive().await;
    let ready = World::http().get(world.public_url("/readyz")).send();
    assert_eq!(
        ready.await.expect("an answer").status(),
        200,
        "it can be read"
    );
    let marker = world.marker();
    holder.execute("COMMIT").await.expect("let go");
    assert_eq!(world.calls_since(marker), [""; 0]);
    assert!(world.sandbox.retry_hooks() > 0);
    agent_looks(&mut world, &session).await;
    world.pass(Duration::from_mins(1)).await;
    assert_shows(&world, &session, "starter");
    assert_eq!(world.data(&other, "plan"), "starter");
    world.finish().await;
}
