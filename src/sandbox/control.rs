//! The control API: what the methods of [`super::Sandbox`] do, for scripts and the page.
//!
//! JSON in, JSON out. A body must say that it is JSON, so no other site's page can steer a sandbox from a browser. Acts
//! that name something unknown answer 404 with `{"error": …}`.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use super::{
    Shared,
    acts::OpenChat,
    emit::Happening,
    fault::Fault,
    labels::LabelEdit,
    settings::{Behaviour, TokenSettings, WebhookSettings},
    state::{Author, State, TimelineEvent},
};

type Data = web::Data<Shared>;

/// The longest a look at the state may wait.
const LONGEST_WAIT_MS: u64 = 30_000;

#[derive(Deserialize)]
struct Since {
    #[serde(default)]
    after: u64,
    #[serde(default)]
    wait: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    email: Option<String>,
    #[serde(default)]
    verified: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StateChange {
    state: String,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Edit {
    by: Editor,
    data: Map<String, Json>,
    remove_data: Vec<String>,
    segments: Vec<String>,
    remove_segments: Vec<String>,
}

impl Edit {
    fn parts(self) -> (Author, LabelEdit) {
        let edit = LabelEdit {
            data: self.data,
            remove_data: self.remove_data,
            segments: self.segments,
            remove_segments: self.remove_segments,
        };
        (self.by.into(), edit)
    }
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum Editor {
    #[default]
    Agent,
    Visitor,
}

impl From<Editor> for Author {
    fn from(editor: Editor) -> Self {
        match editor {
            Editor::Agent => Self::Agent,
            Editor::Visitor => Self::Visitor,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewContact {
    website: Option<String>,
    email: String,
    #[serde(default)]
    nickname: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewEvent {
    text: String,
    #[serde(default)]
    data: Map<String, Json>,
    color: Option<String>,
    /// Now, unless given.
    timestamp: Option<i64>,
    #[serde(default)]
    by: Editor,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Subscription {
    website_id: String,
    bound: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewHook {
    event: String,
    session_id: Option<String>,
    people_id: Option<String>,
    #[serde(default)]
    data: Map<String, Json>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Held {
    held: bool,
    #[serde(default)]
    reverse: bool,
}

/// Settings to change; what is left out stays.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Switches {
    behaviour: Option<Map<String, Json>>,
    webhook: Option<WebhookSettings>,
    tokens: Option<Vec<TokenSettings>>,
}

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

async fn state(shared: Data, since: web::Query<Since>) -> HttpResponse {
    let wait = std::time::Duration::from_millis(since.wait.min(LONGEST_WAIT_MS));
    let news = shared.wait_for(|state| (state.version > since.after).then_some(()));
    // No news is an answer too.
    let _news_or_not = tokio::time::timeout(wait, news).await;
    let now = shared.clock.now().as_millisecond();
    HttpResponse::Ok().json(shared.look(|state| state.view(now)))
}

async fn open(shared: Data, open: web::Json<OpenChat>) -> HttpResponse {
    let answer = shared.act(|state, now| {
        let session_id = state.open_chat(open.into_inner(), now);
        let opening = state
            .conversation(&session_id)
            .map(|conversation| conversation.opening.clone())
            .unwrap_or_default();
        json!({
            "session_id": session_id,
            "call_marker": opening.call_marker,
            "hook_marker": opening.hook_marker,
        })
    });
    HttpResponse::Created().json(answer)
}

async fn conversation(shared: Data, id: web::Path<String>) -> HttpResponse {
    shared.look(|state| match state.conversation(&id) {
        Some(conversation) => HttpResponse::Ok().json(json!({
            "conversation": conversation,
            "contact": conversation.people_id.as_deref().and_then(|people| state.contact(people)),
            "calls_of_opening": state.calls_of_opening(&id),
        })),
        None => done(false),
    })
}

async fn contact(shared: Data, id: web::Path<String>) -> HttpResponse {
    shared.look(|state| match state.contact(&id) {
        Some(contact) => HttpResponse::Ok().json(contact),
        None => done(false),
    })
}

async fn new_contact(shared: Data, new: web::Json<NewContact>) -> HttpResponse {
    let new = new.into_inner();
    let people =
        shared.act(|state, now| state.make_contact(new.website, &new.email, &new.nickname, now));
    HttpResponse::Created().json(json!({"people_id": people}))
}

async fn contact_event(
    shared: Data,
    id: web::Path<String>,
    new: web::Json<NewEvent>,
) -> HttpResponse {
    let new = new.into_inner();
    on(&shared, |state, now| {
        let event = TimelineEvent {
            text: new.text,
            data: new.data,
            color: new.color,
            timestamp: new.timestamp.unwrap_or(now),
            author: new.by.into(),
        };
        state.add_event(&id, event)
    })
}

async fn calls(shared: Data, since: web::Query<Since>) -> HttpResponse {
    shared.look(|state| {
        HttpResponse::Ok().json(json!({
            "marker": state.calls.marker(),
            "calls": state.calls.since(since.after),
            "unexpected": state.calls.unexpected(),
        }))
    })
}

async fn violations(shared: Data) -> HttpResponse {
    shared.look(|state| HttpResponse::Ok().json(json!({"violations": state.calls.violations()})))
}

async fn hooks(shared: Data, since: web::Query<Since>) -> HttpResponse {
    shared.look(|state| {
        let listed: Vec<Json> = state
            .hooks
            .iter()
            .filter(|hook| hook.number > since.after)
            .map(|hook| {
                let mut json = json!(hook);
                json["body"] = serde_json::from_str(&hook.body).unwrap_or_default();
                json
            })
            .collect();
        HttpResponse::Ok().json(json!({
            "marker": state.hook_marker(),
            "idle": state.hooks_idle(),
            "hooks": listed,
        }))
    })
}

async fn new_hook(shared: Data, new: web::Json<NewHook>) -> HttpResponse {
    on(&shared, |state, now| {
        let (session, people) = (new.session_id.as_deref(), new.people_id.as_deref());
        let website = state.website_of(session, people);
        let happening = Happening {
            website: &website,
            event: &new.event,
            session,
            people,
            data: Json::Object(new.data.clone()),
            cause: Author::Crisp,
        };
        state.emit(happening, now);
        true
    })
}

async fn hold_hooks(shared: Data, held: web::Json<Held>) -> HttpResponse {
    on(&shared, |state, _| {
        if held.reverse {
            state.reverse_queue();
        }
        state.hooks_held = held.held;
        true
    })
}

async fn retry_hooks(shared: Data) -> HttpResponse {
    let count = shared.act(|state, _| state.retry_hooks());
    HttpResponse::Ok().json(json!({"count": count}))
}

async fn apply_late(shared: Data) -> HttpResponse {
    let count = shared.act(|state, now| state.apply_late(i64::MAX, now));
    HttpResponse::Ok().json(json!({"count": count}))
}

async fn settings(shared: Data) -> HttpResponse {
    shared.look(|state| {
        HttpResponse::Ok().json(json!({
            "behaviour": state.behaviour,
            "websites": state.websites,
            "receiver": state.webhook.is_some(),
        }))
    })
}

async fn switch(shared: Data, switches: web::Json<Switches>) -> HttpResponse {
    let switches = switches.into_inner();
    let outcome: Result<(), serde_json::Error> = shared.act(|state, _| {
        if let Some(changes) = switches.behaviour {
            let mut whole = serde_json::to_value(&state.behaviour)?;
            if let Some(fields) = whole.as_object_mut() {
                fields.extend(changes);
            }
            state.behaviour = serde_json::from_value::<Behaviour>(whole)?;
        }
        if switches.webhook.is_some() {
            state.webhook = switches.webhook;
        }
        if let Some(tokens) = switches.tokens {
            state.tokens = tokens;
        }
        Ok(())
    });
    match outcome {
        Ok(()) => settings(shared).await,
        Err(error) => HttpResponse::BadRequest().json(json!({"error": error.to_string()})),
    }
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
