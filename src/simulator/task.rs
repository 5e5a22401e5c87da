//! One upgrade or AZ switchover: how it works on its nodes, one by one, and where it fails.
//!
//! Everything here is a function of the time that is passed in.

use std::time::Duration;

use super::scenario::{FailRule, Kind};
use super::steps::STEPS;
use super::time::SimTime;

/// A task's state.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Task {
    pub(super) id: String,
    pub(super) kind: Kind,
    pub(super) start: SimTime,
    /// The names of its nodes, in the order in which they are worked on.
    pub(super) nodes: Vec<String>,
    pub(super) completed: usize,
    /// The number of its runs, the present one counted.
    pub(super) execution: u64,
    /// The run in which it appeared.
    pub(super) first_execution: u64,
    pub(super) phase: Phase,
    pub(super) terminated: bool,
    /// An abort that is visible by the missing current node.
    pub(super) hides_current_node: bool,
    pub(super) node_time: Duration,
    pub(super) batch_size: usize,
    pub(super) fail: Vec<FailRule>,
    pub(super) plan: Plan,
}

/// The purpose of the task.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    pub(super) agency: String,
    /// Of an upgrade: the engine and version of the target image, and its id.
    pub(super) engine: String,
    pub(super) version: String,
    pub(super) image_id: String,
    /// Of an AZ switchover.
    pub(super) source_az: String,
    pub(super) target_az: String,
    pub(super) migrate_type: String,
    pub(super) instance_type: String,
}

/// The activity of the task.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Phase {
    /// The current node is being worked on since then.
    Running { since: SimTime },
    /// Ended, with this status, since then. `worked` is how long the current node had been worked
    /// on.
    Ended { at: SimTime, status: String, worked: Duration },
}

/// What happens next to a running task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    NodeCompleted,
    Fails { status: &'static str, worked: Duration },
}

/// The result of a step of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Passed {
    NodeCompleted,
    Ended(String),
}

