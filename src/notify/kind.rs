//! What people are told of: each kind of thing, how grave it is, and which entry of the journal is one. Pure.

use serde::Deserialize as _;
use serde::de::value::StrDeserializer;

use crate::model::decision::Action;
use crate::model::event::{Event, Outcome};
use crate::model::level::Level;
use crate::model::reason::Reason;
use crate::model::record::TaskRecord;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $word:literal $severity:ident $title:literal;)*) => {
        /// A kind of thing that people are told of.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        pub enum Kind {
            $($(#[$doc])* #[serde(rename = $word)] $kind,)*
        }

        impl Kind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)*];

            /// The stable word.
            pub fn word(self) -> &'static str {
                match self { $(Self::$kind => $word,)* }
            }

            /// How grave it is.
            pub fn severity(self) -> Level {
                match self { $(Self::$kind => Level::$severity,)* }
            }

            /// The same as a heading.
            pub fn title(self) -> &'static str {
                match self { $(Self::$kind => $title,)* }
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
    /// Retries are used up, and the abort waits for its grace.
    Exhausted "exhausted" Warning "retries used up, abort to come";
    /// The daemon aborted it.
    Aborted "aborted" Warning "aborted";
    /// It succeeded after a retry.
    #[serde(alias = "remedied")]
    ResolvedByRetry "resolved-by-retry" Info "resolved-by-retry";
    /// It had failed, and succeeded without a retry of ours.
    #[serde(alias = "solved-by-others")]
    ResolvedExternally "resolved-externally" Info "resolved externally";
    /// It was handed to an operator.
    Escalated "escalated" Critical "an operator is needed";
    /// Somebody else changed the failed task.
    #[serde(alias = "touched-by-others")]
    ChangedExternally "changed-externally" Critical "changed externally";
    /// It had failed long before it was first seen.
    StaleFailure "stale-failure" Info "old failure found";
    /// A task that is escalated runs again.
    RunningAgain "running-again" Info "running again";
    /// A task runs for longer than its policy expects.
    RunningTooLong "running-too-long" Warning "running too long";
    /// An operator gave it back to the daemon.
    #[serde(alias = "given-back")]
    ResetByOperator "reset-by-operator" Info "reset by an operator";
    /// It had failed, and a newer task took its place.
    Superseded "superseded" Info "superseded";
    /// It had failed, and is there no more.
    Gone "gone" Info "gone";
    /// It still waits for an operator.
    Reminder "reminder" Critical "still needs an operator";
    /// A task shows a status that we do not know.
    UnknownStatus "unknown-status" Critical "unknown status";
    /// For an hour it has not been clear what to do about a failed task.
    Unclear "unclear" Critical "unclear";
    /// Too many tasks failed at once.
    BreakerOpened "breaker-opened" Critical "breaker opened";
    /// One PUT was let through.
    BreakerHalfOpen "breaker-half-open" Warning "breaker half-open";
    /// It acts again.
    BreakerClosed "breaker-closed" Info "breaker closed";
    /// The project cannot be seen.
    #[serde(alias = "blind")]
    Unreachable "unreachable" Critical "project cannot be polled";
    /// It can be seen again.
    #[serde(alias = "sees")]
    Reachable "reachable" Info "project can be polled again";
    /// The project is paused after a refusal.
    #[serde(alias = "rests")]
    Paused "paused" Critical "project is paused";
    /// It acts again.
    #[serde(alias = "acts")]
    Resumed "resumed" Info "project is resumed";
    /// Our clock and the service's differ too much.
    ClockOff "clock-off" Critical "clock off";
    /// They agree again.
    ClockRight "clock-right" Info "clock right again";
    /// The journal cannot be written.
    JournalFails "journal-fails" Critical "journal cannot be written";
    /// It is written again.
    JournalWorks "journal-works" Info "journal written again";
    /// A new journal was begun.
    NewJournal "new-journal" Warning "new journal begun";
    /// An operator tries the channel.
    Test "test" Info "test message";
}

impl Kind {
    /// The kind of this word.
    pub fn of_word(word: &str) -> Option<Self> {
        // As a notification of an earlier version names it, too.
        Self::deserialize(StrDeserializer::<serde::de::value::Error>::new(word)).ok()
    }

    /// What comes first where there is not room for everything: what needs an operator, then what somebody may want to stop
    /// in time.
    pub fn rank(self) -> (Level, bool) {
        (self.severity(), self == Self::Exhausted)
    }

