//! The shapes of Crisp's REST API that we read and write.
//!
//! Reading is tolerant: a field that is missing, `null` or of another type than documented is read as absent, so that one
//! odd field never hides a whole conversation. What we must hand back unchanged (`data`, the rest of a profile's card)
//! is kept as raw JSON. Writing is strict: an absent field is left out, because Crisp refuses some `null`s.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use serde_json::{Map, Value as Json};

use crate::{
    data::DataMap,
    ids::{Email, IdError, PeopleId, SessionId, WebsiteId},
};

/// A conversation, as `GET …/conversation/{session_id}` and the list give it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Conversation {
    /// Its id.
    #[serde(default, deserialize_with = "session_id")]
    pub session_id: Option<SessionId>,
    /// The website it belongs to.
    #[serde(default, deserialize_with = "website_id")]
    pub website_id: Option<WebsiteId>,
    /// The contact it is bound to.
    #[serde(default, deserialize_with = "people_id")]
    pub people_id: Option<PeopleId>,
    /// `pending`, `unresolved` or `resolved`.
    #[serde(default, deserialize_with = "lenient")]
    pub state: Option<String>,
    /// Whether any identity of the visitor is verified. Which one, the verifications tell.
    #[serde(default, deserialize_with = "lenient_or_default")]
    pub is_verified: bool,
    /// The identities that are verified.
    #[serde(default, deserialize_with = "lenient_list")]
    pub verifications: Vec<Verification>,
    /// Nickname, e-mail, data and segments.
    #[serde(default, deserialize_with = "lenient_or_default")]
    pub meta: Metas,
    /// When it began, in epoch milliseconds.
    #[serde(default, deserialize_with = "lenient")]
    pub created_at: Option<i64>,
    /// When it last changed, in epoch milliseconds.
    #[serde(default, deserialize_with = "lenient")]
    pub updated_at: Option<i64>,
    /// Since when the visitor waits for an answer, in epoch milliseconds. Nothing once an agent has answered.
    #[serde(default, deserialize_with = "lenient")]
    pub waiting_since: Option<i64>,
}

/// What Crisp holds about the visitor of a conversation.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Metas {
    /// The visitor's name.
    #[serde(default, deserialize_with = "lenient")]
    pub nickname: Option<String>,
    /// The visitor's address, if it is one. Anybody can claim any address.
    #[serde(default, deserialize_with = "email", serialize_with = "write_email")]
    pub email: Option<Email>,
    /// The channel: `chat`, `email`, `urn:…`.
    #[serde(default, deserialize_with = "lenient")]
    pub origin: Option<String>,
    /// Every segment, whoever set it.
    #[serde(default, deserialize_with = "lenient_list")]
    pub segments: Vec<String>,
    /// Every data key, whoever set it, as Crisp wrote it.
    #[serde(default, deserialize_with = "lenient_or_default")]
    pub data: Map<String, Json>,
}

/// Metas describe somebody; `Debug` says how much there is, not what.
impl std::fmt::Debug for Metas {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Metas")
            .field("email", &self.email)
            .field("origin", &self.origin)
            .field("segments", &self.segments.len())
            .field("data", &self.data.len())
            .finish_non_exhaustive()
    }
}

/// One proof of a visitor's identity.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// What is proven: `email`, `phone`, `urn:…`.
    #[serde(default, deserialize_with = "lenient_or_default")]
    pub identity: String,
    /// How: `signature`, `link`, ….
    #[serde(default, deserialize_with = "lenient")]
    pub method: Option<String>,
    /// What exactly was proven: the address, for an e-mail.
    #[serde(default, deserialize_with = "lenient")]
    pub annotation: Option<String>,
}

/// The annotation is an address; `Debug` says only whether there is one.
impl std::fmt::Debug for Verification {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Verification")
            .field("identity", &self.identity)
            .field("method", &self.method)
            .field("annotation", &self.annotation.as_ref().map(|_| "…"))
            .finish()
    }
}

/// What to change in a conversation's metas. A field that is `None` is left as it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MetasPatch {
    /// The complete new data: what is not ours goes back as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Map<String, Json>>,
    /// The complete new list of segments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segments: Option<Vec<String>>,
}

/// A contact's card.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Its id.
    #[serde(default, deserialize_with = "people_id")]
    pub people_id: Option<PeopleId>,
    /// Its address.
    #[serde(default, deserialize_with = "email", serialize_with = "write_email")]
    pub email: Option<Email>,
    /// The person on the card.
    #[serde(default, deserialize_with = "lenient_or_default")]
    pub person: Person,
    /// The company on the card.
    #[serde(default, deserialize_with = "lenient_or_default")]
    pub company: Company,
    /// Every segment, whoever set it.
    #[serde(default, deserialize_with = "lenient_list")]
    pub segments: Vec<String>,
    /// When it was made, in epoch milliseconds.
    #[serde(default, deserialize_with = "lenient")]
    pub created_at: Option<i64>,
    /// When it last changed, in epoch milliseconds.
    #[serde(default, deserialize_with = "lenient")]
    pub updated_at: Option<i64>,
}

