//! `demo --once`: the whole script without a person, over the same HTTP, and a verdict.
//!
//! Each act is told as a table of what an agent saw before it and after it, followed by what had to be true. Nothing is
//! waited for by the clock: an act is over when no webhook is on its way and no work is left that is due soon.

mod play;
mod scenes;
mod sight;

use std::time::Instant;

use super::stage::Stage;
use crate::cli::{Ended, output};
use play::Play;

/// Plays the script. A failed expectation does not end it, and makes it end badly.
pub(super) async fn play(stage: &Stage) -> anyhow::Result<Ended> {
    let started = Instant::now();
    let mut play = Play::new(stage).await?;
    scenes::play(&mut play).await?;
    let took = started.elapsed().as_secs_f64();
    let (met, failed) = (play.met(), play.failed());
    output::line(&format!(
        "\n{met} expectations met, {} failed, in {took:.1} s",
        failed.len()
    ));
    for failure in failed {
        output::line(&format!("  FAILED  {failure}"));
    }
    Ok(if failed.is_empty() {
        Ended::Well
    } else {
        Ended::Badly
    })
}
