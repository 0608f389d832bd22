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
mod control;
mod deliver;
mod fault;
mod journal;
mod page;
mod rest;
mod settings;
mod state;
mod view;
mod wire;

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use actix_web::{App, HttpServer, dev::ServerHandle, web};
use serde_json::{Map, Value as Json};
use tokio::sync::watch;

pub use self::{
    acts::{LabelEdit, OpenChat},
    fault::{Fault, FaultBody, Reset},
    journal::{Call, CallJournal, Hook, HookAttempt, HookState, Unexpected},
    settings::{
        Behaviour, DEFAULT_TOKEN_IDENTIFIER, DEFAULT_TOKEN_KEY, DEFAULT_WEBSITE, HookProof,
        SandboxSettings, Semantics, TokenSettings, WebhookSettings,
    },
    state::{
        Author, Contact, Conversation, Labels, Message, Opening, Seen, State, TimelineEvent,
        Verification, Website,
    },
};
use crate::clock::Clock;

/// How long [`Sandbox::wait_until`] waits before it says what did not happen.
pub const PATIENCE: Duration = Duration::from_secs(20);

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

/// What was waited for did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("waited {seconds} s in vain for this: {what}")]
pub struct Waited {
    what: String,
    seconds: u64,
}

/// The conversation or contact an act names is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sandbox has no such {0}")]
pub struct Missing(&'static str);

fn found(yes: bool, what: &'static str) -> Result<(), Missing> {
    yes.then_some(()).ok_or(Missing(what))
}

/// The state, the clock, and a bell that rings at every change.
#[derive(Debug, Clone)]
struct Shared {
    state: Arc<Mutex<State>>,
    clock: Clock,
    bell: Arc<watch::Sender<u64>>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock is a failing test; the state itself is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state.
    fn act<T>(&self, act: impl FnOnce(&mut State, i64) -> T) -> T {
        self.change(|state, now| (act(state, now), true))
    }

    /// Takes something out of the state, which is a change only if there was something.
    fn take<T, U>(&self, take: impl FnOnce(&mut State, i64) -> (Option<T>, U)) -> (Option<T>, U) {
        self.change(|state, now| {
            let taken = take(state, now);
            let changed = taken.0.is_some();
            (taken, changed)
        })
    }

    fn change<T>(&self, act: impl FnOnce(&mut State, i64) -> (T, bool)) -> T {
        let now = self.clock.now().as_millisecond();
        let mut state = self.lock();
        let late = state.apply_late(now, now);
        let (result, changed) = act(&mut state, now);
        if changed || late > 0 {
            state.version += 1;
            self.bell.send_replace(state.version);
        }
        result
    }

    fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.lock())
    }

    fn version(&self) -> u64 {
        *self.bell.borrow()
    }

    async fn changed_since(&self, version: u64) {
        let mut bell = self.bell.subscribe();
        // The sender lives as long as `self`.
        let _never_closed = bell.wait_for(|now| *now != version).await;
    }

    async fn wait_for<T>(&self, mut test: impl FnMut(&State) -> Option<T>) -> T {
        loop {
            let seen = self.version();
            if let Some(result) = self.look(&mut test) {
                return result;
            }
            self.changed_since(seen).await;
        }
    }
}

/// The socket of a request, so that a fault can cut it.
struct Connection(TcpStream);

