//! Crisp's timelines of a person's contacts, read as far back as it takes to tell.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use jiff::Timestamp;

use super::{contact::person_ref, outbox::known, send::Sending};
use crate::{
    crisp::{client::PersonRef, error::CrispError},
    ledger::{FormerContact, OutboxRow},
    lifecycle::{
        OutboxState, Sender, reason,
        timeline::{Clearance, Entry, Match, MatchKind, clear, match_timeline, reaches_back_past},
    },
};

/// A read of a contact's timeline.
#[derive(Debug)]
pub(super) struct TimelineRead {
    whose: PersonRef,
    pub(super) at: Timestamp,
    pub(super) cached: bool,
    pages: u32,
    pub(super) complete: bool,
    pub(super) entries: Vec<Entry>,
}

/// Whether a row may go, as far as timelines tell.
pub(super) enum Cleared {
    /// Crisp does not have it.
    Post,
    /// Crisp has it.
    Has(OutboxState),
    /// A cache answered: later.
    Later,
    /// Nobody can tell, for this reason.
    Unsure(&'static str),
}

/// How many entries of a timeline are enough: one that does not reach back by then counts as incomplete.
const ENTRIES: usize = 100;
/// How many pages are read for them at the most: pages of ten are read as far back as pages of twenty.
const PAGES: u32 = 10;

/// The most entries that were ever seen on one page. Nobody says how many a page of a timeline has, and a short page that is
/// taken for the last one proves that Crisp lacks what stands on the next. So a page is the last one only if another was
/// longer.
#[derive(Debug, Clone, Default)]
pub(super) struct LongestPage(Arc<AtomicUsize>);

impl LongestPage {
    /// Whether nothing follows a page of so many entries, as far as it is known.
    fn is_last(&self, entries: usize) -> bool {
        entries == 0 || entries < self.0.fetch_max(entries, Ordering::Relaxed)
    }
}

impl TimelineRead {
    /// Whether a further page may tell something about what happened at `instant` or later.
    fn goes_on(&self, instant: Timestamp) -> bool {
        self.pages == 0
            || !self.complete
                && self.pages < PAGES
                && self.entries.len() < ENTRIES
                && !reaches_back_past(&self.entries, self.complete, instant)
    }
}

impl Sending<'_> {
    /// Whether the timelines let a row go: that of the contact, and where the app may have told it while the person had
    /// another address, that of their contact there.
    pub(super) async fn clear(&mut self, row: &OutboxRow) -> Result<Cleared, CrispError> {
        let rules = &self.reconciler.rules;
        let sought = rules.sought(&known(row), self.edges, &self.outbox.gaps);
        self.read_past(row, sought.earliest).await?;
        let is_all_read = self.read_former(row, sought.earliest).await?;
        let matches = self.matches();
        let mut cleared = Cleared::Post;
        for read in self.reads() {
            match clear(&sought, &matches, &read.entries, read.complete, read.cached) {
                Clearance::Has(state) => return Ok(Cleared::Has(state)),
                Clearance::Contested => return Ok(Cleared::Unsure(reason::ONE_OF_SEVERAL)),
                Clearance::ReadOn | Clearance::Unsure => {
                    cleared = Cleared::Unsure(reason::TIMELINE_TOO_SHORT);
                }
                Clearance::ReadLater if matches!(cleared, Cleared::Post) => {
                    cleared = Cleared::Later;
                }
                Clearance::ReadLater | Clearance::Post => {}
            }
        }
        Ok(if is_all_read {
            cleared
        } else {
            Cleared::Unsure(reason::ADDRESS_CHANGED)
        })
    }

    /// Reads pages until the contact's list shows a row, reaches back past `instant`, or ends. Pages that were read stay read.
    pub(super) async fn read_past(
        &mut self,
        row: &OutboxRow,
        instant: Timestamp,
    ) -> Result<(), CrispError> {
        let read = self.timeline.take();
        let mut read = read.unwrap_or_else(|| self.unread(person_ref(self.user)));
        let done = self.read_on(&mut read, row, instant).await;
        self.timeline = Some(read);
        done
    }

