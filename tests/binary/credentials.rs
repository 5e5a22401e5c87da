//! Every way of signing in, by the real binary against the simulated IAM: what was sent bears a good key, a task is
//! retried with it, and what cannot be had is told and costs nothing.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use upgrade_remediator::clock::{Clock as _, SystemClock};
use upgrade_remediator::cloud::iam::{Agency, AgencySource, Iam, ProjectByRegion};
use upgrade_remediator::cloud::metadata::MetadataSource;
use upgrade_remediator::cloud::{
    AccountCircuits, Client, CloudError, Credential, Css as _, Options, ProjectSource,
};
use upgrade_remediator::model::event::Event;
use upgrade_remediator::model::id::ProjectId;
use upgrade_remediator::model::project::Limits;
use upgrade_remediator::simulator::log::{Operation, PutKind, Record, RequestRecord};
use upgrade_remediator::simulator::scenario::{DEFAULT_ACCESS_KEY, DEFAULT_PROJECT_ID, DEFAULT_SECRET_KEY};
use upgrade_remediator::simulator::{Scenario, Simulator, Verdict, World};

use crate::support::{self, Bench, FAILED_ONCE, Process, RETRIES, eventually};

/// Who can sign in, and the agencies that can be taken on.
const ACCOUNT: &str = r#"
[[user]]
name = "robot"
password = "canary-password"
domain = "account"
[[agency]]
name = "remediator"
domain = "other"
"#;

const PASSWORD: &str =
    "type = \"password\"\nuser = \"robot\"\npassword = { env = \"TEST_PASSWORD\" }\ndomain = \"account\"\n";

/// Configuration whose project uses these credentials instead of an access key.
async fn bench(scenario: &str, credentials: &str) -> Bench {
    let bench = Bench::new(&format!("{FAILED_ONCE}{scenario}"), RETRIES).await;
    bench.edit(
        "type = \"ak-sk\"\naccess_key = { env = \"TEST_ACCESS_KEY\" }\nsecret_key = { env = \"TEST_SECRET_KEY\" }\n",
        credentials,
    );
    let iam = format!("credentials = \"test\"\niam_endpoint = \"{}\"\n", bench.simulator.url());
    bench.edit("credentials = \"test\"\n", &iam);
    bench
}

fn daemon(bench: &Bench) -> Process {
    let mut command = bench.command(&["run"]);
    command.env("TEST_PASSWORD", "canary-password");
    Process::start(command)
}

fn sent(bench: &Bench, operation: Operation) -> Vec<RequestRecord> {
    bench.requests().into_iter().filter(|request| request.operation == operation).collect()
}

