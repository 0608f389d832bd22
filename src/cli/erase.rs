//! `erase`: forget a person.

use std::path::PathBuf;

use anyhow::Context as _;

use super::{ConfigOption, Ended, reach, values};
use crate::server::{command::Operation, desk::Whom};

#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch that an operator types"
)]
/// Options of `erase`.
#[derive(Debug, clap::Args)]
#[group(id = "act", required = true, multiple = false, args = ["email", "user", "list", "status", "replay"])]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigOption,
    /// The person, by an address of theirs
    #[arg(long, value_parser = values::EMAIL)]
    email: Option<String>,
    /// The person, by the app's own key of the user
    #[arg(long, value_name = "KEY", value_parser = values::USER)]
    user: Option<String>,
    /// Only on this website; everywhere without
    #[arg(long, value_parser = values::WEBSITE, conflicts_with_all = ["list", "status", "replay", "lift"])]
    website: Option<String>,
    /// Delete the contact in Crisp, with what agents wrote on it; without, only what is ours is cleared
    #[arg(long, conflicts_with_all = ["list", "status", "replay", "lift"])]
    delete_contact: bool,
    /// Let the person be looked up again, because they are back; brings nothing back
    #[arg(long, conflicts_with_all = ["list", "status", "replay"])]
    lift: bool,
    /// Every receipt, newest first; with --json to be kept in a file for --replay
    #[arg(long)]
    list: bool,
    /// A receipt as it stands, with what is still owed
    #[arg(long, value_name = "RECEIPT")]
    status: Option<String>,
    /// Erase again everybody whose receipt stands in this file, after a restore from before
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(options: Options) -> anyhow::Result<Ended> {
    let Options {
        config,
        email,
        user,
        website,
        delete_contact,
        lift,
        list,
        status,
        replay,
        json,
    } = options;
    let whom = Whom {
        email,
        user_key: user,
        session_id: None,
        website_id: website,
        delete_contact,
    };
    let operation = match (list, status, replay) {
        (true, ..) => Operation::EraseList,
        (_, Some(receipt), _) => Operation::EraseStatus { receipt },
        (_, _, Some(file)) => {
            // The service that reads it may stand in another folder.
            let from = std::path::absolute(&file)
                .with_context(|| format!("`{}` is no path", file.display()))?;
            Operation::EraseReplay { from }
        }
        _ if lift => Operation::EraseLift { whom },
        _ => Operation::Erase { whom },
    };
    reach::perform(&config, operation, json).await
}
