//! Contacts over REST: profile, data, timeline.

use serde_json::{Map, Value as Json, json};

use super::{
    Answer, Request,
    body::{self, Refusal},
    execute::page,
    routes::Action,
};
use crate::sandbox::{
    settings::Semantics,
    state::{Author, Contact, State, TimelineEvent},
};

fn taken() -> Refusal {
    Refusal::new(
        409,
        "people_email_exists",
        "another contact has this address",
    )
}

impl State {
    pub(super) fn create_profile(
        &mut self,
        body: &[u8],
        website: &str,
        now: i64,
    ) -> Result<Answer, Refusal> {
        let card = body::card(body)?;
        let Some(email) = card.email else {
            return Err(Refusal::invalid("`email` is missing"));
        };
        let named = card
            .rest
            .get("person")
            .and_then(|person| person.get("nickname"))
            .and_then(Json::as_str)
            .is_some_and(|nickname| !nickname.is_empty());
        if !named {
            return Err(Refusal::invalid("`person.nickname` is missing"));
        }
        if self.contact_of(website, &email).is_some() {
            return Err(taken());
        }
        let people = self.new_contact(website, Some(&email), card.rest, Author::Service, now);
        if let (Some(segments), Some(contact)) = (card.segments, self.contact_mut(&people)) {
            contact.labels.add_segments(segments, Author::Service);
        }
        Ok(Answer::added(json!({"people_id": people})))
    }

    pub(super) fn people_route(
        &mut self,
        action: Action,
        request: &Request,
        website: &str,
        people: &str,
        now: i64,
    ) -> Result<Answer, Refusal> {
        // The body is looked at before the contact is looked for, as a schema is.
        let contact = self.contact_of(website, people).cloned();
        let found = contact.ok_or_else(|| Refusal::new(404, "people_not_found", "no such contact"));
        match action {
            Action::ProfileGet => found.map(|contact| Answer::resolved(profile(&contact))),
            // Inside the envelope's `data` stands another `data`.
            Action::DataGet => {
                found.map(|contact| Answer::resolved(json!({"data": contact.labels.data})))
            }
            Action::ProfileSave | Action::ProfileUpdate => {
                let card = body::card(&request.body)?;
                let contact = found?;
                self.write_card(&contact, card, action == Action::ProfileSave, now)
            }
            Action::ProfileRemove => {
                let contact = found?;
                self.remove_contact(&contact.people_id, Author::Service, now);
                Ok(Answer::deleted())
            }
            Action::DataSave | Action::DataUpdate => {
                let mut object = body::object(&request.body, &["data"])?;
                let Some(data) = object.remove("data") else {
                    return Err(Refusal::invalid("`data` is missing"));
                };
                let data = body::data(data, None)?;
                let id = found?.people_id;
                if let Some(contact) = self.contact_mut(&id) {
                    if action == Action::DataSave {
                        contact.labels.replace_data(data, Author::Service);
                    } else {
                        contact.labels.set_data(data, Author::Service);
                    }
                    contact.updated_at = now;
                }
                self.emit_contact(
                    &id,
                    "people:profile:updated",
                    Some(json!({})),
                    Author::Service,
                    now,
                );
                Ok(Answer::updated())
            }
            Action::EventAdd => {
                let new = body::event(&request.body)?;
                let event = TimelineEvent {
                    text: new.text,
                    data: new.data,
                    color: new.color,
                    timestamp: now,
                    author: Author::Service,
                };
                self.add_event(&found?.people_id, event);
                Ok(Answer::added(json!({})))
            }
            Action::Events => {
                let page = page(request)?;
                found.map(|contact| Answer::listed(self.timeline(&contact, page)))
            }
            Action::PeopleConversations => found.map(|contact| {
                let sessions: Vec<&str> = self
                    .conversations
                    .iter()
                    .filter(|conversation| {
                        conversation.people_id.as_deref() == Some(&contact.people_id)
                    })
                    .map(|conversation| conversation.session_id.as_str())
                    .collect();
                Answer::listed(json!(sessions))
            }),
            _ => Err(Refusal::new(404, "route_not_found", "no such route")),
        }
    }

