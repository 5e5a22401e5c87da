//! The fold: how each event changes the record of its task.

use std::time::Duration;

use super::{Decided, Escalation, Failure, OpenAttempt, Run, SettlingReading, TaskRecord, Used};
use crate::model::answer::{Answer, Meaning};
use crate::model::cluster::Traits;
use crate::model::decision::{Action, PassiveVerdict};
use crate::model::event::{Confirmation, Event, FailureSeen, Outcome, Shape};
use crate::model::id::AttemptId;
use crate::model::moment::Moment;
use crate::model::reason::Reason;
use crate::model::task::TaskKind;

/// The number of commands that are remembered for each task.
const COMMANDS: usize = 16;

impl TaskRecord {
    pub(super) fn new(kind: TaskKind, (cluster_name, traits): (String, Traits), at: Moment) -> Self {
        Self {
            kind,
            cluster_name,
            traits,
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
            first_failed: None,
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
            missing: None,
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

    /// Folds in a reset by an operator.
    fn reset(&mut self, at: Moment, failed: Option<&(String, Shape)>) {
        self.escalated = None;
        if let Some(open) = self.open.take() {
            self.last_put = Some(open.sent);
        }
        self.used = Used::default();
        self.used_ever = Used::default();
        self.waited = Duration::ZERO;
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
        failure.unpolled = None;
        failure.exhausted = None;
        failure.not_accepted_in_row = 0;
        failure.without_effect_in_row = 0;
        failure.busy = None;
        failure.not_acceptable = None;
        failure.doubt = None;
        failure.touched = None;
    }

    /// Folds in that it can be polled again: overdue requests wait once more, and a pending abort
    /// is announced again.
    fn unpolled(&mut self, at: Moment) {
        let Some(failure) = &mut self.failure else { return };
        failure.unpolled = Some(at);
        if failure.exhausted.take().is_some() {
            self.decided = None;
        }
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
    pub(super) fn apply(&mut self, number: u64, at: Moment, event: &Event) {
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
                if matches!(self.closed, Some((Outcome::ResolvedByRetry | Outcome::ResolvedExternally, _))) {
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
                    // Progress of the same failure, polled late: the backoff begins again and sends
                    // nothing by itself.
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
            Event::AgeJudged { too_old } => {
                if let Some(failure) = &mut self.failure {
                    failure.seen.too_old = *too_old;
                    failure.seen.age_unknown = false;
                }
            }
            Event::Unpolled => self.unpolled(at),
            Event::Changed { whole, shape } => {
                self.raise_execute_times(shape.execute_times);
                self.counted_execute_times = self.counted_execute_times.or(shape.execute_times);
                // A node that it completed belongs to the present failure itself.
                self.progressed = false;
                if let Some(failure) = &mut self.failure {
                    failure.whole.clone_from(whole);
                    failure.seen.shape.clone_from(shape);
                }
            }
            Event::ChangedExternally { changed } => {
                if let Some(failure) = &mut self.failure {
                    failure.touched = Some(changed.clone());
                }
            }
            Event::FellBack { read, .. } => self.fell_back_to = Some(*read),
            Event::Missing => {
                self.missing.get_or_insert(at);
            }
            Event::Reappeared => {
                self.missing = None;
                if matches!(self.closed, Some((Outcome::Gone, _))) {
                    self.closed = None;
                    self.unpolled(at);
                }
            }
            Event::ConfirmingPoll { attempt, effect, status, shape } => {
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
            Event::Confirmed { attempt, settlement } => self.settle(at, *attempt, *settlement),
            Event::Intent { action, waited, reason, .. } => {
                if let Reason::Manual { command, .. } = reason {
                    self.remember_command(command);
                }
                self.waited = self.waited.saturating_add(*waited);
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
                    failure.unpolled = None;
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
            Event::Decided { verdict, reason } => self.decided(at, *verdict, reason),
            Event::Escalated { reason } => {
                self.escalated = Some(Escalation { at, reason: reason.clone() });
            }
            Event::Reset { command, failed, .. } => {
                self.remember_command(command);
                self.reset(at, failed.as_ref());
            }
            Event::Ended(outcome) => {
                self.closed = Some((outcome.clone(), at));
                // A task that is gone may come back, and the PUT may have been accepted.
                if *outcome != Outcome::Gone {
                    self.open = None;
                }
                self.running = None;
                self.run = None;
            }
            // This event concerns the cluster or the project, not the task.
            Event::NewestSeen { .. } | Event::BreakerOpened { .. } | Event::BreakerClosed { .. } => {}
        }
    }

    /// Takes in a poll with RUNNING. Not journaled each time: after a restart the last one counts
    /// as polled at the start, which can only lengthen a wait.
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
            // The same one twice: it was written although the journal reported an error, and was
            // seen again.
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
        self.decided = None;
        if matches!(self.closed, Some((Outcome::ResolvedByRetry | Outcome::ResolvedExternally, _))) {
            self.closed = None;
        }
        let first_seen = at.before(seen.seen_before);
        self.first_failed.get_or_insert(first_seen);
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
            unpolled: None,
            exhausted: None,
            not_accepted_in_row: 0,
            without_effect_in_row: 0,
            busy: None,
            not_acceptable: None,
            doubt: None,
            touched: None,
        });
    }

    /// Counts an accepted retry of the daemon.
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

    fn settle(&mut self, at: Moment, attempt: AttemptId, settlement: Confirmation) {
        let Some(open) = self.open.take_if(|open| open.id == attempt) else { return };
        self.last_put = Some(open.sent);
        match settlement {
            Confirmation::Accepted => self.use_retry(open.before_progress),
            Confirmation::WithoutEffect => {
                self.use_retry(open.before_progress);
                if let Some(failure) = &mut self.failure {
                    failure.without_effect_in_row = failure.without_effect_in_row.saturating_add(1);
                    failure.wait_from = at;
                    failure.wait_at_least = Duration::ZERO;
                }
            }
            Confirmation::NotAccepted => {
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
                self.closed = Some((Outcome::Aborted, at));
                return;
            }
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

    fn decided(&mut self, at: Moment, verdict: PassiveVerdict, reason: &Reason) {
        let before = self.decided.take().filter(|before| before.reason.tells_the_same_as(reason));
        let since = before.map_or(at, |before| before.since);
        self.decided = Some(Decided { verdict, reason: reason.clone(), since });
        let Some(failure) = &mut self.failure else { return };
        match reason {
            Reason::WasBlocked { until } => {
                failure.held = false;
                let wait = until.duration_since(at.wall).unsigned_abs();
                failure.not_before = Some(at.after(wait));
            }
            Reason::AbortPending { .. } if failure.exhausted.is_none() => failure.exhausted = Some(at),
            // Another policy has withdrawn the abort: if it is due again, it is announced again.
            Reason::Backoff { .. } => failure.exhausted = None,
            _ if verdict == PassiveVerdict::Blocked => failure.held = true,
            _ => {}
        }
    }
}
