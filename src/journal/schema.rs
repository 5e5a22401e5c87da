//! The tables, the views for operators, and how older journals become newer ones.
//!
//! Migrations only add: an entry is never rewritten, so that every version since the first can be read before
//! anything is migrated. They stand in an ordered list, counted by `PRAGMA user_version`; what was released is
//! never changed or reordered.

use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::error::JournalError;
use super::stored::time_text;
use crate::failpoint::{self, Point};

/// `UpRm`: marks an `SQLite` file as a journal of this program.
pub(super) const APPLICATION_ID: u32 = 0x5570_526d;

/// The ordered list. The n-th (from 1) makes schema n.
pub(super) const MIGRATIONS: &[&str] = &[
    concat!(include_str!("schema/0001_entries.sql"), include_str!("schema/0001_views.sql")),
    include_str!("schema/0002_holds.sql"),
    include_str!("schema/0003_outbox.sql"),
    include_str!("schema/0004_projects.sql"),
    include_str!("schema/0005_positions.sql"),
];

/// The newest schema that this version knows.
pub(super) fn newest() -> u32 {
    u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX)
}

/// Refuses another program's database, and a schema that this version does not know.
pub(super) fn check_identity(path: &Path, application: u32, version: u32) -> Result<(), JournalError> {
    let path = || path.to_owned();
    match (application, version) {
        (APPLICATION_ID, 0) => {
            Err(JournalError::Corrupt { path: path(), detail: "it has no schema number".to_owned() })
        }
        (APPLICATION_ID, version) if version > newest() => {
            Err(JournalError::Newer { path: path(), found: version, known: newest() })
        }
        (APPLICATION_ID, _) => Ok(()),
        (0, _) => Err(JournalError::NotAJournal {
            path: path(),
            found: "it is an SQLite database without an application id".to_owned(),
        }),
        (found, _) => Err(JournalError::Foreign { path: path(), found }),
    }
}

/// The same by the database itself, which knows of the write-ahead log too. Returns the schema's number.
pub(super) fn check(path: &Path, connection: &Connection) -> Result<u32, JournalError> {
    let read = |pragma| {
        connection
            .pragma_query_value(None, pragma, |row| row.get::<_, i32>(0))
            .map(i32::cast_unsigned)
            .map_err(|error| JournalError::sqlite(path, error))
    };
    let version = read("user_version")?;
    check_identity(path, read("application_id")?, version)?;
    Ok(version)
}

/// Asks `SQLite` whether the file is sound.
///
/// `quick_check` reads the whole file, as the fold of the history does next; it leaves out only the comparison
/// of indexes with tables. A journal of some hundred megabytes takes seconds, once for each start.
pub(super) fn check_pages(path: &Path, connection: &Connection) -> Result<(), JournalError> {
    let found: String = connection
        .query_row("PRAGMA quick_check(1)", (), |row| row.get(0))
        .map_err(|error| JournalError::sqlite(path, error))?;
    if found == "ok" {
        return Ok(());
    }
    // A heading with the database's name may stand on a line before it; an error is one line.
    let detail = found.lines().filter(|line| !line.starts_with("***")).collect::<Vec<_>>().join("; ");
    Err(JournalError::Corrupt { path: path.to_owned(), detail })
}

/// Brings the schema to the end of `migrations`, in one transaction: all of it or nothing.
pub(super) fn migrate(connection: &mut Connection, migrations: &[&str]) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    let version: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    for (number, migration) in (1_u32..).zip(migrations).filter(|(number, _)| *number > version) {
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", number)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    failpoint::pass(Point::Migrating);
    transaction.commit()
}

/// What is made once for each journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Which journal it is: 32 hexadecimal digits.
    pub id: String,
    /// The seed of all jitter, so that a restart computes the same waits.
    pub seed: u64,
    /// When it was created.
    pub created_at: Timestamp,
}

