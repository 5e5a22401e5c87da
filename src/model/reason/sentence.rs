//! The sentences of reasons with several forms.

use std::time::Duration;

use jiff::Timestamp;

use crate::model::action::Action;
use crate::model::answer::Answer;
use crate::model::id::{AttemptId, TaskId};
use crate::model::project::{MAX_CLOCK_OFFSET, PauseCause};
use crate::model::text::{shown, span, utc};

pub(super) fn running(done: Option<u32>, total: u32, execution: Option<u64>) -> String {
    let nodes = if total == 1 { "node" } else { "nodes" };
    let running = match done {
        Some(done) => format!("the task is running, {done} of {total} {nodes} completed"),
        None => format!("the task is running; how many of its {total} {nodes} are completed cannot be read"),
    };
    match execution {
        Some(n) if n > 1 => format!("{running} (run {n}); a running task cannot be stopped"),
        _ => format!("{running}; a running task cannot be stopped"),
    }
}

pub(super) fn newest_missing(task: Option<&TaskId>) -> String {
    match task {
        Some(task) => format!(
            "task {task}, the newest ever seen, is missing from the list, so the daemon does not act on older tasks"
        ),
        None => {
            "the newest task ever seen is missing from the list, so the daemon does not act on older tasks"
                .to_owned()
        }
    }
}

pub(super) fn unknown_status(word: &str) -> String {
    if word.is_empty() {
        return "the task has no status, so the daemon does not act on it".to_owned();
    }
    format!("the daemon does not know the task's status \"{}\", so it does not act on it", shown(word, 60))
}

pub(super) fn too_old(ended: Option<&str>, limit: Duration, in_future: bool) -> String {
    match ended {
        Some(ended) if in_future => format!(
            "the failure of the task, at {ended} (cloud time), is in the future, and the task was never seen running: its age \
             is unknown, so the daemon does not act on it"
        ),
        Some(ended) => format!(
            "the task failed at {ended} (cloud time), more than {} before it was first seen, so the daemon does not act \
             on it",
            span(limit)
        ),
        None => format!(
            "the task has no end time and was never seen running, so it counts as older than {} and the daemon does \
             not act on it",
            span(limit)
        ),
    }
}

pub(super) fn outcome_unknown(attempt: AttemptId, action: Action, answered: bool) -> String {
    if answered {
        format!("the CSS API accepted {action} request {attempt}; the next polls have to confirm its effect")
    } else {
        format!(
            "whether the CSS API accepted {action} request {attempt} is unknown; the next polls will show it"
        )
    }
}

/// Returns that retries are exhausted, and how many of them were external.
pub(super) fn exhausted(used: u32, external: u32) -> String {
    match (used, external) {
        (0, _) => "retries exhausted (the policy allows none)".to_owned(),
        (_, 0) => format!("retries exhausted ({used} used)"),
        _ => format!("retries exhausted ({used} used, {external} of them external)"),
    }
}

/// Returns the brackets with the wait before an abort.
pub(super) fn grace_of_abort(grace: Duration, after_put: Option<Duration>) -> String {
    match after_put {
        None => format!("grace {}", span(grace)),
        Some(after) => format!("grace {}, and not within {} of the last request", span(grace), span(after)),
    }
}

pub(super) fn refusal(cause: PauseCause) -> &'static str {
    match cause {
        PauseCause::Forbidden => "the CSS API refused a request as forbidden",
        PauseCause::WrongAddress => "something other than the CSS API answered a request",
    }
}

pub(super) fn clock_off(seconds: i64) -> String {
    let way = if seconds < 0 { "behind" } else { "ahead of" };
    format!(
        "this machine's clock is {} {way} the CSS API's clock; no request is sent while they differ by more than {}",
        span(Duration::from_secs(seconds.unsigned_abs())),
        span(MAX_CLOCK_OFFSET)
    )
}

/// Returns until when a hold is in force.
pub(super) fn hold_ends(until: Option<Timestamp>) -> String {
    until.map_or_else(|| "until it is released".to_owned(), |until| format!("until {}", utc(until)))
}

pub(super) fn window_opens(opens: Option<Timestamp>) -> String {
    match opens {
        Some(opens) => format!("opens at {}", utc(opens)),
        None => "no time at which it opens can be found".to_owned(),
    }
}

pub(super) fn retry_is_due(waited: Duration) -> String {
    if waited.is_zero() { "due again".to_owned() } else { format!("due after waiting {}", span(waited)) }
}

pub(super) fn policies(first: Option<&str>, now: &str) -> String {
    let now = shown(now, 60);
    match first.map(|first| shown(first, 60)) {
        None => format!("no policy, and policy {now} is in force"),
        Some(first) if first == now => format!("other terms of policy {now}"),
        Some(first) => format!("policy {first}, and policy {now} is in force"),
    }
}

pub(super) fn recorded(answer: Option<&Answer>) -> String {
    answer.map_or_else(|| "no response was recorded".to_owned(), ToString::to_string)
}
