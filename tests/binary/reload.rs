//! SIGHUP: all or nothing, without losing a timer or an attempt, and what changed is told.

use rusqlite::Connection;
use upgrade_remediator::clock::{Clock as _, SystemClock};
use upgrade_remediator::model::event::Event;
use upgrade_remediator::model::reason::Reason;

use crate::peers::{Http, Private};
use crate::support::edited::waiting;
use crate::support::{self, ABORTS, Bench, CALLS_A_HUMAN, FAILED_ONCE, Process, RETRIES, eventually};

fn retries_in(time: &str) -> String {
    waiting(RETRIES, time)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_configuration_takes_effect_and_what_changed_is_told() {
    let bench = Bench::new(FAILED_ONCE, &retries_in("1h")).await;
    let daemon = bench.daemon();
    bench.journaled("the wait", |event| matches!(event, Event::Decided { .. })).await;
    bench.edit("initial_interval = \"1h\"", "initial_interval = \"1s\"");
    daemon.signal("HUP");
    daemon.says("the configuration was reloaded").await;
    daemon.says("changed: policy.test.retry.initial_interval: \"1h\" → \"1s\"").await;
    assert_eq!(bench.ended(&["logs"]).await["logs"], "resolved");
    // The timer went on from the first sight of the failure; it did not begin anew.
    let failures = bench.events().iter().filter(|event| matches!(event, Event::Failed(_))).count();
    assert_eq!(failures, 1);
    bench.judge();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_in_force_since_when_and_that_the_daemon_lived_stand_in_the_journal() {
    let in_force = |bench: &Bench| -> Vec<serde_json::Value> {
        let journal = Connection::open(bench.journal()).unwrap();
        let mut rows = journal.prepare("SELECT data FROM in_force ORDER BY number").unwrap();
        let rows = rows.query_map((), |row| row.get::<_, String>(0)).unwrap();
        rows.map(|row| serde_json::from_str(&row.unwrap()).unwrap()).collect()
    };
    let bench = Bench::new(FAILED_ONCE, &retries_in("1h")).await;
    let mut daemon = bench.daemon();
    bench.looks_on(1).await;
    bench.edit("mode = \"enforce\"", "mode = \"dry-run\"");
    daemon.signal("HUP");
    daemon.says("the configuration was reloaded").await;
    let modes = |all: &[serde_json::Value]| -> Vec<String> {
        all.iter().map(|one| one["mode"].as_str().unwrap().to_owned()).collect()
    };
    eventually("what is in force now", || (modes(&in_force(&bench)) == ["enforce", "dry-run"]).then_some(()))
        .await;
    let all = in_force(&bench);
    assert_eq!(all[1]["version"], env!("CARGO_PKG_VERSION"));
    assert!(all[1]["configuration"]["poll.active_interval"].is_string(), "{}", all[1]);
    assert_ne!(all[0]["hash"], all[1]["hash"]);
    daemon.signal("TERM");
    assert_eq!(daemon.code().await, Some(0));
    let journal = Connection::open(bench.journal()).unwrap();
    let lived: String =
        journal.query_row("SELECT value FROM meta WHERE key = 'last-alive'", (), |row| row.get(0)).unwrap();
    let age = SystemClock::new().now().wall.duration_since(lived.parse().unwrap()).as_secs();
    assert!((0..120).contains(&age), "{lived}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_file_changes_nothing_and_its_problems_are_told() {
    let bench = Bench::new(FAILED_ONCE, &retries_in("3s")).await;
    let mut daemon = bench.daemon();
    bench.journaled("the wait", |event| matches!(event, Event::Decided { .. })).await;
    bench.edit("mode = \"enforce\"", "mode = \"dry-run\"");
    bench.edit("max_retries = 3", "max_retrys = 3");
    daemon.signal("HUP");
    daemon.says("the reload was refused and the former configuration stays in force").await;
    daemon.says("max_retrys").await;
    assert!(daemon.runs());
    let (code, out, err) = bench.runs(&["status"]).await;
    assert_eq!(code, 0, "the configuration on the disk cannot be used, and the daemon can be asked: {err}");
    assert!(out.contains("mode enforce") && out.contains("changed nothing:\n  error: "), "{out}");
    assert!(out.contains("max_retrys") && out.contains("backoff"), "{out}");
    assert_eq!(bench.ended(&["logs"]).await["logs"], "resolved", "it went on in mode enforce");
    bench.edit("max_retrys = 3", "max_retries = 3");
    daemon.signal("HUP");
    daemon.says("the configuration was reloaded").await;
    let (_, out, _) = bench.runs(&["status", "--json"]).await;
    let status: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&status["mode"], &status["configuration"]["refused"]),
        (&"dry-run".into(), &serde_json::Value::Null),
        "{out}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_is_gone_changes_nothing_either() {
    let bench = Bench::new(FAILED_ONCE, &retries_in("3s")).await;
    let daemon = bench.daemon();
    bench.journaled("the wait", |event| matches!(event, Event::Decided { .. })).await;
    bench.edit("{ env = \"TEST_SECRET_KEY\" }", "{ file = \"/nowhere/secret\" }");
    daemon.signal("HUP");
    daemon.says("the reload was refused and the former configuration stays in force").await;
    assert_eq!(bench.ended(&["logs"]).await["logs"], "resolved");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dry_run_by_reload_stops_the_next_put_and_enforce_lets_nothing_fire_at_once() {
    let bench = Bench::new(FAILED_ONCE, &retries_in("2s")).await;
    let daemon = bench.daemon();
    bench.journaled("the wait", |event| matches!(event, Event::Decided { .. })).await;
    bench.edit("mode = \"enforce\"", "mode = \"dry-run\"");
    daemon.signal("HUP");
    daemon.says("changed: mode: \"enforce\" → \"dry-run\"").await;
    bench
        .journaled("would retry", |event| {
            matches!(event, Event::Decided { reason: Reason::DryRun { .. }, .. })
        })
        .await;
    assert_eq!(bench.puts().len(), 0);
    bench.edit("mode = \"dry-run\"", "mode = \"enforce\"");
    daemon.signal("HUP");
    let waits = |event: &Event| matches!(event, Event::Decided { reason: Reason::WasBlocked { .. }, .. });
    bench.journaled("another wait", waits).await;
    assert_eq!(bench.ended(&["logs"]).await["logs"], "resolved");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_policy_makes_no_abort_due() {
    let bench = Bench::new(FAILED_ONCE, &retries_in("1h")).await;
    let daemon = bench.daemon();
    bench.journaled("the wait", |event| matches!(event, Event::Decided { .. })).await;
    bench.edit("max_retries = 3", "max_retries = 0");
    daemon.signal("HUP");
    assert_eq!(bench.ended(&["logs"]).await["logs"], "policy-changed");
    assert_eq!(bench.puts().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_project_takes_its_plans_with_it_and_comes_back_as_it_was() {
    let bench = Bench::new(FAILED_ONCE, &waiting(ABORTS, "4s")).await;
    let daemon = bench.daemon();
    bench.journaled("the grace", |event| matches!(event, Event::Decided { .. })).await;
    let whole = std::fs::read_to_string(bench.config()).unwrap();
    let (before, rest) = whole.split_once("[[project]]").unwrap();
    let (_, after) = rest.split_once("[credentials.test]").unwrap();
    std::fs::write(bench.config(), format!("{before}[credentials.test]{after}")).unwrap();
    daemon.signal("HUP");
    daemon.says("project test is not watched any more").await;
    support::let_pass(std::time::Duration::from_secs(5)).await;
    assert_eq!(bench.puts().len(), 0, "its abort was due meanwhile");
    std::fs::write(bench.config(), whole).unwrap();
    daemon.signal("HUP");
    daemon.says("changed: project.test.endpoint: new").await;
    assert_eq!(bench.ended(&["logs"]).await["logs"], "aborted");
    bench.judge();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_project_that_comes_back_before_its_last_look_has_ended_is_watched_again() {
    let slow = "[[fault]]\non = \"tasks\"\ntimes = \"always\"\nwhat = \"delay\"\ndelay = \"600ms\"\n";
    let bench = Bench::new(&format!("{FAILED_ONCE}{slow}"), &retries_in("2s")).await;
    let daemon = bench.daemon();
    bench.journaled("the wait", |event| matches!(event, Event::Decided { .. })).await;
    bench.looks_on(1).await;
    let whole = std::fs::read_to_string(bench.config()).unwrap();
    let (before, rest) = whole.split_once("[[project]]").unwrap();
    let (_, after) = rest.split_once("[credentials.test]").unwrap();
    std::fs::write(bench.config(), format!("{before}[credentials.test]{after}")).unwrap();
    daemon.signal("HUP");
    daemon.says("changed: project.test.endpoint: ").await;
    std::fs::write(bench.config(), whole).unwrap();
    daemon.signal("HUP");
    daemon.says("changed: project.test.endpoint: new").await;
    assert_eq!(bench.ended(&["logs"]).await["logs"], "resolved");
    bench.judge();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_signals_is_no_storm_of_reloads_and_harms_nothing() {
    let bench = Bench::new(FAILED_ONCE, &retries_in("2s")).await;
    let daemon = bench.daemon();
    bench.journaled("the wait", |event| matches!(event, Event::Decided { .. })).await;
    for _ in 0..50 {
        daemon.signal("HUP");
    }
    assert_eq!(bench.ended(&["logs"]).await["logs"], "resolved");
    bench.judge();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_ca_file_of_a_channel_is_taken_and_what_waited_is_told_at_once() {
    let (before, private) = (Private::new(), Private::new());
    let bench = Bench::new(FAILED_ONCE, CALLS_A_HUMAN).await;
    let ca = bench.folder.path().join("ca.pem");
    std::fs::write(&ca, &before.ca_pem).unwrap();
    let chat = Http::start(Some(&private), 200, "", "ok").await;
    let ca_file = format!("ca_file = \"{}\"", ca.display());
    let channel = "[[channel]]\nname = \"chat\"\ntype = \"slack\"\nurl = { env = \"TEST_CHAT\" }";
    bench.edit("[poll]", &format!("[notify]\ndefault = [\"chat\"]\n{channel}\n{ca_file}\n[poll]"));
    let mut command = bench.command(&["run"]);
    command.env("TEST_CHAT", format!("https://127.0.0.1:{}/hook", chat.port));
    let daemon = Process::start(command);
    daemon.says("invalid peer certificate").await;
    assert_eq!(chat.got(), Vec::<String>::new());

    // A file that holds no certificate any more changes nothing.
    std::fs::write(&ca, "none").unwrap();
    daemon.signal("HUP");
    daemon.says("the reload was refused and the former configuration stays in force").await;

    std::fs::write(&ca, &private.ca_pem).unwrap();
    daemon.signal("HUP");
    daemon.says("the configuration was reloaded").await;
    eventually("the message", || (!chat.got().is_empty()).then_some(())).await;
}
