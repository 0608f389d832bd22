//! The sweep: people to whom something happened, whether a conversation brings them up or not.
//!
//! The app's database is asked for who changed, a page at a time. A page enqueues people and sends nothing itself; how far it
//! came stands in the ledger with them, in one commit, so that whatever dies costs that page at the most. A look ends at
//! the time that the database's own clock showed when it began, and the next one begins an overlap before that: a
//! transaction that commits late is found, and no clock is compared with another. What the overlap shows once more is
//! known by a code of the whole row, and passed over.
//!
//! Two looks go side by side. One finds what is new. The other looks, once a day, at everything that can still be sent, and
//! skips nobody: it is for what the first cannot see, and it leaves the first half of the calls that background work has.
//! While people whom a look has found wait, it reads no further page: whatever the table holds, the ledger holds little.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;

use super::{Mode, Outcome, ReconcileError, Reconciled, Reconciler, Run};
use crate::{
    ids::WebsiteId,
    ledger::{
        Enqueue, Lane, SweepCounts, SweepLook, SweepSpan, Sweeping, SweptPage, Urgency, WorkKind,
        Write,
    },
    lifecycle::{Rules, Sweep},
    telemetry::{events, metrics::SweepLabels},
    users::{self, SweepMark, SweepPage, Swept},
};

/// How long a look that may read no further page waits before it asks again.
const FULL: Duration = Duration::from_mins(1);
/// A row that changed so lately may change again and look the same: many tables know no more than the second. Nor may an
/// answer be kept from before the change, because a run that was planned already takes that one.
const UNSETTLED: Duration = Duration::from_secs(5);

/// What became of a page's rows.
#[derive(Debug, Default)]
struct Sorted {
    writes: Vec<Write>,
    known: Vec<(String, Timestamp)>,
    counts: SweepCounts,
}

fn every(sweep: &Sweep, lane: Lane) -> Duration {
    match lane {
        Lane::Changes => sweep.every,
        Lane::Rescan => sweep.rescan,
    }
}

/// From when on a look asks that ends at `until`.
fn since(rules: &Rules, known: &Sweeping, until: Timestamp) -> Timestamp {
    match known.lane {
        Lane::Changes => rules.sweep().changes_since(known.covered_to, until),
        Lane::Rescan => rules.rescan_since(known.reached, until),
    }
}

impl Reconciler {
    /// Reads the next page of a sweep, and enqueues whom it finds.
    pub async fn sweep(&self, run: &mut Run, lane: &str) -> Result<Reconciled, ReconcileError> {
        let Some(lane) = Lane::parse(lane).filter(|_| self.users.can_sweep()) else {
            run.trace.fact("there is no `lifecycle.query`");
            return Ok(Reconciled::default());
        };
        let settings = self.rules.sweep();
        let sweeps = self.ledger.sweeps().await?;
        let known = sweeps
            .into_iter()
            .find(|one| one.lane == lane)
            .unwrap_or_else(|| Sweeping::fresh(lane));
        let due = known.covered_at.map(|at| after(at, every(settings, lane)));
        if let (None, Some(due)) = (&known.look, due)
            && due > run.now
        {
            run.trace.fact("the next look is not due yet");
            return Ok(again(due));
        }
        if self.ledger.swept_waiting(lane, settings.backlog).await? >= settings.backlog {
            run.trace
                .fact("enough people wait: no further page is read");
            return Ok(again(after(run.now, FULL)));
        }
        let begun = known.look.clone();
        // A look that was begun while observing has passed everybody by; one that was begun live is not gone on with by an
        // observer, who would pass by whom it has not come to.
        let begun = begun.filter(|look| match run.hand.mode() {
            Mode::Live => !look.passed_by(),
            Mode::Observe | Mode::Plan => !look.has_found(),
        });
        let mut look = match begun {
            Some(look) => look,
            None => self.begin(&known, run.now).await?,
        };
        let page = self.users.sweep(next_page(settings, &look)).await?;
        let sorted = self.sorted(run, lane, &look, &page).await?;
        self.count(lane, sorted.counts);
        look.counts.add(sorted.counts);
        run.trace.fact(format!(
            "{lane}: {} rows, {} people enqueued, {} known, {} unusable",
            sorted.counts.rows, sorted.counts.enqueued, sorted.counts.known, sorted.counts.unusable
        ));
        let forget_before = (lane == Lane::Changes).then_some(look.since);
        let mut writes = sorted.writes;
        let (sweeping, at) = if page.is_last {
            tell(lane, &look, run.now);
            let at = after(look.began_at, every(settings, lane)).max(run.now);
            // Who observes enqueues nobody: all of them are still to be found once it is live.
            let is_live = run.hand.mode() == Mode::Live;
            let over = Sweeping {
                lane,
                look: None,
                covered_to: if is_live {
                    Some(look.until)
                } else {
                    known.covered_to
                },
                reached: if is_live {
                    let reached = known.reached.unwrap_or(look.since);
                    Some(reached.min(look.since))
                } else {
                    known.reached
                },
                span: if is_live {
                    let before = known.covered_at;
                    Some(SweepSpan::with(
                        known.span,
                        look.began_at,
                        before,
                        settings.pause(),
                    ))
                } else {
                    // It passed everybody by, and answers for nobody.
                    known.span.map(|span| SweepSpan {
                        unbroken_since: run.now,
                        ..span
                    })
                },
                covered_at: Some(look.began_at),
                finished_at: Some(run.now),
                last: look.counts,
            };
            (over, at)
        } else {
            if let Some(last) = page.rows.last() {
                look.after = Some((last.mark.at.clone(), last.mark.key.clone()));
            }
            let look = Some(look);
            (Sweeping { look, ..known }, run.now)
        };
        writes.push(Write::Swept(SweptPage {
            sweeping,
            known: sorted.known,
            forget_before,
        }));
        Ok(Reconciled {
            writes,
            ..again(at)
        })
    }

