//! A journal in `PostgreSQL` that several instances can share.
//!
//! Every statement is one transaction, or several that are sent together, so that no transaction waits for this process. A
//! project's row is the gate to what is kept of it: entries are numbered under its lock, and only under the term that this
//! process took.

mod append;
mod copy;
mod lanes;
mod open;
mod outbox;
mod rows;
mod schema;
mod scopes;
mod sql;
mod store;

pub use copy::{Contents, copy};
pub(super) use open::blocking;
pub use open::{Found, PostgresReader};
pub use store::PostgresJournal;
