//! What each stage of a reconcile costs, and a whole sweep over HTTP against the in-process simulator.
//!
//! ```sh
//! cargo bench                 # all
//! cargo bench -- parse        # those with this in their name
//! ```
//!
//! Figures and what they were measured on: `docs/performance.md`. They are compared by ratios within one run: this
//! is no gate, as machines differ and are shared.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on fails")]

use std::hint::black_box;
use std::sync::Arc;

use divan::Bencher;
use divan::counter::ItemsCount;
use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use upgrade_remediator::clock::{Clock, SystemClock};
use upgrade_remediator::cloud::sign::{self, Signable};
use upgrade_remediator::cloud::transport::{Request, Response, Transport, TransportError};
use upgrade_remediator::cloud::{Client, Css, parse};
use upgrade_remediator::decide::{self, StepInput};
use upgrade_remediator::journal::{Journal, MemoryJournal, SqliteJournal, SqliteOptions};
use upgrade_remediator::model::cluster::{Cluster, Tags};
use upgrade_remediator::model::event::{Event, Subject};
use upgrade_remediator::model::hold::Holds;
use upgrade_remediator::model::id::{ClusterId, ProjectName, TaskId};
use upgrade_remediator::model::policy::{Expect, Match, Mode, Policy, Terms};
use upgrade_remediator::model::project::{Limits, Rules};
use upgrade_remediator::model::project_state::ProjectState;
use upgrade_remediator::model::setup::Nodes;
use upgrade_remediator::model::task::{Reading, TaskKind, TaskList};
use upgrade_remediator::reconcile::Reconciler;
use upgrade_remediator::schedule::Scheduler;
use upgrade_remediator::simulator::scenario::{DEFAULT_ACCESS_KEY, DEFAULT_PROJECT_ID, DEFAULT_SECRET_KEY};
use upgrade_remediator::simulator::{Scenario, Simulator, World};

#[expect(dead_code, reason = "tests need more of it")]
#[path = "../tests/support/reconciler.rs"]
mod reconciler;

use reconciler::{options, reconciler};

fn main() {
    divan::main();
}

/// Clusters of the simulated sweep.
const FLEET: usize = 500;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// As many bytes as the API's own samples have, with fields that nobody reads.
fn task(status: &str) -> Value {
    let steps: Vec<Value> = ["Create", "Migrate", "Replace", "Delete"]
        .iter()
        .enumerate()
        .map(|(order, name)| {
            json!({ "order": order, "name": name, "status": status, "desc": name,
                    "beginTime": "2026-01-02T03:04:05", "endTime": "2026-01-02T03:14:05" })
        })
        .collect();
    json!({
        "id": "b7ac4c5b-3bda-4feb-a303-eb80f4bce986", "status": status, "executeTimes": "1",
        "startTime": "2026-01-02T03:04:05", "endTime": "2026-01-02T04:04:05", "agencyName": "css_upgrade_agency",
        "imageInfo": { "id": "439b5d30-5968-45df-b088-d030a858522d", "displayName": "7.10.2_25.9.0",
                       "datastoreType": "elasticsearch", "datastoreVersion": "7.10.2", "priority": 8 },
        "totalNodes": "logs-ess-esn-1-1,logs-ess-esn-2-1,logs-ess-esn-3-1", "completedNodes": "",
        "currentNodeName": "logs-ess-esn-1-1", "currentNodeDetail": steps,
    })
}

fn detail(status: &str) -> Vec<u8> {
    json!({ "totalSize": 1, "detailList": [task(status)] }).to_string().into_bytes()
}

