//! Trying anew what a server ended before it was committed.

use std::time::Duration;

use super::LedgerError;

/// How often the same is tried. Two processes that are in each other's way once rarely are twice.
const TRIES: u32 = 5;

/// Whether to try anew, after a pause that keeps two from meeting again: at most a sixth of a second in all.
pub(super) async fn may_again(error: &LedgerError, tried: &mut u32) -> bool {
    *tried += 1;
    if *tried >= TRIES || !matches!(error, LedgerError::Interrupted { .. }) {
        return false;
    }
    let most = 5_u64 << *tried;
    tokio::time::sleep(Duration::from_millis(rand::random_range(1..=most))).await;
    true
}

/// Runs a method of the store, and again if nothing of it is kept because the server ended its transaction.
macro_rules! again {
    ($attempt:expr) => {{
        let mut tried = 0;
        loop {
            match $attempt.await {
                Err(error) if $crate::ledger::again::may_again(&error, &mut tried).await => {}
                result => break result,
            }
        }
    }};
}

pub(super) use again;
