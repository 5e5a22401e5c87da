//! The decision: what to do about one cluster now, and why.
//!
//! Pure: it never reads a clock, logs or waits, and equal inputs give equal decisions. A [`step()`]
//! first works out what a poll adds to the state (`observe`); the rules then check the state with
//! that folded in. `docs/safety.md` has the same rules, in one list, in their order:
//! `FailedTask::judge`.

use std::time::Duration;

use crate::model::decision::{Action, Decision, Order, Verdict};
use crate::model::event::Outcome;
use crate::model::moment::Moment;
use crate::model::policy::{Mode, OnExhausted, Terms};
use crate::model::project::{MAX_BUSY, MAX_READING_AGE, Poll, UNCLEAR_PATIENCE};
use crate::model::project_state::ProjectState;
use crate::model::reason::Reason;
use crate::model::record::{ClusterRecord, Failure, TaskRecord};
use crate::model::task::{Task, TaskStatus};
use crate::model::window::WindowState::Closed;

pub mod backoff;
pub mod breaker;
pub mod expect;
pub mod explain;
pub mod govern;
pub mod manual;
pub mod newest;
mod news;
mod observe;
pub mod outlook;
pub mod preconditions;
pub mod step;
#[cfg(test)]
mod tests;

pub use newest::NewestTask;
use news::news;
pub use outlook::{foresee, outlook};
pub use preconditions::Preconditions;
pub use step::{Step, StepInput, step};

/// After this number of requests in a row that were not accepted, an unknown outcome is escalated.
const NOT_ACCEPTED_LIMIT: u32 = 3;
/// After this number of accepted retries in a row without effect, the task is escalated.
const WITHOUT_EFFECT_LIMIT: u32 = 2;
/// A request that no poll confirmed for this long after it could first have been confirmed is
/// escalated.
const CONFIRMATION_PATIENCE: Duration = Duration::from_hours(1);

/// Returns what to do about the cluster, from the state after the poll.
pub(crate) fn decide(state: &ProjectState, input: StepInput<'_>, now: Moment) -> Decision {
    let (record, poll) = (input.record(state), &input.rules.poll);
    let wait = |task: Option<&Task>, reason, next_poll| Decision {
        task: task.map(|task| task.id.clone()),
        verdict: Verdict::Wait,
        reason,
        next_poll,
    };
    let newest = input.newest(state);
    if let Some(decision) = open_abort(&newest, state, input, now) {
        return decision;
    }
    let task = match newest {
        NewestTask::Nothing => return wait(None, Reason::Idle, poll.idle_interval),
        NewestTask::Running(task) => {
            return wait(Some(task), running(task), pace_of_running(task, record, poll));
        }
        NewestTask::Newest(task) => task,
        NewestTask::Uncertain(reason) => {
            let next_poll = match reason {
                Reason::ListIncomplete => poll.active_interval,
                Reason::RunningMissing { .. } => poll.settle_interval,
                _ => poll.idle_interval,
            };
            return wait(None, reason, next_poll);
        }
    };
    match (&task.status, record.tasks.get(&task.id)) {
        // Whatever the API continues to show of it.
        (_, Some(known)) if matches!(known.outcome(), Some(Outcome::Aborted)) => {
            wait(Some(task), Reason::AbortedByUs, poll.idle_interval)
        }
        (TaskStatus::Success | TaskStatus::Running, known) => {
            let confirming = known.is_some_and(|known| known.open_retry().is_some());
            let next_poll = if confirming { poll.settle_interval } else { poll.idle_interval };
            wait(Some(task), Reason::Idle, next_poll)
        }
        (TaskStatus::Other(word), known) => {
            // An unknown status may hide the outcome of a request for ever: the daemon waits no
            // longer than for any other task.
            let untold = known.filter(|known| known.is_pending());
            let attempt =
                untold.and_then(|known| FailedTask { state, input, task, known, now }.open_attempt());
            if let Some((Verdict::Escalate, reason, next_poll)) = attempt {
                return Decision {
                    task: Some(task.id.clone()),
                    verdict: Verdict::Escalate,
                    reason,
                    next_poll,
                };
            }
            wait(Some(task), Reason::UnknownStatus { word: word.clone() }, poll.active_interval)
        }
        // The record does not have this failure yet: the next poll adds it, if only this cluster
        // shows the task.
        (TaskStatus::Failed | TaskStatus::PartialFailed, None) => {
            match input.shown_elsewhere(state, &task.id) {
                Some(other) => {
                    wait(Some(task), Reason::SharedTask { other: other.clone() }, poll.active_interval)
                }
                None => wait(Some(task), Reason::StalePoll, poll.settle_interval),
            }
        }
        (TaskStatus::Failed | TaskStatus::PartialFailed, Some(known)) => {
            let case = FailedTask { state, input, task, known, now };
            let (verdict, reason, next_poll) = case.judge();
            Decision { task: Some(task.id.clone()), verdict, reason, next_poll }
        }
    }
}

