//! crisp-sync keeps Crisp true.
//!
//! It verifies Crisp's signed webhooks, looks the user up in the app's own database, refreshes the conversation's
//! session data and segments and the contact, and pushes lifecycle events that Crisp missed.
//!
//! # The house
//!
//! A file imports from floors below and from its own folder, never up and never sideways to another folder of its floor
//! (`app` → `config` is the one exception). `tests/it/floors.rs` reads every `use crate::` and fails on a breach.
//!
//! | floor | rooms | what lives there |
//! |---|---|---|
//! | 6 roof | `main.rs`, [`cli`] | what an operator types |
//! | 5 plan | [`app`], [`config`] | composition; which settings |
//! | 4 edges | [`server`], [`worker`], [`alerts`] | what wakes us: a request, due work; and how we wake a person |
//! | 3 use case | [`reconcile`] | where the adapters meet |
//! | 2 adapters | [`crisp`], [`ledger`], [`users`] | one outside thing each; none imports another |
//! | 1 core | [`context`], [`lifecycle`], [`identity`] | decisions: no async, no IO, no SQL, no Crisp JSON |
//! | 0 ground | [`ids`], [`data`], [`record`], [`expression`], [`pseudonym`], [`clock`], [`breaker`], [`telemetry`] | values; what is down; log and metric names |
//! | beside | [`sandbox`] | the stand-in for Crisp; imports only [`crisp`]'s signature and model, and the ground |

// Nested async functions are nested types, and release builds lay them out deeper than the default of 128 allows.
#![recursion_limit = "512"]

pub mod alerts;
pub mod app;
pub mod breaker;
pub mod cli;
pub mod clock;
pub mod config;
pub mod context;
pub mod crisp;
pub mod data;
pub mod expression;
pub mod identity;
pub mod ids;
pub mod ledger;
pub mod lifecycle;
pub mod pseudonym;
pub mod reconcile;
pub mod record;
pub mod sandbox;
pub mod server;
pub mod telemetry;
pub mod users;
pub mod worker;
