//! Logs and metrics are interfaces: their names are those of the tables, and they carry nobody's address.

use std::{
    collections::VecDeque,
    io::Write,
    sync::{Mutex, MutexGuard, OnceLock},
    time::Duration,
};

use crisp_sync::{
    sandbox::{Fault, FaultBody, OpenChat},
    telemetry::{events, reference},
};
use serde_json::Value as Json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tracing_subscriber::{EnvFilter, fmt::MakeWriter, layer::SubscriberExt as _};

use crate::{source, world::World};

/// What this process has logged, as it would stand on standard error.
static LOGGED: Mutex<Logged> = Mutex::new(Logged {
    lines: VecDeque::new(),
    dropped: 0,
    fault: None,
});

/// The stories of a whole run log millions of lines: more than these are not kept.
const KEPT: usize = 400_000;

struct Logged {
    /// The last ones.
    lines: VecDeque<Json>,
    /// How many came before them.
    dropped: usize,
    /// What is wrong with the first line that is not what it promises. Each is looked at once, when it comes.
    fault: Option<String>,
}

impl Logged {
    fn keep(&mut self, line: Json) {
        if self.fault.is_none() {
            let fault = fault_of(&line);
            self.fault = fault.map(|fault| format!("{fault}\n{line:#}"));
        }
        self.lines.push_back(line);
        if self.lines.len() > KEPT {
            self.lines.pop_front();
            self.dropped += 1;
        }
    }
}

/// What none of our lines may hold. Addresses and tenants of every story end in `.example`.
const PRIVATE: [&str; 6] = [
    ".example",
    "Osei",
    "Northwind",
    "question about my account",
    crate::world::SIGNING_SECRET,
    crisp_sync::sandbox::DEFAULT_TOKEN_KEY,
];

/// Fields that every line has.
const COMMON: [&str; 5] = ["timestamp", "level", "target", "message", "event"];

struct Keep;

impl Write for Keep {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let json = serde_json::from_slice(line).map_err(std::io::Error::other)?;
        logged().keep(json);
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Keep {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}

fn logged() -> MutexGuard<'static, Logged> {
    LOGGED
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// From here on every line is kept. Debug lines too: they are read by people who look for a fault, and then sent around.
pub(crate) fn listen() {
    static STARTED: OnceLock<()> = OnceLock::new();
    STARTED.get_or_init(|| {
        let json = tracing_subscriber::fmt::layer()
            .event_format(crisp_sync::telemetry::JsonLines)
            .with_writer(Keep);
        let subscriber = tracing_subscriber::registry()
            .with(EnvFilter::new("warn,crisp_sync=debug,sqlx=off"))
            .with(json);
        tracing::subscriber::set_global_default(subscriber)
            .expect("nobody else in these tests listens");
    });
}

/// The last lines so far.
pub(crate) fn lines() -> Vec<Json> {
    lines_since(0)
}

/// How many lines there were so far.
pub(crate) fn marker() -> usize {
    let logged = logged();
    logged.dropped + logged.lines.len()
}

/// The lines after a marker.
pub(crate) fn lines_since(marker: usize) -> Vec<Json> {
    let logged = logged();
    let from = marker.saturating_sub(logged.dropped);
    logged.lines.iter().skip(from).cloned().collect()
}

/// What is wrong with a line, if anything.
fn fault_of(line: &Json) -> Option<String> {
    let text = line.to_string();
    if let Some(private) = PRIVATE.iter().find(|private| text.contains(*private)) {
        return Some(format!("it holds `{private}`"));
    }
    let target = line["target"].as_str().unwrap_or_default();
    if !target.starts_with("crisp_sync") || target.starts_with("crisp_sync::sandbox") {
        return None;
    }
    let name = line["event"].as_str().unwrap_or_default();
    let Some(event) = events::ALL.iter().find(|event| event.name == name) else {
        return Some(format!("no event is called `{name}`"));
    };
    if line["level"] != event.level {
        return Some(format!("`{name}` is written at {}", event.level));
    }
    line.as_object()?
        .keys()
        .find(|key| !COMMON.contains(&key.as_str()) && !event.fields.contains(&key.as_str()))
        .map(|key| format!("`{name}` has no field `{key}`"))
}

/// Every line so far is as the table has it. Each story ends with it.
pub(crate) fn assert_lines_are_as_documented() {
    let fault = logged().fault.clone();
    if let Some(fault) = fault {
        panic!("a log line is not what it promises: {fault}");
    }
}

#[test]
fn the_page_about_logs_and_metrics_is_fresh() {
    let path = source::top().join("docs/logging.md");
    let made = reference();
    if std::env::vars_os().any(|(name, _)| name == "UPDATE_DOCS") {
        std::fs::write(&path, &made).expect("a page");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == made,
        "docs/logging.md is out of date: run `UPDATE_DOCS=1 cargo test --test it telemetry`"
    );
}

/// What stands between the brackets of each logging macro.
fn logging(source: &str) -> Vec<String> {
    let calls = ["error", "warn", "info", "debug"].map(|level| format!("tracing::{level}!("));
    let begun = calls.iter().flat_map(|call| source.split(call).skip(1));
    begun
        .map(|rest| {
            let mut depth = 1;
            let inside = rest.chars().take_while(|sign| {
                depth += match sign {
                    '(' => 1,
                    ')' => -1,
                    _ => 0,
                };
                depth > 0
            });
            inside.collect()
        })
        .collect()
}

/// The source of the table of lines.
fn table() -> String {
    source::files("src/telemetry")
        .into_iter()
        .find(|file| file.path.ends_with("events.rs"))
        .expect("the table is there")
        .text
}

/// What the constant of a line is called.
fn constant<'table>(table: &'table str, name: &str) -> &'table str {
    table
        .lines()
        .find(|line| line.contains(&format!("= \"{name}\"")))
        .and_then(|line| line.trim().split(' ').next())
        .expect("a constant")
}

