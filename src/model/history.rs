//! What the journal knows of each task: the fold of its events, the same before a restart as after it.
//!
//! Nothing here decides. [`ClusterHistory::apply`] is the only way in which a history changes.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::civil::DateTime;

use super::answer::{Answer, Meaning};
use super::decision::Action;
use super::event::{Closing, Entry, Event, FailureSeen, Settlement, Shape};
use super::id::{AttemptId, TaskId};
use super::moment::Moment;
use super::policy::Terms;
use super::reason::Reason;
use super::task::{AbortDoubt, Abortable, Task, TaskKind, TaskStatus};
use crate::planted::{self, Fault};

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
    /// When the latest thing about the sending was known: the intent, or the answer.
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

/// When and why a task was handed to a human.
#[derive(Debug, Clone, PartialEq)]
pub struct Escalation {
    /// When.
    pub at: Moment,
    /// Why.
    pub reason: Reason,
}

/// Everything the journal knows of one task.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and none excludes another")]
pub struct TaskHistory {
    /// Upgrade or AZ switchover.
    pub kind: TaskKind,
    /// The cluster's name when the task was first seen.
    pub cluster_name: String,
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
    /// The stretch of RUNNING that it is in. Like `running` it ends with a failure or the story; a restart moves nothing
    /// of it. It decides what is told, and nothing else.
    pub run: Option<Run>,
    /// When RUNNING was last read for certain: unlike `running`, a restart does not move it.
    pub running_read: Option<Moment>,
    /// Whether the daemon ever saw it RUNNING.
    pub ever_ran: bool,
    /// Whether it has run since the last failure was first seen.
    pub ran_since_failure: bool,
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
    /// Handed to a human.
    pub escalated: Option<Escalation>,
    /// The end of its story, and when.
    pub closed: Option<(Closing, Moment)>,
    /// It was missing from the last answer.
    pub missing: bool,
    /// Since when every decision says that the reading shows the past.
    pub stale_since: Option<Moment>,
    /// The last decision that was journaled: its verdict's word and its reason.
    pub decided: Option<(String, Reason)>,
    /// The last commands of people that were carried out on it, so that a repeated one acts once.
    pub commands: Vec<String>,
}

/// So many commands are remembered for each task.
const COMMANDS: usize = 16;

impl TaskHistory {
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
        let unknown = matches!(&self.decided, Some((_, Reason::UnknownStatus { .. })));
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

    /// Whether it is not known yet what became of this PUT, and readings will tell.
    fn awaits(&self, attempt: AttemptId) -> bool {
        let open = self.open.as_ref().is_some_and(|open| open.id == attempt);
        let doubt = self.failure.as_ref().and_then(|failure| failure.doubt.as_ref());
        let in_doubt = doubt.is_some_and(|(id, ..)| *id == attempt);
        self.closed.is_none() && self.escalated.is_none() && (open || in_doubt)
    }

    fn new(kind: TaskKind, cluster_name: String, at: Moment) -> Self {
        Self {
            kind,
            cluster_name,
            first_seen: at,
            start_time: None,
            highest_execute_times: None,
            fell_back_to: None,
            counted_execute_times: None,
            most_completed: None,
            running: None,
            run: None,
            running_read: None,
            ever_ran: false,
            ran_since_failure: false,
            failure: None,
            earlier: Vec::new(),
            progressed: false,
            used: Used::default(),
            used_ever: Used::default(),
            attempts: 0,
            waited: Duration::ZERO,
            open: None,
            last_put: None,
            escalated: None,
            closed: None,
            missing: false,
            stale_since: None,
            decided: None,
            commands: Vec::new(),
        }
    }

    fn remember_command(&mut self, command: &str) {
        if self.commands.len() >= COMMANDS {
            self.commands.remove(0);
        }
        self.commands.push(command.to_owned());
    }

    /// A human gave it back.
    fn reset(&mut self, at: Moment, failed: Option<&(String, Shape)>) {
        self.escalated = None;
        if let Some(open) = self.open.take() {
            self.last_put = Some(open.sent);
        }
        self.used = Used::default();
        self.used_ever = Used::default();
        self.waited = Duration::ZERO;
        self.stale_since = None;
        self.decided = None;
        let Some(failure) = &mut self.failure else { return };
        if let Some((whole, shape)) = failed {
            self.highest_execute_times = self.highest_execute_times.max(shape.execute_times);
            self.counted_execute_times = self.counted_execute_times.max(shape.execute_times);
            failure.whole.clone_from(whole);
            failure.seen.shape.clone_from(shape);
        }
        failure.wait_from = at;
        failure.wait_at_least = Duration::ZERO;
        failure.waited_from = None;
        failure.held = false;
        failure.not_before = None;
        failure.exhausted = None;
        failure.not_accepted_in_row = 0;
        failure.without_effect_in_row = 0;
        failure.busy = None;
        failure.not_acceptable = None;
        failure.doubt = None;
        failure.touched = None;
    }

