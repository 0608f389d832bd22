//! The names of the queries, as the configuration file has them.

use std::fmt;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_path_in_the_file() {
        assert_eq!(
            QueryName::More("billing".to_owned()).to_string(),
            "`users.more.billing.query`"
        );
    }
}
