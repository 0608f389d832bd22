//! How people are found whom no conversation brings up: `[lifecycle.sweep]`, as written and as meant.

use std::{num::NonZeroU32, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Rules, compile::Compiler};

/// The most rows of a page: all of them are in memory at once, and in one commit.
const LONGEST_PAGE: u32 = 5_000;
/// Looking more often than this would be polling.
const SHORTEST: SignedDuration = SignedDuration::from_secs(10);

/// The `[lifecycle.sweep]` table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SweepSource {
    /// How often `lifecycle.query` is asked for what is new.
    pub every: String,
    /// How far each look goes back before the one before: for transactions that commit late, and for clocks that differ. So old may be what any look shows, as from a replica.
    pub overlap: String,
    /// How often all that happened within the longest `max_age` is looked at once more.
    pub rescan: String,
    /// How far back a rescan goes once, the first time; as the others where it is not said. `"3650d"` looks at everybody once, in as many days as the quota takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<String>,
    /// Rows of a page.
    pub page: NonZeroU32,
    /// While so many people wait, no further page is read.
    pub backlog: NonZeroU32,
    /// The website of rows that name none; where one alone is configured, it is that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub website: Option<String>,
}

impl Default for SweepSource {
    fn default() -> Self {
        Self {
            every: "5m".to_owned(),
            overlap: "30m".to_owned(),
            rescan: "24h".to_owned(),
            first: None,
            page: NonZeroU32::new(500).expect("not zero"),
            backlog: NonZeroU32::new(1_000).expect("not zero"),
            website: None,
        }
    }
}

/// How the sweep goes, once all of it makes sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sweep {
    /// How often it looks for what is new.
    pub every: Duration,
    /// How far each look goes back before the one before, and how old may be what one shows.
    pub overlap: Duration,
    /// How often it looks at all that can still be sent.
    pub rescan: Duration,
    /// How far back one of these goes, once.
    pub first: Option<Duration>,
    /// Rows of a page.
    pub page: u32,
    /// While so many people wait, no further page is read.
    pub backlog: u32,
    /// The website of rows that name none, as it is written.
    pub website: Option<String>,
}

impl Default for Sweep {
    fn default() -> Self {
        Self {
            every: Duration::from_mins(5),
            overlap: Duration::from_mins(30),
            rescan: Duration::from_hours(24),
            first: None,
            page: 500,
            backlog: 1_000,
            website: None,
        }
    }
}

impl Sweep {
    /// Looks that begin further apart than this do not follow one another: the sweep was away.
    pub fn pause(&self) -> Duration {
        self.every.saturating_mul(4)
    }

    /// From when on a look for what is new asks, that ends at `until`; the last one ended at `covered_to`. All of them are on
    /// the clock of the app's database, which may have been set back since, as by a fail-over.
    pub fn changes_since(&self, covered_to: Option<Timestamp>, until: Timestamp) -> Timestamp {
        let covered_to = covered_to.unwrap_or(until).min(until);
        before(covered_to, self.overlap)
    }
}

impl Rules {
    /// How far back the rescan of the sweep goes: over all of which an event can still be sent.
    pub fn sweep_window(&self) -> Duration {
        let longest_age = Duration::try_from(self.longest_age()).unwrap_or_default();
        longest_age.max(self.sweep.rescan) + self.sweep.overlap
    }

    /// From when on a rescan asks that ends at `until`; an earlier one went back to `reached`.
    pub fn rescan_since(&self, reached: Option<Timestamp>, until: Timestamp) -> Timestamp {
        let window = before(until, self.sweep_window());
        let first = self
            .sweep
            .first
            .map_or(window, |first| before(until, first));
        match reached {
            Some(reached) if reached <= first => window,
            _ => first.min(window),
        }
    }
}

fn before(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_sub(by).unwrap_or(Timestamp::UNIX_EPOCH)
}

