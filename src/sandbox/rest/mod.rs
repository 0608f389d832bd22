//! Crisp's REST API, as far as a syncing service needs it.
//!
//! One request is one step under the state's lock: journal it, ask the faults, check the token, do it, journal the
//! answer. Only a faulty answer lets go of the lock in between. The rules come from what official SDKs and recorded
//! exchanges show, the reasons too.

mod body;
mod conversations;
mod people;
mod routes;

use actix_web::{
    HttpRequest, HttpResponse,
    body::SizedStream,
    http::{StatusCode, header},
    web,
};
use base64::Engine as _;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use self::{
    body::Refusal,
    routes::{Action, Params, Route},
};
use super::{
    Connection, Shared,
    fault::{self, Fault, FaultBody},
    journal::{Call, Unexpected},
    settings::TokenSettings,
    state::State,
};

/// The plugin the sandbox's tokens belong to.
pub(super) const PLUGIN_ID: &str = "aa11c0de-5a4d-4b0c-8f2e-6d3b1a0f9e77";

/// A request, taken apart.
#[derive(Debug, Clone)]
pub(super) struct Request {
    method: String,
    path: String,
    query: String,
    authorization: Option<String>,
    tier: Option<String>,
    stamp: Option<String>,
    body: web::Bytes,
    route: Option<(&'static Route, Params)>,
    /// Its number in the journal.
    call: u64,
}

impl Request {
    fn query(&self, name: &str) -> Option<String> {
        url::form_urlencoded::parse(self.query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }
}

/// A request that was taken and takes effect later.
#[derive(Debug)]
pub(super) struct LateRequest {
    pub(super) due: i64,
    request: Request,
}

/// What the sandbox says.
#[derive(Debug)]
struct Answer {
    status: u16,
    reason: String,
    error: bool,
    data: Json,
    bloom: &'static str,
}

impl Answer {
    fn good(status: u16, reason: &str, data: Json) -> Self {
        Self {
            status,
            reason: reason.to_owned(),
            error: false,
            data,
            bloom: if reason == "resolved" || reason == "listed" {
                "MISS"
            } else {
                "DIRECT"
            },
        }
    }

    fn resolved(data: Json) -> Self {
        Self::good(200, "resolved", data)
    }

    fn listed(data: Json) -> Self {
        Self::good(200, "listed", data)
    }

    fn added(data: Json) -> Self {
        Self::good(201, "added", data)
    }

    fn updated() -> Self {
        Self::good(200, "updated", json!({}))
    }

    fn deleted() -> Self {
        Self::good(200, "deleted", json!({}))
    }

    fn refused(refusal: &Refusal) -> Self {
        Self {
            status: refusal.status,
            reason: refusal.reason.to_owned(),
            error: true,
            data: json!({"message": &refusal.message}),
            bloom: "DIRECT",
        }
    }

    fn respond(&self, request_id: &str, head: bool) -> HttpResponse {
        let mut response = HttpResponse::build(code(self.status));
        response
            .insert_header(("Request-Id", request_id))
            .insert_header(("Bloom-Status", self.bloom));
        if head {
            return response.finish();
        }
        response.json(json!({"error": self.error, "reason": self.reason, "data": self.data}))
    }
}

fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Every request under `/v1`.
pub(super) async fn serve(
    http: HttpRequest,
    body: web::Bytes,
    shared: web::Data<Shared>,
) -> HttpResponse {
    let header = |name: &str| {
        http.headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let path = http.uri().path();
    let path = path.strip_prefix("/v1").unwrap_or(path);
    let mut request = Request {
        method: http.method().as_str().to_owned(),
        path: path.to_owned(),
        query: http.query_string().to_owned(),
        authorization: header("authorization"),
        tier: header("x-crisp-tier"),
        stamp: header("x-request-id"),
        body,
        route: routes::find(http.method().as_str(), path),
        call: 0,
    };
    let request_id = Uuid::new_v4().to_string();
    let head = request.method == "HEAD";
    // The count of releases is taken with the request, so that a release right after its arrival is not missed.
    let ((answer, fault), releases) = shared.act(|state, now| {
        let received = state.receive(&mut request, request_id.clone(), now);
        (received, state.releases)
    });
    let Some(fault) = fault else {
        return answer.respond(&request_id, head);
    };
    wait_out(&fault, &shared, releases).await;
    if fault.cuts() {
        if let Some(connection) = http.conn_data::<Connection>() {
            connection.cut();
        }
        // Nobody hears it.
        return HttpResponse::InternalServerError().finish();
    }
    if fault.status.is_none() {
        return answer.respond(&request_id, head);
    }
    spoil(&fault, &request_id)
}

async fn wait_out(fault: &Fault, shared: &Shared, releases: u64) {
    if fault.delay_ms > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(fault.delay_ms)).await;
    }
    if fault.hold {
        shared
            .wait_for(|state| (state.releases > releases).then_some(()))
            .await;
    }
}

/// The answer a fault gives.
fn spoil(fault: &Fault, request_id: &str) -> HttpResponse {
    let mut response = HttpResponse::build(code(fault.status.unwrap_or(500)));
    response.insert_header(("Request-Id", request_id));
    if let Some(value) = &fault.retry_after {
        response.insert_header((header::RETRY_AFTER, value.as_str()));
    }
    match fault.body {
        FaultBody::Empty => response.finish(),
        FaultBody::Html => response
            .content_type("text/html")
            .body("<html><body><h1>Something went wrong</h1></body></html>"),
        FaultBody::Json => {
            response.json(json!({"error": true, "reason": fault.reason_text(), "data": {}}))
        }
        FaultBody::Half => {
            let half = web::Bytes::from_static(br#"{"error":false,"reason":"resol"#);
            let length = u64::try_from(2 * half.len()).unwrap_or(u64::MAX);
            // What is at hand goes out while the rest is waited for.
            let rest = async {
                tokio::task::yield_now().await;
                Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))
            };
            let parts = stream::once(std::future::ready(Ok(half))).chain(stream::once(rest));
            response
                .content_type("application/json")
                .body(SizedStream::new(length, parts))
        }
    }
}

