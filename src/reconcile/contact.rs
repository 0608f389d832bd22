//! The contact: people data, and through [`super::profile`] its segments and empty fields.
//!
//! People data merges by key in Crisp (seen in recorded exchanges), so only what changed since the last accepted push is
//! sent, without a read. Now and then, and whenever somebody else may have written under our names, all of it is asserted.

use std::time::Duration;

use serde_json::{Map, Value as Json};

use super::{
    Mode, Outcome, ReconcileError, Reconciled, Reconciler, Run, hand::Applied, stamp::Stamp,
};
use crate::{
    context::{Context, Held, Layer, Owned, evaluate},
    crisp::{
        client::PersonRef,
        error::CrispError,
        model::{Company, NewProfile},
    },
    data::DataValue,
    ids::WebsiteId,
    ledger::{ContactState, PersonMirror},
    record::User,
};

/// How long it is remembered that Crisp has no contact for an address. A webhook says when one appears; this is for the
/// webhook that was lost.
const NO_CONTACT_FOR: Duration = Duration::from_hours(1);

impl Reconciler {
    /// Brings the contact up to date. Crisp having no contact is an outcome, not an error: nobody is created for the
    /// sake of data; an event that is due creates one.
    pub(super) async fn contact(
        &self,
        run: &mut Run,
        website: &WebsiteId,
        mirror: &mut PersonMirror,
        user: &User,
    ) -> Result<Reconciled, ReconcileError> {
        if mirror.contact == ContactState::Unknown && self.was_absent_lately(run, mirror) {
            run.trace
                .fact("Crisp had no contact for the address a short while ago");
            return Ok(Reconciled::nothing(Outcome::NoContact));
        }
        match self.push(run, website, mirror, user).await {
            Err(ReconcileError::Crisp(CrispError::PeopleNotFound)) => {
                run.trace.fact("Crisp has no contact for the address");
                mirror.contact = ContactState::Unknown;
                mirror.people = None;
                mirror.pushed_at = None;
                mirror.assert_at = run.now.checked_add(NO_CONTACT_FOR).ok();
                Ok(Reconciled::nothing(Outcome::NoContact))
            }
            pushed => pushed,
        }
    }

    /// Looks whether another contact has taken the place of one that was removed: the webhook that tells of it may be lost.
    pub(super) async fn look_for_another(
        &self,
        run: &mut Run,
        website: &WebsiteId,
        mirror: &mut PersonMirror,
        user: &User,
    ) -> Result<(), ReconcileError> {
        // Whoever only looks on notes nothing, and would ask each time.
        if run.hand.mode() != Mode::Live || self.was_absent_lately(run, mirror) {
            return Ok(());
        }
        mirror.assert_at = run.now.checked_add(NO_CONTACT_FOR).ok();
        let profile = match run.hand.profile(website, &person_ref(user)).await {
            Err(CrispError::PeopleNotFound) => None,
            profile => profile?,
        };
        // Crisp may tell of the removed one for a while.
        let another = (profile.and_then(|profile| profile.people_id))
            .filter(|now| (mirror.people.as_ref()).is_some_and(|removed| removed != now));
        if another.is_some() {
            run.trace
                .fact("another contact has taken the place of the one that was removed");
            mirror.people = another;
            mirror.contact = ContactState::Exists;
            mirror.pushed_at = None;
            mirror.profile_done = false;
        }
        Ok(())
    }

    /// Whether somebody looked for the contact a short while ago, in vain. A sweep comes by often, and so does whoever waits for
    /// consent; mostly they are people who never wrote.
    fn was_absent_lately(&self, run: &Run, mirror: &PersonMirror) -> bool {
        let believed = if run.is_unwatched() {
            self.settings.assert_every
        } else {
            NO_CONTACT_FOR
        };
        mirror.assert_at.is_some_and(|at| {
            let looked_at = at.checked_sub(NO_CONTACT_FOR).unwrap_or(at);
            run.now.duration_since(looked_at).unsigned_abs() < believed
        })
    }

    async fn push(
        &self,
        run: &mut Run,
        website: &WebsiteId,
        mirror: &mut PersonMirror,
        user: &User,
    ) -> Result<Reconciled, ReconcileError> {
        let context = evaluate(&self.definition, user, run.now)?;
        let owned = self.owned().await?.contact;
        let person = person_ref(user);
        let asserted =
            mirror.pushed_at.is_none() || mirror.assert_at.is_some_and(|at| at <= run.now);
        let mut layer = mirror.contact_layer.clone();
        let data = self.contact_data(run, &context, &layer, &owned, asserted);
        let mut changed = !data.is_empty();
        if changed && run.hand.update_people_data(website, &person, &data).await? == Applied::Yes {
            layer
                .data
                .extend(data.into_iter().filter_map(|(key, value)| {
                    serde_json::from_value(value).ok().map(|value| (key, value))
                }));
        }
        if asserted || context.contact.segments != layer.segments || !mirror.profile_done {
            let profile = self
                .profile(run, website, &person, &context, &owned)
                .await?;
            changed |= profile.changed;
            layer.segments = context.contact.segments;
            mirror.people = profile.people.or(mirror.people.take());
            mirror.profile_done = true;
        }
        if run.hand.mode() != Mode::Live {
            let outcome = if changed {
                Outcome::WouldPatch
            } else {
                Outcome::Unchanged
            };
            return Ok(Reconciled::nothing(outcome));
        }
        mirror.contact = ContactState::Exists;
        mirror.contact_layer = layer;
        if asserted || changed {
            mirror.pushed_at = Some(run.now);
        }
        if asserted {
            mirror.assert_at = run.now.checked_add(self.settings.assert_every).ok();
        }
        let outcome = if changed {
            Outcome::Patched
        } else {
            Outcome::Unchanged
        };
        Ok(Reconciled::nothing(outcome))
    }