/// An abort of unknown outcome is escalated, whatever the task shows now: it may run again after an
/// external retry.
fn open_abort(
    newest: &NewestTask<'_>,
    state: &ProjectState,
    input: StepInput<'_>,
    now: Moment,
) -> Option<Decision> {
    let task = newest.task()?;
    let known = input.record(state).tasks.get(&task.id);
    let known = known.filter(|known| known.is_pending())?;
    known.open.as_ref().filter(|open| open.action == Action::Abort)?;
    let (verdict, reason, _) = FailedTask { state, input, task, known, now }.open_attempt()?;
    let poll = &input.rules.poll;
    let next_poll =
        if task.status == TaskStatus::Running { poll.active_interval } else { poll.idle_interval };
    Some(Decision { task: Some(task.id.clone()), verdict, reason, next_poll })
}

fn running(task: &Task) -> Reason {
    let total = u32::try_from(task.total_nodes.len()).unwrap_or(u32::MAX);
    Reason::Running { done: task.completed.count(), total, execution: task.execute_times }
}

/// A task that runs after a PUT of ours is polled often until the outcome is confirmed.
fn pace_of_running(task: &Task, record: &ClusterRecord, poll: &Poll) -> Duration {
    let confirming = record.tasks.get(&task.id).is_some_and(|known| known.open_retry().is_some());
    if confirming { poll.settle_interval } else { poll.active_interval }
}

type Judgement = (Verdict, Reason, Duration);

/// A failed task, the newest of its cluster, with everything that is known of it.
struct FailedTask<'a> {
    state: &'a ProjectState,
    input: StepInput<'a>,
    task: &'a Task,
    known: &'a TaskRecord,
    now: Moment,
}

