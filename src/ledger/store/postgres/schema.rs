//! The schema on a server, step by step, under a lock that every process takes when it opens the ledger.

use sqlx::{
    Connection as _, Executor as _, PgConnection, SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
};

use super::{super::MigrationFile, LedgerError, SCHEMA, Source};

/// Every step, in order. A step that was released never changes, and leaves what a process of the version before it, which
/// may still be running, reads and writes.
pub const POSTGRES_MIGRATIONS: &[MigrationFile] = &[
    MigrationFile {
        version: 1,
        name: "ledger",
        sql: include_str!("migrations/0001_ledger.sql"),
    },
    MigrationFile {
        version: 2,
        name: "watch",
        sql: include_str!("migrations/0002_watch.sql"),
    },
    MigrationFile {
        version: 3,
        name: "erasure",
        sql: include_str!("migrations/0003_erasure.sql"),
    },
    MigrationFile {
        version: 4,
        name: "sweep",
        sql: include_str!("migrations/0004_sweep.sql"),
    },
    MigrationFile {
        version: 5,
        name: "former",
        sql: include_str!("migrations/0005_former.sql"),
    },
];

/// "crisp" in ASCII: whoever opens a ledger in this database holds the lock of this number.
const LOCK: i64 = 0x63_72_69_73_70;

/// Waits for its turn. The lock ends with the connection, however that ends.
pub(super) async fn lock(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT pg_advisory_lock($1)")
        .bind(LOCK)
        .execute(connection)
        .await?;
    Ok(())
}

/// Lets the next one open.
pub(super) async fn unlock(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT pg_advisory_unlock($1)")
        .bind(LOCK)
        .execute(connection)
        .await?;
    Ok(())
}

fn newest() -> i64 {
    POSTGRES_MIGRATIONS.last().map_or(0, |step| step.version)
}

/// Refuses what is not ours, or is newer than we know.
fn refusing(found: Found, server: &str) -> Result<Found, LedgerError> {
    let server = || server.to_owned();
    match found {
        Found::Foreign => Err(LedgerError::ForeignSchema { server: server() }),
        Found::Version(found) if found > newest() => Err(LedgerError::NewerSchema {
            server: server(),
            found,
            known: newest(),
        }),
        found => Ok(found),
    }
}

/// Whether the tables of a ledger are there. Changes nothing, and refuses what [`migrate`] would.
pub(in super::super) async fn is_there(
    connection: &mut PgConnection,
    server: &str,
) -> Result<bool, LedgerError> {
    let found = version(connection)
        .await
        .map_err(|error| LedgerError::Connect {
            server: server.to_owned(),
            source: Source::new(error),
        })?;
    Ok(matches!(refusing(found, server)?, Found::Version(version) if version > 0))
}

/// Brings the schema up to date; refuses one that is not ours, or is newer than we know, without changing anything about
/// it. To be called under the lock.
pub(in super::super) async fn migrate(
    connection: &mut PgConnection,
    server: &str,
) -> Result<(), LedgerError> {
    let failed = |error: sqlx::Error| LedgerError::Prepare {
        server: server.to_owned(),
        source: Source::new(error),
    };
    // All steps or none: who dies on the way leaves the schema that was there.
    let mut all = connection.begin().await.map_err(failed)?;
    match refusing(version(&mut all).await.map_err(failed)?, server)? {
        Found::Nothing => {
            all.execute(sqlx::AssertSqlSafe(format!("CREATE SCHEMA {SCHEMA}")))
                .await
                .map_err(failed)?;
        }
        Found::Version(found) if found == newest() => return Ok(()),
        Found::Version(_) | Found::Foreign => {}
    }
    let steps = POSTGRES_MIGRATIONS
        .iter()
        .map(|step| {
            Migration::new(
                step.version,
                step.name.into(),
                MigrationType::Simple,
                step.sql.into_sql_str(),
                false,
            )
        })
        .collect();
    Migrator::with_migrations(steps)
        // Its own lock would be another one than ours, which also guards what follows.
        .set_locking(false)
        .run_direct(None, &mut *all, false)
        .await
        .map_err(|source| LedgerError::Prepare {
            server: server.to_owned(),
            source: Source::new(source),
        })?;
    all.commit().await.map_err(failed)?;
    // What was looked up before may be planned by a schema that is no more.
    connection.clear_cached_statements().await.map_err(failed)
}

/// What is there.
enum Found {
    /// No schema of our name, or an empty one that somebody with more rights made for us.
    Nothing,
    /// Somebody else's tables.
    Foreign,
    /// A ledger.
    Version(i64),
}

async fn version(connection: &mut PgConnection) -> Result<Found, sqlx::Error> {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT tablename::text FROM pg_catalog.pg_tables WHERE schemaname = $1",
    )
    .bind(SCHEMA)
    .fetch_all(&mut *connection)
    .await?;
    if tables.is_empty() {
        let exists: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1)",
        )
        .bind(SCHEMA)
        .fetch_one(connection)
        .await?;
        return Ok(if exists {
            Found::Version(0)
        } else {
            Found::Nothing
        });
    }
    if !tables.iter().any(|name| name == "_sqlx_migrations") {
        return Ok(Found::Foreign);
    }
    let found: i64 = sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations")
        .fetch_one(connection)
        .await?;
    // Somebody else's schema may be migrated by the same library; ours has a table of this name from its first step.
    if found > 0 && !tables.iter().any(|name| name == "owned_names") {
        return Ok(Found::Foreign);
    }
    Ok(Found::Version(found))
}
