//! What can go wrong with the app's database, sorted by what the caller does next.
//!
//! Nothing here repeats a value: a server's message is stripped of what we bound and of anything that looks like an
//! address before it is kept, and messages about data lose every quoted word.

use std::{fmt, time::Duration};

use sqlx::error::DatabaseError;

/// Which query, as the configuration file names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QueryName {
    /// `users.query`.
    ByEmail,
    /// `users.query_by_key`.
    ByKey,
    /// `users.more.<name>.query`.
    More(String),
    /// `query` of the lifecycle event of that name.
    Event(String),
    /// `lifecycle.query`.
    Sweep,
    /// Our own question for the time.
    Clock,
}

impl QueryName {
    /// The keys that lead to it in the configuration file. An event's table is found by its name.
    pub fn path(&self) -> Vec<String> {
        let keys: &[&str] = match self {
            Self::ByEmail => &["users", "query"],
            Self::ByKey => &["users", "query_by_key"],
            Self::More(name) => &["users", "more", name, "query"],
            Self::Event(name) => &["lifecycle", "event", name, "query"],
            Self::Sweep => &["lifecycle", "query"],
            Self::Clock => &["users", "url"],
        };
        keys.iter().map(|key| (*key).to_owned()).collect()
    }
}

impl QueryName {
    /// The breaker of the query.
    pub(super) fn breaker(&self) -> String {
        self.path().join(".")
    }

    /// What counts the look-ups with it that failed over a value.
    pub(super) fn counter_of_values(&self) -> String {
        format!("{}.values", self.breaker())
    }
}

impl fmt::Display for QueryName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "`{}`", self.path().join("."))
    }
}

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

/// The code of a [`Refusal`] that no server gave.
const CONNECT_TIMEOUT: &str = "connect_timeout";

/// What a failed statement means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Unavailable,
    Timeout,
    Busy,
    Query(Option<&'static str>),
}

/// Sorts a driver's error. `bound` are the values that went into the statement.
pub(super) fn classify(
    query: &QueryName,
    error: &sqlx::Error,
    bound: &[String],
    after: Duration,
) -> UsersError {
    let query = query.clone();
    let (verdict, code) = match error {
        sqlx::Error::Database(refused) => (verdict(refused.as_ref()), code(refused.as_ref())),
        sqlx::Error::PoolTimedOut => (Verdict::Unavailable, Some(CONNECT_TIMEOUT.to_owned())),
        sqlx::Error::Configuration(_) => {
            return UsersError::Config {
                message: format!("`users.url` cannot be used: {error}"),
                hint: None,
            };
        }
        sqlx::Error::ColumnDecode { index, .. } => {
            return UsersError::Decode {
                query,
                column: index.clone(),
                message: "holds a value that could not be read".to_owned(),
            };
        }
        sqlx::Error::Encode(_)
        | sqlx::Error::Decode(_)
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::InvalidArgument(_) => (Verdict::Query(None), None),
        _ => (Verdict::Unavailable, None),
    };
    let said = match error {
        sqlx::Error::Database(refused) => refused.message().to_owned(),
        sqlx::Error::PoolTimedOut => {
            format!(
                "no connection could be opened within {} ms",
                after.as_millis()
            )
        }
        other => other.to_string(),
    };
    let about_data = matches!(error, sqlx::Error::Database(refused)
        if refused.code().is_some_and(|code| code.starts_with("22")));
    let refusal = Refusal {
        code,
        message: without_values(&said, bound, about_data),
    };
    match verdict {
        Verdict::Unavailable => UsersError::Unavailable { query, refusal },
        Verdict::Timeout => UsersError::Timeout { query, after },
        Verdict::Busy => UsersError::Busy { query, after },
        Verdict::Query(hint) => UsersError::Query {
            query,
            message: refusal.message.clone(),
            hint,
            refusal: Some(refusal),
        },
    }
}

const READS_ONLY: Option<&str> =
    Some("a look-up only reads: use a SELECT that calls nothing that writes");
const MAY_NOT_READ: Option<&str> = Some("grant SELECT on these tables to the user in `users.url`");

