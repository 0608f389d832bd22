//! `ledger`: copies of it, and its move to a server.

mod moving;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;

use super::{ConfigOption, Ended, reach};
use crate::server::command::Operation;

/// Options of `ledger`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a whole copy of the ledger while everything goes on; never over a file that is there
    Backup {
        #[command(flatten)]
        config: ConfigOption,
        /// Where to; a running service writes it, and must be allowed to
        file: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Carry the ledger from its file to a PostgreSQL database, and retire the file
    ///
    /// Stop the service first. Killed at any instant, the same command goes on where it was; until it has ended, neither the
    /// file nor the database is served. The database is the one that the configuration names as the ledger, with the file in
    /// `--from`, or the one in `--to-file` or `--to`.
    Move(moving::Options),
}

pub(super) async fn run(options: Options) -> anyhow::Result<Ended> {
    match options.command {
        Command::Backup { config, file, json } => {
            // The service that writes it may run in another folder.
            let to = std::path::absolute(&file)
                .with_context(|| format!("could not tell where `{}` is", file.display()))?;
            reach::perform(&config, Operation::LedgerBackup { to }, json).await
        }
        Command::Move(options) => moving::run(options).await,
    }
}
