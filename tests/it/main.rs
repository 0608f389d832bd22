//! Tests that need sockets, servers or the whole program: one binary, a module each.

mod engines;
