//! The kinds of notifications: their level, and which entry of the journal is one. Pure.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::condition::Code;
use crate::model::decision::Action;
use crate::model::event::{Event, Outcome};
use crate::model::level::Level;
use crate::model::reason::Reason;
use crate::model::record::TaskRecord;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $word:literal $severity:ident $title:literal;)*) => {
        /// A kind of notification.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Kind {
            $($(#[$doc])* $kind,)*
            /// A condition began, or changed.
            Began(Code),
            /// A condition ended.
            Ended(Code),
        }

        impl Kind {
            /// All kinds except those of conditions.
            const OF_TASKS: &'static [Self] = &[$(Self::$kind,)*];

            /// The stable word.
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$kind => $word,)*
                    Self::Began(code) => code.word(),
                    Self::Ended(code) => code.end_word(),
                }
            }

            /// Returns its level.
            pub fn severity(self) -> Level {
                match self {
                    $(Self::$kind => Level::$severity,)*
                    Self::Began(code) => code.level(),
                    Self::Ended(_) => Level::Info,
                }
            }

            /// Returns the kind as a heading.
            pub fn title(self) -> &'static str {
                match self {
                    $(Self::$kind => $title,)*
                    Self::Began(code) => code.title(),
                    Self::Ended(code) => code.end_title(),
                }
            }
        }
    };
}

kinds! {
    /// A task failed for the first time.
    FirstFailure "first-failure" Warning "task failed";
    /// A task that is escalated failed again.
    FailedAgain "failed-again" Warning "failed again";
    /// A retry is being sent.
    RetrySent "retry-sent" Info "retry sent";
    /// In dry-run: a retry would be sent.
    WouldRetry "would-retry" Info "would retry (dry-run)";
    /// In dry-run: an abort would be sent.
    WouldAbort "would-abort" Info "would abort (dry-run)";
    /// The retries are exhausted, and the abort waits for its grace.
    Exhausted "exhausted" Warning "retries exhausted, abort pending";
    /// The daemon aborted it.
    Aborted "aborted" Warning "aborted";
    /// It succeeded after a retry.
    ResolvedByRetry "resolved" Info "resolved by a retry";
    /// It had failed, and succeeded without a retry of ours.
    ResolvedExternally "resolved-externally" Info "resolved externally";
    /// The task was escalated.
    Escalated "escalated" Critical "needs an operator";
    /// The failed task changed externally.
    ChangedExternally "changed-externally" Critical "changed externally";
    /// It had failed long before it was first seen.
    StaleFailure "stale-failure" Info "old failure found";
    /// A task that is escalated runs again.
    RunningAgain "running-again" Info "running again";
    /// A task runs for longer than its policy expects.
    RunningTooLong "running-too-long" Warning "running too long";
    /// An operator reset the task: the daemon handles it again.
    ResetByOperator "reset-by-operator" Info "reset by an operator";
    /// It had failed, and a newer task took its place.
    Superseded "superseded" Info "superseded";
    /// It had failed, and the API does not show it any more.
    Gone "gone" Info "gone";
    /// It still waits for an operator.
    Reminder "reminder" Critical "still needs an operator";
    /// A new journal was begun, because the old one is gone.
    NewJournal "new-journal" Warning "new journal created";
    /// An operator tries the channel.
    Test "test" Info "test message";
}

impl Kind {
    /// All kinds. Of conditions, those that operators are notified of.
    pub fn all() -> impl Iterator<Item = Self> {
        let notified = Code::ALL.iter().filter(|code| code.level() == Level::Critical);
        let of_conditions = notified.flat_map(|code| [Self::Began(*code), Self::Ended(*code)]);
        Self::OF_TASKS.iter().copied().chain(of_conditions)
    }

    /// The kind of this word.
    pub fn of_word(word: &str) -> Option<Self> {
        let word = FORMER_WORDS.iter().find(|(former, _)| *former == word).map_or(word, |(_, now)| now);
        Self::all().find(|kind| kind.word() == word)
    }

    /// Returns the order in a message: what needs an operator first, and of that what concerns a
    /// whole project; then what an operator may want to stop in time.
    pub fn rank(self) -> (Level, bool, bool) {
        (self.severity(), matches!(self, Self::Began(_)), self == Self::Exhausted)
    }

    /// Returns the kind of an entry's notification, if it has one. `known`: the record of its task
    /// with the entry folded in.
    pub fn of(event: &Event, known: Option<&TaskRecord>) -> Option<Self> {
        let had_failed = known.is_none_or(|known| known.failure.is_some());
        let needs_operator = known.is_some_and(|known| known.escalated.is_some());
        Some(match event {
            Event::Failed(seen) if seen.too_old => Self::StaleFailure,
            Event::Failed(seen) if seen.number == 1 => Self::FirstFailure,
            Event::Failed(_) if needs_operator => Self::FailedAgain,
            Event::Running { .. } if needs_operator => Self::RunningAgain,
            Event::Intent { action: Action::Retry, .. } => Self::RetrySent,
            Event::Decided { reason: Reason::AbortPending { .. }, .. } => Self::Exhausted,
            Event::Decided { reason: Reason::DryRun { action: Action::Retry }, .. } => Self::WouldRetry,
            Event::Decided { reason: Reason::DryRun { action: Action::Abort }, .. } => Self::WouldAbort,
            Event::Escalated { reason: Reason::ChangedExternally { .. } } => Self::ChangedExternally,
            Event::Escalated { .. } => Self::Escalated,
            Event::Reset { .. } => Self::ResetByOperator,
            Event::Ended(Outcome::Aborted) => Self::Aborted,
            Event::Ended(Outcome::ResolvedByRetry) => Self::ResolvedByRetry,
            Event::Ended(Outcome::ResolvedExternally) if had_failed => Self::ResolvedExternally,
            Event::Ended(Outcome::Superseded { .. }) if had_failed => Self::Superseded,
            Event::Ended(Outcome::Gone) if had_failed => Self::Gone,
            Event::RunningTooLong { .. } => Self::RunningTooLong,
            _ => return None,
        })
    }

