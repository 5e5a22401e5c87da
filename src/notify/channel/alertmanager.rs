//! Prometheus' Alertmanager, version 2 of its API: a lasting state is an alert, with constant
//! labels and an end.
//!
//! Alertmanager forgets alerts that are not posted again, and all of them when it restarts: so all
//! lasting states are posted every minute. Without that it ends an alert by itself
//! (`resolve_timeout`, five minutes).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::http::{Network, Target, UrlFault};
use super::{Channel, SendError, Sending, Taken};
use crate::model::command::command;
use crate::model::event::Subject;
use crate::model::id::{ClusterId, ProjectName, TaskId};
use crate::model::level::Level;
use crate::model::secret::Secret;
use crate::model::text::shown;
use crate::notify::kind::State;
use crate::notify::message::Message;
use crate::notify::notice::{Notice, Todo};

const EVERY: Duration = Duration::from_mins(1);
/// An alert whose end is never reported ends by itself after this.
const SHORT: SignedDuration = SignedDuration::from_hours(1);
/// The largest number of alerts at once: the most important ones.
const MOST: usize = 500;

/// One alert as it is posted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Alert {
    /// The labels that identify it.
    pub labels: BTreeMap<&'static str, String>,
    /// Its texts.
    pub annotations: BTreeMap<&'static str, String>,
    /// When it began.
    #[serde(rename = "startsAt")]
    pub starts: Timestamp,
    /// Its end, if it is over or known.
    #[serde(rename = "endsAt", skip_serializing_if = "Option::is_none")]
    pub ends: Option<Timestamp>,
    /// Where to read more.
    #[serde(rename = "generatorURL", skip_serializing_if = "Option::is_none")]
    pub page: Option<String>,
}

/// What an alert concerns: project, cluster and task, each empty if there is none.
type Of = (State, String, String, String);

/// Posts alerts.
#[derive(Debug)]
pub struct Alertmanager {
    target: Target,
    firing: Mutex<BTreeMap<Of, Alert>>,
}

impl Alertmanager {
    /// Posts to this URL, to which `/api/v2/alerts` is added.
    ///
    /// # Errors
    /// If the URL cannot be used.
    pub fn new(url: &Secret, network: &Network) -> Result<Self, UrlFault> {
        let target = Target::new(url, true, network)?.below("/api/v2/alerts");
        Ok(Self { target, firing: Mutex::default() })
    }

    fn firing(&self) -> MutexGuard<'_, BTreeMap<Of, Alert>> {
        self.firing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the alerts that a message changes: those that began, still last, or are over.
    pub fn alerts(&self, message: &Message) -> Vec<Alert> {
        self.changes(message).into_iter().map(|(_, alert)| alert).collect()
    }

    fn changes(&self, message: &Message) -> Vec<(Of, Alert)> {
        let firing = self.firing();
        let mut changes: Vec<(Of, Alert)> = Vec::new();
        for notice in &message.notices {
            for (state, begins) in notice.kind.states() {
                let of = of(state, notice);
                let mut alert = alert(state, notice);
                let before = changes.iter().find(|(known, _)| *known == of).map(|(_, alert)| alert);
                let before = before.or_else(|| firing.get(&of));
                // Few tasks run too long before they fail: usually there is nothing to end.
                if !begins && state == State::Overlong && before.is_none() {
                    continue;
                }
                if let Some(before) = before {
                    alert.starts = before.starts.min(alert.starts);
                    if !begins {
                        alert.annotations.clone_from(&before.annotations);
                    }
                }
                alert.ends = match (begins, state.is_ended()) {
                    (true, true) => None,
                    (true, false) => notice.at.checked_add(SHORT).ok(),
                    (false, _) => Some(notice.at),
                };
                changes.retain(|(known, _)| *known != of);
                changes.push((of, alert));
            }
        }
        let omitted = message.total().saturating_sub(message.notices.len() as u64);
        if omitted > 0 {
            changes.push(storm(message, omitted));
        }
        changes
    }

    async fn post(&self, alerts: Vec<&Alert>) -> Result<Taken, SendError> {
        let body = serde_json::to_vec(&alerts).map_err(|error| SendError::passing(error.to_string()))?;
        self.target.post("application/json", &[], &[], body).await
    }

    fn remember(&self, changes: Vec<(Of, Alert)>) {
        let mut firing = self.firing();
        for (of, alert) in changes {
            if alert.ends.is_some() {
                firing.remove(&of);
            } else {
                firing.insert(of, alert);
            }
        }
        while firing.len() > MOST {
            let least = firing.keys().min_by_key(|(state, ..)| state.severity()).cloned();
            let Some(least) = least else { break };
            firing.remove(&least);
        }
    }
}

/// Returns what an alert of this state concerns.
fn of(state: State, notice: &Notice) -> Of {
    let (cluster, task) = match &notice.cluster {
        Some(about) => {
            (about.id.to_string(), about.task.as_ref().map(ToString::to_string).unwrap_or_default())
        }
        None => Default::default(),
    };
    (state, notice.project.clone(), cluster, task)
}

