//! What the ledger remembers of values that change, per user.
//!
//! The first look records the value and says nothing: a new rule, a new user and an empty ledger mail nobody. So does a
//! look with another expression than the last one: what changed is the definition. The number of a change only grows, so
//! its occurrence key never comes again.
//!
//! After a [`Gap`] the ledger may have forgotten changes that it told Crisp. The first look after it gives a change the
//! number that it had, so that its `ref` is found in the timeline; the next change gets a number that no forgotten one had.
//!
//! When a value was seen last is remembered, too: nobody told Crisp of a change long before the last look that did not show
//! it. How long, [`Rules::sought`](super::Rules::sought) says: what a look shows may be older than the look.
//!
//! The caller stores the new edges in the transaction that stores what was decided on them. Until then the old ones stand,
//! and the next look finds the same change again, under the same number.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{
    Gap, Rule, gaps,
    occurrence::{key_part, whole_second},
};

/// What is remembered per user: an edge by rule, or by rule and subject.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Edges(BTreeMap<String, Edge>);

/// The last value that was seen, and how often it changed.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Edge {
    /// The value; empty for NULL.
    pub value: String,
    /// The number of the last change.
    pub count: u64,
    /// What the number of the next change is above, too: the second at which the last gap ended.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub floor: u64,
    /// The expression it is the value of.
    pub of: String,
    /// Since when another value waits for the rule's `when` to be true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_since: Option<Timestamp>,
    /// When the value was seen last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_at: Option<Timestamp>,
    /// When the value before the last change was seen last: nobody told Crisp of that change much earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unchanged_at: Option<Timestamp>,
}

/// A change that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    /// Its number.
    pub(super) count: u64,
    /// When it was first seen.
    pub(super) at: Timestamp,
    /// When the value before was seen last, as far as anybody remembers.
    pub(super) since: Option<Timestamp>,
}

