//! A secret is replaced while the service runs: whoever uses files for secrets need not start it again.

use std::{fs, path::Path, time::Duration};

use crisp_sync::sandbox::{
    DEFAULT_TOKEN_IDENTIFIER, DEFAULT_TOKEN_KEY, HookState, OpenChat, TokenSettings,
    WebhookSettings,
};
use serde_json::Value as Json;

use super::{ADA, ada_chats, agent_looks, assert_shows};
use crate::{
    engines::{execute, servers::OwnServer},
    telemetry::lines,
    world::{OTHER_SECRET, SIGNING_SECRET, Setup, World},
};

const NEW_KEY: &str = "a-new-key-that-was-made-just-now";

fn only(key: &str) -> Vec<TokenSettings> {
    vec![TokenSettings {
        key: key.to_owned(),
        ..TokenSettings::default()
    }]
}

#[tokio::test]
async fn a_rotated_token_is_taken_from_its_file_and_ends_the_pause() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("key");
    fs::write(&file, DEFAULT_TOKEN_KEY).expect("written");
    let (mut world, session) = ada_chats(|setup| {
        setup.set("CRISP_TOKEN_KEY", "");
        setup.set("CRISP_TOKEN_KEY_FILE", file.display().to_string());
    })
    .await;
    assert_eq!(
        TokenSettings::default().identifier,
        DEFAULT_TOKEN_IDENTIFIER
    );
    world.change_user("u1", "plan = 'starter'").await;
    world.sandbox.set_tokens(only(NEW_KEY));
    let marker = world.marker();
    agent_looks(&mut world, &session).await;
    world.pass(Duration::from_mins(10)).await;
    assert_eq!(world.calls_since(marker).len(), 1, "nothing until a probe");
    assert_eq!(
        world.service.ledger.pauses().await.expect("readable").len(),
        1
    );
    // An editor empties a file before it writes it.
    fs::write(&file, "").expect("written");
    world.service.look_at_secrets().await.expect("looked at");
    world.settle().await;
    assert_eq!(world.calls_since(marker).len(), 1, "the old one stays");
    fs::write(&file, format!("{NEW_KEY}\n")).expect("written");
    world.service.look_at_secrets().await.expect("looked at");
    assert_eq!(world.service.ledger.pauses().await.expect("readable"), []);
    world.settle().await;
    assert_shows(&world, &session, "starter");
    world.finish().await;
}

#[tokio::test]
async fn a_rotated_signing_secret_is_taken_from_its_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("secrets");
    fs::write(&file, SIGNING_SECRET).expect("written");
    let (mut world, _) = ada_chats(|setup| {
        setup.set("CRISP_SIGNING_SECRETS", "");
        setup.set("CRISP_SIGNING_SECRETS_FILE", file.display().to_string());
    })
    .await;
    let url = world.webhook_url();
    world
        .sandbox
        .set_webhook(Some(WebhookSettings::signed(url, OTHER_SECRET)));
    let session = world.open(OpenChat::by(ADA).proven()).await;
    assert_eq!(world.data(&session, "plan"), "");
    let refused = world.sandbox.look(|state| {
        let hooks = state.hooks().iter();
        hooks.filter(|hook| hook.state == HookState::Failed).count()
    });
    assert!(refused > 0);
    fs::write(&file, format!("{SIGNING_SECRET}\n{OTHER_SECRET}\n")).expect("written");
    world.service.look_at_secrets().await.expect("looked at");
    assert!(world.sandbox.retry_hooks() > 0);
    world.refresh().await;
    assert_eq!(world.data(&session, "plan"), "pro");
    world.finish().await;
}

/// The configuration that is in force names the files; a draft beside it changes nothing.
#[tokio::test]
async fn files_that_say_the_same_end_no_pause() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("key");
    fs::write(&file, DEFAULT_TOKEN_KEY).expect("written");
    let (mut world, session) = ada_chats(|setup| {
        setup.set("CRISP_TOKEN_KEY", "");
        setup.set("CRISP_TOKEN_KEY_FILE", file.display().to_string());
    })
    .await;
    world.sandbox.set_tokens(only(NEW_KEY));
    world.change_user("u1", "plan = 'starter'").await;
    agent_looks(&mut world, &session).await;
    fs::write(&file, format!("{DEFAULT_TOKEN_KEY}\n\n")).expect("written");
    world.service.look_at_secrets().await.expect("looked at");
    assert_eq!(
        world.service.ledger.pauses().await.expect("readable").len(),
        1
    );
    world.sandbox.set_tokens(only(DEFAULT_TOKEN_KEY));
    world.pass(Duration::from_mins(16)).await;
    assert_shows(&world, &session, "starter");
    world.finish().await;
}

