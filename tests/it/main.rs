//! What needs more than one file to be tested: servers, sockets, the binary, and the house itself.

mod alerts;
mod binary;
mod budget;
mod config;
mod crisp_client;
mod docs;
mod engines;
mod faults;
mod flood;
mod floors;
mod fuzz;
mod gap;
mod house;
mod identity;
mod ledger;
mod lifecycle;
mod mirror;
mod quota;
mod receiver;
mod refresh;
mod sandbox;
mod soak;
mod source;
mod telemetry;
mod upgrades;
mod world;
