//! What a flood leaves behind in the process: memory, open files, lines in the log.

use std::{
    collections::VecDeque,
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crisp_sync::sandbox::DEFAULT_WEBSITE;
use sqlx::{Connection as _, Executor as _, SqliteConnection};

use super::{
    process::{PATIENCE, answer, wait_for},
    site::{CONFIG, Site, set_email, signed},
};

/// How much memory a process has, in bytes.
fn resident(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("it has memory");
    let kibibytes: u64 = line
        .split_whitespace()
        .next()
        .and_then(|number| number.parse().ok())
        .expect("a number");
    kibibytes * 1024
}

fn open_files(id: u32) -> usize {
    fs::read_dir(format!("/proc/{id}/fd"))
        .expect("it runs")
        .count()
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connected");
    stream
        .set_write_timeout(Some(Duration::from_millis(200)))
        .expect("a timeout");
    stream
}

const MIB: u64 = 1 << 20;
/// Places for connections, in this test.
const PLACES: usize = 256;

/// 2,500 connections, each of which sends all but the last byte of a body of a megabyte, under a well-formed signature.
/// Held as they come, those that have a place would take [`PLACES`] megabytes.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_long_bodies_takes_little_memory_and_few_files() {
    let site = Site::with(&CONFIG.replace(
        "[server]",
        &format!("[server]\nmax_connections = {PLACES}\nbody_memory = \"4MiB\""),
    ))
    .await;
    let mut serving = site.serve().await;
    let (id, public) = (serving.id(), serving.public);
    let before = resident(id);
    let files = open_files(id);
    let head = format!(
        "POST /webhooks/crisp HTTP/1.1\r\nhost: x\r\nx-crisp-request-timestamp: 1\r\nx-crisp-signature: {}\r\ncontent-length: {MIB}\r\n\r\n",
        "0".repeat(64)
    );
    let body = vec![b'x'; usize::try_from(MIB).expect("it fits") - 1];
    let (most, most_files) = tokio::task::spawn_blocking(move || {
        let mut open = VecDeque::new();
        let (mut most, mut most_files) = (0, 0);
        for number in 0..2_500 {
            let mut stream = connect(public);
            drop(stream.write_all(head.as_bytes()));
            drop(stream.write_all(&body));
            open.push_back(stream);
            if open.len() > 2 * PLACES {
                open.pop_front();
            }
            if number % 50 == 0 {
                most = most.max(resident(id));
                most_files = most_files.max(open_files(id));
            }
        }
        (most.max(resident(id)), most_files)
    })
    .await
    .expect("the flood ends");
    // Besides the bodies themselves, each place may have a buffer of some 100 KiB.
    let grown = most.saturating_sub(before);
    assert!(grown < 128 * MIB, "{} MiB more", grown / MIB);
    assert!(most_files < files + PLACES + 64, "{most_files}");

    // And it is still there for those who mean it.
    let session = site.chat("ada@example.org");
    let delivery = set_email(&session, "ada@example.org");
    let mut request = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client")
        .post(format!("http://{public}/webhooks/crisp"))
        .body(delivery.clone());
    for (name, value) in signed(&delivery) {
        request = request.header(name, value);
    }
    let answer = request.send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 200);
    site.wait_refreshed(&session).await;
    serving.kill();
}

/// Genuine webhooks of a burst, each of so many bytes.
const BURST: usize = 3_000;
const LONG: usize = 32 * 1024;
/// Those who send them, one at a time each: fewer than there are places for connections, so that only the ledger turns away.
const SENDERS: usize = 128;
/// How many may wait for the disk while a commit is under way.
const WAITING: usize = 8;
/// SQLite waits five seconds for a lock that somebody else holds: who waits for the disk cannot be told of it any earlier, and
/// who is told well before has not waited.
const AT_ONCE: Duration = Duration::from_secs(4);