    /// What an entry tells people, if anything. `known` is the history of its task with the entry in it;
    /// `breaker_open`: the breaker of the project is open, and has let no PUT through yet.
    pub fn of(event: &Event, known: Option<&TaskRecord>, breaker_open: bool) -> Option<Self> {
        let had_failed = known.is_none_or(|known| known.failure.is_some());
        let needs_operator = known.is_some_and(|known| known.escalated.is_some());
        Some(match event {
            Event::Failed(seen) if seen.too_old => Self::StaleFailure,
            Event::Failed(seen) if seen.number == 1 => Self::FirstFailure,
            Event::Failed(_) if needs_operator => Self::FailedAgain,
            Event::Running { .. } if needs_operator => Self::RunningAgain,
            Event::Intent { .. } if breaker_open => Self::BreakerHalfOpen,
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
            Event::BreakerOpened { .. } => Self::BreakerOpened,
            Event::BreakerClosed { .. } => Self::BreakerClosed,
            Event::RunningTooLong { .. } => Self::RunningTooLong,
            _ => return None,
        })
    }

    /// Whether [`Self::of`] and the choice of the channels need the history of the task.
    pub fn needs_history(event: &Event) -> bool {
        match event {
            // Its own terms say which policy governs.
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

    /// Whether it is of a project as a whole, and its task only where it was found.
    pub fn is_of_project(self) -> bool {
        matches!(
            self,
            Self::BreakerOpened
                | Self::BreakerClosed
                | Self::Unreachable
                | Self::Reachable
                | Self::Paused
                | Self::Resumed
                | Self::ClockOff
                | Self::ClockRight
                | Self::JournalFails
                | Self::JournalWorks
                | Self::NewJournal
                | Self::Test
        )
    }

    /// The lasting states that this begins (`true`) or ends, each by the name that an alert of it bears.
    pub fn states(self) -> &'static [(State, bool)] {
        use State::{
            AbortPending, BreakerOpen, ClockWrong, Failed, JournalBroken, NeedsOperator, New, Overlong,
            Paused, ProjectUnreachable, Stale, Trial, Unknown,
        };
        const OVER: &[(State, bool)] = &[
            (Failed, false),
            (AbortPending, false),
            (NeedsOperator, false),
            (Overlong, false),
            (Stale, false),
        ];
        match self {
            // What failed does not run any more.
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
            | Self::Gone => OVER,
            Self::StaleFailure => &[(Stale, true)],
            Self::RunningTooLong => &[(Overlong, true)],
            Self::UnknownStatus | Self::Unclear => &[(Unknown, true)],
            Self::BreakerOpened | Self::BreakerHalfOpen => &[(BreakerOpen, true)],
            Self::BreakerClosed => &[(BreakerOpen, false)],
            Self::Unreachable => &[(ProjectUnreachable, true)],
            Self::Reachable => &[(ProjectUnreachable, false)],
            Self::Paused => &[(Paused, true)],
            Self::Resumed => &[(Paused, false)],
            Self::ClockOff => &[(ClockWrong, true)],
            Self::ClockRight => &[(ClockWrong, false)],
            Self::JournalFails => &[(JournalBroken, true)],
            Self::JournalWorks => &[(JournalBroken, false)],
            Self::NewJournal => &[(New, true)],
            Self::Test => &[(Trial, true)],
        }
    }
}

/// A state that lasts, of a task or of a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// A task failed, and its story is not over.
    Failed,
    /// It will be aborted.
    AbortPending,
    /// It is escalated.
    NeedsOperator,
    /// It runs too long.
    Overlong,
    /// It failed long ago and is left alone.
    Stale,
    /// It shows an unknown status.
    Unknown,
    /// The breaker is open.
    BreakerOpen,
    /// The project cannot be seen.
    ProjectUnreachable,
    /// It rests.
    Paused,
    /// The clock is off.
    ClockWrong,
    /// The journal cannot be written.
    JournalBroken,
    /// A new journal was begun.
    New,
    /// A test.
    Trial,
}

impl State {
    /// The name of its alert.
    pub fn alert(self) -> &'static str {
        match self {
            Self::Failed => "UpgradeTaskFailed",
            Self::AbortPending => "UpgradeTaskAbortPending",
            Self::NeedsOperator => "UpgradeTaskNeedsOperator",
            Self::Overlong => "UpgradeTaskRunningTooLong",
            Self::Stale => "UpgradeTaskStaleFailure",
            Self::Unknown => "UpgradeTaskUnknownStatus",
            Self::BreakerOpen => "UpgradeRemediatorBreakerOpen",
            Self::ProjectUnreachable => "UpgradeRemediatorProjectUnreachable",
            Self::Paused => "UpgradeRemediatorProjectPaused",
            Self::ClockWrong => "UpgradeRemediatorClockOff",
            Self::JournalBroken => "UpgradeRemediatorJournalFails",
            Self::New => "UpgradeRemediatorNewJournal",
            Self::Trial => "UpgradeRemediatorTest",
        }
    }

    /// How grave it is.
    pub fn severity(self) -> Level {
        match self {
            Self::Stale | Self::Trial => Level::Info,
            Self::Failed | Self::AbortPending | Self::Overlong | Self::New => Level::Warning,
            _ => Level::Critical,
        }
    }

    /// Whether something will tell its end. Others end by themselves.
    pub fn is_ended(self) -> bool {
        !matches!(self, Self::Unknown | Self::New | Self::Trial)
    }
}
