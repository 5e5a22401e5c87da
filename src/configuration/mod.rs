//! The configuration: TOML files and the environment → checked values.
//!
//! Takes the path of config.toml and an [`Environment`]; returns [`Configuration`] in the model's
//! types, with a warning for accepted values without effect, or *all* problems of all files at
//! once, each with its place.
//!
//! Must never: convert a value silently, ignore an unknown key, read the process's environment or a clock, or let a
//! secret into a value, a message or a `Debug` output (a secret is a [`SecretReference`] until
//! [`Configuration::resolve_secrets`] fetches it).
//!
//! ```text
//!  files ─► document ──────┐
//!                          ├─► section (config) ─► table, kind ─► check ─► Configuration
//!  environment ─► overrides ┘  what the text says  what is read    what is true
//! ```
//!
//! Each table declares its keys once, with their kinds (`table!`). Reading and checking of a single
//! value, its masking in messages, the listing of values in force and the variables that override
//! it derive from that.

mod channel;
mod check;
mod checked;
mod civil;
mod credentials;
mod document;
mod duration;
mod effective;
mod environment;
mod files;
mod journal;
mod key;
mod kind;
mod layer;
mod load;
mod names;
mod network;
mod overrides;
mod policy;
mod problem;
mod profile;
mod project;
mod reference;
mod regions;
mod resolve;
mod schema;
mod section;
mod sections;
mod source;
mod table;
mod text;
mod variant;
mod window;

pub use channel::{Channel, ChannelKind, Email, Notify, Smn};
pub use checked::{Configuration, Loaded};
pub use credentials::{Agency, Assumed, CredentialSecrets, Credentials, Password};
pub use effective::Effective;
pub use environment::{Environment, PREFIX as ENVIRONMENT_PREFIX};
pub use files::MAX_FILE_BYTES;
pub use load::{FileText, POLICY_FOLDER, control_socket_despite_problems, load, load_texts};
pub use network::Proxy;
pub use problem::{Coloured, Problem, Problems, Severity};
pub use project::Project;
pub use reference::SecretReference;
pub use regions::smn_endpoint;
pub use resolve::{ChannelSecrets, GIVEN_AT_START, SecretReader};
pub use sections::{Http, Log};
pub use source::Snippet;
pub use text::LogFormat;

pub use self::journal::Database;
pub use crate::journal::{JournalLocation, JournalUrl};

/// Reads a duration in the form of the configuration: `"30s"`, `"1h 30m"`, `"3d"`.
///
/// # Errors
/// What is allowed, if the text is not a duration.
pub fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    duration::parse(text).map_err(|error| error.to_string())
}

/// Returns a key as messages and listings name it: `policy.logs.window`, with quotes if TOML needs
/// them.
pub fn key_of(steps: &[&str]) -> String {
    key::KeyPath::of(steps).to_string()
}
