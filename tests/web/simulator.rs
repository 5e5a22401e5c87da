//! The simulator over a real socket, with a plain HTTP client.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on is a test that failed")]

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use upgrade_remediator::clock::{Clock, SystemClock};
use upgrade_remediator::simulator::log::{LogEntry, Operation, Record};
use upgrade_remediator::simulator::scenario::{
    DEFAULT_ACCESS_KEY, DEFAULT_PROJECT_ID, DEFAULT_SECRET_KEY, Scenario,
};
use upgrade_remediator::simulator::{Simulator, Verdict, World};

#[expect(
    clippy::disallowed_methods,
    reason = "a plain client, so that nothing of the daemon's is in between"
)]
fn client() -> reqwest::Client {
    // Another test of this process may have installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().retry(reqwest::retry::never()).build().unwrap()
}

async fn start(scenario: &str) -> Simulator {
    let text = format!(
        "signatures = \"ignored\"\n[[cluster]]\nname = \"a\"\nid = \"c-1\"\n\
         [[cluster.task]]\nkind = \"upgrade\"\nstart = \"-1h\"\nstatus = \"FAILED\"\n{scenario}"
    );
    let clock = Arc::new(SystemClock::new());
    let world = World::new(Scenario::parse(&text, "test").unwrap(), 1, clock.now().wall);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Simulator::start(listener, world, clock).unwrap()
}

fn base(simulator: &Simulator) -> String {
    format!("{}/v1.0/{DEFAULT_PROJECT_ID}/clusters", simulator.url())
}

async fn task_id(simulator: &Simulator, client: &reqwest::Client) -> String {
    let detail = client.get(format!("{}/c-1/upgrade/detail?limit=1000", base(simulator)));
    let list: Value = serde_json::from_slice(&detail.send().await.unwrap().bytes().await.unwrap()).unwrap();
    list["detailList"][0]["id"].as_str().unwrap().to_owned()
}

fn status(simulator: &Simulator) -> Value {
    simulator.inspect(|world| world.state()["clusters"][0]["tasks"][0]["status"].clone())
}

fn requests(log: &[LogEntry]) -> Vec<(Operation, bool)> {
    let requests = log.iter().filter_map(|entry| match &entry.record {
        Record::Request(request) => Some((request.operation, request.taken)),
        _ => None,
    });
    requests.collect()
}

