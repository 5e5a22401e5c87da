//! What is journaled: everything that was seen, decided, sent and answered for one task. The record
//! of a task is the fold of its events ([`super::record`]), the same before and after a restart.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};

use super::action::Action;
use super::answer::Answer;
use super::cluster::Traits;
use super::decision::PassiveVerdict;
use super::id::{AttemptId, ClusterId, ProjectName, TaskId};
use super::moment::Moment;
use super::policy::Terms;
use super::reason::Reason;
use super::setup::{Nodes, Place, Setup};
use super::task::{Task, TaskKind, TaskStatus};
use super::turn::{Healing, Opening};

/// What identifies one failure of a task, beside the task's id: the API gives failures no id of
/// their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// `executeTimes`.
    pub execute_times: Option<u64>,
    /// `endTime`.
    pub end_time: Option<DateTime>,
}

impl Shape {
    /// Returns the shape that a poll shows.
    pub fn of(task: &Task) -> Self {
        Self { execute_times: task.execute_times, end_time: task.end_time }
    }
}

/// The confirmed outcome of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confirmation {
    /// The task ran again.
    Accepted,
    /// The answer was 200, and nothing happened. The retry counts.
    WithoutEffect,
    /// The outcome was unknown, and nothing happened. No retry counts.
    NotAccepted,
}

/// How the lifecycle of a task ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "as", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the variants' docs tell their fields")]
pub enum Outcome {
    /// It succeeded after a retry of the daemon.
    #[serde(rename = "resolved", alias = "remedied", alias = "resolved-by-retry")]
    ResolvedByRetry,
    /// It succeeded without one.
    #[serde(alias = "solved-by-others")]
    ResolvedExternally,
    /// The daemon aborted it. This is final: nothing reopens it.
    Aborted,
    /// It is superseded by a newer task.
    Superseded { by: TaskId },
    /// Two polls did not find it any more.
    Gone,
}

impl Outcome {
    /// The stable word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::ResolvedByRetry => "resolved",
            Self::ResolvedExternally => "resolved-externally",
            Self::Aborted => "aborted",
            Self::Superseded { .. } => "superseded",
            Self::Gone => "gone",
        }
    }
}

/// Why a task runs too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "because", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the variants' docs tell their fields")]
pub enum TooLong {
    /// The whole run, since it was first seen running.
    Whole { ran: Duration, expected: Duration },
    /// No node was seen to complete for this time of the run.
    NoProgress { without: Duration, expected: Duration },
}

/// A failure as it was first seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FailureSeen {
    /// The first failure of a task is 1.
    pub number: u32,
    /// FAILED or `PARTIAL_FAILED`.
    pub status: TaskStatus,
    /// The triple, less the task's id.
    pub shape: Shape,
    /// How long before this event the first poll showed it (a failure that was seen before a
    /// request was confirmed).
    pub seen_before: Duration,
    /// The whole task in canonical JSON.
    pub whole: String,
    /// Completed nodes, if they could be read.
    pub completed: Option<u32>,
    /// All nodes.
    pub total: u32,
    /// The node and the step that failed, as the task shows them.
    pub failing: String,
    /// External retries since the last failure.
    pub external: u32,
    /// Ended too long before it was first seen: journaled, never acted on.
    pub too_old: bool,
    /// Our clock was wrong, so that its age is still to be checked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub age_unknown: bool,
    /// Whether it was seen as it happened: an earlier poll of the same process did not show it, or
    /// the daemon retried the task. The breaker counts such failures.
    pub seen_to_happen: bool,
    /// The terms in force when it was first seen.
    pub terms: Option<Terms>,
    /// Where it failed, for reports. Older journals do not have it.
    #[serde(default, skip_serializing_if = "Place::is_unknown")]
    pub place: Place,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the variants' docs tell their fields")]
