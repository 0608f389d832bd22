//! `/v1` on the ops listener: who may, what is taken, what is answered.

use crisp_sync::{ledger::WorkKind, sandbox::OpenChat};
use reqwest::{Method, StatusCode};
use serde_json::{Value as Json, json};

use super::{ADA, assert_forgotten, chats, lookups};
use crate::world::{Setup, World, also_on_postgres};

also_on_postgres! {
    the_app_erases_a_person,
    the_app_says_that_somebody_changed,
}

const READ: &str = "may-only-look-1";
const ACT: &str = "may-also-act-22";

fn tokens(setup: &mut Setup) {
    setup.set("CRISP_SYNC_OPS_READ_TOKEN", READ);
    setup.set("CRISP_SYNC_OPS_ACT_TOKEN", ACT);
}

async fn ask(
    world: &World,
    method: Method,
    path: &str,
    token: Option<&str>,
    body: &str,
) -> (StatusCode, Json) {
    let mut request = World::http()
        .request(method, world.ops_url(path))
        .body(body.to_owned());
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let answer = request.send().await.expect("an answer");
    let status = answer.status();
    let text = answer.text().await.expect("a body");
    assert!(!text.contains(".example"), "{text}");
    (status, serde_json::from_str(&text).unwrap_or(Json::Null))
}

async fn post(world: &World, path: &str, body: &Json) -> (StatusCode, Json) {
    ask(world, Method::POST, path, Some(ACT), &body.to_string()).await
}

#[tokio::test]
async fn acting_takes_the_token_that_may_act() {
    let (world, _, _) = chats(tokens).await;
    let body = json!({ "email": ADA }).to_string();
    for path in ["/v1/erase", "/v1/nudge"] {
        for (token, expected) in [
            (None, StatusCode::UNAUTHORIZED),
            (Some("another"), StatusCode::UNAUTHORIZED),
            (Some(""), StatusCode::UNAUTHORIZED),
            (Some(READ), StatusCode::FORBIDDEN),
        ] {
            let (status, answer) = ask(&world, Method::POST, path, token, &body).await;
            assert_eq!(status, expected, "{path} with {token:?}");
            assert!(answer["error"].is_string(), "{answer}");
        }
    }
    for token in [READ, ACT] {
        let (status, _) = ask(&world, Method::GET, "/v1/erase/er_none", Some(token), "").await;
        assert_eq!(status, StatusCode::NOT_FOUND, "looking takes either");
        let (status, _) = ask(&world, Method::GET, "/status", Some(token), "").await;
        assert_eq!(status, StatusCode::OK);
    }
    let (status, _) = ask(&world, Method::GET, "/v1/erase/er_none", None, "").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(
        world
            .service
            .ledger
            .receipts()
            .await
            .expect("readable")
            .is_empty()
    );
    world.finish().await;
}

