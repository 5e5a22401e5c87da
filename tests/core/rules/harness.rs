//! The harness of every story: a simulator on a loopback port, the client and the reconcile of the daemon, and a clock
//! that stands still unless the story moves it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use upgrade_remediator::clock::Clock;
use upgrade_remediator::cloud::Client;
use upgrade_remediator::cloud::http::HttpTransport;
use upgrade_remediator::journal::{Journal, MemoryJournal, Store};
use upgrade_remediator::model::cluster::Cluster;
use upgrade_remediator::model::condition::Condition;
use upgrade_remediator::model::decision::Verdict;
use upgrade_remediator::model::event::{Entry, Event, StoredEntry};
use upgrade_remediator::model::hold::{Holds, NewHold, Scope};
use upgrade_remediator::model::id::ClusterId;
use upgrade_remediator::model::moment::Moment;
use upgrade_remediator::model::policy::{Expect, Match, Mode, Policy, Terms};
use upgrade_remediator::model::project::{Breaker, Limits, Poll, Rules};
use upgrade_remediator::model::project_state::ProjectState;
use upgrade_remediator::model::reason::Reason;
use upgrade_remediator::model::record::{Phase, TaskRecord};
use upgrade_remediator::notify::Notification;
use upgrade_remediator::reconcile::{Reconciler, Report};
use upgrade_remediator::simulator::log::{Hazard, LogEntry, PutKind, Record, RequestRecord};
use upgrade_remediator::simulator::scenario::Scenario;
use upgrade_remediator::simulator::{Simulator, World};

use crate::clocks::ManualClock;
use crate::reconciler::{Recorder, options, reconciler};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_mins(1);
pub(crate) const HOUR: Duration = Duration::from_hours(1);

/// A second before the end of this span.
pub(crate) fn shortly_before(span: Duration) -> Duration {
    span.saturating_sub(SECOND)
}

/// A task that failed at its first node five minutes ago, and works when it is executed again.
pub(crate) const FAILED: &str = r#"
[[cluster]]
name = "a"
[[cluster.task]]
kind = "upgrade"
start = "-30m"
end = "-5m"
status = "FAILED"
fail = [{ node = 1 }]
"#;

/// A task that failed at its first node five minutes ago, and goes on failing there.
pub(crate) const HOPELESS: &str = r#"
[[cluster]]
name = "a"
[[cluster.task]]
kind = "upgrade"
start = "-30m"
end = "-5m"
status = "FAILED"
fail = [{ node = 1, times = "always" }]
"#;

/// What is told, by the word of its kind.
fn word(notification: &Notification<'_>) -> &'static str {
    match notification {
        Notification::Journaled { entry, .. } => entry.event.word(),
        Notification::Condition(change) => match &change.standing.condition {
            condition if change.ended => condition.code().end_word(),
            Condition::Unclear { long: false, reason, .. } => reason.code(),
            condition => condition.code().word(),
        },
        Notification::LeftAlone { .. } | Notification::Clusters { .. } => "other",
    }
}

/// How a story begins, beside its scenario.
pub(crate) struct Setup {
    pub(crate) scenario: String,
    pub(crate) terms: Option<Terms>,
    pub(crate) poll: Poll,
    pub(crate) limits: Limits,
    pub(crate) breaker: Breaker,
    pub(crate) retention: Option<Duration>,
}

/// The terms of the stories: the defaults without jitter, so that waits are 2, 4, 8 minutes and so on.
pub(crate) fn terms() -> Terms {
    let mut terms = Terms::defaults("standard", Mode::Enforce);
    terms.retry.randomization_factor = 0.0;
    terms
}

impl Setup {
    pub(crate) fn new(scenario: &str) -> Self {
        // In a story any number of requests may leave at one instant.
        let limits = Limits { requests_per_second: 1_000_000, ..Limits::default() };
        Self {
            scenario: scenario.to_owned(),
            terms: Some(terms()),
            poll: Poll::default(),
            limits,
            breaker: Breaker::default(),
            retention: None,
        }
    }

    /// What the configuration would say, with this policy in force.
    fn rules(&self, terms: Option<Terms>) -> Rules {
        let policy = |terms| Policy { matches: Match::default(), terms, expect: Expect::default() };
        let policies = terms.into_iter().map(policy).collect();
        Rules {
            policies,
            poll: self.poll.clone(),
            limits: self.limits.clone(),
            breaker: self.breaker.clone(),
            retention: self.retention,
            mode: Mode::Enforce,
        }
    }

    /// Changes the policy.
    pub(crate) fn terms(mut self, change: impl FnOnce(&mut Terms)) -> Self {
        change(self.terms.as_mut().unwrap());
        self
    }

    pub(crate) fn retries(self, max: u32) -> Self {
        self.terms(|terms| terms.retry.max_retries = max)
    }

    /// Reconciles only now and then, for stories of days.
    pub(crate) fn lazily(mut self) -> Self {
        self.poll.active_interval = 10 * MINUTE;
        self
    }

    pub(crate) async fn start(self) -> Harness {
        let journal = MemoryJournal::new(1);
        self.start_on(journal, &[]).await
    }

    /// Starts with a journal that may hold something already.
    pub(crate) async fn start_on<J: Store>(self, journal: J, stored: &[StoredEntry]) -> Harness<J> {
        let clock = Arc::new(ManualClock::beginning("2026-06-01T12:00:00Z".parse().unwrap()));
        let begin = clock.now().wall;
        let world = World::new(Scenario::parse(&self.scenario, "story").unwrap(), 1, begin);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        // Answers that are held back never come.
        let service = Arc::new(clock.of_the_service());
        let simulator = Arc::new(Simulator::start(listener, world, service).unwrap());
        Harness::build(self, simulator, clock, Arc::new(journal), stored).await
    }
}

/// One PUT as the simulator saw it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sent {
    /// Since the beginning of the world.
    pub(crate) at: Duration,
    pub(crate) cluster: String,
    pub(crate) kind: PutKind,
    pub(crate) taken: bool,
    pub(crate) request: RequestRecord,
}

