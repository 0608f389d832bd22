//! The app's own database, read only: who is the person behind an address?
//!
//! [`UserDirectory`] asks the operator's SQL of SQLite, PostgreSQL, MySQL or MariaDB and answers with typed records. It
//! promises to write nothing, to keep to a few connections and a deadline, and to take a row for a person's only if its
//! address is theirs. It never logs: whoever asked knows what the answer was for.

mod account;
mod cache;
mod engine;
mod error;
mod inspect;
mod moment;
mod mysql;
mod postgres;
mod query;
mod settings;
mod sqlite;
mod statement;

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use futures_util::future::try_join_all;
use jiff::Timestamp;
use tracing::Instrument as _;

use crate::{
    ids::{Email, UserKey},
    record::{Record, User, Value},
    telemetry::{Metrics, metrics::OutcomeLabels},
};

pub use error::{QueryName, Refusal, UsersError};
pub use inspect::{Severity, Survey, UsersFault};
pub use query::{Dialect, QueryFault, Translated, translate};
pub use settings::{CacheSettings, MORE_LIMIT, MoreSettings, UsersSettings};
pub use statement::Column;

use account::{Account, Naming};
use cache::Answers;
use engine::AppDatabase;
use statement::{Parameters, Statement};

/// The most accounts that one address may have; the rest is not read.
const ACCOUNTS: usize = 50;
/// The most occurrences of one lifecycle event that are read for one person.
const EVENT_ROWS: usize = 1_000;
/// The most rows of one page of the sweep, whatever `:limit` said.
const SWEEP_ROWS: usize = 10_000;

/// Whether somebody was found.
#[derive(Debug, Clone)]
pub enum Lookup {
    /// The user.
    Found(Arc<User>),
    /// Nobody has this address or key.
    NotFound,
}

/// How old an answer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// As old as the cache allows.
    Cached,
    /// Asked now.
    Fresh,
}

/// One page of the sweep.
#[derive(Debug, Clone)]
pub struct SweepPage {
    /// From here on.
    pub since: Timestamp,
    /// Up to here.
    pub until: Timestamp,
    /// The key at which the page before ended; `None` for the first page, bound as `NULL`.
    pub after: Option<UserKey>,
    /// The most rows.
    pub limit: u32,
}

/// Read-only view of the app's users. Clones share pools and cache.
#[derive(Debug, Clone)]
pub struct UserDirectory {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    main: AppDatabase,
    naming: Naming,
    by_email: Statement,
    by_key: Option<Statement>,
    more: Vec<(String, AppDatabase, Statement)>,
    events: BTreeMap<String, Statement>,
    sweep: Option<Statement>,
    answers: Answers,
    metrics: Metrics,
}

