//! Peers that mean ill or are broken, by a server that speaks raw bytes: whatever comes back for one cluster is a
//! bounded, named error for that cluster alone, nothing is sent to it, and the others are served.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use upgrade_remediator::clock::{Clock as _, SystemClock};

use crate::support::{self, Bench, FAILED_ONCE, Process, RETRIES, eventually};

/// A failed upgrade, ended a minute ago.
fn failed(task: &str) -> String {
    let ended = SystemClock::new().now().wall - Duration::from_mins(1);
    let at = ended.strftime("%Y-%m-%dT%H:%M:%S");
    format!(
        r#"{{"totalSize":1,"detailList":[{{"id":"{task}","startTime":"2026-01-01T00:00:00","endTime":"{at}","status":"FAILED","totalNodes":"n-1,n-2","completedNodes":"","currentNodeName":"n-1","executeTimes":"1","currentNodeDetail":[]}}]}}"#
    )
}

fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into()
}

/// What the server does to a reading of the tasks of a cluster.
enum Deed {
    /// Writes this and goes on serving.
    Says(Vec<u8>),
    /// Writes this and closes.
    SaysAndCloses(Vec<u8>),
    /// Writes this byte by byte, slowly, for ever.
    Drips(Vec<u8>),
    /// Writes the first, then the second until nobody reads any more.
    Floods(Vec<u8>, Vec<u8>),
    /// Answers with the tasks of this other cluster.
    Echoes(&'static str),
}

/// The clusters that are served badly, with a part of what is told of each.
fn deeds() -> BTreeMap<&'static str, (Deed, &'static str)> {
    let text = |text: &str| text.as_bytes().to_vec();
    // Of a gzip bomb's first bytes: it was not asked for, and is not unpacked.
    let bomb = {
        let mut bytes = text("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 20\r\n\r\n");
        bytes.extend([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xed, 0xc1, 1, 1, 0, 0, 0, 0x80, 0x90, 0xfe]);
        bytes
    };
    let many = (0..20_000).fold(String::new(), |mut all, n| {
        let _ = write!(all, "x-{n}: {n}\r\n");
        all
    });
    let redirect =
        |to: &str| text(&format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n"));
    let nested = format!("{{\"totalSize\":1,\"detailList\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    BTreeMap::from([
        (
            "slow-head",
            (Deed::Drips(text("HTTP/1.1 200 OK\r\nx: yyyyyyyyyyyyyyyy")), "did not respond in time"),
        ),
        (
            "slow-body",
            (Deed::Drips(text("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{")), "did not respond in time"),
        ),
        ("silence", (Deed::Drips(Vec::new()), "did not respond in time")),
        (
            "endless-body",
            (
                Deed::Floods(
                    text("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
                    text(&format!("1000\r\n{}\r\n", "x".repeat(4096))),
                ),
                "longer than",
            ),
        ),
        ("gzip-bomb", (Deed::Says(bomb), "a Content-Encoding (gzip), though none was requested")),
        (
            "promises-more",
            (
                Deed::SaysAndCloses(text("HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{}")),
                "could not be reached",
            ),
        ),
        (
            "promises-everything",
            (
                Deed::SaysAndCloses(text("HTTP/1.1 200 OK\r\ncontent-length: 99999999999999\r\n\r\n{")),
                "longer than",
            ),
        ),
        (
            "promises-less",
            (
                Deed::SaysAndCloses(text("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{\"totalSize\":0}")),
                "cannot be read",
            ),
        ),
        (
            "two-lengths",
            (
                Deed::SaysAndCloses(text(
                    "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
                )),
                "could not be reached",
            ),
        ),
        (
            "header-flood",
            (Deed::SaysAndCloses(text(&format!("HTTP/1.1 200 OK\r\n{many}\r\n"))), "could not be reached"),
        ),
        (
            "endless-header",
            (Deed::Floods(text("HTTP/1.1 200 OK\r\nx: "), text(&"y".repeat(4096))), "could not be reached"),
        ),
        (
            "redirect-to-another-host",
            (Deed::Says(redirect("https://elsewhere.invalid/")), "something other than the API"),
        ),
        ("redirect-to-http", (Deed::Says(redirect("http://127.0.0.1:1/")), "something other than the API")),
        ("no-http", (Deed::SaysAndCloses(text("SSH-2.0-OpenSSH_9.2\r\n")), "could not be reached")),
        ("html", (Deed::Says(ok("<html>sign in</html>")), "something other than the API")),
        ("cut-json", (Deed::Says(ok(r#"{"totalSize":1,"detailList":[{"id":"#)), "cannot be read")),
        ("wrong-types", (Deed::Says(ok(r#"{"totalSize":1,"detailList":"FAILED"}"#)), "cannot be read")),
        ("deep-nesting", (Deed::Says(ok(&nested)), "shorter than its totalSize")),
        ("twin-a", (Deed::Says(ok(&failed("t-twin"))), "")),
        ("twin-b", (Deed::Echoes("twin-a"), "")),
    ])
}

/// The server: what it was asked, by method and path.
struct Peer {
    base: String,
    asked: Arc<Mutex<Vec<(String, String)>>>,
}

impl Peer {
    /// Serves the clusters of these names, and a good one.
    async fn start(is_served: impl Fn(&str) -> bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (serving, all) = (Arc::clone(&asked), Arc::new(deeds()));
        let served: Arc<Vec<&'static str>> =
            Arc::new(deeds().into_keys().filter(|name| is_served(name)).collect());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&serving), Arc::clone(&all), Arc::clone(&served)));
            }
        });
        Self { base, asked }
    }

    fn puts(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|(method, _)| method == "PUT").map(|(_, path)| path.clone()).collect()
    }
}

async fn serve(
    mut stream: TcpStream,
    asked: Arc<Mutex<Vec<(String, String)>>>,
    deeds: Arc<BTreeMap<&'static str, (Deed, &'static str)>>,
    served: Arc<Vec<&'static str>>,
) {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = stream.read_u8().await else { return };
            head.push(byte);
        }
        let head = String::from_utf8(head).unwrap();
        let mut line = head.split(' ');
        let (method, target) = (line.next().unwrap().to_owned(), line.next().unwrap().to_owned());
        asked.lock().unwrap().push((method.clone(), target.clone()));
        let path = target.split('?').next().unwrap();
        let cluster = path.split("/clusters/").nth(1).map(|rest| rest.split('/').next().unwrap().to_owned());
        let none = ok(r#"{"totalSize":0,"detailList":[]}"#);
        let Some(cluster) = cluster else {
            let one = |name: &str| {
                format!(
                    r#"{{"id":"{name}","name":"{name}","status":"200","datastore":{{"type":"elasticsearch","version":"7.10.2"}}}}"#
                )
            };
            let all: Vec<String> = served.iter().chain(&["good"]).map(|name| one(name)).collect();
            let list = format!(r#"{{"totalSize":{},"clusters":[{}]}}"#, all.len(), all.join(","));
            stream.write_all(&ok(&list)).await.unwrap();
            continue;
        };
        if method == "PUT" {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            continue;
        }
        if target.contains("AZ_MIGRATION") || cluster == "good" {
            let body = if target.contains("AZ_MIGRATION") { none } else { ok(&failed("t-good")) };
            let _ = stream.write_all(&body).await;
            continue;
        }
        let deed = match &deeds[cluster.as_str()].0 {
            Deed::Echoes(other) => &deeds[other].0,
            deed => deed,
        };
        match deed {
            Deed::Says(bytes) => drop(stream.write_all(bytes).await),
            Deed::SaysAndCloses(bytes) => {
                drop(stream.write_all(bytes).await);
                return;
            }
            Deed::Drips(bytes) => {
                for byte in bytes.iter().chain(std::iter::repeat(&b' ')) {
                    support::let_pass(Duration::from_millis(50)).await;
                    // Silence says nothing at all.
                    if !bytes.is_empty() && stream.write_u8(*byte).await.is_err() {
                        return;
                    }
                    let mut gone = [0];
                    if bytes.is_empty() && stream.try_read(&mut gone).is_ok() {
                        return;
                    }
                }
            }
            Deed::Floods(first, then) => {
                let mut written = stream.write_all(first).await;
                while written.is_ok() {
                    written = stream.write_all(then).await;
                }
                return;
            }
            Deed::Echoes(_) => return,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_is_a_named_error_for_that_cluster_alone() {
    let peer = Peer::start(|_| true).await;
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    bench.configure(&peer.base, RETRIES);
    // Floods must reach their limits in it, also where the machine is busy.
    bench.edit("request_timeout = \"800ms\"", "request_timeout = \"3s\"");
    bench.edit("settle_timeout = \"2s\"", "settle_timeout = \"4s\"");
    let (_, out, err) = bench.runs(&["plan", "--json"]).await;
    let lines: Vec<Value> = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
    let of = |name: &str| lines.iter().find(|line| line["cluster"] == name).unwrap();
    for (name, (_, told)) in deeds() {
        let line = of(name);
        if told.is_empty() {
            continue;
        }
        let told_as = if line["reason"]["code"] == "list-incomplete" {
            &line["reason"]["text"]
        } else {
            &line["error"]
        };
        let error = told_as.as_str().unwrap_or_else(|| panic!("{name} was read: {line}"));
        assert!(error.contains(told), "{name}: {told:?} is not in {error}");
        assert!(error.len() < 1_000, "{name}: bounded: {error}");
    }
    assert_eq!(of("good")["reason"]["code"], "backoff", "{}", of("good"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sent_to_them_and_the_others_are_served() {
    let peer = Peer::start(|_| true).await;
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    bench.configure(&peer.base, RETRIES);
    // As it may be set by accident: it leads nowhere.
    let mut command = bench.command(&["run"]);
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env(name, "http://127.0.0.1:1");
    }
    let daemon = Process::start(command);
    eventually("the good one's retry", || (!peer.puts().is_empty()).then_some(())).await;
    // Every bad one has been read, and what was due of it would have been sent by now.
    eventually("all have been read", || {
        let asked = peer.asked.lock().unwrap();
        let read: BTreeSet<&str> =
            asked.iter().filter_map(|(_, path)| path.split("/clusters/").nth(1)?.split('/').next()).collect();
        (read.len() == deeds().len() + 1).then_some(())
    })
    .await;
    support::let_pass(Duration::from_secs(2)).await;
    let puts = peer.puts();
    assert!(!puts.is_empty() && puts.iter().all(|path| path.contains("/clusters/good/")), "{puts:?}");
    daemon.signal("TERM");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_two_clusters_show_is_sent_to_neither() {
    let peer = Peer::start(|name| name.starts_with("twin")).await;
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    bench.configure(&peer.base, RETRIES);
    let daemon = bench.daemon();
    daemon.says("shows this task too, so its cluster is unclear").await;
    eventually("the good one's retry", || (!peer.puts().is_empty()).then_some(())).await;
    support::let_pass(Duration::from_secs(1)).await;
    let puts = peer.puts();
    assert!(puts.iter().all(|path| path.contains("/clusters/good/")), "{puts:?}");
    let told = daemon.stderr().matches("shows this task too").count();
    assert!(told <= 2, "told once for each of them, and not {told} times: {}", daemon.stderr());
    daemon.signal("TERM");
}
