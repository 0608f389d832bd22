//! `[server]`, `[webhooks]`, `[log]`, as meant.

use std::{net::SocketAddr, num::NonZeroUsize, path::Path, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use serde::de::{DeserializeOwned, IntoDeserializer, value};
use tracing_subscriber::EnvFilter;

use super::{
    super::{
        environment,
        faults::{Fault, Place},
        file::{LogFile, ServerFile, WebhooksFile},
        reading::{alternatives, listed as listed_words},
    },
    Resolver, listed,
};
use crate::{
    crisp::signature::{SigningSecrets, WebsiteKey},
    ids::WebsiteId,
    telemetry::LogFormat,
};

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
    /// Most connections at a time, for each thread.
    pub max_connections: usize,
    /// How long a client may take to send its request.
    pub request_timeout: Duration,
    /// Threads that serve requests; one per processor when unset.
    pub workers: Option<NonZeroUsize>,
    /// How long a shutdown waits for what is in hand.
    pub shutdown_deadline: Duration,
}

/// How Crisp's webhooks are accepted.
#[derive(Debug, Clone)]
pub struct WebhookSettings {
    /// What signed hooks are checked with.
    pub signing_secrets: SigningSecrets,
    /// What the unsigned hooks of websites are checked with.
    pub website_keys: Vec<WebsiteKey>,
    /// Age from which a delivery counts as late.
    pub max_age: Duration,
    /// Longest wait for the ledger before the sender is asked to try again.
    pub accept_deadline: Duration,
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
        ServerSettings {
            listen,
            path_prefix,
            ops_listen,
            ops_read_token,
            ops_act_token,
            max_body: written.max_body.0,
            max_connections: written.max_connections.get(),
            request_timeout: written.request_timeout.get(),
            workers: written.workers,
            shutdown_deadline: written.shutdown_deadline.get(),
        }
    }

    pub(in super::super) fn webhooks(&mut self, written: &WebhooksFile) -> WebhookSettings {
        let mut secrets: Vec<SecretString> = Vec::new();
        if let Some(list) = self.secret(environment::SIGNING_SECRETS, None) {
            secrets.extend(listed(list.expose_secret()).map(SecretString::from));
        } else {
            for (index, path) in written.signing_secret_files.iter().enumerate() {
                let index = index.to_string();
                let key = super::owned(&["webhooks", "signing_secret_files", &index]);
                let place = self.document.place(&key);
                secrets.extend(self.secret_file(&self.located(path), place));
            }
        }
        let mut website_keys = self.website_keys_of_environment();
        if website_keys.is_empty() {
            for (website, path) in &written.website_key_files {
                website_keys.extend(self.website_key(website, path));
            }
        }
        let asked = !written.signing_secret_files.is_empty()
            || !written.website_key_files.is_empty()
            || [environment::SIGNING_SECRETS, environment::WEBSITE_KEYS]
                .iter()
                .any(|variable| {
                    self.environment.get(variable.name).is_some()
                        || self
                            .environment
                            .get(&format!("{}_FILE", variable.name))
                            .is_some()
                });
        if !asked {
            self.faults.push(
                Fault::new(
                    Place::Named(environment::SIGNING_SECRETS.name.to_owned()),
                    "no signing secret is set, so no webhook could be verified",
                )
                .hint("copy it from the plugin's Web Hooks page in the Crisp Marketplace"),
            );
        }
        WebhookSettings {
            signing_secrets: SigningSecrets::new(secrets),
            website_keys,
            max_age: written.max_age.get(),
            accept_deadline: written.accept_deadline.get(),
        }
    }

    fn website_keys_of_environment(&mut self) -> Vec<WebsiteKey> {
        let Some(list) = self.secret(environment::WEBSITE_KEYS, None) else {
            return Vec::new();
        };
        let mut keys = Vec::new();
        for pair in listed(list.expose_secret()) {
            let read = pair.split_once('=').and_then(|(website, key)| {
                let website = WebsiteId::parse(website.trim()).ok()?;
                let key = key.trim();
                (!key.is_empty()).then(|| WebsiteKey {
                    website,
                    key: key.into(),
                })
            });
            match read {
                Some(key) => keys.push(key),
                None => self.faults.push(
                    Fault::new(
                        Place::Named(environment::WEBSITE_KEYS.name.to_owned()),
                        "an entry is not of the form `website_id=key`",
                    )
                    .hint("separate entries by commas or line ends"),
                ),
            }
        }
        keys
    }

    fn website_key(&mut self, website: &str, path: &Path) -> Option<WebsiteKey> {
        let place = |resolver: &Self, on_key: bool| {
            let steps = super::owned(&["webhooks", "website_key_files", website]);
            resolver.document.string_place(&steps, on_key, None)
        };
        let id = match WebsiteId::parse(website) {
            Ok(id) => Some(id),
            Err(error) => {
                let fault = Fault::new(place(self, true), error.to_string())
                    .hint("it stands in the address of the Crisp app: `/website/<id>/`");
                self.faults.push(fault);
                None
            }
        };
        let place = place(self, false);
        let key = self.secret_file(&self.located(path), place);
        Some(WebsiteKey {
            website: id?,
            key: key?,
        })
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
