//! What asks for a person: told once when it begins and once when it is over, to a receiver that may have bad days of its
//! own.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crisp_sync::{
    alerts::{AlertSettings, CALM, Watch},
    app::Service,
    breaker::{CRISP, USERS},
    crisp::{client::Tier, quota::QuotaSettings},
    ledger::{Listened, OutboxFilter, Outcome, Settled, Settlement, WorkKind, Write},
    lifecycle::OutboxState,
    sandbox::{DEFAULT_TOKEN_KEY, Fault, OpenChat, WebhookSettings},
    server::Server,
};
use serde_json::Value as Json;
use sqlx::{Connection as _, Executor as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::{
    engines::{
        Database,
        silence::{Trigger, Way},
    },
    telemetry::lines,
    world::{OTHER_SECRET, SIGNING_SECRET, Setup, World},
};

const ADA: &str = "ada@northwind.example";
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
/// The secret part of a receiver's address.
const SECRET_PATH: &str = "T024BE7LD-hunter2";

/// What a receiver does with a request.
#[derive(Debug, Clone, Copy)]
enum Answer {
    Status(u16),
    Later { seconds: u32 },
    Never,
}

/// The other end of `alerts.url`.
#[derive(Clone)]
struct Receiver {
    url: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    taken: Vec<Json>,
    asked: usize,
    answers: VecDeque<Answer>,
}

impl Receiver {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let receiver = Self {
            url: format!("http://{address}/services/{SECRET_PATH}"),
            state: Arc::default(),
        };
        let this = receiver.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let this = this.clone();
                tokio::spawn(async move { this.serve(stream).await });
            }
        });
        receiver
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the next requests get; then it is 200 again.
    fn answers(&self, answers: impl IntoIterator<Item = Answer>) {
        self.state().answers.extend(answers);
    }

    /// The messages that it took, and takes them away.
    fn messages(&self) -> Vec<Json> {
        std::mem::take(&mut self.state().taken)
    }

    fn asked(&self) -> usize {
        self.state().asked
    }

    async fn serve(&self, mut stream: TcpStream) {
        let request = read(&mut stream).await;
        let (head, body) = request.split_once("\r\n\r\n").expect("a request");
        assert!(head.starts_with(&format!("POST /services/{SECRET_PATH} HTTP/1.1")));
        assert!(head.contains("content-type: application/json"), "{head}");
        let answer = {
            let mut state = self.state();
            state.asked += 1;
            let answer = state.answers.pop_front().unwrap_or(Answer::Status(200));
            if matches!(answer, Answer::Status(200)) {
                state.taken.push(serde_json::from_str(body).expect("JSON"));
            }
            answer
        };
        let (status, more) = match answer {
            Answer::Status(status) => (status, String::new()),
            Answer::Later { seconds } => (429, format!("retry-after: {seconds}\r\n")),
            Answer::Never => return std::future::pending().await,
        };
        let head =
            format!("HTTP/1.1 {status} x\r\n{more}content-length: 0\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("written");
    }
}

/// One request to its end.
async fn read(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let mut more = [0; 4096];
        let read = stream.read(&mut more).await.expect("readable");
        bytes.extend_from_slice(&more[..read]);
        let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
            .unwrap_or(0);
        if body.len() >= length {
            return String::from_utf8(bytes).expect("UTF-8");
        }
    }
}

/// A world whose alerts go to a receiver.
async fn world(change: impl FnOnce(&mut Setup)) -> (World, Receiver) {
    let receiver = Receiver::start().await;
    let mut world = World::with(|setup| {
        setup.set("CRISP_SYNC_ALERTS_URL", &receiver.url);
        change(setup);
    })
    .await;
    world.add_user("u1", ADA).await;
    (world, receiver)
}

/// What was told since the last time: the condition with its subject, and a `-` before it when it is over.
fn told(receiver: &Receiver) -> Vec<String> {
    let messages = receiver.messages();
    let attachments = messages
        .iter()
        .flat_map(|message| message["attachments"].as_array().expect("attachments"));
    attachments
        .map(|one| {
            let is_over = one["color"] == "good";
            format!(
                "{}{}",
                if is_over { "-" } else { "" },
                one["title"].as_str().expect("a title")
            )
        })
        .collect()
}

/// Looks twice a minute for a time, as the running service does, and says what was told.
async fn looks(world: &mut World, receiver: &Receiver, time: Duration) -> Vec<String> {
    let until = world.now() + time;
    while world.now() < until {
        world.pass(Duration::from_secs(30)).await;
        world.service.watch.look().await;
    }
    told(receiver)
}