/// Every call that logs.
fn written() -> Vec<String> {
    source::files("src")
        .iter()
        .filter(|file| !file.path.starts_with("src/telemetry"))
        .flat_map(|file| logging(&file.text))
        .collect()
}

/// Who builds an alert on a line or a field may rely on its being written.
#[test]
fn every_documented_line_and_field_is_written_somewhere() {
    let table = table();
    let written = written();
    for event in events::ALL {
        let constant = constant(&table, event.name);
        let calls: Vec<_> = written
            .iter()
            .filter(|call| call.contains(&format!("events::{constant},")))
            .collect();
        assert!(!calls.is_empty(), "nobody writes `{}`", event.name);
        for field in event.fields {
            let is_there = calls.iter().any(|call| {
                call.contains(&format!("\"{field}\" ="))
                    || call.contains(&format!("{field} ="))
                    || call.contains(&format!(" {field},"))
                    || call.contains(&format!("%{field},"))
            });
            assert!(is_there, "`{}` never has `{field}`", event.name);
        }
    }
}

/// Whoever is called by a line finds in it what to do, wherever the table promises that.
#[test]
fn a_line_that_may_say_what_to_do_always_says_it() {
    let table = table();
    let written = written();
    for event in events::ALL
        .iter()
        .filter(|event| event.fields.contains(&"hint"))
    {
        let constant = constant(&table, event.name);
        for call in written
            .iter()
            .filter(|call| call.contains(&format!("events::{constant},")))
        {
            assert!(call.contains("hint"), "`{}`: {call}", event.name);
        }
    }
}

/// A bad day from beginning to end: everything that is logged, counted or answered is looked through for what is private.
#[tokio::test]
async fn a_whole_day_leaves_nobodys_address_anywhere() {
    const ADA: &str = "ada.osei+crm@northwind.example";
    let mut world = World::with(|setup| {
        setup.add(
            "[lifecycle]\nsender = \"sole\"\ngrace = \"0s\"\n\n\
             [[lifecycle.event]]\nname = \"user:subscription:canceled\"\nat = \"canceled_at\"\n",
        );
        setup.add("[worker]\nattempts = 2");
    })
    .await;
    world.add_user("u1", ADA).await;
    let session = world.open(OpenChat::by(ADA).proven()).await;
    for rule in world.service.rule_names() {
        let ledger = &world.service.ledger;
        ledger
            .arm(&world.website, &rule, world.now(), world.now())
            .await
            .expect("armed");
    }
    world.pass(Duration::from_mins(10)).await;
    world
        .change_user("u1", "canceled_at = '2026-03-02 09:05:00', plan = 'free'")
        .await;
    world
        .sandbox
        .fault(Fault::status("people_data.update", 500).body(FaultBody::Html));
    world
        .sandbox
        .fault(Fault::status("people_event.add", 429).retry_after("20"));
    world.sandbox.operator_opens(&session).expect("there");
    world.pass(Duration::from_hours(2)).await;
    assert_eq!(world.timeline(ADA), ["user:subscription:canceled"]);
    // The database, and with it whatever it may say about its rows.
    world
        .sql("ALTER TABLE users RENAME COLUMN plan TO plan_of_ada_osei")
        .await;
    world.sandbox.operator_opens(&session).expect("there");
    world.pass(Duration::from_hours(2)).await;
    // A request that Crisp refuses in words.
    world
        .sql("ALTER TABLE users RENAME COLUMN plan_of_ada_osei TO plan")
        .await;
    world.sandbox.fault(Fault {
        reason: Some("invalid_data".to_owned()),
        ..Fault::status("conversation.get", 400)
    });
    world
        .sandbox
        .change_identity(&session, Some("ben@southwind.example"), false)
        .expect("there");
    world.pass(Duration::from_hours(2)).await;
    // Somebody who is not Crisp.
    for path in [
        "/webhooks/crisp",
        "/webhooks/crisp?key=ada@northwind.example",
    ] {
        let answer = World::http()
            .post(world.public_url(path))
            .body(format!("{{\"email\":\"{ADA}\"}}"))
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status(), 403);
        assert_eq!(answer.text().await.expect("a body"), "");
    }
    for path in ["/metrics", "/status", "/healthz", "/readyz", "/nothing"] {
        let answer = World::http()
            .get(world.ops_url(path))
            .send()
            .await
            .expect("an answer");
        let text = answer.text().await.expect("a body");
        for private in PRIVATE {
            assert!(!text.contains(private), "{path} tells `{private}`:\n{text}");
        }
    }
    // The ledger's own words, which `deliveries show` repeats.
    let dead = world.service.ledger.dead(10).await.expect("readable");
    for row in &dead {
        let told = row.last_error.clone().unwrap_or_default();
        for private in PRIVATE {
            assert!(!told.contains(private), "{told}");
        }
    }
    let count = dead.len();
    assert!(count > 0, "the day was bad enough");
    for name in [
        "work.retry",
        "work.buried",
        "crisp.paused",
        "crisp.resumed",
        "people_event.sent",
    ] {
        assert!(
            lines().iter().any(|line| line["event"] == name),
            "`{name}` was logged"
        );
    }
    world.finish_with_dead_letters(count).await;
}

