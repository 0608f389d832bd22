//! How far the sweep has come: the look that is under way, page by page, and what the last one found.
//!
//! There are two, which do not wait for one another: one for what is new, one that looks at everything once more.

use jiff::Timestamp;
use std::time::Duration;

use crate::ids::WebsiteId;

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
            covered_at: None,
            finished_at: None,
            last: SweepCounts::default(),
        }
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