    /// The keys to send: those that differ from the last accepted push, or all of them when they are asserted.
    fn contact_data(
        &self,
        run: &mut Run,
        context: &Context,
        pushed: &Layer,
        owned: &Owned,
        asserted: bool,
    ) -> Map<String, Json> {
        let stamp = Stamp {
            now: run.now,
            // Nobody looks at a contact because a sweep came by, or an hour: its age alone is no reason to call Crisp.
            max_age: if run.is_unwatched() {
                self.settings.assert_every
            } else {
                self.settings.as_of_max_age
            },
            is_news: true,
        };
        let held = Held {
            data: if asserted {
                Map::new()
            } else {
                as_json(pushed)
            },
            segments: Vec::new(),
        };
        // Segments are the profile's: a change of theirs alone is no reason to write data, its age included.
        let desired = context.contact.clone().without_segments();
        let changes = Stamp::diff(Some(stamp), &desired, &held, owned).changes;
        run.trace.changes("contact", &changes, Some(pushed));
        let mut data: Map<String, Json> = changes
            .into_iter()
            .map(|change| {
                (
                    change.name,
                    change
                        .after
                        .unwrap_or_else(|| DataValue::absent().to_json()),
                )
            })
            .collect();
        if asserted {
            // What Crisp holds is not known, so "absent" is said in words too: a value of long ago must not stay.
            for (key, value) in &context.contact.data {
                data.entry(key.clone()).or_insert_with(|| value.to_json());
            }
        }
        data
    }

    /// Creates the contact of a user for whom an event is due, with what a campaign would read. `false`: Crisp says that it
    /// has one, and that it has none.
    pub(super) async fn create_contact(
        &self,
        run: &mut Run,
        website: &WebsiteId,
        mirror: &mut PersonMirror,
        user: &User,
    ) -> Result<bool, ReconcileError> {
        let context = evaluate(&self.definition, user, run.now)?;
        let mut profile = NewProfile::new(user.email.clone(), context.profile.nickname.as_deref());
        profile.company = context.profile.company.as_ref().map(|name| Company {
            name: Some(name.clone()),
            ..Company::default()
        });
        profile.segments = context.contact.segments.iter().cloned().collect();
        match run.hand.create_profile(website, &profile).await {
            Ok(people) => mirror.people = people,
            // Somebody was faster: the contact is there, and that is what was wanted.
            Err(CrispError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
        run.trace
            .fact("a contact was created, because an event is due");
        mirror.contact = ContactState::Exists;
        mirror.assert_at = None;
        let refreshed = self.contact(run, website, mirror, user).await?;
        Ok(refreshed.outcome != Outcome::NoContact)
    }

    /// Marks the contact as not refreshed, once, while the app's database does not answer. One that shows nothing of ours has
    /// nothing that could be old.
    pub(super) async fn mark_stale(
        &self,
        run: &mut Run,
        website: &WebsiteId,
        mirror: &mut PersonMirror,
        person: &PersonRef,
    ) -> Result<(), ReconcileError> {
        let owned = self.owned().await?.contact;
        let mut layer = mirror.contact_layer.clone();
        if layer
            .data
            .values()
            .all(|value| *value == DataValue::absent())
        {
            return Ok(());
        }
        Stamp::stale(&mut layer);
        let held = Held {
            data: as_json(&mirror.contact_layer),
            segments: Vec::new(),
        };
        layer.segments.clear();
        let changes = Stamp::diff(None, &layer, &held, &owned).changes;
        let data: Map<String, Json> = changes
            .into_iter()
            .filter_map(|change| Some((change.name, change.after?)))
            .collect();
        if data.is_empty() {
            return Ok(());
        }
        if run.hand.update_people_data(website, person, &data).await? == Applied::Yes {
            mirror.contact_layer.data = layer.data;
        }
        Ok(())
    }
}

/// The contact by the address the app has now. Crisp takes it wherever it takes an id, and an id could lead to a contact
/// that has another address by now.
pub(super) fn person_ref(user: &User) -> PersonRef {
    PersonRef::Email(user.email.clone())
}

fn as_json(layer: &Layer) -> Map<String, Json> {
    layer
        .data
        .iter()
        .map(|(key, value)| (key.clone(), value.to_json()))
        .collect()
}
