//! `health`: asks a running service, for container health checks. It needs no configuration file.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::Context as _;

use super::{Ended, output};
use crate::config::environment::{self, Environment};

/// Options of `health`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The port the service listens on; without it, what `CRISP_SYNC_LISTEN` or `PORT` says, or 8080
    #[arg(long)]
    port: Option<u16>,
    /// What stands before every path, if the service was given a prefix
    #[arg(
        long,
        env = "CRISP_SYNC_PATH_PREFIX",
        default_value = "",
        value_name = "PATH"
    )]
    path_prefix: String,
}

impl Options {
    /// Where to ask, by what the service itself goes by. One that listens everywhere also listens on this machine's own
    /// address.
    fn address(&self, environment: &Environment) -> SocketAddr {
        let told = environment.get(environment::LISTEN.name);
        let told = told.and_then(|address| address.trim().parse::<SocketAddr>().ok());
        let port = environment.get(environment::PORT.name);
        let port = port.and_then(|port| port.trim().parse().ok());
        let mut address = match (self.port, told) {
            (None, Some(address)) => address,
            (typed, _) => {
                SocketAddr::from((Ipv4Addr::LOCALHOST, typed.or(port).unwrap_or(DEFAULT_PORT)))
            }
        };
        if address.ip().is_unspecified() {
            address.set_ip(match address.ip() {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        address
    }
}

/// Where `serve` listens when nobody says otherwise.
const DEFAULT_PORT: u16 = 8080;
/// A service that does not answer within this is not well.
const PATIENCE: Duration = Duration::from_secs(3);

#[expect(clippy::unused_async, reason = "every command has one shape")]
pub(super) async fn run(options: &Options) -> anyhow::Result<Ended> {
    let address = options.address(&Environment::from_process());
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
