//! Crisp's REST API, as far as a syncing service needs it.
//!
//! One request is one step under the state's lock: journal it, ask the faults, check the token, do it, journal the
//! answer. Only a faulty answer lets go of the lock in between. The rules come from what official SDKs and recorded
//! exchanges show, the reasons too.

mod answer;
mod body;
mod conversations;
mod execute;
mod faulty;
mod people;
mod routes;

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::Value as Json;
use uuid::Uuid;

use self::{
    answer::Answer,
    faulty::{spoil, wait_out},
    routes::{Action, Params, Route},
};
use super::{
    Connection, Shared,
    fault::{self, Fault},
    journal::{Call, Unexpected},
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
