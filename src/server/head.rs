//! What the head of a request shows before its body is there: most junk ends here, and is never read.

use std::borrow::Cow;

use actix_web::{HttpRequest, http::header, web::Bytes};
use tokio::sync::Semaphore;

use super::{
    Keys,
    refusal::Refusal,
    webhooks::{ReceiverSettings, SIGNATURE, TIMESTAMP, bytes, key, text},
};
use crate::crisp::signature::{self, SignatureError, Signed, VerifiedBody};

/// How a request claims to be genuine.
pub(super) enum Claim<'head> {
    /// By a signature over its body.
    Signature(Signed<'head>),
    /// By the key in the URL of a website's hook.
    Key(Cow<'head, str>),
}

impl<'head> Claim<'head> {
    /// The claim of a request, if its head alone does not show it to be wrong. A signature is heard before a key.
    fn of(request: &'head HttpRequest, keys: &Keys) -> Result<Self, SignatureError> {
        let headers = request.headers();
        let signature = bytes(headers, &SIGNATURE);
        if signature.is_none()
            && !keys.website_keys.is_empty()
            && let Some(key) = key(request)
        {
            signature::website_of(&keys.website_keys, Some(key.as_bytes()))?;
            return Ok(Self::Key(key));
        }
        let timestamp = bytes(headers, &TIMESTAMP);
        signature::inspect_plugin(&keys.signing_secrets, timestamp, signature).map(Self::Signature)
    }

    /// Holds it against the body.
    pub(super) fn verify(&self, keys: &Keys, body: Bytes) -> Result<VerifiedBody, SignatureError> {
        match self {
            Self::Signature(signed) => signed.verify(&keys.signing_secrets, body),
            Self::Key(key) => {
                signature::verify_website(&keys.website_keys, Some(key.as_bytes()), body)
            }
        }
    }
}

/// Refuses what can be refused without the body.
pub(super) fn inspect<'head>(
    request: &'head HttpRequest,
    settings: &ReceiverSettings,
    room: &Semaphore,
) -> Result<Claim<'head>, Refusal> {
    let headers = request.headers();
    let mut encodings = headers.get_all(header::CONTENT_ENCODING);
    if encodings.any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Refusal::Encoded);
    }
    let claim = Claim::of(request, &settings.keys.read())?;
    let length = text(headers, &header::CONTENT_LENGTH)
        .map_or(0, |length| length.parse().unwrap_or(usize::MAX));
    let limit = settings.max_body;
    if length > limit {
        return Err(Refusal::TooLarge { limit });
    }
    if room.available_permits() < length {
        return Err(Refusal::Overloaded);
    }
    Ok(claim)
}
