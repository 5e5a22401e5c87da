//! Everything that a decision about a cluster depends on: the policies, the coming steps, and each
//! precondition with its value, its limit and its verdict. The same functions decide.

use std::time::Duration;

use crate::decide::preconditions::Preconditions;
use crate::decide::{NewestTask, StepInput, backoff, breaker};
use crate::model::decision::Action;
use crate::model::explanation::{PolicyVerdict, Precondition, Step, TaskFacts};
use crate::model::id::ClusterId;
use crate::model::moment::Moment;
use crate::model::outlook::{NextRequest, Outlook};
use crate::model::policy::{Mode, OnExhausted, Terms};
use crate::model::project::{MAX_CLOCK_OFFSET, Poll, is_clock_off};
use crate::model::project_state::ProjectState;
use crate::model::reason::Reason;
use crate::model::record::TaskRecord;
use crate::model::task::Task;
use crate::model::text::{counted, shown, span, utc};
use crate::model::window::WindowState;

/// A longer sequence of steps is shown as one.
const STEPS: u32 = 10;

/// Returns the policies as [`super::govern::matching`] checks them: the first that matches the task
/// governs.
pub fn policies(matching: Vec<(String, Option<String>)>) -> Vec<PolicyVerdict> {
    let mut governed = false;
    let verdict = |(policy, mismatch): (String, Option<String>)| {
        let governs = mismatch.is_none() && !governed;
        governed |= governs;
        PolicyVerdict { policy, governs, mismatch }
    };
    matching.into_iter().map(verdict).collect()
}

/// The task, as the poll showed it.
pub fn facts(task: &Task) -> TaskFacts {
    let step = task.failing_step();
    TaskFacts {
        id: task.id.clone(),
        kind: task.kind,
        status: task.status.word().to_owned(),
        started: task.start_time.map(|time| time.to_string()),
        ended: task.end_time.map(|time| time.to_string()),
        executions: task.execute_times,
        nodes_done: task.completed.count(),
        nodes: u32::try_from(task.total_nodes.len()).unwrap_or(u32::MAX),
        current_node: task.current_node.clone(),
        failing_step: step.map(|step| match step.order {
            Some(order) => format!("step {order} {}", step.name),
            None => step.name.clone(),
        }),
    }
}

/// Returns the coming steps if the task continues to fail at the same node, in order. `outlook`: what
/// comes next of it.
pub fn schedule(known: &TaskRecord, terms: &Terms, poll: &Poll, outlook: &Outlook) -> Vec<Step> {
    let failure = known.failure.as_ref().filter(|failure| !failure.seen.too_old);
    if !known.is_pending() || failure.is_none() {
        return Vec::new();
    }
    let (retry, used) = (&terms.retry, known.retries_used(terms));
    let mut steps = Vec::new();
    let at =
        |next: Option<NextRequest>, action| next.filter(|next| next.action == action).map(|next| next.at);
    let due = at(outlook.next, Action::Retry);
    let earliest = at(outlook.not_before, Action::Retry);
    let jitter = if retry.randomization_factor > 0.0 {
        format!(", give or take {:.0} %", retry.randomization_factor * 100.0)
    } else {
        String::new()
    };
    for number in used..retry.max_retries.min(used.saturating_add(STEPS)) {
        let n = number + 1;
        let first = number == used;
        let what = match (first, due) {
            (true, Some(_)) => format!("retry {n} of {}", retry.max_retries),
            (true, None) => {
                let when = earliest.map(|at| format!("not before {}", utc(at)));
                let when = when.unwrap_or_else(|| "once it is no longer blocked".to_owned());
                format!("retry {n} of {}, {when}", retry.max_retries)
            }
            (false, _) => {
                let wait = span(backoff::interval(retry, number));
                format!("retry {n} of {}, {wait} after the next failure{jitter}", retry.max_retries)
            }
        };
        steps.push(Step { at: due.filter(|_| first), what });
    }
    let left = retry.max_retries.saturating_sub(used);
    if left > STEPS {
        let what = counted(u64::from(left - STEPS), "more retry", "more retries");
        steps.push(Step { at: None, what });
    }
    let what = match terms.on_exhausted {
        OnExhausted::Abort => format!(
            "an abort, {} after the retries are exhausted{}, if no node is completed; otherwise an escalation to an operator",
            span(terms.abort_grace),
            if terms.abort_grace < poll.settle_timeout && (used > 0 || retry.max_retries > 0) {
                format!(" and {} after the last request at the earliest", span(poll.settle_timeout))
            } else {
                String::new()
            }
        ),
        OnExhausted::Escalate => "an escalation to an operator, once the retries are exhausted".to_owned(),
    };
    steps.push(Step { at: at(outlook.next, Action::Abort), what });
    if let Some(limit) = retry.max_elapsed_time.filter(|_| left > 0) {
        let so_far =
            if known.waited.is_zero() { String::new() } else { format!(" ({} so far)", span(known.waited)) };
        let what = format!(
            "an escalation to an operator before a retry that would make the task wait more than {} in total{so_far}",
            span(limit)
        );
        steps.push(Step { at: None, what });
    }
    steps
}

