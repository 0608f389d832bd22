//! Reads Crisp's answers: which are results, and which error the others are.
//!
//! An answer is Crisp's only if it is Crisp's JSON envelope; a page of HTML comes from something in between and proves
//! nothing about a contact or a conversation.

use std::time::Duration;

use jiff::{Timestamp, fmt::rfc2822};
use reqwest::{
    Method, StatusCode,
    header::{DATE, HeaderMap, RETRY_AFTER},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::route::{Route, Subject};
use crate::crisp::error::CrispError;

/// The longest wait we take from Crisp. A reset of the daily quota is not announced, so we look again before that.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

/// The envelope, as far as it can be told without knowing what was asked.
#[derive(Deserialize)]
struct Envelope<'a> {
    error: bool,
    #[serde(default)]
    reason: String,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// What a successful answer holds.
pub(super) fn result<T: DeserializeOwned>(
    status: StatusCode,
    body: &[u8],
) -> Result<T, CrispError> {
    let unreadable = |why| CrispError::Unreadable {
        status: status.as_u16(),
        why,
    };
    let envelope: Envelope<'_> = serde_json::from_slice(body)
        // serde's text may repeat what the answer says about somebody.
        .map_err(|error| {
            unreadable(if error.is_eof() {
                "it is cut short"
            } else {
                NOT_JSON
            })
        })?;
    if envelope.error {
        return Err(unreadable("it says both success and failure"));
    }
    serde_json::from_str(envelope.data.map_or("null", RawValue::get)).map_err(|error| {
        unreadable(if error.is_data() {
            "its data has another shape"
        } else {
            NOT_JSON
        })
    })
}

const NOT_JSON: &str = "it is not Crisp's JSON";

/// Which error a failed answer is.
pub(super) fn failure(
    route: &Route,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
) -> CrispError {
    let code = status.as_u16();
    let reason = if route.method == Method::HEAD {
        // A HEAD has no body to know Crisp by.
        Some(word(""))
    } else {
        serde_json::from_slice::<Envelope<'_>>(body)
            .ok()
            .filter(|envelope| envelope.error)
            .map(|envelope| word(&envelope.reason))
    };
    match (code, reason.as_deref()) {
        (300..=399, _) => CrispError::Redirected { status: code },
        (420 | 423 | 429, _) => CrispError::Throttled {
            status: code,
            retry_after: retry_after(headers),
        },
        (401, _) | (400..=499, Some("restricted_route_tier")) if code != 404 => {
            CrispError::Unauthorized
        }
        (400..=499, Some("not_subscribed" | "website_not_found")) => CrispError::NotSubscribed,
        (404, Some("people_not_found")) => CrispError::PeopleNotFound,
        (404, Some(reason))
            if route.subject == Subject::Conversation && !reason.contains("route") =>
        {
            CrispError::ConversationNotFound
        }
        (404 | 405, _) => CrispError::NotFound,
        (402, Some(_)) => CrispError::PlanRequired,
        (403, Some(_)) => CrispError::Forbidden { scope: route.scope },
        (409, Some(_)) => CrispError::Conflict,
        (400..=499, Some(reason)) => CrispError::Invalid {
            status: code,
            reason: reason.to_owned(),
        },
        (500..=599, _) => CrispError::Server {
            status: code,
            retry_after: retry_after(headers),
        },
        _ => CrispError::Unreadable {
            status: code,
            why: NOT_JSON,
        },
    }
}

/// Crisp's code for a failure, if it is one: anything else might quote the request.
fn word(reason: &str) -> String {
    let is_code = (1..=64).contains(&reason.len())
        && reason
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if is_code { reason } else { "unknown" }.to_owned()
}

/// How long to wait, from seconds or from a date. A date is held against the answer's own `Date`, so that neither our
/// clock nor its difference from theirs matters.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if let Ok(seconds) = value.parse::<u64>() {
        Duration::from_secs(seconds)
    } else {
        let until = http_date(value)?;
        let sent = http_date(headers.get(DATE)?.to_str().ok()?)?;
        // A date in the past asks for no wait.
        Duration::try_from(until.duration_since(sent)).unwrap_or_default()
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

fn http_date(text: &str) -> Option<Timestamp> {
    Some(rfc2822::parse(text.trim()).ok()?.timestamp())
}
