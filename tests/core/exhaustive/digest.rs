//! What of the daemon's knowledge decides its future, as one number: two states with the same digest go on alike.
//!
//! Times count by their age, in ticks, and what is older than the longest wait that is reckoned from it is alike. Every
//! field is named, so that a new one must be thought of here. What is only told, or is the same in every state, is left
//! out; so is how long the service has been busy, as no walk lasts a day.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use upgrade_remediator::model::answer::Answer;
use upgrade_remediator::model::event::{FailureSeen, Shape};
use upgrade_remediator::model::id::AttemptId;
use upgrade_remediator::model::moment::Moment;
use upgrade_remediator::model::project_state::{Pause, ProjectState};
use upgrade_remediator::model::reason::Reason;
use upgrade_remediator::model::record::{
    ClusterRecord, Decided, Escalation, Failure, OpenAttempt, SettlingReading, TaskRecord,
};

use super::daemon::ticks;
use super::world::TICK;

/// The hour for which an attempt may stay unsettled.
const PATIENCE: u8 = 6;

/// The longest waits, in ticks: what is older is alike.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waits {
    pub(crate) settle_interval: u8,
    pub(crate) settle_timeout: u8,
    pub(crate) backoff: u8,
    pub(crate) grace: u8,
    /// Time waited is counted: there is a `max_elapsed_time`.
    pub(crate) counted: bool,
}

pub(crate) struct Digest<'a, H> {
    pub(crate) hasher: &'a mut H,
    pub(crate) now: Moment,
    pub(crate) waits: Waits,
}

