//! What the journal knows of each task: the fold of its events, the same before a restart as after it.
//!
//! Nothing here decides. [`ClusterRecord::apply`] is the only way in which a record changes.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};

use super::answer::{Answer, Meaning};
use super::cluster::{Cluster, Traits};
use super::decision::{Action, PassiveVerdict};
use super::event::{Entry, Event, FailureSeen, Outcome, Shape};
use super::id::{AttemptId, ClusterId, TaskId};
use super::moment::Moment;
use super::policy::Terms;
use super::reason::Reason;
use super::task::{AbortDoubt, Abortable, Reading, Task, TaskKind, TaskStatus};

mod fold;

/// Retries that count as used, without open ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// Accepted retries of the daemon.
    pub ours: u32,
    /// External retries.
    pub external: u32,
}

impl Used {
    /// Returns how many count, by whether external ones do.
    pub fn count(self, count_external: bool) -> u32 {
        self.ours.saturating_add(if count_external { self.external } else { 0 })
    }
}

/// A request of unknown outcome.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenAttempt {
    /// Its number.
    pub id: AttemptId,
    /// What was sent.
    pub action: Action,
    /// When the intent was committed or the response arrived, whichever is later.
    pub sent: Moment,
    /// The answer; `None` where none was recorded. Its meaning is `Accepted` or `Unknown`.
    pub answer: Option<Answer>,
    /// Not confirmed before this time (Retry-After of an answer without a meaning).
    pub settle_from: Moment,
    /// A poll showed RUNNING since it was sent.
    pub ran: bool,
    /// Nodes were completed since it was sent: once accepted, it does not count any more.
    pub before_progress: bool,
    /// The first of the two polls that confirm it.
    pub reading: Option<SettlingReading>,
    /// The time of the first such poll, whatever it showed.
    pub first_reading: Option<Moment>,
}

impl OpenAttempt {
    /// Returns whether the API said that it accepted the request.
    pub fn is_answered(&self) -> bool {
        self.answer.as_ref().is_some_and(|answer| answer.meaning == Meaning::Accepted)
    }
}

/// A poll that confirms the outcome if another one agrees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettlingReading {
    /// When.
    pub at: Moment,
    /// Whether it shows that the PUT was accepted.
    pub effect: bool,
    /// The status that it showed.
    pub status: TaskStatus,
    /// The failure that it showed.
    pub shape: Shape,
}

/// The present failure of a task.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// As it was first seen.
    pub seen: FailureSeen,
    /// When it was first seen.
    pub first_seen: Moment,
    /// The shape that later polls are compared with.
    pub whole: String,
    /// Retries of the daemon that were accepted for it.
    pub accepted: u32,
    /// The time from which the next PUT's backoff runs.
    pub wait_from: Moment,
    /// The backoff is at least this long (Retry-After).
    pub wait_at_least: Duration,
    /// The wait that the last PUT ended, so that a wait is never counted twice.
    pub waited_from: Option<Moment>,
    /// Something other than time blocked it when it was due.
    pub held: bool,
    /// Not before this time, because a block has ended.
    pub not_before: Option<Moment>,
    /// When it was polled again after it was unreachable or gone.
    pub unpolled: Option<Moment>,
    /// When its retries were reported to be exhausted.
    pub exhausted: Option<Moment>,
    /// Consecutive PUTs of unknown outcome that were confirmed as not accepted.
    pub not_accepted_in_row: u32,
    /// Consecutive accepted PUTs without effect.
    pub without_effect_in_row: u32,
    /// Since when the API answers busy, and its last such answer.
    pub busy: Option<(Moment, Answer)>,
    /// The API will never accept the request.
    pub not_acceptable: Option<Answer>,
    /// An answer said 'gone or forbidden', and it is not known yet which.
    pub doubt: Option<(AttemptId, Moment, Answer)>,
    /// It changed externally: what.
    pub touched: Option<String>,
}