async fn look(world: &World) {
    world.service.watch.look().await;
}

/// Runs for a long time, as the service does where nobody looks so often.
async fn runs(world: &mut World, receiver: &Receiver, time: Duration) -> Vec<String> {
    let until = world.now() + time;
    while world.now() < until {
        world.pass(4 * MINUTE).await;
        world.service.worker.beat().await;
        world.service.watch.look().await;
    }
    told(receiver)
}

const NOTHING: [&str; 0] = [];

/// What another process on the same ledger looks with.
fn another(world: &World, receiver: &Receiver) -> Watch {
    Watch::new(
        AlertSettings {
            url: Some(receiver.url.parse().expect("a URL")),
            proxy: None,
            name: "the other".to_owned(),
            signature_failures: 20,
            quota: QuotaSettings::for_tier(Tier::Plugin),
            sweeps_every: None,
        },
        world.service.ledger.clone(),
        world.service.metrics.clone(),
        world.service.breakers.clone(),
        world.clock.clone(),
    )
    .expect("a watch")
}

#[tokio::test]
async fn a_dead_letter_is_told_once_and_its_end_once() {
    let (mut world, receiver) = world(|_| {}).await;
    look(&world).await;
    assert_eq!(told(&receiver), NOTHING);
    world.sandbox.fault(Fault {
        reason: Some("invalid_data".to_owned()),
        ..Fault::status("conversation.get", 400)
    });
    world.open(OpenChat::by(ADA).proven()).await;
    look(&world).await;
    let messages = receiver.messages();
    let [message] = messages.as_slice() else {
        panic!("one message: {messages:#?}");
    };
    let text = message["text"].as_str().expect("a text");
    assert!(
        text.starts_with("crisp-sync: 1 condition asks for a person\ndead letters: 1 rows"),
        "{text}"
    );
    assert_eq!(looks(&mut world, &receiver, 10 * MINUTE).await, NOTHING);
    let now = world.now();
    let revived = world.service.ledger.revive_all(now).await;
    assert_eq!(revived.expect("revived"), 1);
    world.settle().await;
    assert_eq!(
        looks(&mut world, &receiver, 4 * MINUTE).await,
        NOTHING,
        "it may come back"
    );
    assert_eq!(
        looks(&mut world, &receiver, 2 * MINUTE).await,
        ["-dead letters"]
    );
    assert_eq!(looks(&mut world, &receiver, 10 * MINUTE).await, NOTHING);
    world.finish().await;
}

/// One old dead letter does not hide that hundreds follow.
#[tokio::test]
async fn dead_letters_are_told_again_when_they_are_ten_times_as_many() {
    let (mut world, receiver) = world(|_| {}).await;
    let fault = Fault {
        reason: Some("invalid_data".to_owned()),
        ..Fault::status("conversation.get", 400)
    };
    world.sandbox.fault(fault.times(0));
    world.open(OpenChat::by(ADA).proven()).await;
    assert_eq!(looks(&mut world, &receiver, MINUTE).await, ["dead letters"]);
    for _ in 0..8 {
        world.open(OpenChat::by(ADA).proven()).await;
    }
    assert_eq!(looks(&mut world, &receiver, 2 * MINUTE).await, NOTHING);
    world.open(OpenChat::by(ADA).proven()).await;
    world.open(OpenChat::by(ADA).proven()).await;
    let grown = "dead letters (10 or more)";
    assert_eq!(looks(&mut world, &receiver, 2 * MINUTE).await, [grown]);
    assert_eq!(looks(&mut world, &receiver, 10 * MINUTE).await, NOTHING);
    world.sandbox.clear_faults();
    let now = world.now();
    let revived = world.service.ledger.revive_all(now).await;
    assert_eq!(revived.expect("revived"), 11);
    world.settle().await;
    assert_eq!(
        looks(&mut world, &receiver, CALM + 2 * MINUTE).await,
        ["-dead letters", &format!("-{grown}")]
    );
    world.finish().await;
}

