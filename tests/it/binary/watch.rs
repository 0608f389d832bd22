//! What `serve` looks after without being asked: missed conversations, and who is told when a person is needed.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
};

use super::{process::PATIENCE, site::Site};

/// Reads one request to its end, and answers it.
fn take(mut stream: TcpStream) -> String {
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    loop {
        let read = stream.read(&mut part).expect("a request");
        bytes.extend_from_slice(&part[..read]);
        let text = String::from_utf8_lossy(&bytes);
        if let Some((_, body)) = text.split_once("\r\n\r\n")
            && serde_json::from_str::<serde_json::Value>(body).is_ok()
        {
            break;
        }
        assert!(read > 0, "it ended early: {text}");
    }
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
    stream.write_all(answer.as_bytes()).expect("answered");
    String::from_utf8(bytes).expect("UTF-8")
}

/// A ledger that was moved may be a copy, and that is something to tell at the first look.
#[tokio::test(flavor = "multi_thread")]
async fn serve_finds_what_was_missed_and_tells_who_asked_to_be_told() {
    let mut site = Site::new().await;
    let mut serving = site.serve().await;
    serving.wait_event("gap.listed").await;
    serving.signal("TERM");
    assert!(serving.wait_end().await.success());
    let session = site.chat("ada@example.org");
    let receiver = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = receiver.local_addr().expect("an address");
    let url = format!("http://{address}/services/hunter2");
    site.set("CRISP_SYNC_ALERTS_URL", Some(&url));
    std::fs::rename(site.path("crisp-sync.db"), site.path("moved.db")).expect("moved");
    site.set("CRISP_SYNC_LEDGER", Some("moved.db"));
    let config = super::site::CONFIG;
    site.write_config(&format!("{config}\n[alerts]\nname = \"the site\"\n"));
    let taken = thread::spawn(move || take(receiver.accept().expect("a message").0));
    let mut serving = site.serve().await;
    let listed = serving.wait_event("gap.listed").await;
    let reason = listed["reason"].as_str().expect("a reason");
    assert!(reason.contains("1 changed unseen"), "{reason}");
    let refreshed = serving.wait_event("conversation.refreshed").await;
    assert_eq!(refreshed["session.id"], session);
    assert_eq!(refreshed["trigger"], "gap");
    let message = tokio::task::spawn_blocking(move || taken.join().expect("a message"));
    let message = message.await.expect("a message");
    assert!(
        message.contains("the site: 1 condition asks for a person"),
        "{message}"
    );
    assert!(message.contains("ledger cautious"), "{message}");
    assert!(!serving.log().contains("hunter2"));
}
