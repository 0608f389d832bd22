//! What was written: the configuration file, key by key.
//!
//! The structs say what a key means, its unit and its default, and they are the only place that does:
//! `docs/configuration.md` and `docs/crisp-sync.schema.json` are made from them. Nothing here is checked beyond its own
//! shape; what a key means together with others and with the environment is `resolve`'s business. Keys that
//! must be set are optional here, so that a file without them still shows all its other faults.

pub mod context;
pub mod crisp;
pub mod identity;
pub mod ledger;
pub mod server;
pub mod users;
pub mod watch;
pub mod work;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use context::ContextFile;
pub use crisp::CrispFile;
pub use identity::IdentityFile;
pub use ledger::LedgerFile;
pub use server::{LogFile, ServerFile, WebhooksFile};
pub use users::{CacheFile, MoreFile, UsersFile};
pub use watch::{AlertsFile, GapFile};
pub use work::{TriggerName, TriggersFile, WorkerFile};

use crate::{context::ProfileSource, lifecycle::LifecycleSource};

/// Whether anything is written to Crisp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Everything but writing to Crisp.
    #[default]
    Observe,
    /// Acts.
    Live,
}

/// The configuration of crisp-sync.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ConfigFile {
    /// `observe` does everything but write to Crisp; `live` acts.
    pub mode: Mode,
    /// The two listeners.
    pub server: ServerFile,
    /// How Crisp's webhooks are accepted.
    pub webhooks: WebhooksFile,
    /// Crisp's REST API.
    pub crisp: CrispFile,
    /// Our own durable store.
    pub ledger: LedgerFile,
    /// The app's own database, which is only read.
    pub users: UsersFile,
    /// Words for codes, by map and code: `{{ plan | map('plan') }}`.
    pub maps: BTreeMap<String, BTreeMap<String, String>>,
    /// What a conversation and a contact show.
    pub context: ContextFile,
    /// What fills a contact's profile where Crisp has nothing.
    pub profile: ProfileSource,
    /// Whom to believe about an e-mail address.
    pub identity: IdentityFile,
    /// What makes a conversation be refreshed, and how often.
    pub triggers: TriggersFile,
    /// How work is done and tried again.
    pub worker: WorkerFile,
    /// Lifecycle events that Crisp may have missed.
    pub lifecycle: LifecycleSource,
    /// Conversations that changed while nobody listened.
    pub gap: GapFile,
    /// Who is told when a person is needed.
    pub alerts: AlertsFile,
    /// Log lines.
    pub log: LogFile,
}
