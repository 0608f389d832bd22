//! What needs more than one file to be tested: servers, sockets, the binary, and the house itself.

mod crisp_client;
mod floors;
mod house;
mod source;
