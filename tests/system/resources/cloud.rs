//! A cloud and a daemon in virtual time: the real scheduler, polls, decisions, client and journal, and a service that shows
//! each cluster's task by a script. A month of it takes seconds.

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::clocks::VirtualClock;
use crate::parked::wait;
use crate::reconciler::{options, reconciler};
use serde_json::{Value, json};
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;
use upgrade_remediator::cloud::Client;
use upgrade_remediator::cloud::transport::{Method, Request, Response, Transport, TransportError};
use upgrade_remediator::journal::{Answer, Fence, Journal, Layer, Query, SqliteJournal, Store};
use upgrade_remediator::model::event::{Entry, Event, StoredEntry, Subject};
use upgrade_remediator::model::moment::Moment;
use upgrade_remediator::model::policy::{Expect, Match, Mode, Policy, Terms};
use upgrade_remediator::model::project::Rules;
use upgrade_remediator::model::project_state::ProjectState;
use upgrade_remediator::reconcile::Reconciler;
use upgrade_remediator::schedule::Scheduler;

pub(crate) const SECOND: i64 = 1_000;
pub(crate) const MINUTE: i64 = 60 * SECOND;
pub(crate) const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAY: i64 = 24 * HOUR;
/// An answer takes this long.
const ANSWER: Duration = Duration::from_millis(40);
/// A page of the list of clusters, as many as are asked for.
const PAGE: usize = 1_000;

/// A task as the script has it: it begins, and fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scripted {
    /// Of this cluster, from 0.
    pub(crate) number: i64,
    pub(crate) begins: i64,
    pub(crate) fails: i64,
    /// Whether a retry works, after half an hour.
    pub(crate) works: bool,
}

/// A PUT that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Put {
    pub(crate) at: i64,
    pub(crate) cluster: usize,
    /// The task was failed then, and the newest one.
    pub(crate) right: bool,
    pub(crate) aborts: bool,
}

/// What the service knows beside the script, and what it saw.
#[derive(Default)]
struct Seen {
    /// The newest task of a cluster that was retried: its number, and when that was.
    retried: BTreeMap<usize, (i64, Vec<i64>)>,
    puts: Vec<Put>,
    /// When both lists of a cluster's tasks were last read.
    read: Vec<Option<i64>>,
    requests: u64,
    /// Requests of this second.
    second: (i64, u64),
    /// The most of any second since this was last asked for.
    peak: u64,
}

type Script = Box<dyn Fn(usize, i64) -> Option<Scripted> + Send + Sync>;

/// The service.
pub(crate) struct Cloud {
    pub(crate) clock: Arc<VirtualClock>,
    clusters: usize,
    script: Script,
    /// From when until when nobody answers.
    outage: Option<(i64, i64)>,
    seen: Mutex<Seen>,
}