/// Held at the brake, as after a bad migration of the app's.
#[tokio::test]
async fn held_events_are_told() {
    let (mut world, receiver) = world(|setup| {
        setup.add(
            "[lifecycle]\nsender = \"sole\"\ngrace = \"0s\"\n\n\
             [[lifecycle.event]]\nname = \"user:onboarding:completed\"\nat = \"onboarded_at\"\n",
        );
    })
    .await;
    let now = world.now();
    let ledger = world.service.ledger.clone();
    ledger
        .arm(&world.website, "user:onboarding:completed", now, now)
        .await
        .expect("armed");
    world.clock.advance(MINUTE);
    for number in 0..21 {
        let (id, email) = (format!("m{number}"), format!("m{number}@northwind.example"));
        world.add_user(&id, &email).await;
        let at = world.now().strftime("%F %T").to_string();
        world
            .change_user(&id, &format!("onboarded_at = '{at}'"))
            .await;
        world.open(OpenChat::by(&email).proven()).await;
    }
    let braked = format!("user:onboarding:completed on {}", world.website);
    assert_eq!(
        looks(&mut world, &receiver, MINUTE).await,
        [&format!("brake latched ({braked})"), "events held"]
    );
    let held = OutboxFilter {
        state: Some(OutboxState::Held),
        ..OutboxFilter::default()
    };
    let dropped = ledger.drop_occurrences(&held, world.now()).await;
    assert_eq!(dropped.expect("dropped"), 1);
    assert_eq!(
        looks(&mut world, &receiver, CALM + MINUTE).await,
        [&format!("-brake latched ({braked})"), "-events held"]
    );
    world.finish().await;
}

#[tokio::test]
async fn a_quota_that_will_not_last_is_told_with_its_hour() {
    let (mut world, receiver) = world(|_| {}).await;
    let used = [("conversation.get", 2_700)];
    let ledger = world.service.ledger.clone();
    ledger
        .count_calls(&used, world.now())
        .await
        .expect("counted");
    look(&world).await;
    let messages = receiver.messages();
    let detail = messages[0]["attachments"][0]["text"]
        .as_str()
        .expect("a text");
    assert_eq!(
        detail,
        "2700 of the day's 5000 calls are used; at this pace the quota is exhausted at 16:40 UTC"
    );
    // An hour without calls makes it better, and it is not taken back before it is clearly so.
    assert_eq!(looks(&mut world, &receiver, 4 * 60 * MINUTE).await, NOTHING);
    assert_eq!(
        looks(&mut world, &receiver, 60 * MINUTE).await,
        ["-quota short"]
    );
    assert_eq!(
        looks(&mut world, &receiver, 10 * 60 * MINUTE).await,
        NOTHING
    );
    world.finish().await;
}

/// That it will not last is one thing, and that it is used up another.
#[tokio::test]
async fn a_quota_that_is_used_up_is_told_once_more() {
    let (mut world, receiver) = world(|_| {}).await;
    let ledger = world.service.ledger.clone();
    let use_up = async |world: &World, calls| {
        let used = [("conversation.get", calls)];
        let counted = ledger.count_calls(&used, world.now()).await;
        counted.expect("counted");
    };
    use_up(&world, 2_700).await;
    assert_eq!(looks(&mut world, &receiver, MINUTE).await, ["quota short"]);
    use_up(&world, 2_300).await;
    let messages = {
        world.pass(2 * MINUTE).await;
        look(&world).await;
        receiver.messages()
    };
    let [message] = messages.as_slice() else {
        panic!("one message: {messages:#?}");
    };
    let text = message["text"].as_str().expect("a text");
    assert!(text.contains("quota short (used up)"), "{text}");
    assert!(text.contains("is used up: only conversations"), "{text}");
    assert_eq!(looks(&mut world, &receiver, 30 * MINUTE).await, NOTHING);
    world.finish().await;
}

/// A signing secret is replaced in Crisp, and the site is quiet: no twenty webhooks in ten minutes.
#[tokio::test]
async fn a_few_wrong_signatures_are_told_where_nothing_genuine_comes() {
    let (mut world, receiver) = world(|_| {}).await;
    look(&world).await;
    let session = world.open(OpenChat::by(ADA).proven()).await;
    world.service.worker.beat().await;
    let rotated = WebhookSettings::signed(world.webhook_url(), OTHER_SECRET);
    world.sandbox.set_webhook(Some(rotated));
    let speaks = async |world: &mut World| {
        for _ in 0..3 {
            world.sandbox.message(&session, "hello?").expect("there");
        }
        world.hooks_arrive().await;
    };
    speaks(&mut world).await;
    assert_eq!(
        looks(&mut world, &receiver, 9 * MINUTE).await,
        NOTHING,
        "somebody tries, and Crisp was heard"
    );
    speaks(&mut world).await;
    assert_eq!(
        looks(&mut world, &receiver, 2 * MINUTE).await,
        ["signatures refused"]
    );
    world.finish().await;
}

