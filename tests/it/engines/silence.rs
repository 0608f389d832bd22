//! A way to a PostgreSQL server that falls silent, as when its host loses its power or a network swallows everything: nothing
//! is refused, nothing is closed, and no answer comes.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixStream},
    sync::Notify,
    task::JoinHandle,
};

/// The way. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Way {
    /// How to reach the database on it.
    pub(crate) url: String,
    shared: Arc<Shared>,
    listening: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// It fell silent.
    fell: Notify,
    /// Another connection was opened.
    more: Notify,
}

#[derive(Debug, Default)]
struct State {
    connections: Vec<Arc<Carried>>,
    /// Whether those that are opened are silent from the first.
    is_away: bool,
    trigger: Option<Trigger>,
}

/// A connection on the way.
#[derive(Debug, Default)]
struct Carried {
    is_silent: AtomicBool,
    /// It is ended.
    cut: Notify,
}

/// What it falls silent at.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Trigger {
    /// The commit that is asked for as the n-th from now on, from 1. The server makes it.
    Commit(u32),
    /// The first message that contains this text: a statement that a connection has not been told before.
    Text(&'static str),
    /// The question whether a connection that is returned to its pool still works.
    Ping,
}

/// Where the server is.
#[derive(Debug, Clone)]
enum Place {
    Socket(PathBuf),
    Address(String, u16),
}

impl Way {
    /// The way to a database.
    pub(crate) async fn to(url: &str) -> Self {
        let mut url = url::Url::parse(url).expect("a URL");
        let port = url.port().unwrap_or(5432);
        let folder = url.query_pairs().find(|(name, _)| name == "host");
        let server = match folder {
            Some((_, folder)) => {
                Place::Socket(PathBuf::from(&*folder).join(format!(".s.PGSQL.{port}")))
            }
            None => Place::Address(url.host_str().expect("a host").to_owned(), port),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        url.set_query(Some("sslmode=disable"));
        url.set_host(Some("127.0.0.1")).expect("a host");
        url.set_port(Some(port)).expect("a port");
        let shared = Arc::new(Shared::default());
        Self {
            url: url.into(),
            listening: tokio::spawn(listen(listener, server, Arc::clone(&shared))),
            shared,
        }
    }

    /// Every connection that there is then falls silent when the trigger passes. Those that are opened later reach the
    /// server: it is up again, or another one has its address.
    pub(crate) fn falls_silent_at(&self, trigger: Trigger) {
        let mut state = self.shared.state();
        if let Trigger::Text(_) = trigger {
            // A connection is told the text of a statement once: these are replaced.
            for carried in state.connections.drain(..) {
                carried.cut.notify_one();
            }
        }
        state.trigger = Some(trigger);
    }

    /// The same, and those that are opened are silent too, until the server [comes back](Self::comes_back).
    pub(crate) fn goes_away_at(&self, trigger: Trigger) {
        self.falls_silent_at(trigger);
        self.shared.state().is_away = true;
    }

    /// It fell silent, or does.
    pub(crate) async fn fell_silent(&self) {
        self.shared.fell.notified().await;
    }

    /// So many connections were opened.
    pub(crate) async fn carries(&self, connections: usize) {
        while self.shared.state().connections.len() < connections {
            self.shared.more.notified().await;
        }
    }

    /// Connections that are opened from now on reach the server; those that are silent stay so.
    pub(crate) fn comes_back(&self) {
        self.shared.state().is_away = false;
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection is opened.
    fn opened(&self) -> Arc<Carried> {
        let mut state = self.state();
        let is_silent = state.is_away && state.trigger.is_none();
        let carried = Arc::new(Carried {
            is_silent: AtomicBool::new(is_silent),
            cut: Notify::new(),
        });
        state.connections.push(Arc::clone(&carried));
        self.more.notify_one();
        carried
    }

    /// Something is asked. It reaches the server, and after a trigger no answer comes back.
    fn asked(&self, message: &[u8]) {
        let mut state = self.state();
        let is_pulled = |trigger: &mut Trigger| trigger.is_pulled(message);
        if !state.trigger.as_mut().is_some_and(is_pulled) {
            return;
        }
        state.trigger = None;
        for carried in &state.connections {
            carried.is_silent.store(true, Ordering::SeqCst);
        }
        self.fell.notify_one();
    }
}

impl Trigger {
    fn is_pulled(&mut self, message: &[u8]) -> bool {
        let contains = |text: &[u8]| message.windows(text.len()).any(|part| part == text);
        match self {
            Self::Commit(left) => {
                *left -= u32::from(contains(b"COMMIT\0"));
                *left == 0
            }
            Self::Text(text) => contains(text.as_bytes()),
            Self::Ping => message == b"S\0\0\0\x04",
        }
    }
}

async fn listen(listener: TcpListener, server: Place, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        let (server, shared) = (server.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            match server {
                Place::Socket(path) => {
                    let server = UnixStream::connect(path).await.expect("the server");
                    carry(client, server, &shared).await;
                }
                Place::Address(host, port) => {
                    let server = TcpStream::connect((host, port)).await.expect("the server");
                    carry(client, server, &shared).await;
                }
            }
        });
    }
}

/// Carries what is asked to the server and its answers back, until the client goes, or the server cuts it off.
async fn carry(client: TcpStream, server: impl AsyncRead + AsyncWrite, shared: &Shared) {
    let carried = shared.opened();
    let is_silent = || carried.is_silent.load(Ordering::SeqCst);
    let (mut asking, mut asker) = client.into_split();
    let (mut answering, mut answerer) = tokio::io::split(server);
    let asking = async {
        let mut message = vec![0; 1 << 16];
        while let Ok(length @ 1..) = asking.read(&mut message).await {
            if is_silent() {
                continue;
            }
            shared.asked(&message[..length]);
            if answerer.write_all(&message[..length]).await.is_err() {
                break;
            }
        }
    };
    let answering = async {
        let mut message = vec![0; 1 << 16];
        while let Ok(length @ 1..) = answering.read(&mut message).await {
            if !is_silent() && asker.write_all(&message[..length]).await.is_err() {
                break;
            }
        }
        // Who lost their power says no goodbye.
        if is_silent() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = asking => {}
        () = answering => {}
        () = carried.cut.notified() => {}
    }
}