/// The stretch of RUNNING that a task is in, by our clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// When a poll first showed RUNNING.
    pub since: Moment,
    /// When a node was last seen to complete in it; at first the same.
    pub progress: Moment,
    /// When it was reported to run too long.
    pub too_long: Option<Moment>,
}

/// When and why a task was escalated.
#[derive(Debug, Clone, PartialEq)]
pub struct Escalation {
    /// When.
    pub at: Moment,
    /// Why.
    pub reason: Reason,
}

/// A decision that was journaled.
#[derive(Debug, Clone, PartialEq)]
pub struct Decided {
    /// The verdict.
    pub verdict: PassiveVerdict,
    /// Why.
    pub reason: Reason,
    /// Since when every decision says this.
    pub since: Moment,
}

/// Everything the journal knows of one task.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskRecord {
    /// Upgrade or AZ switchover.
    pub kind: TaskKind,
    /// The cluster's name when the task was first seen.
    pub cluster_name: String,
    /// What policies matched on when the task was first seen.
    pub traits: Traits,
    /// When it was first seen.
    pub first_seen: Moment,
    /// Its start, by the API's clock.
    pub start_time: Option<DateTime>,
    /// The highest `executeTimes` of all polls.
    pub highest_execute_times: Option<u64>,
    /// The last journaled lower value of `executeTimes`.
    pub fell_back_to: Option<u64>,
    /// `executeTimes` of the last failure, or of the first poll.
    pub counted_execute_times: Option<u64>,
    /// The largest number of completed nodes of all polls.
    pub most_completed: Option<u32>,
    /// The last poll with RUNNING, while nothing else was seen after it.
    pub running: Option<Moment>,
    /// The stretch of RUNNING that it is in. Like `running` it ends with a failure or the
    /// lifecycle; a restart does not change it. Only notifications depend on it.
    pub run: Option<Run>,
    /// When a poll last showed RUNNING for certain: unlike `running`, a restart does not change it.
    pub running_read: Option<Moment>,
    /// Whether the daemon ever saw it RUNNING.
    pub ever_ran: bool,
    /// Whether it has run since the last failure was first seen.
    pub ran_since_failure: bool,
    /// When its first failure was first seen.
    pub first_failed: Option<Moment>,
    /// The present (or last) failure.
    pub failure: Option<Failure>,
    /// Earlier failures, by which old states are recognized.
    pub earlier: Vec<(Shape, String)>,
    /// Whether nodes were completed since the present failure: external retries until then led to
    /// that.
    pub progressed: bool,
    /// Retries used since the last progress.
    pub used: Used,
    /// Retries used since the task was first seen.
    pub used_ever: Used,
    /// The number of requests that the daemon ever sent for it: intents in the journal.
    pub attempts: u32,
    /// Time waited in backoffs that ended, since the first failure or the last progress.
    pub waited: Duration,
    /// The request of unknown outcome.
    pub open: Option<OpenAttempt>,
    /// When the last PUT was sent that may have been accepted, of those that are no longer open.
    pub last_put: Option<Moment>,
    /// Escalated.
    pub escalated: Option<Escalation>,
    /// How it ended, and when. Other modules use [`TaskRecord::phase`].
    pub closed: Option<(Outcome, Moment)>,
    /// Since when no answer shows it.
    pub missing: Option<Moment>,
    /// The last decision that was journaled.
    pub decided: Option<Decided>,
    /// The last operators' commands that were carried out on it, so that a repeated one acts once.
    pub commands: Vec<String>,
}

