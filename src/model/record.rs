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

/// Retries counted as used, open ones aside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// Accepted retries of ours.
    pub ours: u32,
    /// Retries of others.
    pub external: u32,
}

impl Used {
    /// How many use one up, by whether those of others count.
    pub fn count(self, count_external: bool) -> u32 {
        self.ours.saturating_add(if count_external { self.external } else { 0 })
    }
}

/// An attempt whose effect is not certain yet.
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
    /// Not to be settled before (Retry-After of an answer that said nothing).
    pub settle_from: Moment,
    /// RUNNING was read since it was sent.
    pub ran: bool,
    /// Nodes were completed since it was sent: it is no longer counted once accepted.
    pub before_progress: bool,
    /// The first of the two readings that settle it.
    pub reading: Option<SettlingReading>,
    /// When there was a first such reading at all, whatever it showed.
    pub first_reading: Option<Moment>,
}

impl OpenAttempt {
    /// Whether the service said that it accepted it.
    pub fn is_answered(&self) -> bool {
        self.answer.as_ref().is_some_and(|answer| answer.meaning == Meaning::Accepted)
    }
}

/// A reading that settles, once another one agrees with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettlingReading {
    /// When.
    pub at: Moment,
    /// Whether it shows that the PUT was accepted.
    pub effect: bool,
    /// What it showed.
    pub status: TaskStatus,
    /// And of which failure.
    pub shape: Shape,
}

/// The present failure of a task.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// As it was first seen.
    pub seen: FailureSeen,
    /// When it was first seen.
    pub first_seen: Moment,
    /// What later readings are compared with.
    pub whole: String,
    /// Retries of ours that were accepted for it.
    pub accepted: u32,
    /// From when the next PUT's backoff runs.
    pub wait_from: Moment,
    /// The backoff is at least this long (Retry-After).
    pub wait_at_least: Duration,
    /// The wait that the last PUT ended, so that a wait is never counted twice.
    pub waited_from: Option<Moment>,
    /// Something other than time held it back when it was due.
    pub held: bool,
    /// Not before this, since what held it back has ended.
    pub not_before: Option<Moment>,
    /// When it was read again after nobody could read it, or after it was gone.
    pub unpolled: Option<Moment>,
    /// When its retries were told to be used up.
    pub exhausted: Option<Moment>,
    /// PUTs of unknown outcome that turned out not to be accepted, in a row.
    pub not_accepted_in_row: u32,
    /// Accepted PUTs without effect, in a row.
    pub without_effect_in_row: u32,
    /// Since when the service answers busy, and its last such answer.
    pub busy: Option<(Moment, Answer)>,
    /// The service will never take it as it is.
    pub not_acceptable: Option<Answer>,
    /// An answer said 'gone or forbidden' and it is not known yet which.
    pub doubt: Option<(AttemptId, Moment, Answer)>,
    /// Somebody else changed it: what.
    pub touched: Option<String>,
}

/// The stretch of RUNNING that a task is in, by our clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// When RUNNING was first read.
    pub since: Moment,
    /// When a node was last seen to complete in it; at first the same.
    pub progress: Moment,
    /// When it was told to run too long.
    pub too_long: Option<Moment>,
}

/// When and why a task was handed to an operator.
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
    /// Its start, by the cloud's time.
    pub start_time: Option<DateTime>,
    /// The highest `executeTimes` ever read.
    pub highest_execute_times: Option<u64>,
    /// The value to which `executeTimes` was last told to have fallen.
    pub fell_back_to: Option<u64>,
    /// `executeTimes` of the last failure, or of the first sight.
    pub counted_execute_times: Option<u64>,
    /// The most completed nodes ever read.
    pub most_completed: Option<u32>,
    /// The last RUNNING reading, while nothing else was seen after it.
    pub running: Option<Moment>,
    /// The stretch of RUNNING that it is in. Like `running` it ends with a failure or the lifecycle; a restart moves nothing
    /// of it. It decides what is told, and nothing else.
    pub run: Option<Run>,
    /// When RUNNING was last read for certain: unlike `running`, a restart does not move it.
    pub running_read: Option<Moment>,
    /// Whether the daemon ever saw it RUNNING.
    pub ever_ran: bool,
    /// Whether it has run since the last failure was first seen.
    pub ran_since_failure: bool,
    /// When its first failure was first seen.
    pub first_failed: Option<Moment>,
    /// The present (or last) failure.
    pub failure: Option<Failure>,
    /// Earlier failures, by which stale readings are known.
    pub earlier: Vec<(Shape, String)>,
    /// Whether nodes were completed since the present failure: retries of others until then brought that about.
    pub progressed: bool,
    /// Retries used since the last progress.
    pub used: Used,
    /// Retries used since the task was first seen.
    pub used_ever: Used,
    /// PUTs of ours, ever: intents in the journal.
    pub attempts: u32,
    /// Time waited in backoffs that ended, since the first failure or the last progress.
    pub waited: Duration,
    /// The attempt whose effect is not certain yet.
    pub open: Option<OpenAttempt>,
    /// When the last PUT was sent that may have been taken, of those that are no longer open.
    pub last_put: Option<Moment>,
    /// Handed to an operator.
    pub escalated: Option<Escalation>,
    /// How it ended, and when. For everybody else there is [`TaskRecord::phase`].
    pub closed: Option<(Outcome, Moment)>,
    /// Since when no answer shows it.
    pub missing: Option<Moment>,
    /// The last decision that was journaled.
    pub decided: Option<Decided>,
    /// The last commands of people that were carried out on it, so that a repeated one acts once.
    pub commands: Vec<String>,
}

