//! What is fuzzed: one function per target, which panics where a promise does not hold.
//!
//! The fuzzer calls them through `bin/`, and `tests/it/fuzz.rs` with every input that was ever worth keeping, so that
//! `cargo test` holds what fuzzing found. Inputs are text wherever that is possible: a corpus is read by people too.

mod config;
mod envelope;
mod query;
mod signature;
mod template;

pub(crate) use self::{
    config::config, envelope::envelope, query::query, signature::signature, template::template,
};
