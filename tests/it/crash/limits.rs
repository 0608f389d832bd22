//! What keeps events apart: the gap between two of one, the brake, a removed contact, and an erasure, each by Crisp's own books.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::{
    acts::Decision,
    app::{PLAN, TEXTS},
    audit::Audit,
    evidence::Entry,
    stage::Stage,
};
use crate::soak::Books;

const HOUR: Duration = Duration::from_hours(1);

impl<S: Stage> Audit<'_, '_, S> {
    /// Our entries of an event with the moment when their requests left, in that order.
    fn told(&self, text: &str) -> Vec<(Timestamp, &Entry)> {
        let ours = self.ours().filter(|entry| entry.event.text == text);
        let mut told: Vec<_> = ours.map(|entry| (self.left_at(entry), entry)).collect();
        told.sort_by_key(|(at, _)| *at);
        told
    }

    /// Between two of one event to one person lies the gap, as far as the ledger could know of the first.
    pub(super) fn spaced(&self) -> Vec<String> {
        let (gap, weather) = (self.play.rules.min_gap, &self.play.weather);
        let mut faults = Vec::new();
        for text in TEXTS.into_iter().filter(|text| *text != PLAN) {
            let told = self.told(text);
            for (number, (at, entry)) in told.iter().enumerate() {
                let near = |(first, other): &&(Timestamp, &Entry)| {
                    other.who == entry.who
                        && at.duration_since(*first).unsigned_abs() + S::TOLERANCE < gap
                        && !weather.was_forgotten(other.who, *first, *at)
                };
                if let Some((first, _)) = told[..number].iter().find(near) {
                    faults.push(format!("within the gap, after {first}: {entry:?}"));
                }
            }
        }
        faults
    }

    /// Within an hour no more of one event went than the brake lets go, but what a person let go past it.
    pub(super) fn braked(&self) -> Vec<String> {
        let (Some(cap), weather) = (self.play.rules.brake, &self.play.weather) else {
            return Vec::new();
        };
        let mut faults = Vec::new();
        for text in TEXTS {
            let told = self.told(text);
            for (number, (at, entry)) in told.iter().enumerate() {
                let within = |(other, whose): &&(Timestamp, &Entry)| {
                    at.duration_since(*other).unsigned_abs() < HOUR
                        && !weather.was_forgotten(whose.who, *other, *at)
                };
                let before = told[..number].iter().filter(within).count() as u64;
                let let_go = |how: &dyn Fn(Decision) -> bool| {
                    let noted = (self.play.app.happenings.iter())
                        .find(|one| entry.tells(one))
                        .map(|one| one.noted_at);
                    (weather.decisions.iter()).any(|one| {
                        how(one.how) && one.at <= *at && noted.is_some_and(|noted| noted <= one.at)
                    })
                };
                if before >= cap && !let_go(&|how| how == Decision::ReleaseOverCap) {
                    faults.push(format!("{before} within the hour before: {entry:?}"));
                }
                // Once it holds one it holds all, until somebody decides.
                let latched = (weather.decisions.iter()).any(|one| {
                    let since = (one.braked.iter())
                        .filter(|(event, _)| event == text)
                        .map(|(_, since)| *since)
                        .min();
                    since.is_some_and(|since| since + S::TOLERANCE < *at && *at < one.at)
                });
                let forgot = (weather.rollbacks.iter()).any(|back| back.at <= *at);
                if latched && !forgot && !let_go(&|how| how != Decision::Drop) {
                    faults.push(format!("told while the brake held: {entry:?}"));
                }
            }
            faults.extend(self.braked_for_nothing(text, cap));
        }
        faults
    }

    /// The first that the brake held since a decision was one too many.
    fn braked_for_nothing(&self, text: &str, cap: u64) -> Vec<String> {
        let weather = &self.play.weather;
        let mut faults = Vec::new();
        let mut decided_at = Timestamp::MIN;
        for one in &weather.decisions {
            let first = (one.braked.iter())
                .filter(|(event, _)| event == text)
                .map(|(_, since)| *since)
                .min();
            if let Some(first) = first {
                // A row says when its run began: requests of other runs left since.
                let first = first + S::TOLERANCE;
                let within =
                    |at: Timestamp| at <= first && first.duration_since(at).unsigned_abs() <= HOUR;
                let told = self.told(text);
                let told = told.iter().filter(|(at, _)| within(*at)).count();
                let unclear = weather.unclear_within(within);
                if ((told + unclear) as u64) < cap && first > decided_at {
                    faults.push(format!("held for nothing since {first}: {text}"));
                }
            }
            decided_at = one.at;
        }
        faults
    }

