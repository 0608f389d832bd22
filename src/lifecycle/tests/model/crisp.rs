//! Crisp: a list that keeps its newest entries, with a cache before it, and requests that arrive late.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value as Json};

use super::minute;
use crate::lifecycle::timeline::Entry;

/// How many entries Crisp keeps.
const KEPT: usize = 25;

#[derive(Debug)]
pub(super) struct Crisp {
    /// Everything it ever took.
    taken: Vec<Entry>,
    under_way: Vec<(i64, Entry)>,
    /// What it had on contacts that are gone.
    lost: Vec<Entry>,
    /// Which contact it has, and when that was made, by its clock.
    contact: u32,
    made_at: Timestamp,
    /// What its cache would answer: what it answered us the last time.
    kept: Option<Vec<Entry>>,
    /// Its clock, in seconds before or after the true time.
    skew: i64,
}

/// A read of the list, newest first.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) entries: Vec<Entry>,
    pub(super) cached: bool,
}

impl Crisp {
    pub(super) fn new(skew: i64) -> Self {
        Self {
            taken: Vec::new(),
            under_way: Vec::new(),
            lost: Vec::new(),
            contact: 0,
            made_at: Timestamp::MIN,
            kept: None,
            skew,
        }
    }

    /// It is `now`: what was under way arrives.
    pub(super) fn pass(&mut self, now: i64) {
        self.under_way.sort_by_key(|(at, _)| *at);
        let arrive = self.under_way.partition_point(|(at, _)| *at <= now);
        let arrived = self.under_way.drain(..arrive).map(|(_, entry)| entry);
        self.taken.extend(arrived);
        self.taken.sort_by_key(|entry| entry.timestamp);
    }

    /// Takes an entry at a minute that may lie ahead.
    pub(super) fn take(&mut self, at: i64, now: i64, text: &str, data: Map<String, Json>) {
        let entry = Entry {
            text: text.to_owned(),
            data,
            timestamp: self.dated(at),
        };
        self.under_way.push((at, entry));
        self.pass(now);
    }

    /// The contact goes with its timeline, and another one is made. What is under way arrives there.
    pub(super) fn replace(&mut self, now: i64) {
        self.lost.append(&mut self.taken);
        self.kept = None;
        self.contact += 1;
        self.made_at = self.dated(now);
    }

    pub(super) fn contact(&self) -> u32 {
        self.contact
    }

    pub(super) fn made_at(&self) -> Timestamp {
        self.made_at
    }

    /// A minute by its clock.
    fn dated(&self, at: i64) -> Timestamp {
        minute(at) + SignedDuration::from_secs(self.skew)
    }

    /// Whether anybody ever told it of an event.
    pub(super) fn ever_had(&self, text: &str) -> bool {
        let mut entries = self.taken.iter().chain(&self.lost);
        entries.any(|entry| entry.text == text)
    }

    pub(super) fn read(&mut self, cached: bool) -> Read {
        if let (true, Some(kept)) = (cached, &self.kept) {
            return Read {
                entries: kept.clone(),
                cached: true,
            };
        }
        let entries = self.shown();
        self.kept = Some(entries.clone());
        Read {
            entries,
            cached: false,
        }
    }

    fn shown(&self) -> Vec<Entry> {
        self.taken.iter().rev().take(KEPT).cloned().collect()
    }

    /// When others told it of an event, as far as it shows that still; in minutes.
    pub(super) fn told_by_others(&self, text: &str) -> Vec<i64> {
        self.shown()
            .iter()
            .filter(|entry| entry.text == text && !entry.data.contains_key("ref"))
            .map(|entry| (entry.timestamp.as_second() - minute(0).as_second()).div_euclid(60))
            .collect()
    }

    /// What it took of ours, or will take.
    pub(super) fn ours(&self) -> impl Iterator<Item = &Entry> {
        self.taken
            .iter()
            .chain(&self.lost)
            .chain(self.under_way.iter().map(|(_, entry)| entry))
            .filter(|entry| entry.data.contains_key("ref"))
    }

    pub(super) fn texts(&self) -> Vec<&str> {
        self.taken.iter().map(|entry| entry.text.as_str()).collect()
    }
}