fn list(count: usize) -> Vec<u8> {
    let clusters: Vec<Value> = (0..count)
        .map(|n| {
            let instances: Vec<Value> = (0..3)
                .map(|node| {
                    json!({ "id": format!("{n:08}-0000-4000-8000-00000000000{node}"), "type": "ess", "status": "200",
                            "name": format!("logs-{n}-ess-esn-{node}-1"), "azCode": "az-1", "ip": "10.0.0.1",
                            "specCode": "ess.spec-4u8g", "volume": { "type": "HIGH", "size": 100 } })
                })
                .collect();
            json!({ "id": format!("{n:08}-3bda-4feb-a303-eb80f4bce986"), "name": format!("logs-{n}"), "status": "200",
                    "datastore": { "type": "elasticsearch", "version": "7.10.2" }, "instances": instances,
                    "updated": "2026-01-02T03:04:05", "actions": [], "actionProgress": {}, "publicIp": null,
                    "tags": [{ "key": "team", "value": "search" }] })
        })
        .collect();
    json!({ "totalSize": count, "clusters": clusters }).to_string().into_bytes()
}

fn cluster() -> Cluster {
    Cluster {
        id: ClusterId::new("ea244205-d641-45d9-9dcb-ab2236bcd07e").unwrap(),
        name: "logs".to_owned(),
        engine: "elasticsearch".into(),
        version: "7.10.2".into(),
        actions: Vec::new(),
        tags: Tags::default(),
        nodes: Nodes::default(),
        state: 0,
    }
}

#[divan::bench]
fn sign(bencher: Bencher<'_, '_>) {
    let (access, secret) = (DEFAULT_ACCESS_KEY.into(), DEFAULT_SECRET_KEY.into());
    let date = sign::date(Timestamp::UNIX_EPOCH);
    let path = format!("/v1.0/{DEFAULT_PROJECT_ID}/clusters/{}/upgrade/detail", cluster().id);
    let headers = [
        ("content-type", "application/json"),
        ("host", "css.eu-west-101.myhuaweicloud.com"),
        ("x-project-id", DEFAULT_PROJECT_ID),
    ];
    bencher.bench_local(|| {
        let signable = Signable {
            method: "GET",
            path: black_box(&path),
            query: &[("limit", "1000")],
            headers: &headers,
            date: &date,
            body: b"",
        };
        signable.authorization(&access, &secret)
    });
}

#[divan::bench]
fn parse_list_page_of_1000(bencher: Bencher<'_, '_>) {
    let body = list(1_000);
    bencher.counter(ItemsCount::new(1_000_u32)).bench_local(|| parse::clusters(black_box(&body)).unwrap());
}

#[divan::bench(args = ["SUCCESS", "FAILED"])]
fn parse_detail(bencher: Bencher<'_, '_>, status: &str) {
    let body = detail(status);
    bencher.bench_local(|| parse::tasks(black_box(&body), TaskKind::Upgrade).unwrap());
}

#[divan::bench(args = ["SUCCESS", "FAILED"])]
fn step(bencher: Bencher<'_, '_>, status: &str) {
    let now = SystemClock::new().now();
    let tasks = parse::tasks(&detail(status), TaskKind::Upgrade).unwrap();
    let upgrades = TaskList { tasks, unusable: 0, total_size: Some(1) };
    let reading = Reading::new(now, now, [upgrades, TaskList { total_size: Some(0), ..TaskList::default() }]);
    let (project_state, cluster) = (ProjectState::default(), cluster());
    let policy = Policy {
        matches: Match::default(),
        terms: Terms::defaults("all", Mode::Enforce),
        expect: Expect::default(),
    };
    let rules = Rules { policies: vec![policy], ..Rules::default() };
    let (project, holds) = (ProjectName::new("bench").unwrap(), Holds::default());
    bencher.bench_local(|| {
        let input = StepInput {
            project: &project,
            cluster: &cluster,
            reading: black_box(&reading),
            rules: &rules,
            holds: &holds,
            seed: 1,
            clock_offset: None,
            listed: Some(now),
            polled: None,
        };
        decide::step(&project_state, input, now)
    });
}

