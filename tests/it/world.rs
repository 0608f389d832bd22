//! The whole of it in one process: an app database, the stand-in for Crisp, and the real service between them.
//!
//! A story reads like what happens: somebody opens a chat, the app changes a row, time passes, and then one looks at what
//! Crisp shows. Everything is real but Crisp and the clock: the configuration is read from text, webhooks are signed and
//! travel over HTTP, the ledger is a file, or a PostgreSQL database ([`on_postgres`]). The worker is stepped by the story, so nothing happens behind its back.
//!
//! Nothing here sleeps. [`World::settle`] works everything that is due; [`World::pass`] moves the clock from one due moment
//! to the next. [`World::finish`] ends a story, and is owed: it asserts that no work is left, that nothing was buried, and
//! that Crisp saw no request that a correct client would not make, and that every log line is one that is documented.

use std::{
    cell::Cell,
    path::{Path, PathBuf},
    time::Duration,
};

use crisp_sync::{
    app::Service,
    clock::Clock,
    config::{Config, environment::Environment},
    ids::{SessionId, WebsiteId},
    ledger::{
        ConversationMirror, DeliveryFilter, DeliveryRow, LedgerSettings, Move, OutboxFilter, Stage,
        WorkKind, WorkRow,
    },
    lifecycle::reason,
    sandbox::{
        Behaviour, Call, Contact, Conversation, DEFAULT_TOKEN_IDENTIFIER, DEFAULT_TOKEN_KEY,
        DEFAULT_WEBSITE, OpenChat, Sandbox, SandboxSettings, State, WebhookSettings,
    },
    server::{
        Server,
        command::{Answer, Operation},
    },
    worker::{Chance, Step},
};
use jiff::Timestamp;
use serde_json::Value as Json;
use sqlx::{
    Connection as _, Executor as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode},
};
use tempfile::TempDir;

use crate::{
    engines::{Database, servers::Server as DatabaseServer},
    soak::number,
    telemetry,
};

thread_local! {
    /// Whether the story that this thread tells has its ledger on a server.
    static ON_POSTGRES: Cell<bool> = const { Cell::new(false) };
}

/// Tells a story of this binary once more, with its ledger in a PostgreSQL database. Does nothing where there is no server;
/// `tests/zz_not_run.rs` says so.
pub(crate) fn on_postgres(story: fn()) {
    if DatabaseServer::Postgres.url().is_none() {
        return;
    }
    // The thread is the test's own: nobody has to set it back.
    ON_POSTGRES.set(true);
    story();
}

/// Whether the next worlds of this thread have their ledgers on a server.
pub(crate) fn ledgers_on_a_server(yes: bool) {
    ON_POSTGRES.set(yes);
}

