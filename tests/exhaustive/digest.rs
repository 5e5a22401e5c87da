//! What of the daemon's knowledge decides its future, as one number: two states with the same digest go on alike.
//!
//! Times count by their age, in ticks, and everything older than the longest wait is alike. Every field is named, so
//! that a new one must be thought of here. What is only told, or is the same in every state, is left out.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use upgrade_remediator::model::answer::Answer;
use upgrade_remediator::model::event::{FailureSeen, Shape};
use upgrade_remediator::model::history::{
    ClusterHistory, Escalation, Failure, OpenAttempt, SettlingReading, TaskHistory,
};
use upgrade_remediator::model::id::AttemptId;
use upgrade_remediator::model::ledger::{Ledger, Rest};
use upgrade_remediator::model::moment::Moment;
use upgrade_remediator::model::reason::Reason;

use crate::daemon::ticks;
use crate::world::TICK;

/// Ages from here on are alike: an hour of patience after the longest `settle_timeout`, and more.
const OLD: i64 = 12;

pub(crate) struct Digest<'a, H> {
    pub(crate) hasher: &'a mut H,
    pub(crate) now: Moment,
    /// Time waited is counted: there is a `max_elapsed_time`.
    pub(crate) waited: bool,
}

impl<H: Hasher> Digest<'_, H> {
    fn put(&mut self, value: impl Hash) {
        value.hash(self.hasher);
    }

    fn age(&mut self, at: Moment) {
        let tick = i64::try_from(TICK.as_millis()).unwrap();
        let age = self.now.mono.0 - at.mono.0;
        assert_eq!(age % tick, 0, "everything happens at a tick");
        self.put((age / tick).min(OLD));
    }

    fn age_of(&mut self, at: Option<Moment>) {
        self.put(at.is_some());
        if let Some(at) = at {
            self.age(at);
        }
    }

    fn shape(&mut self, Shape { execute_times, end_time }: &Shape) {
        self.put((execute_times, end_time));
    }

    pub(crate) fn ledger(&mut self, ledger: &Ledger) {
        let cluster = crate::daemon::Daemon::cluster();
        let ClusterHistory { tasks, newest_start } = ledger.history(&cluster);
        self.put(newest_start.is_some());
        self.put(tasks.len());
        for task in tasks.values() {
            self.task(task);
        }
        let open = tasks.values().find_map(|task| task.open.as_ref()).map(|open| open.id);
        self.rest(ledger.rest.as_ref(), open);
        self.rest(ledger.resting.get(&cluster), open);
    }

    fn rest(&mut self, rest: Option<&Rest>, open: Option<AttemptId>) {
        self.put(rest.is_some());
        let Some(Rest { cause, refusals, until, probe, probe_at_once }) = rest else { return };
        self.put((*cause as u8, refusals, probe.is_some(), *probe == open, probe_at_once));
        self.age(*until);
    }

    fn task(&mut self, task: &TaskHistory) {
        let TaskHistory {
            kind: _,
            cluster_name: _,
            first_seen,
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
            escalated,
            closed,
            missing,
            stale_since,
            decided,
            commands: _,
        } = task;
        self.age(*first_seen);
        self.put((highest_execute_times, fell_back_to, counted_execute_times, most_completed));
        self.age_of(*running);
        self.age_of(*running_read);
        self.put((ever_ran, ran_since_failure, progressed, missing));
        self.put((used.ours, used.external, used_ever.ours, used_ever.external));
        self.put(self.waited.then_some(*waited));
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
        self.put(escalated.is_some());
        if let Some(Escalation { at, reason }) = escalated {
            self.age(*at);
            self.put(reason.code());
        }
        self.put(closed.is_some());
        if let Some((closing, at)) = closed {
            self.put(closing.word());
            self.age(*at);
        }
        self.age_of(*stale_since);
        self.put(decided.is_some());
        if let Some((verdict, reason)) = decided {
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
            seen_to_happen: _,
            terms,
        } = seen;
        self.put((status.word(), too_old, terms.as_ref().map(|terms| &terms.policy)));
        self.shape(shape);
        self.age(*first_seen);
        self.put((whole, accepted));
        self.age(*wait_from);
        self.put((ticks(*wait_at_least), *waited_from == Some(*wait_from), held));
        self.age_of(*not_before);
        self.age_of(*exhausted);
        self.put((not_accepted_in_row, without_effect_in_row));
        self.put(busy.as_ref().map(|(_, answer)| of(answer)));
        self.age_of(busy.as_ref().map(|(since, _)| *since));
        self.put((not_acceptable.is_some(), doubt.is_some(), touched.is_some()));
        self.age_of(doubt.as_ref().map(|(_, since, _)| *since));
    }

    fn open(&mut self, open: &OpenAttempt) {
        let OpenAttempt { id: _, action, sent, answer, settle_from, ran, before_progress, reading, first_reading } =
            open;
        self.put((action.verb(), ran, before_progress));
        self.age(*sent);
        self.put(answer.as_ref().map(of));
        self.age(*settle_from);
        self.age_of(*first_reading);
        self.put(reading.is_some());
        if let Some(SettlingReading { at, effect, status, shape }) = reading {
            self.age(*at);
            self.put((effect, status.word()));
            self.shape(shape);
        }
    }

    /// As far as another reason can tell the same.
    fn reason(&mut self, reason: &Reason, open: Option<AttemptId>) {
        self.put(reason.code());
        match reason {
            Reason::Backoff { retry, wait, .. } => self.put((retry, wait)),
            Reason::Settling { attempt, answered, .. } => self.put((Some(*attempt) == open, answered)),
            Reason::AbortPending { used, external, grace, .. } => self.put((used, external, grace)),
            Reason::Running { done, execution, .. } => self.put((done, execution)),
            Reason::ServiceBusy { answer, .. } | Reason::CheckingIfGone { answer } => self.put(of(answer)),
            Reason::StaleReading
            | Reason::Idle
            | Reason::HeldUntilNow { .. }
            | Reason::ClusterResting { .. }
            | Reason::AbortedByUs
            | Reason::Closed => {}
            other => self.put(format!("{other:?}")),
        }
    }
}

fn of(answer: &Answer) -> (&'static str, Option<u16>, Option<Duration>) {
    (answer.meaning.word(), answer.status, answer.retry_after)
}
