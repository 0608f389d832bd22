//! Where the worker draws its jitter from.

use std::sync::{Arc, Mutex, PoisonError};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

/// Chance enters here and nowhere below. Like the clock, a test holds the other kind.
#[derive(Debug, Clone, Default)]
pub enum Chance {
    /// The machine's.
    #[default]
    System,
    /// What follows from a seed: a story that is told twice waits twice the same.
    Seeded(Arc<Mutex<StdRng>>),
}

impl Chance {
    /// Chance that follows from `seed`.
    pub fn seeded(seed: u64) -> Self {
        Self::Seeded(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// Draws a jitter factor from `0.0..1.0`.
    pub(super) fn jitter(&self) -> f64 {
        match self {
            Self::System => rand::rng().random_range(0.0..1.0),
            Self::Seeded(seeded) => seeded
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .random_range(0.0..1.0),
        }
    }
}
