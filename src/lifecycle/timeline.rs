//! What Crisp's timeline of a contact says about our occurrences.
//!
//! One entry accounts for one occurrence and no more: an app that reported one of two imports has not reported both.
//! Entries with our `ref` are ours and are taken first. Anybody may write to a timeline, a visitor too, so a match
//! without our `ref` proves only that a campaign has seen the event, which is what matters here.
//!
//! Crisp keeps only the newest entries of a contact. An entry that is there proves something; one that is missing proves
//! something only when [`reaches_back_past`] says that the list goes back far enough.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value as Json};

use super::{
    OutboxState,
    limits::{OCCURRED_AT, REF},
    occurrence::whole_second,
    period::{earlier, later},
    trial::is_trial,
};

/// The shortest list that Crisp may have cut: fewer entries than this are all there are. Crisp does not say how many it
/// keeps; twenty is a page of its conversations. However many entries a page of a timeline has, it is the whole list that counts.
const SHORTEST_CUT_LIST: usize = 20;

/// How far Crisp's clock and ours may lie apart.
pub(super) const CLOCK_MARGIN: SignedDuration = SignedDuration::from_mins(2);

/// How far the clocks of two time zones lie apart at most: an `occurred_at` without its zone is off by so much.
const TIME_ZONES: SignedDuration = SignedDuration::from_hours(14);

/// One entry of a contact's timeline.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The event's text.
    pub text: String,
    /// Its data.
    pub data: Map<String, Json>,
    /// When Crisp took it.
    pub timestamp: Timestamp,
}

/// An occurrence to look for. Every occurrence of the user that may have left an entry has to be among those sought, the
/// sent ones too, or their entries would be taken for another's.
#[derive(Debug, Clone, PartialEq)]
pub struct Sought {
    /// The occurrence key.
    pub key: String,
    /// The text it has in Crisp, and the text it had while its rule had another name.
    pub texts: Vec<String>,
    /// Our `ref` of it.
    pub reference: String,
    /// When it happened.
    pub happened_at: Timestamp,
    /// The earliest moment at which another sender may have told Crisp.
    pub earliest: Timestamp,
    /// The latest such moment for a sender that tells of it as it happens.
    pub near: Timestamp,
    /// The latest such moment for a sender that takes its grace, and does not wait for the rule's delay.
    pub at_once: Timestamp,
    /// The latest such moment for any that does not wait for what ours waits for.
    pub latest: Timestamp,
    /// Until when ours waited: whoever tells meanwhile tells of what it waits to tell.
    pub awaited_until: Timestamp,
    /// Whether the ledger may have told Crisp and forgotten under which number: then an entry with a `ref` that nobody knows
    /// may be of it.
    pub is_renumbered: bool,
}

impl Sought {
    /// An occurrence whose instant the app's database knows: others tell Crisp within `tolerance` of it.
    pub fn near(
        key: String,
        texts: Vec<String>,
        reference: String,
        happened_at: Timestamp,
        tolerance: SignedDuration,
    ) -> Self {
        Self {
            key,
            texts,
            reference,
            happened_at,
            earliest: earlier(happened_at, tolerance),
            near: later(happened_at, tolerance),
            at_once: later(happened_at, tolerance),
            latest: later(happened_at, tolerance),
            awaited_until: happened_at,
            is_renumbered: false,
        }
    }

    /// Widens the search forwards: others have so long to tell Crisp.
    #[must_use]
    pub fn within(mut self, period: SignedDuration) -> Self {
        self.at_once = self.at_once.max(later(self.happened_at, period));
        self.latest = self.latest.max(self.at_once);
        self
    }

    /// Widens the search forwards: we tell Crisp so much later than it happened. Others may wait as long, or not at all.
    #[must_use]
    pub fn delayed(mut self, delay: SignedDuration) -> Self {
        self.latest = later(self.latest, delay);
        self
    }

    /// Widens the search forwards: ours has waited until then, for a guard, a contact or a person, and whoever else tells need
    /// not.
    #[must_use]
    pub fn awaited(mut self, until: Timestamp) -> Self {
        self.awaited_until = until;
        self
    }

