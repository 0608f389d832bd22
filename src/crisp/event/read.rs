//! From a verified body to an envelope.

use jiff::Timestamp;
use serde_json::{Map, Value as Json};

use super::{
    Envelope, WebhookEvent,
    fields::{Data, Fields, Parted},
};
use crate::{
    crisp::signature::{Hook, VerifiedBody},
    ids::{Email, IdError, PeopleId, SessionId, WebsiteId},
};

/// The longest event name we take. Crisp's own stay below 40 bytes.
const LONGEST_NAME: usize = 100;
/// The longest state or origin we take; a longer one is none.
const LONGEST_WORD: usize = 200;

/// Why a genuine body cannot be read. The texts name fields, never values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// The body is not a JSON object.
    #[error("could not read the webhook: not a JSON object (line {line}, column {column})")]
    NotJson {
        /// Where reading ended, from 1.
        line: usize,
        /// Where reading ended, from 1.
        column: usize,
    },
    /// A field that must be there is missing.
    #[error("could not read the webhook: `{0}` is missing")]
    Missing(&'static str),
    /// A field holds something it cannot hold.
    #[error("could not read the webhook: `{field}` is invalid")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What is wrong with it, if it should be an id.
        source: Option<IdError>,
    },
    /// The envelope and its data name different websites.
    #[error("could not read the webhook: `website_id` and `data.website_id` differ")]
    WebsitesDiffer,
    /// The website's hook speaks of another website.
    #[error(
        "the webhook names another website than its key belongs to\nhint: each website needs a hook with its own key"
    )]
    Foreign,
}

impl Envelope {
    /// Reads a verified body.
    pub fn read(body: &VerifiedBody) -> Result<Self, EnvelopeError> {
        // Checked once and as a whole: what is passed over below is not looked at again.
        let text = std::str::from_utf8(body.bytes())
            .map_err(|error| not_text(&body.bytes()[..error.valid_up_to()]))?;
        let Parted { fields, data } =
            serde_json::from_str(text).map_err(|error| EnvelopeError::NotJson {
                // serde's own text may repeat a value of the body.
                line: error.line(),
                column: error.column(),
            })?;
        if fields.raw("event").is_none() {
            return Err(EnvelopeError::Missing("event"));
        }
        let name = fields
            .text("event", LONGEST_NAME)
            .filter(|name| !name.is_empty())
            .ok_or(EnvelopeError::invalid("event"))?;
        let data = match data {
            Data::Object(data) => data,
            // Crisp's SDKs take a list too; none of the events we know has one.
            Data::List => Fields::default(),
            Data::Missing => return Err(EnvelopeError::Missing("data")),
            Data::Plain => return Err(EnvelopeError::invalid("data")),
        };
        let website = website(&fields, &data, body.hook())?;
        Ok(Self {
            website,
            event: WebhookEvent::read(&name, &data)?,
            name,
            at: fields
                .read("timestamp")
                .and_then(|at| Timestamp::from_millisecond(at).ok()),
            fingerprint: data.read("fingerprint"),
        })
    }
}

/// Where a body stops being text.
fn not_text(before: &[u8]) -> EnvelopeError {
    let last_line = before.rsplit(|byte| *byte == b'\n').next();
    EnvelopeError::NotJson {
        line: before.split(|byte| *byte == b'\n').count(),
        column: last_line.map_or(0, <[u8]>::len) + 1,
    }
}

