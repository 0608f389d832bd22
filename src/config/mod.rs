//! Which settings: from a file and the environment to a [`Config`] that is right by construction.
//!
//! Two tiers. [`file::ConfigFile`] is what was written; [`Config`] is what is meant: URLs, durations, secrets, and the
//! compiled definition. Whoever holds a `Config` asks nothing again. Order of precedence: defaults, file, environment,
//! flags. Every fault is reported at once, each at its line and with its next step ([`ConfigFaults`]).
//!
//! Secrets come from the environment or from files named in it or in the configuration, never from the configuration
//! itself; neither `Debug` nor a fault shows one.

pub mod environment;
pub mod faults;
pub mod file;
pub mod quantity;

mod document;
mod reading;
mod redact;

pub use environment::Environment;
pub use faults::{ConfigFaults, Fault, Palette, Place};
