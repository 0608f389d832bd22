//! `events release` and `events drop`: what a person decides about the outbox.

use jiff::Timestamp;

use super::super::{ConfigOption, Ended, reach, since, values};
use crate::server::command::{Chosen, Operation};

/// Rows of the outbox.
#[derive(Debug, clap::Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag that somebody types"
)]
#[group(id = "which", required = true, multiple = true, args = ["event", "reference", "state", "since", "all"])]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigOption,
    /// Only this event
    #[arg(long, alias = "name")]
    event: Option<String>,
    /// Only the occurrence with this `ref`, as `events list` shows it
    #[arg(long = "ref", value_name = "REF")]
    reference: Option<String>,
    /// Only this state; `unsure` has to be named
    #[arg(long, value_parser = values::state())]
    state: Option<String>,
    /// Only those that entered their state from here on: `2d` for two days ago, a day, or an instant
    #[arg(long, value_name = "WHEN", value_parser = since::parse)]
    since: Option<Timestamp>,
    /// All of them, but for those that are `unsure`
    #[arg(long, conflicts_with_all = ["event", "reference", "state", "since"])]
    all: bool,
    /// Only of this website
    #[arg(long, value_parser = values::WEBSITE)]
    website: Option<String>,
    /// At most this many, oldest first
    #[arg(long, value_parser = values::limit)]
    limit: Option<u32>,
    /// Do it, also if it is more than one
    #[arg(long)]
    yes: bool,
    /// Only count them
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Options of `events release`.
#[derive(Debug, clap::Args)]
pub(super) struct ReleaseOptions {
    #[command(flatten)]
    chosen: Options,
    /// Past the brake's cap; without it, what is beyond the cap is held again
    #[arg(long)]
    over_cap: bool,
}

impl Options {
    async fn perform(
        self,
        over_cap: bool,
        operation: impl FnOnce(Chosen) -> Operation,
    ) -> anyhow::Result<Ended> {
        let chosen = Chosen {
            event: self.event,
            reference: self.reference,
            state: self.state,
            website: self.website,
            since: self.since,
            // Whoever says how many they are has seen them counted.
            limit: self.limit.unwrap_or(u32::MAX),
            confirmed: self.yes,
            dry_run: self.dry_run,
            over_cap,
        };
        reach::perform(&self.config, operation(chosen), self.json).await
    }
}

pub(super) async fn release(options: ReleaseOptions) -> anyhow::Result<Ended> {
    let ReleaseOptions { chosen, over_cap } = options;
    chosen.perform(over_cap, Operation::EventsRelease).await
}

pub(super) async fn drop(options: Options) -> anyhow::Result<Ended> {
    options.perform(false, Operation::EventsDrop).await
}