/// A story under way.
pub(crate) struct Harness<J = MemoryJournal> {
    setup: Setup,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) simulator: Arc<Simulator>,
    pub(crate) journal: Arc<J>,
    pub(crate) reconciler: Reconciler<Client<HttpTransport, ManualClock>, ManualClock>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) holds: Arc<RwLock<Holds>>,
    pub(crate) stopping: CancellationToken,
    pub(crate) clusters: BTreeMap<String, Cluster>,
    missed: BTreeMap<ClusterId, u32>,
    /// When each cluster is to be polled next.
    due: BTreeMap<String, Moment>,
    next_discovery: Moment,
    _judge: Judge,
}

fn client(
    setup: &Setup,
    simulator: &Simulator,
    clock: &Arc<ManualClock>,
) -> Client<HttpTransport, ManualClock> {
    let options = options(simulator.url(), &setup.rules(None), 1);
    Client::over_http(options, Arc::clone(clock)).unwrap()
}

impl<J: Store> Harness<J> {
    async fn build(
        setup: Setup,
        simulator: Arc<Simulator>,
        clock: Arc<ManualClock>,
        journal: Arc<J>,
        stored: &[StoredEntry],
    ) -> Self {
        let css = client(&setup, &simulator, &clock);
        let now = clock.now();
        let mut project_state = ProjectState::default();
        for entry in stored {
            project_state.apply(&entry.clone().recall(now));
        }
        project_state.wake(now);
        let rules = setup.rules(setup.terms.clone());
        let recorder = Recorder::new(|notification| Some(word(notification).to_owned()));
        let (holds, stopping) = (Arc::default(), CancellationToken::new());
        let reconciler = reconciler(css, &Journal::over(journal.clone()), &clock, rules, |parts| {
            parts.observer = recorder.clone();
            parts.holds = Arc::clone(&holds);
            parts.stopping = stopping.clone();
            parts.project_state = project_state;
        });
        let mut harness = Self {
            setup,
            clock,
            _judge: Judge(Arc::clone(&simulator)),
            simulator,
            journal,
            reconciler,
            recorder,
            holds,
            stopping,
            clusters: BTreeMap::new(),
            missed: BTreeMap::new(),
            due: BTreeMap::new(),
            next_discovery: now,
        };
        harness.discover().await;
        harness
    }

    /// A new process with the same world and what `stored` says is in the journal.
    pub(crate) async fn restarted<K: Store>(self, journal: K, stored: &[StoredEntry]) -> Harness<K> {
        let Self { setup, simulator, clock, .. } = self;
        Harness::build(setup, simulator, clock, Arc::new(journal), stored).await
    }

    /// Another client of the same service.
    pub(crate) fn client(&self) -> Client<HttpTransport, ManualClock> {
        client(&self.setup, &self.simulator, &self.clock)
    }

    /// The same process with another policy in force.
    pub(crate) async fn govern(&mut self, terms: Option<Terms>) {
        self.reconciler.reload(self.setup.rules(terms), None).await;
    }

