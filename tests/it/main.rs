//! One binary: the real app against the stateful sandbox.

mod ledger;
mod migrations;