impl Compiler<'_> {
    /// The table as meant; `None`, with the faults noted, where it makes no sense.
    pub(super) fn sweep(&mut self, source: &SweepSource) -> Option<Sweep> {
        let every = self.interval("every", &source.every);
        let rescan = self.interval("rescan", &source.rescan);
        let overlap = self.period(&["sweep", "overlap"], &source.overlap);
        let first = match &source.first {
            None => Some(None),
            Some(text) => self.period(&["sweep", "first"], text).map(Some),
        };
        if source.page.get() > LONGEST_PAGE {
            self.fault(
                &["sweep", "page"],
                format!("a page of more than {LONGEST_PAGE} rows"),
            )
            .hint = Some("pages follow one another without a pause: 500 is plenty".to_owned());
        }
        if let (Some(every), Some(rescan)) = (every, rescan)
            && rescan < every
        {
            self.fault(
                &["sweep", "rescan"],
                "everything is looked at more often than what is new",
            )
            .hint = Some("a day is plenty: `lifecycle.sweep.every` finds what is new".to_owned());
        }
        let meant = |period: SignedDuration| Duration::try_from(period).unwrap_or_default();
        Some(Sweep {
            every: meant(every?),
            overlap: meant(overlap?),
            rescan: meant(rescan?),
            first: first?.map(meant),
            page: source.page.get(),
            backlog: source.backlog.get(),
            website: source.website.clone(),
        })
    }

    fn interval(&mut self, key: &'static str, text: &str) -> Option<SignedDuration> {
        let period = self.period(&["sweep", key], text)?;
        if period < SHORTEST {
            self.fault(&["sweep", key], "more often than every ten seconds")
                .hint = Some("for example `5m`".to_owned());
            return None;
        }
        Some(period)
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        expression::Language,
        lifecycle::{LifecycleSource, Rules},
    };

    use super::*;

    fn faults(table: &str) -> Vec<String> {
        let source: LifecycleSource = toml::from_str(table).expect("a table");
        match Rules::compile(&source, &Language::new(std::collections::BTreeMap::new())) {
            Ok(_) => Vec::new(),
            Err(faults) => faults.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn the_defaults_as_written_are_the_defaults_as_meant() {
        let rules = Rules::compile(
            &LifecycleSource::default(),
            &Language::new(std::collections::BTreeMap::new()),
        )
        .expect("compiles");
        assert_eq!(*rules.sweep(), Sweep::default());
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("an instant")
    }

    #[test]
    fn a_look_begins_an_overlap_before_the_last_one_ended_also_if_the_clock_was_set_back() {
        let sweep = Sweep::default();
        let until = at("2026-03-02T12:00:00Z");
        for (covered_to, since) in [
            (None, "2026-03-02T11:30:00Z"),
            (Some("2026-03-02T11:55:00Z"), "2026-03-02T11:25:00Z"),
            (Some("2026-02-20T00:00:00Z"), "2026-02-19T23:30:00Z"),
            (Some("2026-03-02T15:00:00Z"), "2026-03-02T11:30:00Z"),
        ] {
            assert_eq!(
                sweep.changes_since(covered_to.map(at), until),
                at(since),
                "{covered_to:?}"
            );
        }
    }

    #[test]
    fn a_rescan_goes_over_the_longest_age_and_once_as_far_as_it_is_told() {
        let rules = |table: &str| {
            let source: LifecycleSource = toml::from_str(table).expect("a table");
            Rules::compile(&source, &Language::new(std::collections::BTreeMap::new()))
                .expect("compiles")
        };
        let until = at("2026-03-12T12:00:00Z");
        let event = "[[event]]\nname = \"a\"\nat = \"a\"\nmax_age = \"10d\"\n";
        let window = at("2026-03-02T11:30:00Z");
        assert_eq!(rules(event).rescan_since(None, until), window);
        let far = rules(&format!("[sweep]\nfirst = \"365d\"\n{event}"));
        let first = at("2025-03-12T12:00:00Z");
        assert_eq!(far.rescan_since(None, until), first);
        assert_eq!(far.rescan_since(Some(window), until), first, "not yet");
        assert_eq!(far.rescan_since(Some(first), until), window, "once");
        assert_eq!(
            rules("").rescan_since(None, until),
            at("2026-03-11T11:30:00Z"),
            "without events it is a day"
        );
    }

    #[test]
    fn what_makes_no_sense_is_told_all_at_once() {
        assert_eq!(
            faults("[sweep]\nevery = \"1s\"\noverlap = \"soon\"\npage = 100000"),
            [
                "lifecycle.sweep.every: more often than every ten seconds",
                "lifecycle.sweep.overlap: `soon` is not a length of time",
                "lifecycle.sweep.page: a page of more than 5000 rows",
            ]
        );
        assert_eq!(
            faults("[sweep]\nevery = \"2h\"\nrescan = \"1h\""),
            ["lifecycle.sweep.rescan: everything is looked at more often than what is new"]
        );
    }
}
