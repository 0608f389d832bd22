//! `events list`: the outbox.

use jiff::Timestamp;

use super::super::{ConfigOption, Ended, output, reach, since, values};
use crate::{
    lifecycle::OutboxState,
    server::command::{Listed, Operation},
};

/// Options of `events list`.
#[derive(Debug, clap::Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag that somebody types"
)]
#[group(id = "states", multiple = false, args = ["sent", "held", "skipped", "state"])]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigOption,
    /// Only what Crisp confirmed
    #[arg(long)]
    sent: bool,
    /// Only what waits for a person: held and unsure
    #[arg(long)]
    held: bool,
    /// Only what was not sent, each with its reason
    #[arg(long)]
    skipped: bool,
    /// Only this state, such as `scheduled` or `no_consent`
    #[arg(long, value_parser = values::state())]
    state: Option<String>,
    /// Only this event
    #[arg(long, alias = "name")]
    event: Option<String>,
    /// Only of this website
    #[arg(long, value_parser = values::WEBSITE)]
    website: Option<String>,
    /// Only of the person with this key in the app's database
    #[arg(long, value_name = "KEY", conflicts_with = "email", value_parser = values::USER)]
    user: Option<String>,
    /// Only of the person with this address
    #[arg(long, value_parser = values::EMAIL)]
    email: Option<String>,
    /// Only what entered its state from here on: `2d` for two days ago, a day, or an instant
    #[arg(long, value_name = "WHEN", value_parser = since::parse)]
    since: Option<Timestamp>,
    /// Only what entered its state before
    #[arg(long, value_name = "WHEN", value_parser = since::parse)]
    until: Option<Timestamp>,
    /// At most this many rows, the newest first
    #[arg(long, default_value_t = 50, value_parser = values::limit)]
    limit: u32,
    /// Print CSV
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Options {
    fn states(&self) -> Vec<String> {
        let states: &[OutboxState] = if self.sent {
            &[OutboxState::Sent]
        } else if self.held {
            &[OutboxState::Held, OutboxState::Unsure]
        } else if self.skipped {
            &OutboxState::SKIPPED
        } else {
            return self.state.iter().cloned().collect();
        };
        states
            .iter()
            .map(|state| state.as_str().to_owned())
            .collect()
    }
}

pub(super) async fn run(options: Options) -> anyhow::Result<Ended> {
    let form = output::Form::of(options.json, options.csv);
    let listed = Listed {
        states: options.states(),
        event: options.event,
        website: options.website,
        user: options.user,
        email: options.email,
        since: options.since,
        until: options.until,
        limit: options.limit,
    };
    let answer = reach::answer(&options.config, Operation::EventsList(listed)).await?;
    Ok(output::answer(&answer, form))
}
