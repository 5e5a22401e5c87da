//! What a poll adds to the state: new tasks, failures, progress, the confirmation of a request,
//! external changes, and ends of tasks.
//!
//! Pure: it takes a poll and the record before it, and returns the events to journal. The decision
//! uses the record with those events folded in.

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp};

use crate::decide::CONFIRMATION_PATIENCE;
use crate::decide::expect::overdue;
use crate::decide::{NewestTask, StepInput};
use crate::model::event::{Confirmation, Entry, Event, FailureSeen, Outcome, Shape, Subject};
use crate::model::id::TaskId;
use crate::model::moment::Moment;
use crate::model::project_state::ProjectState;
use crate::model::reason::Reason;
use crate::model::record::{ClusterRecord, Failure, OpenAttempt, Phase, TaskRecord};
use crate::model::setup::Place;
use crate::model::task::{Reading, Task, TaskStatus};

/// Returns the events that the poll adds, in the order in which they are to be journaled.
pub(super) fn observe(state: &ProjectState, input: StepInput<'_>) -> Vec<(Subject, Event)> {
    let (reading, record) = (input.reading, input.record(state));
    let mut draft = Draft { state, input, now: reading.at, record: record.clone(), events: Vec::new() };
    let too_long = input.rules.poll.unpolled_after();
    let unpolled = input.polled.is_some_and(|polled| reading.asked.since(polled) > too_long);
    let known: Vec<TaskId> = record.tasks.keys().cloned().collect();
    for id in &known {
        match reading.task(id) {
            Some(task) => {
                if unpolled {
                    draft.see_again(task);
                }
                draft.see(task);
            }
            None if reading.complete => draft.miss(id, reading.asked),
            None => {}
        }
    }
    for task in reading.tasks.iter().filter(|task| task.status == TaskStatus::Running) {
        if !record.tasks.contains_key(&task.id) {
            draft.see(task);
        }
    }
    let standing = input.newest(state);
    if let NewestTask::Newest(task) = standing
        && task.status.is_failure()
        && !record.tasks.contains_key(&task.id)
        && !draft.is_shown_elsewhere(&task.id)
    {
        draft.see(task);
    }
    let newest = match (&standing, &record.newest_start) {
        // The cluster was polled before, so every earlier task is on record.
        (NewestTask::Uncertain(Reason::NewestMissing { .. }), Some((start, id))) => Some((id, Some(*start))),
        _ => standing.task().map(|task| (&task.id, task.start_time)),
    };
    if let Some((newest, start)) = newest {
        draft.supersede(newest, start, reading);
    }
    draft.note_newest(reading);
    draft.events
}

/// Returns the record with the events so far folded in, so that each rule sees what the rules
/// before it found.
struct Draft<'a> {
    state: &'a ProjectState,
    input: StepInput<'a>,
    now: Moment,
    record: ClusterRecord,
    events: Vec<(Subject, Event)>,
}

