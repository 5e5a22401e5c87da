//! The harness on which one seed is played: virtual time, a wire to the simulated world, a journal that may fail,
//! and the points at which the process can be killed.
//!
//! Everything happens in one thread, in the paused time of a runtime of one seed: the time moves on when nobody can
//! run, and equal seeds give equal runs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::{pending, ready};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::parked::wait;
use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::Notify;
use upgrade_remediator::clock::Clock;
use upgrade_remediator::cloud::transport::{Method, Request, Response, Transport, TransportError};
use upgrade_remediator::journal::memory::Failure;
use upgrade_remediator::journal::{Answer, Fence, Layer, MemoryJournal, Query, SqliteJournal, Store};
use upgrade_remediator::model::decision::Action;
use upgrade_remediator::model::event::{Entry, Event, StoredEntry, Subject};
use upgrade_remediator::model::hold::{NewHold, StoredHold};
use upgrade_remediator::model::moment::Moment;
use upgrade_remediator::notify::Notification;
use upgrade_remediator::simulator::Response as SimResponse;
use upgrade_remediator::simulator::log::{Record, RequestRecord};
use upgrade_remediator::simulator::{Delivery, SimRequest, SimTime, World, query_pairs};

use super::generate::{Plan, Planned, Weather};
use crate::clocks::VirtualClock;
use crate::reconciler::Recorder;

/// The steps of a process: at each it can be killed, and anything else can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Point {
    BeforeList,
    AfterList,
    BeforeReading,
    AfterReading,
    /// The intent is decided, and on its way to the disk.
    BeforeIntent,
    /// The intent is durable, the PUT has not left.
    IntentKept,
    BeforePut,
    /// The service has the PUT, its answer is on the way.
    PutArrived,
    /// The answer is here, and not in the journal.
    PutAnswered,
    BeforeAnswer,
    AnswerKept,
    /// Anything else that is journaled.
    BeforeKeeping,
    AfterKeeping,
}

impl Point {
    pub(crate) const ALL: [Self; 13] = [
        Self::BeforeList,
        Self::AfterList,
        Self::BeforeReading,
        Self::AfterReading,
        Self::BeforeIntent,
        Self::IntentKept,
        Self::BeforePut,
        Self::PutArrived,
        Self::PutAnswered,
        Self::BeforeAnswer,
        Self::AnswerKept,
        Self::BeforeKeeping,
        Self::AfterKeeping,
    ];

    /// How often it is passed within a run, about.
    pub(crate) fn usual(self) -> u32 {
        match self {
            Self::BeforeReading | Self::AfterReading => 60,
            Self::BeforeList | Self::AfterList | Self::BeforeKeeping | Self::AfterKeeping => 15,
            _ => 3,
        }
    }
}

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum For {
    List,
    Reading,
    Retry,
    Abort,
}

impl For {
    fn of(request: &Request) -> Self {
        match request.method {
            Method::Put if request.query.contains("retry_mode") => Self::Abort,
            Method::Put => Self::Retry,
            Method::Get if request.path.ends_with("/detail") => Self::Reading,
            Method::Get | Method::Post | Method::PutForToken => Self::List,
        }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Reading => "reading",
            Self::Retry => "retry",
            Self::Abort => "abort",
        }
    }

    fn before(self) -> Point {
        match self {
            Self::List => Point::BeforeList,
            Self::Reading => Point::BeforeReading,
            Self::Retry | Self::Abort => Point::BeforePut,
        }
    }

    fn after(self) -> Point {
        match self {
            Self::List => Point::AfterList,
            Self::Reading => Point::AfterReading,
            Self::Retry | Self::Abort => Point::PutAnswered,
        }
    }
}

/// A PUT that the process handed to the wire.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sent {
    pub(crate) at: i64,
    /// Our clock less the service's at that instant, in milliseconds.
    pub(crate) clock_ahead: i64,
    pub(crate) process: u32,
    pub(crate) cluster: String,
    pub(crate) task: String,
    pub(crate) action: Action,
    /// When it reached the service, and the number of the log's line; `None` while it has not.
    pub(crate) arrived: Option<(i64, u64)>,
    /// The answer reached the process whole, with this status.
    pub(crate) answer: Option<u16>,
}

/// What only the harness knows of a journal entry.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Kept {
    pub(crate) at: i64,
    pub(crate) process: u32,
    /// It was kept, and reported as not kept.
    pub(crate) in_doubt: bool,
}