/// Where a task is in its lifecycle, with the cause.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Phase<'a> {
    /// It runs, as far as is known.
    Running,
    /// It failed, and the daemon handles its failure.
    Failed(&'a Failure),
    /// A request for it was sent, and its outcome is not known yet.
    OutcomeUnknown(&'a OpenAttempt),
    /// An operator has to handle it.
    Escalated(&'a Escalation),
    /// It has ended: how, and when.
    Ended(&'a Outcome, Moment),
}

/// A [`Phase`] without its cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the phases' docs tell them")]
pub enum PhaseWord {
    Running,
    Failed,
    OutcomeUnknown,
    Escalated,
    Ended,
}

impl PhaseWord {
    /// The phases of an unfinished task.
    pub const UNFINISHED: [Self; 4] = [Self::Running, Self::Failed, Self::OutcomeUnknown, Self::Escalated];

    /// The stable word: the same as in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Failed => "failed",
            Self::OutcomeUnknown => "outcome-unknown",
            Self::Escalated => "escalated",
            Self::Ended => "ended",
        }
    }
}

impl From<Phase<'_>> for PhaseWord {
    fn from(phase: Phase<'_>) -> Self {
        match phase {
            Phase::Running => Self::Running,
            Phase::Failed(_) => Self::Failed,
            Phase::OutcomeUnknown(_) => Self::OutcomeUnknown,
            Phase::Escalated(_) => Self::Escalated,
            Phase::Ended(..) => Self::Ended,
        }
    }
}

impl TaskRecord {
    /// Returns where it is in its lifecycle.
    pub fn phase(&self) -> Phase<'_> {
        match (&self.closed, &self.escalated, &self.open, &self.failure) {
            (Some((outcome, at)), ..) => Phase::Ended(outcome, *at),
            (None, Some(escalation), ..) => Phase::Escalated(escalation),
            (None, None, Some(open), _) => Phase::OutcomeUnknown(open),
            (None, None, None, Some(failure)) if self.running.is_none() => Phase::Failed(failure),
            _ => Phase::Running,
        }
    }

    /// Returns whether it has ended.
    pub fn is_ended(&self) -> bool {
        self.closed.is_some()
    }

    /// Returns how it ended, if it has.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.closed.as_ref().map(|(outcome, _)| outcome)
    }

    /// Returns whether the daemon handles it: neither ended nor escalated.
    pub fn is_pending(&self) -> bool {
        self.closed.is_none() && self.escalated.is_none()
    }

    /// Returns the used retries under these terms, an open one included.
    pub fn retries_used(&self, terms: &Terms) -> u32 {
        let used = if terms.retry.reset_on_progress { self.used } else { self.used_ever };
        let open = self.open.as_ref().is_some_and(|open| {
            open.action == Action::Retry && !(terms.retry.reset_on_progress && open.before_progress)
        });
        used.count(terms.retry.count_external).saturating_add(u32::from(open))
    }

    /// Returns the external ones of them.
    pub fn external_used(&self, terms: &Terms) -> u32 {
        let used = if terms.retry.reset_on_progress { self.used } else { self.used_ever };
        if terms.retry.count_external { used.external } else { 0 }
    }

    /// Returns whether a retried task runs, or may run: what `max_actions_in_flight` counts.
    pub fn is_in_flight(&self) -> bool {
        if self.closed.is_some() {
            return false;
        }
        let retried = self.failure.as_ref().is_some_and(|failure| failure.accepted > 0);
        // It ran, and its present status is not RUNNING, whatever else it means.
        let unknown = matches!(self.reason(), Some(Reason::UnknownStatus { .. }));
        (self.open.is_some() && self.escalated.is_none()) || (self.ran_since_failure && retried && !unknown)
    }

    /// Checks whether it is safe to abort: by this poll, and by all earlier ones. A node that was
    /// completed stays completed if an answer does not show it.
    ///
    /// # Errors
    /// The doubt, as [`Task::abortable`].
    pub fn abortable(&self, task: &Task) -> Result<Abortable, AbortDoubt> {
        let abortable = task.abortable()?;
        match self.most_completed {
            Some(done) if done > 0 => {
                let total = u32::try_from(task.total_nodes.len()).unwrap_or(u32::MAX);
                Err(AbortDoubt::Completed { done, total })
            }
            _ => Ok(abortable),
        }
    }

    /// Returns since when it runs, if it was reported to run too long and still does.
    pub fn runs_too_long(&self) -> Option<Moment> {
        let run = self.run.filter(|_| self.closed.is_none())?;
        run.too_long.map(|_| run.since)
    }

    /// Returns the retry of unknown outcome. (An abort leaves no effect to wait for.)
    pub fn open_retry(&self) -> Option<&OpenAttempt> {
        self.open.as_ref().filter(|open| open.action == Action::Retry)
    }

    /// Returns the reason of the last journaled decision.
    pub fn reason(&self) -> Option<&Reason> {
        self.decided.as_ref().map(|decided| &decided.reason)
    }

    /// Returns the last reason: how it ended, if it has; of an escalated one the cause.
    pub fn last_known(&self) -> Reason {
        match self.phase() {
            Phase::Ended(Outcome::ResolvedByRetry | Outcome::ResolvedExternally, _) => Reason::Idle,
            Phase::Ended(Outcome::Aborted, _) => Reason::AbortedByUs,
            Phase::Ended(Outcome::Superseded { .. } | Outcome::Gone, _) => Reason::Ended,
            Phase::Escalated(escalation) => escalation.reason.clone(),
            Phase::Running | Phase::Failed(_) | Phase::OutcomeUnknown(_) => {
                self.reason().cloned().unwrap_or(Reason::StalePoll)
            }
        }
    }

    /// Returns since when every decision says that the poll shows an old state.
    pub fn stale_since(&self) -> Option<Moment> {
        self.decided.as_ref().filter(|it| matches!(it.reason, Reason::StalePoll)).map(|it| it.since)
    }

    /// Returns whether a poll that began then, and does not show it, is the second such poll in a
    /// row.
    pub fn is_missed_twice(&self, asked: Moment, settle_interval: Duration) -> bool {
        self.missing.is_some_and(|since| asked.since(since) >= settle_interval)
    }

    /// Returns whether the last answer about its cluster showed it, as far as is known.
    pub fn is_shown(&self) -> bool {
        self.missing.is_none() && !matches!(self.closed, Some((Outcome::Gone, _)))
    }

    /// Returns whether the outcome of this PUT is not known yet, and polls will confirm it.
    fn awaits(&self, attempt: AttemptId) -> bool {
        let open = self.open.as_ref().is_some_and(|open| open.id == attempt);
        let doubt = self.failure.as_ref().and_then(|failure| failure.doubt.as_ref());
        let in_doubt = doubt.is_some_and(|(id, ..)| *id == attempt);
        self.closed.is_none() && self.escalated.is_none() && (open || in_doubt)
    }
}

