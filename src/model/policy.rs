//! The content of a policy, after every check: which tasks it matches and what to do with them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use globset::{GlobBuilder, GlobMatcher};
use serde::{Deserialize, Serialize};

use super::task::TaskKind;
use super::window::Window;

/// Whether PUTs are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Decide and notify; send nothing.
    #[default]
    DryRun,
    /// Send.
    Enforce,
}

impl Mode {
    /// The word in the configuration, and in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::DryRun => "dry-run",
            Self::Enforce => "enforce",
        }
    }
}

/// What to do when the retries are exhausted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnExhausted {
    /// Abort if that is safe, otherwise escalate.
    Abort,
    /// Escalate.
    Escalate,
}

/// How often, how soon and for how long to retry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Retry {
    /// Accepted retries without progress, not counting the first run; 0 = none.
    pub max_retries: u32,
    /// From the moment the failure was first seen to the first retry.
    pub initial_interval: Duration,
    /// At least 1, and finite.
    pub multiplier: f64,
    /// No wait is longer.
    pub max_interval: Duration,
    /// Jitter around the interval, 0 to 1.
    pub randomization_factor: f64,
    /// Waiting since the first failure or the last progress; `None` = no end.
    pub max_elapsed_time: Option<Duration>,
    /// Whether progress starts the count of retries again.
    pub reset_on_progress: bool,
    /// Whether `PARTIAL_FAILED` is retried.
    pub retry_partial_failed: bool,
    /// Whether an external retry counts.
    pub count_external: bool,
}

/// The rules of a policy for a task that it governs. Journaled with each failure, so that a change
/// of the policy is noticed: only a failure first seen under the terms in force can be aborted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// The policy's name.
    pub policy: String,
    /// The mode in effect: the policy's own, and never above the global one.
    pub mode: Mode,
    /// What follows when the retries are exhausted.
    pub on_exhausted: OnExhausted,
    /// From the exhaustion of the retries, which is reported at once, to the abort.
    pub abort_grace: Duration,
    /// How to retry.
    pub retry: Retry,
    /// When to act; absent: always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            max_retries: 5,
            initial_interval: Duration::from_mins(2),
            multiplier: 2.0,
            max_interval: Duration::from_hours(1),
            randomization_factor: 0.2,
            max_elapsed_time: Some(Duration::from_hours(168)),
            reset_on_progress: true,
            retry_partial_failed: true,
            count_external: true,
        }
    }
}

impl Terms {
    /// Returns the defaults of every key, for a policy of this name.
    pub fn defaults(policy: &str, mode: Mode) -> Self {
        Self {
            policy: policy.to_owned(),
            mode,
            on_exhausted: OnExhausted::Abort,
            abort_grace: Duration::from_mins(15),
            retry: Retry::default(),
            window: None,
        }
    }
}

/// A glob over a whole name: `*` any run of characters, `?` one, `[ab]` a class, `{a,b}` a choice.
#[derive(Clone)]
pub struct Pattern {
    text: String,
    matcher: GlobMatcher,
}

impl Pattern {
    /// Compiles the glob.
    ///
    /// # Errors
    /// If the text is not a valid glob.
    pub fn new(text: &str) -> Result<Self, globset::Error> {
        let matcher =
            GlobBuilder::new(text).literal_separator(false).backslash_escape(true).build()?.compile_matcher();
        Ok(Self { text: text.to_owned(), matcher })
    }

    /// Returns whether it matches this whole name.
    pub fn covers(&self, name: &str) -> bool {
        self.matcher.is_match(name)
    }

    /// Returns the text of the configuration.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// Which tasks a policy matches. Every given line must hold; in a list any item; absent matches
/// everything.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Match {
    /// Names of projects.
    pub project: Option<Vec<Pattern>>,
    /// Names or ids of clusters.
    pub cluster: Option<Vec<Pattern>>,
    /// Kinds of tasks.
    pub task: Option<Vec<TaskKind>>,
    /// Engines.
    pub engine: Option<Vec<Pattern>>,
    /// Versions of the engine.
    pub version: Option<Vec<Pattern>>,
    /// Tags with their values.
    pub tags: BTreeMap<String, Pattern>,
}

/// How long a RUNNING task is expected to take: the configuration's `[policy.expect]`. Only
/// reported, because a running task cannot be stopped. Not a part of the [`Terms`]: a change of it
/// is no change of policy, so no abort turns into an escalation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expect {
    /// For each node …
    pub per_node: Duration,
    /// … and this for all of it.
    pub allowance: Duration,
    /// A node is expected to complete within this.
    pub no_progress: Duration,
}

impl Default for Expect {
    fn default() -> Self {
        Self {
            per_node: Duration::from_mins(15),
            allowance: Duration::from_hours(4),
            no_progress: Duration::from_hours(12),
        }
    }
}

impl Expect {
    /// Returns how long one run with this number of nodes may take.
    pub fn whole(&self, nodes: u32) -> Duration {
        self.allowance.saturating_add(self.per_node.saturating_mul(nodes))
    }
}

/// One policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Which tasks it matches.
    pub matches: Match,
    /// The rules for them.
    pub terms: Terms,
    /// How long they are expected to run.
    pub expect: Expect,
}

impl Policy {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.terms.policy
    }
}