struct State {
    world: World,
    dice: StdRng,
    weather: Weather,
    /// The journal is full.
    full: bool,
    fate: Option<(Point, u32)>,
    /// What is to happen at a step.
    triggers: Vec<(Point, u32, Planned)>,
    /// What a step has set off.
    fired: VecDeque<(Point, Planned)>,
    killed: Option<Point>,
    process: u32,
    sent: Vec<Sent>,
    kept: Vec<Kept>,
    counts: BTreeMap<String, u64>,
    /// Answers to readings, by what was read: what a stale or flapping service may show again.
    shown: BTreeMap<String, VecDeque<(i64, SimResponse)>>,
    /// For what answers leave out: every other throw stays as it was.
    gaps: StdRng,
    /// Which task of a cluster answers leave out, and until when; kept until whole answers for both kinds were given.
    lacks: BTreeMap<String, Lack>,
    /// The tasks that answers ever left out.
    lacked: BTreeSet<String>,
    /// When this process was first shown each task.
    known: BTreeMap<String, i64>,
    /// Which cluster lists leave out, and until when.
    unlisted: Option<(String, i64)>,
    /// The clusters that lists ever left out, and the tasks that answers left out more than once.
    left_out: BTreeSet<String>,
    /// For what answers show of other clusters.
    strays: StdRng,
    /// Of which other cluster, by its path, which task the answers about a cluster show, by theirs, and until when.
    stray: BTreeMap<String, Stray>,
    /// What this process took of each cluster's own tasks, by path and list.
    own: BTreeMap<String, BTreeMap<String, Vec<Own>>>,
    taken: Vec<Taken>,
}

/// A task of another cluster that the answers about one show.
struct Stray {
    from: String,
    list: String,
    task: String,
    until: i64,
}

/// What an answer about the tasks of a cluster shows: its body without the task of another one, and that.
struct Shows {
    own: Vec<u8>,
    stray: Option<String>,
}

/// A task as an answer about its own cluster showed it last, and when this process was first shown it.
struct Own {
    task: String,
    first: i64,
    element: serde_json::Value,
}

/// An answer about the tasks of a cluster that a process took.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Taken {
    pub(crate) at: i64,
    pub(crate) process: u32,
    pub(crate) cluster: String,
    pub(crate) is_last_list: bool,
    /// The task of another cluster that it shows.
    pub(crate) stray: Option<String>,
}

/// A task that answers leave out for a while.
struct Lack {
    task: String,
    until: i64,
    whole: BTreeSet<String>,
}

/// Shared by all that plays one seed.
pub(crate) struct Harness {
    /// Of the first process; its wall clock is that of all.
    pub(crate) clock: VirtualClock,
    /// What is told, beside what is in the journal anyway.
    pub(crate) recorder: Arc<Recorder>,
    /// The service's clock less the true time, in milliseconds.
    service_off: i64,
    state: Mutex<State>,
    /// Somebody was killed, or set something off.
    alarm: Notify,
}

impl Harness {
    /// To be called in the runtime whose time is to be the harness's.
    pub(crate) fn new(world: World, plan: &Plan) -> Arc<Self> {
        let state = State {
            dice: StdRng::seed_from_u64(plan.seed ^ 0x5741_4745),
            weather: plan.weather,
            full: false,
            fate: None,
            triggers: plan.triggers.clone(),
            fired: VecDeque::new(),
            killed: None,
            process: 0,
            sent: Vec::new(),
            kept: Vec::new(),
            counts: BTreeMap::new(),
            shown: BTreeMap::new(),
            gaps: StdRng::seed_from_u64(plan.seed ^ 0x4741_5053),
            lacks: BTreeMap::new(),
            lacked: BTreeSet::new(),
            known: BTreeMap::new(),
            unlisted: None,
            left_out: BTreeSet::new(),
            strays: StdRng::seed_from_u64(plan.seed ^ 0x5354_5259),
            stray: BTreeMap::new(),
            own: BTreeMap::new(),
            taken: Vec::new(),
            world,
        };
        let service_off = state.world.scenario().ways.clock_offset.0.0;
        let (clock, alarm) = (VirtualClock::beginning(state.world.begin()), Notify::new());
        let time = clock.clone();
        let recorder = Recorder::new(move |notification| {
            let is_journaled = matches!(notification, Notification::Journaled { .. });
            (!is_journaled).then(|| format!("{} {notification:?}", time.millis()))
        });
        Arc::new(Self { clock, recorder, service_off, state: Mutex::new(state), alarm })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> i64 {
        self.clock.millis()
    }

    pub(crate) fn dice<R>(&self, throw: impl FnOnce(&mut StdRng) -> R) -> R {
        throw(&mut self.state().dice)
    }

    pub(crate) fn count(&self, what: impl Into<String>) {
        *self.state().counts.entry(what.into()).or_default() += 1;
    }

    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        self.state().counts.clone()
    }

