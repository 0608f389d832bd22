//! What a schedule did to the service, and when: the only excuses that the audit takes.

use std::time::Duration;

use crisp_sync::sandbox::{Call, Sandbox, State, TimelineEvent};
use jiff::Timestamp;

use super::{acts::Decision, evidence::Entry};

/// How many entries of a timeline are read, on so many pages at the most.
const READ: usize = 100;
const PAGES: usize = 10;
/// A list that is shorter was not cut.
const SHORTEST_CUT: usize = 20;

/// The ledger was replaced by a copy.
#[derive(Debug, Clone)]
pub(super) struct Rollback {
    pub(super) copied_at: Timestamp,
    pub(super) at: Timestamp,
    /// Webhooks that the ledger forgot: those after the first marker, up to the second.
    pub(super) hooks: (u64, u64),
    /// The last call before it.
    pub(super) call: u64,
    /// Whether it says of itself that it is a copy.
    pub(super) displaced: bool,
    /// The last call before somebody said that it counts, and when.
    pub(super) armed: Option<(u64, Timestamp)>,
    /// Whether anything was forgotten: a service that was only away has everything, and doubts it.
    pub(super) forgets: bool,
}

/// A contact was removed, with its timeline.
#[derive(Debug, Clone)]
pub(super) struct Removal {
    pub(super) who: usize,
    pub(super) address: String,
    /// Its id.
    pub(super) people: String,
    /// When it was made.
    pub(super) made_at: Timestamp,
    pub(super) at: Timestamp,
    /// What stood on it.
    pub(super) events: Vec<TimelineEvent>,
    /// When somebody else than the service made one again.
    pub(super) back: Option<Timestamp>,
    /// Whether there was one already when they did.
    pub(super) made_before: bool,
}

/// Somebody was erased.
#[derive(Debug, Clone)]
pub(super) struct Erasure {
    pub(super) who: usize,
    pub(super) at: Timestamp,
    pub(super) lifted: Option<Timestamp>,
}

/// A person decided about what is held.
#[derive(Debug, Clone)]
pub(super) struct Decided {
    pub(super) at: Timestamp,
    pub(super) how: Decision,
    /// What the brake held then: which event, and since when.
    pub(super) braked: Vec<(String, Timestamp)>,
}

/// Everything that an event may rightly be held up or given up for.
#[derive(Debug, Default)]
pub(super) struct Weather {
    pub(super) rollbacks: Vec<Rollback>,
    pub(super) deaths: Vec<Timestamp>,
    /// Who got another address.
    pub(super) moves: Vec<(usize, Timestamp)>,
    pub(super) removals: Vec<Removal>,
    pub(super) erasures: Vec<Erasure>,
    pub(super) decisions: Vec<Decided>,
    /// Who did not want to be told, since when and until when.
    shut: Vec<(usize, Timestamp, Option<Timestamp>)>,
    /// When everybody who wrote was looked at, as far as nothing stood in the way.
    pub(super) looks: Vec<(usize, Timestamp)>,
    /// How many entries Crisp keeps from then on.
    caps: Vec<(Timestamp, Option<usize>)>,
    /// Whether Crisp's lists come from a cache from then on.
    caches: Vec<(Timestamp, bool)>,
    /// When a request went wrong.
    faulted: Vec<Timestamp>,
    /// Each request that was to put something on a timeline.
    adds: Vec<Call>,
    /// How many entries a page of a timeline has.
    page_size: usize,
}

impl Weather {
    pub(super) fn of_pages(page_size: usize) -> Self {
        Self {
            page_size,
            ..Self::default()
        }
    }

    pub(super) fn lists(&mut self, at: Timestamp, cached: bool, cap: Option<usize>) {
        self.caps.push((at, cap));
        self.caches.push((at, cached));
    }

    pub(super) fn opts(&mut self, who: usize, in_or_out: bool, at: Timestamp) {
        if !in_or_out {
            return self.shut.push((who, at, None));
        }
        for (one, _, until) in &mut self.shut {
            if *one == who {
                until.get_or_insert(at);
            }
        }
    }

