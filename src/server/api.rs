//! `/v1` on the ops listener: what the app asks for. Acting takes the token that may act, also from this machine.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use actix_web::{
    HttpRequest, HttpResponse, ResponseError,
    http::{StatusCode, header},
    web,
};
use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::{
    desk::{Desk, DeskError, Whom},
    ops::{Ops, OpsError, Right},
};
use crate::clock::Clock;

/// The longest body.
const LONGEST_BODY: usize = 4 * 1024;
/// So many requests of one kind are taken in a window.
const NUDGES: u32 = 600;
const ERASURES: u32 = 60;
/// That window.
const WINDOW: Duration = Duration::from_mins(1);

/// What the routes need.
pub(super) struct Api {
    desk: Arc<dyn Desk>,
    clock: Clock,
    nudges: Budget,
    erasures: Budget,
}

impl Api {
    pub(super) fn new(desk: Arc<dyn Desk>, clock: Clock) -> Self {
        Self {
            desk,
            clock,
            nudges: Budget::of(NUDGES),
            erasures: Budget::of(ERASURES),
        }
    }
}

/// Counts requests in a window.
#[derive(Debug)]
struct Budget {
    limit: u32,
    window: Mutex<Option<(Timestamp, u32)>>,
}

impl Budget {
    fn of(limit: u32) -> Self {
        Self {
            limit,
            window: Mutex::default(),
        }
    }

    fn take(&self, now: Timestamp) -> Result<(), ApiError> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let (began, taken) = match *window {
            Some((began, taken)) if now.duration_since(began).unsigned_abs() < WINDOW => {
                (began, taken)
            }
            _ => (now, 0),
        };
        if taken >= self.limit {
            return Err(ApiError::TooMany);
        }
        *window = Some((began, taken + 1));
        Ok(())
    }
}

/// Why a request to the API is not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error(transparent)]
    Refused(#[from] OpsError),
    #[error("the body is longer than {LONGEST_BODY} bytes")]
    TooLarge,
    #[error("the body is not a JSON object with the fields that this route takes")]
    NotJson,
    #[error(
        "too many requests; this many are taken in a minute: {NUDGES} nudges, {ERASURES} erasures"
    )]
    TooMany,
    #[error(transparent)]
    Desk(#[from] DeskError),
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Refused(refused) => refused.status_code(),
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotJson => StatusCode::BAD_REQUEST,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::Desk(DeskError::Malformed(_)) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Desk(DeskError::Unknown(_)) => StatusCode::NOT_FOUND,
            Self::Desk(DeskError::Erased(_)) => StatusCode::GONE,
            Self::Desk(DeskError::Unavailable(_)) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// `{"error": …, "hint": …}`, as commands answer with `--json`.
    fn error_response(&self) -> HttpResponse {
        let text = self.to_string();
        let body = match text.split_once("\nhint: ") {
            Some((error, hint)) => json!({ "error": error, "hint": hint }),
            None => json!({ "error": text }),
        };
        let mut answer = HttpResponse::build(self.status_code());
        match self.status_code() {
            StatusCode::UNAUTHORIZED => {
                answer.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                answer.insert_header((header::RETRY_AFTER, "60"));
            }
            _ => {}
        }
        answer.json(body)
    }
}

/// Mounts the routes.
pub(super) fn routes(services: &mut web::ServiceConfig) {
    services
        // Bodies are bounded here; the extractor's own answer would not be ours.
        .app_data(web::PayloadConfig::new(LONGEST_BODY))
        .service(web::resource("/v1/nudge").route(web::post().to(nudge)))
        .service(web::resource("/v1/erase").route(web::post().to(erase)))
        .service(web::resource("/v1/erase/{receipt}").route(web::get().to(receipt)));
}

type Body = Result<web::Bytes, actix_web::Error>;

/// Who asks, then how often, then what: a stranger learns nothing about the rest.
fn whom(
    ops: &Ops,
    request: &HttpRequest,
    budget: &Budget,
    now: Timestamp,
    body: Body,
) -> Result<Whom, ApiError> {
    ops.admit(request, Right::Act)?;
    budget.take(now)?;
    let body = body.map_err(|error| {
        if error.as_response_error().status_code() == StatusCode::PAYLOAD_TOO_LARGE {
            ApiError::TooLarge
        } else {
            ApiError::NotJson
        }
    })?;
    // An object, and nothing that could be taken for one. Not the reader's own words: they may repeat the address.
    serde_json::from_slice::<serde_json::Map<String, Json>>(&body)
        .and_then(|object| serde_json::from_value(Json::Object(object)))
        .map_err(|_private| ApiError::NotJson)
}

async fn nudge(
    ops: web::Data<Ops>,
    api: web::Data<Api>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let whom = whom(&ops, &request, &api.nudges, api.clock.now(), body)?;
    let enqueued = api.desk.nudge(whom).await?;
    Ok(HttpResponse::Accepted().json(enqueued))
}

async fn erase(
    ops: web::Data<Ops>,
    api: web::Data<Api>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let whom = whom(&ops, &request, &api.erasures, api.clock.now(), body)?;
    Ok(answered(&api.desk.erase(whom).await?))
}

async fn receipt(
    ops: web::Data<Ops>,
    api: web::Data<Api>,
    request: HttpRequest,
    path: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    ops.admit(&request, Right::Read)?;
    Ok(HttpResponse::Ok().json(api.desk.receipt(path.into_inner()).await?))
}

/// Done, or done as far as it goes for now.
fn answered(receipt: &Json) -> HttpResponse {
    let is_done = receipt["owed"].as_array().is_none_or(Vec::is_empty);
    let mut answer = if is_done {
        HttpResponse::Ok()
    } else {
        HttpResponse::Accepted()
    };
    answer.json(receipt)
}