impl UserDirectory {
    /// Takes the settings; connects when first asked. Needs a Tokio runtime.
    pub fn connect(settings: UsersSettings, metrics: Metrics) -> Result<Self, UsersError> {
        let main = AppDatabase::new(&settings.url, "`users.url`", &settings)?;
        let dialect = main.dialect();
        if settings.more.len() > MORE_LIMIT {
            return Err(UsersError::Config {
                message: format!("more than {MORE_LIMIT} further look-ups in `users.more`"),
                hint: Some("join some of them"),
            });
        }
        let mut more = Vec::with_capacity(settings.more.len());
        for (name, further) in &settings.more {
            let database = match &further.url {
                // The same URL is the same pool, or there would be more connections than configured.
                Some(url) if !same(url, &settings.url) => {
                    AppDatabase::new(url, &format!("`users.more.{name}.url`"), &settings)?
                }
                _ => main.clone(),
            };
            let query = QueryName::More(name.clone());
            let statement = Statement::new(query, &further.query, database.dialect(), 1)?;
            more.push((name.clone(), database, statement));
        }
        let statement = |name, source: &str, rows| Statement::new(name, source, dialect, rows);
        let inner = Inner {
            by_email: statement(QueryName::ByEmail, &settings.query, ACCOUNTS)?,
            by_key: (settings.query_by_key.as_ref())
                .map(|source| statement(QueryName::ByKey, source, ACCOUNTS))
                .transpose()?,
            events: (settings.events.iter())
                .map(|(name, source)| {
                    let query = QueryName::Event(name.clone());
                    Ok((name.clone(), statement(query, source, EVENT_ROWS)?))
                })
                .collect::<Result<_, UsersError>>()?,
            sweep: (settings.sweep.as_ref())
                .map(|source| statement(QueryName::Sweep, source, SWEEP_ROWS))
                .transpose()?,
            answers: Answers::new(settings.cache),
            naming: Naming {
                key: settings.key,
                email: settings.email,
            },
            main,
            more,
            metrics,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The engine of `users.url`.
    pub fn dialect(&self) -> Dialect {
        self.inner.main.dialect()
    }

    /// Who has this address?
    pub async fn by_email(
        &self,
        email: &Email,
        freshness: Freshness,
    ) -> Result<Lookup, UsersError> {
        let (this, email) = (Arc::clone(&self.inner), email.clone());
        uncancelled(async move { this.by_email(&email, freshness).await }).await
    }

    /// Who has this key? The address they have now is asked of `users.query_by_key`; without such a query it is taken to
    /// be `last_email`, and somebody who has moved on from that address is not found.
    pub async fn by_key(
        &self,
        key: &UserKey,
        last_email: Option<&Email>,
        freshness: Freshness,
    ) -> Result<Lookup, UsersError> {
        let (this, key, last) = (Arc::clone(&self.inner), key.clone(), last_email.cloned());
        uncancelled(async move { this.by_key(&key, last, freshness).await }).await
    }

    /// The rows of every lifecycle event that has a query, by the event's name. Never cached.
    pub async fn event_rows(
        &self,
        user: &User,
        since: Timestamp,
    ) -> Result<BTreeMap<String, Vec<Record>>, UsersError> {
        let this = Arc::clone(&self.inner);
        let parameters =
            parameters_of(&user.key, &user.email, &user.record).with_instant("since", since);
        uncancelled(async move {
            let asked = this.events.iter().map(|(name, statement)| {
                let (this, parameters) = (&this, &parameters);
                async move {
                    let rows = this.main.rows(statement, parameters).await?;
                    Ok::<_, UsersError>((name.clone(), rows))
                }
            });
            Ok(try_join_all(asked).await?.into_iter().collect())
        })
        .await
    }

    /// One page of `lifecycle.query`: rows of people to whom something happened. Empty where there is no such query.
    pub async fn sweep(&self, page: SweepPage) -> Result<Vec<Record>, UsersError> {
        let this = Arc::clone(&self.inner);
        uncancelled(async move {
            let Some(statement) = &this.sweep else {
                return Ok(Vec::new());
            };
            let after = page
                .after
                .as_ref()
                .map(|key| Value::Text(key.as_str().to_owned()));
            let parameters = Parameters::default()
                .with_instant("since", page.since)
                .with_instant("until", page.until)
                .with("after", after.unwrap_or(Value::Null))
                .with("limit", Value::Int(page.limit.into()));
            this.main.rows(statement, &parameters).await
        })
        .await
    }

    /// The time on the database's clock: watermarks and cursors are read off it, not off ours.
    pub async fn now(&self) -> Result<Timestamp, UsersError> {
        let this = Arc::clone(&self.inner);
        uncancelled(async move { this.main.now().await }).await
    }
}

impl Inner {
    async fn by_email(&self, email: &Email, freshness: Freshness) -> Result<Lookup, UsersError> {
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

    async fn by_key(
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
            Lookup::Found(user) => self.account_of(&user, key).await,
            Lookup::NotFound => Ok(Lookup::NotFound),
        }
    }

    async fn address_of(
        &self,
        statement: &Statement,
        key: &UserKey,
    ) -> Result<Option<Email>, UsersError> {
        let parameters = Parameters::default().with_text("key", key.as_str());
        for row in self.main.rows(statement, &parameters).await? {
            // `WHERE id = '12abc'` finds 12 on MySQL.
            if self.naming.key(&statement.name, &row)? == *key {
                return self.naming.address(&statement.name, &row);
            }
        }
        Ok(None)
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
        let result = self.ask_uncounted(email).await;
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
        let rows = self.main.rows(&self.by_email, &parameters).await?;
        let accounts = self.naming.accounts_of(&self.by_email.name, rows, email)?;
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
                let rows = database.rows(statement, parameters).await?;
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
fn parameters_of(key: &UserKey, email: &Email, row: &Record) -> Parameters {
    Parameters::of_row(row)
        .with_text("key", key.as_str())
        .with_text("email", email.as_str())
}

fn same(one: &secrecy::SecretString, other: &secrecy::SecretString) -> bool {
    use secrecy::ExposeSecret as _;
    one.expose_secret() == other.expose_secret()
}

/// Runs `work` to its end even if the caller goes away: others may wait for the same answer, and a connection must not be
/// left in the middle of one.
async fn uncancelled<T: Send + 'static>(
    work: impl Future<Output = Result<T, UsersError>> + Send + 'static,
) -> Result<T, UsersError> {
    match tokio::spawn(work.in_current_span()).await {
        Ok(result) => result,
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_cancelled) => Err(UsersError::Unavailable {
                query: QueryName::ByEmail,
                source: Refusal {
                    code: None,
                    message: "the service is stopping".to_owned(),
                },
            }),
        },
    }
}