/// A complaint about one file does not make that about another new.
#[tokio::test]
async fn each_file_that_cannot_be_used_is_told_of_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let (key, secrets) = (folder.path().join("key"), folder.path().join("secrets"));
    fs::write(&key, DEFAULT_TOKEN_KEY).expect("written");
    fs::write(&secrets, SIGNING_SECRET).expect("written");
    let (world, _) = ada_chats(|setup| {
        setup.set("CRISP_TOKEN_KEY", "");
        setup.set("CRISP_TOKEN_KEY_FILE", key.display().to_string());
        setup.set("CRISP_SIGNING_SECRETS", "");
        setup.set("CRISP_SIGNING_SECRETS_FILE", secrets.display().to_string());
    })
    .await;
    let told = async || {
        for _ in 0..3 {
            world.service.look_at_secrets().await.expect("looked at");
        }
        [&key, &secrets].map(|file| complaints(&file.display().to_string()))
    };
    fs::write(&key, "").expect("written");
    fs::write(&secrets, "").expect("written");
    assert_eq!(told().await, [1, 1]);
    // Gone is another complaint than empty.
    fs::remove_file(&secrets).expect("removed");
    assert_eq!(told().await, [1, 2]);
    // One that was mended and is broken again is told of anew, and the other is not.
    fs::write(&secrets, SIGNING_SECRET).expect("written");
    assert_eq!(told().await, [1, 2]);
    fs::remove_file(&secrets).expect("removed");
    assert_eq!(told().await, [1, 3]);
    world.finish().await;
}

/// A server on which `rotated` has the database `ours`, with the password `hunter2-old`.
async fn server() -> Option<OwnServer> {
    let server = OwnServer::start(&[])?;
    let admin = server.url("postgres", "postgres");
    execute(&admin, "CREATE ROLE rotated LOGIN PASSWORD 'hunter2-old'").await;
    execute(&admin, "CREATE DATABASE ours OWNER rotated").await;
    Some(server)
}

/// As a platform does that rotates passwords: nobody comes in with the old one, nor stays.
async fn rotate(server: &OwnServer) {
    let admin = server.url("postgres", "postgres");
    execute(&admin, "ALTER ROLE rotated PASSWORD 'hunter2-new'").await;
    execute(
        &admin,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'rotated'",
    )
    .await;
}

/// What was said of a file that cannot be used, about this setting.
fn complaints(about: &str) -> usize {
    let said = lines().into_iter().filter(|line| {
        line["event"] == "secret.unusable"
            && line["reason"]
                .as_str()
                .is_some_and(|reason| reason.contains(about))
    });
    said.count()
}

fn told_anywhere(secret: &str) -> bool {
    lines().iter().any(|line| line.to_string().contains(secret))
}

#[tokio::test]
async fn a_rotated_password_of_the_ledgers_server_is_taken_from_its_file() {
    let Some(server) = server().await else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ledger-url");
    fs::write(&file, server.url("rotated:hunter2-old", "ours")).expect("written");
    let (mut world, session) = ada_chats(|setup| {
        setup.set("CRISP_SYNC_LEDGER", "");
        setup.set("CRISP_SYNC_LEDGER_FILE", file.display().to_string());
    })
    .await;
    world.change_user("u1", "plan = 'starter'").await;
    rotate(&server).await;
    world.sandbox.operator_opens(&session).expect("there");
    world.hooks_arrive().await;
    let error = world.service.worker.step().await;
    error.expect_err("nobody comes in with the old password");
    // Whoever writes another database into the file gets the ledger of another one only by a restart.
    fs::write(&file, server.url("rotated:hunter2-new", "postgres")).expect("written");
    world.service.look_at_secrets().await.expect("looked at");
    world.service.look_at_secrets().await.expect("looked at");
    assert_eq!(complaints("`ledger.url` names another database"), 1);
    assert!(world.service.worker.step().await.is_err());
    fs::write(&file, server.url("rotated:hunter2-new", "ours")).expect("written");
    world.service.look_at_secrets().await.expect("looked at");
    assert!(world.sandbox.retry_hooks() > 0);
    world.refresh().await;
    world.pass(Duration::from_mins(2)).await;
    assert_shows(&world, &session, "starter");
    let told = lines();
    let mut told = told.iter().filter(|line| line["event"] == "secret.renewed");
    assert!(told.any(|line| line["secret"] == "ledger.url"));
    assert!(!told_anywhere("hunter2"));
    world.finish().await;
}

