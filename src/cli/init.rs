//! `init`: a configuration to start from.

use super::{Ended, output};

/// Options of `init`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {}

pub(super) fn run(_: &Options) -> Ended {
    output::line(crate::config::TEMPLATE.trim_end());
    Ended::Well
}
