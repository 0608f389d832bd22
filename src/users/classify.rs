//! What a driver's error means for the caller.
//!
//! Nothing here repeats a value: a server's message is stripped of what we bound and of anything that looks like an
//! address before it is kept, and messages about data lose every quoted word.

use std::time::Duration;

use sqlx::error::DatabaseError;

use super::{
    error::{Refusal, UsersError},
    query_name::QueryName,
};

/// The code of a [`Refusal`] that no server gave.
pub(super) const CONNECT_TIMEOUT: &str = "connect_timeout";

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
}
