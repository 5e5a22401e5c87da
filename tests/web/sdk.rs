//! The official Python SDK as a client of the simulator: what it sends is understood, its signature is good, and
//! what comes back is what it expects. So the simulator speaks the API that the SDK speaks, and not only ours.
//!
//! The SDK is installed into a virtual environment under `target/`, once for each set of pinned versions. That
//! needs `python3` with `venv` and, the first time, a package index that pip can reach.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, LazyLock};

use crate::tools;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use upgrade_remediator::clock::{Clock, SystemClock};
use upgrade_remediator::cloud::sign::{self, Signable};
use upgrade_remediator::simulator::log::{Operation, PutKind, Record, RequestRecord};
use upgrade_remediator::simulator::scenario::{DEFAULT_ACCESS_KEY, DEFAULT_PROJECT_ID, DEFAULT_SECRET_KEY};
use upgrade_remediator::simulator::{Scenario, Simulator, Verdict, World};

const REQUIREMENTS: &str = include_str!("sdk/requirements.txt");
/// The first item of a page was called `start` in this version, and is called `offset` in the pinned one.
const OLDER: &str = "huaweicloudsdkcss==3.1.160";

/// The virtual environment, with the older package in a folder of its own.
static ENVIRONMENT: LazyLock<PathBuf> = LazyLock::new(|| {
    tools::made_once("sdk", (REQUIREMENTS, OLDER), |making| {
        run(Command::new("python3").args(["-m", "venv"]).arg(making), "make a virtual environment");
        let requirements = making.join("requirements.txt");
        fs::write(&requirements, REQUIREMENTS).unwrap();
        run(pip(making).arg("--requirement").arg(&requirements), "install the SDK");
        run(
            pip(making).args(["--no-deps", "--target"]).arg(making.join("older")).arg(OLDER),
            "install the older SDK",
        );
    })
});

fn pip(environment: &Path) -> Command {
    let mut pip = Command::new(environment.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]);
    pip
}

/// Runs it, or says what this test needs.
fn run(command: &mut Command, what: &str) {
    let needs = "this test needs python3 (3.9 or later) with its venv module (Debian: python3-venv), and pip must \
                 reach a package index the first time";
    if let Err(told) = tools::tell(command) {
        panic!("cannot {what}: {told}\n{needs}");
    }
}

async fn simulator(scenario: &str) -> Simulator {
    let clock = Arc::new(SystemClock::new());
    let world = World::new(Scenario::parse(scenario, "test").unwrap(), 1, clock.now().wall);
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    Simulator::start(listener, world, clock).unwrap()
}

fn requests(simulator: &Simulator) -> Vec<RequestRecord> {
    let log = simulator.log().into_iter();
    log.filter_map(|entry| match entry.record {
        Record::Request(request) => Some(*request),
        _ => None,
    })
    .collect()
}

/// The SDK in a process of its own.
struct Sdk {
    process: Child,
    calls: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Sdk {
    fn new(simulator: &Simulator, secret_key: &str, older: bool) -> Self {
        Self::running("client.py", &simulator.url(), secret_key, older)
    }

    /// One of the scripts beside this file.
    fn running(script: &str, endpoint: &str, secret_key: &str, older: bool) -> Self {
        let environment = &*ENVIRONMENT;
        let mut command = Command::new(environment.join("bin/python"));
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/web/sdk").join(script));
        for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            command.env_remove(name);
        }
        command
            .env("SDK_ENDPOINT", endpoint)
            .env("SDK_PROJECT", DEFAULT_PROJECT_ID)
            .env("SDK_ACCESS_KEY", DEFAULT_ACCESS_KEY)
            .env("SDK_SECRET_KEY", secret_key)
            .env("PYTHONDONTWRITEBYTECODE", "1");
        if older {
            command.env("PYTHONPATH", environment.join("older"));
        }
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (calls, answers) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        Self { process, calls, answers: BufReader::new(answers) }
    }

    fn call(&mut self, call: &Value) -> Value {
        writeln!(self.calls, "{call}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the SDK ended at {call}; its own words stand above");
        serde_json::from_str(&line).unwrap()
    }

    /// What came back from a call that must succeed.
    fn ok(&mut self, call: &Value) -> Value {
        let answer = self.call(call);
        assert!(answer.get("error").is_none(), "{call}: {answer}");
        answer["ok"].clone()
    }
}

