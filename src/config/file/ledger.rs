//! `[ledger]`: our own durable store, as written.

use std::{num::NonZeroU32, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::quantity::Interval;

/// `[ledger]`: our own durable store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LedgerFile {
    /// The SQLite file; `crisp-sync.db` when neither it nor `url` is set. Its folder must exist, on a local disk. A relative path starts at the folder of the configuration file.
    pub path: Option<PathBuf>,
    /// Instead of a file: `postgres://` URL, without a password, of a database that any number of replicas share; with a password, set `CRISP_SYNC_LEDGER`.
    pub url: Option<String>,
    /// File with the whole URL, password and all.
    pub url_file: Option<PathBuf>,
    /// Most connections of one replica to that database.
    pub connections: NonZeroU32,
    /// Age at which deliveries, traces and finished work are deleted. What was sent is remembered for ever.
    pub keep: Interval,
}

impl Default for LedgerFile {
    fn default() -> Self {
        Self {
            path: None,
            url: None,
            url_file: None,
            connections: NonZeroU32::new(8).expect("not zero"),
            keep: Interval::days(30),
        }
    }
}
