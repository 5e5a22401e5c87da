//! The settings: TOML files and the environment → checked values.
//!
//! Takes the path of config.toml and an [`Environment`]; gives [`Settings`] in the model's types, with a warning for
//! what was accepted and has no effect, or *all* problems of all files at once, each with its place.
//!
//! Must never: convert a value silently, ignore an unknown key, read the process's environment or a clock, or let a
//! secret into a value, a message or a `Debug` output (a secret is a [`SecretReference`] until
//! [`Settings::resolve_secrets`] fetches it).
//!
//! ```text
//!  files ─► document ─┐
//!  defaults ──────────┼─► strict (config, then serde) ─► written ─► check ─► Settings
//!  environment ───────┘        what the text says                  what is true
//! ```

mod channel;
mod check;
mod civil;
mod defaults;
mod document;
mod duration;
mod effective;
mod environment;
mod files;
mod key;
mod layer;
mod problem;
mod profile;
mod proxy;
mod scalar;
mod secret;
mod source;
mod strict;
mod written;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use channel::{Channel, ChannelKind, ChannelSecrets, Notify};
pub use effective::Effective;
pub use environment::{Environment, PREFIX as ENVIRONMENT_PREFIX};
pub use files::MAX_FILE_BYTES;
pub use problem::{Coloured, Problem, Problems, Severity};
pub use proxy::Proxy;
pub use secret::{CredentialSecrets, SecretReader, SecretReference};
pub use source::Snippet;

use crate::model::id::{ProjectId, ProjectName};
use crate::model::policy::{Mode, Policy};
use crate::model::project::{Breaker, Limits, Poll};
use files::{ReadError, Readers, read_text};

/// A duration as the settings write it: `"30s"`, `"1h 30m"`, `"3d"`.
///
/// # Errors
/// What is allowed, where the text is none.
pub fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    duration::parse(text).map_err(|error| error.to_string())
}

/// Where Simple Message Notification is, where the region alone is given.
pub fn smn_endpoint(region: &str) -> String {
    defaults::smn_endpoint(region)
}

/// Where the control socket lies where the settings have problems: a running daemon can be spoken to all the same.
/// `None`: the settings turn it off.
pub fn control_socket_despite_problems(path: &Path, env: &Environment) -> Option<PathBuf> {
    let text = read_text(path, Readers::Anybody).unwrap_or_default();
    let written = text.parse::<toml::Table>().ok();
    let written = written.as_ref().and_then(|file| file.get("control")?.get("socket")?.as_str());
    match written {
        Some("") => None,
        Some(socket) => Some(socket.into()),
        None => Some(defaults::control_socket(env)),
    }
}

/// The folder of more policies, beside whichever config file is used.
pub const POLICY_FOLDER: &str = "policies.d";

/// Where the journal is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JournalUrl {
    /// An SQLite file, by its absolute path.
    Sqlite(PathBuf),
}

/// In which form the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Whatever suits where it goes.
    Auto,
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
    /// With its fields, to the journal of the system.
    Journald,
}

/// Where the status page is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// The address; another one than a loopback address only where the settings acknowledge that anybody can read it.
    pub listen: SocketAddr,
    /// Names under which it may be asked for, beside `localhost` and addresses.
    pub hosts: Vec<String>,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Directives of `tracing`, valid ones.
    pub filter: String,
    /// The form.
    pub format: LogFormat,
}

/// Credentials, their secrets by reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// `ak-sk`: permanent keys, or temporary ones where there is a token.
    AccessKey {
        /// The access key id.
        access_key: SecretReference,
        /// The secret access key.
        secret_key: SecretReference,
        /// Goes with temporary keys.
        security_token: Option<SecretReference>,
    },
    /// `password`: a user of an account signs in.
    Password {
        /// The user's name.
        user: String,
        /// The password.
        password: SecretReference,
        /// The account's name.
        domain: String,
    },
    /// `token`: one that somebody else got.
    Token {
        /// The token.
        token: SecretReference,
    },
    /// `ecs-agency`: the agency of the machine, from its metadata service.
    EcsAgency,
    /// `agency`: taken on by other credentials.
    Agency {
        /// A key of [`Settings::credentials`].
        source: String,
        /// Which one.
        agency: Agency,
    },
    /// `profile`: what the official tools have been set up with.
    Profile {
        /// A file; where the tools look where it is absent.
        path: Option<PathBuf>,
    },
}

/// An agency, by either of the two ways of taking one on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Agency {
    /// By its name, and that of the account that gave it.
    Named {
        /// The agency's name.
        name: String,
        /// The account's name.
        domain: String,
    },
    /// By its URN.
    Urn(String),
}

