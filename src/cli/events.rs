//! `events`: arm lifecycle events, list the outbox, decide about what it holds.

use clap::Subcommand;

use super::{ConfigOption, Ended, reach};
use crate::server::command::{Chosen, Operation};

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
    /// Let go what is held, parked or unsure; each is checked again before it is sent
    Release {
        #[command(flatten)]
        choice: Choice,
        /// Past the brake's cap; without it, what is beyond the cap is held again
        #[arg(long)]
        over_cap: bool,
    },
    /// Give up what was not sent
    Drop(Choice),
}

/// Rows of the outbox.
#[derive(Debug, clap::Args)]
#[group(id = "which", required = true, multiple = true, args = ["event", "reference"])]
struct Choice {
    #[command(flatten)]
    config: ConfigOption,
    /// Only this event
    #[arg(long)]
    event: Option<String>,
    /// Only the occurrence with this `ref`, as `events list` shows it
    #[arg(long = "ref", value_name = "REF")]
    reference: Option<String>,
    /// Only this state; `unsure` has to be named to be released
    #[arg(long)]
    state: Option<String>,
    /// At most this many, oldest first
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Choice {
    async fn perform(
        self,
        over_cap: bool,
        operation: impl FnOnce(Chosen) -> Operation,
    ) -> anyhow::Result<Ended> {
        let chosen = Chosen {
            event: self.event,
            reference: self.reference,
            state: self.state,
            limit: self.limit,
            over_cap,
        };
        reach::perform(&self.config, operation(chosen), self.json).await
    }
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
        Command::Release { choice, over_cap } => {
            choice.perform(over_cap, Operation::EventsRelease).await
        }
        Command::Drop(choice) => choice.perform(false, Operation::EventsDrop).await,
    }
}
