//! A secret is replaced while the service runs: whoever uses files for secrets need not start it again.

use std::{fs, time::Duration};

use crisp_sync::sandbox::{
    DEFAULT_TOKEN_IDENTIFIER, DEFAULT_TOKEN_KEY, HookState, OpenChat, TokenSettings,
    WebhookSettings,
};

use super::{ADA, ada_chats, agent_looks, assert_shows};
use crate::world::{OTHER_SECRET, SIGNING_SECRET};

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
