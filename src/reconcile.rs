//! One reconcile of one cluster, from the poll to the notification.
//!
//! ```text
//! poll ─► step ─► commit ──nothing due──► when to poll next
//!                   └─due─► poll ─► step ─► commit
//!                             └─still due─► permit ─► [ step · commit the intent ] ─► PUT ─► commit the answer
//! ```
//!
//! A poll reads both lists of tasks. A step (`decide::step`) is pure: it returns the events that
//! the poll adds, and what to do. All of its events are committed at once.
//!
//! A reconcile never sleeps and never repeats a request: it returns the time of the next poll. Its
//! memory is the project's [`ProjectState`], the fold of the journal, which changes only by what
//! the journal has accepted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::cloud::transport::TransportError;
use crate::cloud::{CloudError, Css};
use crate::decide::{self, Step, StepInput};
use crate::journal::{Journal, JournalError};
use crate::model::cluster::Cluster;
use crate::model::condition::{Code, Conditions};
use crate::model::decision::{Action, Decision, Order, Verdict};
use crate::model::event::{Entry, Event, Subject};
use crate::model::explanation::Peek;
use crate::model::hold::Holds;
use crate::model::id::{AttemptId, ClusterId, ProjectName, TaskId};
use crate::model::moment::Moment;
use crate::model::project::Rules;
use crate::model::project_state::ProjectState;
use crate::model::reason::Reason;
use crate::model::record::TaskRecord;
use crate::model::task::{Reading, TaskKind};
use crate::model::text::chain;
use crate::notify::{Notification, Observer};

mod explain;
mod faults;
mod keyed_lock;
mod manual;
mod project;
mod report;
mod scheduled;
mod sending;
mod tie;

use faults::{Faults, Known};
use keyed_lock::KeyedLock;
pub use manual::{Done, ManualError};
pub use report::Report;
pub use sending::{execute, what_came_back};
use tie::Tie;

/// The list that a poll reads last, except before an abort.
const READ_LAST: TaskKind = TaskKind::AzSwitchover;

/// Returns the list that is read last before this order: for an abort the task's own, because a
/// node may complete meanwhile.
fn read_last(reading: &Reading, order: &Order) -> TaskKind {
    let task = reading.task(order.task()).filter(|_| order.action() == Action::Abort);
    task.map_or(READ_LAST, |task| task.kind)
}

/// One project, with everything that a reconcile of one of its clusters needs.
pub struct Reconciler<S, C> {
    /// The project's name in the configuration.
    pub project: ProjectName,
    /// What a reload exchanges.
    in_force: RwLock<InForce<S>>,
    journal: Journal,
    clock: Arc<C>,
    /// The operators' holds, of all projects.
    holds: Arc<RwLock<Holds>>,
    /// The journal's seed for jitter.
    seed: u64,
    /// Cancelled when the daemon stops: polls are then dropped, and no further intent is committed.
    stopping: CancellationToken,
    observer: Arc<dyn Observer>,
    /// The conditions in force, of all projects. Locked after `state`.
    conditions: Arc<Mutex<Conditions>>,
    state: Mutex<State>,
    /// Held shared while the events of a poll are journaled and folded. Held exclusively from the
    /// last check of the preconditions to the end of the intent's commit, while the circuit breaker
    /// turns, while the project's state is folded anew, and while an operator or a reload changes
    /// what the preconditions check.
    commit_lock: tokio::sync::RwLock<()>,
    /// Allows one reconcile of a cluster at a time, scheduled or ordered by an operator.
    one_at_a_time: KeyedLock,
}

/// What a reload exchanges, as one value.
struct InForce<S> {
    /// The client of the CSS API.
    css: Arc<S>,
    /// The configuration.
    rules: Arc<Rules>,
}

