//! What the room is told: where the app's database is, which queries to ask it, and how hard it may be pressed.

use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

use jiff::tz::TimeZone;
use secrecy::{ExposeSecret, SecretString};

use super::{
    UsersFault,
    error::UsersError,
    query::{Dialect, Translated, translate},
    query_name::QueryName,
};

/// How many further look-ups there may be: each is one more query for every refresh.
pub const MORE_LIMIT: usize = 4;

/// Settings of the user directory.
#[derive(Debug, Clone)]
pub struct UsersSettings {
    /// `postgres://`, `mysql://` (MariaDB too) or `sqlite://`.
    pub url: SecretString,
    /// Finds a user by `:email`. Its first row is the user; further rows are further accounts on the address.
    pub query: String,
    /// The column with the stable key.
    pub key: String,
    /// The column with the address, compared with the one looked for.
    pub email: String,
    /// Tells the address a `:key` has now: at least the key's and the e-mail's column.
    pub query_by_key: Option<String>,
    /// Further look-ups by name, bound to the first row.
    pub more: BTreeMap<String, MoreSettings>,
    /// Rows of lifecycle events, by the event's name.
    pub events: BTreeMap<String, String>,
    /// Everybody to whom something happened between `:since` and `:until`, paged by `:after` and `:limit`.
    pub sweep: Option<String>,
    /// The longest any statement may run.
    pub statement_timeout: Duration,
    /// The longest a look-up waits for a connection.
    pub acquire_timeout: Duration,
    /// The most connections to one database.
    pub pool_size: NonZeroU32,
    /// Whether a pooler stands between that hands a connection to each transaction (`PgBouncer`).
    pub pooler: bool,
    /// The zone of columns that have none.
    pub timezone: TimeZone,
    /// How long answers are kept.
    pub cache: CacheSettings,
}

/// A further look-up.
#[derive(Debug, Clone)]
pub struct MoreSettings {
    /// Another database; `None` takes `users.url`.
    pub url: Option<SecretString>,
    /// Bound to `:key`, `:email` and the columns of the first row. Its first row counts.
    pub query: String,
}

/// How long answers are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheSettings {
    /// A user that was found. Long enough for the burst of webhooks that one conversation makes.
    pub found: Duration,
    /// An address without a user. Short, because people chat while they sign up.
    pub not_found: Duration,
    /// The most addresses kept.
    pub capacity: u64,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            found: Duration::from_secs(30),
            not_found: Duration::from_secs(10),
            capacity: 10_000,
        }
    }
}

impl UsersSettings {
    /// Defaults for everything that has one.
    pub fn new(url: SecretString, query: impl Into<String>) -> Self {
        Self {
            url,
            query: query.into(),
            key: "id".to_owned(),
            email: "email".to_owned(),
            query_by_key: None,
            more: BTreeMap::new(),
            events: BTreeMap::new(),
            sweep: None,
            statement_timeout: Duration::from_secs(5),
            acquire_timeout: Duration::from_secs(2),
            pool_size: NonZeroU32::new(4).expect("four is not zero"),
            pooler: false,
            timezone: TimeZone::UTC,
            cache: CacheSettings::default(),
        }
    }

    /// Everything that is wrong with the settings and can be seen without a server.
    pub fn faults(&self) -> Vec<UsersFault> {
        let mut faults = Vec::new();
        if self.more.len() > MORE_LIMIT {
            faults.push(UsersFault::error(
                &["users", "more"],
                format!(
                    "{} further look-ups, and {MORE_LIMIT} is the most",
                    self.more.len()
                ),
                Some("join some of them"),
            ));
        }
        for (name, source, dialect) in self.queries(&mut faults) {
            match translate(source, dialect) {
                Err(fault) => faults.push(UsersFault {
                    range: Some(fault.range),
                    ..UsersFault::of(&name, fault.message, fault.hint)
                }),
                Ok(translated) => {
                    if !matches!(
                        translated.verb.as_str(),
                        "SELECT" | "WITH" | "VALUES" | "TABLE"
                    ) {
                        faults.push(UsersFault::of(
                            &name,
                            "the query is not a SELECT",
                            Some("a look-up only reads"),
                        ));
                    }
                    if name == QueryName::Sweep {
                        faults.extend(unused(&name, &translated));
                    }
                    let Some(known) = known_parameters(&name) else {
                        continue;
                    };
                    for (parameter, range) in translated.mentions {
                        if !known.contains(&parameter.as_str()) {
                            faults.push(UsersFault {
                                range: Some(range),
                                ..UsersFault::of(
                                    &name,
                                    format!("there is no parameter `:{parameter}` here"),
                                    known_parameters_hint(&name),
                                )
                            });
                        }
                    }
                }
            }
        }
        faults
    }