    pub(crate) fn inspect<R>(&self, look: impl FnOnce(&World) -> R) -> R {
        look(&self.state().world)
    }

    pub(crate) fn sent(&self) -> Vec<Sent> {
        self.state().sent.clone()
    }

    pub(crate) fn kept(&self) -> Vec<Kept> {
        self.state().kept.clone()
    }

    /// How many entries the journal has.
    pub(crate) fn entries(&self) -> usize {
        self.state().kept.len()
    }

    /// What may be taken for gone although it is there: see the field.
    pub(crate) fn left_out(&self) -> BTreeSet<String> {
        self.state().left_out.clone()
    }

    pub(crate) fn taken(&self) -> Vec<Taken> {
        self.state().taken.clone()
    }

    /// Our wall clock is off the true time by so much from now on.
    pub(crate) fn set_wall(&self, off: i64) {
        self.clock.set_off(off);
    }

    /// The journal is full from now on, or no more.
    pub(crate) fn set_full(&self, full: bool) {
        self.state().full = full;
    }

    /// Begins another process, which is killed where `fate` says, if it comes there.
    pub(crate) fn begin_process(&self, fate: Option<(Point, u32)>) {
        let mut state = self.state();
        state.process += 1;
        state.known.clear();
        state.own.clear();
        state.fate = fate;
        state.killed = None;
    }

    /// The process runs no further, wherever it is.
    pub(crate) fn kill(&self, at: Point) {
        self.state().killed = Some(at);
    }

    pub(crate) fn killed(&self) -> Option<Point> {
        self.state().killed
    }

    pub(crate) fn next_fired(&self) -> Option<(Point, Planned)> {
        self.state().fired.pop_front()
    }

    /// Ends when a step has killed the process or set something off.
    pub(crate) async fn alarm(&self) {
        self.alarm.notified().await;
    }

    pub(crate) async fn sleep(&self, wait: Duration) {
        self.clock.sleep(wait).await;
    }

    pub(crate) async fn sleep_millis(&self, millis: i64) {
        self.sleep(Duration::from_millis(u64::try_from(millis).unwrap_or(0))).await;
    }

    /// Passes this step, or dies there.
    async fn pass(&self, point: Point) {
        let now = self.now();
        let (killed, fired) = {
            let mut state = self.state();
            let state = &mut *state;
            let alive = state.killed.is_none() && state.stormy(now);
            if let Some((fatal, left)) = &mut state.fate
                && *fatal == point
                && alive
            {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    state.killed = Some(point);
                    *state.counts.entry(format!("table|killed|{point:?}")).or_default() += 1;
                }
            }
            let before = state.fired.len();
            if alive && state.killed.is_none() {
                for (at, left, planned) in &mut state.triggers {
                    if *at == point && *left > 0 {
                        *left -= 1;
                        if *left == 0 {
                            state.fired.push_back((point, *planned));
                        }
                    }
                }
            }
            (state.killed.is_some(), state.fired.len() > before)
        };
        if killed || fired {
            self.alarm.notify_one();
        }
        if fired {
            // What was set off begins here, not later.
            for _ in 0..4 {
                tokio::task::yield_now().await;
            }
        }
        if killed || self.killed().is_some() {
            pending::<()>().await;
        }
    }
}

impl State {
    fn stormy(&self, now: i64) -> bool {
        now < self.weather.until
    }

    /// Lets a request reach the service.
    fn arrive(&mut self, at: i64, request: &SimRequest, sent: Option<usize>) -> (Delivery, i64) {
        let answer = self.world.handle(SimTime(at), request);
        let number = self.world.log().iter().rev().find_map(|line| match &line.record {
            Record::Request(_) => Some(line.number),
            _ => None,
        });
        if let Some(sent) = sent.and_then(|index| self.sent.get_mut(index)) {
            sent.arrived = number.map(|number| (at, number));
        }
        (answer.delivery, i64::try_from(answer.delay.as_millis()).unwrap_or(i64::MAX))
    }
}

