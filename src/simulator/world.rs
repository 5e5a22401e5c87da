//! The simulated project as a whole. Pure: the time is passed in, all random values come from one
//! seed, and there is neither I/O nor async, so equal seeds and equal calls give equal runs.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::cluster::{Cluster, Happened};
use super::exchange::{Delivery, Response, SimAnswer, SimRequest};
use super::faults;
use super::given::Given;
use super::ids::Ids;
use super::log::{
    AnswerRecord, DeliveryRecord, LogEntry, Operation, PutRecord, Record, RequestRecord, Verdict,
};
use super::render::Calendar;
use super::route::Route;
use super::scenario::{Scenario, Signatures};
use super::signature::Gatekeeper;
use super::time::SimTime;

/// A simulated project: clusters, tasks, and a gateway in front of them.
#[derive(Debug)]
pub struct World {
    pub(super) scenario: Scenario,
    begin: Timestamp,
    now: SimTime,
    pub(super) clusters: Vec<Cluster>,
    pub(super) gatekeeper: Gatekeeper,
    /// The tokens that IAM has returned.
    pub(super) given: Given,
    /// For each fault of the scenario, how many requests it could have hit so far.
    matched: Vec<u64>,
    pub(super) ids: Ids,
    log: Vec<LogEntry>,
}

/// The result of a request.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) response: Response,
    pub(super) taken: bool,
    pub(super) put: Option<PutRecord>,
    pub(super) happened: Happened,
}

impl Done {
    /// An answer that changed nothing.
    pub(super) fn refused(response: Response) -> Self {
        Self { response, taken: false, put: None, happened: Vec::new() }
    }
}

impl World {
    /// Makes a world at its beginning, when the wall clock shows `begin`. Equal seeds give equal
    /// ids and random values.
    pub fn new(scenario: Scenario, seed: u64, begin: Timestamp) -> Self {
        let mut ids = Ids::new(seed);
        let clusters = scenario
            .cluster
            .iter()
            .flat_map(|script| script.names().into_iter().map(move |name| (script, name)))
            .map(|(script, name)| Cluster::new(script, name, &scenario, &mut ids))
            .collect();
        let mut world = Self {
            begin,
            now: SimTime(i64::MIN),
            clusters,
            gatekeeper: Gatekeeper::new(scenario.key.clone()),
            given: Given::default(),
            matched: vec![0; scenario.fault.len()],
            ids,
            log: Vec::new(),
            scenario,
        };
        world.advance(SimTime(0));
        world
    }

    /// Makes every change that is due until `now`. Time never goes back: an earlier `now` counts as
    /// the latest one.
    pub fn advance(&mut self, now: SimTime) {
        self.now = self.now.max(now);
        let mut happened = Vec::new();
        for cluster in &mut self.clusters {
            cluster.advance(self.now, self.scenario.speed, &mut happened);
        }
        happened.sort_by_key(|(at, _)| *at);
        self.remember(happened);
    }

    /// Takes a request that arrives at `now`, and answers it.
    pub fn handle(&mut self, now: SimTime, request: &SimRequest) -> SimAnswer {
        self.advance(now);
        let now = self.now;
        let request_id = self.ids.request_id();
        let route = Route::of(request);
        let wall = self.calendar_now();
        let (signature, access_key) = match self.scenario.signatures {
            _ if route.operation == Operation::Unknown => (Verdict::NotChecked, None),
            // A request to sign in, or to the metadata service, has no signature yet.
            _ if matches!(
                route.operation,
                Operation::Token | Operation::MetadataToken | Operation::MetadataKey
            ) =>
            {
                (Verdict::NotChecked, None)
            }
            Signatures::Ignored => (Verdict::NotChecked, None),
            Signatures::Checked => match request.header("x-auth-token") {
                Some(token) if self.given.knows_token(token, wall) => (Verdict::Good, None),
                Some(_) => (Verdict::BadToken, None),
                None => self.gatekeeper.judge(now, wall, request),
            },
        };

        let mut fault = None;
        let (mut delivery, mut delay, mut done) = (None, Duration::ZERO, None);
        if route.operation == Operation::Unknown {
            let message = "The API does not exist or has not been published in the environment";
            delivery = Some(Delivery::Respond(Response::error(404, "APIGW.0101", message, &request_id)));
        } else if !signature.passes() {
            let message = signature.message(access_key.as_deref().unwrap_or_default());
            delivery = Some(Delivery::Respond(Response::error(401, "APIGW.0301", &message, &request_id)));
        } else {
            fault = self.fault_hitting(now, &route);
            let hit = fault.and_then(|index| self.scenario.fault.get(index)).cloned();
            if hit.as_ref().is_none_or(|fault| fault.taken || fault.what.keeps_answer()) {
                let signed_in = self.sign_in(wall, request, route.operation, &request_id);
                done = signed_in.or_else(|| Some(self.execute(now, request, &route, &request_id)));
            }
            if let Some(hit) = hit {
                delay = hit.delay.unwrap_or_default();
                delivery =
                    Some(faults::delivery(&hit, done.as_ref().map(|done| &done.response), &request_id));
            }
        }
        let delivery = delivery
            .or_else(|| done.as_ref().map(|done| Delivery::Respond(done.response.clone())))
            .unwrap_or(Delivery::CutBefore);
        let answer = SimAnswer { delivery: stamped(delivery, wall, &request_id), delay };

        let (taken, put, happened) = done.map_or((false, None, Vec::new()), |d| (d.taken, d.put, d.happened));
        let known = route.cluster.as_ref().and_then(|id| self.clusters.iter().find(|c| c.id == *id));
        let action_mode = (route.operation == Operation::Tasks)
            .then(|| request.parameter("action_mode").unwrap_or("UPGRADING").to_owned());
        let record = RequestRecord {
            operation: route.operation,
            method: request.method.clone(),
            path: request.path.clone(),
            query: request.query.clone(),
            access_key,
            signature,
            cluster_name: known.map(|cluster| cluster.name.clone()),
            cluster: route.cluster,
            task: route.task,
            action_mode,
            taken,
            fault: fault.map(|index| index + 1),
            answer: answered(&answer, request_id),
            put,
        };
        self.remember(vec![(now, Record::Request(Box::new(record)))]);
        self.remember(happened);
        answer
    }

