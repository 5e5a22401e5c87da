//! The decision: what to do about one cluster now, and why.
//!
//! Pure: it never reads a clock, logs or waits, and equal inputs give equal decisions. A [`step()`] first says what a poll
//! adds to what is known (`observe`); the rules then judge the state with that folded in. They are those of
//! `docs/safety.md`, in one list, in their order: `FailedTask::judge`.

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

/// Not accepted this often in a row, an unknown outcome is an operator's.
const NOT_ACCEPTED_LIMIT: u32 = 3;
/// Accepted this often in a row without effect, a task is an operator's.
const WITHOUT_EFFECT_LIMIT: u32 = 2;
/// An attempt that no reading settled for this long after it could first have been settled is an operator's.
const SETTLING_PATIENCE: Duration = Duration::from_hours(1);

/// What to do about the cluster, by all that is known once the poll is taken in.
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
        // Whatever the service goes on showing of it.
        (_, Some(known)) if matches!(known.outcome(), Some(Outcome::Aborted)) => {
            wait(Some(task), Reason::AbortedByUs, poll.idle_interval)
        }
        (TaskStatus::Success | TaskStatus::Running, known) => {
            let settling = known.is_some_and(|known| known.open_retry().is_some());
            let next_poll = if settling { poll.settle_interval } else { poll.idle_interval };
            wait(Some(task), Reason::Idle, next_poll)
        }
        (TaskStatus::Other(word), known) => {
            // The word may hide what became of an attempt for ever: that is not waited for longer than elsewhere.
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
        // A failure that is not in the history yet: the next reading brings it there, once it is this cluster's alone.
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

/// An abort of unknown outcome is an operator's, whatever the task shows now: it may run again because others retried it.
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

/// A task that runs after a PUT of ours is read often until the attempt is settled.
fn pace_of_running(task: &Task, record: &ClusterRecord, poll: &Poll) -> Duration {
    let settling = record.tasks.get(&task.id).is_some_and(|known| known.open_retry().is_some());
    if settling { poll.settle_interval } else { poll.active_interval }
}

type Judgement = (Verdict, Reason, Duration);

/// One failed task, newest of its cluster, with all that is known of it.
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

    /// The rules, in their order. The first that speaks decides.
    fn judge(&self) -> Judgement {
        let Some(failure) = &self.known.failure else { return self.settling(Reason::StalePoll) };
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
            // It succeeded before, and this reading shows a failure: an old one until observed as new.
            Outcome::ResolvedByRetry | Outcome::ResolvedExternally => Reason::StalePoll,
        };
        Some(self.idle(reason))
    }

    fn needs_operator(&self) -> Option<Judgement> {
        let escalation = self.known.escalated.as_ref()?;
        let why = escalation.reason.code().to_owned();
        let reason = Reason::NeedsOperator { since: escalation.at.wall, why };
        // What an operator sent since then is settled as soon as anything else.
        let sent = self.known.open_retry().is_some_and(|open| open.sent.mono >= escalation.at.mono);
        Some(if sent { self.settling(reason) } else { self.idle(reason) })
    }

    /// No PUT while an earlier one may have been accepted.
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
        // While nobody could read it, or was asked not to settle it yet, no two readings could agree.
        let could_settle =
            [Some(open.sent.after(poll.settle_timeout)), Some(open.settle_from), open.first_reading];
        let could_settle = could_settle.into_iter().flatten().max_by_key(|from| from.mono);
        if could_settle.is_some_and(|from| self.now.since(from) >= SETTLING_PATIENCE) {
            let detail = format!("no two polls agreed for {}", crate::model::text::span(age));
            return Some(self.escalate(Reason::CannotConfirm { attempt: open.id, detail }));
        }
        let answered = open.is_answered();
        Some(self.settling(Reason::OutcomeUnknown { attempt: open.id, action: open.action, answered }))
    }

    /// Acted on is only what the journal knows as the present failure, to the letter.
    fn stale(&self, failure: &Failure) -> Option<Judgement> {
        if failure.touched.is_some() {
            return None;
        }
        let present =
            self.task.whole.as_deref() == Some(failure.whole.as_str()) && !self.known.ran_since_failure;
        (!present).then(|| self.settling(Reason::StalePoll))
    }

    /// No PUT while it cannot be told whose task it is. Where that lasts, an operator has to find out.
    fn shared(&self) -> Option<Judgement> {
        let other = self.input.shown_elsewhere(self.state, &self.task.id)?;
        let reason = Reason::SharedTask { other: other.clone() };
        let before = self.known.decided.as_ref().filter(|decided| decided.reason == reason);
        if before.is_some_and(|decided| self.now.since(decided.since) >= UNCLEAR_PATIENCE) {
            return Some(self.escalate(reason));
        }
        Some((Verdict::Wait, reason, self.poll().active_interval))
    }

    /// Which policy governs the cluster is known once a list shows it: its tags may have changed.
    fn not_listed(&self) -> Option<Judgement> {
        let poll = self.poll();
        self.input.listed.is_none().then_some((Verdict::Wait, Reason::NotListed, poll.active_interval))
    }

    /// What the governing policy says, once nothing else speaks.
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

    /// Retries are used up: abort where that is safe and wanted, else call an operator.
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
            // So soon after a PUT of ours, what is shown may be the end of somebody else's retry, and ours may run.
            let settle_timeout = self.poll().settle_timeout;
            let settled = self.known.last_put.map(|put| put.after(settle_timeout));
            let settled = settled.filter(|settled| graced.mono < settled.mono);
            let due = settled.unwrap_or(graced);
            if failure.exhausted.is_none() || self.now.mono < due.mono {
                let after_put = settled.map(|_| settle_timeout);
                let until = due.wall_by(self.now);
                return self.until(Reason::AbortPending { used, external, grace, after_put, until }, due);
            }
            // The grace ran on under a hold. Whoever released it gets a while to say no all the same.
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

    /// Something is due: send it, unless something other than time holds it back.
    fn act(&self, terms: &Terms, failure: &Failure, order: Order, reason: Reason) -> Judgement {
        if let Some(reason) = self.blocks(terms, order.action()).into_iter().next() {
            return self.blocked(reason);
        }
        let took = self.input.reading.at.age(self.input.reading.asked);
        if took > MAX_READING_AGE {
            return self.settling(Reason::SlowPoll { took });
        }
        if failure.held && !self.preconditions().probes_at_once() {
            // What held it back has ended. Nothing overdue fires at once.
            let due = self.now.after(backoff::first_wait(&terms.retry, self.draw(failure)));
            return self.until(Reason::WasBlocked { until: due.wall_by(self.now) }, due);
        }
        (Verdict::Act(order), reason, self.poll().settle_interval)
    }

    /// Everything other than time that blocks this request now, in the order in which it is told.
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

    /// The wait after a hold that ended later than `since`, polled under or not, or after a time in which nobody could
    /// read the cluster.
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

    /// Nothing to do until somebody else does something.
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

    fn settling(&self, reason: Reason) -> Judgement {
        (Verdict::Wait, reason, self.poll().settle_interval)
    }

    /// Waits for `due`, looking now and then.
    fn until(&self, reason: Reason, due: Moment) -> Judgement {
        (Verdict::Wait, reason, due.since(self.now).min(self.poll().active_interval))
    }
}

fn too_old(case: &FailedTask<'_>, failure: &Failure) -> Option<Judgement> {
    let limit = case.poll().max_failure_age;
    let ended = case.task.ended();
    // The wall clock may have been off then.
    let first_seen = case.now.before(case.now.since(failure.first_seen)).wall;
    let first_seen = jiff::tz::TimeZone::UTC.to_datetime(first_seen);
    let in_future = ended.is_some_and(|ended| ended > first_seen);
    let ended = ended.map(|ended| ended.to_string());
    failure.seen.too_old.then(|| case.idle(Reason::TooOld { ended, limit, in_future }))
}

/// What no further PUT can mend.
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
    Some(case.settling(Reason::CheckingIfGone { answer: answer.clone() }))
}