impl Task {
    /// The API's word.
    pub(super) fn status(&self) -> &str {
        match &self.phase {
            Phase::Running { .. } => "RUNNING",
            Phase::Ended { status, .. } => status,
        }
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running { .. })
    }

    /// The node being worked on, or at which it failed.
    pub(super) fn current_node(&self) -> Option<&str> {
        self.nodes.get(self.completed).map(String::as_str)
    }

    pub(super) fn completed_nodes(&self) -> &[String] {
        self.nodes.get(..self.completed).unwrap_or(&self.nodes)
    }

    /// Returns its next change, and when that happens.
    pub(super) fn next(&self) -> Option<(SimTime, Next)> {
        let Phase::Running { since } = self.phase else { return None };
        let node = self.completed + 1;
        let Some(rule) = self.fail.iter().find(|rule| rule.hits(node, self.execution)) else {
            return Some((since.after(self.node_time), Next::NodeCompleted));
        };
        let worked = self.time_into(rule.step);
        Some((since.after(worked), Next::Fails { status: rule.status.word(), worked }))
    }

    /// Makes the next change; `at` is its time from [`Self::next`].
    pub(super) fn pass(&mut self, at: SimTime, next: Next) -> Vec<Passed> {
        match next {
            Next::NodeCompleted => {
                self.completed += 1;
                if self.completed < self.nodes.len() {
                    self.phase = Phase::Running { since: at };
                    return vec![Passed::NodeCompleted];
                }
                self.phase = Phase::Ended { at, status: "SUCCESS".to_owned(), worked: self.node_time };
                vec![Passed::NodeCompleted, Passed::Ended("SUCCESS".to_owned())]
            }
            Next::Fails { status, worked } => {
                self.phase = Phase::Ended { at, status: status.to_owned(), worked };
                vec![Passed::Ended(status.to_owned())]
            }
        }
    }

    /// Runs it again, from the node at which it failed. The completed nodes stay completed.
    pub(super) fn restart(&mut self, now: SimTime) {
        self.execution += 1;
        self.terminated = false;
        self.hides_current_node = false;
        self.phase = Phase::Running { since: now };
    }

    /// Returns how long a node is worked on until it is in the middle of this step.
    pub(super) fn time_into(&self, order: u32) -> Duration {
        let mut begin = 0;
        for step in STEPS {
            if step.order == order {
                return self.node_time * (begin + step.until_percent) / 200;
            }
            begin = step.until_percent;
        }
        self.node_time
    }

    /// Returns when the work on the current (or last) node began, and how long it had taken at
    /// `now`.
    pub(super) fn work(&self, now: SimTime) -> (SimTime, Duration) {
        match &self.phase {
            Phase::Running { since } => {
                let worked = u64::try_from(now.0.saturating_sub(since.0)).unwrap_or(0);
                (*since, Duration::from_millis(worked).min(self.node_time))
            }
            Phase::Ended { at, worked, .. } => (at.before(*worked), *worked),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::simulator::scenario::{FailStatus, Times};

    pub(crate) fn task(fail: Vec<FailRule>) -> Task {
        Task {
            id: "t".to_owned(),
            kind: Kind::Upgrade,
            start: SimTime(0),
            nodes: vec!["a".to_owned(), "b".to_owned()],
            completed: 0,
            execution: 1,
            first_execution: 1,
            phase: Phase::Running { since: SimTime(0) },
            terminated: false,
            hides_current_node: false,
            node_time: Duration::from_secs(10),
            batch_size: 1,
            fail,
            plan: Plan {
                agency: "css_test_agency".to_owned(),
                engine: "elasticsearch".to_owned(),
                version: "7.10.2".to_owned(),
                image_id: "i".to_owned(),
                source_az: "a".to_owned(),
                target_az: "b".to_owned(),
                migrate_type: "az_migrate".to_owned(),
                instance_type: "all".to_owned(),
            },
        }
    }

    fn step(task: &mut Task) -> SimTime {
        let (at, next) = task.next().expect("it runs");
        task.pass(at, next);
        at
    }

    #[test]
    fn a_task_completes_its_nodes_one_by_one_and_succeeds() {
        let mut task = task(Vec::new());
        assert_eq!(step(&mut task), SimTime(10_000));
        assert_eq!((task.status(), task.completed_nodes().len()), ("RUNNING", 1));
        assert_eq!(step(&mut task), SimTime(20_000));
        assert_eq!((task.status(), task.completed_nodes().len()), ("SUCCESS", 2));
        assert_eq!(task.next(), None);
    }

    #[test]
    fn a_retried_task_keeps_its_completed_nodes_and_goes_on_at_the_failed_one() {
        let rule = FailRule {
            node: 2,
            execution: 1,
            times: Times::Count(1),
            status: FailStatus::PartialFailed,
            step: 12,
        };
        let mut task = task(vec![rule]);
        step(&mut task);
        assert_eq!(step(&mut task), SimTime(19_800), "in the middle of the last step");
        assert_eq!((task.status(), task.current_node()), ("PARTIAL_FAILED", Some("b")));
        task.restart(SimTime(60_000));
        assert_eq!((task.execution, task.completed, task.status()), (2, 1, "RUNNING"));
        assert_eq!(step(&mut task), SimTime(70_000));
        assert_eq!(task.status(), "SUCCESS");
    }

    #[test]
    fn a_rule_counts_executions() {
        let rule =
            |execution, times| FailRule { node: 1, execution, times, status: FailStatus::Failed, step: 0 };
        assert!(rule(1, Times::Count(2)).hits(1, 2));
        assert!(!rule(1, Times::Count(2)).hits(1, 3));
        assert!(!rule(1, Times::Count(2)).hits(2, 1));
        assert!(!rule(3, Times::Always).hits(1, 2));
        assert!(rule(3, Times::Always).hits(1, 900));
    }
}
