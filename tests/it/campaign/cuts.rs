//! A server that cuts connections, and one that is away. All of it is said in another database of the same server: nobody
//! gets into one that is away.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::engines::execute;

/// Cuts each connection to the database by the throw of a coin; the result is how many.
pub(super) async fn half(url: &str) -> i64 {
    let (elsewhere, name) = elsewhere(url);
    let mut connection = PgConnection::connect(&elsewhere).await.expect("the server");
    let statement = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{name}' AND random() < 0.5"
    );
    let cut: i64 = sqlx::query_scalar(AssertSqlSafe(statement))
        .fetch_one(&mut connection)
        .await
        .expect("an answer");
    connection.close().await.expect("a clean end");
    cut
}

/// The server goes away, as far as this database is concerned: every connection is cut, and none is let in.
pub(super) async fn go_away(url: &str) {
    let (elsewhere, name) = elsewhere(url);
    let statement = format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false");
    execute(&elsewhere, &statement).await;
    let statement =
        format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
    execute(&elsewhere, &statement).await;
}

/// It lets everybody in again.
pub(super) async fn come_back(url: &str) {
    let (elsewhere, name) = elsewhere(url);
    let statement = format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true");
    execute(&elsewhere, &statement).await;
}

/// The server's own database, and the name of ours.
fn elsewhere(url: &str) -> (String, String) {
    let mut url = url::Url::parse(url).expect("a URL");
    let name = url.path().trim_start_matches('/').to_owned();
    url.set_path("postgres");
    (url.into(), name)
}
