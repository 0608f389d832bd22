//! What the ledger remembers of values that change, per user.
//!
//! The first look records the value and says nothing: a new rule, a new user and an empty ledger mail nobody. So does a
//! look with another expression than the last one: what changed is the definition. The number of a change only grows, so
//! its occurrence key never comes again.
//!
//! The caller stores the new edges in the transaction that stores what was decided on them. Until then the old ones stand,
//! and the next look finds the same change again, under the same number.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{
    Rule,
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
    /// How many changes were seen.
    pub count: u64,
    /// The expression it is the value of.
    pub of: String,
    /// Since when another value waits for the rule's `when` to be true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_since: Option<Timestamp>,
}

/// A change that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    /// Its number.
    pub(super) count: u64,
    /// When it was first seen.
    pub(super) at: Timestamp,
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
        of: &str,
        value: Option<&str>,
        holds: bool,
        max_age: SignedDuration,
        now: Timestamp,
    ) -> (Self, Option<Change>) {
        let value = value.unwrap_or_default();
        let seen = |count| Self {
            value: value.to_owned(),
            count,
            of: of.to_owned(),
            waiting_since: None,
        };
        let Some(remembered) = remembered else {
            return (seen(0), None);
        };
        if remembered.of != of || remembered.value == value {
            return (seen(remembered.count), None);
        }
        let count = remembered.count + 1;
        if value.is_empty() {
            return (seen(count), None);
        }
        let at = remembered.waiting_since.unwrap_or(whole_second(now));
        if holds {
            return (seen(count), Some(Change { count, at }));
        }
        if now.duration_since(at) > max_age {
            return (seen(count), None);
        }
        let waiting = Self {
            waiting_since: Some(at),
            ..remembered.clone()
        };
        (waiting, Some(Change { count, at }))
    }
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

    const MAX_AGE: SignedDuration = SignedDuration::from_hours(72);

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
            let (next, change) = Edge::look(edge.as_ref(), "plan", value, true, MAX_AGE, hour(at));
            assert_eq!(
                change,
                told.map(|count| Change {
                    count,
                    at: hour(at)
                }),
                "hour {at}"
            );
            edge = Some(next);
        }
    }

    #[test]
    fn until_it_is_stored_a_change_is_the_same_change() {
        let (first, _) = Edge::look(None, "plan", Some("free"), true, MAX_AGE, hour(0));
        let (_, once) = Edge::look(Some(&first), "plan", Some("pro"), true, MAX_AGE, hour(1));
        let (_, twice) = Edge::look(Some(&first), "plan", Some("pro"), true, MAX_AGE, hour(2));
        assert_eq!(once.map(|change| change.count), Some(1));
        assert_eq!(twice.map(|change| change.count), Some(1));
    }

    #[test]
    fn a_new_expression_is_a_first_look() {
        let (first, _) = Edge::look(None, "plan", Some("pro"), true, MAX_AGE, hour(0));
        let (next, change) = Edge::look(
            Some(&first),
            "plan | upper",
            Some("PRO"),
            true,
            MAX_AGE,
            hour(1),
        );
        assert_eq!(change, None);
        assert_eq!((next.value.as_str(), next.count), ("PRO", 0));
    }

    #[test]
    fn a_change_waits_for_when_and_not_for_ever() {
        let (first, _) = Edge::look(None, "plan", Some("free"), true, MAX_AGE, hour(0));
        let look = |edge: &Edge, holds, at| {
            Edge::look(Some(edge), "plan", Some("pro"), holds, MAX_AGE, hour(at))
        };
        let (waiting, _) = look(&first, false, 1);
        assert_eq!(waiting.value, "free");
        let (waiting, _) = look(&waiting, false, 2);
        let (_, change) = look(&waiting, true, 5);
        assert_eq!(
            change,
            Some(Change {
                count: 1,
                at: hour(1)
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
}
