//! `[server]`, `[log]`, as meant.

use std::{net::SocketAddr, num::NonZeroUsize, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use serde::de::{DeserializeOwned, IntoDeserializer, value};
use tracing_subscriber::EnvFilter;

use super::{
    super::{
        environment,
        faults::{Fault, Place},
        file::{LogFile, ServerFile},
        reading::{alternatives, listed as listed_words},
    },
    Resolver,
};
use crate::telemetry::LogFormat;

/// The two listeners.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// Address of the public listener.
    pub listen: SocketAddr,
    /// Path before every public route: empty, or with a slash in front and none behind.
    pub path_prefix: String,
    /// Address of the ops listener.
    pub ops_listen: SocketAddr,
    /// What a reader of the ops listener presents; without it, being on this machine is enough.
    pub ops_read_token: Option<SecretString>,
    /// What one presents who acts; without it nothing can be changed over HTTP.
    pub ops_act_token: Option<SecretString>,
    /// Largest request body, in bytes.
    pub max_body: usize,
    /// Most bytes of request bodies held at a time.
    pub body_memory: usize,
    /// Most connections at a time.
    pub max_connections: usize,
    /// How long a client may take to send its request.
    pub request_timeout: Duration,
    /// Threads that serve requests; one per processor when unset.
    pub workers: Option<NonZeroUsize>,
    /// How long a shutdown waits for what is in hand.
    pub shutdown_deadline: Duration,
}

/// Log lines.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// How they look.
    pub format: LogFormat,
    /// Which are written; the usual ones when unset.
    pub filter: Option<String>,
}

/// A word of the file tier, as an environment variable says it.
pub(super) fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    T::deserialize(IntoDeserializer::<value::Error>::into_deserializer(text)).map_err(
        |error: value::Error| {
            format!(
                "it takes {}",
                alternatives(&listed_words(&error.to_string()))
            )
        },
    )
}

impl Resolver<'_> {
    pub(in super::super) fn server(&mut self, written: &ServerFile) -> ServerSettings {
        let listen = self.overridden(environment::PORT, written.listen, |port| {
            let port = port
                .parse()
                .map_err(|error| format!("it takes a port, 1 to 65535: {error}"))?;
            Ok(SocketAddr::new(written.listen.ip(), port))
        });
        let listen = self.overridden(environment::LISTEN, listen, address);
        let ops_listen = self.overridden(environment::OPS_LISTEN, written.ops_listen, address);
        if listen == ops_listen && listen.port() != 0 {
            self.fault(
                &["server", "ops_listen"],
                "both listeners have the same address",
                "give the ops listener a port of its own",
            );
        }
        let path_prefix = prefix(&written.path_prefix).unwrap_or_else(|hint| {
            self.fault(&["server", "path_prefix"], "this is not a path", &hint);
            String::new()
        });
        let path_prefix = self.overridden(environment::PATH_PREFIX, path_prefix, prefix);
        let ops_read_token = self.secret(
            environment::OPS_READ_TOKEN,
            written
                .ops_read_token_file
                .as_deref()
                .map(|path| (path, &["server", "ops_read_token_file"][..])),
        );
        let ops_act_token = self.secret(
            environment::OPS_ACT_TOKEN,
            written
                .ops_act_token_file
                .as_deref()
                .map(|path| (path, &["server", "ops_act_token_file"][..])),
        );
        if !ops_listen.ip().is_loopback() && ops_read_token.is_none() && ops_act_token.is_none() {
            self.fault(
                &["server", "ops_listen"],
                "the ops listener is open to other machines and asks for no token",
                "set CRISP_SYNC_OPS_READ_TOKEN, or listen on 127.0.0.1",
            );
        }
        if let (Some(read), Some(act)) = (&ops_read_token, &ops_act_token)
            && read.expose_secret() == act.expose_secret()
        {
            self.faults.push(
                Fault::new(
                    Place::Named(environment::OPS_ACT_TOKEN.name.to_owned()),
                    "the token that may act is the one that may only read",
                )
                .hint("make two tokens"),
            );
        }
        if written.body_memory.0 < written.max_body.0 {
            self.fault(
                &["server", "body_memory"],
                "the longest body finds no room in it",
                "give it at least `server.max_body`",
            );
        }
        ServerSettings {
            listen,
            path_prefix,
            ops_listen,
            ops_read_token,
            ops_act_token,
            max_body: written.max_body.0,
            body_memory: written.body_memory.0,
            max_connections: written.max_connections.get(),
            request_timeout: written.request_timeout.get(),
            workers: written.workers,
            shutdown_deadline: written.shutdown_deadline.get(),
        }
    }

    pub(in super::super) fn log(&mut self, written: &LogFile) -> LogSettings {
        let format = self.overridden(environment::LOG_FORMAT, written.format, word);
        if let Some(filter) = &written.filter
            && let Err(error) = EnvFilter::try_new(filter)
        {
            self.fault(
                &["log", "filter"],
                format!("these are no log directives: {error}"),
                "they look like `info,crisp_sync=debug`",
            );
        }
        let filter = self.overridden(environment::LOG_FILTER, written.filter.clone(), |text| {
            match EnvFilter::try_new(text) {
                Ok(_) => Ok(Some(text.to_owned())),
                Err(_) => Err("directives look like `info,crisp_sync=debug`".to_owned()),
            }
        });
        LogSettings { format, filter }
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_error: std::net::AddrParseError| {
        "it takes an address and a port, such as `0.0.0.0:8080`".to_owned()
    })
}

/// A path without the slash behind it; empty for none.
fn prefix(written: &str) -> Result<String, String> {
    let prefix = written.trim().trim_end_matches('/');
    let plain = prefix
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte));
    if !prefix.is_empty() && (!prefix.starts_with('/') || prefix.contains("//") || !plain) {
        return Err(
            "it takes a path such as `/crisp-sync`: letters, digits, `-`, `_`, `.`, `~`".to_owned(),
        );
    }
    Ok(prefix.to_owned())
}
