//! The status page in a real browser: live from a failure to its remedy, as good without a script, for every eye (axe), on
//! a phone, in both themes, and with nothing from anybody else.
//!
//! Where Chromium and Node.js are missing they are installed by `apt-get`, which only root can do; playwright-core and
//! axe-core come from npm, once, into `target/tmp`. Screenshots are kept in `target/tmp/screenshots`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod chromium;

use std::net::SocketAddr;

use crate::support::edited::Edited;
use crate::support::{self, Bench, CALLS_A_HUMAN, FAILED_ONCE, Process};
use chromium::{Browser, DESK, PHONE, Window};
use upgrade_remediator::model::event::{Event, Outcome};

/// Retries once, so late that an operator is quicker.
const LATE: &str = r#"
[[policy]]
name = "test"
[policy.retry]
max_retries = 3
initial_interval = "1h"
max_interval = "1h"
"#;

/// Six clusters, one for each way in which a task can stand; their names as bad as names can be.
const EVERYTHING: &str = r#"
node_time = "1h"
[[cluster]]
name = "logs"
[[cluster.task]]
kind = "upgrade"
start = "-10m"
end = "-1m"
status = "FAILED"
[[cluster]]
name = "</h3><script>alert(1)</script><img src=x onerror=alert(2)>\"'&\u202eevil\u0007"
[[cluster.task]]
kind = "az-switchover"
start = "-10m"
end = "-1m"
status = "PARTIAL_FAILED"
[[cluster]]
name = "a-name-without-any-place-where-it-could-be-broken-that-is-longer-than-a-phone-is-wide-0123456789"
[[cluster.task]]
kind = "upgrade"
"#;

fn url(address: SocketAddr, path: &str) -> String {
    format!("http://localhost:{}{path}", address.port())
}

/// The id of the cluster of the first task on the page.
fn first_cluster(browser: &mut Browser) -> String {
    browser.focus(".task h3 a");
    browser.focused().strip_prefix("c-").unwrap().to_owned()
}

