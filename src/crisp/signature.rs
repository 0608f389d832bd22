//! Proves that a request body comes from Crisp.
//!
//! Plugin hooks are signed: lower-case hex HMAC-SHA256 over `[<timestamp>;<body>]`, where the timestamp is the value of
//! `X-Crisp-Request-Timestamp` as received and the key is the signing secret's characters (Crisp "Web Hooks Reference").
//! Website hooks are not; a key in the URL's query stands in. Both are compared in constant time, over the raw bytes:
//! a body that was parsed and written again no longer verifies. A [`VerifiedBody`] has no other maker than the
//! functions here, so whoever holds one need not ask again. The age of a signature is told, never judged: Crisp may
//! repeat the first timestamp when it delivers late.

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

pub use super::diagnosis::{Diagnosis, explain};
use crate::ids::WebsiteId;

/// The header that carries the moment Crisp signed at.
pub const TIMESTAMP_HEADER: &str = "X-Crisp-Request-Timestamp";
/// The header that carries the signature.
pub const SIGNATURE_HEADER: &str = "X-Crisp-Signature";

/// From this number on, a timestamp counts milliseconds: as seconds it would be the year 33658.
const MILLISECONDS_FROM: i64 = 1_000_000_000_000;

/// The secrets that a signature may have been made with: one per hook, and two while one is being replaced.
#[derive(Debug, Clone, Default)]
pub struct SigningSecrets(Vec<SecretString>);

impl SigningSecrets {
    /// Takes the secrets. Blank ones are left out: anybody can sign with the empty key.
    pub fn new(secrets: impl IntoIterator<Item = SecretString>) -> Self {
        Self(
            secrets
                .into_iter()
                .filter(|secret| !secret.expose_secret().trim().is_empty())
                .collect(),
        )
    }

    /// Whether these are the same secrets.
    pub fn are(&self, others: &Self) -> bool {
        self.iter().eq(others.iter())
    }

    /// Whether there is no secret at all, so that nothing can verify.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(ExposeSecret::expose_secret)
    }
}

/// The key in the URL of one website's hook.
#[derive(Debug, Clone)]
pub struct WebsiteKey {
    /// The one website that this key speaks for.
    pub website: WebsiteId,
    /// The value of `key` in the query.
    pub key: SecretString,
}

impl WebsiteKey {
    /// Whether this is the same key of the same website.
    pub fn is(&self, other: &Self) -> bool {
        self.website == other.website && self.key.expose_secret() == other.key.expose_secret()
    }
}

/// Which kind of hook a body came through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hook {
    /// A plugin hook: signed, and speaks for every website that installed the plugin.
    Plugin,
    /// A website hook: guarded by a key in its URL, and speaks for this website only.
    Website(WebsiteId),
}

/// A body that Crisp sent. Only [`Signed::verify`] and [`verify_website`] make one.
#[derive(Clone)]
pub struct VerifiedBody {
    bytes: Bytes,
    hook: Hook,
    signed_at: Option<Timestamp>,
}

/// A body holds a message; `Debug` says only how long it is.
impl std::fmt::Debug for VerifiedBody {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("VerifiedBody")
            .field("len", &self.bytes.len())
            .field("hook", &self.hook)
            .field("signed_at", &self.signed_at)
            .finish()
    }
}

impl VerifiedBody {
    /// The body as it was received.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Which kind of hook it came through.
    pub fn hook(&self) -> &Hook {
        &self.hook
    }

    /// When Crisp signed it; nothing for a website hook, or a timestamp that is no number.
    pub fn signed_at(&self) -> Option<Timestamp> {
        self.signed_at
    }

    /// How long ago Crisp signed it. Negative if our clock is behind.
    pub fn age(&self, now: Timestamp) -> Option<SignedDuration> {
        self.signed_at.map(|at| now.duration_since(at))
    }
}

