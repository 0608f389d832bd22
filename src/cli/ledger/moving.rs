//! `ledger move`: from a file to a server, for good.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use secrecy::SecretString;
use serde_json::json;

use super::super::{ConfigOption, Ended, output};
use crate::{
    clock::Clock,
    config::Config,
    ledger::{Location, Move, Stage, TableRows},
    server::command::{Answer, Table},
};

/// Options of `ledger move`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigOption,
    /// The ledger's file; without it, the one that the configuration names
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// URL of the database; everybody on this machine sees it in `ps`, so leave the password to `PGPASSWORD`, or use
    /// `--to-file`
    #[arg(long, value_name = "URL", conflicts_with = "to_file")]
    to: Option<String>,
    /// File that holds the URL, password and all
    #[arg(long, value_name = "FILE")]
    to_file: Option<PathBuf>,
    /// Take both, count what would be moved, and move nothing
    #[arg(long)]
    dry_run: bool,
    /// Give up a move that began and did not end: the file is the ledger again
    #[arg(long, conflicts_with_all = ["to", "to_file", "dry_run"])]
    cancel: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(options: Options) -> anyhow::Result<Ended> {
    let config = Box::new(options.config.load()?);
    let from = from(&options, &config)?;
    let answer = if options.cancel {
        cancel(&config, &from).await?
    } else {
        let to = to(&options, &config)?;
        Box::pin(carry(&config, &from, &to, options.dry_run)).await?
    };
    Ok(output::answer(&answer, output::Form::json_if(options.json)))
}

fn from(options: &Options, config: &Config) -> anyhow::Result<PathBuf> {
    let configured = || config.ledger.location.path().map(Path::to_owned);
    options.from.clone().or_else(configured).context(
        "the ledger that the configuration names is on a server\nhint: name the file that is to be moved there: `--from FILE`",
    )
}

/// An option, or else the ledger that the configuration names.
fn to(options: &Options, config: &Config) -> anyhow::Result<SecretString> {
    let text = match (&options.to, &options.to_file, &config.ledger.location) {
        (Some(url), ..) => url.clone(),
        (None, Some(file), _) => fs::read_to_string(file)
            .with_context(|| format!("could not read `{}`", file.display()))?,
        (None, None, Location::Server(url)) => return Ok(url.clone()),
        (None, None, Location::File(_)) => anyhow::bail!(
            "no database is named to move the ledger to\nhint: name it in the configuration (CRISP_SYNC_LEDGER, `ledger.url` or `ledger.url_file`) and the file in `--from`, or say `--to-file FILE` or `--to URL`"
        ),
    };
    let url = text.trim();
    if !Location::is_server(url) {
        anyhow::bail!(
            "what the ledger is to be moved to is no URL of a PostgreSQL database\nhint: it takes `postgres://user@host/database`"
        );
    }
    Ok(url.to_owned().into())
}

async fn cancel(config: &Config, from: &Path) -> anyhow::Result<Answer> {
    let had_begun = Move::cancel(&config.ledger, from).await?;
    let said = if had_begun {
        "the move is given up: `{}` is the ledger again"
    } else {
        "no move of `{}` has begun: it is the ledger"
    };
    let from = from.display().to_string();
    let json = json!({ "from": from, "canceled": had_begun });
    Ok(Answer::said(said.replace("{}", &from), json))
}

async fn carry(
    config: &Config,
    from: &Path,
    to: &SecretString,
    dry_run: bool,
) -> anyhow::Result<Answer> {
    let mut moving = Move::open(&config.ledger, from, to).await?;
    let was = moving.stage();
    let rows = moving.rows().await?;
    if !dry_run {
        while moving.stage() != Stage::Done {
            let begun = moving.step(Clock::System.now()).await;
            if moving.stage() == Stage::Ready {
                begun?;
            } else {
                begun.context("the move has begun, and neither ledger serves until it ends\nhint: run the same command again: it goes on where it was")?;
            }
        }
    }
    let to = moving.to().to_owned();
    moving
        .close()
        .await
        .context("the ledgers did not close cleanly")?;
    Ok(answer(from, &to, dry_run, was, &rows))
}

fn answer(from: &Path, to: &str, dry_run: bool, was: Stage, rows: &[TableRows]) -> Answer {
    let from = from.display().to_string();
    let mut lines = Vec::new();
    match (dry_run, was) {
        (_, Stage::Done) => lines.push(format!("`{from}` was moved to `{to}` before")),
        (true, _) => lines.push(format!("would move `{from}` to `{to}`; nothing is written")),
        (false, _) => {
            lines.push(format!("moved `{from}` to `{to}`"));
            lines.push(
                "the file is a ledger no more; start the service with that database as its ledger"
                    .to_owned(),
            );
        }
    }
    let total: i64 = rows.iter().map(|table| table.rows).sum();
    let tables: serde_json::Map<_, _> = rows
        .iter()
        .map(|table| (table.table.clone(), json!(table.rows)))
        .collect();
    Answer {
        ok: true,
        lines,
        json: json!({
            "from": from,
            "to": to,
            "dry_run": dry_run,
            "moved": !dry_run || was == Stage::Done,
            "rows": total,
            "tables": tables,
        }),
        table: Some(Table {
            headings: ["table", "rows"].map(str::to_owned).to_vec(),
            rows: rows
                .iter()
                .map(|table| vec![table.table.clone(), table.rows.to_string()])
                .collect(),
            below: None,
        }),
    }
}