/// It asked nobody but the daemon for anything, and nothing in it went wrong.
fn assert_clean(browser: &mut Browser, address: SocketAddr) {
    let seen = browser.seen();
    assert!(!seen.requests.is_empty());
    assert!(seen.requests.iter().all(|asked| asked.starts_with(&url(address, "/"))), "{seen:?}");
    assert!(seen.complaints.is_empty() && seen.dialogs.is_empty(), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_is_seen_to_its_remedy_without_a_reload() {
    let bench = Bench::new(&Edited::of(FAILED_ONCE).set("node_time", "1s").text(), LATE).await;
    let (daemon, address) = bench.daemon_with_page().await;
    let mut browser = Browser::start();
    browser.open(&url(address, "/"), DESK);
    browser.shows("#live", "live");
    browser.shows(".task.hands", "FAILED");
    browser.shows(".task.hands .next", "Next: retry at");
    // A hold comes before whatever is due, and its end lets it go on.
    let (code, _, told) = bench.runs(&["hold", "cluster:logs", "--reason", "an audit"]).await;
    assert_eq!(code, 0, "{told}");
    browser.shows(".note", "On hold: no request is sent for this cluster.");
    browser.shows(".task.eyes .next", "Blocked by on-hold: hold #1");
    assert_eq!(bench.runs(&["release", "cluster:logs"]).await.0, 0);
    browser.hides(".note");
    browser.shows(".task.hands .next", "Next: retry at");
    browser.screenshot("failed");
    browser.mark();
    // Who reads by the keyboard stays where they are while the page changes under them.
    let cluster = first_cluster(&mut browser);

    let (code, _, told) = bench.runs(&["retry-now", "logs", "--reason", "the node was mended"]).await;
    assert_eq!(code, 0, "{told}");
    browser.shows(".task.running", "running");
    assert_eq!(browser.focused(), format!("c-{cluster}"));
    browser.screenshot("running");
    bench.journaled("the remedy", |event| matches!(event, Event::Ended(Outcome::ResolvedByRetry))).await;
    browser.shows(".quiet", "No task is unfinished.");
    browser.hides(".task");
    assert!(browser.is_marked(), "it was read anew");
    browser.screenshot("resolved");
    assert_clean(&mut browser, address);

    browser.open(&url(address, &format!("/clusters/{cluster}")), DESK);
    let story = browser.texts(".timeline .event");
    let words = browser.texts(".timeline .words").join("\n");
    assert!(words.contains("the node was mended"), "{words}");
    // Newest first.
    let order =
        ["ended", "intent", "failed", "first-seen"].map(|event| story.iter().position(|one| one == event));
    assert!(order.iter().all(Option::is_some) && order.is_sorted(), "{order:?} in {story:?}");
    // What was the case before the end is not the case now.
    browser.shows("section[aria-labelledby=now]", "nothing to do: no task is running");
    assert!(!browser.texts("section[aria-labelledby=now]").concat().contains("cannot be stopped"));
    browser.screenshot("story");

    drop(daemon);
    browser.shows("#live.lost", "not live: the daemon does not answer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_s_page_is_live_too() {
    let bench = Bench::new(&Edited::of(FAILED_ONCE).set("node_time", "1s").text(), LATE).await;
    let (_daemon, address) = bench.daemon_with_page().await;
    let mut browser = Browser::start();
    browser.open(&url(address, "/"), DESK);
    browser.shows(".task.hands", "FAILED");
    // By the keyboard alone.
    browser.focus(".task h3 a");
    browser.press("Enter");
    browser.shows("h1", "logs");
    browser.shows("#live", "live");
    browser.mark();
    let (code, _, told) = bench.runs(&["retry-now", "logs", "--reason", "the node was mended"]).await;
    assert_eq!(code, 0, "{told}");
    browser.shows(".timeline .event", "ended");
    browser.shows("section[aria-labelledby=now]", "nothing to do");
    assert!(browser.is_marked(), "it was read anew");
    assert_clean(&mut browser, address);
}

/// A daemon with one task of each kind: an operator's, a hostile one, one that runs; under a hold, and with a reload refused.
async fn everything() -> (Bench, Process, SocketAddr) {
    let bench = Bench::new(EVERYTHING, CALLS_A_HUMAN).await;
    let (daemon, address) = bench.daemon_with_page().await;
    let escalated = || bench.events().iter().filter(|event| matches!(event, Event::Escalated { .. })).count();
    support::eventually("both escalations", || (escalated() == 2).then_some(())).await;
    let (code, _, told) = bench.runs(&["hold", "all", "--reason", "<b>an audit</b>", "--for", "2h"]).await;
    assert_eq!(code, 0, "{told}");
    bench.edit("max_retries = 0", "max_retrys = 0");
    daemon.signal("HUP");
    daemon.says("max_retrys").await;
    (bench, daemon, address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_for_every_eye_and_every_width() {
    let (_bench, _daemon, address) = everything().await;
    let mut browser = Browser::start();
    browser.open(&url(address, "/"), DESK);
    browser.shows(".task.eyes", "needs an operator");
    let cluster = first_cluster(&mut browser);
    let pages = [("index", "/".to_owned()), ("cluster", format!("/clusters/{cluster}"))];
    for (name, path) in pages {
        for width in [1280, 390, 320] {
            for dark in [false, true] {
                browser.open(&url(address, &path), Window { width, dark, ..DESK });
                let theme = if dark { "dark" } else { "light" };
                browser.screenshot(&format!("{name}-{width}-{theme}"));
                let (wider, what) = browser.overflow();
                assert!(wider <= 0 && what.is_empty(), "{path} at {width}: {wider} px, {what:?}");
                let found = browser.accessibility();
                assert!(
                    found.violations.is_empty(),
                    "{path} at {width}, dark {dark}: {:#?}",
                    found.violations
                );
                assert!(
                    found.incomplete.is_empty(),
                    "{path} at {width}, dark {dark}: {:#?}",
                    found.incomplete
                );
                assert!(found.passed > 15, "axe polled too little: {}", found.passed);
                assert_clean(&mut browser, address);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_script_it_says_as_much_and_says_that_it_is_not_live() {
    let (_bench, _daemon, address) = everything().await;
    let mut browser = Browser::start();
    browser.open(&url(address, "/"), DESK);
    browser.shows("#live", "live");
    let shown = browser.texts("main h1, main h2, main h3, main .task p, main .note");
    browser.open(&url(address, "/"), Window { script: false, ..PHONE });
    assert_eq!(browser.texts("main h1, main h2, main h3, main .task p, main .note"), shown);
    assert_eq!(browser.texts("#live"), ["read once; reload for news"]);
    let names = browser.texts(".task h3");
    assert!(names.iter().any(|name| name.contains("<script>alert(1)</script>")), "{names:?}");
    // What has to be done is shown as commands, and not with the marks of this text.
    let ways = browser.texts(".task.eyes .way code");
    assert!(ways.contains(&"reset".to_owned()), "{ways:?}");
    assert!(!browser.texts("main").concat().contains('`'));
}