#[tokio::test]
async fn refused_signatures_are_told_when_they_are_many() {
    let (mut world, receiver) = world(|_| {}).await;
    let refused = async |times: u32| {
        for _ in 0..times {
            let request = World::http().post(world.webhook_url()).body("{}");
            assert_eq!(request.send().await.expect("an answer").status(), 403);
        }
    };
    look(&world).await;
    refused(19).await;
    look(&world).await;
    assert_eq!(told(&receiver), NOTHING);
    refused(1).await;
    assert_eq!(
        looks(&mut world, &receiver, MINUTE).await,
        ["signatures refused"]
    );
    assert_eq!(looks(&mut world, &receiver, 13 * MINUTE).await, NOTHING);
    assert_eq!(
        looks(&mut world, &receiver, 3 * MINUTE).await,
        ["-signatures refused"]
    );
    world.finish().await;
}

#[tokio::test]
async fn an_open_breaker_is_told_by_name() {
    let (mut world, receiver) = world(|_| {}).await;
    for name in [CRISP, USERS] {
        let breaker = world.service.breakers.of(name);
        while breaker.outage().is_none() {
            breaker.failed("no answer");
        }
    }
    assert_eq!(
        looks(&mut world, &receiver, MINUTE).await,
        ["breaker open (crisp)", "breaker open (users)"]
    );
    world.service.breakers.of(CRISP).succeeded();
    assert_eq!(
        looks(&mut world, &receiver, CALM + MINUTE).await,
        ["-breaker open (crisp)"]
    );
    world.service.breakers.of(USERS).succeeded();
    assert_eq!(
        looks(&mut world, &receiver, CALM + MINUTE).await,
        ["-breaker open (users)"]
    );
    world.finish().await;
}

#[tokio::test]
async fn a_silent_website_is_told_until_it_is_heard() {
    let (mut world, receiver) = world(|_| {}).await;
    let now = world.now();
    let ledger = world.service.ledger.clone();
    ledger
        .look_for_gaps(&[world.website.clone()], now)
        .await
        .expect("enqueued");
    let claims = ledger.claim(1, MINUTE, now).await.expect("a claim");
    let settlement = Settlement {
        writes: vec![Write::Listened(Listened {
            website: world.website.clone(),
            checked_to: Some(now),
            scan: None,
            unheard_at: Some(now),
            silent_since: Some(now),
            at: now,
        })],
        ..Settlement::of(Outcome::Done)
    };
    assert_eq!(claims[0].kind, WorkKind::Gap);
    let settled = ledger.settle(&claims[0], settlement, now).await;
    assert_eq!(settled.expect("an answer"), Settled::Written);
    let silence = format!("silence ({})", world.website);
    assert_eq!(
        looks(&mut world, &receiver, MINUTE).await,
        [silence.as_str()]
    );
    world.open(OpenChat::by(ADA).proven()).await;
    assert_eq!(
        looks(&mut world, &receiver, CALM + MINUTE).await,
        [format!("-{silence}")]
    );
    world.finish().await;
}

/// No condition is set here: hooks stop, and somebody chats all the same.
#[tokio::test]
async fn hooks_that_stop_are_told_as_a_silence() {
    let (mut world, receiver) = world(|_| {}).await;
    world.service.look_for_gaps().await.expect("enqueued");
    world.open(OpenChat::by(ADA).proven()).await;
    assert_eq!(runs(&mut world, &receiver, HOUR).await, NOTHING);
    world.sandbox.set_webhook(None);
    assert_eq!(runs(&mut world, &receiver, HOUR).await, NOTHING);
    world.sandbox.open_chat(OpenChat::by(ADA).proven());
    assert_eq!(runs(&mut world, &receiver, 3 * HOUR).await, NOTHING);
    let silence = format!("silence ({})", world.website);
    assert_eq!(
        runs(&mut world, &receiver, 4 * HOUR).await,
        [silence.as_str()]
    );
    let webhook = WebhookSettings::signed(world.webhook_url(), SIGNING_SECRET);
    world.sandbox.set_webhook(Some(webhook));
    world.open(OpenChat::by(ADA).proven()).await;
    assert_eq!(
        runs(&mut world, &receiver, HOUR).await,
        [format!("-{silence}")]
    );
    world.finish().await;
}

