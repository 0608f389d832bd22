//! Erasures' tables: tombstones, receipts, debts.

mod debts;
mod erase;
mod look;
mod receipts;
mod remove;
mod tombstones;

pub(super) use debts::{enqueue_look, settle_conversation};
pub(super) use remove::forget_person;
pub(super) use tombstones::{leave_out, stops};

use super::{super::erasure, LedgerError, Store, begin, cells, engine, work};

/// A website and a key there.
type Pair = (String, String);
