//! The sentences of reasons that read differently by what they are made of.

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
        Some(done) => format!("the task is running, {done} of {total} {nodes} done"),
        None => format!("the task is running; how many of its {total} {nodes} are done cannot be read"),
    };
    match execution {
        Some(n) if n > 1 => format!("{running} (execution {n}); it cannot be stopped"),
        _ => format!("{running}; it cannot be stopped"),
    }
}

pub(super) fn newest_missing(task: Option<&TaskId>) -> String {
    match task {
        Some(task) => format!(
            "task {task}, the newest ever seen, is missing from the list, so older ones are left alone"
        ),
        None => "the newest task ever seen is missing from the list, so older ones are left alone".to_owned(),
    }
}

pub(super) fn unknown_status(word: &str) -> String {
    if word.is_empty() {
        return "it shows no status, so it is left alone".to_owned();
    }
    format!("its status \"{}\" is not one that we know, so it is left alone", shown(word, 60))
}

pub(super) fn too_old(ended: Option<&str>, limit: Duration, in_future: bool) -> String {
    match ended {
        Some(ended) if in_future => format!(
            "it is said to end at {ended} (cloud time), which lies in the future, and it was never seen running: its age \
             cannot be told, so it is left alone"
        ),
        Some(ended) => format!(
            "it ended at {ended} (cloud time), more than {} before it was first seen, so it is left alone",
            span(limit)
        ),
        None => format!(
            "it does not tell when it ended and was never seen running, so it counts as older than {} and is left alone",
            span(limit)
        ),
    }
}

pub(super) fn outcome_unknown(attempt: AttemptId, action: Action, answered: bool) -> String {
    if answered {
        format!(
            "the service accepted the {action} (PUT {attempt}); readings do not show for certain yet what came of it"
        )
    } else {
        format!("whether the service accepted the {action} (PUT {attempt}) is unknown; readings will show it")
    }
}

/// That retries are used up, and how many of them were somebody else's.
pub(super) fn used_up(used: u32, external: u32) -> String {
    match (used, external) {
        (0, _) => "no retry is allowed".to_owned(),
        (1, 0) => "the one retry is used up".to_owned(),
        (1, _) => "the one retry is used up (by others)".to_owned(),
        (_, 0) => format!("all {used} retries are used up"),
        _ => format!("all {used} retries are used up ({external} of them by others)"),
    }
}

/// What of the wait before an abort stands in brackets.
pub(super) fn grace_of_abort(grace: Duration, after_put: Option<Duration>) -> String {
    match after_put {
        None => format!("grace {}", span(grace)),
        Some(after) => format!("grace {}, and not within {} of the last PUT", span(grace), span(after)),
    }
}

pub(super) fn refusal(cause: PauseCause) -> &'static str {
    match cause {
        PauseCause::Forbidden => "the service refused a PUT as forbidden",
        PauseCause::WrongAddress => "something other than the service answered a PUT",
    }
}

pub(super) fn clock_off(seconds: i64) -> String {
    let way = if seconds < 0 { "behind" } else { "ahead of" };
    format!(
        "our clock is {} {way} the service's, and nothing is sent while they differ by more than {}",
        span(Duration::from_secs(seconds.unsigned_abs())),
        span(MAX_CLOCK_OFFSET)
    )
}

/// Until when a hold is in force.
pub(super) fn hold_ends(until: Option<Timestamp>) -> String {
    until.map_or_else(|| "until it is released".to_owned(), |until| format!("until {}", utc(until)))
}

pub(super) fn window_opens(opens: Option<Timestamp>) -> String {
    match opens {
        Some(opens) => format!("opens at {}", utc(opens)),
        None => "no opening of it can be found".to_owned(),
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
    answer.map_or_else(|| "no answer was recorded".to_owned(), ToString::to_string)
}