/// The ledger's file is locked, so that nothing can be committed, while ten times as many webhooks come as may wait.
///
/// Were they all made to wait, the senders would take 3,000 / 128 × 5 s, two minutes, and none would be answered at once.
#[tokio::test(flavor = "multi_thread")]
async fn genuine_webhooks_beyond_capacity_are_refused_at_once_and_the_others_are_kept() {
    let config = CONFIG.replace("[server]", "[server]\nmax_connections = 512");
    let more = format!("\n[webhooks]\nmax_waiting = {WAITING}\naccept_deadline = \"1m\"\n");
    let site = Site::with(&(config + &more)).await;
    let mut serving = site.serve().await;
    let (id, public) = (serving.id(), serving.public);
    let url = format!("sqlite://{}", site.path("crisp-sync.db").display());
    let mut ledger = SqliteConnection::connect(&url).await.expect("the ledger");
    ledger.execute("BEGIN IMMEDIATE").await.expect("locked");
    let before = resident(id);
    let request = Arc::new(genuine(LONG));
    let left = Arc::new(AtomicUsize::new(BURST));
    let senders: Vec<_> = (0..SENDERS)
        .map(|_| {
            let (request, left) = (Arc::clone(&request), Arc::clone(&left));
            std::thread::spawn(move || {
                let mut answers = Vec::new();
                let one_less = |left: usize| left.checked_sub(1);
                while left
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less)
                    .is_ok()
                {
                    let begun = Instant::now();
                    let mut stream = TcpStream::connect(public).expect("connected");
                    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
                    stream.write_all(request.as_bytes()).expect("sent");
                    let (status, _) = answer(&mut stream).expect("an answer");
                    answers.push((status, begun.elapsed()));
                }
                answers
            })
        })
        .collect();
    let mut most = 0;
    wait_for("all were sent", || {
        most = most.max(resident(id));
        (left.load(Ordering::SeqCst) == 0).then_some(())
    })
    .await;
    ledger.execute("COMMIT").await.expect("free again");
    let answers: Vec<(u16, Duration)> = senders
        .into_iter()
        .flat_map(|sender| sender.join().expect("it sends"))
        .collect();
    assert_eq!(answers.len(), BURST);
    let accepted = answers.iter().filter(|(status, _)| *status == 200).count();
    let refused = answers.iter().filter(|(status, _)| *status == 503);
    assert_eq!(accepted + refused.clone().count(), BURST, "nothing else");
    let at_once = refused.filter(|(_, took)| *took < AT_ONCE).count();
    assert!(at_once > BURST * 3 / 4, "{at_once} were told at once");
    let grown = most.saturating_sub(before);
    assert!(grown < 64 * MIB, "{} MiB more", grown / MIB);

    // What comes now is taken, and nothing that was refused is there.
    let body = set_email(&site.chat("ada@example.org"), "ada@example.org");
    assert_eq!(serving.post(&body).expect("an answer"), 200);
    let kept = sqlx::query_scalar("SELECT count(*) FROM deliveries");
    let kept: i64 = kept.fetch_one(&mut ledger).await.expect("a count");
    assert_eq!(kept, i64::try_from(accepted).expect("few") + 1);
    serving.kill();
}

/// A genuine webhook of at least that many bytes, whole.
fn genuine(length: usize) -> String {
    let body = serde_json::json!({
        "website_id": DEFAULT_WEBSITE,
        "event": "session:set_opened",
        "data": {
            "website_id": DEFAULT_WEBSITE,
            "session_id": "session_5d0f6f1e-3c1b-4a3e-8a57-9f1f0a1b2c3d",
            "padding": "x".repeat(length),
        },
        "timestamp": 1_772_442_000_000_i64,
    })
    .to_string();
    let mut request = format!(
        "POST /webhooks/crisp HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\nconnection: close\r\n",
        body.len()
    );
    for (name, value) in signed(&body) {
        request.extend([name, ": ", &value, "\r\n"]);
    }
    format!("{request}\r\n{body}")
}

/// Nothing of what is written for each connection that sends junk comes from us or from those we build upon.
#[tokio::test(flavor = "multi_thread")]
async fn junk_leaves_few_lines_in_the_log() {
    let site = Site::new().await;
    let mut serving = site.serve().await;
    let public = serving.public;
    let before = serving.log().lines().count();
    tokio::task::spawn_blocking(move || {
        let kinds: [&[u8]; 5] = [
            b"\0\xff\x16\x03junk\r\n\r\n",
            b"POST /webhooks/crisp HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n",
            b"POST /webhooks/crisp HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"POST /webhooks/crisp HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        ];
        for number in 0..500 {
            let mut stream = connect(public);
            drop(stream.write_all(kinds[number % kinds.len()]));
            drop(stream.shutdown(std::net::Shutdown::Write));
            drop(stream.read_to_end(&mut Vec::new()));
        }
    })
    .await
    .expect("the flood ends");
    serving.signal("TERM");
    wait_for("it stopped in order", || {
        serving.events("service.stopped").into_iter().next()
    })
    .await;
    let lines = serving.log().lines().count() - before;
    assert!(lines < 30, "{lines} lines:\n{}", serving.log());
    serving.kill();
}
