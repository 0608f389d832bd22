//! Composition: the one place that turns a [`Config`] into pools, clients and tasks.
//!
//! Every component receives what it needs and knows of no other. [`Service`] is everything wired but not yet listening,
//! which is all a command needs; [`Service::start`] opens the listeners and starts the worker.

mod commands;
mod everyone;
mod running;
mod secrets;
mod settings;
mod shutdown;

use std::sync::Arc;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

pub use running::Running;
use secrets::{Known, SecretWatch};
pub use shutdown::{Signals, Stopped};

use crate::{
    alerts::Watch,
    breaker::{BreakerSettings, Breakers},
    clock::Clock,
    config::Config,
    crisp::client::Client,
    ids::WebsiteId,
    ledger::{Ledger, Location, OwnedKind, OwnedName, Side},
    lifecycle::Rules,
    reconcile::{Adapters, Mode, Reconciler},
    server::{
        Server, ServerSettings,
        command::{Answer, CommandSocket, Operation},
    },
    telemetry::{Metrics, events},
    users::UserDirectory,
    worker::Worker,
};

/// Everything wired together. Clones share it.
#[derive(Debug, Clone)]
pub struct Service {
    /// The ledger.
    pub ledger: Ledger,
    /// Crisp's REST API.
    pub crisp: Client,
    /// The app's database.
    pub users: UserDirectory,
    /// The use case.
    pub reconciler: Reconciler,
    /// Takes due work, and settles it.
    pub worker: Worker,
    /// Tells a person when one is needed.
    pub watch: Watch,
    /// The metrics.
    pub metrics: Metrics,
    /// What is down, and what works.
    pub breakers: Breakers,
    clock: Clock,
    rules: Arc<Rules>,
    websites: Vec<WebsiteId>,
    location: Location,
    server: ServerSettings,
    mode: Mode,
    definition_hash: String,
    owned: Vec<OwnedName>,
    secrets: SecretWatch,
}

impl Service {
    /// Wires everything. Opens the ledger, and neither listens nor calls anybody.
    pub async fn build(config: Config, clock: Clock) -> anyhow::Result<Self> {
        let now = clock.now();
        let metrics = Metrics::default();
        let (server, reconcile, working, alerts) = (
            settings::server(&config),
            settings::reconcile(&config),
            settings::worker(&config),
            settings::alerts(&config),
        );
        let location = config.ledger.location.clone();
        let ledger = Ledger::open(config.ledger.clone(), now).await?;
        // Before anything looks at it: from now on every process that shares the ledger has the same time.
        let clock = match location {
            Location::File(_) => clock,
            Location::Server(_) => clock.able_to_follow(),
        };
        ledger.correct(&clock).await?;
        let now = clock.now();
        let crisp = Client::new(&config.crisp.client, metrics.clone())
            .context("could not set up the client for Crisp")?;
        let (known, keys) = (Known::of(&config), server.receiver.keys.clone());
        let definition = Arc::new(config.definition);
        // Whoever takes the ledger up notices first whether it was left alone for long, or is a copy: from then on every
        // command and the worker are as careful as that asks for. To listen is another thing, which a command does not.
        ledger.notice_silence(now).await?;
        let owned = owned_names(&definition.owned());
        let rules = Arc::new(config.rules);
        let breakers = Breakers::new(clock.clone(), metrics.clone(), BreakerSettings::default());
        let users = UserDirectory::connect_guarded(config.users, metrics.clone(), &breakers)
            .context("could not set up the look-ups")?;
        let secrets = SecretWatch::new(known, crisp.clone(), keys, ledger.clone(), users.clone());
        let crisp = crisp.reporting_to(breakers.clone());
        let websites = reconcile.websites.clone();
        let mode = reconcile.mode;
        let definition_hash = definition.hash().to_owned();
        let adapters = Adapters {
            crisp: crisp.clone(),
            ledger: ledger.clone(),
            users: users.clone(),
            breakers: breakers.clone(),
        };
        let reconciler = Reconciler::new(
            adapters,
            definition,
            rules.clone(),
            reconcile,
            metrics.clone(),
        );
        let worker = Worker::new(
            ledger.clone(),
            reconciler.clone(),
            metrics.clone(),
            clock.clone(),
            breakers.clone(),
            working,
        );
        let watch = Watch::new(
            alerts,
            ledger.clone(),
            metrics.clone(),
            breakers.clone(),
            clock.clone(),
        )
        .context("could not set up alerts")?;
        Ok(Self {
            ledger,
            crisp,
            users,
            reconciler,
            worker,
            watch,
            metrics,
            breakers,
            clock,
            rules,
            websites,
            location,
            server,
            mode,
            definition_hash,
            owned,
            secrets,
        })
    }

    /// Makes this definition the one in force: its names are ours from now on, for ever. Called before the first write to
    /// Crisp, and never by a look: a draft that was only tried must not own anything.
    async fn take_charge(&self) -> anyhow::Result<()> {
        if self.mode == Mode::Live {
            // One process has a file, so the definition it was started with counts, also after going back to an older one.
            if self.location.path().is_some() {
                self.ledger
                    .adopt_definition(&self.definition_hash, self.clock.now())
                    .await?;
            }
            self.ledger.own(self.owned.clone()).await?;
        }
        Ok(())
    }

