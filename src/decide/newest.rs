//! Which task of a cluster the decision is about: the newest of both kinds, if that is certain and
//! nothing runs.

use std::time::Duration;

use crate::model::reason::Reason;
use crate::model::record::ClusterRecord;
use crate::model::task::{Reading, Task, TaskStatus};

/// The newest task of a cluster, by one poll.
#[derive(Debug, Clone, PartialEq)]
pub enum NewestTask<'a> {
    /// It has no task at all.
    Nothing,
    /// This task runs, so nothing is sent for the cluster.
    Running(&'a Task),
    /// It is not certain which task is the newest, or whether one runs: why.
    Uncertain(Reason),
    /// This task is the newest.
    Newest(&'a Task),
}

impl<'a> NewestTask<'a> {
    /// Finds the newest task in one poll; no task that was polled before may be newer. Two polls
    /// are at least `settle_interval` apart.
    pub fn of(reading: &'a Reading, record: &ClusterRecord, settle_interval: Duration) -> Self {
        if let Some(running) = reading.tasks.iter().find(|task| task.status == TaskStatus::Running) {
            return Self::Running(running);
        }
        if !reading.complete {
            return Self::Uncertain(Reason::ListIncomplete);
        }
        let mut missed = record.tasks.iter().filter(|(id, _)| reading.task(id).is_none());
        if let Some((id, _)) = missed.find(|(_, known)| {
            known.running.is_some() && !known.is_missed_twice(reading.asked, settle_interval)
        }) {
            return Self::Uncertain(Reason::RunningMissing { task: id.clone() });
        }
        if let Some(undated) = reading.tasks.iter().find(|task| task.start_time.is_none()) {
            return unclear(format!("the startTime of task {} is missing or unreadable", undated.id));
        }
        let Some(newest) = reading.tasks.iter().max_by_key(|task| task.start_time) else {
            return match &record.newest_start {
                Some((_, id)) => Self::Uncertain(Reason::NewestMissing { task: Some(id.clone()) }),
                None => Self::Nothing,
            };
        };
        let rival = reading
            .tasks
            .iter()
            .find(|task| !std::ptr::eq(*task, newest) && task.start_time == newest.start_time);
        if let Some(rival) = rival {
            return unclear(format!("tasks {} and {} have the same startTime", newest.id, rival.id));
        }
        if reading.tasks.iter().any(|task| !std::ptr::eq(task, newest) && task.id == newest.id) {
            return unclear(format!("task {} is listed twice", newest.id));
        }
        match &record.newest_start {
            Some((floor, id)) if newest.start_time.is_some_and(|start| start < *floor) => {
                Self::Uncertain(Reason::NewestMissing { task: Some(id.clone()) })
            }
            _ => Self::Newest(newest),
        }
    }

    /// Returns the task for which the cluster's policy is looked up, if any.
    pub fn task(&self) -> Option<&'a Task> {
        match self {
            Self::Running(task) | Self::Newest(task) => Some(task),
            Self::Nothing | Self::Uncertain(_) => None,
        }
    }
}

fn unclear<'a>(detail: String) -> NewestTask<'a> {
    NewestTask::Uncertain(Reason::OrderUnclear { detail })
}