    /// Places a hold, as the daemon does when it is asked to; gives its number.
    pub(crate) async fn hold(&mut self, scope: &str) -> u64 {
        let now = self.clock.now();
        let new = NewHold {
            at: now.wall,
            scope: Scope::try_from(scope.to_owned()).unwrap(),
            cluster_name: None,
            until: None,
            reason: "I am at it".to_owned(),
            by: "uid 7".to_owned(),
        };
        let _gate = self.reconciler.pause().await;
        let hold = self.journal.place_hold(new).await.unwrap();
        self.holds.write().unwrap().place(hold.clone(), now);
        hold.number
    }

    /// Ends it.
    pub(crate) fn release(&self, hold: u64) {
        self.holds.write().unwrap().release(&[hold], self.clock.now(), "uid 7");
    }

    /// Lists the clusters, as the scheduler does now and then. Two complete lists in a row without a cluster mean
    /// that it is gone.
    pub(crate) async fn discover(&mut self) {
        let now = self.clock.now();
        self.next_discovery = now.after(self.setup.poll.discovery_interval);
        let Some(list) = self.reconciler.list().await else { return };
        let complete = list.is_complete();
        let shown: BTreeSet<String> = list.clusters.iter().map(|cluster| cluster.name.clone()).collect();
        for cluster in list.clusters.into_iter().map(Arc::unwrap_or_clone) {
            self.missed.remove(&cluster.id);
            self.due.entry(cluster.name.clone()).or_insert(now);
            self.clusters.insert(cluster.name.clone(), cluster);
        }
        if !complete {
            return;
        }
        for name in self.clusters.keys().filter(|name| !shown.contains(*name)).cloned().collect::<Vec<_>>() {
            let cluster = self.clusters[&name].clone();
            let missed = self.missed.entry(cluster.id.clone()).or_default();
            *missed += 1;
            if *missed > 1 {
                assert!(self.reconciler.forget(&cluster).await);
                self.clusters.remove(&name);
                self.due.remove(&name);
            } else {
                self.next_discovery = now.after(10 * SECOND);
            }
        }
    }

    /// One reconcile of a cluster, now.
    pub(crate) async fn reconcile_at(&mut self, name: &str) -> Report {
        let cluster = self.clusters[name].clone();
        let report = self.reconciler.reconcile(&cluster).await;
        let now = self.clock.now();
        self.due.insert(name.to_owned(), now.after(report.next_poll));
        if report.wants_discovery {
            let soon = now.after(10 * SECOND);
            if soon.mono < self.next_discovery.mono {
                self.next_discovery = soon;
            }
        }
        report
    }

