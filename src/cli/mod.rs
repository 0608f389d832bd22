//! What an operator types: one file per command.
//!
//! Data goes to standard output, logs and errors to standard error. Exit codes: 0 done, 1 failed, 2 wrong usage.

mod check;
mod deliveries;
mod demo;
mod erase;
mod events;
mod health;
mod init;
mod ledger;
mod output;
mod plan;
mod reach;
mod reconcile;
mod sandbox;
mod serve;
mod since;
mod status;
mod survey;
mod values;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};

use crate::{
    config::{Config, environment::Environment},
    telemetry::{self, LogFormat},
};

/// Keeps Crisp true: fresh context when a chat opens, and lifecycle events that Crisp missed.
#[derive(Debug, Parser)]
#[command(name = "crisp-sync", version, about, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Receive webhooks and keep Crisp true
    Serve(serve::Options),
    /// The whole job on this machine: a Crisp stand-in, a sample app and a page to look at
    Demo(demo::Options),
    /// The Crisp stand-in alone, for your own tests
    Sandbox(sandbox::Options),
    /// Print a configuration to start from
    Init(init::Options),
    /// Look for every fault of configuration, database, token and website at once
    Check(check::Options),
    /// What the service is at: mode, armed events, outbox, quota, pauses
    Status(status::Options),
    /// Print the exact calls that a person's refresh would make, or what would become of everybody, and make none
    Plan(plan::Options),
    /// Refresh a person or a conversation now
    Reconcile(reconcile::Options),
    /// Lifecycle events: arm them, list the outbox, decide, test, a sheet for those who write campaigns
    Events(events::Options),
    /// Deliveries: list, show, retry
    Deliveries(deliveries::Options),
    /// Forget a person: their rows here, what is ours of them in Crisp, and every way back
    Erase(erase::Options),
    /// The ledger itself: back it up, move it to a server
    Ledger(ledger::Options),
    /// Ask a running service whether it is ready; for container health checks
    Health(health::Options),
}

/// The configuration file, for commands that take one.
#[derive(Debug, clap::Args)]
pub(crate) struct ConfigOption {
    /// The configuration file
    #[arg(
        long,
        short,
        env = "CRISP_SYNC_CONFIG",
        default_value = "crisp-sync.toml",
        value_name = "FILE"
    )]
    config: PathBuf,
}

impl ConfigOption {
    fn path(&self) -> &std::path::Path {
        &self.config
    }

    /// Loads it, or says everything that is wrong with it.
    fn load(&self) -> anyhow::Result<Config> {
        Ok(Config::load(&self.config, &Environment::from_process())?)
    }
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It did what it was asked.
    Well,
    /// It looked, and what it found is not well; it has said so already.
    Badly,
}

/// Parses the command line and runs it.
pub fn run() -> ExitCode {
    // A mistyped command ends here, with exit code 2.
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            output::error(&anyhow::Error::new(error).context("could not start the runtime"));
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(dispatch(arguments.command));
    // What still runs may have something to say until the runtime is gone.
    runtime.shutdown_timeout(Duration::from_secs(1));
    telemetry::flush();
    match ended {
        Ok(Ended::Well) => ExitCode::SUCCESS,
        Ok(Ended::Badly) => ExitCode::FAILURE,
        Err(error) => {
            output::error(&error);
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(command: Command) -> anyhow::Result<Ended> {
    match command {
        Command::Serve(options) => return serve::run(options).await,
        Command::Demo(options) => return Box::pin(demo::run(options)).await,
        _ => {}
    }
    // Commands speak through their answers; of the log only what alarms is shown.
    telemetry::init(LogFormat::Auto, Some("error,sqlx=off"));
    match command {
        Command::Serve(_) | Command::Demo(_) => unreachable!("handled above"),
        Command::Sandbox(options) => sandbox::run(options).await,
        Command::Init(options) => Ok(init::run(&options)),
        Command::Check(options) => check::run(options).await,
        Command::Status(options) => status::run(options).await,
        Command::Plan(options) => plan::run(options).await,
        Command::Reconcile(options) => reconcile::run(options).await,
        Command::Events(options) => events::run(options).await,
        Command::Deliveries(options) => deliveries::run(options).await,
        Command::Erase(options) => erase::run(options).await,
        Command::Ledger(options) => ledger::run(options).await,
        Command::Health(options) => health::run(&options).await,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Arguments::command().debug_assert();
    }
}
