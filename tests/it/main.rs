//! Tests that need servers and sockets: one binary, a module per subject.

mod sandbox;
