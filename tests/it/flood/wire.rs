//! Requests as bytes on a socket: what no HTTP client would send.

use std::time::Duration;

use crisp_sync::{crisp::signature::sign, sandbox::DEFAULT_WEBSITE};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::world::{SIGNING_SECRET, World};

/// How long anything may take before a test says what did not happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A conversation that the sandbox does not have: its work ends as "gone".
pub(super) const SESSION: &str = "session_5d0f6f1e-3c1b-4a3e-8a57-9f1f0a1b2c3d";

/// A genuine delivery about a conversation, of at least `length` bytes.
pub(super) fn opened(session: &str, length: usize) -> String {
    json!({
        "website_id": DEFAULT_WEBSITE,
        "event": "session:set_opened",
        "data": { "website_id": DEFAULT_WEBSITE, "session_id": session, "padding": "x".repeat(length) },
        "timestamp": 1_772_442_000_000_i64,
    })
    .to_string()
}

/// The head of a request on the webhook route, with a genuine signature of `body` and these headers besides.
pub(super) fn head(world: &World, body: &[u8], headers: &str) -> String {
    let now = world.now().as_millisecond().to_string();
    let signature = sign(SIGNING_SECRET, &now, body);
    format!(
        "POST /webhooks/crisp HTTP/1.1\r\nhost: x\r\nx-crisp-request-timestamp: {now}\r\nx-crisp-signature: {signature}\r\n{headers}\r\n"
    )
}

/// A whole genuine request.
pub(super) fn genuine(world: &World, body: &str) -> String {
    let length = format!("content-length: {}\r\n", body.len());
    head(world, body.as_bytes(), &length) + body
}

/// A connection to the public listener.
pub(super) struct Wire(TcpStream);

/// An answer's head.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
}

impl Answer {
    pub(super) fn closes(&self) -> bool {
        self.head.to_ascii_lowercase().contains("connection: close")
    }
}

impl Wire {
    pub(super) async fn open(world: &World) -> Self {
        let address = world.server.as_ref().expect("it listens").address;
        Self(TcpStream::connect(address).await.expect("connected"))
    }

    /// Sends what the other side may not want to read any more.
    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // A listener that has answered and gone is what many of these tests are about.
        drop(self.0.write_all(bytes.as_ref()).await);
    }

    /// The next answer; none where the connection ends without one.
    pub(super) async fn answer(&mut self) -> Option<Answer> {
        let mut head = Vec::new();
        let reading = async {
            while !head.ends_with(b"\r\n\r\n") {
                match self.0.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_ended) => return,
                }
            }
        };
        tokio::time::timeout(PATIENCE, reading)
            .await
            .expect("an answer, or the end of the connection");
        let head = String::from_utf8(head).expect("a head is text");
        let status = head.split(' ').nth(1)?.parse().expect("a status");
        Some(Answer { status, head })
    }

    /// The next bytes, as many as fit.
    pub(super) async fn body(&mut self, bytes: &mut [u8]) {
        tokio::time::timeout(PATIENCE, self.0.read_exact(bytes))
            .await
            .expect("the body in time")
            .expect("the body");
    }

    /// Says that nothing more will be sent.
    pub(super) async fn finish(&mut self) {
        drop(self.0.shutdown().await);
    }

    /// Whatever comes until the connection ends; it must.
    pub(super) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let reading = async {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = self.0.read(&mut piece).await {
                rest.extend_from_slice(&piece[..length]);
            }
        };
        tokio::time::timeout(PATIENCE, reading)
            .await
            .expect("the connection ends");
        rest
    }
}

/// Sends `bytes` on a connection of their own and takes the answer.
pub(super) async fn exchange(world: &World, bytes: impl AsRef<[u8]>) -> Option<Answer> {
    let mut wire = Wire::open(world).await;
    wire.send(bytes).await;
    wire.answer().await
}

/// How many requests on the webhook route came to that.
pub(super) fn webhooks(world: &World, outcome: &str, hook: &str) -> u64 {
    world.metric(&format!(
        "crisp_sync_webhooks_total{{outcome=\"{outcome}\",hook=\"{hook}\"}}"
    ))
}

/// The work of a conversation that Crisp does not have ends as "gone"; then the story may end.
pub(super) async fn work_off(mut world: World) {
    world.settle().await;
    while world.run_due().await {}
    world.finish().await;
}

/// Looks again until it is so.
pub(super) async fn wait_until(what: &str, mut look: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !look().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking)
        .await
        .unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"));
}
