//! A notice: what happened, why, what the daemon does next, what an operator can do, and everything
//! that is needed to take over. Pure: made from the lifecycle of a task, or from a condition.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::facts::{Facts, facts};
use super::kind::Kind;
use crate::model::command::command;
use crate::model::condition::{Code, Standing};
use crate::model::event::{Event, StoredEntry, Subject};
pub use crate::model::explanation::Why;
use crate::model::id::{ClusterId, TaskId};
use crate::model::level::Level;
use crate::model::moment::{Moment, Mono};
use crate::model::outlook::{Block, Outlook};
use crate::model::reason::Reason;
use crate::model::record::{ClusterRecord, TaskRecord};
pub use crate::model::text::utc as at;
use crate::model::text::{named, shown, span};

/// The content of a notification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// What kind of thing it is.
    pub kind: Kind,
    /// Its level.
    pub severity: Level,
    /// When it happened.
    pub at: Timestamp,
    /// The name of the project; empty if there is none.
    pub project: String,
    /// The cluster, if it concerns one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<About>,
    /// One line for a heading.
    pub title: String,
    /// What happened.
    pub what: String,
    /// Why: a stable code and a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Why>,
    /// What the daemon does next, and when, with what blocks it.
    pub next: String,
    /// The same for machines, if it concerns a task: the outlook that every command shows at that
    /// time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outlook: Option<Outlook>,
    /// What an operator can do.
    pub todo: Vec<Todo>,
    /// What is needed to take over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<Facts>,
    /// Where to read more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// A cluster, and its task.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct About {
    /// The cluster's id.
    pub id: ClusterId,
    /// Its name.
    pub name: String,
    /// The task's id, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
}

/// What an operator can do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Todo {
    /// Its purpose.
    pub purpose: String,
    /// The exact command; empty if there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub command: String,
}

impl Todo {
    /// Returns the purpose, with the command if there is one.
    pub fn in_words(&self) -> String {
        match self.command.as_str() {
            "" => self.purpose.clone(),
            command => format!("{}: {command}", self.purpose),
        }
    }
}

/// Returns the record of the one task that these entries concern.
pub fn fold(lifecycle: &[StoredEntry]) -> Option<TaskRecord> {
    let (first, last) = (lifecycle.first()?, lifecycle.last()?);
    let now = Moment { wall: last.at, mono: Mono(0) };
    let mut history = ClusterRecord::default();
    for entry in lifecycle {
        history.apply(&entry.clone().recall(now));
    }
    history.tasks.remove(&first.subject.task)
}

/// Returns the notice of an entry of the journal. `lifecycle`: all entries of its task, up to the
/// present; `foreseen`: the outlook of the task, if its project knows it.
pub fn of_entry(
    kind: Kind,
    number: u64,
    lifecycle: &[StoredEntry],
    foreseen: Option<Outlook>,
    page: Option<&str>,
) -> Option<Notice> {
    let entry = lifecycle.iter().find(|entry| entry.number == number)?;
    let known = fold(lifecycle);
    let subject = &entry.subject;
    let name = known.as_ref().map_or_else(|| subject.cluster.to_string(), |known| known.cluster_name.clone());
    let name = named(&name, 80);
    let outlook = known.as_ref().map(|known| present(known, foreseen));
    let why_it_stands = outlook.as_ref().filter(|outlook| !outlook.is_ended()).map(|it| it.reason.clone());
    let notice = Notice {
        kind,
        severity: kind.severity(),
        at: entry.at,
        project: subject.project.to_string(),
        cluster: Some(About {
            id: subject.cluster.clone(),
            name: name.clone(),
            task: Some(subject.task.clone()),
        }),
        title: title(kind, &name, &entry.event, known.as_ref(), outlook.as_ref()),
        what: what(entry, known.as_ref()),
        why: why_of(&entry.event).or(why_it_stands),
        next: match known.as_ref().and_then(TaskRecord::outcome) {
            Some(outcome) => format!("nothing more: the task ended ({})", outcome.word()),
            None => outlook.as_ref().map_or_else(String::new, Outlook::next_with_blocks),
        },
        todo: todo(kind, &subject.cluster, outlook.as_ref()),
        outlook,
        facts: known.as_ref().map(|known| facts(known, lifecycle)),
        link: link(page, Some(&subject.cluster)),
    };
    Some(notice)
}

