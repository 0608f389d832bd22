//! Crisp, as a run may use it: for real, reading only, or on paper.
//!
//! `observe` mode and `plan` must take the same decisions as the real thing and write nothing. So every write goes
//! through here, and here alone is decided whether it goes out or is noted down.

use serde_json::{Map, Value as Json};

use crate::{
    crisp::{
        client::{Client, Meter, PersonRef, Timeline},
        error::CrispError,
        model::{Conversation, MetasPatch, NewPeopleEvent, NewProfile, Profile, ProfilePatch},
    },
    ids::{PeopleId, SessionId, WebsiteId},
};

/// How far a run may go.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Read and write.
    Live,
    /// Read; note down what would be written.
    Observe,
    /// Neither: note down every call, and take the ledger's mirror for what Crisp holds.
    #[serde(skip)]
    Plan,
}

/// A call that was noted down instead of made.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct PlannedCall {
    /// `GET`, `PATCH` or `POST`.
    pub method: &'static str,
    /// The path below the base URL.
    pub path: String,
    /// The body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Json>,
    /// What the call is for, where the path does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<&'static str>,
}

/// Whether a write went out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Applied {
    /// Crisp confirmed it.
    Yes,
    /// It was noted down.
    Withheld,
}

/// Crisp in the hand of one run.
#[derive(Debug)]
pub(crate) struct Hand {
    client: Client,
    mode: Mode,
    pub(crate) meter: Meter,
    planned: Vec<PlannedCall>,
}

impl Hand {
    pub(crate) fn new(client: Client, mode: Mode) -> Self {
        Self {
            client,
            mode,
            meter: Meter::default(),
            planned: Vec::new(),
        }
    }

    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    pub(crate) fn into_planned(self) -> Vec<PlannedCall> {
        self.planned
    }

    pub(crate) fn planned(&self) -> &[PlannedCall] {
        &self.planned
    }

    fn note(
        &mut self,
        method: &'static str,
        path: String,
        body: Option<Json>,
        note: Option<&'static str>,
    ) {
        self.planned.push(PlannedCall {
            method,
            path,
            body,
            note,
        });
    }

    /// A write that is not live is noted down; the body is what would have been sent.
    fn withheld(
        &mut self,
        method: &'static str,
        path: String,
        body: &impl serde::Serialize,
    ) -> bool {
        if self.mode == Mode::Live {
            return false;
        }
        // What cannot be written as JSON cannot be sent either; the types here all can.
        self.note(method, path, serde_json::to_value(body).ok(), None);
        true
    }

    /// A page of the website's conversations, the last changed first. Never asked on paper.
    pub(crate) async fn conversations(
        &mut self,
        website: &WebsiteId,
        page: u32,
    ) -> Result<Vec<Conversation>, CrispError> {
        self.client.conversations(&self.meter, website, page).await
    }

    /// `None` on paper.
    pub(crate) async fn conversation(
        &mut self,
        website: &WebsiteId,
        session: &SessionId,
    ) -> Result<Option<Conversation>, CrispError> {
        if self.mode == Mode::Plan {
            let path = format!("/website/{website}/conversation/{session}");
            self.note("GET", path, None, Some("who it is, and what is there"));
            return Ok(None);
        }
        self.client
            .conversation(&self.meter, website, session)
            .await
            .map(Some)
    }

    pub(crate) async fn update_metas(
        &mut self,
        website: &WebsiteId,
        session: &SessionId,
        patch: &MetasPatch,
    ) -> Result<Applied, CrispError> {
        if self.withheld(
            "PATCH",
            format!("/website/{website}/conversation/{session}/meta"),
            patch,
        ) {
            return Ok(Applied::Withheld);
        }
        self.client
            .update_metas(&self.meter, website, session, patch)
            .await?;
        Ok(Applied::Yes)
    }

    /// `None` on paper.
    pub(crate) async fn profile(
        &mut self,
        website: &WebsiteId,
        person: &PersonRef,
    ) -> Result<Option<Profile>, CrispError> {
        if self.mode == Mode::Plan {
            let path = format!("/website/{website}/people/profile/{}", person.as_str());
            self.note(
                "GET",
                path,
                None,
                Some("segments and fields that agents gave the contact"),
            );
            return Ok(None);
        }
        self.client
            .profile(&self.meter, website, person)
            .await
            .map(Some)
    }

    pub(crate) async fn create_profile(
        &mut self,
        website: &WebsiteId,
        profile: &NewProfile,
    ) -> Result<Option<PeopleId>, CrispError> {
        if self.withheld(
            "POST",
            format!("/website/{website}/people/profile"),
            profile,
        ) {
            return Ok(None);
        }
        self.client
            .create_profile(&self.meter, website, profile)
            .await
            .map(Some)
    }

    pub(crate) async fn update_profile(
        &mut self,
        website: &WebsiteId,
        person: &PersonRef,
        patch: &ProfilePatch,
    ) -> Result<Applied, CrispError> {
        if self.withheld(
            "PATCH",
            format!("/website/{website}/people/profile/{}", person.as_str()),
            patch,
        ) {
            return Ok(Applied::Withheld);
        }
        self.client
            .update_profile(&self.meter, website, person, patch)
            .await?;
        Ok(Applied::Yes)
    }

    pub(crate) async fn remove_profile(
        &mut self,
        website: &WebsiteId,
        person: &PersonRef,
    ) -> Result<Applied, CrispError> {
        let path = format!("/website/{website}/people/profile/{}", person.as_str());
        if self.withheld("DELETE", path, &serde_json::Value::Null) {
            return Ok(Applied::Withheld);
        }
        self.client
            .remove_profile(&self.meter, website, person)
            .await?;
        Ok(Applied::Yes)
    }

    /// What a contact's data holds. Never asked on paper.
    pub(crate) async fn people_data(
        &mut self,
        website: &WebsiteId,
        person: &PersonRef,
    ) -> Result<Map<String, Json>, CrispError> {
        self.client.people_data(&self.meter, website, person).await
    }

    pub(crate) async fn update_people_data(
        &mut self,
        website: &WebsiteId,
        person: &PersonRef,
        data: &Map<String, Json>,
    ) -> Result<Applied, CrispError> {
        let path = format!("/website/{website}/people/data/{}", person.as_str());
        if self.withheld("PATCH", path, &serde_json::json!({ "data": data })) {
            return Ok(Applied::Withheld);
        }
        self.client
            .update_people_data(&self.meter, website, person, data)
            .await?;
        Ok(Applied::Yes)
    }

    /// `None` on paper.
    pub(crate) async fn timeline(
        &mut self,
        website: &WebsiteId,
        person: &PersonRef,
        page: u32,
    ) -> Result<Option<Timeline>, CrispError> {
        if self.mode == Mode::Plan {
            let path = format!(
                "/website/{website}/people/events/{}/list/{page}",
                person.as_str()
            );
            self.note(
                "GET",
                path,
                None,
                Some("what the timeline shows already is not sent"),
            );
            return Ok(None);
        }
        self.client
            .people_events(&self.meter, website, person, page)
            .await
            .map(Some)
    }

    pub(crate) async fn add_event(
        &mut self,
        website: &WebsiteId,
        person: &PersonRef,
        event: &NewPeopleEvent,
    ) -> Result<Applied, CrispError> {
        if self.withheld(
            "POST",
            format!("/website/{website}/people/events/{}", person.as_str()),
            event,
        ) {
            return Ok(Applied::Withheld);
        }
        self.client
            .add_people_event(&self.meter, website, person, event)
            .await?;
        Ok(Applied::Yes)
    }
}
