//! The states of a project that last, such as that it cannot be seen: told when one begins and when it ends.

use std::time::Duration;

use jiff::Timestamp;

use super::{OutboxWriter, condition};
use crate::clock::Clock;
use crate::model::event::{Event, StoredEntry};
use crate::model::id::ProjectName;
use crate::model::names::Naming;
use crate::model::outbox::{Condition, Note, OutboxWrite};
use crate::model::project::PauseCause;
use crate::model::reason::Reason;
use crate::model::text::{shown, span};
use crate::notify::kind::Kind;
use crate::notify::notice::{self, Notice, Todo, Why};
use crate::notify::queue::Transient;

/// The word of the state in which nothing can be kept.
pub(super) const JOURNAL_FAILS: &str = "journal-fails";

impl<C: Clock> OutboxWriter<C> {
    /// The states of projects that were told and last, as notices.
    pub(in crate::notify) fn lasting(&self) -> Vec<Notice> {
        self.conditions.values().filter_map(|condition| serde_json::from_str(&condition.data).ok()).collect()
    }

    /// The clocks of a whole project differ, though each decision is of one task.
    pub(super) fn watch_clock(&mut self, entry: &StoredEntry, writes: &mut Vec<OutboxWrite>) {
        let project = entry.subject.project.as_str();
        let off = self.conditions.contains_key(&(project.to_owned(), "clock-off".to_owned()));
        match &entry.event {
            Event::Decided { reason: reason @ Reason::ClockOff { .. }, .. } if !off => {
                let what = shown(&reason.to_string(), 500);
                let mut told =
                    notice::of_project(Kind::ClockOff, entry.at, project, what, Some(notice::why(reason)));
                "no retry and no abort is sent in the project until the clocks agree; polling continues"
                    .clone_into(&mut told.next);
                told.todo = vec![todo("to set this machine's clock", "timedatectl"), doctor()];
                let now = Some(condition(entry.at, "off", &told));
                self.change(project, "clock-off", now, writes);
                writes.extend(self.note(told, None));
            }
            Event::Intent { .. }
            | Event::Decided { reason: Reason::WasBlocked { .. } | Reason::DryRun { .. }, .. }
                if off =>
            {
                self.change(project, "clock-off", None, writes);
                let what = "our clock and the service's agree again".to_owned();
                writes.extend(
                    self.note(notice::of_project(Kind::ClockRight, entry.at, project, what, None), None),
                );
            }
            _ => {}
        }
    }

    /// What no entry tells.
    pub(super) async fn word(&mut self, word: Transient) -> Vec<Note> {
        let at = self.clock.now().wall;
        let mut writes = Vec::new();
        match word {
            Transient::Unclear { project, cluster, cluster_name, reason } => {
                let kind = match reason {
                    Reason::UnknownStatus { .. } => Kind::UnknownStatus,
                    _ => Kind::Unclear,
                };
                let what = format!(
                    "nothing is sent for it, for an hour by now: {}",
                    shown(&reason.to_string(), 500)
                );
                let why = Some(notice::why(&reason));
                let mut told = notice::of_project(kind, at, project.as_str(), what, why);
                let name = shown(&cluster_name, 80);
                told.title = format!("{name}: {}", kind.title());
                "nothing is sent for it while this lasts; it is still read".clone_into(&mut told.next);
                told.todo = vec![
                    todo("to see what it shows", &format!("upgrade-remediator explain {cluster}")),
                    todo("to look at it in the console", ""),
                ];
                // After a restart an hour passes again: once a day is enough.
                let day = at.strftime("%F");
                let key =
                    format!("{}/{project}/{cluster}/{}/{day}", kind.word(), shown(&reason.to_string(), 200));
                told.link = notice::link(self.post.routes().page.as_deref(), Some(&cluster));
                told.cluster = Some(notice::About { id: cluster, name, task: None });
                writes.extend(self.note(told, Some(key)));
            }
            Transient::Rests { project, cause, refusals, until } => {
                self.pauses(project.as_str(), at, (cause, refusals, until), &mut writes);
            }
            Transient::Acts { project } => {
                let what = format!("project {project} acts again: the service took what was sent as a probe");
                self.ends(project.as_str(), "paused", Kind::Resumed, at, &what, &mut writes);
            }
            Transient::Blind { project, trouble, error, advice } => {
                let same = self.is(project.as_str(), "unreachable", trouble);
                if !same {
                    let why = Why { code: trouble.to_owned(), text: shown(&error, 1_000) };
                    let what = "nothing of it can be read, and nothing is sent in it".to_owned();
                    let mut told =
                        notice::of_project(Kind::Unreachable, at, project.as_str(), what, Some(why));
                    "tries again by itself; what fell due meanwhile goes out spread over time, not at once"
                        .clone_into(&mut told.next);
                    told.todo = vec![todo(&shown(&advice, 500), ""), doctor()];
                    told.link = notice::link(self.post.routes().page.as_deref(), None);
                    let now = Some(condition(at, trouble, &told));
                    self.change(project.as_str(), "unreachable", now, &mut writes);
                    writes.extend(self.note(told, None));
                }
            }
            Transient::Sees { project } | Transient::SeenAtFirst { project } => {
                let what = format!("project {project} can be seen again");
                self.ends(project.as_str(), "unreachable", Kind::Reachable, at, &what, &mut writes);
            }
            Transient::Renamed(naming) => self.rename(&naming, &mut writes),
            Transient::JournalFails { project, error } => {
                let why = Why { code: "journal".to_owned(), text: shown(&error, 1_000) };
                let what = "nothing is sent while the journal cannot be written".to_owned();
                let mut told = notice::of_project(Kind::JournalFails, at, project.as_str(), what, Some(why));
                "tries again at each poll; polling continues".clone_into(&mut told.next);
                told.todo =
                    vec![todo("to see the space that is left where the journal lies", "df -h"), doctor()];
                if !self.is(project.as_str(), JOURNAL_FAILS, "") {
                    // In memory alone: nothing can be kept while it lasts, and a journal that is opened is well.
                    let key = (project.to_string(), JOURNAL_FAILS.to_owned());
                    self.conditions.insert(key, condition(at, "", &told));
                    writes.extend(self.note(told, None));
                }
            }
            Transient::JournalWorks { project } => {
                let what = "the journal is written again".to_owned();
                self.ends(project.as_str(), JOURNAL_FAILS, Kind::JournalWorks, at, &what, &mut writes);
            }
        }
        self.keep(writes).await
    }

