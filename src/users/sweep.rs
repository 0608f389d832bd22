//! The sweep's own query: everybody to whom something happened, a page at a time, in the order of (`at`, key).
//!
//! A page begins behind the row at which the one before ended. What that row showed goes back to the database as it came:
//! rounded, a tie of a thousand rows at one instant would be read for ever. A page that is not in order, or ends where it
//! began, is a fault of the query and is told as one; going on would leave people out without a word.

use std::sync::Arc;

use jiff::Timestamp;

use crate::{
    ids::{Email, UserKey},
    record::{Record, Value},
};

use super::{
    UserDirectory,
    error::UsersError,
    lookup::Inner,
    page::{SweepMark, SweepPage, Swept, SweptPage},
    query::Dialect,
    query_name::QueryName,
    statement::{Parameters, Statement, text_of},
    uncancelled,
};

/// The column with the instant by which rows are ordered.
pub(super) const AT: &str = "at";
pub(super) const SELECT_AT: &str = "select the instant of the last change as `at`, such as `GREATEST(u.updated_at, s.updated_at) AS at`";
/// The column with the website of a row, where there is one.
pub(super) const WEBSITE: &str = "website";

impl UserDirectory {
    /// Whether there is a query for the sweep.
    pub fn can_sweep(&self) -> bool {
        self.inner.sweep.is_some()
    }

    /// One page of `lifecycle.query`. Empty where there is no such query.
    pub async fn sweep(&self, page: SweepPage) -> Result<SweptPage, UsersError> {
        let this = Arc::clone(&self.inner);
        uncancelled(async move {
            let Some(statement) = &this.sweep else {
                return Ok(SweptPage {
                    is_last: true,
                    ..SweptPage::default()
                });
            };
            let page = this.page(statement, &page).await;
            statement.judged(page)
        })
        .await
    }
}

impl Inner {
    pub(super) async fn page(
        &self,
        statement: &Statement,
        page: &SweepPage,
    ) -> Result<SweptPage, UsersError> {
        let dialect = self.main.dialect();
        let mark = page.after.as_ref();
        let mark = mark.and_then(|mark| Some((mark, mark.bound(dialect)?)));
        let (since, after) = mark
            .clone()
            .map_or((Value::Instant(page.since), Value::Null), |(_, bound)| {
                bound
            });
        let parameters = Parameters::default()
            .with("since", since)
            .with_instant("until", page.until)
            .with("after", after)
            .with("limit", Value::Int(page.limit.into()));
        let records = self.main.rows(statement, &parameters).await?;
        let count = records.len();
        let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
        if count > limit {
            return Err(fault(
                format!("the query gave {count} rows where `:limit` was {limit}"),
                "end it with `LIMIT :limit`",
            ));
        }
        let mut read = SweptPage {
            is_last: count < limit,
            ..SweptPage::default()
        };
        for record in records {
            let at = self.instant(&record)?;
            match self.naming.key(&QueryName::Sweep, &record) {
                Ok(key) => read.rows.push(self.swept(key, at, &record)?),
                Err(UsersError::Decode { .. }) => read.without_key += 1,
                Err(error) => return Err(error),
            }
        }
        let after = mark.and_then(|(mark, _)| Some((mark, self.at(mark)?)));
        in_order(after, &read)?;
        Ok(read)
    }

    fn swept(&self, key: UserKey, at: Timestamp, record: &Record) -> Result<Swept, UsersError> {
        let is_without_address = match record.value(&self.naming.email) {
            None => false,
            Some(Value::Text(text)) => Email::parse(text).is_err(),
            Some(_) => true,
        };
        let website = match record.value(WEBSITE) {
            None | Some(Value::Null) => None,
            Some(Value::Text(text)) => Some(text.trim().to_owned()),
            Some(_) => {
                return Err(fault(
                    format!("the column `{WEBSITE}` holds no text"),
                    "it holds the id of a website of Crisp, or NULL",
                ));
            }
        };
        let mut text = String::new();
        for (column, value) in record.iter() {
            let value = text_of(value).unwrap_or_default();
            text.extend([column, "=", &value, "\n"]);
        }
        Ok(Swept {
            mark: SweepMark {
                at: raw(record.value(AT)),
                // A number goes back as one: SQLite compares no text with a number.
                key: match record.value(&self.naming.key) {
                    Some(Value::Int(number)) => number.to_string(),
                    _ => format!("\"{}", key.as_str()),
                },
            },
            key,
            at,
            is_without_address,
            website,
            text,
        })
    }

