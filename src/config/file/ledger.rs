//! `[ledger]`: our own durable store, as written.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::quantity::Interval;

/// `[ledger]`: our own durable store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LedgerFile {
    /// The SQLite file. Its folder must exist, on a local disk. A relative path starts at the folder of the configuration file.
    pub path: PathBuf,
    /// Age at which deliveries, traces and finished work are deleted. What was sent is remembered for ever.
    pub keep: Interval,
}

impl Default for LedgerFile {
    fn default() -> Self {
        Self {
            path: PathBuf::from("crisp-sync.db"),
            keep: Interval::days(30),
        }
    }
}
