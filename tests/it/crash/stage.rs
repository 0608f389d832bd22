//! Where a schedule is played: what it needs of the service and of everything around it.

use std::time::Duration;

use crisp_sync::sandbox::{
    DEFAULT_TOKEN_IDENTIFIER, DEFAULT_TOKEN_KEY, DEFAULT_WEBSITE, Fault, FaultBody, Reset, Sandbox,
};
use jiff::Timestamp;
use serde_json::Value as Json;

use super::{
    acts::{Failure, Order, Point, Route, Span},
    app::App,
};
use crate::{soak::Books, world::World};

/// A service, killed and revived, with a stand-in for Crisp and an app's database.
pub(super) trait Stage {
    /// How late Crisp applies a request, at worst.
    const LATE: Duration;
    /// How long after everybody has stopped waiting a slow answer comes.
    const SLOW: Duration;
    /// Whether nothing happens between two acts, so that it is known when everybody was looked at.
    const STANDS_STILL: bool;
    /// How far the books of Crisp and ours may lie apart.
    const TOLERANCE: Duration;
    /// How much longer ago than a moment the ledger may have said last that it is there.
    const BEAT: Duration;
    /// How long after the last thing that went wrong everything works as if nothing had happened.
    const RECOVERS: Duration;

    fn sandbox(&self) -> &Sandbox;
    fn now(&self) -> Timestamp;
    /// The next second begins, and one more.
    async fn ticks(&mut self);
    /// The app writes.
    async fn sql(&mut self, statement: String);
    /// What is due is worked.
    async fn works(&mut self);
    /// Time goes by.
    async fn passes(&mut self, span: Span);
    /// The process is killed, and another takes its place. When it died.
    async fn dies(&mut self, at: Point) -> Timestamp;
    /// Somebody made a copy of the ledger, which knows everything up to then; `None` where there is no file.
    async fn copies(&mut self, raw: bool) -> Option<Timestamp>;
    /// The copy takes the ledger's place: whether the service has to notice that it is one. `None` where there is none.
    async fn restores(&mut self, in_place: bool) -> Option<bool>;
    /// The process ends and comes back minutes later; `false` where that would take minutes.
    async fn goes_away(&mut self) -> bool;
    /// The service starts anew with other names for its rules; `false` where it cannot.
    async fn renames(&mut self) -> bool;
    /// Whether the ledger is taken for a copy that nobody has armed.
    async fn is_displaced(&mut self) -> bool;
    /// A person arms the events, wherever the ledger came from.
    async fn arms(&mut self);
    /// The service is started once more on the same file, and refuses.
    async fn starts_twice(&mut self);
    /// A command asks for a refresh.
    async fn commands(&mut self, address: &str);
    /// Something is typed beside the service, while it has something to do: what is answered.
    async fn performs(&mut self, order: &Order) -> Json;
    /// Somebody else reads everybody's timeline.
    async fn reads_lists(&mut self, app: &App);
    /// Everything that is to be done at some time is done, but what is done once in hours or days.
    async fn drains(&mut self);
    async fn books(&self) -> Books;
}

/// Reads the timeline of everybody, with the service's own token.
pub(super) async fn read_lists(sandbox: &Sandbox, app: &App) {
    let http = World::http();
    for person in &app.people {
        let url = format!(
            "{}website/{DEFAULT_WEBSITE}/people/events/{}/list/1",
            sandbox.rest_url(),
            person.address(),
        );
        let asked = http
            .get(url)
            .basic_auth(DEFAULT_TOKEN_IDENTIFIER, Some(DEFAULT_TOKEN_KEY))
            .header("X-Crisp-Tier", "plugin");
        // Where there is no contact there is no list, and a fault may strike this one, too.
        drop(asked.send().await);
    }
}

/// The fault, where a request that is late is late by so much, and one that is slow by so much.
pub(super) fn fault<S: Stage>(route: Route, how: Failure) -> Fault {
    let route = match route {
        Route::Add => Some("people_event.add"),
        Route::List => Some("people_events.list"),
        Route::Contact => Some("people_data.update"),
        Route::Any => None,
    };
    let any = Fault {
        route: route.map(str::to_owned),
        ..Fault::default()
    };
    let status = |status| Fault {
        status: Some(status),
        ..any.clone()
    };
    let whole = |length: Duration| u64::try_from(length.as_millis()).expect("not for ever");
    match how {
        Failure::DroppedBefore => Fault {
            reset: Some(Reset::Before),
            ..any
        },
        Failure::DroppedAfter => Fault {
            reset: Some(Reset::After),
            ..any
        },
        Failure::Fails => status(500),
        Failure::FailsApplied => status(503).but_applied(),
        Failure::PageApplied => status(504).body(FaultBody::Html).but_applied(),
        Failure::Late => Fault {
            applied_late_ms: Some(whole(S::LATE)),
            ..any
        },
        Failure::Throttled => status(429).retry_after("1"),
        Failure::Half => status(200).body(FaultBody::Half).but_applied(),
        Failure::Slow => Fault {
            delay_ms: whole(S::SLOW),
            ..any
        },
    }
}