/// The person on a contact's card: the name, and the rest as Crisp wrote it, to be handed back unchanged.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Person {
    /// The name that operators see.
    #[serde(
        default,
        deserialize_with = "lenient",
        skip_serializing_if = "Option::is_none"
    )]
    pub nickname: Option<String>,
    /// Phone, address, employment and the like.
    #[serde(flatten)]
    pub rest: Map<String, Json>,
}

/// The company on a contact's card: the name, and the rest as Crisp wrote it, to be handed back unchanged.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Company {
    /// The company's name.
    #[serde(
        default,
        deserialize_with = "lenient",
        skip_serializing_if = "Option::is_none"
    )]
    pub name: Option<String>,
    /// Legal name, domain and the like.
    #[serde(flatten)]
    pub rest: Map<String, Json>,
}

/// A card is about somebody; `Debug` says nothing of them.
impl std::fmt::Debug for Person {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Person(…)")
    }
}

/// What to change on a contact's card. A field that is `None` is left as it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ProfilePatch {
    /// The person, complete: whether Crisp merges inside it is not documented.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<Person>,
    /// The company, complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub company: Option<Company>,
    /// The complete new list of segments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segments: Option<Vec<String>>,
}

impl ProfilePatch {
    /// Whether it changes nothing, so that no request is due.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A contact to be made. Crisp demands an address and a nickname.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NewProfile {
    /// The address.
    #[serde(serialize_with = "write_some_email")]
    pub email: Email,
    /// The person; its nickname is always there.
    pub person: Person,
    /// The company.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub company: Option<Company>,
    /// The segments it starts with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<String>,
}

impl NewProfile {
    /// A contact with an address and a name. A blank name gives way to what stands before the `@`.
    pub fn new(email: Email, nickname: Option<&str>) -> Self {
        let nickname = nickname
            .map(str::trim)
            .filter(|nickname| !nickname.is_empty())
            .unwrap_or_else(|| email.local_part())
            .to_owned();
        Self {
            email,
            person: Person {
                nickname: Some(nickname),
                rest: Map::new(),
            },
            company: None,
            segments: Vec::new(),
        }
    }
}

/// What Crisp answers to a new contact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedProfile {
    /// The new contact's id.
    #[serde(default, deserialize_with = "people_id")]
    pub people_id: Option<PeopleId>,
}

/// A contact's data, in the wrapper that Crisp demands in a request. Bare objects are refused.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PeopleData {
    /// Every data key, whoever set it. The answer of a read nests this struct once more, inside the envelope's `data`.
    #[serde(default, deserialize_with = "lenient_or_default")]
    pub data: Map<String, Json>,
}

/// An entry of a contact's timeline.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PeopleEvent {
    /// The event's name: `user:trial:ended`.
    #[serde(default, deserialize_with = "lenient_or_default")]
    pub text: String,
    /// What it carries.
    #[serde(default, deserialize_with = "lenient_or_default")]
    pub data: Map<String, Json>,
    /// Its colour.
    #[serde(
        default,
        deserialize_with = "lenient",
        skip_serializing_if = "Option::is_none"
    )]
    pub color: Option<String>,
    /// When Crisp received it, in epoch milliseconds.
    #[serde(default, deserialize_with = "lenient")]
    pub timestamp: Option<i64>,
}

/// An entry to be added to a contact's timeline. Crisp stamps it with its own clock and knows no idempotency key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewPeopleEvent {
    /// The event's name.
    pub text: String,
    /// What it carries: flat, at most ten keys.
    #[serde(default, skip_serializing_if = "DataMap::is_empty")]
    pub data: DataMap,
    /// Its colour. Left out if none: Crisp refuses `null`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub color: Option<String>,
}

/// A workspace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Website {
    /// Its id.
    #[serde(default, deserialize_with = "website_id")]
    pub website_id: Option<WebsiteId>,
    /// Its name.
    #[serde(default, deserialize_with = "lenient")]
    pub name: Option<String>,
    /// Its domain.
    #[serde(default, deserialize_with = "lenient")]
    pub domain: Option<String>,
}

/// The wrapper around every answer: `{"error": false, "reason": "resolved", "data": …}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer<T> {
    /// Whether the request failed.
    pub error: bool,
    /// A short code: `resolved`, `added`, `people_not_found`.
    pub reason: String,
    /// What was asked for.
    pub data: T,
}

/// What is there, if it is of the expected type.
fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let value = Json::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).ok())
}

/// What is there, if it is of the expected type; its default otherwise.
fn lenient_or_default<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(lenient(deserializer)?.unwrap_or_default())
}

/// The items of a list that are of the expected type.
fn lenient_list<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let items: Vec<Json> = lenient_or_default(deserializer)?;
    Ok(items
        .into_iter()
        .filter_map(|item| serde_json::from_value(item).ok())
        .collect())
}

fn parsed<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    parse: impl FnOnce(&str) -> Result<T, IdError>,
) -> Result<Option<T>, D::Error> {
    let text: Option<String> = lenient(deserializer)?;
    Ok(text.and_then(|text| parse(&text).ok()))
}

