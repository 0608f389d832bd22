//! Makes the calls to Crisp's REST API that we need.
//!
//! One call is one request: no retry, no redirect, no proxy unless one is set, a limit on time and on the size of an
//! answer. Every call is counted by its purpose, in the caller's [`Meter`] and in the metrics, whether it was answered or
//! not. Addresses travel in paths, so URLs appear in no error and no log line; the `Request-Id` that Crisp gives does.

mod answer;
mod calls;
mod meter;
mod report;
mod route;
mod settings;
mod stamp;
mod tls;

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use reqwest::{
    Method, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
    redirect, retry,
};
use serde::de::DeserializeOwned;
use url::Url;

use self::route::Route;
pub use self::{
    calls::{PersonRef, Timeline},
    meter::{Call, Meter},
    settings::{ApiToken, BASE_URL, ClientError, ClientSettings, Tier, USER_AGENT},
    stamp::RequestStamp,
    tls::{config as tls_config, install_tls},
};
use super::error::CrispError;
use crate::{breaker::Breakers, telemetry::metrics::Metrics};

const TIER: HeaderName = HeaderName::from_static("x-crisp-tier");
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
const BLOOM_STATUS: HeaderName = HeaderName::from_static("bloom-status");

/// The longest answer we read, after decompression. A page of a list is far below it.
const ANSWER_MAX: usize = 1024 * 1024;

/// Connections idle for longer are closed by us, before the other side closes one just as we write to it: such a race
/// leaves us without knowing whether a request was applied.
const IDLE_MAX: Duration = Duration::from_secs(20);

/// Calls Crisp. Clones share connections.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Arc<Url>,
    /// Shared by all clones: a token that was replaced is replaced for everybody.
    credentials: Arc<RwLock<Credentials>>,
    /// Of the claim that the calls are made for.
    stamp: Option<HeaderValue>,
    metrics: Metrics,
    breakers: Option<Breakers>,
}

/// A token as it is sent.
#[derive(Clone)]
struct Credentials {
    authorization: HeaderValue,
    tier: Tier,
}

impl Credentials {
    fn of(token: &ApiToken) -> Self {
        Self {
            authorization: token.authorization(),
            tier: token.tier,
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Client")
            .field("tier", &self.credentials().tier)
            .finish_non_exhaustive()
    }
}

/// An answer with status 2xx.
struct Reply<T> {
    data: T,
    /// Whether a cache in front of the API gave it.
    cached: bool,
}

/// What came back, or how far it got.
struct Raw {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Client {
    /// Makes a client. Nothing is sent. Counts go to `metrics`.
    pub fn new(settings: &ClientSettings, metrics: Metrics) -> Result<Self, ClientError> {
        install_tls();
        settings::check(&settings.base_url)?;
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::config(&settings.base_url, settings.proxy.as_ref())?)
            .user_agent(&settings.user_agent)
            .timeout(settings.timeout)
            .connect_timeout(settings.connect_timeout)
            .pool_idle_timeout(IDLE_MAX)
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false);
        let builder = match &settings.proxy {
            Some(proxy) => builder.proxy(
                reqwest::Proxy::all(proxy.clone())
                    .map_err(|error| ClientError::Build(error.without_url()))?,
            ),
            None => builder.no_proxy(),
        };
        Ok(Self {
            http: builder
                .build()
                .map_err(|error| ClientError::Build(error.without_url()))?,
            base: Arc::new(settings.base_url.clone()),
            credentials: Arc::new(RwLock::new(Credentials::of(&settings.token))),
            stamp: None,
            metrics,
            breakers: None,
        })
    }

    /// Reports to `breakers` how each call ended. Whether to call at all is the caller's to ask.
    #[must_use]
    pub fn reporting_to(self, breakers: Breakers) -> Self {
        Self {
            breakers: Some(breakers),
            ..self
        }
    }

    /// From the next call on, every clone uses this token: the secret was rotated.
    pub fn renew(&self, token: &ApiToken) {
        *self
            .credentials
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Credentials::of(token);
    }

    fn credentials(&self) -> Credentials {
        self.credentials
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The same client for the calls of one claim: each says so in `X-Request-Id`.
    #[must_use]
    pub fn stamped(&self, stamp: RequestStamp) -> Self {
        Self {
            stamp: Some(stamp.header()),
            ..self.clone()
        }
    }

    /// Makes one call and reads its result.
    async fn call<T: DeserializeOwned>(
        &self,
        meter: &Meter,
        route: &'static Route,
        values: &[&str],
        query: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Result<Reply<T>, CrispError> {
        let started = Instant::now();
        let raw = self.exchange(route, values, query, body).await;
        let (status, request_id) = match &raw {
            Ok(raw) => (Some(raw.status.as_u16()), request_id(&raw.headers)),
            Err(Failed { status, .. }) => (*status, None),
        };
        let result = raw.map_err(|failed| failed.error).and_then(|raw| {
            if raw.status.is_success() {
                let body: &[u8] = if route.method == Method::HEAD {
                    br#"{"error":false}"#
                } else {
                    &raw.body
                };
                answer::result(raw.status, body).map(|data| Reply {
                    data,
                    cached: is_cached(&raw.headers),
                })
            } else {
                Err(answer::failure(route, raw.status, &raw.headers, &raw.body))
            }
        });
        self.record(
            meter,
            route,
            status,
            request_id.as_deref(),
            started.elapsed(),
            result.as_ref().err(),
        );
        result
    }

    async fn exchange(
        &self,
        route: &Route,
        values: &[&str],
        query: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Result<Raw, Failed> {
        let mut url = route.url(&self.base, values);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let Credentials {
            authorization,
            tier,
        } = self.credentials();
        let mut request = self
            .http
            .request(route.method.clone(), url)
            .header(AUTHORIZATION, authorization)
            .header(TIER, tier.as_str());
        if let Some(stamp) = &self.stamp {
            request = request.header(stamp::STAMP, stamp.clone());
        }
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        let mut response = request
            .send()
            .await
            .map_err(|error| Failed::unanswered(None, error))?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| Failed::unanswered(Some(status), error))?
        {
            if body.len() + chunk.len() > ANSWER_MAX {
                return Err(Failed {
                    status: Some(status.as_u16()),
                    error: CrispError::Unreadable {
                        status: status.as_u16(),
                        why: "it is longer than 1 MiB",
                    },
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Raw {
            status,
            headers: std::mem::take(response.headers_mut()),
            body,
        })
    }
}

/// A call that ended before its answer was complete.
struct Failed {
    /// The status, if the answer got that far.
    status: Option<u16>,
    error: CrispError,
}

impl Failed {
    fn unanswered(status: Option<StatusCode>, error: reqwest::Error) -> Self {
        // The URL may hold an address.
        let source = error.without_url();
        Self {
            status: status.map(|status| status.as_u16()),
            error: if status.is_none() && (source.is_connect() || source.is_builder()) {
                CrispError::NotSent { source }
            } else {
                CrispError::NoAnswer { source }
            },
        }
    }
}

/// Crisp's id of the request, if it looks like one: it goes into logs.
fn request_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(REQUEST_ID)?.to_str().ok()?;
    let is_plain = id.len() <= 64
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    is_plain.then(|| id.to_owned())
}

/// Whether Crisp's cache answered. `OFFLINE` is the cache, too: it stands in for an API that is down.
fn is_cached(headers: &HeaderMap) -> bool {
    headers.get(BLOOM_STATUS).is_some_and(|status| {
        matches!(
            status.as_bytes().to_ascii_uppercase().as_slice(),
            b"HIT" | b"OFFLINE"
        )
    })
}
