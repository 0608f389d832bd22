//! A flood: thousands of conversations opened within a minute, against the released program and a Crisp that takes its time.
//!
//! `benches/flood.sh` runs it. The sandbox runs here, its answers come 50 ms late, and the webhooks it speaks of are posted
//! from here, many at a time. Afterwards every conversation must have its context, and the table says how long it took from
//! the first webhook (or the end of the debounce it begins) to the accepted write, how many calls were made, and how much
//! memory the program took.

use std::{
    collections::{BTreeMap, HashMap},
    error::Error,
    io::{self, Write as _},
    path::Path,
    process::{Child, Command},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use crisp_sync::{
    clock::Clock,
    crisp::signature,
    sandbox::{
        DEFAULT_TOKEN_IDENTIFIER, DEFAULT_TOKEN_KEY, DEFAULT_WEBSITE, Fault, Labels, OpenChat,
        Sandbox, SandboxSettings,
    },
};
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::{sync::Semaphore, task::JoinSet, time::Instant};

type Failure = Box<dyn Error + Send + Sync>;

const SECRET: &str = "flood-secret";
/// How long the sandbox takes for an answer.
const ANSWER: u64 = 50;
/// The debounce of a first refresh, as in the service's own defaults.
const DEBOUNCE: u64 = 1_000;
/// Read the conversation, write the conversation.
const ROUND_TRIPS: u64 = 2;
/// The flood that has to keep within the limits: conversations, seconds, pieces of work at a time.
const JUDGED: [&str; 3] = ["10000", "60", "32"];
/// How many milliseconds all but one in a hundred writes may take.
const P99_ALLOWED: i64 = 5_000;
/// How many MB the program may take before the flood, and in it.
const IDLE_ALLOWED: f64 = 25.0;
const PEAK_ALLOWED: f64 = 80.0;
/// How many webhooks are under way at a time.
const POSTING: usize = 64;
/// Between two looks whether the service is ready.
const LOOK: Duration = Duration::from_millis(25);
/// How long the last contexts may take.
const PATIENCE: Duration = Duration::from_mins(5);
const USAGE: &str =
    "usage: flood PROGRAM FOLDER CONVERSATIONS SECONDS CONCURRENCY (benches/flood.sh runs it)";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [program, folder, conversations, seconds, concurrency] = arguments[..] else {
        // `cargo bench` and `cargo test --benches` start it without a command.
        writeln!(io::stderr(), "{USAGE}")?;
        return Ok(());
    };
    let is_judged = [conversations, seconds, concurrency] == JUDGED;
    let (conversations, seconds) = (conversations.parse()?, seconds.parse()?);
    let sandbox = Arc::new(Sandbox::start(SandboxSettings::default(), Clock::System)?);
    sandbox.fault(Fault {
        times: Some(0),
        delay_ms: ANSWER,
        ..Fault::default()
    });
    let folder = Path::new(folder);
    users(&folder.join("app.db"), conversations).await?;
    let mut service = Service::start(program, folder, &sandbox, concurrency).await?;
    let idle = service.resident()?;
    let flood = flood(&sandbox, &service, conversations, seconds).await;
    let peak = service.peak()?;
    service.stop()?;
    report(&sandbox, &flood?, (idle, peak), is_judged)
}

/// The app's own database.
async fn users(file: &Path, count: usize) -> Result<(), Failure> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true);
    let mut app = SqliteConnection::connect_with(&options).await?;
    sqlx::query("CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT UNIQUE, name TEXT, plan TEXT, status TEXT)")
        .execute(&mut app)
        .await?;
    let mut tx = app.begin().await?;
    for id in 0..count {
        sqlx::query("INSERT INTO users VALUES (?, ?, ?, 'pro', 'active')")
            .bind(i64::try_from(id)?)
            .bind(address(id))
            .bind(format!("Visitor {id}"))
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    app.close().await?;
    Ok(())
}

