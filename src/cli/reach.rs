//! How a command reaches the ledger: it takes the file, asks the process that has it, or joins those that share a server.

use std::path::PathBuf;

use anyhow::Context as _;

use super::{ConfigOption, Ended, output};
use crate::{
    app::Service,
    clock::Clock,
    ledger::LedgerError,
    server::command::{Answer, Operation, ask},
};

/// Whoever performs a command's operations.
pub(super) enum Reached {
    /// This process: it has the ledger, or shares it.
    Here(Box<Service>),
    /// The process that has the ledger at this path.
    There(PathBuf),
}

impl Reached {
    pub(super) async fn open(config: &ConfigOption) -> anyhow::Result<Self> {
        // The whole of it would lie on the stack of every command.
        let config = Box::new(config.load()?);
        let location = config.ledger.location.clone();
        match Box::pin(Service::build(*config, Clock::System)).await {
            Ok(service) => Ok(Self::Here(Box::new(service))),
            Err(error) => match (error.downcast_ref(), location.path()) {
                (Some(LedgerError::Locked { .. }), Some(ledger)) => {
                    Ok(Self::There(ledger.to_owned()))
                }
                _ => Err(error),
            },
        }
    }

    pub(super) async fn perform(&self, operation: Operation) -> anyhow::Result<Answer> {
        match self {
            Self::Here(service) => Ok(Box::pin(service.perform(operation)).await),
            Self::There(ledger) => ask(ledger, &operation).await.with_context(|| {
                format!(
                    "`{}` is in use, and the process that has it does not answer on its socket\nhint: is it a `serve` of another version, or another command?",
                    ledger.display()
                )
            }),
        }
    }

    pub(super) async fn close(self) -> anyhow::Result<()> {
        if let Self::Here(service) = self {
            let closed = service.ledger.close().await;
            closed.context("the ledger did not close cleanly")?;
        }
        Ok(())
    }
}

/// Performs an operation here, or has the running service perform it, and returns what came of it.
pub(super) async fn answer(config: &ConfigOption, operation: Operation) -> anyhow::Result<Answer> {
    let reached = Reached::open(config).await?;
    let answer = reached.perform(operation).await?;
    reached.close().await?;
    Ok(answer)
}

/// The same, and prints it.
pub(super) async fn perform(
    config: &ConfigOption,
    operation: Operation,
    json: bool,
) -> anyhow::Result<Ended> {
    let answer = answer(config, operation).await?;
    Ok(output::answer(&answer, output::Form::json_if(json)))
}