    /// A look at what happened up to now, on the database's clock: it is read before the first page is asked for.
    async fn begin(&self, known: &Sweeping, now: Timestamp) -> Result<SweepLook, ReconcileError> {
        let until = self.users.now().await?;
        Ok(SweepLook {
            since: since(&self.rules, known, until),
            until,
            after: None,
            began_at: now,
            counts: SweepCounts::default(),
        })
    }

    /// Whom of a page to enqueue.
    async fn sorted(
        &self,
        run: &Run,
        lane: Lane,
        look: &SweepLook,
        page: &users::SweptPage,
    ) -> Result<Sorted, ReconcileError> {
        let mut sorted = Sorted {
            counts: SweepCounts {
                pages: 1,
                rows: u64::try_from(page.rows.len()).unwrap_or(u64::MAX)
                    + u64::from(page.without_key),
                unusable: u64::from(page.without_key),
                ..SweepCounts::default()
            },
            ..Sorted::default()
        };
        let mut usable = Vec::with_capacity(page.rows.len());
        for row in &page.rows {
            match self.website_of(row).filter(|_| !row.is_without_address) {
                Some(website) => {
                    let code = self
                        .ledger
                        .pseudonyms()
                        .row(&format!("{website}\n{}", row.text));
                    usable.push((row, website, code));
                }
                None => sorted.counts.unusable += 1,
            }
        }
        // In `observe` nobody is enqueued, so nobody is known either: who changed lately is found again once it is `live`.
        if run.hand.mode() != Mode::Live {
            return Ok(sorted);
        }
        let known: BTreeSet<String> = match lane {
            Lane::Changes => {
                let codes: Vec<String> = usable.iter().map(|(.., code)| code.clone()).collect();
                self.ledger.known_rows(&codes).await?.into_iter().collect()
            }
            Lane::Rescan => BTreeSet::new(),
        };
        let read_again = before(look.until, self.rules.sweep().overlap);
        let settled = before(look.until, UNSETTLED.max(self.users.keeps_for()));
        let mut people = BTreeSet::new();
        for (row, website, code) in usable {
            if known.contains(&code) {
                sorted.counts.known += 1;
                continue;
            }
            if lane == Lane::Changes && (read_again..settled).contains(&row.at) {
                sorted.known.push((code, row.at));
            }
            if people.insert((website.clone(), row.key.clone())) {
                sorted.counts.enqueued += 1;
                sorted.writes.push(refresh(lane, website, row, run.now));
            }
        }
        Ok(sorted)
    }

    /// The website of a row: what it says itself, else the one that is configured.
    pub fn website_of(&self, row: &Swept) -> Option<WebsiteId> {
        let ours = &self.settings.websites;
        let named = row
            .website
            .as_deref()
            .or(self.rules.sweep().website.as_deref());
        match named {
            Some(named) => WebsiteId::parse(named)
                .ok()
                .filter(|website| ours.is_empty() || ours.contains(website)),
            None => match ours.as_slice() {
                [only] => Some(only.clone()),
                _ => None,
            },
        }
    }

    fn count(&self, lane: Lane, counts: SweepCounts) {
        let outcomes = [
            ("enqueued", counts.enqueued),
            ("known", counts.known),
            ("unusable", counts.unusable),
        ];
        for (outcome, count) in outcomes {
            let labels = SweepLabels {
                lane: lane.as_str(),
                outcome,
            };
            let rows = &self.metrics.watch.sweep.rows;
            rows.get_or_create(&labels).inc_by(count);
        }
    }
}

fn next_page(settings: &Sweep, look: &SweepLook) -> SweepPage {
    SweepPage {
        since: look.since,
        until: look.until,
        after: look.after.clone().map(|(at, key)| SweepMark { at, key }),
        limit: settings.page,
    }
}

/// A refresh that nobody waits for.
fn refresh(lane: Lane, website: WebsiteId, row: &Swept, now: Timestamp) -> Write {
    Write::Enqueue(Enqueue {
        kind: WorkKind::Person,
        website,
        key: row.key.as_str().to_owned(),
        trigger: lane.trigger(),
        run_at: now,
        urgency: Urgency::Timer,
        debounce: Duration::ZERO,
    })
}

fn tell(lane: Lane, look: &SweepLook, now: Timestamp) {
    let duration = now.duration_since(look.began_at).unsigned_abs();
    tracing::info!(
        event = events::SWEEP_FINISHED,
        lane = lane.as_str(),
        pages = look.counts.pages,
        rows = look.counts.rows,
        enqueued = look.counts.enqueued,
        known = look.counts.known,
        unusable = look.counts.unusable,
        since = %look.since,
        until = %look.until,
        duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        "looked for people to whom something happened"
    );
}

fn again(at: Timestamp) -> Reconciled {
    Reconciled {
        again_at: Some(at),
        ..Reconciled::nothing(Outcome::Listed)
    }
}

fn before(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_sub(by).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn after(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}