    /// Everything that happened so far, in the order of time.
    pub fn log(&self) -> &[LogEntry] {
        &self.log
    }

    /// Returns the retries and aborts that reached a task, over the API and in the console, in
    /// order.
    pub fn puts(&self) -> impl Iterator<Item = &PutRecord> {
        self.log.iter().filter_map(|entry| match &entry.record {
            Record::Request(request) => request.put.as_ref(),
            Record::ByHand(put) => Some(put),
            Record::Task(_) | Record::ClusterDeleted { .. } => None,
        })
    }

    /// Returns the true state of every cluster and its tasks, as JSON.
    pub fn state(&self) -> Value {
        let clusters: Vec<_> = self
            .clusters
            .iter()
            .map(|cluster| {
                let tasks: Vec<_> = cluster
                    .tasks
                    .iter()
                    .map(|task| {
                        json!({
                            "id": task.id,
                            "kind": match task.kind {
                                super::scenario::Kind::Upgrade => "upgrade",
                                super::scenario::Kind::AzSwitchover => "az-switchover",
                            },
                            "status": task.status(),
                            "execution": task.execution,
                            "completed_nodes": task.completed_nodes(),
                            "total_nodes": task.nodes.len(),
                            "terminated": task.terminated,
                        })
                    })
                    .collect();
                json!({
                    "id": cluster.id,
                    "name": cluster.name,
                    "engine": cluster.engine,
                    "version": cluster.version,
                    "deleted": cluster.deleted,
                    "tasks": tasks,
                })
            })
            .collect();
        json!({ "at": self.now, "wall": self.now.wall(self.begin), "clusters": clusters })
    }

    /// Returns the id of the cluster of this name.
    pub fn cluster_id(&self, name: &str) -> Option<&str> {
        self.clusters.iter().find(|cluster| cluster.name == name).map(|cluster| cluster.id.as_str())
    }

    /// Returns its scenario.
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// The wall-clock time at which it began.
    pub fn begin(&self) -> Timestamp {
        self.begin
    }

    /// Returns the latest time that was passed in.
    pub fn now(&self) -> SimTime {
        self.now
    }

    /// Returns the form of the API's times: by its own clock, which may be wrong.
    pub(super) fn calendar(&self) -> Calendar {
        Calendar { begin: self.scenario.ways.clock_offset.0.wall(self.begin) }
    }

    fn calendar_now(&self) -> Timestamp {
        self.now.wall(self.calendar().begin)
    }

    /// Returns the cluster of a request, if it exists.
    pub(super) fn cluster_index(&self, id: &str) -> Option<usize> {
        self.clusters
            .iter()
            .position(|cluster| cluster.id == id && cluster.created <= self.now && !cluster.deleted)
    }

    /// Returns the first fault that hits this request. Every fault that matches counts it.
    fn fault_hitting(&mut self, now: SimTime, route: &Route) -> Option<usize> {
        let cluster = route.cluster.as_ref().and_then(|id| self.clusters.iter().find(|c| c.id == *id));
        let mut hit = None;
        for (index, (fault, matched)) in self.scenario.fault.iter().zip(&mut self.matched).enumerate() {
            if !faults::matches(fault, now, route.operation, cluster) {
                continue;
            }
            *matched += 1;
            let chosen = fault.times.covers(fault.nth, *matched);
            if hit.is_none() && chosen && (fault.probability >= 1.0 || self.ids.happens(fault.probability)) {
                hit = Some(index);
            }
        }
        hit
    }

    fn remember(&mut self, happened: Happened) {
        for (at, record) in happened {
            let number = self.log.len() as u64 + 1;
            self.log.push(LogEntry { number, at, wall: at.wall(self.begin), record });
        }
    }
}

fn stamped(delivery: Delivery, wall: Timestamp, request_id: &str) -> Delivery {
    match delivery {
        Delivery::Respond(response) => Delivery::Respond(response.stamped(wall, request_id)),
        Delivery::Truncate { response, body_bytes } => {
            Delivery::Truncate { response: response.stamped(wall, request_id), body_bytes }
        }
        cut @ (Delivery::CutBefore | Delivery::CutAfter) => cut,
    }
}

fn answered(answer: &SimAnswer, request_id: String) -> AnswerRecord {
    let (delivery, response) = match &answer.delivery {
        Delivery::Respond(response) => (DeliveryRecord::Whole, Some(response)),
        Delivery::Truncate { response, .. } => (DeliveryRecord::Truncated, Some(response)),
        Delivery::CutBefore | Delivery::CutAfter => (DeliveryRecord::Cut, None),
    };
    AnswerRecord {
        delivery,
        status: response.map(|response| response.status),
        code: response.and_then(Response::code),
        request_id,
        delay_ms: u64::try_from(answer.delay.as_millis()).unwrap_or(u64::MAX),
    }
}

#[cfg(test)]
mod tests;