impl FailedTask<'_> {
    fn poll(&self) -> &Poll {
        &self.input.rules.poll
    }

    fn preconditions(&self) -> Preconditions<'_> {
        self.input.preconditions(self.state)
    }

    /// The rules, in their order. The first one with a decision applies.
    fn judge(&self) -> Judgement {
        let Some(failure) = &self.known.failure else { return self.confirming(Reason::StalePoll) };
        self.closed()
            .or_else(|| self.needs_operator())
            .or_else(|| self.open_attempt())
            .or_else(|| self.stale(failure))
            .or_else(|| self.shared())
            .or_else(|| too_old(self, failure))
            .or_else(|| lost_cause(self, failure))
            .or_else(|| checking_if_gone(self, failure))
            .or_else(|| self.not_listed())
            .unwrap_or_else(|| match self.input.terms(self.task) {
                None => self.blocked(Reason::NoPolicy),
                Some(terms) => self.by_policy(terms, failure),
            })
    }

    fn closed(&self) -> Option<Judgement> {
        let reason = match self.known.outcome()? {
            Outcome::Aborted => Reason::AbortedByUs,
            Outcome::Superseded { .. } | Outcome::Gone => Reason::Ended,
            // The task succeeded before, and this poll shows a failure: an old one until it is
            // observed as new.
            Outcome::ResolvedByRetry | Outcome::ResolvedExternally => Reason::StalePoll,
        };
        Some(self.idle(reason))
    }

    fn needs_operator(&self) -> Option<Judgement> {
        let escalation = self.known.escalated.as_ref()?;
        let why = escalation.reason.code().to_owned();
        let reason = Reason::NeedsOperator { since: escalation.at.wall, why };
        // The request of an operator since then is confirmed like any other.
        let sent = self.known.open_retry().is_some_and(|open| open.sent.mono >= escalation.at.mono);
        Some(if sent { self.confirming(reason) } else { self.idle(reason) })
    }

    /// Allows no PUT while an earlier one may have been accepted.
    fn open_attempt(&self) -> Option<Judgement> {
        let open = self.known.open.as_ref()?;
        let age = self.now.since(open.sent);
        if open.action == Action::Abort {
            return Some(
                self.escalate(Reason::AbortUnknown { attempt: open.id, answer: open.answer.clone() }),
            );
        }
        let poll = self.poll();
        let nothing_to_tell_by = self.task.execute_times.is_none() && self.task.end_time.is_none();
        if nothing_to_tell_by && !open.is_answered() && !open.ran && age >= poll.settle_timeout {
            let detail = "neither executeTimes nor endTime can be read".to_owned();
            return Some(self.escalate(Reason::CannotConfirm { attempt: open.id, detail }));
        }
        // While the cluster could not be polled, or the API had asked to wait, no two polls could
        // agree.
        let confirmable =
            [Some(open.sent.after(poll.settle_timeout)), Some(open.settle_from), open.first_reading];
        let confirmable = confirmable.into_iter().flatten().max_by_key(|from| from.mono);
        if confirmable.is_some_and(|from| self.now.since(from) >= CONFIRMATION_PATIENCE) {
            let detail = format!("no two polls agreed for {}", crate::model::text::span(age));
            return Some(self.escalate(Reason::CannotConfirm { attempt: open.id, detail }));
        }
        let answered = open.is_answered();
        Some(self.confirming(Reason::OutcomeUnknown { attempt: open.id, action: open.action, answered }))
    }

    /// Allows a request only for the failure that the journal has as the present one, field by
    /// field.
    fn stale(&self, failure: &Failure) -> Option<Judgement> {
        if failure.touched.is_some() {
            return None;
        }
        let present =
            self.task.whole.as_deref() == Some(failure.whole.as_str()) && !self.known.ran_since_failure;
        (!present).then(|| self.confirming(Reason::StalePoll))
    }

    /// Allows no PUT while two clusters show the task. If that lasts, an operator has to find out
    /// why.
    fn shared(&self) -> Option<Judgement> {
        let other = self.input.shown_elsewhere(self.state, &self.task.id)?;
        let reason = Reason::SharedTask { other: other.clone() };
        let before = self.known.decided.as_ref().filter(|decided| decided.reason == reason);
        if before.is_some_and(|decided| self.now.since(decided.since) >= UNCLEAR_PATIENCE) {
            return Some(self.escalate(reason));
        }
        Some((Verdict::Wait, reason, self.poll().active_interval))
    }

    /// The governing policy is known only after a list shows the cluster: its tags may have
    /// changed.
    fn not_listed(&self) -> Option<Judgement> {
        let poll = self.poll();
        self.input.listed.is_none().then_some((Verdict::Wait, Reason::NotListed, poll.active_interval))
    }

    /// Returns what the governing policy says, if no other rule applies.
    fn by_policy(&self, terms: &Terms, failure: &Failure) -> Judgement {
        let retry = &terms.retry;
        let used = self.known.retries_used(terms);
        let partial = self.task.status == TaskStatus::PartialFailed;
        if partial && !retry.retry_partial_failed {
            return self.escalate(Reason::PartialFailed { used });
        }
        if used >= retry.max_retries {
            return self.exhausted(terms, failure, used);
        }
        let backoff = self.backoff(terms, failure, used);
        let due = failure.wait_from.after(backoff);
        if self.now.mono < due.mono {
            let until = due.wall_by(self.now);
            let reason = match &failure.busy {
                Some((_, answer)) => Reason::ServiceBusy { answer: answer.clone(), until },
                None => {
                    Reason::Backoff { retry: used + 1, max_retries: retry.max_retries, wait: backoff, until }
                }
            };
            return self.until(reason, due);
        }
        let this_wait = if failure.waited_from == Some(failure.wait_from) { Duration::ZERO } else { backoff };
        let waited = self.known.waited.saturating_add(this_wait);
        if let Some(limit) = retry.max_elapsed_time
            && waited > limit
        {
            return self.escalate(Reason::MaxElapsedTime { waited, limit, left: retry.max_retries - used });
        }
        if let Some(not_before) = failure.not_before.filter(|not_before| self.now.mono < not_before.mono) {
            return self.until(Reason::WasBlocked { until: not_before.wall_by(self.now) }, not_before);
        }
        if let Some(wait) = self.after_hold(terms, failure, due) {
            return wait;
        }
        let reason = Reason::RetryDue { retry: used + 1, max_retries: retry.max_retries, waited: this_wait };
        self.act(terms, failure, Order::Retry(self.task.id.clone()), reason)
    }

    /// The retries are exhausted: abort if that is safe and configured, otherwise escalate.
    fn exhausted(&self, terms: &Terms, failure: &Failure, used: u32) -> Judgement {
        let external = self.known.external_used(terms);
        if self.task.status == TaskStatus::PartialFailed {
            return self.escalate(Reason::PartialFailed { used });
        }
        if terms.on_exhausted == OnExhausted::Escalate {
            return self.escalate(Reason::RetriesExhausted { used, external });
        }
        let abortable = match self.known.abortable(self.task) {
            Ok(abortable) => abortable,
            Err(doubt) => return self.escalate(Reason::NodeCompleted { used, doubt }),
        };
        // Only a failure that was first seen under the terms in force can become an abort.
        if failure.seen.terms.as_ref() != Some(terms) {
            let first = failure.seen.terms.as_ref().map(|first| first.policy.clone());
            return self.escalate(Reason::PolicyChanged { used, first, now: terms.policy.clone() });
        }
        if terms.mode == Mode::Enforce {
            let grace = terms.abort_grace;
            let exhausted = failure.exhausted.unwrap_or(self.now);
            let graced = exhausted.after(grace);
            // So soon after a PUT of ours the poll may show the end of an external retry, while
            // ours runs.
            let settle_timeout = self.poll().settle_timeout;
            let confirmed = self.known.last_put.map(|put| put.after(settle_timeout));
            let confirmed = confirmed.filter(|confirmed| graced.mono < confirmed.mono);
            let due = confirmed.unwrap_or(graced);
            if failure.exhausted.is_none() || self.now.mono < due.mono {
                let after_put = confirmed.map(|_| settle_timeout);
                let until = due.wall_by(self.now);
                return self.until(Reason::AbortPending { used, external, grace, after_put, until }, due);
            }
            // The grace continued during a hold. After the release the operator has a time to
            // object.
            if let Some(wait) = self.after_hold(terms, failure, exhausted) {
                return wait;
            }
        }
        if let Some((_, answer)) = &failure.busy {
            let due = failure.wait_from.after(self.backoff(terms, failure, used));
            if self.now.mono < due.mono {
                return self.until(
                    Reason::ServiceBusy { answer: answer.clone(), until: due.wall_by(self.now) },
                    due,
                );
            }
        }
        if let Some(not_before) = failure.not_before.filter(|not_before| self.now.mono < not_before.mono) {
            return self.until(Reason::WasBlocked { until: not_before.wall_by(self.now) }, not_before);
        }
        let reason =
            Reason::AbortDue { used, max_retries: terms.retry.max_retries, grace: terms.abort_grace };
        self.act(terms, failure, Order::Abort(abortable), reason)
    }

    /// A request is due: send it, unless something other than time blocks it.
    fn act(&self, terms: &Terms, failure: &Failure, order: Order, reason: Reason) -> Judgement {
        if let Some(reason) = self.blocks(terms, order.action()).into_iter().next() {
            return self.blocked(reason);
        }
        let took = self.input.reading.at.age(self.input.reading.asked);
        if took > MAX_READING_AGE {
            return self.confirming(Reason::SlowPoll { took });
        }
        if failure.held && !self.preconditions().probes_at_once() {
            // The block has ended. Overdue requests wait first.
            let due = self.now.after(backoff::first_wait(&terms.retry, self.draw(failure)));
            return self.until(Reason::WasBlocked { until: due.wall_by(self.now) }, due);
        }
        (Verdict::Act(order), reason, self.poll().settle_interval)
    }

    /// Returns everything other than time that blocks this request now, in the order of its
    /// announcement.
    fn blocks(&self, terms: &Terms, action: Action) -> Vec<Reason> {
        let (cluster, now) = (&self.input.cluster.id, self.now);
        let hold = self.preconditions().on_hold(cluster, now);
        let window = match terms.window.as_ref().map(|window| window.at(now.wall)) {
            Some(Closed { opens }) => Some(Reason::WindowClosed { opens }),
            _ => None,
        };
        let dry_run = (terms.mode == Mode::DryRun).then_some(Reason::DryRun { action });
        let of_project = self.preconditions().blocks(cluster, action, now);
        hold.into_iter().chain(window).chain(dry_run).chain(of_project).collect()
    }

    /// Returns the wait after a hold that ended later than `since`, polled meanwhile or not, or
    /// after a time in which the cluster was unreachable.
    fn after_hold(&self, terms: &Terms, failure: &Failure, since: Moment) -> Option<Judgement> {
        let hold = self.preconditions().hold_ended(&self.input.cluster.id, since, self.now);
        let unpolled = failure.unpolled.filter(|unpolled| since.mono < unpolled.mono);
        let ended = hold.into_iter().chain(unpolled).max_by_key(|ended| ended.mono)?;
        let due = ended.after(backoff::first_wait(&terms.retry, self.draw(failure)));
        (self.now.mono < due.mono)
            .then(|| self.until(Reason::WasBlocked { until: due.wall_by(self.now) }, due))
    }

    fn backoff(&self, terms: &Terms, failure: &Failure, used: u32) -> Duration {
        backoff::wait(&terms.retry, used, self.draw(failure)).max(failure.wait_at_least)
    }

    fn draw(&self, failure: &Failure) -> backoff::Draw<'_> {
        let salt = self.known.used_ever.count(true);
        backoff::Draw { seed: self.input.seed, task: &self.task.id, failure: failure.seen.number, salt }
    }

    fn escalate(&self, reason: Reason) -> Judgement {
        (Verdict::Escalate, reason, self.poll().idle_interval)
    }

    /// Waits for an event from outside.
    fn idle(&self, reason: Reason) -> Judgement {
        (Verdict::Wait, reason, self.poll().idle_interval)
    }

    fn blocked(&self, reason: Reason) -> Judgement {
        let next_poll = match reason {
            Reason::NoPolicy => self.poll().idle_interval,
            _ => self.poll().active_interval,
        };
        (Verdict::Blocked, reason, next_poll)
    }

    fn confirming(&self, reason: Reason) -> Judgement {
        (Verdict::Wait, reason, self.poll().settle_interval)
    }

    /// Waits for `due`, with polls meanwhile.
    fn until(&self, reason: Reason, due: Moment) -> Judgement {
        (Verdict::Wait, reason, due.since(self.now).min(self.poll().active_interval))
    }
}

