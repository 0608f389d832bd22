//! `[crisp]`: Crisp's REST API, as written.

use std::{num::NonZeroU32, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::super::quantity::{Interval, Percent, TimeOfDay, WebAddress};
use crate::crisp::client::{BASE_URL, Tier};

/// `[crisp]`: Crisp's REST API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CrispFile {
    /// Where the API answers.
    pub base_url: WebAddress,
    /// Kind of the token: `plugin` or `website`.
    pub tier: Tier,
    /// File with the token's identifier; or set `CRISP_TOKEN_IDENTIFIER`.
    pub token_identifier_file: Option<PathBuf>,
    /// File with the token's key; or set `CRISP_TOKEN_KEY`.
    pub token_key_file: Option<PathBuf>,
    /// Website ids we act for. Deliveries for others are acknowledged and not stored. Empty: every website that installed the plugin.
    pub websites: Vec<String>,
    /// Longest wait for one answer.
    pub timeout: Interval,
    /// Longest wait for a connection.
    pub connect_timeout: Interval,
    /// HTTP proxy for calls to Crisp; with a password, set `CRISP_SYNC_PROXY`. The proxy variables of the system are not heeded.
    pub proxy: Option<WebAddress>,
    /// Calls Crisp grants per day; 5,000 for a plugin token and 10,000 for a website token when unset.
    pub daily_quota: Option<NonZeroU32>,
    /// Share of the quota, in percent, that conversations without a proven e-mail may use together.
    pub unproven_share: Percent,
    /// Share of the quota, in percent, that lists and sweeps leave to the rest. Events leave half of it, conversations an eighth; an operator who opens one is stopped by Crisp alone.
    pub reserve: Percent,
    /// When Crisp's day begins, in UTC: nobody but Crisp knows, and a refusal corrects the guess.
    pub quota_resets_at: TimeOfDay,
    /// How long calls wait after a refusal of the token (401, 420, 423, 429) that names no time; then one probe is made.
    pub pause: Interval,
}

impl Default for CrispFile {
    fn default() -> Self {
        Self {
            base_url: WebAddress(Url::parse(BASE_URL).expect("the constant is a URL")),
            tier: Tier::Plugin,
            token_identifier_file: None,
            token_key_file: None,
            websites: Vec::new(),
            timeout: Interval::seconds(10),
            connect_timeout: Interval::seconds(3),
            proxy: None,
            daily_quota: None,
            unproven_share: Percent(20),
            reserve: Percent(40),
            quota_resets_at: TimeOfDay::MIDNIGHT,
            pause: Interval::seconds(15 * 60),
        }
    }
}
