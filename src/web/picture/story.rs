//! The facts of a timeline: from the explanation of a cluster and from the journaled entries of its
//! task. No state is worked out here: the phase, the blocks and the next request are those of the
//! [`Outlook`].

use jiff::{SignedDuration, Timestamp};

use super::super::{ClusterView, texts};
use crate::model::action::Action;
use crate::model::answer::Meaning;
use crate::model::decision::PassiveVerdict;
use crate::model::event::{Confirmation, Event, StoredEntry};
use crate::model::hold::StoredHold;
use crate::model::id::AttemptId;
use crate::model::outlook::{NextRequest, Outlook};
use crate::model::reason::Reason;
use crate::model::record::PhaseWord;
use crate::model::window::{Window, WindowState};

/// The shortest timeline.
const SHORTEST: SignedDuration = SignedDuration::from_mins(5);
/// How far ahead the end of a block is shown for a younger task.
const AHEAD: SignedDuration = SignedDuration::from_hours(1);
/// Further turns of a window are not drawn.
const TURNS: usize = 64;
const ON_HOLD: &str = "on-hold";
const WINDOW_CLOSED: &str = "window-closed";

/// The state of a task during a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    Running,
    Waiting,
    Confirming,
    Operator,
}

impl State {
    fn of(phase: PhaseWord) -> Option<Self> {
        match phase {
            PhaseWord::Running => Some(Self::Running),
            PhaseWord::Failed => Some(Self::Waiting),
            PhaseWord::OutcomeUnknown => Some(Self::Confirming),
            PhaseWord::Escalated => Some(Self::Operator),
            PhaseWord::Ended => None,
        }
    }

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Running => texts::RUNNING,
            Self::Waiting => texts::FAILED,
            Self::Confirming => texts::CONFIRMING,
            Self::Operator => texts::NEEDS_OPERATOR,
        }
    }

    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Running => "runs",
            Self::Waiting => "waits",
            Self::Confirming => "confirms",
            Self::Operator => "operator",
        }
    }
}

/// The result of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fate {
    Accepted,
    NotAccepted,
    Unknown,
}

impl Fate {
    pub(super) const ALL: [Self; 3] = [Self::Accepted, Self::NotAccepted, Self::Unknown];

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Accepted => texts::ACCEPTED,
            Self::NotAccepted => texts::NOT_ACCEPTED,
            Self::Unknown => texts::UNKNOWN,
        }
    }

    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::NotAccepted => "refused",
            Self::Unknown => "unknown",
        }
    }
}

/// One request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) id: AttemptId,
    pub(super) at: Timestamp,
    pub(super) action: Action,
    pub(super) fate: Fate,
}

/// A state with its beginning and its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span<T> {
    pub(super) what: T,
    pub(super) from: Timestamp,
    /// `None`: its end is not known.
    pub(super) to: Option<Timestamp>,
}

/// A block: the code of the reason, and a name of its own, if it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) code: String,
    pub(super) name: String,
}

/// Everything that the timeline of one task shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Story {
    /// The first and the last moment of the timeline.
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    pub(super) now: Timestamp,
    pub(super) spans: Vec<Span<State>>,
    /// The time when each was first seen, with its number.
    pub(super) failures: Vec<(Timestamp, u32)>,
    pub(super) requests: Vec<Request>,
    /// The number of nodes that are known to be completed.
    pub(super) nodes: Vec<Span<u32>>,
    /// All nodes, if a failure showed their number.
    pub(super) all_nodes: Option<u32>,
    pub(super) blocks: Vec<Span<Block>>,
    pub(super) next: Option<NextRequest>,
    pub(super) ended: Option<(Timestamp, &'static str)>,
}

/// The facts of the entries up to one of them.
#[derive(Default)]
struct Walk {
    story: Story,
    state: Option<(State, Timestamp)>,
    nodes: Option<(u32, Timestamp)>,
    blocked: Option<(Block, Timestamp)>,
}

impl Story {
    /// Makes the facts of the task of the explanation. `None`: the journal has nothing of it.
    pub(super) fn new(view: &ClusterView) -> Option<Self> {
        let known = &view.explanation;
        let task = &known.lifecycle.as_ref()?.task;
        let mut of_it = view.timeline.iter().filter(|entry| entry.subject.task == *task).peekable();
        of_it.peek()?;
        let mut walk = Walk::default();
        let mut times = Vec::new();
        for entry in of_it {
            times.push(walk.take(entry, &view.holds));
        }
        let mut story = walk.end(&known.outlook, known.at, &view.holds);
        let (first, last) = (times.iter().min()?, times.iter().max()?);
        story.set_range(*first, *last);
        if let Some(window) = known.window.as_ref().filter(|_| story.ended.is_none()) {
            story.add_closed(window);
        }
        let (from, to) = (story.from, story.to);
        story.blocks.retain(|block| block.from <= to && block.to.is_none_or(|end| end > from));
        Some(story)
    }

