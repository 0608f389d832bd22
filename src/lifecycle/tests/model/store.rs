//! The ledger in memory, the clock that it goes by, and how much it may know less than happened.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::{caller::Caller, *};

/// What the ledger holds.
#[derive(Debug, Clone)]
pub(super) struct Store {
    pub(super) remembered: Remembered,
    pub(super) edges: Edges,
    /// What a person let go, by key.
    pub(super) released: BTreeSet<String>,
    /// Of what nobody could prove, what a person answers for that it was not told.
    pub(super) vouched: BTreeSet<String>,
    /// Events whose brake has latched.
    pub(super) latched: BTreeSet<String>,
    /// The times of which it may know less than happened.
    pub(super) gaps: Vec<Gap>,
    /// Which contact it knows.
    pub(super) contact: u32,
    pub(super) at: i64,
}

impl Store {
    pub(super) fn new(remembered: Remembered) -> Self {
        Self {
            remembered,
            edges: Edges::default(),
            released: BTreeSet::new(),
            vouched: BTreeSet::new(),
            latched: BTreeSet::new(),
            gaps: Vec::new(),
            contact: 0,
            at: 0,
        }
    }
}

impl Caller {
    /// The next heartbeat takes a jump for a time in which nobody listened.
    pub(super) fn set_clock(&mut self, minutes: i64) {
        let from = self.ours();
        // Whoever sets it back after a gap puts it right: by a clock that is behind, what the gap hides would seem to have
        // happened after it.
        let minutes = if self.store.gaps.is_empty() {
            minutes
        } else {
            minutes.max(-self.off.max(0))
        };
        self.off += minutes;
        if minutes > 5 {
            self.note_gap(from);
        }
        // What began by the wrong clock began so much earlier, and none of it is not over.
        let (now, back) = (
            minute(self.ours()),
            SignedDuration::from_mins(minutes.min(0)),
        );
        for gap in &mut self.store.gaps {
            if gap.from > now {
                gap.from = now.min(gap.from + back);
            }
            gap.until = gap.until.min(now);
        }
    }

    /// Nobody listens for so long, and the ledger stays as it was.
    pub(super) fn is_away(&mut self, minutes: i64) {
        let from = self.ours();
        self.wait(minutes);
        if minutes > 5 {
            self.note_gap(from);
        }
    }

    /// The ledger knows less than happened since then, and so does whoever answered for something.
    fn note_gap(&mut self, from: i64) {
        let (from, until) = (minute(from), minute(self.ours()));
        note_gap(&mut self.store.gaps, Gap { from, until });
        self.store.vouched.clear();
    }

    pub(super) fn restore(&mut self) {
        let Some(backup) = self.backup.take() else {
            return;
        };
        // Nobody restores a ledger by a clock that is behind: what happened since would seem to lie ahead.
        self.off = self.off.max(0);
        self.book.plan_seen = None;
        let copied_at = backup.at;
        self.store = backup;
        self.note_gap(copied_at);
        self.store.at = self.ours();
    }
}
