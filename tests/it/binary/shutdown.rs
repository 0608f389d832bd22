//! How `serve` ends: what is in hand is finished, within a deadline; a second signal does not wait.

use std::{fs::File, io::Write as _, time::Instant};

use crisp_sync::sandbox::Fault;
use serde_json::json;

use super::{
    process::{Serving, answer},
    site::{CONFIG, Site, exists, set_email},
};

/// An answer of Crisp that waits until somebody lets it go.
fn held(route: &str) -> Fault {
    Fault {
        route: Some(route.to_owned()),
        hold: true,
        ..Fault::default()
    }
}

/// Posts a webhook whose refresh hangs in its first call.
async fn hang(site: &Site, serving: &Serving) -> String {
    let session = site.chat("ada@example.org");
    site.sandbox.fault(held("conversation.get"));
    let posted = serving.post(&set_email(&session, "ada@example.org"));
    assert_eq!(posted.expect("an answer"), 200);
    site.sandbox
        .wait_until("the refresh asks Crisp", |state| {
            state
                .calls()
                .since(0)
                .iter()
                .any(|call| call.session.as_ref() == Some(&session))
        })
        .await
        .expect("the refresh begins");
    session
}

fn nothing_is_left(site: &Site) {
    assert!(!exists(&site.path("crisp-sync.db.sock")), "the socket file");
    let lock = File::open(site.path("crisp-sync.db.lock")).expect("the lock file stays");
    lock.try_lock().expect("nobody holds the lock");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_in_flight_is_answered() {
    for signal in ["TERM", "INT"] {
        let site = Site::new().await;
        let mut serving = site.serve().await;
        let session = site.chat("ada@example.org");
        let body = set_email(&session, "ada@example.org");
        let mut stream = serving.begin_taken_up(&body).expect("it listens");
        let ready = Serving::get(serving.public, "/readyz").expect("an answer");
        assert_eq!(ready, (200, "ready".to_owned()));
        serving.signal(signal);
        let draining = serving.wait_event("service.draining").await;
        assert_eq!(draining["signal"], format!("SIG{signal}"));
        let ready = Serving::get(serving.ops, "/readyz").expect("the ops listener stays");
        assert_eq!(ready, (503, "draining".to_owned()));
        stream.write_all(body.as_bytes()).expect("the body");
        assert_eq!(answer(&mut stream).expect("an answer").0, 200, "{signal}");
        assert_eq!(serving.wait_end().await.code(), Some(0));
        assert_eq!(serving.events("service.stopped")[0]["outcome"], "in_order");
        nothing_is_left(&site);
        let listed = site.run(&["deliveries", "list", "--json"]).ended(0).json();
        assert_eq!(listed[0]["session"], json!(session));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_in_flight_is_finished() {
    let site = Site::new().await;
    let mut serving = site.serve().await;
    let session = hang(&site, &serving).await;
    serving.signal("TERM");
    serving.wait_event("service.draining").await;
    site.sandbox.release();
    assert_eq!(serving.wait_end().await.code(), Some(0));
    assert_eq!(serving.events("service.stopped")[0]["outcome"], "in_order");
    site.wait_refreshed(&session).await;
    nothing_is_left(&site);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_does_not_hold_the_end_up() {
    let site = Site::new().await;
    let mut serving = site.serve().await;
    // A proxy keeps connections open; this one has asked something and says no more.
    let mut idle = std::net::TcpStream::connect(serving.public).expect("it listens");
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        .expect("sent");
    let mut first = [0; 12];
    std::io::Read::read_exact(&mut idle, &mut first).expect("an answer");
    let began = Instant::now();
    serving.signal("TERM");
    assert_eq!(serving.wait_end().await.code(), Some(0));
    assert!(
        began.elapsed().as_secs() < 10,
        "it took {:?}",
        began.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn past_the_deadline_work_is_dropped_and_taken_up_again() {
    let site = Site::with(&CONFIG.replace("\"20s\"", "\"1s\"")).await;
    let mut serving = site.serve().await;
    let session = hang(&site, &serving).await;
    serving.signal("TERM");
    assert_eq!(serving.wait_end().await.code(), Some(0));
    assert_eq!(serving.events("service.aborted")[0]["reason"], "deadline");
    assert_eq!(
        serving.events("service.stopped")[0]["outcome"],
        "at_deadline"
    );
    nothing_is_left(&site);
    site.sandbox.release();
    let _again = site.serve().await;
    site.wait_refreshed(&session).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_does_not_wait() {
    let site = Site::new().await;
    let mut serving = site.serve().await;
    hang(&site, &serving).await;
    serving.signal("TERM");
    serving.wait_event("service.draining").await;
    let began = Instant::now();
    serving.signal("INT");
    assert_eq!(serving.wait_end().await.code(), Some(1));
    assert!(
        began.elapsed().as_secs() < 5,
        "it took {:?}",
        began.elapsed()
    );
    assert_eq!(serving.events("service.aborted")[0]["reason"], "SIGINT");
    nothing_is_left(&site);
}
