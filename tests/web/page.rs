//! The status page over real HTTP: what it shows, to whom, and that a stranger's names stay text.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use upgrade_remediator::model::event::Event;
use upgrade_remediator::model::reason::Reason;

use crate::support::edited::{Edited, waiting};
use crate::support::{
    ABORTS, Bench, CALLS_A_HUMAN, FAILED_ONCE, Process, RETRIES, eventually, exchange, get,
};
use crate::tools::PROMTOOL;

/// A name that would be markup, and one that would be a script.
const HOSTILE: &str = "</h3><script>alert(1)</script>\"'&\\u202eevil\\u0007";

async fn escalated(scenario: &str) -> (Bench, Process, SocketAddr) {
    let bench = Bench::new(scenario, CALLS_A_HUMAN).await;
    let (daemon, address) = bench.daemon_with_page().await;
    bench.journaled("the escalation", |event| matches!(event, Event::Escalated { .. })).await;
    (bench, daemon, address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_shows_what_needs_eyes_first_and_why() {
    let (bench, _daemon, address) = escalated(FAILED_ONCE).await;
    let (status, head, page) = get(address, "/");
    assert_eq!(status, 200);
    assert!(head.contains("default-src 'none'; style-src 'self'; script-src 'self'"), "{head}");
    assert!(page.contains("Needs attention"), "{page}");
    assert!(
        page.contains(
            "retries exhausted (the policy allows none), and the policy says to escalate to an operator"
        ),
        "{page}"
    );
    assert!(page.contains("<code>retries-exhausted</code>"), "{page}");

    let (_, _, json) = get(address, "/api/v1/status");
    let report: Value = serde_json::from_str(&json).unwrap();
    let task = &report["projects"][0]["tasks"][0];
    assert_eq!(task["reason"]["code"], "retries-exhausted");
    let id = task["cluster"].as_str().unwrap();

    let (status, _, page) = get(address, &format!("/clusters/{id}"));
    assert_eq!(status, 200);
    for words in ["What happened, newest first", "escalated", "failed", "first-seen", "retries used"] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let (_, _, json) = get(address, &format!("/api/v1/clusters/{id}"));
    let view: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(view["explanation"]["reason"]["code"], "retries-exhausted");
    let (_, _, json) = get(address, &format!("/api/v1/history?cluster={id}"));
    let history: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(view["timeline"], history);
    // The same words as the command's.
    let (_, printed, _) = bench.runs(&["history", "--json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&printed).unwrap(), history);

    assert_eq!(get(address, "/clusters/4f3deec3-efa8-4598-bf91-560aad1377a3").0, 404);
    assert_eq!(get(address, "/clusters/..%2f..%2fetc").0, 404);
    assert_eq!(get(address, "/api/v1/history?since=yesterday").0, 400);
    assert_eq!(get(address, "/nowhere").0, 404);
    assert_eq!(get(address, "/livez").0, 200);
    assert_eq!(get(address, "/favicon.ico").0, 204, "every browser asks for it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pending_abort_is_counted_and_counted_down_and_what_ended_is_listed() {
    let other = FAILED_ONCE.replace("node_time = \"200ms\"\n", "").replace("\"logs\"", "\"quick\"");
    let quick = Edited::of(RETRIES)
        .set("policy.name", "quick")
        .set_toml("policy.match", "{ cluster = [\"quick\"] }")
        .text();
    let policies = format!("{quick}\n{}", waiting(ABORTS, "1h"));
    let bench = Bench::new(&format!("{FAILED_ONCE}{other}"), &policies).await;
    let (_daemon, address) = bench.daemon_with_page().await;
    bench.ended(&["quick"]).await;
    bench
        .journaled("the abort to come", |event| {
            matches!(event, Event::Decided { reason: Reason::AbortPending { .. }, .. })
        })
        .await;
    let (_, _, page) = get(address, "/");
    for words in [
        "Mode <strong>enforce</strong>",
        "<span class=\"number\">1</span> abort to come",
        "will be aborted",
        "(in 59m",
        "Ended in the last 24 hours",
        "<td>resolved</td><td>1 request sent</td>",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let (_, out, _) = bench.runs(&["status"]).await;
    assert!(out.contains("ended in the last 24 hours") && out.contains("resolved"), "{out}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_critical_condition_is_a_banner_with_its_advice_and_first_in_status() {
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    bench.configure("http://127.0.0.1:9", RETRIES);
    let (daemon, address) = bench.daemon_with_page().await;
    daemon.says("its clusters cannot be polled").await;
    let (_, _, page) = get(address, "/");
    let banner = "<section class=\"condition alarm\"><p><code>unreachable</code> since ";
    assert!(page.contains(banner) && page.contains("check its endpoint"), "{page}");
    let (_, out, _) = bench.runs(&["status"]).await;
    assert!(out.lines().nth(2).unwrap().starts_with("critical, since "), "{out}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_check_warns_of_is_logged_at_start_and_shown_by_status_and_the_page() {
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    let (daemon, address) = bench.daemon_with_page().await;
    let words = "there is no [[channel]]: nobody is notified";
    daemon.says(words).await;
    let (code, checked, _) = bench.runs(&["check", "--json"]).await;
    let checked: Value = serde_json::from_str(&checked).unwrap();
    assert_eq!((code, checked["problems"].as_array().map(Vec::len)), (3, Some(1)), "{checked}");
    assert!(checked["problems"][0]["message"].as_str().unwrap().contains(words), "{checked}");
    let (_, _, page) = get(address, "/");
    assert!(page.contains("Warning of the configuration") && page.contains(words), "{page}");
    let (_, _, json) = get(address, "/api/v1/status");
    let report: Value = serde_json::from_str(&json).unwrap();
    let warnings = report["configuration"]["warnings"].as_array().unwrap();
    assert!(warnings.len() == 1 && warnings[0].as_str().unwrap().contains(words), "{warnings:?}");
    let (_, status, _) = bench.runs(&["status"]).await;
    assert!(status.contains("warning of the configuration: ") && status.contains(words), "{status}");
    // A reload without what is warned of takes the warning away.
    bench.edit("mode = \"enforce\"", "mode = \"dry-run\"");
    daemon.signal("HUP");
    eventually("the warning gone", || {
        (!get(address, "/").2.contains("Warning of the configuration")).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_reading_is_served_and_only_under_names_of_this_host() {
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    bench.edit("[control]", "hosts = [\"upgrades.example.com\"]\n[control]");
    let (_daemon, address) = bench.daemon_with_page().await;
    let as_host = |host: &str| {
        exchange(address, &format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).0
    };
    assert_eq!(as_host("127.0.0.1"), 200);
    assert_eq!(as_host("upgrades.example.com"), 200);
    assert_eq!(as_host("evil.example"), 421);
    assert_eq!(exchange(address, "GET / HTTP/1.0\r\n\r\n").0, 421);
    for method in ["POST", "PUT", "DELETE"] {
        let request = format!(
            "{method} /api/v1/status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        assert_eq!(exchange(address, &request).0, 405, "{method}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_names_stay_text() {
    let scenario = Edited::of(FAILED_ONCE).set("cluster.name", HOSTILE).text();
    let (_bench, _daemon, address) = escalated(&scenario).await;
    let (_, _, json) = get(address, "/api/v1/status");
    let report: Value = serde_json::from_str(&json).unwrap();
    let id = report["projects"][0]["tasks"][0]["cluster"].as_str().unwrap().to_owned();
    for path in ["/".to_owned(), format!("/clusters/{id}")] {
        let (status, _, page) = get(address, &path);
        assert_eq!(status, 200);
        assert!(!page.contains("<script>alert"), "{page}");
        assert!(
            page.contains("&#60;script&#62;alert(1)") || page.contains("&lt;script&gt;alert(1)"),
            "{page}"
        );
        assert!(!page.contains('\u{202e}') && !page.contains('\u{7}'), "{page}");
        assert_eq!(page.matches("<script").count(), 1, "{page}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_narrows_the_page_alone_and_no_query_is_a_fault() {
    let (_bench, _daemon, address) = escalated(FAILED_ONCE).await;
    let (_, head, page) = get(address, "/?q=LOGS&project=test&phase=escalated");
    assert!(page.contains("1 of 1 task matches: name or id contains “logs”"), "{page}");
    assert!(head.contains("form-action 'self'"), "{head}");
    let long = format!("/?q={}", "x".repeat(50_000));
    for query in ["/?q=nowhere", "/?project=nowhere", "/?phase=%ff%00&phase=x", "/?q=zz&q=b&&=&%", &long] {
        let (status, _, page) = get(address, query);
        assert_eq!(status, 200, "{query}");
        assert!(page.contains("No task matches: ") && page.len() < 30_000, "{query}: {page}");
    }
    let (_, _, json) = get(address, "/api/v1/status?q=nowhere&phase=ended");
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["projects"][0]["tasks"].as_array().map(Vec::len), Some(1), "{json}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_timeline_shows_when_the_window_in_force_will_be_closed() {
    let window =
        "window = { timezone = \"UTC\", allow = [{ from = \"00:00\", to = \"23:00\" }] }\n[policy.retry]";
    let policy = waiting(RETRIES, "48h").replacen("[policy.retry]", window, 1);
    let bench = Bench::new(FAILED_ONCE, &policy).await;
    let (_daemon, address) = bench.daemon_with_page().await;
    bench.journaled("the failure", |event| matches!(event, Event::Failed(_))).await;
    let (_, _, json) = get(address, "/api/v1/status");
    let report: Value = serde_json::from_str(&json).unwrap();
    let id = report["projects"][0]["tasks"][0]["cluster"].as_str().unwrap();
    let page = eventually("the next request", || {
        let page = get(address, &format!("/clusters/{id}")).2;
        page.contains("Next: retry at").then_some(page)
    });
    let page = page.await;
    // Two days hold two closings, whenever they begin.
    assert!(page.contains("Window closed until ") && page.contains("23:00:00 UTC to "), "{page}");
    let (_, _, json) = get(address, &format!("/api/v1/clusters/{id}"));
    let view: Value = serde_json::from_str(&json).unwrap();
    assert!(view["explanation"].get("window").is_none(), "{json}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_page_hears_of_a_change_at_once() {
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    let (_daemon, address) = bench.daemon_with_page().await;
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut heard = String::new();
    let mut part = [0; 1024];
    // One as the stream begins, and others as the story goes on.
    while heard.matches("event: changed").count() < 3 {
        let read = stream.read(&mut part).unwrap();
        assert!(read > 0, "{heard}");
        heard.push_str(&String::from_utf8_lossy(&part[..read]));
    }
    let revisions: Vec<u64> =
        heard.lines().filter_map(|line| line.strip_prefix("data: ")?.trim().parse().ok()).collect();
    assert!(revisions.windows(2).any(|pair| pair[0] < pair[1]), "{revisions:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_whose_port_is_taken_works_on_without_a_page() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    bench.edit("listen = \"\"", &format!("listen = \"{}\"", taken.local_addr().unwrap()));
    let daemon = bench.daemon();
    daemon.says("the status page and the metrics cannot be served").await;
    bench.journaled("the remedy", |event| matches!(event, Event::Ended(_))).await;
}

/// Prometheus itself, which ends with this.
struct Prometheus {
    process: std::process::Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Prometheus {
    /// Reads the page at this address, five times a second, with the rules that are shipped.
    fn of(page: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/monitoring/alerts.yaml");
        let config = format!(
            "global: {{ scrape_interval: 200ms, evaluation_interval: 200ms }}\nrule_files: ['{}']\nscrape_configs:\n  \
             - job_name: upgrade-remediator\n    static_configs: [{{ targets: ['{page}'] }}]\n",
            rules.display()
        );
        fs::write(folder.path().join("prometheus.yml"), config).unwrap();
        // It takes no port 0. Whoever takes this one in between makes the test fail, and not pass.
        let address = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
        let beside = PROMTOOL.parent().filter(|folder| !folder.as_os_str().is_empty());
        let program = beside.map_or_else(|| "prometheus".into(), |folder| folder.join("prometheus"));
        let process = Command::new(program)
            .arg("--config.file=prometheus.yml")
            .arg("--storage.tsdb.path=data")
            .arg(format!("--web.listen-address={address}"))
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { process, address, _folder: folder }
    }

    /// What it answers, once it answers at all.
    fn ask(&self, path: &str) -> Option<Value> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
    }

    /// The values of a metric, by one of its labels.
    fn values(&self, metric: &str, label: &str) -> Option<Vec<(String, String)>> {
        let answer = self.ask(&format!("/api/v1/query?query={metric}"))?;
        let found = answer["data"]["result"].as_array()?.iter();
        let value = |found: &Value| {
            (
                found["metric"][label].as_str().unwrap_or_default().to_owned(),
                found["value"][1].as_str()?.to_owned(),
            )
                .into()
        };
        found.map(value).collect::<Option<Vec<_>>>().filter(|values| !values.is_empty())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_prometheus_reads_it_and_judges_it_by_the_shipped_alerts() {
    let (_bench, _daemon, address) = escalated(FAILED_ONCE).await;
    let prometheus = Prometheus::of(address);
    let escalations = eventually("a reading by Prometheus", || {
        prometheus.values("upgrade_remediator_escalations_total", "reason")
    });
    assert_eq!(escalations.await, [("retries-exhausted".to_owned(), "1".to_owned())]);
    assert_eq!(prometheus.values("up", "job").unwrap(), [("upgrade-remediator".to_owned(), "1".to_owned())]);
    let judged = || {
        let answer = prometheus.ask("/api/v1/rules")?;
        let groups = answer["data"]["groups"].as_array()?;
        let rules: Vec<&Value> =
            groups.iter().filter_map(|group| group["rules"].as_array()).flatten().collect();
        let raised = rules.iter().filter(|rule| rule["state"] != "inactive");
        let raised: Vec<&str> = raised.filter_map(|rule| rule["name"].as_str()).collect();
        // Before its first reading everything is down.
        let sound = rules.iter().all(|rule| rule["health"] == "ok");
        (sound
            && raised.contains(&"UpgradeRemediatorTaskNeedsOperator")
            && !raised.contains(&"UpgradeRemediatorDown"))
        .then_some(())
    };
    eventually("a judgement by every rule", judged).await;
}