    /// Sets the range: from the first fact to the end, to now or to the next request, with a little
    /// room on both sides.
    fn set_range(&mut self, first: Timestamp, last: Timestamp) {
        let known = match self.ended {
            Some((at, _)) => {
                let end = last.max(at);
                // A task that ended long ago is shown without the time since then.
                let is_recent = self.now.duration_since(end) <= end.duration_since(first) / 4;
                if is_recent { end.max(self.now) } else { end }
            }
            None => last.max(self.now).max(self.next.map_or(self.now, |next| next.at)),
        };
        let mut to = known;
        if self.ended.is_none() {
            let horizon = later(known, known.duration_since(first).max(AHEAD));
            let ends = self.blocks.iter().filter_map(|block| block.to);
            to = ends.map(|end| end.min(horizon)).fold(to, Timestamp::max);
        }
        let room = (to.duration_since(first) / 40).max(SignedDuration::from_secs(5));
        self.to = later(to, room);
        self.from = later(first, -room).min(later(self.to, -SHORTEST));
        // At the earliest possible time there is no room before it.
        self.to = self.to.max(later(self.from, SHORTEST));
    }

    /// Adds when the window in force is closed from now on.
    fn add_closed(&mut self, window: &Window) {
        let mut at = self.now;
        for _ in 0..TURNS {
            if at >= self.to {
                return;
            }
            let (until, is_closed) = match window.at(at) {
                WindowState::Open { closes } => (closes, false),
                WindowState::Closed { opens } => (opens, true),
            };
            let is_known = |block: &Span<Block>| {
                block.what.code == WINDOW_CLOSED && block.from <= at && block.to.is_none_or(|to| to > at)
            };
            if is_closed && !self.blocks.iter().any(is_known) {
                self.blocks.push(Span { what: Block::of(WINDOW_CLOSED), from: at, to: until });
            }
            match until {
                Some(until) if until > at => at = until,
                _ => return,
            }
        }
    }
}

impl Block {
    pub(super) fn of(code: &str) -> Self {
        let mut letters = code.replace('-', " ");
        if let Some(first) = letters.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        Self { code: code.to_owned(), name: letters }
    }
}

impl Walk {
    /// Takes in an entry, and returns the time of its fact.
    fn take(&mut self, entry: &StoredEntry, holds: &[StoredHold]) -> Timestamp {
        let mut at = entry.at;
        match &entry.event {
            Event::FirstSeen { completed, .. } => self.completed(*completed, at),
            Event::Progress { completed } => self.completed(Some(*completed), at),
            Event::Running { .. } => self.turn(Some(State::Running), at),
            Event::Failed(seen) => {
                at = later(at, -SignedDuration::try_from(seen.seen_before).unwrap_or_default());
                // When an old failure happened is known by the CSS API's clock alone.
                if !seen.too_old {
                    self.story.failures.push((at, seen.number));
                }
                self.story.all_nodes = Some(seen.total);
                self.completed(seen.completed, at);
                self.turn(Some(State::Waiting), at);
            }
            Event::Intent { action, .. } => {
                let id = AttemptId(entry.number);
                self.story.requests.push(Request { id, at, action: *action, fate: Fate::Unknown });
                self.turn(Some(State::Confirming), at);
            }
            Event::Answered { attempt, answer } => match answer.meaning {
                Meaning::Unknown => {}
                Meaning::Accepted => self.became(*attempt, Fate::Accepted, at),
                _ => self.became(*attempt, Fate::NotAccepted, at),
            },
            Event::NotSent { attempt } => self.became(*attempt, Fate::NotAccepted, at),
            Event::Confirmed { attempt, settlement } => {
                let fate = match settlement {
                    Confirmation::Accepted => Fate::Accepted,
                    Confirmation::WithoutEffect => {
                        self.turn_from_confirming(Some(State::Waiting), at);
                        Fate::Accepted
                    }
                    Confirmation::NotAccepted => Fate::NotAccepted,
                };
                self.became(*attempt, fate, at);
                self.turn_from_confirming(None, at);
            }
            Event::Escalated { .. } => self.turn(Some(State::Operator), at),
            Event::Reset { .. } if self.is(State::Operator) => self.turn(Some(State::Waiting), at),
            Event::Ended(outcome) => {
                self.turn(None, at);
                self.story.ended = Some((at, outcome.word()));
            }
            Event::Decided { verdict, reason } => {
                self.unblock(at);
                let is_hold_shown = |reason: &Reason| match reason {
                    Reason::OnHold { hold, .. } => holds.iter().any(|one| one.number == *hold),
                    _ => false,
                };
                if *verdict == PassiveVerdict::Blocked && !is_hold_shown(reason) {
                    self.blocked = Some((Block::of(reason.code()), at));
                }
            }
            _ => {}
        }
        at
    }

