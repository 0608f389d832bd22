//! The envelope: any body that is signed is read or refused, and what is read is clean.

use std::collections::BTreeSet;

use bytes::Bytes;
use crisp_sync::{
    crisp::{
        event::{Envelope, EnvelopeError, WebhookEvent},
        signature::{
            SigningSecrets, VerifiedBody, WebsiteKey, sign, verify_plugin, verify_website,
        },
    },
    ids::{PeopleId, SessionId, WebsiteId},
    pseudonym::Pseudonyms,
    server::interest::{Interest, InterestSettings, interest},
};
use jiff::Timestamp;

const SECRET: &str = "914a657d8cc2efbc20593f1806f9bde2";
const WEBSITE: &str = "7f8d9ac1-0b6e-4c2b-9a55-0d0e8b6f2c11";

/// The whole input is the body.
pub(crate) fn envelope(data: &[u8]) {
    let body = Bytes::copy_from_slice(data);
    let signature = sign(SECRET, "1", data);
    let secrets = SigningSecrets::new([SECRET.into()]);
    let signed = verify_plugin(
        &secrets,
        Some(b"1"),
        Some(signature.as_bytes()),
        body.clone(),
    )
    .expect("we signed it");
    let website = WebsiteId::parse(WEBSITE).expect("a website id");
    let keys = [WebsiteKey {
        website: website.clone(),
        key: "key".into(),
    }];
    let keyed = verify_website(&keys, Some(b"key"), body).expect("the key is right");

    let read = read(&signed);
    match (read, Envelope::read(&keyed)) {
        (Ok(one), Ok(other)) => {
            assert_eq!(one, other, "the way in does not change what is read");
            assert_eq!(one.website, website, "a key speaks for one website");
            decide(&one);
        }
        (Ok(one), Err(error)) => {
            assert_eq!(error, EnvelopeError::Foreign);
            assert_ne!(one.website, website);
            decide(&one);
        }
        (Err(one), Err(other)) => assert!(one == other || other == EnvelopeError::Foreign),
        (Err(error), Ok(_)) => panic!("the key reads what the signature does not: {error}"),
    }
}

fn read(body: &VerifiedBody) -> Result<Envelope, EnvelopeError> {
    let result = Envelope::read(body);
    match &result {
        Ok(envelope) => {
            is_clean("event", &envelope.name);
            assert!(!envelope.name.is_empty() && envelope.name.len() <= 100);
            let website = envelope.website.as_str();
            assert!(WebsiteId::parse(website).is_ok());
            if let Some(session) = envelope.session() {
                is_clean("session", session.as_str());
                assert!(SessionId::parse(session.as_str()).is_ok());
            }
            if let Some(people) = envelope.people() {
                is_clean("people", people.as_str());
                assert!(PeopleId::parse(people.as_str()).is_ok());
            }
            match &envelope.event {
                WebhookEvent::MessageSend {
                    origin: Some(word), ..
                }
                | WebhookEvent::SessionSetState { state: word, .. } => is_clean("word", word),
                WebhookEvent::SessionSetEmail {
                    email: Some(email), ..
                }
                | WebhookEvent::PeopleProfileCreated {
                    email: Some(email), ..
                } => {
                    is_clean("email", email.as_str());
                    // `a@b` may well be a part of some id.
                    let shown = format!("{:?}", envelope.event);
                    assert!(email.as_str().len() < 8 || !shown.contains(email.as_str()));
                }
                _ => {}
            }
        }
        Err(error) => {
            let told = error.to_string();
            assert!(
                told.len() < 200 && told.is_ascii(),
                "the error repeats nothing of the body: {told}"
            );
        }
    }
    result
}

/// Nothing that a database, a log or a URL could stumble over.
fn is_clean(what: &str, text: &str) {
    assert!(!text.chars().any(char::is_control), "{what}: {text:?}");
}

/// What is read can be decided upon.
fn decide(envelope: &Envelope) {
    let now = Timestamp::from_second(1_772_442_000).expect("a moment");
    let pseudonyms = Pseudonyms::new(vec![7; 32].into());
    let decided = interest(envelope, &InterestSettings::default(), &pseudonyms, now);
    if let Interest::Act(effects) = decided {
        assert!(!effects.is_empty(), "to act is to do something");
    }
    let settings = InterestSettings {
        websites: BTreeSet::from([
            WebsiteId::parse("11111111-2222-4333-8444-555555555555").expect("a website id")
        ]),
        ..InterestSettings::default()
    };
    let ours = settings.websites.contains(&envelope.website);
    let decided = interest(envelope, &settings, &pseudonyms, now);
    assert_eq!(matches!(decided, Interest::Foreign), !ours);
}
