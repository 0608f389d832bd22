//! What is not moved, and stays as it was.

use crisp_sync::ledger::{Move, Stage};
use sqlx::{Connection as _, PgConnection};

use super::{
    LedgerSettings, at, begin, contents, execute, finish, full, killed_after, open_file,
    open_server, said,
};
use crate::engines::{with_a_server, with_database};

with_a_server! {
    a_database_with_a_ledger_is_left_alone,
    somebody_elses_schema_is_left_alone,
    a_file_that_was_moved_goes_nowhere_else,
    a_move_that_is_given_up_can_never_be_finished,
    rows_that_do_not_arrive_leave_the_file_the_ledger,
    a_file_that_is_not_there_is_not_made,
    what_is_counted_before_is_what_is_moved,
}

async fn a_database_with_a_ledger_is_left_alone(url: String) {
    let ledger = open_server(&url).await.expect("a ledger");
    ledger.close().await.expect("closed");
    let folder = full().await;
    let path = folder.path().join("ledger.db");
    let before = contents(&path).await;
    assert!(said(begin(&path, &url).await).ends_with("there is one already"));
    assert_eq!(contents(&path).await, before);
    open_server(&url).await.expect("still served");
    open_file(&path).await.expect("still served");
}

async fn somebody_elses_schema_is_left_alone(url: String) {
    execute(&url, "CREATE SCHEMA crisp_sync").await;
    execute(&url, "CREATE TABLE crisp_sync.orders (id bigint)").await;
    let folder = full().await;
    let path = folder.path().join("ledger.db");
    assert!(said(begin(&path, &url).await).contains("tables that are no ledger"));
    execute(&url, "SELECT id FROM crisp_sync.orders").await;
    // An empty schema that somebody with more rights made for us is ours.
    execute(&url, "DROP TABLE crisp_sync.orders").await;
    finish(&path, &url).await;
    open_server(&url).await.expect("served");
}

async fn a_file_that_was_moved_goes_nowhere_else(url: String) {
    let folder = full().await;
    let path = folder.path().join("ledger.db");
    killed_after(3, &path, &url).await;
    with_database(|elsewhere| async move {
        assert!(said(begin(&path, &elsewhere).await).contains("it was moved to"));
        let canceled = Move::cancel(&LedgerSettings::at(&path), &path).await;
        assert!(said(canceled).contains("it was moved to"));
        finish(&path, &url).await;
        assert!(said(begin(&path, &elsewhere).await).contains("it was moved to"));
        // Nor does another ledger into the place of one that is arriving.
        let other = full().await;
        let other = other.path().join("ledger.db");
        killed_after(2, &other, &elsewhere).await;
        let third = full().await;
        let third = third.path().join("ledger.db");
        assert!(said(begin(&third, &elsewhere).await).contains("there is one already"));
        drop(folder);
    })
    .await;
}

async fn a_move_that_is_given_up_can_never_be_finished(url: String) {
    for writes in 1..=2 {
        execute(&url, "DROP SCHEMA IF EXISTS crisp_sync CASCADE").await;
        let folder = full().await;
        let path = folder.path().join("ledger.db");
        let settings = LedgerSettings::at(&path);
        assert!(!Move::cancel(&settings, &path).await.expect("nothing to do"));
        killed_after(writes, &path, &url).await;
        assert!(Move::cancel(&settings, &path).await.expect("given up"));
        let ledger = open_file(&path).await.expect("the ledger again");
        ledger.close().await.expect("closed");
        if writes == 2 {
            assert!(said(open_server(&url).await).contains("it is still arriving"));
            assert!(said(begin(&path, &url).await).contains("there is one already"));
        } else {
            finish(&path, &url).await;
            open_server(&url).await.expect("served");
        }
    }
}

async fn rows_that_do_not_arrive_leave_the_file_the_ledger(url: String) {
    // The tables are there, and one of them loses rows.
    let ledger = open_server(&url).await.expect("a ledger");
    ledger.close().await.expect("closed");
    execute(&url, "TRUNCATE crisp_sync.meta").await;
    execute(
        &url,
        "CREATE FUNCTION crisp_sync.lose() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    )
    .await;
    execute(
        &url,
        "CREATE TRIGGER lose BEFORE INSERT ON crisp_sync.outbox FOR EACH ROW \
         WHEN (NEW.state = 'held') EXECUTE FUNCTION crisp_sync.lose()",
    )
    .await;
    let folder = full().await;
    let path = folder.path().join("ledger.db");
    let mut moving = begin(&path, &url).await.expect("both are free");
    assert_eq!(moving.step(at(0)).await.expect("said"), Stage::Announced);
    let refused = said(moving.step(at(0)).await);
    assert!(
        refused.ends_with("of 13 rows of the table `outbox` there are 12 on the server"),
        "{refused}"
    );
    assert_eq!(moving.stage(), Stage::Ready);
    drop(moving);
    let ledger = open_file(&path).await.expect("the ledger as before");
    ledger.close().await.expect("closed");
    // Nothing is left there, and once the trigger is gone all of it arrives.
    let mut server = PgConnection::connect(&url).await.expect("postgres");
    let left: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM crisp_sync.meta) + (SELECT count(*) FROM crisp_sync.deliveries)",
    )
    .fetch_one(&mut server)
    .await
    .expect("a count");
    assert_eq!(left, 0);
    execute(&url, "DROP TRIGGER lose ON crisp_sync.outbox").await;
    finish(&path, &url).await;
    open_server(&url).await.expect("served");
}

async fn a_file_that_is_not_there_is_not_made(url: String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("nothing.db");
    assert!(said(begin(&path, &url).await).starts_with("could not open the ledger"));
    assert_eq!(folder.path().read_dir().expect("a folder").count(), 0);
}

async fn what_is_counted_before_is_what_is_moved(url: String) {
    let folder = full().await;
    let path = folder.path().join("ledger.db");
    let before = contents(&path).await;
    let moving = begin(&path, &url).await.expect("both are free");
    let counted = moving.rows().await.expect("counted");
    moving.close().await.expect("closed");
    assert_eq!(contents(&path).await, before, "nothing is written");
    let mut server = PgConnection::connect(&url).await.expect("postgres");
    let schemas: i64 =
        sqlx::query_scalar("SELECT count(*) FROM pg_namespace WHERE nspname = 'crisp_sync'")
            .fetch_one(&mut server)
            .await
            .expect("a count");
    assert_eq!(schemas, 0, "nor there");
    for table in counted {
        let rows = i64::try_from(before[&table.table].len()).expect("few");
        assert_eq!(table.rows, rows, "{}", table.table);
    }
}