    /// Widens the search backwards: we saw the change only when we looked, and others may have told Crisp up to `period`
    /// before.
    #[must_use]
    pub fn since(mut self, period: SignedDuration) -> Self {
        self.earliest = earlier(self.earliest, period);
        self
    }

    /// Whether an entry tells of it, as far as text and time say.
    fn may_be_told_by(&self, entry: &Entry, end: End) -> bool {
        let is_of_older = || {
            occurred_at(entry).is_some_and(|at| at < earlier(self.earliest, TIME_ZONES))
                && entry.timestamp > self.at_once
        };
        (self.is_renumbered || !entry.data.contains_key(REF))
            && self.texts.contains(&entry.text)
            && (self.earliest..=end(self)).contains(&entry.timestamp)
            && !is_of_older()
    }
}

/// Whose entry it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatchKind {
    /// It carries our `ref`: we sent it.
    OurRef,
    /// Another sender told Crisp.
    Foreign,
}

impl MatchKind {
    /// The state of an occurrence that Crisp has.
    pub const fn state(self) -> OutboxState {
        match self {
            Self::OurRef => OutboxState::Sent,
            Self::Foreign => OutboxState::AlreadyInCrisp,
        }
    }
}

/// An occurrence that Crisp has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// The occurrence key.
    pub key: String,
    /// Whose entry it is.
    pub kind: MatchKind,
    /// When Crisp took the entry.
    pub timestamp: Timestamp,
    /// The others that waited when somebody told of this one or of them: nothing says of which.
    pub rivals: Vec<String>,
}

/// Finds the occurrences that Crisp has, each with an entry of its own.
///
/// Our `ref` comes first; then the same text with an equal `occurred_at`; then the same text with a Crisp time between
/// `earliest` and `at_once`; then with one between `earliest` and `latest`; then with one until it was decided what becomes of
/// it, in a pairing that finds an entry for as many occurrences as possible and leaves none without one that had it. An entry that carries any `ref` and another
/// `occurred_at` is a different occurrence of ours, or of a second installation, and is not paired by time, unless the
/// ledger may have forgotten that very `ref`. After `at_once`, an `occurred_at` from before the occurrence is of another
/// one, too. What was sent to a tester on trial is nobody's.
pub fn match_timeline(sought: &[Sought], entries: &[Entry]) -> Vec<Match> {
    let mut pairing = Pairing {
        sought,
        entries,
        found: vec![None; sought.len()],
        guessed: vec![false; entries.len()],
        taken: vec![false; entries.len()],
    };
    pairing.by_reference();
    pairing.by_instant();
    pairing.by_time();
    pairing.matches()
}

/// Whether an entry made at `instant` would be in the list, if Crisp had it.
///
/// `complete` says that the last page was read and nothing follows. A complete list proves that only while it is so short
/// that Crisp cannot have cut it; any list proves it whose oldest entry is older than the instant.
pub fn reaches_back_past(entries: &[Entry], complete: bool, instant: Timestamp) -> bool {
    let past = earlier(instant, CLOCK_MARGIN);
    (complete && entries.len() < SHORTEST_CUT_LIST)
        || entries.iter().any(|entry| entry.timestamp < past)
}

/// Whether something that Crisp dates was surely there at an instant of ours, however far the two clocks lie apart.
pub fn is_surely_before(made_at: Timestamp, instant: Timestamp) -> bool {
    made_at <= earlier(instant, CLOCK_MARGIN)
}

/// Whether an event may be posted, as far as Crisp's timeline tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clearance {
    /// Crisp does not have it.
    Post,
    /// Crisp has it, and the row takes this state.
    Has(OutboxState),
    /// The list does not reach back far enough to tell: read the next page.
    ReadOn,
    /// A cache answered, with a list from before: read it again later.
    ReadLater,
    /// There are no more pages, and nobody can tell. The row becomes `unsure`.
    Unsure,
    /// Somebody told of this one or of another one that waited, too. The row becomes `unsure`.
    Contested,
}

