//! Takes up a secret that was replaced, without a restart: the token for Crisp's API, and what webhooks are checked with.
//!
//! Only secrets that come from files can be; the environment of a process does not change. A new token ends the pauses that
//! the old one led to. The app's database and the ops listener keep what they were started with.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::sync::Mutex;

use super::settings;
use crate::{
    config::{Config, SecretSource},
    crisp::client::{ApiToken, Client},
    ledger::{Ledger, LedgerError},
    server::HookKeys,
    telemetry::events,
};

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(5);

/// What is looked at, and whom a new secret is told. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct SecretWatch {
    source: SecretSource,
    crisp: Client,
    keys: HookKeys,
    ledger: Ledger,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug)]
struct Seen {
    files: Vec<(PathBuf, Option<Look>)>,
    token: ApiToken,
    /// What was said last of files that cannot be used: once is enough.
    complaint: Option<String>,
}

/// What tells one content of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    modified: Option<SystemTime>,
    length: u64,
    /// A file that is moved over another may be as old and as long.
    number: u64,
}

impl Look {
    fn at(path: &Path) -> Option<Self> {
        let file = fs::metadata(path).ok()?;
        #[cfg(unix)]
        let number = std::os::unix::fs::MetadataExt::ino(&file);
        #[cfg(not(unix))]
        let number = 0;
        Some(Self {
            modified: file.modified().ok(),
            length: file.len(),
            number,
        })
    }
}

impl SecretWatch {
    pub(super) fn new(config: &Config, crisp: Client, keys: HookKeys, ledger: Ledger) -> Self {
        let files = config.secret_files.iter();
        let seen = Seen {
            // Nobody has looked: since they were read, they may have been replaced.
            files: files.map(|file| (file.clone(), None)).collect(),
            token: config.crisp.client.token.clone(),
            complaint: None,
        };
        Self {
            source: config.secrets.clone(),
            crisp,
            keys,
            ledger,
            seen: Arc::new(Mutex::new(seen)),
        }
    }

    /// Looks again and again, for as long as it is polled.
    pub(super) async fn run(self) {
        if self.seen.lock().await.files.is_empty() {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(EVERY).await;
            if let Err(error) = self.step().await {
                tracing::error!(event = events::WORKER_FAULT, %error, "a pause could not be ended; its probe will");
            }
        }
    }

    /// Looks once. A file that cannot be used now, because it is being written, is looked at again.
    pub(super) async fn step(&self) -> Result<(), LedgerError> {
        let mut seen = self.seen.lock().await;
        let now: Vec<_> = seen.files.iter().map(|(file, _)| Look::at(file)).collect();
        if seen.files.iter().map(|(_, look)| look).eq(now.iter()) {
            return Ok(());
        }
        let secrets = match self.source.read() {
            Ok(secrets) => secrets,
            Err(faults) => {
                for fault in faults.faults() {
                    if seen.complaint.as_ref() == Some(&fault.message) {
                        continue;
                    }
                    seen.complaint = Some(fault.message.clone());
                    tracing::warn!(
                        event = events::SECRET_UNUSABLE,
                        place = faults.place(fault),
                        reason = fault.message,
                        hint = fault.hint,
                        "a secret that was replaced cannot be used; the old one stays"
                    );
                }
                return Ok(());
            }
        };
        for ((_, look), now) in seen.files.iter_mut().zip(now) {
            *look = now;
        }
        seen.complaint = None;
        let keys = settings::keys(&secrets.webhooks);
        let are_new = !self.keys.read().are(&keys);
        if are_new {
            self.keys.renew(keys);
            renewed("signing secrets");
        }
        if seen.token != secrets.token {
            self.crisp.renew(&secrets.token);
            seen.token = secrets.token;
            renewed("token");
            self.ledger.resume(None).await?;
            for pause in self.ledger.pauses().await? {
                self.ledger.resume(pause.website.as_ref()).await?;
            }
        }
        Ok(())
    }
}

fn renewed(secret: &'static str) {
    tracing::info!(
        event = events::SECRET_RENEWED,
        secret,
        "a secret was replaced: the new one is used from now on"
    );
}
