//! `events`: arm lifecycle events, list the outbox.

use clap::Subcommand;

use super::{ConfigOption, Ended, reach};
use crate::server::command::Operation;

/// Options of `events`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Let lifecycle events go out, from this moment on; what happened before stays unsent
    Arm {
        #[command(flatten)]
        config: ConfigOption,
        /// Only this event
        #[arg(long)]
        event: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// The outbox: what is due, what was sent, what was not and why
    List {
        #[command(flatten)]
        config: ConfigOption,
        /// Only this state, such as `held` or `sent`
        #[arg(long)]
        state: Option<String>,
        /// At most this many rows
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

pub(super) async fn run(options: Options) -> anyhow::Result<Ended> {
    match options.command {
        Command::Arm {
            config,
            event,
            json,
        } => reach::perform(&config, Operation::EventsArm { event }, json).await,
        Command::List {
            config,
            state,
            limit,
            json,
        } => reach::perform(&config, Operation::EventsList { state, limit }, json).await,
    }
}