/// Nobody counts by hand here: at nine the day's calls are nearly used up by conversations.
#[tokio::test]
async fn a_quota_that_conversations_use_up_is_told() {
    let (mut world, receiver) = world(|setup| setup.add("[crisp]\ndaily_quota = 60\n")).await;
    assert_eq!(looks(&mut world, &receiver, MINUTE).await, NOTHING);
    for number in 0..8 {
        let (id, email) = (format!("m{number}"), format!("m{number}@northwind.example"));
        world.add_user(&id, &email).await;
        world.open(OpenChat::by(&email).proven()).await;
    }
    assert_eq!(looks(&mut world, &receiver, MINUTE).await, ["quota short"]);
    assert_eq!(
        looks(&mut world, &receiver, 16 * HOUR).await,
        ["-quota short"],
        "the next day"
    );
    world.finish().await;
}

/// Crisp itself, and the app's database: what really fails, and not its breaker alone.
#[tokio::test]
async fn what_really_fails_is_told_by_its_breakers_name() {
    let (mut world, receiver) = world(Setup::impatient).await;
    let session = world.open(OpenChat::by(ADA).proven()).await;
    let down = Fault {
        status: Some(503),
        times: Some(0),
        ..Fault::default()
    };
    world.sandbox.fault(down);
    world.change_user("u1", "plan = 'starter'").await;
    world.sandbox.operator_opens(&session).expect("there");
    assert_eq!(
        looks(&mut world, &receiver, 5 * MINUTE).await,
        ["breaker open (crisp)"]
    );
    world.sandbox.clear_faults();
    assert_eq!(
        looks(&mut world, &receiver, 15 * MINUTE).await,
        ["-breaker open (crisp)"]
    );
    world.change_user("u1", "plan = 'pro'").await;
    world.database_goes_down().await;
    world.sandbox.operator_opens(&session).expect("there");
    assert_eq!(
        looks(&mut world, &receiver, 5 * MINUTE).await,
        ["breaker open (users)"]
    );
    world.database_comes_back().await;
    assert_eq!(
        looks(&mut world, &receiver, 20 * MINUTE).await,
        ["-breaker open (users)"]
    );
    assert_eq!(world.data(&session, "plan"), "pro");
    world.finish().await;
}

/// A pause that ends by itself within a minute is no news; a refused token is.
#[tokio::test]
async fn a_refused_token_is_told() {
    let (mut world, receiver) = world(|_| {}).await;
    world
        .sandbox
        .fault(Fault::status("conversation.get", 429).retry_after("20"));
    let session = world.open(OpenChat::by(ADA).proven()).await;
    assert_eq!(looks(&mut world, &receiver, 2 * MINUTE).await, NOTHING);
    world.sandbox.fault(Fault::status("conversation.get", 401));
    world.change_user("u1", "plan = 'starter'").await;
    world.sandbox.operator_opens(&session).expect("there");
    assert_eq!(
        looks(&mut world, &receiver, 2 * MINUTE).await,
        ["crisp paused"]
    );
    assert_eq!(
        looks(&mut world, &receiver, 25 * MINUTE).await,
        ["-crisp paused"]
    );
    assert_eq!(world.data(&session, "plan"), "starter");
    world.finish().await;
}

#[tokio::test]
async fn nobody_is_told_twice_by_a_restart_or_a_second_process() {
    let (mut world, receiver) = world(|_| {}).await;
    world.sandbox.fault(Fault {
        reason: Some("invalid_data".to_owned()),
        ..Fault::status("conversation.get", 400)
    });
    world.open(OpenChat::by(ADA).proven()).await;
    let other = another(&world, &receiver);
    tokio::join!(world.service.watch.look(), other.look());
    assert_eq!(told(&receiver), ["dead letters"]);
    drop(other);
    world.restart(|_| {}).await;
    assert_eq!(looks(&mut world, &receiver, 10 * MINUTE).await, NOTHING);
    world.finish_with_dead_letters(1).await;
}