/// A world whose app keeps its users there. The file holds the URL.
async fn world_of(server: &OwnServer, file: &Path, change: impl FnOnce(&mut Setup)) -> World {
    execute(
        &server.url("postgres", "ours"),
        "CREATE TABLE users AS SELECT 'u1' AS id, 'ada@northwind.example' AS email, 'Ada Osei' AS name, \
           'Northwind' AS tenant, 'pro' AS plan, 'active' AS status, NULL::timestamptz AS onboarded_at; \
         GRANT SELECT ON users TO rotated",
    )
    .await;
    fs::write(file, server.url("rotated:hunter2-old", "ours")).expect("written");
    World::with(|setup| {
        setup.replace(
            "trial_ends_at, onboarded_at, subscribed_at, canceled_at, marketing_opt_in",
            "onboarded_at",
        );
        setup.replace(
            "WHERE email = :email COLLATE NOCASE AND deleted_at IS NULL\n  ORDER BY created_at",
            "WHERE lower(email) = :email",
        );
        setup.replace("WHERE id = :key AND deleted_at IS NULL", "WHERE id = :key");
        setup.set("DATABASE_URL", "");
        setup.set("DATABASE_URL_FILE", file.display().to_string());
        change(setup);
    })
    .await
}

#[tokio::test]
async fn a_rotated_password_of_the_apps_database_is_taken_from_its_file() {
    let Some(server) = server().await else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("database-url");
    let mut world = world_of(&server, &file, |_| {}).await;
    let session = world.open(OpenChat::by(ADA).proven()).await;
    world.pass(Duration::from_mins(2)).await;
    assert_eq!(world.data(&session, "plan"), "pro");
    rotate(&server).await;
    let change = "UPDATE users SET plan = 'starter'";
    execute(&server.url("postgres", "ours"), change).await;
    agent_looks(&mut world, &session).await;
    world.pass(Duration::from_mins(10)).await;
    assert_eq!(world.data(&session, "plan"), "pro", "what was known stays");
    fs::write(&file, server.url("rotated:hunter2-new", "ours")).expect("written");
    world.service.look_at_secrets().await.expect("looked at");
    world.pass(Duration::from_mins(10)).await;
    assert_shows(&world, &session, "starter");
    world.finish().await;
}

/// The same URL is one pool: what one of its files says alone is not what the others connect as.
#[tokio::test]
async fn a_secret_of_a_shared_pool_that_is_rotated_alone_is_not_taken() {
    let Some(server) = server().await else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let [main, further] = ["database-url", "billing-url"].map(|name| folder.path().join(name));
    fs::write(&further, server.url("rotated:hunter2-old", "ours")).expect("written");
    let mut world = world_of(&server, &main, |setup| {
        setup.add("[users.more.billing]\nquery = \"SELECT current_user AS asked WHERE :id <> ''\"");
        setup.set("DATABASE_URL_BILLING_FILE", further.display().to_string());
    })
    .await;
    let session = world.open(OpenChat::by(ADA).proven()).await;
    world.pass(Duration::from_mins(2)).await;
    assert_eq!(world.data(&session, "plan"), "pro");
    let admin = server.url("postgres", "ours");
    execute(&admin, "CREATE ROLE other LOGIN PASSWORD 'hunter2-other'").await;
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename IN ('rotated', 'other')";
    let other = server.url("other:hunter2-other", "ours");
    // This one may not read the users.
    fs::write(&further, &other).expect("written");
    world.service.look_at_secrets().await.expect("looked at");
    execute(&admin, cut).await;
    execute(&admin, "UPDATE users SET plan = 'starter'").await;
    agent_looks(&mut world, &session).await;
    world.pass(Duration::from_mins(10)).await;
    assert_shows(&world, &session, "starter");
    assert_eq!(
        complaints("`users.more.billing.url` shares its connections"),
        1
    );
    // Both together are.
    execute(
        &admin,
        "GRANT SELECT ON users TO other; ALTER ROLE rotated NOLOGIN",
    )
    .await;
    fs::write(&main, &other).expect("written");
    world.service.look_at_secrets().await.expect("looked at");
    execute(&admin, cut).await;
    execute(&admin, "UPDATE users SET plan = 'team'").await;
    agent_looks(&mut world, &session).await;
    world.pass(Duration::from_mins(10)).await;
    assert_shows(&world, &session, "team");
    for setting in ["users.url", "users.more.billing.url"] {
        let renewed = |line: &Json| line["event"] == "secret.renewed" && line["secret"] == setting;
        assert!(lines().iter().any(renewed), "{setting}");
    }
    assert!(!told_anywhere("hunter2"));
    world.finish().await;
}
