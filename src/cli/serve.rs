//! `serve`: receive webhooks and keep Crisp true.

use anyhow::Context as _;

use super::{ConfigOption, Ended};
use crate::{
    app::{Running, Service, Signals, Stopped},
    clock::Clock,
    telemetry::{self, events},
};

/// Options of `serve`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigOption,
}

pub(super) async fn run(options: Options) -> anyhow::Result<Ended> {
    // The whole of it would lie on the stack for as long as the service runs.
    let config = Box::new(options.config.load()?);
    telemetry::init(config.log.format, config.log.filter.as_deref());
    let signals = Signals::listen().context("could not take over the signals")?;
    let warnings = config.drawn_warnings();
    for warning in warnings.faults() {
        tracing::warn!(
            event = events::CONFIG_WARNING,
            place = warnings.place(warning),
            reason = warning.message,
            hint = warning.hint,
            "the configuration is probably not meant so"
        );
    }
    let deadline = config.server.shutdown_deadline;
    let service = Box::pin(Service::build(*config, Clock::System)).await?;
    let running = service.start().await?;
    until_stopped(running, signals, deadline).await
}

/// Runs until a signal, then ends in order, or at once when a second one comes.
pub(super) async fn until_stopped(
    mut running: Running,
    mut signals: Signals,
    deadline: std::time::Duration,
) -> anyhow::Result<Ended> {
    let signal = tokio::select! {
        signal = signals.next() => signal,
        part = running.crashed() => anyhow::bail!("the {part} ended unexpectedly\nhint: the log says why; the ledger is intact, so start the service again"),
    };
    let clock = Clock::System;
    let began = clock.now();
    // First the word to whoever balances the load, then the line that says so.
    running.server.turn_away();
    tracing::info!(
        event = events::SERVICE_DRAINING,
        signal,
        deadline_ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX),
        "finishing what is in hand"
    );
    let stopped = tokio::select! {
        stopped = running.stop(deadline) => stopped,
        signal = signals.next() => {
            tracing::warn!(event = events::SERVICE_ABORTED, reason = signal, "a second signal: work in hand is dropped, its leases will expire");
            return Ok(Ended::Badly);
        }
    };
    if stopped == Stopped::AtDeadline {
        tracing::warn!(
            event = events::SERVICE_ABORTED,
            reason = "deadline",
            "the deadline passed: work in hand was dropped, its leases will expire"
        );
    }
    tracing::info!(
        event = events::SERVICE_STOPPED,
        outcome = if stopped == Stopped::InOrder {
            "in_order"
        } else {
            "at_deadline"
        },
        duration_ms = u64::try_from(clock.now().duration_since(began).unsigned_abs().as_millis())
            .unwrap_or(u64::MAX),
        "stopped"
    );
    Ok(Ended::Well)
}