impl Credentials {
    /// The word under `type`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::AccessKey { .. } => "ak-sk",
            Self::Password { .. } => "password",
            Self::Token { .. } => "token",
            Self::EcsAgency => "ecs-agency",
            Self::Agency { .. } => "agency",
            Self::Profile { .. } => "profile",
        }
    }

    /// The references with their keys.
    pub fn references(&self) -> Vec<(&'static str, &SecretReference)> {
        match self {
            Self::AccessKey { access_key, secret_key, security_token } => {
                let mut all = vec![("access_key", access_key), ("secret_key", secret_key)];
                all.extend(security_token.as_ref().map(|token| ("security_token", token)));
                all
            }
            Self::Password { password, .. } => vec![("password", password)],
            Self::Token { token } => vec![("token", token)],
            Self::EcsAgency | Self::Agency { .. } | Self::Profile { .. } => Vec::new(),
        }
    }

    /// The keys that are no secrets, with their values.
    pub fn plain(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::AccessKey { .. } | Self::Token { .. } | Self::EcsAgency => Vec::new(),
            Self::Password { user, domain, .. } => vec![("user", user.clone()), ("domain", domain.clone())],
            Self::Agency { source, agency } => {
                let source = ("source", source.clone());
                match agency {
                    Agency::Named { name, domain } => {
                        vec![source, ("agency_name", name.clone()), ("domain_name", domain.clone())]
                    }
                    Agency::Urn(urn) => vec![source, ("agency_urn", urn.clone())],
                }
            }
            Self::Profile { path } => {
                path.iter().map(|path| ("path", path.to_string_lossy().into_owned())).collect()
            }
        }
    }
}

/// One project in one region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Its name in everything that is told, unique.
    pub name: ProjectName,
    /// The region: signed requests do not need it, people do.
    pub region: String,
    /// The project's id; that of the project of the region's name where it is absent.
    pub project_id: Option<ProjectId>,
    /// `https://HOST[:PORT]`, or `http://` to a loopback address; no path, no slash at the end.
    pub endpoint: String,
    /// Where credentials sign in, of the same form.
    pub iam_endpoint: String,
    /// Where an agency's URN is turned into keys, of the same form.
    pub sts_endpoint: String,
    /// A key of [`Settings::credentials`].
    pub credentials: String,
    /// A PEM file whose certificates are trusted beside the system's; it could be read when this was checked.
    pub ca_file: Option<PathBuf>,
    /// The proxy that everything of the project goes through.
    pub proxy: Option<Proxy>,
}

impl Project {
    /// What is not sure of the hosts that the region alone gave: the key, and what to know.
    pub fn doubts(&self) -> Vec<(&'static str, String)> {
        defaults::doubts(self)
    }
}

/// Checked settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The global mode; each policy's own is in its terms, never above this one.
    pub mode: Mode,
    /// The journal.
    pub journal: JournalUrl,
    /// How long the journal keeps what is finished.
    pub retention: Duration,
    /// How often to look.
    pub poll: Poll,
    /// How much at once, for each project.
    pub limits: Limits,
    /// When to take the cloud for ill, for each project.
    pub breaker: Breaker,
    /// Where commands reach the daemon, an absolute path; `None` turns it off.
    pub control: Option<PathBuf>,
    /// The status page, the JSON API and the metrics; `None` turns them off.
    pub http: Option<Http>,
    /// The log.
    pub log: Log,
    /// Whom to tell of what.
    pub notify: Notify,
    /// In the order of the file.
    pub channels: Vec<Channel>,
    /// By name. Each project's are among them.
    pub credentials: BTreeMap<String, Credentials>,
    /// In the order of the file.
    pub projects: Vec<Project>,
    /// Enabled policies in the order in which they are tried: the first that matches governs a task.
    pub policies: Vec<Policy>,
}

/// Settings that can be used, and what there is to say of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// What was accepted and should be polled.
    pub warnings: Vec<Problem>,
    /// Where each key comes from: `FILE:LINE`, `default` or `environment NAME`. Absent: default.
    pub origins: BTreeMap<String, String>,
    /// For what is found only when it is used: the places of secrets and windows, by their keys.
    places: BTreeMap<String, Problem>,
}

impl Loaded {
    /// What [`Settings::check_secrets`] finds, with the places.
    pub fn check_secrets(&self, env: &Environment) -> Vec<Problem> {
        self.settings.check_secrets(env).into_iter().map(|problem| self.located(problem)).collect()
    }

