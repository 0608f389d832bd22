//! `events cheatsheet`: every configured event, for those who write campaigns.

use super::super::{ConfigOption, Ended, output, reach, values};
use crate::server::command::Operation;

/// Options of `events cheatsheet`.
#[derive(Debug, clap::Args)]
#[group(id = "form", multiple = false, args = ["md", "csv", "json"])]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigOption,
    /// Show the values of this tester, of `lifecycle.testers`. Without it, those of the first one whom the app knows; where
    /// there is none, examples are invented. Nobody else's values are shown
    #[arg(long, value_name = "EMAIL", value_parser = values::EMAIL)]
    tester: Option<String>,
    /// Print Markdown, as without any of these
    #[arg(long)]
    md: bool,
    /// Print CSV, a line for each placeholder
    #[arg(long)]
    csv: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(options: Options) -> anyhow::Result<Ended> {
    let tester = options.tester;
    let operation = Operation::EventsCheatsheet { tester };
    let mut answer = reach::answer(&options.config, operation).await?;
    let form = output::Form::of(options.json, options.csv);
    if form == output::Form::Words {
        // The table is the same once more, for a sheet.
        answer.table = None;
    }
    Ok(output::answer(&answer, form))
}
