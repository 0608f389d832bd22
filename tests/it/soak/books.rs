//! The ledger's books, read beside the service.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{ConnectOptions as _, Row as _, SqliteConnection, sqlite::SqliteConnectOptions};

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

/// A connection that only reads.
pub(crate) struct Books(SqliteConnection);

impl Books {
    pub(crate) async fn open(site: &Site) -> Self {
        let opened = SqliteConnectOptions::new()
            .filename(site.path("crisp-sync.db"))
            .read_only(true)
            .connect()
            .await;
        Self(opened.expect("the ledger"))
    }

    /// What is left to be done.
    pub(crate) async fn left(&mut self) -> Vec<String> {
        sqlx::query_scalar(LEFT)
            .fetch_all(&mut self.0)
            .await
            .expect("readable")
    }

    /// User keys of whom an event is on its way, as far as anybody can say, and was not in Crisp yet.
    pub(crate) async fn waiting_for_a_look(&mut self) -> BTreeSet<String> {
        let keys: Vec<String> = sqlx::query_scalar(
            "SELECT user_key FROM outbox WHERE state = 'sending' AND absent_reads > 0",
        )
        .fetch_all(&mut self.0)
        .await
        .expect("readable");
        keys.into_iter().collect()
    }

    /// What became of a user's events.
    pub(crate) async fn events_of(&mut self, user_key: &str) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT event || ', ' || key || ', ' || state || ', ' || reason FROM outbox WHERE user_key = ?1",
        )
        .bind(user_key.to_owned())
        .fetch_all(&mut self.0)
        .await
        .expect("readable")
    }

    /// How many deliveries there are, by event and what it is about.
    pub(crate) async fn deliveries(&mut self) -> BTreeMap<(String, String), i64> {
        let rows = sqlx::query(
            "SELECT event, coalesce(session, people, '') AS about, count(*) AS n FROM deliveries GROUP BY 1, 2",
        )
        .fetch_all(&mut self.0)
        .await
        .expect("readable");
        rows.iter()
            .map(|row| ((row.get("event"), row.get("about")), row.get("n")))
            .collect()
    }
}
