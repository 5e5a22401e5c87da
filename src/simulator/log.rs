//! The log of the world: tests compare the daemon with it. It has the true state, whatever was
//! answered.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::time::SimTime;

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// Its number, from 1.
    pub number: u64,
    /// When it happened.
    pub at: SimTime,
    /// The same as the true wall-clock time (the API's own clock may be wrong).
    pub wall: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub record: Record,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Record {
    /// A request came.
    Request(Box<RequestRecord>),
    /// An operator acted in the console.
    ByHand(PutRecord),
    /// A task changed.
    Task(TaskLog),
    /// A cluster was deleted.
    ClusterDeleted {
        /// Its id.
        cluster: String,
        /// Its name.
        name: String,
    },
}

/// The operation of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// `GET …/clusters`.
    List,
    /// `GET …/clusters/{cluster_id}`.
    Detail,
    /// `GET …/upgrade/detail`.
    Tasks,
    /// `PUT …/retry` without the query parameter `retry_mode`.
    Retry,
    /// `PUT …/retry` with a `retry_mode` that is not empty.
    Abort,
    /// `POST …/image/upgrade`.
    StartUpgrade,
    /// `POST …/azmigrate`.
    StartAzSwitchover,
    /// `GET …/target/{upgrade_type}/images`.
    Images,
    /// `GET /v3/projects`.
    Projects,
    /// `POST /v3/auth/tokens`.
    Token,
    /// `POST /v3.0/OS-CREDENTIAL/securitytokens`, or `POST /v5/agencies/assume`.
    AssumeAgency,
    /// `PUT /meta-data/latest/api/token` of the metadata service.
    MetadataToken,
    /// `GET /openstack/latest/securitykey` of the metadata service.
    MetadataKey,
    /// An operation that the gateway does not know.
    Unknown,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRecord {
    /// Its operation.
    pub operation: Operation,
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// The query's pairs as sent.
    pub query: Vec<(String, String)>,
    /// The access key it names.
    pub access_key: Option<String>,
    /// The gateway's check of its signature.
    pub signature: Verdict,
    /// The id of the cluster in its path.
    pub cluster: Option<String>,
    /// That cluster's name, if the cluster exists.
    pub cluster_name: Option<String>,
    /// The id of the task in its path.
    pub task: Option<String>,
    /// The `action_mode` of a read of tasks.
    pub action_mode: Option<String>,
    /// Whether it took effect: a PUT or POST was carried out, a GET was answered with the state.
    pub taken: bool,
    /// The fault that hit it: its number in the scenario, from 1.
    pub fault: Option<usize>,
    /// The answer.
    pub answer: AnswerRecord,
    /// Of a retry or an abort that reached a task: the true state of the task at that instant.
    pub put: Option<PutRecord>,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerRecord {
    /// How it was sent.
    pub delivery: DeliveryRecord,
    /// The status; `None` if no answer was sent.
    pub status: Option<u16>,
    /// The error code in the body.
    pub code: Option<String>,
    /// The `X-Request-Id`.
    pub request_id: String,
    /// Its delay, in milliseconds.
    pub delay_ms: u64,
}

/// How an answer was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeliveryRecord {
    /// Whole.
    Whole,
    /// In part.
    Truncated,
    /// Not at all: the connection was cut.
    Cut,
}

/// The gateway's check of a request's signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It is good.
    Good,
    /// It was not checked: the scenario does not require it, or the gateway does not know the path.
    NotChecked,
    /// There is none, or it cannot be read.
    Missing,
    /// No such access key.
    UnknownKey,
    /// It does not fit the request.
    Mismatch,
    /// `X-Sdk-Date` is missing, unreadable or more than 15 minutes off.
    Skewed,
    /// The security token of temporary keys is missing or another one.
    BadToken,
    /// Good or not: the key is locked after too many refusals in a row.
    Locked,
}

impl Verdict {
    /// Whether the request passes the gateway.
    pub fn passes(self) -> bool {
        matches!(self, Self::Good | Self::NotChecked)
    }

    /// The gateway's text for a refusal.
    pub(super) fn message(self, access_key: &str) -> String {
        let why = match self {
            Self::Good | Self::NotChecked => String::new(),
            Self::Missing => "x-auth-token not found".to_owned(),
            Self::UnknownKey => format!("Get secretKey failed,ak:{access_key},err:ak not exist"),
            Self::Mismatch => "verify aksk signature fail".to_owned(),
            Self::Skewed => {
                "verify aksk signature fail, the time of the request is more than 15 minutes off".to_owned()
            }
            Self::BadToken => "decrypt token fail".to_owned(),
            Self::Locked => "AK access failed to reach the limit,forbidden".to_owned(),
        };
        format!("Incorrect IAM authentication information: {why}")
    }
}

/// The action of a PUT, or of an operator in the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PutKind {
    /// Run the task again.
    Retry,
    /// Abort the task.
    Abort,
}

/// What makes a retry or an abort dangerous or pointless, by the true state at that instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hazard {
    /// A node is completed: an abort leaves a cluster of mixed versions or zones.
    NodeCompleted,
    /// The task is not FAILED (nor, for a retry, `PARTIAL_FAILED`).
    NotFailed,
    /// The cluster has a newer task.
    NotNewest,
    /// Another task of the cluster runs.
    AnotherRuns,
    /// It was aborted before.
    AfterTermination,
}

/// A retry or an abort that reached a task, with the true state of the task just before it took
/// effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutRecord {
    /// The action.
    pub kind: PutKind,
    /// Whether an operator did it in the console.
    pub by_hand: bool,
    /// The cluster's id.
    pub cluster: String,
    /// The task's id.
    pub task: String,
    /// The task's status.
    pub status: String,
    /// Its completed nodes.
    pub completed_nodes: Vec<String>,
    /// How many nodes it has.
    pub total_nodes: usize,
    /// The number of its runs.
    pub execution: u64,
    /// Whether it took effect.
    pub taken: bool,
    /// Its hazards, if any.
    pub hazards: Vec<Hazard>,
    /// Whether it is an abort that can do harm: a node was completed, or the task was not FAILED.
    #[serde(rename = "unsafe")]
    pub is_unsafe: bool,
}

/// A change of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskLog {
    /// The cluster's id.
    pub cluster: String,
    /// The cluster's name.
    pub cluster_name: String,
    /// The task's id.
    pub task: String,
    /// What changed.
    pub change: TaskChange,
    /// The run in which it happened.
    pub execution: u64,
    /// How many nodes are completed now.
    pub completed: usize,
}

/// A change of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskChange {
    /// It appeared.
    Appeared,
    /// A node was completed.
    NodeCompleted,
    /// It ended, with this status.
    Ended(String),
    /// It runs again.
    Restarted,
    /// It was aborted.
    Terminated,
}

/// The log as JSON lines.
pub fn lines(entries: &[LogEntry]) -> String {
    let mut out = String::new();
    for entry in entries {
        // Every value here has a JSON form; a line without one would be missing, not broken.
        if let Ok(line) = serde_json::to_string(entry) {
            out.push_str(&line);
            out.push('\n');
        }
    }
    out
}