impl Edges {
    /// The edge under a name.
    pub fn get(&self, name: &str) -> Option<&Edge> {
        self.0.get(name)
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The edge of a rule and subject, under the rule's name or the one it had.
    pub(super) fn of(&self, rule: &Rule, subject: &str) -> Option<&Edge> {
        rule.names()
            .find_map(|name| self.0.get(&edge_name(name, subject)))
    }

    pub(super) fn insert(&mut self, rule: &Rule, subject: &str, edge: Edge) {
        self.0.insert(edge_name(rule.name(), subject), edge);
    }

    /// Keeps what an earlier look remembered of a rule, under its name of today, where this look said nothing newer.
    pub(super) fn keep(&mut self, rule: &Rule, earlier: &Self) {
        for name in rule.names() {
            let prefix = edge_name(name, "");
            for (key, edge) in &earlier.0 {
                let rest = match key.strip_prefix(prefix.as_str()) {
                    Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
                    _ => continue,
                };
                self.0
                    .entry(format!("{}{rest}", edge_name(rule.name(), "")))
                    .or_insert_with(|| edge.clone());
            }
        }
    }
}

impl Edge {
    /// Compares the value seen now with the one remembered.
    ///
    /// A change to nothing is remembered and is no event. A change whose `when` is not true yet keeps the old value, so
    /// that the next look sees it again, until it is older than `max_age`.
    pub(super) fn look(
        remembered: Option<&Self>,
        seen: &Seen<'_>,
        gaps: &[Gap],
        now: Timestamp,
    ) -> (Self, Option<Change>) {
        let gap_floor = gaps::floor(gaps);
        let value = seen.value.unwrap_or_default();
        let store = |count, floor: u64, unchanged_at| Self {
            value: value.to_owned(),
            count,
            floor: floor.max(gap_floor),
            of: seen.of.to_owned(),
            waiting_since: None,
            seen_at: Some(whole_second(now)),
            unchanged_at,
        };
        let Some(remembered) = remembered else {
            return (store(0, 0, None), None);
        };
        if remembered.of != seen.of || remembered.value == value {
            let (count, floor) = (remembered.count, remembered.floor);
            return (store(count, floor, remembered.unchanged_at), None);
        }
        let count = remembered.count.max(remembered.floor) + 1;
        let stored = store(count, remembered.floor, remembered.seen_at);
        if value.is_empty() {
            return (stored, None);
        }
        let change = Change {
            count,
            at: remembered.waiting_since.unwrap_or(whole_second(now)),
            since: remembered.seen_at,
        };
        if seen.holds {
            return (stored, Some(change));
        }
        if now.duration_since(change.at) > seen.max_age {
            return (stored, None);
        }
        let waiting = Self {
            waiting_since: Some(change.at),
            ..remembered.clone()
        };
        (waiting, Some(change))
    }
}

/// What a rule sees now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    /// The expression.
    pub(super) of: &'a str,
    /// Its value; `None` for nothing.
    pub(super) value: Option<&'a str>,
    /// Whether the rule's `when` is true.
    pub(super) holds: bool,
    /// How long a change may wait for it.
    pub(super) max_age: SignedDuration,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
const fn is_zero(floor: &u64) -> bool {
    *floor == 0
}

fn edge_name(rule: &str, subject: &str) -> String {
    if subject.is_empty() {
        key_part(rule)
    } else {
        format!("{}/{}", key_part(rule), key_part(subject))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(
        edge: Option<&Edge>,
        of: &str,
        value: Option<&str>,
        holds: bool,
        at: i64,
    ) -> (Edge, Option<Change>) {
        let seen = Seen {
            of,
            value,
            holds,
            max_age: SignedDuration::from_hours(72),
        };
        Edge::look(edge, &seen, &[], hour(at))
    }

    /// Hours after noon.
    fn hour(hours: i64) -> Timestamp {
        Timestamp::from_second(1_767_355_200 + hours * 3600).expect("an instant")
    }

    #[test]
    fn a_change_is_told_once_and_the_first_look_tells_nothing() {
        let mut edge = None;
        // (hour, value, number of the change that is told)
        for (at, value, told) in [
            (0, Some("free"), None),
            (1, Some("free"), None),
            (2, Some("pro"), Some(1)),
            (3, Some("pro"), None),
            (4, None, None),
            (5, None, None),
            (6, Some("pro"), Some(3)),
            (7, Some("free"), Some(4)),
        ] {
            let (next, change) = look(edge.as_ref(), "plan", value, true, at);
            assert_eq!(
                change,
                told.map(|count| Change {
                    count,
                    at: hour(at),
                    since: Some(hour(at - 1)),
                }),
                "hour {at}"
            );
            edge = Some(next);
        }
    }

    #[test]
    fn until_it_is_stored_a_change_is_the_same_change() {
        let (first, _) = look(None, "plan", Some("free"), true, 0);
        let (_, once) = look(Some(&first), "plan", Some("pro"), true, 1);
        let (_, twice) = look(Some(&first), "plan", Some("pro"), true, 2);
        assert_eq!(once.map(|change| change.count), Some(1));
        assert_eq!(twice.map(|change| change.count), Some(1));
    }

    #[test]
    fn a_new_expression_is_a_first_look() {
        let (first, _) = look(None, "plan", Some("pro"), true, 0);
        let (next, change) = look(Some(&first), "plan | upper", Some("PRO"), true, 1);
        assert_eq!(change, None);
        assert_eq!((next.value.as_str(), next.count), ("PRO", 0));
    }

    #[test]
    fn a_change_waits_for_when_and_not_for_ever() {
        let (first, _) = look(None, "plan", Some("free"), true, 0);
        let look = |edge: &Edge, holds, at| look(Some(edge), "plan", Some("pro"), holds, at);
        let (waiting, _) = look(&first, false, 1);
        assert_eq!(waiting.value, "free");
        let (waiting, _) = look(&waiting, false, 2);
        let (_, change) = look(&waiting, true, 5);
        assert_eq!(
            change,
            Some(Change {
                count: 1,
                at: hour(1),
                since: Some(hour(0)),
            })
        );
        let (given_up, change) = look(&waiting, false, 74);
        assert_eq!(change, None);
        assert_eq!(given_up.value, "pro");
    }

    #[test]
    fn it_is_stored_as_plain_json() {
        let edges: Edges =
            serde_json::from_str(r#"{"a":{"value":"pro","count":2,"of":"plan"}}"#).expect("edges");
        assert_eq!(edges.get("a").map(|edge| edge.count), Some(2));
    }

    #[test]
    fn after_a_gap_a_forgotten_change_has_its_number_and_the_next_one_a_new_one() {
        let gap = Gap {
            from: hour(1),
            until: hour(3),
        };
        let look = |edge: &Edge, value, at| {
            let seen = Seen {
                of: "plan",
                value: Some(value),
                holds: true,
                max_age: SignedDuration::from_hours(72),
            };
            let (edge, change) = Edge::look(Some(edge), &seen, &[gap], hour(at));
            (edge, change.map(|change| change.count))
        };
        let remembered = Edge {
            value: "free".to_owned(),
            count: 4,
            of: "plan".to_owned(),
            ..Edge::default()
        };
        let (edge, number) = look(&remembered, "pro", 5);
        assert_eq!((edge.count, number), (5, Some(5)));
        let (_, number) = look(&edge, "team", 6);
        assert_eq!(number, Some(gap.floor() + 1));
        let (unchanged, number) = look(&remembered, "free", 5);
        assert_eq!(number, None);
        assert_eq!(look(&unchanged, "pro", 6).1, Some(gap.floor() + 1));
    }
}
