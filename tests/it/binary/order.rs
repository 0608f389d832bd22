//! Promise 1, by order of system calls: the disk has the delivery before Crisp has its answer.
//!
//! `kill -9` cannot show this: what was written and not synced survives a process, not a power loss.

use std::{fs, path::PathBuf, process::Command};

use super::{
    process::{Serving, wait_for},
    site::{BINARY, Site, message, set_email},
};

#[expect(
    clippy::disallowed_methods,
    reason = "tests look for programs in the environment"
)]
fn strace() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|folder| folder.join("strace"))
        .find(|program| program.is_file());
    if found.is_none() {
        let required = std::env::var("CRISP_SYNC_TEST_REQUIRE");
        assert_ne!(required.as_deref(), Ok("all"), "no strace: install it");
        eprintln!("NOT RUN: the order of system calls: install strace");
    }
    found
}

/// A system call that has returned, or whose return is told apart from its beginning.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Seen {
    /// The webhook was read from its socket.
    Request,
    /// Something was written to the write-ahead log.
    Wal,
    /// A sync of the write-ahead log came back.
    Synced,
    /// The answer was on its way.
    Answer,
}

/// What of a trace matters, in order. A call that another thread interrupts has two lines: a sync counts at the second,
/// an answer at the first.
fn seen(trace: &str) -> Vec<Seen> {
    let mut syncing = Vec::new();
    let mut seen = Vec::new();
    for line in trace.lines() {
        let (thread, call) = line.split_once(' ').unwrap_or((line, ""));
        let call = call.trim_start();
        let on_wal = call.contains("-wal>");
        let is_sync = call.starts_with("fdatasync(") || call.starts_with("fsync(");
        if call.starts_with("<... f") && call.contains("sync resumed>") {
            if let Some(at) = syncing.iter().position(|known| *known == thread) {
                syncing.remove(at);
                assert!(call.ends_with("= 0"), "{line}");
                seen.push(Seen::Synced);
            }
        } else if is_sync && on_wal && call.contains("<unfinished ...>") {
            syncing.push(thread);
        } else if is_sync && on_wal {
            assert!(call.ends_with("= 0"), "{line}");
            seen.push(Seen::Synced);
        } else if call.starts_with("pwrite") && on_wal {
            seen.push(Seen::Wal);
        } else if call.contains("POST /webhooks/crisp") {
            seen.push(Seen::Request);
        } else if call.contains("HTTP/1.1 200") {
            seen.push(Seen::Answer);
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn the_write_ahead_log_is_synced_before_the_answer() {
    let Some(strace) = strace() else {
        return;
    };
    // With a long wait before the work, and once the look at the start is over, nothing but the acceptance touches the
    // ledger meanwhile.
    let site =
        Site::with(&super::site::CONFIG.replace("debounce = \"0s\"", "debounce = \"1m\"")).await;
    let trace = site.path("trace");
    let mut command = Command::new(strace);
    command
        .args(["-f", "-y", "-s", "40", "-o"])
        .arg(&trace)
        .args(["-e", "trace=fsync,fdatasync,pwrite64,pwritev,write,writev,sendto,sendmsg,read,readv,recvfrom,recvmsg"])
        .args([BINARY, "serve"]);
    site.settle(&mut command);
    let mut serving = Serving::start(command, &site.path("serve.log")).await;
    serving.wait_event("gap.listed").await;
    for number in 0..6 {
        let before = fs::read_to_string(&trace).expect("a trace").len();
        let session = site.chat("ada@example.org");
        // One that looks at the mirror, and one that only enqueues.
        let body = match number % 2 {
            0 => set_email(&session, "ada@example.org"),
            _ => message(&session),
        };
        assert_eq!(serving.post(&body).expect("an answer"), 200);
        let order = wait_for("the trace shows the answer", || {
            let text = fs::read_to_string(&trace).expect("a trace");
            let order = seen(&text[before..]);
            order.contains(&Seen::Answer).then_some(order)
        })
        .await;
        let request = order
            .iter()
            .position(|seen| *seen == Seen::Request)
            .expect("the request was read");
        let answer = order
            .iter()
            .position(|seen| *seen == Seen::Answer)
            .expect("the answer was sent");
        let between = &order[request..answer];
        let last_write = between
            .iter()
            .rposition(|seen| *seen == Seen::Wal)
            .unwrap_or_else(|| panic!("nothing was written before the answer: {order:?}"));
        assert!(
            between[last_write..].contains(&Seen::Synced),
            "the answer went out before the sync: {order:?}"
        );
    }
    serving.kill();
}

#[test]
fn a_trace_is_read_in_its_order() {
    let trace = "\
7  recvfrom(9<socket:[1]>, \"POST /webhooks/crisp HTTP/1.1\\r\\nHost\"..., 4096, 0, NULL, NULL) = 512
8  pwrite64(11</tmp/x/crisp-sync.db-wal>, \"7\\177\\6\\202\"..., 24, 0) = 24
8  fdatasync(11</tmp/x/crisp-sync.db-wal> <unfinished ...>
7  write(3<anon_inode:[eventfd]>, \"\\1\\0\"..., 8) = 8
8  <... fdatasync resumed>)           = 0
7  sendto(9<socket:[1]>, \"HTTP/1.1 200 OK\\r\\ncontent-length: \"..., 120, MSG_NOSIGNAL, NULL, 0) = 120";
    assert_eq!(
        seen(trace),
        [Seen::Request, Seen::Wal, Seen::Synced, Seen::Answer]
    );
}