    fn count_external(&mut self, external: u32) {
        if !self.progressed {
            self.used.external = self.used.external.saturating_add(external);
        }
        self.used_ever.external = self.used_ever.external.saturating_add(external);
    }

    fn raise_execute_times(&mut self, read: Option<u64>) {
        self.highest_execute_times = self.highest_execute_times.max(read);
    }

    /// Folds one event in.
    #[expect(clippy::too_many_lines, reason = "one arm for each event, in one list")]
    fn apply(&mut self, number: u64, at: Moment, event: &Event) {
        match event {
            Event::FirstSeen { start_time, execute_times, completed, external, .. } => {
                self.start_time = *start_time;
                self.raise_execute_times(*execute_times);
                self.counted_execute_times = *execute_times;
                self.most_completed = *completed;
                self.count_external(*external);
            }
            Event::Running { execute_times } => {
                self.raise_execute_times(*execute_times);
                self.saw_running(at);
                self.run.get_or_insert(Run { since: at, progress: at, too_long: None });
                if matches!(self.closed, Some((Closing::Remedied | Closing::SolvedByOthers, _))) {
                    self.closed = None;
                }
            }
            Event::Progress { completed } => {
                self.most_completed = Some(*completed);
                if let Some(run) = &mut self.run {
                    run.progress = at;
                }
                self.progressed = true;
                self.used = Used::default();
                self.waited = Duration::ZERO;
                if let Some(open) = &mut self.open {
                    open.before_progress = true;
                } else if let Some(failure) = self.failure.as_mut().filter(|_| !self.ran_since_failure) {
                    // Progress of the same failure, read late: the backoff begins anew and sends nothing by itself.
                    failure.wait_from = at;
                    failure.exhausted = None;
                }
            }
            Event::RunningTooLong { .. } => {
                if let Some(run) = &mut self.run {
                    run.too_long = Some(at);
                }
            }
            Event::Failed(seen) => self.fail(at, seen),
            Event::Changed { whole, shape } => {
                self.raise_execute_times(shape.execute_times);
                self.counted_execute_times = self.counted_execute_times.or(shape.execute_times);
                // What it completed belongs to the present failure itself.
                self.progressed = false;
                if let Some(failure) = &mut self.failure {
                    failure.whole.clone_from(whole);
                    failure.seen.shape.clone_from(shape);
                }
            }
            Event::Touched { changed } => {
                if let Some(failure) = &mut self.failure {
                    failure.touched = Some(changed.clone());
                }
            }
            Event::FellBack { read, .. } => self.fell_back_to = Some(*read),
            Event::Missing => self.missing = true,
            Event::Reappeared => {
                self.missing = false;
                if matches!(self.closed, Some((Closing::Gone, _))) {
                    self.closed = None;
                }
            }
            Event::SettlingReading { attempt, effect, status, shape } => {
                if let Some(open) = self.open.as_mut().filter(|open| open.id == *attempt) {
                    open.first_reading.get_or_insert(at);
                    open.reading = Some(SettlingReading {
                        at,
                        effect: *effect,
                        status: status.clone(),
                        shape: shape.clone(),
                    });
                }
            }
            Event::Settled { attempt, settlement } => self.settle(at, *attempt, *settlement),
            Event::Intent { action, waited, reason, .. } => {
                if let Reason::ByHand { command, .. } = reason {
                    self.remember_command(command);
                }
                self.waited = self.waited.saturating_add(*waited);
                self.stale_since = None;
                self.decided = None;
                self.attempts = self.attempts.saturating_add(1);
                self.open = Some(OpenAttempt {
                    id: AttemptId(number),
                    action: *action,
                    sent: at,
                    answer: None,
                    settle_from: at,
                    ran: false,
                    before_progress: false,
                    reading: None,
                    first_reading: None,
                });
                if let Some(failure) = &mut self.failure {
                    failure.held = false;
                    failure.not_before = None;
                    if *action == Action::Retry {
                        failure.exhausted = None;
                    }
                    failure.waited_from = Some(failure.wait_from);
                }
            }
            Event::Answered { attempt, answer } => self.answered(at, *attempt, answer),
            Event::NotSent { attempt } => {
                if self.open.as_ref().is_some_and(|open| open.id == *attempt) {
                    self.open = None;
                    if let Some(failure) = &mut self.failure {
                        failure.held = true;
                        failure.not_accepted_in_row = failure.not_accepted_in_row.saturating_add(1);
                    }
                }
            }
            Event::StillThere { attempt } => {
                if let Some(failure) = &mut self.failure
                    && failure.doubt.as_ref().is_some_and(|(id, ..)| id == attempt)
                {
                    failure.doubt = None;
                    failure.held = true;
                }
            }
            Event::Decided { verdict, reason } => self.decided(at, verdict, reason),
            Event::Escalated { reason } => {
                self.escalated = Some(Escalation { at, reason: reason.clone() });
            }
            Event::Reset { command, failed, .. } => {
                self.remember_command(command);
                self.reset(at, failed.as_ref());
            }
            Event::Closed(closing) => {
                self.closed = Some((closing.clone(), at));
                // What is gone may come back, and the PUT may have been accepted all the same.
                if *closing != Closing::Gone {
                    self.open = None;
                }
                self.running = None;
                self.run = None;
            }
            // Of the project, not of the task.
            Event::BreakerOpened { .. } | Event::BreakerClosed { .. } => {}
        }
    }

