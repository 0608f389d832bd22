//! The refresh of one person: first the contact, then the lifecycle events that Crisp missed.
//!
//! The order matters: a campaign that an event starts reads the contact.

use jiff::Timestamp;

use super::{Mode, Outcome, ReconcileError, Reconciled, Reconciler, Run, events::News};
use crate::{
    crisp::client::PersonRef,
    ids::{UserKey, WebsiteId},
    ledger::{ContactState, FormerContact, PersonMirror, Tombstoned, Write, note_former},
    record::User,
    users::{Freshness, Lookup, UsersError},
};

impl Reconciler {
    /// Refreshes one person's contact, and sends the events that are due.
    pub async fn person(
        &self,
        run: &mut Run,
        website: &WebsiteId,
        key: &UserKey,
    ) -> Result<Reconciled, ReconcileError> {
        if self.ledger.tombstoned(website, Some(key), None).await? == Tombstoned::Yes {
            return Ok(Self::person_erased(run, website, key));
        }
        let mirror = self
            .ledger
            .person(website, key)
            .await?
            .unwrap_or_else(|| PersonMirror::unknown(website.clone(), key.clone()));
        // A sweep looks once at what changed: an answer from before the change would be the last word on it. Nor is what was
        // answered before a second look.
        let freshness = if run.is_unwatched() {
            Freshness::Fresh
        } else {
            Freshness::Cached
        };
        match self.user(website, key, freshness).await {
            Ok(Lookup::Found(user)) => self.person_found(run, website, mirror, &user).await,
            Ok(Lookup::NotFound) => {
                run.trace.fact("the app does not know the user any more");
                self.person_gone(run, website, &mirror).await
            }
            Err(error) if error.is_transient() => {
                self.person_unanswered(run, website, mirror, error).await
            }
            Err(error) => Err(error),
        }
    }

    /// Somebody who was erased. A row that is there all the same goes.
    fn person_erased(run: &mut Run, website: &WebsiteId, key: &UserKey) -> Reconciled {
        run.trace
            .fact("erased: nobody is looked up, written or told of");
        let forget = Write::ForgetPerson {
            website: website.clone(),
            user_key: key.clone(),
        };
        Reconciled {
            writes: vec![forget],
            ..Reconciled::nothing(Outcome::Erased)
        }
    }

    /// The app's database does not answer: an agent must see that what the contact shows is old.
    async fn person_unanswered(
        &self,
        run: &mut Run,
        website: &WebsiteId,
        mut mirror: PersonMirror,
        owed: ReconcileError,
    ) -> Result<Reconciled, ReconcileError> {
        run.trace.fact("the app's database did not answer");
        let mut reconciled = Reconciled {
            owed: Some(owed),
            ..Reconciled::default()
        };
        let person = mirror.people.clone().map(PersonRef::Id);
        let lasting = (reconciled.owed.as_ref()).is_some_and(|error| self.is_lasting(run, error));
        if let (ContactState::Exists, Some(person), true) = (mirror.contact, person, lasting) {
            self.mark_stale(run, website, &mut mirror, &person).await?;
            if run.hand.mode() == Mode::Live {
                reconciled.writes.push(Write::Person(mirror));
            }
        }
        Ok(reconciled)
    }

    /// The user of a key. Where the app's database cannot be asked by key, the address of their last conversation finds
    /// them.
    pub(super) async fn user(
        &self,
        website: &WebsiteId,
        key: &UserKey,
        freshness: Freshness,
    ) -> Result<Lookup, ReconcileError> {
        match self.users.by_key(key, None, freshness).await {
            Err(UsersError::Config { message, hint }) => {
                let Some(email) = self.ledger.last_email_of(website, key).await? else {
                    return Err(UsersError::Config { message, hint }.into());
                };
                let found = self.users.by_key(key, Some(&email), freshness);
                Ok(found.await?)
            }
            answer => Ok(answer?),
        }
    }

    /// The refresh of a person whose row is at hand.
    pub(super) async fn person_found(
        &self,
        run: &mut Run,
        website: &WebsiteId,
        mut mirror: PersonMirror,
        user: &User,
    ) -> Result<Reconciled, ReconcileError> {
        let erased = self
            .ledger
            .tombstoned(website, Some(&user.key), Some(&user.email));
        if erased.await? == Tombstoned::Yes {
            return Ok(Self::person_erased(run, website, &user.key));
        }
        let email_mac = self.ledger.pseudonyms().email(&user.email);
        self.forget_former(&mut mirror.former, run.now);
        let is_first_address = mirror.email_mac.is_none();
        let moved = !is_first_address && mirror.email_mac.as_ref() != Some(&email_mac);
        if is_first_address || moved {
            if moved {
                run.trace
                    .fact("the user's address changed: the new contact is written afresh");
            }
            // Another address is another contact: what we pushed to the old one says nothing about it.
            let mut former = mirror.former;
            if moved {
                let left = FormerContact {
                    people: mirror.people,
                    until: run.now,
                };
                note_former(&mut former, left);
            }
            mirror = PersonMirror {
                edges: mirror.edges,
                former,
                email_mac: Some(email_mac),
                ..PersonMirror::unknown(mirror.website, mirror.user_key)
            };
        }
        let people = mirror.people.clone();
        let existed = mirror.contact == ContactState::Exists;
        let was_removed = mirror.contact == ContactState::Removed;
        if was_removed {
            self.look_for_another(run, website, &mut mirror, user)
                .await?;
        }
        let mut reconciled = if mirror.contact == ContactState::Removed {
            run.trace
                .fact("the contact was removed in Crisp: it is not written");
            Reconciled::nothing(Outcome::NoContact)
        } else if self.is_first_account(user).await? {
            self.contact(run, website, &mut mirror, user).await?
        } else {
            run.trace
                .fact("the contact shows another account of the same address");
            Reconciled::nothing(Outcome::Unchanged)
        };
        if was_removed && mirror.contact == ContactState::Unknown {
            // What was found in its place is gone as well: we make none.
            mirror.contact = ContactState::Removed;
            mirror.people.clone_from(&people);
        }
        if mirror.contact == ContactState::Unknown {
            // The id of a contact that is not there finds nothing, also when there is another one by then.
            mirror.people = None;
        }
        let news = News {
            contact_gone: existed && mirror.contact == ContactState::Unknown,
            moved,
            replaced: people.is_some() && mirror.people.is_some() && mirror.people != people,
        };
        let events = self.events(run, website, &mut mirror, user, news).await?;
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

    /// Nothing is told any more that may have been told at a contact of so long ago.
    fn forget_former(&self, former: &mut Vec<FormerContact>, now: Timestamp) {
        let window = self.rules.sweep_window();
        former.retain(|one| now.duration_since(one.until).unsigned_abs() <= window);
    }

    /// Whether the address shows this account: several may share it, and the query's first row wins.
    async fn is_first_account(&self, user: &User) -> Result<bool, ReconcileError> {
        if user.accounts.len() < 2 {
            return Ok(true);
        }
        let first = self.users.by_email(&user.email, Freshness::Cached).await?;
        Ok(matches!(first, Lookup::Found(first) if first.key == user.key))
    }
}