/// Why a request is not taken for Crisp's. The texts name headers, never their values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// No timestamp header.
    #[error("the header `{TIMESTAMP_HEADER}` is missing")]
    MissingTimestamp,
    /// No signature header.
    #[error("the header `{SIGNATURE_HEADER}` is missing")]
    MissingSignature,
    /// The timestamp header is no number.
    #[error("the header `{TIMESTAMP_HEADER}` is not a number")]
    MalformedTimestamp,
    /// The signature header holds something else than Crisp writes.
    #[error("the header `{SIGNATURE_HEADER}` does not hold 64 lower-case hex digits")]
    MalformedSignature,
    /// No secret made this signature over these bytes.
    #[error("the signature matches none of the signing secrets")]
    Mismatch,
    /// Nobody gave us a signing secret.
    #[error(
        "no signing secret is configured\nhint: copy it from the plugin's settings in Crisp's Marketplace"
    )]
    NoSecret,
    /// A website hook without a key.
    #[error("the query holds no `key`")]
    MissingKey,
    /// The key belongs to no website.
    #[error("the `key` in the query belongs to no website")]
    UnknownKey,
    /// The key belongs to several websites, so it proves none.
    #[error(
        "the `key` in the query belongs to several websites\nhint: give each website a key of its own"
    )]
    AmbiguousKey,
}

/// A plugin hook whose two headers are as Crisp writes them. It proves nothing before its body is there.
#[derive(Debug)]
pub struct Signed<'head> {
    timestamp: &'head [u8],
    tag: [u8; 32],
}

/// Reads the two headers of a plugin hook, as received: who sends others need not send a body.
pub fn inspect_plugin<'head>(
    secrets: &SigningSecrets,
    timestamp: Option<&'head [u8]>,
    signature: Option<&[u8]>,
) -> Result<Signed<'head>, SignatureError> {
    let timestamp = timestamp.ok_or(SignatureError::MissingTimestamp)?;
    let signature = signature.ok_or(SignatureError::MissingSignature)?;
    if secrets.is_empty() {
        return Err(SignatureError::NoSecret);
    }
    // Without this, a `;` in the header could move the border between timestamp and body under one signature.
    if !is_number(timestamp) {
        return Err(SignatureError::MalformedTimestamp);
    }
    let tag = decode_tag(signature).ok_or(SignatureError::MalformedSignature)?;
    Ok(Signed { timestamp, tag })
}

impl Signed<'_> {
    /// Verifies the raw body.
    ///
    /// Every secret is tried, so the time taken does not tell which one matched.
    pub fn verify(
        &self,
        secrets: &SigningSecrets,
        body: Bytes,
    ) -> Result<VerifiedBody, SignatureError> {
        let genuine = secrets.iter().fold(false, |genuine, secret| {
            mac(
                secret.as_bytes(),
                &[b"[", self.timestamp, b";", &body, b"]"],
            )
            .verify_slice(&self.tag)
            .is_ok()
                | genuine
        });
        if genuine {
            Ok(VerifiedBody {
                bytes: body,
                hook: Hook::Plugin,
                signed_at: instant(self.timestamp),
            })
        } else {
            Err(SignatureError::Mismatch)
        }
    }
}

/// Verifies a plugin hook: its two headers as received, over its raw body.
pub fn verify_plugin(
    secrets: &SigningSecrets,
    timestamp: Option<&[u8]>,
    signature: Option<&[u8]>,
    body: Bytes,
) -> Result<VerifiedBody, SignatureError> {
    inspect_plugin(secrets, timestamp, signature)?.verify(secrets, body)
}

/// Verifies a website hook by the (decoded) `key` of its query.
///
/// The key speaks for one website; [`Envelope::read`](super::event::Envelope::read) refuses a body that names another.
pub fn verify_website(
    keys: &[WebsiteKey],
    key: Option<&[u8]>,
    body: Bytes,
) -> Result<VerifiedBody, SignatureError> {
    let website = website_of(keys, key)?;
    Ok(VerifiedBody {
        bytes: body,
        hook: Hook::Website(website.clone()),
        signed_at: None,
    })
}

/// The website that a (decoded) `key` speaks for: known before the body is there.
pub fn website_of<'a>(
    keys: &'a [WebsiteKey],
    key: Option<&[u8]>,
) -> Result<&'a WebsiteId, SignatureError> {
    let given = Sha256::digest(key.ok_or(SignatureError::MissingKey)?);
    let mut matches = Vec::new();
    for candidate in keys {
        let expected = candidate.key.expose_secret();
        // Digests have one length, so not even the length of a key shows in the time taken.
        let equal = bool::from(Sha256::digest(expected).ct_eq(&given));
        if equal && !expected.trim().is_empty() && !matches.contains(&&candidate.website) {
            matches.push(&candidate.website);
        }
    }
    match matches.as_slice() {
        [] => Err(SignatureError::UnknownKey),
        [website] => Ok(website),
        _ => Err(SignatureError::AmbiguousKey),
    }
}

