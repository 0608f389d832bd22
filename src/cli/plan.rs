//! `plan`: the exact calls, none made.

use super::{ConfigOption, Ended, reach};
use crate::server::command::Operation;

/// Options of `plan`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigOption,
    /// The person
    #[arg(long)]
    email: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(options: Options) -> anyhow::Result<Ended> {
    reach::perform(
        &options.config,
        Operation::Plan {
            email: options.email,
        },
        options.json,
    )
    .await
}