    /// Looks whether a secret was replaced, and takes it up. The running service does so every few seconds.
    pub async fn look_at_secrets(&self) -> anyhow::Result<()> {
        Ok(self.secrets.step().await?)
    }

    /// The lifecycle events of the definition.
    pub fn rule_names(&self) -> Vec<String> {
        self.rules
            .iter()
            .map(|rule| rule.name().to_owned())
            .collect()
    }

    /// Opens the listeners and nothing else: deliveries are committed, and wait for somebody to step the worker.
    pub async fn listen(&self) -> anyhow::Result<Server> {
        self.take_charge().await?;
        let server = Server::start(
            self.server.clone(),
            self.ledger.clone(),
            self.metrics.clone(),
            self.breakers.clone(),
            self.clock.clone(),
            Arc::new(self.clone()),
        )?;
        // From now on no silence goes on.
        self.ledger.heartbeat(self.clock.now()).await?;
        if self.mode == Mode::Live {
            // What a refusal or a restore left undone is done now.
            self.ledger.take_up_debts(self.clock.now()).await?;
        }
        if self.location.path().is_none() {
            // From now on it works, and those with an older definition do not: so not before it listens. A command, which
            // ends at once, silences nobody.
            let now = self.clock.now();
            if self.mode == Mode::Live {
                self.ledger.join(&self.definition_hash, now).await?;
            } else {
                self.ledger.join_to_observe(now).await?;
            }
        }
        Ok(server)
    }

    /// Has every website that needs it looked through for what changed while nobody listened.
    pub async fn look_for_gaps(&self) -> anyhow::Result<()> {
        self.ledger
            .look_for_gaps_at_a_start(&self.websites, self.clock.now())
            .await?;
        Ok(())
    }

    /// Has people found whom no conversation brings up, where there is a query for it.
    pub async fn begin_sweeps(&self) -> anyhow::Result<()> {
        if self.users.can_sweep() {
            self.ledger.begin_sweeps(self.clock.now()).await?;
        }
        Ok(())
    }

    /// Opens the listeners and starts the worker and the command socket.
    pub async fn start(self) -> anyhow::Result<Running> {
        // First, so that the ledger's owner can be asked from the moment that somebody is told that it has one.
        let socket = match self.location.path() {
            Some(path) => Some(CommandSocket::open(path).with_context(|| {
                format!(
                    "could not open the command socket beside `{}`",
                    path.display()
                )
            })?),
            // A command is one more process that shares the ledger.
            None => None,
        };
        let server = self.listen().await?;
        self.look_for_gaps().await?;
        self.begin_sweeps().await?;
        let stop = CancellationToken::new();
        let worker = {
            let (worker, stop) = (self.worker.clone(), stop.clone());
            tokio::spawn(async move { Box::pin(worker.run(stop)).await })
        };
        let watch = {
            let (watch, stop) = (self.watch.clone(), stop.clone());
            tokio::spawn(async move { watch.run(stop).await })
        };
        let secrets = tokio::spawn(self.secrets.clone().run());
        let service = self.clone();
        let socket = tokio::spawn(async move {
            let Some(socket) = socket else {
                return std::future::pending().await;
            };
            let serve = move |operation: Operation| {
                let service = service.clone();
                async move { service.serve_command(operation).await }
            };
            socket.serve(serve).await;
        });
        tracing::info!(
            event = events::SERVICE_STARTED,
            "listen.public" = %server.address,
            "listen.ops" = server.ops_address.map(tracing::field::display),
            ledger = %self.location,
            "users.engine" = self.users.dialect().name(),
            mode = mode_name(self.mode),
            "definition.hash" = &self.definition_hash[..12.min(self.definition_hash.len())],
            version = env!("CARGO_PKG_VERSION"),
            "listening for Crisp's webhooks"
        );
        Ok(Running {
            server,
            stop,
            worker,
            watch,
            socket,
            secrets,
            ledger: self.ledger,
        })
    }

    async fn serve_command(&self, operation: Operation) -> Answer {
        let started = self.clock.now();
        let command = operation.name();
        let answer = self.perform(operation).await;
        let duration = self.clock.now().duration_since(started).unsigned_abs();
        tracing::info!(
            event = events::COMMAND_SERVED,
            command,
            outcome = if answer.ok { "ok" } else { "failed" },
            duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            "served a command"
        );
        answer
    }
}

fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Live => "live",
        Mode::Observe => "observe",
        Mode::Plan => "plan",
    }
}

/// The definition's names as rows: the ledger never forgets one, so that a retired name can be cleaned up.
fn owned_names(owned: &crate::context::OwnedNames) -> Vec<OwnedName> {
    let sides = [
        (Side::Session, &owned.session),
        (Side::Contact, &owned.contact),
    ];
    sides
        .into_iter()
        .flat_map(|(side, owned)| {
            let kinds = [
                (OwnedKind::Key, &owned.keys),
                (OwnedKind::Segment, &owned.segments),
                (OwnedKind::SegmentPrefix, &owned.segment_prefixes),
            ];
            kinds.into_iter().flat_map(move |(kind, names)| {
                names.iter().map(move |name| OwnedName {
                    side,
                    kind,
                    name: name.clone(),
                })
            })
        })
        .collect()
}