/// What a [`Reconciler`] is made of.
pub struct Parts<S, C> {
    /// The project's name in the configuration.
    pub project: ProjectName,
    /// The client of the CSS API.
    pub css: S,
    /// The journal.
    pub journal: Journal,
    /// The clock.
    pub clock: Arc<C>,
    /// Is notified of journaled entries and of conditions.
    pub observer: Arc<dyn Observer>,
    /// The conditions in force, of all projects, with those that an earlier process left.
    pub conditions: Arc<Mutex<Conditions>>,
    /// The configuration.
    pub rules: Rules,
    /// The operators' holds, shared by all projects.
    pub holds: Arc<RwLock<Holds>>,
    /// The journal's seed for jitter.
    pub seed: u64,
    /// Cancelled when the daemon stops.
    pub stopping: CancellationToken,
    /// The fold of the project's entries in the journal.
    pub project_state: ProjectState,
}

/// What the reconciles of one project share.
struct State {
    project: ProjectState,
    /// How the project's times are tied to the monotonic clock.
    tie: Tie,
    /// Answers that are not journaled yet. Until they are, their requests are open and no intent is
    /// committed.
    unwritten: Vec<Unwritten>,
    /// The clusters that this process has polled, each with the time of the last complete poll:
    /// changes after it are seen as they happen.
    polled: BTreeMap<ClusterId, Moment>,
    /// The watched clusters that this process has not polled yet, and when a list first showed
    /// them.
    unread: BTreeMap<ClusterId, Moment>,
    /// The time of the last complete list of clusters.
    last_list: Option<Moment>,
    /// The clusters, as the latest list that showed them did.
    listed: BTreeMap<ClusterId, (Arc<Cluster>, Moment)>,
    /// The last poll of each cluster with an unfinished task: the outlook is worked out from it.
    unfinished: BTreeMap<ClusterId, Arc<Reading>>,
    /// What keeps the daemon from polling the project or from acting in it.
    faults: Faults,
}

impl State {
    /// Counts the watched clusters.
    fn watched(&self) -> usize {
        self.listed.values().filter(|(cluster, _)| cluster.may_have_tasks()).count()
    }

    /// Keeps what a poll shows and the journal does not record: that a task still runs, and which
    /// task is the newest.
    fn remember(&mut self, cluster: &Cluster, reading: &Reading) {
        match self.polled.get_mut(&cluster.id) {
            // An incomplete answer does not show every task, so it does not count as a poll.
            Some(at) if reading.complete => *at = reading.at,
            Some(_) => {}
            None => {
                self.polled.insert(cluster.id.clone(), reading.at);
                self.unread.remove(&cluster.id);
            }
        }
        self.project.remember(&cluster.id, reading);
        if self.project.cluster(&cluster.id).tasks.values().all(TaskRecord::is_ended) {
            self.unfinished.remove(&cluster.id);
        } else {
            self.unfinished.insert(cluster.id.clone(), Arc::new(reading.clone()));
        }
    }
}

/// The commit lock, held exclusively.
type Exclusive<'a> = tokio::sync::RwLockWriteGuard<'a, ()>;

/// Proof that the commit lock is held, shared or exclusive.
trait Locked: Sync {}
impl Locked for Exclusive<'_> {}
impl Locked for tokio::sync::RwLockReadGuard<'_, ()> {}

/// An answer to a PUT that is not in the journal yet.
#[derive(Clone)]
struct Unwritten {
    attempt: AttemptId,
    at: Moment,
    cluster: Cluster,
    lines: Vec<(Subject, Event)>,
}

