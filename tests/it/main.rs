//! What needs more than one file to be tested: servers, sockets, the binary, and the house itself.

mod floors;
mod house;
mod source;
