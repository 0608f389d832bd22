//! Crisp: what it sends us and what we ask of it.
//!
//! Inbound, [`signature`] proves that bytes come from Crisp and [`event`] reads what they say. Outbound, [`client`] makes
//! the calls we need over the shapes of [`model`], and [`error`] says what to do when one fails. [`quota`] estimates how
//! much of the day's allowance is left. Nothing here decides what a conversation should hold, and nothing retries.

pub mod client;
pub mod diagnosis;
pub mod error;
pub mod event;
pub mod model;
pub mod quota;
pub mod signature;

pub use client::{Client, Meter, PersonRef, install_tls};
pub use error::{CrispError, Verdict};
