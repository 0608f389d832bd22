//! `reconcile`: refresh a person or a conversation now.

use super::{ConfigOption, Ended, reach, values};
use crate::server::command::Operation;

/// Options of `reconcile`.
#[derive(Debug, clap::Args)]
#[group(id = "whom", required = true, multiple = false, args = ["email", "session"])]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigOption,
    /// The person: their contact, and their conversations that the ledger knows
    #[arg(long, value_parser = values::EMAIL)]
    email: Option<String>,
    /// The conversation
    #[arg(long, value_parser = values::SESSION)]
    session: Option<String>,
    /// The conversation's website, where several are served
    #[arg(long, requires = "session", conflicts_with = "email", value_parser = values::WEBSITE)]
    website: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(options: Options) -> anyhow::Result<Ended> {
    let operation = match (options.email, options.session) {
        (Some(email), _) => Operation::ReconcileEmail { email },
        (None, Some(session)) => Operation::ReconcileSession {
            website: options.website,
            session,
        },
        (None, None) => unreachable!("clap asks for one of them"),
    };
    reach::perform(&options.config, operation, options.json).await
}
