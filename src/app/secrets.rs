//! Takes up a secret that was replaced, without a restart: the token for Crisp's API, what webhooks are checked with, and the
//! user and the password in the URLs of databases.
//!
//! Only secrets that come from files can be; the environment of a process does not change. A new token ends the pauses that
//! the old one led to. A URL that leads to another database is refused until a restart: whoever replaces a password must
//! not end up with another ledger. The ops listener, alerts and the proxy keep what they were started with.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Mutex;

use super::settings;
use crate::{
    config::{Config, DatabaseSetting, SecretSource, Secrets, leads_to_the_same},
    crisp::client::{ApiToken, Client},
    ledger::{Ledger, LedgerError, Location},
    server::HookKeys,
    telemetry::events,
    users::UserDirectory,
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
    users: UserDirectory,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug)]
struct Seen {
    files: Vec<(PathBuf, Option<Look>)>,
    token: ApiToken,
    databases: BTreeMap<DatabaseSetting, SecretString>,
    /// Where and why files cannot be used, as it was said last: once is enough.
    complaints: BTreeSet<(String, String)>,
}

/// What the service is started with.
#[derive(Debug)]
pub(super) struct Known {
    source: SecretSource,
    seen: Seen,
}

impl Known {
    pub(super) fn of(config: &Config) -> Self {
        let mut databases = BTreeMap::from([(DatabaseSetting::Users, config.users.url.clone())]);
        if let Location::Server(url) = &config.ledger.location {
            databases.insert(DatabaseSetting::Ledger, url.clone());
        }
        for (name, more) in &config.users.more {
            let setting = DatabaseSetting::More(name.clone());
            databases.extend(more.url.clone().map(|url| (setting, url)));
        }
        let files = config.secret_files.iter();
        Self {
            source: config.secrets.clone(),
            seen: Seen {
                // Nobody has looked: since they were read, they may have been replaced.
                files: files.map(|file| (file.clone(), None)).collect(),
                token: config.crisp.client.token.clone(),
                databases,
                complaints: BTreeSet::new(),
            },
        }
    }
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
    pub(super) fn new(
        known: Known,
        crisp: Client,
        keys: HookKeys,
        ledger: Ledger,
        users: UserDirectory,
    ) -> Self {
        Self {
            source: known.source,
            crisp,
            keys,
            ledger,
            users,
            seen: Arc::new(Mutex::new(known.seen)),
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
                tracing::warn!(
                    event = events::CRISP_PAUSE_REMAINS,
                    %error,
                    hint = "nothing: the pause's own probe takes the new token and ends it",
                    "a pause that the old token led to could not be ended"
                );
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
                let told = std::mem::take(&mut seen.complaints);
                for fault in faults.faults() {
                    let complaint = (faults.place(fault), fault.message.clone());
                    let is_told = told.contains(&complaint);
                    seen.complaints.insert(complaint);
                    if is_told {
                        continue;
                    }
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
        seen.complaints.clear();
        self.take_up(&mut seen, secrets).await
    }

    async fn take_up(&self, seen: &mut Seen, secrets: Secrets) -> Result<(), LedgerError> {
        // First: the ledger may have to be reached to end a pause.
        for (setting, url) in &secrets.databases {
            self.reach_anew(seen, setting, url, &secrets.databases);
        }
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

impl SecretWatch {
    fn reach_anew(
        &self,
        seen: &mut Seen,
        setting: &DatabaseSetting,
        url: &SecretString,
        all: &BTreeMap<DatabaseSetting, SecretString>,
    ) {
        let is_known = |known: &SecretString| known.expose_secret() == url.expose_secret();
        let Some(known) = seen.databases.get(setting).filter(|known| !is_known(known)) else {
            return;
        };
        let mut apart = all.iter().filter(|(_, theirs)| !is_known(theirs));
        let unusable = |reason, hint| {
            tracing::warn!(
                event = events::SECRET_UNUSABLE,
                place = %setting,
                reason,
                hint,
                "a URL that was replaced cannot be used; the old one stays"
            );
        };
        if let Some((other, _)) = apart.find(|(other, _)| self.share(setting, other)) {
            return unusable(
                format!("`{setting}` shares its connections with `{other}`, which says otherwise"),
                "both are taken up as soon as they are the same again; each gets connections of its own by a restart",
            );
        }
        let taken = leads_to_the_same(known, url)
            && match setting {
                DatabaseSetting::Ledger => self.ledger.renew(url).is_ok(),
                _ => self.users.renew(further(setting), url).is_ok(),
            };
        if !taken {
            return unusable(
                format!("`{setting}` names another database, or is no URL"),
                "user and password are taken up at once; anything else of it by a restart",
            );
        }
        seen.databases.insert(setting.clone(), url.clone());
        renewed(&setting.to_string());
    }

    /// Whether both settings are about one pool.
    fn share(&self, one: &DatabaseSetting, other: &DatabaseSetting) -> bool {
        let is_of_users = |setting: &DatabaseSetting| *setting != DatabaseSetting::Ledger;
        is_of_users(one) && is_of_users(other) && self.users.share(further(one), further(other))
    }
}

/// The further look-up that a setting is about, if it is about one.
fn further(setting: &DatabaseSetting) -> Option<&str> {
    match setting {
        DatabaseSetting::More(name) => Some(name),
        DatabaseSetting::Ledger | DatabaseSetting::Users => None,
    }
}

fn renewed(secret: &str) {
    tracing::info!(
        event = events::SECRET_RENEWED,
        secret,
        "a secret was replaced: the new one is used from now on"
    );
}
