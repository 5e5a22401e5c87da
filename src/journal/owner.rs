//! The thread that owns the connection: it takes commands in order, and answers after the commit.
//!
//! Commands that wait together share one transaction, so that many clusters failing at once cost few flushes to
//! disk. Each of them is still kept whole or not at all: where the shared transaction fails between its beginning
//! and its commit, they are kept one by one. Where it cannot begin, none of them could.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::oneshot;

use super::error::JournalError;
use super::failure::Failure;
use super::files::Files;
use super::lock::Lock;
use super::place::Place;
use super::seen::{Numbers, Seen};
use super::stored::NewRow;
use crate::failpoint::{self, Point};

/// As many commands share one transaction. Bounds how long the first of them waits.
const MAX_GROUP: usize = 256;

/// Rows that are kept together, and where to tell their numbers.
pub(super) struct Keep {
    pub(super) rows: Vec<NewRow>,
    pub(super) answer: oneshot::Sender<Result<Vec<u64>, JournalError>>,
}

/// What the thread can be asked.
pub(super) enum Command {
    /// To keep rows.
    Keep(Keep),
    /// To do something else with the connection.
    Work(Box<dyn FnOnce(&mut Owner) + Send>),
    /// To show that it lives.
    CheckAlive(oneshot::Sender<()>),
    /// To close the file, after all that was asked before.
    Close(oneshot::Sender<Result<(), JournalError>>),
    /// To run any SQL: the only way for a test to make the disk full, or a commit fail.
    #[cfg(test)]
    Sql(String, oneshot::Sender<rusqlite::Result<()>>),
    /// To panic.
    #[cfg(test)]
    Panic,
}

/// The connection and its lock. The lock is given back last.
pub(super) struct Owner {
    pub(super) connection: Connection,
    pub(super) place: Place,
    pub(super) files: Files,
    pub(super) seen: Seen,
    pub(super) lock: Lock,
}

impl Owner {
    /// Serves commands until all senders are gone, or one asks to close.
    pub(super) fn run(mut self, commands: &Receiver<Command>) {
        let mut next = commands.recv().ok();
        while let Some(command) = next.take() {
            match command {
                Command::Keep(first) => next = self.keep_group(first, commands),
                Command::Work(work) => work(&mut self),
                Command::CheckAlive(answer) => {
                    let _ = answer.send(());
                }
                Command::Close(answer) => {
                    let _ = answer.send(self.close());
                    return;
                }
                #[cfg(test)]
                Command::Sql(sql, answer) => {
                    let _ = answer.send(self.connection.execute_batch(&sql));
                }
                #[cfg(test)]
                Command::Panic => panic!("asked to"),
            }
            if next.is_none() {
                next = commands.recv().ok();
            }
        }
        let _ = self.close();
    }

    /// Closes the file, which empties the write-ahead log into it, and then gives the lock back.
    fn close(self) -> Result<(), JournalError> {
        let in_place = self.files.check_names(&self.place, &self.lock);
        let ours = in_place.and_then(|()| self.files.check_content(&self.place, &self.connection)).is_ok();
        let Self { connection, place, files, lock, .. } = self;
        failpoint::pass(Point::Outcome);
        if !ours {
            // SQLite removes the log by its name when it closes. By now that may be somebody else's.
            let kept = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
            kept.map_err(|error| JournalError::sqlite(place.path(), error))?;
        }
        let closed = connection.close().map_err(|(_, error)| JournalError::sqlite(place.path(), error));
        failpoint::pass(Point::Closed);
        drop(files);
        drop(lock);
        closed
    }

    /// Keeps this and whatever else waits to be kept. Returns the first command that is something else.
    fn keep_group(&mut self, first: Keep, commands: &Receiver<Command>) -> Option<Command> {
        let mut group = vec![first];
        let mut next = None;
        while group.len() < MAX_GROUP {
            match commands.try_recv() {
                Ok(Command::Keep(keep)) => group.push(keep),
                Ok(other) => {
                    next = Some(other);
                    break;
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        match self.commit(&group) {
            Ok(numbers) => {
                for (keep, numbers) in group.into_iter().zip(numbers) {
                    let _ = keep.answer.send(Ok(numbers));
                }
            }
            Err(Failure::NotKept(_)) if group.len() > 1 => {
                for keep in group {
                    let kept = self.commit(std::slice::from_ref(&keep));
                    let kept = kept.map(|numbers| numbers.into_iter().flatten().collect());
                    let _ = keep.answer.send(kept.map_err(|failure| failure.error(&self.place)));
                }
            }
            Err(failure) => {
                for keep in group {
                    let _ = keep.answer.send(Err(failure.error(&self.place)));
                }
            }
        }
        next
    }

    /// Keeps all of it or nothing, in one transaction.
    fn commit(&mut self, group: &[Keep]) -> Result<Vec<Vec<u64>>, Failure> {
        let words = || {
            let rows = group.iter().flat_map(|keep| &keep.rows);
            rows.map(NewRow::word).collect::<Vec<_>>().join("+")
        };
        self.write(words, |transaction| {
            let insert = |row: &NewRow| row.insert(transaction).map(i64::cast_unsigned);
            group.iter().map(|keep| keep.rows.iter().map(insert).collect()).collect()
        })
    }

    /// Does this work in one transaction, on the files that were opened and no others, under a lock that keeps others
    /// out. `what` names it, for a failure point.
    pub(super) fn write<T>(
        &mut self,
        what: impl Fn() -> String,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Failure> {
        failpoint::pass_of(Point::WriteAsked, &what);
        self.files.check_names(&self.place, &self.lock)?;
        let not_begun = |error| Failure::NotBegun(Arc::new(error));
        let not_kept = |error| Failure::NotKept(Arc::new(error));
        if !self.connection.is_autocommit() {
            // A rollback after an earlier failure failed too.
            self.connection.execute_batch("ROLLBACK").map_err(not_begun)?;
        }
        self.files.check_content(&self.place, &self.connection)?;
        // Dropped without a commit it is rolled back.
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(not_begun)?;
        failpoint::pass_of(Point::WriteBegun, &what);
        let done = work(&transaction).map_err(not_kept)?;
        failpoint::pass_of(Point::WriteInserted, &what);
        let numbers = Numbers::of(&transaction).map_err(not_kept)?;
        // Again, now that whoever takes a new lock file waits for this transaction.
        self.files.check_names(&self.place, &self.lock)?;
        transaction.commit().map_err(|error| Failure::Commit(Arc::new(error)))?;
        failpoint::pass_of(Point::WriteCommitted, &what);
        // And whether that went into a log from which it can be read again.
        self.files.check_commit(&self.place, &self.connection)?;
        self.seen.note(numbers);
        Ok(done)
    }
}