impl Drop for Sdk {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn names(answer: &Value) -> Vec<String> {
    serde_json::from_value(answer["names"].clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_is_paged_by_either_name_of_its_first_item() {
    for (older, name) in [(false, "offset"), (true, "start")] {
        // A region that knows this name alone.
        let fleet = format!("[ways]\npaging = \"{name}\"\n[[cluster]]\nname = \"logs\"\ncount = 25\n");
        let simulator = simulator(&fleet).await;
        let mut sdk = Sdk::new(&simulator, DEFAULT_SECRET_KEY, older);
        let mut seen = Vec::new();
        for first in [1, 11, 21, 31] {
            let page = sdk.ok(&json!(["clusters", { (name): first, "limit": 10 }]));
            assert_eq!(page["total"], 25);
            seen.push(names(&page));
        }
        assert_eq!(seen.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 5, 0], "{name}");
        let mut all: Vec<String> = seen.concat();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 25, "each cluster stands on one page");
        assert_eq!(names(&sdk.ok(&json!(["clusters", {}]))), seen[0], "the first ten by default");
        for request in requests(&simulator) {
            assert_eq!((request.operation, request.signature), (Operation::List, Verdict::Good));
            let other = if older { "offset" } else { "start" };
            assert!(request.query.iter().all(|(key, _)| key != other), "{:?}", request.query);
        }
        simulator.shutdown().await;
    }
}

/// A cluster with a failed upgrade, and one with a failed AZ switchover.
const FAILED: &str = r#"
[[cluster]]
name = "logs"
id = "c-1"
[[cluster.task]]
kind = "upgrade"
start = "-2h"
end = "-1h"
status = "FAILED"
[[cluster]]
name = "metrics"
id = "c-2"
[[cluster.task]]
kind = "az-switchover"
start = "-3h"
end = "-1h"
status = "FAILED"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn tasks_are_read_in_both_modes_and_retried_and_aborted() {
    let simulator = simulator(FAILED).await;
    let mut sdk = Sdk::new(&simulator, DEFAULT_SECRET_KEY, false);

    let upgrades = sdk.ok(&json!(["tasks", "c-1", {}]));
    assert_eq!((&upgrades["total"], &upgrades["tasks"][0]["status"]), (&json!(1), &json!("FAILED")));
    assert_eq!(upgrades["tasks"][0]["completed_nodes"], "");
    assert_eq!(upgrades["tasks"][0]["execute_times"], "1");
    assert!(upgrades["steps"][0].as_u64().unwrap() > 0, "{upgrades}");
    assert_eq!(sdk.ok(&json!(["tasks", "c-1", { "action_mode": "UPGRADING" }])), upgrades);
    assert_eq!(sdk.ok(&json!(["tasks", "c-1", { "action_mode": "AZ_MIGRATION" }]))["total"], 0);
    assert_eq!(sdk.ok(&json!(["tasks", "c-2", {}]))["total"], 0);
    let switchovers = sdk.ok(&json!(["tasks", "c-2", { "action_mode": "AZ_MIGRATION", "limit": 1000 }]));
    let param = switchovers["tasks"][0]["migrate_param"].as_str().unwrap();
    assert!(serde_json::from_str::<Value>(param).unwrap().get("targetAz").is_some(), "{param}");

    let (upgrade, switchover) = (&upgrades["tasks"][0]["id"], &switchovers["tasks"][0]["id"]);
    assert_eq!(sdk.ok(&json!(["retry", "c-1", upgrade, {}])), 200);
    let again = sdk.ok(&json!(["tasks", "c-1", {}]));
    assert_eq!((&again["tasks"][0]["status"], &again["tasks"][0]["id"]), (&json!("RUNNING"), upgrade));
    assert_eq!(again["tasks"][0]["execute_times"], "2");
    assert_eq!(sdk.ok(&json!(["retry", "c-2", switchover, { "retry_mode": "abort" }])), 200);

    let requests = requests(&simulator);
    assert!(requests.iter().all(|request| request.signature == Verdict::Good));
    let puts = requests.iter().filter_map(|request| Some((request.operation, request.put.as_ref()?.kind)));
    let puts: Vec<_> = puts.collect();
    assert_eq!(puts, [(Operation::Retry, PutKind::Retry), (Operation::Abort, PutKind::Abort)]);
    simulator.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_the_service_and_of_the_gateway_are_the_sdks_errors() {
    // Not a 429: the SDK repeats that by itself, and then tells nothing of its body.
    let unpublished = "[[fault]]\non = \"list\"\nwhat = \"gateway-not-found\"\n";
    let simulator = simulator(&format!("{FAILED}{unpublished}")).await;
    let mut sdk = Sdk::new(&simulator, DEFAULT_SECRET_KEY, false);
    let gateway = sdk.call(&json!(["clusters", {}]))["error"].clone();
    assert_eq!((&gateway["status"], &gateway["code"]), (&json!(404), &json!("APIGW.0101")), "{gateway}");
    assert!(gateway["message"].as_str().unwrap().contains("has not been published"), "{gateway}");

    let absent = sdk.call(&json!(["tasks", "nobody", {}]))["error"].clone();
    assert_eq!(absent["status"], 403, "{absent}");
    assert!(
        absent.to_string().contains("CSS.0015"),
        "in its message where the SDK does not know the shape: {absent}"
    );

    let mut stranger = Sdk::new(&simulator, "not the secret key of anybody", false);
    let refused = stranger.call(&json!(["tasks", "c-1", {}]))["error"].clone();
    assert_eq!((&refused["status"], &refused["code"]), (&json!(401), &json!("APIGW.0301")), "{refused}");
    let verdicts: Vec<Verdict> = requests(&simulator).iter().map(|request| request.signature).collect();
    assert_eq!(verdicts, [Verdict::Good, Verdict::Good, Verdict::Mismatch]);
    simulator.shutdown().await;
}

/// A text of what may stand in a path, a query, a header or a body.
fn drawn(random: &mut StdRng, from: &str, longest: usize) -> String {
    let from: Vec<char> = from.chars().collect();
    let length = random.random_range(0..=longest);
    (0..length).map(|_| from[random.random_range(0..from.len())]).collect()
}

#[test]
fn a_thousand_random_requests_are_signed_as_the_official_signer_signs_them() {
    const ANY: &str = "abcXYZ019-_.~ !*'();:@&=+$,?#[]\"<>\\^`{|}\u{e9}\u{4e2d}\u{1f600}\t";
    const PLAIN: &str = "abcXYZ019-.~=+/,; ";
    let mut sdk = Sdk::running("sign.py", "unused", DEFAULT_SECRET_KEY, false);
    let mut random = StdRng::seed_from_u64(20_261_124);
    for n in 0..1_000 {
        let random = &mut random;
        let method = ["GET", "PUT", "POST", "DELETE"][random.random_range(0..4)];
        let segments = random.random_range(0..6);
        let path: Vec<String> = (0..segments).map(|_| drawn(random, ANY, 12)).collect();
        let path = format!("/{}", path.join("/"));
        let pairs = random.random_range(0..6);
        let query: Vec<(String, String)> =
            (0..pairs).map(|_| (drawn(random, ANY, 6), drawn(random, ANY, 12))).collect();
        let date =
            format!("2026{:02}{:02}T030405Z", random.random_range(1..=12), random.random_range(1..=28));
        let mut headers = vec![
            ("Host".to_owned(), format!("{}.example.com", random.random_range(0..99))),
            ("Content-Type".to_owned(), "application/json".to_owned()),
        ];
        for name in ["X-Project-Id", "x-security-token", "User-Agent", "X-Other"] {
            if random.random_bool(0.5) {
                headers.push((name.to_owned(), format!("v{}", drawn(random, PLAIN, 40))));
            }
        }
        let body = if random.random_bool(0.5) { drawn(random, ANY, 200) } else { String::new() };
        let access_key = format!("AK{n:018}");
        let secret_key = format!("S{}", drawn(random, "abcXYZ019/+=", 60));
        let mut all: serde_json::Map<String, Value> =
            headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        all.insert("X-Sdk-Date".to_owned(), json!(date));
        let theirs = sdk.call(&json!({
            "method": method, "path": path, "query": query, "headers": all, "body": body,
            "access_key": access_key, "secret_key": secret_key,
        }));

        let query: Vec<(&str, &str)> = query.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let headers: Vec<(&str, &str)> = headers.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let signable = Signable {
            method,
            path: &path,
            query: &query,
            headers: &headers,
            date: &date,
            body: body.as_bytes(),
        };
        let ours = signable.authorization(&access_key.into(), &secret_key.into());
        assert_eq!(theirs[0], ours, "request {n}: {method} {path:?} {query:?} {headers:?}");
        let sent = sign::canonical_query(&query);
        let uri = if sent.is_empty() { path.clone() } else { format!("{path}?{sent}") };
        assert_eq!(theirs[1], uri, "request {n}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sdk_signs_in_takes_agencies_on_and_finds_projects_at_the_simulated_iam() {
    let account = "[[user]]\nname = \"robot\"\npassword = \"pw\"\ndomain = \"account\"\n\
                   [[agency]]\nname = \"remediator\"\ndomain = \"other\"\n";
    let simulator = simulator(&format!("{FAILED}{account}")).await;
    let mut sdk = Sdk::running("iam.py", &simulator.url(), DEFAULT_SECRET_KEY, false);

    let token = sdk.ok(&json!(["token", "robot", "pw", "account", "cn-north-4"]));
    assert_eq!(token["project"], DEFAULT_PROJECT_ID);
    assert!(token["token"].as_str().unwrap().len() > 20, "{token}");
    assert!(token["ends"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{token}");
    let wrong = sdk.call(&json!(["token", "robot", "wrong", "account", "cn-north-4"]))["error"].clone();
    assert_eq!(wrong["status"], 401, "{wrong}");
    assert!(wrong["message"].as_str().unwrap().contains("username or password is wrong"), "{wrong}");

    assert_eq!(sdk.ok(&json!(["agency", "remediator", "other"]))["clusters"], 2);
    let none = sdk.call(&json!(["agency", "nobody", "other"]))["error"].clone();
    assert_eq!(none["status"], 403, "{none}");

    assert_eq!(sdk.ok(&json!(["projects", "cn-north-4"])), json!([DEFAULT_PROJECT_ID]));
    assert_eq!(sdk.ok(&json!(["projects", "nowhere"])), json!([]));
    simulator.shutdown().await;
}
