//! `[crisp]`, as meant.

use std::{collections::BTreeSet, fmt, num::NonZeroU32, path::Path, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::{
    super::{
        environment::{self, Variable},
        faults::{Fault, Place},
        file::CrispFile,
        quantity::WebAddress,
    },
    Resolver, listed, owned,
    server::word,
};
use crate::{
    crisp::client::{ApiToken, ClientSettings, Tier},
    ids::WebsiteId,
};

/// Calls per day that Crisp grants a plugin's production token unless it was asked for more.
const PLUGIN_QUOTA: NonZeroU32 = NonZeroU32::new(5_000).expect("not zero");
/// Calls per day that Crisp grants a website token.
const WEBSITE_QUOTA: NonZeroU32 = NonZeroU32::new(10_000).expect("not zero");

/// Crisp's REST API.
#[derive(Clone)]
pub struct CrispSettings {
    /// What the client is made from.
    pub client: ClientSettings,
    /// The websites we act for; empty means every one that installed the plugin.
    pub websites: BTreeSet<WebsiteId>,
    /// Calls per day.
    pub daily_quota: NonZeroU32,
    /// Share of the quota, in percent, for conversations without a proven e-mail.
    pub unproven_share: u8,
    /// Share of the quota, in percent, that background work leaves to the rest.
    pub reserve: u8,
    /// How long after midnight UTC the quota's day begins.
    pub day_begins: Duration,
    /// How long calls wait after a refusal that names no time.
    pub pause: Duration,
}

/// Without the proxy, whose URL may hold a password.
impl fmt::Debug for CrispSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CrispSettings")
            .field("base_url", &self.client.base_url.as_str())
            .field("token", &self.client.token)
            .field("websites", &self.websites)
            .field("daily_quota", &self.daily_quota)
            .finish_non_exhaustive()
    }
}

impl CrispSettings {
    /// Whether we act for this website.
    pub fn serves(&self, website: &WebsiteId) -> bool {
        self.websites.is_empty() || self.websites.contains(website)
    }
}

impl Resolver<'_> {
    pub(in super::super) fn crisp(&mut self, written: &CrispFile) -> CrispSettings {
        let tier = self.overridden(environment::TIER, written.tier, word);
        let base_url = self.overridden(environment::BASE_URL, written.base_url.clone(), |text| {
            WebAddress::parse(text).map_err(str::to_owned)
        });
        let local = base_url.is_local();
        let mut base_url = base_url.0;
        if !base_url.path().ends_with('/') {
            // Without it the last part of the path would be replaced, not extended.
            base_url.set_path(&format!("{}/", base_url.path()));
        }
        if base_url.scheme() == "http" && !local {
            self.warn(
                &["crisp", "base_url"],
                "the token travels unencrypted",
                "use `https`, unless this is a stand-in for Crisp",
            );
        }
        let token_identifier = self.token(
            environment::TOKEN_IDENTIFIER,
            written
                .token_identifier_file
                .as_deref()
                .map(|path| (path, &["crisp", "token_identifier_file"][..])),
        );
        let token_key = self.token(
            environment::TOKEN_KEY,
            written
                .token_key_file
                .as_deref()
                .map(|path| (path, &["crisp", "token_key_file"][..])),
        );
        let websites = self.websites(&written.websites);
        if tier == Tier::Website && websites.len() > 1 {
            self.fault(
                &["crisp", "websites"],
                "a website token speaks for one website; these are several",
                "use a plugin token (`tier = \"plugin\"`), or run one crisp-sync per website",
            );
        }
        if written.connect_timeout > written.timeout {
            self.fault(
                &["crisp", "connect_timeout"],
                "connecting may not take longer than the whole call",
                "make it at most `crisp.timeout`",
            );
        }
        CrispSettings {
            client: ClientSettings {
                timeout: written.timeout.get(),
                connect_timeout: written.connect_timeout.get(),
                proxy: self.proxy(written.proxy.as_ref()),
                ..ClientSettings::new(
                    base_url,
                    ApiToken {
                        identifier: token_identifier.expose_secret().to_owned(),
                        key: token_key,
                        tier,
                    },
                )
            },
            websites,
            daily_quota: written.daily_quota.unwrap_or(match tier {
                Tier::Plugin => PLUGIN_QUOTA,
                Tier::Website => WEBSITE_QUOTA,
            }),
            unproven_share: written.unproven_share.0,
            reserve: written.reserve.0,
            day_begins: written.quota_resets_at.since_midnight(),
            pause: written.pause.get(),
        }
    }

    fn token(&mut self, variable: Variable, written: Option<(&Path, &[&str])>) -> SecretString {
        let before = self.faults.len();
        let secret = self.secret(variable, written);
        if secret.is_none() && self.faults.len() == before {
            self.faults.push(
                Fault::new(
                    Place::Named(variable.name.to_owned()),
                    "it is not set, and Crisp's API answers nobody without it",
                )
                .hint(format!(
                    "make a token in the Crisp Marketplace; set {0}, or {0}_FILE to the path of a file",
                    variable.name
                )),
            );
        }
        secret.unwrap_or_default()
    }

    fn websites(&mut self, written: &[String]) -> BTreeSet<WebsiteId> {
        let mut websites = BTreeSet::new();
        for (index, text) in written.iter().enumerate() {
            match WebsiteId::parse(text) {
                Ok(website) => {
                    websites.insert(website);
                }
                Err(error) => {
                    let place =
                        self.document
                            .place(&owned(&["crisp", "websites", &index.to_string()]));
                    self.faults.push(
                        Fault::new(place, error.to_string())
                            .hint("it stands in the address of the Crisp app: `/website/<id>/`"),
                    );
                }
            }
        }
        self.overridden(environment::WEBSITES, websites, |text| {
            listed(text)
                .map(|id| WebsiteId::parse(id).map_err(|error| error.to_string()))
                .collect()
        })
    }

    fn proxy(&mut self, written: Option<&WebAddress>) -> Option<Url> {
        let variable = environment::PROXY;
        let Some(proxy) = self.secret(variable, None) else {
            return written.map(|proxy| proxy.0.clone());
        };
        let proxy = Url::parse(proxy.expose_secret())
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some());
        if proxy.is_none() {
            self.faults.push(
                Fault::new(
                    Place::Named(variable.name.to_owned()),
                    "the value cannot be used",
                )
                .hint(
                    "it takes an `http` or `https` URL such as `http://user:password@proxy:3128`",
                ),
            );
        }
        proxy
    }
}
