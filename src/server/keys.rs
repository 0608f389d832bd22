//! What webhooks are checked with. It may be replaced while the service runs.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use crate::crisp::signature::{SigningSecrets, WebsiteKey};

/// Signing secrets and keys. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct HookKeys(Arc<RwLock<Keys>>);

/// The keys of one moment.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    /// Signing secrets of plugin hooks; any of them may have signed.
    pub signing_secrets: SigningSecrets,
    /// Keys of website hooks, which are not signed. Empty: such requests are refused.
    pub website_keys: Vec<WebsiteKey>,
}

impl HookKeys {
    /// Begins with these.
    pub fn new(keys: Keys) -> Self {
        Self(Arc::new(RwLock::new(keys)))
    }

    /// Those of now. Held while one request is checked, and not across a wait.
    pub fn read(&self) -> RwLockReadGuard<'_, Keys> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces them: for every clone, from the next request on.
    pub fn renew(&self, keys: Keys) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }
}

impl Keys {
    /// Whether these are the same keys.
    pub fn are(&self, others: &Self) -> bool {
        self.signing_secrets.are(&others.signing_secrets)
            && self.website_keys.len() == others.website_keys.len()
            && (self.website_keys.iter())
                .zip(&others.website_keys)
                .all(|(one, other)| one.is(other))
    }
}