impl WebhookEvent {
    fn read(name: &str, data: &Fields<'_>) -> Result<Self, EnvelopeError> {
        let session = || id(data, "session_id", "data.session_id", SessionId::parse);
        let people = || id(data, "people_id", "data.people_id", PeopleId::parse);
        let email = || {
            data.read::<String>("email")
                .and_then(|text| Email::parse(&text).ok())
        };
        Ok(match name {
            "message:send" => Self::MessageSend {
                session: session()?,
                from_user: data.raw("from").is_none_or(|from| from.get() == "\"user\""),
                origin: data.text("origin", LONGEST_WORD),
            },
            "session:set_email" => Self::SessionSetEmail {
                session: session()?,
                email: email(),
            },
            "session:update_verify" => Self::SessionUpdateVerify {
                session: session()?,
                is_verified: data.read("is_verified").unwrap_or(false),
            },
            "session:set_state" => Self::SessionSetState {
                session: session()?,
                state: data
                    .text("state", LONGEST_WORD)
                    .ok_or(EnvelopeError::invalid("data.state"))?,
            },
            "session:set_opened" => Self::SessionSetOpened {
                session: session()?,
            },
            "session:request:initiated" => Self::SessionRequestInitiated {
                session: session()?,
            },
            "session:set_data" => Self::SessionSetData {
                session: session()?,
                data: match data.raw("data") {
                    None => Map::new(),
                    // PHP writes an empty object as an empty list.
                    Some(held) if held.get().starts_with('[') => Map::new(),
                    Some(held) => Fields::of(held)
                        .ok_or(EnvelopeError::invalid("data.data"))?
                        .values(),
                },
            },
            "session:set_segments" => Self::SessionSetSegments {
                session: session()?,
                segments: data
                    .read::<Vec<Json>>("segments")
                    .unwrap_or_default()
                    .into_iter()
                    .filter_map(|segment| match segment {
                        Json::String(segment) => Some(segment),
                        _ => None,
                    })
                    .collect(),
            },
            "session:removed" => Self::SessionRemoved {
                session: session()?,
            },
            "people:bind:session" => Self::PeopleBindSession {
                session: session()?,
                people: people()?,
            },
            "people:profile:created" => Self::PeopleProfileCreated {
                people: people()?,
                email: email(),
            },
            "people:profile:removed" => Self::PeopleProfileRemoved {
                people: people()?,
                email: email(),
            },
            "people:profile:updated" => Self::PeopleProfileUpdated {
                people: people()?,
                email: email(),
            },
            "plugin:subscription:updated" => Self::PluginSubscriptionUpdated {
                bound: data
                    .read("bound")
                    .ok_or(EnvelopeError::invalid("data.bound"))?,
            },
            _ => Self::Other,
        })
    }
}

impl EnvelopeError {
    const fn invalid(field: &'static str) -> Self {
        Self::Invalid {
            field,
            source: None,
        }
    }
}

/// The website, from the envelope or its data. Both must agree, and so must the key that let a website hook in.
fn website(
    envelope: &Fields<'_>,
    data: &Fields<'_>,
    hook: &Hook,
) -> Result<WebsiteId, EnvelopeError> {
    let outer = optional_id(envelope, "website_id", "website_id", WebsiteId::parse)?;
    let inner = optional_id(data, "website_id", "data.website_id", WebsiteId::parse)?;
    let website = match (outer, inner) {
        (Some(outer), Some(inner)) if outer != inner => return Err(EnvelopeError::WebsitesDiffer),
        (Some(website), _) | (None, Some(website)) => website,
        (None, None) => return Err(EnvelopeError::Missing("website_id")),
    };
    match hook {
        Hook::Website(bound) if *bound != website => Err(EnvelopeError::Foreign),
        Hook::Website(_) | Hook::Plugin => Ok(website),
    }
}

fn id<T>(
    fields: &Fields<'_>,
    name: &str,
    path: &'static str,
    parse: impl FnOnce(&str) -> Result<T, IdError>,
) -> Result<T, EnvelopeError> {
    optional_id(fields, name, path, parse)?.ok_or(EnvelopeError::Missing(path))
}

