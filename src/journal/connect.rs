//! Opening the file as a database, so that reading changes nothing on disk.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::error::JournalError;
use super::place::Place;

// 3.51.3 is the first that cannot lose a commit when two connections checkpoint a write-ahead log at once
// (<https://sqlite.org/wal.html#walresetbug>).
const _: () = assert!(rusqlite::ffi::SQLITE_VERSION_NUMBER >= 3_051_003, "the bundled SQLite is too old");

/// How a journal is opened to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// There is no write-ahead log, so nobody has it open to write, and all there is stands in the file. Nothing
    /// is created beside it, so this works on read-only media too. What is read while a daemon starts may be
    /// torn.
    Immutable,
    /// There is a write-ahead log: of a running daemon, or of one that was killed.
    Shared,
}

impl Way {
    /// The way that fits what lies there now.
    pub(super) fn for_now(place: &Place) -> Self {
        if fs::exists(place.log()).unwrap_or(true) { Self::Shared } else { Self::Immutable }
    }
}

/// Opens it to be read. Neither the file nor its log is ever changed; with a log, the index beside it
/// (`-shm`, which holds nothing of its own) may be built anew.
pub(super) fn read_only(place: &Place, way: Way, busy_timeout: Duration) -> Result<Connection, JournalError> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || {
        let connection = Connection::open_with_flags(uri(place.path(), way), flags)?;
        prepare(&connection, busy_timeout)?;
        Ok(connection)
    };
    open().map_err(|error: rusqlite::Error| JournalError::sqlite(place.path(), error))
}

/// Opens a file that is there, to be written.
pub(super) fn read_write(path: &Path, busy_timeout: Duration) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    prepare(&connection, busy_timeout)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

fn prepare(connection: &Connection, busy_timeout: Duration) -> rusqlite::Result<()> {
    connection.busy_timeout(busy_timeout)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)
}

/// The path as a URI (<https://sqlite.org/uri.html>): whatever is not plain is escaped.
fn uri(path: &Path, way: Way) -> String {
    let mut uri = "file:".to_owned();
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri.push_str(match way {
        Way::Immutable => "?mode=ro&immutable=1",
        Way::Shared => "?mode=ro",
    });
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_cannot_become_a_parameter_of_the_uri() {
        assert_eq!(
            uri(Path::new("/a b/c?mode=rwc#%41.db"), Way::Shared),
            "file:/a%20b/c%3Fmode%3Drwc%23%2541.db?mode=ro"
        );
    }

    #[test]
    fn the_linked_sqlite_is_the_bundled_one() {
        assert_eq!(rusqlite::version_number(), rusqlite::ffi::SQLITE_VERSION_NUMBER);
    }
}
