//! The binary itself, spawned: what survives `kill -9`, how it ends, what its commands say.
//!
//! Crisp is the sandbox in this process, the app's database a SQLite file, the ledger a file in a temporary folder. A port
//! is always 0; the real one is read from the log.

mod backup;
mod check;
mod commands;
mod disk;
mod durability;
mod erase;
mod kit;
mod listed;
mod memory;
mod order;
mod pages;
pub(crate) mod process;
mod secrets;
mod shutdown;
pub(crate) mod site;
mod typed;
mod unread;
mod watch;
