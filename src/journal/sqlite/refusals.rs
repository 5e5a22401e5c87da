//! What is kept of refused credentials: one value beside the journal's own, as whoever keeps it writes it.

use rusqlite::{Connection, OptionalExtension as _};

use crate::journal::owner::Owner;

const KEY: &str = "refused-credentials";

/// Reads it, as it stands; nothing where there is none.
pub(super) fn read(connection: &Connection) -> rusqlite::Result<Option<String>> {
    connection.query_row("SELECT value FROM meta WHERE key = ?1", [KEY], |row| row.get(0)).optional()
}

/// Keeps this instead of what was kept.
pub(super) fn keep(owner: &mut Owner, text: &str) {
    let kept = owner.write(
        || "refusals".to_owned(),
        |transaction| {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)")?
                .execute([KEY, text])
        },
    );
    if let Err(failure) = kept {
        let error = failure.error(&owner.place);
        tracing::debug!(%error, "the refusal of a credential could not be written to the journal");
    }
}