pub enum Event {
    /// A task was seen for the first time, running or failed.
    FirstSeen {
        kind: TaskKind,
        cluster_name: String,
        /// The traits of the cluster at that time, for policies. Older journals do not have them.
        #[serde(default)]
        traits: Traits,
        start_time: Option<DateTime>,
        execute_times: Option<u64>,
        completed: Option<u32>,
        /// Retries that count as used: runs before the journal knew the task, if no node is
        /// completed.
        external: u32,
        /// How the task is set up, for reports. Older journals do not have it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        setup: Option<Box<Setup>>,
        /// The nodes of the cluster at that time, for reports. Older journals do not have them.
        #[serde(default, skip_serializing_if = "Nodes::is_empty")]
        nodes: Nodes,
    },
    /// It runs. Journaled at the first such poll of each stretch.
    Running { execute_times: Option<u64> },
    /// More nodes are completed than in any earlier poll.
    Progress { completed: u32 },
    /// It runs longer than its policy expects. Journaled once for each stretch of RUNNING; no
    /// decision depends on it.
    RunningTooLong {
        too_long: TooLong,
        policy: String,
        nodes: u32,
        /// Completed ones, if they can be read.
        completed: Option<u32>,
    },
    /// A failure was first seen.
    Failed(Box<FailureSeen>),
    /// Whether the failure had ended too long before it was first seen: checked now, because our
    /// clock was wrong then.
    AgeJudged { too_old: bool },
    /// The task could not be polled for longer than `idle_interval`, or came back after it was
    /// gone. Overdue requests wait once more, and the grace of a pending abort starts again.
    Unpolled,
    /// The newest task of a cluster with an older failed one. The daemon acts on no task that began
    /// earlier, also after a restart.
    NewestSeen { start_time: DateTime },
    /// The failed task changed soon after it was first seen; later polls are compared with this.
    Changed { whole: String, shape: Shape },
    /// The failed task changed externally.
    #[serde(alias = "touched")]
    ChangedExternally { changed: String },
    /// `executeTimes` decreased. The highest value stays.
    FellBack { highest: u64, read: u64 },
    /// One answer does not show the task any more.
    Missing,
    /// An answer shows it again.
    Reappeared,
    /// The first of the two polls that confirm a request. `effect`: it shows that the PUT was
    /// accepted.
    #[serde(alias = "settling-reading")]
    ConfirmingPoll { attempt: AttemptId, effect: bool, status: TaskStatus, shape: Shape },
    /// The outcome of a request is confirmed.
    #[serde(alias = "settled")]
    Confirmed { attempt: AttemptId, settlement: Confirmation },
    /// A PUT is about to be sent. Committed before it is sent; its number is the request's id.
    Intent { action: Action, failure: u32, waited: Duration, reason: Reason },
    /// The answer to it.
    Answered { attempt: AttemptId, answer: Answer },
    /// It was certainly never sent.
    NotSent { attempt: AttemptId },
    /// After an answer of 'gone or forbidden' the list and a poll showed it: forbidden.
    StillThere { attempt: AttemptId },
    /// A decision that differs from the one before.
    Decided { verdict: PassiveVerdict, reason: Reason },
    /// The task was escalated.
    Escalated { reason: Reason },
    /// An operator reset it: no retry counts as used, and a new backoff begins. If it is failed,
    /// later polls are compared with its present shape.
    Reset { by: String, why: String, command: String, failed: Option<(String, Shape)> },
    /// Its lifecycle ended.
    #[serde(alias = "closed")]
    Ended(Outcome),
    /// The project's breaker opened, for this time, after a poll of this task.
    BreakerOpened { opening: Opening, cooldown: Duration },
    /// The project's breaker closed, after this task's reaction to the probe.
    BreakerClosed { attempt: AttemptId, because: Healing },
}

impl Event {
    /// Returns whether it concerns the whole project, and its task only as the place where it was
    /// found.
    pub fn is_of_project(&self) -> bool {
        matches!(self, Self::BreakerOpened { .. } | Self::BreakerClosed { .. })
    }

    /// Returns whether this is its word, or was one.
    pub fn is_called(&self, word: &str) -> bool {
        self.word() == word || FORMER_WORDS.contains(&(word, self.word()))
    }

    /// The stable word: the same as in JSON.
    pub fn word(&self) -> &'static str {
        match self {
            Self::FirstSeen { .. } => "first-seen",
            Self::Running { .. } => "running",
            Self::Progress { .. } => "progress",
            Self::RunningTooLong { .. } => "running-too-long",
            Self::Failed(_) => "failed",
            Self::AgeJudged { .. } => "age-judged",
            Self::Unpolled => "unpolled",
            Self::NewestSeen { .. } => "newest-seen",
            Self::Changed { .. } => "changed",
            Self::ChangedExternally { .. } => "changed-externally",
            Self::FellBack { .. } => "fell-back",
            Self::Missing => "missing",
            Self::Reappeared => "reappeared",
            Self::ConfirmingPoll { .. } => "confirming-poll",
            Self::Confirmed { .. } => "confirmed",
            Self::Intent { .. } => "intent",
            Self::Answered { .. } => "answered",
            Self::NotSent { .. } => "not-sent",
            Self::StillThere { .. } => "still-there",
            Self::Decided { .. } => "decided",
            Self::Escalated { .. } => "escalated",
            Self::Reset { .. } => "reset",
            Self::Ended(_) => "ended",
            Self::BreakerOpened { .. } => "breaker-opened",
            Self::BreakerClosed { .. } => "breaker-closed",
        }
    }
}