impl Draft<'_> {
    fn note(&mut self, id: &TaskId, event: Event) {
        let subject = self.input.subject(id);
        self.record.apply(&Entry { number: 0, at: self.now, subject: subject.clone(), event: event.clone() });
        self.events.push((subject, event));
    }

    /// Returns whether the last answer about another cluster shows this task too, so that it may
    /// not belong to this one.
    fn is_shown_elsewhere(&self, task: &TaskId) -> bool {
        self.input.shown_elsewhere(self.state, task).is_some()
    }

    fn known(&self, id: &TaskId) -> Option<&TaskRecord> {
        self.record.tasks.get(id)
    }

    /// Observes a task of the poll.
    fn see(&mut self, task: &Task) {
        self.see_first(task);
        let Some(known) = self.known(&task.id) else { return };
        if known.missing.is_some() && !known.is_ended() || matches!(known.outcome(), Some(Outcome::Gone)) {
            self.note(&task.id, Event::Reappeared);
        }
        let outcome = self.known(&task.id).and_then(TaskRecord::outcome);
        // Nothing reopens an aborted task, and a superseded one stays so.
        if matches!(outcome, Some(Outcome::Aborted | Outcome::Superseded { .. })) {
            // A task that runs again stops every request for the cluster, also if a later answer
            // does not show it.
            let runs = self.known(&task.id).is_some_and(|known| known.running.is_some());
            if task.status == TaskStatus::Running && !runs {
                self.note(&task.id, Event::Running { execute_times: task.execute_times });
            }
            return;
        }
        match &task.status {
            TaskStatus::Running => self.see_running(task),
            TaskStatus::Success => self.see_success(task),
            TaskStatus::Failed | TaskStatus::PartialFailed => self.see_failure(task),
            TaskStatus::Other(_) => self.see_still_there(task),
        }
    }

    fn see_first(&mut self, task: &Task) {
        if self.known(&task.id).is_some() {
            return;
        }
        // Runs before this journal knew the task were retries of somebody: of a daemon whose
        // journal was lost, or of an operator. If a node is completed there was progress since, so
        // they do not count any more.
        let before = task.execute_times.unwrap_or(1).saturating_sub(1);
        let external =
            if task.completed.count() == Some(0) { u32::try_from(before).unwrap_or(u32::MAX) } else { 0 };
        self.note(
            &task.id,
            Event::FirstSeen {
                kind: task.kind,
                cluster_name: self.input.cluster.name.clone(),
                traits: self.input.cluster.traits(),
                // With its start it would be a floor below which the daemon never acts on this
                // cluster again.
                start_time: task.start_time.filter(|_| !self.is_shown_elsewhere(&task.id)),
                execute_times: task.execute_times,
                completed: task.completed.count(),
                external,
                setup: task.setup.clone(),
                nodes: self.input.cluster.nodes.clone(),
            },
        );
    }

    fn see_progress(&mut self, task: &Task) {
        let Some(completed) = task.completed.count() else { return };
        let most = self.known(&task.id).and_then(|known| known.most_completed);
        if completed > most.unwrap_or(0) {
            self.note(&task.id, Event::Progress { completed });
        }
    }

    fn see_running(&mut self, task: &Task) {
        self.see_progress(task);
        let now = self.now;
        match self.record.tasks.get_mut(&task.id) {
            // Within a stretch of RUNNING only another run is journaled; the caller keeps the time
            // of the latest poll.
            Some(known) if known.running.is_some() && task.execute_times <= known.highest_execute_times => {
                known.saw_running(now);
            }
            _ => self.note(&task.id, Event::Running { execute_times: task.execute_times }),
        }
        self.see_still_there(task);
        let shows_the_past = self.known(&task.id).is_some_and(|known| {
            let answered = known.open.as_ref().is_some_and(OpenAttempt::is_answered);
            !answered && !has_grown(task, known) && self.may_be_before_the_failure(known, now)
        });
        if !shows_the_past {
            self.confirm(task, true);
        }
        self.tell_too_long(task);
    }

    fn tell_too_long(&mut self, task: &Task) {
        let Some(run) = self.known(&task.id).and_then(|known| known.run) else { return };
        let Some(policy) = self.input.policy(task.kind) else { return };
        if let Some(event) = overdue(policy, task, run, self.now) {
            self.note(&task.id, event);
        }
    }

    /// Returns whether a poll with RUNNING may show a state before the present failure: so soon
    /// after the failure was first seen, an old state does not show the outcome of a PUT.
    fn may_be_before_the_failure(&self, known: &TaskRecord, read: Moment) -> bool {
        let failure = known.failure.as_ref();
        failure.is_some_and(|failure| read.since(failure.first_seen) < self.input.rules.poll.settle_timeout)
    }

    fn see_success(&mut self, task: &Task) {
        self.confirm(task, true);
        let Some(known) = self.known(&task.id) else { return };
        if known.open_retry().is_some() || known.is_ended() {
            return;
        }
        let ours = known.failure.as_ref().is_some_and(|failure| failure.accepted > 0);
        self.note(
            &task.id,
            Event::Ended(if ours { Outcome::ResolvedByRetry } else { Outcome::ResolvedExternally }),
        );
    }

    fn see_failure(&mut self, task: &Task) {
        self.tell_fall(task);
        let Some(known) = self.known(&task.id) else { return };
        let Some(failure) = known.failure.clone() else {
            // The task was first seen in a later run than this one, and not long ago: this is an
            // older answer.
            let last = known.running.unwrap_or(known.first_seen);
            if self.has_fallen(task) && self.now.since(last) < self.input.rules.poll.settle_timeout {
                return;
            }
            self.fail(task, Duration::ZERO);
            return;
        };
        if let Phase::Ended(_, ended) = known.phase() {
            // SUCCESS was polled, and now a failure: an old state, or a new lifecycle.
            let is_confirmable = self.now.since(ended) >= self.input.rules.poll.settle_timeout;
            let past = self.tells_of(task, &failure) || self.has_fallen(task);
            if past && !is_confirmable || self.is_stale(task) {
                return;
            }
            self.fail(task, Duration::ZERO);
            return;
        }
        if self.is_stale(task) {
            return;
        }
        self.see_still_there(task);
        self.judge_age(task);
        let Some(known) = self.known(&task.id) else { return };
        match known.open_retry().cloned() {
            Some(open) => self.confirm_by_failure(task, &failure, &open),
            None => self.compare(task, &failure),
        }
    }

    /// Ends the escalation of a task that an answer called gone or forbidden, while a poll and a
    /// list show it: it was forbidden. Whatever status the task has now; otherwise a project whose
    /// probe it was would stay paused for ever.
    fn see_still_there(&mut self, task: &Task) {
        let failure = self.known(&task.id).and_then(|known| known.failure.as_ref());
        let Some((attempt, since, _)) = failure.and_then(|failure| failure.doubt.as_ref()) else { return };
        if self.input.listed.is_some_and(|listed| listed.mono > since.mono)
            && self.now.since(*since) >= self.input.rules.poll.settle_interval
        {
            let attempt = *attempt;
            self.note(&task.id, Event::StillThere { attempt });
        }
    }

    /// Returns whether the poll shows a failure that a later one has replaced. If polls continue to
    /// show it, it is the present one.
    fn is_stale(&self, task: &Task) -> bool {
        let Some(known) = self.known(&task.id) else { return false };
        if known
            .stale_since()
            .is_some_and(|since| self.now.since(since) >= self.input.rules.poll.settle_timeout)
        {
            return false;
        }
        let shape = Shape::of(task);
        let now = known.failure.as_ref();
        known.earlier.iter().any(|(earlier, whole)| {
            *earlier == shape
                && task.whole.as_deref() == Some(whole)
                && now.is_none_or(|failure| failure.whole != *whole)
        })
    }

    /// Returns whether `executeTimes` is lower than in an earlier poll.
    fn has_fallen(&self, task: &Task) -> bool {
        let highest = self.known(&task.id).and_then(|known| known.highest_execute_times);
        matches!((task.execute_times, highest), (Some(read), Some(highest)) if read < highest)
    }

    /// Journals a lower `executeTimes` once for each value.
    fn tell_fall(&mut self, task: &Task) {
        let Some(known) = self.known(&task.id) else { return };
        if let (Some(read), Some(highest)) = (task.execute_times, known.highest_execute_times)
            && read < highest
            && known.fell_back_to != Some(read)
            && !self.is_stale(task)
        {
            self.note(&task.id, Event::FellBack { highest, read });
        }
    }

    /// Returns whether the poll shows this very failure: the same triple, where the highest
    /// `executeTimes` stays.
    fn tells_of(&self, task: &Task, failure: &Failure) -> bool {
        self.shape(task) == failure.seen.shape
    }

    /// Returns the shape of a failure, where the highest `executeTimes` stays.
    fn shape(&self, task: &Task) -> Shape {
        let highest = self.known(&task.id).and_then(|known| known.highest_execute_times);
        Shape { execute_times: task.execute_times.max(highest), end_time: task.end_time }
    }

    /// Returns whether the failed task differs from what later polls are compared with.
    fn changed(task: &Task, failure: &Failure) -> bool {
        task.whole.as_deref() != Some(failure.whole.as_str())
    }

    /// Without an open request: is this the same failure, a new one, or an external change?
    fn compare(&mut self, task: &Task, failure: &Failure) {
        let now = self.now;
        let Some(known) = self.known(&task.id) else { return };
        let grown = has_grown(task, known);
        let last_ran = known.running;
        if known.ran_since_failure {
            // Until some time after the last poll with RUNNING, the same triple (or an older one)
            // may be an old state.
            // With other fields, too, if the run may have been before the failure: somebody may
            // have aborted it just before our PUT.
            let past = known.running_read.is_some_and(|read| self.may_be_before_the_failure(known, read));
            let same = self.tells_of(task, failure) && (past || !Self::changed(task, failure));
            let waiting = last_ran.is_some_and(|ran| now.since(ran) < self.input.rules.poll.settle_timeout);
            if (same || self.has_fallen(task)) && waiting {
                self.see_progress(task);
                return;
            }
            self.fail(task, Duration::ZERO);
        } else if grown {
            self.fail(task, Duration::ZERO);
        } else if Self::changed(task, failure) {
            if failure.touched.is_some() {
                return;
            }
            if now.since(failure.first_seen) <= self.input.rules.poll.settle_timeout {
                // A run or a completed node is never undone: this is an older answer, with which
                // later ones are not compared.
                let (read, most) = (task.completed.count(), known.most_completed);
                let fewer = matches!((read, most), (Some(read), Some(most)) if read < most);
                if fewer || self.has_fallen(task) {
                    return;
                }
                self.see_progress(task);
                if let Some(whole) = task.whole.clone() {
                    let shape = self.shape(task);
                    self.note(&task.id, Event::Changed { whole, shape });
                }
            } else {
                let changed = differing_keys(&failure.whole, task.whole.as_deref().unwrap_or_default());
                self.note(&task.id, Event::ChangedExternally { changed });
            }
        }
    }

    /// With an open retry and a failed task: does the poll show an effect of the PUT?
    fn confirm_by_failure(&mut self, task: &Task, failure: &Failure, open: &OpenAttempt) {
        // Kept whatever the outcome of the request: a later answer may be an older one, without the
        // node.
        self.see_progress(task);
        let Some(known) = self.known(&task.id) else { return };
        let long_after_put = self.now.since(open.sent) >= self.input.rules.poll.settle_timeout;
        let past = known.running_read.is_some_and(|read| self.may_be_before_the_failure(known, read));
        let ran_since = open.ran && !past;
        let ran = open.ran && (open.is_answered() || !past);
        if self.has_fallen(task) {
            // Most likely an old state. If it stays so, the highest executeTimes counts, and
            // endTime decides.
            if long_after_put {
                self.confirm(task, task.end_time != failure.seen.shape.end_time);
            }
        } else if has_grown(task, known) || !self.tells_of(task, failure) {
            self.confirm(task, true);
        } else if Self::changed(task, failure) {
            // The same failure with other fields: an effect of our request, or an external abort
            // just before it.
            if ran_since || long_after_put {
                self.confirm(task, true);
            }
        } else if open.ran {
            // The task ran (or an old state said so) and fails again with the same fields: certain
            // when no old state can be left.
            let quiet =
                known.running.is_none_or(|ran| self.now.since(ran) >= self.input.rules.poll.settle_timeout);
            if quiet && (ran || long_after_put) {
                self.confirm(task, ran);
            }
        } else if long_after_put {
            self.confirm(task, false);
        }
    }

    /// Counts the poll as one of the two that confirm the open request, and confirms it with the
    /// second.
    fn confirm(&mut self, task: &Task, effect: bool) {
        let Some(open) = self.known(&task.id).and_then(|known| known.open_retry().cloned()) else { return };
        if self.now.mono < open.settle_from.mono {
            return;
        }
        let shape = Shape::of(task);
        let agreeing = open.reading.as_ref().filter(|reading| reading.effect == effect);
        let Some(first) = agreeing else {
            let status = task.status.clone();
            self.note(&task.id, Event::ConfirmingPoll { attempt: open.id, effect, status, shape });
            return;
        };
        if self.now.since(first.at) < self.input.rules.poll.settle_interval {
            return;
        }
        if !effect && !open.is_answered() && shape.execute_times.is_none() && shape.end_time.is_none() {
            // Nothing in this task could show that the PUT was accepted: the decision escalates it.
            return;
        }
        let settlement = settlement(&open, effect);
        let same_failure = first.status.is_failure() && first.shape == shape;
        let seen_before = if same_failure { self.now.since(first.at) } else { Duration::ZERO };
        self.note(&task.id, Event::Confirmed { attempt: open.id, settlement });
        if effect && task.status.is_failure() {
            self.fail(task, seen_before);
        }
    }

    /// Journals a new failure, and before it the progress that it shows: progress starts the count
    /// of retries again.
    fn fail(&mut self, task: &Task, seen_before: Duration) {
        self.see_progress(task);
        let Some(known) = self.known(&task.id) else { return };
        let before = known.failure.as_ref();
        let ours = before.map_or(0, |failure| failure.accepted);
        let growth = match (task.execute_times, known.counted_execute_times) {
            (Some(read), Some(counted)) => read.saturating_sub(counted),
            _ => 0,
        };
        let beyond = u32::try_from(growth).unwrap_or(u32::MAX).saturating_sub(ours);
        let ended = ended(task, before, known.ever_ran);
        // A run soon after the failure was seen, which ended with the same triple, was an old
        // state.
        let ran_without_us = known.ran_since_failure
            && ours == 0
            && before.is_some_and(|before| {
                let ran = known.running_read.unwrap_or(before.first_seen);
                !self.tells_of(task, before)
                    || ran.since(before.first_seen) >= self.input.rules.poll.settle_timeout
            });
        let seen = FailureSeen {
            number: before.map_or(0, |failure| failure.seen.number).saturating_add(1),
            status: task.status.clone(),
            shape: self.shape(task),
            seen_before,
            whole: task.whole.clone().unwrap_or_default(),
            completed: task.completed.count(),
            total: u32::try_from(task.total_nodes.len()).unwrap_or(u32::MAX),
            failing: failing(task),
            external: beyond.max(u32::from(ran_without_us)),
            too_old: !self.input.is_clock_off()
                && is_too_old(ended, known.ever_ran, self.input.rules.poll.max_failure_age, self.now.wall),
            age_unknown: self.input.is_clock_off(),
            seen_to_happen: self.input.polled.is_some() || ours > 0,
            terms: self.input.policy(task.kind).map(|policy| policy.terms.clone()),
            place: Place::of(
                task.failing_step().and_then(|step| step.order),
                &task.current_node,
                &self.input.cluster.nodes,
            ),
        };
        self.note(&task.id, Event::Failed(Box::new(seen)));
    }

    /// Observes a task that a complete poll does not show: two polls prove that it is gone.
    fn miss(&mut self, id: &TaskId, asked: Moment) {
        match self.known(id) {
            Some(known) if known.is_ended() => {}
            Some(known) if known.missing.is_none() => self.note(id, Event::Missing),
            Some(known) if known.is_missed_twice(asked, self.input.rules.poll.settle_interval) => {
                // So soon after the task was first seen, an older answer may show a time before its
                // start, unless the answer to a PUT said the same.
                let doubted = known.failure.as_ref().is_some_and(|failure| failure.doubt.is_some());
                if doubted || self.now.since(known.first_seen) >= self.input.rules.poll.settle_timeout {
                    self.note(id, Event::Ended(Outcome::Gone));
                }
            }
            _ => {}
        }
    }

    /// Observes a task that can be polled again after a long time. A blocked one waits again
    /// anyway.
    fn see_again(&mut self, task: &Task) {
        let Some(known) = self.known(&task.id) else { return };
        let pending = known.failure.as_ref().is_some_and(|failure| !failure.held && !failure.seen.too_old);
        if pending && known.is_pending() {
            self.note(&task.id, Event::Unpolled);
        }
    }

    /// The age of a failure that was first seen while our clock was wrong is checked when the clock
    /// is right, as of that time.
    fn judge_age(&mut self, task: &Task) {
        let Some(known) = self.known(&task.id).filter(|_| !self.input.is_clock_off()) else { return };
        let Some(failure) = known.failure.as_ref().filter(|failure| failure.seen.age_unknown) else { return };
        let first_seen = self.now.before(self.now.since(failure.first_seen)).wall;
        let limit = self.input.rules.poll.max_failure_age;
        let too_old = is_too_old(ended(task, None, known.ever_ran), known.ever_ran, limit, first_seen);
        self.note(&task.id, Event::AgeJudged { too_old });
    }

    /// Journals which task is the newest if the daemon might act on an older one without it.
    fn note_newest(&mut self, reading: &Reading) {
        let matters =
            !self.record.tasks.is_empty() || reading.tasks.iter().any(|task| task.status.is_failure());
        if !matters {
            return;
        }
        let is_its_own = |task: &TaskId| !self.is_shown_elsewhere(task);
        if let Some((start_time, id)) = reading.newest(self.record.journaled_start, is_its_own) {
            self.note(id, Event::NewestSeen { start_time });
        }
    }

    /// Closes older tasks as superseded by a newer one, if their requests are confirmed, or if no
    /// poll can confirm them any more.
    fn supersede(&mut self, newest: &TaskId, start: Option<DateTime>, reading: &Reading) {
        let patience = self.input.rules.poll.settle_timeout.saturating_add(CONFIRMATION_PATIENCE);
        let known: Vec<TaskId> = self.record.tasks.keys().filter(|id| *id != newest).cloned().collect();
        for id in &known {
            // A task that ran, and has an unknown status now, runs no more.
            let runs_no_more = reading.task(id).is_some_and(|task| task.status != TaskStatus::Running);
            let older = self.known(id).is_some_and(|older| {
                !older.is_ended()
                    && older.open.as_ref().is_none_or(|open| self.now.since(open.sent) >= patience)
                    && (older.running.is_none() || runs_no_more)
                    && older.missing.is_none()
                    && older.start_time.is_some()
                    && older.start_time < start
            });
            // Checked last, because it searches every cluster.
            if older && !self.is_shown_elsewhere(newest) {
                self.note(id, Event::Ended(Outcome::Superseded { by: newest.clone() }));
            }
        }
    }
}