#[tokio::test]
async fn the_metrics_say_what_happened_and_what_waits() {
    let mut world = World::start().await;
    world.add_user("u1", "ada@northwind.example").await;
    let session = world
        .open(OpenChat::by("ada@northwind.example").proven())
        .await;
    world.change_user("u1", "plan = 'starter'").await;
    world.sandbox.fault(Fault::status("conversation.get", 429));
    world.sandbox.operator_opens(&session).expect("there");
    world.refresh().await;
    let answer = World::http()
        .get(world.ops_url("/metrics"))
        .send()
        .await
        .expect("an answer");
    let kind = answer.headers()["content-type"].to_str().expect("text");
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let text = answer.text().await.expect("a body");
    for series in [
        "crisp_sync_work_total{kind=\"conversation\",outcome=\"patched\"} 1",
        "crisp_sync_work_total{kind=\"person\",outcome=\"patched\"} 1",
        "crisp_sync_work_total{kind=\"conversation\",outcome=\"pause_token\"} 1",
        "crisp_sync_lookups_total{outcome=\"found\"}",
        "crisp_sync_crisp_calls_total{purpose=",
        "answer=\"throttled\"} 1",
        "crisp_sync_webhooks_total{outcome=\"accepted\",hook=\"plugin\"}",
        "crisp_sync_hook_to_context_seconds_count 1",
        "crisp_sync_accept_seconds_count",
        "crisp_sync_work_pending 1",
        "crisp_sync_work_dead 0",
        "crisp_sync_paused{scope=\"token\"} 1",
        "crisp_sync_paused{scope=\"website\"} 0",
    ] {
        assert!(text.contains(series), "`{series}` is not in\n{text}");
    }
    world.pass(Duration::from_mins(20)).await;
    world.finish().await;
}

#[tokio::test]
async fn tokens_guard_the_ops_listener_once_there_are_any() {
    let ask = async |world: &World, path: &str, token: Option<&str>| {
        let request = World::http().get(world.ops_url(path));
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let answer = request.send().await.expect("an answer");
        answer.status().as_u16()
    };
    let open = World::start().await;
    assert_eq!(ask(&open, "/metrics", None).await, 200, "on this machine");
    open.finish().await;
    let world = World::with(|setup| {
        setup.set("CRISP_SYNC_OPS_READ_TOKEN", "r-0123456789abcdef");
        setup.set("CRISP_SYNC_OPS_ACT_TOKEN", "a-0123456789abcdef");
    })
    .await;
    for path in ["/metrics", "/status"] {
        let table = [
            (None, 401),
            (Some("wrong"), 401),
            (Some(""), 401),
            (Some("r-0123456789abcde"), 401),
            (Some("r-0123456789abcdef"), 200),
            (Some("a-0123456789abcdef"), 200),
        ];
        for (token, expected) in table {
            assert_eq!(ask(&world, path, token).await, expected, "{path} {token:?}");
        }
    }
    assert_eq!(
        ask(&world, "/readyz", None).await,
        200,
        "a probe has no token"
    );
    world.finish().await;
}

/// While a request in hand is finished, whoever balances the load is told to look elsewhere.
#[tokio::test]
async fn a_service_that_stops_says_that_it_is_not_ready() {
    let mut world = World::start().await;
    let ready = world.ops_url("/readyz");
    let mut server = world.server.take().expect("it listens");
    let mut slow = tokio::net::TcpStream::connect(server.address)
        .await
        .expect("connected");
    let head = "POST /webhooks/crisp HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{";
    slow.write_all(head.as_bytes()).await.expect("sent");
    let http = World::http();
    let stopping = tokio::spawn(async move {
        server.drain().await;
        server.close().await;
    });
    let drained = async {
        loop {
            let answer = http.get(&ready).send().await.expect("an answer");
            if answer.status() == 503 {
                return answer.text().await.expect("a body");
            }
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(20), drained)
        .await
        .expect("readiness ends while a request is in hand");
    assert_eq!(told, "draining");
    slow.write_all(b"}").await.expect("sent");
    let mut answer = [0; 12];
    slow.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 403", "the request in hand is answered");
    stopping.await.expect("stopped");
    world.finish().await;
}
