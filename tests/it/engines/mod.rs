//! The user directory against real engines: one story, told on SQLite, PostgreSQL and MariaDB or MySQL.

mod database;
mod fixture;
pub(crate) mod mounts;
pub(crate) mod servers;
pub(crate) mod silence;
mod story;
mod sweeps;

pub(crate) use database::{Database, execute, with_a_server, with_database};
