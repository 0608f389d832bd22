//! `[gap]`, `[alerts]`, as meant.

use std::{fmt, num::NonZeroU32, time::Duration};

use secrecy::ExposeSecret;
use url::Url;

use super::{
    super::{
        environment,
        faults::{Fault, Place},
        file::{AlertsFile, GapFile},
        quantity::WebAddress,
    },
    Resolver,
};

/// How conversations that changed while nobody listened are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GapSettings {
    /// How often each website is listed.
    pub every: Duration,
    /// How far back a list goes.
    pub window: Duration,
    /// How long a website may be silent while its conversations go on.
    pub silence: Duration,
}

/// Who is told when a person is needed.
#[derive(Clone, PartialEq, Eq)]
pub struct AlertSettings {
    /// Where messages go.
    pub url: Option<Url>,
    /// What a message calls this service.
    pub name: String,
    /// Refused requests in 10 minutes from which somebody is told.
    pub signature_failures: NonZeroU32,
}

/// Without the address: whoever knows it may write into somebody's channel.
impl fmt::Debug for AlertSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("AlertSettings")
            .field("url", &self.url.as_ref().map(|_| "…"))
            .field("name", &self.name)
            .field("signature_failures", &self.signature_failures)
            .finish()
    }
}

impl Resolver<'_> {
    pub(in super::super) fn gap(&mut self, written: &GapFile) -> GapSettings {
        let GapFile {
            every,
            window,
            silence,
        } = written;
        if window < every {
            self.fault(
                &["gap", "window"],
                "the window is shorter than the time between two lists",
                "what changed between them would never be seen: make it at least `gap.every`",
            );
        }
        GapSettings {
            every: every.get(),
            window: window.get(),
            silence: silence.get(),
        }
    }

    pub(in super::super) fn alerts(&mut self, written: &AlertsFile) -> AlertSettings {
        AlertSettings {
            url: self.alerts_url(written),
            name: written.name.clone(),
            signature_failures: written.signature_failures,
        }
    }

    fn alerts_url(&mut self, written: &AlertsFile) -> Option<Url> {
        const SLACK: &str = "hooks.slack.com";
        const OPEN: &str = "whoever listens on the way could write into your channel";
        const ENCRYPT: &str = "use `https`; `http` is for a receiver on this machine alone";
        let variable = environment::ALERTS_URL;
        let file = written
            .url_file
            .as_deref()
            .map(|path| (path, &["alerts", "url_file"][..]));
        let is_open = |url: &WebAddress| url.0.scheme() == "http" && !url.is_local();
        let Some(secret) = self.secret(variable, file) else {
            let url = written.url.as_ref()?;
            if is_open(url) {
                self.fault(&["alerts", "url"], OPEN, ENCRYPT);
            } else if url.0.host_str() == Some(SLACK) {
                self.warn(
                    &["alerts", "url"],
                    "this address is a secret: whoever knows it can write into your channel",
                    "set CRISP_SYNC_ALERTS_URL, or name a file in `alerts.url_file`",
                );
            }
            return Some(url.0.clone());
        };
        let (message, hint) = match WebAddress::parse(secret.expose_secret()) {
            Ok(url) if is_open(&url) => (OPEN, ENCRYPT),
            Ok(url) => return Some(url.0),
            Err(_not_quoted) => (
                "the value cannot be used",
                "it takes an `https` URL without a password, such as Slack gives for an incoming webhook",
            ),
        };
        self.faults
            .push(Fault::new(Place::Named(variable.name.to_owned()), message).hint(hint));
        None
    }
}
