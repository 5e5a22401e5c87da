//! One state of the service, the daemon and what truly happened, and every step that can follow.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use upgrade_remediator::cloud::meaning::meaning;
use upgrade_remediator::cloud::{BodyKind, Delivery};
use upgrade_remediator::journal::{Intent, Journaled};
use upgrade_remediator::model::answer::{Answer, Meaning};
use upgrade_remediator::model::decision::Action;
use upgrade_remediator::model::moment::{Moment, Mono};
use upgrade_remediator::model::reason::Reason;

use super::daemon::{Brought, Daemon, Phase};
use super::digest::Digest;
use super::judge::{Act, Truth};
use super::plans::{Fate, Plan};
use super::world::{self, Late, Status, TICK, World};

/// What can happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Tick,
    Fails,
    FailsPartly,
    CompletesNode,
    Succeeds,
    Person(Act),
    LateArrives,
    /// What was true so many changes ago.
    Reads(u8),
    CannotRead,
    Commits,
    Put(Fate),
    Hears,
    Journals,
    Killed {
        down: u8,
    },
    Starts,
}

/// What is left of what may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Left {
    crashes: u8,
    acts: u8,
    odd: u8,
    unread: u8,
}

#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) world: World,
    daemon: Daemon,
    truth: Truth,
    left: Left,
}

pub(crate) type Reached = BTreeMap<&'static str, u64>;

/// What a step brought about, for the story.
#[derive(Debug, Default)]
pub(crate) struct Told(pub(crate) Vec<String>);

impl Told {
    fn entries(&mut self, brought: &Brought) {
        let entries = brought.entries.iter();
        self.0.extend(entries.map(|entry| format!("journal #{} {}", entry.number, entry.event.word())));
    }
}

impl State {
    pub(crate) fn first(plan: &Plan) -> Self {
        let now = Moment { wall: "2026-01-02T12:00:00Z".parse().unwrap(), mono: Mono(0) };
        let left = Left {
            crashes: plan.crashes,
            acts: u8::from(!plan.acts.is_empty()),
            odd: plan.odd,
            unread: plan.unread,
        };
        let mut daemon = Daemon::new(now);
        if plan.crashes == 0 {
            daemon.folded = None;
        }
        Self { world: World::new(), daemon, truth: Truth::default(), left }
    }

    /// Everything that can happen next.
    pub(crate) fn steps(&self, plan: &Plan, steps: &mut Vec<Step>) {
        steps.clear();
        match &self.daemon.phase {
            Phase::Down { left: 0 } => steps.push(Step::Starts),
            Phase::Down { .. } => self.passes(plan, steps),
            Phase::Waits { due } => {
                if *due > 0 {
                    self.passes(plan, steps);
                } else {
                    self.reads(plan, steps);
                }
            }
            Phase::ReadsAgain => self.reads(plan, steps),
            Phase::Decided { .. } => steps.push(Step::Commits),
            Phase::Committed { .. } => {
                steps.push(Step::Put(Fate::Answered));
                if self.left.odd > 0 {
                    steps.extend(plan.fates.iter().map(|fate| Step::Put(*fate)));
                }
            }
            Phase::Sent { .. } => steps.push(Step::Hears),
            Phase::Heard { .. } => steps.push(Step::Journals),
        }
        let down = matches!(self.daemon.phase, Phase::Down { .. });
        if !down && self.left.crashes > 0 {
            steps.extend(plan.downs.iter().map(|down| Step::Killed { down: *down }));
        }
        // What happens while one of these lasts might as well happen right after it: nobody reads between.
        let at_once =
            matches!(self.daemon.phase, Phase::Decided { .. } | Phase::Sent { .. } | Phase::Heard { .. });
        if !at_once {
            self.happens(plan, steps);
        }
    }

    fn passes(&self, plan: &Plan, steps: &mut Vec<Step>) {
        if self.world.late.iter().all(|late| late.age < plan.delay) {
            steps.push(Step::Tick);
        }
    }

    fn reads(&self, _: &Plan, steps: &mut Vec<Step>) {
        let versions = u8::try_from(self.world.shown().count()).unwrap();
        steps.extend((0..versions).map(Step::Reads));
        if self.left.unread > 0 {
            steps.push(Step::CannotRead);
        }
    }

