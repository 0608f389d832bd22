//! The control API: what the methods of [`super::Sandbox`] do, for scripts and the page.
//!
//! JSON in, JSON out. A body must say that it is JSON, so no other site's page can steer a sandbox from a browser. Acts
//! that name something unknown answer 404 with `{"error": …}`.

mod handlers;
mod wish;

use actix_web::{HttpResponse, web};
use serde_json::json;

use self::{
    handlers::{
        apply_late, calls, contact, contact_event, conversation, hold_hooks, hooks, new_contact,
        new_hook, open, retry_hooks, settings, state, switch, violations,
    },
    wish::{Edit, Identity, StateChange, Subscription, Text},
};
use super::{
    Shared,
    fault::Fault,
    state::{Author, State},
};

type Data = web::Data<Shared>;

fn done(yes: bool) -> HttpResponse {
    if yes {
        HttpResponse::Ok().json(json!({}))
    } else {
        HttpResponse::NotFound().json(json!({"error": "there is no such thing in this sandbox"}))
    }
}

/// An act on the conversation or contact in the path.
fn on(shared: &Data, act: impl FnOnce(&mut State, i64) -> bool) -> HttpResponse {
    done(shared.act(act))
}

/// Mounts the control API.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    let body = web::JsonConfig::default().error_handler(|error, _| {
        let answer = HttpResponse::BadRequest().json(json!({"error": error.to_string()}));
        actix_web::error::InternalError::from_response(error, answer).into()
    });
    config.service(
        web::scope("/sandbox")
            .app_data(body)
            .route("/state", web::get().to(state))
            .route("/settings", web::get().to(settings))
            .route("/settings", web::patch().to(switch))
            .configure(conversation_routes)
            .configure(contact_routes)
            .configure(hook_routes)
            .configure(fault_routes),
    );
}

fn conversation_routes(config: &mut web::ServiceConfig) {
    config
        .route("/conversations", web::post().to(open))
        .route("/conversations/{id}", web::get().to(conversation))
        .route(
            "/conversations/{id}",
            web::delete().to(|shared: Data, id: web::Path<String>| async move {
                on(&shared, |state, now| {
                    state.remove_conversation(&id, Author::Agent, now)
                })
            }),
        )
        .route(
            "/conversations/{id}/message",
            web::post().to(
                |shared: Data, id: web::Path<String>, body: web::Json<Text>| async move {
                    on(&shared, |state, now| {
                        state.visitor_message(&id, &body.text, now)
                    })
                },
            ),
        )
        .route(
            "/conversations/{id}/identity",
            web::post().to(
                |shared: Data, id: web::Path<String>, body: web::Json<Identity>| async move {
                    let Identity { email, verified } = body.into_inner();
                    on(&shared, |state, now| {
                        state.change_identity(&id, email, verified, now)
                    })
                },
            ),
        )
        .route(
            "/conversations/{id}/opened",
            web::post().to(|shared: Data, id: web::Path<String>| async move {
                on(&shared, |state, now| state.operator_opens(&id, now))
            }),
        )
        .route(
            "/conversations/{id}/initiated",
            web::post().to(|shared: Data, id: web::Path<String>| async move {
                on(&shared, |state, now| state.operator_starts(&id, now))
            }),
        )
        .route(
            "/conversations/{id}/state",
            web::post().to(
                |shared: Data, id: web::Path<String>, body: web::Json<StateChange>| async move {
                    on(&shared, |state, now| {
                        state.set_state(&id, &body.state, Author::Agent, now)
                    })
                },
            ),
        )
        .route(
            "/conversations/{id}/labels",
            web::post().to(
                |shared: Data, id: web::Path<String>, body: web::Json<Edit>| async move {
                    let (by, edit) = body.into_inner().parts();
                    on(&shared, |state, now| state.edit_session(&id, edit, by, now))
                },
            ),
        );
}

fn contact_routes(config: &mut web::ServiceConfig) {
    config
        .route("/contacts", web::post().to(new_contact))
        .route("/contacts/{id}", web::get().to(contact))
        .route(
            "/contacts/{id}",
            web::delete().to(|shared: Data, id: web::Path<String>| async move {
                on(&shared, |state, now| {
                    state.remove_contact(&id, Author::Agent, now)
                })
            }),
        )
        .route(
            "/contacts/{id}/labels",
            web::post().to(
                |shared: Data, id: web::Path<String>, body: web::Json<Edit>| async move {
                    let (by, edit) = body.into_inner().parts();
                    on(&shared, |state, now| state.edit_contact(&id, edit, by, now))
                },
            ),
        )
        .route("/contacts/{id}/events", web::post().to(contact_event))
        .route(
            "/subscription",
            web::post().to(|shared: Data, body: web::Json<Subscription>| async move {
                on(&shared, |state, now| {
                    state.subscribe(&body.website_id, body.bound, now)
                })
            }),
        );
}

fn hook_routes(config: &mut web::ServiceConfig) {
    config
        .route("/hooks", web::get().to(hooks))
        .route("/hooks", web::post().to(new_hook))
        .route("/hooks/hold", web::post().to(hold_hooks))
        .route("/hooks/retry", web::post().to(retry_hooks))
        .route(
            "/hooks/{number}/redeliver",
            web::post().to(|shared: Data, number: web::Path<u64>| async move {
                on(&shared, |state, _| state.redeliver(*number))
            }),
        );
}

fn fault_routes(config: &mut web::ServiceConfig) {
    config
        .route("/calls", web::get().to(calls))
        .route("/violations", web::get().to(violations))
        .route(
            "/faults",
            web::post().to(|shared: Data, fault: web::Json<Fault>| async move {
                on(&shared, |state, _| {
                    state.faults.push(fault.into_inner());
                    true
                })
            }),
        )
        .route(
            "/faults",
            web::delete().to(|shared: Data| async move {
                on(&shared, |state, _| {
                    state.faults.clear();
                    true
                })
            }),
        )
        .route(
            "/release",
            web::post().to(|shared: Data| async move {
                on(&shared, |state, _| {
                    state.releases += 1;
                    true
                })
            }),
        )
        .route("/apply-late", web::post().to(apply_late))
        .route(
            "/flush-cache",
            web::post().to(|shared: Data| async move {
                on(&shared, |state, _| {
                    state.cache.clear();
                    true
                })
            }),
        );
}