/// Everything the journal knows of one cluster.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClusterRecord {
    /// Its tasks that were ever seen running or failed.
    pub tasks: BTreeMap<TaskId, TaskRecord>,
    /// The start of the newest task of all polls, so that an older one is never taken for the
    /// newest. Polls that are not journaled raise it too.
    pub newest_start: Option<(DateTime, TaskId)>,
    /// The start of the newest task in the journal: the `newest_start` after a restart.
    pub journaled_start: Option<DateTime>,
    /// The tasks that the last answer showed, by [`TaskId::fingerprint`]. Kept in memory alone, for every cluster.
    pub shown: Vec<u64>,
}

impl ClusterRecord {
    /// The record of an unknown cluster.
    pub const EMPTY: Self =
        Self { tasks: BTreeMap::new(), newest_start: None, journaled_start: None, shown: Vec::new() };

    /// Folds one entry in. It must be an entry of this cluster.
    pub fn apply(&mut self, entry: &Entry) {
        let id = &entry.subject.task;
        if let Event::FirstSeen { kind, cluster_name, traits, start_time, .. } = &entry.event {
            if let Some(known) = self.tasks.get(id) {
                // Written although the journal reported an error, and seen again: its lifecycle
                // begins here.
                if known.attempts > 0 || known.closed.is_some() || known.escalated.is_some() {
                    return;
                }
                self.tasks.remove(id);
            }
            let task = self.tasks.entry(id.clone());
            task.or_insert_with(|| TaskRecord::new(*kind, (cluster_name.clone(), traits.clone()), entry.at));
            if let Some(start) = start_time {
                self.journal_newest(*start, id);
            }
        }
        if let Event::NewestSeen { start_time } = &entry.event {
            self.journal_newest(*start_time, id);
        }
        if let Some(task) = self.tasks.get_mut(id) {
            task.apply(entry.number, entry.at, &entry.event);
        }
    }

