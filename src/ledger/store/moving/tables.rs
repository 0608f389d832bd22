//! The rows themselves: a table after another, streamed from the file into the server's `COPY`, so that a ledger of any size
//! moves in the same memory.

use futures_util::TryStreamExt as _;
use sqlx::{
    AssertSqlSafe, PgConnection, Row as _, SqliteConnection, query_scalar, sqlite::SqliteRow,
};

use super::{
    super::{
        super::moving::{MoveError, TableRows},
        LedgerError,
        cells::failed,
        postgres::Patience,
    },
    marker::LEAVING,
};

const WHAT: &str = "move the ledger";

/// What is sent at a time, in bytes, and one row more.
const PIECE: usize = 256 * 1024;

/// The tables of a file's ledger, in the order of their names.
async fn names(file: &mut SqliteConnection) -> Result<Vec<String>, LedgerError> {
    query_scalar(
        "SELECT name FROM sqlite_schema WHERE type = 'table' \
           AND name NOT GLOB 'sqlite_*' AND name NOT GLOB '_sqlx_*' ORDER BY name",
    )
    .fetch_all(file)
    .await
    .map_err(failed(WHAT))
}

/// The rows of it that are carried over.
fn carried(table: &str) -> String {
    match table {
        // That the file leaves is true of the file alone.
        "meta" => format!("meta WHERE key <> '{LEAVING}'"),
        _ => table.to_owned(),
    }
}

/// How many rows are to be carried over.
pub(super) async fn count(file: &mut SqliteConnection) -> Result<Vec<TableRows>, LedgerError> {
    let mut counts = Vec::new();
    for table in names(file).await? {
        let statement = format!("SELECT count(*) FROM {}", carried(&table));
        let rows = query_scalar(AssertSqlSafe(statement))
            .fetch_one(&mut *file)
            .await
            .map_err(failed(WHAT))?;
        counts.push(TableRows { table, rows });
    }
    Ok(counts)
}

/// Whether no table of the server's ledger holds a row.
pub(super) async fn are_empty(server: &mut PgConnection) -> Result<bool, LedgerError> {
    let tables: Vec<String> = query_scalar(
        "SELECT tablename::text FROM pg_catalog.pg_tables \
         WHERE schemaname = 'crisp_sync' AND tablename <> '_sqlx_migrations'",
    )
    .fetch_all(&mut *server)
    .await
    .map_err(failed(WHAT))?;
    for table in tables {
        let statement = format!("SELECT EXISTS (SELECT 1 FROM {table})");
        let has_rows: bool = query_scalar(AssertSqlSafe(statement))
            .fetch_one(&mut *server)
            .await
            .map_err(failed(WHAT))?;
        if has_rows {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Carries all rows over, and sees that they arrived. To be called inside of one transaction.
pub(super) async fn carry(
    file: &mut SqliteConnection,
    server: &mut PgConnection,
    patience: &Patience,
) -> Result<(), LedgerError> {
    for TableRows { table, rows: sent } in count(file).await? {
        let copied = copy(&table, file, server, patience).await;
        copied.map_err(failed(WHAT))?;
        // What the server has, not what it says that it took.
        let statement = format!("SELECT count(*) FROM {table}");
        let found = query_scalar(AssertSqlSafe(statement)).fetch_one(&mut *server);
        let found: i64 = patience
            .with(async { found.await.map_err(failed(WHAT)) })
            .await?;
        if found != sent {
            return Err(LedgerError::Move(MoveError::Uneven { table, sent, found }));
        }
    }
    let numbered = number_on(file, server, patience).await;
    numbered.map_err(failed(WHAT))
}

async fn copy(
    table: &str,
    file: &mut SqliteConnection,
    server: &mut PgConnection,
    patience: &Patience,
) -> Result<(), sqlx::Error> {
    // What is computed from others is computed anew.
    let columns: Vec<String> =
        query_scalar("SELECT name FROM pragma_table_xinfo(?1) WHERE hidden = 0 ORDER BY cid")
            .bind(table)
            .fetch_all(&mut *file)
            .await?;
    let texts: Vec<String> = columns
        .iter()
        .map(|column| format!("CAST({column} AS TEXT)"))
        .collect();
    let select = format!("SELECT {} FROM {}", texts.join(", "), carried(table));
    let statement = format!("COPY {table} ({}) FROM STDIN", columns.join(", "));
    let mut rows = sqlx::query(AssertSqlSafe(select)).fetch(file);
    let mut copying = patience.shortly(server.copy_in_raw(&statement)).await?;
    let mut piece = Vec::with_capacity(PIECE + PIECE / 4);
    while let Some(row) = rows.try_next().await? {
        write(&row, &mut piece)?;
        if piece.len() >= PIECE {
            patience.shortly(copying.send(piece.as_slice())).await?;
            piece.clear();
        }
    }
    patience.shortly(copying.send(piece.as_slice())).await?;
    patience.shortly(copying.finish()).await?;
    Ok(())
}

/// A row as `COPY` reads it: cells apart by tabs, `\N` for nothing, and a backslash before what would be taken for either.
fn write(row: &SqliteRow, piece: &mut Vec<u8>) -> Result<(), sqlx::Error> {
    for column in 0..row.len() {
        if column > 0 {
            piece.push(b'\t');
        }
        match row.try_get::<Option<&str>, _>(column)? {
            None => piece.extend_from_slice(br"\N"),
            Some(text) => escape(text, piece),
        }
    }
    piece.push(b'\n');
    Ok(())
}

fn escape(text: &str, piece: &mut Vec<u8>) {
    for &byte in text.as_bytes() {
        match byte {
            b'\\' => piece.extend_from_slice(br"\\"),
            b'\t' => piece.extend_from_slice(br"\t"),
            b'\n' => piece.extend_from_slice(br"\n"),
            b'\r' => piece.extend_from_slice(br"\r"),
            _ => piece.push(byte),
        }
    }
}

/// Goes on with the numbers where the file was: also those of rows that are gone are not given out again.
async fn number_on(
    file: &mut SqliteConnection,
    server: &mut PgConnection,
    patience: &Patience,
) -> Result<(), sqlx::Error> {
    let last: Vec<(String, i64)> =
        sqlx::query_as("SELECT name, seq FROM sqlite_sequence WHERE seq > 0 ORDER BY name")
            .fetch_all(file)
            .await?;
    for (table, number) in last {
        let numbered = sqlx::query(
            "SELECT setval(pg_get_serial_sequence($1, attname::text), $2) FROM pg_catalog.pg_attribute \
             WHERE attrelid = to_regclass($1) AND attidentity <> ''",
        )
        .bind(table)
        .bind(number)
        .execute(&mut *server);
        patience.shortly(numbered).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_a_cell_is_escaped() {
        let mut piece = Vec::new();
        escape("a\tb\\N\r\nc, \u{e9}", &mut piece);
        assert_eq!(
            String::from_utf8(piece).expect("UTF-8"),
            "a\\tb\\\\N\\r\\nc, \u{e9}"
        );
    }
}