    pub(super) fn is_shut(&self, who: usize) -> bool {
        (self.shut.iter()).any(|(one, _, until)| *one == who && until.is_none())
    }

    /// Whether somebody did not want to be told at any time between two moments.
    pub(super) fn was_shut(&self, who: usize, from: Timestamp, to: Timestamp) -> bool {
        (self.shut.iter()).any(|(one, since, until)| {
            *one == who && *since <= to && until.is_none_or(|until| until >= from)
        })
    }

    /// Takes the journal in, when everything is over.
    pub(super) fn reads_the_journal(&mut self, sandbox: &Sandbox) {
        let calls = sandbox.look(|state: &State| state.calls().all().to_vec());
        let at = |call: &Call| Timestamp::from_millisecond(call.at).expect("an instant");
        self.faulted = calls
            .iter()
            .filter(|call| call.faulted || call.status.is_none())
            .map(at)
            .collect();
        self.adds = calls
            .into_iter()
            .filter(|call| call.name == "people_event.add")
            .collect();
    }

    /// Whether somebody is erased in the end.
    pub(super) fn is_erased(&self, who: usize) -> bool {
        self.erasures
            .iter()
            .any(|one| one.who == who && one.lifted.is_none())
    }

    /// Whether the ledger forgot by a moment what it had done for somebody at another: it was rolled back, or they were erased.
    pub(super) fn was_forgotten(&self, who: usize, done: Timestamp, by: Timestamp) -> bool {
        (self.rollbacks.iter())
            .any(|back| back.copied_at <= done && done <= back.at && back.at <= by)
            || (self.erasures.iter()).any(|one| one.who == who && done <= one.at && one.at <= by)
    }

    /// Whether the brake held an event at any time between two moments.
    pub(super) fn was_braked(&self, event: &str, from: Timestamp, to: Timestamp) -> bool {
        (self.decisions.iter()).any(|one| {
            let held = |(name, since): &(String, Timestamp)| name == event && *since <= to;
            one.at >= from && one.braked.iter().any(held)
        })
    }

    /// Whether an address had no contact at any time between two moments, because it was removed.
    pub(super) fn was_without(&self, address: &str, from: Timestamp, to: Timestamp) -> bool {
        (self.removals.iter()).any(|one| {
            one.address == address && one.at <= to && one.back.is_none_or(|back| back >= from)
        })
    }

    /// Whether the contact of an address was removed between two moments.
    pub(super) fn was_removed(&self, address: &str, from: Timestamp, to: Timestamp) -> bool {
        (self.removals.iter()).any(|one| one.address == address && from <= one.at && one.at <= to)
    }

    /// The ledger is one that may tell, once somebody says so.
    pub(super) fn is_displaced(&self) -> bool {
        (self.rollbacks.iter()).any(|one| one.displaced && one.armed.is_none())
    }

    /// Whether anything stood in the way of work between two moments, or so shortly before that it still did.
    pub(super) fn hindered(&self, from: Timestamp, to: Timestamp, recovers: Duration) -> bool {
        let early = from - recovers;
        let within = |at: &Timestamp| (early..=to).contains(at);
        self.faulted.iter().chain(&self.deaths).any(within)
            || self.rollbacks.iter().any(|one| {
                let over = match (one.displaced, one.armed) {
                    (false, _) => one.at,
                    (true, Some((_, armed))) => armed,
                    (true, None) => Timestamp::MAX,
                };
                one.at <= to && over >= early
            })
            || self.was_cached(early, to)
    }

    /// Whether lists came from a cache at any time between.
    pub(super) fn was_cached(&self, from: Timestamp, to: Timestamp) -> bool {
        let ends = self.caches.iter().skip(1).map(|(at, _)| *at);
        self.caches
            .iter()
            .zip(ends.chain([Timestamp::MAX]))
            .any(|((at, cached), end)| *cached && *at <= to && end >= from)
    }