/// Why a reconcile ended early.
#[derive(Debug, thiserror::Error)]
enum ReconcileError {
    #[error("the cluster cannot be polled")]
    Cloud(#[from] CloudError),
    #[error("the journal cannot be written")]
    Journal(#[from] JournalError),
    #[error("no request can be sent, because no connection can be opened")]
    NoConnection(#[source] TransportError),
    #[error("a request was sent, and the journal cannot be written")]
    SentUnwritten(#[source] JournalError),
    #[error("the daemon is stopping")]
    Stopping,
}

impl<S: Css, C: Clock> Reconciler<S, C> {
    /// Makes the reconciler of a project.
    pub fn new(parts: Parts<S, C>) -> Self {
        let Parts {
            project,
            css,
            journal,
            clock,
            observer,
            conditions,
            rules,
            holds,
            seed,
            stopping,
            project_state,
        } = parts;
        let tie = Tie::new(clock.now());
        Self {
            in_force: RwLock::new(InForce { css: Arc::new(css), rules: Arc::new(rules) }),
            journal,
            clock,
            holds,
            seed,
            stopping,
            observer,
            conditions,
            state: Mutex::new(State {
                project: project_state,
                tie,
                unwritten: Vec::new(),
                polled: BTreeMap::new(),
                unread: BTreeMap::new(),
                last_list: None,
                listed: BTreeMap::new(),
                unfinished: BTreeMap::new(),
                faults: Faults::default(),
            }),
            commit_lock: tokio::sync::RwLock::default(),
            one_at_a_time: KeyedLock::default(),
            project,
        }
    }

    /// Reconciles the cluster once: polls it, and acts if something is due.
    ///
    /// Cancel safety: none. A reconcile that has begun must run to its end: it may have sent a PUT.
    pub async fn reconcile(&self, cluster: &Cluster) -> Report {
        let _lock = self.one_at_a_time.lock(&cluster.id).await;
        let result = self.reconcile_and_act(cluster).await;
        let report = self.report_of(cluster, result);
        self.update_conditions(Some(&cluster.id));
        report
    }

    async fn reconcile_and_act(&self, cluster: &Cluster) -> Result<(Decision, bool), ReconcileError> {
        let css = self.css();
        let reading = self.read(&css, &cluster.id, READ_LAST).await?;
        if !self.state().unwritten.is_empty() {
            self.write_what_is_unwritten(&self.commit_lock.write().await).await?;
        }
        let decision = self.step_and_commit(cluster, &reading).await?;
        let Verdict::Act(order) = &decision.verdict else { return Ok((decision, false)) };
        // An action is due. The decision to act needs a second poll.
        let last = read_last(&reading, order);
        let fresh = self.read(&css, &cluster.id, last).await?;
        if self.stood_still(&reading, &fresh) {
            return Ok((Decision { next_poll: Duration::ZERO, ..decision }, false));
        }
        let decision = self.step_and_commit(cluster, &fresh).await?;
        if !matches!(decision.verdict, Verdict::Act(_)) {
            return Ok((decision, false));
        }
        self.act(&css, cluster, &fresh, decision).await
    }

    /// Reads both lists, one right after the other; that of `last` last. A poll changes only what
    /// is known to be shown, so a stop cancels it.
    async fn read(&self, css: &S, cluster: &ClusterId, last: TaskKind) -> Result<Reading, ReconcileError> {
        let both = async {
            let (asked, first) = css.tasks(cluster, last.other()).await?;
            let (_, second) = css.tasks(cluster, last).await?;
            Ok((asked, self.clock.now(), [first, second]))
        };
        let both = self.stopping.run_until_cancelled(both).await.unwrap_or(Err(ReconcileError::Stopping));
        let (asked, at, lists) = both?;
        self.tie_anew().await?;
        let reading = Reading::new(self.stamp(asked), self.stamp(at), lists);
        self.state().project.remember_shown(cluster, &reading);
        Ok(reading)
    }

    /// Returns whether the time between the two polls was so long that the two would count as
    /// separate observations.
    fn stood_still(&self, first: &Reading, second: &Reading) -> bool {
        second.asked.age(first.at) >= self.rules().poll.settle_interval
    }

    /// Works out one step from the poll, journals all of its events at once, and remembers what the
    /// journal does not record.
    async fn step_and_commit(
        &self,
        cluster: &Cluster,
        reading: &Reading,
    ) -> Result<Decision, ReconcileError> {
        let decision = {
            let shared = self.commit_lock.read().await;
            // The exclusive holder of the lock may have waited for a locked journal. A stop must
            // not wait for the journal a second time.
            if self.stopping.is_cancelled() {
                return Err(ReconcileError::Stopping);
            }
            let step = self.step(cluster, reading, reading.at);
            if step.turns_breaker() {
                drop(shared);
                // Several steps may be worked out at the same time; only one turns the breaker.
                let exclusive = self.commit_lock.write().await;
                let step = self.step(cluster, reading, reading.at);
                self.commit(&exclusive, cluster, reading, step).await?
            } else {
                self.commit(&shared, cluster, reading, step).await?
            }
        };
        if reading.complete {
            let listed = reading.tasks.iter().map(|task| &task.id).collect();
            self.forget_overdue(&cluster.id, &listed, reading.at).await?;
        }
        Ok(decision)
    }

    async fn commit(
        &self,
        lock: &impl Locked,
        cluster: &Cluster,
        reading: &Reading,
        step: Step,
    ) -> Result<Decision, ReconcileError> {
        self.record(lock, cluster, reading.at, step.events).await?;
        let mut state = self.state();
        state.remember(cluster, reading);
        let fails = {
            let known = &state.project.cluster(&cluster.id).tasks;
            let is_over = |id| known.get(id).is_some_and(TaskRecord::is_ended);
            reading.tasks.iter().any(|task| task.status.is_failure() && !is_over(&task.id))
        };
        let was_long = || {
            let conditions = self.conditions.lock().unwrap_or_else(PoisonError::into_inner);
            let unclear = conditions.get(&self.project, Some(&cluster.id), Code::Unclear);
            unclear.is_some_and(|standing| standing.condition.notifies())
        };
        state.faults.polled(cluster, reading.at, &step.decision, fails, was_long);
        Ok(step.decision)
    }

    /// Works out what the poll adds and what to do.
    fn step(&self, cluster: &Cluster, reading: &Reading, now: Moment) -> Step {
        self.judge(cluster, reading, |state, input| decide::step(state, input, now))
    }

    /// Calls `judge` with the state and the input of a step.
    fn judge<R>(
        &self,
        cluster: &Cluster,
        reading: &Reading,
        judge: impl FnOnce(&ProjectState, StepInput<'_>) -> R,
    ) -> R {
        let rules = self.rules();
        let (holds, mut state) = self.known();
        state.project.breaker.forget(rules.breaker.within, reading.at);
        judge(&state.project, self.input(&state, &rules, &holds, cluster, reading))
    }

    fn input<'a>(
        &'a self,
        state: &State,
        rules: &'a Rules,
        holds: &'a Holds,
        cluster: &'a Cluster,
        reading: &'a Reading,
    ) -> StepInput<'a> {
        StepInput {
            project: &self.project,
            cluster,
            reading,
            rules,
            holds,
            seed: self.seed,
            clock_offset: self.css().clock_offset(),
            listed: state.listed.get(&cluster.id).map(|(_, at)| *at),
            polled: state.polled.get(&cluster.id).copied(),
        }
    }

    /// Polls the cluster and works out the decision, without journaling, notifying or sending
    /// anything.
    ///
    /// # Errors
    /// With the whole chain of causes, if the cluster cannot be polled.
    pub async fn peek(&self, cluster: &Cluster) -> Result<Peek, String> {
        let reading = self.read(&self.css(), &cluster.id, READ_LAST).await;
        let reading = reading.map_err(|error| chain(&error))?;
        let (decision, outlook) = self.judge(cluster, &reading, |state, input| {
            let (_, decision, outlook) = decide::foresee(state, input, reading.at);
            (decision, outlook)
        });
        Ok(Peek { reading, decision, outlook })
    }

    /// Journals these events, folds them and notifies the observer.
    async fn record(
        &self,
        _lock: &impl Locked,
        cluster: &Cluster,
        at: Moment,
        lines: Vec<(Subject, Event)>,
    ) -> Result<(), JournalError> {
        if lines.is_empty() {
            return Ok(());
        }
        let entries = self.journal.record(at, lines).await?;
        self.state().faults.journal(None);
        self.fold(cluster, &entries);
        Ok(())
    }

    /// Journals the answers that are not in the journal yet, oldest first, with the turns of the
    /// circuit breaker that follow. The commit lock is held exclusively, so that no answer is
    /// journaled twice.
    async fn write_what_is_unwritten(&self, exclusive: &Exclusive<'_>) -> Result<(), JournalError> {
        loop {
            let Some(next) = self.state().unwritten.first().cloned() else { return Ok(()) };
            let breaker = &self.rules().breaker;
            let lines = decide::step::with_breaker(&self.state().project, next.lines, breaker, next.at);
            self.record(exclusive, &next.cluster, next.at, lines).await?;
            self.state().unwritten.retain(|unwritten| unwritten.attempt != next.attempt);
        }
    }

    /// Folds entries that the journal accepted into the project's state, and notifies the observer.
    fn fold(&self, cluster: &Cluster, entries: &[Entry]) {
        let mut state = self.state();
        for entry in entries {
            state.tie.journaled(entry);
            state.project.apply(entry);
        }
        let notified: Vec<&Entry> = entries.iter().filter(|entry| state.faults.is_notified(entry)).collect();
        drop(state);
        for entry in notified {
            let other = (entry.subject.cluster != cluster.id).then(|| self.name_of(&entry.subject.cluster));
            let cluster_name = other.as_deref().unwrap_or(&cluster.name);
            self.observer.tell(&Notification::Journaled { cluster_name, entry });
        }
    }

    /// Turns the result of a reconcile into a report, and adds errors to the faults.
    fn report_of(&self, cluster: &Cluster, result: Result<(Decision, bool), ReconcileError>) -> Report {
        match result {
            Ok((decision, sent)) => {
                let wants_discovery = matches!(decision.reason, Reason::CheckingIfGone { .. });
                let settle_interval = self.rules().poll.settle_interval;
                let next_poll = if sent { settle_interval } else { decision.next_poll };
                Report { next_poll, decision: Some(decision), wants_discovery, sent, problem: None }
            }
            Err(error) => {
                self.state().faults.met(cluster, &error);
                Report {
                    decision: None,
                    next_poll: self.after_an_error(&cluster.id),
                    wants_discovery: matches!(&error, ReconcileError::Cloud(CloudError::Gone(_))),
                    sent: false,
                    problem: Some(chain(&error)),
                }
            }
        }
    }

    /// Works out which conditions are in force of the project and of this cluster, and notifies the
    /// observer of changes.
    fn update_conditions(&self, cluster: Option<&ClusterId>) {
        let (clock_offset, now) = (self.css().clock_offset(), self.clock.now());
        let state = self.state();
        let known = Known { project: &state.project, clock_offset, watched: &|| state.watched(), now };
        let found = state.faults.conditions(&known, cluster);
        // Notified while the lock is held, so in the order in which the changes happened.
        let mut conditions = self.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        for change in conditions.update(&self.project, cluster, found, now.wall) {
            self.observer.tell(&Notification::Condition(&change));
        }
    }

    /// Returns when to poll again: soon if a task of the cluster is unfinished.
    fn after_an_error(&self, cluster: &ClusterId) -> Duration {
        let state = self.state();
        let mut tasks = state.project.cluster(cluster).tasks.values();
        let busy = tasks.any(TaskRecord::is_pending);
        let poll = &self.rules().poll;
        if busy { poll.active_interval } else { poll.idle_interval }
    }

    fn subject(&self, cluster: &Cluster, task: &TaskId) -> Subject {
        Subject { project: self.project.clone(), cluster: cluster.id.clone(), task: task.clone() }
    }

    /// Locks the holds and the state, always in this order: a thread that waits to write the holds
    /// blocks further readers of the holds, so the other order could deadlock three threads.
    fn known(&self) -> (RwLockReadGuard<'_, Holds>, MutexGuard<'_, State>) {
        (self.holds.read().unwrap_or_else(PoisonError::into_inner), self.state())
    }

    /// Locks the state, also after a panic of another poll: every change is one assignment or one
    /// fold, so the state is consistent.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
