//! The contact that an event is put on: it is there, it is made, or the event waits for it.

use jiff::{SignedDuration, Timestamp};

use super::{
    ReconcileError,
    contact::person_ref,
    outbox::{is_vouched, known},
    send::{Sending, Turn},
    timeline::Cleared,
};
use crate::{
    crisp::error::CrispError,
    ids::PeopleId,
    ledger::{ContactState, OutboxRow, Write},
    lifecycle::{OutboxState, reason, timeline::is_surely_before},
};

/// How long a contact that is suddenly gone is not made again: the webhook that says who removed it may be on its way.
const CONTACT_GONE: SignedDuration = SignedDuration::from_mins(5);

/// Whether there is a contact to put an event on.
pub(super) enum Contact {
    /// There is.
    There,
    /// There is none, and none may be made.
    Missing(&'static str),
    /// It is gone, and it is too early to make another.
    Gone,
}

/// The contact as Crisp tells of it now.
#[derive(Debug)]
pub(super) struct ContactNow {
    people: Option<PeopleId>,
    /// By Crisp's clock.
    made_at: Timestamp,
}

impl ContactNow {
    /// Whether it is surely not the one that is known, of which no webhook told that it was replaced.
    fn is_another(&self, known: Option<&PeopleId>) -> bool {
        known.is_some_and(|known| self.people.as_ref().is_some_and(|now| now != known))
    }
}

impl Sending<'_> {
    /// Makes sure of a contact.
    pub(super) async fn contact(&mut self) -> Result<Contact, ReconcileError> {
        match self.mirror.contact {
            ContactState::Exists => return Ok(Contact::There),
            ContactState::Removed => return Ok(Contact::Missing(reason::CONTACT_REMOVED)),
            ContactState::Unknown if !self.creates() => {
                return Ok(Contact::Missing(reason::NO_CONTACT));
            }
            ContactState::Unknown if self.contact_gone => return Ok(Contact::Gone),
            ContactState::Unknown => {}
        }
        let noted = self
            .reconciler
            .ledger
            .person(self.website, &self.mirror.user_key)
            .await?;
        if noted.is_some_and(|noted| noted.contact == ContactState::Removed) {
            self.mirror.contact = ContactState::Removed;
            return Ok(Contact::Missing(reason::CONTACT_REMOVED));
        }
        // The id of a contact that is not there any more finds nothing.
        self.mirror.people = None;
        let created = self
            .reconciler
            .create_contact(self.run, self.website, self.mirror, self.user)
            .await;
        let write = Write::Person(self.mirror.clone());
        self.reconciler.checkpoint(self.run, vec![write]).await?;
        match created {
            Ok(true) => Ok(Contact::There),
            Ok(false) | Err(ReconcileError::Crisp(CrispError::PeopleNotFound)) => {
                self.mirror.contact = ContactState::Unknown;
                Ok(Contact::Gone)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the ledger may have sent a row and forgotten, and there is no contact whose timeline could tell.
    pub(super) fn was_forgotten_without_contact(&self, row: &OutboxRow) -> bool {
        let rules = &self.reconciler.rules;
        self.mirror.contact == ContactState::Unknown
            && !self.contact_gone
            && self.creates()
            && !is_vouched(row)
            && (rules.forgotten_since(&known(row), self.edges, &self.outbox.gaps)).is_some()
    }

    /// Whether the contact is the one that a request of which the ledger may know nothing would have gone to: it was there long
    /// enough before, whatever lies between Crisp's clock and the one that dated the event.
    pub(super) async fn same_contact(&mut self, row: &OutboxRow) -> Result<Cleared, CrispError> {
        let rules = &self.reconciler.rules;
        let Some(since) = rules.forgotten_since(&known(row), self.edges, &self.outbox.gaps) else {
            return Ok(Cleared::Post);
        };
        let known = self.mirror.people.clone();
        let contact = self.contact_now().await?;
        Ok(
            if is_surely_before(contact.made_at, since) && !contact.is_another(known.as_ref()) {
                Cleared::Post
            } else {
                Cleared::Unsure(reason::CONTACT_NEWER)
            },
        )
    }

    /// Whether the contact is the one that a request went to, whose answer never came: it was there long enough before, or it
    /// is the one that was known all along. Not every webhook that says who took whose place arrives.
    pub(super) async fn was_contact(
        &mut self,
        attempted_at: Timestamp,
    ) -> Result<bool, CrispError> {
        let known = self.mirror.people.clone();
        let contact = self.contact_now().await?;
        if contact.is_another(known.as_ref()) {
            return Ok(false);
        }
        let is_known = contact.people.is_some() && contact.people == known;
        Ok(is_surely_before(contact.made_at, attempted_at)
            || is_known && contact.made_at <= attempted_at)
    }

    async fn contact_now(&mut self) -> Result<&ContactNow, CrispError> {
        let contact = if let Some(known) = self.contact_now.take() {
            known
        } else {
            let person = person_ref(self.user);
            let profile = self.run.hand.profile(self.website, &person).await?;
            let profile = profile.unwrap_or_default();
            let made_at = (profile.created_at).and_then(|at| Timestamp::from_millisecond(at).ok());
            ContactNow {
                people: profile.people_id,
                // Of which Crisp does not tell, that was made too late to prove anything.
                made_at: made_at.unwrap_or(Timestamp::MAX),
            }
        };
        Ok(self.contact_now.insert(contact))
    }

    /// Crisp says that there is no such contact, and we thought there was.
    pub(super) async fn contact_is_gone(&mut self, row: OutboxRow) -> Result<Turn, ReconcileError> {
        self.run.trace.fact("the contact is gone");
        self.mirror.contact = ContactState::Unknown;
        self.mirror.people = None;
        self.mirror.pushed_at = None;
        // The run that comes back for it asks whether it is there again.
        self.mirror.assert_at = None;
        self.contact_gone = true;
        let write = Write::Person(self.mirror.clone());
        self.reconciler.checkpoint(self.run, vec![write]).await?;
        if self.creates() {
            return self.wait_for_contact(row).await;
        }
        self.enter(row, OutboxState::Parked, reason::NO_CONTACT)
            .await?;
        Ok(Turn::Next)
    }

    /// Waits until it is known who removed it.
    pub(super) async fn wait_for_contact(
        &mut self,
        row: OutboxRow,
    ) -> Result<Turn, ReconcileError> {
        self.wait(row, CONTACT_GONE, reason::CONTACT_GONE).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contact_is_another_only_where_both_ids_are_known_and_differ() {
        let id = |name: &str| PeopleId::parse(name).expect("an id");
        let (one, other) = (
            id("4a8e3a6e-7f0b-4a5d-9a51-0c2c6f4f0001"),
            id("4a8e3a6e-7f0b-4a5d-9a51-0c2c6f4f0002"),
        );
        for (known, now, is_another) in [
            (None, None, false),
            (None, Some(&one), false),
            (Some(&one), None, false),
            (Some(&one), Some(&one), false),
            (Some(&one), Some(&other), true),
        ] {
            let contact = ContactNow {
                people: now.cloned(),
                made_at: Timestamp::MIN,
            };
            assert_eq!(contact.is_another(known), is_another, "{known:?} {now:?}");
        }
    }
}