impl State {
    /// What a service of many servers may make of the answer to a reading: one that was true a while ago, or one
    /// in which a completed node is missing while the task runs.
    fn distort(&mut self, now: i64, request: &Request, delivery: Delivery) -> Delivery {
        let weather = self.weather;
        let Delivery::Respond(response) = delivery else { return delivery };
        if response.status != 200 || (weather.replay <= 0 && weather.flap <= 0.0) {
            return Delivery::Respond(response);
        }
        let shown = self.shown.entry(format!("{}?{}", request.path, request.query)).or_default();
        shown.push_back((now, response.clone()));
        while shown.front().is_some_and(|(at, _)| now - at > weather.replay) {
            shown.pop_front();
        }
        let mut response = response;
        if now < weather.until && weather.replay > 0 && self.dice.random_bool(0.3) {
            let again = self.dice.random_range(0..shown.len().max(1));
            if let Some((at, earlier)) = shown.get(again) {
                if *at < now {
                    *self.counts.entry("table|an older answer again|reading".to_owned()).or_default() += 1;
                }
                response.body.clone_from(&earlier.body);
            }
        }
        if weather.flap > 0.0
            && now < weather.until
            && self.dice.random_bool(weather.flap)
            && let Some(body) = without_a_node(&response.body)
        {
            *self.counts.entry("table|a completed node is missing|reading".to_owned()).or_default() += 1;
            response.body = body;
        }
        Delivery::Respond(response)
    }
}

impl State {
    /// What a service of many servers may leave out of the answer to a reading: a task that it showed before, for a
    /// shorter time than two polls are apart.
    fn lack(&mut self, now: i64, request: &Request, delivery: Delivery) -> Delivery {
        let Delivery::Respond(mut response) = delivery else { return delivery };
        let (weather, path) = (self.weather, request.path.clone());
        if response.status != 200 || weather.lack <= 0.0 {
            return Delivery::Respond(response);
        }
        let ids = ids(&response.body);
        let over = self.lacks.get(&path).is_none_or(|lack| lack.until <= now && lack.whole.len() == 2);
        let old: Vec<_> =
            ids.iter().filter(|id| self.known.get(*id).is_some_and(|at| now - at > 5_000)).cloned().collect();
        if over && now < weather.until && !old.is_empty() && self.gaps.random_bool(weather.lack) {
            let task = old[self.gaps.random_range(0..old.len())].clone();
            // Left out twice, and the whole answers between may have been lost: two polls in a row miss it.
            if !self.lacked.insert(task.clone()) {
                self.left_out.insert(task.clone());
            }
            let lack = Lack { task, until: now + weather.lack_for, whole: BTreeSet::new() };
            self.lacks.insert(path.clone(), lack);
        }
        match self.lacks.get_mut(&path) {
            Some(lack) if now < lack.until => {
                if let Some(body) = without(&response.body, "detailList", &lack.task) {
                    *self.counts.entry("table|a task is missing|reading".to_owned()).or_default() += 1;
                    response.body = body;
                }
            }
            Some(lack) => drop(lack.whole.insert(request.query.clone())),
            None => {}
        }
        for id in ids {
            self.known.entry(id).or_insert(now);
        }
        Delivery::Respond(response)
    }

    /// A list that leaves a cluster out for a while, and says that it is complete.
    fn unlist(&mut self, now: i64, request: &Request, delivery: Delivery) -> Delivery {
        let Delivery::Respond(mut response) = delivery else { return delivery };
        if response.status != 200 || self.weather.unlist <= 0.0 || !request.path.ends_with("/clusters") {
            return Delivery::Respond(response);
        }
        let listed = ids(&response.body);
        if self.unlisted.is_none() && now < self.weather.until && !listed.is_empty() {
            let again = self.gaps.random_bool(self.weather.unlist);
            let of = self.gaps.random_range(0..listed.len());
            let until = now + self.gaps.random_range(1_000..30 * 60_000);
            self.unlisted = again.then(|| (listed[of].clone(), until));
        }
        if let Some((cluster, until)) = self.unlisted.clone() {
            if until <= now || now >= self.weather.until {
                self.unlisted = None;
            } else if let Some(body) = without(&response.body, "clusters", &cluster) {
                *self.counts.entry("table|a cluster is missing|list".to_owned()).or_default() += 1;
                self.left_out.insert(cluster);
                response.body = body;
            }
        }
        Delivery::Respond(response)
    }
}