/// Returns the reminder of a task that still needs an operator; `None` if it does not.
pub fn reminder(
    subject: &Subject,
    lifecycle: &[StoredEntry],
    foreseen: Option<Outlook>,
    now: Timestamp,
    page: Option<&str>,
) -> Option<Notice> {
    let known = fold(lifecycle).filter(waits_for_human)?;
    let escalation = known.escalated.as_ref()?;
    let entry = lifecycle.iter().rfind(|entry| matches!(entry.event, Event::Escalated { .. }))?;
    let mut notice = of_entry(Kind::Reminder, entry.number, lifecycle, foreseen, page)?;
    let since = now.duration_since(escalation.at.wall).unsigned_abs();
    let since = std::time::Duration::from_secs(since.as_secs());
    notice.at = now;
    notice.what = format!(
        "the task has been waiting for an operator for {}, since {}: {}",
        crate::model::text::span(since),
        at(escalation.at.wall),
        escalation.reason
    );
    debug_assert_eq!(entry.subject, *subject);
    Some(notice)
}

/// Returns whether the task still needs an operator.
pub fn waits_for_human(known: &TaskRecord) -> bool {
    known.escalated.is_some() && !known.is_ended() && known.running.is_none()
}

/// Returns the kind of notice for the present state of an unfinished task.
pub fn standing(known: &TaskRecord) -> Option<Kind> {
    let failure = known.failure.as_ref().filter(|_| !known.is_ended())?;
    if known.escalated.is_some() {
        return known.running.is_none().then_some(Kind::Reminder);
    }
    if failure.seen.too_old {
        return Some(Kind::StaleFailure);
    }
    match known.reason() {
        Some(Reason::AbortPending { .. }) => Some(Kind::Exhausted),
        _ => Some(Kind::FirstFailure),
    }
}

/// Returns the notice of a project, or of a cluster without a task in the journal.
pub fn of_project(kind: Kind, at: Timestamp, project: &str, what: String, why: Option<Why>) -> Notice {
    let head = if project.is_empty() { String::new() } else { format!("project {project}: ") };
    Notice {
        kind,
        severity: kind.severity(),
        at,
        project: project.to_owned(),
        cluster: None,
        title: format!("{head}{}", kind.title()),
        what,
        why,
        next: String::new(),
        outlook: None,
        todo: Vec::new(),
        facts: None,
        link: None,
    }
}

/// Returns the notice of a condition that began, changed or lasts.
pub fn of_standing(standing: &Standing, at: Timestamp, page: Option<&str>) -> Notice {
    let Standing { project, condition, .. } = standing;
    let why = Why { code: condition.cause().to_owned(), text: shown(&condition.text(), 1_000) };
    let mut notice = of_condition(Kind::Began(condition.code()), standing, at, why.text.clone());
    notice.severity = condition.level();
    notice.why = Some(why);
    condition.meanwhile().clone_into(&mut notice.next);
    let explain = condition.cluster().map(|(cluster, _)| Todo {
        purpose: "to see what the polls show".to_owned(),
        command: command(format_args!("explain {cluster}")),
    });
    let advice = condition
        .advice()
        .into_iter()
        .map(|(purpose, command)| Todo { purpose, command: command.unwrap_or_default() });
    let hold = (condition.code() == Code::BreakerOpen).then(|| Todo {
        purpose: "to stop all requests in the project".to_owned(),
        command: command(format_args!("hold project:{project} --reason \"…\"")),
    });
    notice.todo = explain.into_iter().chain(advice).chain(hold).collect();
    notice.link = link(page, condition.cluster().map(|(cluster, _)| cluster));
    notice
}

/// Returns the reminder of a condition that lasts.
pub fn reminder_of(standing: &Standing, now: Timestamp, page: Option<&str>) -> Notice {
    let mut notice = of_standing(standing, now, page);
    let lasted = span(standing.lasted(now));
    notice.title = format!("{}, for {lasted}", notice.title);
    notice.what =
        format!("{}; this has lasted for {lasted}, since {}", notice.what, self::at(standing.since));
    notice
}

/// Returns the notice that a condition ended.
pub fn of_end(standing: &Standing, at: Timestamp) -> Notice {
    let code = standing.condition.code();
    let what = shown(&standing.condition.end_text(standing.lasted(at)), 1_000);
    let mut notice = of_condition(Kind::Ended(code), standing, at, what);
    "the daemon continues as before".clone_into(&mut notice.next);
    notice
}

fn of_condition(kind: Kind, standing: &Standing, at: Timestamp, what: String) -> Notice {
    let mut notice = of_project(kind, at, standing.project.as_str(), what, None);
    if let Some((id, name)) = standing.condition.cluster() {
        let name = named(name, 80);
        notice.title = format!("{name}: {}", kind.title());
        notice.cluster = Some(About { id: id.clone(), name, task: None });
    }
    notice
}

/// Returns the page of a cluster, or the status page.
pub fn link(page: Option<&str>, cluster: Option<&ClusterId>) -> Option<String> {
    let page = page?.trim_end_matches('/');
    Some(match cluster {
        Some(cluster) => format!("{page}/clusters/{cluster}"),
        None => format!("{page}/"),
    })
}