impl Cloud {
    /// So many clusters, whose tasks are by this script.
    pub(crate) fn new(
        clusters: usize,
        outage: Option<(i64, i64)>,
        script: impl Fn(usize, i64) -> Option<Scripted> + Send + Sync + 'static,
    ) -> Arc<Self> {
        let seen = Mutex::new(Seen { read: vec![None; clusters], ..Seen::default() });
        let clock = Arc::new(VirtualClock::beginning("2026-01-01T00:00:00Z".parse().unwrap()));
        Arc::new(Self { clock, clusters, script: Box::new(script), outage, seen })
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    pub(crate) fn puts(&self) -> Vec<Put> {
        self.seen().puts.clone()
    }

    pub(crate) fn requests(&self) -> u64 {
        self.seen().requests
    }

    /// The most requests of any second since this was asked for.
    pub(crate) fn take_peak(&self) -> u64 {
        std::mem::take(&mut self.seen().peak)
    }

    /// The oldest last reading of these clusters: how long ago it was, in milliseconds.
    pub(crate) fn oldest(&self, clusters: std::ops::Range<usize>) -> i64 {
        let oldest = self.seen().read[clusters].iter().map(|read| read.unwrap_or(0)).min().unwrap();
        self.clock.millis() - oldest
    }

    /// Lets virtual time pass until then.
    pub(crate) async fn until(&self, at: i64) {
        let wait = u64::try_from(at - self.clock.millis()).unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }

    fn answer(&self, request: &Request) -> (u16, Value) {
        let now = self.clock.millis();
        let parts: Vec<&str> = request.path.trim_matches('/').split('/').collect();
        let Some(cluster) = parts.get(3).map(|id| id.trim_start_matches('c').parse::<usize>().unwrap())
        else {
            return (200, self.list(&request.query));
        };
        if request.method == Method::Put {
            return self.put(now, cluster, parts[5], request.query.contains("abort"));
        }
        if request.query.contains("AZ_MIGRATION") {
            self.seen().read[cluster] = Some(now);
            return (200, json!({ "totalSize": 0, "detailList": [] }));
        }
        let tasks: Vec<Value> =
            self.task(cluster, now).into_iter().map(|task| self.shown(cluster, &task, now)).collect();
        (200, json!({ "totalSize": tasks.len(), "detailList": tasks }))
    }

    fn list(&self, query: &str) -> Value {
        let start = query.split('&').find_map(|pair| pair.strip_prefix("start=")?.parse::<usize>().ok());
        let first = start.map_or(0, |start| start - 1);
        let one = |n: usize| {
            json!({ "id": format!("c{n:05}"), "name": format!("logs-{n:05}"), "status": "200", "actions": [],
                    "datastore": { "type": "elasticsearch", "version": "7.10.2" } })
        };
        let page: Vec<Value> = (first..self.clusters.min(first + PAGE)).map(one).collect();
        json!({ "totalSize": self.clusters, "clusters": page })
    }

    /// The newest task, and when it was retried.
    fn task(&self, cluster: usize, now: i64) -> Option<(Scripted, Vec<i64>)> {
        let task = (self.script)(cluster, now)?;
        let retried = self.seen().retried.get(&cluster).filter(|(number, _)| *number == task.number).cloned();
        Some((task, retried.map(|(_, at)| at).unwrap_or_default()))
    }

    /// How a task stands: its word, and when it ended.
    fn stands((task, retried): &(Scripted, Vec<i64>), now: i64) -> (&'static str, Option<i64>) {
        let (ends, word) = match retried.last() {
            None => (task.fails, "FAILED"),
            Some(at) if task.works => (at + 30 * MINUTE, "SUCCESS"),
            Some(at) => (at + 30 * MINUTE, "FAILED"),
        };
        if now < ends { ("RUNNING", None) } else { (word, Some(ends)) }
    }

    fn shown(&self, cluster: usize, task: &(Scripted, Vec<i64>), now: i64) -> Value {
        let (status, ended) = Self::stands(task, now);
        let time = |at: i64| self.clock.wall(at).strftime("%Y-%m-%dT%H:%M:%S").to_string();
        let nodes = "n-1,n-2,n-3";
        let mut shown = json!({
            "id": format!("t-{cluster:05}-{}", task.0.number), "status": status, "startTime": time(task.0.begins),
            "totalNodes": nodes, "completedNodes": if status == "SUCCESS" { nodes } else { "" },
            "currentNodeName": "n-1", "executeTimes": (1 + task.1.len()).to_string(), "currentNodeDetail": [],
        });
        if let Some(ended) = ended {
            shown["endTime"] = time(ended).into();
        }
        shown
    }

    fn put(&self, now: i64, cluster: usize, id: &str, aborts: bool) -> (u16, Value) {
        let newest = self.task(cluster, now);
        let right = newest.as_ref().is_some_and(|task| {
            id == format!("t-{cluster:05}-{}", task.0.number) && Self::stands(task, now).0 == "FAILED"
        });
        let mut seen = self.seen();
        seen.puts.push(Put { at: now, cluster, right, aborts });
        if let Some((task, mut retried)) = newest.filter(|_| right && !aborts) {
            retried.push(now);
            seen.retried.insert(cluster, (task.number, retried));
        }
        (200, Value::Null)
    }

    fn count(&self) {
        let mut seen = self.seen();
        let second = self.clock.millis() / SECOND;
        seen.requests += 1;
        seen.second = if seen.second.0 == second { (second, seen.second.1 + 1) } else { (second, 1) };
        seen.peak = seen.peak.max(seen.second.1);
    }
}

/// The wire to it.
struct Wire {
    cloud: Arc<Cloud>,
    request_timeout: Duration,
}

impl Transport for Wire {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let cloud = &self.cloud;
        cloud.count();
        let now = cloud.clock.millis();
        if cloud.outage.is_some_and(|(from, until)| (from..until).contains(&now)) {
            tokio::time::sleep(self.request_timeout).await;
            return Err(TransportError::Timeout("nobody answers".into()));
        }
        tokio::time::sleep(ANSWER).await;
        let (status, body) = cloud.answer(&request);
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        Ok(Response { status, headers: Vec::new(), body: Ok(body) })
    }
}

/// A journal in a file. It is waited for without letting the virtual time move on.
pub(crate) struct Kept(pub(crate) SqliteJournal);

impl Layer for Kept {
    fn beneath(&self) -> &dyn Store {
        &self.0
    }

    fn append(&self, fence: Fence, at: Moment, lines: Vec<(Subject, Event)>) -> Answer<'_, Vec<Entry>> {
        Box::pin(ready(wait(self.0.append(fence, at, lines))))
    }

    fn forget(&self, tasks: Vec<Subject>) -> Answer<'_, ()> {
        Box::pin(ready(wait(self.0.forget(tasks))))
    }

    fn read(&self, query: Query) -> Answer<'_, Vec<StoredEntry>> {
        Box::pin(ready(wait(self.0.read(query))))
    }
}

/// The configuration's defaults, and one policy that covers every task and acts.
pub(crate) fn rules() -> Rules {
    let terms = Terms::defaults("all", Mode::Enforce);
    let policy = Policy { matches: Match::default(), terms, expect: Expect::default() };
    Rules { policies: vec![policy], mode: Mode::Enforce, ..Rules::default() }
}

type Project = Reconciler<Client<Wire, VirtualClock>, VirtualClock>;

/// A daemon that watches one project.
pub(crate) struct Daemon {
    project: Arc<Project>,
    stop: CancellationToken,
    running: JoinHandle<Result<(), JoinError>>,
}

impl Daemon {
    /// Starts it.
    pub(crate) fn start(cloud: &Arc<Cloud>, rules: Rules, journal: Kept) -> Self {
        let wire = Wire { cloud: Arc::clone(cloud), request_timeout: rules.poll.request_timeout };
        let css = Client::new(wire, options("https://css.example.com", &rules, 1), Arc::clone(&cloud.clock));
        let stop = CancellationToken::new();
        let reconciler = reconciler(css.unwrap(), &Journal::from(journal), &cloud.clock, rules, |parts| {
            parts.stopping = stop.clone();
        });
        let project = Arc::new(reconciler);
        let scheduler = Scheduler::new(Arc::clone(&project), Arc::clone(&cloud.clock));
        let running = tokio::spawn(scheduler.run(stop.clone()));
        Self { project, stop, running }
    }

    /// What is known of the project.
    pub(crate) fn project_state(&self) -> ProjectState {
        self.project.project_state()
    }

    /// Stops it in order.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.running.await.unwrap().unwrap();
    }
}