    /// Returns whether [`Self::of`] and the choice of the channels need the record of the task.
    pub fn needs_history(event: &Event) -> bool {
        match event {
            // The terms in the event name the policy that governs.
            Event::Failed(seen) => seen.number > 1 && !seen.too_old,
            Event::Running { .. }
            | Event::RunningTooLong { .. }
            | Event::Intent { .. }
            | Event::Escalated { .. }
            | Event::Reset { .. }
            | Event::Ended(_) => true,
            Event::Decided { reason, .. } => {
                matches!(reason, Reason::AbortPending { .. } | Reason::DryRun { .. })
            }
            _ => false,
        }
    }

    /// Returns the lasting states that this kind begins (`true`) or ends, each by the name of its
    /// alert.
    pub fn states(self) -> Vec<(State, bool)> {
        use State::{AbortPending, Condition, Failed, NeedsOperator, New, Overlong, Stale, Trial};
        let states: &[(State, bool)] = match self {
            // A failed task does not run any more.
            Self::FirstFailure | Self::RetrySent | Self::WouldRetry | Self::WouldAbort => {
                &[(Failed, true), (Overlong, false)]
            }
            Self::FailedAgain => &[(Failed, true), (NeedsOperator, true), (Overlong, false)],
            Self::Exhausted => &[(Failed, true), (AbortPending, true)],
            Self::Escalated | Self::ChangedExternally | Self::Reminder => {
                &[(Failed, true), (AbortPending, false), (NeedsOperator, true)]
            }
            Self::ResetByOperator | Self::RunningAgain => &[(NeedsOperator, false)],
            Self::ResolvedByRetry
            | Self::ResolvedExternally
            | Self::Aborted
            | Self::Superseded
            | Self::Gone => &[
                (Failed, false),
                (AbortPending, false),
                (NeedsOperator, false),
                (Overlong, false),
                (Stale, false),
            ],
            Self::StaleFailure => &[(Stale, true)],
            Self::RunningTooLong => &[(Overlong, true)],
            Self::NewJournal => &[(New, true)],
            Self::Test => &[(Trial, true)],
            Self::Began(code) => &[(Condition(code), true)],
            Self::Ended(code) => &[(Condition(code), false)],
        };
        states.to_vec()
    }
}

/// Words of kinds in earlier versions, with their present words.
const FORMER_WORDS: [(&str, &str); 15] = [
    ("remedied", "resolved"),
    ("resolved-by-retry", "resolved"),
    ("solved-by-others", "resolved-externally"),
    ("touched-by-others", "changed-externally"),
    ("given-back", "reset-by-operator"),
    ("unknown-status", "unclear"),
    ("breaker-opened", "breaker-open"),
    ("blind", "unreachable"),
    ("sees", "reachable"),
    ("rests", "project-paused"),
    ("paused", "project-paused"),
    ("acts", "project-resumed"),
    ("resumed", "project-resumed"),
    ("journal-fails", "journal-failing"),
    ("breaker-half-open", "breaker-open"),
];

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        Self::of_word(&word)
            .ok_or_else(|| D::Error::custom(format!("no kind of notification is called {word:?}")))
    }
}

/// A state that lasts, of a task or of a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// A task failed, and its lifecycle is not over.
    Failed,
    /// It will be aborted.
    AbortPending,
    /// It is escalated.
    NeedsOperator,
    /// It runs too long.
    Overlong,
    /// It failed long ago, and the daemon does not act on it.
    Stale,
    /// A condition.
    Condition(Code),
    /// A new journal was begun.
    New,
    /// A test.
    Trial,
}

impl State {
    /// Returns the name of its alert.
    pub fn alert(self) -> &'static str {
        match self {
            Self::Failed => "UpgradeTaskFailed",
            Self::AbortPending => "UpgradeTaskAbortPending",
            Self::NeedsOperator => "UpgradeTaskNeedsOperator",
            Self::Overlong => "UpgradeTaskRunningTooLong",
            Self::Stale => "UpgradeTaskStaleFailure",
            Self::Condition(code) => code.alert(),
            Self::New => "UpgradeRemediatorNewJournal",
            Self::Trial => "UpgradeRemediatorTest",
        }
    }

    /// Returns its level.
    pub fn severity(self) -> Level {
        match self {
            Self::Stale | Self::Trial => Level::Info,
            Self::Failed | Self::AbortPending | Self::Overlong | Self::New => Level::Warning,
            Self::NeedsOperator => Level::Critical,
            Self::Condition(code) => code.level(),
        }
    }

    /// Returns whether a later notification reports its end. Other states end by themselves.
    pub fn is_ended(self) -> bool {
        !matches!(self, Self::New | Self::Trial)
    }
}
