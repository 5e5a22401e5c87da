//! What an operator needs to take over a task: its nodes, the failing step, and every request that
//! was sent for it. Pure.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::event::{Confirmation, Event, StoredEntry};
use crate::model::record::TaskRecord;
use crate::model::text::{counted, shown};

/// The number of requests that are shown: the latest ones.
const ATTEMPTS: usize = 12;
/// The number of node names that are shown.
const NODES: usize = 20;

/// What is needed to take over.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// `upgrade` or `az-switchover`.
    pub kind: String,
    /// When the task started, by the cloud's time.
    #[serde(
        rename = "started_api_time",
        alias = "started",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub started: Option<String>,
    /// Its `executeTimes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<u64>,
    /// Its status as last seen.
    pub status: String,
    /// The policy that governed when it failed; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// How many nodes are completed; absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes_done: Option<u32>,
    /// How many nodes there are.
    pub nodes: u32,
    /// Names of the completed nodes.
    pub done: Vec<String>,
    /// The node that is worked on.
    pub current: String,
    /// Names of the remaining nodes, without the current one.
    pub left: Vec<String>,
    /// The node and the step that failed.
    pub failing: String,
    /// The requests, oldest first.
    pub attempts: Vec<Sent>,
    /// The number of earlier requests that are not shown.
    pub earlier_attempts: usize,
}

/// One PUT with its answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sent {
    /// Its number.
    pub number: u64,
    /// `retry` or `abort`.
    pub action: String,
    /// When.
    pub at: Timestamp,
    /// The answer, and how the outcome was confirmed.
    pub outcome: String,
    /// The `X-Request-Id`, for the provider's support.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

impl Facts {
    /// Returns how many nodes are completed, in words.
    pub fn nodes_in_words(&self) -> String {
        let of = counted(u64::from(self.nodes), "node", "nodes");
        let list = |names: &[String]| {
            if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) }
        };
        let mut words = match self.nodes_done {
            Some(done) => format!("{done} of {of} completed{}", list(&self.done)),
            None => format!("how many of {of} are completed cannot be read"),
        };
        if !self.current.is_empty() {
            words = format!("{words}; current: {}", self.current);
        }
        if !self.left.is_empty() {
            words = format!("{words}; not completed: {}", self.left.join(", "));
        }
        words
    }
}

/// Returns the facts of a task, by its record.
pub(super) fn facts(known: &TaskRecord, lifecycle: &[StoredEntry]) -> Facts {
    let failure = known.failure.as_ref();
    let whole: Value =
        failure.and_then(|failure| serde_json::from_str(&failure.whole).ok()).unwrap_or(Value::Null);
    let names = |key: &str| -> BTreeSet<String> {
        let text = whole.get(key).and_then(Value::as_str).unwrap_or_default();
        text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(|name| shown(name, 80)).collect()
    };
    let (total, done) = (names("totalNodes"), names("completedNodes"));
    let current = shown(whole.get("currentNodeName").and_then(Value::as_str).unwrap_or_default(), 80);
    let left = total.iter().filter(|name| !done.contains(*name) && **name != current).cloned();
    let mut attempts = sent(lifecycle);
    let earlier_attempts = attempts.len().saturating_sub(ATTEMPTS);
    attempts.drain(..earlier_attempts);
    let status = match (known.outcome(), known.running) {
        (Some(outcome), _) => outcome.word().to_owned(),
        (None, Some(_)) => "RUNNING".to_owned(),
        (None, None) => failure.map_or_else(String::new, |failure| shown(failure.seen.status.word(), 40)),
    };
    Facts {
        kind: known.kind.word().to_owned(),
        started: known.start_time.map(|time| time.to_string()),
        execution: known.highest_execute_times,
        status,
        policy: failure.and_then(|failure| failure.seen.terms.as_ref()).map(|terms| shown(&terms.policy, 60)),
        nodes_done: failure
            .and_then(|failure| failure.seen.completed)
            .max(known.most_completed.filter(|done| *done > 0)),
        nodes: failure.map_or(0, |failure| failure.seen.total),
        done: done.iter().take(NODES).cloned().collect(),
        left: left.take(NODES).collect(),
        current,
        failing: failure.map_or_else(String::new, |failure| shown(&failure.seen.failing, 200)),
        attempts,
        earlier_attempts,
    }
}

/// Returns every request that was sent for the task, with its answer.
fn sent(lifecycle: &[StoredEntry]) -> Vec<Sent> {
    let mut all: Vec<Sent> = Vec::new();
    for entry in lifecycle {
        let mut of = |attempt: u64, add: &mut dyn FnMut(&mut Sent)| {
            if let Some(sent) = all.iter_mut().find(|sent| sent.number == attempt) {
                add(sent);
            }
        };
        match &entry.event {
            Event::Intent { action, .. } => all.push(Sent {
                number: entry.number,
                action: action.verb().to_owned(),
                at: entry.at,
                outcome: "no response yet".to_owned(),
                request_id: None,
            }),
            Event::Answered { attempt, answer } => of(attempt.0, &mut |sent| {
                let bare = crate::model::answer::Answer { request_id: None, ..answer.clone() };
                sent.outcome = format!("{} ({bare})", answer.meaning.words());
                sent.request_id = answer.request_id.as_deref().map(|id| shown(id, 80));
            }),
            Event::NotSent { attempt } => {
                of(attempt.0, &mut |sent| "never sent".clone_into(&mut sent.outcome));
            }
            Event::StillThere { attempt } => {
                of(attempt.0, &mut |sent| sent.outcome.push_str("; refused as forbidden"));
            }
            Event::Confirmed { attempt, settlement } => of(attempt.0, &mut |sent| {
                sent.outcome.push_str(match settlement {
                    Confirmation::Accepted => "; confirmed: accepted",
                    Confirmation::WithoutEffect => "; confirmed: accepted without effect",
                    Confirmation::NotAccepted => "; confirmed: not accepted",
                });
            }),
            _ => {}
        }
    }
    all
}
