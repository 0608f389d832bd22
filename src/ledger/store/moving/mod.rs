//! Moving a ledger from its file to a server, and retiring the file.
//!
//! Both are locked from before the first look to the end. The four writes, each a commit of its own:
//!
//! 1. the file says that it leaves, and serves no more;
//! 2. all rows are on the server, which says that a ledger is arriving, and so does not serve: one transaction;
//! 3. the file says that it has left;
//! 4. the server says nothing more, and serves.
//!
//! Who is killed before the second leaves a file that leaves and an empty server: the move begins anew, or is given up.
//! After it, the move goes on. The two know each other by the number of the move, which is made anew whenever one begins.

mod marker;
mod tables;

use std::path::Path;

use jiff::Timestamp;
use secrecy::SecretString;
use sqlx::{Connection as _, Executor as _, PgConnection};
use uuid::Uuid;

use self::marker::{Arriving, Leaving};
pub(super) use self::marker::{refuse_arriving, refuse_leaving};
use super::{
    super::{
        Location,
        error::{LedgerError, Source},
        moving::{MoveError, Stage, TableRows},
    },
    LedgerSettings,
    cells::{failed, ms},
    engine::{Connection, Readers},
    facts, home,
    postgres::{self, Patience},
    sqlite,
};

const WHAT: &str = "move the ledger";

/// A ledger on its way from a file to a server. While this lives no other process opens either. Dropped half-way, it is as
/// if the process had been killed.
#[derive(Debug)]
pub struct Move {
    file: sqlite::Opened,
    server: PgConnection,
    patience: Patience,
    /// For people.
    to: String,
    /// The number of this move.
    by: String,
    stage: Stage,
}

impl Move {
    /// Takes both, and finds out how far a move of this file to this database is. The file's schema is brought up to date;
    /// nothing else is written.
    pub async fn open(
        settings: &LedgerSettings,
        from: &Path,
        to: &SecretString,
    ) -> Result<Self, LedgerError> {
        let mut file = take(settings, from).await?;
        let name = Location::Server(to.clone()).to_string();
        let what = "move the ledger to";
        let (mut server, patience) =
            postgres::connect(to, &name, what, settings.answer_timeout).await?;
        let leaving = marker::leaving(&mut file.writer).await?;
        let on_server = patience.with(look(&mut server, &name)).await?;
        let occupied = || {
            LedgerError::Move(MoveError::Occupied {
                server: name.clone(),
            })
        };
        let stage = match (&leaving, on_server) {
            (Some(leaving), OnServer::Arriving { by }) if leaving.by == by => {
                if leaving.retired {
                    Stage::Retired
                } else {
                    Stage::Copied
                }
            }
            (
                Some(Leaving {
                    retired: true, to, ..
                }),
                on_server,
            ) => {
                let id = facts::fact(&mut file.writer, "id").await?;
                match on_server {
                    OnServer::Ledger { id: theirs } if theirs == id => Stage::Done,
                    _ => {
                        return Err(LedgerError::Move(MoveError::Moved {
                            path: from.to_owned(),
                            to: to.clone(),
                        }));
                    }
                }
            }
            (_, OnServer::Nothing) => Stage::Ready,
            (_, OnServer::Arriving { .. } | OnServer::Ledger { .. }) => return Err(occupied()),
        };
        let by = match leaving {
            Some(leaving) if stage != Stage::Ready => leaving.by,
            _ => Uuid::new_v4().to_string(),
        };
        Ok(Self {
            file,
            server,
            patience,
            to: name,
            by,
            stage,
        })
    }

    /// How far it is.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// The server and the database, without what may be secret.
    pub fn to(&self) -> &str {
        &self.to
    }

    /// The rows that the file has to be carried over, by table.
    pub async fn rows(&self) -> Result<Vec<TableRows>, LedgerError> {
        tables::count(&mut *reader(&self.file).await?).await
    }

    /// Makes the next of the four writes, and says how far the move is then. Where the second fails before the server was
    /// asked to commit, the first is taken back.
    pub async fn step(&mut self, now: Timestamp) -> Result<Stage, LedgerError> {
        self.stage = match self.stage {
            Stage::Ready => {
                let (writer, place) = (&mut self.file.writer, &self.file.place);
                facts::secret(&mut *writer).await?;
                // Leases end, and a file that is a copy says so, as whenever a file is taken up.
                home::take_over(writer, place, ms(now)).await?;
                self.leave(false, now).await?;
                Stage::Announced
            }
            Stage::Announced => {
                self.copy().await?;
                Stage::Copied
            }
            Stage::Copied => {
                self.leave(true, now).await?;
                Stage::Retired
            }
            Stage::Retired => {
                let arrived = marker::arrived(&mut self.server);
                self.patience.with(arrived).await?;
                Stage::Done
            }
            Stage::Done => Stage::Done,
        };
        Ok(self.stage)
    }

    /// Lets go of both.
    pub async fn close(self) -> Result<(), LedgerError> {
        let closed = self.server.close().await;
        close(self.file).await?;
        closed.map_err(failed(WHAT))
    }

