//! A scenario: the content of a simulated world, and its faults with their times.
//!
//! It takes TOML and returns checked values. Unknown keys, impossible values and numbers out of
//! range are errors that name their place. `config/scenarios/README.md` describes every key for
//! authors.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::time::{Offset, length, some_length};
use crate::model::text::{did_you_mean, nearest};

mod check;
mod fault;
mod shipped;
mod ways;

pub use fault::{Fault, On, Times, What};
pub use shipped::{named, names};
pub use ways::{
    AfterAbort, ClusterWays, CompletedNodesWay, EndTimeWay, ExecuteTimesWay, ListWays, Order, Paging,
    Refusal, TotalSize, Ways,
};

/// The access key that a scenario without `[[key]]` knows.
pub const DEFAULT_ACCESS_KEY: &str = "AKEXAMPLE0000000TEST";
/// Its secret key: made up, and valid nowhere else.
pub const DEFAULT_SECRET_KEY: &str = "SKexample0000000000000000000000000000test";
/// The project of a scenario that names none.
pub const DEFAULT_PROJECT_ID: &str = "6204a5bd270343b5885144cf9c8c158d";

/// Why a scenario cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// Neither a shipped scenario nor a file.
    #[error(
        "no scenario {name:?}: neither a file nor one of {}{}",
        names().collect::<Vec<_>>().join(", "),
        did_you_mean(nearest(name, names()))
    )]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// The file cannot be read.
    #[error("scenario {} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Not TOML, an unknown key, or a value of the wrong kind. The source names the place.
    #[error("scenario {origin} is not a valid scenario")]
    Syntax {
        /// The file or the shipped name.
        origin: String,
        /// Line, column and what was expected.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// Valid TOML, but not possible.
    #[error("scenario {origin} is not possible: {problem}")]
    Impossible {
        /// The file or the shipped name.
        origin: String,
        /// What is wrong.
        problem: String,
    },
}

/// A simulated project: its clusters, its ways and its faults.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it shows, in a sentence.
    #[serde(default)]
    pub description: String,
    /// The seed of all random values, unless the caller has another one.
    #[serde(default = "one")]
    pub seed: u64,
    /// The only project that is accepted.
    #[serde(default = "default_project")]
    pub project_id: String,
    /// The name of the region, for the lookup of the project's id.
    #[serde(default = "default_region")]
    pub region: String,
    /// How long the work on one node takes.
    #[serde(default = "quarter_of_an_hour", deserialize_with = "length")]
    pub node_time: Duration,
    /// How many times faster than `node_time` nodes are worked on.
    #[serde(default = "normal_speed")]
    pub speed: f64,
    /// Whether signatures are checked.
    #[serde(default)]
    pub signatures: Signatures,
    /// The known access keys; the default pair if there are none.
    #[serde(default = "default_keys")]
    pub key: Vec<Key>,
    /// The users for sign-in with a password.
    #[serde(default)]
    pub user: Vec<User>,
    /// The agencies that a client of the gateway can assume.
    #[serde(default)]
    pub agency: Vec<Agency>,
    /// The machine whose metadata service is at this address too.
    #[serde(default)]
    pub machine: Machine,
    /// Further projects in the lookup of a project's id.
    #[serde(default)]
    pub other_project: Vec<OtherProject>,
    /// How the API behaves where its documentation is unclear.
    #[serde(default)]
    pub ways: Ways,
    /// The clusters.
    #[serde(default)]
    pub cluster: Vec<ClusterScript>,
    /// The faults of the connection and the gateway.
    #[serde(default)]
    pub fault: Vec<Fault>,
}

/// Whether signatures are checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signatures {
    /// As the gateway does.
    #[default]
    Checked,
    /// Every request is accepted: for requests with a plain HTTP client.
    Ignored,
}

/// An access key of the simulated world. It is not secret.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// The access key.
    pub access_key: String,
    /// The secret key.
    pub secret_key: String,
    /// The token that must come with it, if the pair is temporary.
    #[serde(default)]
    pub security_token: Option<String>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// A user for sign-in. Nothing of it is secret.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The user's name.
    pub name: String,
    /// The password.
    pub password: String,
    /// The account's name.
    pub domain: String,
}

