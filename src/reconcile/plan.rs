//! `plan`: the exact calls, none made.
//!
//! It takes the same way as a refresh, with a hand that only notes down. What Crisp holds is taken from the ledger's
//! mirror, and each call that would read first says so.

use jiff::Timestamp;

use super::{
    Mode, Outcome, PlannedCall, ReconcileError, Reconciler, Run, RunTrace, hand::Hand,
    trace::TracedEvent,
};
use crate::{
    clock::Clock,
    ids::{Email, SessionId, WebsiteId},
    ledger::{PersonMirror, Tombstoned},
    users::{Freshness, Lookup},
};

/// What a refresh of a person would do on one website.
#[derive(Debug, serde::Serialize)]
pub struct Plan {
    /// The website.
    pub website: WebsiteId,
    /// Whether the app knows the address.
    pub known: bool,
    /// How many accounts share it; `None` where nobody was looked up.
    pub accounts: Option<usize>,
    /// The conversations that the ledger knows under the address.
    pub conversations: Vec<SessionId>,
    /// The calls, in order.
    pub calls: Vec<PlannedCall>,
    /// Lifecycle events, with the state each would enter.
    pub events: Vec<TracedEvent>,
    /// What was found on the way.
    pub facts: Vec<String>,
}

impl Reconciler {
    /// Plans the refresh of everything known of an address on one website.
    pub async fn plan(
        &self,
        website: &WebsiteId,
        email: &Email,
        now: Timestamp,
    ) -> Result<Plan, ReconcileError> {
        let mut run = Run {
            claim: None,
            now,
            clock: Clock::standing_at(now),
            hand: Hand::new(self.crisp.clone(), Mode::Plan),
            trace: RunTrace::default(),
            user: None,
            trust: None,
        };
        if self.ledger.tombstoned(website, None, Some(email)).await? == Tombstoned::Yes {
            return Ok(Plan {
                website: website.clone(),
                known: false,
                accounts: None,
                conversations: Vec::new(),
                calls: Vec::new(),
                events: Vec::new(),
                facts: vec!["erased: nobody is looked up, written or told of".to_owned()],
            });
        }
        let conversations = self.ledger.conversations_of(website, email).await?;
        for session in &conversations {
            self.conversation(&mut run, website, session).await?;
        }
        let lookup = self.users.by_email(email, Freshness::Fresh).await?;
        let (known, accounts) = match &lookup {
            Lookup::Found(user) => (true, user.accounts.len()),
            Lookup::NotFound => (false, 0),
        };
        if let Lookup::Found(user) = lookup {
            let mirror = self
                .ledger
                .person(website, &user.key)
                .await?
                .unwrap_or_else(|| PersonMirror::unknown(website.clone(), user.key.clone()));
            let reconciled = self.person_found(&mut run, website, mirror, &user).await?;
            if reconciled.outcome == Outcome::NoContact {
                run.trace
                    .fact("the contact was removed in Crisp: nothing would be written to it");
            }
        }
        Ok(Plan {
            website: website.clone(),
            known,
            accounts: Some(accounts),
            conversations,
            events: run.trace.events,
            facts: run.trace.facts,
            calls: run.hand.into_planned(),
        })
    }
}
