//! Processes wake one another: whoever took work rings, and those who work listen.
//!
//! What is not heard costs nothing but seconds, because everybody looks by themselves now and then. So nobody waits for a
//! bell: it is rung after the commit, on a connection of its own, and a listener that was cut looks at once and listens anew.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::{sync::Notify, task::AbortHandle, time};

use super::{ACQUIRE, Server};

/// Of this database alone.
const CHANNEL: &str = "crisp_sync_work";
/// In a flood it is rung this often: to be woken costs the others a look.
const BETWEEN: Duration = Duration::from_millis(100);
/// A connection that was silent for so long may be dead without anybody having said so.
const TRUSTED: Duration = Duration::from_mins(5);
/// A server that does not let us listen is not asked at once again.
const AFTER_FAULT: Duration = Duration::from_secs(5);

/// The bell of a process that shares a ledger.
#[derive(Debug)]
pub(in super::super) struct Bell {
    server: Server,
    /// Who rings, so that nobody wakes themselves.
    name: String,
    rung: Arc<Notify>,
    ringing: AbortHandle,
    listening: OnceLock<AbortHandle>,
}

impl Bell {
    pub(in super::super) fn hang(server: &Server) -> Self {
        let (name, rung) = (uuid::Uuid::new_v4().to_string(), Arc::new(Notify::new()));
        let ringing = {
            let (server, name, rung) = (server.clone(), name.clone(), Arc::clone(&rung));
            tokio::spawn(async move {
                loop {
                    rung.notified().await;
                    ring(&server, &name).await;
                    time::sleep(BETWEEN).await;
                }
            })
        };
        Self {
            server: server.clone(),
            name,
            rung,
            ringing: ringing.abort_handle(),
            listening: OnceLock::new(),
        }
    }

    /// Rings soon: once for all that comes until then.
    pub(in super::super) fn ring_soon(&self) {
        self.rung.notify_one();
    }

    /// Rings now: for a process that may end at once.
    pub(in super::super) async fn ring(&self) {
        ring(&self.server, &self.name).await;
    }

    /// Has the bells of the others wake this process from now on.
    pub(in super::super) fn listen(&self, wake: &Arc<Notify>) {
        self.listening.get_or_init(|| {
            let (server, name, wake) = (self.server.clone(), self.name.clone(), Arc::clone(wake));
            let listening = tokio::spawn(async move {
                loop {
                    // It ends with an error, or when it was silent for too long.
                    let _ended = heard(&server, &name, &wake).await;
                    time::sleep(AFTER_FAULT).await;
                }
            });
            listening.abort_handle()
        });
    }

    /// Neither rings nor listens any more.
    pub(in super::super) fn still(&self) {
        self.ringing.abort();
        if let Some(listening) = self.listening.get() {
            listening.abort();
        }
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        self.still();
    }
}

async fn ring(server: &Server, name: &str) {
    // Those who did not hear it look by themselves.
    let Ok(mut connection) = server.lend().await else {
        return;
    };
    let rung = sqlx::query("SELECT pg_notify($1, $2)")
        .bind(CHANNEL)
        .bind(name);
    drop(connection.execute(rung).await);
}

/// Listens on a connection of its own, and wakes this process for every bell of another.
async fn heard(server: &Server, name: &str, wake: &Notify) -> Result<(), sqlx::Error> {
    let options = server.options().as_ref().clone();
    let own = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ACQUIRE)
        .connect_lazy_with(options);
    let mut listener = PgListener::connect_with(&own).await?;
    time::timeout(ACQUIRE, listener.listen(CHANNEL))
        .await
        .unwrap_or_else(|late| Err(sqlx::Error::Io(late.into())))?;
    // What was rung before nobody heard.
    wake.notify_one();
    while let Ok(bell) = time::timeout(TRUSTED, listener.try_recv()).await {
        // None: the connection was cut, and there is another one.
        if bell?.is_none_or(|bell| bell.payload() != name) {
            wake.notify_one();
        }
    }
    Ok(())
}
