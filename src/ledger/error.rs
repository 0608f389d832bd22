//! What can go wrong with the ledger, by what is to be done next.

use std::path::PathBuf;

use super::moving::MoveError;

/// Why the ledger could not do what it was asked. No variant repeats a value of a row.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LedgerError {
    /// Another process has it.
    #[error("could not open the ledger `{}`: another process has it\nhint: only one process may use a ledger; ask the running service through its socket, or stop it", path.display())]
    Locked {
        /// The ledger's file.
        path: PathBuf,
    },
    /// A newer binary wrote it.
    #[error("could not open the ledger `{}`: its schema is {found}, this binary knows {known}\nhint: run the newer binary, or go back to the copy it made before it migrated", path.display())]
    Newer {
        /// The ledger's file.
        path: PathBuf,
        /// The schema it has.
        found: i64,
        /// The newest we know.
        known: i64,
    },
    /// The file is somebody else's database.
    #[error("could not open the ledger `{}`: it is a database, but not a ledger\nhint: choose a path of its own for the ledger; the app's database is only ever read", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be opened or made.
    #[error("could not open the ledger `{}`\nhint: the folder must exist and be writable by this user", path.display())]
    Open {
        /// The ledger's file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Source,
    },
    /// It cannot be copied before its schema is brought up to date.
    #[error("could not copy the ledger `{}` before bringing it up to date\nhint: make room beside it for as much as it takes; nothing was changed, and the older binary still runs on it", path.display())]
    Copy {
        /// The ledger's file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Source,
    },
    /// The file is damaged: it is cut short, or holds what no ledger holds.
    #[error("could not open the ledger `{}`: the file is damaged\n{RESCUE}", path.display())]
    Damaged {
        /// The ledger's file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Source,
    },
    /// No copy can be written there.
    #[error("could not copy the ledger to `{}`\nhint: nothing of this name may be there yet, and whoever has the ledger must be able to write in its folder", path.display())]
    Backup {
        /// Where to.
        path: PathBuf,
        /// Why.
        #[source]
        source: Source,
    },
    /// The schema cannot be brought up to date.
    #[error("could not bring the ledger `{}` up to date\nhint: nothing was changed, and the older binary still runs on it", path.display())]
    Migrate {
        /// The ledger's file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Source,
    },
    /// The server cannot be reached, or does not let us in.
    #[error(
        "could not connect to the ledger `{server}`\nhint: is the server up and reachable from here, and are the user, the password and the database right?"
    )]
    Connect {
        /// The server and the database.
        server: String,
        /// Why.
        #[source]
        source: Source,
    },
    /// The server is older than what we need.
    #[error(
        "could not open the ledger `{server}`: the server is PostgreSQL {found}\nhint: it takes {needed} or newer"
    )]
    OldServer {
        /// The server and the database.
        server: String,
        /// Its version.
        found: i32,
        /// The oldest that will do.
        needed: i32,
    },
    /// A newer binary migrated the server's ledger.
    #[error(
        "could not open the ledger `{server}`: its schema is {found}, this binary knows {known}\nhint: run the newer binary, or restore the server's backup from before it"
    )]
    NewerSchema {
        /// The server and the database.
        server: String,
        /// The schema it has.
        found: i64,
        /// The newest we know.
        known: i64,
    },
    /// The schema of our name is somebody else's.
    #[error(
        "could not open the ledger `{server}`: its schema `crisp_sync` holds tables that are no ledger\nhint: choose another database for the ledger, or rename that schema"
    )]
    ForeignSchema {
        /// The server and the database.
        server: String,
    },
    /// The server's schema cannot be brought up to date.
    #[error(
        "could not bring the ledger `{server}` up to date\nhint: the user needs the right to create a schema in the database, or has to own a schema `crisp_sync`"
    )]
    Prepare {
        /// The server and the database.
        server: String,
        /// Why.
        #[source]
        source: Source,
    },
    /// There is no file to be copied.
    #[error(
        "could not copy the ledger: it is on a server\nhint: back it up with the server's own tools, such as `pg_dump`"
    )]
    NoFile,
    /// There is no connection to the server to be had.
    #[error(
        "could not {what}: no connection to the ledger's server\nhint: is it up and reachable from here, and has it room for `ledger.connections` and two more of each replica? A password that was replaced is taken from `ledger.url_file` within seconds"
    )]
    Unreachable {
        /// What was tried.
        what: &'static str,
        /// Why.
        #[source]
        source: Source,
    },
    /// Every connection that reads the file is in use.
    #[error(
        "could not {what}: all connections that read the ledger's file were in use for seconds\nhint: is the disk slow, or does a command read much of it at once? Nothing is lost, and it is tried again"
    )]
    Busy {
        /// What was tried.
        what: &'static str,
        /// Why.
        #[source]
        source: Source,
    },
    /// The server does not answer. Whether a commit that was under way is kept, nobody knows.
    #[error(
        "could not {what}: the ledger's server does not answer\nhint: is its host up, and the network to it? The connection was given up, and the next try takes another one; what Crisp was not told is kept, it delivers again"
    )]
    NoAnswer {
        /// What was tried.
        what: &'static str,
        /// Why.
        #[source]
        source: Source,
    },
    /// The server fell silent while the ledger was opened, or one was moved there.
    #[error(
        "could not {what} `{server}`: the server does not answer\nhint: is its host up, and the network to it? Nothing is half done, and the same may be tried again"
    )]
    Silent {
        /// What was tried.
        what: &'static str,
        /// The server and the database.
        server: String,
        /// Why.
        #[source]
        source: Source,
    },
    /// The server ended the transaction before it was committed: nothing of it is kept.
    #[error("could not {what}: the ledger's server ended the transaction")]
    Interrupted {
        /// What was tried.
        what: &'static str,
        /// Why.
        #[source]
        source: Source,
    },
    /// The disk is full.
    #[error(
        "could not {what}: the disk is full\nhint: make room where the ledger lies; nothing that was acknowledged is lost"
    )]
    Full {
        /// What was tried.
        what: &'static str,
        /// Why.
        #[source]
        source: Source,
    },
    /// The file cannot be written any more.
    #[error(
        "could not {what}: the ledger is read-only\nhint: the disk may have been mounted read-only after a fault, or the file given to another user; a server may be a standby now, or its host sets `default_transaction_read_only` while the disk is full; what was acknowledged is safe, and Crisp delivers the rest again"
    )]
    ReadOnly {
        /// What was tried.
        what: &'static str,
        /// Why.
        #[source]
        source: Source,
    },
    /// The file was damaged while it was open.
    #[error("could not {what}: the ledger's file is damaged\n{RESCUE}")]
    Corrupt {
        /// What was tried.
        what: &'static str,
        /// Why.
        #[source]
        source: Source,
    },
    /// The file was taken away while it was open, or another one lies in its place: nothing that is written would be kept.
    #[error("could not write to the ledger `{}`: its file was removed, or another one was put in its place, while it was in use\nhint: put it back, and it goes on. To go on with another one, have the running service save what it still has open (`crisp-sync ledger backup`), stop the service, remove `-wal` and `-shm` beside the new file, and start", path.display())]
    Replaced {
        /// The ledger's file.
        path: PathBuf,
    },
    /// The storage does not answer as it should.
    #[error("could not {what}: the ledger's storage failed")]
    Storage {
        /// What was tried.
        what: &'static str,
        /// Why.
        #[source]
        source: Source,
    },
    /// The storage works, but not with this row.
    #[error("could not {what}: the row was refused")]
    Refused {
        /// What was tried.
        what: &'static str,
        /// Why.
        #[source]
        source: Source,
    },
    /// A stored value is not what it should be.
    #[error("could not read {what}: the ledger holds a value that is none")]
    Unreadable {
        /// Which value.
        what: &'static str,
    },
    /// It is being moved, or was.
    #[error(transparent)]
    Move(MoveError),
    /// More waits for a commit than is good.
    #[error("could not accept: too many acceptances wait for the disk")]
    Saturated,
    /// The ledger was closed.
    #[error("could not accept: the ledger is closed")]
    Closed,
}

