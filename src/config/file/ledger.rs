//! `[ledger]`: our own durable store, as written.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::quantity::Interval;

/// `[ledger]`: our own durable store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LedgerFile {
    /// The SQLite file. Its folder must exist, on a local disk.
    pub path: PathBuf,
    /// How long things are kept.
    pub keep: KeepFile,
}

impl Default for LedgerFile {
    fn default() -> Self {
        Self {
            path: PathBuf::from("crisp-sync.db"),
            keep: KeepFile::default(),
        }
    }
}

/// `[ledger.keep]`: how long things are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KeepFile {
    /// Receipts of webhooks.
    pub deliveries: Interval,
    /// What was decided and why, for `explain`.
    pub traces: Interval,
    /// Work that failed for good and was never revived.
    pub dead: Interval,
    /// What we last wrote to a conversation nobody came back to.
    pub conversations: Interval,
}

impl Default for KeepFile {
    fn default() -> Self {
        Self {
            deliveries: Interval::days(30),
            traces: Interval::days(30),
            dead: Interval::days(90),
            conversations: Interval::days(365),
        }
    }
}