    /// Who does not want to be told is told nothing.
    pub(super) fn unwanted(&self) -> Vec<String> {
        let weather = &self.play.weather;
        let is_shut = |who, at: Timestamp| {
            // Who looked before it was shut may have sent a moment later.
            weather.was_shut(who, at - S::TOLERANCE, at - S::TOLERANCE)
                && weather.was_shut(who, at, at)
        };
        (self.ours())
            .filter(|entry| {
                let mut left = self.may_have_left(entry).into_iter();
                left.all(|left_at| is_shut(entry.who, left_at))
            })
            .map(|entry| format!("told who does not want to be: {entry:?}"))
            .collect()
    }

    /// What people removed is not made again by us, as far as the ledger could know.
    pub(super) fn removed_stays_removed(&self) -> Vec<String> {
        let weather = &self.play.weather;
        (weather.removals.iter())
            .filter(|one| one.made_before)
            .filter(|one| {
                let back = one.back.unwrap_or(Timestamp::MAX);
                let was_known = self.looked_at(one.who, one.at);
                let moved = (weather.moves.iter()).any(|(who, _)| *who == one.who);
                was_known && !moved && !weather.was_forgotten(one.who, one.at, back)
            })
            .map(|one| format!("made again: {one:?}"))
            .collect()
    }

    /// Whoever was erased is told of nothing, until they are back; nothing shows them, and nothing is known of them.
    pub(super) async fn erased(&self, books: &mut Books) -> Vec<String> {
        let mut faults = Vec::new();
        let known: Vec<(String,)> = books
            .ask(
                "SELECT user_key FROM persons UNION SELECT user_key FROM outbox UNION SELECT user_key FROM high_water \
                 UNION SELECT key FROM work WHERE kind = 'person' UNION SELECT key FROM traces WHERE kind = 'person'",
            )
            .await;
        for one in &self.play.weather.erasures {
            let until = one.lifted.unwrap_or(Timestamp::MAX);
            let told = self.ours().filter(|entry| entry.who == one.who);
            let from = one.at + S::TOLERANCE;
            for entry in told.filter(|entry| {
                let at = self.left_at(entry);
                from < at && at < until
            }) {
                faults.push(format!("told after they were erased: {entry:?}"));
            }
            if one.lifted.is_some() {
                continue;
            }
            let person = &self.play.app.people[one.who];
            if known.iter().any(|(key,)| *key == person.id) {
                faults.push(format!("known after they were erased: {person:?}"));
            }
            let shown = self.play.stage.sandbox().look(|state| {
                let is_theirs = |address: &Option<String>| {
                    (address.as_ref()).is_some_and(|address| person.addresses.contains(address))
                };
                let contacts = (state.contacts().iter())
                    .filter(|contact| is_theirs(&contact.email))
                    .map(|contact| (&contact.people_id, &contact.labels));
                // What a copy of the ledger does not know is found by a look for gaps, which is not played here.
                let is_known = |at: i64| {
                    let at = Timestamp::from_millisecond(at).expect("an instant");
                    !(self.play.weather.rollbacks.iter()).any(|back| {
                        back.forgets
                            && (back.copied_at..=back.at).contains(&at)
                            && back.at <= one.at
                    })
                };
                let conversations = (state.conversations().iter())
                    .filter(|conversation| {
                        is_theirs(&conversation.email) && is_known(conversation.created_at)
                    })
                    .map(|conversation| (&conversation.session_id, &conversation.labels));
                contacts
                    .chain(conversations)
                    .filter(|(_, labels)| {
                        let plan = labels.data.get("plan").and_then(Value::as_str);
                        plan.is_some_and(|plan| !plan.is_empty())
                    })
                    .map(|(which, _)| (*which).clone())
                    .collect::<Vec<_>>()
            });
            if !shown.is_empty() {
                faults.push(format!(
                    "shown after they were erased, by {shown:?}: {person:?}"
                ));
            }
        }
        faults
    }
}
