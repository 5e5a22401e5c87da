//! The daemon, as far as it is pure: the product's own functions in the order in which a reconcile calls them
//! (`src/reconcile.rs`), with a kill possible wherever a reconcile can be cut.

use std::future::{Future, ready};
use std::pin::pin;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use upgrade_remediator::cloud::{CloudError, Css, Delivery, Permit};
use upgrade_remediator::decide::{Step, StepInput, step};
use upgrade_remediator::journal::{self, Fence, Intent, Journal, Journaled, Layer, MemoryJournal, Store};
use upgrade_remediator::model::answer::Answer;
use upgrade_remediator::model::cluster::{Cluster, ClusterList, Traits};
use upgrade_remediator::model::decision::{Action, Decision, Verdict};
use upgrade_remediator::model::event::{Entry, Event, StoredEntry, Subject};
use upgrade_remediator::model::hold::{Holds, NewHold, StoredHold};
use upgrade_remediator::model::id::{ClusterId, ProjectName, TaskId};
use upgrade_remediator::model::moment::Moment;
use upgrade_remediator::model::policy::{Expect, Match, Mode, Policy, Terms};
use upgrade_remediator::model::project::{Poll as PollConfiguration, Rules};
use upgrade_remediator::model::project_state::ProjectState;
use upgrade_remediator::model::task::{Abortable, Reading, TaskKind, TaskList};
use upgrade_remediator::reconcile::{execute, what_came_back};

use super::digest::Waits;

static PROJECT: LazyLock<ProjectName> = LazyLock::new(|| ProjectName::new("p").unwrap());
static CLUSTER: LazyLock<ClusterId> = LazyLock::new(|| ClusterId::new("c").unwrap());
static WATCHED: LazyLock<Cluster> =
    LazyLock::new(|| Cluster::recalled(CLUSTER.clone(), "logs".to_owned(), Traits::default()));

/// What the configuration says.
#[derive(Debug)]
pub(crate) struct Configuration {
    /// Those in force, and those after a reload.
    pub(crate) rules: [Rules; 2],
}

impl Configuration {
    /// These terms for every task, and others after a reload.
    pub(crate) fn new(poll: &PollConfiguration, terms: [Terms; 2]) -> Self {
        let rules = |terms| Rules {
            policies: vec![Policy { matches: Match::default(), terms, expect: Expect::default() }],
            poll: poll.clone(),
            mode: Mode::Enforce,
            ..Rules::default()
        };
        Self { rules: terms.map(rules) }
    }

    pub(crate) fn poll(&self) -> &PollConfiguration {
        &self.rules[0].poll
    }

    /// Those in force, or those after a reload.
    pub(crate) fn terms(&self, number: usize) -> &Terms {
        &self.rules[number].policies[0].terms
    }

    /// The longest waits.
    pub(crate) fn waits(&self) -> Waits {
        let longest = |of: &dyn Fn(&Terms) -> Duration| {
            (0..2).map(|number| of(self.terms(number))).max().map_or(0, ticks)
        };
        Waits {
            settle_interval: ticks(self.poll().settle_interval),
            settle_timeout: ticks(self.poll().settle_timeout),
            backoff: longest(&|terms| terms.retry.max_interval),
            grace: longest(&|terms| terms.abort_grace),
            counted: (0..2).any(|number| self.terms(number).retry.max_elapsed_time.is_some()),
        }
    }
}

/// The journal: its last entry, and all before it.
#[derive(Debug)]
pub(crate) struct Link {
    entry: Entry,
    before: Option<Arc<Self>>,
}

/// A durable journal that gives numbers from `last` on and keeps what it was given.
#[derive(Clone)]
struct Keeper(Arc<Mutex<(u64, Vec<Entry>)>>);

/// It is asked for nothing else.
static NOTHING: LazyLock<MemoryJournal> = LazyLock::new(MemoryJournal::default);

impl Layer for Keeper {
    fn beneath(&self) -> &dyn Store {
        &*NOTHING
    }

