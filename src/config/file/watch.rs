//! `[gap]`, `[alerts]`: what is looked after without anybody asking, as written.

use std::{num::NonZeroU32, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::quantity::{Interval, WebAddress};

/// `[gap]`: conversations that changed while nobody listened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GapFile {
    /// How often each website's conversations are listed, beside once at a start before which nobody ran for more than 90 seconds; less often where that would take more than 5 % of the quota.
    pub every: Interval,
    /// How far back a list goes at the most, however long nobody listened.
    pub window: Interval,
    /// How long a website may send no webhook while its conversations go on, before that is a fault.
    pub silence: Interval,
}

impl Default for GapFile {
    fn default() -> Self {
        Self {
            every: Interval::seconds(60 * 60),
            window: Interval::seconds(24 * 60 * 60),
            silence: Interval::seconds(6 * 60 * 60),
        }
    }
}

/// `[alerts]`: who is told when a person is needed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AlertsFile {
    /// Where messages go, as Slack's incoming webhooks take them. Slack's address is a secret: set `CRISP_SYNC_ALERTS_URL` instead. `https`, or `http` to this machine. Unset: conditions show in the log, in metrics and in `/status`.
    pub url: Option<WebAddress>,
    /// File with that address.
    pub url_file: Option<PathBuf>,
    /// What a message calls this service: `crisp-sync staging`.
    pub name: String,
    /// Requests on the webhook route that prove no right to be there, in 10 minutes, from which somebody is told.
    pub signature_failures: NonZeroU32,
}

impl Default for AlertsFile {
    fn default() -> Self {
        Self {
            url: None,
            url_file: None,
            name: "crisp-sync".to_owned(),
            signature_failures: NonZeroU32::new(20).expect("not zero"),
        }
    }
}
