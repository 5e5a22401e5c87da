//! Operators' commands over the control socket. A command that reads the API or the journal is a
//! task of its own: nothing else waits for it, and a stop lets it end.

use std::collections::BTreeSet;

use tokio::sync::oneshot;

use super::run::Daemon;
use super::running::Running;
use crate::control::{Answer, Question, Request};
use crate::descriptors;
use crate::journal::History;
use crate::journal::reader::Query;
use crate::model::decision::Action;
use crate::model::hold::Scope;
use crate::model::id::{ClusterId, ProjectName};
use crate::model::scope_entry::Position;
use crate::model::text::{chain, did_you_mean, nearest, shown};

mod holds;
mod manual;

use manual::Ordering;

/// The number of concurrent commands: each may take a place of the client. With few descriptors
/// there are fewer, so that half of the places of the control socket are left for holds, however
/// long other commands take.
const AT_ONCE: usize = 8;

/// The longest reason, in characters.
const MAX_REASON: usize = 500;

impl Daemon {
    /// Carries out a command, and answers.
    pub(super) async fn answer(&mut self, question: Question) {
        let Question { request, peer, answer } = question;
        let done = match request {
            Request::RetryNow(order) => {
                return self.order(Ordering::Send(Action::Retry), order, &peer, answer);
            }
            Request::Abort(order) => return self.order(Ordering::Send(Action::Abort), order, &peer, answer),
            Request::Reset(order) => return self.order(Ordering::Reset, order, &peer, answer),
            Request::Explain { cluster } => return self.explain(&cluster, answer),
            Request::History { cluster, since, past } => {
                return self.history(Query { cluster, since, ..Query::default() }, past, answer);
            }
            Request::Hold { scope, lasts, reason } => self.hold(&scope, lasts, &reason, peer).await,
            Request::Release { scope } => self.release(&scope, peer).await,
            Request::Holds => Ok(Answer::Holds { holds: self.holds_in_force() }),
            Request::Status => Ok(Answer::Status { status: Box::new(self.snapshot().report()) }),
        };
        // The client may be gone; the command was carried out.
        let _ = answer.send(done.unwrap_or_else(|why| Answer::Refused { why }));
    }

    /// Explains a cluster, from a new poll.
    pub(super) fn explain(&mut self, text: &str, answer: oneshot::Sender<Answer>) {
        let (running, cluster, name) = match self.find_project(text) {
            Ok(found) => found,
            Err(why) => return drop(answer.send(Answer::Refused { why })),
        };
        let by_name = self.by_name(cluster.clone(), &name);
        self.orders.spawn(async move {
            let mut explanation = Box::new(running.project.explain(&cluster).await);
            explanation.outlook = explanation.outlook.with_commands(by_name);
            let _ = answer.send(Answer::Explained { explanation });
        });
    }

    /// Reads the journal.
    pub(super) fn history(&mut self, query: Query, past: Option<Position>, answer: oneshot::Sender<Answer>) {
        if let Err(why) = self.room() {
            return drop(answer.send(Answer::Refused { why }));
        }
        let journal = self.builder.share_journal();
        self.orders.spawn(async move {
            let said = match journal.history(&query, past).await {
                Ok(History { entries, scopes, names, more }) => {
                    Answer::History { entries, scopes, names, more }
                }
                Err(error) => Answer::Refused { why: chain(&error) },
            };
            let _ = answer.send(said);
        });
    }

    fn room(&self) -> Result<(), String> {
        let at_once = descriptors::connections(AT_ONCE, descriptors::limit());
        if self.orders.len() < at_once {
            return Ok(());
        }
        Err(format!("{at_once} commands are in progress already; try again"))
    }

    /// Returns the project of a command's cluster, the cluster's id and its name.
    fn find_project(&self, text: &str) -> Result<(Running, ClusterId, String), String> {
        self.room()?;
        let (cluster, name, project) = self.find_cluster(text)?;
        let running = self.running.get(&project).filter(|running| !running.leaving);
        let running = running.ok_or(
            "the cluster's project is no longer in the configuration, so the daemon does not act in it",
        )?;
        Ok((running.clone(), cluster, name))
    }

    /// Returns a cluster by its id or its name.
    fn find_cluster(&self, text: &str) -> Result<(ClusterId, String, ProjectName), String> {
        let mut named = Vec::new();
        for running in self.running.values() {
            for (id, name) in running.project.find(text) {
                let project = running.project.project.clone();
                if id.as_str() == text {
                    return Ok((id, name, project));
                }
                named.push((id, name, project));
            }
        }
        let mut found = named.iter();
        match (found.next(), found.next()) {
            (Some(one), None) => Ok(one.clone()),
            (None, _) => {
                let known = self.names();
                Err(format!(
                    "the daemon knows no cluster {:?}, by name or id{}",
                    shown(text, 80),
                    match nearest(text, known.iter().map(String::as_str)) {
                        Some(word) => did_you_mean(Some(word)),
                        None => "; the daemon knows a cluster once a list has shown it".to_owned(),
                    }
                ))
            }
            _ => {
                let ids: Vec<String> = named
                    .iter()
                    .map(|(id, _, project)| format!("\n  cluster:{id} (project {project})"))
                    .collect();
                Err(format!("several clusters are named {:?}; give an id: {}", shown(text, 80), ids.concat()))
            }
        }
    }

    /// Writes the scope of this cluster in a command by its name, if that is unambiguous.
    fn by_name(&self, cluster: ClusterId, name: &str) -> impl Fn(&str) -> String + Send + use<> {
        let scope = Scope::Cluster(cluster);
        let (id, written) = (scope.to_string(), self.written(&scope, Some(name)));
        move |command| command.replace(&id, &written)
    }

    /// Returns the names of all known clusters.
    fn names(&self) -> BTreeSet<String> {
        self.running.values().flat_map(|running| running.project.clusters()).map(|(_, name)| name).collect()
    }

    /// Returns a scope as an operator writes it: a cluster by its name, if a shell needs no quotes
    /// for it and no other cluster has it as name or id.
    fn written(&self, scope: &Scope, name: Option<&str>) -> String {
        let is_plain = |name: &&str| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        };
        match (scope, name.filter(is_plain)) {
            (Scope::Cluster(id), Some(name))
                if self.find_cluster(name).is_ok_and(|(found, ..)| found == *id) =>
            {
                format!("cluster:{name}")
            }
            _ => scope.to_string(),
        }
    }
}

/// Returns the reason for a command, if it is usable.
fn reason(text: &str, of: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err(format!("{of} needs a reason, which is recorded"));
    }
    if text.chars().count() > MAX_REASON {
        return Err(format!("the reason is longer than {MAX_REASON} characters"));
    }
    Ok(text.trim().to_owned())
}
