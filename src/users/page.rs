//! A page of the sweep, and the place at which it ended.

use std::fmt;

use jiff::Timestamp;

use crate::{ids::UserKey, record::Value};

use super::{query::Dialect, sweep::comparable};

/// One page of the sweep.
#[derive(Debug, Clone)]
pub struct SweepPage {
    /// From here on.
    pub since: Timestamp,
    /// Up to here.
    pub until: Timestamp,
    /// The row at which the page before ended. `None` for the first page: `:after` is then `NULL`.
    pub after: Option<SweepMark>,
    /// The most rows.
    pub limit: u32,
}

/// Where a page ended, as the database showed it. It names a person.
#[derive(Clone, PartialEq, Eq)]
pub struct SweepMark {
    /// The instant.
    pub at: String,
    /// The key.
    pub key: String,
}

impl fmt::Debug for SweepMark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SweepMark(…)")
    }
}

/// Somebody to whom something happened.
#[derive(Clone, PartialEq, Eq)]
pub struct Swept {
    /// Who.
    pub key: UserKey,
    /// When.
    pub at: Timestamp,
    /// Whether the query tells of their address and there is none: then Crisp cannot know them.
    pub is_without_address: bool,
    /// What the column `website` says.
    pub website: Option<String>,
    /// Every column, to tell this row from another.
    pub text: String,
    /// Where it stands.
    pub mark: SweepMark,
}

impl fmt::Debug for Swept {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Swept")
            .field("at", &self.at)
            .field("website", &self.website)
            .finish_non_exhaustive()
    }
}

/// A page as it was read.
#[derive(Debug, Clone, Default)]
pub struct SweptPage {
    /// The people on it, without rows that have no key.
    pub rows: Vec<Swept>,
    /// Rows that have no key.
    pub without_key: u32,
    /// Whether it was the last.
    pub is_last: bool,
}

impl SweepMark {
    /// `:since` and `:after` of the page behind it. `None` where another engine than this one showed the row: the look begins
    /// anew.
    pub(super) fn bound(&self, dialect: Dialect) -> Option<(Value, Value)> {
        let at = match dialect {
            Dialect::Sqlite => comparable(&self.at).then(|| Value::Text(self.at.clone()))?,
            Dialect::Postgres | Dialect::MySql => Value::Instant(self.at.parse().ok()?),
        };
        Some((at, self.bound_key()))
    }

    fn bound_key(&self) -> Value {
        match self.key.strip_prefix('"') {
            Some(text) => Value::Text(text.to_owned()),
            None => self
                .key
                .parse()
                .map_or_else(|_| Value::Text(self.key.clone()), Value::Int),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_goes_back_as_what_it_was() {
        let bound = |key: &str| {
            let key = key.to_owned();
            SweepMark {
                at: String::new(),
                key,
            }
            .bound_key()
        };
        let elsewhere = SweepMark {
            at: "2026-03-02T09:00:00Z".to_owned(),
            key: "12".to_owned(),
        };
        assert!(elsewhere.bound(Dialect::Postgres).is_some());
        assert_eq!(elsewhere.bound(Dialect::Sqlite), None);
        assert_eq!(bound("12"), Value::Int(12));
        assert_eq!(bound("\"12"), Value::Text("12".to_owned()));
    }
}
