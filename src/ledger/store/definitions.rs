//! The definitions that the ledger was worked with, and whether this process has the newest.

use std::sync::atomic::Ordering;

use jiff::Timestamp;

use super::{
    super::quota::Standing,
    LedgerError, Store, begin,
    cells::{failed, ms},
    engine::query,
};

impl Store {
    pub(in super::super) async fn note_definition(
        &self,
        hash: &str,
        now: Timestamp,
    ) -> Result<Standing, LedgerError> {
        const WHAT: &str = "note the definition";
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, WHAT).await?;
        query(
            "INSERT INTO definitions (hash, noted_at) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING",
        )
        .bind(hash)
        .bind(ms(now))
        .execute(&mut tx)
        .await
        .map_err(failed(WHAT))?;
        let newest = query("SELECT hash FROM definitions ORDER BY number DESC LIMIT 1")
            .fetch_text(&mut tx)
            .await
            .map_err(failed(WHAT))?;
        tx.commit().await.map_err(failed(WHAT))?;
        let older = newest.as_deref() != Some(hash);
        self.older.store(older, Ordering::SeqCst);
        Ok(if older {
            Standing::Older
        } else {
            Standing::Current
        })
    }

    pub(in super::super) async fn adopt_definition(
        &self,
        hash: &str,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        const WHAT: &str = "adopt the definition";
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, WHAT).await?;
        query("DELETE FROM definitions WHERE hash = $1")
            .bind(hash)
            .execute(&mut tx)
            .await
            .map_err(failed(WHAT))?;
        query("INSERT INTO definitions (hash, noted_at) VALUES ($1, $2)")
            .bind(hash)
            .bind(ms(now))
            .execute(&mut tx)
            .await
            .map_err(failed(WHAT))?;
        tx.commit().await.map_err(failed(WHAT))?;
        self.older.store(false, Ordering::SeqCst);
        Ok(())
    }
}