impl State {
    /// What a service that mixes answers up may add to the answer to a reading: a task of another cluster that this
    /// process has read. Mostly once; else for a while, or for longer than nobody is called.
    fn stray(&mut self, now: i64, request: &Request, delivery: Delivery) -> (Delivery, Option<Shows>) {
        let Delivery::Respond(mut response) = delivery else { return (delivery, None) };
        let (weather, path) = (self.weather, request.path.clone());
        if response.status != 200 || weather.stray <= 0.0 {
            return (Delivery::Respond(response), None);
        }
        if now < weather.until && !self.stray.contains_key(&path) && self.strays.random_bool(weather.stray) {
            let known: Vec<_> = self.known_of_others(now, &path, &request.query);
            let lasts = match self.strays.random_range(0..10) {
                0..7 => 0,
                7 | 8 => self.strays.random_range(1_000..10 * 60_000),
                _ => self.strays.random_range(60 * 60_000..90 * 60_000),
            };
            if !known.is_empty() {
                let (from, task) = known[self.strays.random_range(0..known.len())].clone();
                let (list, until) = (request.query.clone(), (now + lasts).min(weather.until));
                self.stray.insert(path.clone(), Stray { from, list, task, until });
            }
        }
        let mut shows = Shows { own: response.body.clone(), stray: None };
        let Some(stray) = self.stray.get(&path).filter(|stray| stray.list == request.query) else {
            return (Delivery::Respond(response), Some(shows));
        };
        let own = self.is_there(&stray.from).then_some(&self.own);
        let own = own.and_then(|own| own.get(&stray.from));
        let own = own.and_then(|lists| lists.get(&stray.list));
        let own = own.and_then(|own| own.iter().find(|own| own.task == stray.task));
        let body = own.and_then(|own| with(&response.body, own.element.clone()));
        shows.stray = body.is_some().then(|| stray.task.clone());
        if body.is_none() || stray.until <= now {
            self.stray.remove(&path);
        }
        if let Some(body) = body {
            response.body = body;
            let cell = "table|another cluster's task is shown|reading".to_owned();
            *self.counts.entry(cell).or_default() += 1;
        }
        (Delivery::Respond(response), Some(shows))
    }

    /// The tasks of other clusters that this process has read in both lists, and had the time to journal.
    fn known_of_others(&self, now: i64, path: &str, list: &str) -> Vec<(String, String)> {
        let mut known = Vec::new();
        let whole = self.own.iter().filter(|(other, lists)| *other != path && lists.len() == 2);
        for (other, lists) in whole.filter(|(other, _)| self.is_there(other)) {
            let tasks = lists.get(list).into_iter().flatten().filter(|own| now - own.first > 60_000);
            known.extend(tasks.map(|own| (other.clone(), own.task.clone())));
        }
        known
    }

    /// Whether the cluster of this path is there, and lists have always shown it: whose a task of another one was, nothing
    /// tells any more.
    fn is_there(&self, path: &str) -> bool {
        let id = cluster_of(path);
        let deleted = self
            .world
            .log()
            .iter()
            .any(|line| matches!(&line.record, Record::ClusterDeleted { cluster, .. } if cluster == id));
        !deleted && !self.left_out.contains(id)
    }

    /// The process takes an answer about the tasks of a cluster.
    fn take(&mut self, now: i64, request: &Request, Shows { own, stray }: Shows) {
        let lists = self.own.entry(request.path.clone()).or_default();
        let before = lists.remove(&request.query).unwrap_or_default();
        let json: serde_json::Value = serde_json::from_slice(&own).unwrap_or_default();
        let elements = json["detailList"].as_array().cloned().unwrap_or_default();
        let tasks = elements.into_iter().filter_map(|element| {
            let task = element["id"].as_str()?.to_owned();
            let first = before.iter().find(|own| own.task == task).map_or(now, |own| own.first);
            Some(Own { task, first, element })
        });
        lists.insert(request.query.clone(), tasks.collect());
        let (process, cluster) = (self.process, cluster_of(&request.path).to_owned());
        let is_last_list = request.query.contains("AZ_MIGRATION");
        self.taken.push(Taken { at: now, process, cluster, is_last_list, stray });
    }
}

/// The id of the cluster that a path leads to.
fn cluster_of(path: &str) -> &str {
    path.trim_matches('/').split('/').nth(3).unwrap_or_default()
}

