//! `crisp-sync demo`: the whole thing on one machine, with a sample app, a stand-in for Crisp and an inbox to look at.

pub mod sample;