fn session_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SessionId>, D::Error> {
    parsed(deserializer, SessionId::parse)
}

fn website_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<WebsiteId>, D::Error> {
    parsed(deserializer, WebsiteId::parse)
}

fn people_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PeopleId>, D::Error> {
    parsed(deserializer, PeopleId::parse)
}

fn email<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Email>, D::Error> {
    parsed(deserializer, Email::parse)
}

#[expect(
    clippy::ref_option,
    reason = "serde hands over a reference to the field"
)]
fn write_email<S: Serializer>(email: &Option<Email>, serializer: S) -> Result<S::Ok, S::Error> {
    email.as_ref().map(Email::as_str).serialize(serializer)
}

fn write_some_email<S: Serializer>(email: &Email, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(email.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read<T: DeserializeOwned>(value: Json) -> T {
        serde_json::from_value(value).expect("a tolerant reader")
    }

    #[test]
    fn a_conversation_with_odd_fields_is_still_read() {
        let conversation: Conversation = read(json!({
            "session_id": "session_1", "people_id": null, "state": 7, "is_verified": "yes",
            "verifications": [{"identity": "email", "method": 1, "annotation": "ada@example.org"}, 3],
            "meta": {"email": "not an address", "nickname": null, "data": null, "segments": null, "device": {"os": {}}},
            "created_at": "yesterday", "unknown": [[]],
        }));
        assert_eq!(
            conversation.session_id.as_ref().map(SessionId::as_str),
            Some("session_1")
        );
        assert!(!conversation.is_verified);
        assert_eq!(conversation.verifications.len(), 1);
        assert_eq!(
            conversation.verifications[0].annotation.as_deref(),
            Some("ada@example.org")
        );
        assert_eq!(conversation.meta, Metas::default());
        assert_eq!(read::<Conversation>(json!({})), Conversation::default());
        assert_eq!(
            read::<Conversation>(json!({"meta": null, "verifications": null})),
            Conversation::default()
        );
    }

    #[test]
    fn metas_keep_data_as_it_is() {
        let metas: Metas = read(json!({
            "email": "Ada@Example.org", "segments": ["vip", 4, "trial"],
            "data": {"plan": "pro", "seats": 3, "ratio": 1.5, "on": true, "odd": [1, {"a": null}]},
        }));
        assert_eq!(
            metas.email.as_ref().map(Email::as_str),
            Some("ada@example.org")
        );
        assert_eq!(metas.segments, ["vip", "trial"]);
        assert_eq!(metas.data["odd"], json!([1, {"a": null}]));
        // PHP writes an empty object as an empty list.
        assert!(read::<Metas>(json!({"data": []})).data.is_empty());
    }

    #[test]
    fn people_data_nests_twice() {
        let answer: Answer<PeopleData> =
            read(json!({"error": false, "reason": "resolved", "data": {"data": {"plan": "pro"}}}));
        assert_eq!(answer.data.data["plan"], json!("pro"));
        assert_eq!(
            serde_json::to_value(&answer.data).expect("JSON"),
            json!({"data": {"plan": "pro"}})
        );
        assert!(read::<PeopleData>(json!({"data": null})).data.is_empty());
    }

    #[test]
    fn the_rest_of_a_card_survives_a_round_trip() {
        let card = json!({"nickname": "Ada", "phone": "+33", "employment": {"title": "CTO"}});
        let person: Person = read(card.clone());
        assert_eq!(person.nickname.as_deref(), Some("Ada"));
        assert_eq!(serde_json::to_value(&person).expect("JSON"), card);
        assert_eq!(
            read::<Profile>(json!({"person": null, "company": "Acme"})),
            Profile::default()
        );
    }

    #[test]
    fn an_event_leaves_out_what_it_has_not() {
        let event = NewPeopleEvent {
            text: "user:signup".to_owned(),
            data: DataMap::new(),
            color: None,
        };
        assert_eq!(
            serde_json::to_value(&event).expect("JSON"),
            json!({"text": "user:signup"})
        );
        let patch = MetasPatch {
            segments: Some(vec![]),
            ..MetasPatch::default()
        };
        assert_eq!(
            serde_json::to_value(&patch).expect("JSON"),
            json!({"segments": []})
        );
    }

    #[test]
    fn a_new_contact_always_has_a_nickname() {
        let email = Email::parse("ada@example.org").expect("an address");
        for (nickname, expected) in [
            (None, "ada"),
            (Some("  "), "ada"),
            (Some(" Ada L. "), "Ada L."),
        ] {
            let profile = NewProfile::new(email.clone(), nickname);
            assert_eq!(
                serde_json::to_value(&profile).expect("JSON"),
                json!({"email": "ada@example.org", "person": {"nickname": expected}})
            );
        }
    }

    #[test]
    fn debug_shows_nobody() {
        let conversation: Conversation = read(json!({
            "verifications": [{"identity": "email", "annotation": "ada@example.org"}],
            "meta": {"email": "ada@example.org"},
        }));
        let shown = format!("{conversation:?}");
        assert!(!shown.contains("ada@"), "{shown}");
    }
}