fn too_old(case: &FailedTask<'_>, failure: &Failure) -> Option<Judgement> {
    let limit = case.poll().max_failure_age;
    let ended = case.task.ended();
    // The wall clock may have been wrong then.
    let first_seen = case.now.before(case.now.since(failure.first_seen)).wall;
    let first_seen = jiff::tz::TimeZone::UTC.to_datetime(first_seen);
    let in_future = ended.is_some_and(|ended| ended > first_seen);
    let ended = ended.map(|ended| ended.to_string());
    failure.seen.too_old.then(|| case.idle(Reason::TooOld { ended, limit, in_future }))
}

/// Returns a failure that no further PUT can end.
fn lost_cause(case: &FailedTask<'_>, failure: &Failure) -> Option<Judgement> {
    if let Some(changed) = &failure.touched {
        return Some(case.escalate(Reason::ChangedExternally { changed: changed.clone() }));
    }
    if let Some(answer) = &failure.not_acceptable {
        return Some(case.escalate(Reason::NotAcceptable { answer: answer.clone() }));
    }
    if failure.without_effect_in_row >= WITHOUT_EFFECT_LIMIT {
        return Some(case.escalate(Reason::WithoutEffect { times: failure.without_effect_in_row }));
    }
    if failure.not_accepted_in_row >= NOT_ACCEPTED_LIMIT {
        return Some(case.escalate(Reason::NotAccepted { times: failure.not_accepted_in_row }));
    }
    match &failure.busy {
        Some((since, answer)) if case.now.since(*since) >= MAX_BUSY => {
            Some(case.escalate(Reason::BusyTooLong { since: since.wall, answer: answer.clone() }))
        }
        _ => None,
    }
}

fn checking_if_gone(case: &FailedTask<'_>, failure: &Failure) -> Option<Judgement> {
    let (_, _, answer) = failure.doubt.as_ref()?;
    Some(case.confirming(Reason::CheckingIfGone { answer: answer.clone() }))
}
