//! A disk that is full in earnest: the kernel says so, and not a limit of ours.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{ErrorKind, Write as _},
    path::Path,
};

use sqlx::{ConnectOptions as _, sqlite::SqliteConnectOptions};

use super::{
    process::{Serving, wait_for},
    site::{BINARY, Site, set_email},
};
use crate::engines::mounts;

/// Takes all the room there is.
fn fill(path: &Path) {
    let mut file = File::create(path).expect("a file");
    for size in [64 * 1024, 512] {
        let piece = vec![0; size];
        loop {
            match file.write_all(&piece) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_on_a_full_disk_is_there() {
    if !mounts::are_allowed() {
        return;
    }
    let mut site = Site::new().await;
    let disk = site.path("disk");
    fs::create_dir(&disk).expect("a folder");
    let ledger = disk.join("ledger.db");
    site.set("CRISP_SYNC_LEDGER", Some(&ledger.display().to_string()));
    let mut command = mounts::with_a_small_disk("8m", &disk);
    command.args([BINARY, "serve"]);
    site.settle(&mut command);
    let serving = Serving::start(command, &site.path("serve.log")).await;
    assert!(fs::read_dir(&disk).expect("a folder").next().is_none());
    let disk = mounts::as_seen_by(serving.id(), &disk);
    let mut kept = BTreeSet::new();
    let deliver = |kept: &mut BTreeSet<String>| {
        let session = site.chat("ada@example.org");
        let status = serving.post(&set_email(&session, "ada@example.org"));
        let status = status.expect("an answer");
        if status == 200 {
            kept.insert(session);
        }
        status
    };
    assert_eq!(deliver(&mut kept), 200);
    let ballast = disk.join("ballast");
    fill(&ballast);
    let mut refused = 0;
    for _ in 0..5_000 {
        let status = deliver(&mut kept);
        assert!(status == 200 || status == 503, "{status}");
        refused += usize::from(status == 503);
        if refused == 20 {
            break;
        }
    }
    assert_eq!(refused, 20, "there is always room");
    let (ready, _) = Serving::get(serving.public, "/readyz").expect("an answer");
    assert_eq!(ready, 200, "it can be read");
    assert!(!serving.events("delivery.unavailable").is_empty());
    assert!(serving.log().contains("the disk is full"));
    fs::remove_file(&ballast).expect("room again");
    wait_for("deliveries are taken again", || {
        (deliver(&mut kept) == 200).then_some(())
    })
    .await;
    // SQLite finds no file by a path through another process: a copy is read, of what is there at this moment.
    serving.signal("STOP");
    for name in ["ledger.db", "ledger.db-wal"] {
        fs::copy(disk.join(name), site.path(name)).expect("copied");
    }
    serving.signal("CONT");
    let mut reader = SqliteConnectOptions::new()
        .filename(site.path("ledger.db"))
        .connect()
        .await
        .expect("the ledger");
    let there: Vec<String> = sqlx::query_scalar("SELECT session FROM deliveries")
        .fetch_all(&mut reader)
        .await
        .expect("readable");
    let there = there.into_iter().collect();
    assert_eq!(kept, there, "all that was acknowledged, and no more");
    let last = kept.last().expect("one");
    site.wait_refreshed(last).await;
}
