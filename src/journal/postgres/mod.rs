//! A journal in PostgreSQL that several instances share: the connection to the database.
//!
//! [`PostgresUrl`] and [`PostgresOptions`] say where it is, [`Connector`] opens a [`Link`] to the primary, and
//! [`until_connected`] repeats that with a backoff. A [`PostgresError`] says by its [`Kind`] what is known of a statement
//! that got no good answer.

pub mod connect;
pub mod error;
pub mod link;
pub mod options;
pub mod retry;
pub mod url;

pub use connect::Connector;
pub use error::{Kind, PostgresError};
pub use link::Link;
pub use options::{OptionsError, PostgresOptions, ReadSecret, SchemaName};
pub use retry::until_connected;
pub use url::{PostgresUrl, UrlError};
