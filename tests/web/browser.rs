//! The status page in a real browser: live from a failure to its remedy, as good without a script, for every eye (axe), on
//! a phone, in both themes, and with nothing from anybody else.
//!
//! Where Chromium and Node.js are missing they are installed by `apt-get`, which only root can do; playwright-core and
//! axe-core come from npm, once, into `target/tmp`. Screenshots are kept in `target/tmp/screenshots`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod chromium;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use crate::support::edited::{Edited, waiting};
use crate::support::{self, ABORTS, Bench, CALLS_A_HUMAN, FAILED_ONCE, Process, RETRIES};
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
    browser.shows(".quiet", "No task is running or failed.");
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
    browser.shows("section[aria-labelledby=now]", "resolved by retry");
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
    browser.shows("section[aria-labelledby=now]", "resolved by retry");
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
    assert_eq!(browser.texts("#live"), ["not live: reload the page for changes"]);
    let names = browser.texts(".task h3");
    assert!(names.iter().any(|name| name.contains("<script>alert(1)</script>")), "{names:?}");
    // What has to be done is shown as commands, and not with the marks of this text.
    let ways = browser.texts(".task.eyes .way code");
    assert!(ways.iter().any(|way| way.contains(" reset ")), "{ways:?}");
    assert!(!browser.texts("main").concat().contains('`'));
}

