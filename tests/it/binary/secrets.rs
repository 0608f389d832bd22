//! A secret is replaced while `serve` runs.

use std::fs;

use crisp_sync::sandbox::{DEFAULT_TOKEN_KEY, TokenSettings};

use super::site::{Site, set_email};

#[tokio::test(flavor = "multi_thread")]
async fn a_new_token_is_taken_from_its_file_without_a_restart() {
    const NEW_KEY: &str = "a-new-key-that-was-made-just-now";
    let mut site = Site::new().await;
    let file = site.path("token-key");
    fs::write(&file, DEFAULT_TOKEN_KEY).expect("written");
    site.set("CRISP_TOKEN_KEY", None);
    site.set("CRISP_TOKEN_KEY_FILE", Some(&file.display().to_string()));
    let mut serving = site.serve().await;
    site.sandbox.set_tokens(vec![TokenSettings {
        key: NEW_KEY.to_owned(),
        ..TokenSettings::default()
    }]);
    let session = site.chat("ada@example.org");
    let posted = serving.post(&set_email(&session, "ada@example.org"));
    assert_eq!(posted.expect("an answer"), 200);
    let paused = serving.wait_event("crisp.paused").await;
    assert_eq!(paused["reason"], "unauthorized");
    // As a platform replaces a secret: another file in its place.
    let new = site.path("token-key.new");
    fs::write(&new, NEW_KEY).expect("written");
    fs::rename(&new, &file).expect("moved");
    let renewed = serving.wait_event("secret.renewed").await;
    assert_eq!(renewed["secret"], "token");
    site.wait_refreshed(&session).await;
}
