//! How the API behaves where its documentation is unclear. The defaults are what its samples
//! suggest.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error as _};

use crate::simulator::time::{Offset, length, some_length};

/// The ways of the whole API.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ways {
    /// Which query parameter names the first item of a page.
    pub paging: Paging,
    /// How far the API's clock is ahead of the true time: in its `Date`, in its times, in its check
    /// of signatures.
    pub clock_offset: Offset,
    /// The word in a cluster's `actions` while a task runs; none if empty. With a word, the
    /// cluster's status is 100 meanwhile.
    pub running_action: String,
    /// The errors in the list of clusters.
    pub list: ListWays,
    /// The errors in a list of tasks.
    pub tasks: ListWays,
    /// The order of a list of tasks.
    pub order: Order,
    /// What `executeTimes` shows.
    pub execute_times: ExecuteTimesWay,
    /// What `endTime` shows of a task that has ended.
    pub end_time: EndTimeWay,
    /// What `completedNodes` shows.
    pub completed_nodes: CompletedNodesWay,
    /// Reads of tasks show the state of this long ago.
    #[serde(deserialize_with = "length")]
    pub stale_for: Duration,
    /// What an abort changes.
    pub after_abort: AfterAbort,
    /// How a retry of a task that has not failed is refused.
    pub retry_refusal: Refusal,
}

/// The differences of one cluster's ways.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterWays {
    /// As in [`Ways`].
    pub tasks: Option<ListWays>,
    /// As in [`Ways`].
    pub order: Option<Order>,
    /// As in [`Ways`].
    pub execute_times: Option<ExecuteTimesWay>,
    /// As in [`Ways`].
    pub end_time: Option<EndTimeWay>,
    /// As in [`Ways`].
    pub completed_nodes: Option<CompletedNodesWay>,
    /// As in [`Ways`].
    #[serde(deserialize_with = "some_length")]
    pub stale_for: Option<Duration>,
    /// As in [`Ways`].
    pub after_abort: Option<AfterAbort>,
    /// As in [`Ways`].
    pub retry_refusal: Option<Refusal>,
}

impl ClusterWays {
    /// Returns the ways of this cluster in a world of these ways.
    pub(crate) fn over(&self, world: &Ways) -> Ways {
        let own = self.clone();
        Ways {
            tasks: own.tasks.unwrap_or_else(|| world.tasks.clone()),
            order: own.order.unwrap_or(world.order),
            execute_times: own.execute_times.unwrap_or(world.execute_times),
            end_time: own.end_time.unwrap_or(world.end_time),
            completed_nodes: own.completed_nodes.unwrap_or(world.completed_nodes),
            stale_for: own.stale_for.unwrap_or(world.stale_for),
            after_abort: own.after_abort.unwrap_or_else(|| world.after_abort.clone()),
            retry_refusal: own.retry_refusal.unwrap_or_else(|| world.retry_refusal.clone()),
            ..world.clone()
        }
    }
}

/// Which query parameter names the first item of a page.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Paging {
    /// The newer name; `start` is ignored.
    Offset,
    /// The older name; `offset` is ignored.
    Start,
    /// Either; `offset` counts if both are sent.
    #[default]
    Both,
}

/// The errors in a list.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListWays {
    /// The value of `totalSize`.
    pub total_size: TotalSize,
    /// The number of missing elements at the end, though `totalSize` counts them.
    pub left_out: usize,
    /// The longest page, whatever the `limit`.
    pub max_page: Option<usize>,
}

/// The value of `totalSize`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TotalSize {
    /// The true number.
    #[default]
    Honest,
    /// One more.
    OneMore,
    /// One less.
    OneLess,
    /// Nothing: the field is missing.
    Absent,
}

/// The order of a list of tasks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// By start, the newest first.
    #[default]
    NewestFirst,
    /// By start, the oldest first.
    OldestFirst,
    /// Any order, and another one each time.
    Shuffled,
}

/// The value of `executeTimes`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExecuteTimesWay {
    /// One more for each run.
    #[default]
    Grows,
    /// Its first value.
    Constant,
    /// Two more for each run.
    #[serde(rename = "grows-by-2")]
    GrowsByTwo,
    /// Nothing: the field is missing.
    Absent,
}

/// The value of `endTime` of a task that has ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndTimeWay {
    /// When it ended.
    #[default]
    Present,
    /// Nothing: the field is missing.
    Absent,
    /// An empty text, as while it runs.
    Blank,
}

/// The value of `completedNodes`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CompletedNodesWay {
    /// The names; an empty text if there are none.
    #[default]
    Present,
    /// Nothing: the field is missing.
    Absent,
    /// `null`.
    Null,
    /// A blank, whatever is completed.
    Blank,
}

/// What an abort changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum AfterAbort {
    /// The task as it was: `"nothing"`.
    #[default]
    Nothing,
    /// The task, FAILED as before, without its current node: `"field"`.
    Field,
    /// No task: `"vanishes"`.
    Vanishes,
    /// The task with another status: that word in capitals, such as `"TERMINATED"`.
    Status(String),
}

impl<'de> Deserialize<'de> for AfterAbort {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        match word.as_str() {
            "nothing" => Ok(Self::Nothing),
            "field" => Ok(Self::Field),
            "vanishes" => Ok(Self::Vanishes),
            status if !status.is_empty() && status.chars().all(|c| c.is_ascii_uppercase() || c == '_') => {
                Ok(Self::Status(word))
            }
            _ => Err(D::Error::custom(format!(
                "{word:?} is not an allowed result of an abort: \"nothing\", \"field\", \"vanishes\" or a status in capitals"
            ))),
        }
    }
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Refusal {
    /// The status.
    pub status: u16,
    /// The error code.
    pub code: String,
    /// The error's message.
    pub message: String,
}

impl Default for Refusal {
    fn default() -> Self {
        Self {
            status: 400,
            code: "CSS.5090".to_owned(),
            message: "The operation is not allowed in the current state.".to_owned(),
        }
    }
}
