//! The calls, by what they are for.

use serde::{Serialize, de::IgnoredAny};
use serde_json::{Map, Value as Json};

use super::{
    Client, Meter, Reply, Tier,
    route::{self, Route},
};
use crate::{
    crisp::{
        error::CrispError,
        model::{
            Conversation, CreatedProfile, MetasPatch, NewPeopleEvent, NewProfile, PeopleData,
            PeopleEvent, Profile, ProfilePatch, Website,
        },
    },
    ids::{Email, PeopleId, SessionId, WebsiteId},
};

/// How many conversations a page of the list holds. Crisp refuses fewer than ten and documents no maximum.
const PER_PAGE: &str = "50";

/// What we know a contact by. Crisp takes either in a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PersonRef {
    /// Its address.
    Email(Email),
    /// Its id.
    Id(PeopleId),
}

impl PersonRef {
    /// The contact as it stands in a path.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Email(email) => email.as_str(),
            Self::Id(people) => people.as_str(),
        }
    }
}

/// A page of a contact's timeline.
#[derive(Debug, Clone, PartialEq)]
pub struct Timeline {
    /// The entries, newest first as Crisp lists them. Crisp forgets old ones.
    pub events: Vec<PeopleEvent>,
    /// Whether a cache gave the page: then a missing entry proves nothing.
    pub cached: bool,
}

impl Client {
    /// Asks, as cheaply as the tier allows, whether the token works.
    pub async fn probe(&self, meter: &Meter, website: &WebsiteId) -> Result<(), CrispError> {
        let (route, values): (_, &[&str]) = match self.credentials().tier {
            Tier::Plugin => (&route::PROBE_PLUGIN, &[]),
            Tier::Website => (&route::PROBE_WEBSITE, &[website.as_str()]),
        };
        self.call::<IgnoredAny>(meter, route, values, &[], None)
            .await?;
        Ok(())
    }

    /// Reads a website: proves that the token may speak for it.
    pub async fn website(&self, meter: &Meter, website: &WebsiteId) -> Result<Website, CrispError> {
        self.get(meter, &route::READ_WEBSITE, &[website.as_str()])
            .await
    }

    /// Lists conversations, the last changed first. Pages count from 1; a page past the end is empty.
    pub async fn conversations(
        &self,
        meter: &Meter,
        website: &WebsiteId,
        page: u32,
    ) -> Result<Vec<Conversation>, CrispError> {
        let page = page.to_string();
        let query = [("per_page", PER_PAGE), ("order_date_updated", "1")];
        let reply = self
            .call(
                meter,
                &route::LIST_CONVERSATIONS,
                &[website.as_str(), &page],
                &query,
                None,
            )
            .await?;
        Ok(reply.data)
    }

    /// Reads a conversation with its metas and verifications.
    pub async fn conversation(
        &self,
        meter: &Meter,
        website: &WebsiteId,
        session: &SessionId,
    ) -> Result<Conversation, CrispError> {
        self.get(
            meter,
            &route::READ_CONVERSATION,
            &[website.as_str(), session.as_str()],
        )
        .await
    }

    /// Changes a conversation's data or segments. Both may replace what is there, so a patch is complete.
    pub async fn update_metas(
        &self,
        meter: &Meter,
        website: &WebsiteId,
        session: &SessionId,
        patch: &MetasPatch,
    ) -> Result<(), CrispError> {
        self.write(
            meter,
            &route::UPDATE_METAS,
            &[website.as_str(), session.as_str()],
            patch,
        )
        .await
    }

    /// Reads a contact's card.
    pub async fn profile(
        &self,
        meter: &Meter,
        website: &WebsiteId,
        person: &PersonRef,
    ) -> Result<Profile, CrispError> {
        self.get(
            meter,
            &route::READ_CONTACT,
            &[website.as_str(), person.as_str()],
        )
        .await
    }

