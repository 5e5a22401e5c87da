//! What people order for one cluster, with the real commands on a running daemon: `retry-now`, `abort`, `reset`; and
//! `explain`. Judged by what reached the service.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::process::Command;

use serde_json::Value;
use upgrade_remediator::model::event::Event;
use upgrade_remediator::model::reason::Reason;
use upgrade_remediator::simulator::log::PutKind;

use crate::support::edited::{Edited, waiting};
use crate::support::{ABORTS, Bench, FAILED_ONCE, HALF_DONE, Process, RETRIES, alone, eventually, user};

/// Waits so long that nothing is due by itself.
fn patient(policy: &str) -> String {
    waiting(policy, "1h")
}

/// A running daemon that has seen the failure.
async fn with_failure(scenario: &str, policy: &str) -> (Bench, Process) {
    let bench = Bench::new(scenario, policy).await;
    let daemon = bench.daemon();
    bench.journaled("the failure", |event| matches!(event, Event::Failed(_))).await;
    bench
        .journaled("what was decided", |event| {
            matches!(event, Event::Decided { .. } | Event::Escalated { .. })
        })
        .await;
    (bench, daemon)
}

async fn orders(bench: &Bench, arguments: &[&str]) -> (i32, String) {
    let (code, out, err) = bench.runs(&[arguments, &["--reason", "by a test"]].concat()).await;
    (code, format!("{out}{err}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_by_hand_ends_the_wait_and_is_written_down_with_who_and_why() {
    let (bench, _daemon) = with_failure(FAILED_ONCE, &patient(RETRIES)).await;
    let (code, said) = orders(&bench, &["retry-now", "logs"]).await;
    assert!(code == 0 && said.contains("the CSS API accepted the request (200"), "{said}");
    assert_eq!(bench.puts(), [PutKind::Retry]);
    assert_eq!(bench.ended(&["logs"]).await["logs"], "resolved");
    let user = user(bench.uid());
    bench
        .journaled("who ordered it, and why", |event| {
            matches!(event, Event::Intent { reason: Reason::Manual { by, why, .. }, .. }
                if *by == user && why == "by a test")
        })
        .await;
    let (_, out, _) = bench.runs(&["history", "--cluster", "logs"]).await;
    assert!(out.contains(&format!(": {user} orders the retry: by a test")), "{out}");
    bench.judge();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_by_hand_passes_over_budget_and_escalation() {
    let escalates =
        Edited::of(RETRIES).set("policy.retry.max_retries", 0).set("policy.on_exhausted", "escalate");
    let (bench, _daemon) = with_failure(FAILED_ONCE, &escalates.text()).await;
    bench.journaled("the escalation", |event| matches!(event, Event::Escalated { .. })).await;
    let (code, said) = orders(&bench, &["retry-now", "logs"]).await;
    assert_eq!(code, 0, "{said}");
    eventually("its success", || bench.ends().get("logs").is_some_and(|end| end == "resolved").then_some(()))
        .await;
    assert_eq!(bench.puts(), [PutKind::Retry]);
    bench.judge();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_passes_over_a_hold_dry_run_or_another_task() {
    let (bench, daemon) = with_failure(FAILED_ONCE, &patient(RETRIES)).await;
    for verb in ["retry-now", "abort"] {
        let yes: &[&str] = if verb == "abort" { &["--yes"] } else { &[] };
        let (code, said) = orders(&bench, &[&[verb, "logs", "--task", "another"], yes].concat()).await;
        assert!(code == 1 && said.contains("[not-newest]"), "{said}");
        let (code, said) = orders(&bench, &[&[verb, "nobody"], yes].concat()).await;
        assert!(code == 1 && said.contains("knows no cluster \"nobody\""), "{said}");
        assert_eq!(orders(&bench, &["hold", "all"]).await.0, 0);
        let (code, said) = orders(&bench, &[&[verb, "logs"], yes].concat()).await;
        assert!(code == 1 && said.contains("[on-hold]") && said.contains("by a test"), "{said}");
        let release =
            format!("; to release it: `upgrade-remediator --config {} release", bench.config().display());
        assert!(said.contains(&format!("{release} all`\n")), "{said}");
        assert_eq!(bench.runs(&["release", "all"]).await.0, 0);
    }
    bench.edit("mode = \"enforce\"", "mode = \"dry-run\"");
    daemon.signal("HUP");
    daemon.says("the configuration was reloaded").await;
    for verb in ["retry-now", "abort"] {
        let yes: &[&str] = if verb == "abort" { &["--yes"] } else { &[] };
        let (code, said) = orders(&bench, &[&[verb, "logs"], yes].concat()).await;
        assert!(code == 1 && said.contains("[dry-run]; the mode has to be \"enforce\""), "{said}");
    }
    let (code, _, err) = bench.runs(&["retry-now", "logs", "--reason", " "]).await;
    assert!(code == 1 && err.contains("needs a reason"), "{err}");
    assert_eq!(bench.puts(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_that_refuses_an_order_says_how_to_release_it() {
    let (bench, _daemon) = with_failure(FAILED_ONCE, &patient(RETRIES)).await;
    let (code, said) = orders(&bench, &["hold", "logs"]).await;
    let release = format!("upgrade-remediator --config {} release cluster:logs", bench.config().display());
    assert!(code == 0 && said.contains(&format!("To end it: {release}\n")), "{said}");
    let (code, said) = orders(&bench, &["retry-now", "logs"]).await;
    assert!(code == 1 && said.contains(&format!("[on-hold]; to release it: `{release}`\n")), "{said}");
    let (_, out, _) = bench.runs(&["explain", "logs", "--json"]).await;
    let explained: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(explained["blocked_by"][0]["ended_by"], release, "{out}");
    assert_eq!(bench.runs(&["release", "logs"]).await.0, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_on_a_terminal_shows_what_it_touches_and_waits_for_a_yes() {
    let (bench, _daemon) = with_failure(FAILED_ONCE, &patient(ABORTS)).await;
    let abort = ["abort", "logs", "--reason", "x"];
    let (code, said) = bench.on_a_terminal(&abort, "n\n").await;
    for words in ["of 3 nodes completed; failed at", "Failing step:", "the task ends permanently", "[y/N]"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(code == 1 && said.contains("no request was sent"), "{said}");
    assert_eq!(bench.puts(), []);
    let (code, said) = bench.on_a_terminal(&abort, "y\n").await;
    assert!(code == 0 && said.contains("accepted"), "{said}");
    assert_eq!(bench.puts(), [PutKind::Abort]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_policy_a_human_may_abort_and_not_retry() {
    let (bench, _daemon) = with_failure(FAILED_ONCE, "").await;
    let (code, said) = orders(&bench, &["retry-now", "logs"]).await;
    assert!(code == 1 && said.contains("[no-policy]"), "{said}");
    let (code, said) = orders(&bench, &["abort", "logs"]).await;
    assert!(code == 2 && said.contains("--yes"), "{said}");
    let (code, said) = orders(&bench, &["abort", "logs", "--yes"]).await;
    assert_eq!(code, 0, "{said}");
    assert_eq!(bench.ended(&["logs"]).await["logs"], "aborted");
    assert_eq!(bench.puts(), [PutKind::Abort]);
    // For good: not by hand either.
    let (code, said) = orders(&bench, &["retry-now", "logs"]).await;
    assert!(code == 1 && said.contains("[aborted-by-us]"), "{said}");
    bench.judge();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_by_hand_passes_over_budget_and_grace_and_never_over_a_completed_node() {
    let (bench, _daemon) = with_failure(FAILED_ONCE, &patient(ABORTS)).await;
    let (code, said) = orders(&bench, &["abort", "logs", "--yes"]).await;
    assert_eq!(code, 0, "{said}");
    assert_eq!(bench.ended(&["logs"]).await["logs"], "aborted");

    let (bench, _daemon) = with_failure(HALF_DONE, &patient(RETRIES)).await;
    let (code, said) = orders(&bench, &["abort", "logs", "--yes"]).await;
    assert!(
        code == 1 && said.contains("[not-abortable]") && said.contains("1 of 3 nodes is completed"),
        "{said}"
    );
    assert_eq!(bench.puts(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_is_given_back_is_the_daemons_again_also_after_a_restart() {
    // It fails once more after its only retry.
    let stubborn =
        Edited::of(FAILED_ONCE).set_toml("cluster.task.fail", "[{ node = 1, execution = 2, step = 6 }]");
    let escalates =
        Edited::of(RETRIES).set("policy.retry.max_retries", 1).set("policy.on_exhausted", "escalate");
    let (bench, daemon) = with_failure(&stubborn.text(), &escalates.text()).await;
    bench.journaled("the escalation", |event| matches!(event, Event::Escalated { .. })).await;
    let before = bench.puts().len();
    let (code, said) = orders(&bench, &["reset", "logs"]).await;
    assert!(code == 0 && said.contains("the daemon handles the task again"), "{said}");
    daemon.kill();
    let _daemon = bench.daemon();
    assert_eq!(bench.ended(&["logs"]).await["logs"], "resolved");
    assert_eq!(bench.puts().len(), before + 1);
    let (code, said) = orders(&bench, &["reset", "logs"]).await;
    assert!(code == 1 && (said.contains("[not-failed]") || said.contains("[not-escalated]")), "{said}");
    bench.judge();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_arrives_twice_acts_once_also_after_a_restart() {
    // It fails again and again, so that each further retry could be sent.
    let always = FAILED_ONCE
        .replace("status = \"FAILED\"", "status = \"FAILED\"\nfail = [{ node = 1, times = \"always\" }]");
    let (bench, daemon) = with_failure(&always, &patient(RETRIES)).await;
    let line = r#"{"version":1,"request":{"verb":"retry-now","cluster":"logs","task":null,"reason":"x","command":"c-1"}}"#;
    let say = || {
        let mut stream = UnixStream::connect(bench.socket()).unwrap();
        stream.write_all(format!("{line}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        answer
    };
    let failures = || bench.events().iter().filter(|event| matches!(event, Event::Failed(_))).count();
    let first = say();
    assert!(first.contains("\"done\""), "{first}");
    eventually("the next failure", || (failures() > 1).then_some(())).await;
    assert!(say().contains("already-done"));
    daemon.kill();
    let daemon = bench.daemon();
    daemon.says("started in mode").await;
    eventually("the socket of the next daemon", || UnixStream::connect(bench.socket()).ok()).await;
    let answer =
        eventually("that the cluster is listed", || Some(say()).filter(|it| !it.contains("no list"))).await;
    assert!(answer.contains("already-done"), "{answer}");
    assert_eq!(bench.puts(), [PutKind::Retry]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_use_the_socket_orders_nothing_and_a_member_of_its_group_does() {
    let (bench, _daemon) = with_failure(FAILED_ONCE, &patient(RETRIES)).await;
    if bench.uid() != 0 {
        // Nobody but root can become somebody else.
        return;
    }
    // The configuration may be read by others: it holds no secret. The journal may not.
    for (mode, path) in [("755", bench.folder.path().to_owned()), ("600", bench.journal())] {
        assert!(Command::new("chmod").arg(mode).arg(path).status().unwrap().success());
    }
    let as_somebody_else = async |group: &str, arguments: &[&str]| {
        let mut command = alone("setpriv");
        command.args(["--reuid=65534", &format!("--regid={group}"), "--clear-groups"]);
        command.arg(env!("CARGO_BIN_EXE_upgrade-remediator"));
        let mut process = Process::start(bench.with_configuration(command, arguments));
        (process.code().await.unwrap(), format!("{}{}", process.stdout(), process.stderr()))
    };
    let nobody = user(65534);
    // Each verb, and what it says to who may use it, in this order.
    let verbs: [(&[&str], i32, &str); 10] = [
        (&["status"], 0, "logs"),
        (&["explain", "logs"], 0, "retry 1 of 3"),
        (&["history"], 0, "failure 1: FAILED"),
        (&["hold", "cluster:logs", "--reason", "an audit"], 0, &format!("by {nobody}")),
        (&["holds"], 0, "an audit"),
        (&["release", "cluster:logs"], 0, "released"),
        (&["reset", "logs", "--reason", "an audit"], 1, "[not-escalated]"),
        (&["abort", "logs", "--yes", "--reason", "an audit"], 0, "accepted"),
        (&["retry-now", "logs", "--reason", "an audit"], 1, "[aborted-by-us]"),
        (&["history", "--cluster", "logs"], 0, &format!("{nobody} orders the abort: an audit")),
    ];
    let before = bench.entries();
    for (arguments, ..) in verbs {
        let (code, said) = as_somebody_else("65534", arguments).await;
        assert!(code == 1 && said.contains("its owner and its group may"), "{arguments:?}: {code}: {said}");
    }
    assert_eq!(bench.puts(), []);
    assert_eq!(bench.entries(), before, "a refused command leaves no trace in the journal");

    assert!(Command::new("chgrp").arg("65533").arg(bench.socket()).status().unwrap().success());
    for (arguments, expected, words) in verbs {
        let (code, said) = as_somebody_else("65533", arguments).await;
        assert!(code == expected && said.contains(words), "{arguments:?}: {code}: {said}");
    }
    assert_eq!(bench.puts(), [PutKind::Abort]);

    // The lock of the journal is the daemon's alone: who cannot ask it does not say that nothing is sent.
    let socket = bench.socket().display().to_string();
    bench.edit(&socket, &format!("{socket}.elsewhere"));
    for arguments in [["hold", "all", "--reason", "an audit"].as_slice(), &["release", "all"]] {
        let (code, said) = as_somebody_else("65533", arguments).await;
        assert!(
            code == 1 && said.contains("cannot be determined") && said.contains("journal.db.lock"),
            "{said}"
        );
        assert!(!said.contains("no request is sent") && !said.contains("Start the daemon first"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_explained_by_the_daemon_and_by_the_journal_while_it_is_down() {
    let (bench, daemon) = with_failure(FAILED_ONCE, &patient(RETRIES)).await;
    let (code, out, err) = bench.runs(&["explain", "logs", "--json"]).await;
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let explained: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(explained["reason"]["code"], "backoff", "{out}");
    assert_eq!(explained["task"]["status"], "FAILED");
    assert_eq!((&explained["lifecycle"]["used"], &explained["lifecycle"]["allowed"]), (&0.into(), &3.into()));
    assert_eq!(
        (&explained["policies"][0]["policy"], &explained["policies"][0]["governs"]),
        (&"test".into(), &true.into())
    );
    let schedule: Vec<&str> =
        explained["schedule"].as_array().unwrap().iter().map(|step| step["what"].as_str().unwrap()).collect();
    assert_eq!(schedule[0], "retry 1 of 3");
    assert!(explained["schedule"][0]["at"].is_string(), "{out}");
    assert_eq!(schedule[1], "retry 2 of 3, 1h after the next failure");
    let preconditions = explained["preconditions"].as_array().unwrap();
    assert!(preconditions.iter().all(|precondition| precondition["passes"] == true), "{out}");

    assert_eq!(orders(&bench, &["hold", "cluster:logs"]).await.0, 0);
    let (_, out, _) = bench.runs(&["explain", "logs"]).await;
    let held = out.lines().find(|line| line.trim_start().starts_with("hold")).unwrap();
    assert!(held.contains("NO") && held.contains("hold #1"), "{out}");
    assert!(out.lines().all(|line| line.chars().count() <= 80 || !line.contains("  ")), "{out}");
    assert!(out.contains("NOW") && out.contains("NEXT"), "{out}");

    drop(daemon);
    let (code, out, err) = bench.runs(&["explain", "logs", "--json"]).await;
    assert!(code == 0 && err.contains("the following comes from the daemon's journal"), "{err}");
    let explained: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&explained["reason"]["code"], &explained["task"]),
        (&"backoff".into(), &Value::Null),
        "{out}"
    );
    let (code, out, err) = bench.runs(&["status"]).await;
    assert!(code == 0 && err.contains("the following comes from the daemon's journal"), "{err}");
    assert!(out.contains("hold #1") && out.contains("logs") && out.contains("backoff"), "{out}");
    let whole = out.lines().any(|line| line.contains("(ended by: systemctl start upgrade-remediator)"));
    assert!(whole, "where no terminal shows the table, a sentence is one line: {out}");
    let (code, _, err) = bench.runs(&["explain", "nobody"]).await;
    assert!(code == 1 && err.contains("knows no cluster \"nobody\"") && !err.contains("mean"), "{err}");
    let (code, _, err) = bench.runs(&["explain", "lgos"]).await;
    assert!(code == 1 && err.contains("did you mean \"logs\"?"), "{err}");
}
