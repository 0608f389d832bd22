//! How a command reaches the ledger: it takes the file, asks the process that has it, or joins those that share a server.

use anyhow::Context as _;

use super::{ConfigOption, Ended, output};
use crate::{
    app::Service,
    clock::Clock,
    ledger::LedgerError,
    server::command::{Operation, ask},
};

/// Performs an operation here, or has the running service perform it.
pub(super) async fn perform(
    config: &ConfigOption,
    operation: Operation,
    json: bool,
) -> anyhow::Result<Ended> {
    // The whole of it would lie on the stack of every command.
    let config = Box::new(config.load()?);
    let location = config.ledger.location.clone();
    let answer = match Box::pin(Service::build(*config, Clock::System)).await {
        Ok(service) => {
            let answer = Box::pin(service.perform(operation)).await;
            service.ledger.close().await.context("the ledger did not close cleanly")?;
            answer
        }
        Err(error) => match (error.downcast_ref(), location.path()) {
            (Some(LedgerError::Locked { .. }), Some(ledger)) => {
                ask(ledger, &operation).await.with_context(|| {
                    format!(
                        "`{}` is in use, and the process that has it does not answer on its socket\nhint: is it a `serve` of another version, or another command?",
                        ledger.display()
                    )
                })?
            }
            _ => return Err(error),
        },
    };
    Ok(output::answer(&answer, json))
}