/// Returns everything that can block a PUT, with its present value.
pub fn preconditions(state: &ProjectState, input: StepInput<'_>, now: Moment) -> Vec<Precondition> {
    let (preconditions, cluster) = (input.preconditions(state), &input.cluster.id);
    let terms = input.newest(state).task().and_then(|task| input.terms(task));
    let mut all = of_task(state, input);
    let mut add = |name: &str, value: String, limit: String, passes: bool| {
        all.push(Precondition { name: name.to_owned(), value, limit, passes });
    };
    let hold = preconditions.on_hold(cluster, now);
    add(
        "hold",
        hold.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string),
        "none".to_owned(),
        hold.is_none(),
    );
    let policy = terms.map_or_else(|| "none".to_owned(), |terms| shown(&terms.policy, 60));
    add("policy", policy, "one that covers the task".to_owned(), terms.is_some());
    let effective = terms.map_or(input.rules.mode, |terms| terms.mode);
    let word = |mode: Mode| mode.word().to_owned();
    add("mode", word(effective), word(Mode::Enforce), effective == Mode::Enforce);
    if let Some(window) = terms.and_then(|terms| terms.window.as_ref()) {
        let (value, passes) = match window.at(now.wall) {
            WindowState::Open { closes } => (changes("open", "closes", closes, window), true),
            WindowState::Closed { opens } => (changes("closed", "opens", opens, window), false),
        };
        add("window", value, "open".to_owned(), passes);
    }
    of_project(preconditions, cluster, now, &mut add);
    all
}

fn changes(
    word: &str,
    verb: &str,
    at: Option<jiff::Timestamp>,
    window: &crate::model::window::Window,
) -> String {
    at.map_or_else(|| word.to_owned(), |at| format!("{word}, {verb} at {}", window.shown(at)))
}

/// Returns the preconditions of the task itself.
fn of_task(state: &ProjectState, input: StepInput<'_>) -> Vec<Precondition> {
    let mut all = Vec::new();
    let mut add = |name: &str, value: String, limit: &str, passes: bool| {
        all.push(Precondition { name: name.to_owned(), value, limit: limit.to_owned(), passes });
    };
    let standing = input.newest(state);
    let (newest, certain) = match &standing {
        NewestTask::Newest(task) => (format!("task {}", task.id), true),
        NewestTask::Running(task) => (format!("task {} is running", task.id), false),
        NewestTask::Nothing => ("no task".to_owned(), false),
        NewestTask::Uncertain(reason) => (reason.to_string(), false),
    };
    add("newest", newest, "a certain newest task, and none that is running", certain);
    let task = standing.task();
    let known = task.and_then(|task| input.record(state).tasks.get(&task.id));
    let status = task.map_or_else(|| "none".to_owned(), |task| shown(task.status.word(), 40));
    add("status", status, "FAILED", task.is_some_and(|task| task.status.is_failure()));
    let open = known.and_then(|known| known.open.as_ref());
    add(
        "open request",
        open.map_or_else(|| "none".to_owned(), |open| format!("{} request {}", open.action, open.id)),
        "none",
        open.is_none(),
    );
    let human = known.and_then(|known| known.escalated.as_ref());
    add(
        "escalation",
        human.map_or_else(|| "none".to_owned(), |it| it.reason.code().to_owned()),
        "none",
        human.is_none(),
    );
    if let Some(task) = task {
        let abortable = known.map_or_else(|| task.abortable(), |known| known.abortable(task));
        let (value, passes) = match abortable {
            Ok(_) => ("no node completed".to_owned(), true),
            Err(doubt) => (doubt.to_string(), false),
        };
        add("nodes (for an abort only)", value, "no completed and no unreadable node", passes);
    }
    all
}

/// Returns the preconditions above all policies.
fn of_project(
    preconditions: Preconditions<'_>,
    cluster: &ClusterId,
    now: Moment,
    add: &mut impl FnMut(&str, String, String, bool),
) {
    let offset = preconditions.clock_offset;
    let off = offset.map(jiff::SignedDuration::unsigned_abs);
    add(
        "clock",
        off.map_or_else(
            || "not known yet".to_owned(),
            |off| match off.as_secs() {
                0 => "less than 1s off".to_owned(),
                seconds => format!("{} off", span(Duration::from_secs(seconds))),
            },
        ),
        format!("{} at most", span(MAX_CLOCK_OFFSET)),
        !is_clock_off(offset),
    );
    let pause = preconditions.forbids(now).filter(|reason| matches!(reason, Reason::ProjectPaused { .. }));
    let pause = pause.or_else(|| preconditions.paused(cluster, now));
    add(
        "pause",
        pause.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string),
        "none".to_owned(),
        pause.is_none(),
    );
    let held = breaker::hold_back(preconditions.project_state, preconditions.breaker, now);
    let failures = preconditions.project_state.breaker.failures(preconditions.breaker.within, now);
    add(
        "breaker",
        held.as_ref().map_or_else(
            || {
                format!(
                    "closed, {} in {}",
                    counted(u64::from(failures), "failure", "failures"),
                    span(preconditions.breaker.within)
                )
            },
            ToString::to_string,
        ),
        format!("fewer than {} in {}", preconditions.breaker.failures, span(preconditions.breaker.within)),
        held.is_none(),
    );
    let sent = preconditions.project_state.puts_within_an_hour(now);
    let limit = preconditions.limits.max_actions_per_hour;
    add("actions per hour", sent.to_string(), format!("fewer than {limit}"), sent < limit);
    let others = preconditions.project_state.others_in_flight(cluster);
    let limit = preconditions.limits.max_actions_in_flight;
    add("retries in flight elsewhere", others.to_string(), format!("fewer than {limit}"), others < limit);
}
