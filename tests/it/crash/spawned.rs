//! The spawned binary, by the machine's clock: killed by `kill -9`, its ledger's file replaced, commands beside it.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use crisp_sync::{
    clock::Clock,
    sandbox::{Fault, Sandbox, State, WebhookSettings},
};
use jiff::Timestamp;
use serde_json::Value as Json;
use sqlx::{ConnectOptions as _, Executor as _, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{
    acts::{Order, Point, Span},
    app::App,
    definition::renaming,
    orders::arguments,
    stage::{Stage, read_lists},
};
use crate::{
    binary::{
        process::{PATIENCE, Serving, wait_for},
        site::{SECRET, Site},
    },
    soak::{Books, arm, drain},
};

/// What the app's database lacks.
const COLUMNS: &str = "
    ALTER TABLE users ADD COLUMN status TEXT;
    ALTER TABLE users ADD COLUMN subscribed_at TEXT;
    ALTER TABLE users ADD COLUMN change TEXT;
    ALTER TABLE users ADD COLUMN created_at TEXT;
    ALTER TABLE users ADD COLUMN marketing_opt_in BOOLEAN NOT NULL DEFAULT 1;";
/// Of few requests, some deaths come in silence.
const SILENCE: Duration = Duration::from_millis(700);

pub(super) struct Spawned {
    site: Site,
    config: String,
    app: SqliteConnection,
    serving: Option<Serving>,
    copy: Option<PathBuf>,
    copies: u32,
}

impl Spawned {
    pub(super) async fn begin(config: String) -> Self {
        let site = Site::with(&config).await;
        let mut app = SqliteConnectOptions::new()
            .filename(site.path("app.db"))
            .connect()
            .await
            .expect("the app's database");
        app.execute(COLUMNS).await.expect("the columns");
        arm(&site).await;
        site.sandbox.behave(|behaviour| {
            behaviour.retry_after_ms = Some(50);
            behaviour.attempt_limit = 1_000_000;
        });
        let mut this = Self {
            site,
            config,
            app,
            serving: None,
            copy: None,
            copies: 0,
        };
        this.starts().await;
        this
    }

    async fn starts(&mut self) {
        let serving = self.site.serve().await;
        let url = format!("http://{}/webhooks/crisp", serving.public);
        self.site
            .sandbox
            .set_webhook(Some(WebhookSettings::signed(url, SECRET)));
        self.serving = Some(serving);
    }

    fn is_killed(&mut self) {
        if let Some(mut serving) = self.serving.take() {
            serving.kill();
        }
    }

    pub(super) async fn ends(mut self) {
        self.ends_in_order().await;
        let unexpected = self.site.sandbox.unexpected();
        assert!(unexpected.is_empty(), "{unexpected:#?}");
    }

    async fn ends_in_order(&mut self) {
        if let Some(mut serving) = self.serving.take() {
            serving.signal("TERM");
            assert_eq!(serving.wait_end().await.code(), Some(0));
        }
    }

    async fn hooks_arrive(&self) {
        wait_for("the webhooks arrive", || {
            self.site.sandbox.look(State::hooks_idle).then_some(())
        })
        .await;
    }
}

async fn wait_in_earnest(time: Duration) {
    tokio::time::sleep(time).await;
}

impl Stage for Spawned {
    const LATE: Duration = Duration::from_millis(1_200);
    const SLOW: Duration = Duration::from_millis(1_300);
    const STANDS_STILL: bool = false;
    const TOLERANCE: Duration = Duration::from_secs(3);
    const BEAT: Duration = Duration::from_secs(33);
    const RECOVERS: Duration = Duration::from_mins(10);

    fn sandbox(&self) -> &Sandbox {
        &self.site.sandbox
    }

    fn now(&self) -> Timestamp {
        Clock::System.now()
    }

    async fn ticks(&mut self) {
        let second = || Clock::System.now().as_second();
        let began = second();
        wait_for("another second", || (second() > began + 1).then_some(())).await;
    }

    async fn sql(&mut self, statement: String) {
        self.app
            .execute(sqlx::AssertSqlSafe(statement))
            .await
            .expect("the app writes");
    }

    async fn works(&mut self) {
        self.hooks_arrive().await;
    }

    async fn passes(&mut self, span: Span) {
        wait_in_earnest(Duration::from_millis(match span {
            Span::Moment => 100,
            Span::Minutes => 1_000,
            Span::Grace => 2_100,
            Span::Quiet => 2_200,
            Span::Long => 3_000,
        }))
        .await;
    }

    async fn dies(&mut self, at: Point) -> Timestamp {
        let marker = self.site.sandbox.call_marker();
        if at.in_flight {
            self.site.sandbox.fault(Fault {
                hold: true,
                skip: u32::try_from(at.calls - 1).expect("few"),
                status: (!at.applied).then_some(500),
                ..Fault::default()
            });
        }
        let arrived = self.site.sandbox.wait_until("some requests", |state| {
            state.calls().since(marker).len() >= at.calls
        });
        drop(tokio::time::timeout(SILENCE, arrived).await);
        wait_in_earnest(Duration::from_micros(u64::from(at.turns) * 200)).await;
        self.is_killed();
        let died_at = self.now();
        self.site.sandbox.release();
        self.site.sandbox.clear_faults();
        self.starts().await;
        died_at
    }

    async fn copies(&mut self, _raw: bool) -> Option<Timestamp> {
        self.copies += 1;
        self.hooks_arrive().await;
        let at = self.now();
        let name = format!("copy-{}.db", self.copies);
        self.site.run(&["ledger", "backup", &name]).ended(0);
        self.copy = Some(self.site.path(&name));
        Some(at)
    }

    async fn restores(&mut self, in_place: bool) -> Option<bool> {
        let copy = self.copy.clone()?;
        self.hooks_arrive().await;
        self.is_killed();
        super::put_in_place(&copy, &self.site.path("crisp-sync.db"), in_place);
        self.starts().await;
        Some(true)
    }

    async fn goes_away(&mut self) -> bool {
        false
    }

    async fn renames(&mut self) -> bool {
        self.hooks_arrive().await;
        self.ends_in_order().await;
        for (from, to) in renaming() {
            self.config = self.config.replace(&from, &to);
        }
        self.site.write_config(&self.config);
        self.starts().await;
        true
    }

    async fn is_displaced(&mut self) -> bool {
        let mut books = self.books().await;
        let found: Vec<(String,)> = books
            .ask("SELECT value FROM meta WHERE key = 'displaced'")
            .await;
        !found.is_empty()
    }

    async fn arms(&mut self) {
        self.site.run(&["events", "arm"]).ended(0);
    }

    async fn starts_twice(&mut self) {
        let mut second =
            Serving::spawn(self.site.command(&["serve"]), &self.site.path("second.log"));
        let ended = second.wait_end().await;
        assert_eq!(ended.code(), Some(1), "one process has a file");
    }

    async fn commands(&mut self, address: &str) {
        // Crisp or the app may be down: it says so, and the service goes on.
        self.site.run(&["reconcile", "--email", address]);
    }

    async fn performs(&mut self, order: &Order) -> Json {
        self.hooks_arrive().await;
        let arguments = arguments(order.clone(), &self.site.path("receipts.json"));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.site.run(&arguments).ended(0).json()
    }

    async fn reads_lists(&mut self, app: &App) {
        read_lists(&self.site.sandbox, app).await;
    }

    async fn drains(&mut self) {
        drain(&self.site).await;
        // The second look at a timeline, too.
        let mut books = self.books().await;
        let began = Instant::now();
        loop {
            let waiting = books.waiting_for_a_look().await;
            if waiting.is_empty() {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "does not drain: {waiting:?}");
            wait_in_earnest(Duration::from_millis(100)).await;
        }
        drain(&self.site).await;
    }

    async fn books(&self) -> Books {
        Books::open(&self.site).await
    }
}