    /// The same problem at the place of its key, where that is known and not told yet.
    #[must_use]
    pub fn located(&self, mut problem: Problem) -> Problem {
        let place = problem.key.as_ref().and_then(|key| self.places.get(key));
        if let (None, Some(place)) = (&problem.file, place) {
            problem.file.clone_from(&place.file);
            (problem.line, problem.column) = (place.line, place.column);
            problem.snippet.clone_from(&place.snippet);
        }
        problem
    }
}

/// A file's text with its name.
#[derive(Clone)]
pub struct FileText {
    /// As messages name it.
    pub file: PathBuf,
    /// The text.
    pub text: String,
}

/// What to do where there is no config.toml yet.
const TO_BEGIN_WITH: &str = "give its place with --config, or write it: minimal.toml (config/ of the sources, examples/ of the package) is one to begin with";

/// Reads config.toml at `path`, the files of `policies.d` beside it, and the overrides of the environment.
///
/// # Errors
/// All problems of all files, with the warnings among them.
pub fn load(path: &Path, env: &Environment) -> Result<Loaded, Problems> {
    let mut problems = Vec::new();
    let main = read(path, Some(TO_BEGIN_WITH), &mut problems);
    let folder = path.parent().unwrap_or_else(|| Path::new("")).join(POLICY_FOLDER);
    let files = files::toml_files(&folder).unwrap_or_else(|error| {
        problems.push(Problem::error(error.to_string()).in_file(&folder));
        Vec::new()
    });
    let policies: Vec<FileText> = files.iter().filter_map(|file| read(file, None, &mut problems)).collect();
    let order: Vec<PathBuf> = std::iter::once(path.to_owned()).chain(files).collect();
    put_together(main.as_ref(), &policies, env, problems, &order)
}

/// The same for texts that were read already: `main` is config.toml, `policies` are tried after its own, in this order.
/// Of other files it only reads those that `ca_file` names.
///
/// # Errors
/// As [`load`].
pub fn load_texts(main: &FileText, policies: &[FileText], env: &Environment) -> Result<Loaded, Problems> {
    let order: Vec<PathBuf> = std::iter::once(main).chain(policies).map(|text| text.file.clone()).collect();
    put_together(Some(main), policies, env, Vec::new(), &order)
}

/// A key as messages and listings name it: `policy.logs.window`, with quotes where TOML needs them.
pub fn key_of(steps: &[&str]) -> String {
    steps.iter().fold(key::KeyPath::default(), |path, step| path.key(step)).to_string()
}

/// `absent`: what to do where there is nothing.
fn read(path: &Path, absent: Option<&str>, problems: &mut Vec<Problem>) -> Option<FileText> {
    match read_text(path, Readers::Anybody) {
        Ok(text) => Some(FileText { file: path.to_owned(), text }),
        Err(error) => {
            let problem = Problem::error(error.to_string()).in_file(path);
            let absent = absent.filter(|_| matches!(error, ReadError::Missing | ReadError::Empty));
            problems.push(match absent {
                Some(hint) => problem.with_hint(hint),
                None => problem,
            });
            None
        }
    }
}

fn put_together(
    main: Option<&FileText>,
    policies: &[FileText],
    env: &Environment,
    mut problems: Vec<Problem>,
    order: &[PathBuf],
) -> Result<Loaded, Problems> {
    let mut parse = |text: &FileText| {
        let (layer, found) = document::parse(&text.file, &text.text);
        problems.extend(found);
        layer
    };
    let main = main.and_then(&mut parse);
    let policies: Vec<_> = policies.iter().filter_map(parse).collect();
    // Without config.toml, what is said elsewhere is still checked, but not against what it might have said.
    let whole = main.is_some();

    let (overrides, found) = defaults::overrides(env);
    problems.extend(found);
    let layers = std::iter::once(defaults::layer(env)).chain(main).chain([overrides]).collect();
    let (config_file, tree, found) = strict::read(layers);
    problems.extend(found);
    let policy_files: Vec<_> = policies
        .into_iter()
        .map(|layer| {
            let (file, tree, found) = strict::read(vec![layer]);
            problems.extend(found);
            (file, tree)
        })
        .collect();

    let origins = std::iter::once(&tree)
        .chain(policy_files.iter().map(|(_, tree)| tree))
        .flat_map(strict::Tree::labelled_origins)
        .collect();
    let places = std::iter::once(&tree)
        .chain(policy_files.iter().map(|(_, tree)| tree))
        .flat_map(strict::Tree::places)
        .collect();
    let (settings, found) = check::check(config_file, &tree, &policy_files, whole);
    problems.extend(found);

    let problems = Problems::in_order(problems, order);
    match settings {
        Some(settings) if !problems.has_errors() => {
            Ok(Loaded { settings, warnings: problems.0, origins, places })
        }
        _ => Err(problems),
    }
}
