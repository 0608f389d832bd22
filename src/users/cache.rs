//! Answers kept for a short while, by address.
//!
//! Callers who ask for one address at the same time share one query. Errors are never kept. An answer that was found lives
//! longer than "nobody", and a fresh answer starts its life anew.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use moka::{Expiry, future::Cache};

use crate::ids::Email;

use super::{Lookup, error::UsersError, settings::CacheSettings};

/// The cache.
#[derive(Debug, Clone)]
pub(super) struct Answers(Cache<Email, Lookup>, Lifetimes);

impl Answers {
    pub(super) fn new(settings: CacheSettings) -> Self {
        let lifetimes = Lifetimes(settings);
        Self(
            Cache::builder()
                .max_capacity(settings.capacity)
                .expire_after(lifetimes)
                .build(),
            lifetimes,
        )
    }

    /// The longest life of an answer.
    pub(super) fn keeps_for(&self) -> Duration {
        self.1.0.found.max(self.1.0.not_found)
    }

    pub(super) async fn get(&self, email: &Email) -> Option<Lookup> {
        self.0.get(email).await
    }

    pub(super) async fn keep(&self, email: Email, answer: Lookup) {
        self.0.insert(email, answer).await;
    }

    /// Keeps an answer no longer.
    pub(super) async fn forget(&self, email: &Email) {
        self.0.invalidate(email).await;
    }

    /// The kept answer, or the one that `ask` gives; who comes meanwhile waits for the same one.
    pub(super) async fn get_or_ask(
        &self,
        email: &Email,
        ask: impl Future<Output = Result<Lookup, UsersError>>,
    ) -> Result<Lookup, UsersError> {
        self.0
            .try_get_with_by_ref(email, ask)
            .await
            .map_err(|error: Arc<UsersError>| UsersError::clone(&error))
    }
}

#[derive(Debug, Clone, Copy)]
struct Lifetimes(CacheSettings);

impl Lifetimes {
    fn of(&self, answer: &Lookup) -> Duration {
        match answer {
            Lookup::Found(_) => self.0.found,
            Lookup::NotFound => self.0.not_found,
        }
    }
}

impl Expiry<Email, Lookup> for Lifetimes {
    fn expire_after_create(&self, _: &Email, answer: &Lookup, _: Instant) -> Option<Duration> {
        Some(self.of(answer))
    }

    // Without this, an answer that replaces another would inherit what is left of the other's life.
    fn expire_after_update(
        &self,
        _: &Email,
        answer: &Lookup,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(self.of(answer))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn email() -> Email {
        Email::parse("ada@example.org").expect("an address")
    }

    #[test]
    fn a_replaced_answer_lives_its_own_time() {
        let lifetimes = Lifetimes(CacheSettings::default());
        let (now, left) = (Instant::now(), Some(Duration::from_secs(29)));
        assert_eq!(
            lifetimes.expire_after_update(&email(), &Lookup::NotFound, now, left),
            Some(Duration::from_secs(10))
        );
    }

    #[tokio::test]
    async fn concurrent_callers_share_one_question_and_errors_are_not_kept() {
        let answers = Answers::new(CacheSettings::default());
        let asked = AtomicU32::new(0);
        let fail = || async {
            asked.fetch_add(1, Ordering::SeqCst);
            Err(UsersError::Config {
                message: "down".to_owned(),
                hint: None,
            })
        };
        let succeed = || async {
            asked.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            Ok(Lookup::NotFound)
        };
        let email = email();
        assert!(answers.get_or_ask(&email, fail()).await.is_err());
        let (one, two) = tokio::join!(
            answers.get_or_ask(&email, succeed()),
            answers.get_or_ask(&email, succeed())
        );
        assert!(one.is_ok() && two.is_ok());
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }
}
