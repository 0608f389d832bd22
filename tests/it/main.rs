//! What needs sockets or servers: one binary, a module per subject.

mod crisp_client;
mod sandbox;
