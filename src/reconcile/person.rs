//! The refresh of one person: first the contact, then the lifecycle events that Crisp missed.
//!
//! The order matters: a campaign that an event starts reads the contact.

use super::{Mode, Outcome, ReconcileError, Reconciled, Reconciler, Run};
use crate::{
    ids::{UserKey, WebsiteId},
    ledger::{ContactState, PersonMirror, Write},
    record::User,
    users::{Freshness, Lookup},
};

impl Reconciler {
    /// Refreshes one person's contact, and sends the events that are due.
    pub async fn person(
        &self,
        run: &mut Run,
        website: &WebsiteId,
        key: &UserKey,
    ) -> Result<Reconciled, ReconcileError> {
        let mirror = self
            .ledger
            .person(website, key)
            .await?
            .unwrap_or_else(|| PersonMirror::unknown(website.clone(), key.clone()));
        let Lookup::Found(user) = self.users.by_key(key, None, Freshness::Cached).await? else {
            run.trace.fact("the app does not know the user any more");
            return Ok(Reconciled::nothing(Outcome::NoUser));
        };
        self.person_found(run, website, mirror, &user).await
    }

    /// The refresh of a person whose row is at hand.
    pub(super) async fn person_found(
        &self,
        run: &mut Run,
        website: &WebsiteId,
        mut mirror: PersonMirror,
        user: &User,
    ) -> Result<Reconciled, ReconcileError> {
        let email_mac = self.ledger.pseudonyms().email(&user.email);
        if mirror.email_mac.as_ref() != Some(&email_mac) {
            if mirror.email_mac.is_some() {
                run.trace
                    .fact("the user's address changed: the new contact is written afresh");
            }
            // Another address is another contact: what we pushed to the old one says nothing about it.
            mirror = PersonMirror {
                edges: mirror.edges,
                email_mac: Some(email_mac),
                ..PersonMirror::unknown(mirror.website, mirror.user_key)
            };
        }
        let mut reconciled = if mirror.contact == ContactState::Removed {
            run.trace
                .fact("the contact was removed in Crisp: it is not written");
            Reconciled::nothing(Outcome::NoContact)
        } else {
            self.contact(run, website, &mut mirror, user).await?
        };
        let events = self.events(run, website, &mut mirror, user).await?;
        if events.sent > 0 && reconciled.outcome == Outcome::Unchanged {
            reconciled.outcome = Outcome::Patched;
        }
        reconciled.again_at = [reconciled.again_at, events.again_at]
            .into_iter()
            .flatten()
            .min();
        reconciled.owed = events.owed;
        if run.hand.mode() == Mode::Live {
            reconciled.writes.push(Write::Person(mirror));
        }
        Ok(reconciled)
    }
}