fn settlement(open: &OpenAttempt, effect: bool) -> Confirmation {
    match (effect, open.is_answered()) {
        (true, _) => Confirmation::Accepted,
        (false, true) => Confirmation::WithoutEffect,
        (false, false) => Confirmation::NotAccepted,
    }
}

/// Returns whether `executeTimes` is higher than at the last failure.
fn has_grown(task: &Task, known: &TaskRecord) -> bool {
    matches!((task.execute_times, known.counted_execute_times), (Some(read), Some(counted)) if read > counted)
}

/// Returns when the failure that a task shows had ended, if that is known. An unchanged endTime
/// belongs to the failure before.
fn ended(task: &Task, before: Option<&Failure>, ever_ran: bool) -> Option<DateTime> {
    let of_before = before.is_some_and(|before| before.seen.shape.end_time == task.end_time);
    let steps = task.last_step();
    if of_before && (steps.is_some() || ever_ran) { steps } else { task.ended() }
}

/// Returns whether the failure had ended too long before it was first seen: by `endTime`, else by
/// the latest time of a step; else it is fresh only if the task was seen running.
fn is_too_old(ended: Option<DateTime>, ever_ran: bool, limit: Duration, now: Timestamp) -> bool {
    // A time that lies further in the future than any zone explains is unusable.
    const WIDEST_ZONE: SignedDuration = SignedDuration::from_hours(14);
    let utc = jiff::tz::TimeZone::UTC.to_datetime(now);
    match ended.map(|ended| utc.duration_since(ended)) {
        Some(age) if age >= -WIDEST_ZONE => {
            age > SignedDuration::try_from(limit).unwrap_or(SignedDuration::MAX)
        }
        _ => !ever_ran,
    }
}

/// Returns the node and the step at which a task failed, as it shows them.
fn failing(task: &Task) -> String {
    let node = if task.current_node.is_empty() { "unknown node" } else { &task.current_node };
    match task.failing_step() {
        Some(step) => {
            let order = step.order.map_or_else(|| "?".to_owned(), |order| order.to_string());
            format!("{node}, step {order} {}", step.name)
        }
        None => node.to_owned(),
    }
}

/// Returns the names of the top-level fields in which two tasks differ.
fn differing_keys(before: &str, after: &str) -> String {
    let parse = |text: &str| {
        serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).unwrap_or_default()
    };
    let (before, after) = (parse(before), parse(after));
    let keys: std::collections::BTreeSet<&String> =
        before.keys().chain(after.keys()).filter(|key| before.get(*key) != after.get(*key)).collect();
    keys.into_iter().cloned().collect::<Vec<_>>().join(", ")
}
