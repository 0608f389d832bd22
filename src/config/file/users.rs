//! `[users]`: the app's own database, as written.

use std::{
    collections::BTreeMap,
    num::{NonZeroU32, NonZeroU64},
    path::PathBuf,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::quantity::{Interval, Wait};

/// `[users]`: the app's own database, which is only read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UsersFile {
    /// `postgres://`, `mysql://` or `sqlite://` URL without a password; with one, set `DATABASE_URL`.
    pub url: Option<String>,
    /// File with the whole URL, password and all.
    pub url_file: Option<PathBuf>,
    /// The query that finds a user by e-mail, bound as `:email`. The first row wins. Must be set.
    pub query: Option<String>,
    /// Column of a user's stable key; it survives a change of address.
    pub key: String,
    /// Column of the user's e-mail address.
    pub email: String,
    /// The query that finds a user by key, bound as `:key`; without it lifecycle events look users up by their last known address.
    pub query_by_key: Option<String>,
    /// Longest time the database may spend on one statement.
    pub statement_timeout: Interval,
    /// Longest wait for a connection.
    pub acquire_timeout: Interval,
    /// Most connections to one database.
    pub connections: NonZeroU32,
    /// Whether a connection pooler in transaction mode (`PgBouncer`) stands between; statements are then not prepared.
    pub pooler: bool,
    /// Time zone of timestamps without one, as an IANA name.
    pub timezone: String,
    /// Further look-ups, up to 4, made in parallel and bound to the first row's columns.
    pub more: BTreeMap<String, MoreFile>,
    /// How long an answer is reused.
    pub cache: CacheFile,
}

impl Default for UsersFile {
    fn default() -> Self {
        Self {
            url: None,
            url_file: None,
            query: None,
            key: "id".to_owned(),
            email: "email".to_owned(),
            query_by_key: None,
            statement_timeout: Interval::seconds(5),
            acquire_timeout: Interval::seconds(2),
            connections: NonZeroU32::new(4).expect("not zero"),
            pooler: false,
            timezone: "UTC".to_owned(),
            more: BTreeMap::new(),
            cache: CacheFile::default(),
        }
    }
}

/// `[users.more.<name>]`: one further look-up; its columns are `<name>.<column>`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MoreFile {
    /// The query, with the first row's columns as `:column`. Must be set.
    pub query: Option<String>,
    /// Another database, without a password; with one, set `DATABASE_URL_<NAME>`. That of `[users]` when unset.
    pub url: Option<String>,
}

/// `[users.cache]`: how long an answer is reused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CacheFile {
    /// A user that was found.
    pub found: Wait,
    /// "Nobody has this address": short, because the next thing a visitor does may be to sign up.
    pub not_found: Wait,
    /// Most users remembered.
    pub capacity: NonZeroU64,
}

impl Default for CacheFile {
    fn default() -> Self {
        Self {
            found: Wait::seconds(30),
            not_found: Wait::seconds(10),
            capacity: NonZeroU64::new(10_000).expect("not zero"),
        }
    }
}
