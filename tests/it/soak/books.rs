//! The ledger's books, read beside the service, whichever engine keeps them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, FromRow, PgConnection,
    SqliteConnection, postgres::PgRow, sqlite::SqliteConnectOptions, sqlite::SqliteRow,
};

use crate::binary::site::Site;

/// Work that is not done, but what an earlier run only asked to be looked at again: a visitor whom the app may know by
/// then, or the second look at a timeline.
const LEFT: &str = "
    SELECT kind || ' ' || key || ': ' || state || ', ' || trigger || ', ' || coalesce(last_error, '') FROM work
    WHERE state = 'dead' OR lease_token IS NOT NULL
       OR (want_gen > done_gen AND NOT (trigger = 'follow_up' AND attempts = 0))
    UNION ALL
    SELECT user_key || ': ' || event || ', ' || state || ', ' || reason FROM outbox
    WHERE state IN ('scheduled', 'due') OR (state = 'sending' AND absent_reads = 0)";

/// A connection that only reads. What it asks is the same text on both engines.
pub(crate) enum Books {
    File(SqliteConnection),
    Server(PgConnection),
}

impl Books {
    pub(crate) async fn open(site: &Site) -> Self {
        match site.ledger_url() {
            Some(url) => Self::server(url).await,
            None => Self::file(&site.path("crisp-sync.db")).await,
        }
    }

    pub(crate) async fn file(path: &Path) -> Self {
        let file = SqliteConnectOptions::new()
            .filename(path)
            .read_only(true)
            .connect()
            .await;
        Self::File(file.expect("the ledger"))
    }

    pub(crate) async fn server(url: &str) -> Self {
        let mut server = PgConnection::connect(url).await.expect("the server");
        server
            .execute("SET search_path = crisp_sync; SET default_transaction_read_only = on")
            .await
            .expect("the ledger");
        Self::Server(server)
    }

    /// What a question comes to.
    pub(crate) async fn ask<T>(&mut self, question: &str) -> Vec<T>
    where
        T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        let question = AssertSqlSafe(question.to_owned());
        match self {
            Self::File(file) => sqlx::query_as(question).fetch_all(file).await,
            Self::Server(server) => sqlx::query_as(question).fetch_all(server).await,
        }
        .expect("readable")
    }

    /// What is left to be done.
    pub(crate) async fn left(&mut self) -> Vec<String> {
        let rows: Vec<(String,)> = self.ask(LEFT).await;
        rows.into_iter().map(|(row,)| row).collect()
    }

    /// User keys of whom an event is on its way, as far as anybody can say, and was not in Crisp yet.
    pub(crate) async fn waiting_for_a_look(&mut self) -> BTreeSet<String> {
        let keys: Vec<(String,)> = self
            .ask("SELECT user_key FROM outbox WHERE state = 'sending' AND absent_reads > 0")
            .await;
        keys.into_iter().map(|(key,)| key).collect()
    }

    /// What became of a user's events.
    pub(crate) async fn events_of(&mut self, user_key: &str) -> Vec<String> {
        let rows: Vec<(String, String)> = self
            .ask("SELECT user_key, event || ', ' || key || ', ' || state || ', ' || reason FROM outbox")
            .await;
        rows.into_iter()
            .filter(|(key, _)| key == user_key)
            .map(|(_, event)| event)
            .collect()
    }

    /// How many deliveries there are, by event and what it is about.
    pub(crate) async fn deliveries(&mut self) -> BTreeMap<(String, String), i64> {
        let rows: Vec<(String, String, i64)> = self
            .ask("SELECT event, coalesce(session, people, '') AS about, count(*) AS n FROM deliveries GROUP BY 1, 2")
            .await;
        rows.into_iter()
            .map(|(event, about, count)| ((event, about), count))
            .collect()
    }
}
