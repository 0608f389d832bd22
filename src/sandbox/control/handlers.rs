//! What the control API answers.

use actix_web::{HttpResponse, web};
use serde_json::{Value as Json, json};

use super::{
    super::{
        emit::Happening,
        opening::OpenChat,
        settings::Behaviour,
        state::{Author, TimelineEvent},
    },
    Data, done, on,
    wish::{Held, NewContact, NewEvent, NewHook, Since, Switches},
};

/// The longest a look at the state may wait.
const LONGEST_WAIT_MS: u64 = 30_000;

pub(super) async fn state(shared: Data, since: web::Query<Since>) -> HttpResponse {
    let wait = std::time::Duration::from_millis(since.wait.min(LONGEST_WAIT_MS));
    let news = shared.wait_for(|state| (state.version > since.after).then_some(()));
    // No news is an answer too.
    let _news_or_not = tokio::time::timeout(wait, news).await;
    let now = shared.clock.now().as_millisecond();
    HttpResponse::Ok().json(shared.look(|state| state.view(now)))
}

pub(super) async fn open(shared: Data, open: web::Json<OpenChat>) -> HttpResponse {
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

pub(super) async fn conversation(shared: Data, id: web::Path<String>) -> HttpResponse {
    shared.look(|state| match state.conversation(&id) {
        Some(conversation) => HttpResponse::Ok().json(json!({
            "conversation": conversation,
            "contact": conversation.people_id.as_deref().and_then(|people| state.contact(people)),
            "calls_of_opening": state.calls_of_opening(&id),
        })),
        None => done(false),
    })
}

pub(super) async fn contact(shared: Data, id: web::Path<String>) -> HttpResponse {
    shared.look(|state| match state.contact(&id) {
        Some(contact) => HttpResponse::Ok().json(contact),
        None => done(false),
    })
}

pub(super) async fn new_contact(shared: Data, new: web::Json<NewContact>) -> HttpResponse {
    let new = new.into_inner();
    let people =
        shared.act(|state, now| state.make_contact(new.website, &new.email, &new.nickname, now));
    HttpResponse::Created().json(json!({"people_id": people}))
}

pub(super) async fn contact_event(
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

pub(super) async fn calls(shared: Data, since: web::Query<Since>) -> HttpResponse {
    shared.look(|state| {
        HttpResponse::Ok().json(json!({
            "marker": state.calls.marker(),
            "calls": state.calls.since(since.after),
            "unexpected": state.calls.unexpected(),
        }))
    })
}

pub(super) async fn violations(shared: Data) -> HttpResponse {
    shared.look(|state| HttpResponse::Ok().json(json!({"violations": state.calls.violations()})))
}

pub(super) async fn hooks(shared: Data, since: web::Query<Since>) -> HttpResponse {
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

pub(super) async fn new_hook(shared: Data, new: web::Json<NewHook>) -> HttpResponse {
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

pub(super) async fn hold_hooks(shared: Data, held: web::Json<Held>) -> HttpResponse {
    on(&shared, |state, _| {
        if held.reverse {
            state.reverse_queue();
        }
        state.hooks_held = held.held;
        true
    })
}

pub(super) async fn retry_hooks(shared: Data) -> HttpResponse {
    let count = shared.act(|state, _| state.retry_hooks());
    HttpResponse::Ok().json(json!({"count": count}))
}

pub(super) async fn apply_late(shared: Data) -> HttpResponse {
    let count = shared.act(|state, now| state.apply_late(i64::MAX, now));
    HttpResponse::Ok().json(json!({"count": count}))
}

pub(super) async fn settings(shared: Data) -> HttpResponse {
    shared.look(|state| {
        HttpResponse::Ok().json(json!({
            "behaviour": state.behaviour,
            "websites": state.websites,
            "receiver": state.webhook.is_some(),
        }))
    })
}

pub(super) async fn switch(shared: Data, switches: web::Json<Switches>) -> HttpResponse {
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
