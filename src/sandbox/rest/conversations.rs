//! Conversations over REST.

use serde_json::{Map, Value as Json, json};

use super::{
    Answer, Request,
    body::{self, Refusal},
    routes::Action,
};
use crate::sandbox::{
    labels::LabelEdit,
    settings::Semantics,
    state::{Author, Conversation, State},
};

const META_FIELDS: [&str; 11] = [
    "nickname", "email", "phone", "address", "subject", "origin", "avatar", "ip", "segments",
    "data", "device",
];

impl State {
    pub(super) fn conversation_route(
        &mut self,
        action: Action,
        request: &Request,
        website: &str,
        session: &str,
        now: i64,
    ) -> Result<Answer, Refusal> {
        let conversation = self
            .conversation(session)
            .filter(|conversation| conversation.website == website)
            .ok_or_else(|| Refusal::new(404, "conversation_not_found", "no such conversation"))?;
        match action {
            Action::ConversationGet => Ok(Answer::resolved(full(conversation))),
            Action::MetasGet => Ok(Answer::resolved(metas(conversation))),
            Action::StateGet => Ok(Answer::resolved(json!({"state": conversation.state}))),
            Action::VerifyGet => Ok(Answer::resolved(json!({
                "verified": conversation.is_verified,
                "verifications": conversation.verifications,
            }))),
            Action::ConversationRemove => {
                self.remove_conversation(session, Author::Service, now);
                Ok(Answer::deleted())
            }
            Action::ConversationInitiate => {
                self.operator_starts(session, now);
                Ok(Answer::updated())
            }
            Action::MetasUpdate => self.update_metas(session, &request.body, now),
            Action::StateUpdate => {
                let object = body::object(&request.body, &["state", "user", "origin"])?;
                match object.get("state").and_then(Json::as_str) {
                    Some(state @ ("pending" | "unresolved" | "resolved")) => {
                        self.set_state(session, state, Author::Service, now);
                        Ok(Answer::updated())
                    }
                    _ => Err(Refusal::invalid("`state` is none of the three")),
                }
            }
            Action::OpenUpdate => {
                let object = body::object(&request.body, &["opened"])?;
                match object.get("opened").and_then(Json::as_bool) {
                    Some(opened) => {
                        if opened {
                            self.operator_opens(session, now);
                        }
                        Ok(Answer::updated())
                    }
                    None => Err(Refusal::invalid("`opened` is not a boolean")),
                }
            }
            Action::VerifyUpdate => {
                let object = body::object(&request.body, &["verified"])?;
                match object.get("verified").and_then(Json::as_bool) {
                    Some(verified) => {
                        self.set_verified(session, verified, now);
                        Ok(Answer::updated())
                    }
                    None => Err(Refusal::invalid("`verified` is not a boolean")),
                }
            }
            _ => Err(Refusal::new(404, "route_not_found", "no such route")),
        }
    }

    fn update_metas(&mut self, session: &str, body: &[u8], now: i64) -> Result<Answer, Refusal> {
        // Everything is read before anything is written: a refused request changes nothing.
        let mut object = body::object(body, &META_FIELDS)?;
        let data = object
            .remove("data")
            .map(|value| body::data(value, None))
            .transpose()?;
        let segments = object
            .remove("segments")
            .map(|value| body::segments(&value))
            .transpose()?;
        let email = object
            .remove("email")
            .map(|value| body::email(&value))
            .transpose()?;
        let device = object.remove("device");
        if let Some((field, _)) = object.iter().find(|(_, value)| !value.is_string()) {
            return Err(Refusal::invalid(format!("`{field}` is not a text")));
        }
        let behaviour = self.behaviour.clone();
        let Some(conversation) = self.conversation_mut(session) else {
            return Err(Refusal::new(
                404,
                "conversation_not_found",
                "no such conversation",
            ));
        };
        if let Some(device) = device {
            conversation.metas.insert("device".to_owned(), device);
        }
        let mut told = Vec::new();
        for (field, value) in object {
            let text = value.as_str().unwrap_or_default().to_owned();
            told.push((
                format!("session:set_{field}"),
                json!({field.as_str(): text}),
            ));
            match field.as_str() {
                "nickname" => conversation.nickname = Some(text),
                "origin" => conversation.origin = text,
                _ => {
                    conversation.metas.insert(field, value);
                }
            }
        }
        let (has_data, has_segments) = (data.is_some(), segments.is_some());
        if let Some(data) = data {
            match behaviour.session_data {
                Semantics::Merge => conversation.labels.set_data(data, Author::Service),
                Semantics::Replace => conversation.labels.replace_data(data, Author::Service),
            }
        }
        if let Some(segments) = segments {
            match behaviour.session_segments {
                Semantics::Merge => conversation.labels.add_segments(segments, Author::Service),
                Semantics::Replace => conversation
                    .labels
                    .replace_segments(&segments, Author::Service),
            }
        }
        self.tell_labels(session, has_data, has_segments, Author::Service, now);
        for (event, extra) in told {
            self.emit_session(session, &event, extra, Author::Service, now);
        }
        if let Some(email) = email {
            self.set_email(session, Some(email), Author::Service, now);
            self.bind(session, now);
        }
        Ok(Answer::updated())
    }

