//! `[crisp]`, as meant.

use std::{collections::BTreeSet, num::NonZeroU32, time::Duration};

use secrecy::SecretString;
use url::Url;

use super::{
    super::{
        environment::{self, Variable},
        faults::{Fault, Place},
        file::{CrispFile, crisp::TierFile},
        quantity::WebAddress,
    },
    Resolver, listed, owned,
    server::word,
};
use crate::ids::WebsiteId;

/// Calls per day that Crisp grants a plugin's production token unless it was asked for more.
const PLUGIN_QUOTA: NonZeroU32 = NonZeroU32::new(5_000).expect("not zero");
/// Calls per day that Crisp grants a website token.
const WEBSITE_QUOTA: NonZeroU32 = NonZeroU32::new(10_000).expect("not zero");

/// Crisp's REST API.
#[derive(Debug, Clone)]
pub struct CrispSettings {
    /// Where the API answers; it ends in a slash.
    pub base_url: Url,
    /// Kind of the token.
    pub tier: TierFile,
    /// The token's identifier.
    pub token_identifier: SecretString,
    /// The token's key.
    pub token_key: SecretString,
    /// The websites we act for; empty means every one that installed the plugin.
    pub websites: BTreeSet<WebsiteId>,
    /// Longest wait for one answer.
    pub timeout: Duration,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Proxy for calls to Crisp; the URL may hold a password.
    pub proxy: Option<SecretString>,
    /// Calls per day.
    pub daily_quota: NonZeroU32,
    /// Share of the quota, in percent, for conversations without a proven e-mail.
    pub unproven_share: u8,
    /// How long calls wait after a refusal that names no time.
    pub pause: Duration,
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
        let mut base_url = base_url.0;
        if !base_url.path().ends_with('/') {
            // Without it the last part of the path would be replaced, not extended.
            base_url.set_path(&format!("{}/", base_url.path()));
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
        if tier == TierFile::Website && websites.len() > 1 {
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
            base_url,
            tier,
            token_identifier,
            token_key,
            websites,
            timeout: written.timeout.get(),
            connect_timeout: written.connect_timeout.get(),
            proxy: self.proxy(written.proxy.as_ref()),
            daily_quota: written.daily_quota.unwrap_or(match tier {
                TierFile::Plugin => PLUGIN_QUOTA,
                TierFile::Website => WEBSITE_QUOTA,
            }),
            unproven_share: written.unproven_share.0,
            pause: written.pause.get(),
        }
    }

    fn token(
        &mut self,
        variable: Variable,
        written: Option<(&std::path::Path, &[&str])>,
    ) -> SecretString {
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
                    let place = self
                        .document
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

    fn proxy(&mut self, written: Option<&WebAddress>) -> Option<SecretString> {
        let variable = environment::PROXY;
        let Some(proxy) = self.secret(variable, None) else {
            return written.map(|proxy| SecretString::from(proxy.0.as_str().to_owned()));
        };
        let usable = Url::parse(secrecy::ExposeSecret::expose_secret(&proxy))
            .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some());
        if !usable {
            self.faults.push(
                Fault::new(
                    Place::Named(variable.name.to_owned()),
                    "the value cannot be used",
                )
                .hint("it takes an `http` or `https` URL such as `http://user:password@proxy:3128`"),
            );
        }
        Some(proxy)
    }
}
