//! `health`: asks a running service, for container health checks. It needs no configuration file.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::Context as _;

use super::{Ended, output};

/// Options of `health`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The port the service listens on
    #[arg(long, env = "PORT", default_value_t = 8080)]
    port: u16,
    /// What stands before every path, if the service was given a prefix
    #[arg(long, default_value = "")]
    path_prefix: String,
}

/// A service that does not answer within this is not well.
const PATIENCE: Duration = Duration::from_secs(3);

#[expect(clippy::unused_async, reason = "every command has one shape")]
pub(super) async fn run(options: &Options) -> anyhow::Result<Ended> {
    let address = SocketAddr::from(([127, 0, 0, 1], options.port));
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).with_context(|| {
        format!("could not reach {address}\nhint: does the service run, and on this port?")
    })?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let path = format!("{}/readyz", options.path_prefix.trim_end_matches('/'));
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).unwrap_or("no status");
    output::line(&format!("{address}{path} answered {status}"));
    Ok(if status == "200" {
        Ended::Well
    } else {
        Ended::Badly
    })
}
