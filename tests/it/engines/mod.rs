//! The user directory against real engines: one story, told on SQLite, PostgreSQL and MariaDB or MySQL.

mod fixture;
pub(crate) mod servers;
mod story;
