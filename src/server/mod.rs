//! The listeners: the public one for Crisp, the ops one for people and machines that run the service.
//!
//! Sockets are bound before anything starts, so that a port in use is an error at start and a test knows its port.
//! Signals are not read here: whoever calls [`Server::start`] decides when to stop.

mod api;
mod body;
pub mod command;
pub mod desk;
mod head;
mod health;
pub mod interest;
mod keep_alive;
mod keys;
pub mod operation;
mod ops;
pub mod refusal;
pub mod status;
pub mod survey;
mod throttle;
pub mod webhooks;

use std::{
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actix_web::{App, HttpServer, dev::ServerHandle, middleware, web};
use futures_util::future::select_all;

use crate::{
    breaker::Breakers, clock::Clock, crisp::quota::QuotaSettings, ledger::Ledger,
    telemetry::Metrics,
};
pub use keys::{HookKeys, Keys};
pub use ops::OpsToken;
use webhooks::{Receiver, ReceiverSettings};

/// What the listeners take from the configuration.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// Where Crisp reaches us.
    pub listen: SocketAddr,
    /// Where operators reach us; loopback unless chosen otherwise.
    pub ops_listen: Option<SocketAddr>,
    /// Bearer tokens for the ops listener; none means that loopback alone guards it.
    pub ops_tokens: Vec<OpsToken>,
    /// What stands before every path, for a proxy that does not strip it: `""` or `/crisp`.
    pub path_prefix: String,
    /// Threads that accept webhooks.
    pub threads: usize,
    /// Connections at the same time; further ones wait in the kernel.
    pub max_connections: usize,
    /// How long requests in hand may take once a stop is asked for.
    pub drain: Duration,
    /// How the day's quota is shared, to tell where the day ends.
    pub quota: QuotaSettings,
    /// The receiver's part.
    pub receiver: ReceiverSettings,
}

/// Says that the service is about to end, so that `/readyz` turns away traffic before the socket closes.
#[derive(Debug, Clone, Default)]
pub struct Draining(Arc<AtomicBool>);

impl Draining {
    /// Marks the service as draining.
    pub fn begin(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn has_begun(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The running listeners.
#[derive(Debug)]
pub struct Server {
    /// Where webhooks arrive; the port is real even if the settings said 0.
    pub address: SocketAddr,
    /// Where operators look.
    pub ops_address: Option<SocketAddr>,
    draining: Draining,
    public: ServerHandle,
    ops: Option<ServerHandle>,
    running: Vec<tokio::task::JoinHandle<std::io::Result<()>>>,
}

/// A listener that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error(
    "could not listen on {address}\nhint: is another process using the port? `server.listen` or $PORT sets another"
)]
pub struct ListenError {
    address: SocketAddr,
    #[source]
    source: std::io::Error,
}

fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ListenError> {
    let failed = |source| ListenError { address, source };
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// How many connections wait in the kernel; a burst of webhooks is not turned away for a moment's pause.
const BACKLOG: u32 = 1024;
/// A client of the ops listener that takes longer to send its request's head is dropped.
const OPS_HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection on which nothing is asked is closed; only who sent something genuine comes that far. Proxies keep theirs for
/// a minute: who closes first must not be us, or a webhook meets a closed connection.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

impl Server {
    /// Binds both listeners and starts to serve.
    pub fn start(
        settings: ServerSettings,
        ledger: Ledger,
        metrics: Metrics,
        breakers: Breakers,
        clock: Clock,
        desk: Arc<dyn desk::Desk>,
    ) -> Result<Self, ListenError> {
        let draining = Draining::default();
        let health = web::Data::new(health::Health::new(
            ledger.clone(),
            draining.clone(),
            clock.clone(),
        ));
        let (listener, address) = listen(settings.listen)?;
        let head_timeout = settings.receiver.body_timeout;
        let receiver = web::Data::new(Receiver::new(
            settings.receiver,
            ledger.clone(),
            metrics.clone(),
            clock.clone(),
        ));
        let prefix = settings.path_prefix.clone();
        let public_health = health.clone();
        let threads = settings.threads.max(1);
        let public = HttpServer::new(move || {
            App::new()
                .wrap(middleware::from_fn(keep_alive::genuine_only))
                .app_data(receiver.clone())
                .app_data(public_health.clone())
                .service(
                    web::scope(&prefix)
                        .configure(webhooks::routes)
                        .configure(health::routes),
                )
        })
        .on_connect(keep_alive::on_connect)
        .disable_signals()
        .workers(threads)
        .backlog(BACKLOG)
        // actix counts for each thread.
        .max_connections(settings.max_connections.div_ceil(threads))
        .keep_alive(KEEP_ALIVE)
        // actix looks at its clock twice a second: a deadline before it looked again would never come.
        .client_request_timeout(head_timeout.max(Duration::from_secs(1)))
        .shutdown_timeout(settings.drain.as_secs().max(1))
        .listen(listener)
        .map_err(|source| ListenError { address, source })?
        .run();
        let public_handle = public.handle();
        let mut ops_handle = None;
        let mut running = vec![tokio::spawn(public)];
        let mut ops_address = None;
        if let Some(wanted) = settings.ops_listen {
            let (listener, address) = listen(wanted)?;
            let api = web::Data::new(api::Api::new(desk, clock.clone()));
            let ops = web::Data::new(ops::Ops::new(
                ledger,
                metrics,
                breakers,
                clock,
                settings.ops_tokens,
                settings.quota,
            ));
            let server = HttpServer::new(move || {
                App::new()
                    .wrap(middleware::DefaultHeaders::new().add(("Cache-Control", "no-store")))
                    .app_data(ops.clone())
                    .app_data(health.clone())
                    .app_data(api.clone())
                    .configure(health::routes)
                    .configure(api::routes)
                    .configure(ops::routes)
            })
            .disable_signals()
            .workers(1)
            .client_request_timeout(OPS_HEAD_TIMEOUT)
            .shutdown_timeout(1)
            .listen(listener)
            .map_err(|source| ListenError { address, source })?
            .run();
            ops_handle = Some(server.handle());
            running.push(tokio::spawn(server));
            ops_address = Some(address);
        }
        Ok(Self {
            address,
            ops_address,
            draining,
            public: public_handle,
            ops: ops_handle,
            running,
        })
    }

    /// Says that the service is about to end, stops accepting webhooks, and returns when those in hand are answered or
    /// the drain time is over. The ops listener stays: somebody may want to look.
    pub async fn drain(&mut self) {
        self.turn_away();
        self.public.stop(true).await;
    }

    /// Says on `/readyz` that the service is about to end, and goes on serving.
    pub fn turn_away(&self) {
        self.draining.begin();
    }

    /// Closes the ops listener too, and returns when nothing listens any more.
    pub async fn close(self) {
        if let Some(ops) = self.ops {
            ops.stop(true).await;
        }
        for running in self.running {
            // A listener that panicked has nothing left to close.
            drop(running.await);
        }
    }

    /// Drains and closes.
    pub async fn stop(mut self) {
        self.drain().await;
        self.close().await;
    }

    /// Ends when a listener ended. Nobody may ask anything of it afterwards.
    pub async fn ended(&mut self) {
        drop(select_all(&mut self.running).await);
    }
}
