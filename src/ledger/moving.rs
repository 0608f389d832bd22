//! Carrying a ledger from its file to a server: how far a move is, and why it is refused.

use std::path::PathBuf;

/// How far a move is. Four writes lead from one to the next, each on the disk before the next is made; whoever is killed
/// in between leaves one ledger that serves, or none, and never two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Nothing is written: the file is the ledger.
    Ready,
    /// The file says that it is on its way, and serves no more.
    Announced,
    /// All of it is on the server, which says that a ledger is arriving, and does not serve yet.
    Copied,
    /// The file is retired for good.
    Retired,
    /// The server's is the ledger.
    Done,
}

/// How many rows of a table a move is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRows {
    /// The table.
    pub table: String,
    /// Its rows.
    pub rows: i64,
}

/// Why a ledger is not moved, or not opened because of a move.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MoveError {
    /// The file is on its way to a server.
    #[error("could not open the ledger `{}`: it is on its way to `{to}`\nhint: `crisp-sync ledger move` to the same database goes on with it; `crisp-sync ledger move --cancel` gives it up, and the file is the ledger again", path.display())]
    Leaving {
        /// The ledger's file.
        path: PathBuf,
        /// The server and the database.
        to: String,
    },
    /// The file was moved.
    #[error("could not open the ledger `{}`: it was moved to `{to}`\nhint: name that database in CRISP_SYNC_LEDGER, `ledger.url` or `ledger.url_file`; this file is a ledger no more", path.display())]
    Moved {
        /// The file.
        path: PathBuf,
        /// The server and the database.
        to: String,
    },
    /// A ledger is on its way to the server.
    #[error(
        "could not open the ledger `{server}`: it is still arriving from the file that it was in\nhint: run `crisp-sync ledger move` again as before: it goes on where it was"
    )]
    Arriving {
        /// The server and the database.
        server: String,
    },
    /// A process works the file.
    #[error("could not move the ledger `{}`: a process has it\nhint: stop the service first; crisp-sync moves no ledger that is being written", path.display())]
    InUse {
        /// The ledger's file.
        path: PathBuf,
    },
    /// There is a ledger on the server already.
    #[error(
        "could not move the ledger to `{server}`: there is one already\nhint: name another database; or, if nothing in it counts, `DROP SCHEMA crisp_sync CASCADE` there and move again"
    )]
    Occupied {
        /// The server and the database.
        server: String,
    },
    /// Not every row arrived.
    #[error(
        "could not move the ledger: of {sent} rows of the table `{table}` there are {found} on the server\nhint: nothing is changed, and the file is the ledger as before; does a trigger or a rule of that database keep rows out?"
    )]
    Uneven {
        /// The table.
        table: String,
        /// Rows in the file.
        sent: i64,
        /// Rows on the server.
        found: i64,
    },
}
