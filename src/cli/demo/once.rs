//! The script of `demo --once`.

use super::stage::Stage;
use crate::cli::Ended;

#[expect(clippy::unused_async, reason = "the script waits for the stage")]
pub(super) async fn play(_stage: &Stage) -> anyhow::Result<Ended> {
    Ok(Ended::Well)
}