    /// Makes a contact. [`CrispError::Conflict`] means that it exists: read it.
    pub async fn create_profile(
        &self,
        meter: &Meter,
        website: &WebsiteId,
        profile: &NewProfile,
    ) -> Result<PeopleId, CrispError> {
        let reply: Reply<CreatedProfile> = self
            .call(
                meter,
                &route::CREATE_CONTACT,
                &[website.as_str()],
                &[],
                Some(json(profile)),
            )
            .await?;
        reply.data.people_id.ok_or(CrispError::Unreadable {
            status: 201,
            why: "it holds no `people_id`",
        })
    }

    /// Changes the fields of a contact's card that the patch holds.
    pub async fn update_profile(
        &self,
        meter: &Meter,
        website: &WebsiteId,
        person: &PersonRef,
        patch: &ProfilePatch,
    ) -> Result<(), CrispError> {
        self.write(
            meter,
            &route::UPDATE_CONTACT,
            &[website.as_str(), person.as_str()],
            patch,
        )
        .await
    }

    /// Removes a contact, with its timeline and everything that anybody wrote on it.
    pub async fn remove_profile(
        &self,
        meter: &Meter,
        website: &WebsiteId,
        person: &PersonRef,
    ) -> Result<(), CrispError> {
        let values = [website.as_str(), person.as_str()];
        self.call::<IgnoredAny>(meter, &route::REMOVE_CONTACT, &values, &[], None)
            .await?;
        Ok(())
    }

    /// Reads a contact's data.
    pub async fn people_data(
        &self,
        meter: &Meter,
        website: &WebsiteId,
        person: &PersonRef,
    ) -> Result<Map<String, Json>, CrispError> {
        let data: PeopleData = self
            .get(
                meter,
                &route::READ_CONTACT_DATA,
                &[website.as_str(), person.as_str()],
            )
            .await?;
        Ok(data.data)
    }

    /// Merges keys into a contact's data: a key that is left out stays.
    pub async fn update_people_data(
        &self,
        meter: &Meter,
        website: &WebsiteId,
        person: &PersonRef,
        data: &Map<String, Json>,
    ) -> Result<(), CrispError> {
        #[derive(Serialize)]
        struct Body<'a> {
            data: &'a Map<String, Json>,
        }
        self.write(
            meter,
            &route::UPDATE_CONTACT_DATA,
            &[website.as_str(), person.as_str()],
            &Body { data },
        )
        .await
    }

    /// Reads a page of a contact's timeline. Pages count from 1; a page past the end is empty.
    pub async fn people_events(
        &self,
        meter: &Meter,
        website: &WebsiteId,
        person: &PersonRef,
        page: u32,
    ) -> Result<Timeline, CrispError> {
        let page = page.to_string();
        let reply = self
            .call(
                meter,
                &route::READ_TIMELINE,
                &[website.as_str(), person.as_str(), &page],
                &[],
                None,
            )
            .await?;
        Ok(Timeline {
            events: reply.data,
            cached: reply.cached,
        })
    }

    /// Adds an entry to a contact's timeline. Crisp has no idempotency key: a second call is a second entry.
    pub async fn add_people_event(
        &self,
        meter: &Meter,
        website: &WebsiteId,
        person: &PersonRef,
        event: &NewPeopleEvent,
    ) -> Result<(), CrispError> {
        self.write(
            meter,
            &route::ADD_EVENT,
            &[website.as_str(), person.as_str()],
            event,
        )
        .await
    }

    async fn get<T: serde::de::DeserializeOwned>(
        &self,
        meter: &Meter,
        route: &'static Route,
        values: &[&str],
    ) -> Result<T, CrispError> {
        Ok(self.call(meter, route, values, &[], None).await?.data)
    }

    async fn write(
        &self,
        meter: &Meter,
        route: &'static Route,
        values: &[&str],
        body: &impl Serialize,
    ) -> Result<(), CrispError> {
        self.call::<IgnoredAny>(meter, route, values, &[], Some(json(body)))
            .await?;
        Ok(())
    }
}

fn json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("our own shapes have text keys, so they are JSON")
}
