//! The official Python SDK as a client of the simulator: what it sends is understood, its signature is good, and
//! what comes back is what it expects. So the simulator speaks the API that the SDK speaks, and not only ours.
//!
//! The SDK is installed into a virtual environment under `target/`, once for each set of pinned versions. That
//! needs `python3` with `venv` and, the first time, a package index that pip can reach.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, LazyLock};

use serde_json::{Value, json};
use tokio::net::TcpListener;
use upgrade_remediator::clock::{Clock, SystemClock};
use upgrade_remediator::simulator::log::{Operation, PutKind, Record, RequestRecord};
use upgrade_remediator::simulator::scenario::{DEFAULT_ACCESS_KEY, DEFAULT_PROJECT_ID, DEFAULT_SECRET_KEY};
use upgrade_remediator::simulator::{Scenario, Simulator, Verdict, World};

const REQUIREMENTS: &str = include_str!("requirements.txt");
/// The first item of a page was called `start` in this version, and is called `offset` in the pinned one.
const OLDER: &str = "huaweicloudsdkcss==3.1.160";

/// The virtual environment, with the older package in a folder of its own.
static ENVIRONMENT: LazyLock<PathBuf> = LazyLock::new(|| {
    let mut hasher = DefaultHasher::new();
    (REQUIREMENTS, OLDER).hash(&mut hasher);
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let ready = target.join(format!("sdk-{:016x}", hasher.finish()));
    if !ready.exists() {
        // Made under another name and renamed when it is whole: an interrupted run leaves nothing half-made.
        let making = target.join(format!("sdk-making-{}", std::process::id()));
        let _ = fs::remove_dir_all(&making);
        run(Command::new("python3").args(["-m", "venv"]).arg(&making), "make a virtual environment");
        let requirements = making.join("requirements.txt");
        fs::write(&requirements, REQUIREMENTS).unwrap();
        run(pip(&making).arg("--requirement").arg(&requirements), "install the SDK");
        run(
            pip(&making).args(["--no-deps", "--target"]).arg(making.join("older")).arg(OLDER),
            "install the older SDK",
        );
        if fs::rename(&making, &ready).is_err() {
            // Another run was quicker.
            let _ = fs::remove_dir_all(&making);
        }
    }
    assert!(ready.exists(), "{} is neither there nor can it be made", ready.display());
    ready
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
    let output = command.output().map_err(|error| format!("cannot {what}: {error}; {needs}")).unwrap();
    let told =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success(), "cannot {what} ({}): {told}\n{needs}", output.status);
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
        let environment = &*ENVIRONMENT;
        let mut command = Command::new(environment.join("bin/python"));
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk/client.py"));
        for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            command.env_remove(name);
        }
        command
            .env("SDK_ENDPOINT", simulator.url())
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
