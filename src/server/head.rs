//! What the head of a request shows before its body is there: most junk ends here, and is never read.

use actix_web::{HttpRequest, http::header};
use tokio::sync::Semaphore;

use super::{
    Keys,
    refusal::Refusal,
    webhooks::{ReceiverSettings, SIGNATURE, TIMESTAMP, bytes, key, text},
};
use crate::crisp::signature;

/// How a request claims to be genuine.
pub(super) enum Claim<'head> {
    /// By a signature over its body.
    Signature {
        timestamp: Option<&'head [u8]>,
        signature: Option<&'head [u8]>,
    },
    /// By the key in the URL of a website's hook.
    Key(std::borrow::Cow<'head, str>),
}

impl<'head> Claim<'head> {
    /// The claim of a request. A signature is heard before a key.
    pub(super) fn of(request: &'head HttpRequest, keys: &Keys) -> Self {
        let headers = request.headers();
        let signature = bytes(headers, &SIGNATURE);
        if signature.is_none()
            && !keys.website_keys.is_empty()
            && let Some(key) = key(request)
        {
            return Self::Key(key);
        }
        Self::Signature {
            timestamp: bytes(headers, &TIMESTAMP),
            signature,
        }
    }
}

/// Refuses what can be refused without the body.
pub(super) fn inspect(
    request: &HttpRequest,
    settings: &ReceiverSettings,
    room: &Semaphore,
) -> Result<(), Refusal> {
    let headers = request.headers();
    let mut encodings = headers.get_all(header::CONTENT_ENCODING);
    if encodings.any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Refusal::Encoded);
    }
    let keys = settings.keys.read();
    match Claim::of(request, &keys) {
        Claim::Key(key) => {
            signature::website_of(&keys.website_keys, Some(key.as_bytes()))?;
        }
        Claim::Signature {
            timestamp,
            signature,
        } => signature::inspect_plugin(&keys.signing_secrets, timestamp, signature)?,
    }
    let length = text(headers, &header::CONTENT_LENGTH)
        .map_or(0, |length| length.parse().unwrap_or(usize::MAX));
    let limit = settings.max_body;
    if length > limit {
        return Err(Refusal::TooLarge { limit });
    }
    if room.available_permits() < length {
        return Err(Refusal::Overloaded);
    }
    Ok(())
}