    /// How many entries of a timeline could be read at a moment.
    fn readable(&self, at: Timestamp) -> usize {
        let cap = self.caps.iter().rfind(|(since, _)| *since <= at);
        let read = READ.div_ceil(self.page_size).min(PAGES) * self.page_size;
        cap.and_then(|(_, cap)| *cap).unwrap_or(read).min(read)
    }

    /// Whether a timeline, as it could be read at a moment, did not reach back to another.
    pub(super) fn is_cut(&self, entries: &[Timestamp], at: Timestamp, back_to: Timestamp) -> bool {
        let mut seen: Vec<_> = entries.iter().filter(|entry| **entry <= at).collect();
        seen.sort_unstable();
        let read: Vec<_> = seen.into_iter().rev().take(self.readable(at)).collect();
        // The clocks may differ by two minutes, as far as the service knows.
        let back_to = back_to - Duration::from_mins(2);
        read.len() >= SHORTEST_CUT && read.iter().all(|entry| **entry >= back_to)
    }

    /// Whether the request that left at a moment got no clear answer, or never left because the process died over it.
    pub(super) fn was_unclear(&self, attempted_at: Timestamp, tolerance: Duration) -> bool {
        let near = |at: Timestamp| at.duration_since(attempted_at).unsigned_abs() <= tolerance;
        self.deaths.iter().any(|at| near(*at))
            || self.adds.iter().any(|call| {
                let at = Timestamp::from_millisecond(call.at).expect("an instant");
                // A good answer may have been cut in half, or have come too late.
                let unclear = call
                    .status
                    .is_none_or(|status| status >= 500 || (call.faulted && status < 300));
                near(at) && unclear
            })
    }

    /// How many requests to put something on a timeline got no clear answer at such moments.
    pub(super) fn unclear_within(&self, within: impl Fn(Timestamp) -> bool) -> usize {
        let unclear = (self.adds.iter()).filter(|call| {
            let at = Timestamp::from_millisecond(call.at).expect("an instant");
            within(at) && call.faulted
        });
        unclear.count() + self.deaths.iter().filter(|at| within(**at)).count()
    }

    /// Requests to put something on a timeline between two calls.
    pub(super) fn adds_between(&self, after: u64, until: u64) -> usize {
        self.adds
            .iter()
            .filter(|call| (after + 1..=until).contains(&call.number))
            .count()
    }

    /// When the requests arrived that put something on a timeline, or on that of whoever had the address before.
    fn arrivals(&self, entry: &Entry) -> impl Iterator<Item = Timestamp> {
        let theirs = |call: &&Call| call.applied && entry.is_where(call);
        (self.adds.iter())
            .filter(theirs)
            .map(|call| Timestamp::from_millisecond(call.at).expect("an instant"))
    }

    /// Whether a request for a timeline went wrong in the very moment of an entry.
    pub(super) fn went_wrong(&self, entry: &Entry) -> bool {
        let at = entry.at().as_millisecond();
        (self.adds.iter()).any(|call| call.faulted && entry.is_where(call) && call.at == at)
    }

    /// When the request of an entry was made: earlier than it, if it was applied late.
    pub(super) fn left_at(&self, entry: &Entry, late: Duration) -> Timestamp {
        if self.arrivals(entry).any(|at| at == entry.at()) {
            return entry.at();
        }
        self.left_late(entry, late)
    }

    /// The same of one that was applied late, whatever else arrived at that moment.
    pub(super) fn left_late(&self, entry: &Entry, late: Duration) -> Timestamp {
        // Crisp took it then, at the earliest, and gave itself some time.
        let applied_at = entry.at();
        self.arrivals(entry)
            .filter(|at| *at < applied_at && applied_at.duration_since(*at).unsigned_abs() >= late)
            .max()
            .unwrap_or(applied_at)
    }
}