/// The body, with this element too, as if it were complete.
fn with(body: &[u8], element: serde_json::Value) -> Option<Vec<u8>> {
    let mut json: serde_json::Value = serde_json::from_slice(body).ok()?;
    json.get_mut("detailList")?.as_array_mut()?.push(element);
    if let Some(total) = json["totalSize"].as_u64() {
        json["totalSize"] = (total + 1).into();
    }
    serde_json::to_vec(&json).ok()
}

/// The ids of the tasks or clusters of a body.
fn ids(body: &[u8]) -> Vec<String> {
    let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let lists = ["detailList", "clusters"].into_iter().filter_map(|list| json[list].as_array());
    lists.flatten().filter_map(|it| Some(it["id"].as_str()?.to_owned())).collect()
}

/// The body, less this element, as if it were complete; `None` where it is not in it.
fn without(body: &[u8], list: &str, id: &str) -> Option<Vec<u8>> {
    let mut json: serde_json::Value = serde_json::from_slice(body).ok()?;
    let all = json.get_mut(list)?.as_array_mut()?;
    let before = all.len();
    all.retain(|it| it["id"] != id);
    let gone = (before - all.len()) as u64;
    if let Some(total) = json["totalSize"].as_u64() {
        json["totalSize"] = total.saturating_sub(gone).into();
    }
    (gone > 0).then(|| serde_json::to_vec(&json).ok()).flatten()
}

/// The body, less the last completed node of the task that runs; `None` where there is none.
fn without_a_node(body: &[u8]) -> Option<Vec<u8>> {
    let mut json: serde_json::Value = serde_json::from_slice(body).ok()?;
    let tasks = json.get_mut("detailList")?.as_array_mut()?;
    let running = tasks.iter_mut().find(|task| task["status"] == "RUNNING")?;
    let names = running.get("completedNodes")?.as_str()?.trim().to_owned();
    let (rest, _) = names.rsplit_once(',').or_else(|| (!names.is_empty()).then_some(("", "")))?;
    running["completedNodes"] = rest.into();
    serde_json::to_vec(&json).ok()
}

/// The wire to the simulated service.
pub(crate) struct Wire {
    pub(crate) harness: Arc<Harness>,
    pub(crate) request_timeout: Duration,
}

impl Wire {
    fn timeout(&self) -> i64 {
        i64::try_from(self.request_timeout.as_millis()).unwrap_or(i64::MAX)
    }

    /// Takes note that a PUT leaves the process.
    fn note(&self, request: &Request) -> Option<usize> {
        if request.method != Method::Put {
            return None;
        }
        let parts: Vec<_> = request.path.trim_matches('/').split('/').collect();
        let at = self.harness.now();
        let mut state = self.harness.state();
        let part = |index: usize| parts.get(index).map(|part| (*part).to_owned()).unwrap_or_default();
        let sent = Sent {
            at,
            clock_ahead: self.harness.clock.off() - self.harness.service_off,
            process: state.process,
            cluster: part(3),
            task: part(5),
            action: if request.query.contains("retry_mode") { Action::Abort } else { Action::Retry },
            arrived: None,
            answer: None,
        };
        state.sent.push(sent);
        Some(state.sent.len() - 1)
    }
}

