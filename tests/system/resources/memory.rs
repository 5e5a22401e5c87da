//! Little memory: a limit of 1.2 times what the daemon normally takes, and answers that are as large and as bad as the
//! other side likes.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::machine::Ceiling;
use crate::support::{Bench, Process, RETRIES, within};

const CLUSTERS: usize = 1_000;
/// What a bad answer goes on to, in bytes, unless its reader goes.
const HUGE: usize = 48 << 20;
const PATIENCE: Duration = Duration::from_secs(40);

/// A service of many clusters where nothing runs; in a storm every answer is bad.
struct Service {
    base: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    storm: AtomicBool,
    asked: AtomicUsize,
    /// Huge answers that were begun.
    floods: AtomicUsize,
    list: String,
}

impl Service {
    async fn start() -> Self {
        let mut list = format!("{{\"totalSize\":{CLUSTERS},\"clusters\":[");
        for n in 0..CLUSTERS {
            let comma = if n == 0 { "" } else { "," };
            let _ = write!(
                list,
                "{comma}{{\"id\":\"c{n:05}\",\"name\":\"logs-{n:05}\",\"status\":\"200\",\"actions\":[],\"datastore\":\
                 {{\"type\":\"elasticsearch\",\"version\":\"7.10.2\"}},\"instances\":[{}]}}",
                ["{\"status\":\"200\",\"type\":\"ess\",\"id\":\"i\",\"name\":\"logs-ess-esn-1-1\",\"specCode\":\"ess.spec-4u8g\",\
                  \"azCode\":\"az-1\",\"ip\":\"10.0.0.1\",\"volume\":{\"type\":\"HIGH\",\"size\":100}}"; 6]
                .join(","),
            );
        }
        list.push_str("]}");
        let state = Arc::new(State { list, ..State::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let serving = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&serving)));
            }
        });
        Self { base, state }
    }

    async fn asked(&self, further: usize) {
        let before = self.state.asked.load(Ordering::Relaxed);
        let asked = || (self.state.asked.load(Ordering::Relaxed) >= before + further).then_some(());
        within(PATIENCE, "further requests", asked).await;
    }
}

async fn serve(mut stream: TcpStream, state: Arc<State>) {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = stream.read_u8().await else { return };
            head.push(byte);
        }
        let is_list = !head.windows(8).any(|part| part == b"/detail?");
        let nth = state.asked.fetch_add(1, Ordering::Relaxed);
        if !state.storm.load(Ordering::Relaxed) {
            let body = if is_list { state.list.as_str() } else { "{\"totalSize\":0,\"detailList\":[]}" };
            if stream.write_all(answer("200 OK", body).as_bytes()).await.is_err() {
                return;
            }
            continue;
        }
        match nth % 4 {
            // Refused, with a page that is long itself.
            0 => {
                let page = format!("<html>{}</html>", "x".repeat(200_000));
                let _ = stream.write_all(answer("502 Bad Gateway", &page).as_bytes()).await;
            }
            // JSON without an end, with its length told and without.
            1 | 2 => {
                state.floods.fetch_add(1, Ordering::Relaxed);
                let length = format!("content-length: {HUGE}\r\n");
                let length = if nth % 4 == 1 { length.as_str() } else { "" };
                let begin = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{length}\r\n{{\"detailList\":[");
                let mut written = stream.write_all(begin.as_bytes()).await;
                let more = "{\"id\":\"t\",\"status\":\"FAILED\"},".repeat(512);
                for _ in 0..HUGE / more.len() {
                    if written.is_ok() {
                        written = stream.write_all(more.as_bytes()).await;
                    }
                }
                return;
            }
            // Cut.
            _ => {
                let _ =
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{\"totalSize\"").await;
                return;
            }
        }
    }
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// A daemon under this ceiling, that has read every cluster and listed them again.
async fn normal(service: &Service, ceiling: &Ceiling, limit: Option<u64>) -> (Bench, Process) {
    let bench = Bench::new("", RETRIES).await;
    bench.configure(&service.base, RETRIES);
    bench.edit("idle_interval = \"200ms\"", "idle_interval = \"2s\"");
    bench.edit("requests_per_second = 500", "requests_per_second = 2000");
    bench.edit("request_timeout = \"800ms\"", "request_timeout = \"5s\"");
    bench.edit("settle_timeout = \"2s\"", "settle_timeout = \"6s\"");
    let daemon = Process::start(ceiling.over(&bench.command(&["run"]), limit));
    daemon.says("1000 clusters watched").await;
    service.asked(3 * 2 * CLUSTERS).await;
    (bench, daemon)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_fifth_more_than_it_normally_takes_it_lives_through_a_storm_of_huge_bad_answers() {
    let service = Service::start().await;
    let ceiling = Ceiling::new("normal");
    let (_bench, daemon) = normal(&service, &ceiling, None).await;
    let (normally, counted) = (ceiling.normally(&daemon), ceiling.counted());
    daemon.kill();
    let limit = normally + normally / 5;
    let ceiling = Ceiling::new("little");
    let (_bench, mut daemon) = normal(&service, &ceiling, Some(limit)).await;
    service.state.storm.store(true, Ordering::Relaxed);
    let floods = || (service.state.floods.load(Ordering::Relaxed) >= 150).then_some(());
    within(PATIENCE, "huge answers", || (!daemon.runs()).then_some(()).or_else(floods)).await;
    assert!(daemon.runs(), "it was killed: {:?}", daemon.ended());
    service.state.storm.store(false, Ordering::Relaxed);
    daemon.says("can be polled again").await;
    service.asked(2 * CLUSTERS).await;
    let (peak, counted_then) = (ceiling.normally(&daemon), ceiling.counted());
    figures(&format!(
        "memory, limited by {}: normally {} KiB ({counted:?} bytes counted), the limit {} KiB, in the storm {} KiB \
         ({counted_then:?} bytes counted)\n",
        ceiling.word(),
        normally / 1024,
        limit / 1024,
        peak / 1024,
    ));
    assert!(daemon.runs());
    daemon.signal("TERM");
    assert_eq!(daemon.code().await, Some(0));
}

/// What was measured, seen with --nocapture.
#[expect(clippy::print_stdout, reason = "figures are read by people")]
fn figures(told: &str) {
    print!("{told}");
}
