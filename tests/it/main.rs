//! What needs more than one file to be tested: servers, sockets, the binary, and the house itself.

mod config;
mod crisp_client;
mod engines;
mod floors;
mod house;
mod ledger;
mod migrations;
mod sandbox;
mod source;