/// Where a task is in its lifecycle, with what makes it so.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Phase<'a> {
    /// It runs, as far as is known.
    Running,
    /// It failed, and its failure is the daemon's to handle.
    Failed(&'a Failure),
    /// A request for it was sent, and whether it was accepted, or what it did, is not known yet.
    OutcomeUnknown(&'a OpenAttempt),
    /// An operator has to handle it.
    Escalated(&'a Escalation),
    /// It is over: how, and when.
    Ended(&'a Outcome, Moment),
}

/// A [`Phase`] without what makes it so.
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
    /// Those of a task that is not over.
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
    /// Where it is in its lifecycle.
    pub fn phase(&self) -> Phase<'_> {
        match (&self.closed, &self.escalated, &self.open, &self.failure) {
            (Some((outcome, at)), ..) => Phase::Ended(outcome, *at),
            (None, Some(escalation), ..) => Phase::Escalated(escalation),
            (None, None, Some(open), _) => Phase::OutcomeUnknown(open),
            (None, None, None, Some(failure)) if self.running.is_none() => Phase::Failed(failure),
            _ => Phase::Running,
        }
    }

    /// Whether it is over.
    pub fn is_ended(&self) -> bool {
        self.closed.is_some()
    }

    /// How it ended, where it has.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.closed.as_ref().map(|(outcome, _)| outcome)
    }

    /// Whether it is the daemon's to handle: neither over nor escalated.
    pub fn is_pending(&self) -> bool {
        self.closed.is_none() && self.escalated.is_none()
    }

    /// Retries used up under these terms, an open one included.
    pub fn retries_used(&self, terms: &Terms) -> u32 {
        let used = if terms.retry.reset_on_progress { self.used } else { self.used_ever };
        let open = self.open.as_ref().is_some_and(|open| {
            open.action == Action::Retry && !(terms.retry.reset_on_progress && open.before_progress)
        });
        used.count(terms.retry.count_external).saturating_add(u32::from(open))
    }

    /// Of those, the ones of others.
    pub fn external_used(&self, terms: &Terms) -> u32 {
        let used = if terms.retry.reset_on_progress { self.used } else { self.used_ever };
        if terms.retry.count_external { used.external } else { 0 }
    }

    /// Whether a retried task runs, or may run: what `max_actions_in_flight` counts.
    pub fn is_in_flight(&self) -> bool {
        if self.closed.is_some() {
            return false;
        }
        let retried = self.failure.as_ref().is_some_and(|failure| failure.accepted > 0);
        // It ran, and what it shows now is not RUNNING, whatever else it means.
        let unknown = matches!(self.reason(), Some(Reason::UnknownStatus { .. }));
        (self.open.is_some() && self.escalated.is_none()) || (self.ran_since_failure && retried && !unknown)
    }

    /// Whether it is safe to abort: by this reading of it, and by all that were ever read. A completed node that is
    /// missing from an answer is completed all the same.
    ///
    /// # Errors
    /// With the doubt, as [`Task::abortable`].
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

    /// Since when it runs, where it was told to run too long and still does.
    pub fn runs_too_long(&self) -> Option<Moment> {
        let run = self.run.filter(|_| self.closed.is_none())?;
        run.too_long.map(|_| run.since)
    }

    /// The retry whose effect is not certain yet. (An abort leaves no effect to wait for.)
    pub fn open_retry(&self) -> Option<&OpenAttempt> {
        self.open.as_ref().filter(|open| open.action == Action::Retry)
    }

    /// Why what is done about it is done, as the last decision that was journaled says.
    pub fn reason(&self) -> Option<&Reason> {
        self.decided.as_ref().map(|decided| &decided.reason)
    }

    /// Why what was done about it at last was done: as it ended, where it has; of an escalated one the cause.
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

    /// Since when every decision says that the reading shows the past.
    pub fn stale_since(&self) -> Option<Moment> {
        self.decided.as_ref().filter(|it| matches!(it.reason, Reason::StalePoll)).map(|it| it.since)
    }

    /// Whether a reading that was asked for then, and does not show it, is of the second poll in a row.
    pub fn is_missed_twice(&self, asked: Moment, settle_interval: Duration) -> bool {
        self.missing.is_some_and(|since| asked.since(since) >= settle_interval)
    }

    /// Whether the last answer about its cluster showed it, as far as is known.
    pub fn is_shown(&self) -> bool {
        self.missing.is_none() && !matches!(self.closed, Some((Outcome::Gone, _)))
    }

    /// Whether it is not known yet what became of this PUT, and readings will tell.
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
    /// The start of the newest task ever read, so that an older one is never taken for the newest. Readings
    /// raise it too.
    pub newest_start: Option<(DateTime, TaskId)>,
    /// The start of the newest task that the journal knows of: what a restart leaves of `newest_start`.
    pub journaled_start: Option<DateTime>,
    /// The tasks that the last answer showed, by [`TaskId::fingerprint`]. Kept in memory alone, for every cluster.
    pub shown: Vec<u64>,
}