    fn append(&self, _: Fence, at: Moment, lines: Vec<(Subject, Event)>) -> journal::Answer<'_, Vec<Entry>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, all) = &mut *kept;
        let mut entries = Vec::with_capacity(lines.len());
        for (subject, event) in lines {
            *last += 1;
            entries.push(Entry { number: *last, at, subject, event });
        }
        all.extend(entries.iter().cloned());
        Box::pin(ready(Ok(entries)))
    }
}

/// The service's end of the wire for one PUT: it keeps what was asked for, and gives one reply.
struct Wire {
    asked: Mutex<Vec<Action>>,
    reply: Mutex<Option<Delivery>>,
}

impl Wire {
    fn take(&self, action: Action) -> Delivery {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(action);
        let reply = self.reply.lock().unwrap_or_else(PoisonError::into_inner).take();
        reply.unwrap_or_else(|| Delivery::Sent(Answer::none(String::new())))
    }
}

impl Css for Wire {
    async fn clusters(&self) -> Result<ClusterList, CloudError> {
        Err(CloudError::CredentialUnproven)
    }

    async fn cluster(&self, _: &ClusterId) -> Result<Cluster, CloudError> {
        Err(CloudError::CredentialUnproven)
    }

    async fn tasks(&self, _: &ClusterId, _: TaskKind) -> Result<(Moment, TaskList), CloudError> {
        Err(CloudError::CredentialUnproven)
    }

    async fn permit(&self) -> Result<Permit, CloudError> {
        Ok(Permit::without_place())
    }

    async fn retry(&self, _: &ClusterId, _: &TaskId, _: Permit) -> Delivery {
        self.take(Action::Retry)
    }

    async fn abort(&self, _: &ClusterId, _: &Abortable, _: Permit) -> Delivery {
        self.take(Action::Abort)
    }

    fn clock_offset(&self) -> Option<SignedDuration> {
        None
    }
}

/// What a future gives that has nothing to wait for.
fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}

/// Where the daemon is.
#[derive(Debug, Clone)]
pub(crate) enum Phase {
    /// Killed; started again after so many ticks.
    Down { left: u8 },
    /// It looks again after so many ticks.
    Waits { due: u8 },
    /// A reading said that something is due: another one follows at once.
    ReadsAgain,
    /// The other one said so too.
    Decided { intent: Arc<Intent> },
    /// The intent is said to be in the journal, and its PUT has not left.
    Committed { journaled: Arc<Journaled<Intent>> },
    /// The PUT has left; this is what comes back.
    Sent { journaled: Arc<Journaled<Intent>>, outcome: Delivery },
    /// It has come back, and is not in the journal.
    Heard { journaled: Arc<Journaled<Intent>>, outcome: Delivery },
}

/// One process after another, on one journal.
#[derive(Debug, Clone)]
pub(crate) struct Daemon {
    pub(crate) now: Moment,
    pub(crate) phase: Phase,
    /// What this process knows: the fold of the journal, and what it remembers of readings.
    pub(crate) project_state: Arc<ProjectState>,
    /// The fold of the journal alone; `None` once no kill can follow.
    pub(crate) folded: Option<Arc<ProjectState>>,
    journal: Option<Arc<Link>>,
    last: u64,
    pub(crate) looked_before: bool,
    /// Which of the terms are in force.
    pub(crate) terms: usize,
    pub(crate) holds: Arc<Holds>,
}

/// What a step of the daemon brought about.
#[derive(Debug, Default)]
pub(crate) struct Brought {
    pub(crate) entries: Vec<Entry>,
    pub(crate) decision: Option<Decision>,
}

impl Daemon {
    /// The first process, on an empty journal.
    pub(crate) fn new(now: Moment) -> Self {
        Self {
            now,
            phase: Phase::Waits { due: 0 },
            project_state: Arc::default(),
            folded: Some(Arc::default()),
            journal: None,
            last: 0,
            looked_before: false,
            terms: 0,
            holds: Arc::default(),
        }
    }

    fn keeper(&self) -> Keeper {
        Keeper(Arc::new(Mutex::new((self.last, Vec::new()))))
    }

