//! `[triggers]`, `[worker]`, `[ledger]`, as meant.

use std::{
    collections::BTreeSet,
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    time::Duration,
};

use super::{
    super::{
        environment,
        file::{ConfigFile, LedgerFile, TriggerName, TriggersFile, WorkerFile},
    },
    Resolver,
};
use crate::ledger::LedgerSettings;

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
}

impl Resolver<'_> {
    pub(in super::super) fn ledger(&mut self, written: &ConfigFile) -> LedgerSettings {
        let LedgerFile { path, keep: _ } = &written.ledger;
        let path = self.located(path);
        let path = self.overridden(environment::LEDGER, path, |text| Ok(PathBuf::from(text)));
        let shown = path.to_string_lossy();
        if shown.contains("://") {
            self.fault(
                &["ledger", "path"],
                "the ledger is a SQLite file; this is a URL",
                "give a path such as `/var/lib/crisp-sync/ledger.db`",
            );
        }
        let settings = LedgerSettings {
            urgent_limit: written.triggers.urgent_cap.get(),
            waiting_limit: written.webhooks.max_waiting.get(),
            day_begins: written.crisp.quota_resets_at.since_midnight(),
            ..LedgerSettings::at(path.clone())
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
        }
    }
}
