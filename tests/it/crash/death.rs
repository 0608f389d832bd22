//! How the process dies [here](super::here): what it does is dropped in the middle.

use std::time::Duration;

use crisp_sync::{
    sandbox::Fault,
    worker::{Step, Worker},
};
use jiff::Timestamp;

use super::{acts::Point, here::Here};

/// A row that is due within this is worth waiting for before somebody dies.
const NEAR: Duration = Duration::from_mins(20);

/// Works until there is nothing to do.
pub(super) async fn busy(worker: Worker) {
    while matches!(worker.step().await, Ok(Step::Worked(_))) {}
}

impl Here {
    /// Something is worked, and dropped; another process takes up what is left. When that was.
    pub(super) async fn is_dropped(&mut self, at: Point) -> Timestamp {
        self.world.hooks_arrive().await;
        if at.when_due {
            // What was asked for first, so that what follows from it is there.
            self.world.settle().await;
        }
        let due = self.world.service.worker.next_due().await;
        let soon = self.world.now() + NEAR;
        if let Some(due) = due.expect("readable").filter(|due| *due <= soon) {
            self.idle_until(due).await;
        }
        let world = &mut self.world;
        let died_at = world.now();
        let marker = world.sandbox.call_marker();
        if at.in_flight {
            world.sandbox.fault(Fault {
                hold: true,
                skip: u32::try_from(at.calls - 1).expect("few"),
                status: (!at.applied).then_some(500),
                ..Fault::default()
            });
        }
        let mut working = tokio::spawn(busy(world.service.worker.clone()));
        let ended = {
            let arrived = world.sandbox.wait_until("some requests", |state| {
                state.calls().since(marker).len() >= at.calls
            });
            tokio::select! {
                // It had less to do than that.
                _ended = &mut working => true,
                waited = arrived => { waited.expect("it works on"); false }
            }
        };
        if !ended {
            for _ in 0..at.turns {
                tokio::task::yield_now().await;
            }
            working.abort();
            drop(working.await);
        }
        world.sandbox.release();
        world.sandbox.clear_faults();
        world.restart(|_| {}).await;
        died_at
    }
}
