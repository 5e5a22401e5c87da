//! The outlook of a task: what is true now, what blocks its next request, and which request is sent
//! when. One value, shown by every command, page and message.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::decision::Action;
use super::event::Outcome;
use super::reason::{Reason, Why};
use super::record::{Phase, PhaseWord, TaskRecord};
use super::text::utc;

/// The outlook of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outlook {
    /// Where the task is in its lifecycle: [`Phase`]. `None` where no task of the cluster is known.
    pub phase: Option<PhaseWord>,
    /// What is true now; of an escalated task the cause.
    pub reason: Why,
    /// Everything that would block the next request, from the moment it is in force.
    pub blocked_by: Vec<Block>,
    /// The next request and its time, if nobody intervenes; `None` if there is none, or if it
    /// depends on the next polls.
    pub next: Option<NextRequest>,
    /// The next request with its earliest time, where other tasks of the project may go first and stop it: one request alone is
    /// sent as a probe, and a limit may be used up. `next` is `None` then.
    #[serde(default)]
    pub not_before: Option<NextRequest>,
    /// Whether the daemon will not act on the failed task by itself.
    pub needs_attention: bool,
    /// What an operator can do, with the command.
    pub next_step: Option<String>,
}

/// Something that stops a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// The stable code.
    pub code: String,
    /// The sentence.
    pub text: String,
    /// When it ends by itself, if it does and the time is known.
    pub until: Option<Timestamp>,
    /// The command that ends it, if there is one.
    pub ended_by: Option<String>,
}

/// The next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NextRequest {
    /// When it is due. It is sent within one `active_interval` of that.
    pub at: Timestamp,
    /// Which.
    pub action: Action,
}

const NOT_POLLED: &str = "not-polled";

/// What an operator can do about the reason, where something is known.
fn step(reason: &Reason, is_refused: bool) -> Option<String> {
    let step = if is_refused { reason.next_step_without_orders() } else { reason.next_step() };
    step.map(str::to_owned)
}

/// How a task ended that was not aborted, and when.
fn ended(outcome: &Outcome, at: Timestamp) -> Why {
    let how = match outcome {
        Outcome::ResolvedByRetry => "resolved by retry".to_owned(),
        Outcome::ResolvedExternally => "resolved externally".to_owned(),
        Outcome::Aborted => "aborted".to_owned(),
        Outcome::Superseded { by } => format!("superseded by the newer task {by}"),
        Outcome::Gone => "gone: two polls did not find it".to_owned(),
    };
    let text = format!("the task ended at {}: {how}", utc(at));
    Why { code: Reason::Ended.code().to_owned(), text }
}

impl Block {
    /// Makes a block of a reason.
    pub fn new(reason: &Reason) -> Self {
        Self {
            code: reason.code().to_owned(),
            text: reason.to_string(),
            until: reason.until(),
            ended_by: reason.ended_by(),
        }
    }

    /// Makes the block while no poll of the cluster has been taken in since the start.
    pub fn not_polled() -> Self {
        Self::of(NOT_POLLED, "the daemon has not polled the cluster since it started")
    }

    /// Makes the block while no daemon runs.
    pub fn not_running() -> Self {
        let ended_by = Some("systemctl start upgrade-remediator".to_owned());
        Self { ended_by, ..Self::of("not-running", "no daemon is reachable, so no request is sent") }
    }

    /// Makes the block if no project of the daemon knows the task.
    pub fn not_watched() -> Self {
        Self::of("not-watched", "the daemon does not watch the project of the cluster")
    }

    /// Returns the sentence, with the command that ends it.
    pub fn in_words(&self) -> String {
        match &self.ended_by {
            Some(command) => format!("{} (ended by: {command})", self.text),
            None => self.text.clone(),
        }
    }

    /// Makes a reason that is not one of a decision.
    pub fn of(code: &str, text: &str) -> Self {
        Self { code: code.to_owned(), text: text.to_owned(), until: None, ended_by: None }
    }
}

impl Outlook {
    /// Makes the outlook from the present state of the task, if one is known.
    pub fn new(
        known: Option<&TaskRecord>,
        reason: &Reason,
        blocks: &[Reason],
        next: Option<NextRequest>,
    ) -> Self {
        let phase = known.map(TaskRecord::phase);
        let why = match phase {
            Some(Phase::Ended(outcome, at)) if *outcome != Outcome::Aborted => ended(outcome, at.wall),
            _ => Why::from(reason),
        };
        let is_refused = std::iter::once(reason).chain(blocks).any(Reason::refuses_orders);
        let is_left = matches!(phase, Some(Phase::Failed(_)))
            && std::iter::once(reason).chain(blocks).any(Reason::needs_attention);
        Self {
            phase: phase.map(PhaseWord::from),
            reason: why,
            blocked_by: blocks.iter().map(Block::new).collect(),
            next,
            not_before: None,
            needs_attention: is_left || matches!(phase, Some(Phase::Escalated(_))),
            next_step: step(reason, is_refused),
        }
    }

