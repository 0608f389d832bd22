//! `events arm`: from now on; or with `--dry-run`, what that would let out.

use super::super::{
    ConfigOption, Ended, output,
    reach::{self, Reached},
    survey::{self, Survey},
    values,
};
use crate::server::{
    command::{Answer, Operation},
    survey::Question,
};

/// Options of `events arm`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigOption,
    /// Only this event
    #[arg(long)]
    event: Option<String>,
    /// Arm nothing: count by website, event and reason what would become of everything that has happened. Asks the app's
    /// database about everybody whom the ledger knows or `lifecycle.query` finds, and Crisp about nobody
    #[arg(long)]
    dry_run: bool,
    /// With `--dry-run`: look at this person too, first; may be given several times
    #[arg(long, requires = "dry_run", value_parser = values::EMAIL)]
    email: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(options: Options) -> anyhow::Result<Ended> {
    let event = options.event;
    if !options.dry_run {
        let operation = Operation::EventsArm { event };
        return reach::perform(&options.config, operation, options.json).await;
    }
    let reached = Reached::open(&options.config).await?;
    let looked = survey::run(
        &reached,
        Survey {
            question: Question::Arm { event },
            emails: options.email,
            out: None,
        },
    )
    .await;
    reached.close().await?;
    let answer = match looked? {
        Ok(tally) => {
            let mut lines = tally.lines();
            lines.push("nothing was armed, nothing was written".to_owned());
            Answer {
                ok: true,
                lines,
                table: Some(tally.table()),
                json: tally.json(),
            }
        }
        Err(why) => Answer::failed(why),
    };
    Ok(output::answer(&answer, output::Form::json_if(options.json)))
}
