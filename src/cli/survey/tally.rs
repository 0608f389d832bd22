//! What a look at everybody comes to: counts, however many people there are.

use std::{
    collections::{BTreeMap, HashSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use serde_json::{Value as Json, json};

use crate::server::{
    command::Table,
    survey::{Cursor, PersonLine, Room},
};

/// Website, event, state, reason.
type Kind = (String, String, String, String);

/// The counts so far, and where to go on.
#[derive(Debug, Default)]
pub(in crate::cli) struct Tally {
    pub(super) cursor: Option<Cursor>,
    definition: Option<String>,
    people: u64,
    unknown: u64,
    put_to_work: u64,
    events: BTreeMap<Kind, u64>,
    calls: BTreeMap<(String, String), u64>,
    failures: BTreeMap<String, u64>,
    /// Codes of those who may come once more, with their websites: whose address was typed, and whom `lifecycle.query`
    /// finds, in whose pages a person stands once for each row. Eight bytes each: it may be everybody.
    counted: HashSet<u64>,
}

impl Tally {
    /// Counts a line of an earlier run, and goes on behind it.
    pub(super) fn resume(&mut self, line: &PersonLine) -> anyhow::Result<()> {
        self.add(line)?;
        self.cursor = Some(line.cursor.clone());
        Ok(())
    }

    /// Counts a person; `false` if they were counted before.
    pub(super) fn add(&mut self, line: &PersonLine) -> anyhow::Result<bool> {
        let definition = self
            .definition
            .get_or_insert_with(|| line.definition.clone());
        anyhow::ensure!(
            *definition == line.definition,
            "the configuration has changed since the people before were looked at\nhint: begin anew, with another file"
        );
        if let Some(user) = &line.user {
            if self.was_counted(user, line) {
                return Ok(false);
            }
        } else if line.sites.iter().all(|site| site.failures.is_empty()) {
            self.unknown += 1;
        }
        self.people += 1;
        for site in &line.sites {
            for event in &site.events {
                let kind = (
                    site.website.clone(),
                    event.event.clone(),
                    event.state.clone(),
                    event.reason.clone(),
                );
                *self.events.entry(kind).or_default() += 1;
            }
            for call in &site.calls {
                let kind = (site.website.clone(), call.clone());
                *self.calls.entry(kind).or_default() += 1;
            }
            for failure in &site.failures {
                *self.failures.entry(failure.clone()).or_default() += 1;
            }
            self.put_to_work += u64::from(site.put_to_work);
        }
        Ok(true)
    }

    /// Whether somebody was counted before on each website of a line.
    fn was_counted(&mut self, user: &str, line: &PersonLine) -> bool {
        let codes = line.sites.iter().map(|site| {
            let mut hasher = DefaultHasher::new();
            (user, &site.website).hash(&mut hasher);
            hasher.finish()
        });
        // The ledger shows each of its people once.
        let is_ledgers = matches!(line.cursor, Cursor::Ledger { .. });
        let mut is_new = false;
        for code in codes {
            is_new |= if is_ledgers {
                !self.counted.contains(&code)
            } else {
                self.counted.insert(code)
            };
        }
        !is_new
    }

    /// Takes what the brake would hold out of what is due.
    pub(super) fn hold(&mut self, rooms: &[Room]) {
        for Room {
            website,
            event,
            room,
        } in rooms
        {
            let mut left = *room;
            let mut held = 0;
            for ((_, _, state, _), count) in self
                .events
                .iter_mut()
                .filter(|((of, named, ..), _)| of == website && named == event)
            {
                if state == "due" {
                    let goes = left.min(*count);
                    held += *count - goes;
                    left -= goes;
                    *count = goes;
                }
            }
            if held > 0 {
                let kind = (
                    website.clone(),
                    event.clone(),
                    "held".to_owned(),
                    "brake".to_owned(),
                );
                *self.events.entry(kind).or_default() += held;
            }
        }
        self.events.retain(|_, count| *count > 0);
    }

    /// How many people were looked at.
    pub(in crate::cli) fn people(&self) -> u64 {
        self.people
    }

    /// What was found, in words.
    pub(in crate::cli) fn lines(&self) -> Vec<String> {
        let mut lines = vec![if self.people == 0 {
            "nobody was looked at: the ledger knows nobody yet; `--email` names somebody, `lifecycle.query` finds everybody".to_owned()
        } else {
            format!(
                "{} people looked at, {} of them not known to the app",
                self.people, self.unknown
            )
        }];
        for ((website, call), count) in &self.calls {
            lines.push(format!("{website} {call}: {count} calls"));
        }
        for (failure, count) in &self.failures {
            // A hint belongs to one error, not to a count.
            let failure = failure.lines().next().unwrap_or_default();
            lines.push(format!("{count} times: {failure}"));
        }
        if self.put_to_work > 0 {
            lines.push(format!("{} people put to work", self.put_to_work));
        }
        lines
    }

    /// The counts by event and reason.
    pub(in crate::cli) fn table(&self) -> Table {
        Table {
            headings: ["website", "event", "state", "reason", "count"]
                .map(str::to_owned)
                .to_vec(),
            rows: self
                .events
                .iter()
                .map(|((website, event, state, reason), count)| {
                    vec![
                        website.clone(),
                        event.clone(),
                        state.clone(),
                        reason.clone(),
                        count.to_string(),
                    ]
                })
                .collect(),
            below: None,
        }
    }

    /// All of it, for a script.
    pub(in crate::cli) fn json(&self) -> Json {
        json!({
            "people": self.people,
            "unknown": self.unknown,
            "put_to_work": self.put_to_work,
            "counts": self.events.iter().map(|((website, event, state, reason), count)| json!({
                "website": website, "event": event, "state": state, "reason": reason, "count": count,
            })).collect::<Vec<_>>(),
            "calls": self.calls.iter().map(|((website, call), count)| json!({
                "website": website, "call": call, "count": count,
            })).collect::<Vec<_>>(),
            "failures": self.failures,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::survey::{EventLine, SiteLine};

    fn person(cursor: Cursor, user: Option<&str>, states: &[(&str, &str)]) -> PersonLine {
        PersonLine {
            cursor,
            definition: "d".to_owned(),
            user: user.map(str::to_owned),
            user_ref: None,
            sites: vec![SiteLine {
                website: "w".to_owned(),
                events: states
                    .iter()
                    .map(|(state, reason)| EventLine {
                        event: "e".to_owned(),
                        state: (*state).to_owned(),
                        reason: (*reason).to_owned(),
                        happened_at: jiff::Timestamp::UNIX_EPOCH,
                        due_at: None,
                    })
                    .collect(),
                calls: Vec::new(),
                failures: Vec::new(),
                put_to_work: false,
            }],
        }
    }

    fn known(key: &str) -> Cursor {
        Cursor::Ledger {
            website: "w".to_owned(),
            key: key.to_owned(),
        }
    }

    fn counts(tally: &Tally) -> Vec<(String, u64)> {
        let counts = tally.events.iter();
        counts
            .map(|((_, _, state, reason), count)| (format!("{state} {reason}"), *count))
            .collect()
    }

    #[test]
    fn what_the_brake_would_hold_is_not_due() {
        for (room, expected) in [
            (5, vec![("baseline before_armed", 1), ("due due", 3)]),
            (
                2,
                vec![
                    ("baseline before_armed", 1),
                    ("due due", 2),
                    ("held brake", 1),
                ],
            ),
            (0, vec![("baseline before_armed", 1), ("held brake", 3)]),
        ] {
            let mut tally = Tally::default();
            for key in ["1", "2", "3"] {
                let line = person(known(key), Some(key), &[("due", "due")]);
                tally.add(&line).expect("counted");
            }
            let line = person(known("4"), Some("4"), &[("baseline", "before_armed")]);
            tally.add(&line).expect("counted");
            tally.hold(&[Room {
                website: "w".to_owned(),
                event: "e".to_owned(),
                room,
            }]);
            let expected: Vec<_> = expected
                .into_iter()
                .map(|(kind, count)| (kind.to_owned(), count))
                .collect();
            assert_eq!(counts(&tally), expected, "room for {room}");
        }
    }

    #[test]
    fn who_was_typed_is_counted_once() {
        let mut tally = Tally::default();
        let typed = person(Cursor::Typed { done: 1 }, Some("1"), &[("due", "due")]);
        assert!(tally.add(&typed).expect("counted"));
        let again = person(Cursor::Typed { done: 2 }, Some("1"), &[("due", "due")]);
        assert!(!tally.add(&again).expect("passed over"));
        let known = person(known("1"), Some("1"), &[("due", "due")]);
        assert!(!tally.add(&known).expect("passed over"));
        let nobody = person(Cursor::Typed { done: 3 }, None, &[]);
        assert!(tally.add(&nobody).expect("counted"));
        assert_eq!((tally.people, tally.unknown), (2, 1));
    }

    /// A query that joins shows somebody once for each row of the other table, and on many pages.
    #[test]
    fn who_stands_on_several_pages_is_counted_once() {
        let table = |at: &str| Cursor::Table {
            until: None,
            after: Some((at.to_owned(), "\"1".to_owned())),
        };
        let mut tally = Tally::default();
        let counted = ["09:00", "10:00", "11:00"].map(|at| {
            let line = person(table(at), Some("1"), &[("due", "due")]);
            tally.add(&line).expect("counted")
        });
        assert_eq!(counted, [true, false, false]);
        // On another website they are somebody else.
        let mut elsewhere = person(table("12:00"), Some("1"), &[("due", "due")]);
        elsewhere.sites[0].website = "v".to_owned();
        assert!(tally.add(&elsewhere).expect("counted"));
        assert_eq!((tally.people, tally.unknown), (2, 0));
    }

    #[test]
    fn who_could_not_be_looked_at_is_not_unknown() {
        let mut tally = Tally::default();
        for number in 0..2 {
            let mut line = person(known(&number.to_string()), None, &[]);
            line.sites[0].failures = vec!["it failed\nhint: mend it".to_owned()];
            assert!(tally.add(&line).expect("counted"));
        }
        assert_eq!((tally.people, tally.unknown), (2, 0));
        assert_eq!(tally.lines()[1], "2 times: it failed");
    }

    #[test]
    fn another_definition_does_not_go_on() {
        let mut tally = Tally::default();
        tally
            .resume(&person(known("1"), Some("1"), &[]))
            .expect("counted");
        assert_eq!(tally.cursor, Some(known("1")));
        let mut other = person(known("2"), Some("2"), &[]);
        other.definition = "another".to_owned();
        let error = tally
            .add(&other)
            .expect_err("another definition")
            .to_string();
        assert!(error.contains("hint: begin anew"), "{error}");
    }
}
