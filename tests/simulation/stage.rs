//! The stage on which one seed is played: virtual time, a wire to the simulated world, a journal that may fail,
//! and the points at which the process can be killed.
//!
//! Everything happens in one thread. Whoever waits leaves a waker at the time it waits for; the driver moves
//! the time on when nobody can run.

use std::collections::BTreeMap;
use std::future::{pending, poll_fn};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use upgrade_remediator::clock::Clock;
use upgrade_remediator::cloud::transport::{Method, Request, Response, Transport, TransportError};
use upgrade_remediator::journal::memory::Failure;
use upgrade_remediator::journal::{Journal, JournalError, MemoryJournal};
use upgrade_remediator::model::decision::Action;
use upgrade_remediator::model::event::{Entry, Event, Subject};
use upgrade_remediator::model::hold::{NewHold, StoredHold};
use upgrade_remediator::model::moment::{Moment, Mono};
use upgrade_remediator::notify::{News, Tell};
use upgrade_remediator::simulator::log::{Record, RequestRecord};
use upgrade_remediator::simulator::{Delivery, SimRequest, SimTime, World, query_pairs};

use crate::generate::Weather;

/// Where a process can be killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Point {
    BeforeReading,
    AfterReading,
    /// The intent is durable, the PUT has not left.
    IntentKept,
    BeforePut,
    /// The service has the PUT, its answer is on the way.
    PutArrived,
    /// The answer is here, and not in the journal.
    PutAnswered,
    BeforeKeeping,
    AfterKeeping,
}

impl Point {
    pub(crate) const ALL: [Self; 8] = [
        Self::BeforeReading,
        Self::AfterReading,
        Self::IntentKept,
        Self::BeforePut,
        Self::PutArrived,
        Self::PutAnswered,
        Self::BeforeKeeping,
        Self::AfterKeeping,
    ];