fn address(id: usize) -> String {
    format!("visitor-{id}@example.org")
}

/// The released program under load.
struct Service {
    child: Child,
    url: String,
    client: reqwest::Client,
}

impl Service {
    async fn start(
        program: &str,
        folder: &Path,
        sandbox: &Sandbox,
        concurrency: &str,
    ) -> Result<Self, Failure> {
        let config = folder.join("crisp-sync.toml");
        std::fs::write(
            &config,
            format!(
                r#"mode = "live"
[crisp]
daily_quota = 1000000000
unproven_share = 100
[worker]
concurrency = {concurrency}
[users]
key = "id"
query = "SELECT id, email, name, plan, status FROM users WHERE email = :email"
[context.data]
plan = "{{{{ plan }}}}"
name = "{{{{ name }}}}"
[context.segments]
"plan-{{{{ plan }}}}" = "plan"
"status-{{{{ status }}}}" = "status"
[profile]
nickname = "{{{{ name }}}}"
"#
            ),
        )?;
        // Free until somebody else takes it.
        let listen = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let child = Command::new("taskset")
            .args(["-c", "0", program, "serve"])
            .env("CRISP_SYNC_CONFIG", &config)
            .env("CRISP_SYNC_LEDGER", folder.join("ledger.db"))
            .env("CRISP_SYNC_LISTEN", listen.to_string())
            .env("CRISP_SYNC_OPS_LISTEN", "127.0.0.1:0")
            .env("CRISP_BASE_URL", sandbox.rest_url())
            .env("CRISP_TOKEN_IDENTIFIER", DEFAULT_TOKEN_IDENTIFIER)
            .env("CRISP_TOKEN_KEY", DEFAULT_TOKEN_KEY)
            .env("CRISP_WEBSITES", DEFAULT_WEBSITE)
            .env("CRISP_SIGNING_SECRETS", SECRET)
            .env(
                "DATABASE_URL",
                format!("sqlite://{}", folder.join("app.db").display()),
            )
            .stderr(std::fs::File::create(folder.join("service.log"))?)
            .spawn()?;
        let service = Self {
            child,
            url: format!("http://{listen}"),
            client: reqwest::Client::builder().no_proxy().build()?,
        };
        service.wait_for_readiness().await?;
        Ok(service)
    }

    async fn wait_for_readiness(&self) -> Result<(), Failure> {
        let ready = format!("{}/readyz", self.url);
        for _ in 0..200 {
            let answer = self.client.get(&ready).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
        Err("the service does not become ready".into())
    }

    /// One of the figures of `/proc/<process>/status`, in MB.
    fn memory(&self, name: &str) -> Result<f64, Failure> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kilobytes = line.and_then(|line| line.split_whitespace().next());
        let kilobytes: f64 = kilobytes.ok_or("no such figure")?.parse()?;
        Ok(kilobytes / 1024.0)
    }

    fn resident(&self) -> Result<f64, Failure> {
        self.memory("VmRSS")
    }

    fn peak(&self) -> Result<f64, Failure> {
        self.memory("VmHWM")
    }

