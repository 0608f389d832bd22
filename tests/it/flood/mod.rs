//! More than there is room for, and worse than it should be: what the public listener takes, refuses, and holds meanwhile.

mod connections;
mod junk;
mod overload;
mod quota;
mod wire;
