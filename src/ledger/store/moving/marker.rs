//! What a ledger says of its move, in its facts: the file, that it leaves or has left; the server's, that it is arriving.

use std::path::Path;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sqlx::PgConnection;

use super::super::{
    super::moving::MoveError,
    LedgerError,
    cells::{failed, json},
    engine::{Connection, Through, query},
    facts::{fact, set_fact},
};

/// The fact that a file has which is on its way, or has left. It is not carried over.
pub(super) const LEAVING: &str = "leaving";
const ARRIVING: &str = "arriving";

/// A file's ledger that is on its way, or has left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Leaving {
    /// Each move has its own, so that one which was given up can never be finished.
    pub(super) by: String,
    /// Where to, for people.
    pub(super) to: String,
    pub(super) at: i64,
    /// Whether it has left for good.
    pub(super) retired: bool,
}

/// A server's ledger that is not to be served yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Arriving {
    pub(super) by: String,
}

async fn read<M: DeserializeOwned>(
    from: impl Into<Through<'_>>,
    key: &'static str,
) -> Result<Option<M>, LedgerError> {
    fact(from, key)
        .await?
        .map(|text| {
            serde_json::from_str(&text).map_err(|_no_marker| LedgerError::Unreadable {
                what: "how far the ledger's move is",
            })
        })
        .transpose()
}

pub(super) async fn leaving(file: &mut Connection) -> Result<Option<Leaving>, LedgerError> {
    read(file, LEAVING).await
}

pub(super) async fn leave(file: &mut Connection, leaving: &Leaving) -> Result<(), LedgerError> {
    set_fact(file, LEAVING, &json(leaving)).await
}

pub(super) async fn stay(file: &mut Connection) -> Result<(), LedgerError> {
    forget(file, LEAVING).await
}

pub(super) async fn arriving(server: &mut PgConnection) -> Result<Option<Arriving>, LedgerError> {
    read(server, ARRIVING).await
}

pub(super) async fn arrive(
    server: &mut PgConnection,
    arriving: &Arriving,
) -> Result<(), LedgerError> {
    set_fact(server, ARRIVING, &json(arriving)).await
}

pub(super) async fn arrived(server: &mut PgConnection) -> Result<(), LedgerError> {
    forget(server, ARRIVING).await
}

async fn forget(from: impl Into<Through<'_>>, key: &'static str) -> Result<(), LedgerError> {
    query("DELETE FROM meta WHERE key = $1")
        .bind(key)
        .execute(from)
        .await
        .map_err(failed("note how far the ledger's move is"))?;
    Ok(())
}

/// Refuses a file that is on its way, or has left.
pub(in super::super) async fn refuse_leaving(
    file: &mut Connection,
    path: &Path,
) -> Result<(), LedgerError> {
    let path = path.to_owned();
    Err(LedgerError::Move(match leaving(file).await? {
        None => return Ok(()),
        Some(Leaving {
            to, retired: true, ..
        }) => MoveError::Moved { path, to },
        Some(Leaving { to, .. }) => MoveError::Leaving { path, to },
    }))
}

/// Refuses a server's ledger that is still arriving.
pub(in super::super) async fn refuse_arriving(
    server: &mut PgConnection,
    name: String,
) -> Result<(), LedgerError> {
    match arriving(server).await? {
        None => Ok(()),
        Some(_) => Err(LedgerError::Move(MoveError::Arriving { server: name })),
    }
}