impl Meta {
    /// Writes it into a new journal.
    pub(super) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut insert = connection.prepare("INSERT INTO meta (key, value) VALUES (?1, ?2)")?;
        insert.execute(("journal-id", &self.id))?;
        insert.execute(("jitter-seed", self.seed.to_string()))?;
        insert.execute(("created-at", time_text(self.created_at)))?;
        Ok(())
    }

    /// Reads it.
    pub(super) fn read(path: &Path, connection: &Connection) -> Result<Self, JournalError> {
        fn value<T: std::str::FromStr>(
            path: &Path,
            connection: &Connection,
            key: &str,
        ) -> Result<T, JournalError> {
            let text: Option<String> = connection
                .query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0))
                .optional()
                .map_err(|error| JournalError::sqlite(path, error))?;
            text.and_then(|text| text.parse().ok()).ok_or_else(|| JournalError::Corrupt {
                path: path.to_owned(),
                detail: format!("its table meta has no usable {key}"),
            })
        }
        Ok(Self {
            id: value(path, connection, "journal-id")?,
            seed: value(path, connection, "jitter-seed")?,
            created_at: value(path, connection, "created-at")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "CREATE TABLE one (number INTEGER) STRICT;";
    const SECOND: &str = "ALTER TABLE one ADD COLUMN word TEXT;";

    fn version(connection: &Connection) -> u32 {
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
    }

    #[test]
    fn each_migration_runs_once_and_keeps_what_was_there() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, &[FIRST]).unwrap();
        connection.execute("INSERT INTO one (number) VALUES (7)", ()).unwrap();
        assert_eq!(version(&connection), 1);
        for _ in 0..2 {
            migrate(&mut connection, &[FIRST, SECOND]).unwrap();
            assert_eq!(version(&connection), 2);
        }
        let kept: (i64, Option<String>) = connection
            .query_row("SELECT number, word FROM one", (), |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap();
        assert_eq!(kept, (7, None));
    }

    #[test]
    fn a_migration_that_fails_leaves_the_schema_as_it_was() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, &[FIRST]).unwrap();
        assert!(migrate(&mut connection, &[FIRST, SECOND, "CREATE TABLE one (x)"]).is_err());
        assert_eq!(version(&connection), 1);
        assert!(connection.prepare("SELECT word FROM one").is_err());
        migrate(&mut connection, &[FIRST, SECOND]).unwrap();
        assert_eq!(version(&connection), 2);
    }

    #[test]
    fn the_shipped_migrations_make_a_journal_that_passes_its_own_checks() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, MIGRATIONS).unwrap();
        let path = Path::new("journal.db");
        assert_eq!(check(path, &connection).unwrap(), newest());
        check_pages(path, &connection).unwrap();
        let meta = Meta { id: "a".repeat(32), seed: u64::MAX, created_at: Timestamp::UNIX_EPOCH };
        meta.write(&connection).unwrap();
        assert_eq!(Meta::read(path, &connection).unwrap(), meta);
    }

    #[test]
    fn each_older_schema_keeps_its_entries_and_learns_which_project_is_which() {
        for older in 1..MIGRATIONS.len() {
            let mut connection = Connection::open_in_memory().unwrap();
            migrate(&mut connection, &MIGRATIONS[..older]).unwrap();
            let insert = "INSERT INTO entry (at, project, cluster, task, event, data) VALUES ('t', 'old', 'c', 't', 'e', '{}')";
            connection.execute(insert, ()).unwrap();
            migrate(&mut connection, MIGRATIONS).unwrap();
            for (name, renames) in [("old", 0), ("new", 1)] {
                let project = crate::model::names::Named {
                    name: name.parse().unwrap(),
                    id: Some("1".parse().unwrap()),
                };
                let identified = super::super::names::identify(&connection, &[project]).unwrap();
                assert_eq!(identified.naming.renames.len(), renames, "schema {older}");
            }
            let kept: String =
                connection.query_row("SELECT project FROM entry", (), |row| row.get(0)).unwrap();
            assert_eq!(kept, "new", "schema {older}");
        }
    }

    #[test]
    fn what_an_older_journal_says_in_former_words_is_shown_in_the_words_of_today() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, &MIGRATIONS[..3]).unwrap();
        let entry = |event: &str, data: &str| {
            let insert = "INSERT INTO entry (at, project, cluster, task, event, data) VALUES ('t', 'p', 'c', 't', ?1, ?2)";
            connection.execute(insert, (event, data)).unwrap();
        };
        entry("first-seen", r#"{"event":"first-seen","kind":"upgrade","cluster_name":"logs"}"#);
        entry("intent", r#"{"event":"intent","action":"retry"}"#);
        entry("settled", r#"{"event":"settled","attempt":2,"settlement":"accepted"}"#);
        entry("closed", r#"{"event":"closed","as":"remedied"}"#);
        migrate(&mut connection, MIGRATIONS).unwrap();
        let text = |sql: &str| connection.query_row(sql, (), |row| row.get::<_, String>(0)).unwrap();
        assert_eq!(text("SELECT outcome FROM outcomes"), "resolved");
        assert_eq!(text("SELECT outcome FROM tasks"), "resolved");
        assert_eq!(text("SELECT outcome FROM attempts"), "accepted");
    }

    #[test]
    fn an_entry_cannot_be_changed_in_place() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, MIGRATIONS).unwrap();
        connection
            .execute(
                "INSERT INTO entry (at, project, cluster, task, event, data) VALUES ('t', 'p', 'c', 't', 'e', '{}')",
                (),
            )
            .unwrap();
        for column in ["number", "at", "cluster", "task", "event", "data"] {
            let changed = format!("UPDATE entry SET {column} = {column}");
            let refused = connection.execute(&changed, ()).unwrap_err();
            assert!(refused.to_string().contains("never changed"), "{column}: {refused}");
        }
        connection.execute("UPDATE entry SET project = 'renamed'", ()).unwrap();
    }
}
