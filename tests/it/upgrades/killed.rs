//! Killed in the middle of an upgrade.
//!
//! The operating system kills a process that makes a file longer than its limit. Raised step by step, the limit kills
//! the binary at one write after the other: over the copy, then over the commit of the new schema.
#![cfg(unix)]

use std::{os::unix::process::ExitStatusExt as _, process::Command};

use super::{
    assert_means_the_same,
    fixture::{contents, newest, older_and_killed, version},
};
use crate::binary::site::{BINARY, Site};

/// What `ulimit -f` counts in.
const BLOCK: u64 = 512;
/// Less than what one page takes in the write-ahead log.
const PAGE: u64 = 4_096;

/// Runs a command that opens the ledger and may not make a file longer than this. Whether it lived.
fn lives(site: &Site, longest: u64) -> bool {
    let mut command = Command::new("/bin/sh");
    command
        .args([
            "-c",
            "ulimit -c 0; ulimit -f \"$1\"; shift; exec \"$@\"",
            "sh",
        ])
        .arg((longest / BLOCK).to_string())
        .args([BINARY, "deliveries", "list", "--json"]);
    site.settle(&mut command);
    let output = command.output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() || output.status.signal().is_some(),
        "{}: {text}",
        output.status
    );
    output.status.success()
}

#[tokio::test]
async fn who_is_killed_over_an_upgrade_leaves_the_schema_that_was_there() {
    for schema in 1..newest() {
        let site = Site::new().await;
        let path = site.path("crisp-sync.db");
        let copy = site.path(&format!("crisp-sync.db.before-{}", newest()));
        let log = older_and_killed(&path, schema).await;
        let before = contents(&path).await;
        let (mut over_copy, mut over_schema) = (0, 0);
        let mut longest = 16 * PAGE;
        while !lives(&site, longest) {
            assert_eq!(contents(&path).await, before, "killed at {longest} bytes");
            if copy.exists() {
                over_schema += 1;
                assert_eq!(
                    contents(&copy).await,
                    before,
                    "the copy is whole or not there"
                );
            } else {
                over_copy += 1;
            }
            // Until the copy is through, every eighth page will do.
            longest += if longest < log { 8 * PAGE } else { PAGE };
        }
        assert!(
            over_copy > 1 && over_schema > 1,
            "{over_copy} and {over_schema} kills"
        );
        assert_eq!(version(&contents(&path).await), newest());
        assert_eq!(contents(&copy).await, before);
        // The rows' meaning is told of a ledger whose service was not at it since.
        let again = site.path("again.db");
        std::fs::copy(&copy, &again).expect("copied");
        assert_means_the_same(&again, schema).await;
    }
}
