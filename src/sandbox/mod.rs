//! A stand-in for Crisp: stateful REST, signed webhooks, an inbox page, faults on demand.
//!
//! For trying crisp-sync out, for its own tests and for its users' CI; there is no other fake. It promises what Crisp's
//! official SDKs and recorded exchanges show, lets the doubtful be switched ([`Behaviour`]), and is strict where Crisp
//! drops silently. It keeps everything in memory, on one port:
//!
//! | path | who | what |
//! |---|---|---|
//! | `/v1/…` | the service | Crisp's REST API |
//! | `/sandbox/…` | scripts, the page | control: the same acts as the methods of [`Sandbox`] |
//! | `/` | people | the inbox page |
//!
//! It never sleeps for effect and never guesses: who waits, waits for a change of its state ([`Sandbox::wait_until`],
//! `GET /sandbox/state?after=<version>&wait=<ms>`), and what is late is late by its [`Clock`].

mod acts;
mod contacts;
mod control;
mod deliver;
mod emit;
mod fault;
mod identity;
mod journal;
mod labels;
mod opening;
mod page;
mod rest;
mod settings;
mod shared;
mod stamps;
mod state;
mod steer;
mod view;
mod wire;

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd as _,
    thread::JoinHandle,
};

use actix_web::{App, HttpServer, dev::ServerHandle, web};

use self::shared::{Connection, Shared};
pub use self::{
    fault::{Fault, FaultBody, Reset},
    journal::{Call, CallJournal, Hook, HookAttempt, HookState, Unexpected},
    labels::LabelEdit,
    opening::OpenChat,
    settings::{
        Behaviour, DEFAULT_TOKEN_IDENTIFIER, DEFAULT_TOKEN_KEY, DEFAULT_WEBSITE, HookProof,
        SandboxSettings, Semantics, TokenSettings, WebhookSettings,
    },
    stamps::Violation,
    state::{
        Author, Contact, Conversation, Labels, Message, Opening, OpeningMark, Seen, State,
        TimelineEvent, Verification, Website,
    },
    steer::{Missing, PATIENCE, Waited},
};
use crate::clock::Clock;

/// Why a sandbox did not start.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The address cannot be listened on.
    #[error(
        "the sandbox could not listen on `{bind}`\nhint: choose another address; port 0 takes a free one"
    )]
    Bind {
        /// The address.
        bind: String,
        /// Why.
        source: std::io::Error,
    },
    /// The server thread did not come up.
    #[error("the sandbox could not start its server")]
    Server {
        /// Why.
        source: std::io::Error,
    },
}

/// A running sandbox. Dropping it stops it.
#[derive(Debug)]
pub struct Sandbox {
    shared: Shared,
    url: String,
    address: SocketAddr,
    server: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

impl Sandbox {
    /// Starts a sandbox; it listens when this returns.
    pub fn start(settings: SandboxSettings, clock: Clock) -> Result<Self, SandboxError> {
        Self::start_with(settings, clock, |_| {})
    }

    /// Starts a sandbox that also serves somebody else's routes.
    pub fn start_with(
        settings: SandboxSettings,
        clock: Clock,
        extra: impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static,
    ) -> Result<Self, SandboxError> {
        let bind = settings.bind;
        let listening = TcpListener::bind(&bind).and_then(|listener| {
            let address = listener.local_addr()?;
            Ok((listener, address))
        });
        let (listener, address) =
            listening.map_err(|source| SandboxError::Bind { bind, source })?;
        let state = State::new(
            settings.websites,
            settings.tokens,
            settings.webhook,
            settings.behaviour,
        );
        let shared = Shared::new(state, clock);
        let (report, started) = std::sync::mpsc::sync_channel(1);
        let mounted = shared.clone();
        let thread = std::thread::Builder::new()
            .name("sandbox".to_owned())
            .spawn(move || {
                actix_web::rt::System::new().block_on(async move {
                    let delivery = actix_web::rt::spawn(deliver::run(mounted.clone()));
                    match listen(listener, &mounted, extra) {
                        Ok(server) => {
                            let _starter_gone = report.send(Ok(server.handle()));
                            if let Err(error) = server.await {
                                tracing::error!(error = %error, "the sandbox's server ended");
                            }
                        }
                        Err(source) => {
                            let _starter_gone = report.send(Err(source));
                        }
                    }
                    delivery.abort();
                });
            })
            .map_err(|source| SandboxError::Server { source })?;
        let server = started
            .recv()
            .unwrap_or_else(|closed| Err(std::io::Error::other(closed)))
            .map_err(|source| SandboxError::Server { source })?;
        Ok(Self {
            shared,
            url: format!("http://{address}"),
            address,
            server,
            thread: Some(thread),
        })
    }

    /// `http://127.0.0.1:<port>`: the inbox page.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What stands for `https://api.crisp.chat/v1/`.
    pub fn rest_url(&self) -> String {
        format!("{}/v1/", self.url)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening and delivering.
    pub async fn stop(mut self) {
        self.server.stop(false).await;
        if let Some(thread) = self.thread.take() {
            let _ended = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if self.thread.is_some() {
            // The message is sent when the future is made; nobody waits for the end.
            drop(self.server.stop(false));
        }
    }
}

fn listen(
    listener: TcpListener,
    shared: &Shared,
    extra: impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static,
) -> std::io::Result<actix_web::dev::Server> {
    let shared = shared.clone();
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::new(shared.clone()))
            .app_data(web::PayloadConfig::new(1 << 20))
            .route("/v1/{tail:.*}", web::route().to(rest::serve))
            .configure(control::routes)
            .configure(page::routes)
            .configure(extra.clone())
    })
    .on_connect(|connection, data| {
        let stream = connection.downcast_ref::<actix_web::rt::net::TcpStream>();
        let copy = stream.and_then(|stream| stream.as_fd().try_clone_to_owned().ok());
        if let Some(copy) = copy {
            data.insert(Connection(TcpStream::from(copy)));
        }
    })
    .workers(1)
    .shutdown_timeout(1)
    .disable_signals()
    .listen(listener)?
    .run();
    Ok(server)
}
