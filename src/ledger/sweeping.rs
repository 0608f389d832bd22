//! How far the sweep has come: the look that is under way, page by page, and what the last one found.
//!
//! There are two, which do not wait for one another: one for what is new, one that looks at everything once more.

use jiff::Timestamp;
use std::time::Duration;

use crate::{ids::WebsiteId, lifecycle::Swept};

use super::{Enqueue, Ledger, LedgerError, Trigger, Urgency, WorkKind, work::words};

/// A sweep is about no website: its rows say to which they belong.
const ALL: &str = "all";

words! {
    /// Which sweep.
    Lane {
        /// What is new.
        Changes = "changes",
        /// All that can still be sent, once more.
        Rescan = "rescan",
    }
}

impl Lane {
    /// Why somebody whom it finds is refreshed.
    pub fn trigger(self) -> Trigger {
        match self {
            Self::Changes => Trigger::Sweep,
            Self::Rescan => Trigger::Rescan,
        }
    }
}

/// What a look has found so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct SweepCounts {
    /// Pages that were read.
    pub pages: u64,
    /// Rows on them.
    pub rows: u64,
    /// People who were enqueued.
    pub enqueued: u64,
    /// Rows that the look before had read, too.
    pub known: u64,
    /// Rows of nobody whom Crisp could know: without a key, an address, or a website of ours.
    pub unusable: u64,
}

impl SweepCounts {
    /// Adds what a page has found.
    pub fn add(&mut self, page: Self) {
        self.pages += page.pages;
        self.rows += page.rows;
        self.enqueued += page.enqueued;
        self.known += page.known;
        self.unusable += page.unusable;
    }
}

/// A look that is under way. Its bounds are on the clock of the app's database.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct SweepLook {
    /// From when on.
    pub since: Timestamp,
    /// Up to when.
    pub until: Timestamp,
    /// The row at which the last page ended: `at` and key, as the database showed them.
    #[serde(skip)]
    pub after: Option<(String, String)>,
    /// When it began, on the ledger's clock.
    pub began_at: Timestamp,
    /// What it has found so far.
    pub counts: SweepCounts,
}

impl SweepLook {
    /// Whether there was somebody on its pages, and all of them were passed by: so does a process that observes.
    pub fn passed_by(&self) -> bool {
        let counts = self.counts;
        counts.rows > counts.unusable && !self.has_found()
    }

    /// Whether somebody on its pages was enqueued, or had been before: not by a process that observes.
    pub fn has_found(&self) -> bool {
        self.counts.enqueued + self.counts.known > 0
    }
}

/// Since when looks follow one another, on the ledger's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SweepSpan {
    /// When the first of them began: each goes on where the one before ended, after a pause, too.
    pub since: Timestamp,
    /// When the first one began that had no pause after it.
    pub unbroken_since: Timestamp,
}

impl SweepSpan {
    /// The span once another look is over that began at an instant, after the last one that did at `before`.
    pub fn with(
        span: Option<Self>,
        began_at: Timestamp,
        before: Option<Timestamp>,
        pause: Duration,
    ) -> Self {
        let follows =
            before.is_some_and(|before| began_at.duration_since(before).unsigned_abs() <= pause);
        let unbroken_since = span.filter(|_| follows).map(|span| span.unbroken_since);
        Self {
            since: span.map_or(began_at, |span| span.since),
            unbroken_since: unbroken_since.unwrap_or(began_at),
        }
    }
}

/// How far a sweep has come.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Sweeping {
    /// Which.
    pub lane: Lane,
    /// The look that is under way.
    pub look: Option<SweepLook>,
    /// Everything before this instant, on the clock of the app's database, was looked at.
    pub covered_to: Option<Timestamp>,
    /// The earliest instant from which on a look ever went.
    pub reached: Option<Timestamp>,
    /// Since when looks follow one another; told of [`Lane::Changes`] alone.
    pub span: Option<SweepSpan>,
    /// When the last look that is over began, on the ledger's clock: what happened since has not been looked at.
    pub covered_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// What it found.
    pub last: SweepCounts,
}

impl Sweeping {
    /// One that has not begun.
    pub fn fresh(lane: Lane) -> Self {
        Self {
            lane,
            look: None,
            covered_to: None,
            reached: None,
            span: None,
            covered_at: None,
            finished_at: None,
            last: SweepCounts::default(),
        }
    }

    /// Of somebody who was to be looked at since an instant: what the looks before answer for. Looks that begin further apart
    /// than `pause` have one between them.
    pub fn answers_for(&self, asked_at: Timestamp, pause: Duration) -> Option<Swept> {
        let (span, covered_at) = (self.span?, self.covered_at?);
        let to = if covered_at < asked_at {
            covered_at
        } else {
            // They waited while others were looked for. The look that found them began no more than a pause before that, and
            // the one before, which did not find them, no more than another.
            asked_at.checked_sub(pause.saturating_mul(2)).ok()?
        };
        (span.unbroken_since <= to).then_some(Swept {
            from: span.since,
            to,
        })
    }
}