    /// Returns the cluster as the journal knows it.
    pub fn recall(&self, id: &ClusterId) -> Cluster {
        let newest = self.newest().map(|(_, task)| (task.cluster_name.clone(), task.traits.clone()));
        let (name, traits) = newest.unwrap_or_else(|| (id.to_string(), Traits::default()));
        Cluster::recalled(id.clone(), name, traits)
    }

    /// Returns the newest task with a lifecycle.
    pub fn newest(&self) -> Option<(&TaskId, &TaskRecord)> {
        self.tasks.iter().max_by_key(|(_, task)| task.start_time)
    }

    fn journal_newest(&mut self, start: DateTime, id: &TaskId) {
        self.journaled_start = self.journaled_start.max(Some(start));
        self.raise_newest(start, id);
    }

    /// Remembers that this task is the newest of all polls.
    pub fn raise_newest(&mut self, start: DateTime, id: &TaskId) {
        if self.newest_start.as_ref().is_none_or(|(newest, _)| *newest < start) {
            self.newest_start = Some((start, id.clone()));
        }
    }

    /// Keeps what a poll shows of the known tasks and the journal does not record.
    pub(super) fn remember_tasks(&mut self, reading: &Reading) {
        for (id, known) in &mut self.tasks {
            let is_over = known.closed.is_some();
            match reading.task(id) {
                Some(task) => {
                    known.missing = None;
                    if task.status == TaskStatus::Running {
                        known.saw_running(reading.at);
                    } else if is_over {
                        // Of an ended task only another run is journaled.
                        known.running = None;
                    }
                }
                None if is_over && reading.complete => {
                    known.missing.get_or_insert(reading.at);
                }
                None => {}
            }
        }
    }

    /// Called once after all entries of a journal were folded in at the start: a task that was
    /// running counts as polled now.
    pub fn wake(&mut self, now: Moment) {
        for task in self.tasks.values_mut().filter(|task| task.running.is_some()) {
            task.running = Some(now);
        }
    }

    /// Counts every request of unknown outcome as sent now: another process sent it, whose clock is not known, and which may
    /// still be sending.
    pub fn take_over(&mut self, now: Moment) {
        for open in self.tasks.values_mut().filter_map(|task| task.open.as_mut()) {
            open.sent = now;
        }
    }

    /// Keeps which tasks an answer shows. An incomplete one does not show that others are gone.
    pub fn remember_shown(&mut self, reading: &Reading) {
        if reading.complete {
            self.shown.clear();
        }
        for shown in reading.tasks.iter().map(|task| task.id.fingerprint()) {
            if !self.shown.contains(&shown) {
                self.shown.push(shown);
            }
        }
        self.shown.shrink_to_fit();
    }

    /// Returns whether the outcome of this PUT is not known yet, and polls will confirm it.
    pub fn awaits(&self, attempt: AttemptId) -> bool {
        self.tasks.values().any(|task| task.awaits(attempt))
    }

    /// Delays every task that was blocked and waits to be sent: its wait begins again with the next
    /// decision.
    pub fn hold_what_waits(&mut self) {
        for task in self.tasks.values_mut() {
            if let Some(failure) = task.failure.as_mut().filter(|failure| failure.not_before.is_some()) {
                failure.not_before = None;
                failure.held = true;
                task.decided = None;
            }
        }
    }

    /// Returns whether a retried task of it runs, or may run.
    pub fn is_in_flight(&self) -> bool {
        self.tasks.values().any(TaskRecord::is_in_flight)
    }
}