    fn is(&self, state: State) -> bool {
        self.state.is_some_and(|(now, _)| now == state)
    }

    /// Sets the state from then on.
    fn turn(&mut self, to: Option<State>, at: Timestamp) {
        self.unblock(at);
        if to.is_some_and(|to| self.is(to)) {
            return;
        }
        if let Some((what, from)) = self.state.take() {
            self.story.spans.push(Span { what, from, to: Some(at.max(from)) });
        }
        self.state = to.map(|to| (to, at));
    }

    fn turn_from_confirming(&mut self, to: Option<State>, at: Timestamp) {
        if self.is(State::Confirming) {
            self.turn(to, at);
        }
    }

    fn unblock(&mut self, at: Timestamp) {
        if let Some((what, from)) = self.blocked.take() {
            self.story.blocks.push(Span { what, from, to: Some(at.max(from)) });
        }
    }

    fn completed(&mut self, completed: Option<u32>, at: Timestamp) {
        let Some(completed) = completed else { return };
        if self.nodes.is_some_and(|(known, _)| known >= completed) {
            return;
        }
        if let Some((what, from)) = self.nodes.replace((completed, at)) {
            self.story.nodes.push(Span { what, from, to: Some(at.max(from)) });
        }
    }

    fn became(&mut self, attempt: AttemptId, fate: Fate, at: Timestamp) {
        let mut requests = self.story.requests.iter_mut().rev();
        if let Some(request) = requests.find(|request| request.id == attempt) {
            request.fate = fate;
            if fate == Fate::NotAccepted {
                self.turn_from_confirming(Some(State::Waiting), at);
            }
        }
    }

    /// Ends it with the present state, from the outlook.
    fn end(mut self, outlook: &Outlook, now: Timestamp, holds: &[StoredHold]) -> Story {
        self.story.now = now;
        let end = self.story.ended.map_or(now, |(at, _)| at);
        let phase = outlook.phase.and_then(State::of);
        let last = || self.story.spans.last().and_then(|span| span.to);
        let open = self.state.take().or_else(|| Some((phase?, last()?)));
        if let Some((walked, from)) = open {
            let what = phase.unwrap_or(walked);
            self.story.spans.push(Span { what, from, to: Some(end.max(from)) });
        }
        if let Some((what, from)) = self.nodes.take() {
            self.story.nodes.push(Span { what, from, to: Some(end.max(from)) });
        }
        self.story.next = outlook.next;
        let mut open = self.blocked.take();
        for hold in holds {
            let what = Block { name: texts::hold(hold.number), ..Block::of(ON_HOLD) };
            let to = hold.released.as_ref().map(|(at, _)| *at).or(hold.until);
            self.story.blocks.push(Span { what, from: hold.at, to: to.map(|to| to.max(hold.at)) });
        }
        for block in &outlook.blocked_by {
            let is_shown = |hold: &Span<Block>| {
                hold.what.code == ON_HOLD && hold.from <= now && hold.to.is_none_or(|to| to > now)
            };
            if block.code == ON_HOLD && self.story.blocks.iter().any(is_shown) {
                continue;
            }
            let from = open.take_if(|(known, _)| known.code == block.code).map_or(now, |(_, from)| from);
            let to = block.until.map(|until| until.max(now));
            self.story.blocks.push(Span { what: Block::of(&block.code), from, to });
        }
        if let Some((what, from)) = open {
            self.story.blocks.push(Span { what, from, to: Some(now.max(from)) });
        }
        self.story
    }
}

/// Returns this much later, or the latest possible time.
fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(if by.is_negative() { Timestamp::MIN } else { Timestamp::MAX })
}
