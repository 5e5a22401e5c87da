//! The daemon as its supervisor and its operator see it: signals, exit codes, a second one beside it, a journal
//! that cannot be written, a key that is refused, and what it must never print.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use upgrade_remediator::clock::{Clock as _, SystemClock};
use upgrade_remediator::model::answer::Meaning;
use upgrade_remediator::model::event::Event;
use upgrade_remediator::simulator::log::{Operation, PutKind};

use crate::support::edited::{Edited, waiting};
use crate::support::proxy::{Proxy, Rule};
use crate::support::{ABORTS, Bench, FAILED_ONCE, Process, RETRIES, WriteLock, eventually, let_pass};

/// A stop takes no longer where no PUT is under way.
const STOP: Duration = Duration::from_secs(5);
/// Longer than any test.
const LATE: (&str, &str) = ("UPGRADE_REMEDIATOR__POLL__REQUEST_TIMEOUT", "50s");
const LATER: (&str, &str) = ("UPGRADE_REMEDIATOR__POLL__SETTLE_TIMEOUT", "60s");

/// Nothing to do, but to look.
const QUIET: &str = "[[cluster]]\nname = \"logs\"\n";

fn fault(scenario: &str, fault: &str) -> String {
    format!("{scenario}\n[[fault]]\n{fault}\n")
}

/// A daemon that waits for answers as long as it takes.
fn patient(bench: &Bench) -> Process {
    let mut command = bench.command(&["run"]);
    command.envs([LATE, LATER]);
    Process::start(command)
}

/// The last answer in the journal.
fn answer(bench: &Bench) -> Option<Meaning> {
    let answered = |event| match event {
        Event::Answered { answer, .. } => Some(answer.meaning),
        _ => None,
    };
    bench.events().into_iter().filter_map(answered).next_back()
}

