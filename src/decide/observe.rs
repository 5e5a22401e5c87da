//! What a reading adds to what is known: first sights, failures, progress, the settling of an attempt whose
//! effect was awaited, touches by others, and ends of tasks.
//!
//! Pure: it takes a reading and the history before it, and gives the events to journal. The decision is made on
//! the history with those events folded in.

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp};

use crate::decide::SETTLING_PATIENCE;
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

/// The events that the poll adds, in the order in which they are to be journaled.
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
        // It was read before, so whatever began before it is record.
        (NewestTask::Uncertain(Reason::NewestMissing { .. }), Some((start, id))) => Some((id, Some(*start))),
        _ => standing.task().map(|task| (&task.id, task.start_time)),
    };
    if let Some((newest, start)) = newest {
        draft.supersede(newest, start, reading);
    }
    draft.note_newest(reading);
    draft.events
}

/// The history with the events so far folded in, so that each rule sees what the rules before it found.
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

    /// Whether the last answer about another cluster shows this task too, so that it may be no task of this one.
    fn is_shown_elsewhere(&self, task: &TaskId) -> bool {
        self.input.shown_elsewhere(self.state, task).is_some()
    }

    fn known(&self, id: &TaskId) -> Option<&TaskRecord> {
        self.record.tasks.get(id)
    }

    /// A task is in the reading.
    fn see(&mut self, task: &Task) {
        self.see_first(task);
        let Some(known) = self.known(&task.id) else { return };
        if known.missing.is_some() && !known.is_ended() || matches!(known.outcome(), Some(Outcome::Gone)) {
            self.note(&task.id, Event::Reappeared);
        }
        let outcome = self.known(&task.id).and_then(TaskRecord::outcome);
        // Nothing reopens an aborted task, and a superseded one is record.
        if matches!(outcome, Some(Outcome::Aborted | Outcome::Superseded { .. })) {
            // That it runs again stops everything else of the cluster, also where a later answer leaves it out.
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
        // Executions before this journal knew the task were retries of somebody: of a lost journal's daemon, or
        // of an operator. With a node completed there was progress since, so they count no more.
        let before = task.execute_times.unwrap_or(1).saturating_sub(1);
        let external =
            if task.completed.count() == Some(0) { u32::try_from(before).unwrap_or(u32::MAX) } else { 0 };
        self.note(
            &task.id,
            Event::FirstSeen {
                kind: task.kind,
                cluster_name: self.input.cluster.name.clone(),
                traits: self.input.cluster.traits(),
                // With its start it would be a floor below which nothing of this cluster is acted on, for ever.
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
            // Within a stretch of RUNNING nothing new is journaled, but that another execution runs; the caller keeps the
            // time of the latest.
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
            self.settle(task, true);
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

    /// Whether RUNNING, read then, may show what was before the present failure: so soon after that was first seen, a
    /// reading of the past is no sign of what became of a PUT.
    fn may_be_before_the_failure(&self, known: &TaskRecord, read: Moment) -> bool {
        let failure = known.failure.as_ref();
        failure.is_some_and(|failure| read.since(failure.first_seen) < self.input.rules.poll.settle_timeout)
    }

    fn see_success(&mut self, task: &Task) {
        self.settle(task, true);
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
            // It was first seen in a later execution than this one, and not long ago: an older answer.
            let last = known.running.unwrap_or(known.first_seen);
            if self.has_fallen(task) && self.now.since(last) < self.input.rules.poll.settle_timeout {
                return;
            }
            self.fail(task, Duration::ZERO);
            return;
        };
        if let Phase::Ended(_, ended) = known.phase() {
            // SUCCESS was read, and now a failure: an old reading, or a new lifecycle.
            let settled = self.now.since(ended) >= self.input.rules.poll.settle_timeout;
            let past = self.tells_of(task, &failure) || self.has_fallen(task);
            if past && !settled || self.is_stale(task) {
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
            Some(open) => self.settle_by_failure(task, &failure, &open),
            None => self.compare(task, &failure),
        }
    }

    /// A task that an answer said was gone or forbidden is still there, by a reading and a list: it was forbidden.
    /// Whatever the task shows by now, or a project whose probe it was would rest for ever.
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

    /// Whether the reading shows a failure that a later one has replaced. One that goes on showing it shows the
    /// present.
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

    /// Whether `executeTimes` is lower than it was ever read.
    fn has_fallen(&self, task: &Task) -> bool {
        let highest = self.known(&task.id).and_then(|known| known.highest_execute_times);
        matches!((task.execute_times, highest), (Some(read), Some(highest)) if read < highest)
    }

    /// A fall of `executeTimes` is told once for each value read.
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

    /// Whether the reading shows this very failure: the same triple, where the highest `executeTimes` stays.
    fn tells_of(&self, task: &Task, failure: &Failure) -> bool {
        self.shape(task) == failure.seen.shape
    }

    /// The shape of a failure, where the highest `executeTimes` stays.
    fn shape(&self, task: &Task) -> Shape {
        let highest = self.known(&task.id).and_then(|known| known.highest_execute_times);
        Shape { execute_times: task.execute_times.max(highest), end_time: task.end_time }
    }

    /// Whether anything of the failed task differs from what later readings are compared with.
    fn changed(task: &Task, failure: &Failure) -> bool {
        task.whole.as_deref() != Some(failure.whole.as_str())
    }

    /// No attempt is open: is it the same failure, a new one, or somebody's touch?
    fn compare(&mut self, task: &Task, failure: &Failure) {
        let now = self.now;
        let Some(known) = self.known(&task.id) else { return };
        let grown = has_grown(task, known);
        let last_ran = known.running;
        if known.ran_since_failure {
            // Until some time after the last RUNNING reading, the same triple (or an older one) is a stale reading.
            // In other words too, where what ran may have been before the failure: somebody terminated it just before our PUT.
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
                // Neither an execution nor a node is ever undone: an older answer, and nothing to compare later ones with.
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

    /// A retry is open and the task is failed: does the reading show an effect of the PUT?
    fn settle_by_failure(&mut self, task: &Task, failure: &Failure, open: &OpenAttempt) {
        // Kept whatever comes of the attempt: a later answer may be an older one, without the node.
        self.see_progress(task);
        let Some(known) = self.known(&task.id) else { return };
        let long_after_put = self.now.since(open.sent) >= self.input.rules.poll.settle_timeout;
        let past = known.running_read.is_some_and(|read| self.may_be_before_the_failure(known, read));
        let ran_since = open.ran && !past;
        let ran = open.ran && (open.is_answered() || !past);
        if self.has_fallen(task) {
            // Most likely an old reading; where it stays so, the highest executeTimes counts and endTime decides.
            if long_after_put {
                self.settle(task, task.end_time != failure.seen.shape.end_time);
            }
        } else if has_grown(task, known) || !self.tells_of(task, failure) {
            self.settle(task, true);
        } else if Self::changed(task, failure) {
            // The same failure in other words: an effect of ours, or somebody's termination just before ours arrived.
            if ran_since || long_after_put {
                self.settle(task, true);
            }
        } else if open.ran {
            // It ran (or a reading of the past said so) and fails again with the same words: certain once no stale
            // reading can be left.
            let quiet =
                known.running.is_none_or(|ran| self.now.since(ran) >= self.input.rules.poll.settle_timeout);
            if quiet && (ran || long_after_put) {
                self.settle(task, ran);
            }
        } else if long_after_put {
            self.settle(task, false);
        }
    }

    /// Takes the reading as one of the two that settle the open attempt, and settles it with the second.
    fn settle(&mut self, task: &Task, effect: bool) {
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
            // Nothing in this task could show that the PUT was accepted: the decision hands it to an operator.
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

    /// Journals a new failure, and first the progress that it shows: that begins the count of retries anew.
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
        // What ran soon after the failure was seen, and ended with the same triple, was a reading of the past.
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

    /// A task is not in a complete reading: two polls say that it is gone.
    fn miss(&mut self, id: &TaskId, asked: Moment) {
        match self.known(id) {
            Some(known) if known.is_ended() => {}
            Some(known) if known.missing.is_none() => self.note(id, Event::Missing),
            Some(known) if known.is_missed_twice(asked, self.input.rules.poll.settle_interval) => {
                // So soon after it was first seen, an older answer may show what was before it began, unless the
                // answer to a PUT said the same.
                let doubted = known.failure.as_ref().is_some_and(|failure| failure.doubt.is_some());
                if doubted || self.now.since(known.first_seen) >= self.input.rules.poll.settle_timeout {
                    self.note(id, Event::Ended(Outcome::Gone));
                }
            }
            _ => {}
        }
    }

    /// A task can be read again after nobody could read it for long. One that is held back waits again anyway.
    fn see_again(&mut self, task: &Task) {
        let Some(known) = self.known(&task.id) else { return };
        let pending = known.failure.as_ref().is_some_and(|failure| !failure.held && !failure.seen.too_old);
        if pending && known.is_pending() {
            self.note(&task.id, Event::Unpolled);
        }
    }

    /// The age of a failure that was first seen while our clock was off is judged once it is right: as it was then.
    fn judge_age(&mut self, task: &Task) {
        let Some(known) = self.known(&task.id).filter(|_| !self.input.is_clock_off()) else { return };
        let Some(failure) = known.failure.as_ref().filter(|failure| failure.seen.age_unknown) else { return };
        let first_seen = self.now.before(self.now.since(failure.first_seen)).wall;
        let limit = self.input.rules.poll.max_failure_age;
        let too_old = is_too_old(ended(task, None, known.ever_ran), known.ever_ran, limit, first_seen);
        self.note(&task.id, Event::AgeJudged { too_old });
    }

    /// Which task is the newest is journaled where an older one might be acted on without it.
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

    /// A newer task takes the place of older ones whose attempts are settled, or which no reading settles any more.
    fn supersede(&mut self, newest: &TaskId, start: Option<DateTime>, reading: &Reading) {
        let patience = self.input.rules.poll.settle_timeout.saturating_add(SETTLING_PATIENCE);
        let known: Vec<TaskId> = self.record.tasks.keys().filter(|id| *id != newest).cloned().collect();
        for id in &known {
            // One that ran and is shown with a status that we do not know runs no more.
            let runs_no_more = reading.task(id).is_some_and(|task| task.status != TaskStatus::Running);
            let older = self.known(id).is_some_and(|older| {
                !older.is_ended()
                    && older.open.as_ref().is_none_or(|open| self.now.since(open.sent) >= patience)
                    && (older.running.is_none() || runs_no_more)
                    && older.missing.is_none()
                    && older.start_time.is_some()
                    && older.start_time < start
            });
            // Asked last, as it asks every cluster.
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

/// Whether `executeTimes` is higher than at the last failure.
fn has_grown(task: &Task, known: &TaskRecord) -> bool {
    matches!((task.execute_times, known.counted_execute_times), (Some(read), Some(counted)) if read > counted)
}

/// When the failure that a task shows had ended, as far as can be told. An endTime that stayed as it was is that of the
/// failure before.
fn ended(task: &Task, before: Option<&Failure>, ever_ran: bool) -> Option<DateTime> {
    let of_before = before.is_some_and(|before| before.seen.shape.end_time == task.end_time);
    let steps = task.last_step();
    if of_before && (steps.is_some() || ever_ran) { steps } else { task.ended() }
}

/// Whether the failure had ended too long before it was first seen: by `endTime`, else by the latest time of a
/// step, else it is fresh only if the task was seen running.
fn is_too_old(ended: Option<DateTime>, ever_ran: bool, limit: Duration, now: Timestamp) -> bool {
    // A time in the future by more than any zone explains is no time to judge by.
    const WIDEST_ZONE: SignedDuration = SignedDuration::from_hours(14);
    let utc = jiff::tz::TimeZone::UTC.to_datetime(now);
    match ended.map(|ended| utc.duration_since(ended)) {
        Some(age) if age >= -WIDEST_ZONE => {
            age > SignedDuration::try_from(limit).unwrap_or(SignedDuration::MAX)
        }
        _ => !ever_ran,
    }
}

/// The node and the step at which a task failed, as it tells them.
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

/// The names of the top-level fields in which two tasks differ.
fn differing_keys(before: &str, after: &str) -> String {
    let parse = |text: &str| {
        serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).unwrap_or_default()
    };
    let (before, after) = (parse(before), parse(after));
    let keys: std::collections::BTreeSet<&String> =
        before.keys().chain(after.keys()).filter(|key| before.get(*key) != after.get(*key)).collect();
    keys.into_iter().cloned().collect::<Vec<_>>().join(", ")
}