    /// Whether it lies on the way of a PUT, which is rare.
    pub(crate) fn is_of_a_put(self) -> bool {
        matches!(self, Self::IntentKept | Self::BeforePut | Self::PutArrived | Self::PutAnswered)
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

/// What only the stage knows of a journal entry.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Kept {
    pub(crate) at: i64,
    pub(crate) process: u32,
    /// It was kept, and reported as not kept.
    pub(crate) in_doubt: bool,
}

struct State {
    now: i64,
    /// Our wall clock less the true time, in milliseconds.
    wall_off: i64,
    timers: BTreeMap<(i64, u64), Waker>,
    next_timer: u64,
    world: World,
    late: BTreeMap<(i64, u64), (SimRequest, usize)>,
    dice: StdRng,
    weather: Weather,
    /// The journal is full.
    full: bool,
    fate: Option<(Point, u32)>,
    killed: Option<Point>,
    process: u32,
    sent: Vec<Sent>,
    kept: Vec<Kept>,
    told: Vec<String>,
    counts: BTreeMap<String, u64>,
}

/// Shared by all that plays one seed.
pub(crate) struct Stage {
    begin: Timestamp,
    /// The service's clock less the true time, in milliseconds.
    service_off: i64,
    state: Mutex<State>,
}

impl Stage {
    pub(crate) fn new(world: World, weather: Weather, seed: u64) -> Arc<Self> {
        let state = State {
            now: 0,
            wall_off: 0,
            timers: BTreeMap::new(),
            next_timer: 0,
            late: BTreeMap::new(),
            dice: StdRng::seed_from_u64(seed ^ 0x5741_4745),
            weather,
            full: false,
            fate: None,
            killed: None,
            process: 0,
            sent: Vec::new(),
            kept: Vec::new(),
            told: Vec::new(),
            counts: BTreeMap::new(),
            world,
        };
        let (begin, service_off) = (state.world.begin(), state.world.scenario().ways.clock_offset.0.0);
        Arc::new(Self { begin, service_off, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> i64 {
        self.state().now
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

    pub(crate) fn told(&self) -> Vec<String> {
        self.state().told.clone()
    }

    /// Our wall clock is off the true time by so much from now on.
    pub(crate) fn set_wall(&self, off: i64) {
        self.state().wall_off = off;
    }

    /// The journal is full from now on, or no more.
    pub(crate) fn set_full(&self, full: bool) {
        self.state().full = full;
    }

    /// Begins another process, which is killed where `fate` says, if it comes there.
    pub(crate) fn begin_process(&self, fate: Option<(Point, u32)>) {
        let mut state = self.state();
        state.process += 1;
        state.fate = fate;
    }

    /// Nobody runs and nobody waits any more.
    pub(crate) fn end_process(&self) {
        let mut state = self.state();
        state.timers.clear();
        (state.fate, state.killed) = (None, None);
    }

    pub(crate) fn killed(&self) -> Option<Point> {
        self.state().killed
    }

    pub(crate) fn next_timer(&self) -> Option<i64> {
        let state = self.state();
        let late = state.late.keys().next().map(|(at, _)| *at);
        state.timers.keys().next().map(|(at, _)| *at).into_iter().chain(late).min()
    }

    /// Moves the time on, lets what is late arrive, and wakes those whose wait is over.
    pub(crate) fn advance(&self, to: i64) {
        let mut state = self.state();
        state.now = state.now.max(to);
        while let Some(entry) = state.late.first_entry() {
            if entry.key().0 > to {
                break;
            }
            let ((at, _), (request, index)) = entry.remove_entry();
            state.arrive(at, &request, Some(index));
        }
        let later = state.timers.split_off(&(to + 1, 0));
        let due = std::mem::replace(&mut state.timers, later);
        drop(state);
        due.into_values().for_each(Waker::wake);
    }

    fn arrives_late(&self, at: i64, request: SimRequest, sent: usize) {
        let mut state = self.state();
        let number = state.next_timer;
        state.next_timer += 1;
        state.late.insert((at, number), (request, sent));
    }

    async fn sleep(&self, wait: Duration) {
        let micros = i64::try_from(wait.as_micros()).unwrap_or(i64::MAX);
        let deadline = self.now().saturating_add(micros.saturating_add(999) / 1_000);
        poll_fn(|context| {
            let mut state = self.state();
            if state.now >= deadline {
                return Poll::Ready(());
            }
            let number = state.next_timer;
            state.next_timer += 1;
            state.timers.insert((deadline, number), context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    async fn sleep_millis(&self, millis: i64) {
        self.sleep(Duration::from_millis(u64::try_from(millis).unwrap_or(0))).await;
    }

    /// Passes this point, or dies there.
    async fn pass(&self, point: Point) {
        let killed = {
            let mut state = self.state();
            match &mut state.fate {
                Some((fatal, left)) if *fatal == point => {
                    *left = left.saturating_sub(1);
                    if *left == 0 {
                        state.killed = Some(point);
                    }
                }
                _ => {}
            }
            state.killed.is_some()
        };
        if killed {
            pending::<()>().await;
        }
    }
}

impl State {
    fn stormy(&self) -> bool {
        self.now < self.weather.until
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

/// The clocks of one process: the wall clock of the machine, and a monotonic clock of its own.
pub(crate) struct ProcessClock {
    stage: Arc<Stage>,
    origin: i64,
}

impl ProcessClock {
    pub(crate) fn new(stage: &Arc<Stage>, origin: i64) -> Arc<Self> {
        Arc::new(Self { stage: Arc::clone(stage), origin })
    }
}

impl Clock for ProcessClock {
    fn now(&self) -> Moment {
        let state = self.stage.state();
        let wall = self.stage.begin.saturating_add(SignedDuration::from_millis(state.now + state.wall_off));
        Moment { wall: wall.unwrap_or(Timestamp::MAX), mono: Mono(state.now - self.origin) }
    }

    async fn sleep(&self, wait: Duration) {
        self.stage.sleep(wait).await;
    }
}

/// The wire to the simulated service.
pub(crate) struct Wire {
    pub(crate) stage: Arc<Stage>,
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
        let mut state = self.stage.state();
        let part = |index: usize| parts.get(index).map(|part| (*part).to_owned()).unwrap_or_default();
        let sent = Sent {
            at: state.now,
            clock_ahead: state.wall_off - self.stage.service_off,
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
        let stage = &*self.stage;
        let is_put = request.method == Method::Put;
        stage.pass(if is_put { Point::BeforePut } else { Point::BeforeReading }).await;
        let (no_connection, late, there, back) = {
            let mut state = stage.state();
            let (stormy, weather) = (state.stormy(), state.weather);
            let dice = &mut state.dice;
            let refused = dice.random_bool(weather.no_connection) && stormy;
            let late = dice.random_bool(weather.late) && stormy && is_put;
            let late = late.then(|| dice.random_range(0..=weather.longest_late));
            (refused, late, dice.random_range(1..60), dice.random_range(1..200))
        };
        if no_connection {
            stage.count(if is_put { "wire: no connection, PUT" } else { "wire: no connection, reading" });
            stage.sleep_millis(there).await;
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
            stage.count("wire: the PUT arrives when nobody waits for it any more");
            stage.arrives_late(stage.now() + self.timeout() + late, simulated, index);
            stage.sleep_millis(self.timeout()).await;
            return Err(TransportError::Timeout("too slow".into()));
        }
        stage.sleep_millis(there).await;
        let (delivery, delay) = {
            let mut state = stage.state();
            let now = state.now;
            state.arrive(now, &simulated, sent)
        };
        if is_put {
            stage.pass(Point::PutArrived).await;
        }
        if there + back + delay > self.timeout() {
            stage.sleep_millis(self.timeout() - there).await;
            return Err(TransportError::Timeout("too slow".into()));
        }
        stage.sleep_millis(back + delay).await;
        stage.pass(if is_put { Point::PutAnswered } else { Point::AfterReading }).await;
        let (response, cut) = match delivery {
            Delivery::Respond(response) => (response, false),
            Delivery::Truncate { response, .. } => (response, true),
            Delivery::CutBefore | Delivery::CutAfter => {
                return Err(TransportError::Broken("connection reset".into()));
            }
        };
        if let Some(index) = sent.filter(|_| !cut) {
            let mut state = stage.state();
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

/// The journal, which fails when the weather is bad. It outlives its process.
pub(crate) struct StagedJournal {
    pub(crate) stage: Arc<Stage>,
    pub(crate) memory: MemoryJournal,
}

impl Journal for StagedJournal {
    async fn record(&self, at: Moment, lines: Vec<(Subject, Event)>) -> Result<Vec<Entry>, JournalError> {
        let stage = &*self.stage;
        stage.pass(Point::BeforeKeeping).await;
        let wait = stage.dice(|dice| dice.random_range(0..15));
        stage.sleep_millis(wait).await;
        let (failure, full) = {
            let mut state = stage.state();
            let (stormy, chance, full) = (state.stormy(), state.weather.journal, state.full);
            let fails = state.dice.random_bool(chance) && stormy && !full;
            let kept = state.dice.random_bool(0.5);
            let failure = if kept { Failure::AfterKeeping } else { Failure::BeforeKeeping };
            (fails.then_some(failure), full)
        };
        self.memory.set_full(full);
        if let Some(failure) = failure {
            self.memory.fail_next(failure);
        }
        let (number, is_intent) = (lines.len(), matches!(lines.as_slice(), [(_, Event::Intent { .. })]));
        let result = self.memory.record(at, lines).await;
        let in_doubt = failure == Some(Failure::AfterKeeping);
        if result.is_ok() || in_doubt {
            let mut state = stage.state();
            let (now, process) = (state.now, state.process);
            state.kept.extend((0..number).map(|_| Kept { at: now, process, in_doubt }));
        }
        match (&result, failure) {
            (Err(_), Some(Failure::AfterKeeping)) => stage.count("journal: fails after keeping"),
            (Err(_), Some(Failure::BeforeKeeping)) => stage.count("journal: fails before keeping"),
            (Err(_), None) => stage.count("journal: is full"),
            (Ok(_), _) => {}
        }
        stage.pass(if is_intent { Point::IntentKept } else { Point::AfterKeeping }).await;
        result
    }

    async fn forget(&self, tasks: Vec<Subject>) -> Result<(), JournalError> {
        self.memory.forget(tasks).await
    }

    async fn place_hold(&self, hold: NewHold) -> Result<StoredHold, JournalError> {
        self.memory.place_hold(hold).await
    }

    async fn release_holds(
        &self,
        at: jiff::Timestamp,
        numbers: Vec<u64>,
        by: String,
    ) -> Result<(), JournalError> {
        self.memory.release_holds(at, numbers, by).await
    }
}

/// Collects what is told, beside what is in the journal anyway.
pub(crate) struct Listener {
    pub(crate) stage: Arc<Stage>,
}

impl Tell for Listener {
    fn tell(&self, news: &News<'_>) {
        if !matches!(news, News::Journaled { .. }) {
            let mut state = self.stage.state();
            let line = format!("{} {news:?}", state.now);
            state.told.push(line);
        }
    }
}

/// The request of a line of the world's log.
pub(crate) fn request_of(record: &Record) -> Option<&RequestRecord> {
    match record {
        Record::Request(request) => Some(request),
        _ => None,
    }
}
