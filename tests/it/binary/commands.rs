//! What commands say: the same beside a running service and without one, as JSON, and with their exit codes.

use serde_json::{Value as Json, json};

use super::{
    process::Serving,
    site::{CONFIG, Site, exists, set_email},
};
use crate::engines::with_database;

/// What differs from run to run: instants, durations, and what a colder cache costs. Everything else must not.
fn steady(answer: &Json) -> Json {
    match answer {
        Json::Array(items) => items.iter().map(steady).collect(),
        Json::Object(fields) => fields
            .iter()
            .filter(|(name, _)| !["at", "duration_ms", "crisp_calls"].contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), steady(value)))
            .collect(),
        other => other.clone(),
    }
}

/// A site where one conversation has been refreshed, and nobody serves.
async fn settled() -> (Site, String) {
    let site = Site::new().await;
    let serving = site.serve().await;
    let session = site.chat("ada@example.org");
    let body = set_email(&session, "ada@example.org");
    assert_eq!(serving.post(&body).expect("an answer"), 200);
    site.wait_refreshed(&session).await;
    site.sandbox
        .wait_until("the contact is refreshed", |state| {
            state
                .contacts()
                .iter()
                .any(|contact| contact.labels.data.get("plan") == Some(&json!("pro")))
        })
        .await
        .expect("the contact is refreshed");
    serving.signal("TERM");
    let mut serving = serving;
    assert_eq!(serving.wait_end().await.code(), Some(0));
    (site, session)
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_says_the_same_with_and_without_a_service() {
    let (site, session) = settled().await;
    let questions: [&[&str]; 6] = [
        &["deliveries", "list", "--json"],
        &["deliveries", "show", "1", "--json"],
        &["deliveries", "show", "77", "--json"],
        &["events", "list", "--json"],
        &["plan", "--email", "ada@example.org", "--json"],
        &["plan", "--email", "nobody@example.org", "--json"],
    ];
    let alone: Vec<_> = questions.map(|question| site.run(question)).into();
    let _serving = site.serve().await;
    for (question, alone) in questions.iter().zip(alone) {
        let beside = site.run(question);
        assert_eq!(beside.code, alone.code, "{question:?}");
        assert_eq!(
            steady(&beside.json()),
            steady(&alone.json()),
            "{question:?}"
        );
        let in_words = &question[..question.len() - 1];
        assert_eq!(site.run(in_words).code, alone.code, "{in_words:?}");
    }
    let shown = site
        .run(&["deliveries", "show", "1", "--json"])
        .ended(0)
        .json();
    assert_eq!(shown["delivery"]["session"], json!(session));
    assert_eq!(shown["work"]["pending"], json!(false));
    assert_eq!(shown["traces"][0]["outcome"], "patched");
    assert!(exists(&site.path("crisp-sync.db.sock")));
}

#[tokio::test(flavor = "multi_thread")]
async fn acting_works_with_and_without_a_service() {
    let (site, session) = settled().await;
    let acts: [&[&str]; 4] = [
        &["reconcile", "--email", "ada@example.org", "--json"],
        &["reconcile", "--session", &session, "--json"],
        &["deliveries", "retry", "1", "--json"],
        &["deliveries", "retry", "--dead", "--json"],
    ];
    let alone: Vec<Json> = acts
        .iter()
        .map(|act| steady(&site.run(act).ended(0).json()))
        .collect();
    assert_eq!(alone[0][0]["what"], "conversation");
    assert_eq!(alone[0][1]["what"], "contact");
    assert_eq!(alone[3], json!({"revived": 0}));
    let _serving = site.serve().await;
    // The worker must not take the row before the command that asked for it: often enough to be sure.
    for _ in 0..5 {
        for (act, alone) in acts.iter().zip(&alone) {
            assert_eq!(&steady(&site.run(act).ended(0).json()), alone, "{act:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_armed_once() {
    let (site, _) = settled().await;
    let first = site.run(&["events", "arm", "--json"]).ended(0).json();
    assert_eq!(first[0][3], "armed");
    let _serving = site.serve().await;
    let again = site.run(&["events", "arm", "--json"]).ended(0).json();
    assert_eq!(again[0][3], "armed already");
    assert_eq!(again[0][2], first[0][2], "the first watermark stays");
    let other = site
        .run(&["events", "arm", "--event", "user:nothing"])
        .ended(1);
    assert!(
        other
            .stderr
            .contains("hint: configured are user:subscription:canceled"),
        "{other:?}"
    );
    let listed = site
        .run(&["events", "list", "--state", "nonsense"])
        .ended(2);
    assert!(
        listed
            .stderr
            .contains("possible values: scheduled, due, sending"),
        "{listed:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_go_to_standard_error() {
    let (site, _) = settled().await;
    let failed = site.run(&["deliveries", "show", "77"]).ended(1);
    assert_eq!(failed.stdout, "");
    assert_eq!(
        failed.stderr,
        "error: there is no delivery 77\nhint: `deliveries list` shows those that are kept\n"
    );
    let scripted = site.run(&["deliveries", "show", "77", "--json"]).ended(1);
    assert!(scripted.json()["error"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_website_a_command_says_so_instead_of_doing_nothing() {
    let mut site = Site::new().await;
    site.set("CRISP_WEBSITES", None);
    let acts: [&[&str]; 3] = [
        &["plan", "--email", "ada@example.org"],
        &["reconcile", "--email", "ada@example.org"],
        &["events", "arm"],
    ];
    for act in acts {
        let ran = site.run(act).ended(1);
        assert!(ran.stderr.contains("CRISP_WEBSITES"), "{act:?}: {ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_services_do_not_share_a_ledger() {
    let site = Site::new().await;
    let serving = site.serve().await;
    let second = site.run(&["serve"]).ended(1);
    assert!(
        second.stderr.contains("another process has it"),
        "{second:?}"
    );
    assert!(
        second.stderr.contains("\nhint: only one process"),
        "{second:?}"
    );
    // The first one is none the worse.
    let session = site.chat("ada@example.org");
    let body = set_email(&session, "ada@example.org");
    assert_eq!(serving.post(&body).expect("an answer"), 200);
    site.run(&["deliveries", "list", "--json"]).ended(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_of_a_dead_process_does_no_harm() {
    let site = Site::new().await;
    let mut serving = site.serve().await;
    serving.kill();
    assert!(
        exists(&site.path("crisp-sync.db.sock")),
        "it left its socket"
    );
    site.run(&["deliveries", "list", "--json"]).ended(0);
    let _serving = site.serve().await;
    site.run(&["deliveries", "list", "--json"]).ended(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_said_and_the_ledger_let_go() {
    let mut site = Site::with(CONFIG).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    site.set("CRISP_SYNC_LISTEN", Some(&address));
    let ran = site.run(&["serve"]).ended(1);
    assert!(ran.stderr.contains("could not listen on"), "{ran:?}");
    assert!(ran.stderr.contains("hint: is another process"), "{ran:?}");
    assert!(!exists(&site.path("crisp-sync.db.sock")));
}

#[tokio::test(flavor = "multi_thread")]
async fn services_share_a_server_and_commands_join_them() {
    with_database(|url| async move {
        // The server asks for no password; it may be told nowhere all the same.
        let mut url = url::Url::parse(&url).expect("a URL");
        url.set_password(Some("hunter2")).expect("a password");
        let mut site = Site::new().await;
        site.set("CRISP_SYNC_LEDGER", Some(url.as_str()));
        let checked = site.run(&["check"]);
        assert!(
            checked.stdout.contains("ok     ledger `postgres://"),
            "{checked:?}"
        );
        assert!(!format!("{checked:?}").contains("hunter2"));

        let mut one = site.serve().await;
        let command = site.command(&["serve"]);
        let mut two = Serving::start(command, &site.path("second.log")).await;
        let session = site.chat("ada@example.org");
        let body = set_email(&session, "ada@example.org");
        assert_eq!(one.post(&body).expect("an answer"), 200);
        assert_eq!(two.post(&body).expect("an answer"), 200);
        site.wait_refreshed(&session).await;
        let list = site.run(&["deliveries", "list", "--json"]).ended(0);
        assert_eq!(list.json().as_array().map(Vec::len), Some(2), "{list:?}");
        let act = ["reconcile", "--email", "ada@example.org", "--json"];
        site.run(&act).ended(0);
        assert!(!exists(&site.path("crisp-sync.db.sock")));
        for serving in [&mut one, &mut two] {
            serving.signal("TERM");
            assert_eq!(serving.wait_end().await.code(), Some(0));
            assert!(!serving.log().contains("hunter2"));
        }
    })
    .await;
}
