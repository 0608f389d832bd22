//! `events list`: the outbox.

use anyhow::Context as _;
use jiff::Timestamp;
use serde_json::Value as Json;

use super::super::{ConfigOption, Ended, output, reach::Reached, since, values};
use crate::{
    lifecycle::OutboxState,
    server::command::{Answer, Listed, Operation},
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
    /// At most this many rows, the newest first; without it 50, and all of them as CSV and JSON
    #[arg(long, value_parser = values::limit)]
    limit: Option<u32>,
    /// With the key that the app's database has for each person
    #[arg(long)]
    show_user: bool,
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

/// How many rows a table has where nobody says.
const TABLE: u32 = 50;
/// How many rows are asked for at once: whoever holds the ledger never has more of them in memory.
const PAGE: u32 = 1_000;

pub(super) async fn run(options: Options) -> anyhow::Result<Ended> {
    let form = output::Form::of(options.json, options.csv);
    let most = match (form, options.limit) {
        (_, Some(limit)) => limit,
        (output::Form::Words, None) => TABLE,
        (output::Form::Json | output::Form::Csv, None) => u32::MAX,
    };
    let listed = Listed {
        states: options.states(),
        event: options.event,
        website: options.website,
        user: options.user,
        email: options.email,
        since: options.since,
        until: options.until,
        limit: 0,
        behind: None,
        shown: None,
        show_user: options.show_user,
    };
    let reached = Reached::open(&options.config).await?;
    let answer = whole(&reached, listed, most, form).await?;
    reached.close().await?;
    Ok(output::answer(&answer, form))
}

/// Asks for page after page, until there are as many as were asked for, or no more.
async fn whole(
    reached: &Reached,
    mut listed: Listed,
    most: u32,
    form: output::Form,
) -> anyhow::Result<Answer> {
    let mut whole: Option<Answer> = None;
    let mut left = most;
    loop {
        listed.limit = left.min(PAGE);
        let is_last = form == output::Form::Words && left <= PAGE;
        listed.shown = is_last.then(|| (most - left).into());
        let page = reached
            .perform(Operation::EventsList(listed.clone()))
            .await?;
        let (Some(rows), true) = (page.json.as_array(), page.ok) else {
            return Ok(page);
        };
        let count = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        let last = rows.last().and_then(|row| row["ref"].as_str());
        let last = last.map(str::to_owned);
        anyhow::ensure!(
            last.is_none() || last != listed.behind,
            "the running service gives no more than a page\nhint: is it an older version?"
        );
        listed.behind = last;
        left = left.saturating_sub(count);
        match &mut whole {
            None => whole = Some(page),
            Some(whole) => join(whole, page),
        }
        if left == 0 || count < listed.limit {
            break;
        }
    }
    whole.context("there is a first page")
}

/// Puts a page behind those before it.
fn join(whole: &mut Answer, page: Answer) {
    if let (Json::Array(rows), Json::Array(more)) = (&mut whole.json, page.json) {
        rows.extend(more);
    }
    if let (Some(table), Some(more)) = (&mut whole.table, page.table) {
        table.rows.extend(more.rows);
        table.below = more.below;
    }
}
