//! The demo's stage: a sample app, a stand-in for Crisp and the service, wired over real HTTP.
//!
//! The service is the real one, with the real configuration loader; only its surroundings are made here. Everything lives
//! in one folder that is gone when the stage is.

use std::{path::Path, time::Duration};

use actix_web::{HttpResponse, web};
use sqlx::SqlitePool;

use super::sample;
use crate::{
    app::{Running, Service},
    clock::Clock,
    config::{Config, environment::Environment},
    ids::WebsiteId,
    sandbox::{
        Behaviour, DEFAULT_TOKEN_IDENTIFIER, DEFAULT_TOKEN_KEY, DEFAULT_WEBSITE, Sandbox,
        SandboxSettings, WebhookSettings,
    },
};

/// Signs the stand-in's webhooks. No secret: it is printed in the source of a demo.
const SIGNING_SECRET: &str = "914a657d8cc2efbc20593f1806f9bde2";

/// How far back the demo pretends that its events were armed, so that a first opening has something to catch up on. A real
/// installation starts at the moment somebody types `events arm`.
const ARMED_SINCE: Duration = Duration::from_hours(14 * 24);

/// How long the stage may take to come down.
const DEADLINE: Duration = Duration::from_secs(5);

/// Everything that plays.
pub(super) struct Stage {
    pub(super) sandbox: Sandbox,
    pub(super) running: Running,
    pub(super) app: SqlitePool,
    pub(super) service: Service,
}

impl Stage {
    /// Sets the stage in `folder`; the page listens on `bind`.
    pub(super) async fn set(folder: &Path, bind: String, clock: Clock) -> anyhow::Result<Self> {
        let now = clock.now();
        let database = folder.join("harbor.db");
        sample::create(&database, now).await?;
        let app = sample::open(&database).await?;
        let people = web::Data::new(Backstage {
            app: app.clone(),
            clock: clock.clone(),
        });
        let settings = SandboxSettings {
            bind,
            behaviour: Behaviour {
                // Crisp tries again by itself, only later.
                retry_after_ms: Some(500),
                ..Behaviour::default()
            },
            ..SandboxSettings::default()
        };
        let sandbox = Sandbox::start_with(settings, clock.clone(), move |services| {
            services
                .app_data(people.clone())
                .route("/demo/people", web::get().to(list_people))
                .route("/demo/people/{person}/{action}", web::post().to(act));
        })?;
        let config = Config::from_text(
            "demo.toml",
            sample::DEFINITION,
            &environment(folder, &database, &sandbox),
        )?;
        let service = Service::build(config, clock).await?;
        let website = WebsiteId::parse(DEFAULT_WEBSITE)?;
        let watermark = now.checked_sub(ARMED_SINCE)?;
        for rule in service.rule_names() {
            service.ledger.arm(&website, &rule, watermark, now).await?;
        }
        let running = service.clone().start().await?;
        let webhook = format!("http://{}/webhooks/crisp", running.server.address);
        sandbox.set_webhook(Some(WebhookSettings::signed(webhook, SIGNING_SECRET)));
        Ok(Self {
            sandbox,
            running,
            app,
            service,
        })
    }

    /// Takes everything down, in order.
    pub(super) async fn strike(self) {
        self.running.stop(DEADLINE).await;
        self.sandbox.stop().await;
        self.app.close().await;
    }
}

/// What an operator would put into the environment.
fn environment(folder: &Path, database: &Path, sandbox: &Sandbox) -> Environment {
    [
        ("DATABASE_URL", format!("sqlite://{}", database.display())),
        ("CRISP_BASE_URL", sandbox.rest_url()),
        (
            "CRISP_TOKEN_IDENTIFIER",
            DEFAULT_TOKEN_IDENTIFIER.to_owned(),
        ),
        ("CRISP_TOKEN_KEY", DEFAULT_TOKEN_KEY.to_owned()),
        ("CRISP_SIGNING_SECRETS", SIGNING_SECRET.to_owned()),
        ("CRISP_WEBSITES", DEFAULT_WEBSITE.to_owned()),
        (
            "CRISP_SYNC_LEDGER",
            folder.join("ledger.db").display().to_string(),
        ),
        ("CRISP_SYNC_LISTEN", "127.0.0.1:0".to_owned()),
        ("CRISP_SYNC_OPS_LISTEN", "127.0.0.1:0".to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

/// What the page's buttons reach.
struct Backstage {
    app: SqlitePool,
    clock: Clock,
}

async fn list_people(backstage: web::Data<Backstage>) -> HttpResponse {
    match sample::people(&backstage.app, backstage.clock.now()).await {
        Ok(people) => HttpResponse::Ok().json(people),
        Err(error) => HttpResponse::InternalServerError().body(error.to_string()),
    }
}

async fn act(backstage: web::Data<Backstage>, path: web::Path<(String, String)>) -> HttpResponse {
    let (person, action) = path.into_inner();
    let acted =
        async { sample::act(&backstage.app, &person, &action, backstage.clock.now()).await };
    match acted.await {
        Ok(summary) => HttpResponse::Ok().json(serde_json::json!({ "summary": summary })),
        Err(error) => {
            HttpResponse::Conflict().json(serde_json::json!({ "error": error.to_string() }))
        }
    }
}