async fn first_request(bench: &Bench, operation: Operation) {
    let came = || bench.requests().iter().any(|request| request.operation == operation).then_some(());
    eventually("the request", came).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_daemon_stops_in_order_at_either_signal_and_not_at_sighup() {
    for signal in ["TERM", "INT"] {
        let bench = Bench::new(QUIET, RETRIES).await;
        let mut daemon = bench.daemon();
        bench.looks_on(2).await;
        daemon.signal("HUP");
        daemon.says("the configuration was reloaded").await;
        bench.looks_on(2).await;
        assert!(daemon.runs());
        daemon.signal(signal);
        assert_eq!(daemon.ends_within(STOP).await.code(), Some(0));
        daemon.says("stopped").await;
        let left: Vec<_> =
            fs::read_dir(bench.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(!left.iter().any(|name| name.to_string_lossy().ends_with("-wal")), "{left:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_does_not_wait_for_readings_that_hang() {
    for (on, operation) in [("list", Operation::List), ("tasks", Operation::Tasks)] {
        let hang = fault(
            FAILED_ONCE,
            &format!("on = \"{on}\"\ntimes = \"always\"\nwhat = \"delay\"\ndelay = \"1h\""),
        );
        let bench = Bench::new(&hang, RETRIES).await;
        let mut daemon = patient(&bench);
        first_request(&bench, operation).await;
        daemon.signal("TERM");
        assert_eq!(daemon.ends_within(STOP).await.code(), Some(0), "{on}");
    }
}

/// The first line of a log that is no warning of the configuration.
fn after_the_configuration(log: &str) -> &str {
    log.lines().find(|line| !line.contains("config.toml:")).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_names_once_the_requests_without_a_confirmed_outcome() {
    let slow = fault(FAILED_ONCE, "on = \"retry\"\nwhat = \"delay\"\ndelay = \"20s\"");
    let bench = Bench::new(&slow, RETRIES).await;
    let daemon = patient(&bench);
    first_request(&bench, Operation::Retry).await;
    let sending = daemon.stderr();
    assert!(!sending.contains("without a confirmed outcome"), "{sending}");
    daemon.kill();
    let (_, number) = sending.split_once("sending retry request #").unwrap();
    let number = number.split(':').next().unwrap();
    let daemon = patient(&bench);
    daemon
        .says(&format!(
            "WARN project test: 1 request without a confirmed outcome: #{number} (logs, retry); the next polls confirm it, \
             and no other request is sent for its task until then"
        ))
        .await;
    daemon.says("1 cluster watched").await;
    let log = daemon.stderr();
    assert_eq!(log.matches("without a confirmed outcome").count(), 1, "{log}");
    assert!(after_the_configuration(&log).contains("started in mode"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_waits_for_the_answer_to_a_put_and_journals_it() {
    let slow = fault(FAILED_ONCE, "on = \"retry\"\nwhat = \"delay\"\ndelay = \"2s\"");
    let bench = Bench::new(&slow, RETRIES).await;
    let mut daemon = patient(&bench);
    first_request(&bench, Operation::Retry).await;
    daemon.signal("TERM");
    assert_eq!(answer(&bench), None);
    assert_eq!(daemon.code().await, Some(0));
    assert_eq!(answer(&bench), Some(Meaning::Accepted));
    assert_eq!(bench.puts(), [PutKind::Retry]);
    bench.judge();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_cuts_and_the_put_is_settled_after_the_next_start() {
    let slow = fault(FAILED_ONCE, "on = \"retry\"\nwhat = \"delay\"\ndelay = \"40s\"");
    let bench = Bench::new(&slow, RETRIES).await;
    let mut daemon = patient(&bench);
    first_request(&bench, Operation::Retry).await;
    daemon.signal("TERM");
    daemon.says("stopping").await;
    let_pass(Duration::from_millis(300)).await;
    assert!(daemon.runs(), "it waits for the answer");
    daemon.signal("TERM");
    assert_eq!(daemon.ends_within(Duration::from_secs(2)).await.code(), Some(1));
    assert_eq!(answer(&bench), None);

    let _again = bench.daemon();
    assert_eq!(bench.ended(&["logs"]).await["logs"], "resolved");
    assert_eq!(bench.puts(), [PutKind::Retry]);
    bench.judge();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_does_not_wait_for_whoever_has_the_journal_locked() {
    let fleet = Edited::of(FAILED_ONCE).set("cluster.count", 8);
    let waits =
        |bench: &Bench| bench.events().iter().filter(|event| matches!(event, Event::Decided { .. })).count();
    for waiting in [8, 0] {
        // A slow machine may not have the journal locked before the time is over; it gets more then.
        let mut times = ["1500ms", "3s", "6s", "12s", "24s"].into_iter();
        loop {
            let time = times.next().expect("the journal is locked within 24 s");
            let (scenario, policy) = match waiting {
                0 => {
                    let fails =
                        format!("[{{ kind = \"upgrade\", start = \"{time}\", status = \"FAILED\" }}]");
                    (fleet.clone().set_toml("cluster.task", &fails), RETRIES.to_owned())
                }
                _ => (fleet.clone(), self::waiting(RETRIES, time)),
            };
            let bench = Bench::new(&scenario.text(), &policy).await;
            let mut daemon = bench.daemon();
            daemon.says("8 clusters watched").await;
            eventually("all waits", || (waits(&bench) >= waiting).then_some(())).await;
            let lock = WriteLock::take(&bench);
            let acts = bench.events().iter().any(|event| matches!(event, Event::Intent { .. }));
            if acts || waits(&bench) != waiting {
                continue;
            }
            // By then every cluster has something to journal: an intent, or a failure.
            daemon.says("no request is sent while the journal cannot be written").await;
            daemon.signal("TERM");
            assert_eq!(daemon.ends_within(STOP).await.code(), Some(0));
            lock.release();
            assert_eq!(bench.puts(), []);
            bench.judge();
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_on_the_same_journal_is_refused_and_told_who_holds_it() {
    let bench = Bench::new(QUIET, RETRIES).await;
    let mut daemon = bench.daemon();
    bench.looks_on(2).await;
    for arguments in [["run"].as_slice(), &["run", "--once"]] {
        let mut second = Process::start(bench.command(arguments));
        assert_eq!(second.code().await, Some(1));
        let told = second.stderr();
        assert!(told.contains(&format!("pid {}", daemon.pid())), "{told}");
        assert!(told.contains(&bench.journal().display().to_string()), "{told}");
    }
    assert!(daemon.runs());
}

/// Of a command or a second daemon: a control socket of its own.
fn at_another_socket(bench: &Bench, arguments: &[&str]) -> Process {
    let mut command = bench.command(arguments);
    command.env("UPGRADE_REMEDIATOR__CONTROL__SOCKET", bench.folder.path().join("other.sock"));
    Process::start(command)
}

/// 'A stale lock': whoever held it runs on.
fn remove_lock(bench: &Bench) {
    fs::remove_file(bench.folder.path().join("journal.db.lock")).unwrap();
}

/// Everything that the policy waits for takes some seconds, so that a second daemon is there before.
fn slowly(policy: &str) -> String {
    waiting(policy, "3s")
}

/// Waits until the first one has told why it sends nothing.
async fn is_shut_out(first: &mut Process) {
    first.says("was removed or replaced while in use, and a second daemon may hold the new one").await;
    first.says("stop every daemon of this journal, start one, and never remove its lock file").await;
    assert!(first.runs());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_daemons_on_one_journal_whose_lock_was_removed_the_later_one_alone_sends() {
    for (policy, sent, end) in [(RETRIES, PutKind::Retry, "resolved"), (ABORTS, PutKind::Abort, "aborted")] {
        let bench = Bench::new(FAILED_ONCE, &slowly(policy)).await;
        let mut first = bench.daemon();
        bench.journaled("the failure", |event| matches!(event, Event::Failed(_))).await;
        first.says("started in mode").await;
        remove_lock(&bench);
        let mut second = at_another_socket(&bench, &["run"]);
        second.says("started in mode").await;
        is_shut_out(&mut first).await;
        assert_eq!(bench.ended(&["logs"]).await["logs"], end);
        bench.looks_on(20).await;
        assert_eq!(bench.puts(), [sent], "one for the failure, whoever sent it");
        assert!(second.runs() && !second.stderr().contains("removed or replaced"));
        bench.judge();
        // Stopped as it was told, and one started: all is as before.
        for daemon in [&mut first, &mut second] {
            daemon.signal("TERM");
            daemon.ends_within(STOP).await;
        }
        let again = bench.daemon();
        again.says("started in mode").await;
        bench.looks_on(10).await;
        assert_eq!(bench.puts(), [sent]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_under_way_while_a_second_daemon_takes_the_journal_is_the_only_one() {
    let slow = fault(FAILED_ONCE, "on = \"retry\"\nwhat = \"delay\"\ndelay = \"4s\"");
    let bench = Bench::new(&slow, RETRIES).await;
    let mut first = patient(&bench);
    first_request(&bench, Operation::Retry).await;
    remove_lock(&bench);
    let _second = at_another_socket(&bench, &["run"]);
    assert_eq!(bench.ended(&["logs"]).await["logs"], "resolved");
    // The answer that it waited for is not journaled by it any more.
    is_shut_out(&mut first).await;
    bench.looks_on(20).await;
    assert_eq!(bench.puts(), [PutKind::Retry]);
    bench.judge();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_at_the_second_daemon_holds_and_the_first_takes_none() {
    let bench = Bench::new(FAILED_ONCE, &slowly(RETRIES)).await;
    let mut first = bench.daemon();
    bench.journaled("the failure", |event| matches!(event, Event::Failed(_))).await;
    first.says("started in mode").await;
    remove_lock(&bench);
    let second = at_another_socket(&bench, &["run"]);
    second.says("started in mode").await;
    let hold = ["hold", "all", "--reason", "x"];
    let (code, out, err) = bench.runs(&hold).await;
    assert!(code == 1 && out.is_empty() && err.contains("removed or replaced while in use"), "{out}{err}");
    let mut placed = at_another_socket(&bench, &hold);
    assert_eq!(placed.code().await, Some(0), "{}", placed.stderr());
    second.says(": hold #1 on").await;
    is_shut_out(&mut first).await;
    bench.looks_on(20).await;
    assert!(
        bench.puts().is_empty(),
        "the first one does not know of the hold, and sends nothing all the same"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_lock_and_socket_two_daemons_with_the_same_configuration_send_once_at_most() {
    let bench = Bench::new(FAILED_ONCE, &slowly(RETRIES)).await;
    let mut first = bench.daemon();
    bench.journaled("the failure", |event| matches!(event, Event::Failed(_))).await;
    first.says("started in mode").await;
    remove_lock(&bench);
    fs::remove_file(bench.socket()).unwrap();
    // Which of them gets the socket is a race: without it the second one does not start.
    let mut second = bench.daemon();
    is_shut_out(&mut first).await;
    let over = || (bench.ends().contains_key("logs") || second.ended().is_some()).then_some(());
    eventually("the end of the story, or of the second daemon", over).await;
    bench.looks_on(20).await;
    assert!(bench.puts().len() <= 1, "{:?}", bench.puts());
    bench.judge();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_look_acts_on_what_is_due_alone_and_the_waits_live_in_the_journal() {
    let policy = waiting(RETRIES, "1500ms");
    let bench = Bench::new(FAILED_ONCE, &policy).await;
    let once = async || {
        let mut once = Process::start(bench.command(&["run", "--once"]));
        assert_eq!(once.code().await, Some(0));
    };
    let clock = SystemClock::new();
    once().await;
    let first = clock.now();
    assert!(bench.readings() >= 2);
    assert_eq!(bench.puts(), [], "a failure that was first seen waits for its backoff");
    once().await;
    if clock.now().since(first) < Duration::from_secs(1) {
        assert_eq!(bench.puts(), [], "a second poll does not shorten it");
    }
    let_pass(Duration::from_millis(1_600).saturating_sub(clock.now().since(first))).await;
    once().await;
    assert_eq!(bench.puts(), [PutKind::Retry]);
    assert_eq!(answer(&bench), Some(Meaning::Accepted));
    eventually("the end", || {
        let state =
            bench.simulator.inspect(|world| world.state()["clusters"][0]["tasks"][0]["status"].clone());
        (state == "SUCCESS").then_some(())
    })
    .await;
    once().await;
    let_pass(Duration::from_millis(150)).await;
    once().await;
    assert_eq!(bench.ends()["logs"], "resolved");
    assert_eq!(bench.puts(), [PutKind::Retry]);
    bench.judge();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_look_that_cannot_list_the_clusters_fails() {
    let bench =
        Bench::new(&fault(QUIET, "on = \"list\"\ntimes = \"always\"\nwhat = \"forbidden\""), RETRIES).await;
    let mut once = Process::start(bench.command(&["run", "--once"]));
    assert_eq!(once.code().await, Some(1));
    assert!(once.stderr().contains("ERROR"), "{}", once.stderr());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn warnings_about_the_configuration_are_logged_in_one_line_each() {
    let bench = Bench::new(QUIET, &format!("{RETRIES}[[policy]]\nname = \"never\"\n")).await;
    let mut once = Process::start(bench.command(&["run", "--once"]));
    assert_eq!(once.code().await, Some(0));
    let log = once.stderr();
    let line = log.lines().find(|line| line.contains("the policy never applies")).unwrap();
    let place = format!(" WARN {}:", bench.config().display());
    assert!(line.contains(&place) && line.contains("policy.never"), "{log}");
}

/// Starts the daemon so that [`journal_writable`] can make its disk full: no file of it can then grow.
fn daemon_with_a_disk(bench: &Bench) -> Process {
    let command = bench.command(&["run"]);
    let mut shell = Command::new("sh");
    shell
        .arg("-c")
        .arg("trap '' XFSZ; exec \"$0\" \"$@\"")
        .arg(command.get_program())
        .args(command.get_args());
    shell.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.envs([LATE, LATER]);
    Process::start(shell)
}

/// Sets how long the files of a process may grow: a disk without space, as far as the process can tell.
fn journal_writable(daemon: &Process, writable: bool) {
    let limit = if writable { "unlimited" } else { "1" };
    let pid = daemon.pid().to_string();
    let fsize = format!("--fsize={limit}:unlimited");
    assert!(Command::new("prlimit").args(["--pid", &pid, &fsize]).status().unwrap().success());
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_journal_cannot_be_written_nothing_is_sent_and_it_recovers_by_itself() {
    let bench = Bench::new(FAILED_ONCE, &waiting(RETRIES, "1s")).await;
    let daemon = daemon_with_a_disk(&bench);
    bench.journaled("the failure", |event| matches!(event, Event::Failed(_))).await;
    journal_writable(&daemon, false);
    daemon.says("no request is sent while the journal cannot be written").await;
    bench.looks_on(20).await;
    assert_eq!(bench.puts(), []);
    let told = daemon.stderr().matches("no request is sent while the journal").count();
    assert_eq!(told, 1, "it is told once");
    journal_writable(&daemon, true);
    assert_eq!(bench.ended(&["logs"]).await["logs"], "resolved");
    daemon.says("journal is written again").await;
    assert_eq!(bench.puts(), [PutKind::Retry]);
    bench.judge();
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_could_not_be_journaled_are_journaled_later_once_each() {
    let fleet = Edited::of(FAILED_ONCE).set("cluster.count", 4).text();
    let bench = Bench::new(&fleet, RETRIES).await;
    let proxy = Proxy::start(bench.simulator.address(), Rule::HoldPut).await;
    bench.configure(&proxy.url(), RETRIES);
    let daemon = daemon_with_a_disk(&bench);
    let intents = || bench.events().iter().filter(|event| matches!(event, Event::Intent { .. })).count();
    eventually("all intents", || (intents() == 4).then_some(())).await;
    journal_writable(&daemon, false);
    proxy.rule(Rule::Pass);
    proxy.has_delivered().await;
    daemon.says("no request is sent while the journal cannot be written").await;
    bench.looks_on(40).await;
    assert_eq!(answer(&bench), None);
    journal_writable(&daemon, true);
    let ends = bench.ended(&["logs-1", "logs-2", "logs-3", "logs-4"]).await;
    assert!(ends.values().all(|end| end == "resolved"), "{ends:?}");
    let answers = bench.events().into_iter().filter(|event| matches!(event, Event::Answered { .. })).count();
    assert_eq!((intents(), answers, bench.puts().len()), (4, 4, 4));
    bench.judge();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_secret_key_is_sent_a_few_times_at_most() {
    let scenario = format!("{FAILED_ONCE}\n[[cluster]]\nname = \"fleet\"\ncount = 20\n");
    let bench = Bench::new(&scenario, RETRIES).await;
    let mut command = bench.command(&["run"]);
    command.env("TEST_SECRET_KEY", "wrong").env("UPGRADE_REMEDIATOR__POLL__DISCOVERY_INTERVAL", "50ms");
    let mut daemon = Process::start(command);
    daemon.says("cannot be polled").await;
    // A hundred lists and more would come now.
    let_pass(Duration::from_secs(6)).await;
    let requests = bench.requests();
    assert!((1..=5).contains(&requests.len()), "{} requests", requests.len());
    assert!(requests.iter().all(|request| !request.signature.passes()));
    let log = daemon.stderr();
    let errors: Vec<_> = log.lines().filter(|line| line.contains("ERROR")).collect();
    assert_eq!(errors.len(), 1, "it is told once: {log}");
    assert!(errors[0].contains("check the keys of its credentials"), "what to do is not told: {log}");
    assert!(daemon.runs());
    daemon.signal("TERM");
    assert_eq!(daemon.ends_within(STOP).await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_never_appear_whatever_is_logged() {
    let canaries =
        ["AKCANARY0123456789AB", "SKcanary0123456789abcdefghijklmnopqrst", "STcanary/token+0123456789=="];
    let [access, secret, token] = canaries;
    let scenario = format!(
        r#"
{FAILED_ONCE}
[[key]]
access_key = "{access}"
secret_key = "{secret}"
security_token = "{token}"
[[cluster]]
name = "telltale"
[[cluster.task]]
kind = "upgrade"
start = "-10m"
end = "-1m"
status = "FAILED"
[[fault]]
on = "tasks"
cluster = "telltale"
nth = 3
times = 3
what = "status"
status = 500
code = "CSS.{secret}"
message = "not you again, {access} {secret} {token}"
[[fault]]
on = "retry"
cluster = "telltale"
what = "status"
status = 400
code = "CSS.9999"
message = "no {access} {secret} {token}"
"#
    );
    let bench = Bench::new(&scenario, RETRIES).await;
    let configuration = fs::read_to_string(bench.config()).unwrap();
    let configuration =
        configuration.replace("secret_key =", "security_token = { env = \"TEST_TOKEN\" }\nsecret_key =");
    fs::write(bench.config(), configuration).unwrap();
    let keys = [("TEST_ACCESS_KEY", access), ("TEST_SECRET_KEY", secret), ("TEST_TOKEN", token)];
    let mut printed = String::new();
    let mut command = bench.command(&["run"]);
    command.envs(keys).env("UPGRADE_REMEDIATOR__LOG__FILTER", "trace");
    let mut daemon = Process::start(command);
    assert_eq!(bench.ended(&["logs"]).await["logs"], "resolved");
    assert_eq!(bench.ended(&["telltale"]).await["telltale"], "not-acceptable");
    daemon.signal("TERM");
    assert_eq!(daemon.code().await, Some(0));
    assert!(daemon.stderr().contains("TRACE"), "the log is not as loud as it was asked to be");
    assert!(daemon.stderr().contains("(masked)"), "the service repeated the keys, and that was told");
    printed += &(daemon.stdout() + &daemon.stderr());
    for arguments in
        [["check"].as_slice(), &["check", "--json"], &["history"], &["history", "--json"], &["plan"]]
    {
        let mut command = bench.command(arguments);
        command.envs(keys).env("UPGRADE_REMEDIATOR__LOG__FILTER", "trace");
        let mut process = Process::start(command);
        process.code().await;
        printed += &(process.stdout() + &process.stderr());
    }
    for file in fs::read_dir(bench.folder.path()).unwrap() {
        printed += &String::from_utf8_lossy(&fs::read(file.unwrap().path()).unwrap());
    }
    for forbidden in canaries.iter().chain(&["SDK-HMAC-SHA256", "Signature="]) {
        let at = printed.find(forbidden);
        let around = at.map(|at| &printed[printed.floor_char_boundary(at.saturating_sub(300))..at]);
        assert_eq!(around, None, "{forbidden} came to light");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_whose_log_nobody_reads_works_on() {
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    let mut command = bench.command(&["run"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    let mut daemon = Process::of(child);
    assert_eq!(bench.ended(&["logs"]).await["logs"], "resolved");
    daemon.signal("TERM");
    assert_eq!(daemon.ends_within(STOP).await.code(), Some(0));
    bench.judge();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_the_journal_knows_is_read_at_once_and_acted_on_when_a_list_shows_it() {
    // From the second list on thirty in a row fail.
    let tagged = Edited::of(FAILED_ONCE).set_toml("cluster.tags", "{ upgrade = \"auto\" }");
    let lists = fault(&tagged.text(), "on = \"list\"\nnth = 2\ntimes = 30\nwhat = \"status\"\nstatus = 500");
    let policy = Edited::of(RETRIES).set_toml("policy.match", "{ tags = { upgrade = \"auto\" } }").text();
    let bench = Bench::new(&lists, &waiting(&policy, "900ms")).await;
    let daemon = bench.daemon();
    bench.journaled("the failure", |event| matches!(event, Event::Failed(_))).await;
    daemon.kill();
    assert_eq!(bench.puts(), []);
    let tagged = |event: &Event| matches!(event, Event::FirstSeen { traits, .. } if traits.tags.get("upgrade") == Some("auto"));
    assert!(bench.events().iter().any(tagged), "{:?}", bench.events());

    let before = bench.requests().len();
    let _daemon = bench.daemon();
    eventually("the retry", || (!bench.puts().is_empty()).then_some(())).await;
    let requests = bench.requests();
    let since = &requests[before..];
    let place = |is_it: &dyn Fn(&&upgrade_remediator::simulator::log::RequestRecord) -> bool| {
        since.iter().position(|request| is_it(&request)).unwrap()
    };
    let listed = place(&|it| it.operation == Operation::List && it.fault.is_none());
    let put = place(&|it| it.operation == Operation::Retry);
    let polls = since[..listed].iter().filter(|it| it.operation == Operation::Tasks).count();
    assert!(polls >= 4, "it was read before a list showed it: {polls}");
    assert!(put > listed, "and acted on after that");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_start_warns_of_nothing_and_a_restart_names_once_what_still_needs_an_operator() {
    let escalates =
        Edited::of(RETRIES).set("policy.retry.max_retries", 0).set("policy.on_exhausted", "escalate");
    let bench = Bench::new(FAILED_ONCE, &escalates.text()).await;
    let daemon = bench.daemon();
    daemon.says("INFO created a new journal (first start)").await;
    daemon.says("This is normal, and nothing has to be done").await;
    daemon.says("1 cluster watched").await;
    let log = daemon.stderr();
    assert!(after_the_configuration(&log).contains("started in mode"), "{log}");
    bench.journaled("the escalation", |event| matches!(event, Event::Escalated { .. })).await;
    let told = "project test: 1 task still needs an operator: logs [retries-exhausted]; to see each: `";
    assert!(
        !daemon.stderr().contains("still needs an operator") && !daemon.stderr().contains("WARN created")
    );
    daemon.kill();
    let daemon = bench.daemon();
    daemon.says(told).await;
    bench.looks_on(6).await;
    assert_eq!(daemon.stderr().matches("still needs an operator").count(), 1, "{}", daemon.stderr());
    assert!(!daemon.stderr().contains("created"), "{}", daemon.stderr());
}
