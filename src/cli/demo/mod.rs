//! `demo`: the whole job on this machine, with a sample app, a stand-in for Crisp and an inbox to look at.

mod once;
pub(crate) mod sample;
mod stage;

use anyhow::Context as _;

use super::{Ended, output};
use crate::{app::Signals, clock::Clock, telemetry};
use stage::Stage;

/// What a person reads below the address; a script reads the address alone, from standard output.
const HINTS: &str = "\
Open this page and choose a person to open a chat as: the panel on the right fills as an agent would see it.
Everything is on this machine: the app, its people and Crisp are made up, crisp-sync between them is real.
Ctrl-C ends the demo, and nothing of it stays. `crisp-sync demo --once` plays a script and checks what comes of it.";

/// Options of `demo`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Play the whole script without a person, print what changed, and exit with 0 or 1
    #[arg(long)]
    once: bool,
    /// Where the page listens; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    listen: String,
    /// Show the service's log
    #[arg(long)]
    log: bool,
}

pub(super) async fn run(options: Options) -> anyhow::Result<Ended> {
    telemetry::init(
        telemetry::LogFormat::Auto,
        Some(if options.log {
            "warn,crisp_sync=info,sqlx=off"
        } else {
            "error,sqlx=off"
        }),
    );
    let mut signals = Signals::listen().context("could not take over the signals")?;
    let folder = Folder::make()?;
    let stage = Box::pin(Stage::set(&folder.0, options.listen, Clock::System)).await?;
    let ended = if options.once {
        once::play(&stage).await
    } else {
        output::line(&format!("{}/", stage.sandbox.url()));
        eprintln!("{HINTS}");
        signals.next().await;
        Ok(Ended::Well)
    };
    stage.strike().await;
    ended
}

/// A folder that is gone when the demo is.
struct Folder(std::path::PathBuf);

impl Folder {
    fn make() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("crisp-sync-demo-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&path)
            .with_context(|| format!("could not make `{}`", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed lies in the machine's folder for temporary files, and goes with the rest of it.
        drop(std::fs::remove_dir_all(&self.0));
    }
}
