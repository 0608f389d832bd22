//! What a flood leaves behind in the process: memory, open files, lines in the log.

use std::{
    collections::VecDeque,
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use super::{
    process::wait_for,
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