/// A receiver that fails is tried again, further and further apart, and no message is lost over it.
#[tokio::test]
async fn a_receiver_that_fails_is_tried_again() {
    let (mut world, receiver) = world(|_| {}).await;
    receiver.answers([
        Answer::Status(500),
        Answer::Status(404),
        Answer::Status(302),
        Answer::Later { seconds: 600 },
    ]);
    let breaker = world.service.breakers.of(USERS);
    while breaker.outage().is_none() {
        breaker.failed("no answer");
    }
    look(&world).await;
    assert_eq!(receiver.asked(), 1);
    look(&world).await;
    assert_eq!(receiver.asked(), 1, "not at once again");
    // Half a minute, one and two, each at the next look that has its turn.
    looks(&mut world, &receiver, 2 * MINUTE).await;
    assert_eq!(receiver.asked(), 3);
    looks(&mut world, &receiver, 3 * MINUTE).await;
    assert_eq!(receiver.asked(), 4);
    assert_eq!(looks(&mut world, &receiver, 8 * MINUTE).await, NOTHING);
    assert_eq!(receiver.asked(), 4, "it asked for ten minutes");
    assert_eq!(
        looks(&mut world, &receiver, 4 * MINUTE).await,
        ["breaker open (users)"]
    );
    assert_eq!(receiver.asked(), 5);
    let count = |outcome: &str| {
        let series = format!("crisp_sync_alerts_total{{outcome=\"{outcome}\"}}");
        world.metric(&series)
    };
    assert_eq!((count("delivered"), count("refused")), (1, 4));
    breaker.succeeded();
    looks(&mut world, &receiver, CALM + MINUTE).await;
    world.finish().await;
}

/// What is owed survives the process that owed it.
#[tokio::test]
async fn what_was_not_told_is_told_after_a_restart() {
    let (mut world, receiver) = world(|_| {}).await;
    world.sandbox.fault(Fault {
        reason: Some("invalid_data".to_owned()),
        ..Fault::status("conversation.get", 400)
    });
    world.open(OpenChat::by(ADA).proven()).await;
    receiver.answers([Answer::Status(503)]);
    look(&world).await;
    assert_eq!(told(&receiver), NOTHING);
    world.restart(|_| {}).await;
    assert_eq!(
        looks(&mut world, &receiver, 2 * MINUTE).await,
        ["dead letters"]
    );
    world.finish_with_dead_letters(1).await;
}

#[tokio::test]
async fn a_receiver_that_never_answers_delays_nobody() {
    let (mut world, receiver) = world(|_| {}).await;
    let breaker = world.service.breakers.of("users.more.billing");
    while breaker.outage().is_none() {
        breaker.failed("no answer");
    }
    receiver.answers([Answer::Never]);
    let watch = world.service.watch.clone();
    let waiting = tokio::spawn(async move { watch.look().await });
    while receiver.asked() == 0 {
        tokio::task::yield_now().await;
    }
    let session = world.open(OpenChat::by(ADA).proven()).await;
    assert_eq!(world.data(&session, "plan"), "pro");
    assert_eq!(world.contact_data(ADA, "plan"), "pro");
    assert!(!waiting.is_finished(), "it waits still");
    waiting.abort();
    drop(waiting.await);
    breaker.succeeded();
    world.finish().await;
}

/// The ledger cannot remember that it cannot be used.
#[tokio::test]
async fn a_broken_ledger_is_told_without_the_ledger() {
    let (mut world, receiver) = world(|setup| setup.needs_file = true).await;
    let options = SqliteConnectOptions::new().filename(world.ledger_path());
    let mut file = SqliteConnection::connect_with(&options)
        .await
        .expect("opened");
    file.execute("ALTER TABLE conditions RENAME TO gone")
        .await
        .expect("renamed");
    look(&world).await;
    look(&world).await;
    assert_eq!(told(&receiver), ["ledger fault"]);
    file.execute("ALTER TABLE gone RENAME TO conditions")
        .await
        .expect("renamed");
    file.close().await.expect("closed");
    assert_eq!(
        looks(&mut world, &receiver, 4 * MINUTE).await,
        NOTHING,
        "it may come back"
    );
    assert_eq!(
        looks(&mut world, &receiver, 2 * MINUTE).await,
        ["-ledger fault"]
    );
    world.finish().await;
}

/// What only some of the ledger is at fault for, the rest of it remembers.
#[tokio::test]
async fn a_fault_that_the_ledger_can_remember_is_told_once_for_all() {
    let (mut world, receiver) = world(|setup| setup.needs_file = true).await;
    let other = another(&world, &receiver);
    let options = SqliteConnectOptions::new().filename(world.ledger_path());
    let mut file = SqliteConnection::connect_with(&options)
        .await
        .expect("opened");
    file.execute("ALTER TABLE pauses RENAME TO gone")
        .await
        .expect("renamed");
    let mut seen = Vec::new();
    for _ in 0..6 {
        tokio::join!(world.service.watch.look(), other.look());
        seen.extend(told(&receiver));
        world.clock.advance(MINUTE);
    }
    assert_eq!(seen, ["ledger fault"]);
    file.execute("ALTER TABLE gone RENAME TO pauses")
        .await
        .expect("renamed");
    file.close().await.expect("closed");
    let mut seen = Vec::new();
    for _ in 0..8 {
        tokio::join!(world.service.watch.look(), other.look());
        seen.extend(told(&receiver));
        world.clock.advance(MINUTE);
    }
    assert_eq!(seen, ["-ledger fault"]);
    world.pass(MINUTE).await;
    world.finish().await;
}