/// On a desk and on a phone, in both themes: nothing sticks out, and axe finds nothing.
fn assert_fits(browser: &mut Browser, url: &str, name: &str) {
    for width in [1280, 390] {
        for dark in [false, true] {
            browser.open(url, Window { width, dark, ..DESK });
            browser.screenshot(&format!("{name}-{width}-{}", if dark { "dark" } else { "light" }));
            let (wider, what) = browser.overflow();
            assert!(wider <= 0 && what.is_empty(), "{url} at {width}: {wider} px, {what:?}");
            let found = browser.accessibility();
            assert!(found.violations.is_empty(), "{url} at {width}: {:#?}", found.violations);
            assert!(found.incomplete.is_empty(), "{url} at {width}: {:#?}", found.incomplete);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_is_counted_down_while_nothing_happens() {
    let bench = Bench::new(FAILED_ONCE, &waiting(ABORTS, "1h")).await;
    let (_daemon, address) = bench.daemon_with_page().await;
    let mut browser = Browser::start();
    browser.open_with_clock(&url(address, "/"));
    browser.shows("#live", "live");
    browser.shows(".task.eyes", "will be aborted");
    browser.shows(".sums .alarms", "abort to come");
    browser.shows(".task.eyes .next", "Next: abort at");
    browser.shows(".task.eyes .next", "(in 59m");
    let first = browser.texts(".task.eyes .next").concat();
    support::eventually("another time to the abort", || {
        browser.forward(Duration::from_mins(1));
        (browser.texts(".task.eyes .next").concat() != first).then_some(())
    })
    .await;
    let cluster = first_cluster(&mut browser);
    let page = url(address, &format!("/clusters/{cluster}"));
    browser.open(&page, DESK);
    browser.shows(".picture .label", "Next: abort at");
    assert_fits(&mut browser, &page, "abort-pending");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_critical_condition_is_a_banner_above_everything_else() {
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    bench.configure("http://127.0.0.1:9", RETRIES);
    let (daemon, address) = bench.daemon_with_page().await;
    daemon.says("its clusters cannot be polled").await;
    let mut browser = Browser::start();
    browser.open(&url(address, "/"), DESK);
    browser.shows(".condition.alarm", "unreachable");
    browser.shows(".condition.alarm", "check its endpoint");
    browser.shows(".sums .alarms", "project stopped by a fault");
    assert_fits(&mut browser, &url(address, "/"), "unreachable");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_timeline_is_seen_whole_on_a_phone_and_says_the_same_in_words() {
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    let (_daemon, address) = bench.daemon_with_page().await;
    bench.ended(&["logs"]).await;
    assert_eq!(bench.runs(&["hold", "cluster:logs", "--reason", "an audit"]).await.0, 0);
    let mut browser = Browser::start();
    browser.open(&url(address, "/"), PHONE);
    browser.focus(".ended th a");
    browser.press("Enter");
    browser.shows(".picture .label", "Task, ended: resolved");
    let seat = browser.seat(".picture > svg");
    assert!(seat.left >= 0.0 && seat.right <= 390.0 && seat.width > 300.0 && seat.height > 100.0, "{seat:?}");
    for text in [".picture .label", ".picture text"] {
        assert!(browser.seat(text).letters >= 11.0, "{text}");
    }
    let labels = browser.texts(".picture .label");
    for words in ["1 failure", "1 retry request"] {
        assert!(labels.iter().any(|label| label == words), "{words}: {labels:?}");
    }
    let words = browser.texts("#picture-words").concat();
    for label in &labels {
        assert!(words.contains(label), "{label}: {words}");
    }
    for fact in ["accepted", "failure 1 at", "Hold #1 from", "2 nodes completed", "running"] {
        assert!(words.contains(fact), "{fact}: {words}");
    }
    let page = browser.url();
    assert_fits(&mut browser, &page, "ended");
    assert_clean(&mut browser, address);
}

/// So many clusters that need an operator.
async fn many(count: usize) -> (Bench, Process, SocketAddr) {
    let mut scenario = "node_time = \"1h\"\n".to_owned();
    let (_, cluster) = FAILED_ONCE.split_once("[[cluster]]").unwrap();
    for number in 0..count {
        let named = cluster.replacen("\"logs\"", &format!("\"logs-{number}\""), 1);
        write!(scenario, "[[cluster]]{named}").unwrap();
    }
    let bench = Bench::new(&scenario, CALLS_A_HUMAN).await;
    let (daemon, address) = bench.daemon_with_page().await;
    let escalated = || bench.events().iter().filter(|event| matches!(event, Event::Escalated { .. })).count();
    support::eventually("every escalation", || (escalated() == count).then_some(())).await;
    (bench, daemon, address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_tasks_are_a_table_in_which_one_searches_by_the_keyboard() {
    let (bench, _daemon, address) = many(21).await;
    let mut browser = Browser::start();
    browser.open(&url(address, "/"), DESK);
    browser.shows("#live", "live");
    browser.shows(".rows", "logs-20");
    assert_eq!(browser.texts(".rows tbody tr").len(), 21);
    assert_fits(&mut browser, &url(address, "/"), "table");
    for script in [true, false] {
        browser.open(&url(address, "/"), Window { script, ..DESK });
        browser.focus("#home");
        browser.press("Tab");
        assert_eq!(browser.focused(), "search-name");
        browser.types("LOGS-20");
        browser.press("Enter");
        browser.shows(".found", "1 of 21 tasks matches");
        assert_eq!(browser.texts(".task h3"), ["logs-20"]);
        assert!(browser.url().contains("q=LOGS-20"), "{}", browser.url());
    }
    // A change is shown, and what is searched for and half typed stays.
    browser.open(&url(address, "/?q=logs-20"), DESK);
    browser.shows("#live", "live");
    browser.mark();
    browser.focus("#search-name");
    browser.press("End");
    browser.types("x");
    assert_eq!(bench.runs(&["hold", "all", "--reason", "an audit"]).await.0, 0);
    browser.shows(".note", "On hold");
    assert!(browser.is_marked(), "it was read anew");
    assert_eq!(browser.texts(".task h3"), ["logs-20"]);
    assert_eq!(browser.value("#search-name"), "logs-20x");
    assert_eq!(browser.focused(), "search-name");
    // What is nowhere.
    browser.press("Enter");
    browser.shows(".empty", "No task matches: name or id contains “logs-20x”.");
    browser.focus(".found a");
    browser.press("Enter");
    browser.shows(".rows", "logs-0");
    assert_clean(&mut browser, address);
}