/// Tells these stories of the module once more, with their ledgers in PostgreSQL databases.
macro_rules! also_on_postgres {
    ($($story:ident,)*) => {
        mod on_postgres {
            $(#[test] fn $story() { $crate::world::on_postgres(super::$story); })*
        }
    };
}

pub(crate) use also_on_postgres;

/// `CRISP_SYNC_TEST_LEDGER=postgres` puts the ledger of every story there that does not need a file.
pub(crate) fn wants_postgres() -> bool {
    ON_POSTGRES.get()
        || crate::engines::servers::variable("CRISP_SYNC_TEST_LEDGER").as_deref()
            == Some("postgres")
}

/// What Crisp signs its webhooks with.
pub(crate) const SIGNING_SECRET: &str = "914a657d8cc2efbc20593f1806f9bde2";

/// A second secret, for a plugin that has one for development too.
pub(crate) const OTHER_SECRET: &str = "c0ffee5d8cc2efbc20593f1806f9bd11";

/// A website beside the one that every story has.
pub(crate) const SECOND_WEBSITE: &str = "5b2c8a4e-0d17-4f0e-9c53-7a1f6be0d2c4";

/// When every story begins.
pub(crate) const BEGINNING: &str = "2026-03-02T09:00:00Z";

/// How long a first trigger waits for the others of its burst: the default of `triggers.debounce`.
const DEBOUNCE: Duration = Duration::from_secs(1);

/// The app's own database.
const SCHEMA: &str = "
    CREATE TABLE users (
        id               TEXT PRIMARY KEY,
        email            TEXT NOT NULL,
        name             TEXT,
        tenant           TEXT,
        plan             TEXT,
        status           TEXT,
        trial_ends_at    DATETIME,
        onboarded_at     DATETIME,
        subscribed_at    DATETIME,
        canceled_at      DATETIME,
        marketing_opt_in BOOLEAN NOT NULL DEFAULT 1,
        created_at       DATETIME NOT NULL,
        deleted_at       DATETIME
    );";

/// What an operator wrote into the file. A story adds to it, or changes it, in [`Setup::definition`].
pub(crate) const DEFINITION: &str = r#"
mode = "live"

[server]
workers = 1

[users]
statement_timeout = "20s"
acquire_timeout = "20s"
connections = 2
query = """
  SELECT id, email, name, tenant, plan, status, trial_ends_at, onboarded_at, subscribed_at, canceled_at, marketing_opt_in
  FROM users
  WHERE email = :email COLLATE NOCASE AND deleted_at IS NULL
  ORDER BY created_at
"""
query_by_key = "SELECT id, email FROM users WHERE id = :key AND deleted_at IS NULL"

[users.cache]
found = "0s"
not_found = "0s"

[context.data]
plan = "{{ plan }}"
tenant = "{{ tenant }}"
admin = { value = "{{ link('open', 'https://admin.harbor.example/users/' ~ id) }}", target = "contact" }

[context.segments]
"plan-{{ plan }}" = "plan"
"status-{{ status }}" = "status"
onboarded = "onboarded_at"

[profile]
nickname = "{{ name }}"
company = "{{ tenant }}"
"#;

/// What may be different in a story's world.
#[derive(Debug)]
pub(crate) struct Setup {
    /// The configuration file.
    pub(crate) definition: String,
    /// Environment variables beside, or instead of, the usual ones.
    pub(crate) environment: Vec<(&'static str, String)>,
    /// What the stand-in for Crisp does where nobody knows what Crisp does.
    pub(crate) behaviour: Behaviour,
    /// Whether the files may lie in memory: for what needs many worlds and no disk.
    pub(crate) in_memory: bool,
    /// Where the worker's jitter comes from: a story that fails, fails again. `CRISP_SYNC_TEST_SEED` gives all others.
    pub(crate) chance: Chance,
    /// The room there is for the ledger, in bytes.
    pub(crate) ledger_limit: Option<u64>,
    /// How long the ledger's server may take for an answer.
    pub(crate) answer_timeout: Option<Duration>,
    /// Whether the story is about the ledger's file.
    pub(crate) needs_file: bool,
    /// Whether [`SECOND_WEBSITE`] installed the plugin too.
    pub(crate) second_website: bool,
}

impl Setup {
    /// Changes the definition; the text that is replaced must be there.
    pub(crate) fn replace(&mut self, text: &str, with: &str) {
        assert!(
            self.definition.contains(text),
            "the definition has no `{text}`"
        );
        self.definition = self.definition.replace(text, with);
    }

    /// Adds tables to the definition.
    pub(crate) fn add(&mut self, tables: &str) {
        self.definition.push('\n');
        self.definition.push_str(tables);
    }

    /// For a story in which the database does not answer, or the ledger has a bad day: it waits for that in real time, so
    /// not for long, and away from the disk, whose own delays would count as failures. Every other story waits as long as a
    /// busy machine may take.
    pub(crate) fn impatient(&mut self) {
        self.replace(
            "statement_timeout = \"20s\"",
            "statement_timeout = \"500ms\"",
        );
        self.in_memory = true;
    }

    /// Sets an environment variable.
    pub(crate) fn set(&mut self, variable: &'static str, value: impl Into<String>) {
        self.environment.push((variable, value.into()));
    }
}

/// A running world.
pub(crate) struct World {
    /// Crisp.
    pub(crate) sandbox: Sandbox,
    /// The service; its worker is stepped by the story.
    pub(crate) service: Box<Service>,
    /// The listeners.
    pub(crate) server: Option<Server>,
    /// The time, for everybody.
    pub(crate) clock: Clock,
    /// The one website.
    pub(crate) website: WebsiteId,
    setup: Setup,
    app: SqliteConnection,
    database: Option<Database>,
    folder: TempDir,
    finished: bool,
}

impl World {
    /// The usual world.
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// A world that differs.
    pub(crate) async fn with(change: impl FnOnce(&mut Setup)) -> Self {
        let mut setup = Setup {
            definition: DEFINITION.to_owned(),
            environment: Vec::new(),
            behaviour: Behaviour::default(),
            in_memory: false,
            chance: Chance::seeded(number("CRISP_SYNC_TEST_SEED").unwrap_or(0)),
            ledger_limit: None,
            answer_timeout: None,
            needs_file: false,
            second_website: false,
        };
        change(&mut setup);
        telemetry::listen();
        let clock = Clock::standing_at(BEGINNING.parse().expect("an instant"));
        let memory = Path::new("/dev/shm");
        let folder = if setup.in_memory && memory.is_dir() {
            tempfile::tempdir_in(memory)
        } else {
            tempfile::tempdir()
        };
        let folder = folder.expect("a folder");
        let options = SqliteConnectOptions::new()
            .filename(folder.path().join("app.db"))
            .create_if_missing(true)
            // A rollback journal, because its exclusive lock shuts readers out: see `World::database_goes_down`.
            .journal_mode(SqliteJournalMode::Delete);
        let mut app = SqliteConnection::connect_with(&options)
            .await
            .expect("the app's database opens");
        app.execute(SCHEMA).await.expect("the schema is valid");
        let mut websites = vec![DEFAULT_WEBSITE.to_owned()];
        websites.extend(setup.second_website.then(|| SECOND_WEBSITE.to_owned()));
        let settings = SandboxSettings {
            websites,
            behaviour: setup.behaviour.clone(),
            ..SandboxSettings::default()
        };
        let sandbox = Sandbox::start(settings, clock.clone()).expect("the sandbox starts");
        let database = if wants_postgres() && !setup.needs_file && setup.ledger_limit.is_none() {
            Some(Database::create().await.expect("a server"))
        } else {
            None
        };
        if let Some(database) = &database {
            let ledger = ("CRISP_SYNC_LEDGER", database.url.clone());
            // First, so that the story may say otherwise.
            setup.environment.insert(0, ledger);
        }
        let service = build(&setup, &folder, &sandbox, clock.clone()).await;
        let mut world = Self {
            sandbox,
            service,
            server: None,
            clock,
            website: WebsiteId::parse(DEFAULT_WEBSITE).expect("a website id"),
            setup,
            app,
            database,
            folder,
            finished: false,
        };
        world.listen().await;
        world
    }

    /// A world with its ledger on a server. `None` where there is no server; `tests/zz_not_run.rs` says so.
    pub(crate) async fn on_a_server() -> Option<Self> {
        Self::on_a_server_with(|_| {}).await
    }

    /// The same, different.
    pub(crate) async fn on_a_server_with(change: impl FnOnce(&mut Setup)) -> Option<Self> {
        DatabaseServer::Postgres.url()?;
        ON_POSTGRES.set(true);
        Some(Self::with(change).await)
    }

    /// One more process on the same ledger, with a configuration that may differ. It listens, and webhooks go to the first.
    pub(crate) async fn replica(&self, change: impl FnOnce(&mut Setup)) -> (Box<Service>, Server) {
        let mut setup = Setup {
            definition: self.setup.definition.clone(),
            environment: self.setup.environment.clone(),
            behaviour: self.setup.behaviour.clone(),
            in_memory: false,
            chance: self.setup.chance.clone(),
            ledger_limit: None,
            answer_timeout: self.setup.answer_timeout,
            needs_file: false,
            second_website: false,
        };
        change(&mut setup);
        let clock = self.clock.clone();
        let service = build(&setup, &self.folder, &self.sandbox, clock).await;
        let server = service.listen().await.expect("the listeners open");
        (service, server)
    }

    async fn listen(&mut self) {
        let server = self.service.listen().await.expect("the listeners open");
        self.server = Some(server);
        let webhook = WebhookSettings::signed(self.webhook_url(), SIGNING_SECRET);
        self.sandbox.set_webhook(Some(webhook));
    }

    /// Stops the service in order and starts it anew on the same ledger, as after a change of the file.
    pub(crate) async fn restart(&mut self, change: impl FnOnce(&mut Setup)) {
        self.stop_service().await;
        change(&mut self.setup);
        self.service = build(&self.setup, &self.folder, &self.sandbox, self.clock.clone()).await;
        self.listen().await;
    }

    /// Somebody types a command while the service is down, and it ends. `restart` starts the service again.
    pub(crate) async fn command(&mut self, operation: Operation) -> Answer {
        self.stop_service().await;
        self.service = build(&self.setup, &self.folder, &self.sandbox, self.clock.clone()).await;
        self.service.perform(operation).await
    }

    /// Stops the service in order, moves its ledger from the file to a database, and starts it there.
    pub(crate) async fn move_to_a_server(&mut self) {
        let path = self.ledger_path();
        self.stop_service().await;
        let database = Database::create().await.expect("a server");
        let to = database.url.clone().into();
        let moving = Move::open(&LedgerSettings::at(&path), &path, &to).await;
        let mut moving = moving.expect("both are free");
        while moving.step(self.now()).await.expect("a step") != Stage::Done {}
        moving.close().await.expect("the ledgers close");
        self.setup.set("CRISP_SYNC_LEDGER", database.url.clone());
        self.database = Some(database);
        self.service = build(&self.setup, &self.folder, &self.sandbox, self.clock.clone()).await;
        self.listen().await;
    }

    async fn stop_service(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.drain().await;
            server.close().await;
        }
        self.service
            .ledger
            .close()
            .await
            .expect("the ledger closes");
    }

    // The app.

    /// Somebody has an account: on the plan `pro`, active, at the tenant Northwind.
    pub(crate) async fn add_user(&mut self, id: &str, email: &str) {
        sqlx::query(
            "INSERT INTO users (id, email, name, tenant, plan, status, created_at)
             VALUES (?1, ?2, 'Ada Osei', 'Northwind', 'pro', 'active', '2026-01-05 08:00:00')",
        )
        .bind(id)
        .bind(email)
        .execute(&mut self.app)
        .await
        .expect("a user can be added");
    }

    /// The app changes a row: `world.change_user("u1", "plan = 'starter'")`.
    pub(crate) async fn change_user(&mut self, id: &str, assignments: &str) {
        let sql = format!("UPDATE users SET {assignments} WHERE id = '{id}'");
        let done = self.sql(&sql).await;
        assert_eq!(done, 1, "there is one user `{id}`");
    }

    /// Any statement; the result is how many rows it touched.
    pub(crate) async fn sql(&mut self, sql: &str) -> u64 {
        sqlx::query(sqlx::AssertSqlSafe(sql.to_owned()))
            .execute(&mut self.app)
            .await
            .expect("the app's statement is valid")
            .rows_affected()
    }

    /// From now on every look-up fails as it does when a server is away: in time, and worth another try.
    pub(crate) async fn database_goes_down(&mut self) {
        self.sql("BEGIN EXCLUSIVE").await;
    }

    /// Look-ups work again.
    pub(crate) async fn database_comes_back(&mut self) {
        self.sql("COMMIT").await;
    }

    // What happens, and when.

    /// Somebody opens a chat, and what follows from it is done, the second of debouncing included. The result is the
    /// session.
    pub(crate) async fn open(&mut self, chat: OpenChat) -> String {
        let session = self.sandbox.open_chat(chat);
        self.refresh().await;
        session
    }

    /// Works what is due, and what waits for a burst of webhooks to be over.
    pub(crate) async fn refresh(&mut self) {
        self.settle().await;
        while self.run_due_within(DEBOUNCE).await {}
    }

    /// Works everything that is due, until no webhook is on its way and nothing is due. The clock stands.
    pub(crate) async fn settle(&mut self) {
        // What we write comes back as webhooks, which may make work; a story that never ends is a bug, not a wait.
        for _ in 0..50 {
            self.hooks_arrive().await;
            if self.step().await == Step::Idle && self.sandbox.look(State::hooks_idle) {
                return;
            }
        }
        panic!("the world does not come to rest: every step makes more work");
    }

    /// Waits until Crisp has delivered what it had to deliver. No work is done.
    pub(crate) async fn hooks_arrive(&self) {
        self.sandbox.hooks_idle().await.expect("hooks are answered");
    }

    /// One step of the worker.
    pub(crate) async fn step(&self) -> Step {
        self.service.worker.step().await.expect("the ledger works")
    }

    /// Moves the clock to the next due moment and works it. Says whether there was one within `horizon`.
    pub(crate) async fn run_due_within(&mut self, horizon: Duration) -> bool {
        let now = self.now();
        let Some(due) = self.service.worker.next_due().await.expect("readable") else {
            return false;
        };
        let wait = Duration::try_from(due.duration_since(now)).unwrap_or_default();
        if wait > horizon {
            return false;
        }
        self.clock.advance(wait);
        self.settle().await;
        true
    }

    /// Moves the clock to the next due moment within a minute and works it.
    pub(crate) async fn run_due(&mut self) -> bool {
        self.run_due_within(Duration::from_mins(1)).await
    }

    /// Lets time pass, and works everything that falls due on the way at its own moment.
    pub(crate) async fn pass(&mut self, time: Duration) {
        let until = self.now() + time;
        self.settle().await;
        for _ in 0..500 {
            let left = Duration::try_from(until.duration_since(self.now())).unwrap_or_default();
            if !self.run_due_within(left).await {
                self.clock.advance(left);
                self.settle().await;
                return;
            }
        }
        panic!("too much falls due within {time:?}");
    }

    /// The time.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    // What Crisp shows.

    /// The conversation as Crisp has it.
    pub(crate) fn conversation(&self, session: &str) -> Conversation {
        self.sandbox
            .look(|state| state.conversation(session).cloned())
            .expect("Crisp has the conversation")
    }

    /// A value of the conversation's data as an agent reads it; `""` when it is not there.
    pub(crate) fn data(&self, session: &str, key: &str) -> String {
        text(self.conversation(session).labels.data.get(key))
    }

    /// The conversation's segments, sorted.
    pub(crate) fn segments(&self, session: &str) -> Vec<String> {
        let mut segments = self.conversation(session).labels.segments;
        segments.sort();
        segments
    }

    /// The contact with this address.
    pub(crate) fn contact(&self, email: &str) -> Contact {
        self.sandbox
            .look(|state| state.contact(email).cloned())
            .expect("Crisp has the contact")
    }

    /// A value of the contact's data; `""` when it is not there.
    pub(crate) fn contact_data(&self, email: &str, key: &str) -> String {
        text(self.contact(email).labels.data.get(key))
    }

    /// The names of the events on a contact's timeline, oldest first.
    pub(crate) fn timeline(&self, email: &str) -> Vec<String> {
        let events = self.contact(email).events;
        events.into_iter().map(|event| event.text).collect()
    }

    /// Remembers this moment for [`World::calls_since`].
    pub(crate) fn marker(&self) -> u64 {
        self.sandbox.call_marker()
    }

    /// What was asked of Crisp since, in order.
    pub(crate) fn requests_since(&self, marker: u64) -> Vec<Call> {
        self.sandbox.calls_since(marker)
    }

    /// The short names of what was asked of Crisp since, in order: `["metas.get", "metas.update"]`.
    pub(crate) fn calls_since(&self, marker: u64) -> Vec<&'static str> {
        let calls = self.requests_since(marker);
        calls.into_iter().map(|call| call.name).collect()
    }

    // What the service knows.

    /// Where webhooks go.
    pub(crate) fn webhook_url(&self) -> String {
        self.public_url(&format!("{}/webhooks/crisp", self.prefix()))
    }

    fn prefix(&self) -> &str {
        self.setup
            .environment
            .iter()
            .find(|(name, _)| *name == "CRISP_SYNC_PATH_PREFIX")
            .map_or("", |(_, prefix)| prefix)
    }

    /// An address on the public listener.
    pub(crate) fn public_url(&self, path: &str) -> String {
        let server = self.server.as_ref().expect("the service listens");
        format!("http://{}{path}", server.address)
    }

    /// An address on the ops listener.
    pub(crate) fn ops_url(&self, path: &str) -> String {
        let server = self.server.as_ref().expect("the service listens");
        let address = server.ops_address.expect("there is an ops listener");
        format!("http://{address}{path}")
    }

    /// Where this world keeps what it keeps in files.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The ledger's file, of a story that [needs one](Setup::needs_file).
    pub(crate) fn ledger_path(&self) -> PathBuf {
        assert!(
            self.database.is_none(),
            "a story that needs the file says so"
        );
        self.folder.path().join("ledger.db")
    }

    /// Whether the ledger is in a PostgreSQL database.
    pub(crate) fn is_on_postgres(&self) -> bool {
        self.database.is_some()
    }

    /// The ledger's database, of a ledger that is on a server.
    pub(crate) fn ledger_database(&self) -> &Database {
        self.database.as_ref().expect("a ledger on a server")
    }

    /// Somebody changes the ledger behind the service's back, on its server.
    pub(crate) async fn ledger_sql(&self, sql: &str) {
        let database = self.ledger_database();
        let mut connection = sqlx::PgConnection::connect(&database.url)
            .await
            .expect("the server answers");
        connection
            .execute(sqlx::AssertSqlSafe(sql.to_owned()))
            .await
            .expect("the statement is valid");
    }

    /// Where the ledger is, if it is on a server.
    pub(crate) fn ledger_url(&self) -> Option<String> {
        self.database.as_ref().map(|database| database.url.clone())
    }

    /// The newest delivery first.
    pub(crate) async fn deliveries(&self) -> Vec<DeliveryRow> {
        let filter = DeliveryFilter {
            limit: 100,
            ..DeliveryFilter::default()
        };
        self.service
            .ledger
            .deliveries(&filter)
            .await
            .expect("readable")
    }

    /// What the ledger knows of a conversation.
    pub(crate) async fn mirror(&self, session: &str) -> Option<ConversationMirror> {
        let session = SessionId::parse(session).expect("a session id");
        self.service
            .ledger
            .conversation(&self.website, &session)
            .await
            .expect("readable")
    }

    /// The work row of a conversation (by session) or a person (by key).
    pub(crate) async fn work(&self, kind: WorkKind, key: &str) -> Option<WorkRow> {
        self.service
            .ledger
            .work(kind, &self.website, key)
            .await
            .expect("readable")
    }

    /// A client for whoever talks to the listeners.
    pub(crate) fn http() -> reqwest::Client {
        let _already_installed = rustls::crypto::ring::default_provider().install_default();
        reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(20))
            .build()
            .expect("a client")
    }

    /// A value of the metrics, by the whole name with its labels.
    pub(crate) fn metric(&self, series: &str) -> u64 {
        let text = self.service.metrics.render();
        text.lines()
            .find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
            .unwrap_or(0)
    }

    // The end.

    /// Each row of the outbox says why, in a word that `docs/events.md` explains.
    async fn assert_reasons_are_as_documented(&self) {
        let all = OutboxFilter {
            limit: 10_000,
            ..OutboxFilter::default()
        };
        let rows = self.service.ledger.outbox_list(&all).await;
        for row in rows.expect("readable") {
            let is_documented = reason::ALL.iter().any(|reason| {
                reason.word == row.reason
                    && reason
                        .states
                        .split(", ")
                        .any(|state| state == row.state.as_str())
            });
            assert!(
                is_documented,
                "{} `{}` is not documented",
                row.state, row.reason
            );
        }
    }

    /// Ends a story in which nothing was buried.
    pub(crate) async fn finish(self) {
        self.finish_with_dead_letters(0).await;
    }

    /// Leaves a story that has failed already, without looking at anything.
    pub(crate) fn abandon(mut self) {
        self.finished = true;
    }

    /// Ends a story in which that many rows were buried.
    pub(crate) async fn finish_with_dead_letters(mut self, expected: usize) {
        self.hooks_arrive().await;
        let now = self.now();
        let due = self.service.worker.next_due().await.expect("readable");
        assert!(
            due.is_none_or(|due| due > now),
            "work is left that is due: `settle` before the end"
        );
        let dead = self.service.ledger.dead(100).await.expect("readable");
        assert_eq!(dead.len(), expected, "dead letters: {dead:#?}");
        let unexpected = self.sandbox.unexpected();
        assert!(
            unexpected.is_empty(),
            "Crisp saw what no correct client sends: {unexpected:#?}"
        );
        telemetry::assert_lines_are_as_documented();
        self.assert_reasons_are_as_documented().await;
        self.finished = true;
        self.stop_service().await;
        if let Some(database) = self.database.take() {
            database.drop().await;
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        assert!(
            self.finished || std::thread::panicking(),
            "a story ends with `world.finish().await`"
        );
    }
}

