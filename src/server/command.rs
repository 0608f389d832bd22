//! The command socket: what an operator types while the service runs.
//!
//! The ledger has one writer. A command that finds the ledger taken sends the same [`Operation`] over `<ledger>.sock`
//! to the process that holds it, and gets the same [`Answer`] it would have made itself. One connection carries one
//! line of JSON each way. The socket is for the owner of the ledger alone (mode 0600).

use std::{
    future::Future,
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
    task::JoinSet,
};

pub use super::operation::{Chosen, Listed, Operation};

/// What an operation came to: lines for a person, values for a script, and whether it is a success.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Whether the command exits with 0.
    pub ok: bool,
    /// Sentences before the table.
    pub lines: Vec<String>,
    /// A table, where there is one.
    pub table: Option<Table>,
    /// Everything, for `--json`.
    pub json: Json,
}

/// Rows under headings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// The headings.
    pub headings: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<String>>,
    /// A sentence below them.
    #[serde(default)]
    pub below: Option<String>,
}

impl Answer {
    /// A success that says one thing.
    pub fn said(line: impl Into<String>, json: Json) -> Self {
        Self {
            ok: true,
            lines: vec![line.into()],
            table: None,
            json,
        }
    }

    /// A failure that says why.
    pub fn failed(line: impl Into<String>) -> Self {
        let line = line.into();
        Self {
            ok: false,
            json: serde_json::json!({ "error": line }),
            lines: vec![line],
            table: None,
        }
    }
}

/// An instant as tables show it.
pub fn instant(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// Where the socket of a ledger stands.
pub fn socket_path(ledger: &Path) -> PathBuf {
    let mut name = ledger.as_os_str().to_owned();
    name.push(".sock");
    PathBuf::from(name)
}

/// A request longer than this is not one of ours.
const LONGEST_LINE: u64 = 64 * 1024;
/// Who connects and says nothing is dropped.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the socket rests when it could not accept.
const AFTER_FAULT: Duration = Duration::from_millis(200);

/// The listening socket; it is removed when this is dropped.
#[derive(Debug)]
pub struct CommandSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl CommandSocket {
    /// Opens the socket of the ledger at `ledger`. The caller holds the ledger's lock, so a socket that is there already
    /// belongs to a process that is gone.
    pub fn open(ledger: &Path) -> io::Result<Self> {
        let path = socket_path(ledger);
        // Bound under another name and renamed once its mode is right, so that nobody connects in between.
        let mut fresh = path.clone().into_os_string();
        fresh.push(".new");
        drop(std::fs::remove_file(&fresh));
        let listener = UnixListener::bind(&fresh)?;
        std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600))?;
        std::fs::rename(&fresh, &path)?;
        Ok(Self { listener, path })
    }

    /// Answers operations until the future is dropped.
    pub async fn serve<F, A>(self, perform: F)
    where
        F: Fn(Operation) -> A + Clone + Send + 'static,
        A: Future<Output = Answer> + Send + 'static,
    {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => {
                    let Ok((stream, _)) = accepted else {
                        // Out of files, most likely: asking again at once would only use up a processor as well.
                        tokio::time::sleep(AFTER_FAULT).await;
                        continue;
                    };
                    let perform = perform.clone();
                    connections.spawn(async move {
                        // A client that hangs up in the middle is no fault of the service.
                        drop(converse(stream, perform).await);
                    });
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

impl Drop for CommandSocket {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.path));
    }
}

async fn converse<F, A>(stream: UnixStream, perform: F) -> io::Result<()>
where
    F: Fn(Operation) -> A,
    A: Future<Output = Answer>,
{
    let (reading, mut writing) = stream.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(reading.take(LONGEST_LINE));
    tokio::time::timeout(PATIENCE, reader.read_line(&mut line))
        .await
        .map_err(io::Error::other)??;
    let answer = match serde_json::from_str::<Operation>(&line) {
        Ok(operation) => perform(operation).await,
        Err(_) => Answer::failed(
            "the running service does not know this command\nhint: is it an older version?",
        ),
    };
    let mut text = serde_json::to_string(&answer).map_err(io::Error::other)?;
    text.push('\n');
    writing.write_all(text.as_bytes()).await
}

/// Asks the process that holds the ledger.
pub async fn ask(ledger: &Path, operation: &Operation) -> io::Result<Answer> {
    let stream = UnixStream::connect(socket_path(ledger)).await?;
    let (reading, mut writing) = stream.into_split();
    let mut text = serde_json::to_string(operation).map_err(io::Error::other)?;
    text.push('\n');
    writing.write_all(text.as_bytes()).await?;
    let mut line = String::new();
    BufReader::new(reading).read_line(&mut line).await?;
    serde_json::from_str(&line).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_operation_gets_its_answer_over_a_private_socket() {
        let folder = tempfile::tempdir().expect("a folder");
        let ledger = folder.path().join("ledger.db");
        let socket = CommandSocket::open(&ledger).expect("a socket");
        let mode = std::fs::metadata(socket_path(&ledger))
            .expect("the socket is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let serving = tokio::spawn(socket.serve(|operation| async move {
            Answer::said(operation.name(), serde_json::json!({}))
        }));
        let operation = Operation::DeliveriesRetry { id: None };
        let answer = ask(&ledger, &operation).await.expect("an answer");
        assert_eq!(answer.lines, ["deliveries retry"]);
        serving.abort();
        assert!(
            serving.await.is_err(),
            "the socket served until it was stopped"
        );
        assert!(
            !socket_path(&ledger).exists(),
            "a stopped service leaves no socket behind"
        );
    }
}
