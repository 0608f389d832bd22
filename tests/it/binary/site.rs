//! Everything around the binary: a folder, the stand-in for Crisp, the app's database, a configuration.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use crisp_sync::{
    clock::Clock,
    crisp::signature,
    sandbox::{
        DEFAULT_TOKEN_IDENTIFIER, DEFAULT_TOKEN_KEY, DEFAULT_WEBSITE, OpenChat, Sandbox,
        SandboxSettings,
    },
};
use serde_json::{Value as Json, json};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, sqlite::SqliteConnectOptions};

use super::process::Serving;

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_crisp-sync");
/// What webhooks are signed with.
pub(crate) const SECRET: &str = "914a657d8cc2efbc20593f1806f9bde2";

/// A configuration that does the whole job, at once.
pub(crate) const CONFIG: &str = r#"mode = "live"

[server]
shutdown_deadline = "20s"

[users]
key = "id"
query = "SELECT id, email, name, plan, canceled_at FROM users WHERE lower(email) = :email"
query_by_key = "SELECT id, email FROM users WHERE id = :key"

[context.data]
plan = "{{ plan }}"

[context.segments]
"plan-{{ plan }}" = "plan"

[triggers]
debounce = "0s"

[lifecycle]
sender = "sole"
grace = "0s"

[[lifecycle.event]]
name = "user:subscription:canceled"
at = "canceled_at"
color = "orange"
"#;

const SCHEMA: &str = "
    CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT NOT NULL, name TEXT, plan TEXT, canceled_at TEXT);
    INSERT INTO users (id, email, name, plan) VALUES (1, 'ada@example.org', 'Ada', 'pro'), (2, 'bob@example.org', 'Bob', 'free');
";

/// A folder with a configuration, beside a stand-in for Crisp and an app's database.
pub(crate) struct Site {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) sandbox: Sandbox,
    environment: Vec<(String, String)>,
}

impl Site {
    pub(crate) async fn new() -> Self {
        Self::with(CONFIG).await
    }

    pub(crate) async fn with(config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let app = folder.path().join("app.db");
        let mut database = SqliteConnectOptions::new()
            .filename(&app)
            .create_if_missing(true)
            .connect()
            .await
            .expect("the app's database");
        database.execute(SCHEMA).await.expect("the app's schema");
        database.close().await.expect("closes");
        let sandbox =
            Sandbox::start(SandboxSettings::default(), Clock::System).expect("the sandbox starts");
        let environment = [
            ("DATABASE_URL", format!("sqlite://{}", app.display())),
            ("CRISP_BASE_URL", sandbox.rest_url()),
            (
                "CRISP_TOKEN_IDENTIFIER",
                DEFAULT_TOKEN_IDENTIFIER.to_owned(),
            ),
            ("CRISP_TOKEN_KEY", DEFAULT_TOKEN_KEY.to_owned()),
            ("CRISP_SIGNING_SECRETS", SECRET.to_owned()),
            ("CRISP_WEBSITES", DEFAULT_WEBSITE.to_owned()),
            ("CRISP_SYNC_LISTEN", "127.0.0.1:0".to_owned()),
            ("CRISP_SYNC_OPS_LISTEN", "127.0.0.1:0".to_owned()),
            ("CRISP_SYNC_LOG_FORMAT", "json".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec();
        let site = Self {
            folder,
            sandbox,
            environment,
        };
        site.write_config(config);
        site
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Changes the app's database.
    pub(crate) async fn change(&self, statement: &str) {
        let mut database = SqliteConnectOptions::new()
            .filename(self.path("app.db"))
            .connect()
            .await
            .expect("the app's database");
        let statement = sqlx::AssertSqlSafe(statement.to_owned());
        database.execute(statement).await.expect("valid SQL");
        database.close().await.expect("closes");
    }

    pub(crate) fn write_config(&self, text: &str) {
        std::fs::write(self.path("crisp-sync.toml"), text).expect("the configuration is written");
    }

    /// Sets a variable of the environment; without a value, takes it away.
    pub(crate) fn set(&mut self, name: &str, value: Option<&str>) {
        self.environment.retain(|(known, _)| known != name);
        if let Some(value) = value {
            self.environment.push((name.to_owned(), value.to_owned()));
        }
    }

    /// Where the ledger is, if it is on a server.
    pub(crate) fn ledger_url(&self) -> Option<&str> {
        let url = self
            .environment
            .iter()
            .find(|(name, _)| name == "CRISP_SYNC_LEDGER");
        url.map(|(_, url)| url.as_str())
            .filter(|url| url.starts_with("postgres://"))
    }

    /// The binary, in the folder, with this environment and no other.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.args(arguments);
        self.settle(&mut command);
        command
    }

    /// Gives a command the folder and the environment.
    pub(crate) fn settle(&self, command: &mut Command) {
        command
            .current_dir(self.folder.path())
            .env_clear()
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null());
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::from(self.command(arguments).output().expect("the binary runs"))
    }

    /// Starts `serve` and waits until it listens.
    pub(crate) async fn serve(&self) -> Serving {
        Serving::start(self.command(&["serve"]), &self.path("serve.log")).await
    }

    /// A conversation of the sandbox; it sends no webhook, tests post their own.
    pub(crate) fn chat(&self, email: &str) -> String {
        self.sandbox.open_chat(OpenChat::by(email).proven())
    }

    /// Whether the conversation shows the user's plan.
    pub(crate) async fn wait_refreshed(&self, session: &str) {
        self.sandbox
            .wait_until("the conversation shows the plan", |state| {
                state
                    .conversation(session)
                    .is_some_and(|found| found.labels.data.get("plan") == Some(&json!("pro")))
            })
            .await
            .expect("the work is done");
    }
}

/// A webhook's body.
pub(crate) fn set_email(session: &str, email: &str) -> String {
    json!({
        "website_id": DEFAULT_WEBSITE,
        "event": "session:set_email",
        "data": { "website_id": DEFAULT_WEBSITE, "session_id": session, "inbox_id": null, "email": email },
        "timestamp": Clock::System.now().as_millisecond(),
    })
    .to_string()
}

pub(crate) fn message(session: &str) -> String {
    json!({
        "website_id": DEFAULT_WEBSITE,
        "event": "message:send",
        "data": {
            "website_id": DEFAULT_WEBSITE, "session_id": session, "type": "text", "from": "user", "origin": "chat",
            "content": "hello", "stamped": true,
        },
        "timestamp": Clock::System.now().as_millisecond(),
    })
    .to_string()
}

/// The headers of a signed delivery.
pub(crate) fn signed(body: &str) -> [(&'static str, String); 2] {
    let timestamp = Clock::System.now().as_millisecond().to_string();
    let signature = signature::sign(SECRET, &timestamp, body.as_bytes());
    [
        ("X-Crisp-Request-Timestamp", timestamp),
        ("X-Crisp-Signature", signature),
    ]
}

/// What a command came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("commands print UTF-8");
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

impl Ran {
    /// What it printed as JSON.
    pub(crate) fn json(&self) -> Json {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    #[track_caller]
    pub(crate) fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.stdout, self.stderr);
        self
    }
}

pub(crate) fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}
