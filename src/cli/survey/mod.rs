//! A look at everybody, page by page: `plan --all`, `events arm --dry-run`, `events backfill`.
//!
//! One page is in memory at a time. What was found can go to a file, a line for each person, and a look that was broken off
//! goes on behind the last whole line of it.

mod lines;
mod tally;

use std::{
    io::{IsTerminal as _, stderr},
    path::PathBuf,
};

use anyhow::Context as _;

use super::reach::Reached;
use crate::server::{
    command::Operation,
    survey::{Question, SurveyPage, SurveyRequest},
};
use lines::LineFile;
pub(super) use tally::Tally;

/// People of one page.
const PAGE: u32 = 100;
/// Where standard error is no terminal, so many people pass between two lines of progress.
const BETWEEN_LINES: u64 = 1_000;

/// What to look for, and where to note it.
pub(super) struct Survey {
    pub(super) question: Question,
    /// Addresses to look at before everybody else.
    pub(super) emails: Vec<String>,
    /// A line for each person goes here.
    pub(super) out: Option<PathBuf>,
}

/// Looks at everybody; `None` if whoever was asked refused, and why.
pub(super) async fn run(
    reached: &Reached,
    survey: Survey,
) -> anyhow::Result<Result<Tally, String>> {
    let mut tally = Tally::default();
    let mut file = match &survey.out {
        Some(path) => Some(LineFile::open(path, |line| tally.resume(line))?),
        None => None,
    };
    let resumed = tally.people();
    if resumed > 0 {
        anstream::eprintln!("{resumed} people are in the file already: going on behind them");
    }
    let mut progress = Progress::default();
    loop {
        let request = SurveyRequest {
            question: survey.question.clone(),
            emails: survey.emails.clone(),
            after: tally.cursor.clone(),
            limit: PAGE,
        };
        let answer = reached.perform(Operation::Survey(request)).await;
        let answer = answer.inspect_err(|_| progress.end())?;
        if !answer.ok {
            progress.end();
            let mut why = answer.lines.join("\n");
            if file.is_some() && tally.people() > 0 {
                why.push_str(
                    "\nhint: the same command with the same file goes on where it stopped",
                );
            }
            return Ok(Err(why));
        }
        let page: SurveyPage = serde_json::from_value(answer.json)
            .context("the running service answers in another version's words")?;
        let mut fresh = Vec::with_capacity(page.people.len());
        for line in page.people {
            if tally.add(&line)? {
                fresh.push(line);
            }
        }
        if let Some(file) = &mut file {
            file.append(&fresh)?;
        }
        progress.tell(tally.people(), page.total);
        let Some(next) = page.next else {
            tally.hold(&page.rooms);
            break;
        };
        tally.cursor = Some(next);
    }
    progress.end();
    Ok(Ok(tally))
}

/// How far it is, on standard error: one line that is written over, or now and then one more.
#[derive(Default)]
struct Progress {
    told: u64,
    is_open: bool,
}

impl Progress {
    fn tell(&mut self, people: u64, total: Option<u64>) {
        // Some of them may be named twice.
        let total = total.filter(|total| *total >= people);
        let of = total.map_or_else(String::new, |total| format!(" of {total}"));
        if stderr().is_terminal() {
            anstream::eprint!("\r{people}{of} people");
            self.is_open = true;
        } else if people / BETWEEN_LINES > self.told / BETWEEN_LINES {
            anstream::eprintln!("{people}{of} people");
        }
        self.told = people;
    }

    fn end(&mut self) {
        if std::mem::take(&mut self.is_open) {
            anstream::eprintln!();
        }
    }
}