#[tokio::test]
async fn a_client_lists_reads_and_retries_over_a_socket() {
    let simulator = start("").await;
    let client = client();
    let list = client.get(base(&simulator)).send().await.unwrap();
    assert_eq!(list.status(), 200);
    assert_eq!(list.headers()["content-type"], "application/json");
    assert!(list.headers().contains_key("x-request-id"));
    assert_eq!(list.headers().get_all("date").iter().count(), 1);

    let id = task_id(&simulator, &client).await;
    let retry = client.put(format!("{}/c-1/upgrade/{id}/retry", base(&simulator))).send().await.unwrap();
    assert_eq!((retry.status().as_u16(), retry.content_length()), (200, Some(0)));
    assert_eq!(status(&simulator), "RUNNING");
    let log = simulator.log();
    assert_eq!(requests(&log), [(Operation::List, true), (Operation::Tasks, true), (Operation::Retry, true)]);
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_cut_connection_ends_before_any_byte_of_an_answer() {
    for (taken, after) in [(false, "FAILED"), (true, "RUNNING")] {
        let simulator = start(&format!("[[fault]]\non = \"put\"\nwhat = \"cut\"\ntaken = {taken}")).await;
        let client = client();
        let id = task_id(&simulator, &client).await;
        let url = format!("{}/c-1/upgrade/{id}/retry", base(&simulator));
        let error = client.put(&url).send().await.unwrap_err();
        assert!(error.is_request() && error.status().is_none(), "{error:?}");
        assert_eq!(status(&simulator), after);
        assert_eq!(client.get(base(&simulator)).send().await.unwrap().status(), 200, "the next one is well");
    }
}

#[tokio::test]
async fn a_truncated_answer_has_a_whole_head_and_half_a_body() {
    let simulator = start("[[fault]]\non = \"list\"\nwhat = \"truncated\"").await;
    let mut list = client().get(base(&simulator)).send().await.unwrap();
    assert_eq!(list.status(), 200);
    let promised = usize::try_from(list.content_length().unwrap()).unwrap();
    let mut received = 0;
    let end = loop {
        match list.chunk().await {
            Ok(Some(chunk)) => received += chunk.len(),
            end => break end,
        }
    };
    assert!(end.is_err(), "the end was not an error");
    assert_eq!(received, promised / 2);
}

#[tokio::test]
async fn a_late_answer_misses_a_hasty_client_but_takes_effect() {
    let simulator = start("[[fault]]\non = \"retry\"\nwhat = \"delay\"\ndelay = \"1h\"").await;
    let client = client();
    let id = task_id(&simulator, &client).await;
    let retry = client.put(format!("{}/c-1/upgrade/{id}/retry", base(&simulator)));
    let error = retry.timeout(Duration::from_millis(300)).send().await.unwrap_err();
    assert!(error.is_timeout());
    assert_eq!(status(&simulator), "RUNNING");
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_late_answers() {
    let simulator = start("[[fault]]\non = \"list\"\nwhat = \"delay\"\ndelay = \"1h\"").await;
    let url = base(&simulator);
    let waiting = tokio::spawn(async move { client().get(url).send().await });
    while simulator.log().iter().all(|entry| !matches!(entry.record, Record::Request(_))) {
        tokio::task::yield_now().await;
    }
    simulator.shutdown().await;
    assert!(waiting.await.unwrap().is_err());
}

#[tokio::test]
async fn the_log_and_the_state_can_be_read_from_outside() {
    let simulator = start("").await;
    let client = client();
    client.get(format!("{}/nobody", base(&simulator))).send().await.unwrap();
    let read = |path: &str| client.get(format!("{}{path}", simulator.url())).send();
    let log = read("/_simulator/log").await.unwrap().text().await.unwrap();
    let log: Vec<LogEntry> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(log, simulator.log());
    assert_eq!(requests(&log), [(Operation::Detail, false)], "polling the log is not in it");
    let state: Value =
        serde_json::from_str(&read("/_simulator/state").await.unwrap().text().await.unwrap()).unwrap();
    assert_eq!(state["clusters"][0]["tasks"][0]["status"], "FAILED");
}

/// A sink that can be polled into.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_log_is_written_as_it_grows() {
    let simulator = start("").await;
    let sink = Sink::default();
    simulator.log_to(sink.clone());
    let lines = || String::from_utf8(sink.0.lock().unwrap().clone()).unwrap().lines().count();
    assert_eq!(lines(), 1, "the task that was there");
    client().get(base(&simulator)).send().await.unwrap();
    assert_eq!(lines(), 2);
    assert_eq!(lines(), simulator.log().len());
}

#[tokio::test]
async fn the_worlds_time_runs_on_from_its_beginning() {
    let clock = Arc::new(SystemClock::new());
    let text = "signatures = \"ignored\"\nnode_time = \"10s\"\n[[cluster]]\nname = \"a\"\n[[cluster.task]]\nkind = \"upgrade\"";
    let begin = clock.now().wall - jiff::SignedDuration::from_secs(15);
    let world = World::new(Scenario::parse(text, "test").unwrap(), 1, begin);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let simulator = Simulator::start(listener, world, clock).unwrap();
    let done = simulator.inspect(|world| world.state()["clusters"][0]["tasks"][0]["completed_nodes"].clone());
    assert_eq!(done, serde_json::json!(["a-ess-esn-1-1"]));
}

#[tokio::test]
async fn a_signature_is_checked_over_what_came_over_the_socket() {
    let clock = Arc::new(SystemClock::new());
    let world = World::new(Scenario::parse("", "test").unwrap(), 1, clock.now().wall);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let simulator = Simulator::start(listener, world, Arc::clone(&clock)).unwrap();

    let date = clock.now().wall.strftime("%Y%m%dT%H%M%SZ").to_string();
    let (host, path) = (simulator.address(), format!("/v1.0/{DEFAULT_PROJECT_ID}/clusters"));
    let query = "datastoreType=a%20b%2Fc&limit=100";
    let empty = hex::encode(Sha256::digest(b""));
    let canonical =
        format!("GET\n{path}/\n{query}\nhost:{host}\nx-sdk-date:{date}\n\nhost;x-sdk-date\n{empty}");
    let to_sign = format!("SDK-HMAC-SHA256\n{date}\n{}", hex::encode(Sha256::digest(canonical)));
    let mut mac = Hmac::<Sha256>::new_from_slice(DEFAULT_SECRET_KEY.as_bytes()).unwrap();
    mac.update(to_sign.as_bytes());
    let signature = hex::encode(mac.finalize().into_bytes());
    let client = client();
    let send = |query: &str| {
        client
            .get(format!("{}{path}?{query}", simulator.url()))
            .header("X-Sdk-Date", &date)
            .header(
                "Authorization",
                format!(
                    "SDK-HMAC-SHA256 Access={DEFAULT_ACCESS_KEY}, SignedHeaders=host;x-sdk-date, Signature={signature}"
                ),
            )
            .send()
    };
    // The order in which the query is sent is not signed.
    assert_eq!(send("limit=100&datastoreType=a%20b%2Fc").await.unwrap().status(), 200);
    let refused = send("limit=101&datastoreType=a%20b%2Fc").await.unwrap();
    assert_eq!(refused.status(), 401);
    let body: Value = serde_json::from_slice(&refused.bytes().await.unwrap()).unwrap();
    assert_eq!(body["error_msg"], "Incorrect IAM authentication information: verify aksk signature fail");
    let log = simulator.log();
    let verdicts = log.iter().filter_map(|entry| match &entry.record {
        Record::Request(request) => Some(request.signature),
        _ => None,
    });
    assert_eq!(verdicts.collect::<Vec<_>>(), [Verdict::Good, Verdict::Mismatch]);
}
