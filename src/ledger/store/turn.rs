//! Turns: where several processes write, who comes second waits.

use super::{
    LedgerError,
    cells::{failed, json},
    engine::{Transaction, query},
};

/// Where several processes write, waits for its turn at something that has no row to lock. It lasts to the end of the
/// transaction.
pub(super) async fn turn(tx: &mut Transaction<'_>, at: &[&str]) -> Result<(), LedgerError> {
    if tx.is_shared() {
        query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0)) IS NULL")
            .bind(json(&at))
            .fetch_number(tx)
            .await
            .map_err(failed("wait for a turn"))?;
    }
    Ok(())
}