/// One entry, flushed to the disk before it returns: the disk is what is measured.
#[divan::bench(sample_count = 50, sample_size = 5)]
fn journal_commit(bencher: Bencher<'_, '_>) {
    let (runtime, folder) = (runtime(), TempDir::new().unwrap());
    let now = SystemClock::new().now();
    let options = SqliteOptions::new(now.wall, 1);
    let (journal, _) = SqliteJournal::open(&folder.path().join("journal.db"), &options).unwrap();
    let journal = Journal::from(journal);
    let subject = Subject {
        project: ProjectName::new("bench").unwrap(),
        cluster: cluster().id,
        task: TaskId::new("b7ac4c5b-3bda-4feb-a303-eb80f4bce986").unwrap(),
    };
    bencher.bench_local(|| {
        let lines = vec![(subject.clone(), Event::Running { execute_times: Some(1) })];
        runtime.block_on(journal.record(now, lines)).unwrap()
    });
    runtime.block_on(journal.close()).unwrap();
}

/// Answers every request at once: a detail for upgrades, nothing for AZ switchovers.
struct Canned(Vec<u8>);

impl Transport for Canned {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let none = request.query.contains("AZ_MIGRATION");
        let body = if none { br#"{"totalSize":0,"detailList":[]}"#.to_vec() } else { self.0.clone() };
        Ok(Response { status: 200, headers: Vec::new(), body: Ok(body) })
    }
}

/// One policy that covers every task and sends nothing, and no limit that makes a request wait.
fn rules() -> Rules {
    let policy = Policy {
        matches: Match::default(),
        terms: Terms::defaults("all", Mode::DryRun),
        expect: Expect::default(),
    };
    let limits = Limits { max_requests_in_flight: 64, requests_per_second: 1_000_000, ..Limits::default() };
    Rules { policies: vec![policy], limits, ..Rules::default() }
}

fn bench_reconciler<S: Css>(css: S, clock: &Arc<SystemClock>) -> Reconciler<S, SystemClock> {
    reconciler(css, &MemoryJournal::new(1).into(), clock, rules(), |_| {})
}

/// Two requests, two answers, observed and decided: everything but the wire.
#[divan::bench]
fn one_look_without_the_wire(bencher: Bencher<'_, '_>) {
    let (runtime, clock, cluster) = (runtime(), Arc::new(SystemClock::new()), cluster());
    let endpoint = "https://css.eu-west-101.myhuaweicloud.com".to_owned();
    let client =
        Client::new(Canned(detail("SUCCESS")), options(endpoint, &rules(), 1), Arc::clone(&clock)).unwrap();
    let reconciler = bench_reconciler(client, &clock);
    bencher.bench_local(|| {
        let report = runtime.block_on(reconciler.reconcile(&cluster));
        assert!(report.problem.is_none());
        report
    });
}

/// The simulator's own work is in it, on the same core.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn sweep_of_500_over_http_with_the_simulator(bencher: Bencher<'_, '_>) {
    let (runtime, clock) = (runtime(), Arc::new(SystemClock::new()));
    let scenario = format!(
        "[[cluster]]\nname = \"logs\"\ncount = {FLEET}\n[[cluster.task]]\nkind = \"upgrade\"\nstart = \"-2h\"\n\
         end = \"-1h\"\nstatus = \"SUCCESS\"\n"
    );
    let simulator = runtime.block_on(async {
        let world = World::new(Scenario::parse(&scenario, "bench").unwrap(), 1, clock.now().wall);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        Simulator::start(listener, world, Arc::clone(&clock)).unwrap()
    });
    bencher.counter(ItemsCount::new(FLEET)).bench_local(|| {
        let client = Client::over_http(options(simulator.url(), &rules(), 1), Arc::clone(&clock)).unwrap();
        let project = Arc::new(bench_reconciler(client, &clock));
        let scheduler = Scheduler::new(project, Arc::clone(&clock));
        assert!(runtime.block_on(scheduler.run_once(CancellationToken::new())).unwrap());
    });
    runtime.block_on(simulator.shutdown());
}