    /// Takes note of a RUNNING reading. Not journaled each time: after a restart the last one counts as read
    /// at the start, which can only lengthen a wait.
    pub fn saw_running(&mut self, at: Moment) {
        self.running = Some(at);
        self.running_read = Some(at);
        self.ever_ran = true;
        self.ran_since_failure = true;
        if let Some(open) = &mut self.open {
            open.ran = true;
        }
    }

    fn fail(&mut self, at: Moment, seen: &FailureSeen) {
        let mut external = seen.external;
        match self.failure.take() {
            // The same one twice: it was kept although the journal said that it could not be, and was seen again.
            Some(twice) if twice.seen.number == seen.number => {
                external = external.saturating_sub(twice.seen.external);
            }
            Some(earlier) => self.earlier.push((earlier.seen.shape, earlier.whole)),
            None => {}
        }
        self.raise_execute_times(seen.shape.execute_times);
        self.counted_execute_times = self.counted_execute_times.max(seen.shape.execute_times);
        self.count_external(external);
        self.progressed = false;
        self.running = None;
        self.run = None;
        self.ran_since_failure = false;
        self.stale_since = None;
        self.decided = None;
        if matches!(self.closed, Some((Closing::Remedied | Closing::SolvedByOthers, _))) {
            self.closed = None;
        }
        let first_seen = Moment {
            wall: at
                .wall
                .checked_sub(jiff::SignedDuration::try_from(seen.seen_before).unwrap_or_default())
                .unwrap_or(at.wall),
            mono: super::moment::Mono(
                at.mono.0.saturating_sub(i64::try_from(seen.seen_before.as_millis()).unwrap_or(0)),
            ),
        };
        self.failure = Some(Failure {
            seen: seen.clone(),
            first_seen,
            whole: seen.whole.clone(),
            accepted: 0,
            wait_from: first_seen,
            wait_at_least: Duration::ZERO,
            waited_from: None,
            held: false,
            not_before: None,
            exhausted: None,
            not_accepted_in_row: 0,
            without_effect_in_row: 0,
            busy: None,
            not_acceptable: None,
            doubt: None,
            touched: None,
        });
    }

    /// Counts a retry of ours as accepted.
    fn use_retry(&mut self, before_progress: bool) {
        if !before_progress {
            self.used.ours = self.used.ours.saturating_add(1);
        }
        self.used_ever.ours = self.used_ever.ours.saturating_add(1);
        if let Some(failure) = &mut self.failure {
            failure.accepted = failure.accepted.saturating_add(1);
            failure.not_accepted_in_row = 0;
            failure.busy = None;
        }
    }

    fn settle(&mut self, at: Moment, attempt: AttemptId, settlement: Settlement) {
        let Some(open) = self.open.take_if(|open| open.id == attempt) else { return };
        self.last_put = Some(open.sent);
        match settlement {
            Settlement::Accepted => {
                self.use_retry(open.before_progress);
                if planted::is(Fault::UnknownCountsAsTwo) && !open.is_answered() {
                    self.use_retry(open.before_progress);
                }
            }
            Settlement::WithoutEffect => {
                self.use_retry(open.before_progress);
                if let Some(failure) = &mut self.failure {
                    failure.without_effect_in_row = failure.without_effect_in_row.saturating_add(1);
                    failure.wait_from = at;
                    failure.wait_at_least = Duration::ZERO;
                }
            }
            Settlement::NotAccepted => {
                if let Some(failure) = &mut self.failure {
                    failure.not_accepted_in_row = failure.not_accepted_in_row.saturating_add(1);
                }
            }
        }
    }