    fn pauses(
        &mut self,
        project: &str,
        at: Timestamp,
        (cause, refusals, until): (PauseCause, u32, Timestamp),
        writes: &mut Vec<OutboxWrite>,
    ) {
        let (code, what, advice) = match cause {
            PauseCause::Forbidden => (
                "forbidden",
                "the service forbids what was sent",
                "check that the credential has css:cluster:retryAction, then reload",
            ),
            PauseCause::WrongAddress => (
                "wrong-address",
                "something other than the service answered what was sent",
                "check the endpoint, and any proxy before it, then reload",
            ),
        };
        // That it goes on resting after a probe is no news.
        let same = self.is(project, "paused", code);
        let why = Why { code: code.to_owned(), text: format!("{what} ({refusals} in a row)") };
        let mut told = notice::of_project(Kind::Paused, at, project, what.to_owned(), Some(why));
        told.next = format!("sends nothing until {}, then one PUT as a probe", notice::at(until));
        told.todo = vec![todo(advice, "systemctl reload upgrade-remediator"), doctor()];
        if !same {
            let now = Some(condition(at, code, &told));
            self.change(project, "paused", now, writes);
            writes.extend(self.note(told, None));
        }
    }

    /// Whether it is known that nothing can be written.
    pub(super) fn journal_fails(&self) -> bool {
        self.conditions.keys().any(|(_, word)| word == JOURNAL_FAILS)
    }

    /// Whether this state lasts already, and nothing of it has changed.
    fn is(&self, project: &str, word: &str, sign: &str) -> bool {
        let known = self.conditions.get(&(project.to_owned(), word.to_owned()));
        known.is_some_and(|known| known.sign == sign)
    }

    /// A state that was told ends.
    fn ends(
        &mut self,
        project: &str,
        word: &str,
        kind: Kind,
        at: Timestamp,
        what: &str,
        writes: &mut Vec<OutboxWrite>,
    ) {
        let Some(before) = self.conditions.get(&(project.to_owned(), word.to_owned())) else { return };
        let lasted = at.duration_since(before.since).unsigned_abs();
        let what = format!("{what}, after {}", span(Duration::from_secs(lasted.as_secs())));
        self.change(project, word, None, writes);
        let mut told = notice::of_project(kind, at, project, what, None);
        "goes on as before".clone_into(&mut told.next);
        writes.extend(self.note(told, None));
    }

    /// What lasts in a project and who waits there bear its new name. What is to be told already bears the old one.
    fn rename(&mut self, naming: &Naming, writes: &mut Vec<OutboxWrite>) {
        let moved = |name: &str| {
            let name = ProjectName::new(name).ok()?;
            let new = naming.renamed(&name);
            (*new != name).then(|| new.to_string())
        };
        let conditions = std::mem::take(&mut self.conditions);
        let (moving, staying): (Vec<_>, Vec<_>) =
            conditions.into_iter().partition(|((project, _), _)| moved(project).is_some());
        self.conditions = staying.into_iter().collect();
        for ((project, word), _) in &moving {
            writes.push(OutboxWrite::Condition { project: project.clone(), word: word.clone(), now: None });
        }
        for ((project, word), condition) in moving {
            let project = moved(&project).unwrap_or(project);
            self.change(&project, &word, Some(condition), writes);
        }
        self.rename_waiting(naming);
    }

    /// A state begins or changes (`now`), or ends.
    pub(super) fn change(
        &mut self,
        project: &str,
        word: &str,
        now: Option<Condition>,
        writes: &mut Vec<OutboxWrite>,
    ) {
        let (project, word) = (project.to_owned(), word.to_owned());
        let key = (project.clone(), word.clone());
        match now.clone() {
            Some(condition) => drop(self.conditions.insert(key, condition)),
            None => drop(self.conditions.remove(&key)),
        }
        writes.push(OutboxWrite::Condition { project, word, now });
    }
}

fn todo(purpose: &str, command: &str) -> Todo {
    Todo { purpose: purpose.to_owned(), command: command.to_owned() }
}

fn doctor() -> Todo {
    todo("to have each step tried", "upgrade-remediator doctor")
}
