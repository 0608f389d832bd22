//! One time that something happened to a user, and the key by which it is told apart for ever.
//!
//! The key never depends on when we looked, on the data, or on the address: the same occurrence seen twice has one key,
//! and the ledger keeps one row per key.

use std::fmt::Write as _;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::{Color, limits};
use crate::data::{DataMap, DataValue};

/// The longest part of a key that is kept as it is; a longer one is replaced by its hash.
const LONGEST_PART: usize = 120;

/// What tells the occurrences of one event and subject apart. Instants are whole seconds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum OccurrenceAt {
    /// The instant that the app's database has for it.
    Instant(Timestamp),
    /// An id of the app's, and when it happened: the rule's instant, or when the id was first seen.
    Id(String, Timestamp),
    /// The number of a change, and when it was first seen.
    Edge(u64, Timestamp),
}

/// One time that something happened to a user.
#[derive(Debug, Clone, PartialEq)]
pub struct Occurrence {
    /// The rule, and the text in Crisp.
    pub event: String,
    /// What it is about, where a user has several; mostly empty.
    pub subject: String,
    /// Which one of the event and subject it is.
    pub at: OccurrenceAt,
    /// When it happened at the earliest: earlier than `at` where nobody dates it but by a look.
    pub earliest: Timestamp,
    /// The rule's group.
    pub group: Option<String>,
    /// The rule's colour.
    pub color: Color,
    /// The rule's data, without our two keys.
    pub data: DataMap,
    /// Whether the rule's `when` is true now.
    pub holds: bool,
    /// When it may be sent: `happened_at`, and the grace where the app sends too. An old one is due at once.
    pub due: Timestamp,
}

impl Occurrence {
    /// The key, stable text: `<event>/<subject>/at=2026-01-02T03:04:05Z`, `…/id=…` or `…/edge=…`.
    pub fn key(&self) -> String {
        self.key_as(&self.event)
    }

    /// The key this occurrence had while its rule was called `event`.
    pub(super) fn key_as(&self, event: &str) -> String {
        occurrence_key(event, &self.subject, &self.at)
    }

    /// When it happened.
    pub fn happened_at(&self) -> Timestamp {
        self.at.happened_at()
    }

    /// When it happened, for a column that may be empty.
    pub fn instant(&self) -> Option<Timestamp> {
        Some(self.happened_at())
    }
}

impl OccurrenceAt {
    /// When it happened.
    pub const fn happened_at(&self) -> Timestamp {
        match self {
            Self::Instant(instant) | Self::Id(_, instant) | Self::Edge(_, instant) => *instant,
        }
    }
}

/// The key of an occurrence.
pub(super) fn occurrence_key(event: &str, subject: &str, at: &OccurrenceAt) -> String {
    let (event, subject) = (key_part(event), key_part(subject));
    match at {
        OccurrenceAt::Instant(instant) => format!("{event}/{subject}/at={instant}"),
        OccurrenceAt::Id(id, _) => format!("{event}/{subject}/id={}", key_part(id)),
        OccurrenceAt::Edge(count, _) => format!("{event}/{subject}/edge={count}"),
    }
}

/// Text as a part of a key: no `/`, no blank, no control character, and not endless.
pub(super) fn key_part(text: &str) -> String {
    let mut part = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || character.is_whitespace() || matches!(character, '/' | '%') {
            let mut bytes = [0; 4];
            for byte in character.encode_utf8(&mut bytes).bytes() {
                write!(part, "%{byte:02X}").expect("a string takes any text");
            }
        } else {
            part.push(character);
        }
    }
    if part.len() <= LONGEST_PART {
        return part;
    }
    // `%~` cannot come out of the loop above, so a hash is never taken for a text.
    format!("%~{}", hex::encode(&Sha256::digest(text.as_bytes())[..16]))
}

/// `instant` without the fraction of its second. Databases and drivers keep different fractions of one instant.
pub(super) fn whole_second(instant: Timestamp) -> Timestamp {
    Timestamp::from_second(instant.as_millisecond().div_euclid(1000)).unwrap_or(instant)
}

/// The data as it goes to Crisp: the rule's own, and our two keys.
pub fn payload(mut data: DataMap, reference: &str, happened_at: Timestamp) -> DataMap {
    data.insert(limits::REF.to_owned(), DataValue::from(reference));
    data.insert(
        limits::OCCURRED_AT.to_owned(),
        DataValue::from(whole_second(happened_at).to_string()),
    );
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("an instant")
    }

    #[test]
    fn the_key_is_stable_text() {
        let noon = at("2026-01-02T12:00:00Z");
        for (event, subject, at, key) in [
            (
                "user:signup",
                "",
                OccurrenceAt::Instant(noon),
                "user:signup//at=2026-01-02T12:00:00Z",
            ),
            (
                "user:signup",
                "tenant 7",
                OccurrenceAt::Instant(noon),
                "user:signup/tenant%207/at=2026-01-02T12:00:00Z",
            ),
            (
                "a/b",
                "50%",
                OccurrenceAt::Id("7/8".into(), noon),
                "a%2Fb/50%25/id=7%2F8",
            ),
            (
                "plan:changed",
                "",
                OccurrenceAt::Edge(3, noon),
                "plan:changed//edge=3",
            ),
            ("é", "\0", OccurrenceAt::Edge(3, noon), "é/%00/edge=3"),
        ] {
            assert_eq!(occurrence_key(event, subject, &at), key);
        }
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let edge = OccurrenceAt::Edge(1, at("2026-01-02T12:00:00Z"));
        assert_ne!(
            occurrence_key("a", "b/c", &edge),
            occurrence_key("a/b", "c", &edge)
        );
    }

    #[test]
    fn an_endless_part_is_hashed() {
        let long = "x".repeat(5_000);
        let part = key_part(&long);
        assert_eq!(part.len(), 34);
        assert!(part.starts_with("%~"));
        assert_ne!(part, key_part(&"x".repeat(5_001)));
        assert_eq!(key_part(&"x".repeat(120)), "x".repeat(120));
    }

    #[test]
    fn fractions_of_a_second_are_one_instant() {
        for (written, second) in [
            ("2026-01-02T12:00:00.999999Z", "2026-01-02T12:00:00Z"),
            ("2026-01-02T13:00:00+01:00", "2026-01-02T12:00:00Z"),
            ("1969-12-31T23:59:58.5Z", "1969-12-31T23:59:58Z"),
        ] {
            assert_eq!(whole_second(at(written)), at(second), "{written}");
        }
    }

    #[test]
    fn our_two_keys_ride_along() {
        let data = DataMap::from([("plan".to_owned(), DataValue::from("pro"))]);
        let payload = payload(data, "5eed", at("2026-01-02T12:00:00.5Z"));
        assert_eq!(payload["ref"], DataValue::from("5eed"));
        assert_eq!(
            payload["occurred_at"],
            DataValue::from("2026-01-02T12:00:00Z")
        );
        assert_eq!(payload.len(), 3);
    }
}
