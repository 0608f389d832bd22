//! How time passes [here](super::here): both processes work, everything that falls due is worked at its moment, and the service
//! says that it is there.

use std::time::Duration;

use crisp_sync::{ledger::OutboxFilter, lifecycle::OutboxState, worker::Step};
use jiff::Timestamp;

use super::here::Here;

/// The service says that it is there long before anybody believes that it is not.
const BETWEEN_BEATS: Duration = Duration::from_mins(4);

impl Here {
    /// Both processes take what they get, at once.
    pub(super) async fn compete(&self) {
        let Some((second, _)) = &self.second else {
            return;
        };
        for _ in 0..50 {
            self.world.hooks_arrive().await;
            let both =
                futures_util::future::join(self.world.service.worker.step(), second.worker.step());
            let (one, other) = both.await;
            if one.expect("the ledger works") == Step::Idle
                && other.expect("the ledger works") == Step::Idle
            {
                return;
            }
        }
        panic!("two processes do not come to rest");
    }

    /// What nothing has become of yet.
    pub(super) async fn undecided(&self) -> Vec<String> {
        let filter = OutboxFilter {
            states: vec![
                OutboxState::Scheduled,
                OutboxState::Due,
                OutboxState::Sending,
            ],
            limit: 100,
            ..OutboxFilter::default()
        };
        let rows = self.world.service.ledger.outbox_list(&filter).await;
        rows.expect("readable")
            .iter()
            .map(|row| format!("{row:?}"))
            .collect()
    }

    /// Time goes by in a service that is alive, and what falls due is worked at its moment.
    pub(super) async fn pass(&mut self, time: Duration) {
        let until = self.world.now() + time;
        for _ in 0..500 {
            self.compete().await;
            self.world.settle().await;
            let due = self.world.service.worker.next_due().await;
            let due = due.expect("readable").filter(|due| *due < until);
            self.idle_until(due.unwrap_or(until)).await;
            if due.is_none() {
                self.compete().await;
                self.world.settle().await;
                return;
            }
        }
        panic!("too much falls due within {time:?}");
    }

    /// Time goes by, and nothing happens but that the service says that it is there.
    pub(super) async fn idle_until(&self, until: Timestamp) {
        let world = &self.world;
        while world.now() < until {
            let left = until.duration_since(world.now()).unsigned_abs();
            world.clock.advance(left.min(BETWEEN_BEATS));
            world.service.worker.beat().await;
        }
    }
}
