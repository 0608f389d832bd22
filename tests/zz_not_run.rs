//! Says, as the last test target, which database servers were missing, and what the machine does not allow, so that a green
//! run does not claim too much.
//!
//! libtest has no hook at its end and swallows what passing tests print. Cargo runs test targets in the order of their
//! names, hence this one's. It asks the same question as the tests themselves instead of trusting a file they left.

#[path = "it/engines/servers.rs"]
#[expect(
    dead_code,
    reason = "only the question is shared, not the starting of servers"
)]
mod servers;

#[path = "it/engines/mounts.rs"]
#[expect(dead_code, reason = "only the question is shared")]
mod mounts;

#[expect(clippy::print_stdout, reason = "it is all that this target does")]
fn main() {
    // A runner that lists tests gets an empty list.
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    for engine in [servers::Server::Postgres, servers::Server::MySql] {
        if let servers::Found::Nothing { wanted } = engine.find() {
            println!("NOT RUN: the tests against {engine:?}: {wanted}");
        }
    }
    if !mounts::are_allowed() {
        println!("NOT RUN: the test of a full disk: it takes the right to mount a file system");
    }
}