impl ClusterRecord {
    /// That of a cluster of which nothing is known.
    pub const EMPTY: Self =
        Self { tasks: BTreeMap::new(), newest_start: None, journaled_start: None, shown: Vec::new() };

    /// Folds one entry in. Entries of other clusters must not be given.
    pub fn apply(&mut self, entry: &Entry) {
        let id = &entry.subject.task;
        if let Event::FirstSeen { kind, cluster_name, traits, start_time, .. } = &entry.event {
            if let Some(known) = self.tasks.get(id) {
                // Kept although the journal said that it could not be, and seen again: its lifecycle begins here.
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

    /// The cluster as the journal knows it.
    pub fn recall(&self, id: &ClusterId) -> Cluster {
        let newest = self.newest().map(|(_, task)| (task.cluster_name.clone(), task.traits.clone()));
        let (name, traits) = newest.unwrap_or_else(|| (id.to_string(), Traits::default()));
        Cluster::recalled(id.clone(), name, traits)
    }

    /// The newest task that there is a lifecycle of.
    pub fn newest(&self) -> Option<(&TaskId, &TaskRecord)> {
        self.tasks.iter().max_by_key(|(_, task)| task.start_time)
    }

    fn journal_newest(&mut self, start: DateTime, id: &TaskId) {
        self.journaled_start = self.journaled_start.max(Some(start));
        self.raise_newest(start, id);
    }

    /// Remembers that this task is the newest that was ever read.
    pub fn raise_newest(&mut self, start: DateTime, id: &TaskId) {
        if self.newest_start.as_ref().is_none_or(|(newest, _)| *newest < start) {
            self.newest_start = Some((start, id.clone()));
        }
    }

    /// Keeps what a reading shows of the known tasks and the journal need not know.
    pub(super) fn remember_tasks(&mut self, reading: &Reading) {
        for (id, known) in &mut self.tasks {
            let is_over = known.closed.is_some();
            match reading.task(id) {
                Some(task) => {
                    known.missing = None;
                    if task.status == TaskStatus::Running {
                        known.saw_running(reading.at);
                    } else if is_over {
                        // Of what is over nothing more is journaled, but that it runs.
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

    /// To be called once after all entries of a journal were folded in at the start: what was running counts
    /// as read running now.
    pub fn wake(&mut self, now: Moment) {
        for task in self.tasks.values_mut().filter(|task| task.running.is_some()) {
            task.running = Some(now);
        }
    }

    /// Keeps which tasks an answer shows. One that is not complete does not show that others are gone.
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

    /// Whether it is not known yet what became of this PUT, and readings will tell.
    pub fn awaits(&self, attempt: AttemptId) -> bool {
        self.tasks.values().any(|task| task.awaits(attempt))
    }

    /// Holds every task that was held back and waits to go out: its wait begins anew with the next decision.
    pub fn hold_what_waits(&mut self) {
        for task in self.tasks.values_mut() {
            if let Some(failure) = task.failure.as_mut().filter(|failure| failure.not_before.is_some()) {
                failure.not_before = None;
                failure.held = true;
                task.decided = None;
            }
        }
    }

    /// Whether a retried task of it runs, or may run.
    pub fn is_in_flight(&self) -> bool {
        self.tasks.values().any(TaskRecord::is_in_flight)
    }
}
