//! What `check` says of the queries: every fault at once, before a customer waits.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use super::{
    UserDirectory,
    engine::AppDatabase,
    error::UsersError,
    query::Dialect,
    query_name::QueryName,
    settings::known_parameters_hint,
    statement::{Column, Statement},
};

/// How bad a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Look-ups will fail.
    Error,
    /// It works, and could be better.
    Advice,
}

/// Something wrong with the `[users]` section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsersFault {
    /// The keys that lead to it in the configuration file.
    pub path: Vec<String>,
    /// Where inside the query, in bytes, if at one place.
    pub range: Option<Range<usize>>,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// What to change.
    pub hint: Option<String>,
}

impl UsersFault {
    pub(super) fn error(path: &[&str], message: impl Into<String>, hint: Option<&str>) -> Self {
        Self {
            path: path.iter().map(|key| (*key).to_owned()).collect(),
            range: None,
            severity: Severity::Error,
            message: message.into(),
            hint: hint.map(ToOwned::to_owned),
        }
    }

    pub(super) fn of(query: &QueryName, message: impl Into<String>, hint: Option<&str>) -> Self {
        Self {
            path: query.path(),
            ..Self::error(&[], message, hint)
        }
    }
}

/// What the servers say of the queries.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// The columns of each query that could be prepared.
    pub columns: BTreeMap<QueryName, Vec<Column>>,
    /// Everything that is wrong.
    pub faults: Vec<UsersFault>,
}

impl UserDirectory {
    /// Everything that is wrong with the queries, each prepared on its server and none run.
    pub async fn inspect(&self) -> Vec<UsersFault> {
        self.survey().await.faults
    }

    /// The same, with the columns of each query.
    pub async fn survey(&self) -> Survey {
        let mut survey = Survey::default();
        let inner = &self.inner;
        let naming = [
            (
                &inner.naming.key,
                "select a stable key of the user, or name its column in `users.key`",
            ),
            (
                &inner.naming.email,
                "select the address of the user; without it no row can be told to be theirs",
            ),
        ];
        survey.prepare(&inner.main, &inner.by_email).await;
        survey.advise_on_case(inner.main.dialect(), &inner.by_email);
        survey.demand(&inner.by_email.name, &naming);
        if let Some(by_key) = &inner.by_key {
            survey.prepare(&inner.main, by_key).await;
            survey.demand(&by_key.name, &naming);
        }
        for (_, database, statement) in &inner.more {
            survey.prepare(database, statement).await;
        }
        for statement in inner.events.values().chain(&inner.sweep) {
            survey.prepare(&inner.main, statement).await;
        }
        survey.check_bindings(inner.more.iter().map(|(_, _, statement)| statement), &[]);
        survey.check_bindings(inner.events.values(), &["since"]);
        if let Ok(Some(true)) = inner.main.could_write().await {
            survey.faults.push(UsersFault {
                severity: Severity::Advice,
                ..UsersFault::error(
                    &["users", "url"],
                    "this user of the database could write; sessions are read only all the same",
                    Some("make a user of its own and grant it SELECT, nothing more"),
                )
            });
        }
        survey
    }
}

impl Survey {
    pub(super) async fn prepare(&mut self, database: &AppDatabase, statement: &Statement) {
        let name = &statement.name;
        match database.describe(statement).await {
            Ok(description) => {
                if description.columns.is_empty() {
                    self.faults.push(UsersFault::of(
                        name,
                        "the query gives no columns",
                        Some("a look-up is a SELECT"),
                    ));
                }
                for column in Column::repeated(&description.columns) {
                    self.faults.push(UsersFault::of(
                        name,
                        format!("column `{column}` occurs more than once"),
                        Some("name each column, and rename with AS where two tables share a name"),
                    ));
                }
                let description = statement.describe_as(description);
                self.columns
                    .insert(name.clone(), description.columns.clone());
            }
            Err(error @ (UsersError::Query { .. } | UsersError::Decode { .. })) => {
                let message = match &error {
                    UsersError::Query { message, .. } => message.clone(),
                    other => other.to_string(),
                };
                self.faults
                    .push(UsersFault::of(name, message, error.hint()));
            }
            Err(error) => {
                // A server that is down would be reported by every query.
                let path = ["users", "url"];
                let message = match &error {
                    UsersError::Unavailable { refusal, .. } => refusal.to_string(),
                    other => other.to_string(),
                };
                let fault = UsersFault::error(&path, message, error.hint());
                if !self.faults.contains(&fault) {
                    self.faults.push(fault);
                }
            }
        }
    }

    pub(super) fn demand(&mut self, name: &QueryName, wanted: &[(&String, &str)]) {
        let Some(columns) = self.columns.get(name) else {
            return;
        };
        for (column, hint) in wanted {
            if !columns.iter().any(|known| &known.name == *column) {
                let similar = columns
                    .iter()
                    .find(|known| known.name.eq_ignore_ascii_case(column))
                    .map(|known| format!("the query calls it `{}`", known.name));
                self.faults.push(UsersFault {
                    hint: Some(similar.unwrap_or_else(|| (*hint).to_owned())),
                    ..UsersFault::of(name, format!("there is no column `{column}`"), None)
                });
            }
        }
    }

    /// We look for addresses in lower case, and here `=` tells case: a stored `Ada@…` would not be found.
    fn advise_on_case(&mut self, dialect: Dialect, statement: &Statement) {
        let folds = ["lower", "upper", "citext", "ilike", "nocase", "collate"];
        let text = statement.text.sql.to_ascii_lowercase();
        let by_type = statement
            .description()
            .is_some_and(|known| known.parameters.iter().any(|name| name.ends_with("citext")));
        if dialect == Dialect::MySql || by_type || folds.iter().any(|fold| text.contains(fold)) {
            return;
        }
        self.faults.push(UsersFault {
            severity: Severity::Advice,
            ..UsersFault::of(
                &statement.name,
                "`:email` is in lower case, and this comparison tells upper from lower",
                Some("write `lower(email) = :email`, with an index on `lower(email)`"),
            )
        });
    }

    /// Parameters that are columns of the main query, as far as those are known.
    fn check_bindings<'a>(
        &mut self,
        statements: impl Iterator<Item = &'a Statement>,
        extra: &[&str],
    ) {
        let Some(columns) = self.columns.get(&QueryName::ByEmail) else {
            return;
        };
        let known: BTreeSet<&str> = columns
            .iter()
            .map(|column| column.name.as_str())
            .chain(["key", "email"])
            .chain(extra.iter().copied())
            .collect();
        for statement in statements {
            for (parameter, range) in &statement.text.mentions {
                if !known.contains(parameter.as_str()) {
                    self.faults.push(UsersFault {
                        range: Some(range.clone()),
                        ..UsersFault::of(
                            &statement.name,
                            format!("there is no parameter `:{parameter}` here"),
                            known_parameters_hint(&statement.name),
                        )
                    });
                }
            }
        }
    }
}