/// Two processes with a ledger on a server, and the receiver of both.
async fn two_processes() -> Option<(World, Box<Service>, Server, Receiver)> {
    let receiver = Receiver::start().await;
    let url = receiver.url.clone();
    let world = World::on_a_server_with(|setup| setup.set("CRISP_SYNC_ALERTS_URL", url)).await?;
    let (other, server) = world.replica(|_| {}).await;
    Some((world, other, server, receiver))
}

/// Both look once a minute, so often, and what is told meanwhile.
async fn both_look(
    world: &World,
    other: &Service,
    receiver: &Receiver,
    minutes: u32,
) -> Vec<String> {
    let mut seen = Vec::new();
    for _ in 0..minutes {
        tokio::join!(world.service.watch.look(), other.watch.look());
        seen.extend(told(receiver));
        world.clock.advance(MINUTE);
    }
    seen
}

#[tokio::test]
async fn a_dead_letter_is_told_by_one_of_two_processes() {
    let Some((mut world, other, mut server, receiver)) = two_processes().await else {
        return;
    };
    world.add_user("u1", ADA).await;
    world.sandbox.fault(Fault {
        reason: Some("invalid_data".to_owned()),
        ..Fault::status("conversation.get", 400)
    });
    world.open(OpenChat::by(ADA).proven()).await;
    let seen = both_look(&world, &other, &receiver, 4).await;
    assert_eq!(seen, ["dead letters"]);
    let revived = other.ledger.revive_all(world.now()).await;
    assert_eq!(revived.expect("revived"), 1);
    world.settle().await;
    let seen = both_look(&world, &other, &receiver, 8).await;
    assert_eq!(seen, ["-dead letters"]);
    server.drain().await;
    server.close().await;
    other.ledger.close().await.expect("closed");
    world.pass(MINUTE).await;
    world.finish().await;
}

#[tokio::test]
async fn a_server_that_takes_nothing_is_told_by_one_process() {
    let Some((mut world, other, mut server, receiver)) = two_processes().await else {
        return;
    };
    let database = world.ledger_database();
    database
        .alter("SET default_transaction_read_only = on")
        .await;
    let seen = both_look(&world, &other, &receiver, 4).await;
    assert_eq!(seen, ["ledger fault"]);
    database
        .alter_quietly("RESET default_transaction_read_only")
        .await;
    let seen = both_look(&world, &other, &receiver, 8).await;
    assert_eq!(seen, ["-ledger fault"]);
    server.drain().await;
    server.close().await;
    other.ledger.close().await.expect("closed");
    world.pass(MINUTE).await;
    world.finish().await;
}

/// Then nobody knows what the others know: each says so for itself, and that it does.
#[tokio::test]
async fn a_server_that_cannot_be_asked_is_told_by_each_process_and_its_end_once() {
    let Some((mut world, other, mut server, receiver)) = two_processes().await else {
        return;
    };
    let database = world.ledger_database();
    database.alter("ALLOW_CONNECTIONS false").await;
    tokio::join!(world.service.watch.look(), other.watch.look());
    let messages = receiver.messages();
    assert_eq!(messages.len(), 2);
    for message in &messages {
        let text = message["text"].as_str().expect("a text");
        assert!(text.contains("each process says so for itself"), "{text}");
    }
    assert_eq!(both_look(&world, &other, &receiver, 4).await, NOTHING);
    database.alter_quietly("ALLOW_CONNECTIONS true").await;
    assert_eq!(both_look(&world, &other, &receiver, 2).await, NOTHING);
    // It comes and goes: that is one.
    database.alter("ALLOW_CONNECTIONS false").await;
    assert_eq!(both_look(&world, &other, &receiver, 1).await, NOTHING);
    database.alter_quietly("ALLOW_CONNECTIONS true").await;
    let seen = both_look(&world, &other, &receiver, 8).await;
    assert_eq!(seen, ["-ledger fault"]);
    server.drain().await;
    server.close().await;
    other.ledger.close().await.expect("closed");
    world.pass(MINUTE).await;
    world.finish().await;
}