    /// Of a task for which no request comes next. `blocks`: what would block one that an operator orders.
    pub fn without_request(known: &TaskRecord, reason: &Reason, blocks: &[Reason]) -> Self {
        let is_refused = blocks.iter().any(Reason::refuses_orders);
        let outlook = Self::new(Some(known), reason, &[], None);
        if is_refused { Self { next_step: step(reason, true), ..outlook } } else { outlook }
    }

    /// By what the journal knows alone, while this blocks every request.
    pub fn by_journal(known: &TaskRecord, block: Block) -> Self {
        let reason = known.last_known();
        // An order has the cluster polled, if a daemon is there to take it.
        let is_refused = block.code != NOT_POLLED || reason.refuses_orders();
        let blocked_by = if matches!(known.phase(), Phase::Failed(_)) { vec![block] } else { Vec::new() };
        let next_step = step(&reason, is_refused);
        Self { blocked_by, next_step, ..Self::new(Some(known), &reason, &[], None) }
    }

    /// Whether the next step names this command.
    pub fn advises(&self, command: &str) -> bool {
        self.next_step.as_ref().is_some_and(|step| step.contains(&format!("`{command}`")))
    }

    /// The next request, with the time or the earliest time of it.
    pub fn request(&self) -> Option<NextRequest> {
        self.next.or(self.not_before)
    }

    /// Returns whether the task failed, and the daemon handles its failure.
    pub fn is_failed(&self) -> bool {
        self.phase == Some(PhaseWord::Failed)
    }

    /// Returns whether the task has ended.
    pub fn is_ended(&self) -> bool {
        self.phase == Some(PhaseWord::Ended)
    }

    /// Returns the same, with each command in it as `write` writes it.
    #[must_use]
    pub fn with_commands(mut self, write: impl Fn(&str) -> String) -> Self {
        for command in self.blocked_by.iter_mut().filter_map(|block| block.ended_by.as_mut()) {
            *command = write(command);
        }
        self.next_step = self.next_step.map(|step| write(&step));
        self
    }

    /// Returns the same while this blocks every request, too.
    #[must_use]
    pub fn while_blocked(mut self, block: Block) -> Self {
        if self.is_failed() {
            self.blocked_by.push(block);
            (self.next, self.not_before) = (None, None);
        }
        self
    }

    /// Returns what happens next, in words; empty if there is nothing to say.
    pub fn next_in_words(&self) -> String {
        if let Some(next) = self.next {
            return format!("{} at {}", next.action, utc(next.at));
        }
        if let Some(next) = self.not_before {
            let at = utc(next.at);
            return format!("{}, not before {at}: other tasks of the project may go first", next.action);
        }
        let words = match self.phase {
            None | Some(PhaseWord::Ended) => "",
            Some(PhaseWord::Running) => "nothing while the task runs",
            Some(PhaseWord::OutcomeUnknown) => {
                "the next polls confirm the outcome of the request; no other request is sent until then"
            }
            Some(PhaseWord::Escalated) => "nothing until an operator acts",
            Some(PhaseWord::Failed) if !self.blocked_by.is_empty() => "nothing while the request is blocked",
            Some(PhaseWord::Failed) if self.needs_attention => "nothing until an operator acts",
            Some(PhaseWord::Failed) => "the next polls decide",
        };
        words.to_owned()
    }

    /// Returns what happens next with everything that blocks it, in one sentence.
    pub fn next_with_blocks(&self) -> String {
        let next = self.next_in_words();
        if self.blocked_by.is_empty() {
            return next;
        }
        let blocks: Vec<String> = self.blocked_by.iter().map(Block::in_words).collect();
        let link = if self.request().is_some() { ", once it is no longer blocked" } else { "" };
        format!("{next}{link}: {}", blocks.join("; "))
    }

    /// Returns everything but the reason, in lines for people.
    pub fn in_words(&self) -> Vec<(&'static str, String)> {
        let block = |block: &Block| ("blocked by", block.to_string());
        let next = Some(self.next_in_words()).filter(|next| !next.is_empty()).map(|next| ("next", next));
        let step = self.next_step.clone().map(|step| ("operator", step));
        self.blocked_by.iter().map(block).chain(next).chain(step).collect()
    }
}

/// `on-hold: hold #3 by uid 0 … (ended by: upgrade-remediator release all)`
impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.in_words())
    }
}
