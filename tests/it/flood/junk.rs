//! Junk: it costs a look at its head, and reaches neither the ledger nor the reading of the body.

use std::time::Duration;

use crisp_sync::crisp::signature::sign;

use super::wire::{SESSION, Wire, exchange, genuine, head, opened, webhooks, work_off};
use crate::{
    telemetry::lines,
    world::{OTHER_SECRET, World},
};

/// Well-formed headers of a signature that no secret of ours made.
fn forged(body: &[u8]) -> String {
    let signature = sign(OTHER_SECRET, "1772442000000", body);
    format!(
        "POST /webhooks/crisp HTTP/1.1\r\nhost: x\r\nx-crisp-request-timestamp: 1772442000000\r\nx-crisp-signature: {signature}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
}

/// The ledger is shut: whatever asks it fails. Junk does not notice; what is genuine does.
#[tokio::test]
async fn junk_reaches_neither_the_ledger_nor_the_parser() {
    let mut world = World::start().await;
    world.service.ledger.close().await.expect("it closes");
    let nul = opened(SESSION, 0).replace("opened", "\0\0\0");
    let genuine_text = opened(SESSION, 0);
    let deep = vec![b'['; 100_000];
    let bodies: [&[u8]; 6] = [
        b"",
        b"\0\0\0\0",
        b"\xff\xfe\x00{",
        &deep,
        nul.as_bytes(),
        genuine_text.as_bytes(),
    ];
    for body in bodies {
        let request = [forged(body).as_bytes(), body].concat();
        let answer = exchange(&world, request).await.expect("an answer");
        assert_eq!(answer.status, 403, "{}", answer.head);
    }
    assert_eq!(webhooks(&world, "refused", "plugin"), 6);
    assert_eq!(
        webhooks(&world, "malformed", "plugin"),
        0,
        "nothing was read"
    );
    let answer = exchange(&world, genuine(&world, "not json"))
        .await
        .expect("an answer");
    assert_eq!(answer.status, 400, "genuine: it is read");
    let answer = exchange(&world, genuine(&world, &opened(SESSION, 0)))
        .await
        .expect("an answer");
    assert_eq!(answer.status, 503, "genuine: the ledger is asked");
    world.restart(|_| {}).await;
    world.finish().await;
}

/// Not a byte of these bodies is sent, and the answer comes all the same.
#[tokio::test]
async fn what_the_head_shows_is_refused_before_the_body_is_read() {
    let world = World::with(|setup| {
        setup.set(
            "CRISP_WEBSITE_KEYS",
            format!("{}=k1", crisp_sync::sandbox::DEFAULT_WEBSITE),
        );
    })
    .await;
    let route = "POST /webhooks/crisp HTTP/1.1\r\nhost: x\r\n";
    let stamp = "x-crisp-request-timestamp: 1772442000000\r\n";
    let sign = format!("x-crisp-signature: {}\r\n", "0".repeat(64));
    let long = "content-length: 900000\r\n\r\n";
    let table = [
        ("no signature", format!("{route}{stamp}{long}"), 403),
        ("no timestamp", format!("{route}{sign}{long}"), 403),
        (
            "no hex",
            format!("{route}{stamp}x-crisp-signature: zz\r\n{long}"),
            403,
        ),
        (
            "no number",
            format!("{route}x-crisp-request-timestamp: now\r\n{sign}{long}"),
            403,
        ),
        (
            "a wrong key",
            format!("POST /webhooks/crisp?key=k2 HTTP/1.1\r\nhost: x\r\n{long}"),
            403,
        ),
        (
            "compressed",
            format!("{route}{stamp}{sign}content-encoding: gzip\r\n{long}"),
            415,
        ),
        (
            "too long",
            format!("{route}{stamp}{sign}content-length: 1048577\r\n\r\n"),
            413,
        ),
        (
            "far too long",
            format!("{route}{stamp}{sign}content-length: 18446744073709551615\r\n\r\n"),
            413,
        ),
        (
            "another path",
            format!("POST /x HTTP/1.1\r\nhost: x\r\n{long}"),
            404,
        ),
        (
            "another method",
            format!("PUT /webhooks/crisp HTTP/1.1\r\nhost: x\r\n{long}"),
            405,
        ),
    ];
    for (what, request, status) in table {
        let mut wire = Wire::open(&world).await;
        wire.send(request).await;
        let answer = wire.answer().await.expect(what);
        assert_eq!(answer.status, status, "{what}");
        assert!(answer.closes(), "{what}: {}", answer.head);
        assert_eq!(
            wire.rest().await,
            b"",
            "{what}: the connection ends with it"
        );
    }
    world.finish().await;
}

/// A bomb is bytes like others: nothing here can unpack it, and a genuine sender does not pack.
#[tokio::test]
async fn a_compressed_body_is_refused_and_never_unpacked() {
    let world = World::start().await;
    let gzip = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xed\xc1\x01\x0d\x00\x00";
    for encoding in [
        "gzip",
        "br",
        "deflate",
        "zstd",
        "identity, gzip",
        "GZIP",
        "x",
    ] {
        let headers = format!(
            "content-length: {}\r\ncontent-encoding: {encoding}\r\n",
            gzip.len()
        );
        let request = [head(&world, gzip, &headers).as_bytes(), gzip].concat();
        let answer = exchange(&world, request).await.expect("an answer");
        assert_eq!(answer.status, 415, "{encoding}");
    }
    assert_eq!(webhooks(&world, "encoded", "none"), 7);
    let plain = format!("content-length: {}\r\n", gzip.len());
    let request = [head(&world, gzip, &plain).as_bytes(), gzip].concat();
    let answer = exchange(&world, request).await.expect("an answer");
    assert_eq!(
        answer.status, 400,
        "unsaid, it is signed bytes that are no envelope"
    );
    let body = opened(SESSION, 0);
    let headers = format!(
        "content-length: {}\r\ncontent-encoding: identity\r\n",
        body.len()
    );
    let answer = exchange(&world, head(&world, body.as_bytes(), &headers) + &body).await;
    assert_eq!(answer.expect("an answer").status, 200);
    work_off(world).await;
}

/// Where a proxy in front could read another request than we do, nobody reads one.
#[tokio::test]
async fn a_request_that_can_be_read_in_two_ways_is_refused() {
    let world = World::start().await;
    let body = opened(SESSION, 0);
    let length = body.len();
    let chunks = format!("{length:x}\r\n{body}\r\n0\r\n\r\n");
    let framings = [
        format!("content-length: {length}\r\ncontent-length: {length}\r\n"),
        format!("content-length: {length}\r\ncontent-length: 0\r\n"),
        format!("content-length: +{length}\r\n"),
        format!("content-length: {length}, {length}\r\n"),
        format!("content-length : {length}\r\n"),
        "content-length: -1\r\n".to_owned(),
        format!("content-length: {length}\r\ntransfer-encoding: chunked\r\n"),
        "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n".to_owned(),
        "transfer-encoding: gzip, chunked\r\n".to_owned(),
        "transfer-encoding: xchunked\r\n".to_owned(),
        format!("host: y\r\ncontent-length: {length}\r\n"),
        format!("x-odd: a\0b\r\ncontent-length: {length}\r\n"),
        format!("x-odd: a\rb\r\ncontent-length: {length}\r\n"),
        format!(" x-folded: a\r\ncontent-length: {length}\r\n"),
    ];
    for framing in framings {
        let content = if framing.contains("chunked") {
            &chunks
        } else {
            &body
        };
        let mut wire = Wire::open(&world).await;
        wire.send(head(&world, body.as_bytes(), &framing) + content)
            .await;
        let answer = wire.answer().await.expect("an answer");
        assert_eq!(answer.status, 400, "{framing:?}");
        wire.rest().await;
    }
    assert_eq!(webhooks(&world, "accepted", "plugin"), 0);
    let chunked = head(&world, body.as_bytes(), "transfer-encoding: chunked\r\n") + &chunks;
    let answer = exchange(&world, chunked).await.expect("an answer");
    assert_eq!(answer.status, 200, "the same, framed in one way");
    work_off(world).await;
}

/// Its sender need not even read the answers: what is written for it stays little.
#[tokio::test]
async fn pipelined_junk_ends_with_its_first_request() {
    let world = World::start().await;
    for junk in [
        "POST /webhooks/crisp HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}",
        "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: x\r\n\r\n",
    ] {
        let mut wire = Wire::open(&world).await;
        wire.send(junk.repeat(20_000)).await;
        let answers = String::from_utf8_lossy(&wire.rest().await).into_owned();
        assert!(answers.matches("HTTP/1.1 ").count() <= 1, "{answers}");
    }
    assert_eq!(webhooks(&world, "refused", "none"), 1);
    // What is genuine may share a connection.
    let mut wire = Wire::open(&world).await;
    let request = genuine(&world, &opened(SESSION, 0));
    wire.send(request.repeat(3)).await;
    for _ in 0..3 {
        let answer = wire.answer().await.expect("an answer");
        assert_eq!(answer.status, 200);
        assert!(!answer.closes());
        let mut body = [0; "accepted".len()];
        wire.body(&mut body).await;
    }
    work_off(world).await;
}

#[tokio::test]
async fn huge_heads_are_refused() {
    let world = World::start().await;
    let endless = format!(
        "POST /webhooks/crisp HTTP/1.1\r\nhost: x\r\nx-long: {}",
        "a".repeat(300_000)
    );
    let many = format!(
        "POST /webhooks/crisp HTTP/1.1\r\nhost: x\r\n{}\r\n",
        "x-many: a\r\n".repeat(200)
    );
    let path = format!("POST /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(300_000));
    for request in [endless, many, path] {
        let mut wire = Wire::open(&world).await;
        wire.send(request).await;
        let answer = wire.answer().await.expect("an answer");
        assert!((400..500).contains(&answer.status), "{}", answer.head);
        wire.rest().await;
    }
    world.finish().await;
}

#[tokio::test]
async fn bytes_that_are_no_request_end_the_connection() {
    let world = World::start().await;
    let noise: Vec<u8> = (0..4_096_u32)
        .map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect();
    for bytes in [
        &[0; 1_000][..],
        &noise,
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"SSH-2.0-x\r\n\r\n",
    ] {
        let mut wire = Wire::open(&world).await;
        wire.send(bytes).await;
        wire.finish().await;
        wire.rest().await;
    }
    let junk = head(&world, b"", "transfer-encoding: chunked\r\n");
    for chunk in [
        "zz\r\n",
        "ffffffffffffffffff\r\n",
        "-1\r\n",
        "5;\0\r\nabcde",
        "5\r\nabcdeXX",
    ] {
        let mut wire = Wire::open(&world).await;
        wire.send(format!("{junk}{chunk}")).await;
        wire.finish().await;
        wire.rest().await;
    }
    assert_eq!(webhooks(&world, "accepted", "plugin"), 0);
    world.finish().await;
}

/// One attempt number marks the lines of this test among those of all others.
#[tokio::test]
async fn junk_does_not_fill_the_log() {
    const MARK: u64 = 77_123;
    let world = World::start().await;
    let request = format!(
        "POST /webhooks/crisp HTTP/1.1\r\nhost: x\r\nx-delivery-attempt-count: {MARK}\r\ncontent-length: 0\r\n\r\n"
    );
    for _ in 0..250 {
        exchange(&world, &request).await.expect("an answer");
    }
    let written = || {
        let of_ours = |line: &&serde_json::Value| {
            line["event"] == "delivery.refused" && line["attempt"] == MARK
        };
        lines().iter().filter(of_ours).count()
    };
    assert_eq!(written(), 10);
    assert_eq!(
        webhooks(&world, "refused", "none"),
        250,
        "the metric is exact"
    );
    world.clock.advance(Duration::from_mins(1));
    exchange(&world, &request).await.expect("an answer");
    assert_eq!(written(), 11, "a new minute");
    let told = lines().iter().any(|line| {
        line["event"] == "log.lines_left_out"
            && line["kind"] == "refused"
            && line["left_out"] == 240
    });
    assert!(told, "the log says what it left out");
    world.finish().await;
}
