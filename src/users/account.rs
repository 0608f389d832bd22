//! From rows to a user: which row is whose.
//!
//! A database's collation may find `ádmin@…` for `admin@…`, and what follows would show one person's data to another. So a
//! row counts only if its address, folded as we fold, is the address looked for. The key must be there: everything we
//! remember about a person hangs on it.

use crate::{
    ids::{Email, UserKey},
    record::{Record, Value},
};

use super::{error::UsersError, query_name::QueryName};

/// Which columns name a user.
#[derive(Debug, Clone)]
pub(super) struct Naming {
    pub(super) key: String,
    pub(super) email: String,
}

/// One account: a row that was checked.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) key: UserKey,
    pub(super) email: Email,
    pub(super) row: Record,
}

impl Naming {
    /// The accounts among `rows` that belong to `email`, in the query's order.
    pub(super) fn accounts_of(
        &self,
        query: &QueryName,
        rows: Vec<Record>,
        email: &Email,
    ) -> Result<Vec<Account>, UsersError> {
        let mut accounts = Vec::new();
        for row in rows {
            if self.address(query, &row)?.as_ref() != Some(email) {
                continue;
            }
            accounts.push(Account {
                key: self.key(query, &row)?,
                email: email.clone(),
                row,
            });
        }
        Ok(accounts)
    }

    /// The address that the row holds; `None` where it holds none.
    pub(super) fn address(
        &self,
        query: &QueryName,
        row: &Record,
    ) -> Result<Option<Email>, UsersError> {
        match row.value(&self.email) {
            None => Err(missing(
                query,
                &self.email,
                "select the address of the user, so that we can tell whether the row is theirs",
            )),
            Some(Value::Text(text)) => Ok(Email::parse(text).ok()),
            Some(_) => Ok(None),
        }
    }

    /// The key that the row holds.
    pub(super) fn key(&self, query: &QueryName, row: &Record) -> Result<UserKey, UsersError> {
        let text = match row.value(&self.key) {
            None => {
                return Err(missing(
                    query,
                    &self.key,
                    "select a stable key of the user, or name its column in `users.key`",
                ));
            }
            Some(Value::Int(number)) => number.to_string(),
            Some(Value::Text(text) | Value::Decimal(text)) => text.clone(),
            Some(Value::Null) => return Err(self.no_key(query, "is null")),
            Some(_) => return Err(self.no_key(query, "is neither a number nor a text")),
        };
        UserKey::parse(&text).map_err(|_not_a_key| {
            self.no_key(query, "takes 1 to 255 bytes without control characters")
        })
    }

    fn no_key(&self, query: &QueryName, message: &str) -> UsersError {
        UsersError::Decode {
            query: query.clone(),
            column: self.key.clone(),
            message: message.to_owned(),
        }
    }
}

fn missing(query: &QueryName, column: &str, hint: &'static str) -> UsersError {
    UsersError::Query {
        query: query.clone(),
        message: format!("the answer has no column `{column}`"),
        hint: Some(hint),
        refusal: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naming() -> Naming {
        Naming {
            key: "id".to_owned(),
            email: "email".to_owned(),
        }
    }

    fn row(key: Value, email: &str) -> Record {
        Record::from_iter([("id", key), ("email", Value::Text(email.to_owned()))])
    }

    #[test]
    fn only_rows_with_the_very_address_count() {
        let rows = vec![
            row(Value::Int(1), "ádmin@example.org"),
            row(Value::Int(2), " Admin@Example.org"),
            row(Value::Null, "other@example.org"),
            row(Value::Int(3), "admin@example.org"),
        ];
        let email = Email::parse("admin@example.org").expect("an address");
        let accounts = naming()
            .accounts_of(&QueryName::ByEmail, rows, &email)
            .expect("accounts");
        let keys: Vec<_> = accounts
            .iter()
            .map(|account| account.key.as_str())
            .collect();
        assert_eq!(keys, ["2", "3"]);
    }

    #[test]
    fn a_row_without_a_key_is_a_fault_and_names_no_one() {
        for (key, message) in [
            (Value::Null, "column `id` is null"),
            (Value::Bool(true), "neither a number"),
            (Value::Text(String::new()), "1 to 255"),
        ] {
            let error = naming()
                .key(&QueryName::ByEmail, &row(key, "ada@example.org"))
                .expect_err(message);
            assert!(error.to_string().contains(message), "{error}");
            assert!(!error.is_transient());
        }
        let error = naming()
            .address(
                &QueryName::ByEmail,
                &Record::from_iter([("id", Value::Int(1))]),
            )
            .expect_err("no address");
        assert!(error.to_string().contains("no column `email`"), "{error}");
    }
}