impl State {
    /// Takes one request in: journal, fault, effect, journal.
    fn receive(
        &mut self,
        request: &mut Request,
        request_id: String,
        now: i64,
    ) -> (Answer, Option<Fault>) {
        request.call = self.calls.marker() + 1;
        let (name, template) = request
            .route
            .as_ref()
            .map_or(("unknown", "unknown"), |(route, _)| {
                (route.name, route.template)
            });
        let params = request
            .route
            .as_ref()
            .map(|(_, params)| params.clone())
            .unwrap_or_default();
        let session = params.session.clone();
        self.calls.entries.push(Call {
            number: request.call,
            method: request.method.clone(),
            name,
            route: template,
            status: None,
            reason: String::new(),
            applied: false,
            faulted: false,
            at: now,
            people: self.concerned(&params),
            website: params.website,
            session: params.session,
            address: params.people.filter(|people| people.contains('@')),
            request_id,
            stamp: request.stamp.clone(),
        });
        let fault = fault::strike(
            &mut self.faults,
            &request.method,
            name,
            template,
            session.as_deref(),
        );
        let answer = if fault.as_ref().is_none_or(Fault::applies_now) {
            self.perform(request, now)
        } else {
            Answer::updated()
        };
        if let Some(fault) = &fault {
            if let Some(after) = fault.applied_late_ms {
                self.late.push(LateRequest {
                    due: now.saturating_add(i64::try_from(after).unwrap_or(i64::MAX)),
                    request: request.clone(),
                });
            }
            if let Some(call) = self.calls.entry(request.call) {
                call.faulted = true;
                if fault.cuts() {
                    call.status = None;
                } else if let Some(status) = fault.status {
                    call.status = Some(status);
                    call.reason = fault.reason_text();
                }
            }
        }
        (answer, fault)
    }

    /// The contact a path means, if there is one.
    fn concerned(&self, params: &Params) -> Option<String> {
        let website = params.website.as_deref()?;
        self.contact_of(website, params.people.as_deref()?)
            .map(|contact| contact.people_id.clone())
    }

    /// Does what a request asks for and notes how it went.
    fn perform(&mut self, request: &Request, now: i64) -> Answer {
        let outcome = self.execute(request, now);
        let address = request
            .route
            .as_ref()
            .filter(|(route, _)| route.action == Action::ProfileCreate)
            .and_then(|_| serde_json::from_slice::<Json>(&request.body).ok())
            .and_then(|card| card["email"].as_str().map(str::to_owned));
        let created = match &outcome {
            Ok(answer) => answer.data["people_id"]
                .as_str()
                .filter(|_| answer.status == 201)
                .map(str::to_owned),
            Err(_) => None,
        };
        if let Err(refusal) = &outcome
            && (refusal.status == 400 || request.route.is_none())
        {
            let what = request.route.as_ref().map_or_else(
                || format!("{} unknown route", request.method),
                |(route, _)| format!("{} {}", request.method, route.template),
            );
            self.calls.unexpected.push(Unexpected {
                call: request.call,
                what,
                why: refusal.message.clone(),
            });
        }
        let applied = outcome.is_ok();
        let answer = outcome.unwrap_or_else(|refusal| Answer::refused(&refusal));
        if let Some(call) = self.calls.entry(request.call) {
            call.applied = applied;
            call.status = Some(answer.status);
            call.reason.clone_from(&answer.reason);
            if created.is_some() {
                call.people = created;
            }
            if address.is_some() {
                call.address = address;
            }
            if applied && request.method != "GET" && request.method != "HEAD" {
                let call = call.clone();
                self.calls.stamps.landed(&call);
            }
        }
        answer
    }

