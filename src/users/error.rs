//! What can go wrong with the app's database, sorted by what the caller does next.

use std::time::Duration;

use super::{classify::CONNECT_TIMEOUT, query_name::QueryName};

/// Why the app's database did not answer. Cheap to clone: everyone who waited for one look-up gets it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum UsersError {
    /// No connection, or one that broke. Try again later.
    #[error("could not reach the app's database for {query}: {refusal}")]
    Unavailable {
        /// Which query was to run.
        query: QueryName,
        /// What the driver said. Part of the message, so not its source as well.
        refusal: Refusal,
    },
    /// The query ran longer than `users.statement_timeout`. Try again later.
    #[error("{query} took longer than {} ms", after.as_millis())]
    Timeout {
        /// Which query.
        query: QueryName,
        /// The limit.
        after: Duration,
    },
    /// Every connection we may open is in use, or the database is locked. Try again soon.
    #[error("no connection for {query} within {} ms", after.as_millis())]
    Busy {
        /// Which query was to run.
        query: QueryName,
        /// How long we waited.
        after: Duration,
    },
    /// It failed again and again, so nobody but a probe asks. Try again when it works.
    #[error("look-ups wait: `{breaker}` fails")]
    Waits {
        /// The breaker that is open.
        breaker: String,
    },
    /// The server refused the query, or its answer lacks what a look-up needs. Trying again does not help.
    #[error("{query} failed: {message}")]
    Query {
        /// Which query.
        query: QueryName,
        /// What is wrong.
        message: String,
        /// What to change.
        hint: Option<&'static str>,
        /// What the server said, where it spoke. Part of the message, so not its source as well.
        refusal: Option<Refusal>,
    },
    /// A value that cannot be what its column's type says, or a key that is no key. Trying again does not help.
    #[error("{query}: column `{column}` {message}")]
    Decode {
        /// Which query.
        query: QueryName,
        /// The column.
        column: String,
        /// What is wrong with its value, without the value.
        message: String,
    },
    /// The settings cannot work. Trying again does not help.
    #[error("{message}")]
    Config {
        /// What is wrong.
        message: String,
        /// What to change.
        hint: Option<&'static str>,
    },
}

impl UsersError {
    /// Whether the same look-up may succeed later without anyone changing anything here.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unavailable { .. }
                | Self::Timeout { .. }
                | Self::Busy { .. }
                | Self::Waits { .. }
        )
    }

    /// The breaker that counts such failures; none where only this one look-up is at fault.
    pub fn breaker(&self) -> Option<String> {
        match self {
            // Further look-ups may have a database of their own, whose breaker is a part of this.
            Self::Unavailable { .. } | Self::Timeout { .. } | Self::Busy { .. } => {
                Some(crate::breaker::USERS.to_owned())
            }
            Self::Waits { breaker } => Some(breaker.clone()),
            Self::Query { query, .. } | Self::Decode { query, .. } if self.is_over_a_value() => {
                Some(query.counter_of_values())
            }
            Self::Query { query, .. } | Self::Decode { query, .. } => Some(query.breaker()),
            Self::Config { .. } => None,
        }
    }

    /// Whether one value was at fault, of the row or of the look-up, and not the query: it may work for everybody else.
    pub(super) fn is_over_a_value(&self) -> bool {
        match self {
            Self::Decode { .. } => true,
            Self::Query { refusal, .. } => refusal.as_ref().is_some_and(Refusal::is_over_a_value),
            _ => false,
        }
    }

    /// Whether it may be the trouble of the one row that was looked up: others may be looked up all the same.
    pub fn may_be_of_one(&self) -> bool {
        matches!(
            self,
            Self::Query { .. } | Self::Decode { .. } | Self::Timeout { .. }
        )
    }

    /// The next step, where there is one.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unavailable { refusal, .. } => refusal.hint(),
            Self::Timeout { .. } => Some(
                "an index on the column that the query filters by, or a longer `users.statement_timeout`",
            ),
            Self::Busy { .. } => Some("a larger `users.connections`, or faster queries"),
            Self::Waits { .. } => Some("`/status` on the ops listener says why, and since when"),
            Self::Query { hint, .. } | Self::Config { hint, .. } => *hint,
            Self::Decode { .. } => {
                Some("cast the column in the query to a type that holds its values")
            }
        }
    }

    /// The error with its hint behind it.
    pub(super) fn told(&self) -> String {
        match self.hint() {
            Some(hint) => format!("{self}\nhint: {hint}"),
            None => self.to_string(),
        }
    }

    /// The label of the metric.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "unavailable",
            Self::Timeout { .. } => "timeout",
            Self::Busy { .. } => "busy",
            Self::Waits { .. } => "waits",
            Self::Query { .. } => "query",
            Self::Decode { .. } => "decode",
            Self::Config { .. } => "config",
        }
    }
}

/// What a server or driver said, with every value taken out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// SQLSTATE, MySQL's number or SQLite's result code.
    pub code: Option<String>,
    /// The message.
    pub message: String,
}

impl Refusal {
    /// SQLSTATE's class 22, and MySQL's numbers for texts that a column or its encoding cannot hold.
    fn is_over_a_value(&self) -> bool {
        self.code.as_deref().is_some_and(|code| {
            (code.len() == 5 && code.starts_with("22"))
                || ["1267", "1300", "1366", "1690", "3988"].contains(&code)
        })
    }

    fn hint(&self) -> Option<&'static str> {
        // MySQL 8 hands its key out in the clear; the driver is built without the library for that.
        if self.message.contains("RSA auth backend") {
            return Some("TLS to the server: `?ssl-mode=REQUIRED` at the end of the URL");
        }
        match self.code.as_deref()? {
            "28P01" | "28000" | "1045" => Some("user and password in `users.url`"),
            "3D000" | "1049" => Some("the name of the database in `users.url`"),
            "53300" | "1040" | "1203" | "1226" => Some(
                "the server has no connection left: a smaller `users.connections`, or a pooler",
            ),
            "14" => Some("the path in `users.url`, and whether this user may read the file"),
            CONNECT_TIMEOUT => Some("whether the server runs, and host and port in `users.url`"),
            _ => None,
        }
    }
}
