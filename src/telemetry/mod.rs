//! Logs and metrics: their names, and how they leave the process.
//!
//! Both are interfaces that dashboards and alerts hang on, so every name stands in a table here ([`events::ALL`],
//! [`metrics::Metrics`]), `docs/logging.md` is written from it, and a test holds each line of a real run against it.
//! Neither ever carries an address, a token, a message or a body; people appear as a keyed hash
//! ([`crate::pseudonym::UserRef`]).

pub mod events;
mod json;
pub mod metrics;
mod reference;
mod sink;

pub use json::JsonLines;

use std::io::IsTerminal;

use tracing_subscriber::{
    EnvFilter,
    fmt::{self, writer::BoxMakeWriter},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

pub use metrics::Metrics;
pub use reference::reference;

/// How log lines look.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
    clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Readable on a terminal, JSON lines elsewhere.
    #[default]
    Auto,
    /// One JSON object a line.
    Json,
    /// For eyes.
    Text,
}

/// What is logged when nobody says otherwise: our own lines, and what others find alarming. sqlx is silent because its
/// slow-query warning would repeat the SQL text of the app's own query, `actix_http` because it writes a line for every
/// connection that sends junk: whoever likes could fill the disk.
const DEFAULT_FILTER: &str = "warn,crisp_sync=info,sqlx=off,actix_http=off";

/// Starts logging to standard error. `filter` is a `tracing` directive list; `None` takes the default.
///
/// Calling it twice keeps the first subscriber: tests share a process.
pub fn init(format: LogFormat, filter: Option<&str>) {
    let filter = EnvFilter::try_new(filter.unwrap_or(DEFAULT_FILTER))
        .unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let terminal = std::io::stderr().is_terminal();
    let json = match format {
        LogFormat::Auto => !terminal,
        LogFormat::Json => true,
        LogFormat::Text => false,
    };
    let registry = tracing_subscriber::registry().with(filter);
    let started = if json {
        registry
            .with(
                fmt::layer()
                    .event_format(json::JsonLines)
                    .with_writer(sink::Sink),
            )
            .try_init()
    } else {
        // On a terminal each line is there before whatever is printed behind it.
        let writer = if terminal {
            BoxMakeWriter::new(std::io::stderr)
        } else {
            BoxMakeWriter::new(sink::Sink)
        };
        registry
            .with(
                fmt::layer()
                    .compact()
                    .with_ansi(terminal)
                    .with_target(false)
                    .with_writer(writer),
            )
            .try_init()
    };
    // A second start is not a fault of the caller: the first subscriber stays.
    drop(started);
}

/// Writes the lines that still wait to be written. Called when the process is about to end.
pub fn flush() {
    sink::flush();
}