/// Judges the pages read so far for one occurrence. `complete` says that nothing follows them, `cached` that a cache
/// answered for one of them.
///
/// What a cache shows is there. What it lacks may have been told since: the app tells Crisp seconds after we have read the
/// list for another event, or we did it ourselves.
pub fn clear(
    sought: &Sought,
    matches: &[Match],
    entries: &[Entry],
    complete: bool,
    cached: bool,
) -> Clearance {
    if let Some(found) = matches.iter().find(|found| found.key == sought.key) {
        Clearance::Has(found.kind.state())
    } else if matches
        .iter()
        .any(|other| other.rivals.contains(&sought.key))
    {
        Clearance::Contested
    } else if reaches_back_past(entries, complete, sought.earliest) {
        if cached {
            Clearance::ReadLater
        } else {
            Clearance::Post
        }
    } else if complete {
        Clearance::Unsure
    } else {
        Clearance::ReadOn
    }
}

/// Until when an entry may be of an occurrence.
type End = fn(&Sought) -> Timestamp;

/// As long as it waited.
const AWAITED: End = |sought| sought.latest.max(sought.awaited_until);

struct Pairing<'a> {
    sought: &'a [Sought],
    entries: &'a [Entry],
    found: Vec<Option<(usize, MatchKind)>>,
    /// The entries that came after the time in which anybody tells who does not wait.
    guessed: Vec<bool>,
    taken: Vec<bool>,
}

impl Pairing<'_> {
    fn matches(&self) -> Vec<Match> {
        let pairs = self.sought.iter().zip(&self.found);
        let matches = pairs.filter_map(|(sought, found)| {
            let (index, kind) = (*found)?;
            let entry = self.entries.get(index)?;
            let rivals = self.sought.iter().filter(|other| {
                self.guessed[index]
                    && other.key != sought.key
                    && other.may_be_told_by(entry, AWAITED)
            });
            Some(Match {
                key: sought.key.clone(),
                kind,
                timestamp: entry.timestamp,
                rivals: rivals.map(|other| other.key.clone()).collect(),
            })
        });
        matches.collect()
    }

    /// A second entry with one `ref` is ours too, and is nobody else's, unless it tells of another instant: then a ledger that
    /// forgot gave the number again.
    fn by_reference(&mut self) {
        let owner_of = |entry: &Entry| {
            let reference = entry.data.get(REF).and_then(Json::as_str)?;
            (self.sought.iter()).position(|sought| sought.reference == reference)
        };
        let ours: Vec<(usize, usize)> = (self.entries.iter().enumerate())
            .filter_map(|(index, entry)| Some((index, owner_of(entry)?)))
            .collect();
        for by_instant in [true, false] {
            for &(index, owner) in &ours {
                let told_of = occurred_at(&self.entries[index]);
                let is_its_instant = told_of == Some(whole_second(self.sought[owner].happened_at));
                let is_again = self.found[owner].is_some_and(|(first, _)| {
                    told_of.is_some() && told_of != occurred_at(&self.entries[first])
                });
                if (is_its_instant || !by_instant) && !is_again {
                    self.taken[index] = true;
                    self.found[owner].get_or_insert((index, MatchKind::OurRef));
                }
            }
        }
    }

    fn by_instant(&mut self) {
        for (index, entry) in self.entries.iter().enumerate() {
            let Some(occurred_at) = occurred_at(entry) else {
                continue;
            };
            if self.taken[index] || is_trial(&entry.data) {
                continue;
            }
            let owner = (0..self.sought.len()).find(|owner| {
                let sought = &self.sought[*owner];
                self.found[*owner].is_none()
                    && sought.texts.contains(&entry.text)
                    && whole_second(sought.happened_at) == occurred_at
            });
            self.pair(owner, index);
        }
    }

    /// The entries in the order of time, each to the occurrence that has the least time left: where nothing waits, no other
    /// pairing has more pairs (Glover's rule for intervals). Whoever tells at once tells of what has just happened, so that
    /// comes before what may have been told since.
    fn by_time(&mut self) {
        let mut order: Vec<usize> = (0..self.entries.len()).collect();
        order.sort_by_key(|index| self.entries[*index].timestamp);
        let fixed: Vec<bool> = self.found.iter().map(Option::is_some).collect();
        let ends: [(End, bool); 4] = [
            (|sought| sought.near, false),
            (|sought| sought.at_once, false),
            (|sought| sought.latest, false),
            (AWAITED, true),
        ];
        for (end, is_guess) in ends {
            for &entry in &order {
                if !self.taken[entry] && !is_trial(&self.entries[entry].data) {
                    self.guessed[entry] = self.place(entry, end, &mut fixed.clone()) && is_guess;
                }
            }
        }
    }

    /// Pairs an entry with an occurrence that has none, or with one whose entry can go to another one instead. `asked` are
    /// the occurrences that need not be asked (again).
    fn place(&mut self, entry: usize, end: End, asked: &mut [bool]) -> bool {
        let mut owners: Vec<usize> = (0..self.sought.len())
            .filter(|owner| self.sought[*owner].may_be_told_by(&self.entries[entry], end))
            .collect();
        owners.sort_by_key(|owner| {
            let sought = &self.sought[*owner];
            (self.found[*owner].is_some(), end(sought), sought.latest)
        });
        for owner in owners {
            if std::mem::replace(&mut asked[owner], true) {
                continue;
            }
            let is_free = match self.found[owner] {
                None => true,
                Some((other, _)) => self.place(other, end, asked),
            };
            if is_free {
                self.pair(Some(owner), entry);
                return true;
            }
        }
        false
    }

    fn pair(&mut self, owner: Option<usize>, entry: usize) {
        if let Some(owner) = owner {
            self.taken[entry] = true;
            let kind =
                if self.sought[owner].is_renumbered && self.entries[entry].data.contains_key(REF) {
                    MatchKind::OurRef
                } else {
                    MatchKind::Foreign
                };
            self.found[owner] = Some((entry, kind));
        }
    }
}