fn optional_id<T>(
    fields: &Fields<'_>,
    name: &str,
    path: &'static str,
    parse: impl FnOnce(&str) -> Result<T, IdError>,
) -> Result<Option<T>, EnvelopeError> {
    if fields.raw(name).is_none() {
        return Ok(None);
    }
    let text = fields.line(name).ok_or(EnvelopeError::invalid(path))?;
    parse(&text)
        .map(Some)
        .map_err(|source| EnvelopeError::Invalid {
            field: path,
            source: Some(source),
        })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use secrecy::SecretString;
    use serde_json::json;

    use super::*;
    use crate::crisp::signature::{
        SigningSecrets, WebsiteKey, sign, verify_plugin, verify_website,
    };

    fn read(body: &str) -> Result<Envelope, EnvelopeError> {
        let signature = sign("s", "1", body.as_bytes());
        let verified = verify_plugin(
            &SigningSecrets::new([SecretString::from("s")]),
            Some(b"1"),
            Some(signature.as_bytes()),
            Bytes::copy_from_slice(body.as_bytes()),
        )
        .expect("we signed it");
        Envelope::read(&verified)
    }

    fn of_body(body: &str) -> WebhookEvent {
        let envelope = read(body).expect(body);
        assert_eq!(
            envelope.website.as_str(),
            "0b7e4c1a-6f1d-4a58-9d0e-2f5b7c9a1e11"
        );
        assert!(envelope.at.is_some(), "{body}");
        envelope.event
    }

    fn event(name: &str, data: &Json) -> WebhookEvent {
        read(&json!({"website_id": "w", "event": name, "data": data}).to_string())
            .expect("a readable envelope")
            .event
    }

    fn session() -> SessionId {
        SessionId::parse("session_5d0f6f1e-3c1b-4a3e-8a57-9f1f0a1b2c3d").expect("an id")
    }

    fn people() -> PeopleId {
        PeopleId::parse("c9a0f3de-1b7c-4f0e-8f5e-2f9b8d1c7a66").expect("an id")
    }

    fn ada() -> Email {
        Email::parse("ada@example.org").expect("an address")
    }

    macro_rules! fixture {
        ($name:literal) => {
            include_str!(concat!("../../../fixtures/webhooks/", $name, ".json"))
        };
    }

    #[test]
    fn every_sample_about_a_conversation_is_read() {
        use WebhookEvent as Event;
        let message = |origin: &str| Event::MessageSend {
            session: session(),
            from_user: true,
            origin: Some(origin.to_owned()),
        };
        let samples = [
            (fixture!("message_send"), message("chat")),
            (fixture!("message_send_email"), message("email")),
            (fixture!("message_send_file"), message("chat")),
            (fixture!("message_received"), Event::Other),
            (
                fixture!("session_set_email"),
                Event::SessionSetEmail {
                    session: session(),
                    email: Some(ada()),
                },
            ),
            (
                fixture!("session_update_verify"),
                Event::SessionUpdateVerify {
                    session: session(),
                    is_verified: true,
                },
            ),
            (
                fixture!("session_set_state"),
                Event::SessionSetState {
                    session: session(),
                    state: "unresolved".to_owned(),
                },
            ),
            (
                fixture!("session_set_opened"),
                Event::SessionSetOpened { session: session() },
            ),
            (
                fixture!("session_request_initiated"),
                Event::SessionRequestInitiated { session: session() },
            ),
            (
                fixture!("session_removed"),
                Event::SessionRemoved { session: session() },
            ),
        ];
        for (body, expected) in samples {
            assert_eq!(of_body(body), expected, "{body}");
        }
    }

    #[test]
    fn every_sample_about_a_contact_is_read() {
        use WebhookEvent as Event;
        let samples = [
            (
                fixture!("people_bind_session"),
                Event::PeopleBindSession {
                    session: session(),
                    people: people(),
                },
            ),
            (
                fixture!("people_profile_created"),
                Event::PeopleProfileCreated {
                    people: people(),
                    email: Some(ada()),
                },
            ),
            (
                fixture!("people_profile_updated"),
                Event::PeopleProfileUpdated {
                    people: people(),
                    email: Some(ada()),
                },
            ),
            (
                fixture!("people_profile_removed"),
                Event::PeopleProfileRemoved {
                    people: people(),
                    email: Some(ada()),
                },
            ),
            (
                fixture!("plugin_subscription_updated"),
                Event::PluginSubscriptionUpdated { bound: true },
            ),
        ];
        for (body, expected) in samples {
            assert_eq!(of_body(body), expected, "{body}");
        }
    }

    #[test]
    fn data_and_segments_are_read_as_they_are_now() {
        let segments = ["plan-pro", "status-active", "onboarded"];
        assert_eq!(
            of_body(fixture!("session_set_segments")),
            WebhookEvent::SessionSetSegments {
                session: session(),
                segments: segments.map(str::to_owned).to_vec(),
            }
        );
        let data = json!({"plan": "pro", "trial_days_left": 0, "onboarded": true});
        assert_eq!(
            of_body(fixture!("session_set_data")),
            WebhookEvent::SessionSetData {
                session: session(),
                data: data.as_object().cloned().expect("an object"),
            }
        );
    }

    #[test]
    fn a_message_keeps_its_fingerprint_and_loses_its_text() {
        let envelope = read(fixture!("message_send")).expect("a sample");
        assert_eq!(envelope.fingerprint, Some(176_370_001_234_567));
        assert_eq!(envelope.session(), Some(&session()));
        assert_eq!(envelope.people(), None);
        let shown = format!("{envelope:?}");
        assert!(
            !shown.contains("export") && !shown.contains("Ada"),
            "{shown}"
        );
    }

    #[test]
    fn the_website_comes_from_either_place_and_must_agree() {
        for body in [
            r#"{"event":"x","data":{},"website_id":"w"}"#,
            r#"{"event":"x","data":{"website_id":"w"}}"#,
            r#"{"event":"x","data":{"website_id":"w"},"website_id":null}"#,
            r#"{"event":"x","data":[],"website_id":"w"}"#,
        ] {
            assert_eq!(read(body).expect(body).website.as_str(), "w");
        }
        assert_eq!(
            read(r#"{"event":"x","data":{"website_id":"v"},"website_id":"w"}"#),
            Err(EnvelopeError::WebsitesDiffer)
        );
        assert_eq!(
            read(r#"{"event":"x","data":{}}"#),
            Err(EnvelopeError::Missing("website_id"))
        );
    }

    #[test]
    fn a_website_hook_may_not_speak_of_another_website() {
        let keys = [WebsiteKey {
            website: WebsiteId::parse("w").expect("an id"),
            key: SecretString::from("k"),
        }];
        let body = |website: &str| {
            let text = json!({"website_id": website, "event": "x", "data": {}}).to_string();
            verify_website(&keys, Some(b"k"), text.into()).expect("a known key")
        };
        assert!(Envelope::read(&body("w")).is_ok());
        assert_eq!(Envelope::read(&body("v")), Err(EnvelopeError::Foreign));
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_field() {
        for (body, expected) in [
            (
                r#"{"data":{},"website_id":"w"}"#,
                EnvelopeError::Missing("event"),
            ),
            (
                r#"{"event":"x","website_id":"w"}"#,
                EnvelopeError::Missing("data"),
            ),
            (
                r#"{"event":"","data":{},"website_id":"w"}"#,
                EnvelopeError::invalid("event"),
            ),
            (
                r#"{"event":7,"data":{},"website_id":"w"}"#,
                EnvelopeError::invalid("event"),
            ),
            (
                r#"{"event":"a\u0000b","data":{},"website_id":"w"}"#,
                EnvelopeError::invalid("event"),
            ),
            (
                r#"{"event":"x","data":"y","website_id":"w"}"#,
                EnvelopeError::invalid("data"),
            ),
            (
                r#"{"event":"x","data":{},"website_id":7}"#,
                EnvelopeError::invalid("website_id"),
            ),
            (
                r#"{"event":"session:removed","data":{},"website_id":"w"}"#,
                EnvelopeError::Missing("data.session_id"),
            ),
            (
                r#"{"event":"people:bind:session","data":{"session_id":"s"},"website_id":"w"}"#,
                EnvelopeError::Missing("data.people_id"),
            ),
        ] {
            assert_eq!(read(body), Err(expected), "{body}");
        }
        for id in [r"a\u0000", "../people", "a b", "", "session_/../x"] {
            let body = format!(
                r#"{{"event":"session:removed","website_id":"w","data":{{"session_id":"{id}"}}}}"#
            );
            assert!(
                matches!(
                    read(&body),
                    Err(EnvelopeError::Invalid {
                        field: "data.session_id",
                        source: Some(_)
                    })
                ),
                "{body}"
            );
        }
    }

    #[test]
    fn a_body_that_is_no_text_is_refused_where_it_stops_being_one() {
        let mut body = br#"{"event":"x","website_id":"w","data":{},"#.to_vec();
        body.extend(b"\n\"unread\":\"\xff\"}");
        let signature = sign("s", "1", &body);
        let verified = verify_plugin(
            &SigningSecrets::new([SecretString::from("s")]),
            Some(b"1"),
            Some(signature.as_bytes()),
            Bytes::from(body),
        )
        .expect("we signed it");
        let refused = EnvelopeError::NotJson {
            line: 2,
            column: 11,
        };
        assert_eq!(Envelope::read(&verified), Err(refused));
    }

    #[test]
    fn an_error_repeats_nothing_of_the_body() {
        for body in [
            "\"ada@example.org\"",
            "{\"ada@example.org\"",
            "[\"ada@example.org\"]",
            "",
            "\u{feff}{}",
        ] {
            let error = read(body).expect_err(body);
            assert!(matches!(error, EnvelopeError::NotJson { .. }), "{error:?}");
            assert!(!format!("{error} {error:?}").contains("ada"), "{error}");
        }
    }

    #[test]
    fn odd_but_genuine_bodies_are_taken() {
        let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
        for body in [
            // Of two equal keys the last counts.
            r#"{"event":"y","event":"x","website_id":"v","website_id":"w","data":{}}"#.to_owned(),
            r#"{"event":"x","website_id":"w","data":{"n":1e999,"m":123456789012345678901234567890},"timestamp":1e999}"#.to_owned(),
            r#"{"event":"x","website_id":"w","data":{},"timestamp":9223372036854775807}"#.to_owned(),
            r#"{"event":"x","website_id":"w","data":{},"timestamp":"soon"}"#.to_owned(),
            r#"{"event":"x","data":7,"data":[{"deep":[1e999]}],"website_id":"w"}"#.to_owned(),
            r#"{"event":"x","d\u0061ta":{},"website_id":"w"}"#.to_owned(),
            r#"{"ev\u0065nt":"x","website_id":"w","data":{}}"#.to_owned(),
            format!(r#"{{"event":"x","website_id":"w","data":{{"deep":{deep}}},"deep":{deep}}}"#),
        ] {
            let envelope = read(&body).expect("a genuine body");
            assert_eq!((envelope.name.as_str(), envelope.website.as_str()), ("x", "w"));
            assert_eq!(envelope.at, None);
        }
    }

    #[test]
    fn deep_or_odd_session_data_loses_only_the_odd_keys() {
        let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
        let body = format!(
            r#"{{"event":"session:set_data","website_id":"w","data":{{"session_id":"s","data":{{"plan":"pro","deep":{deep},"far":1e999}}}}}}"#
        );
        let WebhookEvent::SessionSetData { data, .. } = read(&body).expect("readable").event else {
            panic!("another event");
        };
        assert_eq!(Json::Object(data), json!({"plan": "pro"}));
        for held in [json!(null), json!([])] {
            let WebhookEvent::SessionSetData { data, .. } = event(
                "session:set_data",
                &json!({"session_id": "s", "data": held}),
            ) else {
                panic!("another event");
            };
            assert!(data.is_empty());
        }
    }

    #[test]
    fn missing_optional_fields_leave_the_event_standing() {
        let session = SessionId::parse("s").expect("an id");
        for email in [
            json!(null),
            json!("no address"),
            json!(7),
            json!("a\u{0}@b"),
        ] {
            assert_eq!(
                event(
                    "session:set_email",
                    &json!({"session_id": "s", "email": email})
                ),
                WebhookEvent::SessionSetEmail {
                    session: session.clone(),
                    email: None
                }
            );
        }
        assert_eq!(
            event("message:send", &json!({"session_id": "s"})),
            WebhookEvent::MessageSend {
                session: session.clone(),
                from_user: true,
                origin: None
            }
        );
        assert_eq!(
            event(
                "message:send",
                &json!({"session_id": "s", "from": "operator", "origin": "a\u{0}"})
            ),
            WebhookEvent::MessageSend {
                session: session.clone(),
                from_user: false,
                origin: None
            }
        );
        assert_eq!(
            event("session:update_verify", &json!({"session_id": "s"})),
            WebhookEvent::SessionUpdateVerify {
                session: session.clone(),
                is_verified: false
            }
        );
        assert_eq!(
            event(
                "session:set_segments",
                &json!({"session_id": "s", "segments": ["a", 1, null]})
            ),
            WebhookEvent::SessionSetSegments {
                session,
                segments: vec!["a".to_owned()]
            }
        );
    }
}
