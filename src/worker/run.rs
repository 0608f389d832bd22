//! The loop: a step and a wait, and beside it what keeps the ledger in order.

use std::time::Duration;

use jiff::Timestamp;
use tokio::{sync::futures::Notified, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{Claimed, Worker, log};

/// The heartbeat of an idle service; a gap between two of them that is much longer means that nobody listened.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// Looking for what is old reads the whole of some tables, and an hour more or less is nothing to what is kept for days.
const PRUNE: Duration = Duration::from_hours(1);
/// However quiet it is, the table is looked at this often: a wake-up may be lost, a poll is not.
const POLL: Duration = Duration::from_secs(10);
/// After a fault of the ledger the worker does not spin.
const AFTER_FAULT: Duration = Duration::from_secs(1);

/// A worker that found nothing due does not look again sooner than this for what comes in.
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// A wait of nothing would spin when the clock and the ledger disagree by a hair.
const MIN_WAIT: Duration = Duration::from_millis(5);

/// In a flood every commit wakes the worker. It rests first, and looks once at all that came meanwhile.
async fn gathered(wake: Notified<'_>) {
    tokio::time::sleep(BETWEEN_LOOKS).await;
    wake.await;
}

impl Worker {
    /// Steps and waits until `stop`; then finishes what is in hand. Dropping the future aborts it: leases expire.
    pub async fn run(&self, stop: CancellationToken) {
        // Beside one another: neither a busy day nor a long removal of old rows may silence the heartbeat, also while the
        // last work is being finished.
        tokio::select! {
            () = self.work_until(stop) => {}
            () = self.upkeep() => {}
        }
    }

    async fn work_until(&self, stop: CancellationToken) {
        let mut working = JoinSet::new();
        let mut was_triggered = false;
        while !stop.is_cancelled() {
            // Registered before the table is looked at, so that a trigger in between is not slept through.
            let wake = self.ledger.wake().notified();
            let claimed = match self.not_yet(std::mem::take(&mut was_triggered)).await {
                Some(wait) => Ok(Claimed::NotYet { wait }),
                None => self.claim_into(&mut working).await,
            };
            let (wait, has_room) = match claimed {
                Ok(Claimed::Rows { more: true, .. }) => continue,
                Ok(Claimed::NotYet { wait }) => (wait, true),
                Ok(Claimed::Rows { more: false, .. } | Claimed::Nothing) => {
                    (self.until_due().await, true)
                }
                // Only an end makes room, whatever else is due or comes in.
                Ok(Claimed::NoRoom) => (POLL, false),
                // Nor does anything that comes in make Crisp answer.
                Ok(Claimed::Held { until }) => (self.until(until).clamp(MIN_WAIT, POLL), false),
                // Nor may each trigger try a ledger again that has just failed.
                Err(error) => {
                    log::fault(&error);
                    (AFTER_FAULT, false)
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = working.join_next(), if !working.is_empty() => log::ended(&ended),
                () = gathered(wake), if has_room => was_triggered = true,
                () = tokio::time::sleep(wait) => {}
            }
            // One claim for all that ended meanwhile: each is a commit.
            while let Some(ended) = working.try_join_next() {
                log::ended(&ended);
            }
        }
        while let Some(ended) = working.join_next().await {
            log::ended(&ended);
        }
    }

    /// Says that somebody listens, and now and then drops what is old, for as long as it is polled.
    async fn upkeep(&self) {
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut pruning = tokio::time::interval(PRUNE);
        pruning.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let beating = async {
            loop {
                heartbeat.tick().await;
                self.beat().await;
            }
        };
        let pruning = async {
            loop {
                pruning.tick().await;
                if let Err(error) = self
                    .ledger
                    .prune(self.settings.keep, self.clock.now())
                    .await
                {
                    log::fault(&error);
                }
            }
        };
        tokio::join!(beating, pruning);
    }

    fn until(&self, at: Timestamp) -> Duration {
        Duration::try_from(at.duration_since(self.clock.now())).unwrap_or_default()
    }

    /// How long to wait, if a trigger led to nothing that is due now: many ask for a later run, and to look is cheaper
    /// than to claim.
    async fn not_yet(&self, was_triggered: bool) -> Option<Duration> {
        if !was_triggered {
            return None;
        }
        let wait = self.until_due().await;
        (wait > MIN_WAIT).then_some(wait)
    }

    async fn until_due(&self) -> Duration {
        match self.next_due().await {
            Ok(Some(due)) => self.until(due).clamp(MIN_WAIT, POLL),
            Ok(None) => POLL,
            Err(error) => {
                log::fault(&error);
                AFTER_FAULT
            }
        }
    }

    /// Says that somebody listens. After a time in which nobody did, what happened meanwhile is looked for.
    pub async fn beat(&self) {
        let beat = async {
            self.ledger.correct(&self.clock).await?;
            let now = self.clock.now();
            match self.ledger.heartbeat(now).await? {
                Some(_gap) => self.ledger.look_for_gaps(&[], now).await,
                None => Ok(()),
            }
        };
        if let Err(error) = beat.await {
            log::fault(&error);
        }
    }
}