    /// Takes over what was kept.
    fn keep(&mut self, keeper: &Keeper) -> Vec<Entry> {
        let (last, entries) = std::mem::take(&mut *keeper.0.lock().unwrap_or_else(PoisonError::into_inner));
        self.last = last;
        for entry in &entries {
            // Once no kill can follow, nobody reads the journal any more, but for the latest entry.
            let before = if self.folded.is_some() { self.journal.take() } else { None };
            self.journal = Some(Arc::new(Link { entry: entry.clone(), before }));
            if let Some(folded) = &mut self.folded {
                Arc::make_mut(folded).apply(entry);
            }
        }
        entries
    }

    fn record(&mut self, at: Moment, lines: Vec<(Subject, Event)>, brought: &mut Brought) {
        if lines.is_empty() {
            return;
        }
        let keeper = self.keeper();
        let entries = at_once(Journal::from(keeper.clone()).record(at, lines)).unwrap();
        self.keep(&keeper);
        let project_state = Arc::make_mut(&mut self.project_state);
        for entry in entries {
            project_state.apply(&entry);
            brought.entries.push(entry);
        }
    }

    /// As `Reconciler::understand`: takes the poll in.
    fn understand(
        &mut self,
        configuration: &Configuration,
        reading: &Reading,
        brought: &mut Brought,
    ) -> Decision {
        let input = StepInput {
            project: &PROJECT,
            cluster: &WATCHED,
            reading,
            rules: &configuration.rules[self.terms],
            holds: &self.holds,
            seed: 1,
            clock_offset: None,
            listed: Some(reading.at),
            polled: self.looked_before.then_some(reading.asked),
        };
        let Step { events, decision } = step(&self.project_state, input, self.now);
        self.record(reading.at, events, brought);
        self.looked_before = true;
        if self.project_state.remembered(&CLUSTER, reading).is_some() {
            Arc::make_mut(&mut self.project_state).remember(&CLUSTER, reading);
        }
        decision
    }

    /// One of the readings of a reconcile.
    pub(crate) fn read(&mut self, configuration: &Configuration, reading: &Reading) -> Brought {
        let mut brought = Brought::default();
        let decision = self.understand(configuration, reading, &mut brought);
        let again = matches!(self.phase, Phase::ReadsAgain);
        self.phase = match (&decision.verdict, again) {
            (Verdict::Act(_), false) => Phase::ReadsAgain,
            (Verdict::Act(_), true) => {
                let record = self.project_state.cluster(&CLUSTER);
                match Intent::of(PROJECT.clone(), CLUSTER.clone(), &decision, record) {
                    Some(intent) => Phase::Decided { intent: Arc::new(intent) },
                    None => Phase::Waits { due: ticks(decision.next_poll) },
                }
            }
            _ => Phase::Waits { due: ticks(decision.next_poll) },
        };
        brought.decision = Some(decision);
        brought
    }

    /// The cluster could not be read.
    pub(crate) fn miss(&mut self, configuration: &Configuration) {
        self.phase = Phase::Waits { due: ticks(configuration.poll().active_interval) };
    }

    /// Commits the intent.
    pub(crate) fn commit(&mut self, intent: &Intent) -> Brought {
        let keeper = self.keeper();
        let journaled = at_once(Journal::from(keeper.clone()).begin(self.now, intent.clone())).unwrap();
        self.keep(&keeper);
        Arc::make_mut(&mut self.project_state).apply(journaled.entry());
        let brought = Brought { entries: vec![journaled.entry().clone()], decision: None };
        self.phase = Phase::Committed { journaled: Arc::new(journaled) };
        brought
    }

