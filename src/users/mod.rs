//! The app's own database, read only: who is the person behind an address?
//!
//! [`UserDirectory`] asks the operator's SQL of SQLite, PostgreSQL, MySQL or MariaDB and answers with typed records. It
//! promises to write nothing, to keep to a few connections and a deadline, and to take a row for a person's only if its
//! address is theirs. It never logs: whoever asked knows what the answer was for.

mod account;
mod cache;
mod classify;
mod engine;
mod error;
mod inspect;
mod lookup;
mod moment;
mod mysql;
mod page;
mod postgres;
mod query;
mod query_name;
mod settings;
mod sqlite;
mod statement;
mod sweep;
mod trial;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::future::try_join_all;
use jiff::Timestamp;
use secrecy::SecretString;
use tracing::Instrument as _;

use crate::{
    breaker::{self, Breakers},
    ids::{Email, UserKey},
    record::{Record, User},
    telemetry::Metrics,
};

pub use error::{Refusal, UsersError};
pub use inspect::{Severity, Survey, UsersFault};
pub use page::{SweepMark, SweepPage, Swept, SweptPage};
pub use query::{Dialect, QueryFault, Translated, translate};
pub use query_name::QueryName;
pub use settings::{CacheSettings, MORE_LIMIT, MoreSettings, UsersSettings};
pub use statement::Column;

use account::Naming;
use cache::Answers;
use engine::AppDatabase;
use lookup::{Inner, parameters_of};
use statement::Statement;

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

/// Read-only view of the app's users. Clones share pools and cache.
#[derive(Debug, Clone)]
pub struct UserDirectory {
    inner: Arc<Inner>,
}

impl UserDirectory {
    /// Takes the settings; connects when first asked. Needs a Tokio runtime. The first fault ends it:
    /// [`UsersSettings::faults`] lists them all.
    pub fn connect(settings: UsersSettings, metrics: Metrics) -> Result<Self, UsersError> {
        Self::connect_with(settings, metrics, None)
    }

    /// The same, with a breaker for each database and each query: while one is open, look-ups are refused at once.
    pub fn connect_guarded(
        settings: UsersSettings,
        metrics: Metrics,
        breakers: &Breakers,
    ) -> Result<Self, UsersError> {
        Self::connect_with(settings, metrics, Some(breakers))
    }

    fn connect_with(
        settings: UsersSettings,
        metrics: Metrics,
        breakers: Option<&Breakers>,
    ) -> Result<Self, UsersError> {
        let breaker = |name: &str| breakers.map(|breakers| breakers.of(name));
        let main = AppDatabase::new(
            &settings.url,
            "`users.url`",
            &settings,
            breaker(breaker::USERS),
        )?;
        let dialect = main.dialect();
        if settings.more.len() > MORE_LIMIT {
            return Err(UsersError::Config {
                message: format!("more than {MORE_LIMIT} further look-ups in `users.more`"),
                hint: Some("join some of them"),
            });
        }
        let mut more = Vec::with_capacity(settings.more.len());
        // The same URL is the same pool, or there would be more connections than configured.
        let mut databases = vec![(settings.url.clone(), main.clone())];
        for (name, further) in &settings.more {
            let url = further.url.as_ref().unwrap_or(&settings.url);
            let known = databases.iter().find(|(known, _)| same(known, url));
            let database = if let Some((_, database)) = known {
                database.clone()
            } else {
                let what = format!("`users.more.{name}.url`");
                let of_its_own = breaker(&format!("{}.more.{name}", breaker::USERS));
                let database = AppDatabase::new(url, &what, &settings, of_its_own)?;
                databases.push((url.clone(), database.clone()));
                database
            };
            let query = QueryName::More(name.clone());
            let statement =
                Statement::new(query, &further.query, database.dialect(), 1)?.guarded(breakers);
            more.push((name.clone(), database, statement));
        }
        let statement = |name, source: &str, rows| {
            Ok::<_, UsersError>(Statement::new(name, source, dialect, rows)?.guarded(breakers))
        };
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

    /// How old an answer of the cache may be.
    pub fn keeps_for(&self) -> Duration {
        self.inner.answers.keeps_for()
    }

    /// Keeps nothing of this address.
    pub async fn forget(&self, email: &Email) {
        self.inner.answers.forget(email).await;
    }

    /// The keys of every account among the rows of a look-up.
    pub fn keys(&self, user: &User) -> Vec<UserKey> {
        self.inner.keys_of(user)
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
                    let rows = this.main.rows(statement, parameters).await;
                    Ok::<_, UsersError>((name.clone(), statement.judged(rows)?))
                }
            });
            Ok(try_join_all(asked).await?.into_iter().collect())
        })
        .await
    }

    /// Opens connections with this URL from now on, which differs from the one before in the user or the password: to the
    /// database of a further look-up, or to that of all the others. Those that are open stay. Whoever
    /// [shares](Self::share) them connects so, too.
    pub fn renew(&self, more: Option<&str>, url: &SecretString) -> Result<(), UsersError> {
        match self.database(more) {
            Some(database) => database.renew(url),
            None => Ok(()),
        }
    }

    /// Whether two look-ups share their connections: their URLs were the same at the start.
    pub fn share(&self, one: Option<&str>, other: Option<&str>) -> bool {
        match (self.database(one), self.database(other)) {
            (Some(one), Some(other)) => one.shares_with(other),
            _ => false,
        }
    }

    /// The database of a further look-up, or that of all the others.
    fn database(&self, more: Option<&str>) -> Option<&AppDatabase> {
        let Some(name) = more else {
            return Some(&self.inner.main);
        };
        let mut further = self.inner.more.iter();
        let found = further.find(|(known, ..)| known == name);
        found.map(|(_, database, _)| database)
    }

    /// The time on the database's clock: watermarks and cursors are read off it, not off ours.
    pub async fn now(&self) -> Result<Timestamp, UsersError> {
        let this = Arc::clone(&self.inner);
        uncancelled(async move { this.main.now().await }).await
    }
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
                refusal: Refusal {
                    code: None,
                    message: "the service is stopping".to_owned(),
                },
            }),
        },
    }
}
