//! The commands beside `run`, as somebody at a terminal or a script sees them: what they print and where, how
//! they exit, and what they leave alone.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use upgrade_remediator::clock::{Clock as _, SystemClock};
use upgrade_remediator::journal::{Journal, SqliteJournal, SqliteOptions};
use upgrade_remediator::model::cluster::Traits;
use upgrade_remediator::model::event::{Event, Subject};
use upgrade_remediator::model::id::{ClusterId, ProjectName, TaskId};
use upgrade_remediator::model::setup::Nodes;
use upgrade_remediator::model::task::TaskKind;

use crate::support::edited::waiting;
use crate::support::{Bench, FAILED_ONCE, Process, RETRIES, eventually, program};

/// A failure, and a cluster where all is well.
fn two_clusters() -> String {
    format!("{FAILED_ONCE}\n[[cluster]]\nname = \"quiet\"\n")
}

/// What a command prints on stdout and stderr, and its exit code.
async fn ran(command: Command) -> (Option<i32>, String, String) {
    let mut process = Process::start(command);
    let code = process.code().await;
    (code, process.stdout(), process.stderr())
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Every file of a directory with its content.
fn content(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn shipped(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(file)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plan_tells_what_would_be_done_and_leaves_everything_alone() {
    let bench = Bench::new(&two_clusters(), RETRIES).await;
    let before = content(bench.folder.path());
    let (code, stdout, stderr) = ran(bench.command(&["plan"])).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("logs") && stdout.contains("[backoff]"), "{stdout}");
    assert!(stdout.contains("an abort: 0 of 3 nodes"), "{stdout}");
    assert!(stdout.lines().all(|line| line.chars().count() <= 80), "{stdout}");
    assert!(stdout.contains("2 clusters polled, 1 with nothing to do"), "{stdout}");
    assert!(!stdout.contains("quiet"), "{stdout}");
    assert!(!stderr.contains("ERROR") && !stderr.contains("WARN"), "{stderr}");

    let (code, stdout, _) = ran(bench.command(&["plan", "--json"])).await;
    let lines = json(&stdout);
    assert_eq!((code, lines.as_array().unwrap().len()), (Some(0), 2));
    let of = |name: &str| lines.as_array().unwrap().iter().find(|line| line["cluster_name"] == name).unwrap();
    assert_eq!((&of("logs")["verdict"], &of("logs")["reason"]["code"]), (&"wait".into(), &"backoff".into()));
    assert_eq!(of("quiet")["reason"]["code"], "idle");
    let abort = &of("logs")["abort"];
    assert_eq!((&abort["safe"], &abort["nodes"], &abort["nodes_done"]), (&true.into(), &3.into(), &0.into()));
    assert!(abort["leaves"].as_str().unwrap().contains("keeps the version that it had"), "{abort}");
    assert_eq!(of("quiet").get("abort"), Some(&Value::Null), "there is nothing to abort");
    assert!(content(bench.folder.path()) == before, "something was written");
    assert_eq!(bench.puts(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plan_says_where_the_list_of_clusters_is_shorter_than_it_says() {
    let scenario = format!("ways = {{ list = {{ total_size = \"one-more\" }} }}\n{}", two_clusters());
    let bench = Bench::new(&scenario, RETRIES).await;
    let (code, stdout, stderr) = ran(bench.command(&["plan"])).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        stdout.contains("the list shows 2 of 3 clusters; the daemon does not watch the others"),
        "{stdout}"
    );
    assert!(stderr.contains("WARN") && stderr.contains("the daemon does not watch the others"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plan_tells_why_no_policy_covers_a_task_and_when_a_window_opens() {
    let policies = "[[policy]]\nname = \"switchovers\"\n[policy.match]\ntask = [\"az-switchover\"]\n\
                    [[policy]]\nname = \"search\"\n[policy.match]\ncluster = [\"search-*\"]\n";
    let bench = Bench::new(FAILED_ONCE, policies).await;
    let (code, stdout, _) = ran(bench.command(&["plan"])).await;
    let words = stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(code, Some(0));
    assert!(words.contains("no policy covers the task"), "{stdout}");
    assert!(words.contains("switchovers: ") && words.contains("search: "), "{stdout}");
    assert!(words.contains("az-switchover") && words.contains("search-*"), "{stdout}");

    // It has failed, is due, and the window opens in a minute of some day to come.
    let window = "[[policy]]\nname = \"never-now\"\n[policy.retry]\ninitial_interval = \"1ms\"\n[policy.window]\ntimezone = \"UTC\"\n\
                  allow = [{ from = \"02:00\", to = \"03:00\" }]\ndeny = [{ from = \"2020-01-01T00:00\", to = \"2099-01-01T00:00\" }]\n";
    let bench = Bench::new(FAILED_ONCE, window).await;
    let daemon = bench.daemon();
    bench.journaled("the closed window", |event| event.to_string().contains("window is closed")).await;
    drop(daemon);
    let (_, stdout, _) = ran(bench.command(&["plan", "--json"])).await;
    let plan = json(&stdout);
    assert_eq!(
        (&plan[0]["verdict"], &plan[0]["reason"]["code"]),
        (&"blocked".into(), &"window-closed".into()),
        "{plan}"
    );
    assert_eq!(plan[0]["policies"][0]["does_not_cover_it_because"], serde_json::Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plan_knows_what_the_daemon_knows_while_it_runs() {
    let policy = waiting(RETRIES, "30s");
    let bench = Bench::new(FAILED_ONCE, &policy).await;
    let mut daemon = bench.daemon();
    bench.journaled("the failure", |event| matches!(event, Event::Decided { .. })).await;
    let entries = bench.entries();
    let due = entries.iter().find_map(|entry| match &entry.event {
        Event::Decided { reason, .. } => Some(serde_json::to_value(reason).unwrap()),
        _ => None,
    });
    let (code, stdout, _) = ran(bench.command(&["plan", "--json"])).await;
    assert_eq!(code, Some(0));
    let plan = json(&stdout);
    assert_eq!(plan[0]["reason"]["code"], "backoff");
    // Reckoned again from the journal, so to the millisecond that stands there.
    let until = |reason: &Value| reason["until"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let apart = until(&plan[0]["details"]).duration_since(until(&due.unwrap())).abs();
    assert!(apart < jiff::SignedDuration::from_millis(50), "plan and daemon are {apart:?} apart: {plan}");
    assert_eq!(bench.entries(), entries, "plan has recorded something");
    assert!(daemon.runs());
    assert_eq!(bench.puts(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plan_fails_where_the_clusters_cannot_be_listed_or_the_journal_is_damaged() {
    let scenario = format!("{FAILED_ONCE}[[fault]]\non = \"list\"\ntimes = \"always\"\nwhat = \"html\"\n");
    let bench = Bench::new(&scenario, RETRIES).await;
    let (code, stdout, stderr) = ran(bench.command(&["plan"])).await;
    assert_eq!(code, Some(1));
    assert!(stdout.contains("0 clusters polled"), "{stdout}");
    assert!(stderr.contains("cannot be polled") && stderr.contains("check its endpoint"), "{stderr}");

    fs::write(bench.journal(), "garbage ".repeat(1_000)).unwrap();
    let (code, stdout, stderr) = ran(bench.command(&["plan"])).await;
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains(&bench.journal().display().to_string()), "{stderr}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_exits_by_what_it_finds() {
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    let (code, stdout, stderr) = ran(bench.command(&["check"])).await;
    assert_eq!((code, stderr.as_str()), (Some(3), ""), "in enforce nobody is notified");
    assert!(stdout.contains("poll.idle_interval = \"200ms\"  # "), "{stdout}");
    bench.edit("mode = \"enforce\"", "mode = \"dry-run\"");
    let (code, stdout, stderr) = ran(bench.command(&["check"])).await;
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(stdout.ends_with("\nOK: mode dry-run, 1 project, 1 policy, no channels\n"), "{stdout}");

    let never = "[[policy]]\nname = \"never\"\n";
    bench.configure(&bench.simulator.url(), &format!("{RETRIES}{never}"));
    let (code, stdout, _) = ran(bench.command(&["check"])).await;
    assert_eq!(code, Some(3));
    assert!(
        stdout.contains("warning:") && stdout.contains("never applies") && stdout.ends_with('\n'),
        "{stdout}"
    );
    let (code, stdout, _) = ran(bench.command(&["check", "--json"])).await;
    let found = json(&stdout);
    assert_eq!((code, &found["problems"][0]["severity"]), (Some(3), &"warning".into()));
    assert!(found["effective"].is_object(), "{found}");
    assert_eq!(bench.requests().len(), 0, "check asks nobody");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shipped_configuration_can_be_checked() {
    let check = |file: &str| {
        let mut command = program();
        command.arg("check").arg("--config").arg(shipped(file));
        command
    };
    let (code, stdout, _) = ran(check("config.toml")).await;
    assert_eq!(code, Some(3), "{stdout}");
    assert!(stdout.contains("there is no [[project]]"), "{stdout}");

    // With the policy that covers every task, and with directories and credentials as systemd hands them over.
    let folder = TempDir::new().unwrap();
    fs::copy(shipped("minimal.toml"), folder.path().join("config.toml")).unwrap();
    fs::create_dir(folder.path().join("policies.d")).unwrap();
    let policy = "policies.d/99-standard.toml";
    fs::copy(shipped(policy), folder.path().join(policy)).unwrap();
    let credentials = TempDir::new().unwrap();
    let minimal = || {
        let mut command = program();
        command.arg("check").arg("--config").arg(folder.path().join("config.toml"));
        command.env("CREDENTIALS_DIRECTORY", credentials.path());
        command.env("STATE_DIRECTORY", folder.path()).env("RUNTIME_DIRECTORY", folder.path());
        command
    };
    let (code, stdout, _) = ran(minimal()).await;
    assert_eq!(code, Some(78));
    assert!(stdout.contains("access-key") && stdout.contains("secret-key"), "all at once: {stdout}");
    for name in ["access-key", "secret-key"] {
        fs::write(credentials.path().join(name), "CANARY").unwrap();
    }
    let (code, stdout, stderr) = ran(minimal()).await;
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!(!stdout.contains("CANARY"), "{stdout}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_problems_of_a_broken_configuration_are_told_at_once_by_every_command() {
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    let broken = "mode = \"enforced\"\n[poll]\nidle_interval = \"soon\"\nactive_intervall = \"1s\"\n[limits]\nrequests_per_second = -1\n";
    fs::write(bench.config(), broken).unwrap();
    let told = |text: &str| {
        for (position, key) in [
            (":1:", "mode"),
            (":3:", "idle_interval"),
            (":4:", "active_interval"),
            (":6:", "requests_per_second"),
        ] {
            assert!(text.contains(key) && text.contains(&format!("config.toml{position}")), "{key}: {text}");
        }
        assert!(text.ends_with("\n4 errors, 2 warnings\n"), "{text:?}");
    };
    let (code, stdout, stderr) = ran(bench.command(&["check"])).await;
    assert_eq!((code, stderr.as_str()), (Some(78), ""));
    told(&stdout);
    let (code, stdout, _) = ran(bench.command(&["check", "--json"])).await;
    let found = json(&stdout);
    assert_eq!((code, &found["effective"]), (Some(78), &Value::Null));
    assert_eq!(found["problems"].as_array().unwrap().len(), 6, "{found}");
    for arguments in [["run"].as_slice(), &["run", "--once"], &["plan"], &["history"]] {
        let (code, stdout, stderr) = ran(bench.command(arguments)).await;
        assert_eq!((code, stdout.as_str()), (Some(78), ""), "{arguments:?}");
        told(&stderr);
    }
    fs::remove_file(bench.config()).unwrap();
    let (code, _, stderr) = ran(bench.command(&["run"])).await;
    assert_eq!(code, Some(78), "{stderr}");
    assert!(stderr.contains("does not exist"), "{stderr}");
    assert_eq!(bench.requests().len(), 0);
    assert!(!bench.journal().exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_cannot_be_had_is_a_fault_of_the_configuration() {
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    for arguments in [["run"].as_slice(), &["plan"], &["check"]] {
        let mut command = bench.command(arguments);
        command.env_remove("TEST_SECRET_KEY");
        let (code, stdout, stderr) = ran(command).await;
        assert_eq!(code, Some(78), "{arguments:?}: {stdout}{stderr}");
        assert!((stdout + &stderr).contains("TEST_SECRET_KEY"));
    }
    assert_eq!(bench.requests().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_usage_is_told_on_stderr_with_a_code_of_its_own() {
    for arguments in [
        [].as_slice(),
        &["frobnicate"],
        &["run", "--frobnicate"],
        &["plan", "surplus"],
        &["history", "--since", "soon"],
        &["history", "--since", "2099-01-01T00:00:00Z"],
    ] {
        let mut command = program();
        let minimal = shipped("minimal.toml");
        command.args(arguments).env("STATE_DIRECTORY", "/tmp");
        if !arguments.is_empty() {
            command.arg("--config").arg(minimal);
        }
        let (code, stdout, stderr) = ran(command).await;
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{arguments:?}: {stderr}");
        assert!(stderr.contains("Usage") || stderr.contains("error"), "{arguments:?}: {stderr}");
    }
    let mut help = program();
    help.arg("--help");
    let (code, stdout, stderr) = ran(help).await;
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(stdout.contains("Exit codes: 0 done"), "{stdout}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_is_told_while_the_daemon_runs_after_it_was_killed_and_after_it_stopped() {
    let bench = Bench::new(&two_clusters(), RETRIES).await;
    let (code, _, stderr) = ran(bench.command(&["history"])).await;
    assert_eq!(code, Some(1));
    assert!(stderr.contains("there is no journal at"), "{stderr}");
    assert!(!bench.journal().exists(), "history has created one");

    let daemon = bench.daemon();
    bench.ended(&["logs"]).await;
    let told = async |arguments: &[&str]| {
        let (code, stdout, stderr) = ran(bench.command(arguments)).await;
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{arguments:?}");
        stdout
    };
    let journal_tells = async || {
        let (code, stdout, stderr) = ran(bench.command(&["history"])).await;
        assert_eq!(code, Some(0), "{stderr}");
        assert!(
            stderr.contains("no daemon") && stderr.contains("the following comes from the daemon's journal"),
            "{stderr}"
        );
        stdout
    };
    let all = told(&["history"]).await;
    let order = [
        "first seen",
        "failure 1",
        "sending retry request",
        "accepted",
        "running",
        "confirmed",
        "resolved by retry",
    ];
    let mut rest = all.as_str();
    for word in order {
        let at = rest.find(word);
        assert!(at.is_some(), "{word} is missing, or out of order: {all}");
        rest = &rest[at.unwrap()..];
    }
    assert_eq!(told(&["history", "--cluster", "logs"]).await, all);
    let id = bench.entries()[0].subject.cluster.to_string();
    assert_eq!(told(&["history", "--cluster", &id]).await, all);
    assert_eq!(told(&["history", "--since", "1h"]).await, all);
    assert_eq!(told(&["history", "--since", "yesterday"]).await, all);
    assert_eq!(told(&["history", "--since", "2d"]).await, all);
    assert_eq!(told(&["history", "--since", "0s"]).await, "nothing in the journal\n");
    let entries = json(&told(&["history", "--json"]).await);
    let events: Vec<_> = entries.as_array().unwrap().iter().map(|entry| &entry["event"]["event"]).collect();
    assert_eq!((events[0], events[1]), (&"first-seen".into(), &"failed".into()));
    assert_eq!(events.len(), bench.entries().len());
    let (code, _, stderr) = ran(bench.command(&["history", "--cluster", "nobody"])).await;
    assert_eq!(code, Some(1));
    assert!(stderr.contains("knows no cluster \"nobody\""), "{stderr}");

    daemon.kill();
    assert_eq!(journal_tells().await, all);
    let mut again = bench.daemon();
    bench.looks_on(2).await;
    again.signal("TERM");
    assert_eq!(again.code().await, Some(0));
    assert_eq!(journal_tells().await, all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_history_is_told_whole_and_once() {
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    let now = SystemClock::new().now();
    let (journal, _) = SqliteJournal::open(&bench.journal(), &SqliteOptions::new(now.wall, 1)).unwrap();
    let journal = Journal::from(journal);
    let subject = Subject {
        project: ProjectName::new("test").unwrap(),
        cluster: ClusterId::new("c-1").unwrap(),
        task: TaskId::new("t").unwrap(),
    };
    // More than two of the parts in which it is read.
    for _ in 0..41 {
        let lines = (0..100).map(|completed| (subject.clone(), Event::Progress { completed })).collect();
        journal.record(now, lines).await.unwrap();
    }
    journal.close().await.unwrap();
    let told = async || {
        let (code, stdout, stderr) = ran(bench.command(&["history", "--json"])).await;
        assert_eq!(code, Some(0), "{stderr}");
        let entries = json(&stdout);
        let numbers = entries.as_array().unwrap().iter().map(|entry| entry["number"].as_u64().unwrap());
        numbers.take(4100).collect::<Vec<_>>()
    };
    let all: Vec<u64> = (1..=4100).collect();
    assert_eq!(told().await, all, "by the journal");
    let _daemon = bench.daemon();
    bench.ended(&["logs"]).await;
    assert_eq!(told().await, all, "by the daemon");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_several_clusters_bear_is_answered_with_their_ids() {
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    let now = SystemClock::new().now();
    let (journal, _) = SqliteJournal::open(&bench.journal(), &SqliteOptions::new(now.wall, 1)).unwrap();
    let journal = Journal::from(journal);
    for (cluster, name) in [("c-1", "logs"), ("c-2", "logs"), ("c-3", "c-1"), ("c-4", "search")] {
        let subject = Subject {
            project: ProjectName::new("test").unwrap(),
            cluster: ClusterId::new(cluster).unwrap(),
            task: TaskId::new("t").unwrap(),
        };
        let seen = Event::FirstSeen {
            kind: TaskKind::Upgrade,
            cluster_name: name.to_owned(),
            traits: Traits::default(),
            start_time: None,
            execute_times: None,
            completed: None,
            external: 0,
            setup: None,
            nodes: Nodes::default(),
        };
        journal.record(now, vec![(subject, seen)]).await.unwrap();
    }
    let ask = async |cluster: &str| ran(bench.command(&["history", "--cluster", cluster])).await;
    let (code, stdout, stderr) = ask("logs").await;
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert!(stderr.contains("c-1") && stderr.contains("c-2") && !stderr.contains("c-3"), "{stderr}");
    for (cluster, lines) in [("c-2", 1), ("search", 1)] {
        let (code, stdout, _) = ask(cluster).await;
        assert_eq!((code, stdout.lines().count()), (Some(0), lines), "{cluster}: {stdout}");
    }
    journal.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_journal_is_refused_by_its_name_and_left_as_it_is() {
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    let mut daemon = bench.daemon();
    bench.ended(&["logs"]).await;
    daemon.signal("TERM");
    assert_eq!(daemon.code().await, Some(0));
    let mut damaged = fs::read(bench.journal()).unwrap();
    let middle = damaged.len() / 2 / 4096 * 4096;
    damaged[middle..middle + 4096].fill(0xa5);
    fs::write(bench.journal(), damaged).unwrap();
    // The lock holds the pid of whoever took it last, and nothing else.
    let but_the_lock = || {
        let mut content = content(bench.folder.path());
        content.retain(|path, _| path.extension().is_none_or(|extension| extension != "lock"));
        content
    };
    let before = but_the_lock();
    let requests = bench.requests().len();
    for arguments in [["run"].as_slice(), &["run", "--once"]] {
        let (code, _, stderr) = ran(bench.command(arguments)).await;
        assert_eq!(code, Some(1), "{arguments:?}: {stderr}");
        // Beside the warning that there is no channel.
        let lines: Vec<&str> = stderr.lines().filter(|line| !line.contains(" WARN ")).collect();
        assert_eq!(lines.len(), 1, "{stderr}");
        assert!(stderr.contains(&format!("{} is damaged", bench.journal().display())), "{stderr}");
        assert!(but_the_lock() == before, "{arguments:?} has changed something");
    }
    assert_eq!(bench.requests().len(), requests, "a daemon without a journal asks nothing");
}

/// The demo with a directory of its own for temporary files.
fn demo(arguments: &[&str], temporary: &TempDir) -> Command {
    let mut command = program();
    command.arg("demo").args(arguments).env("TMPDIR", temporary.path());
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_tells_its_stories_within_a_minute_and_leaves_nothing_behind() {
    let temporary = TempDir::new().unwrap();
    let mut processes = [&[][..], &["--json"]].map(|arguments| Process::start(demo(arguments, &temporary)));
    for process in &mut processes {
        let status = process.ends_within(Duration::from_mins(1)).await;
        assert_eq!((status.code(), process.code().await), (Some(0), Some(0)));
        assert_eq!(process.stderr(), "");
    }
    let [text, as_json] = processes.map(|process| process.stdout());
    for word in ["second-retry", "resolved by retry", "aborted", "escalated", "each was in the journal first"]
    {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(!text.contains('\u{1b}'), "colours without a terminal: {text}");
    let endings = json(&as_json);
    assert_eq!(endings.as_array().unwrap().len(), 5);
    let document = include_str!("../../docs/json.md").split("\n## `demo`\n").nth(1).unwrap();
    let example = json(document.split("```json\n").nth(1).unwrap().split("\n```").next().unwrap());
    let keys = |value: &Value| value[0].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&endings), keys(&example), "docs/json.md shows another shape");
    assert!(endings.as_array().unwrap().iter().all(|ending| ending["as_it_should"] == true), "{endings}");
    assert_eq!(content(temporary.path()), BTreeMap::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demo_that_is_interrupted_leaves_nothing_behind() {
    let temporary = TempDir::new().unwrap();
    let mut process = Process::start(demo(&[], &temporary));
    eventually("the first story", || process.stdout().contains("failure 1").then_some(())).await;
    process.signal("INT");
    assert_eq!(process.ends_within(Duration::from_secs(5)).await.code(), Some(1));
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_listening_is_no_reason_to_panic() {
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    let mut daemon = bench.daemon();
    bench.ended(&["logs"]).await;
    daemon.signal("TERM");
    assert_eq!(daemon.code().await, Some(0));
    for arguments in
        [["history"].as_slice(), &["history", "--json"], &["plan"], &["check"], &["plan", "--json"]]
    {
        let mut command = bench.command(arguments);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let mut process = Process::of(child);
        // That there is no channel is a warning.
        let expected = if arguments == ["check"] { 3 } else { 0 };
        assert_eq!(process.code().await, Some(expected), "{arguments:?}: {}", process.stderr());
        assert!(!process.stderr().contains("panicked"), "{arguments:?}: {}", process.stderr());
    }
    let mut command = program();
    let mut child = command.arg("frobnicate").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    assert_eq!(Process::of(child).code().await, Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_simulator_serves_a_daemon_of_another_process_until_a_signal() {
    let folder = TempDir::new().unwrap();
    let scenario = folder.path().join("scenario.toml");
    let log = folder.path().join("log.jsonl");
    fs::write(&scenario, FAILED_ONCE).unwrap();
    let mut command = program();
    command
        .args(["simulator", "--listen", "127.0.0.1:0", "--scenario"])
        .arg(&scenario)
        .arg("--log")
        .arg(&log);
    let mut simulator = Process::start(command);
    let url = eventually("its address", || {
        let stdout = simulator.stdout();
        Some(stdout.lines().next()?.rsplit_once(" at ")?.1.to_owned())
    })
    .await;
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    bench.configure(&url, RETRIES);
    let _daemon = bench.daemon();
    assert_eq!(bench.ended(&["logs"]).await["logs"], "resolved");
    assert_eq!(bench.requests().len(), 0, "the other simulator was not asked");
    simulator.signal("TERM");
    assert_eq!(simulator.code().await, Some(0));
    let log = fs::read_to_string(log).unwrap();
    let puts = log.lines().map(json).filter(|entry| entry["operation"] == "retry").count();
    assert_eq!(puts, 1, "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_work_shows_on_a_terminal_how_far_it_is_and_nothing_elsewhere() {
    let slow = "[[fault]]\non = \"tasks\"\ncluster = \"quiet\"\ntimes = \"always\"\nwhat = \"delay\"\ndelay = \"700ms\"\n";
    let bench = Bench::new(&format!("{}\n{slow}", two_clusters()), RETRIES).await;
    for command in [["plan"].as_slice(), &["run", "--once"]] {
        let (code, told) = bench.on_a_terminal(command, "").await;
        assert!(code == 0 && told.contains("clusters polled: 1 of 2 ("), "{command:?}: {told}");
        assert!(told.contains(" left)"), "{command:?}: {told}");
        let (code, _, err) = bench.runs(command).await;
        assert!(code == 0 && !err.contains("polled:"), "{command:?}: {err}");
    }
    let (code, told) = bench.on_a_terminal(&["plan", "--json"], "").await;
    assert!(code == 0 && !told.contains("polled:"), "{told}");
}
