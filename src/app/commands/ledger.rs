//! `ledger`: copies of it.

use std::path::Path;

use anyhow::Context as _;
use serde_json::json;

use super::super::Service;
use crate::server::command::Answer;

impl Service {
    pub(super) async fn back_up(&self, to: &Path) -> anyhow::Result<Answer> {
        self.ledger.backup(to).await?;
        let bytes = std::fs::metadata(to)
            .with_context(|| format!("the copy `{}` is gone again", to.display()))?
            .len();
        Ok(Answer::said(
            format!("copied the ledger to `{}`, {bytes} bytes", to.display()),
            json!({ "file": to, "bytes": bytes }),
        ))
    }
}
