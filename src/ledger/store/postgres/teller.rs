//! Which of the processes is to tell a person that the ledger takes nothing.
//!
//! Nothing can be written down then, so nobody could say that somebody was told. But a server that can be asked knows its
//! sessions, also one that is full, read-only or a standby: whoever holds a lock there, for as long as the fault lasts, tells.

use sqlx::{Connection as _, PgConnection};
use tokio::{sync::Mutex, time::timeout};

use super::{super::super::alerts::Teller, ACQUIRE, Server};

/// "tell" in ASCII: whoever tells a person holds the lock of this number.
const LOCK: i64 = 0x74_65_6c_6c;

/// The connection that holds the lock, while this process is the one to tell. It is none of the pool's: those are not
/// handed out by a server that takes nothing.
#[derive(Debug, Default)]
pub(in super::super) struct Telling(Mutex<Option<PgConnection>>);

impl Telling {
    /// Who is to tell. Whoever was asked and is still connected stays the one.
    pub(in super::super) async fn teller(&self, server: &Server) -> Teller {
        let mut held = self.0.lock().await;
        if let Some(connection) = held.as_mut()
            && matches!(timeout(ACQUIRE, connection.ping()).await, Ok(Ok(())))
        {
            return Teller::This;
        }
        *held = None;
        let options = server.options();
        let asked = async {
            let mut connection = PgConnection::connect_with(&options).await?;
            let is_ours: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
                .bind(LOCK)
                .fetch_one(&mut connection)
                .await?;
            Ok::<_, sqlx::Error>(is_ours.then_some(connection))
        };
        match timeout(ACQUIRE, asked).await {
            Ok(Ok(Some(connection))) => {
                *held = Some(connection);
                Teller::This
            }
            Ok(Ok(None)) => Teller::Another,
            Ok(Err(_)) | Err(_) => Teller::Each,
        }
    }

    /// The fault is over.
    pub(in super::super) async fn done(&self) {
        // The lock ends with the connection.
        *self.0.lock().await = None;
    }
}