/// What to do about a damaged file. An empty ledger observes: it has no rule armed, so it mails nobody.
const RESCUE: &str = "hint: stop the service and move the file away with its `-wal`; put a copy of it in its place, or start with none: contexts are refreshed as chats are opened, and lifecycle events wait until `crisp-sync events arm` (`sqlite3 FILE .recover` reads what can be read of the old one)";

/// A shared cause: one failed commit answers many callers.
#[derive(Debug, Clone)]
pub struct Source(std::sync::Arc<dyn std::error::Error + Send + Sync>);

impl Source {
    /// A cause that nobody gave us as an error.
    pub(super) fn told(text: String) -> Self {
        Self(std::sync::Arc::from(Box::<
            dyn std::error::Error + Send + Sync,
        >::from(text)))
    }

    /// The cause itself.
    pub(super) fn inner(&self) -> &(dyn std::error::Error + 'static) {
        self.0.as_ref()
    }

    pub(super) fn new(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self(std::sync::Arc::new(error))
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

impl std::error::Error for Source {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

impl LedgerError {
    /// Whether it concerns the row that was to be written, or one that it meets, and no other.
    pub fn is_of_a_row(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Unreadable { .. })
    }

    /// Whether the same may succeed later without anybody changing what was asked.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Full { .. }
                | Self::ReadOnly { .. }
                | Self::Replaced { .. }
                | Self::Unreachable { .. }
                | Self::Busy { .. }
                | Self::NoAnswer { .. }
                | Self::Silent { .. }
                | Self::Storage { .. }
                | Self::Interrupted { .. }
                | Self::Saturated
        )
    }
}
