//! The contact: people data, segments and the profile's empty fields.
//!
//! People data merges by key in Crisp (seen in recorded exchanges), so only what changed since the last accepted push is
//! sent, without a read. Segments and profile fields replace, so the profile is read first, and everything an agent
//! gave it stays.

use serde_json::{Map, Value as Json};

use super::{
    Mode, Outcome, ReconcileError, Reconciled, Reconciler, Run, hand::Applied, stamp::Stamp,
};
use crate::{
    context::{ChangeKind, Context, Held, Layer, Patch, Profile as ProfileFill, diff, evaluate},
    crisp::{
        client::PersonRef,
        error::CrispError,
        model::{Company, NewProfile, Person, Profile, ProfilePatch},
    },
    data::DataValue,
    ids::WebsiteId,
    ledger::{ContactState, PersonMirror},
    record::User,
};

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
        let context = evaluate(&self.definition, user, run.now)?;
        let owned = self.owned().await?.contact;
        let asserted =
            mirror.assert_at.is_some_and(|at| at <= run.now) || mirror.pushed_at.is_none();
        let known = if asserted {
            Map::new()
        } else {
            as_json(&mirror.contact_layer)
        };
        let held = Held {
            data: known,
            segments: mirror.contact_layer.segments.iter().cloned().collect(),
        };
        let person = person_ref(mirror, user);
        let data = self.contact_data(&context.contact, &held, &owned, asserted, run);
        let mut changed = false;
        let mut layer = mirror.contact_layer.clone();
        if !data.is_empty() {
            match run.hand.update_people_data(website, &person, &data).await {
                Ok(applied) => {
                    changed = true;
                    if applied == Applied::Yes {
                        layer.data.extend(data.iter().filter_map(|(key, value)| {
                            serde_json::from_value(value.clone())
                                .ok()
                                .map(|value| (key.clone(), value))
                        }));
                    }
                }
                Err(CrispError::PeopleNotFound) => {
                    run.trace.fact("Crisp has no contact for the address");
                    mirror.contact = ContactState::Unknown;
                    mirror.pushed_at = None;
                    return Ok(Reconciled::nothing(Outcome::NoContact));
                }
                Err(error) => return Err(error.into()),
            }
        }
        let segments_differ = context.contact.segments != mirror.contact_layer.segments;
        if asserted || segments_differ || !mirror.profile_done {
            changed |= self
                .profile(run, website, &person, &context, mirror, &mut layer, &owned)
                .await?;
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
        desired: &Layer,
        held: &Held,
        owned: &crate::context::Owned,
        asserted: bool,
        run: &mut Run,
    ) -> Map<String, Json> {
        let stamp = Stamp {
            now: run.now,
            max_age: self.settings.as_of_max_age,
        };
        let patch = Stamp::diff(Some(stamp), desired, held, owned);
        let mut data: Map<String, Json> = patch
            .changes
            .iter()
            .filter(|change| change.kind == ChangeKind::Data)
            .map(|change| {
                let value = change
                    .after
                    .clone()
                    .unwrap_or_else(|| DataValue::absent().to_json());
                (change.name.clone(), value)
            })
            .collect();
        run.trace.changes("contact", &patch.changes);
        if asserted {
            // What Crisp holds is not known, so "absent" is said in words too: a value of long ago must not stay.
            for (key, value) in &desired.data {
                data.entry(key.clone()).or_insert_with(|| value.to_json());
            }
        }
        data
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one step of `contact`, with everything it has found"
    )]
    async fn profile(
        &self,
        run: &mut Run,
        website: &WebsiteId,
        person: &PersonRef,
        context: &Context,
        mirror: &mut PersonMirror,
        layer: &mut Layer,
        owned: &crate::context::Owned,
    ) -> Result<bool, ReconcileError> {
        let held = match run.hand.profile(website, person).await {
            Ok(Some(profile)) => profile,
            Ok(None) => Profile::default(),
            Err(CrispError::PeopleNotFound) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let wanted = Layer {
            data: std::collections::BTreeMap::new(),
            segments: context.contact.segments.clone(),
        };
        let there = Held {
            data: Map::new(),
            segments: held.segments.clone(),
        };
        let only_segments = crate::context::Owned {
            keys: std::collections::BTreeSet::new(),
            ..owned.clone()
        };
        let Patch {
            segments, changes, ..
        } = diff(&wanted, &there, &only_segments);
        let patch = ProfilePatch {
            segments,
            ..fill(&context.profile, &held, run)
        };
        run.trace.changes("contact", &changes);
        let changed = !patch.is_empty();
        if changed && run.hand.update_profile(website, person, &patch).await? == Applied::Withheld {
            return Ok(true);
        }
        layer.segments.clone_from(&context.contact.segments);
        mirror.people = held.people_id.or(mirror.people.take());
        mirror.profile_done = true;
        Ok(changed)
    }

    /// Creates the contact of a user for whom an event is due, with what a campaign would read.
    pub(super) async fn create_contact(
        &self,
        run: &mut Run,
        website: &WebsiteId,
        mirror: &mut PersonMirror,
        user: &User,
    ) -> Result<(), ReconcileError> {
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
        self.contact(run, website, mirror, user).await?;
        Ok(())
    }
}

/// The contact by the id Crisp gave it, if we know it: an id outlives a change of address.
pub(super) fn person_ref(mirror: &PersonMirror, user: &User) -> PersonRef {
    mirror
        .people
        .clone()
        .map_or_else(|| PersonRef::Email(user.email.clone()), PersonRef::Id)
}

fn as_json(layer: &Layer) -> Map<String, Json> {
    layer
        .data
        .iter()
        .map(|(key, value)| (key.clone(), value.to_json()))
        .collect()
}

/// Fields of the profile that are empty and that we can fill. What is there stays.
fn fill(wanted: &ProfileFill, held: &Profile, run: &mut Run) -> ProfilePatch {
    let mut patch = ProfilePatch::default();
    let mut person = Person::default();
    let mut fill_text = |name: &'static str, wanted: &Option<String>, held: Option<&str>| {
        let wanted = wanted.as_ref().filter(|_| held.is_none_or(str::is_empty))?;
        run.trace.filled(name, wanted);
        Some(wanted.clone())
    };
    let rest = |name: &str| held.person.rest.get(name).and_then(Json::as_str);
    person.nickname = fill_text(
        "nickname",
        &wanted.nickname,
        held.person.nickname.as_deref(),
    );
    let others = [
        ("phone", &wanted.phone),
        ("avatar", &wanted.avatar),
        ("website", &wanted.website),
    ];
    for (name, wanted) in others {
        if let Some(value) = fill_text(name, wanted, rest(name)) {
            person.rest.insert(name.to_owned(), Json::from(value));
        }
    }
    if person != Person::default() {
        patch.person = Some(person);
    }
    if let Some(name) = fill_text("company", &wanted.company, held.company.name.as_deref()) {
        patch.company = Some(Company {
            name: Some(name),
            ..held.company.clone()
        });
    }
    patch
}
