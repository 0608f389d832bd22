//! `[webhooks]`, as meant.

use std::{path::Path, time::Duration};

use secrecy::{ExposeSecret, SecretString};

use super::{
    super::{
        environment,
        faults::{Fault, Place},
        file::WebhooksFile,
    },
    Resolver, listed,
};
use crate::{
    crisp::signature::{SigningSecrets, WebsiteKey},
    ids::WebsiteId,
};

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

impl Resolver<'_> {
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
}
