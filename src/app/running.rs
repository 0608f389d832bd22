//! The service while it runs, and how it ends.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Stopped;
use crate::{
    ledger::{Ledger, LedgerError},
    server::Server,
    telemetry::events,
};

/// The running service.
#[derive(Debug)]
pub struct Running {
    /// The listeners.
    pub server: Server,
    pub(super) stop: CancellationToken,
    pub(super) worker: JoinHandle<()>,
    pub(super) watch: JoinHandle<()>,
    pub(super) socket: JoinHandle<()>,
    pub(super) secrets: JoinHandle<()>,
    pub(super) ledger: Ledger,
}

impl Running {
    /// Stops accepting, finishes what is in hand, and closes the ledger. What is not finished by the deadline is dropped:
    /// its lease expires, and the next process takes it up.
    pub async fn stop(self, deadline: Duration) -> Stopped {
        let Self {
            mut server,
            stop,
            mut worker,
            watch,
            socket,
            secrets,
            ledger,
        } = self;
        secrets.abort();
        let orderly = async {
            stop.cancel();
            // Side by side: a client that is slow to send its request must not use up the worker's time. A worker that
            // panicked has nothing left to finish.
            let ((), _ended) = tokio::join!(server.drain(), &mut worker);
            server.close().await;
        };
        let stopped = if tokio::time::timeout(deadline, orderly).await.is_ok() {
            Stopped::InOrder
        } else {
            Stopped::AtDeadline
        };
        worker.abort();
        // Nobody waits for it, and it holds nothing.
        watch.abort();
        socket.abort();
        drop(socket.await);
        if let Err(error) = ledger.close().await {
            let hint = match error {
                LedgerError::Replaced { .. } => {
                    "remove `-wal` and `-shm` beside the file that lies there now: they belong to the one that was taken away"
                }
                _ => {
                    "leave its file and what lies beside it (`-wal`) where they are: the next start takes them up"
                }
            };
            tracing::warn!(
                event = events::LEDGER_UNCLEAN,
                %error,
                hint,
                "the ledger did not close cleanly"
            );
        }
        stopped
    }

    /// Ends when a part of the service ended without being asked to, and says which: the process must end with failure,
    /// because what is left would look alive and do half of the job.
    pub async fn crashed(&mut self) -> &'static str {
        tokio::select! {
            _ = &mut self.worker => "worker",
            _ = &mut self.socket => "command socket",
            _ = &mut self.secrets => "watch over the secrets",
            () = self.ledger.stops_accepting() => "ledger's writer",
            () = self.server.ended() => "listener",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        app::Service,
        clock::Clock,
        config::{Config, environment::Environment},
    };

    async fn running(folder: &std::path::Path) -> Running {
        let environment: Environment = [
            ("CRISP_TOKEN_IDENTIFIER", "id".to_owned()),
            ("CRISP_TOKEN_KEY", "key".to_owned()),
            ("CRISP_SIGNING_SECRETS", "secret".to_owned()),
            ("CRISP_SYNC_LISTEN", "127.0.0.1:0".to_owned()),
            ("CRISP_SYNC_OPS_LISTEN", "127.0.0.1:0".to_owned()),
            (
                "DATABASE_URL",
                format!("sqlite://{}", folder.join("app.db").display()),
            ),
            (
                "CRISP_SYNC_LEDGER",
                folder.join("ledger.db").display().to_string(),
            ),
        ]
        .into_iter()
        .collect();
        let text = "[users]\nkey = \"id\"\nquery = \"SELECT id, email FROM users WHERE lower(email) = :email\"\n";
        let config = Config::from_text("crisp-sync.toml", text, &environment)
            .expect("the configuration is read");
        let service = Box::pin(Service::build(config, Clock::System))
            .await
            .expect("the service is built");
        service.start().await.expect("the service starts")
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_part_that_ends_by_itself_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut service = running(folder.path()).await;
        service.worker.abort();
        assert_eq!(service.crashed().await, "worker");
        drop(service);

        let folder = tempfile::tempdir().expect("a folder");
        let mut service = running(folder.path()).await;
        service.socket.abort();
        assert_eq!(service.crashed().await, "command socket");
        drop(service);

        let folder = tempfile::tempdir().expect("a folder");
        let mut service = running(folder.path()).await;
        service.ledger.close().await.expect("it closes");
        assert_eq!(service.crashed().await, "ledger's writer");
    }
}
