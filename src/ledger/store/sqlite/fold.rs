//! Folds the write-ahead log into the file beside the writer.
//!
//! The writer does it too, in a commit, whenever the log is long; whoever waits for that commit would wait until the disk has
//! taken thousands of pages, each at a place of its own. So another connection does most of it while commits go on. Only the
//! writer can begin the log anew, and finds little left to do.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::sync::Mutex;

use super::{LedgerSettings, options};

/// So many deliveries are folded at a time. Each is a page or two.
const DELIVERIES: usize = 2000;

/// The connection that folds.
#[derive(Debug)]
pub(in super::super) struct Folding {
    options: SqliteConnectOptions,
    connection: Mutex<State>,
    /// Deliveries since it was last begun.
    deliveries: AtomicUsize,
}

#[derive(Debug)]
enum State {
    /// Most processes never have much to fold.
    NotNeededYet,
    Open(SqliteConnection),
    Closed,
}

impl Folding {
    pub(super) fn new(path: &Path, settings: &LedgerSettings) -> Arc<Self> {
        Arc::new(Self {
            options: options(path, settings.busy_timeout),
            connection: Mutex::new(State::NotNeededYet),
            deliveries: AtomicUsize::new(0),
        })
    }

    /// Counts what was committed, and folds when it is much.
    pub(in super::super) fn count(self: &Arc<Self>, deliveries: usize) {
        let waiting = self.deliveries.fetch_add(deliveries, Ordering::Relaxed) + deliveries;
        if waiting >= DELIVERIES {
            self.deliveries.store(0, Ordering::Relaxed);
            let folding = Arc::clone(self);
            tokio::spawn(async move { folding.fold().await });
        }
    }

    async fn fold(&self) {
        // Held while somebody folds already.
        let Ok(mut state) = self.connection.try_lock() else {
            return;
        };
        if matches!(*state, State::NotNeededYet)
            && let Ok(connection) = SqliteConnection::connect_with(&self.options).await
        {
            *state = State::Open(connection);
        }
        if let State::Open(connection) = &mut *state {
            // What fails here the writer meets too, and tells.
            let _again_later = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)")
                .execute(connection)
                .await;
        }
    }

    /// Lets go of the file. Nothing is folded any more.
    pub(in super::super) async fn close(&self) {
        let state = std::mem::replace(&mut *self.connection.lock().await, State::Closed);
        if let State::Open(connection) = state {
            // It had nothing of its own to write.
            drop(connection.close().await);
        }
    }
}