/// Words of events in journals of the first version, and the words of today.
const FORMER_WORDS: [(&str, &str); 4] = [
    ("settling-reading", "confirming-poll"),
    ("settled", "confirmed"),
    ("touched", "changed-externally"),
    ("closed", "ended"),
];

/// The subject of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// The project, by the name in the configuration.
    pub project: ProjectName,
    /// The cluster.
    pub cluster: ClusterId,
    /// The task.
    pub task: TaskId,
}

/// One line of the journal, by this process's clocks.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its number: grows by every entry of its project, and is never used again there.
    pub number: u64,
    /// When.
    pub at: Moment,
    /// The subject.
    pub subject: Subject,
    /// What happened.
    pub event: Event,
}

/// One line of the journal as it is stored: by wall time alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredEntry {
    /// Its number.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// The subject.
    pub subject: Subject,
    /// What happened.
    pub event: Event,
}

impl StoredEntry {
    /// Returns the entry by the clocks of a process that starts at `now`.
    pub fn recall(self, now: Moment) -> Entry {
        Entry { number: self.number, at: now.recall(self.at), subject: self.subject, event: self.event }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_with_the_words_of_the_first_journals_are_read() {
        let attempt = r#""attempt":7"#;
        let shape = r#""status":"FAILED","shape":{"execute_times":1,"end_time":null}"#;
        for (former, word, told) in [
            (
                format!(r#"{{"event":"settling-reading",{attempt},"effect":true,{shape}}}"#),
                "confirming-poll",
                "",
            ),
            (format!(r#"{{"event":"settled",{attempt},"settlement":"accepted"}}"#), "confirmed", ""),
            (r#"{"event":"touched","changed":"status"}"#.to_owned(), "changed-externally", ""),
            (r#"{"event":"closed","as":"remedied"}"#.to_owned(), "ended", "resolved"),
            (r#"{"event":"closed","as":"solved-by-others"}"#.to_owned(), "ended", "resolved-externally"),
            (
                r#"{"event":"decided","verdict":"held","reason":{"code":"no-policy"}}"#.to_owned(),
                "decided",
                "\"verdict\":\"blocked\"",
            ),
            (
                r#"{"event":"escalated","reason":{"code":"retries-used-up","used":3,"external":1}}"#
                    .to_owned(),
                "escalated",
                "retries-exhausted",
            ),
        ] {
            let event: Event = serde_json::from_str(&former).unwrap();
            let (_, column) = former.split_at(r#"{"event":""#.len());
            let column = column.split('"').next().unwrap();
            assert!(
                event.is_called(column) && event.is_called(word) && !event.is_called("failed"),
                "{former}"
            );
            assert_eq!(event.word(), word);
            let now = serde_json::to_string(&event).unwrap();
            assert!(now.contains(&format!("\"event\":\"{word}\"")) && now.contains(told), "{now}");
        }
    }

    #[test]
    fn reasons_with_the_codes_of_the_first_journals_are_read() {
        let at = "\"2026-01-02T03:04:05Z\"";
        for (former, code) in [
            (format!(r#"{{"code":"with-human","since":{at},"why":"too-old"}}"#), "needs-operator"),
            (r#"{"code":"not-with-human"}"#.to_owned(), "not-escalated"),
            (format!(r#"{{"code":"project-resting","cause":"forbidden","until":{at}}}"#), "project-paused"),
            (format!(r#"{{"code":"cluster-resting","until":{at}}}"#), "cluster-paused"),
            (
                r#"{"code":"settling","attempt":7,"action":"retry","answered":true}"#.to_owned(),
                "outcome-unknown",
            ),
            (r#"{"code":"cannot-settle","attempt":7,"detail":"x"}"#.to_owned(), "cannot-confirm"),
            (format!(r#"{{"code":"held-until-now","until":{at}}}"#), "was-blocked"),
            (r#"{"code":"stale-reading"}"#.to_owned(), "stale-poll"),
            (r#"{"code":"slow-reading","took":{"secs":6,"nanos":0}}"#.to_owned(), "slow-poll"),
            (r#"{"code":"closed"}"#.to_owned(), "ended"),
            (r#"{"code":"touched-by-others","changed":"status"}"#.to_owned(), "changed-externally"),
            (
                r#"{"code":"by-hand","action":"retry","by":"uid 1","why":"x","command":"y"}"#.to_owned(),
                "manual",
            ),
        ] {
            let reason: Reason =
                serde_json::from_str(&former).unwrap_or_else(|error| panic!("{former}: {error}"));
            assert_eq!(reason.code(), code);
            let now = serde_json::to_value(&reason).unwrap();
            assert_eq!(now["code"], code, "the code is the same in JSON");
        }
    }
}
