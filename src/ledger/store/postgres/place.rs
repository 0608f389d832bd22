//! Where a server's ledger lies, and in which history: both tell a copy, a restored backup and a promotion.

use sqlx::PgConnection;

/// Where the ledger lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Place {
    /// Differs for a copy in another database or cluster.
    pub(in super::super) name: String,
    /// Rises when a standby is promoted or a backup is restored to a point in time: what was committed last may be gone.
    /// `None`: the server does not tell.
    pub(in super::super) timeline: Option<i64>,
}

/// Asks the server. Managed ones keep some of it to themselves.
pub(in super::super) async fn place(connection: &mut PgConnection) -> Result<Place, sqlx::Error> {
    let database: String = sqlx::query_scalar(
        "SELECT oid::text || '/' || datname FROM pg_catalog.pg_database WHERE datname = current_database()",
    )
    .fetch_one(&mut *connection)
    .await?;
    let system: Option<String> =
        sqlx::query_scalar("SELECT system_identifier::text FROM pg_control_system()")
            .fetch_one(&mut *connection)
            .await
            .ok();
    Ok(Place {
        name: format!("postgres:{}/{database}", system.unwrap_or_default()),
        timeline: timeline(connection).await,
    })
}

/// The name of the current segment of the log begins with the timeline, also right after a promotion, when the last
/// checkpoint is still of the one before; so that comes second.
pub(super) async fn timeline(connection: &mut PgConnection) -> Option<i64> {
    const WAYS: [&str; 2] = [
        "SELECT ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint",
        "SELECT timeline_id::bigint FROM pg_control_checkpoint()",
    ];
    for way in WAYS {
        if let Ok(found) = sqlx::query_scalar::<_, i64>(way)
            .fetch_one(&mut *connection)
            .await
        {
            return Some(found);
        }
    }
    None
}