fn title(
    kind: Kind,
    name: &str,
    event: &Event,
    known: Option<&TaskRecord>,
    outlook: Option<&Outlook>,
) -> String {
    let task = known.map_or("task", |known| known.kind.word());
    match (kind, event) {
        (Kind::FirstFailure, _) => format!("{name}: {task} failed"),
        (Kind::Exhausted, _) => match outlook {
            Some(Outlook { next: Some(next), .. }) => {
                format!("{name}: retries exhausted, {} at {}", next.action, at(next.at))
            }
            Some(outlook) if !outlook.blocked_by.is_empty() => {
                format!("{name}: retries exhausted, abort blocked")
            }
            _ => format!("{name}: retries exhausted"),
        },
        (Kind::RetrySent, Event::Intent { reason: Reason::RetryDue { retry, max_retries, .. }, .. }) => {
            format!("{name}: retry {retry} of {max_retries} sent")
        }
        _ => format!("{name}: {}", kind.title()),
    }
}

/// Returns what happened. If the reason says all of it, that is the failure.
fn what(entry: &StoredEntry, known: Option<&TaskRecord>) -> String {
    let failure = known.and_then(|known| known.failure.as_ref());
    let what = match (&entry.event, failure) {
        (Event::Decided { .. } | Event::Escalated { .. }, Some(failure)) => {
            Event::Failed(Box::new(failure.seen.clone())).to_string()
        }
        (Event::Intent { action, failure, .. }, _) => {
            format!("the daemon sends {action} request #{} for failure {failure}", entry.number)
        }
        (event, _) => event.to_string(),
    };
    shown(&what, 1_000)
}

/// Returns the reason of an event.
fn why_of(event: &Event) -> Option<Why> {
    match event {
        Event::Escalated { reason } | Event::Decided { reason, .. } | Event::Intent { reason, .. } => {
            Some(why(reason))
        }
        _ => None,
    }
}

/// Returns a reason as a notice shows it.
pub fn why(reason: &Reason) -> Why {
    Why { code: reason.code().to_owned(), text: shown(&reason.to_string(), 1_000) }
}

/// Returns the outlook of a task: from its project, or else from the journal alone.
fn present(known: &TaskRecord, foreseen: Option<Outlook>) -> Outlook {
    let foreseen = foreseen.filter(|_| !known.is_ended());
    let mut outlook = foreseen.unwrap_or_else(|| Outlook::by_journal(known, Block::not_watched()));
    let texts = outlook.blocked_by.iter_mut().map(|block| &mut block.text);
    for text in texts.chain([&mut outlook.reason.text]) {
        *text = shown(text, 1_000);
    }
    outlook
}

/// Returns the exact commands. A retry is among them if the next step names it: in dry-run and under
/// a hold it is refused.
fn todo(kind: Kind, cluster: &ClusterId, outlook: Option<&Outlook>) -> Vec<Todo> {
    let is_refused = outlook.is_some_and(|outlook| !outlook.advises("retry-now"));
    let mut all = commands(kind, cluster);
    all.retain(|todo| !is_refused || !todo.command.contains(" retry-now "));
    all
}

fn commands(kind: Kind, cluster: &ClusterId) -> Vec<Todo> {
    let todo =
        |purpose: &str, arguments: String| Todo { purpose: purpose.to_owned(), command: command(arguments) };
    let hold = |purpose| todo(purpose, format!("hold cluster:{cluster} --reason \"…\""));
    let explain = || todo("to see why, and what has to change", format!("explain {cluster}"));
    let retry = |purpose| todo(purpose, format!("retry-now {cluster} --reason \"…\""));
    match kind {
        Kind::Exhausted => {
            vec![hold("to stop the abort"), retry("to send one more retry instead"), explain()]
        }
        Kind::Escalated | Kind::ChangedExternally | Kind::Reminder | Kind::FailedAgain => vec![
            hold("before acting by hand"),
            explain(),
            todo(
                "to return the task to the daemon, with no retry counted as used",
                format!("reset {cluster} --reason \"…\""),
            ),
            retry("to send one retry"),
        ],
        Kind::ResolvedByRetry | Kind::ResolvedExternally | Kind::Superseded | Kind::Gone => {
            vec![todo("to see what happened", format!("history --cluster {cluster}"))]
        }
        Kind::Aborted => vec![
            todo("to see what happened", format!("history --cluster {cluster}")),
            Todo {
                purpose: "to upgrade or move the cluster nevertheless: start a new task in the console"
                    .to_owned(),
                command: String::new(),
            },
        ],
        Kind::StaleFailure => vec![explain(), retry("to send one retry nevertheless")],
        _ => vec![explain(), hold("before acting by hand")],
    }
}
