//! The other end of `alerts.url`: one POST, one answer.
//!
//! Nothing is retried here and no redirect is followed. The address is a secret: it stands in no error and no log line.

use std::{fmt, time::Duration};

use reqwest::{
    header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER},
    redirect, retry,
};
use serde_json::Value as Json;
use url::Url;

use crate::crisp::client::{self, ClientError, USER_AGENT};

/// How long a message may take in all. Nobody waits for it.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Sends messages. Clones share connections.
#[derive(Clone)]
pub(super) struct Receiver {
    http: reqwest::Client,
    url: Url,
}

impl fmt::Debug for Receiver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Receiver(…)")
    }
}

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Undelivered {
    /// The receiver answered, and not with a 2xx.
    #[error("the receiver answered {status}")]
    Refused {
        /// What it answered.
        status: u16,
        /// How long it asks us to wait.
        retry_after: Option<Duration>,
    },
    /// It did not answer.
    #[error("the receiver did not answer")]
    NoAnswer(#[source] reqwest::Error),
}

impl Undelivered {
    /// What a person can do about it.
    pub(super) fn hint(&self) -> &'static str {
        match self {
            Self::Refused {
                status: 400..=410, ..
            } => {
                "is CRISP_SYNC_ALERTS_URL still the address of a live incoming webhook? Slack revokes one whose channel is archived"
            }
            Self::Refused { .. } => "it is tried again",
            Self::NoAnswer(_) => "check that this machine reaches the receiver, or set a proxy",
        }
    }

    /// A short code for metrics.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "refused",
            Self::NoAnswer(_) => "no_answer",
        }
    }

    /// How long the receiver asks us to wait.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            Self::NoAnswer(_) => None,
        }
    }
}

impl Receiver {
    /// A receiver at `url`, reached over the proxy that calls to Crisp take.
    pub(super) fn new(url: Url, proxy: Option<&Url>) -> Result<Self, ClientError> {
        client::install_tls();
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(client::tls_config(&url, proxy)?)
            .user_agent(USER_AGENT)
            .timeout(TIMEOUT)
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            // Messages are minutes apart at the least.
            .pool_max_idle_per_host(0);
        let builder = match proxy {
            Some(proxy) => builder.proxy(
                reqwest::Proxy::all(proxy.clone())
                    .map_err(|error| ClientError::Build(error.without_url()))?,
            ),
            None => builder.no_proxy(),
        };
        let http = builder
            .build()
            .map_err(|error| ClientError::Build(error.without_url()))?;
        Ok(Self { http, url })
    }

    /// Sends one message.
    pub(super) async fn post(&self, message: &Json) -> Result<(), Undelivered> {
        let answer = self
            .http
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(message.to_string())
            .send()
            .await
            .map_err(|error| Undelivered::NoAnswer(error.without_url()))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        Err(Undelivered::Refused {
            status: status.as_u16(),
            retry_after: retry_after(answer.headers()),
        })
    }
}

/// Whole seconds; a receiver that names a date is waited for at our own pace.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds))
}