    fn execute(&mut self, request: &Request, now: i64) -> Result<Answer, Refusal> {
        let Some((route, params)) = &request.route else {
            return Err(Refusal::new(404, "route_not_found", "no such route"));
        };
        let token = self.token(request)?;
        if let Some((scope, write)) = route.scope
            && !token.allows(scope, write)
        {
            return Err(Refusal::new(
                403,
                "not_allowed",
                format!("the token lacks `{scope}`"),
            ));
        }
        let website = params.website.clone().unwrap_or_default();
        if params.website.is_some()
            && !self
                .websites
                .iter()
                .any(|known| known.website_id == website && known.subscribed)
        {
            return Err(Refusal::new(
                404,
                "not_subscribed",
                "the plugin is not installed there",
            ));
        }
        if !self.behaviour.cached_lists
            || !matches!(
                route.action,
                Action::Events | Action::Conversations | Action::Profiles
            )
        {
            return self.act_on(route.action, request, &website, params, now);
        }
        let place = format!("{}?{}", request.path, request.query);
        if let Some(kept) = self.cache.get(&place) {
            let mut answer = Answer::listed(kept.clone());
            answer.bloom = "HIT";
            return Ok(answer);
        }
        let answer = self.act_on(route.action, request, &website, params, now)?;
        self.cache.insert(place, answer.data.clone());
        Ok(answer)
    }

    fn token(&self, request: &Request) -> Result<TokenSettings, Refusal> {
        let refusal = || Refusal::new(401, "invalid_session", "no such token");
        let credentials = request
            .authorization
            .as_deref()
            .and_then(|value| value.strip_prefix("Basic "))
            .and_then(|encoded| {
                base64::engine::general_purpose::STANDARD
                    .decode(encoded)
                    .ok()
            })
            .and_then(|decoded| String::from_utf8(decoded).ok())
            .ok_or_else(refusal)?;
        let token = self
            .tokens
            .iter()
            .find(|token| credentials == format!("{}:{}", token.identifier, token.key))
            .ok_or_else(refusal)?;
        let tier = request.tier.as_deref().unwrap_or("user");
        if token.tier != tier {
            return Err(Refusal::new(
                403,
                "restricted_route_tier",
                "the token is of another tier",
            ));
        }
        Ok(token.clone())
    }

    fn act_on(
        &mut self,
        action: Action,
        request: &Request,
        website: &str,
        params: &Params,
        now: i64,
    ) -> Result<Answer, Refusal> {
        match action {
            Action::PluginSession => Ok(Answer::resolved(json!({}))),
            Action::PluginAccount => Ok(Answer::resolved(json!({"plugin_id": PLUGIN_ID}))),
            Action::PluginWebsites => {
                let first = page(request)? == 1;
                let websites: Vec<Json> = self
                    .websites
                    .iter()
                    .filter(|known| known.subscribed && first)
                    .map(|known| json!({"website_id": known.website_id, "settings": {}}))
                    .collect();
                Ok(Answer::listed(Json::Array(websites)))
            }
            Action::WebsiteGet => Ok(Answer::resolved(json!({
                "website_id": website,
                "name": "Sandbox",
                "domain": "sandbox.example",
                "logo": "",
                "verified": true,
                "institutional": false,
            }))),
            Action::Conversations => self.list_conversations(request, website, page(request)?),
            Action::ConversationCreate => Ok(self.create_conversation(website, now)),
            Action::Profiles => self.list_profiles(request, website, page(request)?),
            Action::ProfileCreate => self.create_profile(&request.body, website, now),
            _ => match (&params.session, &params.people) {
                (Some(session), _) => {
                    self.conversation_route(action, request, website, session, now)
                }
                (None, Some(people)) => self.people_route(action, request, website, people, now),
                (None, None) => Err(Refusal::new(404, "route_not_found", "no such route")),
            },
        }
    }

    /// Lets requests that were taken take effect: those that are due, or all of them. Returns how many.
    pub(super) fn apply_late(&mut self, until: i64, now: i64) -> usize {
        let (due, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.late)
            .into_iter()
            .partition(|late| late.due <= until);
        self.late = waiting;
        for late in &due {
            let told = self
                .calls
                .entry(late.request.call)
                .map(|call| (call.status, call.reason.clone()));
            self.perform(&late.request, now);
            // The client was told something else, or nothing.
            if let (Some(call), Some((status, reason))) =
                (self.calls.entry(late.request.call), told)
            {
                call.status = status;
                call.reason = reason;
            }
        }
        due.len()
    }
}

/// The page of a list, from 1.
fn page(request: &Request) -> Result<usize, Refusal> {
    request
        .route
        .as_ref()
        .and_then(|(_, params)| params.page.as_deref())
        .and_then(|page| page.parse::<usize>().ok())
        .filter(|page| *page >= 1)
        .ok_or_else(|| Refusal::invalid("the page is not a number from 1"))
}