    /// The same of the contacts that the person had at other addresses by then. `false`: one of them cannot be read.
    async fn read_former(
        &mut self,
        row: &OutboxRow,
        instant: Timestamp,
    ) -> Result<bool, CrispError> {
        let mut is_all_read = true;
        if self.reconciler.rules.sender() == Sender::Sole {
            return Ok(is_all_read);
        }
        for former in self.mirror.former.clone() {
            if former.until < instant {
                continue;
            }
            let Some(people) = former.people else {
                is_all_read = false;
                continue;
            };
            if self.mirror.people.as_ref() == Some(&people) {
                continue;
            }
            if self.former_gone.contains(&people) {
                is_all_read = false;
                continue;
            }
            let whose = PersonRef::Id(people.clone());
            let reads = &mut self.former_timelines;
            let read = (reads.iter().position(|read| read.whose == whose))
                .map(|index| reads.swap_remove(index));
            let mut read = read.unwrap_or_else(|| self.unread(whose));
            match self.read_on(&mut read, row, instant).await {
                Ok(()) => self.former_timelines.push(read),
                Err(CrispError::PeopleNotFound) => {
                    self.former_gone.push(people);
                    is_all_read = false;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(is_all_read)
    }

    fn unread(&self, whose: PersonRef) -> TimelineRead {
        TimelineRead {
            whose,
            at: self.run.now,
            cached: false,
            pages: 0,
            complete: false,
            entries: Vec::new(),
        }
    }

    async fn read_on(
        &mut self,
        read: &mut TimelineRead,
        row: &OutboxRow,
        instant: Timestamp,
    ) -> Result<(), CrispError> {
        while read.goes_on(instant) && !self.shows(read, row) {
            let page = read.pages + 1;
            let timeline = self.run.hand.timeline(self.website, &read.whose, page);
            let Some(timeline) = timeline.await? else {
                break;
            };
            read.pages = page;
            read.cached |= timeline.cached;
            read.complete = self.reconciler.longest_page.is_last(timeline.events.len());
            let now = self.run.now;
            read.entries
                .extend(timeline.events.into_iter().map(|event| {
                    Entry {
                        text: event.text,
                        data: event.data,
                        // An entry without a readable time is an entry all the same: it may be the very one that is sought, and
                        // it must not make the list look shorter. It proves nothing about how far the list reaches back.
                        timestamp: event
                            .timestamp
                            .and_then(|at| Timestamp::from_millisecond(at).ok())
                            .unwrap_or(now),
                    }
                }));
        }
        Ok(())
    }

    /// Whether the pages read so far show a row, so that nothing has to be proven. Where we may have told it ourselves, somebody
    /// else's entry does not end the search for ours.
    fn shows(&self, read: &TimelineRead, row: &OutboxRow) -> bool {
        if read.entries.is_empty() {
            return false;
        }
        let (rules, known) = (&self.reconciler.rules, known(row));
        let may_be_ours =
            known.attempted_at.is_some() || rules.proof_from(&known, &self.outbox.gaps).is_some();
        let matches = self.matches_in(self.reads().chain([read]));
        let found = matches.iter().find(|found| found.key == row.key);
        found.is_some_and(|found| found.kind == MatchKind::OurRef || !may_be_ours)
    }

    fn reads(&self) -> impl Iterator<Item = &TimelineRead> {
        self.timeline.iter().chain(&self.former_timelines)
    }

    /// Every occurrence of the user that the timelines show.
    pub(super) fn matches(&self) -> Vec<Match> {
        self.matches_in(self.reads())
    }

    /// All rows are sought at once, or one entry could answer for two.
    fn matches_in<'r>(&self, reads: impl Iterator<Item = &'r TimelineRead>) -> Vec<Match> {
        let rules = &self.reconciler.rules;
        let sought: Vec<_> = self
            .outbox
            .known()
            .iter()
            .map(|known| rules.sought(known, self.edges, &self.outbox.gaps))
            .collect();
        // Whoever has the address now may be told there what is theirs.
        let until = |read: &TimelineRead| {
            let mut former = self.mirror.former.iter();
            let whose = |one: &&FormerContact| one.people.clone().map(PersonRef::Id);
            let found = former.find(|one| whose(one).as_ref() == Some(&read.whose));
            found.map_or(Timestamp::MAX, |one| rules.told_there_until(one.until))
        };
        let entries: Vec<Entry> = reads
            .flat_map(|read| {
                let until = until(read);
                let told = read
                    .entries
                    .iter()
                    .filter(move |one| one.timestamp <= until);
                told.cloned()
            })
            .collect();
        match_timeline(&sought, &entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_the_last_one_only_beside_a_longer_one() {
        let longest = LongestPage::default();
        // Shared by whoever reconciles.
        let other = longest.clone();
        for (entries, is_last) in [
            (0, true),
            (3, false),
            (3, false),
            (2, true),
            (10, false),
            (9, true),
            (10, false),
            (0, true),
        ] {
            assert_eq!(longest.is_last(entries), is_last, "{entries}");
        }
        assert!(other.is_last(9));
    }
}