/// Signs a body the way Crisp does: for test deliveries and the sandbox.
pub fn sign(secret: &str, timestamp: &str, body: &[u8]) -> String {
    hex::encode(
        mac(
            secret.as_bytes(),
            &[b"[", timestamp.as_bytes(), b";", body, b"]"],
        )
        .finalize()
        .into_bytes(),
    )
}

pub(super) fn mac(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(part);
    }
    mac
}

/// The 32 bytes behind 64 lower-case hex digits. Upper case is refused, as Crisp's own SDK does: it never sends any.
pub(super) fn decode_tag(signature: &[u8]) -> Option<[u8; 32]> {
    if signature.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    let mut tag = [0; 32];
    hex::decode_to_slice(signature, &mut tag).ok()?;
    Some(tag)
}

/// Digits, and perhaps a point. Crisp's own SDK asks for a number too.
pub(super) fn is_number(timestamp: &[u8]) -> bool {
    !timestamp.is_empty()
        && timestamp
            .iter()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'.'))
}

/// The moment a timestamp header names. Crisp does not document its unit, so the magnitude decides.
fn instant(timestamp: &[u8]) -> Option<Timestamp> {
    let number: i64 = std::str::from_utf8(timestamp).ok()?.parse().ok()?;
    if number < MILLISECONDS_FROM {
        Timestamp::from_second(number).ok()
    } else {
        Timestamp::from_millisecond(number).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One line of `fixtures/webhooks/signatures.json`, whose signatures were made by another program than ours.
    #[derive(serde::Deserialize)]
    struct Vector {
        name: String,
        secret: String,
        timestamp: String,
        body: String,
        signature: String,
        verifies: bool,
        diagnosis: String,
    }

    fn vectors() -> Vec<Vector> {
        serde_json::from_str(include_str!("../../fixtures/webhooks/signatures.json"))
            .expect("the fixture is a list of vectors")
    }

    fn secrets(secrets: &[&str]) -> SigningSecrets {
        SigningSecrets::new(secrets.iter().map(|secret| SecretString::from(*secret)))
    }

    fn verify(
        secrets: &SigningSecrets,
        timestamp: Option<&str>,
        signature: Option<&str>,
        body: &str,
    ) -> Result<VerifiedBody, SignatureError> {
        verify_plugin(
            secrets,
            timestamp.map(str::as_bytes),
            signature.map(str::as_bytes),
            Bytes::copy_from_slice(body.as_bytes()),
        )
    }

    #[test]
    fn every_vector_verifies_or_is_refused_with_its_reason() {
        let vectors = vectors();
        assert!(vectors.len() > 30, "the fixture shrank");
        for vector in vectors {
            let known = secrets(&[&vector.secret]);
            let verified = verify(
                &known,
                Some(&vector.timestamp),
                Some(&vector.signature),
                &vector.body,
            );
            assert_eq!(verified.is_ok(), vector.verifies, "{}", vector.name);
            let diagnosis = explain(
                &known,
                Some(vector.timestamp.as_bytes()),
                Some(vector.signature.as_bytes()),
                vector.body.as_bytes(),
            );
            assert_eq!(
                format!("{diagnosis:?}"),
                vector.diagnosis,
                "{}",
                vector.name
            );
            if vector.verifies {
                assert_eq!(
                    sign(&vector.secret, &vector.timestamp, vector.body.as_bytes()),
                    vector.signature
                );
            }
        }
    }

    #[test]
    fn one_changed_byte_anywhere_is_refused() {
        let body = br#"{"event":"session:removed","data":{}}"#;
        let known = secrets(&["s"]);
        let signature = sign("s", "1732176000000", body);
        for at in 0..body.len() {
            let mut changed = body.to_vec();
            changed[at] ^= 1;
            let refused = verify_plugin(
                &known,
                Some(b"1732176000000"),
                Some(signature.as_bytes()),
                changed.into(),
            );
            assert_eq!(refused.err(), Some(SignatureError::Mismatch), "byte {at}");
        }
    }

    #[test]
    fn any_of_several_secrets_will_do_and_no_other() {
        let signature = sign("two", "1", b"{}");
        for known in [&["one", "two"][..], &["two", "one"], &["two"]] {
            assert!(verify(&secrets(known), Some("1"), Some(&signature), "{}").is_ok());
        }
        assert_eq!(
            verify(&secrets(&["one"]), Some("1"), Some(&signature), "{}").err(),
            Some(SignatureError::Mismatch)
        );
    }

    #[test]
    fn the_empty_secret_verifies_nothing() {
        let signature = sign("", "1", b"{}");
        assert_eq!(
            verify(&secrets(&["", " \n"]), Some("1"), Some(&signature), "{}").err(),
            Some(SignatureError::NoSecret)
        );
    }

    #[test]
    fn missing_headers_are_told_before_anything_else() {
        let none = secrets(&[]);
        assert_eq!(
            verify(&none, None, None, "").err(),
            Some(SignatureError::MissingTimestamp)
        );
        assert_eq!(
            verify(&none, Some("1"), None, "").err(),
            Some(SignatureError::MissingSignature)
        );
        let upper = sign("s", "1", b"").to_uppercase();
        assert_eq!(
            verify(&secrets(&["s"]), Some("1"), Some(&upper), "").err(),
            Some(SignatureError::MalformedSignature)
        );
    }

    #[test]
    fn the_age_is_told_in_either_unit() {
        let now = Timestamp::from_second(1_732_176_060).expect("in range");
        for (timestamp, age) in [
            ("1732176000", Some(60)),
            ("1732176000000", Some(60)),
            ("1732176120000", Some(-60)),
            ("1732176000.5", None),
            ("99999999999999999999", None),
            ("9223372036854775807", None),
        ] {
            let signature = sign("s", timestamp, b"{}");
            let body = verify(&secrets(&["s"]), Some(timestamp), Some(&signature), "{}")
                .expect("a genuine body");
            assert_eq!(body.age(now).map(|age| age.as_secs()), age, "{timestamp}");
        }
    }

    #[test]
    fn the_border_between_timestamp_and_body_does_not_move() {
        let signature = sign("s", "1", b"x;{}");
        assert!(verify(&secrets(&["s"]), Some("1"), Some(&signature), "x;{}").is_ok());
        for timestamp in ["1;x", "", "soon", "-1", "1 "] {
            assert_eq!(
                verify(&secrets(&["s"]), Some(timestamp), Some(&signature), "{}").err(),
                Some(SignatureError::MalformedTimestamp),
                "{timestamp:?}"
            );
        }
    }

    fn website_keys() -> Vec<WebsiteKey> {
        [
            ("one", "k1"),
            ("two", "k2"),
            ("blank", ""),
            ("three", "shared"),
            ("four", "shared"),
        ]
        .into_iter()
        .map(|(website, key)| WebsiteKey {
            website: WebsiteId::parse(website).expect("an id"),
            key: SecretString::from(key),
        })
        .collect()
    }

    #[test]
    fn a_website_key_speaks_for_one_website() {
        let keys = website_keys();
        let body = verify_website(&keys, Some(b"k2"), Bytes::from_static(b"{}")).expect("known");
        assert_eq!(
            body.hook(),
            &Hook::Website(WebsiteId::parse("two").expect("an id"))
        );
        for (key, error) in [
            (None, SignatureError::MissingKey),
            (Some(&b""[..]), SignatureError::UnknownKey),
            (Some(b"k"), SignatureError::UnknownKey),
            (Some(b"k22"), SignatureError::UnknownKey),
            (Some(b"shared"), SignatureError::AmbiguousKey),
        ] {
            assert_eq!(
                verify_website(&keys, key, Bytes::new()).err(),
                Some(error),
                "{key:?}"
            );
        }
    }

    #[test]
    fn nothing_secret_is_shown() {
        let body = verify(
            &secrets(&["hush"]),
            Some("1"),
            Some(&sign("hush", "1", b"ada@example.org")),
            "ada@example.org",
        )
        .expect("a genuine body");
        let shown = format!("{body:?} {:?} {:?}", secrets(&["hush"]), website_keys());
        for private in ["hush", "ada@", "k1"] {
            assert!(!shown.contains(private), "{shown}");
        }
    }
}