    pub(super) fn list_conversations(
        &self,
        request: &Request,
        website: &str,
        page: usize,
    ) -> Result<Answer, Refusal> {
        let size = match request.query("per_page") {
            None => 20,
            Some(text) => text
                .parse::<usize>()
                .ok()
                .filter(|size| *size <= 50)
                .ok_or_else(|| Refusal::invalid("`per_page` is not a number up to 50"))?,
        };
        if size < 10 {
            return Err(Refusal::new(
                416,
                "invalid_page_size",
                "`per_page` is less than 10",
            ));
        }
        let on = |name: &str| request.query(name).as_deref() == Some("1");
        let (resolved, open) = (on("filter_resolved"), on("filter_not_resolved"));
        let mut found: Vec<&Conversation> = self
            .conversations
            .iter()
            .filter(|conversation| conversation.website == website)
            .filter(|conversation| !resolved || conversation.state == "resolved")
            .filter(|conversation| !open || conversation.state != "resolved")
            .collect();
        if on("order_date_created") {
            found.sort_by_key(|conversation| std::cmp::Reverse(conversation.created_at));
        } else {
            found.sort_by_key(|conversation| std::cmp::Reverse(conversation.updated_at));
        }
        let listed: Vec<Json> = found
            .into_iter()
            .skip((page - 1) * size)
            .take(size)
            .map(full)
            .collect();
        Ok(Answer::listed(Json::Array(listed)))
    }

    pub(super) fn create_conversation(&mut self, website: &str, now: i64) -> Answer {
        let session = self.new_conversation(website.to_owned(), "chat".to_owned(), now);
        self.edit_session(&session, LabelEdit::default(), Author::Service, now);
        Answer::added(json!({"session_id": session}))
    }
}

fn metas(conversation: &Conversation) -> Json {
    let mut metas = conversation.metas.clone();
    metas.insert(
        "nickname".to_owned(),
        json!(conversation.nickname.as_deref().unwrap_or("visitor")),
    );
    if let Some(email) = &conversation.email {
        metas.insert("email".to_owned(), json!(email));
    }
    metas.insert("origin".to_owned(), json!(conversation.origin));
    metas.insert("segments".to_owned(), json!(conversation.labels.segments));
    metas.insert("data".to_owned(), json!(conversation.labels.data));
    for field in ["phone", "address", "subject", "ip", "avatar"] {
        metas
            .entry(field)
            .or_insert_with(|| Json::String(String::new()));
    }
    metas
        .entry("device")
        .or_insert_with(|| Json::Object(Map::new()));
    Json::Object(metas)
}

fn full(conversation: &Conversation) -> Json {
    let last = conversation
        .messages
        .last()
        .map_or("", |message| message.text.as_str());
    let unanswered = (conversation.messages.iter().rev()).take_while(|one| one.from == "user");
    let waiting_since = unanswered.last().map(|message| message.at);
    let mut json = json!({
        "session_id": conversation.session_id,
        "website_id": conversation.website,
        "inbox_id": null,
        "state": conversation.state,
        "status": match conversation.state.as_str() { "pending" => 0, "unresolved" => 1, _ => 2 },
        "is_verified": conversation.is_verified,
        "verifications": conversation.verifications,
        "is_blocked": false,
        "availability": "online",
        "active": {"now": true, "last": conversation.updated_at},
        "last_message": last,
        "participants": [],
        "mentions": [],
        "compose": {"operator": {}, "visitor": {}},
        "unread": {"operator": 0, "visitor": 0},
        "assigned": {},
        "meta": metas(conversation),
        "created_at": conversation.created_at,
        "updated_at": conversation.updated_at,
        "waiting_since": waiting_since,
    });
    if let (Some(people), Some(object)) = (&conversation.people_id, json.as_object_mut()) {
        object.insert("people_id".to_owned(), json!(people));
    }
    json
}
