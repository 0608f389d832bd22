//! Crisp's timelines of a person's contacts, read as far back as it takes to tell.

use jiff::Timestamp;

use super::{contact::person_ref, outbox::known, send::Sending};
use crate::{
    crisp::{client::PersonRef, error::CrispError},
    ledger::{FormerContact, OutboxRow},
    lifecycle::{
        OutboxState, Sender, reason,
        timeline::{Clearance, Entry, Match, clear, match_timeline, reaches_back_past},
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

/// How many pages of a timeline are read before it counts as incomplete.
const PAGES: u32 = 5;
/// A page with fewer entries is the last one (lists of Crisp's REST API have twenty a page).
const FULL_PAGE: usize = 20;

impl Sending<'_> {
    /// Whether the timelines let a row go: that of the contact, and where the app may have told it while the person had
    /// another address, that of their contact there.
    pub(super) async fn clear(&mut self, row: &OutboxRow) -> Result<Cleared, CrispError> {
        let rules = &self.reconciler.rules;
        let sought = rules.sought(&known(row), self.edges, &self.outbox.gaps);
        self.read_past(sought.earliest).await?;
        let is_all_read = self.read_former(sought.earliest).await?;
        let matches = self.matches();
        let mut cleared = Cleared::Post;
        for read in self.timeline.iter().chain(&self.former_timelines) {
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

    /// Reads pages until the contact's list reaches back past `instant`, or ends. Pages that were read stay read.
    pub(super) async fn read_past(&mut self, instant: Timestamp) -> Result<(), CrispError> {
        let read = self.timeline.take();
        let mut read = read.unwrap_or_else(|| self.unread(person_ref(self.user)));
        let done = self.read_on(&mut read, instant).await;
        self.timeline = Some(read);
        done
    }

    /// The same of the contacts that the person had at other addresses by then. `false`: one of them cannot be read.
    async fn read_former(&mut self, instant: Timestamp) -> Result<bool, CrispError> {
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
            match self.read_on(&mut read, instant).await {
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
        instant: Timestamp,
    ) -> Result<(), CrispError> {
        while !read.complete
            && read.pages < PAGES
            && (read.pages == 0 || !reaches_back_past(&read.entries, read.complete, instant))
        {
            let page = read.pages + 1;
            let timeline = self.run.hand.timeline(self.website, &read.whose, page);
            let Some(timeline) = timeline.await? else {
                break;
            };
            read.pages = page;
            read.cached |= timeline.cached;
            read.complete = timeline.events.len() < FULL_PAGE;
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

    /// Every occurrence of the user that the timelines show. All rows are sought at once, or one entry could answer for two.
    pub(super) fn matches(&self) -> Vec<Match> {
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
        let reads = self.timeline.iter().chain(&self.former_timelines);
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