    /// One reconcile of cluster `a`, now; its reason's code, or the word `error`.
    pub(crate) async fn reconcile(&mut self) -> &'static str {
        code(&self.reconcile_at("a").await)
    }

    /// Lets this much time pass, with every reconcile and list when it is due, as the scheduler would. Gives what each
    /// look at cluster `a` decided.
    pub(crate) async fn pass(&mut self, span: Duration) -> Vec<&'static str> {
        let end = self.clock.now().after(span);
        let mut codes = Vec::new();
        loop {
            let next =
                self.due.iter().min_by_key(|(_, due)| due.mono).map(|(name, due)| (name.clone(), *due));
            let (name, due) = match next {
                Some((name, due)) if due.mono <= self.next_discovery.mono => (Some(name), due),
                _ => (None, self.next_discovery),
            };
            if due.mono > end.mono {
                break;
            }
            self.clock.pass(due.since(self.clock.now()));
            let Some(name) = name else {
                self.discover().await;
                continue;
            };
            let report = self.reconcile_at(&name).await;
            if name == "a" {
                codes.push(code(&report));
            }
        }
        self.clock.pass(end.since(self.clock.now()));
        codes
    }

    /// Lets time pass until a PUT has reached the simulator whose answer does not come, and drops the reconcile that
    /// waits for it, as a crash would.
    pub(crate) async fn dies_in_a_put(&mut self, within: Duration) {
        let before = self.sent().len();
        let simulator = Arc::clone(&self.simulator);
        let puts = move || {
            let is_put = |entry: &LogEntry| matches!(&entry.record, Record::Request(r) if r.method == "PUT");
            simulator.log().iter().filter(|entry| is_put(entry)).count()
        };
        let arrived = async {
            while puts() == before {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::select! {
            codes = self.pass(within) => panic!("no PUT without an answer: {codes:?}"),
            () = arrived => {}
        }
    }

    /// Lets time pass without any reconcile.
    pub(crate) fn skip(&self, span: Duration) {
        self.clock.pass(span);
    }

    pub(crate) fn log(&self) -> Vec<LogEntry> {
        self.simulator.log()
    }

    /// The requests the simulator saw, with when.
    pub(crate) fn requests(&self) -> Vec<(Duration, RequestRecord)> {
        let request = |entry: LogEntry| match entry.record {
            Record::Request(request) => {
                Some((Duration::from_millis(u64::try_from(entry.at.0).unwrap()), *request))
            }
            _ => None,
        };
        self.log().into_iter().filter_map(request).collect()
    }

    /// The PUTs that the simulator saw, oldest first.
    pub(crate) fn sent(&self) -> Vec<Sent> {
        let mut sent = Vec::new();
        for (at, request) in self.requests() {
            if request.method != "PUT" {
                continue;
            }
            let abort = request.query == [("retry_mode".to_owned(), "abort".to_owned())];
            assert!(abort || request.query.is_empty(), "a PUT with another query: {request:?}");
            sent.push(Sent {
                at,
                cluster: request.cluster_name.clone().unwrap_or_default(),
                kind: if abort { PutKind::Abort } else { PutKind::Retry },
                taken: request.taken,
                request,
            });
        }
        sent
    }

    /// When PUTs were sent, in seconds since the beginning.
    pub(crate) fn sent_at(&self) -> Vec<u64> {
        self.sent().iter().map(|sent| sent.at.as_secs()).collect()
    }

    pub(crate) fn aborts(&self) -> usize {
        self.sent().iter().filter(|sent| sent.kind == PutKind::Abort).count()
    }

    /// What the journal knows of the (newest known) task of a cluster.
    pub(crate) fn known_of(&self, name: &str) -> TaskRecord {
        let id = self.simulator.inspect(|world| world.cluster_id(name).map(ClusterId::new)).unwrap().unwrap();
        let project_state = self.reconciler.project_state();
        let tasks = project_state.clusters[&id].tasks.values();
        tasks.max_by_key(|task| task.start_time).expect("no task is known").clone()
    }

    pub(crate) fn known(&self) -> TaskRecord {
        self.known_of("a")
    }

    /// Retries of ours that were accepted, ever.
    pub(crate) fn used(&self) -> u32 {
        self.known().used_ever.ours
    }

    /// How the story of the task of `a` ended, so far.
    pub(crate) fn end(&self) -> String {
        let known = self.known();
        match known.phase() {
            Phase::Ended(outcome, _) => outcome.word().to_owned(),
            Phase::Escalated(escalation) => format!("human: {}", escalation.reason.code()),
            Phase::Running | Phase::Failed(_) | Phase::OutcomeUnknown(_) => "open".to_owned(),
        }
    }
}

impl Harness {
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.journal.entries()
    }

    /// The answers as they were journaled, by their meaning.
    pub(crate) fn meanings(&self) -> Vec<&'static str> {
        let meaning = |entry: Entry| match entry.event {
            Event::Answered { answer, .. } => Some(answer.meaning.word()),
            _ => None,
        };
        self.entries().into_iter().filter_map(meaning).collect()
    }

    /// Why the task of `a` was escalated.
    pub(crate) fn escalations(&self) -> Vec<Reason> {
        let reason = |entry: Entry| match entry.event {
            Event::Escalated { reason } => Some(reason),
            _ => None,
        };
        self.entries().into_iter().filter_map(reason).collect()
    }
}

/// What holds in every story, by the simulator's own log and the journal.
struct Judge(Arc<Simulator>);

impl Drop for Judge {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        for entry in self.0.log() {
            let Record::Request(request) = entry.record else { continue };
            let Some(put) = request.put else { continue };
            assert!(!put.is_unsafe, "an abort that can do harm: {put:?}");
            let grave = [Hazard::NotNewest, Hazard::AnotherRuns, Hazard::NodeCompleted, Hazard::NotFailed];
            assert!(!put.hazards.iter().any(|hazard| grave.contains(hazard)), "{put:?}");
        }
    }
}

pub(crate) fn code(report: &Report) -> &'static str {
    match &report.decision {
        Some(decision) => decision.reason.code(),
        None => "error",
    }
}

/// Whether the decision was to send something.
pub(crate) fn acted(report: &Report) -> bool {
    let act = report.decision.as_ref().is_some_and(|decision| matches!(decision.verdict, Verdict::Act(_)));
    assert_eq!(act, report.sent, "what is due at the end of a reconcile was sent");
    report.sent
}