/// From this machine one may look without a token. A page in somebody's browser comes from this machine, too.
#[tokio::test]
async fn without_a_token_nobody_acts_not_even_from_here() {
    let (mut world, _, _) = chats(|_| {}).await;
    let body = json!({ "email": ADA }).to_string();
    for token in [None, Some("anything")] {
        for path in ["/v1/erase", "/v1/nudge"] {
            let (status, answer) = ask(&world, Method::POST, path, token, &body).await;
            assert_eq!(status, StatusCode::FORBIDDEN);
            let hint = answer["hint"].as_str().expect("a hint");
            assert!(hint.contains("CRISP_SYNC_OPS_ACT_TOKEN"), "{hint}");
        }
    }
    let (status, _) = ask(&world, Method::GET, "/status", None, "").await;
    assert_eq!(status, StatusCode::OK);
    // A token that may only look changes nothing about it.
    world
        .restart(|setup| setup.set("CRISP_SYNC_OPS_READ_TOKEN", READ))
        .await;
    let (status, _) = ask(&world, Method::POST, "/v1/erase", Some(READ), &body).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(
        world
            .service
            .ledger
            .receipts()
            .await
            .expect("readable")
            .is_empty()
    );
    world.settle().await;
    world.finish().await;
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_a_reason() {
    let (world, _, _) = chats(tokens).await;
    let long = format!("{{\"email\": \"{}\"}}", "a".repeat(5000));
    let website = world.website.as_str();
    for (path, body, expected) in [
        ("/v1/erase", "", StatusCode::BAD_REQUEST),
        ("/v1/erase", "email=x", StatusCode::BAD_REQUEST),
        ("/v1/erase", "[]", StatusCode::BAD_REQUEST),
        (
            "/v1/erase",
            r#"{"mail": "a@b.example"}"#,
            StatusCode::BAD_REQUEST,
        ),
        ("/v1/erase", "{}", StatusCode::UNPROCESSABLE_ENTITY),
        (
            "/v1/erase",
            r#"{"email": "nobody"}"#,
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (
            "/v1/erase",
            r#"{"email": "a@b.example", "user_key": "1"}"#,
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (
            "/v1/erase",
            r#"{"user_key": "u1", "website_id": "another"}"#,
            StatusCode::NOT_FOUND,
        ),
        (
            "/v1/erase",
            r#"{"session_id": "session_1"}"#,
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        ("/v1/erase", &long, StatusCode::PAYLOAD_TOO_LARGE),
        ("/v1/nudge", "{}", StatusCode::UNPROCESSABLE_ENTITY),
        (
            "/v1/nudge",
            r#"{"email": "nobody"}"#,
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (
            "/v1/nudge",
            r#"{"email": "stranger@nowhere.example"}"#,
            StatusCode::NOT_FOUND,
        ),
        ("/v1/nudge", r#"{"user_key": "u77"}"#, StatusCode::NOT_FOUND),
        (
            "/v1/nudge",
            r#"{"user_key": "u1", "website_id": "no/website"}"#,
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (
            "/v1/nudge",
            r#"{"user_key": "u1", "website_id": "another"}"#,
            StatusCode::NOT_FOUND,
        ),
        ("/v1/nudge", &long, StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        let (status, answer) = ask(&world, Method::POST, path, Some(ACT), body).await;
        assert_eq!(status, expected, "{path} {body}: {answer}");
        assert!(answer["error"].is_string(), "{path} {body}: {answer}");
    }
    let (status, _) = ask(&world, Method::GET, "/v1/nudge", Some(ACT), "").await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    let (status, _) = ask(&world, Method::POST, "/v1/other", Some(ACT), "{}").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(!website.is_empty());
    world.finish().await;
}

#[tokio::test]
async fn the_app_erases_a_person() {
    let (mut world, ada, _) = chats(tokens).await;
    let (status, answer) = post(&world, "/v1/erase", &json!({ "email": ADA })).await;
    assert_eq!(
        status,
        StatusCode::ACCEPTED,
        "Crisp is cleared by the worker: {answer}"
    );
    assert_eq!(answer["done"], false);
    let receipt = answer["receipt"].as_str().expect("an id");
    super::assert_unknown(&world, &ada).await;
    world.settle().await;
    world.pass(std::time::Duration::from_mins(3)).await;
    let path = format!("/v1/erase/{receipt}");
    let (status, answer) = ask(&world, Method::GET, &path, Some(READ), "").await;
    assert_eq!(
        (status, &answer["done"]),
        (StatusCode::OK, &json!(true)),
        "{answer}"
    );
    assert!(answer["out_of_reach"].as_array().expect("a list").len() > 3);
    assert_forgotten(&world, &ada).await;
    for whom in [json!({ "email": ADA }), json!({ "user_key": "u1" })] {
        let (status, answer) = post(&world, "/v1/nudge", &whom).await;
        assert_eq!(status, StatusCode::GONE, "{answer}");
    }
    world.finish().await;
}

#[tokio::test]
async fn the_app_says_that_somebody_changed() {
    let (mut world, ada, _) = chats(|setup| {
        tokens(setup);
        // Fresh for long, in the ledger and in the cache: a nudge looks all the same.
        setup.replace("found = \"0s\"", "found = \"1h\"");
        setup.add("[triggers]\nfresh_for = \"1h\"");
    })
    .await;
    let second = world.open(OpenChat::by(ADA).proven()).await;
    world.settle().await;
    for (whom, plan) in [
        (json!({ "email": ADA.to_uppercase() }), "team"),
        (json!({ "user_key": "u1" }), "starter"),
        (
            json!({ "user_key": "u1", "website_id": world.website.as_str() }),
            "pro",
        ),
    ] {
        world.change_user("u1", &format!("plan = '{plan}'")).await;
        let (status, answer) = post(&world, "/v1/nudge", &whom).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
        let enqueued = answer["enqueued"].as_array().expect("a list");
        assert_eq!(enqueued.len(), 3, "{answer}");
        // Asked twice, it is one run.
        let before = world.work(WorkKind::Person, "u1").await.expect("it");
        post(&world, "/v1/nudge", &whom).await;
        let after = world.work(WorkKind::Person, "u1").await.expect("it");
        assert_eq!(before, after);
        world.settle().await;
        for session in [&ada, &second] {
            assert_eq!(world.data(session, "plan"), plan, "{whom}");
        }
        assert_eq!(world.contact_data(ADA, "plan"), plan);
    }
    world.change_user("u1", "plan = 'team'").await;
    let (status, answer) = post(&world, "/v1/nudge", &json!({ "session_id": ada })).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    assert_eq!(answer["enqueued"][0]["what"], "conversation");
    assert!(lookups(&world) > 0);
    world.settle().await;
    world.finish().await;
}

#[tokio::test]
async fn too_many_are_told_to_come_later() {
    let (world, _, _) = chats(tokens).await;
    let mut refused = None;
    for _ in 0..=60 {
        let (status, answer) = post(&world, "/v1/erase", &json!({})).await;
        if status == StatusCode::TOO_MANY_REQUESTS {
            refused = Some(answer);
        }
    }
    assert!(refused.is_some());
    world.clock.advance(std::time::Duration::from_mins(1));
    let (status, _) = post(&world, "/v1/erase", &json!({})).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    world.finish().await;
}
