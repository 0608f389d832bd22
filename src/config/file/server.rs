//! `[server]`, `[webhooks]`, `[log]`: what stands at the door, as written.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    path::PathBuf,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::quantity::{Interval, Size};
use crate::telemetry::LogFormat;

/// `[server]`: the two listeners.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServerFile {
    /// Address of the public listener: the webhook, `/healthz`, `/readyz`.
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// Path before every public route, such as `/crisp-sync`, for a proxy that does not strip it.
    pub path_prefix: String,
    /// Address of the ops listener: metrics, details, the page and its API. Keep it off the internet.
    #[schemars(with = "String")]
    pub ops_listen: SocketAddr,
    /// File with the bearer token that may read the ops listener; or set `CRISP_SYNC_OPS_READ_TOKEN`. Without a token only a loopback address is served.
    pub ops_read_token_file: Option<PathBuf>,
    /// File with the bearer token that may also act; or set `CRISP_SYNC_OPS_ACT_TOKEN`. Without it nothing can be changed over HTTP.
    pub ops_act_token_file: Option<PathBuf>,
    /// Largest request body; a bigger one is answered 413.
    pub max_body: Size,
    /// Most bytes of request bodies held at a time; a request beyond is answered 503.
    pub body_memory: Size,
    /// Most connections at a time, spread over the threads; further ones wait in the kernel.
    pub max_connections: NonZeroUsize,
    /// How long a client may take to send its request.
    pub request_timeout: Interval,
    /// Threads that serve requests; one per processor when unset.
    pub workers: Option<NonZeroUsize>,
    /// How long a shutdown waits for what is in hand, then drops it; its lease brings it back.
    pub shutdown_deadline: Interval,
}

impl Default for ServerFile {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8080)),
            path_prefix: String::new(),
            ops_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9090)),
            ops_read_token_file: None,
            ops_act_token_file: None,
            max_body: Size(1 << 20),
            body_memory: Size(32 << 20),
            max_connections: NonZeroUsize::new(512).expect("not zero"),
            request_timeout: Interval::seconds(5),
            workers: None,
            shutdown_deadline: Interval::seconds(25),
        }
    }
}

/// `[webhooks]`: how Crisp's webhooks are accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WebhooksFile {
    /// Files with a signing secret each, several while one is replaced; or set `CRISP_SIGNING_SECRETS`.
    pub signing_secret_files: Vec<PathBuf>,
    /// Files with the key of a website's unsigned hook, by website id; or set `CRISP_WEBSITE_KEYS`.
    pub website_key_files: BTreeMap<String, PathBuf>,
    /// Age from which a delivery counts as late in logs and metrics. It is accepted all the same: a retry may carry its first timestamp.
    pub max_age: Interval,
    /// Longest wait for the ledger before the sender is asked to try again (503).
    pub accept_deadline: Interval,
    /// Most deliveries that wait for the ledger at a time; a further one is answered 503 at once.
    pub max_waiting: NonZeroUsize,
}

impl Default for WebhooksFile {
    fn default() -> Self {
        Self {
            signing_secret_files: Vec::new(),
            website_key_files: BTreeMap::new(),
            max_age: Interval::seconds(5 * 60),
            accept_deadline: Interval::seconds(2),
            max_waiting: NonZeroUsize::new(8192).expect("not zero"),
        }
    }
}

/// `[log]`: log lines on standard error.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogFile {
    /// `json`, `text`, or `auto`: text on a terminal, JSON lines elsewhere.
    pub format: LogFormat,
    /// What is logged, as `tracing` directives such as `info,crisp_sync=debug`; our own lines and others' warnings when unset.
    pub filter: Option<String>,
}