/// An agency that can be assumed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agency {
    /// Its name, with which its URN ends too.
    pub name: String,
    /// The name of the account that created it.
    pub domain: String,
}

/// The behaviour of the machine's metadata service.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Machine {
    /// Whether it requires tokens.
    pub tokens: bool,
    /// Whether the machine has an agency.
    pub agency: bool,
}

impl Default for Machine {
    fn default() -> Self {
        Self { tokens: true, agency: true }
    }
}

/// A project that only the lookup shows.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OtherProject {
    /// Its id.
    pub id: String,
    /// Its name: that of a region, or of something within one.
    pub name: String,
}

/// A cluster, or a fleet of them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterScript {
    /// Its name; of a fleet, the names' beginning.
    pub name: String,
    /// Its id; derived from the seed if absent.
    #[serde(default)]
    pub id: Option<String>,
    /// How many of them: 1, or a fleet of `name-001`, `name-002` and so on, each with the same tasks.
    #[serde(default = "one_cluster")]
    pub count: usize,
    /// How many nodes it has.
    #[serde(default = "three")]
    pub nodes: usize,
    /// Its engine.
    #[serde(default = "elasticsearch")]
    pub engine: String,
    /// Its engine's version.
    #[serde(default = "default_version")]
    pub version: String,
    /// Its tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// When it was created.
    #[serde(default = "a_month_ago")]
    pub created: Offset,
    /// When it is deleted.
    #[serde(default)]
    pub deleted_at: Option<Offset>,
    /// Its tasks.
    #[serde(default)]
    pub task: Vec<TaskScript>,
    /// The failures of tasks that are started over the API.
    #[serde(default)]
    pub posted_fail: Vec<FailRule>,
    /// What operators do to it in the console.
    #[serde(default)]
    pub by_hand: Vec<ByHand>,
    /// The differences of its ways from the world's.
    #[serde(default)]
    pub ways: ClusterWays,
}

/// The kind of a task, in the scenario's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// `UPGRADING`.
    Upgrade,
    /// `AZ_MIGRATION`.
    AzSwitchover,
}

/// A task of a cluster.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskScript {
    /// Upgrade or AZ switchover.
    pub kind: Kind,
    /// When it starts, and appears; the beginning if neither this nor `after_reads` is given.
    #[serde(default)]
    pub start: Option<Offset>,
    /// Or: right after this number of answered reads of the cluster's tasks (one poll reads twice).
    #[serde(default)]
    pub after_reads: Option<u64>,
    /// Its status when it appears; any other than RUNNING has ended already.
    #[serde(default = "running")]
    pub status: String,
    /// When it ended, if it has.
    #[serde(default)]
    pub end: Option<Offset>,
    /// How many nodes are completed when it appears; all of them for SUCCESS.
    #[serde(default)]
    pub completed: usize,
    /// The number of its runs, the one in which it appears counted.
    #[serde(default = "one")]
    pub execute_times: u64,
    /// Its own time for one node.
    #[serde(default, deserialize_with = "some_length")]
    pub node_time: Option<Duration>,
    /// The number of nodes that are worked on at once, by the answer; they are completed one by
    /// one.
    #[serde(default = "one_cluster")]
    pub batch_size: usize,
    /// The version that the cluster has after an upgrade; unchanged if absent.
    #[serde(default)]
    pub to_version: Option<String>,
    /// Where an AZ switchover moves from.
    #[serde(default = "first_zone")]
    pub source_az: String,
    /// Where it moves to.
    #[serde(default = "second_zone")]
    pub target_az: String,
    /// Where and when it fails.
    #[serde(default)]
    pub fail: Vec<FailRule>,
}

/// Where and when a task fails: a rule on the number of the run, so that it needs no memory.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailRule {
    /// At which node, counted from 1.
    pub node: usize,
    /// From which run of the task on, counted from 1.
    #[serde(default = "one")]
    pub execution: u64,
    /// In how many runs.
    #[serde(default)]
    pub times: Times,
    /// `FAILED` or `PARTIAL_FAILED`.
    #[serde(default)]
    pub status: FailStatus,
    /// At which step of the node; see [`super::steps::STEPS`].
    #[serde(default)]
    pub step: u32,
}

