//! `events`: arm lifecycle events, list the outbox, decide about what it holds, and help those who write campaigns.

mod arm;
mod backfill;
mod cheatsheet;
mod decide;
mod list;
mod test;

use clap::Subcommand;

use super::Ended;

/// Options of `events`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Let lifecycle events go out, from this moment on; what happened before stays unsent
    Arm(arm::Options),
    /// The outbox: what is due, what was sent, what was not and why
    List(list::Options),
    /// Let go what is held, parked or unsure; each is checked again before it is sent
    Release(decide::ReleaseOptions),
    /// Give up what was not sent
    Drop(decide::Options),
    /// Let go what happened before an event was armed: moves its watermark back
    Backfill(backfill::Options),
    /// Send one event to one of `lifecycle.testers`, marked as a test; it counts for nothing
    Test(test::Options),
    /// Every configured event with its placeholders, for those who write campaigns
    Cheatsheet(cheatsheet::Options),
}

pub(super) async fn run(options: Options) -> anyhow::Result<Ended> {
    match options.command {
        Command::Arm(options) => arm::run(options).await,
        Command::List(options) => list::run(options).await,
        Command::Release(options) => decide::release(options).await,
        Command::Drop(options) => decide::drop(options).await,
        Command::Backfill(options) => backfill::run(options).await,
        Command::Test(options) => test::run(options).await,
        Command::Cheatsheet(options) => cheatsheet::run(options).await,
    }
}
