//! `events backfill`: what happened before an event was armed goes out after all, as far as its `max_age` allows.

use jiff::Timestamp;

use super::super::{
    ConfigOption, Ended, output,
    reach::Reached,
    since,
    survey::{self, Survey},
    values,
};
use crate::server::{
    command::{Answer, Operation},
    survey::Question,
};

/// Options of `events backfill`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigOption,
    /// The event
    #[arg(long)]
    event: String,
    /// Back to here, and never beyond the event's `max_age`: `2d` for two days ago, a day, or an instant
    #[arg(long, value_name = "WHEN", value_parser = since::parse)]
    since: Timestamp,
    /// Move the watermark, and put everybody to work who has an event to get; without it they are only counted
    #[arg(long)]
    yes: bool,
    /// Look at this person too, first; may be given several times
    #[arg(long, value_parser = values::EMAIL)]
    email: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(options: Options) -> anyhow::Result<Ended> {
    let reached = Reached::open(&options.config).await?;
    let answer = backfill(&reached, &options).await;
    reached.close().await?;
    Ok(output::answer(
        &answer?,
        output::Form::json_if(options.json),
    ))
}

async fn backfill(reached: &Reached, options: &Options) -> anyhow::Result<Answer> {
    let mut answer = reached
        .perform(Operation::EventsBackfill {
            event: options.event.clone(),
            since: options.since,
            confirmed: options.yes,
        })
        .await?;
    if !answer.ok {
        return Ok(answer);
    }
    let looked = survey::run(
        reached,
        Survey {
            question: Question::Backfill {
                event: options.event.clone(),
                since: options.since,
                put_to_work: options.yes,
            },
            emails: options.email.clone(),
            out: None,
        },
    )
    .await?;
    match looked {
        Ok(tally) => {
            answer.lines.extend(tally.lines());
            if !options.yes {
                answer.lines.push(
                    "nothing was moved: `--yes` moves the watermark, and each is checked again before it is sent".to_owned(),
                );
            }
            answer.table = Some(tally.table());
            answer.json["found"] = tally.json();
            Ok(answer)
        }
        Err(why) => Ok(Answer::failed(why)),
    }
}
