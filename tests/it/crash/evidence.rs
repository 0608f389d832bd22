//! What the audit looks at: the outbox, and everybody's timelines.

use crisp_sync::sandbox::{Author, Call, TimelineEvent};
use jiff::Timestamp;

use super::{
    app::{Happening, PLAN, as_booked},
    play::Play,
    stage::Stage,
};
use crate::{soak::Books, world::text};

/// A row of the outbox.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) who: usize,
    pub(super) event: String,
    pub(super) state: String,
    pub(super) reason: String,
    /// When it happened; for a change of plan, when it was seen.
    pub(super) at: Timestamp,
    pub(super) attempted_at: Option<Timestamp>,
    pub(super) updated_at: Timestamp,
    /// Which change of plan it tells.
    pub(super) change: Option<usize>,
}

/// An entry on a timeline.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) who: usize,
    pub(super) address: String,
    /// The contact's id.
    pub(super) people: String,
    pub(super) event: TimelineEvent,
    /// When its contact was removed.
    pub(super) gone: Option<Timestamp>,
}

impl Entry {
    pub(super) fn at(&self) -> Timestamp {
        Timestamp::from_millisecond(self.event.timestamp).expect("an instant")
    }

    pub(super) fn occurred_at(&self) -> String {
        text(self.event.data.get("occurred_at"))
    }

    pub(super) fn is_ours(&self) -> bool {
        self.event.author == Author::Service
    }

    /// Whether a call was for the timeline that it is on, or for one of its address before: what is applied late goes to
    /// whoever has the address then.
    pub(super) fn is_where(&self, call: &Call) -> bool {
        let is_theirs = call.people.as_deref() == Some(self.people.as_str());
        is_theirs || call.address.as_deref() == Some(self.address.as_str())
    }

    /// Whether it tells of a happening.
    pub(super) fn tells(&self, one: &Happening) -> bool {
        self.who == one.who && self.event.text == one.text && self.what() == what(one)
    }

    /// Whether it is what a row of the same event and person tells.
    pub(super) fn is_of(&self, row: &Row) -> bool {
        match row.change {
            // The row's time is when the change was seen, and after a rollback it is seen again.
            Some(number) => self.what() == number.to_string(),
            None => self.occurred_at() == row.at.to_string(),
        }
    }

    /// What tells one of the event from another.
    pub(super) fn what(&self) -> String {
        if self.event.text == PLAN {
            text(self.event.data.get("change"))
        } else {
            self.occurred_at()
        }
    }
}

/// What tells one of the event from another. When a plan changed nobody can tell but the app's row.
pub(super) fn what(one: &Happening) -> String {
    if one.text == PLAN {
        one.number.to_string()
    } else {
        one.at.to_string()
    }
}

impl Row {
    /// Whether it happened, or was seen, after a moment: of its time only the whole second is known.
    pub(super) fn is_since(&self, at: Timestamp) -> bool {
        at.as_second() <= self.at.as_second()
    }

    pub(super) fn is_of(&self, one: &Happening) -> bool {
        let same = if one.text == PLAN {
            self.change == Some(one.number)
        } else {
            self.at == one.at
        };
        self.who == one.who && self.event == one.text && same
    }
}

/// Every row of the outbox.
pub(super) async fn rows<S: Stage>(play: &Play<'_, S>, books: &mut Books) -> Vec<Row> {
    type Stored = (
        String,
        String,
        String,
        String,
        i64,
        Option<i64>,
        i64,
        String,
    );
    let rows: Vec<Stored> = books
        .ask(
            "SELECT user_key, event, state, reason, coalesce(instant, due_at), attempted_at, updated_at, \
             CAST(data AS TEXT) FROM outbox ORDER BY 1, 5",
        )
        .await;
    let instant = |at| Timestamp::from_millisecond(at).expect("an instant");
    rows.into_iter()
        .map(
            |(key, event, state, reason, at, attempted_at, updated_at, data)| {
                let data: serde_json::Value = serde_json::from_str(&data).expect("JSON");
                Row {
                    who: (play.app.people.iter())
                        .position(|person| person.id == key)
                        .expect("one of ours"),
                    event: as_booked(&event).to_owned(),
                    state,
                    reason,
                    at: instant(at),
                    attempted_at: attempted_at.map(instant),
                    updated_at: instant(updated_at),
                    change: text(data.get("change")).parse().ok(),
                }
            },
        )
        .collect()
}

/// Everything on everybody's timelines, of contacts that were removed, too, in the order in which Crisp took it.
pub(super) fn entries<S: Stage>(play: &Play<'_, S>) -> Vec<Entry> {
    let mut entries = play.stage.sandbox().look(|state| {
        let mut entries = Vec::new();
        for contact in state.contacts() {
            let address = contact.email.clone().unwrap_or_default();
            let Some(who) = play.app.owner(&address) else {
                continue;
            };
            entries.extend(contact.events.iter().cloned().map(|event| Entry {
                who,
                address: address.clone(),
                people: contact.people_id.clone(),
                event,
                gone: None,
            }));
        }
        entries
    });
    for removal in &play.weather.removals {
        entries.extend(removal.events.iter().cloned().map(|event| Entry {
            who: removal.who,
            address: removal.address.clone(),
            people: removal.people.clone(),
            event,
            gone: Some(removal.at),
        }));
    }
    for entry in &mut entries {
        entry.event.text = as_booked(&entry.event.text).to_owned();
    }
    entries.sort_by_key(|entry| entry.event.timestamp);
    entries
}
