//! Crisp's timeline of a contact, read as far back as it takes to tell.

use jiff::Timestamp;

use super::{contact::person_ref, outbox::known, send::Sending};
use crate::{
    crisp::error::CrispError,
    ledger::OutboxRow,
    lifecycle::timeline::{Clearance, Entry, Match, clear, match_timeline, reaches_back_past},
};

/// A read of a contact's timeline.
#[derive(Debug)]
pub(super) struct TimelineRead {
    pub(super) at: Timestamp,
    pub(super) cached: bool,
    pages: u32,
    pub(super) complete: bool,
    pub(super) entries: Vec<Entry>,
}

/// How many pages of a timeline are read before it counts as incomplete.
const PAGES: u32 = 5;
/// A page with fewer entries is the last one (lists of Crisp's REST API have twenty a page).
const FULL_PAGE: usize = 20;

impl Sending<'_> {
    /// Whether the timeline lets a row go.
    pub(super) async fn clear(&mut self, row: &OutboxRow) -> Result<Clearance, CrispError> {
        let rules = &self.reconciler.rules;
        let sought = rules.sought(&known(row), self.edges, self.outbox.gap);
        self.read_past(sought.earliest).await?;
        let Some(read) = &self.timeline else {
            return Ok(Clearance::Unsure);
        };
        let matches = self.matches(read);
        Ok(clear(
            &sought,
            &matches,
            &read.entries,
            read.complete,
            read.cached,
        ))
    }

    /// Reads pages until the list reaches back past `instant`, or ends. Pages that were read stay read.
    pub(super) async fn read_past(&mut self, instant: Timestamp) -> Result<(), CrispError> {
        let person = person_ref(self.user);
        let read = self.timeline.get_or_insert_with(|| TimelineRead {
            at: self.run.now,
            cached: false,
            pages: 0,
            complete: false,
            entries: Vec::new(),
        });
        while !read.complete
            && read.pages < PAGES
            && (read.pages == 0 || !reaches_back_past(&read.entries, read.complete, instant))
        {
            let page = read.pages + 1;
            let Some(timeline) = self.run.hand.timeline(self.website, &person, page).await? else {
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

    /// Every occurrence of the user that the timeline shows. All rows are sought at once, or one entry could answer for two.
    pub(super) fn matches(&self, read: &TimelineRead) -> Vec<Match> {
        let rules = &self.reconciler.rules;
        let sought: Vec<_> = self
            .outbox
            .known()
            .iter()
            .map(|known| rules.sought(known, self.edges, self.outbox.gap))
            .collect();
        match_timeline(&sought, &read.entries)
    }
}