    fn write_card(
        &mut self,
        before: &Contact,
        card: body::Card,
        whole: bool,
        now: i64,
    ) -> Result<Answer, Refusal> {
        if let Some(email) = &card.email
            && self
                .contact_of(&before.website, email)
                .is_some_and(|other| other.people_id != before.people_id)
        {
            return Err(taken());
        }
        let semantics = self.behaviour.contact_segments;
        let Some(contact) = self.contact_mut(&before.people_id) else {
            return Err(Refusal::new(404, "people_not_found", "no such contact"));
        };
        let mut update = Json::Object(card.rest.clone());
        if whole {
            contact.card = card.rest;
            contact.email = card.email;
            let segments = card.segments.unwrap_or_default();
            contact.labels.replace_segments(&segments, Author::Service);
        } else {
            merge(&mut contact.card, card.rest);
            if card.email.is_some() {
                contact.email = card.email;
            }
            if let Some(segments) = card.segments {
                match semantics {
                    Semantics::Merge => contact.labels.add_segments(segments, Author::Service),
                    Semantics::Replace => {
                        contact.labels.replace_segments(&segments, Author::Service);
                    }
                }
                update["segments"] = json!(contact.labels.segments);
            }
        }
        contact.updated_at = now;
        self.emit_contact(
            &before.people_id,
            "people:profile:updated",
            Some(update),
            Author::Service,
            now,
        );
        Ok(Answer::updated())
    }

    /// A page of the timeline, newest first. Only the newest are kept when there is a cap.
    fn timeline(&self, contact: &Contact, page: usize) -> Json {
        let kept = self.behaviour.list_cap.unwrap_or(usize::MAX);
        let size = self.behaviour.page_size.max(1);
        contact
            .events
            .iter()
            .rev()
            .take(kept)
            .skip((page - 1) * size)
            .take(size)
            .map(|event| {
                let mut json = json!({
                    "text": event.text,
                    "data": event.data,
                    "timestamp": event.timestamp,
                });
                if let Some(color) = &event.color {
                    json["color"] = json!(color);
                }
                json
            })
            .collect()
    }

    pub(super) fn list_profiles(
        &self,
        request: &Request,
        website: &str,
        page: usize,
    ) -> Result<Answer, Refusal> {
        let text = request.query("search_text");
        let email = match request.query("search_filter") {
            None => None,
            Some(filter) => {
                let filter: Json = serde_json::from_str(&filter)
                    .map_err(|_unreadable| Refusal::invalid("`search_filter` is not JSON"))?;
                let rule = &filter[0];
                match (rule["criterion"].as_str(), rule["query"][0].as_str()) {
                    (Some("email"), Some(email)) => Some(email.to_owned()),
                    _ => {
                        return Err(Refusal::invalid(
                            "the sandbox filters contacts by `email` only",
                        ));
                    }
                }
            }
        };
        let listed: Vec<Json> = self
            .contacts
            .iter()
            .filter(|contact| contact.website == website)
            .filter(|contact| {
                let address = contact.email.as_deref().unwrap_or_default();
                email
                    .as_deref()
                    .is_none_or(|wanted| wanted.eq_ignore_ascii_case(address))
                    && text.as_deref().is_none_or(|wanted| {
                        address.contains(wanted)
                            || contact.nickname().unwrap_or_default().contains(wanted)
                    })
            })
            .skip((page - 1) * 20)
            .take(20)
            .map(profile)
            .collect();
        Ok(Answer::listed(Json::Array(listed)))
    }
}

fn merge(into: &mut Map<String, Json>, from: Map<String, Json>) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Json::Object(held)), Json::Object(given)) => merge(held, given),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

fn profile(contact: &Contact) -> Json {
    let mut card = contact.card.clone();
    card.insert("people_id".to_owned(), json!(contact.people_id));
    if let Some(email) = &contact.email {
        card.insert("email".to_owned(), json!(email));
    }
    card.insert("segments".to_owned(), json!(contact.labels.segments));
    card.insert(
        "active".to_owned(),
        json!({"now": false, "last": contact.updated_at}),
    );
    card.insert("score".to_owned(), json!(0.5));
    card.insert("created_at".to_owned(), json!(contact.created_at));
    card.insert("updated_at".to_owned(), json!(contact.updated_at));
    Json::Object(card)
}