/// Returns the task of an alert, if there is one.
fn subject(project: &str, cluster: &str, task: &str) -> Option<Subject> {
    Some(Subject {
        project: ProjectName::new(project).ok()?,
        cluster: ClusterId::new(cluster).ok()?,
        task: TaskId::new(task).ok()?,
    })
}

fn alert(state: State, notice: &Notice) -> Alert {
    let (_, project, cluster, task) = of(state, notice);
    let mut labels = labels(state.alert(), state.severity(), &project);
    if !cluster.is_empty() {
        labels.insert("cluster_id", cluster);
        if let Some(about) = &notice.cluster {
            labels.insert("cluster", about.name.clone());
        }
    }
    if !task.is_empty() {
        labels.insert("task", task);
    }
    let mut annotations = BTreeMap::new();
    let mut add = |name, text: String| {
        if !text.is_empty() {
            annotations.insert(name, text);
        }
    };
    add("summary", notice.title.clone());
    add("description", notice.what.clone());
    add("kind", notice.kind.word().to_owned());
    if let Some(why) = &notice.why {
        add("reason", why.code.clone());
        add("why", why.text.clone());
    }
    add("next", notice.next.clone());
    let commands = notice.todo.iter().map(Todo::in_words);
    add("todo", commands.collect::<Vec<_>>().join("\n"));
    if let Some(facts) = &notice.facts {
        add("nodes", facts.nodes_in_words());
        add("failing", facts.failing.clone());
        let sent = facts.attempts.iter().map(|sent| {
            let id = sent.request_id.as_ref().map(|id| format!(", request id {id}")).unwrap_or_default();
            let at = crate::notify::notice::at(sent.at);
            format!("#{} {} {at}: {}{id}", sent.number, sent.action, sent.outcome)
        });
        add("sent", sent.collect::<Vec<_>>().join("\n"));
    }
    Alert { labels, annotations, starts: notice.at, ends: None, page: notice.link.clone() }
}

fn labels(name: &str, severity: Level, project: &str) -> BTreeMap<&'static str, String> {
    let mut labels = BTreeMap::from([
        ("alertname", name.to_owned()),
        ("severity", severity.word().to_owned()),
        ("service", "upgrade-remediator".to_owned()),
    ]);
    if !project.is_empty() {
        labels.insert("project", project.to_owned());
    }
    labels
}

/// More happened at once than a message shows one by one.
fn storm(message: &Message, omitted: u64) -> (Of, Alert) {
    let labels = labels("UpgradeRemediatorManyNotices", message.severity(), &message.project);
    let text = format!("{omitted} more are not listed here: see {}", command("history"));
    let annotations = BTreeMap::from([("summary", message.title()), ("description", text)]);
    let ends = message.at.checked_add(SHORT).ok();
    let of = (State::Trial, message.project.clone(), "many".to_owned(), String::new());
    (of, Alert { labels, annotations, starts: message.at, ends, page: None })
}

impl Channel for Alertmanager {
    fn kind(&self) -> &'static str {
        "alertmanager"
    }

    fn details(&self) -> usize {
        100
    }

    fn send<'a>(&'a self, message: &'a Message) -> Sending<'a> {
        Box::pin(async move {
            let changes = self.changes(message);
            let taken = self.post(changes.iter().map(|(_, alert)| alert).collect()).await?;
            self.remember(changes);
            Ok(taken)
        })
    }

    fn stands(&self, notices: Vec<Notice>) {
        let mut firing = self.firing();
        for notice in notices {
            for (state, _) in
                notice.kind.states().iter().filter(|(state, begins)| *begins && state.is_ended())
            {
                firing.entry(of(*state, &notice)).or_insert_with(|| alert(*state, &notice));
            }
        }
    }

    fn lasting(&self) -> Vec<Subject> {
        let firing = self.firing();
        let tasks: BTreeSet<_> =
            firing.keys().map(|(_, project, cluster, task)| (project, cluster, task)).collect();
        tasks.into_iter().filter_map(|(project, cluster, task)| subject(project, cluster, task)).collect()
    }

    fn comes_next(&self, subject: &Subject, next: &str) {
        let mut firing = self.firing();
        let Subject { project, cluster, task } = subject;
        for ((_, of_project, of_cluster, of_task), alert) in firing.iter_mut() {
            if of_project == project.as_str() && of_cluster == cluster.as_str() && of_task == task.as_str() {
                alert.annotations.insert("next", shown(next, 4_000));
            }
        }
    }

    fn repeats(&self) -> Option<Duration> {
        Some(EVERY)
    }

    fn repeat(&self, _now: Timestamp) -> Option<Sending<'_>> {
        let alerts: Vec<Alert> = self.firing().values().cloned().collect();
        if alerts.is_empty() {
            return None;
        }
        Some(Box::pin(async move { self.post(alerts.iter().collect()).await }))
    }
}
