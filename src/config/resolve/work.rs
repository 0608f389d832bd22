//! `[triggers]`, `[worker]`, `[ledger]`, as meant.

use std::{
    collections::BTreeSet,
    num::{NonZeroU32, NonZeroUsize},
    path::{Path, PathBuf},
    time::Duration,
};

use secrecy::ExposeSecret as _;
use url::Url;

use super::{
    super::{
        environment,
        faults::{Fault, Place},
        file::{ConfigFile, LedgerFile, TriggerName, TriggersFile, WorkerFile},
    },
    Resolver,
};
use crate::{
    ledger::{LedgerSettings, Location},
    worker::Chance,
};

const URL_HINT: &str = "it takes the path of a file, or `postgres://user@host/database`";

/// What makes a conversation be refreshed, and how often.
#[derive(Debug, Clone)]
pub struct TriggerSettings {
    /// The webhooks that ask for a refresh.
    pub on: BTreeSet<TriggerName>,
    /// How long a refreshed conversation counts as fresh.
    pub fresh_for: Duration,
    /// How long the first refresh waits for what belongs together.
    pub debounce: Duration,
}

/// How work is done and tried again.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// Pieces of work in hand at a time.
    pub concurrency: NonZeroUsize,
    /// How long one attempt may take before another process may take over.
    pub lease: Duration,
    /// Attempts before work is buried.
    pub attempts: NonZeroU32,
    /// The first wait after a failure.
    pub backoff_min: Duration,
    /// The longest wait after a failure.
    pub backoff_max: Duration,
    /// Where jitter comes from. No file says so.
    pub chance: Chance,
}

impl Resolver<'_> {
    pub(in super::super) fn ledger(&mut self, written: &ConfigFile) -> LedgerSettings {
        let settings = LedgerSettings {
            urgent_limit: written.triggers.urgent_cap.get(),
            waiting_limit: written.webhooks.max_waiting.get(),
            day_begins: written.crisp.quota_resets_at.since_midnight(),
            connections: written.ledger.connections.get(),
            ..LedgerSettings::of(self.location(&written.ledger))
        };
        if written.worker.lease.get() > settings.longest_lease {
            self.fault(
                &["worker", "lease"],
                "the lease is longer than 15 minutes",
                "a crashed process would hold its work that long; make it shorter",
            );
        }
        settings
    }

    /// A file, or a server: the environment's word, or else what the file says, which may say one of them.
    pub(in super::super) fn location(&mut self, written: &LedgerFile) -> Location {
        let named = [
            ("path", written.path.is_some()),
            ("url", written.url.is_some()),
            ("url_file", written.url_file.is_some()),
        ];
        let mut named = named.iter().filter(|(_, is_set)| *is_set);
        if let (Some((first, _)), Some((second, _))) = (named.next(), named.next()) {
            self.fault(
                &["ledger", second],
                format!("`ledger.{first}` is set as well"),
                "the ledger is in one place: keep one of the two",
            );
        }
        let file = written
            .url_file
            .as_deref()
            .map(|path| (path, &["ledger", "url_file"][..]));
        if let Some(text) = self.secret(environment::LEDGER, file) {
            let exposed = text.expose_secret();
            if Location::is_server(exposed) {
                return Location::Server(text);
            }
            if exposed.contains("://") {
                let place = Place::Named(self.environment.origin(environment::LEDGER).to_owned());
                let fault = Fault::new(place, "the ledger cannot be kept there");
                self.faults.push(fault.hint(URL_HINT));
            }
            return Location::File(PathBuf::from(exposed));
        }
        if let Some(url) = &written.url {
            if Url::parse(url).is_ok_and(|url| url.password().is_some())
                || url.contains("password=")
            {
                self.fault(
                    &["ledger", "url"],
                    "`ledger.url` holds a password",
                    "set CRISP_SYNC_LEDGER to the whole URL, or leave the password out of the file",
                );
            } else if !Location::is_server(url) {
                self.fault(
                    &["ledger", "url"],
                    "this is no URL of a PostgreSQL database",
                    "it takes `postgres://user@host/database`",
                );
            }
            return Location::Server(url.clone().into());
        }
        let path = written
            .path
            .as_deref()
            .unwrap_or(Path::new("crisp-sync.db"));
        if path.to_string_lossy().contains("://") {
            self.fault(
                &["ledger", "path"],
                "this is a URL, and no path of a file",
                "a PostgreSQL database goes into `ledger.url`",
            );
        }
        Location::File(self.located(path))
    }

    pub(in super::super) fn triggers(&mut self, written: &TriggersFile) -> TriggerSettings {
        if written.on.is_empty() {
            self.fault(
                &["triggers", "on"],
                "no webhook asks for a refresh, so no conversation would ever get its context",
                "name at least `session:set_email`, or leave the key out for all of them",
            );
        }
        TriggerSettings {
            on: written.on.iter().copied().collect(),
            fresh_for: written.fresh_for.get(),
            debounce: written.debounce.get(),
        }
    }

    pub(in super::super) fn worker(
        &mut self,
        written: &WorkerFile,
        crisp_timeout: Duration,
    ) -> WorkerSettings {
        if written.lease.get() < crisp_timeout * 3 {
            self.fault(
                &["worker", "lease"],
                "the lease is shorter than three calls to Crisp may take",
                "an attempt must end before its lease does: lengthen it, or shorten `crisp.timeout`",
            );
        }
        if written.backoff_max < written.backoff_min {
            self.fault(
                &["worker", "backoff_max"],
                "the longest wait is shorter than the first",
                "make it at least `worker.backoff_min`",
            );
        }
        WorkerSettings {
            concurrency: written.concurrency,
            lease: written.lease.get(),
            attempts: written.attempts,
            backoff_min: written.backoff_min.get(),
            backoff_max: written.backoff_max.get(),
            chance: Chance::System,
        }
    }
}
