//! The app's database on a server that is stopped for hours, and started again.

use std::time::Duration;

use crisp_sync::ledger::WorkKind;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, MySqlConnection};

use super::{ada_chats, agent_looks, assert_shows, hours};
use crate::engines::{
    execute,
    servers::{OwnServer, Server},
};

const TABLE: &str = "CREATE TABLE users (
    id VARCHAR(40) PRIMARY KEY, email VARCHAR(200) NOT NULL, name VARCHAR(200), tenant VARCHAR(200), plan VARCHAR(40),
    status VARCHAR(40), trial_ends_at TIMESTAMP NULL, onboarded_at TIMESTAMP NULL, subscribed_at TIMESTAMP NULL,
    canceled_at TIMESTAMP NULL, marketing_opt_in BOOLEAN, created_at TIMESTAMP NULL, deleted_at TIMESTAMP NULL)";
const ADA: &str = "INSERT INTO users (id, email, name, tenant, plan, status)
    VALUES ('u1', 'ada@northwind.example', 'Ada Osei', 'Northwind', 'pro', 'active')";

async fn on(url: &str, statement: &str) {
    if url.starts_with("postgres:") {
        return execute(url, statement).await;
    }
    let mut connection = MySqlConnection::connect(url).await.expect("MariaDB");
    connection
        .execute(AssertSqlSafe(statement.to_owned()))
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
}

/// Three hours without the server: what was known stays and is marked, nothing is buried, and Crisp is not asked.
async fn told(kind: Server) {
    let Some(mut server) = OwnServer::start_of(kind, &[]) else {
        return;
    };
    let url = server.app_url();
    on(&url, TABLE).await;
    on(&url, ADA).await;
    let (mut world, session) = ada_chats(|setup| {
        setup.impatient();
        setup.replace("acquire_timeout = \"20s\"", "acquire_timeout = \"1s\"");
        setup.replace(
            "WHERE email = :email COLLATE NOCASE",
            "WHERE lower(email) = :email",
        );
        setup.set("DATABASE_URL", &url);
    })
    .await;
    on(&url, "UPDATE users SET plan = 'starter'").await;
    server.stop();
    let marker = world.marker();
    agent_looks(&mut world, &session).await;
    hours(&mut world, 3).await;
    assert_eq!(world.data(&session, "plan"), "pro", "what was known stays");
    assert_eq!(world.data(&session, "context_state"), "stale");
    let row = world.work(WorkKind::Conversation, &session).await;
    assert!(row.is_some_and(|row| row.is_pending()), "it waits");
    let calls = world.calls_since(marker);
    assert!(
        calls.len() <= 4,
        "a mark, and the reads around it: {calls:?}"
    );
    let gauge = "crisp_sync_breaker{name=\"users\"}";
    assert!(world.metric(gauge) > 0);
    server.start_again();
    world.pass(Duration::from_mins(12)).await;
    assert_shows(&world, &session, "starter");
    assert_eq!(world.metric(gauge), 0);
    world.finish().await;
}

#[tokio::test]
async fn hours_without_a_postgresql_server_bury_nothing() {
    told(Server::Postgres).await;
}

#[tokio::test]
async fn hours_without_a_mariadb_server_bury_nothing() {
    told(Server::MySql).await;
}
