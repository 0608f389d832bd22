//! The rules at work on one user, with plain numbers: time is minutes after noon.

mod compile;
mod decide;
mod found;
mod guarded;
mod model;
mod recheck;
mod search;
mod taken_back;
mod told;
mod undated;

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::*;
use crate::{
    expression::Language,
    ids::{Email, UserKey},
    record::{Record, User, Value},
};

/// Minutes after noon of 2026-01-02.
fn minute(minutes: i64) -> Timestamp {
    Timestamp::from_second(1_767_355_200 + minutes * 60).expect("an instant")
}

const HOUR: i64 = 60;
const DAY: i64 = 24 * HOUR;

fn source(table: &str) -> LifecycleSource {
    toml::from_str(table).expect(table)
}

fn rules(table: &str) -> Rules {
    Rules::compile(&source(table), &Language::default()).expect(table)
}

fn record<const N: usize>(columns: [(&str, Value); N]) -> Record {
    columns.into_iter().collect()
}

fn user<const N: usize>(columns: [(&str, Value); N]) -> User {
    let record = record(columns);
    User {
        key: UserKey::parse("7").expect("a key"),
        email: Email::parse("ada@example.org").expect("an address"),
        accounts: vec![record.clone()],
        record,
        more: BTreeMap::new(),
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn at(minutes: i64) -> Value {
    Value::Instant(minute(minutes))
}

/// A memory that owns what it lends.
#[derive(Debug, Clone, Default)]
struct Remembered {
    known: Vec<Known>,
    high_water: BTreeMap<(String, String), Timestamp>,
    watermarks: BTreeMap<String, Timestamp>,
    last_to_address: BTreeMap<String, Timestamp>,
    swept: Option<Swept>,
}

impl Remembered {
    /// Every rule armed at that minute.
    fn armed(rules: &Rules, minutes: i64) -> Self {
        Self {
            watermarks: rules
                .iter()
                .map(|rule| (rule.name().to_owned(), minute(minutes)))
                .collect(),
            ..Self::default()
        }
    }

    fn memory(&self) -> Memory<'_> {
        Memory {
            known: &self.known,
            high_water: &self.high_water,
            watermarks: &self.watermarks,
            last_to_address: &self.last_to_address,
            swept: self.swept,
        }
    }

    /// A row in that state, that happened at that minute.
    fn row(mut self, event: &str, at: i64, state: OutboxState) -> Self {
        self.known.push(known(event, at, state));
        self
    }
}

fn known(event: &str, at: i64, state: OutboxState) -> Known {
    Known {
        key: format!("{event}//at={}", minute(at)),
        event: event.to_owned(),
        subject: String::new(),
        instant: Some(minute(at)),
        state,
        reference: format!("ref-{event}-{at}"),
        due_at: minute(at + 10),
        attempted_at: None,
        sent_at: None,
        absent_reads: 0,
        first_absent_at: None,
        updated_at: minute(at),
    }
}

/// What is found in the user's own row at a minute, with nothing remembered.
fn found_in(rules: &Rules, user: &User, now: i64) -> Found {
    let found = occurrences(
        rules,
        user,
        &BTreeMap::new(),
        &Edges::default(),
        &[],
        minute(now),
    );
    assert_eq!(found.failures, []);
    found
}
