//! What the app asks for over HTTP.

use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::{Value as Json, json};

use super::{super::Service, receipt::as_json, refresh::ERASED};
use crate::{
    ids::{Email, SessionId, UserKey, WebsiteId},
    ledger::{Enqueue, LedgerError, Tombstoned, Trigger, Urgency, WorkKind},
    server::desk::{Desk, DeskError, Whom},
    users::{Freshness, Lookup},
};

impl Desk for Service {
    fn nudge(&self, whom: Whom) -> BoxFuture<'static, Result<Json, DeskError>> {
        let service = self.clone();
        Box::pin(async move { service.nudged(&whom).await })
    }

    fn erase(&self, whom: Whom) -> BoxFuture<'static, Result<Json, DeskError>> {
        let service = self.clone();
        Box::pin(async move {
            if whom.session_id.is_some() || whom.email.is_some() == whom.user_key.is_some() {
                return Err(malformed("say one of `email` and `user_key`"));
            }
            parsed(whom.email.as_deref(), Email::parse)?;
            parsed(whom.user_key.as_deref(), UserKey::parse)?;
            if whom.website_id.is_some() {
                service.meant(&whom)?;
            }
            let erased = service.erase(&whom).await;
            Ok(as_json(&erased.map_err(|_logged| unavailable())?))
        })
    }

    fn receipt(&self, receipt: String) -> BoxFuture<'static, Result<Json, DeskError>> {
        let service = self.clone();
        Box::pin(async move {
            let found = service.ledger.receipt(&receipt).await.map_err(ledger)?;
            found
                .as_ref()
                .map(as_json)
                .ok_or_else(|| DeskError::Unknown("there is no such receipt".to_owned()))
        })
    }
}

fn malformed(text: &str) -> DeskError {
    DeskError::Malformed(text.to_owned())
}

fn unavailable() -> DeskError {
    DeskError::Unavailable("it could not be done now; try again".to_owned())
}

fn ledger(_logged_by_the_ledger: LedgerError) -> DeskError {
    unavailable()
}

fn parsed<T, E: std::fmt::Display>(
    text: Option<&str>,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, DeskError> {
    // The ids' own errors do not repeat the text.
    text.map(|text| parse(text).map_err(|error| DeskError::Malformed(error.to_string())))
        .transpose()
}

impl Service {
    /// Enqueues what is known of somebody. What is planned already is one run.
    async fn nudged(&self, whom: &Whom) -> Result<Json, DeskError> {
        let email = parsed(whom.email.as_deref(), Email::parse)?;
        let user = parsed(whom.user_key.as_deref(), UserKey::parse)?;
        let session = parsed(whom.session_id.as_deref(), SessionId::parse)?;
        let websites = self.meant(whom)?;
        let mut wanted = Vec::new();
        match (email, user, session) {
            (None, None, Some(session)) => {
                let [website] = websites.as_slice() else {
                    return Err(malformed("say which website with `website_id`"));
                };
                wanted.push((
                    WorkKind::Conversation,
                    website.clone(),
                    session.as_str().to_owned(),
                ));
            }
            (Some(email), None, None) => {
                self.stop_erased(&websites, None, Some(&email)).await?;
                let found = self.users.by_email(&email, Freshness::Fresh).await;
                for website in &websites {
                    for session in self
                        .ledger
                        .conversations_of(website, &email)
                        .await
                        .map_err(ledger)?
                    {
                        wanted.push((
                            WorkKind::Conversation,
                            website.clone(),
                            session.as_str().to_owned(),
                        ));
                    }
                    if let Ok(Lookup::Found(user)) = &found {
                        wanted.push((
                            WorkKind::Person,
                            website.clone(),
                            user.key.as_str().to_owned(),
                        ));
                    }
                }
                if let (true, Err(_down)) = (wanted.is_empty(), &found) {
                    return Err(DeskError::Unavailable(
                        "the app's database does not answer, and the ledger knows nobody of this address".to_owned(),
                    ));
                }
            }
            (None, Some(user), None) => {
                self.stop_erased(&websites, Some(&user), None).await?;
                let found = self.users.by_key(&user, None, Freshness::Fresh).await;
                if matches!(found, Ok(Lookup::NotFound)) {
                    return Err(nobody());
                }
                for website in &websites {
                    // Whether they are there or not, their row finds out, when the database answers again.
                    wanted.push((WorkKind::Person, website.clone(), user.as_str().to_owned()));
                    if let Ok(Lookup::Found(user)) = &found {
                        let sessions = self.ledger.conversations_of(website, &user.email).await;
                        wanted.extend(sessions.map_err(ledger)?.iter().map(|session| {
                            (
                                WorkKind::Conversation,
                                website.clone(),
                                session.as_str().to_owned(),
                            )
                        }));
                    }
                }
            }
            _ => return Err(malformed("say one of `email`, `user_key` and `session_id`")),
        }
        if wanted.is_empty() {
            return Err(nobody());
        }
        let now = self.clock.now();
        let rows = wanted.iter().map(|(kind, website, key)| Enqueue {
            kind: *kind,
            website: website.clone(),
            key: key.clone(),
            trigger: Trigger::Command,
            run_at: now,
            // At once, however fresh; the ledger folds what is asked again before it ran.
            urgency: Urgency::Normal {
                fresh_for: Duration::ZERO,
            },
            debounce: Duration::ZERO,
        });
        self.ledger
            .enqueue(rows.collect(), now)
            .await
            .map_err(ledger)?;
        let enqueued: Vec<Json> = wanted
            .iter()
            .map(|(kind, website, key)| match (kind, UserKey::parse(key)) {
                (WorkKind::Person, Ok(user)) => {
                    json!({ "what": "contact", "website_id": website, "user_ref": self.ledger.pseudonyms().user(&user) })
                }
                _ => json!({ "what": "conversation", "website_id": website, "session_id": key }),
            })
            .collect();
        Ok(json!({ "enqueued": enqueued }))
    }

    /// The websites that are meant.
    fn meant(&self, whom: &Whom) -> Result<Vec<WebsiteId>, DeskError> {
        match parsed(whom.website_id.as_deref(), WebsiteId::parse)? {
            Some(website) if self.websites.is_empty() || self.websites.contains(&website) => {
                Ok(vec![website])
            }
            Some(_) => Err(DeskError::Unknown(
                "this website is not served\nhint: `crisp.websites` names those that are"
                    .to_owned(),
            )),
            None if self.websites.is_empty() => Err(malformed(
                "say which website with `website_id`\nhint: `crisp.websites` names those that are meant without",
            )),
            None => Ok(self.websites.clone()),
        }
    }

    async fn stop_erased(
        &self,
        websites: &[WebsiteId],
        user: Option<&UserKey>,
        email: Option<&Email>,
    ) -> Result<(), DeskError> {
        for website in websites {
            if self
                .ledger
                .tombstoned(website, user, email)
                .await
                .map_err(ledger)?
                == Tombstoned::Yes
            {
                return Err(DeskError::Erased(ERASED.to_owned()));
            }
        }
        Ok(())
    }
}

fn nobody() -> DeskError {
    DeskError::Unknown(
        "the app does not know this person, and the ledger knows no conversation with them"
            .to_owned(),
    )
}
