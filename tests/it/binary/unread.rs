//! A log that nobody reads: whoever reads standard error has stopped, and the pipe is full.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
};

use serde_json::Value as Json;

use super::{
    process::{PATIENCE, Serving, answer, wait_for},
    site::{Site, set_email, signed},
};

/// Killed when it is dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended by itself is what is wanted.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Posts a webhook with these headers.
fn post(address: SocketAddr, body: &str, headers: &[(&str, String)]) -> u16 {
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut request = format!(
        "POST /webhooks/crisp HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\nconnection: close\r\n",
        body.len()
    );
    for (name, value) in headers {
        request.extend([name, ": ", value, "\r\n"]);
    }
    stream
        .write_all(format!("{request}\r\n{body}").as_bytes())
        .expect("sent");
    answer(&mut stream).expect("an answer").0
}

/// A pipe takes 64 KiB. What is logged beyond waits in memory, also what alarms, and is read later.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_reads_stalls_nobody() {
    const DELIVERIES: usize = 300;
    let site = Site::new().await;
    let mut serve = site.command(&["serve"]);
    let serve = serve.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut process = Process(serve.spawn().expect("the binary starts"));
    let mut log = BufReader::with_capacity(1, process.0.stderr.take().expect("a pipe"));
    let started = loop {
        let mut line = String::new();
        assert!(log.read_line(&mut line).expect("a line") > 0, "it ended");
        let line: Json = serde_json::from_str(&line).expect("JSON");
        if line["event"] == "service.started" {
            break line;
        }
    };
    let public = started["listen.public"].as_str().expect("an address");
    let public: SocketAddr = public.parse().expect("an address");

    let session = site.chat("ada@example.org");
    for _ in 0..DELIVERIES {
        let body = set_email(&session, "ada@example.org");
        assert_eq!(post(public, &body, &signed(&body)), 200);
    }
    assert_eq!(post(public, "{}", &[]), 403, "which is a warning");
    assert_eq!(
        Serving::get(public, "/readyz").expect("an answer").0,
        200,
        "it goes on"
    );
    site.wait_refreshed(&session).await;

    let reading = std::thread::spawn(move || {
        let mut rest = String::new();
        log.read_to_string(&mut rest).expect("text");
        rest
    });
    let id = process.0.id().to_string();
    let mut signal = Command::new("kill");
    let sent = signal.args(["-TERM", &id]).status();
    assert!(sent.expect("kill is there").success());
    let ended = wait_for("it ends", || process.0.try_wait().expect("a child")).await;
    assert!(ended.success(), "{ended}");
    let rest = reading.join().expect("the log");
    assert!(rest.len() > 64 * 1024, "the pipe was never full");
    let count = |event: &str| {
        let of_this = format!("\"{event}\"");
        rest.lines().filter(|line| line.contains(&of_this)).count()
    };
    assert_eq!(count("delivery.accepted"), DELIVERIES);
    assert_eq!(count("delivery.refused"), 1);
    assert_eq!(count("service.stopped"), 1);
    assert_eq!(count("log.lines_left_out"), 0, "there was room for all");
}
