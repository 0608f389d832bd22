//! `events test`: one event to one tester, shown before it is sent.

use super::super::{ConfigOption, Ended, output, reach::Reached, values};
use crate::server::command::{Answer, Operation};

/// Options of `events test`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigOption,
    /// The event
    #[arg(long)]
    event: String,
    /// Whom to: an address of `lifecycle.testers`
    #[arg(long, value_name = "EMAIL", value_parser = values::EMAIL)]
    to: String,
    /// The website, where several are named
    #[arg(long, value_parser = values::WEBSITE)]
    website: Option<String>,
    /// Show what would be sent, and send nothing
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(options: Options) -> anyhow::Result<Ended> {
    let reached = Reached::open(&options.config).await?;
    let ended = test(&reached, options).await;
    reached.close().await?;
    ended
}

async fn test(reached: &Reached, options: Options) -> anyhow::Result<Ended> {
    let form = output::Form::json_if(options.json);
    let operation = |shown| Operation::EventsTest {
        event: options.event.clone(),
        to: options.to.clone(),
        website: options.website.clone(),
        shown,
    };
    let shown = reached.perform(operation(None)).await?;
    if !shown.ok || options.dry_run {
        return Ok(output::answer(&shown, form));
    }
    let Answer { json: payload, .. } = &shown;
    let sending = operation(Some(payload.clone()));
    if !options.json {
        output::answer(&shown, form);
    }
    let sent = reached.perform(sending).await?;
    Ok(output::answer(&sent, form))
}
