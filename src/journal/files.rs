//! Whether what is committed will be found by whoever opens the journal next: the files at its path are those that
//! were opened, the lock beside them is ours, and nobody wrote into them but `SQLite`.
//!
//! `SQLite` itself trusts its index in memory: it goes on writing into a log that was truncated below it, and
//! everything of it is lost at the next start. Asked with every commit, so nothing here takes a descriptor.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use rusqlite::Connection;

use super::failure::Failure;
use super::lock::Lock;
use super::place::{Identity, Place};

/// The length of the log's own header, and of that of each of its frames
/// (<https://sqlite.org/walformat.html>).
const LOG_HEADER: u64 = 32;
const FRAME_HEADER: u64 = 24;
/// The first bytes of every log, but for the last bit: the order of the bytes of its checksums.
const LOG_MAGIC: u32 = 0x377f_0682;

/// The files of an open journal.
#[derive(Debug)]
pub(super) struct Files {
    identity: Identity,
    /// Open for as long as the connection is. `SQLite` takes no lock on the log, so that closing this loses none.
    log: File,
    page_size: u64,
    /// How the last commit left them.
    left: Left,
}

/// What tells a file that `SQLite` wrote from one that somebody else wrote: the database changes only where frames of
/// the log are moved into it, and that is counted.
#[derive(Debug, PartialEq, Eq)]
struct Left {
    /// The length of the database and when it was written.
    database: (u64, i64, i64),
    frames: Frames,
}

/// What the index of the log counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Frames {
    /// The frames in the log.
    log: u64,
    /// Those of them that stand in the database too.
    moved: u64,
}

impl Files {
    /// Takes the files that this connection has open.
    pub(super) fn of(place: &Place, connection: &Connection) -> io::Result<Self> {
        let page_size = connection.pragma_query_value(None, "page_size", |row| row.get::<_, u32>(0));
        Ok(Self {
            identity: place.identity()?,
            log: File::open(place.log())?,
            page_size: page_size.map_err(io::Error::other)?.into(),
            left: Left::now(place, connection)?,
        })
    }

    /// Whether the lock is held and its file, the journal, its log and its index lie where they lay. Asked within the
    /// transaction: whoever takes a new lock file waits for it before reading anything.
    pub(super) fn check_names(&self, place: &Place, lock: &Lock) -> Result<(), Failure> {
        if !lock.is_in_place() {
            return Err(Failure::Unlocked(lock.path().to_owned()));
        }
        if place.identity().ok() != Some(self.identity) {
            return Err(Failure::Replaced);
        }
        Ok(())
    }

    /// Whether the log holds all frames that its index counts, and nobody wrote into the database beside `SQLite`.
    /// Asked outside of a transaction.
    pub(super) fn check_content(&self, place: &Place, connection: &Connection) -> Result<(), Failure> {
        let now = Left::now(place, connection).map_err(|_| Failure::Replaced)?;
        if now.database != self.left.database && now.frames == self.left.frames {
            return Err(Failure::Overwritten(place.path().to_owned()));
        }
        match self.log_holds(now.frames.log) {
            Ok(true) => Ok(()),
            _ => Err(Failure::Overwritten(place.log())),
        }
    }

    /// Whether a commit went into a log that holds it, and how it left the files.
    pub(super) fn check_commit(&mut self, place: &Place, connection: &Connection) -> Result<(), Failure> {
        // What the commit itself moved into the database is no trace of anybody else.
        self.left = Left::now(place, connection).map_err(|_| Failure::Replaced)?;
        self.check_content(place, connection)
    }

    fn log_holds(&self, frames: u64) -> io::Result<bool> {
        if frames == 0 {
            // The next commit writes it from its beginning.
            return Ok(true);
        }
        let mut magic = [0; 4];
        self.log.read_exact_at(&mut magic, 0)?;
        let whole = frames.saturating_mul(self.page_size + FRAME_HEADER).saturating_add(LOG_HEADER);
        Ok(u32::from_be_bytes(magic) & !1 == LOG_MAGIC && self.log.metadata()?.len() >= whole)
    }
}

impl Left {
    fn now(place: &Place, connection: &Connection) -> io::Result<Self> {
        let database = fs::metadata(place.path())?;
        let database = (database.len(), database.mtime(), database.mtime_nsec());
        // Moves nothing, takes no lock, and counts.
        let counted = connection.prepare_cached("PRAGMA wal_checkpoint(NOOP)").and_then(|mut noop| {
            noop.query_row((), |row| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)))
        });
        let (log, moved) = counted.map_err(io::Error::other)?;
        let frames =
            Frames { log: u64::try_from(log).unwrap_or(0), moved: u64::try_from(moved).unwrap_or(0) };
        Ok(Self { database, frames })
    }
}
