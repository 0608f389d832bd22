//! One binary: the real app against the stateful sandbox.

mod config;
mod crisp_client;
mod engines;
mod ledger;
mod migrations;