    /// Asks it to end, and waits.
    fn stop(&mut self) -> Result<(), Failure> {
        Command::new("kill")
            .arg(self.child.id().to_string())
            .status()?;
        if self.child.wait()?.success() {
            Ok(())
        } else {
            Err("the service did not end well".into())
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It is gone already, unless something failed.
        drop(self.child.kill());
    }
}

/// What was seen of a flood.
struct Seen {
    conversations: usize,
    /// When the first webhook of a conversation was posted, in milliseconds since the epoch.
    first: HashMap<String, i64>,
    posted: usize,
    opened_in: Duration,
    quiet_after: Duration,
}

async fn flood(
    sandbox: &Arc<Sandbox>,
    service: &Service,
    conversations: usize,
    seconds: u64,
) -> Result<Seen, Failure> {
    let began = Instant::now();
    let courier = Arc::new(Courier {
        client: service.client.clone(),
        url: format!("{}/webhooks/crisp", service.url),
        under_way: Arc::new(Semaphore::new(POSTING)),
        first: Mutex::default(),
        refused: AtomicUsize::new(0),
    });
    let mut opening =
        tokio::time::interval(Duration::from_secs(seconds) / u32::try_from(conversations)?);
    opening.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    let mut posting = JoinSet::new();
    let (mut opened, mut posted) = (0, 0);
    let mut opened_in = Duration::ZERO;
    let mut last_news = Instant::now();
    let mut looking = tokio::time::interval(Duration::from_millis(5));
    loop {
        tokio::select! {
            _ = opening.tick(), if opened < conversations => {
                sandbox.open_chat(OpenChat::by(&address(opened)).proven());
                opened += 1;
                opened_in = began.elapsed();
            }
            _ = looking.tick() => {}
        }
        let parcels: Vec<(Option<String>, String)> = sandbox.look(|state| {
            let new = &state.hooks()[posted..];
            new.iter()
                .map(|hook| (hook.session.clone(), hook.body.clone()))
                .collect()
        });
        posted += parcels.len();
        if !parcels.is_empty() {
            last_news = Instant::now();
        }
        for (session, body) in parcels {
            posting.spawn(Arc::clone(&courier).post(session, body));
        }
        while posting.try_join_next().is_some() {}
        // What the service still does comes back as webhooks; after silence there is no more of it.
        if opened == conversations
            && posting.is_empty()
            && last_news.elapsed() > Duration::from_secs(5)
        {
            break;
        }
        if began.elapsed() > Duration::from_secs(seconds) + PATIENCE {
            return Err("the service does not come to an end".into());
        }
    }
    let refused = courier.refused.load(Ordering::Relaxed);
    if refused > 0 {
        return Err(format!("{refused} of {posted} webhooks were not answered 2xx").into());
    }
    let first = std::mem::take(&mut *courier.first.lock().expect("nobody panicked"));
    Ok(Seen {
        conversations,
        first,
        posted,
        opened_in,
        quiet_after: last_news - began,
    })
}

/// Brings webhooks to the service, as Crisp would.
struct Courier {
    client: reqwest::Client,
    url: String,
    under_way: Arc<Semaphore>,
    first: Mutex<HashMap<String, i64>>,
    refused: AtomicUsize,
}

impl Courier {
    async fn post(self: Arc<Self>, session: Option<String>, body: String) {
        let _permit = self.under_way.acquire().await.expect("never closed");
        let now = Clock::System.now().as_millisecond();
        if let Some(session) = session {
            self.first
                .lock()
                .expect("nobody panicked")
                .entry(session)
                .or_insert(now);
        }
        let timestamp = now.to_string();
        let answer = self
            .client
            .post(&self.url)
            .header("content-type", "application/json")
            .header(signature::TIMESTAMP_HEADER, &timestamp)
            .header(
                signature::SIGNATURE_HEADER,
                signature::sign(SECRET, &timestamp, body.as_bytes()),
            )
            .body(body)
            .send()
            .await;
        if !answer.is_ok_and(|answer| answer.status().is_success()) {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What became of a flood, as the sandbox holds it.
struct End {
    /// How many have what belongs to them.
    conversations: usize,
    contacts: usize,
    /// From the first webhook of each conversation to its accepted write, without the debounce; in order.
    late: Vec<i64>,
    calls: BTreeMap<&'static str, usize>,
    unexpected: usize,
}

impl End {
    fn of(sandbox: &Sandbox, seen: &Seen) -> Result<Self, Failure> {
        let (answer, debounce) = (i64::try_from(ANSWER)?, i64::try_from(DEBOUNCE)?);
        let mut end = sandbox.look(|state| {
            let mut calls: BTreeMap<&'static str, usize> = BTreeMap::new();
            let mut written: HashMap<&str, i64> = HashMap::new();
            for call in state.calls().all() {
                *calls.entry(call.name).or_default() += 1;
                if call.name == "metas.update"
                    && let Some(session) = &call.session
                {
                    written.entry(session).or_insert(call.at + answer);
                }
            }
            let late = seen.first.iter().filter_map(|(session, first)| {
                Some(written.get(session.as_str())? - first - debounce)
            });
            Self {
                conversations: count(state.conversations().iter().map(|one| &one.labels)),
                contacts: count(state.contacts().iter().map(|one| &one.labels)),
                late: late.collect(),
                calls,
                unexpected: 0,
            }
        });
        end.unexpected = sandbox.unexpected().len();
        end.late.sort_unstable();
        Ok(end)
    }

    /// The time that so many of a hundred writes took at the most.
    fn percentile(&self, share: usize) -> i64 {
        let at = (self.late.len().max(1) - 1) * share / 100;
        self.late.get(at).copied().unwrap_or(i64::MAX)
    }
}

/// How many hold the context of the configuration.
fn count<'one>(all: impl Iterator<Item = &'one Labels>) -> usize {
    all.filter(|labels| {
        let has = |segment: &str| labels.segments.iter().any(|one| one == segment);
        labels.data.get("plan").is_some_and(|plan| plan == "pro")
            && has("plan-pro")
            && has("status-active")
    })
    .count()
}

fn report(
    sandbox: &Sandbox,
    seen: &Seen,
    (idle, peak): (f64, f64),
    is_judged: bool,
) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let end = End::of(sandbox, seen)?;
    writeln!(
        out,
        "opened             {} conversations in {:.1} s; quiet after {:.1} s",
        seen.conversations,
        seen.opened_in.as_secs_f64(),
        seen.quiet_after.as_secs_f64()
    )?;
    writeln!(out, "webhooks           {}, all answered 2xx", seen.posted)?;
    writeln!(
        out,
        "context in place   {} conversations, {} contacts",
        end.conversations, end.contacts
    )?;
    let unavoidable = ROUND_TRIPS * ANSWER;
    let allowed = i64::try_from(unavoidable * 120 / 100 + 20)?;
    writeln!(
        out,
        "to the write       p50 {} ms, p90 {} ms, p99 {} ms, last {} ms after the debounce; two round trips are \
         {unavoidable} ms, allowed at the median {allowed} ms",
        end.percentile(50),
        end.percentile(90),
        end.percentile(99),
        end.percentile(100),
    )?;
    let calls: usize = end.calls.values().sum();
    writeln!(
        out,
        "calls              {calls}, {} unexpected",
        end.unexpected
    )?;
    for (name, count) in &end.calls {
        writeln!(out, "  {name:<24} {count}")?;
    }
    writeln!(
        out,
        "resident memory    {idle:.1} MB idle, {peak:.1} MB at the most"
    )?;
    if (end.conversations, end.contacts) != (seen.conversations, seen.conversations) {
        return Err("a context is missing".into());
    }
    if end.unexpected > 0 {
        return Err("Crisp would have refused a call".into());
    }
    let beyond: Vec<&str> = [
        (end.percentile(50) > allowed, "the median"),
        (end.percentile(99) >= P99_ALLOWED, "p99"),
        (idle > IDLE_ALLOWED, "the memory it takes idle"),
        (peak > PEAK_ALLOWED, "the memory it takes at the most"),
    ]
    .into_iter()
    .filter_map(|(is_beyond, what)| is_beyond.then_some(what))
    .collect();
    if !is_judged {
        Ok(())
    } else if beyond.is_empty() {
        writeln!(
            out,
            "limits             met: the median, p99 below {P99_ALLOWED} ms, {IDLE_ALLOWED} MB idle, {PEAK_ALLOWED} MB at the most"
        )?;
        Ok(())
    } else {
        Err(format!("beyond its limit: {}", beyond.join(", ")).into())
    }
}
