//! Upgrades: a ledger of every earlier schema, with all it held, under this binary.
//!
//! `fixtures/ledger/v<schema>.sql` is what a service with that schema left; `fixtures/ledger/told.json` is what a ledger
//! says of those rows. A new schema needs both: rows in every column of every table, and somebody who asks for them in
//! [`meaning::told`].

pub(crate) mod fixture;
mod killed;
pub(crate) mod meaning;
mod server;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use crisp_sync::ledger::{
    Ledger, LedgerError, LedgerSettings, MIGRATIONS, Outcome, Settled, Settlement, Standing,
};
use jiff::Timestamp;
use serde_json::Value as Json;

use self::{
    fixture::{connect, contents, newest, older},
    meaning::{LEASED, SESSION, at, session, website},
};
use crate::binary::site::Site;

/// Tables without rows of their own to ask for: facts and definitions have doors of their own, and what was heard of a
/// conversation at work is put down with its lease. What is watched, and who was erased, is not in every schema.
const ASKED_OTHERWISE: [&str; 11] = [
    "_sqlx_migrations",
    "meta",
    "definitions",
    "held",
    "listening",
    "conditions",
    "tombstones",
    "erasures",
    "erasure_debts",
    "sweeps",
    "swept",
];

async fn open(path: &Path) -> Result<Ledger, LedgerError> {
    Ledger::open(LedgerSettings::at(path), at(0)).await
}

/// The file that is made before a ledger is brought up to date.
fn copy_of(path: &Path) -> PathBuf {
    path.with_file_name(format!("ledger.db.before-{}", newest()))
}

/// What the fixtures mean, whatever the schema they were written with.
pub(crate) fn told_by_the_fixtures() -> BTreeMap<String, Vec<Json>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/ledger/told.json");
    let text = std::fs::read_to_string(path).expect("fixtures/ledger/told.json");
    serde_json::from_str(&text).expect("lists by table")
}

/// Opens a ledger that was made from the rows of this schema, and asks for all of them.
async fn assert_means_the_same(path: &Path, version: i64) {
    let ledger = open(path).await.expect("opened");
    assert_holds_the_rows_of(ledger, version).await;
}

/// Asks for all the rows of this schema, and closes.
async fn assert_holds_the_rows_of(ledger: Ledger, version: i64) {
    let rows = {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ledger.db");
        older(&path, version).await;
        contents(&path).await
    };
    let told = meaning::told(&ledger).await;
    for (table, rows) in &rows {
        if ASKED_OTHERWISE.contains(&table.as_str()) {
            continue;
        }
        let Some(told) = told.get(table.as_str()) else {
            panic!("nobody asks for the rows of `{table}` in `meaning::told`")
        };
        assert_eq!(
            told.len(),
            rows.len(),
            "schema {version}: rows of `{table}`"
        );
    }
    let told: BTreeMap<String, Vec<Json>> = told
        .into_iter()
        .map(|(table, rows)| (table.to_owned(), rows))
        .collect();
    let told_as = serde_json::to_string_pretty(&told).expect("JSON");
    assert_eq!(told, told_by_the_fixtures(), "schema {version}:\n{told_as}");

    // Facts. The file lies elsewhere than its service did, so all since the last heartbeat is in doubt.
    let gap = ledger.last_gap().await.expect("a read").expect("a gap");
    assert_eq!((gap.from, gap.to), (at(-20_000), at(0)));
    for (hash, standing) in [
        ("6b3a55e0", Standing::Older),
        ("d4735e3a", Standing::Current),
    ] {
        let known = rows["definitions"].iter().find(|row| row.contains(hash));
        let known: Json = serde_json::from_str(known.expect("it")).expect("JSON");
        let noted = ledger.note_definition(known[1].as_str().expect("a hash"), at(0));
        assert_eq!(noted.await.expect("noted"), standing);
    }

    if version >= 4 {
        meaning::assert_watch_goes_on(&ledger).await;
    }
    if version >= 5 {
        meaning::assert_the_erased_stay_so(&ledger).await;
    }
    if version >= 6 {
        meaning::assert_sweeps_go_on(&ledger).await;
    }
    if version >= 7 {
        meaning::assert_former_contacts_are_known(&ledger).await;
    }
    assert_work_goes_on(&ledger).await;
    ledger.close().await.expect("closed");
}

/// What is due is due, what was at work is taken up again, what waits waits.
pub(crate) async fn assert_work_goes_on(ledger: &Ledger) {
    assert_next(ledger, at(1), &[(SESSION, 3, 1, 0)]).await;
    // It is the second process that dies over it, so it waits a minute.
    assert_next(ledger, at(60_000), &[]).await;
    assert_next(ledger, at(60_001), &[(LEASED, 2, 2, 2)]).await;
    let leased = (website(meaning::WEBSITE), session(LEASED));
    let spoiled = ledger.conversation(&leased.0, &leased.1).await;
    assert!(spoiled.expect("a read").expect("it").dirty);
    // A probe of the paused website, and a backoff that is over.
    let later = [("42", 1, 1, 0), ("7", 2, 4, 0)];
    assert_next(ledger, at(600_000), &later).await;
}

