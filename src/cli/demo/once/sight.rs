//! What an agent sees of a conversation at one moment, and the difference an act made to it.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use crate::{
    cli::output,
    sandbox::{Labels, State, TimelineEvent},
    server::command::Table,
};

/// The panel of one conversation.
#[derive(Debug, Clone, Default)]
pub(super) struct Sight {
    /// The conversation's data and segments; a visitor can read the data.
    pub(super) session: Labels,
    /// The contact's; empty where there is no contact.
    pub(super) contact: Labels,
    /// The contact's timeline, oldest first.
    pub(super) events: Vec<TimelineEvent>,
}

impl Sight {
    /// The panel of `session`, or, before there is one, the contact of the address that will open it.
    pub(super) fn of(state: &State, session: Option<&str>, email: &str) -> Self {
        let conversation = session.and_then(|session| state.conversation(session));
        let people = conversation
            .and_then(|conversation| conversation.people_id.as_deref())
            .unwrap_or(email);
        let contact = state.contact(people);
        Self {
            session: conversation
                .map(|conversation| conversation.labels.clone())
                .unwrap_or_default(),
            contact: contact
                .map(|contact| contact.labels.clone())
                .unwrap_or_default(),
            events: contact
                .map(|contact| contact.events.clone())
                .unwrap_or_default(),
        }
    }

    /// The timeline as `name colour`, oldest first.
    pub(super) fn told(&self) -> Vec<String> {
        self.events.iter().map(told).collect()
    }
}

fn told(event: &TimelineEvent) -> String {
    format!(
        "{} {}",
        event.text,
        event.color.as_deref().unwrap_or("colourless")
    )
}

/// The segments in the order of the alphabet.
pub(super) fn segments(labels: &Labels) -> Vec<&str> {
    let mut segments: Vec<&str> = labels.segments.iter().map(String::as_str).collect();
    segments.sort_unstable();
    segments
}

/// The keys that hold something; an empty text is how Crisp spells "nothing".
pub(super) fn keys(labels: &Labels) -> BTreeSet<&str> {
    labels
        .data
        .iter()
        .filter(|(_, value)| !matches!(value, Json::Null) && value.as_str() != Some(""))
        .map(|(key, _)| key.as_str())
        .collect()
}

/// A value as text; nothing is the empty text.
pub(super) fn value(labels: &Labels, key: &str) -> String {
    match labels.data.get(key) {
        None | Some(Json::Null) => String::new(),
        Some(Json::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// One act and its effect.
#[derive(Debug)]
pub(super) struct Turn {
    /// What was there before.
    pub(super) before: Sight,
    /// What was there once everything had come to rest.
    pub(super) after: Sight,
    /// The requests to Crisp about this conversation and its contact, by short name, in order.
    pub(super) calls: Vec<&'static str>,
}

/// What an act cost, by what it bought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Cost {
    /// Reading and writing the conversation.
    pub(super) conversation: usize,
    /// Contact data.
    pub(super) data: usize,
    /// Contact segments and the profile's empty fields.
    pub(super) profile: usize,
    /// Lifecycle events, with reading the timeline.
    pub(super) events: usize,
}

impl Turn {
    /// What it cost.
    pub(super) fn cost(&self) -> Cost {
        let of = |prefixes: &[&str]| {
            self.calls
                .iter()
                .filter(|call| prefixes.iter().any(|prefix| call.starts_with(prefix)))
                .count()
        };
        Cost {
            conversation: of(&["conversation.", "metas."]),
            data: of(&["people_data."]),
            profile: of(&["profile."]),
            events: of(&["people_event"]),
        }
    }

    /// The events that came, as `name colour`, oldest first.
    pub(super) fn news(&self) -> Vec<String> {
        let before = self.before.events.len();
        self.after.events.iter().skip(before).map(told).collect()
    }

    /// Whether an agent sees just what they saw before.
    pub(super) fn is_unchanged(&self) -> bool {
        self.before.session == self.after.session
            && self.before.contact == self.after.contact
            && self.before.events == self.after.events
    }

    /// Before and after, side by side.
    pub(super) fn table(&self) -> String {
        let row = |what: &str, show: &dyn Fn(&Sight) -> String| {
            vec![format!("  {what}"), show(&self.before), show(&self.after)]
        };
        let rows = vec![
            row("segments", &|sight| listed(&segments(&sight.session))),
            row("contact segments", &|sight| {
                listed(&segments(&sight.contact))
            }),
            row("data keys", &|sight| counted(&sight.session)),
            row("contact data keys", &|sight| counted(&sight.contact)),
            row("events", &|sight| listed(&sight.told())),
            vec![
                "  Crisp calls".to_owned(),
                String::new(),
                format!("{}{}", self.calls.len(), grouped(&self.calls)),
            ],
        ];
        output::render(&Table {
            headings: vec![String::new(), "before".to_owned(), "after".to_owned()],
            rows: [rows, self.changed_values()].concat(),
            below: None,
        })
    }

    /// A row for each value that became another one.
    fn changed_values(&self) -> Vec<Vec<String>> {
        let (before, after) = (&self.before.contact, &self.after.contact);
        if before.data.is_empty() {
            return Vec::new();
        }
        after
            .data
            .keys()
            .filter(|key| *key != "context_as_of" && value(before, key) != value(after, key))
            .map(|key| {
                vec![
                    format!("  · {key}"),
                    or_dash(value(before, key)),
                    or_dash(value(after, key)),
                ]
            })
            .collect()
    }
}

fn or_dash(text: String) -> String {
    if text.is_empty() {
        "–".to_owned()
    } else {
        text
    }
}

/// A few to a line, so that a table stays readable.
fn listed<T: AsRef<str>>(entries: &[T]) -> String {
    let lines: Vec<String> = entries
        .chunks(2)
        .map(|line| {
            let line: Vec<&str> = line.iter().map(AsRef::as_ref).collect();
            line.join(", ")
        })
        .collect();
    or_dash(lines.join("\n"))
}

fn counted(labels: &Labels) -> String {
    let keys = keys(labels).len();
    if keys == 0 {
        "–".to_owned()
    } else {
        keys.to_string()
    }
}

/// `: people_event.add ×3` in the order of the first of each.
fn grouped(calls: &[&'static str]) -> String {
    let mut groups: Vec<(&str, usize)> = Vec::new();
    for call in calls {
        match groups.iter_mut().find(|(name, _)| name == call) {
            Some((_, count)) => *count += 1,
            None => groups.push((call, 1)),
        }
    }
    let words: Vec<String> = groups
        .into_iter()
        .map(|(name, count)| {
            if count == 1 {
                name.to_owned()
            } else {
                format!("{name} ×{count}")
            }
        })
        .collect();
    if words.is_empty() {
        String::new()
    } else {
        format!(": {}", listed(&words))
    }
}