impl Transport for Wire {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let harness = &*self.harness;
        let is_put = request.method == Method::Put;
        let operation = For::of(&request);
        harness.pass(operation.before()).await;
        let (no_connection, late, there, back) = {
            let now = harness.now();
            let mut state = harness.state();
            let (stormy, weather) = (state.stormy(now), state.weather);
            let dice = &mut state.dice;
            let refused = dice.random_bool(weather.no_connection) && stormy;
            let late = dice.random_bool(weather.late) && stormy && is_put;
            let late = late.then(|| dice.random_range(0..=weather.longest_late));
            (refused, late, dice.random_range(1..60), dice.random_range(1..200))
        };
        if no_connection {
            harness.count(format!("table|no connection|{}", operation.word()));
            harness.sleep_millis(there).await;
            return Err(TransportError::Connect("refused".into()));
        }
        let sent = self.note(&request);
        let simulated = SimRequest {
            method: request.method.as_str().to_owned(),
            path: request.path.clone(),
            query: query_pairs(&request.query),
            headers: request
                .headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
            body: Vec::new(),
        };
        if let (Some(late), Some(index)) = (late, sent) {
            harness.count(format!("table|arrives when nobody waits any more|{}", operation.word()));
            let (world, wait) = (Arc::clone(&self.harness), self.timeout() + late);
            tokio::spawn(async move {
                world.sleep_millis(wait).await;
                let now = world.now();
                world.state().arrive(now, &simulated, Some(index));
            });
            harness.sleep_millis(self.timeout()).await;
            return Err(TransportError::Timeout("too slow".into()));
        }
        harness.sleep_millis(there).await;
        let mut shows = None;
        let (delivery, delay) = {
            let now = harness.now();
            let mut state = harness.state();
            let (delivery, delay) = state.arrive(now, &simulated, sent);
            let delivery = match operation {
                For::Reading => {
                    let delivery = state.distort(now, &request, delivery);
                    let delivery = state.lack(now, &request, delivery);
                    let (delivery, shown) = state.stray(now, &request, delivery);
                    shows = shown;
                    delivery
                }
                For::List => state.unlist(now, &request, delivery),
                For::Retry | For::Abort => delivery,
            };
            (delivery, delay)
        };
        if is_put {
            harness.pass(Point::PutArrived).await;
        }
        if there + back + delay > self.timeout() {
            harness.sleep_millis(self.timeout() - there).await;
            return Err(TransportError::Timeout("too slow".into()));
        }
        harness.sleep_millis(back + delay).await;
        harness.pass(operation.after()).await;
        if let Some(shows) = shows {
            let now = harness.now();
            harness.state().take(now, &request, shows);
        }
        let (response, cut) = match delivery {
            Delivery::Respond(response) => (response, false),
            Delivery::Truncate { response, .. } => (response, true),
            Delivery::CutBefore | Delivery::CutAfter => {
                return Err(TransportError::Broken("connection reset".into()));
            }
        };
        if let Some(index) = sent.filter(|_| !cut) {
            let mut state = harness.state();
            if let Some(sent) = state.sent.get_mut(index) {
                sent.answer = Some(response.status);
            }
        }
        let body = if cut {
            Err(TransportError::Broken("the body is cut short".into()))
        } else if response.body.len() > request.body_limit {
            Err(TransportError::TooLong { limit: request.body_limit })
        } else {
            Ok(response.body)
        };
        Ok(Response { status: response.status, headers: response.headers, body })
    }
}

/// Where the entries are: in memory, or in a file of `SQLite`.
#[derive(Clone)]
pub(crate) enum Disk {
    Memory(MemoryJournal),
    Sqlite { journal: SqliteJournal, mirror: MemoryJournal },
}

impl Disk {
    /// What tells the judge of all entries by the clocks of those who recorded them.
    pub(crate) fn memory(&self) -> &MemoryJournal {
        match self {
            Self::Memory(memory) | Self::Sqlite { mirror: memory, .. } => memory,
        }
    }
}

impl Layer for Disk {
    fn beneath(&self) -> &dyn Store {
        self.memory()
    }

    fn append(&self, fence: Fence, at: Moment, lines: Vec<(Subject, Event)>) -> Answer<'_, Vec<Entry>> {
        let Self::Sqlite { journal, mirror } = self else { return self.memory().append(fence, at, lines) };
        Box::pin(async move {
            let before = mirror.entries().len();
            let simulated = mirror.append(fence, at, lines.clone()).await;
            if mirror.entries().len() > before {
                let written = wait(journal.append(fence, at, lines))?;
                return simulated.map(|_| written);
            }
            simulated
        })
    }

    fn forget(&self, tasks: Vec<Subject>) -> Answer<'_, ()> {
        let Self::Sqlite { journal, mirror } = self else { return self.memory().forget(tasks) };
        Box::pin(async move {
            mirror.forget(tasks.clone()).await?;
            wait(journal.forget(tasks))
        })
    }

    fn read(&self, query: Query) -> Answer<'_, Vec<StoredEntry>> {
        match self {
            Self::Memory(memory) => memory.read(query),
            Self::Sqlite { journal, .. } => Box::pin(ready(wait(journal.read(query)))),
        }
    }

    fn place_hold(&self, hold: NewHold) -> Answer<'_, StoredHold> {
        let Self::Sqlite { journal, mirror } = self else { return self.memory().place_hold(hold) };
        Box::pin(async move {
            let before = mirror.holds().len();
            let simulated = mirror.place_hold(hold.clone()).await;
            if mirror.holds().len() > before {
                let written = wait(journal.place_hold(hold))?;
                return simulated.map(|_| written);
            }
            simulated
        })
    }

    fn release_holds(&self, at: Timestamp, numbers: Vec<u64>, by: String) -> Answer<'_, ()> {
        let Self::Sqlite { journal, mirror } = self else {
            return self.memory().release_holds(at, numbers, by);
        };
        Box::pin(async move {
            let before = mirror.holds();
            let simulated = mirror.release_holds(at, numbers.clone(), by.clone()).await;
            if mirror.holds() != before {
                wait(journal.release_holds(at, numbers, by))?;
            }
            simulated
        })
    }
}

