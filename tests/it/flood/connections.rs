//! Slow senders, idle ones, and more connections than there may be.

use super::wire::{SESSION, Wire, exchange, genuine, head, opened, webhooks, work_off};
use crate::world::World;

async fn impatient() -> World {
    World::with(|setup| {
        setup.replace("workers = 1", "workers = 1\nrequest_timeout = \"300ms\"");
    })
    .await
}

#[tokio::test]
async fn a_head_that_never_ends_is_not_waited_for() {
    let world = impatient().await;
    for begun in [
        "",
        "P",
        "POST /webhooks/crisp HTTP/1.1\r\nhost: x\r\nx-slow: ",
    ] {
        let mut wire = Wire::open(&world).await;
        wire.send(begun).await;
        wire.rest().await;
    }
    assert_eq!(
        webhooks(&world, "incomplete", "none"),
        0,
        "no request was made"
    );
    world.finish().await;
}

#[tokio::test]
async fn a_body_that_never_ends_is_not_waited_for() {
    let world = impatient().await;
    let body = opened(SESSION, 0);
    for framing in ["content-length: 100\r\n", "transfer-encoding: chunked\r\n"] {
        let mut wire = Wire::open(&world).await;
        wire.send(head(&world, body.as_bytes(), framing) + "5\r\n{\"hal")
            .await;
        let answer = wire.answer().await.expect("an answer");
        assert_eq!(answer.status, 408, "{framing}");
        wire.rest().await;
    }
    assert_eq!(webhooks(&world, "incomplete", "none"), 2);
    world.finish().await;
}

/// The body has no end, and its sender was told all there is to say.
#[tokio::test]
async fn a_refused_body_of_unknown_length_is_not_read_on() {
    let world = World::start().await;
    for head in [
        "POST /webhooks/crisp HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n",
        "POST /elsewhere HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n",
        "PUT /webhooks/crisp HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n",
        "GET /readyz HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n",
    ] {
        let mut wire = Wire::open(&world).await;
        wire.send(format!("{head}5\r\nhello\r\n")).await;
        let answer = wire.answer().await.expect("an answer");
        assert!(answer.closes(), "{}", answer.head);
        wire.rest().await;
    }
    world.finish().await;
}

/// Whoever asked nothing genuine has no claim to the connection.
#[tokio::test]
async fn only_a_genuine_request_keeps_its_connection() {
    let world = World::start().await;
    for (request, keeps) in [
        (genuine(&world, &opened(SESSION, 0)), true),
        ("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), false),
        ("GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), false),
        ("GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), false),
        (
            "GET /webhooks/crisp HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(),
            false,
        ),
        (
            "POST /webhooks/crisp HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(),
            false,
        ),
    ] {
        let answer = exchange(&world, &request).await.expect("an answer");
        assert_eq!(answer.closes(), !keeps, "{request}");
    }
    work_off(world).await;
}

/// They wait for a place, and places come free: whoever says nothing is not listened to for long.
#[tokio::test]
async fn more_idle_connections_than_places_do_not_keep_a_webhook_out() {
    let world = World::with(|setup| {
        setup.replace(
            "workers = 1",
            "workers = 1\nmax_connections = 4\nrequest_timeout = \"1s\"",
        );
    })
    .await;
    let mut idle = Vec::new();
    for _ in 0..8 {
        idle.push(Wire::open(&world).await);
    }
    let answer = exchange(&world, genuine(&world, &opened(SESSION, 0))).await;
    assert_eq!(answer.expect("an answer").status, 200);
    for mut wire in idle {
        wire.rest().await;
    }
    work_off(world).await;
}

/// As many as there are places are served, and no more, until one of them has ended.
#[tokio::test]
async fn no_more_connections_are_taken_in_than_there_are_places() {
    let world = World::with(|setup| {
        setup.replace("workers = 1", "workers = 1\nmax_connections = 1");
    })
    .await;
    let genuine = genuine(&world, &opened(SESSION, 0));
    let mut first = Wire::open(&world).await;
    first.send(&genuine).await;
    assert_eq!(first.answer().await.expect("an answer").status, 200);
    let mut second = Wire::open(&world).await;
    second.send(&genuine).await;
    // The first one keeps its place: it is served meanwhile, the second is not.
    let mut outcome = [0; "accepted".len()];
    for _ in 0..20 {
        first.body(&mut outcome).await;
        first.send(&genuine).await;
        assert_eq!(first.answer().await.expect("an answer").status, 200);
    }
    assert_eq!(webhooks(&world, "accepted", "plugin"), 21);
    drop(first);
    assert_eq!(second.answer().await.expect("an answer").status, 200);
    work_off(world).await;
}