    /// What the service and people may do.
    fn happens(&self, plan: &Plan, steps: &mut Vec<Step>) {
        let now = self.world.now;
        if now.status == Status::Running {
            steps.push(Step::Fails);
            if plan.partial {
                steps.push(Step::FailsPartly);
            }
            if plan.nodes {
                if now.completed + 1 < world::NODES {
                    steps.push(Step::CompletesNode);
                }
                steps.push(Step::Succeeds);
            }
        }
        if !self.world.late.is_empty() {
            steps.push(Step::LateArrives);
        }
        if self.left.acts > 0 {
            let can = |act: &&Act| match act {
                Act::Retry | Act::Terminate { .. } => now.is_failed() && !self.world.terminated,
                Act::CompleteNode => now.is_failed() && now.completed == 0,
                Act::Hold | Act::Reload => true,
            };
            steps.extend(plan.acts.iter().filter(can).map(|act| Step::Person(*act)));
        }
    }

    /// Takes a step. An error is a violation.
    pub(crate) fn take(
        &self,
        plan: &Plan,
        step: Step,
        reached: &mut Reached,
        told: &mut Told,
    ) -> (Self, Result<(), String>) {
        let mut next = self.clone();
        let result = next.go(plan, step, reached, told);
        (next, result)
    }

    fn go(&mut self, plan: &Plan, step: Step, reached: &mut Reached, told: &mut Told) -> Result<(), String> {
        let mut reach = |what: &'static str| *reached.entry(what).or_default() += 1;
        match step {
            Step::Tick => self.tick(plan),
            Step::Fails | Step::FailsPartly | Step::CompletesNode | Step::Succeeds => {
                self.service(step, &mut reach);
            }
            Step::Person(act) => self.person(act, &mut reach),
            Step::LateArrives => {
                let late = self.world.late.remove(0);
                reach(if late.abort { "a late abort arrives" } else { "a late retry arrives" });
                if !late.abort && self.world.now.is_failed() {
                    self.truth.came_late();
                }
                self.arrives(plan, late.abort)?;
            }
            Step::Reads(nth) => self.reads_one(plan, nth, &mut reach, told)?,
            Step::CannotRead => {
                reach("a reconcile that fails");
                self.left.unread -= 1;
                self.daemon.miss(&plan.configuration);
                self.truth.forget_reading();
            }
            Step::Commits => {
                let Phase::Decided { intent } = self.daemon.phase.clone() else { return Ok(()) };
                self.truth.committed(self.daemon.terms, self.daemon.is_held())?;
                let brought = self.daemon.commit(&intent);
                told.entries(&brought);
            }
            Step::Put(fate) => {
                let Phase::Committed { journaled } = self.daemon.phase.clone() else { return Ok(()) };
                self.put(plan, &journaled, fate, &mut reach)?;
                self.truth.forget_reading();
            }
            Step::Hears => {
                let Phase::Sent { journaled, outcome } = self.daemon.phase.clone() else { return Ok(()) };
                self.daemon.phase = Phase::Heard { journaled, outcome };
            }
            Step::Journals => {
                let Phase::Heard { journaled, outcome } = self.daemon.phase.clone() else { return Ok(()) };
                let brought = self.daemon.journal_answer(&plan.configuration, &journaled, &outcome);
                told.entries(&brought);
                self.truth.heard();
                self.journaled(plan, &brought)?;
                let retry = journaled.value().order.action() == Action::Retry;
                if retry && is_accepted(&outcome) && self.truth.runs_by_us {
                    self.truth.retry_known();
                }
            }
            Step::Killed { down } => {
                reach(match self.daemon.phase {
                    Phase::Down { .. } | Phase::Waits { .. } => "killed while it waits",
                    Phase::ReadsAgain => "killed between two readings",
                    Phase::Decided { .. } => "killed before the intent's commit",
                    Phase::Committed { .. } => "killed between commit and PUT",
                    Phase::Sent { .. } => "killed between PUT and answer",
                    Phase::Heard { .. } => "killed between answer and its journaling",
                });
                self.left.crashes -= 1;
                let intended = matches!(&self.daemon.phase, Phase::Committed { journaled }
                    if journaled.value().order.action() == Action::Retry);
                self.truth.killed(intended);
                self.daemon.die(down);
            }
            Step::Starts => {
                if !self.daemon.start(self.left.crashes > 0) {
                    return Err("I5: a restart begins a wait anew".to_owned());
                }
                reach("started on the journal of a killed process");
            }
        }
        Ok(())
    }

    fn tick(&mut self, plan: &Plan) {
        self.daemon.now = self.daemon.now.after(TICK);
        self.world.tick(plan.lag);
        self.truth.tick(&plan.configuration);
        match &mut self.daemon.phase {
            Phase::Down { left: n } | Phase::Waits { due: n } => *n -= 1,
            _ => {}
        }
    }