/// The journal, which fails when the weather is bad. It outlives its process.
pub(crate) struct FaultyJournal {
    pub(crate) harness: Arc<Harness>,
    pub(crate) disk: Disk,
}

impl FaultyJournal {
    /// Makes the next record fail, if it is to.
    fn fail(&self, what: &str) -> Option<Failure> {
        let now = self.harness.now();
        let (failure, full) = {
            let mut state = self.harness.state();
            let (stormy, chance, full) = (state.stormy(now), state.weather.journal, state.full);
            let fails = state.dice.random_bool(chance) && stormy && !full;
            let kept = state.dice.random_bool(0.5);
            let failure = if kept { Failure::AfterKeeping } else { Failure::BeforeKeeping };
            (fails.then_some(failure), full)
        };
        let memory = self.disk.memory();
        memory.set_full(full);
        if let Some(failure) = failure {
            memory.fail_next(failure);
        }
        match (full, failure) {
            (true, _) => self.harness.count(format!("table|disk full|{what}")),
            (_, Some(Failure::AfterKeeping)) => self.harness.count(format!("table|fsync fails, kept|{what}")),
            (_, Some(Failure::BeforeKeeping)) => self.harness.count(format!("table|write fails|{what}")),
            (false, None) => {}
        }
        failure
    }
}

impl Layer for FaultyJournal {
    fn beneath(&self) -> &dyn Store {
        &self.disk
    }

    fn append(&self, fence: Fence, at: Moment, lines: Vec<(Subject, Event)>) -> Answer<'_, Vec<Entry>> {
        Box::pin(async move {
            let harness = &*self.harness;
            let (before, after, what) = match lines.first() {
                Some((_, Event::Intent { .. })) => (Point::BeforeIntent, Point::IntentKept, "the intent"),
                Some((_, Event::Answered { .. } | Event::NotSent { .. })) => {
                    (Point::BeforeAnswer, Point::AnswerKept, "the answer")
                }
                _ => (Point::BeforeKeeping, Point::AfterKeeping, "what was seen"),
            };
            harness.pass(before).await;
            let wait = harness.dice(|dice| dice.random_range(0..15));
            harness.sleep_millis(wait).await;
            let failure = self.fail(what);
            let number = lines.len();
            let result = Store::append(&self.disk, fence, at, lines).await;
            let in_doubt = failure == Some(Failure::AfterKeeping);
            if result.is_ok() || in_doubt {
                let now = harness.now();
                let mut state = harness.state();
                let process = state.process;
                state.kept.extend((0..number).map(|_| Kept { at: now, process, in_doubt }));
            }
            harness.pass(after).await;
            result
        })
    }

    fn place_hold(&self, hold: NewHold) -> Answer<'_, StoredHold> {
        Box::pin(async move {
            self.harness.pass(Point::BeforeKeeping).await;
            let wait = self.harness.dice(|dice| dice.random_range(0..15));
            self.harness.sleep_millis(wait).await;
            self.fail("a hold");
            let placed = Store::place_hold(&self.disk, hold).await;
            self.harness.pass(Point::AfterKeeping).await;
            placed
        })
    }

    fn release_holds(&self, at: jiff::Timestamp, numbers: Vec<u64>, by: String) -> Answer<'_, ()> {
        Box::pin(async move {
            self.harness.pass(Point::BeforeKeeping).await;
            let wait = self.harness.dice(|dice| dice.random_range(0..15));
            self.harness.sleep_millis(wait).await;
            self.fail("a release");
            let released = Store::release_holds(&self.disk, at, numbers, by).await;
            self.harness.pass(Point::AfterKeeping).await;
            released
        })
    }
}

/// The request of a line of the world's log.
pub(crate) fn request_of(record: &Record) -> Option<&RequestRecord> {
    match record {
        Record::Request(request) => Some(request),
        _ => None,
    }
}
