//! The contact's profile: its segments, and the fields that are empty.
//!
//! A PATCH of segments replaces them (Crisp API, not documented either way), and so may a PATCH of the card. So the profile
//! is read first, and goes back with everything that agents gave it.

use serde_json::{Map, Value as Json};

use super::{ReconcileError, Reconciler, Run, hand::Applied};
use crate::{
    context::{Context, Held, Layer, Owned, Profile as Wanted, diff},
    crisp::{
        client::PersonRef,
        model::{Company, Profile, ProfilePatch},
    },
    ids::{PeopleId, WebsiteId},
};

/// What became of the profile.
pub(super) struct ProfileDone {
    pub(super) changed: bool,
    pub(super) people: Option<PeopleId>,
}

impl Reconciler {
    /// Brings segments up to date and fills what is empty.
    pub(super) async fn profile(
        &self,
        run: &mut Run,
        website: &WebsiteId,
        person: &PersonRef,
        context: &Context,
        owned: &Owned,
    ) -> Result<ProfileDone, ReconcileError> {
        // On paper nothing is known of it.
        let held = run.hand.profile(website, person).await?.unwrap_or_default();
        let wanted = Layer {
            segments: context.contact.segments.clone(),
            ..Layer::default()
        };
        let there = Held {
            data: Map::new(),
            segments: held.segments.clone(),
        };
        let segments = diff(&wanted, &there, owned);
        let mut patch = fill(&context.profile, &held, run);
        patch.segments = segments.segments;
        run.trace.changes("contact", &segments.changes, None);
        let changed = !patch.is_empty();
        if changed && run.hand.update_profile(website, person, &patch).await? == Applied::Withheld {
            return Ok(ProfileDone {
                changed,
                people: None,
            });
        }
        Ok(ProfileDone {
            changed,
            people: held.people_id,
        })
    }
}

/// Fields of the profile that are empty and that we can fill. What is there goes back as it is.
fn fill(wanted: &Wanted, held: &Profile, run: &mut Run) -> ProfilePatch {
    let mut patch = ProfilePatch::default();
    let mut empty = |name: &'static str, wanted: &Option<String>, held: Option<&str>| {
        let wanted = wanted.as_ref().filter(|_| held.is_none_or(str::is_empty))?;
        run.trace.filled(name);
        Some(wanted.clone())
    };
    let mut person = held.person.clone();
    if let Some(nickname) = empty("nickname", &wanted.nickname, person.nickname.as_deref()) {
        person.nickname = Some(nickname);
    }
    let others = [
        ("phone", &wanted.phone),
        ("avatar", &wanted.avatar),
        ("website", &wanted.website),
    ];
    for (name, wanted) in others {
        let there = held.person.rest.get(name).and_then(Json::as_str);
        if let Some(value) = empty(name, wanted, there) {
            person.rest.insert(name.to_owned(), Json::from(value));
        }
    }
    if person != held.person {
        patch.person = Some(person);
    }
    if let Some(name) = empty("company", &wanted.company, held.company.name.as_deref()) {
        patch.company = Some(Company {
            name: Some(name),
            ..held.company.clone()
        });
    }
    patch
}