impl<H: Hasher> Digest<'_, H> {
    fn put(&mut self, value: impl Hash) {
        value.hash(self.hasher);
    }

    fn age(&mut self, at: Moment, alike: u8) {
        let tick = i64::try_from(TICK.as_millis()).unwrap();
        let age = self.now.mono.0 - at.mono.0;
        assert_eq!(age % tick, 0, "everything happens at a tick");
        self.put((age / tick).min(i64::from(alike)));
    }

    fn age_of(&mut self, at: Option<Moment>, alike: u8) {
        self.put(at.is_some());
        if let Some(at) = at {
            self.age(at, alike);
        }
    }

    fn shape(&mut self, Shape { execute_times, end_time }: &Shape) {
        self.put((execute_times, end_time));
    }

    pub(crate) fn project_state(&mut self, project_state: &ProjectState) {
        let cluster = super::daemon::Daemon::cluster();
        let ClusterRecord { tasks, newest_start, journaled_start, shown: _ } =
            project_state.cluster(&cluster);
        self.put((newest_start.is_some(), journaled_start.is_some()));
        self.put(tasks.len());
        for task in tasks.values() {
            self.task(task);
        }
        let open = tasks.values().find_map(|task| task.open.as_ref()).map(|open| open.id);
        self.rest(project_state.pause.as_ref(), open);
        self.rest(project_state.paused.get(&cluster), open);
    }

    fn rest(&mut self, rest: Option<&Pause>, open: Option<AttemptId>) {
        self.put(rest.is_some());
        let Some(Pause { cause, refusals, until, probe, probe_at_once }) = rest else { return };
        self.put((*cause as u8, refusals, probe.is_some(), *probe == open, probe_at_once));
        self.age(*until, 0);
    }

    fn task(&mut self, task: &TaskRecord) {
        let TaskRecord {
            kind: _,
            cluster_name: _,
            traits: _,
            first_seen,
            first_failed: _,
            start_time: _,
            highest_execute_times,
            fell_back_to,
            counted_execute_times,
            most_completed,
            running,
            run: _,
            running_read,
            ever_ran,
            ran_since_failure,
            failure,
            earlier,
            progressed,
            used,
            used_ever,
            attempts: _,
            waited,
            open,
            last_put,
            escalated,
            closed,
            missing,
            decided,
            commands: _,
        } = task;
        let Waits { settle_interval, settle_timeout, backoff: _, grace: _, counted } = self.waits;
        self.age(*first_seen, settle_timeout);
        self.put((highest_execute_times, fell_back_to, counted_execute_times, most_completed));
        self.age_of(*running, settle_timeout);
        // What counts is how long after the failure was first seen it was.
        let after = running_read.zip(failure.as_ref()).map(|(read, failure)| read.since(failure.first_seen));
        self.put((running_read.is_some(), after.map(|after| ticks(after).min(settle_timeout))));
        self.put((ever_ran, ran_since_failure, progressed));
        self.age_of(*missing, settle_interval);
        self.put((used.ours, used.external, used_ever.ours, used_ever.external));
        self.put(counted.then_some(*waited));
        self.put(earlier.len());
        for (shape, whole) in earlier {
            self.shape(shape);
            self.put(whole);
        }
        self.put(failure.is_some());
        if let Some(failure) = failure {
            self.failure(failure);
        }
        self.put(open.is_some());
        if let Some(open) = open {
            self.open(open);
        }
        self.age_of(*last_put, settle_timeout);
        self.put(escalated.is_some());
        if let Some(Escalation { at, reason }) = escalated {
            let since = open.as_ref().is_some_and(|open| open.sent.mono > at.mono);
            self.put((reason.code(), since));
        }
        self.put(closed.is_some());
        if let Some((closing, at)) = closed {
            self.put(closing.word());
            self.age(*at, settle_timeout);
        }
        self.age_of(task.stale_since(), settle_timeout);
        self.put(decided.is_some());
        // Since when matters for a stale reading alone.
        if let Some(Decided { verdict, reason, since: _ }) = decided {
            self.put(verdict);
            self.reason(reason, open.as_ref().map(|open| open.id));
        }
    }

    fn failure(&mut self, failure: &Failure) {
        let Failure {
            seen,
            first_seen,
            whole,
            accepted,
            wait_from,
            wait_at_least,
            waited_from,
            held,
            not_before,
            unpolled,
            exhausted,
            not_accepted_in_row,
            without_effect_in_row,
            busy,
            not_acceptable,
            doubt,
            touched,
        } = failure;
        let FailureSeen {
            number: _,
            status,
            shape,
            seen_before: _,
            whole: _,
            completed: _,
            total: _,
            failing: _,
            external: _,
            too_old,
            age_unknown,
            seen_to_happen: _,
            terms,
            place: _,
        } = seen;
        self.put((status.word(), too_old, age_unknown, terms.as_ref().map(|terms| &terms.policy)));
        let Waits { settle_interval, settle_timeout, backoff, grace, counted: _ } = self.waits;
        self.shape(shape);
        // One tick more: within settle_timeout and a little later are told apart.
        self.age(*first_seen, settle_timeout + 1);
        self.put((whole, accepted));
        self.age(*wait_from, backoff.max(ticks(*wait_at_least)));
        self.put((ticks(*wait_at_least), *waited_from == Some(*wait_from), held));
        self.age_of(*not_before, 0);
        // What counts is how long after the wait began it was, and how long ago.
        let after = unpolled.map(|unpolled| ticks(unpolled.since(*wait_from)).min(backoff));
        self.put(after);
        self.age_of(*unpolled, backoff);
        self.age_of(*exhausted, grace.max(settle_timeout));
        self.put((not_accepted_in_row, without_effect_in_row));
        self.put(busy.as_ref().map(|(_, answer)| of(answer)));
        self.put((not_acceptable.is_some(), doubt.is_some(), touched.is_some()));
        self.age_of(doubt.as_ref().map(|(_, since, _)| *since), settle_interval);
    }

    fn open(&mut self, open: &OpenAttempt) {
        let OpenAttempt {
            id: _,
            action,
            sent,
            answer,
            settle_from,
            ran,
            before_progress,
            reading,
            first_reading,
        } = open;
        self.put((action.verb(), ran, before_progress));
        let old = self.waits.settle_timeout + PATIENCE;
        self.age(*sent, old);
        self.put(answer.as_ref().map(of));
        self.age(*settle_from, PATIENCE);
        self.age_of(*first_reading, PATIENCE);
        self.put(reading.is_some());
        if let Some(SettlingReading { at, effect, status, shape }) = reading {
            self.age(*at, self.waits.settle_interval);
            self.put((effect, status.word()));
            self.shape(shape);
        }
    }

    /// As far as another reason can tell the same.
    fn reason(&mut self, reason: &Reason, open: Option<AttemptId>) {
        self.put(reason.code());
        match reason {
            Reason::Backoff { retry, wait, .. } => self.put((retry, wait)),
            Reason::OutcomeUnknown { attempt, answered, .. } => self.put((Some(*attempt) == open, answered)),
            Reason::AbortPending { used, external, grace, .. } => self.put((used, external, grace)),
            Reason::Running { done, execution, .. } => self.put((done, execution)),
            Reason::ServiceBusy { answer, .. } | Reason::CheckingIfGone { answer } => self.put(of(answer)),
            Reason::ProjectPaused { cause, .. } => self.put(*cause as u8),
            // There is one hold.
            Reason::OnHold { .. }
            | Reason::StalePoll
            | Reason::Idle
            | Reason::WasBlocked { .. }
            | Reason::ClusterPaused { .. }
            | Reason::AbortedByUs
            | Reason::Ended => {}
            other => self.put(format!("{other:?}")),
        }
    }
}

fn of(answer: &Answer) -> (&'static str, Option<u16>, Option<Duration>) {
    (answer.meaning.word(), answer.status, answer.retry_after)
}
