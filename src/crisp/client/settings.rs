//! What a client is made from, and why one cannot be made.

use std::{fmt, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use serde::Serialize;
use url::Url;

/// Where Crisp's API is.
pub const BASE_URL: &str = "https://api.crisp.chat/v1/";
/// How we introduce ourselves.
pub const USER_AGENT: &str = concat!("crisp-sync/", env!("CARGO_PKG_VERSION"));

/// Which kind of token we hold.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// A plugin's token: every website that installed it.
    #[default]
    Plugin,
    /// A website's token: that website only.
    Website,
}

impl Tier {
    /// As the header `X-Crisp-Tier` says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plugin => "plugin",
            Self::Website => "website",
        }
    }
}

/// Our credentials for the API.
#[derive(Clone)]
pub struct ApiToken {
    /// The token's identifier.
    pub identifier: String,
    /// Its key.
    pub key: SecretString,
    /// Its kind.
    pub tier: Tier,
}

impl ApiToken {
    /// The value of `Authorization`, marked so that nothing prints it.
    pub(super) fn authorization(&self) -> HeaderValue {
        let pair = Zeroizing::new(format!("{}:{}", self.identifier, self.key.expose_secret()));
        let basic = Zeroizing::new(format!("Basic {}", BASE64_STANDARD.encode(pair.as_bytes())));
        let mut value = HeaderValue::from_str(&basic).expect("base64 is fit for a header");
        value.set_sensitive(true);
        value
    }
}

/// Whether two tokens are the same one.
impl PartialEq for ApiToken {
    fn eq(&self, other: &Self) -> bool {
        self.identifier == other.identifier
            && self.key.expose_secret() == other.key.expose_secret()
            && self.tier == other.tier
    }
}

impl fmt::Debug for ApiToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ApiToken")
            .field("tier", &self.tier)
            .finish_non_exhaustive()
    }
}

/// What a client is made from.
#[derive(Clone)]
pub struct ClientSettings {
    /// Where the API is: [`BASE_URL`], or a stand-in's address.
    pub base_url: Url,
    /// Our credentials.
    pub token: ApiToken,
    /// How long a call may take in all.
    pub timeout: Duration,
    /// How long the connection may take.
    pub connect_timeout: Duration,
    /// A proxy for all calls. The environment's is not used.
    pub proxy: Option<Url>,
    /// How we introduce ourselves.
    pub user_agent: String,
}

/// A proxy's URL may hold a password, so `Debug` says only whether there is one.
impl fmt::Debug for ClientSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ClientSettings")
            .field("host", &self.base_url.host_str())
            .field("token", &self.token)
            .field("timeout", &self.timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("proxy", &self.proxy.is_some())
            .field("user_agent", &self.user_agent)
            .finish()
    }
}

impl ClientSettings {
    /// Settings with the defaults: 3 s to connect, 10 s in all, no proxy.
    pub fn new(base_url: Url, token: ApiToken) -> Self {
        Self {
            base_url,
            token,
            timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(3),
            proxy: None,
            user_agent: USER_AGENT.to_owned(),
        }
    }
}

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The base URL cannot be used.
    #[error(
        "could not use the base URL of Crisp's API: {0}\nhint: it looks like `https://api.crisp.chat/v1/`"
    )]
    BaseUrl(&'static str),
    /// No certificate authority is installed, so no server could prove itself.
    #[error(
        "found no certificate authorities on this machine\nhint: install the package `ca-certificates`, or set `SSL_CERT_FILE`"
    )]
    NoAuthorities,
    /// TLS cannot be set up.
    #[error("could not set up TLS")]
    Tls(#[from] rustls::Error),
    /// The HTTP client cannot be made: the proxy's URL or the user agent.
    #[error("could not make the HTTP client")]
    Build(#[source] reqwest::Error),
}

/// Whether a URL can be the API's base.
pub(super) fn check(base_url: &Url) -> Result<(), ClientError> {
    if !matches!(base_url.scheme(), "http" | "https") {
        return Err(ClientError::BaseUrl("it is neither http nor https"));
    }
    if !base_url.username().is_empty() || base_url.password().is_some() {
        return Err(ClientError::BaseUrl("it holds credentials"));
    }
    if base_url.query().is_some() || base_url.fragment().is_some() {
        return Err(ClientError::BaseUrl("it holds a query or a fragment"));
    }
    Ok(())
}