impl Connection {
    fn cut(&self) {
        // Already closed by the other side is as good.
        let _closed = self.0.shutdown(std::net::Shutdown::Both);
    }
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
        let shared = Shared {
            state: Arc::new(Mutex::new(State::new(
                settings.websites,
                settings.tokens,
                settings.webhook,
                settings.behaviour,
            ))),
            clock,
            bell: Arc::new(watch::Sender::new(1)),
        };
        let (report, started) = std::sync::mpsc::sync_channel(1);
        let served = shared.clone();
        let thread = std::thread::Builder::new()
            .name("sandbox".to_owned())
            .spawn(move || {
                actix_web::rt::System::new().block_on(async move {
                    let delivery = actix_web::rt::spawn(deliver::run(served.clone()));
                    match server(listener, &served, extra) {
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

    // What visitors do.

    /// Somebody opens a chat; the result is the conversation's session id.
    pub fn open_chat(&self, open: OpenChat) -> String {
        self.shared.act(|state, now| state.open_chat(open, now))
    }

    /// The visitor writes.
    pub fn message(&self, session: &str, text: &str) -> Result<(), Missing> {
        let text = text.to_owned();
        self.shared
            .act(|state, now| found(state.visitor_message(session, text, now), "conversation"))
    }

    /// The visitor becomes somebody else, or proves to be who they said.
    pub fn change_identity(
        &self,
        session: &str,
        email: Option<&str>,
        verified: bool,
    ) -> Result<(), Missing> {
        let email = email.map(str::to_owned);
        self.shared.act(|state, now| {
            found(
                state.change_identity(session, email, verified, now),
                "conversation",
            )
        })
    }

    // What agents do.

    /// An agent opens the conversation in the inbox.
    pub fn operator_opens(&self, session: &str) -> Result<(), Missing> {
        self.shared
            .act(|state, now| found(state.operator_opens(session, now), "conversation"))
    }

    /// An agent starts the conversation: `session:request:initiated`.
    pub fn operator_starts(&self, session: &str) -> Result<(), Missing> {
        self.shared
            .act(|state, now| found(state.operator_starts(session, now), "conversation"))
    }

    /// An agent resolves (`resolved`) or reopens (`unresolved`) the conversation.
    pub fn set_state(&self, session: &str, to: &str) -> Result<(), Missing> {
        self.shared.act(|state, now| {
            found(
                state.set_state(session, to, Author::Agent, now),
                "conversation",
            )
        })
    }

    /// Somebody changes session data and segments by hand.
    pub fn edit_session(
        &self,
        session: &str,
        author: Author,
        edit: LabelEdit,
    ) -> Result<(), Missing> {
        self.shared.act(|state, now| {
            found(
                state.edit_session(session, edit, author, now),
                "conversation",
            )
        })
    }

    /// Somebody changes contact data and segments by hand; the contact is named by id or address.
    pub fn edit_contact(
        &self,
        contact: &str,
        author: Author,
        edit: LabelEdit,
    ) -> Result<(), Missing> {
        self.shared
            .act(|state, now| found(state.edit_contact(contact, edit, author, now), "contact"))
    }

    /// A contact made by hand; the result is its id.
    pub fn create_contact(&self, email: &str, nickname: &str) -> String {
        let (email, nickname) = (email.to_owned(), nickname.to_owned());
        self.shared
            .act(|state, now| state.make_contact(None, email, &nickname, now))
    }

    /// Somebody else than the service puts an event on a timeline.
    pub fn add_event(&self, contact: &str, event: TimelineEvent) -> Result<(), Missing> {
        self.shared
            .act(|state, _| found(state.add_event(contact, event), "contact"))
    }

    /// The conversation is removed.
    pub fn remove_conversation(&self, session: &str) -> Result<(), Missing> {
        self.shared.act(|state, now| {
            found(
                state.remove_conversation(session, Author::Agent, now),
                "conversation",
            )
        })
    }

    /// The contact is removed.
    pub fn remove_contact(&self, contact: &str) -> Result<(), Missing> {
        self.shared
            .act(|state, now| found(state.remove_contact(contact, Author::Agent, now), "contact"))
    }

    /// The plugin is installed on a website, or taken off it.
    pub fn subscribe(&self, website: &str, bound: bool) -> Result<(), Missing> {
        self.shared
            .act(|state, now| found(state.subscribe(website, bound, now), "website"))
    }

    // Webhooks.

    /// Where webhooks go from now on.
    pub fn set_webhook(&self, webhook: Option<WebhookSettings>) {
        self.shared.act(|state, _| state.webhook = webhook);
    }

    /// Any event at all, as Crisp would send it.
    pub fn emit(
        &self,
        event: &str,
        session: Option<&str>,
        people: Option<&str>,
        data: Map<String, Json>,
    ) {
        self.shared.act(|state, now| {
            let website = state.website_of(session, people);
            state.emit(
                &website,
                event,
                session,
                people,
                Json::Object(data),
                Author::Crisp,
                now,
            );
        });
    }

    /// Holds webhooks back, or lets them go.
    pub fn hold_hooks(&self, held: bool) {
        self.shared.act(|state, _| state.hooks_held = held);
    }

    /// Turns the order of the waiting webhooks around.
    pub fn reverse_hooks(&self) {
        self.shared.act(|state, _| state.reverse_queue());
    }

    /// Sends failed webhooks again; the result is how many.
    pub fn retry_hooks(&self) -> usize {
        self.shared.act(|state, _| state.retry_hooks())
    }

    /// Sends one webhook once more, whatever became of it.
    pub fn redeliver(&self, number: u64) -> Result<(), Missing> {
        self.shared
            .act(|state, _| found(state.redeliver(number), "webhook, or no receiver"))
    }

    /// Waits until no webhook is on its way.
    pub async fn hooks_idle(&self) -> Result<(), Waited> {
        self.wait_until("no webhook on its way", State::hooks_idle)
            .await
    }

    // Faults and switches.

    /// Arms a fault.
    pub fn fault(&self, fault: Fault) {
        self.shared.act(|state, _| state.faults.push(fault));
    }

    /// Disarms what has not struck yet.
    pub fn clear_faults(&self) {
        self.shared.act(|state, _| state.faults.clear());
    }

    /// Lets held answers go.
    pub fn release(&self) {
        self.shared.act(|state, _| state.releases += 1);
    }

    /// Lets what was taken and not applied take effect now; the result is how many.
    pub fn apply_late(&self) -> usize {
        self.shared
            .act(|state, now| state.apply_late(i64::MAX, now))
    }

    /// Forgets cached lists.
    pub fn flush_cache(&self) {
        self.shared.act(|state, _| state.cache.clear());
    }

    /// Turns switches.
    pub fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        self.shared.act(|state, _| change(&mut state.behaviour));
    }

    /// Changes which tokens are accepted.
    pub fn set_tokens(&self, tokens: Vec<TokenSettings>) {
        self.shared.act(|state, _| state.tokens = tokens);
    }

    // Looking and waiting.

    /// Looks at the state.
    pub fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        self.shared.look(look)
    }

    /// The number of the last call: see [`CallJournal::since`].
    pub fn call_marker(&self) -> u64 {
        self.look(|state| state.calls.marker())
    }

    /// The calls after a marker.
    pub fn calls_since(&self, marker: u64) -> Vec<Call> {
        self.look(|state| state.calls.since(marker).to_vec())
    }

    /// Requests that no correct client makes.
    pub fn unexpected(&self) -> Vec<Unexpected> {
        self.look(|state| state.calls.unexpected.clone())
    }

    /// Waits for a change after which `test` holds. `what` says in a failure what was waited for.
    pub async fn wait_until(
        &self,
        what: &str,
        test: impl Fn(&State) -> bool,
    ) -> Result<(), Waited> {
        self.wait_for(what, |state| test(state).then_some(())).await
    }

    /// Waits for something to be there.
    pub async fn wait_for<T>(
        &self,
        what: &str,
        test: impl Fn(&State) -> Option<T>,
    ) -> Result<T, Waited> {
        tokio::time::timeout(PATIENCE, self.shared.wait_for(test))
            .await
            .map_err(|_elapsed| Waited {
                what: what.to_owned(),
                seconds: PATIENCE.as_secs(),
            })
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

fn server(
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