/// Since when a sweep has not looked, also one that never could.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweepLag {
    /// Which.
    pub lane: Lane,
    /// When its last look that is over began; for one of which none is, when it was first to begin.
    pub since: Timestamp,
    /// What its last attempt failed over.
    pub error: Option<String>,
}

impl SweepLag {
    /// How long ago that was.
    pub fn lag(&self, now: Timestamp) -> Duration {
        Duration::try_from(now.duration_since(self.since)).unwrap_or_default()
    }
}

/// What a page of a sweep leaves behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweptPage {
    /// How far it has come.
    pub sweeping: Sweeping,
    /// Codes of the rows that the next look will read, too, each with its instant: they need not be worked again.
    pub known: Vec<(String, Timestamp)>,
    /// Codes of rows before this instant will not be read again.
    pub forget_before: Option<Timestamp>,
}

impl Ledger {
    /// Has the sweeps go on. One whose next look is not due yet finds that out by itself.
    pub async fn begin_sweeps(&self, now: Timestamp) -> Result<(), LedgerError> {
        let website = WebsiteId::parse(ALL).expect("it is plain");
        let row = |lane: &Lane| Enqueue {
            kind: WorkKind::Sweep,
            website: website.clone(),
            key: lane.as_str().to_owned(),
            trigger: Trigger::FollowUp,
            run_at: now,
            urgency: Urgency::Timer,
            debounce: Duration::ZERO,
        };
        self.enqueue(Lane::ALL.iter().map(row).collect(), now).await
    }

    /// How far the sweeps have come: those that ever began.
    pub async fn sweeps(&self) -> Result<Vec<Sweeping>, LedgerError> {
        self.shared.store.sweeps().await
    }

    /// Since when the sweeps have not looked: those that ever were to begin.
    pub async fn sweep_lags(&self, now: Timestamp) -> Result<Vec<SweepLag>, LedgerError> {
        let website = WebsiteId::parse(ALL).expect("it is plain");
        let sweeps = self.sweeps().await?;
        let mut lags = Vec::new();
        for lane in Lane::ALL {
            let known = sweeps.iter().find(|one| one.lane == *lane);
            let row = self.work(WorkKind::Sweep, &website, lane.as_str()).await?;
            let covered_at = known.and_then(|known| known.covered_at);
            let began_at = known.and_then(|known| known.look.as_ref().map(|look| look.began_at));
            let asked_at = row.as_ref().map(|row| row.first_triggered_at.min(now));
            if let Some(since) = covered_at.or(began_at).or(asked_at) {
                lags.push(SweepLag {
                    lane: *lane,
                    since,
                    error: row.and_then(|row| row.last_error),
                });
            }
        }
        Ok(lags)
    }

    /// Which of these codes the look before has left.
    pub async fn known_rows(&self, codes: &[String]) -> Result<Vec<String>, LedgerError> {
        self.shared.store.known_rows(codes).await
    }

    /// How many people wait who were found by a sweep; no more than `limit` are counted.
    pub async fn swept_waiting(&self, lane: Lane, limit: u32) -> Result<u32, LedgerError> {
        self.shared.store.swept_waiting(lane, limit).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_mins(20);

    fn minute(minutes: i64) -> Timestamp {
        Timestamp::from_second(1_767_355_200 + minutes * 60).expect("an instant")
    }

    #[test]
    fn looks_answer_for_whom_they_did_not_find_and_not_past_a_pause() {
        // (when looks began, since when somebody was to be looked at, up to when the looks answer)
        for (looks, asked, to) in [
            (&[0, 5, 10][..], 12, Some(10)),
            // Found by one of them, and looked at after two more.
            (&[0, 5, 50, 55], 51, None),
            (&[0, 15, 30, 45, 60, 75], 61, Some(21)),
            // A pause before the look that found them.
            (&[0, 5, 300], 302, Some(300)),
            (&[0, 5, 300, 305, 310], 301, None),
            (&[], 5, None),
        ] {
            let mut sweeping = Sweeping::fresh(Lane::Changes);
            for began_at in looks.iter().map(|began| minute(*began)) {
                let (span, before) = (sweeping.span, sweeping.covered_at);
                sweeping.span = Some(SweepSpan::with(span, began_at, before, PAUSE));
                sweeping.covered_at = Some(began_at);
            }
            let answers = sweeping.answers_for(minute(asked), PAUSE);
            let expected = to.map(|to| Swept {
                from: minute(0),
                to: minute(to),
            });
            assert_eq!(answers, expected, "{looks:?}, {asked}");
        }
    }
}
