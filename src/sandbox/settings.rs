//! What a sandbox is told before it starts, and what may be switched while it runs.
//!
//! [`SandboxSettings`] is fixed at the start; [`Behaviour`] holds the switches for what nobody knows about Crisp
//! (merge or replace, caches, caps), so that a service can be shown to be right either way.

use serde::{Deserialize, Serialize};

/// The website a sandbox has when nobody names another.
pub const DEFAULT_WEBSITE: &str = "0b7e4c1a-6f1d-4a58-9d0e-2f5b7c9a1e11";
/// The identifier of the token a sandbox has when nobody names another.
pub const DEFAULT_TOKEN_IDENTIFIER: &str = "5a6d0f1e-0c7b-4b8e-9f5e-3d2c1b0a9f8e";
/// Its key.
pub const DEFAULT_TOKEN_KEY: &str =
    "7f4c2b9d8e1a6053c7d2f19b0a4e8c6d5b3f2a1908e7d6c5b4a39281706f5e4d";

/// How a sandbox is set up.
#[derive(Debug, Clone)]
pub struct SandboxSettings {
    /// Where it listens; port 0 takes a free one.
    pub bind: String,
    /// The websites that installed the plugin.
    pub websites: Vec<String>,
    /// The tokens it accepts.
    pub tokens: Vec<TokenSettings>,
    /// Where its webhooks go; none until somebody says.
    pub webhook: Option<WebhookSettings>,
    /// How it behaves where Crisp's behaviour is a matter of doubt.
    pub behaviour: Behaviour,
}

impl Default for SandboxSettings {
    fn default() -> Self {
        Self {
            bind: "127.0.0.1:0".to_owned(),
            websites: vec![DEFAULT_WEBSITE.to_owned()],
            tokens: vec![TokenSettings::default()],
            webhook: None,
            behaviour: Behaviour::default(),
        }
    }
}

/// A token that the sandbox's REST API accepts.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TokenSettings {
    /// The name half of Basic authentication.
    pub identifier: String,
    /// The password half.
    pub key: String,
    /// What `X-Crisp-Tier` must say: `plugin` or `website`.
    pub tier: String,
    /// `website:people:events` (read and write) or with `:read`, `:write` behind; none means they are not enforced, as
    /// with a development token.
    pub scopes: Option<Vec<String>>,
}

impl Default for TokenSettings {
    fn default() -> Self {
        Self {
            identifier: DEFAULT_TOKEN_IDENTIFIER.to_owned(),
            key: DEFAULT_TOKEN_KEY.to_owned(),
            tier: "plugin".to_owned(),
            scopes: None,
        }
    }
}

impl std::fmt::Debug for TokenSettings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("TokenSettings")
            .field("tier", &self.tier)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

impl TokenSettings {
    /// Whether this token may do that: `scope` is a name such as `website:people:data`.
    pub(super) fn allows(&self, scope: &str, write: bool) -> bool {
        let suffix = if write { "write" } else { "read" };
        self.scopes.as_ref().is_none_or(|held| {
            held.iter().any(|entry| {
                entry == scope
                    || entry
                        .strip_prefix(scope)
                        .is_some_and(|rest| rest.strip_prefix(':') == Some(suffix))
            })
        })
    }
}

/// Where webhooks go and how the receiver knows that they are genuine.
#[derive(Clone, Deserialize)]
#[serde(try_from = "WrittenWebhook")]
pub struct WebhookSettings {
    /// The receiver's address.
    pub url: String,
    /// Signed or not.
    pub proof: HookProof,
}

/// A webhook as a script writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenWebhook {
    url: String,
    secret: Option<String>,
    url_key: Option<String>,
}

impl TryFrom<WrittenWebhook> for WebhookSettings {
    type Error = &'static str;

    fn try_from(written: WrittenWebhook) -> Result<Self, Self::Error> {
        match (written.secret, written.url_key) {
            (Some(secret), None) => Ok(Self::signed(written.url, secret)),
            (None, Some(key)) => Ok(Self::keyed(written.url, key)),
            _ => Err("a webhook takes either `secret` or `url_key`"),
        }
    }
}

impl WebhookSettings {
    /// A plugin hook: signed with `secret`.
    pub fn signed(url: impl Into<String>, secret: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            proof: HookProof::Secret(secret.into()),
        }
    }

    /// A website hook: unsigned, with `?key=` in the address.
    pub fn keyed(url: impl Into<String>, key: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            proof: HookProof::UrlKey(key.into()),
        }
    }
}

impl std::fmt::Debug for WebhookSettings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("WebhookSettings")
            .finish_non_exhaustive()
    }
}

/// How a webhook shows that it is genuine.
#[derive(Clone)]
pub enum HookProof {
    /// Plugin hook: the signing secret.
    Secret(String),
    /// Website hook: the `key` parameter of the address.
    UrlKey(String),
}

/// What a write does to what was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Semantics {
    /// What was there and is not sent again stays.
    Merge,
    /// What is sent is all there is.
    #[default]
    Replace,
}

/// The switches. Every one of them may be turned while the sandbox runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "a board of independent switches"
)]
pub struct Behaviour {
    /// `PATCH meta` with `data`.
    pub session_data: Semantics,
    /// `PATCH meta` with `segments`.
    pub session_segments: Semantics,
    /// `PATCH profile` with `segments`.
    pub contact_segments: Semantics,
    /// Only this many of a contact's newest events are kept in the list.
    pub list_cap: Option<usize>,
    /// How many entries a page of a contact's events holds.
    pub page_size: usize,
    /// Lists are answered from the first answer given, with `Bloom-Status: HIT`, until the cache is flushed.
    pub cached_lists: bool,
    /// What is written to a conversation's data is also written to the contact's.
    pub session_data_flows_into_contacts: bool,
    /// A conversation whose e-mail becomes known makes a contact.
    pub creates_contacts: bool,
    /// REST writes come back as webhooks.
    pub echoes: bool,
    /// What `X-Delivery-Attempt-Limit` says.
    pub attempt_limit: u32,
    /// Failed webhooks are sent again after this many milliseconds; none means on demand only.
    pub retry_after_ms: Option<u64>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            session_data: Semantics::Replace,
            session_segments: Semantics::Replace,
            contact_segments: Semantics::Replace,
            list_cap: None,
            page_size: 20,
            cached_lists: false,
            session_data_flows_into_contacts: false,
            creates_contacts: true,
            echoes: true,
            attempt_limit: 5,
            retry_after_ms: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_covers_what_it_names() {
        let token = |scopes: &[&str]| TokenSettings {
            scopes: Some(scopes.iter().map(|&scope| scope.to_owned()).collect()),
            ..TokenSettings::default()
        };
        assert!(TokenSettings::default().allows("website:people:data", true));
        assert!(token(&["website:people:data"]).allows("website:people:data", true));
        assert!(token(&["website:people:data:read"]).allows("website:people:data", false));
        assert!(!token(&["website:people:data:read"]).allows("website:people:data", true));
        assert!(!token(&["website:people:profiles"]).allows("website:people:data", false));
    }

    #[test]
    fn secrets_are_not_printed() {
        let webhook = WebhookSettings::signed("http://127.0.0.1/", "topsecret");
        assert!(!format!("{webhook:?}").contains("topsecret"));
        assert!(!format!("{:?}", TokenSettings::default()).contains(DEFAULT_TOKEN_KEY));
    }
}