    /// What becomes of the task by itself.
    fn service(&mut self, step: Step, reach: &mut impl FnMut(&'static str)) {
        match step {
            Step::FailsPartly => {
                reach("PARTIAL_FAILED");
                self.world.fail(Status::Partial);
                self.truth.runs_by_us = false;
            }
            Step::CompletesNode => {
                reach("a node completes");
                self.world.complete_node();
                self.truth.progress();
            }
            Step::Succeeds => {
                reach("the task succeeds");
                self.world.succeed();
            }
            _ => {
                self.world.fail(Status::Failed);
                self.truth.runs_by_us = false;
            }
        }
    }

    fn person(&mut self, act: Act, reach: &mut impl FnMut(&'static str)) {
        self.left.acts -= 1;
        match act {
            Act::Retry => {
                reach("a person retries");
                self.world.retry();
            }
            Act::Terminate { mark } => {
                reach("a person terminates");
                self.world.terminate(mark);
            }
            Act::CompleteNode => {
                reach("a person completes a node");
                self.world.complete_node();
                self.truth.progress();
            }
            Act::Hold => {
                reach("a person holds");
                self.daemon.hold(TICK * 4);
            }
            Act::Reload => {
                reach("a person reloads");
                self.daemon.terms = 1;
            }
        }
        self.truth.act(act, &self.world);
    }

    /// One of the readings of a reconcile, of what was true so many changes ago.
    fn reads_one(
        &mut self,
        plan: &Plan,
        nth: u8,
        reach: &mut impl FnMut(&'static str),
        told: &mut Told,
    ) -> Result<(), String> {
        let version = self.world.shown().nth(usize::from(nth)).unwrap();
        let reading = world::reading(self.daemon.now, version, plan.shows, plan.older);
        let brought = self.daemon.read(&plan.configuration, &reading);
        let acted_on = matches!(self.daemon.phase, Phase::Decided { .. });
        if nth > 0 {
            reach("a stale reading");
            if !brought.entries.is_empty() {
                reach("a stale reading taken for news");
            }
            if acted_on {
                reach("a stale reading acted on");
            }
        }
        self.truth.read(version, acted_on);
        told.0.push(format!("it shows {version:?}"));
        told.entries(&brought);
        if let Some(decision) = &brought.decision {
            told.0.push(format!("{}: {}", decision.verdict.word(), decision.reason));
            reached_by(&decision.reason, reach);
        }
        self.journaled(plan, &brought)?;
        if self.truth.needs_operator {
            // Nothing is sent any more, or that is found at once.
            self.left.odd = 0;
        }
        Ok(())
    }

    fn journaled(&mut self, plan: &Plan, brought: &Brought) -> Result<(), String> {
        for entry in &brought.entries {
            self.truth.journaled(entry, &self.world, &plan.configuration, self.daemon.terms)?;
        }
        Ok(())
    }

    fn put(
        &mut self,
        plan: &Plan,
        journaled: &Arc<Journaled<Intent>>,
        fate: Fate,
        reach: &mut impl FnMut(&'static str),
    ) -> Result<(), String> {
        let action = journaled.value().order.action();
        if *journaled.value().order.task() != world::task_id() {
            return Err("I4: another task than the newest".to_owned());
        }
        if !self.daemon.holds_intent(journaled) {
            return Err("I1: the journal has no such intent".to_owned());
        }
        self.truth.put(action, &self.world, &plan.configuration)?;
        let abort = action == Action::Abort;
        reach(if abort { "an abort sent" } else { "a retry sent" });
        self.left.odd -= u8::from(fate != Fate::Answered);
        let answer = |status: u16, code: Option<&str>, retry_after: Option<Duration>| {
            let body = if code.is_some() { BodyKind::Error } else { BodyKind::Json };
            Delivery::Sent(Answer {
                meaning: meaning(status, code, body),
                status: Some(status),
                code: code.map(str::to_owned),
                retry_after,
                ..Answer::none(String::new())
            })
        };
        let lost = || Delivery::Sent(Answer::none(String::new()));
        // A retry of a task that is not failed is refused: another state.
        let would_take = abort || self.world.now.is_failed();
        let arrives = matches!(fate, Fate::Answered | Fate::AnswerLost | Fate::Failing);
        let mut unclear = true;
        let reply = match fate {
            Fate::Answered => {
                unclear = false;
                reach("a PUT answered");
                if would_take { answer(200, None, None) } else { answer(400, Some("CSS.0078"), None) }
            }
            Fate::AnswerLost => {
                reach("a PUT whose answer is lost");
                lost()
            }
            Fate::Failing => {
                reach("a PUT answered with 503");
                answer(503, None, Some(TICK))
            }
            Fate::Late => {
                reach("a PUT that is late");
                self.world.late.push(Late { abort, age: 0 });
                lost()
            }
            Fate::Lost => {
                reach("a PUT that never arrives");
                lost()
            }
            Fate::NotSent => {
                unclear = false;
                reach("a PUT without a connection");
                Delivery::NotSent(String::new())
            }
            Fate::WithoutEffect => {
                unclear = false;
                reach("a PUT without effect");
                answer(200, None, None)
            }
            Fate::Refused(status, code) => {
                unclear = false;
                reach("a PUT refused");
                answer(status, Some(code), None)
            }
        };
        let without_effect = fate == Fate::WithoutEffect;
        self.truth.left(action, unclear, without_effect, arrives && would_take);
        let asked = self.daemon.put(journaled, reply);
        if asked != [action] {
            return Err(format!("I1: the intent says {action}, and asked for was {asked:?}"));
        }
        if arrives {
            self.arrives(plan, abort)?;
        }
        Ok(())
    }

    /// A PUT of ours arrives at the service.
    fn arrives(&mut self, plan: &Plan, abort: bool) -> Result<(), String> {
        if abort {
            self.world.terminate(false);
            return Ok(());
        }
        if self.world.retry() {
            self.truth.retry_taken(&self.world, &plan.configuration, self.daemon.terms)?;
        }
        Ok(())
    }

    pub(crate) fn digest(&self, plan: &Plan) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.world.hash(&mut hasher);
        self.truth.hash(&mut hasher);
        self.left.hash(&mut hasher);
        self.daemon.terms.hash(&mut hasher);
        let (kind, number, outcome) = match &self.daemon.phase {
            Phase::Down { left } => (0_u8, *left, None),
            Phase::Waits { due } => (1, *due, None),
            Phase::ReadsAgain => (2, 0, None),
            Phase::Decided { intent } => (3, u8::from(intent.order.action() == Action::Abort), None),
            Phase::Committed { .. } => (4, 0, None),
            Phase::Sent { outcome, .. } => (5, 0, Some(outcome)),
            Phase::Heard { outcome, .. } => (6, 0, Some(outcome)),
        };
        (kind, number).hash(&mut hasher);
        match outcome {
            None => {}
            Some(Delivery::NotSent(_)) => 1_u8.hash(&mut hasher),
            Some(Delivery::Sent(answer)) => {
                (answer.meaning.word(), answer.status, answer.retry_after).hash(&mut hasher);
            }
        }
        // When it ended counts for one first wait, and whether that was after something else.
        let hold = self.daemon.hold_ends().map(|end| {
            let left = end.mono.0 - self.daemon.now.mono.0;
            (left / i64::try_from(TICK.as_millis()).unwrap()).max(-8)
        });
        hold.hash(&mut hasher);
        let waits = plan.configuration.waits();
        let mut digest = Digest { hasher: &mut hasher, now: self.daemon.now, waits };
        digest.project_state(&self.daemon.project_state);
        if let Some(folded) = &self.daemon.folded {
            digest.project_state(folded);
        }
        hasher.finish()
    }
}

fn is_accepted(outcome: &Delivery) -> bool {
    matches!(outcome, Delivery::Sent(answer) if answer.meaning == Meaning::Accepted)
}

fn reached_by(reason: &Reason, reach: &mut impl FnMut(&'static str)) {
    match reason {
        Reason::OutcomeUnknown { .. } => reach("an attempt is settled"),
        Reason::Backoff { .. } => reach("a backoff"),
        Reason::AbortPending { .. } => reach("an abort waits"),
        Reason::AbortUnknown { .. } => reach("an abort of unknown outcome is an operator's"),
        Reason::NodeCompleted { .. } => reach("a completed node forbids the abort"),
        Reason::PolicyChanged { .. } => reach("a changed policy forbids the abort"),
        Reason::ChangedExternally { .. } => reach("a touch by others is an operator's"),
        Reason::OnHold { .. } => reach("a hold holds back"),
        Reason::MaxElapsedTime { .. } => reach("the time is over"),
        Reason::PartialFailed { .. } => reach("PARTIAL_FAILED is an operator's"),
        Reason::CannotConfirm { .. } => reach("an attempt that cannot be settled is an operator's"),
        Reason::ProjectPaused { .. } => reach("the project is paused"),
        Reason::ClusterPaused { .. } => reach("the cluster is paused"),
        Reason::ServiceBusy { .. } => reach("the service is busy"),
        Reason::CheckingIfGone { .. } => reach("gone or forbidden"),
        Reason::NotAcceptable { .. } => reach("not acceptable"),
        Reason::StalePoll => reach("a reading is known to be stale"),
        Reason::AbortedByUs => reach("aborted"),
        _ => {}
    }
}