/// What was asked of it never fails, and whoever looks must not wait for ever with it.
#[tokio::test]
async fn a_server_that_falls_silent_is_told_and_so_is_its_end() {
    let Some(database) = Database::create().await else {
        return;
    };
    let way = Way::to(&database.url).await;
    let (mut world, receiver) = world(|setup| {
        setup.set("CRISP_SYNC_LEDGER", &way.url);
        setup.answer_timeout = Some(Duration::from_secs(2));
    })
    .await;
    way.goes_away_at(Trigger::Text("FROM conditions"));
    let look = tokio::time::timeout(MINUTE, world.service.watch.look()).await;
    look.expect("an end in time");
    way.fell_silent().await;
    assert_eq!(told(&receiver), ["ledger fault"]);
    way.comes_back();
    let seen = looks(&mut world, &receiver, 8 * MINUTE).await;
    assert_eq!(seen, ["-ledger fault"]);
    world.finish().await;
    database.drop().await;
}

#[tokio::test]
async fn without_a_receiver_the_log_and_the_status_tell() {
    let mut world = World::start().await;
    world.add_user("u1", ADA).await;
    let breaker = world.service.breakers.of("users.more.silent-receiver");
    while breaker.outage().is_none() {
        breaker.failed("no answer");
    }
    look(&world).await;
    look(&world).await;
    let raised = |name: &str| {
        let of_this = lines().into_iter().filter(|line| {
            line["event"] == name && line["subject"] == "users.more.silent-receiver"
        });
        of_this.count()
    };
    assert_eq!(raised("alert.raised"), 1);
    let ask = async |path: &str| {
        let request = World::http().get(world.ops_url(path));
        let answer = request.send().await.expect("an answer");
        answer.text().await.expect("a body")
    };
    let status: Json = serde_json::from_str(&ask("/status").await).expect("JSON");
    assert_eq!(status["conditions"][0]["kind"], "breaker_open");
    assert_eq!(
        status["conditions"][0]["subject"],
        "users.more.silent-receiver"
    );
    let series = "crisp_sync_condition{condition=\"breaker_open\"} 1";
    assert!(ask("/metrics").await.contains(series));
    breaker.succeeded();
    world.clock.advance(CALM);
    look(&world).await;
    assert_eq!(raised("alert.over"), 1);
    assert!(!ask("/metrics").await.contains("crisp_sync_condition{"));
    world.finish().await;
}

/// Messages go to a chat that many people read, and their address is a secret.
#[tokio::test]
async fn a_message_names_nobody_and_its_address_shows_nowhere() {
    let (mut world, receiver) = world(|setup| {
        setup.impatient();
        setup.add("[worker]\nattempts = 2");
    })
    .await;
    receiver.answers([Answer::Status(410)]);
    world.sandbox.fault(Fault {
        reason: Some("invalid_data".to_owned()),
        ..Fault::status("conversation.get", 400)
    });
    world.open(OpenChat::by(ADA).proven()).await;
    world.database_goes_down().await;
    world
        .open(OpenChat::by("ben@southwind.example").proven())
        .await;
    let breaker = world.service.breakers.of(USERS);
    while breaker.outage().is_none() {
        breaker.failed("no answer");
    }
    look(&world).await;
    world.clock.advance(2 * MINUTE);
    look(&world).await;
    let messages = receiver.messages();
    assert_eq!(messages.len(), 1);
    let message = messages[0].to_string();
    for private in [
        ".example",
        "Osei",
        SIGNING_SECRET,
        DEFAULT_TOKEN_KEY,
        SECRET_PATH,
    ] {
        assert!(!message.contains(private), "`{private}` in {message}");
    }
    let mut shown: Vec<String> = lines().iter().map(Json::to_string).collect();
    for path in ["/status", "/metrics"] {
        let request = World::http().get(world.ops_url(path));
        let answer = request.send().await.expect("an answer");
        shown.push(answer.text().await.expect("a body"));
    }
    shown.push(format!("{:?}", world.service.watch));
    let undelivered = lines()
        .iter()
        .any(|line| line["event"] == "alert.undelivered");
    assert!(undelivered);
    for text in shown {
        assert!(!text.contains(SECRET_PATH), "{text}");
    }
    world.database_comes_back().await;
    world.pass(10 * MINUTE).await;
    world.finish_with_dead_letters(1).await;
}