const UNTYPED: Option<&str> = Some(
    "say the type, as in `:after::bigint`, or write `id > :after OR :after IS NULL` in this order",
);

fn code(refused: &dyn DatabaseError) -> Option<String> {
    use sqlx::mysql::MySqlDatabaseError;
    match refused.try_downcast_ref::<MySqlDatabaseError>() {
        Some(mysql) => Some(mysql.number().to_string()),
        None => refused.code().map(std::borrow::Cow::into_owned),
    }
}

fn verdict(refused: &dyn DatabaseError) -> Verdict {
    use sqlx::{mysql::MySqlDatabaseError, sqlite::SqliteError};
    if let Some(mysql) = refused.try_downcast_ref::<MySqlDatabaseError>() {
        return match mysql.number() {
            1969 | 3024 | 1317 => Verdict::Timeout,
            1044 | 1045 | 1049 | 1040 | 1053 | 1129 | 1130 | 1203 | 1205 | 1213 | 1226 | 1290 => {
                Verdict::Unavailable
            }
            1792 | 1836 => Verdict::Query(READS_ONLY),
            1142 | 1143 | 1370 => Verdict::Query(MAY_NOT_READ),
            _ => Verdict::Query(None),
        };
    }
    let code = refused.code().unwrap_or_default();
    if refused.try_downcast_ref::<SqliteError>().is_some() {
        // The low byte is the primary code; the rest says more than we need.
        return match code.parse::<u32>().map(|code| code & 0xff) {
            Ok(9) => Verdict::Timeout,
            Ok(5 | 6) => Verdict::Busy,
            Ok(10 | 14) => Verdict::Unavailable,
            Ok(8) => Verdict::Query(READS_ONLY),
            _ => Verdict::Query(None),
        };
    }
    match code.as_ref() {
        "57014" => Verdict::Timeout,
        "25006" => Verdict::Query(READS_ONLY),
        "42501" => Verdict::Query(MAY_NOT_READ),
        "42P08" | "42P18" => Verdict::Query(UNTYPED),
        "3D000" => Verdict::Unavailable,
        other
            if ["08", "28", "40", "53", "55", "57", "58", "XX"]
                .iter()
                .any(|class| other.starts_with(class)) =>
        {
            Verdict::Unavailable
        }
        _ => Verdict::Query(None),
    }
}

/// Takes values out of a server's message.
fn without_values(message: &str, bound: &[String], about_data: bool) -> String {
    let mut text = message.replace(['\n', '\r', '\t'], " ");
    for value in bound.iter().filter(|value| value.len() >= 3) {
        text = text.replace(value.as_str(), "…");
    }
    if about_data {
        text = without_quoted(&text);
    }
    let words: Vec<_> = text
        .split(' ')
        .map(|word| if word.contains('@') { "…" } else { word })
        .collect();
    words.join(" ")
}

fn without_quoted(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut open = None;
    for character in text.chars() {
        match open {
            None => {
                kept.push(character);
                if matches!(character, '"' | '\'') {
                    open = Some(character);
                    kept.push('…');
                }
            }
            Some(quote) if quote == character => {
                kept.push(character);
                open = None;
            }
            Some(_) => {}
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_loses_its_values() {
        for (message, about_data, left) in [
            (
                "invalid input syntax for type integer: \"Ada Lovelace\"",
                true,
                "invalid input syntax for type integer: \"…\"",
            ),
            (
                "column \"plann\" does not exist",
                false,
                "column \"plann\" does not exist",
            ),
            (
                "Key (email)=(ada@example.org) exists",
                false,
                "Key … exists",
            ),
            ("no such user: u_4711", false, "no such user: …"),
            ("it's \"half", true, "it'…"),
        ] {
            let bound = ["u_4711".to_owned(), "1".to_owned()];
            assert_eq!(without_values(message, &bound, about_data), left);
        }
    }

    #[test]
    fn a_name_is_the_path_in_the_file() {
        assert_eq!(
            QueryName::More("billing".to_owned()).to_string(),
            "`users.more.billing.query`"
        );
    }
}