/// When another sender says it happened: RFC 3339, or seconds or milliseconds since the epoch.
fn occurred_at(entry: &Entry) -> Option<Timestamp> {
    const FIRST_MILLISECONDS: i64 = 100_000_000_000;
    let instant = match entry.data.get(OCCURRED_AT)? {
        Json::String(text) => text.trim().parse().ok()?,
        Json::Number(number) => {
            let number = number.as_i64()?;
            if number.abs() < FIRST_MILLISECONDS {
                Timestamp::from_second(number).ok()?
            } else {
                Timestamp::from_millisecond(number).ok()?
            }
        }
        _ => return None,
    };
    Some(whole_second(instant))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Minutes after noon.
    fn minute(minutes: i64) -> Timestamp {
        Timestamp::from_second(1_767_355_200 + minutes * 60).expect("an instant")
    }

    fn sought(key: &str, at: i64) -> Sought {
        Sought::near(
            key.to_owned(),
            vec!["import:completed".to_owned()],
            format!("ref-{key}"),
            minute(at),
            SignedDuration::from_mins(10),
        )
    }

    fn entry(at: i64, data: &Json) -> Entry {
        Entry {
            text: "import:completed".to_owned(),
            data: data.as_object().expect("flat data").clone(),
            timestamp: minute(at),
        }
    }

    fn matches(sought: &[Sought], entries: &[Entry]) -> Vec<(String, MatchKind)> {
        match_timeline(sought, entries)
            .into_iter()
            .map(|found| (found.key, found.kind))
            .collect()
    }

    use MatchKind::{Foreign, OurRef};

    #[test]
    fn our_ref_is_enough_whatever_the_time() {
        let entries = [entry(5_000, &json!({"ref": "ref-a"}))];
        assert_eq!(matches(&[sought("a", 0)], &entries), [("a".into(), OurRef)]);
    }

    #[test]
    fn a_trial_stands_for_nothing() {
        for data in [
            json!({"ref": "test-01", "test": true}),
            json!({"ref": "test-01", "occurred_at": "2026-01-02T12:00:00Z"}),
        ] {
            assert_eq!(matches(&[sought("a", 0)], &[entry(0, &data)]), []);
        }
    }

    #[test]
    fn another_sender_is_known_by_text_and_time() {
        for (at, data, is_found) in [
            (3, json!({}), true),
            (-10, json!({}), true),
            (10, json!({}), true),
            (11, json!({}), false),
            (-11, json!({}), false),
            // Far away, but it says which occurrence it means.
            (4_000, json!({"occurred_at": "2026-01-02T12:00:00Z"}), true),
            (
                4_000,
                json!({"occurred_at": "2026-01-02T13:00:00.25+01:00"}),
                true,
            ),
            (4_000, json!({"occurred_at": 1_767_355_200}), true),
            (4_000, json!({"occurred_at": 1_767_355_200_123_i64}), true),
            (4_000, json!({"occurred_at": "yesterday"}), false),
            // Another `occurred_at` is a sloppy clock unless a `ref` says that it is another occurrence.
            (3, json!({"occurred_at": "2026-01-02T12:03:00Z"}), true),
            (
                3,
                json!({"occurred_at": "2026-01-02T12:03:00Z", "ref": "else"}),
                false,
            ),
            (
                3,
                json!({"occurred_at": "2026-01-02T12:00:00Z", "ref": "else"}),
                true,
            ),
        ] {
            let found = matches(&[sought("a", 0)], &[entry(at, &data)]);
            assert_eq!(found.len(), usize::from(is_found), "{at} {data}");
        }
    }

    #[test]
    fn a_change_that_may_have_another_number_now_is_known_by_time() {
        let renumbered = Sought {
            is_renumbered: true,
            ..sought("a", 0)
        };
        let told = json!({"occurred_at": "2026-01-02T12:03:00Z", "ref": "forgotten"});
        for (at, expected) in [(3, vec![("a".into(), OurRef)]), (11, vec![])] {
            assert_eq!(
                matches(std::slice::from_ref(&renumbered), &[entry(at, &told)]),
                expected
            );
        }
        // What another row of ours is known to have told stays its own.
        let both = [renumbered, sought("b", 3)];
        let of_b = json!({"occurred_at": "2026-01-02T12:03:00Z", "ref": "ref-b"});
        assert_eq!(matches(&both, &[entry(3, &of_b)]), [("b".into(), OurRef)]);
    }

    #[test]
    fn a_number_that_was_given_twice_accounts_for_two_changes() {
        let told = |minute: i64, of: &str| {
            let data = json!({"occurred_at": format!("2026-01-02T12:0{of}:00Z"), "ref": "ref-a"});
            entry(minute, &data)
        };
        let renumbered = Sought {
            is_renumbered: true,
            ..sought("b", 5)
        };
        let both = [sought("a", 0), renumbered];
        let found = [("a".into(), OurRef), ("b".into(), OurRef)];
        assert_eq!(matches(&both, &[told(0, "0"), told(5, "5")]), found);
        assert_eq!(matches(&both, &[told(5, "5"), told(0, "0")]), found);
        // The same entry twice is a request that was applied late, and no other change.
        assert_eq!(
            matches(&both, &[told(0, "0"), told(5, "0")]),
            [("a".into(), OurRef)]
        );
        // What nobody renumbered is not told by a number that is another's.
        let both = [sought("a", 0), sought("b", 6)];
        assert_eq!(
            matches(&both, &[told(0, "0"), told(5, "5")]),
            [("a".into(), OurRef)]
        );
    }

    #[test]
    fn another_text_is_another_event() {
        let mut other = entry(0, &json!({"occurred_at": "2026-01-02T12:00:00Z"}));
        other.text = "Import:completed".to_owned();
        assert_eq!(matches(&[sought("a", 0)], &[other]), []);
    }

    #[test]
    fn one_entry_accounts_for_one_occurrence() {
        let both = [sought("a", 0), sought("b", 5)];
        assert_eq!(
            matches(&both, &[entry(2, &json!({}))]),
            [("a".into(), Foreign)]
        );
        assert_eq!(
            matches(&both, &[entry(2, &json!({})), entry(6, &json!({}))]),
            [("a".into(), Foreign), ("b".into(), Foreign)]
        );
    }

    #[test]
    fn our_own_entry_is_not_taken_for_another_occurrence() {
        let both = [sought("a", 0), sought("b", 5)];
        assert_eq!(
            matches(&both, &[entry(5, &json!({"ref": "ref-b"}))]),
            [("b".into(), OurRef)]
        );
        // Not even when it is there twice.
        assert_eq!(
            matches(
                &both,
                &[
                    entry(5, &json!({"ref": "ref-b"})),
                    entry(4, &json!({"ref": "ref-b"}))
                ]
            ),
            [("b".into(), OurRef)]
        );
    }

    #[test]
    fn as_many_as_possible_find_an_entry() {
        // By distance, minute 10 would take the entry at 6 and leave nothing to minute 0.
        let both = [sought("b", 10), sought("a", 0)];
        assert_eq!(
            matches(&both, &[entry(15, &json!({})), entry(6, &json!({}))]),
            [("b".into(), Foreign), ("a".into(), Foreign)]
        );
    }

    #[test]
    fn a_change_may_have_been_told_before_we_saw_it() {
        let seen_late = sought("a", 0).since(SignedDuration::from_hours(72));
        assert_eq!(
            matches(
                std::slice::from_ref(&seen_late),
                &[entry(-4_000, &json!({}))]
            )
            .len(),
            1
        );
        assert_eq!(matches(&[seen_late], &[entry(-5_000, &json!({}))]).len(), 0);
    }

    #[test]
    fn the_former_name_is_the_same_event() {
        let mut renamed = sought("a", 0);
        renamed.texts = vec!["imported".to_owned(), "import:completed".to_owned()];
        assert_eq!(matches(&[renamed], &[entry(0, &json!({}))]).len(), 1);
    }

    #[test]
    fn an_event_is_posted_only_past_a_list_that_would_show_it() {
        let this = sought("a", 0);
        let noise = |from: i64, count: i64| -> Vec<Entry> {
            (from..from + count)
                .map(|at| Entry {
                    text: "clicked".to_owned(),
                    ..entry(at, &json!({}))
                })
                .collect()
        };
        for (entries, complete, clearance) in [
            (vec![], true, Clearance::Post),
            (noise(1, 19), true, Clearance::Post),
            (noise(1, 20), false, Clearance::ReadOn),
            (noise(1, 20), true, Clearance::Unsure),
            (noise(-13, 20), false, Clearance::Post),
            (
                vec![entry(0, &json!({}))],
                false,
                Clearance::Has(OutboxState::AlreadyInCrisp),
            ),
            (
                vec![entry(0, &json!({"ref": "ref-a"}))],
                false,
                Clearance::Has(OutboxState::Sent),
            ),
        ] {
            let matches = match_timeline(std::slice::from_ref(&this), &entries);
            assert_eq!(clear(&this, &matches, &entries, complete, false), clearance);
            // A cache takes nothing away from what is there, or can never be told.
            let later = match clearance {
                Clearance::Post => Clearance::ReadLater,
                other => other,
            };
            assert_eq!(clear(&this, &matches, &entries, complete, true), later);
        }
    }

    #[test]
    fn a_list_proves_absence_when_it_reaches_back() {
        let list =
            |count: i64| -> Vec<Entry> { (0..count).map(|at| entry(at, &json!({}))).collect() };
        for (count, complete, instant, reaches) in [
            // Nothing was ever there.
            (0, true, 0, true),
            // A page that was not asked to the end.
            (0, false, 0, false),
            (5, true, -100, true),
            (5, false, -100, false),
            // Twenty may be all that Crisp keeps.
            (19, true, -100, true),
            (20, true, -100, false),
            // The oldest is at minute 0: older than minute 3 by more than the clocks differ.
            (20, false, 3, true),
            (20, false, 2, false),
        ] {
            assert_eq!(
                reaches_back_past(&list(count), complete, minute(instant)),
                reaches,
                "{count} {complete} {instant}"
            );
        }
    }
}
