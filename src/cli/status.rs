//! `status`: what the service is at.

use super::{ConfigOption, Ended, reach};
use crate::server::command::Operation;

/// Options of `status`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigOption,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(options: Options) -> anyhow::Result<Ended> {
    reach::perform(&options.config, Operation::Status, options.json).await
}