/// Claims what is due, and settles it: key, generation, attempt, crashes.
async fn assert_next(ledger: &Ledger, now: Timestamp, expected: &[(&str, i64, u32, u32)]) {
    let claims = ledger.claim(10, Duration::from_mins(1), now).await;
    let claims = claims.expect("claims");
    let claimed: Vec<_> = claims
        .iter()
        .map(|claim| {
            let key = claim.key.as_str();
            (key, claim.generation, claim.attempt, claim.crashes)
        })
        .collect();
    assert_eq!(claimed, expected);
    for claim in &claims {
        let settled = ledger.settle(claim, Settlement::of(Outcome::Done), now);
        assert_eq!(settled.await.expect("settled"), Settled::Written);
    }
}

#[test]
fn steps_are_numbered_without_a_gap() {
    for (step, version) in MIGRATIONS.iter().zip(1..) {
        assert_eq!(step.version, version, "{}", step.name);
    }
}

#[tokio::test]
async fn the_rows_of_every_schema_fill_it() {
    for step in MIGRATIONS {
        let folder = tempfile::tempdir().expect("a folder");
        let mut connection = connect(&folder.path().join("ledger.db")).await;
        fixture::write(&mut connection, step.version).await;
        let empty = fixture::empty_columns(&mut connection).await;
        assert!(
            empty.is_empty(),
            "fixtures/ledger/v{}.sql writes nothing to {empty:?}",
            step.version
        );
    }
}

#[tokio::test]
async fn every_row_of_every_schema_means_the_same_after_an_upgrade() {
    for step in MIGRATIONS {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ledger.db");
        older(&path, step.version).await;
        assert_means_the_same(&path, step.version).await;
        assert_eq!(fixture::version(&contents(&path).await), newest());
    }
}

#[tokio::test]
async fn an_older_ledger_is_copied_whole_before_it_is_changed() {
    for step in MIGRATIONS {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ledger.db");
        older(&path, step.version).await;
        let before = contents(&path).await;
        let ledger = open(&path).await.expect("opened");
        ledger.close().await.expect("closed");
        let copy = copy_of(&path);
        if step.version == newest() {
            assert!(!copy.exists(), "an up-to-date ledger is not copied");
            continue;
        }
        assert_eq!(contents(&copy).await, before);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = copy.metadata().expect("it").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "its owner alone may read it");
        }
        // It is the way back, and forth again.
        let again = folder.path().join("again.db");
        std::fs::rename(&copy, &again).expect("renamed");
        assert_means_the_same(&again, step.version).await;
    }
}

#[tokio::test]
async fn a_ledger_that_cannot_be_copied_is_not_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    older(&path, 1).await;
    let before = contents(&path).await;
    let in_the_way = path.with_file_name(format!("ledger.db.before-{}.part", newest()));
    std::fs::create_dir(&in_the_way).expect("a folder");
    let error = open(&path).await.expect_err("refused");
    assert!(matches!(error, LedgerError::Copy { .. }), "{error:?}");
    assert!(error.to_string().contains("\nhint: "), "{error}");
    assert_eq!(contents(&path).await, before);
    std::fs::remove_dir(&in_the_way).expect("removed");
    assert_means_the_same(&path, 1).await;
}

#[tokio::test]
async fn of_the_copies_two_are_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    older(&path, newest() - 1).await;
    for version in 1..newest() {
        std::fs::write(
            folder.path().join(format!("ledger.db.before-{version}")),
            "",
        )
        .expect("written");
    }
    let ledger = open(&path).await.expect("opened");
    ledger.close().await.expect("closed");
    let kept: Vec<i64> = (1..=newest())
        .filter(|version| {
            folder
                .path()
                .join(format!("ledger.db.before-{version}"))
                .exists()
        })
        .collect();
    assert_eq!(kept, [newest() - 1, newest()]);
}

#[tokio::test]
async fn of_two_that_start_at_once_one_upgrades() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    older(&path, 1).await;
    let (first, second) = tokio::join!(open(&path), open(&path));
    let error = second.expect_err("the first has it");
    assert!(matches!(error, LedgerError::Locked { .. }), "{error:?}");
    first.expect("opened").close().await.expect("closed");
    assert_means_the_same(&path, 1).await;
}

#[tokio::test]
async fn an_older_binary_refuses_a_newer_ledger_and_leaves_it_alone() {
    let site = Site::new().await;
    let path = site.path("crisp-sync.db");
    older(&path, newest()).await;
    let mut connection = connect(&path).await;
    sqlx::raw_sql(
        "INSERT INTO _sqlx_migrations SELECT 9999, 'later', installed_on, success, checksum, execution_time \
         FROM _sqlx_migrations LIMIT 1; \
         ALTER TABLE work ADD COLUMN later TEXT;",
    )
    .execute(&mut connection)
    .await
    .expect("a later step");
    sqlx::Connection::close(connection).await.expect("closed");
    let before = contents(&path).await;
    let error = open(&path).await.expect_err("refused");
    assert!(
        matches!(error, LedgerError::Newer { found: 9999, .. }),
        "{error:?}"
    );
    let ran = site.run(&["serve"]).ended(1);
    assert!(ran.stderr.contains("its schema is 9999"), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("hint: run the newer binary"),
        "{}",
        ran.stderr
    );
    assert_eq!(contents(&path).await, before);
}
