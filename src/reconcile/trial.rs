//! An event on trial: one real event to one tester, contact first, and no trace of it in the outbox.
//!
//! What the outbox does not know, spacing and brake do not count, and no real occurrence is taken for sent.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Mode, ReconcileError, Reconciler, Run, RunTrace, Whom, hand::Hand};
use crate::{
    clock::Clock,
    crisp::{
        client::PersonRef,
        error::CrispError,
        model::{NewPeopleEvent, NewProfile},
    },
    data::DataMap,
    ids::{Email, WebsiteId},
    ledger::Tombstoned,
    lifecycle::Rule,
    record::User,
    users::{Freshness, Lookup},
};

/// What would be sent, and by what it was filled.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// The rule's data for the person; `None` where the app does not know them, or has no row of the event's query.
    pub data: Option<DataMap>,
    /// Whether the app knows the person.
    pub known: bool,
}

/// What became of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrialSent {
    /// Crisp took it.
    Sent {
        /// A contact was made for it.
        contact_created: bool,
    },
    /// There is no contact, and none may be made.
    NoContact,
    /// The address was erased.
    Erased,
}

impl Reconciler {
    /// The rule's data for the person with this address, as the app's database has them now.
    pub async fn trial_data(
        &self,
        rule: &Rule,
        email: &Email,
        now: Timestamp,
    ) -> Result<Trial, ReconcileError> {
        let Lookup::Found(user) = self.users.by_email(email, Freshness::Fresh).await? else {
            return Ok(Trial {
                data: None,
                known: false,
            });
        };
        let data = self.data_of(rule, &user, now).await?;
        Ok(Trial { data, known: true })
    }

    /// The rule's data for anybody; only its types may be shown.
    pub async fn example_of(
        &self,
        rule: &Rule,
        website: &WebsiteId,
        whom: Whom<'_>,
        now: Timestamp,
    ) -> Result<Option<DataMap>, ReconcileError> {
        let found = match whom {
            Whom::Key(key) => self.user(website, key, Freshness::Cached).await?,
            Whom::Email(email) => self.users.by_email(email, Freshness::Cached).await?,
        };
        match found {
            Lookup::Found(user) => self.data_of(rule, &user, now).await,
            Lookup::NotFound => Ok(None),
        }
    }

    async fn data_of(
        &self,
        rule: &Rule,
        user: &User,
        now: Timestamp,
    ) -> Result<Option<DataMap>, ReconcileError> {
        let mut rows = if rule.has_query() {
            // Long ago is as good as today for an example.
            self.users.event_rows(user, Timestamp::UNIX_EPOCH).await?
        } else {
            BTreeMap::new()
        };
        let rows = rows.remove(rule.name()).unwrap_or_default();
        Ok(self.rules.example(rule, user, &rows, now)?)
    }

    /// Sends an event to a tester: looks for the contact, makes one where that is allowed, and posts once.
    pub async fn send_trial(
        &self,
        website: &WebsiteId,
        email: &Email,
        (text, color): (&str, &str),
        data: &DataMap,
        clock: &Clock,
    ) -> Result<TrialSent, ReconcileError> {
        let now = clock.now();
        let mut run = Run {
            claim: None,
            now,
            clock: clock.clone(),
            hand: Hand::new(self.crisp.clone(), Mode::Live),
            trace: RunTrace::default(),
            user: None,
            trust: None,
        };
        let sent = self
            .post_trial(&mut run, website, email, (text, color), data)
            .await;
        let calls: Vec<(&'static str, u32)> = run
            .calls()
            .into_iter()
            .map(|purpose| (purpose, 1))
            .collect();
        self.ledger.count_calls(&calls, now).await?;
        sent
    }

    async fn post_trial(
        &self,
        run: &mut Run,
        website: &WebsiteId,
        email: &Email,
        (text, color): (&str, &str),
        data: &DataMap,
    ) -> Result<TrialSent, ReconcileError> {
        if self.ledger.tombstoned(website, None, Some(email)).await? == Tombstoned::Yes {
            return Ok(TrialSent::Erased);
        }
        let person = PersonRef::Email(email.clone());
        let mut contact_created = false;
        match run.hand.profile(website, &person).await {
            Ok(_) => {}
            Err(CrispError::PeopleNotFound) if self.rules.creates_contacts() => {
                let profile = NewProfile::new(email.clone(), None);
                match run.hand.create_profile(website, &profile).await {
                    // Somebody was faster.
                    Ok(_) | Err(CrispError::Conflict) => contact_created = true,
                    Err(error) => return Err(error.into()),
                }
            }
            Err(CrispError::PeopleNotFound) => return Ok(TrialSent::NoContact),
            Err(error) => return Err(error.into()),
        }
        let event = NewPeopleEvent {
            text: text.to_owned(),
            data: data.clone(),
            color: Some(color.to_owned()),
        };
        run.hand.add_event(website, &person, &event).await?;
        Ok(TrialSent::Sent { contact_created })
    }
}