    fn answered(&mut self, at: Moment, attempt: AttemptId, answer: &Answer) {
        let Some(open) = self.open.as_mut().filter(|open| open.id == attempt) else { return };
        let retry_after = answer.retry_after.unwrap_or_default();
        match answer.meaning {
            Meaning::Accepted if open.action == Action::Abort => {
                self.open = None;
                self.closed = Some((Closing::Aborted, at));
                return;
            }
            Meaning::Unknown if planted::is(Fault::UnknownCountsAsNone) => {}
            Meaning::Accepted | Meaning::Unknown => {
                open.answer = Some(answer.clone());
                open.sent = at;
                open.settle_from = at.after(retry_after);
                return;
            }
            Meaning::Busy
            | Meaning::GoneOrForbidden
            | Meaning::WrongAddress
            | Meaning::NotAcceptable
            | Meaning::Unauthorized
            | Meaning::ForbiddenCluster
            | Meaning::ForbiddenProject => {}
        }
        self.open = None;
        let Some(failure) = &mut self.failure else { return };
        match answer.meaning {
            Meaning::Busy => {
                failure.wait_from = at;
                failure.wait_at_least = retry_after;
                let since = failure.busy.as_ref().map_or(at, |(since, _)| *since);
                failure.busy = Some((since, answer.clone()));
            }
            Meaning::GoneOrForbidden => failure.doubt = Some((attempt, at, answer.clone())),
            Meaning::NotAcceptable => failure.not_acceptable = Some(answer.clone()),
            Meaning::WrongAddress
            | Meaning::Unauthorized
            | Meaning::ForbiddenCluster
            | Meaning::ForbiddenProject => {
                failure.held = true;
            }
            Meaning::Accepted | Meaning::Unknown => {}
        }
    }

    fn decided(&mut self, at: Moment, verdict: &str, reason: &Reason) {
        self.decided = Some((verdict.to_owned(), reason.clone()));
        let before = self.stale_since;
        self.stale_since = matches!(reason, Reason::StaleReading).then(|| before.unwrap_or(at));
        let Some(failure) = &mut self.failure else { return };
        match reason {
            Reason::HeldUntilNow { until } => {
                failure.held = false;
                let wait = until.duration_since(at.wall).unsigned_abs();
                failure.not_before = Some(at.after(wait));
            }
            Reason::AbortPending { .. } if failure.exhausted.is_none() => failure.exhausted = Some(at),
            // Another policy has taken the abort back: should it come again, it is told again.
            Reason::Backoff { .. } => failure.exhausted = None,
            _ if verdict == "held" => failure.held = true,
            _ => {}
        }
    }
}

/// Everything the journal knows of one cluster.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClusterHistory {
    /// Its tasks that were ever seen running or failed.
    pub tasks: BTreeMap<TaskId, TaskHistory>,
    /// The start of the newest task ever read, so that an older one is never taken for the newest. Readings
    /// raise it too.
    pub newest_start: Option<(DateTime, TaskId)>,
}

impl ClusterHistory {
    /// That of a cluster of which nothing is known.
    pub const EMPTY: Self = Self { tasks: BTreeMap::new(), newest_start: None };

    /// Folds one entry in. Entries of other clusters must not be given.
    pub fn apply(&mut self, entry: &Entry) {
        let id = &entry.subject.task;
        if let Event::FirstSeen { kind, cluster_name, start_time, .. } = &entry.event {
            if let Some(known) = self.tasks.get(id) {
                // Kept although the journal said that it could not be, and seen again: its story begins here.
                if known.attempts > 0 || known.closed.is_some() || known.escalated.is_some() {
                    return;
                }
                self.tasks.remove(id);
            }
            let task = self.tasks.entry(id.clone());
            task.or_insert_with(|| TaskHistory::new(*kind, cluster_name.clone(), entry.at));
            if let Some(start) = start_time {
                self.raise_newest(*start, id);
            }
        }
        if let Some(task) = self.tasks.get_mut(id) {
            task.apply(entry.number, entry.at, &entry.event);
        }
    }

    /// The newest task that there is a story of.
    pub fn newest(&self) -> Option<(&TaskId, &TaskHistory)> {
        self.tasks.iter().max_by_key(|(_, task)| task.start_time)
    }

    /// Remembers that this task is the newest that was ever read.
    pub fn raise_newest(&mut self, start: DateTime, id: &TaskId) {
        if self.newest_start.as_ref().is_none_or(|(newest, _)| *newest < start) {
            self.newest_start = Some((start, id.clone()));
        }
    }

    /// To be called once after all entries of a journal were folded in at the start: what was running counts
    /// as read running now.
    pub fn wake(&mut self, now: Moment) {
        for task in self.tasks.values_mut().filter(|task| task.running.is_some()) {
            task.running = Some(now);
        }
        if planted::is(Fault::BackoffRestarts) {
            let failures = self.tasks.values_mut().filter_map(|task| task.failure.as_mut());
            failures.for_each(|failure| failure.wait_from = now);
        }
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
        self.tasks.values().any(TaskHistory::is_in_flight)
    }
}