    /// Every query with its dialect. A URL of no known engine is a fault and leaves its queries out.
    fn queries(&self, faults: &mut Vec<UsersFault>) -> Vec<(QueryName, &str, Dialect)> {
        let mut queries = Vec::new();
        match dialect(&self.url, "`users.url`") {
            Ok(dialect) => {
                queries.push((QueryName::ByEmail, self.query.as_str(), dialect));
                queries.extend(
                    self.query_by_key
                        .iter()
                        .map(|source| (QueryName::ByKey, source.as_str(), dialect)),
                );
                queries.extend(self.events.iter().map(|(name, source)| {
                    (QueryName::Event(name.clone()), source.as_str(), dialect)
                }));
                queries.extend(
                    self.sweep
                        .iter()
                        .map(|source| (QueryName::Sweep, source.as_str(), dialect)),
                );
            }
            Err(error) => {
                faults.push(UsersFault::error(
                    &["users", "url"],
                    error.to_string(),
                    error.hint(),
                ));
            }
        }
        for (name, more) in &self.more {
            match dialect(more.url.as_ref().unwrap_or(&self.url), "its `url`") {
                Ok(dialect) => {
                    queries.push((QueryName::More(name.clone()), more.query.as_str(), dialect));
                }
                Err(error) if more.url.is_some() => faults.push(UsersFault::error(
                    &["users", "more", name, "url"],
                    error.to_string(),
                    error.hint(),
                )),
                // The fault of `users.url` is listed once.
                Err(_) => {}
            }
        }
        queries
    }
}

/// The engine behind a URL. The URL itself is never repeated: it holds a password.
pub(super) fn dialect(url: &SecretString, what: &str) -> Result<Dialect, UsersError> {
    let scheme = url.expose_secret().split(':').next().unwrap_or_default();
    match scheme {
        "postgres" | "postgresql" => Ok(Dialect::Postgres),
        "mysql" | "mariadb" => Ok(Dialect::MySql),
        "sqlite" => Ok(Dialect::Sqlite),
        _ => Err(UsersError::Config {
            message: format!("{what} names no engine we can ask"),
            hint: Some(
                "a URL that begins with `postgres://`, `mysql://`, `mariadb://` or `sqlite://`",
            ),
        }),
    }
}

/// What a sweep leaves out: without any of them it would read all of the table, or the same page for ever.
fn unused(name: &QueryName, translated: &Translated) -> Option<UsersFault> {
    let missing: Vec<String> = known_parameters(name)?
        .iter()
        .filter(|known| !translated.parameters.iter().any(|used| used == *known))
        .map(|known| format!("`:{known}`"))
        .collect();
    (!missing.is_empty()).then(|| {
        UsersFault::of(
            name,
            format!("the query does not use {}", missing.join(", ")),
            Some(
                "`WHERE (at, id) > (:since, :after) AND at < :until ORDER BY at, id LIMIT :limit`",
            ),
        )
    })
}

/// The parameters of a query; `None` where the columns of the first row are parameters too.
fn known_parameters(name: &QueryName) -> Option<&'static [&'static str]> {
    match name {
        QueryName::ByEmail => Some(&["email"]),
        QueryName::ByKey => Some(&["key"]),
        QueryName::Sweep => Some(&["since", "until", "after", "limit"]),
        QueryName::Clock => Some(&[]),
        QueryName::More(_) | QueryName::Event(_) => None,
    }
}

/// What to say to a parameter that does not exist.
pub(super) fn known_parameters_hint(name: &QueryName) -> Option<&'static str> {
    Some(match name {
        QueryName::ByEmail => "`:email` is the address looked for",
        QueryName::ByKey => "`:key` is the key looked for",
        QueryName::Sweep => "there are `:since`, `:until`, `:after` and `:limit`",
        QueryName::More(_) => "there are `:key`, `:email` and the columns of `users.query`",
        QueryName::Event(_) => {
            "there are `:key`, `:email`, `:since` and the columns of `users.query`"
        }
        QueryName::Clock => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_faults_come_at_once() {
        let mut settings = UsersSettings::new(
            SecretString::from("postgres://app:secret@db/app"),
            "SELECT * FROM users WHERE email = :mail",
        );
        settings.query_by_key = Some("DELETE FROM users WHERE id = :key".to_owned());
        settings
            .events
            .insert("a".to_owned(), "SELECT '".to_owned());
        settings.more.insert(
            "billing".to_owned(),
            MoreSettings {
                url: Some(SecretString::from("oracle:secret")),
                query: "SELECT 1".to_owned(),
            },
        );
        let faults = settings.faults();
        let messages: Vec<_> = faults
            .iter()
            .map(|fault| format!("{}: {}", fault.path.join("."), fault.message))
            .collect();
        assert_eq!(
            messages,
            [
                "users.more.billing.url: its `url` names no engine we can ask",
                "users.query: there is no parameter `:mail` here",
                "users.query_by_key: the query is not a SELECT",
                "lifecycle.event.a.query: a quoted text begins here and never ends",
            ]
        );
        assert_eq!(faults[1].range, Some(34..39));
        assert!(!format!("{settings:?} {faults:?}").contains("secret"));
    }
}
