//! `deliveries`: list, show, retry.

use clap::Subcommand;

use super::{ConfigOption, Ended, reach, values};
use crate::server::command::Operation;

/// Options of `deliveries`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The webhooks that were accepted, newest first
    List {
        #[command(flatten)]
        config: ConfigOption,
        /// Only this webhook event, such as `message:send`
        #[arg(long)]
        event: Option<String>,
        /// Only this conversation
        #[arg(long, value_parser = values::SESSION)]
        session: Option<String>,
        /// At most this many rows
        #[arg(long, default_value_t = 50, value_parser = values::limit)]
        limit: u32,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// One delivery, the work it led to and what was decided
    Show {
        #[command(flatten)]
        config: ConfigOption,
        /// The delivery's id
        id: i64,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Do the work of one delivery again, or revive every dead letter; sends no lifecycle event that went out before
    #[command(group = clap::ArgGroup::new("what").required(true).args(["id", "dead"]))]
    Retry {
        #[command(flatten)]
        config: ConfigOption,
        /// The delivery's id
        id: Option<i64>,
        /// Every dead letter
        #[arg(long)]
        dead: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

pub(super) async fn run(options: Options) -> anyhow::Result<Ended> {
    match options.command {
        Command::List {
            config,
            event,
            session,
            limit,
            json,
        } => {
            reach::perform(
                &config,
                Operation::DeliveriesList {
                    event,
                    session,
                    limit,
                },
                json,
            )
            .await
        }
        Command::Show { config, id, json } => {
            reach::perform(&config, Operation::DeliveriesShow { id }, json).await
        }
        Command::Retry {
            config, id, json, ..
        } => reach::perform(&config, Operation::DeliveriesRetry { id }, json).await,
    }
}
