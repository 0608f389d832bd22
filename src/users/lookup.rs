//! One look-up: the main query, the check of whose row it is, the further look-ups, and the cache in front.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use futures_util::future::try_join_all;

use crate::{
    ids::{Email, UserKey},
    record::{Record, User},
    telemetry::{Metrics, metrics::OutcomeLabels},
};

use super::{
    Freshness, Lookup,
    account::{Account, Naming},
    cache::Answers,
    engine::AppDatabase,
    error::UsersError,
    statement::{Parameters, Statement},
};

/// Everything that a look-up needs; [`super::UserDirectory`] holds it behind one pointer.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) main: AppDatabase,
    pub(super) naming: Naming,
    pub(super) by_email: Statement,
    pub(super) by_key: Option<Statement>,
    pub(super) more: Vec<(String, AppDatabase, Statement)>,
    pub(super) events: BTreeMap<String, Statement>,
    pub(super) sweep: Option<Statement>,
    pub(super) answers: Answers,
    pub(super) metrics: Metrics,
}

impl Inner {
    pub(super) async fn by_email(
        &self,
        email: &Email,
        freshness: Freshness,
    ) -> Result<Lookup, UsersError> {
        if freshness == Freshness::Fresh {
            let answer = self.ask(email).await?;
            self.answers.keep(email.clone(), answer.clone()).await;
            return Ok(answer);
        }
        if let Some(answer) = self.answers.get(email).await {
            self.count("cached");
            return Ok(answer);
        }
        self.answers.get_or_ask(email, self.ask(email)).await
    }

    pub(super) async fn by_key(
        &self,
        key: &UserKey,
        last_email: Option<Email>,
        freshness: Freshness,
    ) -> Result<Lookup, UsersError> {
        if let (Freshness::Cached, Some(email)) = (freshness, &last_email)
            && let Some(Lookup::Found(user)) = self.answers.get(email).await
            && user.key == *key
        {
            self.count("cached");
            return Ok(Lookup::Found(user));
        }
        let email = match &self.by_key {
            Some(statement) => self.address_of(statement, key).await?,
            None => last_email,
        };
        let Some(email) = email else {
            return if self.by_key.is_some() {
                Ok(Lookup::NotFound)
            } else {
                Err(UsersError::Config {
                    message: "a user is looked for by key, and no address of theirs is known"
                        .to_owned(),
                    hint: Some("write `users.query_by_key`"),
                })
            };
        };
        match self.by_email(&email, freshness).await? {
            Lookup::Found(user) if user.key == *key => Ok(Lookup::Found(user)),
            // The key belongs to another account on the address.
            Lookup::Found(user) => Box::pin(self.account_of(&user, key)).await,
            Lookup::NotFound => Ok(Lookup::NotFound),
        }
    }

    /// The keys of every account on the address; a row without one is none.
    pub(super) fn keys_of(&self, user: &User) -> Vec<UserKey> {
        let name = &self.by_email.name;
        let of_rows = user
            .accounts
            .iter()
            .filter_map(|row| self.naming.key(name, row).ok());
        std::iter::once(user.key.clone()).chain(of_rows).collect()
    }

    async fn address_of(
        &self,
        statement: &Statement,
        key: &UserKey,
    ) -> Result<Option<Email>, UsersError> {
        let parameters = Parameters::default().with_text("key", key.as_str());
        let rows = self.main.rows(statement, &parameters).await;
        statement.judged(rows.and_then(|rows| {
            for row in rows {
                // `WHERE id = '12abc'` finds 12 on MySQL.
                if self.naming.key(&statement.name, &row)? == *key {
                    return self.naming.address(&statement.name, &row);
                }
            }
            Ok(None)
        }))
    }

    async fn account_of(&self, user: &User, key: &UserKey) -> Result<Lookup, UsersError> {
        for row in &user.accounts {
            if self.naming.key(&self.by_email.name, row)? == *key {
                let account = Account {
                    key: key.clone(),
                    email: user.email.clone(),
                    row: row.clone(),
                };
                return self.user(account, user.accounts.clone()).await;
            }
        }
        Ok(Lookup::NotFound)
    }

    /// Asks the database, and counts.
    async fn ask(&self, email: &Email) -> Result<Lookup, UsersError> {
        let started = Instant::now();
        let result = Box::pin(self.ask_uncounted(email)).await;
        self.metrics
            .lookup_seconds
            .observe(started.elapsed().as_secs_f64());
        self.count(match &result {
            Ok(Lookup::Found(_)) => "found",
            Ok(Lookup::NotFound) => "not_found",
            Err(error) => error.label(),
        });
        result
    }

    async fn ask_uncounted(&self, email: &Email) -> Result<Lookup, UsersError> {
        let parameters = Parameters::default().with_text("email", email.as_str());
        let rows = self.main.rows(&self.by_email, &parameters).await;
        let accounts = self.by_email.judged(
            rows.and_then(|rows| self.naming.accounts_of(&self.by_email.name, rows, email)),
        )?;
        let all = accounts.iter().map(|account| account.row.clone()).collect();
        match accounts.into_iter().next() {
            Some(first) => self.user(first, all).await,
            None => Ok(Lookup::NotFound),
        }
    }

    /// Adds the further look-ups, all at once.
    async fn user(&self, account: Account, accounts: Vec<Record>) -> Result<Lookup, UsersError> {
        let parameters = parameters_of(&account.key, &account.email, &account.row);
        let asked = self.more.iter().map(|(name, database, statement)| {
            let parameters = &parameters;
            async move {
                let rows = statement.judged(database.rows(statement, parameters).await)?;
                let first = rows.into_iter().next().unwrap_or_default();
                Ok::<_, UsersError>((name.clone(), first))
            }
        });
        Ok(Lookup::Found(Arc::new(User {
            more: try_join_all(asked).await?.into_iter().collect(),
            key: account.key,
            email: account.email,
            record: account.row,
            accounts,
        })))
    }

    fn count(&self, outcome: &'static str) {
        self.metrics
            .lookups
            .get_or_create(&OutcomeLabels { outcome })
            .inc();
    }
}

/// What a further query may bind: the columns of the first row, and two names that no column can take over.
pub(super) fn parameters_of(key: &UserKey, email: &Email, row: &Record) -> Parameters {
    Parameters::of_row(row)
        .with_text("key", key.as_str())
        .with_text("email", email.as_str())
}