    fn at(&self, mark: &SweepMark) -> Option<Timestamp> {
        match self.main.dialect() {
            Dialect::Sqlite => self.main.instant_of(&mark.at),
            Dialect::Postgres | Dialect::MySql => mark.at.parse().ok(),
        }
    }

    /// The instant of a row. SQLite has texts, and only one form of them can be compared with the bounds, letter by letter.
    fn instant(&self, record: &Record) -> Result<Timestamp, UsersError> {
        let value = record
            .value(AT)
            .ok_or_else(|| fault(format!("the answer has no column `{AT}`"), SELECT_AT))?;
        match (self.main.dialect(), value) {
            (Dialect::Sqlite, Value::Text(text)) => comparable(text)
                .then(|| self.main.instant_of(text))
                .flatten()
                .ok_or_else(|| {
                    fault(
                        format!("`{AT}` is not written `YYYY-MM-DD HH:MM:SS`, so it cannot be compared with `:since`"),
                        "write `datetime(…) AS at`, or `strftime('%Y-%m-%d %H:%M:%f', …) AS at` where fractions count",
                    )
                }),
            (Dialect::Postgres | Dialect::MySql, Value::Instant(instant)) => Ok(*instant),
            (dialect, other) => Err(fault(
                format!("`{AT}` is {}, and no instant", kind(other)),
                match (dialect, other) {
                    (_, Value::Null) => "leave out rows without an instant: `WHERE at >= :since AND at < :until`",
                    (Dialect::Sqlite, _) => "write `datetime(…, 'unixepoch') AS at`",
                    (Dialect::Postgres, _) => "write `to_timestamp(…) AS at`, or cast it: `…::timestamptz AS at`",
                    (Dialect::MySql, _) => "write `FROM_UNIXTIME(…) AS at`, or `CAST(… AS DATETIME(6)) AS at`",
                },
            )),
        }
    }
}

/// Whether the rows go up, and lead on from where the page before ended. What is read twice costs little; a page that leads
/// nowhere would be read for ever.
fn in_order(after: Option<(&SweepMark, Timestamp)>, read: &SweptPage) -> Result<(), UsersError> {
    let mut pairs = read.rows.windows(2);
    if pairs.any(|pair| pair[0].at > pair[1].at) {
        return Err(fault(
            "the rows are not in the order of `at`".to_owned(),
            "end the query with `ORDER BY at, <key> LIMIT :limit`",
        ));
    }
    if read.is_last {
        return Ok(());
    }
    let Some(last) = read.rows.last() else {
        return Err(fault(
            "a whole page of rows has no key".to_owned(),
            "leave rows without a key out",
        ));
    };
    if after.is_some_and(|(mark, at)| last.mark == *mark || last.at < at) {
        return Err(fault(
            "a page ends where the one before ended".to_owned(),
            "write `WHERE (at, <key>) > (:since, :after) AND at < :until`",
        ));
    }
    Ok(())
}

/// The form that `:since` is bound in.
pub(super) fn comparable(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 19
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            10 => *byte == b' ',
            13 | 16 => *byte == b':',
            19 => *byte == b'.',
            _ => byte.is_ascii_digit(),
        })
}

fn raw(value: Option<&Value>) -> String {
    value.and_then(text_of).unwrap_or_default()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "NULL",
        Value::Bool(_) => "a boolean",
        Value::Int(_) | Value::Decimal(_) => "a number",
        Value::Text(_) => "a text",
        Value::Instant(_) => "an instant",
        Value::Date(_) => "a day",
        Value::Json(_) => "JSON",
    }
}

pub(super) fn fault(message: String, hint: &'static str) -> UsersError {
    UsersError::Query {
        query: QueryName::Sweep,
        message,
        hint: Some(hint),
        refusal: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_form_of_text_compares_with_the_bounds() {
        for text in ["2026-03-01 10:00:00", "2026-03-01 10:00:00.123456"] {
            assert!(comparable(text), "{text}");
        }
        for text in [
            "2026-03-01",
            "2026-03-01T10:00:00",
            "2026-03-01 10:00:00Z",
            "2026-03-01 10:00:00+02:00",
            "1772359200",
            "",
        ] {
            assert!(!comparable(text), "{text}");
        }
    }
}
