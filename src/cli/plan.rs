//! `plan`: the exact calls for one person, or what would become of everybody; nothing is sent.

use std::path::PathBuf;

use super::{
    ConfigOption, Ended, output,
    reach::{self, Reached},
    survey::{self, Survey},
    values,
};
use crate::server::{
    command::{Answer, Operation},
    survey::Question,
};

/// Options of `plan`.
#[derive(Debug, clap::Args)]
#[group(id = "whom", required = true, multiple = true, args = ["email", "all"])]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigOption,
    /// The person; with `--all`, somebody to look at first, and it may be given several times
    #[arg(long, value_parser = values::EMAIL)]
    email: Vec<String>,
    /// Everybody whom the ledger knows or `lifecycle.query` finds: counts by event and reason
    #[arg(long)]
    all: bool,
    /// With `--all`: write a line of JSON for each person to this file. A file that is there already is gone on with, behind
    /// its last whole line
    #[arg(long, value_name = "FILE", requires = "all")]
    out: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(options: Options) -> anyhow::Result<Ended> {
    let form = output::Form::json_if(options.json);
    if options.all {
        return everybody(options, form).await;
    }
    let [email] = options.email.as_slice() else {
        use clap::CommandFactory as _;
        super::Arguments::command()
            .error(
                clap::error::ErrorKind::TooManyValues,
                "several people are planned with `--all`",
            )
            .exit();
    };
    let operation = Operation::Plan {
        email: email.clone(),
    };
    reach::perform(&options.config, operation, options.json).await
}

async fn everybody(options: Options, form: output::Form) -> anyhow::Result<Ended> {
    let reached = Reached::open(&options.config).await?;
    let looked = survey::run(
        &reached,
        Survey {
            question: Question::Refresh,
            emails: options.email,
            out: options.out,
        },
    )
    .await;
    reached.close().await?;
    let answer = match looked? {
        Ok(tally) => {
            let mut lines = tally.lines();
            lines.push("no call was made".to_owned());
            Answer {
                ok: true,
                lines,
                table: Some(tally.table()),
                json: tally.json(),
            }
        }
        Err(why) => Answer::failed(why),
    };
    Ok(output::answer(&answer, form))
}