/// The failed task is retried and succeeds, and no request that needed a key had a bad one.
async fn remedies(bench: &Bench, process: &Process) {
    assert_eq!(bench.ended(&["logs"]).await["logs"], "resolved", "{}", process.stderr());
    assert_eq!(bench.puts(), [PutKind::Retry]);
    let bad: Vec<_> = bench.requests().into_iter().filter(|request| !request.signature.passes()).collect();
    assert!(bad.is_empty(), "{bad:#?}");
    bench.judge();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_signs_in_once_and_the_token_does_the_work() {
    let bench = bench(ACCOUNT, PASSWORD).await;
    let process = daemon(&bench);
    remedies(&bench, &process).await;
    assert_eq!(sent(&bench, Operation::Token).len(), 1);
    let read = sent(&bench, Operation::Tasks);
    assert!(read.iter().all(|request| request.access_key.is_none()), "they bear the token");
    assert!(!process.stderr().contains("canary"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agency_is_taken_on_by_name_and_by_urn_and_from_any_source() {
    let access_key = "type = \"ak-sk\"\naccess_key = { env = \"TEST_ACCESS_KEY\" }\nsecret_key = { env = \"TEST_SECRET_KEY\" }\n";
    let named = "agency_name = \"remediator\"\ndomain_name = \"other\"\n";
    let urn = "agency_urn = \"iam::d78cbac186b744899480f25bd022f468:agency:remediator\"\n";
    let chain = "agency_urn = \"iam::x:agency:remediator\"\n[credentials.base]\ntype = \"agency\"\nsource = \"bottom\"\nagency_name = \"remediator\"\ndomain_name = \"other\"\n[credentials.bottom]\n";
    for (agency, base) in [
        (format!("{named}[credentials.base]\n"), access_key),
        (format!("{urn}[credentials.base]\n"), access_key),
        (format!("{named}[credentials.base]\n"), PASSWORD),
        (chain.to_owned(), access_key),
    ] {
        let text = format!("type = \"agency\"\nsource = \"base\"\n{agency}{base}");
        let bench = bench(ACCOUNT, &text).await;
        let process = daemon(&bench);
        remedies(&bench, &process).await;
        let assumed = sent(&bench, Operation::AssumeAgency);
        assert_eq!(assumed.len(), if text.contains("bottom") { 2 } else { 1 }, "{text}");
        for request in sent(&bench, Operation::Tasks) {
            let key = request.access_key.unwrap();
            assert!(key.starts_with("HST"), "a temporary key is expected: {key}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_somebody_else_is_used_and_read_again_when_it_is_refused() {
    let bench = bench(ACCOUNT, "type = \"token\"\ntoken = { file = \"TOKEN\" }\n").await;
    let file = bench.folder.path().join("token");
    bench.edit("TOKEN", file.to_str().unwrap());
    let write = |token: &str| {
        fs::write(&file, token).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    };
    write("a-token-of-nobody");
    let process = daemon(&bench);
    process.says("the credential was refused").await;
    let refused = bench.requests().len();
    assert_eq!(refused, 1, "it went out alone, once");
    // Somebody signs in elsewhere, and puts the token there: a reload reads it.
    write(&token_of(&bench).await);
    process.signal("HUP");
    remedies_after_refusals(&bench, &process).await;
    assert!(!process.stderr().contains("a-token-of-nobody"));
}

/// As [`remedies`], after requests that were refused.
async fn remedies_after_refusals(bench: &Bench, process: &Process) {
    assert_eq!(bench.ended(&["logs"]).await["logs"], "resolved", "{}", process.stderr());
    assert_eq!(bench.puts(), [PutKind::Retry]);
    bench.judge();
}

/// A token for the user, as any client of IAM gets one.
async fn token_of(bench: &Bench) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let body = r#"{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"robot","password":"canary-password","domain":{"name":"account"}}}},"scope":{"project":{"name":"cn-north-4"}}}}"#;
    let mut stream = tokio::net::TcpStream::connect(bench.simulator.address()).await.unwrap();
    let head = format!(
        "POST /v3/auth/tokens HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let line = answer.lines().find_map(|line| line.strip_prefix("x-subject-token: "));
    line.unwrap_or_else(|| panic!("no token: {answer}")).to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_the_official_tools_set_up_needs_nothing_new() {
    let sdk = |home: &Path| {
        fs::create_dir(home.join(".huaweicloud")).unwrap();
        let file = home.join(".huaweicloud/credentials");
        fs::write(&file, format!("[basic]\nak = {DEFAULT_ACCESS_KEY}\nsk = {DEFAULT_SECRET_KEY}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    };
    for variables in [false, true] {
        let bench = bench("", "type = \"profile\"\n").await;
        let mut command = bench.command(&["run"]);
        command.env("HOME", bench.folder.path());
        if variables {
            command.env("HW_ACCESS_KEY", DEFAULT_ACCESS_KEY).env("HW_SECRET_KEY", DEFAULT_SECRET_KEY);
        } else {
            sdk(bench.folder.path());
        }
        remedies(&bench, &Process::start(command)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_sent_once_for_all_projects_and_a_reload_wakes_it() {
    let others =
        "[[other_project]]\nid = \"p2\"\nname = \"p2\"\n[[other_project]]\nid = \"p3\"\nname = \"p3\"\n";
    let bench = bench(
        &format!("{ACCOUNT}{others}"),
        &PASSWORD.replace("{ env = \"TEST_PASSWORD\" }", "{ file = \"PW\" }"),
    )
    .await;
    let file = bench.folder.path().join("password");
    bench.edit("\"PW\"", &format!("\"{}\"", file.display()));
    let write = |password: &str| {
        fs::write(&file, password).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    };
    write("canary-wrong");
    // A second project of the same user, and of the same user under another name.
    let second = |name: &str, credentials: &str| {
        format!(
            "[[project]]\nname = \"{name}\"\nregion = \"eu-west-101\"\nproject_id = \"{name}\"\nendpoint = \"{}\"\niam_endpoint = \"{}\"\ncredentials = \"{credentials}\"\n",
            bench.simulator.url(),
            bench.simulator.url()
        )
    };
    let other = format!(
        "[credentials.again]\n{}",
        PASSWORD.replace("{ env = \"TEST_PASSWORD\" }", &format!("{{ file = \"{}\" }}", file.display()))
    );
    bench.edit(
        "[credentials.test]",
        &format!("{}{}{other}[credentials.test]", second("p2", "test"), second("p3", "again")),
    );
    bench.edit("listen = \"\"", "listen = \"127.0.0.1:0\"");
    let process = daemon(&bench);
    eventually("all three projects are told of", || {
        let told = process.stderr();
        ["test", "p2", "p3"]
            .iter()
            .all(|name| told.contains(&format!("project {name}: its clusters cannot be polled")))
            .then_some(())
    })
    .await;
    support::let_pass(Duration::from_millis(1500)).await;
    assert_eq!(sent(&bench, Operation::Token).len(), 1, "{}", process.stderr());
    assert_eq!(
        process.stderr().matches("its clusters cannot be polled").count(),
        3,
        "one escalation each: {}",
        process.stderr()
    );
    let (_, _, metrics) = support::get(process.page().await, "/metrics");
    let signed_in: Vec<&str> = metrics.lines().filter(|line| line.contains("iam_requests_total{")).collect();
    let [refused] = signed_in[..] else { panic!("{signed_in:?}") };
    assert!(
        refused.contains("operation=\"sign-in\",result=\"unauthorized\"") && refused.ends_with(" 1"),
        "{refused}"
    );
    let (_, status, _) = bench.runs(&["status"]).await;
    assert!(status.contains("no request is sent: the credential was refused: 401"), "{status}");
    write("canary-password");
    process.signal("HUP");
    assert_eq!(bench.ended(&["logs"]).await["logs"], "resolved", "{}", process.stderr());
    let attempts = bench.events().iter().filter(|event| matches!(event, Event::Intent { .. })).count();
    assert_eq!(attempts, 1, "nothing of it used up a retry");
    assert!(!process.stderr().contains("canary"), "{}", process.stderr());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn six_restarts_with_a_wrong_secret_are_one_refusal_and_a_corrected_one_is_used_at_once() {
    let key = "type = \"ak-sk\"\naccess_key = { env = \"TEST_ACCESS_KEY\" }\nsecret_key = { env = \"TEST_SECRET_KEY\" }\n";
    for (credentials, variable, right) in
        [(key, "TEST_SECRET_KEY", DEFAULT_SECRET_KEY), (PASSWORD, "TEST_PASSWORD", "canary-password")]
    {
        let bench = bench(ACCOUNT, credentials).await;
        let start = |secret: &str| {
            let mut command = bench.command(&["run"]);
            command.env(variable, secret);
            Process::start(command)
        };
        for n in 0..6 {
            let mut process = start("canary-wrong");
            process.says("project test: its clusters cannot be polled").await;
            assert!(n == 0 || process.stderr().contains("is paused until"), "{}", process.stderr());
            process.signal("TERM");
            assert_eq!(process.code().await, Some(0));
        }
        let refused = |bench: &Bench| {
            let bad = |request: &RequestRecord| {
                request.operation == Operation::Token || !request.signature.passes()
            };
            bench.requests().iter().filter(|request| bad(request)).count()
        };
        assert_eq!(refused(&bench), 1, "{variable}");
        let journal = fs::read(bench.journal()).unwrap();
        assert!(!journal.windows(12).any(|part| part == b"canary-wrong"), "a secret stands in the journal");
        // A reload asks anew, whatever was remembered.
        let process = start("canary-wrong");
        process.says("project test: its clusters cannot be polled").await;
        process.signal("HUP");
        eventually("the second one", || (refused(&bench) == 2).then_some(())).await;
        drop(process);
        let process = start(right);
        remedies_after_refusals(&bench, &process).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_project_is_found_by_its_region_and_none_or_several_are_listed() {
    let id = format!("project_id = \"{DEFAULT_PROJECT_ID}\"\n");
    let access_key = "type = \"ak-sk\"\naccess_key = { env = \"TEST_ACCESS_KEY\" }\nsecret_key = { env = \"TEST_SECRET_KEY\" }\n";
    let found = bench("", access_key).await;
    found.edit(&id, "");
    found.edit("region = \"eu-west-101\"", "region = \"cn-north-4\"");
    let process = daemon(&found);
    remedies(&found, &process).await;
    assert_eq!(sent(&found, Operation::Projects).len(), 1, "looked up once");

    let none = bench("", access_key).await;
    none.edit(&id, "");
    let process = daemon(&none);
    process.says("no project is named").await;
    process.says(&format!("{DEFAULT_PROJECT_ID} (cn-north-4)")).await;
    assert!(process.stderr().contains("give its project_id, then reload"), "{}", process.stderr());

    let two = bench("[[other_project]]\nid = \"another\"\nname = \"cn-north-4\"\n", access_key).await;
    two.edit(&id, "");
    two.edit("region = \"eu-west-101\"", "region = \"cn-north-4\"");
    let process = daemon(&two);
    process.says("2 projects are named").await;
    process.says("another (cn-north-4)").await;
    assert_eq!(two.puts(), []);
}

/// A machine with its metadata service, and a client that uses what it gives.
struct Machine {
    simulator: Simulator,
    clock: Arc<SystemClock>,
}

impl Machine {
    async fn new(scenario: &str) -> Self {
        let clock = Arc::new(SystemClock::new());
        // What stands in tables of its own goes last.
        let (first, last) = scenario
            .split_once("[[")
            .map_or((scenario, String::new()), |(first, last)| (first, format!("[[{last}")));
        let scenario = Scenario::parse(&[first, FAILED_ONCE, &last].concat(), "test").unwrap();
        let world = World::new(scenario, 1, clock.now().wall);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        Self { simulator: Simulator::start(listener, world, Arc::clone(&clock)).unwrap(), clock }
    }

    fn credential(&self) -> Arc<Credential> {
        let source = MetadataSource::at(&self.simulator.url(), Arc::clone(&self.clock)).unwrap();
        Credential::from_source(None, source, &AccountCircuits::default(), 1)
    }

    async fn lists(&self, credential: Arc<Credential>, project: ProjectSource) -> Result<usize, CloudError> {
        let options = Options {
            endpoint: self.simulator.url(),
            project,
            ca_pem: None,
            proxy: None,
            request_timeout: Duration::from_secs(10),
            limits: Limits::default(),
            credential,
            seed: 1,
            meter: None,
        };
        let client = Client::over_http(options, Arc::clone(&self.clock)).unwrap();
        Ok(client.clusters().await?.clusters.len())
    }

    fn operations(&self) -> Vec<(Operation, Verdict)> {
        let requests = self.simulator.log().into_iter().filter_map(|entry| match entry.record {
            Record::Request(request) => Some((request.operation, request.signature)),
            _ => None,
        });
        requests.collect()
    }
}

fn project() -> ProjectSource {
    ProjectId::new(DEFAULT_PROJECT_ID).unwrap().into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_gives_its_agency_with_and_without_tokens() {
    for (tokens, asked) in [
        (true, [Operation::MetadataToken, Operation::MetadataKey, Operation::List]),
        (false, [Operation::MetadataToken, Operation::MetadataKey, Operation::List]),
    ] {
        let machine = Machine::new(&format!("machine = {{ tokens = {tokens} }}\n")).await;
        let credential = machine.credential();
        assert_eq!(machine.lists(Arc::clone(&credential), project()).await.unwrap(), 1);
        assert_eq!(machine.lists(credential, project()).await.unwrap(), 1, "with the same key");
        let operations = machine.operations();
        assert_eq!(operations.iter().map(|(operation, _)| *operation).take(3).collect::<Vec<_>>(), asked);
        assert_eq!(operations.len(), 4, "{operations:?}");
        assert_eq!((operations[2].1, operations[3].1), (Verdict::Good, Verdict::Good));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_without_an_agency_is_told_with_what_to_do() {
    for tokens in [true, false] {
        let machine = Machine::new(&format!("machine = {{ tokens = {tokens}, agency = false }}\n")).await;
        let error = machine.lists(machine.credential(), project()).await.unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("this machine has no agency"), "{cause}");
        assert_eq!(machine.operations().len(), 2, "asked once, and nothing was sent to the service");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agency_is_taken_on_with_the_machines_own_and_finds_its_project() {
    let scenario = format!("region = \"cn-north-4\"\n{ACCOUNT}");
    let machine = Machine::new(&scenario).await;
    let iam = Iam::over_http(
        &machine.simulator.url(),
        None,
        None,
        Duration::from_secs(10),
        Arc::clone(&machine.clock),
    );
    let iam = iam.unwrap();
    let agency = Agency::Named { agency: "remediator".to_owned(), domain: "other".to_owned() };
    let source = AgencySource::new(iam.clone(), agency, machine.credential());
    let credential = Credential::from_source(None, source, &AccountCircuits::default(), 1);
    let found = ProjectByRegion::new(iam, "cn-north-4".to_owned(), Arc::clone(&credential));
    assert_eq!(machine.lists(credential, ProjectSource::lookup(found)).await.unwrap(), 1);
    let operations: Vec<_> = machine.operations().into_iter().map(|(operation, _)| operation).collect();
    let wanted = [
        Operation::MetadataToken,
        Operation::MetadataKey,
        Operation::AssumeAgency,
        Operation::Projects,
        Operation::List,
    ];
    assert_eq!(operations, wanted);
}