async fn build(setup: &Setup, folder: &TempDir, sandbox: &Sandbox, clock: Clock) -> Box<Service> {
    let path = |name: &str| folder.path().join(name).display().to_string();
    let usual = [
        ("DATABASE_URL", format!("sqlite://{}", path("app.db"))),
        ("CRISP_BASE_URL", sandbox.rest_url()),
        (
            "CRISP_TOKEN_IDENTIFIER",
            DEFAULT_TOKEN_IDENTIFIER.to_owned(),
        ),
        ("CRISP_TOKEN_KEY", DEFAULT_TOKEN_KEY.to_owned()),
        ("CRISP_SIGNING_SECRETS", SIGNING_SECRET.to_owned()),
        ("CRISP_WEBSITES", DEFAULT_WEBSITE.to_owned()),
        ("CRISP_SYNC_LEDGER", path("ledger.db")),
        ("CRISP_SYNC_LISTEN", "127.0.0.1:0".to_owned()),
        ("CRISP_SYNC_OPS_LISTEN", "127.0.0.1:0".to_owned()),
    ];
    // The last one wins, so a story may say otherwise.
    let environment: Environment = usual
        .into_iter()
        .chain(setup.environment.clone())
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    let mut config = Config::from_text("story.toml", &setup.definition, &environment)
        .unwrap_or_else(|faults| panic!("the story's configuration has faults:\n{faults}"));
    config.ledger.size_limit = setup.ledger_limit;
    if let Some(timeout) = setup.answer_timeout {
        config.ledger.answer_timeout = timeout;
    }
    config.worker.chance = setup.chance.clone();
    // Who holds the file in a story lets go of it, however long a busy machine takes to get there.
    config.ledger.busy_timeout = Duration::from_mins(1);
    // Each connection is told each statement once, and a story is short.
    config.ledger.connections = 2;
    let service = Service::build(config, clock).await;
    Box::new(service.expect("the service is built"))
}

/// A value as an agent reads it.
pub(crate) fn text(value: Option<&Json>) -> String {
    match value {
        None | Some(Json::Null) => String::new(),
        Some(Json::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}
