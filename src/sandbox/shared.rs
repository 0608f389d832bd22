//! The one lock around the state, and the bell that rings when it changes.

use std::{
    net::TcpStream,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use super::state::State;
use crate::clock::Clock;

/// The state, the clock, and a bell that rings at every change.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    state: Arc<Mutex<State>>,
    pub(super) clock: Clock,
    bell: Arc<watch::Sender<u64>>,
}

impl Shared {
    pub(super) fn new(state: State, clock: Clock) -> Self {
        Self {
            state: Arc::new(Mutex::new(state)),
            clock,
            bell: Arc::new(watch::Sender::new(1)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock is a failing test; the state itself is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state.
    pub(super) fn act<T>(&self, act: impl FnOnce(&mut State, i64) -> T) -> T {
        self.change(|state, now| (act(state, now), true))
    }

    /// Takes something out of the state, which is a change only if there was something.
    pub(super) fn take<T, U>(
        &self,
        take: impl FnOnce(&mut State, i64) -> (Option<T>, U),
    ) -> (Option<T>, U) {
        self.change(|state, now| {
            let taken = take(state, now);
            let changed = taken.0.is_some();
            (taken, changed)
        })
    }

    fn change<T>(&self, act: impl FnOnce(&mut State, i64) -> (T, bool)) -> T {
        let now = self.clock.now().as_millisecond();
        let mut state = self.lock();
        let late = state.apply_late(now, now);
        let (result, changed) = act(&mut state, now);
        if changed || late > 0 {
            state.version += 1;
            self.bell.send_replace(state.version);
        }
        result
    }

    pub(super) fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.lock())
    }

    pub(super) fn version(&self) -> u64 {
        *self.bell.borrow()
    }

    pub(super) async fn changed_since(&self, version: u64) {
        let mut bell = self.bell.subscribe();
        // The sender lives as long as `self`.
        let _never_closed = bell.wait_for(|now| *now != version).await;
    }

    pub(super) async fn wait_for<T>(&self, mut test: impl FnMut(&State) -> Option<T>) -> T {
        loop {
            let seen = self.version();
            if let Some(result) = self.look(&mut test) {
                return result;
            }
            self.changed_since(seen).await;
        }
    }
}

/// The socket of a request, so that a fault can cut it.
pub(super) struct Connection(pub(super) TcpStream);

impl Connection {
    pub(super) fn cut(&self) {
        // Already closed by the other side is as good.
        let _closed = self.0.shutdown(std::net::Shutdown::Both);
    }
}