    /// Sends the PUT, with this reply to come. What was asked for on the wire.
    pub(crate) fn put(&mut self, journaled: &Arc<Journaled<Intent>>, reply: Delivery) -> Vec<Action> {
        let wire = Wire { asked: Mutex::default(), reply: Mutex::new(Some(reply)) };
        let outcome = at_once(execute(&wire, journaled, Permit::without_place(), Duration::MAX));
        self.phase = Phase::Sent { journaled: journaled.clone(), outcome };
        wire.asked.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Journals what came back.
    pub(crate) fn journal_answer(
        &mut self,
        configuration: &Configuration,
        journaled: &Journaled<Intent>,
        outcome: &Delivery,
    ) -> Brought {
        let mut brought = Brought::default();
        let subject = &journaled.value().subject;
        let action = journaled.value().order.action();
        let lines = what_came_back(journaled.attempt(), action, outcome);
        let lines = lines.into_iter().map(|event| (subject.clone(), event)).collect();
        self.record(self.now, lines, &mut brought);
        self.phase = Phase::Waits { due: ticks(configuration.poll().settle_interval) };
        brought
    }

    /// The process is gone, and everything that it knew beside the journal.
    pub(crate) fn die(&mut self, down: u8) {
        self.project_state = Arc::default();
        self.phase = Phase::Down { left: down };
    }

    /// Another process begins with the journal's entries. `more`: another kill can follow. Whether it waits for what the
    /// one before it waited for.
    pub(crate) fn start(&mut self, more: bool) -> bool {
        let mut entries = Vec::new();
        let mut link = self.journal.as_ref();
        while let Some(at) = link {
            entries.push(&at.entry);
            link = at.before.as_ref();
        }
        let mut project_state = ProjectState::default();
        for entry in entries.into_iter().rev() {
            let Entry { number, at, subject, event } = entry.clone();
            let stored = StoredEntry { number, at: at.wall, subject, event };
            project_state.apply(&stored.recall(self.now));
        }
        let folded = self.folded.take();
        assert_eq!(folded.as_deref(), Some(&project_state), "the same entries give the same record");
        self.folded = folded.filter(|_| more);
        let waits = |project_state: &ProjectState| {
            let tasks = project_state.cluster(&CLUSTER).tasks.values();
            tasks.filter_map(|task| Some(task.failure.as_ref()?.wait_from)).collect::<Vec<_>>()
        };
        let waited = waits(&project_state);
        project_state.wake(self.now);
        let goes_on = waits(&project_state) == waited;
        self.project_state = Arc::new(project_state);
        self.looked_before = false;
        self.phase = Phase::Waits { due: 0 };
        goes_on
    }

    /// Whether the journal holds this intent, as it is to be sent.
    pub(crate) fn holds_intent(&self, journaled: &Journaled<Intent>) -> bool {
        let mut link = self.journal.as_ref();
        while let Some(at) = link {
            if at.entry.number == journaled.attempt().0 {
                return matches!(&at.entry.event, Event::Intent { action, .. } if *action == journaled.value().order.action())
                    && at.entry.subject == journaled.value().subject;
            }
            link = at.before.as_ref();
        }
        false
    }

    /// A hold on everything, for so long.
    pub(crate) fn hold(&mut self, length: Duration) {
        let new = NewHold {
            at: self.now.wall,
            scope: upgrade_remediator::model::hold::Scope::All,
            cluster_name: None,
            until: Some(self.now.after(length).wall),
            reason: "maintenance".to_owned(),
            by: "uid 0".to_owned(),
        };
        Arc::make_mut(&mut self.holds).place(StoredHold::new(1, new), self.now);
    }

    pub(crate) fn is_held(&self) -> bool {
        self.holds.covering(&PROJECT, &CLUSTER, self.now).is_some()
    }

    /// When the hold ends or ended.
    pub(crate) fn hold_ends(&self) -> Option<Moment> {
        let before =
            Moment { wall: Timestamp::UNIX_EPOCH, mono: upgrade_remediator::model::moment::Mono(-1) };
        let ended = || self.holds.ended_since(before, &PROJECT, &CLUSTER, self.now);
        self.holds.next_end(self.now).or_else(ended)
    }

    pub(crate) fn cluster() -> ClusterId {
        CLUSTER.clone()
    }
}

/// So many ticks, of which everything here is a multiple.
pub(crate) fn ticks(span: Duration) -> u8 {
    let tick = super::world::TICK.as_millis();
    u8::try_from(span.as_millis().div_ceil(tick)).unwrap_or(u8::MAX)
}
