//! How long a server is waited for while its ledger is opened, or one is moved there.
//!
//! Both may take long: for their turn, for a migration, for rows to be counted. So an answer that is late does not say that the
//! server is silent. It is asked on another connection whether it is at work on ours; where nothing is heard there either, or
//! that it is not, the answer is lost.

use std::fmt;

use sqlx::{Connection as _, PgConnection, postgres::PgConnectOptions};
use tokio::time::timeout;

use super::{ACQUIRE, LedgerError, Source, Wire};

/// For one connection.
pub(in super::super) struct Patience {
    wire: Wire,
    pub(super) options: PgConnectOptions,
    /// The server's number for the connection.
    backend: i32,
    what: &'static str,
    server: String,
}

// The options hold the password.
impl fmt::Debug for Patience {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Patience").finish_non_exhaustive()
    }
}

impl Patience {
    /// `what` is tried, on `server`.
    pub(super) fn new(
        (wire, options, backend): (Wire, PgConnectOptions, i32),
        what: &'static str,
        server: &str,
    ) -> Self {
        Self {
            wire,
            options,
            backend,
            what,
            server: server.to_owned(),
        }
    }

    /// Waits for something that may take long, as long as the server is at work on it.
    pub(in super::super) async fn with<T>(
        &self,
        asked: impl Future<Output = Result<T, LedgerError>>,
    ) -> Result<T, LedgerError> {
        let mut asked = Box::pin(asked);
        loop {
            match timeout(self.wire.patience, &mut asked).await {
                Ok(answer) => return answer,
                Err(_late) if Box::pin(self.is_at_work()).await => {}
                Err(late) => return Err(self.silent(Source::new(late))),
            }
        }
    }

    /// Waits for something that takes no time.
    pub(in super::super) async fn shortly<T>(
        &self,
        asked: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        self.wire.answer(asked).await
    }

    /// The same error, with the server in it that did not answer.
    pub(in super::super) fn named(&self, error: LedgerError) -> LedgerError {
        match error {
            LedgerError::NoAnswer { source, .. } => self.silent(source),
            error => error,
        }
    }

    fn silent(&self, source: Source) -> LedgerError {
        LedgerError::Silent {
            what: self.what,
            server: self.server.clone(),
            source,
        }
    }

    /// Whether the server does something on the connection, or did until just now. Some do not tell what a connection does.
    async fn is_at_work(&self) -> bool {
        let looked = async {
            let mut another = PgConnection::connect_with(&self.options).await?;
            let is_at_work: bool = sqlx::query_scalar(
                "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE pid = $1 AND \
                   (coalesce(state, '') NOT LIKE 'idle%' OR state_change > clock_timestamp() - make_interval(secs => $2)))",
            )
            .bind(self.backend)
            .bind(self.wire.patience.as_secs_f64())
            .fetch_one(&mut another)
            .await?;
            another.close().await?;
            Ok::<_, sqlx::Error>(is_at_work)
        };
        match timeout(ACQUIRE, looked).await {
            Ok(Ok(is_at_work)) => is_at_work,
            // It lets nobody else in, or does not tell: it is there.
            Ok(Err(sqlx::Error::Database(_))) => true,
            Ok(Err(_)) | Err(_) => false,
        }
    }
}
