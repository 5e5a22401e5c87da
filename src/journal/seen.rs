//! The newest sign of life of a journal, outside of it: a file beside it with the numbers of the last entry and the last
//! hold. A journal that knows less than that was restored from a backup, or has lost its log.
//!
//! Written after each commit, in place and without a flush: a killed process loses nothing of it. After a power cut it
//! may be older than the journal, and never newer.

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use rusqlite::{Connection, OptionalExtension};

use super::holds;
use super::place::Place;

/// The last numbers that were given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Numbers {
    pub(super) entry: i64,
    pub(super) hold: i64,
}

impl Numbers {
    /// As the journal knows them. They never fall, whatever is forgotten.
    pub(super) fn of(connection: &Connection) -> rusqlite::Result<Self> {
        let last = |table: &str| {
            let mut select = connection.prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = ?1")?;
            Ok::<i64, rusqlite::Error>(select.query_row([table], |row| row.get(0)).optional()?.unwrap_or(0))
        };
        Ok(Self { entry: last("entry")?, hold: holds::last(connection)? })
    }

    /// Whether something that these know is missing in the others.
    pub(super) fn know_more_than(self, other: Self) -> bool {
        self.entry > other.entry || self.hold > other.hold
    }
}

/// Whether a journal was here before. A first start finds none of it.
pub(super) fn is_there(place: &Place) -> bool {
    std::fs::exists(place.beside(".seen")).unwrap_or(false)
}

/// The numbers that were last seen of this journal, if of it and not of another one.
pub(super) fn read(place: &Place, journal: &str) -> Option<Numbers> {
    let text = std::fs::read_to_string(place.beside(".seen")).ok()?;
    let mut words = text.split_whitespace();
    let is_it = words.next() == Some(journal);
    let mut number = || words.next()?.parse().ok();
    let numbers = Numbers { entry: number()?, hold: number()? };
    is_it.then_some(numbers)
}

/// The file, open to be written.
#[derive(Debug)]
pub(super) struct Seen {
    file: File,
    journal: String,
    numbers: Option<Numbers>,
}

impl Seen {
    pub(super) fn open(place: &Place, journal: &str) -> std::io::Result<Self> {
        let mut options = File::options();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(place.beside(".seen"))?;
        Ok(Self { file, journal: journal.to_owned(), numbers: None })
    }

    /// These are in the journal, durably. Where that cannot be written down, a restore is noticed less surely.
    pub(super) fn note(&mut self, numbers: Numbers) {
        if self.numbers == Some(numbers) {
            return;
        }
        // Always as long, so that nothing of an earlier line is left behind it.
        let line = format!("{} {:020} {:020}\n", self.journal, numbers.entry, numbers.hold);
        if self.file.write_all_at(line.as_bytes(), 0).is_ok() {
            self.numbers = Some(numbers);
        }
    }
}
