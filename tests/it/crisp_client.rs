//! The client for Crisp's API, against a server of our own.

use std::{
    error::Error,
    io::Write,
    sync::{Arc, Mutex},
    time::Duration,
};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, http::StatusCode, web};
use crisp_sync::{
    crisp::{
        client::{
            ApiToken, Client, ClientError, ClientSettings, Meter, PersonRef, RequestStamp, Tier,
            USER_AGENT,
        },
        error::{CrispError, Verdict},
        model::{MetasPatch, NewPeopleEvent, NewProfile, ProfilePatch},
    },
    data::DataMap,
    ids::{Email, PeopleId, SessionId, WebsiteId},
    telemetry::Metrics,
};
use serde_json::{Map, Value as Json, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use url::Url;

const ADDRESS: &str = "ada+x@example.org";
const KEY: &str = "a-very-secret-key";

/// What the server was asked.
#[derive(Debug, Clone)]
struct Asked {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Asked {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(held, _)| held == name)
            .map(|(_, value)| value.as_str())
    }
}

/// What the server answers, always.
#[derive(Clone, Default)]
struct Script {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Script {
    fn json(status: u16, body: &Json) -> Self {
        Self::text(status, &body.to_string())
    }

    fn text(status: u16, body: &str) -> Self {
        Self {
            status,
            headers: vec![("Request-Id", "0f2d-req".to_owned())],
            body: body.as_bytes().to_vec(),
        }
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

fn ok(data: &Json) -> Script {
    Script::json(
        200,
        &json!({"error": false, "reason": "resolved", "data": data}),
    )
}

fn refused(status: u16, reason: &str) -> Script {
    Script::json(
        status,
        &json!({"error": true, "reason": reason, "data": {}}),
    )
}

/// A stand-in that gives one answer and remembers the questions.
struct Server {
    base: Url,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    fn start(script: Script) -> Self {
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let memory = asked.clone();
        let server = HttpServer::new(move || {
            let (script, memory) = (script.clone(), memory.clone());
            App::new().default_service(web::to(move |request: HttpRequest, body: web::Bytes| {
                let (script, memory) = (script.clone(), memory.clone());
                async move {
                    memory.lock().expect("no test panicked").push(Asked {
                        method: request.method().to_string(),
                        target: request.uri().to_string(),
                        headers: request
                            .headers()
                            .iter()
                            .map(|(name, value)| {
                                (name.to_string(), value.to_str().unwrap_or("?").to_owned())
                            })
                            .collect(),
                        body: String::from_utf8_lossy(&body).into_owned(),
                    });
                    let status = StatusCode::from_u16(script.status).expect("a status");
                    let mut answer = HttpResponse::build(status);
                    for (name, value) in &script.headers {
                        answer.insert_header((*name, value.as_str()));
                    }
                    answer.body(script.body)
                }
            }))
        })
        .workers(1)
        .disable_signals()
        .bind(("127.0.0.1", 0))
        .expect("a free port");
        let port = server.addrs()[0].port();
        tokio::spawn(server.run());
        Self {
            base: base(port),
            asked,
        }
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no test panicked").clone()
    }

    fn client(&self) -> Client {
        client(&self.base)
    }
}

fn base(port: u16) -> Url {
    Url::parse(&format!("http://127.0.0.1:{port}/v1/")).expect("a URL")
}

fn settings(base: &Url) -> ClientSettings {
    ClientSettings::new(
        base.clone(),
        ApiToken {
            identifier: "an-identifier".to_owned(),
            key: KEY.into(),
            tier: Tier::Plugin,
        },
    )
}

fn client(base: &Url) -> Client {
    Client::new(&settings(base), Metrics::default()).expect("a client")
}

fn website() -> WebsiteId {
    WebsiteId::parse("w-1").expect("an id")
}

fn session() -> SessionId {
    SessionId::parse("session_1").expect("an id")
}

fn ada() -> PersonRef {
    PersonRef::Email(Email::parse(ADDRESS).expect("an address"))
}

fn event() -> NewPeopleEvent {
    NewPeopleEvent {
        text: "user:signup".to_owned(),
        data: DataMap::from([("plan".to_owned(), "pro".into())]),
        color: None,
    }
}

#[tokio::test]
async fn a_request_says_who_we_are() {
    let server = Server::start(ok(&json!({})));
    let meter = Meter::new();
    let patch = MetasPatch {
        segments: Some(vec!["trial".to_owned()]),
        ..MetasPatch::default()
    };
    server
        .client()
        .update_metas(&meter, &website(), &session(), &patch)
        .await
        .expect("an answer");
    let asked = server.asked();
    let [asked] = asked.as_slice() else {
        panic!("{asked:?}");
    };
    assert_eq!(
        (
            asked.method.as_str(),
            asked.target.as_str(),
            asked.body.as_str()
        ),
        (
            "PATCH",
            "/v1/website/w-1/conversation/session_1/meta",
            r#"{"segments":["trial"]}"#
        )
    );
    // base64("an-identifier:a-very-secret-key")
    assert_eq!(
        asked.header("authorization"),
        Some("Basic YW4taWRlbnRpZmllcjphLXZlcnktc2VjcmV0LWtleQ==")
    );
    assert_eq!(asked.header("x-crisp-tier"), Some("plugin"));
    assert_eq!(asked.header("user-agent"), Some(USER_AGENT));
    assert_eq!(asked.header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn a_call_for_a_claim_says_which() {
    let server = Server::start(ok(&json!({"data": {}})));
    let (client, meter) = (server.client(), Meter::new());
    let stamped = client.stamped(RequestStamp {
        generation: 12,
        attempt: 3,
    });
    let data = Map::new();
    for client in [&client, &stamped] {
        client
            .people_data(&meter, &website(), &ada())
            .await
            .expect("a read");
        client
            .update_people_data(&meter, &website(), &ada(), &data)
            .await
            .expect("a write");
    }
    let asked = server.asked();
    let said: Vec<_> = asked
        .iter()
        .map(|asked| asked.header("x-request-id"))
        .collect();
    assert_eq!(said, [None, None, Some("12.3"), Some("12.3")]);
}

#[tokio::test]
async fn every_call_takes_its_route_and_is_counted() {
    let server = Server::start(ok(&json!({"people_id": "p-1", "data": {"plan": "pro"}})));
    let metrics = Metrics::default();
    let client = Client::new(&settings(&server.base), metrics.clone()).expect("a client");
    let (meter, website, session) = (Meter::new(), website(), session());
    let id = PersonRef::Id(PeopleId::parse("p-1").expect("an id"));
    let data = Map::from_iter([("plan".to_owned(), json!("pro"))]);
    let new = NewProfile::new(Email::parse(ADDRESS).expect("an address"), None);

    client.probe(&meter, &website).await.expect("probe");
    client.website(&meter, &website).await.expect("website");
    client
        .conversation(&meter, &website, &session)
        .await
        .expect("conversation");
    client
        .profile(&meter, &website, &ada())
        .await
        .expect("profile");
    let made = client
        .create_profile(&meter, &website, &new)
        .await
        .expect("create");
    assert_eq!(made.as_str(), "p-1");
    let patch = ProfilePatch::default();
    client
        .update_profile(&meter, &website, &id, &patch)
        .await
        .expect("update");
    let held = client
        .people_data(&meter, &website, &ada())
        .await
        .expect("data");
    assert_eq!(Json::Object(held), json!({"plan": "pro"}));
    client
        .update_people_data(&meter, &website, &ada(), &data)
        .await
        .expect("update data");
    client
        .add_people_event(&meter, &website, &ada(), &event())
        .await
        .expect("event");

    let asked: Vec<_> = server
        .asked()
        .into_iter()
        .map(|asked| format!("{} {} {}", asked.method, asked.target, asked.body))
        .collect();
    assert_eq!(
        asked,
        [
            "HEAD /v1/plugin/connect/session ",
            "GET /v1/website/w-1 ",
            "GET /v1/website/w-1/conversation/session_1 ",
            "GET /v1/website/w-1/people/profile/ada+x@example.org ",
            r#"POST /v1/website/w-1/people/profile {"email":"ada+x@example.org","person":{"nickname":"ada+x"}}"#,
            "PATCH /v1/website/w-1/people/profile/p-1 {}",
            "GET /v1/website/w-1/people/data/ada+x@example.org ",
            r#"PATCH /v1/website/w-1/people/data/ada+x@example.org {"data":{"plan":"pro"}}"#,
            r#"POST /v1/website/w-1/people/events/ada+x@example.org {"text":"user:signup","data":{"plan":"pro"}}"#,
        ]
    );
    assert_eq!(meter.count(), asked.len());
    let calls = meter.calls();
    assert_eq!(
        calls.iter().map(|call| call.purpose).collect::<Vec<_>>(),
        [
            "probe",
            "read_website",
            "read_conversation",
            "read_contact",
            "create_contact",
            "update_contact",
            "read_contact_data",
            "update_contact_data",
            "add_event",
        ]
    );
    assert_eq!(
        calls[3].route,
        "website/{website_id}/people/profile/{people_id}"
    );
    assert_eq!((calls[3].method, calls[3].status), ("GET", Some(200)));
    let counted = metrics.render();
    assert!(
        counted.contains(r#"crisp_sync_crisp_calls_total{purpose="add_event",answer="2xx"} 1"#),
        "{counted}"
    );
}

#[tokio::test]
async fn lists_are_paged_and_a_cached_timeline_says_so() {
    let entries = json!([
        {"text": "user:signup", "data": null, "color": null, "timestamp": 1_763_700_012_345_i64},
        {"text": 7},
    ]);
    let server = Server::start(ok(&entries).with("Bloom-Status", "HIT"));
    let timeline = server
        .client()
        .people_events(&Meter::new(), &website(), &ada(), 2)
        .await
        .expect("a timeline");
    assert!(timeline.cached);
    assert_eq!(timeline.events.len(), 2);
    assert_eq!(timeline.events[0].timestamp, Some(1_763_700_012_345));
    assert_eq!(
        server.asked()[0].target,
        "/v1/website/w-1/people/events/ada+x@example.org/list/2"
    );

    let server = Server::start(ok(&json!([{"session_id": "session_1"}, {"meta": null}])));
    let list = server
        .client()
        .conversations(&Meter::new(), &website(), 1)
        .await
        .expect("a list");
    assert_eq!(list[0].session_id, Some(session()));
    assert_eq!(
        server.asked()[0].target,
        "/v1/website/w-1/conversations/1?per_page=50&order_date_updated=1"
    );

    for (status, cached) in [("MISS", false), ("DIRECT", false), ("OFFLINE", true)] {
        let server = Server::start(ok(&json!([])).with("Bloom-Status", status));
        let timeline = server
            .client()
            .people_events(&Meter::new(), &website(), &ada(), 1)
            .await
            .expect("a timeline");
        assert_eq!(timeline.cached, cached, "{status}");
    }
}

#[tokio::test]
async fn another_token_takes_effect_on_every_clone() {
    let server = Server::start(ok(&json!({})));
    let token = ApiToken {
        identifier: "i".to_owned(),
        key: "k".into(),
        tier: Tier::Website,
    };
    let client = server.client();
    let clone = client.clone();
    client.renew(&token);
    clone
        .probe(&Meter::new(), &website())
        .await
        .expect("an answer");
    let asked = &server.asked()[0];
    assert_eq!(asked.header("authorization"), Some("Basic aTpr"));
    assert_eq!(asked.header("x-crisp-tier"), Some("website"));
    assert_eq!(
        (asked.method.as_str(), asked.target.as_str()),
        ("GET", "/v1/website/w-1")
    );
}

/// The answer (status, then Crisp's reason in its envelope or another body in quotes); its code when a contact's event was
/// to be added; its code when a conversation was to be read; for the event, what to do next and whether it is ambiguous.
const REFUSALS: &str = r#"
404 people_not_found              | people_not_found | people_not_found       | gone                         | no
404 not_subscribed                | not_subscribed   | not_subscribed         | pause website not_subscribed | no
404 conversation_not_found        | not_found        | conversation_not_found | retry                        | yes
404 route_not_found               | not_found        | not_found              | retry                        | yes
404 "<html>not here</html>"       | not_found        | not_found              | retry                        | yes
404 "{"error":"people_not_found"}"| not_found        | not_found              | retry                        | yes
405 method_not_allowed            | not_found        | not_found              | retry                        | yes
401 invalid_session               | unauthorized     | unauthorized           | pause token unauthorized     | no
401 ""                            | unauthorized     | unauthorized           | pause token unauthorized     | no
403 restricted_route_tier         | unauthorized     | unauthorized           | pause token unauthorized     | no
403 not_allowed                   | forbidden        | forbidden              | pause kind forbidden         | no
403 "<html>blocked</html>"        | unreadable       | unreadable             | retry                        | yes
402 upgrade_required              | plan_required    | plan_required          | pause kind plan_required     | no
409 people_exists                 | conflict         | conflict               | retry                        | no
400 invalid_data                  | invalid          | invalid                | invalid                      | no
400 "<html>bad request</html>"    | unreadable       | unreadable             | retry                        | yes
420 ""                            | throttled        | throttled              | pause token throttled        | no
423 "<html>quota</html>"          | throttled        | throttled              | pause token throttled        | no
429 rate_limited                  | throttled        | throttled              | pause token throttled        | no
500 "<html>oops</html>"           | server           | server                 | retry                        | yes
503 unavailable                   | server           | server                 | retry                        | yes
301 ""                            | redirected       | redirected             | retry                        | yes
200 "<html>log in first</html>"   | unreadable       | unreadable             | retry                        | yes
200 "{"error":false,"reason":"r"  | unreadable       | unreadable             | retry                        | yes
200 failed_all_the_same           | unreadable       | unreadable             | retry                        | yes
"#;

fn in_words(verdict: Verdict) -> String {
    match verdict {
        Verdict::Retry { .. } => "retry".to_owned(),
        Verdict::PauseToken { reason, .. } => format!("pause token {reason}"),
        Verdict::PauseWebsite { reason } => format!("pause website {reason}"),
        Verdict::PauseKind { reason } => format!("pause kind {reason}"),
        Verdict::Gone => "gone".to_owned(),
        Verdict::Invalid => "invalid".to_owned(),
    }
}

#[tokio::test]
async fn refusals_are_told_apart() {
    for row in REFUSALS.trim().lines() {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let [answer, for_event, for_conversation, verdict, ambiguous] = cells[..] else {
            panic!("{row}");
        };
        let (status, reason) = answer.split_once(' ').expect(row);
        let status = status.parse().expect(row);
        let server = Server::start(match reason.strip_prefix('"') {
            Some(body) => Script::text(status, body.strip_suffix('"').unwrap_or(body)),
            None => refused(status, reason),
        });
        let (client, meter) = (server.client(), Meter::new());
        let error = client
            .add_people_event(&meter, &website(), &ada(), &event())
            .await
            .expect_err(row);
        assert_eq!(error.code(), for_event, "{row}");
        assert_eq!(in_words(error.verdict()), verdict, "{row}");
        assert_eq!(error.is_ambiguous(), ambiguous == "yes", "{row}");
        let error = client
            .conversation(&meter, &website(), &session())
            .await
            .expect_err(row);
        assert_eq!(error.code(), for_conversation, "{row}");
        // One call is one request, whatever the answer.
        assert_eq!((meter.count(), server.asked().len()), (2, 2), "{row}");
    }
}

#[tokio::test]
async fn a_missing_scope_is_named_per_route() {
    let server = Server::start(refused(403, "not_allowed"));
    let (client, meter) = (server.client(), Meter::new());
    let error = client
        .add_people_event(&meter, &website(), &ada(), &event())
        .await
        .expect_err("refused");
    assert!(matches!(
        error,
        CrispError::Forbidden {
            scope: "website:people:events write"
        }
    ));
    let error = client
        .conversation(&meter, &website(), &session())
        .await
        .expect_err("refused");
    assert!(
        error
            .to_string()
            .contains("website:conversation:sessions read"),
        "{error}"
    );
    assert!(
        error
            .hint()
            .is_some_and(|hint| hint.contains("Marketplace"))
    );
}

#[tokio::test]
async fn how_long_to_wait_is_read_and_capped() {
    const SENT: &str = "Sat, 21 Nov 2026 09:30:00 GMT";
    for (retry_after, date, expected) in [
        ("30", SENT, Some(30)),
        (" 7 ", SENT, Some(7)),
        ("0", SENT, Some(0)),
        ("999999", SENT, Some(3_600)),
        ("Sat, 21 Nov 2026 09:31:30 GMT", SENT, Some(90)),
        ("Sat, 21 Nov 2026 08:00:00 GMT", SENT, Some(0)),
        ("Sat, 21 Nov 2099 08:00:00 GMT", SENT, Some(3_600)),
        ("Sat, 21 Nov 2026 09:31:30 GMT", "whenever", None),
        ("soon", SENT, None),
        ("-5", SENT, None),
        ("99999999999999999999999", SENT, None),
    ] {
        for status in [429, 503] {
            let server = Server::start(
                Script::text(status, "")
                    .with("Retry-After", retry_after)
                    .with("Date", date),
            );
            let error = server
                .client()
                .website(&Meter::new(), &website())
                .await
                .expect_err("refused");
            let (Verdict::PauseToken { after, .. } | Verdict::Retry { after }) = error.verdict()
            else {
                panic!("{error:?}");
            };
            assert_eq!(after, expected.map(Duration::from_secs), "{retry_after}");
        }
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Server::start(ok(&json!({})));
    let server = Server::start(Script::text(302, "").with("Location", elsewhere.base.as_str()));
    let error = server
        .client()
        .website(&Meter::new(), &website())
        .await
        .expect_err("a redirect");
    assert!(error.to_string().contains("redirect"), "{error}");
    assert!(elsewhere.asked().is_empty());
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let mut long = br#"{"error":false,"reason":""#.to_vec();
    long.resize(1024 * 1024 + 1, b'x');
    let server = Server::start(Script {
        status: 200,
        headers: vec![],
        body: long,
    });
    let error = server
        .client()
        .website(&Meter::new(), &website())
        .await
        .expect_err("too long");
    assert!(error.to_string().contains("1 MiB"), "{error}");
}

/// A server that reads one request, writes these bytes and closes; with none, it keeps the connection and says nothing.
async fn raw_server(answer: Option<&'static [u8]>) -> Url {
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .await
        .expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        let mut silent = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut request = vec![0; 16_384];
            let read = stream.read(&mut request).await.expect("a request");
            assert!(read > 0);
            match answer {
                Some(answer) => {
                    stream.write_all(answer).await.expect("a reader");
                    stream.shutdown().await.expect("a reader");
                }
                None => silent.push(stream),
            }
        }
    });
    base(port)
}

#[tokio::test]
async fn no_complete_answer_is_ambiguous() {
    for answer in [
        None,
        Some(&b""[..]),
        Some(b"HTTP/1.1 200 OK\r\nContent-Le"),
        Some(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"error\":false"),
        Some(b"HTTP/1.1 404 Not Found\r\nContent-Length: 100\r\n\r\n{\"error\":true"),
        Some(b"not http at all\r\n\r\n"),
    ] {
        let mut settings = settings(&raw_server(answer).await);
        settings.timeout = Duration::from_millis(200);
        let metrics = Metrics::default();
        let client = Client::new(&settings, metrics.clone()).expect("a client");
        let meter = Meter::new();
        let error = client
            .add_people_event(&meter, &website(), &ada(), &event())
            .await
            .expect_err("no answer");
        assert!(matches!(error, CrispError::NoAnswer { .. }), "{error:?}");
        assert!(error.is_ambiguous());
        assert_eq!(error.verdict(), Verdict::Retry { after: None });
        assert_eq!(meter.count(), 1);
        let counted = metrics.render();
        assert!(counted.contains(r#"answer="no_answer"} 1"#), "{counted}");
    }
}

#[tokio::test]
async fn a_refused_connection_was_never_sent() {
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .await
        .expect("a free port");
    let closed = base(listener.local_addr().expect("an address").port());
    drop(listener);
    let meter = Meter::new();
    let error = client(&closed)
        .add_people_event(&meter, &website(), &ada(), &event())
        .await
        .expect_err("nobody listens");
    assert!(matches!(error, CrispError::NotSent { .. }), "{error:?}");
    assert!(!error.is_ambiguous());
    assert_eq!(meter.calls()[0].status, None);
}

#[tokio::test]
async fn a_server_that_cannot_prove_itself_gets_nothing() {
    let server = Server::start(ok(&json!({})));
    let mut https = server.base.clone();
    https.set_scheme("https").expect("a web scheme");
    match Client::new(&settings(&https), Metrics::default()) {
        Ok(client) => {
            let error = client
                .add_people_event(&Meter::new(), &website(), &ada(), &event())
                .await
                .expect_err("no handshake");
            assert!(matches!(error, CrispError::NotSent { .. }), "{error:?}");
        }
        // A machine without authorities is told before anything is sent.
        Err(error) => assert!(matches!(error, ClientError::NoAuthorities), "{error:?}"),
    }
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn calls_go_through_a_proxy_only_if_one_is_set() {
    let proxy = Server::start(ok(&json!({})));
    let mut settings = settings(&base(1));
    let mut through = proxy.base.clone();
    through.set_username("me").expect("a host");
    through.set_password(Some("hush")).expect("a host");
    settings.proxy = Some(through);
    assert!(!format!("{settings:?}").contains("hush"));
    Client::new(&settings, Metrics::default())
        .expect("a client")
        .website(&Meter::new(), &website())
        .await
        .expect("the proxy answers");
    let asked = proxy.asked();
    assert_eq!(
        asked[0].header("proxy-authorization"),
        Some("Basic bWU6aHVzaA==")
    );
}

#[test]
fn a_base_url_that_cannot_be_one_is_refused() {
    for text in [
        "ftp://api.crisp.chat/v1/",
        "https://me:secret@api.crisp.chat/v1/",
        "https://api.crisp.chat/v1/?x=1",
        "data:text/plain,x",
    ] {
        let refused = Client::new(
            &settings(&Url::parse(text).expect("a URL")),
            Metrics::default(),
        );
        let error = refused.expect_err(text);
        assert!(matches!(error, ClientError::BaseUrl(_)), "{error:?}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

/// Collects what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0
            .lock()
            .expect("no test panicked")
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn nothing_private_is_in_an_error_or_a_log() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .event_format(crisp_sync::telemetry::JsonLines)
        .with_max_level(tracing::Level::DEBUG)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let quote = format!("no such person: {ADDRESS} {KEY}");
    let mut scripts: Vec<_> = [400, 404, 409, 500]
        .into_iter()
        .flat_map(|status| [refused(status, &quote), Script::text(status, &quote)])
        .collect();
    scripts.push(Script::text(200, &format!("\"{quote}\"")));
    scripts.push(ok(&json!(quote)).with("Request-Id", ADDRESS));
    let mut bases: Vec<_> = scripts
        .into_iter()
        .map(|script| Server::start(script).base)
        .collect();
    bases.push(raw_server(Some(b"")).await);
    bases.push(base(1));

    let mut told = Vec::new();
    for base in bases {
        let client = client(&base);
        let meter = Meter::new();
        let error = client
            .profile(&meter, &website(), &ada())
            .await
            .expect_err("refused");
        told.push(format!(
            "{error} {error:?} {:?} {client:?} {meter:?} {:?}",
            error.hint(),
            ada()
        ));
        let mut source = error.source();
        while let Some(cause) = source {
            told.push(format!("{cause} {cause:?}"));
            source = cause.source();
        }
        told.push(format!("{:?}", settings(&base)));
    }
    let logged =
        String::from_utf8(log.0.lock().expect("no test panicked").clone()).expect("logs are text");
    assert!(logged.contains(r#""event":"crisp.call""#), "{logged}");
    assert!(logged.contains(r#""purpose":"read_contact""#), "{logged}");
    assert!(logged.contains(r#""request.id":"0f2d-req""#), "{logged}");
    let told = told.join("\n");
    for private in [
        "ada+",
        "ada%",
        "example.org",
        KEY,
        "an-identifier",
        "YW4taWRl",
        "no such person",
        "/people/profile/a",
    ] {
        assert!(!told.contains(private), "{private}: {told}");
        assert!(!logged.contains(private), "{private}: {logged}");
    }
}
