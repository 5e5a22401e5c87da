//! The texts of the cluster page and of its timeline, in English. A second language is a second file like this one.

use crate::model::text::counted;

pub(super) const NOW: &str = "Now";
pub(super) const TIMELINE: &str = "Timeline";
pub(super) const SCHEDULE: &str = "What comes next, unless the task succeeds";
pub(super) const HISTORY: &str = "What happened, newest first";
pub(super) const NO_ENTRY: &str =
    "The journal has no entry: the daemon has seen no task of this cluster running or failed.";
pub(super) const OLDER_ENTRIES: &str = "Older entries:";
pub(super) const POLICIES: &str = "Policies";
pub(super) const GOVERNS: &str = "governs the task";
pub(super) const EARLIER_GOVERNS: &str = "an earlier policy governs the task";
pub(super) const PRECONDITIONS: &str = "Preconditions";
pub(super) const IN_PROJECT: &str = "in project";
pub(super) const TO_POLL: &str = "To poll the CSS API now:";
pub(super) const BEFORE_ACTING: &str = "Before acting by hand:";

/// The states of a task, in the legend of the timeline.
pub(super) const RUNNING: &str = "running";
pub(super) const FAILED: &str = "failed";
pub(super) const CONFIRMING: &str = "request sent, not yet confirmed";
pub(super) const NEEDS_OPERATOR: &str = "needs an operator";
/// The results of a request, in the legend of the timeline.
pub(super) const ACCEPTED: &str = "accepted";
pub(super) const NOT_ACCEPTED: &str = "not accepted";
pub(super) const UNKNOWN: &str = "outcome unknown";
/// Several states or results in one mark, in the legend of the timeline.
pub(super) const SEVERAL: &str = "several of these";
pub(super) const MIXED: &str = "several outcomes";
/// The sentences below the timeline.
pub(super) const TIMES: &str = "Times are UTC.";
pub(super) const COUNTED: &str = "A number counts marks that are too near to each other to be drawn.";
pub(super) const CUT: &str = "Earlier entries are not drawn.";
pub(super) const CUT_IN_WORDS: &str = "Earlier entries of the journal are not drawn.";
/// The label of the line that marks the present time.
pub(super) const MARK_OF_NOW: &str = "now";
/// The label of the lane with the states of a task.
pub(super) const TASK: &str = "Task";

pub(super) fn title(task: &str, cluster: &str) -> String {
    format!("Timeline of task {task} of cluster {cluster}")
}

pub(super) fn range(from: &str, to: &str, now: &str) -> String {
    format!("From {from} to {to}; it is {now}.")
}

pub(super) fn from_to(from: &str, to: &str) -> String {
    format!("from {from} to {to}")
}

pub(super) fn from_on(from: &str) -> String {
    format!("from {from}, with no known end")
}

/// Several short spans that are drawn as one.
pub(super) fn together(times: usize, period: &str, what: &str) -> String {
    format!("{times} times, {period}: {what}")
}

pub(super) fn task_ended(outcome: &str) -> String {
    format!("Task, ended: {outcome}")
}

pub(super) fn ended(at: &str, outcome: &str) -> String {
    format!("ended at {at}: {outcome}")
}

pub(super) fn failures_label(count: u64) -> String {
    counted(count, "failure", "failures")
}

pub(super) fn failure(number: u32, at: &str) -> String {
    format!("failure {number} at {at}")
}

pub(super) fn failures(count: usize, period: &str) -> String {
    format!("{count} failures {period}")
}

/// `all`: the number of nodes, if the API has shown it.
pub(super) fn nodes_label(completed: u32, all: Option<u32>) -> String {
    let nodes = |count: u32| counted(u64::from(count), "node", "nodes");
    match all {
        Some(all) => format!("{completed} of {} seen completed", nodes(all)),
        None => format!("{} seen completed", nodes(completed)),
    }
}

pub(super) fn nodes(completed: u32) -> String {
    format!("{} completed", counted(u64::from(completed), "node", "nodes"))
}

pub(super) fn retries_label(count: u64) -> String {
    counted(count, "retry request", "retry requests")
}

pub(super) fn aborts_label(count: u64) -> String {
    counted(count, "abort request", "abort requests")
}

pub(super) fn request(action: &str, id: &str, at: &str, result: &str) -> String {
    format!("{action} request {id} at {at}, {result}")
}

pub(super) fn requests(action: &str, count: usize, period: &str, results: &str) -> String {
    format!("{count} {action} requests {period}, {results}")
}

pub(super) fn next(action: &str, at: &str, away: &str) -> String {
    format!("{action} at {at} ({away})")
}

pub(super) fn next_label(next: &str) -> String {
    format!("Next: {next}")
}

pub(super) fn hold(number: u64) -> String {
    format!("Hold #{number}")
}

pub(super) fn block_until(block: &str, end: &str) -> String {
    format!("{block} until {end}")
}

pub(super) fn block_over(block: &str) -> String {
    format!("{block}, over")
}

pub(super) fn block_without_end(block: &str) -> String {
    format!("{block}, no known end")
}

#[cfg(test)]
mod tests {
    /// The template without the parts between these marks.
    fn without(template: &str, open: &str, close: &str) -> String {
        let mut parts = template.split(open);
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |text, part| text + " " + part.split_once(close).map_or("", |(_, rest)| rest))
    }

    #[test]
    fn the_templates_of_a_cluster_and_of_its_timeline_have_no_texts_of_their_own() {
        for template in [include_str!("pages/cluster.html"), include_str!("pages/picture.html")] {
            let marks = [("<code", "</code>"), ("{#", "#}"), ("{%", "%}"), ("{{", "}}"), ("<", ">")];
            let text =
                marks.iter().fold(template.to_owned(), |text, (open, close)| without(&text, open, close));
            let words: Vec<&str> =
                text.split_whitespace().filter(|word| word.contains(char::is_alphabetic)).collect();
            assert!(words.is_empty(), "{words:?} belong into web::texts");
        }
    }
}