/// The two words for a failure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FailStatus {
    /// `FAILED`.
    #[default]
    Failed,
    /// `PARTIAL_FAILED`.
    PartialFailed,
}

impl FailStatus {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Failed => "FAILED",
            Self::PartialFailed => "PARTIAL_FAILED",
        }
    }
}

/// An operator's action in the console.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ByHand {
    /// The action.
    #[serde(rename = "do")]
    pub act: HandAct,
    /// When.
    #[serde(default)]
    pub at: Option<Offset>,
    /// Or: right after this number of answered reads of the cluster's tasks.
    #[serde(default)]
    pub after_reads: Option<u64>,
    /// The number of the cluster's task, counted from 1 as the scenario lists them; the newest if
    /// absent.
    #[serde(default)]
    pub task: Option<usize>,
    /// The effect of an abort; that of the ways if absent.
    #[serde(default)]
    pub leaves: Option<AfterAbort>,
}

/// The two buttons of the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HandAct {
    /// Retry.
    Retry,
    /// Terminate.
    Abort,
}

impl Scenario {
    /// Reads a scenario from TOML; `origin` names it in errors.
    ///
    /// # Errors
    /// If it is not a scenario, or an impossible one.
    pub fn parse(text: &str, origin: &str) -> Result<Self, ScenarioError> {
        let scenario: Self = toml::from_str(text).map_err(|source| ScenarioError::Syntax {
            origin: origin.to_owned(),
            source: Box::new(source),
        })?;
        scenario
            .check()
            .map_err(|problem| ScenarioError::Impossible { origin: origin.to_owned(), problem })?;
        Ok(scenario)
    }

    /// Loads a shipped scenario by its name, or any by its file.
    ///
    /// # Errors
    /// If there is neither, or it is not a scenario.
    pub fn load(name_or_path: &str) -> Result<Self, ScenarioError> {
        if let Some(text) = shipped::text(name_or_path) {
            return Self::parse(text, name_or_path);
        }
        let path = Path::new(name_or_path);
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, name_or_path),
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => {
                Err(ScenarioError::Unknown { name: name_or_path.to_owned() })
            }
            Err(source) => Err(ScenarioError::Read { path: path.to_owned(), source }),
        }
    }

    fn check(&self) -> Result<(), String> {
        check::scenario(self)
    }

    /// Returns the names of all clusters, those of fleets included.
    pub fn cluster_names(&self) -> BTreeSet<String> {
        self.cluster.iter().flat_map(ClusterScript::names).collect()
    }
}

impl ClusterScript {
    /// The names of its clusters: one, or those of the fleet.
    pub fn names(&self) -> Vec<String> {
        if self.count == 1 {
            return vec![self.name.clone()];
        }
        let width = self.count.to_string().len();
        (1..=self.count).map(|number| format!("{}-{number:0width$}", self.name)).collect()
    }
}

impl FailRule {
    /// Returns whether it lets the task fail at this node (from 1) in this run (from 1).
    pub(super) fn hits(&self, node: usize, execution: u64) -> bool {
        self.node == node && self.times.covers(self.execution, execution)
    }
}

fn one() -> u64 {
    1
}
fn one_cluster() -> usize {
    1
}
fn three() -> usize {
    3
}
fn normal_speed() -> f64 {
    1.0
}
fn quarter_of_an_hour() -> Duration {
    Duration::from_mins(15)
}
fn a_month_ago() -> Offset {
    Offset(super::time::SimTime(-30 * 86_400_000))
}
fn default_project() -> String {
    DEFAULT_PROJECT_ID.to_owned()
}
fn default_region() -> String {
    "cn-north-4".to_owned()
}
fn default_keys() -> Vec<Key> {
    vec![Key {
        access_key: DEFAULT_ACCESS_KEY.to_owned(),
        secret_key: DEFAULT_SECRET_KEY.to_owned(),
        security_token: None,
    }]
}
fn elasticsearch() -> String {
    "elasticsearch".to_owned()
}
fn default_version() -> String {
    "7.10.2".to_owned()
}
fn running() -> String {
    "RUNNING".to_owned()
}
fn first_zone() -> String {
    "cn-north-4a".to_owned()
}
fn second_zone() -> String {
    "cn-north-4c".to_owned()
}

#[cfg(test)]
mod tests;