    /// Gives a move up that has begun and not ended: the file is the ledger again. What may have arrived on the server never
    /// is. `false`: there is nothing to give up.
    pub async fn cancel(settings: &LedgerSettings, from: &Path) -> Result<bool, LedgerError> {
        let mut file = take(settings, from).await?;
        let has_begun = match marker::leaving(&mut file.writer).await? {
            None => false,
            Some(Leaving { retired: false, .. }) => {
                marker::stay(&mut file.writer).await?;
                true
            }
            Some(Leaving { to, .. }) => {
                return Err(LedgerError::Move(MoveError::Moved {
                    path: from.to_owned(),
                    to,
                }));
            }
        };
        close(file).await?;
        Ok(has_begun)
    }

    async fn leave(&mut self, retired: bool, now: Timestamp) -> Result<(), LedgerError> {
        let leaving = Leaving {
            by: self.by.clone(),
            to: self.to.clone(),
            at: ms(now),
            retired,
        };
        marker::leave(&mut self.file.writer, &leaving).await
    }

    async fn copy(&mut self) -> Result<(), LedgerError> {
        let copied = self.carried().await;
        if copied.is_err() {
            // Whether it answers or not: without a word the server forgets it as well.
            let rolled_back = self.server.execute("ROLLBACK");
            let _rolled_back = self.patience.shortly(rolled_back).await;
            // It cannot have been committed, so the file may go on as if nothing had been. If even that cannot be
            // written, the file says what to do.
            let _stays = marker::stay(&mut self.file.writer).await;
            self.stage = Stage::Ready;
        }
        copied?;
        // A cut here leaves it open whether all of it is there; the next move finds out.
        let committed = sqlx::query("COMMIT").execute(&mut self.server);
        self.patience
            .with(async { committed.await.map_err(failed(WHAT)) })
            .await?;
        Ok(())
    }

    /// Everything of the second write but its commit.
    async fn carried(&mut self) -> Result<(), LedgerError> {
        let (server, patience) = (&mut self.server, &self.patience);
        let begun = async {
            postgres::migrate(server, &self.to).await?;
            let place = postgres::place(server).await.map_err(failed(WHAT))?;
            server.execute("BEGIN").await.map_err(failed(WHAT))?;
            Ok(place)
        };
        let place = patience.with(begun).await?;
        let carried = tables::carry(&mut *reader(&self.file).await?, server, patience).await;
        carried.map_err(|error| patience.named(error))?;
        let by = self.by.clone();
        let told = async {
            // It was moved on purpose: that alone is no reason to be cautious.
            facts::set_fact(&mut *server, "place", &place.name).await?;
            if let Some(timeline) = place.timeline {
                facts::set_fact(&mut *server, "timeline", &timeline.to_string()).await?;
            }
            marker::arrive(server, &Arriving { by }).await?;
            // Statements are planned by what is known of the tables, and of new ones nothing is.
            server.execute("ANALYZE").await.map_err(failed(WHAT))
        };
        patience.with(told).await?;
        Ok(())
    }
}

/// What is on the server.
enum OnServer {
    Nothing,
    Arriving { by: String },
    Ledger { id: Option<String> },
}

async fn look(server: &mut PgConnection, name: &str) -> Result<OnServer, LedgerError> {
    if !postgres::is_there(server, name).await? {
        return Ok(OnServer::Nothing);
    }
    if let Some(Arriving { by }) = marker::arriving(server).await? {
        return Ok(OnServer::Arriving { by });
    }
    if tables::are_empty(server).await? {
        return Ok(OnServer::Nothing);
    }
    let id = facts::fact(server, "id").await?;
    Ok(OnServer::Ledger { id })
}

/// Takes the file, which must be there.
async fn take(settings: &LedgerSettings, path: &Path) -> Result<sqlite::Opened, LedgerError> {
    if let Err(error) = path.metadata() {
        return Err(LedgerError::Open {
            path: path.to_owned(),
            source: Source::new(error),
        });
    }
    sqlite::open(path, settings)
        .await
        .map_err(|error| match error {
            LedgerError::Locked { path } => LedgerError::Move(MoveError::InUse { path }),
            error => error,
        })
}

async fn reader(
    file: &sqlite::Opened,
) -> Result<sqlx::pool::PoolConnection<sqlx::Sqlite>, LedgerError> {
    match &file.readers {
        Readers::Sqlite(pool) => pool.acquire().await.map_err(failed(WHAT)),
        Readers::Postgres(_) => Err(LedgerError::NoFile),
    }
}

/// Folds the write-ahead log into the file.
async fn close(file: sqlite::Opened) -> Result<(), LedgerError> {
    if let Readers::Sqlite(pool) = &file.readers {
        pool.close().await;
    }
    if let Connection::Sqlite(writer) = file.writer {
        writer.close().await.map_err(failed(WHAT))?;
    }
    drop(file.lock);
    Ok(())
}
