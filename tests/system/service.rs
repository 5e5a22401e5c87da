//! The service as an operator has it: the package, installed by apt on a Debian 12 that was really booted, run by systemd
//! in its sandbox against the simulator.
//!
//! The first run makes the root of that machine by debootstrap and installs cargo-deb, into `target/tmp`: about two
//! minutes, for which package archives must be reachable. After that a test takes a few seconds. It needs root, who
//! installs the tools that are missing (`debootstrap`, `systemd-container`), and the right to make containers. Elsewhere
//! these tests say why they are skipped; `.ci/run` takes no excuse.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use serde_json::Value;
use upgrade_remediator::simulator::log::PutKind;
use upgrade_remediator::simulator::scenario::{DEFAULT_ACCESS_KEY, DEFAULT_SECRET_KEY};

mod machine;

use crate::support::edited::waiting;
use crate::support::{Bench, FAILED_ONCE, RETRIES, eventually, let_pass};
use machine::{Machine, is_possible};

const UNIT: &str = "upgrade-remediator.service";
const BINARY: &str = "upgrade-remediator";
const CONFIG: &str = "/etc/upgrade-remediator/config.toml";
const JOURNAL: &str = "/var/lib/upgrade-remediator/journal.db";

/// The configuration of the bench as it is on a machine: journal and socket where the unit has them, and the key as a
/// credential.
fn configuration(bench: &Bench, policy: &str) -> String {
    bench.configure(&bench.simulator.url(), policy);
    let text = std::fs::read_to_string(bench.config()).unwrap();
    let elsewhere = |line: &&str| !line.starts_with("url = ") && !line.starts_with("socket = ");
    let text: Vec<&str> = text.lines().filter(elsewhere).collect();
    text.join("\n")
        .replace("{ env = \"TEST_ACCESS_KEY\" }", "{ credential = \"access-key\" }")
        .replace("{ env = \"TEST_SECRET_KEY\" }", "{ credential = \"secret-key\" }")
}

/// A machine with the package, the configuration of the bench and its key. The service is not started yet.
async fn machine(bench: &Bench, policy: &str) -> Machine {
    let machine = Machine::with_the_package().await;
    machine.write(CONFIG, configuration(bench, policy));
    machine.write("/etc/credstore/upgrade-remediator.access-key", DEFAULT_ACCESS_KEY);
    machine.write("/etc/credstore/upgrade-remediator.secret-key", DEFAULT_SECRET_KEY);
    machine.runs(&["chmod", "-R", "go=", "/etc/credstore"]);
    machine
}

/// Lines of a drop-in for the service.
fn drop_in(machine: &Machine, lines: &str) {
    machine.write(&format!("/etc/systemd/system/{UNIT}.d/test.conf"), format!("[Service]\n{lines}\n"));
    machine.runs(&["systemctl", "daemon-reload"]);
}

/// The words of what stands in the journal of the daemon.
fn history(machine: &Machine) -> Vec<String> {
    // While the daemon is down, a note on stderr says so.
    let (_, text) = machine.tries(&["sh", "-c", &format!("{BINARY} history --json 2>/dev/null")]);
    let entries: Vec<Value> = serde_json::from_str(&text).unwrap_or_default();
    entries.iter().map(Value::to_string).collect()
}

async fn stands_in_history(machine: &Machine, what: &str) {
    eventually(&format!("{what} in the history"), || {
        history(machine).iter().any(|entry| entry.contains(what)).then_some(())
    })
    .await;
}

fn fault(fault: &str) -> String {
    format!("{FAILED_ONCE}\n[[fault]]\n{fault}\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_package_installs_a_service_that_starts_and_says_what_to_do_next() {
    if !is_possible() {
        return;
    }
    let machine = Machine::with_the_package().await;
    // Installed, and left alone until somebody says what to watch.
    assert_eq!(machine.shows(UNIT, "ActiveState"), "inactive");
    assert_eq!(machine.tries(&["systemctl", "is-enabled", UNIT]), (false, "disabled\n".to_owned()));
    machine.runs(&["systemctl", "enable", "--now", UNIT]);
    machine.says(UNIT, "no project is watched yet: add a [[project]]").await;
    assert_eq!(
        machine.shows(UNIT, "StatusText"),
        "dry-run: no project is watched: no [[project]] in the configuration"
    );
    let_pass(Duration::from_secs(1)).await;
    assert_eq!(machine.shows(UNIT, "ActiveState"), "active");
    assert_eq!(machine.shows(UNIT, "NRestarts"), "0");

    // Nothing to complain about, not even the pages that the units name.
    for unit in [UNIT, "upgrade-remediator@two.service"] {
        assert_eq!(machine.tries(&["systemd-analyze", "verify", unit]), (true, String::new()), "{unit}");
        let (good, told) = machine.tries(&["systemd-analyze", "security", "--threshold=12", unit]);
        assert!(good, "{told}");
    }
    // The sandbox is there, and not only written down.
    let pid = machine.shows(UNIT, "MainPID");
    let status = machine.runs(&["cat", &format!("/proc/{pid}/status")]);
    for line in ["NoNewPrivs:\t1", "Seccomp:\t2", "CapEff:\t0000000000000000"] {
        assert!(status.contains(line), "{line} is missing in {status}");
    }
    let pages = machine.runs(&["man", "--where", "upgrade-remediator", "upgrade-remediator-run"]);
    assert_eq!(pages.lines().count(), 2, "{pages}");
    let bash = "/usr/share/bash-completion/completions/upgrade-remediator";
    let complete = format!(
        ". {bash}; COMP_WORDS=(upgrade-remediator his); COMP_CWORD=1; _upgrade__remediator upgrade-remediator his \
         upgrade-remediator; echo ${{COMPREPLY[@]}}"
    );
    assert_eq!(machine.runs(&["bash", "-c", &complete]), "history\n");
    for file in [
        "/usr/share/zsh/vendor-completions/_upgrade-remediator",
        "/usr/share/fish/vendor_completions.d/upgrade-remediator.fish",
        "/usr/share/doc/upgrade-remediator/copyright",
        "/usr/share/doc/upgrade-remediator/systemd.md",
        "/usr/share/doc/upgrade-remediator/runbook.md",
        "/usr/share/doc/upgrade-remediator/examples/minimal.toml",
        "/usr/share/doc/upgrade-remediator/examples/monitoring/alerts.yaml",
    ] {
        machine.runs(&["test", "-s", file]);
    }
    let conffiles = machine.runs(&["dpkg-query", "--show", "--showformat=${Conffiles}", BINARY]);
    assert_eq!(conffiles.matches("/etc/upgrade-remediator/").count(), 2, "{conffiles}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_remedies_a_failed_task_and_its_log_can_be_searched_by_the_cluster() {
    if !is_possible() {
        return;
    }
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    let machine = machine(&bench, RETRIES).await;
    machine.runs(&["systemctl", "start", UNIT]);
    stands_in_history(&machine, "resolved").await;
    assert_eq!(bench.puts(), [PutKind::Retry]);
    let cluster = bench.simulator.inspect(|world| world.state()["clusters"][0]["id"].clone());
    let selection = format!("CLUSTER={}", cluster.as_str().unwrap());
    let lines = machine.logged(&["--unit", UNIT, &selection]);
    assert!(lines.len() >= 4, "{lines:?}");
    for line in &lines {
        assert!(line["PROJECT"] == "test", "{line}");
        assert_eq!(line["SYSLOG_IDENTIFIER"], BINARY);
    }
    // Trouble is a warning of the journal too, and a change is none.
    for (event, priority) in [("failed", "4"), ("intent", "6"), ("ended", "6")] {
        let line = lines.iter().find(|line| line["EVENT"] == event).unwrap();
        assert_eq!(line["PRIORITY"], priority, "{line}");
    }
    // No system call was refused, or the daemon would be gone.
    assert_eq!(machine.shows(UNIT, "NRestarts"), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_takes_a_good_file_and_a_bad_one_changes_nothing() {
    if !is_possible() {
        return;
    }
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    let machine = machine(&bench, &waiting(RETRIES, "1h")).await;
    machine.runs(&["systemctl", "start", UNIT]);
    stands_in_history(&machine, "backoff").await;
    let pid = machine.shows(UNIT, "MainPID");
    machine
        .write(CONFIG, configuration(&bench, &waiting(RETRIES, "1h").replace("max_retries", "max_retrys")));
    machine.runs(&["systemctl", "reload", UNIT]);
    machine.says(UNIT, "the reload was refused and the former configuration stays in force").await;
    let refused = || machine.shows(UNIT, "StatusText").ends_with("the last reload was refused").then_some(());
    eventually("the refusal in the status", refused).await;
    let refusals = machine.logged(&["--unit", UNIT, "--priority=err"]);
    assert!(
        refusals.iter().any(|line| line["MESSAGE"].as_str().unwrap().contains("max_retrys")),
        "{refusals:?}"
    );

    machine.write(CONFIG, configuration(&bench, RETRIES));
    machine.runs(&["systemctl", "reload", UNIT]);
    machine.says(UNIT, "the configuration was reloaded").await;
    stands_in_history(&machine, "resolved").await;
    assert_eq!(machine.shows(UNIT, "MainPID"), pid);
    assert_eq!(machine.shows(UNIT, "ActiveState"), "active");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_lets_the_put_that_is_under_way_end_and_sends_no_other() {
    if !is_possible() {
        return;
    }
    let slow = fault("on = \"retry\"\nwhat = \"delay\"\ndelay = \"3s\"");
    let bench = Bench::new(&slow, RETRIES).await;
    let machine = machine(&bench, RETRIES).await;
    let patient = "Environment=UPGRADE_REMEDIATOR__POLL__REQUEST_TIMEOUT=20s\n\
                   Environment=UPGRADE_REMEDIATOR__POLL__SETTLE_TIMEOUT=60s\n\
                   # It must not count while the daemon stops.\nWatchdogSec=1s";
    drop_in(&machine, patient);
    machine.runs(&["systemctl", "start", UNIT]);
    eventually("the PUT", || (!bench.puts().is_empty()).then_some(())).await;
    machine.runs(&["systemctl", "stop", UNIT]);
    assert_eq!(machine.shows(UNIT, "Result"), "success");
    let told = history(&machine);
    assert!(told.iter().any(|entry| entry.contains("accepted")), "{told:?}");
    assert_eq!(bench.puts(), [PutKind::Retry]);
    machine.runs(&["systemctl", "start", UNIT]);
    stands_in_history(&machine, "resolved").await;
    assert_eq!(bench.puts(), [PutKind::Retry]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_with_a_put_under_way_it_is_started_again_and_does_not_send_it_twice() {
    if !is_possible() {
        return;
    }
    let slow = fault("on = \"retry\"\nwhat = \"delay\"\ndelay = \"30s\"");
    let bench = Bench::new(&slow, RETRIES).await;
    let machine = machine(&bench, RETRIES).await;
    let patient = "Environment=UPGRADE_REMEDIATOR__POLL__REQUEST_TIMEOUT=50s\n\
                   Environment=UPGRADE_REMEDIATOR__POLL__SETTLE_TIMEOUT=60s\nRestartSec=200ms";
    drop_in(&machine, patient);
    machine.runs(&["systemctl", "start", UNIT]);
    eventually("the PUT", || (!bench.puts().is_empty()).then_some(())).await;
    machine.runs(&["systemctl", "kill", "--signal=KILL", UNIT]);
    stands_in_history(&machine, "resolved").await;
    assert_eq!(machine.shows(UNIT, "NRestarts"), "1");
    assert_eq!(bench.puts(), [PutKind::Retry]);
    // It shares its control groups with no other machine, whose processes systemd could not tell from its own.
    let told = machine.logged(&["_PID=1"]);
    assert!(
        !told
            .iter()
            .any(|line| line["MESSAGE"].as_str().is_some_and(|told| told.contains("Input/output error")))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_gives_no_sign_of_life_is_restarted() {
    if !is_possible() {
        return;
    }
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    let machine = machine(&bench, &waiting(RETRIES, "6s")).await;
    drop_in(&machine, "WatchdogSec=3s\nTimeoutAbortSec=1s\nRestartSec=200ms");
    machine.runs(&["systemctl", "start", UNIT]);
    stands_in_history(&machine, "backoff").await;
    let pid = machine.shows(UNIT, "MainPID");
    // It lives as long as it shows that it does.
    let_pass(Duration::from_secs(4)).await;
    assert_eq!(machine.shows(UNIT, "MainPID"), pid);
    machine.runs(&["kill", "-STOP", &pid]);
    let restarted = || (machine.shows(UNIT, "NRestarts") == "1").then_some(());
    eventually("the restart", restarted).await;
    let told = machine.logged(&["--unit", UNIT, "_PID=1"]);
    assert!(
        told.iter().any(|line| line["MESSAGE"].as_str().unwrap().contains("Watchdog timeout")),
        "{told:?}"
    );
    stands_in_history(&machine, "resolved").await;
    assert_eq!(bench.puts(), [PutKind::Retry]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_cannot_be_used_is_78_and_no_loop() {
    if !is_possible() {
        return;
    }
    let machine = Machine::with_the_package().await;
    machine.write(CONFIG, "mode = \"enforced\"\n");
    drop_in(&machine, "RestartSec=100ms");
    assert!(!machine.tries(&["systemctl", "start", UNIT]).0);
    let_pass(Duration::from_secs(2)).await;
    assert_eq!(machine.shows(UNIT, "ExecMainStatus"), "78");
    assert_eq!(machine.shows(UNIT, "NRestarts"), "0");
    assert_eq!(machine.shows(UNIT, "ActiveState"), "failed");
    machine.says(UNIT, "did you mean").await;
    // Priority and not only words: it is found among the errors.
    let mine = machine.logged(&["--unit", UNIT, "--priority=err", "_COMM=upgrade-remedia"]);
    assert!(mine.iter().any(|line| line["MESSAGE"].as_str().unwrap().contains("mode")), "{mine:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_the_group_may_use_the_socket_and_nobody_else() {
    if !is_possible() {
        return;
    }
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    let machine = machine(&bench, &waiting(RETRIES, "1h")).await;
    machine.runs(&["systemctl", "start", UNIT]);
    machine.runs(&["useradd", "--uid", "1234", "--groups", "upgrade-remediator", "alice"]);
    machine.runs(&["useradd", "bob"]);
    let hold = [BINARY, "hold", "all", "--reason", "maintenance"];
    let of = |user| [&["runuser", "-u", user, "--"], hold.as_slice()].concat();
    let (refused, told) = machine.tries(&of("bob"));
    assert!(!refused && told.contains("ermission denied"), "{told}");
    // By whom is told by the kernel, also through the sandbox.
    let told = machine.runs(&of("alice"));
    assert!(told.contains("by alice"), "{told}");
    machine.runs(&["systemctl", "restart", UNIT]);
    let holds = machine.runs(&["runuser", "-u", "alice", "--", BINARY, "holds"]);
    assert!(holds.contains("maintenance"), "{holds}");
    assert!(machine.shows(UNIT, "StatusText").contains("1 hold"));
    // Nobody but root reads the keys, and nobody but the daemon its journal.
    let (read, _) = machine.tries(&["runuser", "-u", "alice", "--", "cat", JOURNAL]);
    let (more, _) = machine.tries(&[
        "runuser",
        "-u",
        "alice",
        "--",
        "cat",
        "/etc/credstore/upgrade-remediator.secret-key",
    ]);
    assert!(!read && !more);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_keeps_journal_and_configuration_removal_keeps_the_state_and_purging_does_not() {
    if !is_possible() {
        return;
    }
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    let machine = machine(&bench, &waiting(RETRIES, "8s")).await;
    machine.runs(&["systemctl", "enable", "--now", UNIT]);
    stands_in_history(&machine, "backoff").await;
    let (pid, before) = (machine.shows(UNIT, "MainPID"), machine.runs(&["cat", CONFIG]));
    machine.install(2);
    assert!(machine.runs(&["dpkg-query", "--show", BINARY]).contains("-2"));
    assert_ne!(machine.shows(UNIT, "MainPID"), pid, "the new version runs");
    assert_eq!(machine.shows(UNIT, "ActiveState"), "active");
    assert_eq!(machine.runs(&["cat", CONFIG]), before);
    stands_in_history(&machine, "resolved").await;
    assert_eq!(
        history(&machine).iter().filter(|entry| entry.contains("\"backoff\"")).count(),
        1,
        "the wait went on"
    );
    assert_eq!(bench.puts(), [PutKind::Retry]);

    machine.runs(&["apt-get", "remove", "--yes", BINARY]);
    machine.runs(&["test", "-s", JOURNAL]);
    assert_eq!(machine.runs(&["cat", CONFIG]), before);
    assert_eq!(machine.tries(&["pgrep", "--full", "bin/upgrade-remediator"]).1, "");
    // Installed again it is as it was.
    machine.install(2);
    machine.runs(&["systemctl", "is-enabled", UNIT]);
    machine.runs(&["systemctl", "start", UNIT]);
    stands_in_history(&machine, "resolved").await;

    machine.runs(&["apt-get", "purge", "--yes", BINARY]);
    for gone in [
        "/var/lib/upgrade-remediator",
        CONFIG,
        "/etc/systemd/system/multi-user.target.wants/upgrade-remediator.service",
    ] {
        assert!(!machine.tries(&["test", "-e", gone]).0, "{gone} is still there");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn encrypted_credentials_a_second_instance_and_check_with_the_keys_of_the_unit() {
    if !is_possible() {
        return;
    }
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    let machine = machine(&bench, RETRIES).await;
    // The second instance watches; the first has nothing to do.
    machine.write(CONFIG, "mode = \"dry-run\"\n");
    let own = "[journal]\nurl = \"sqlite:/var/lib/upgrade-remediator@two/journal.db\"\n\
               [control]\nsocket = \"/run/upgrade-remediator@two/control.sock\"\n";
    let second = configuration(&bench, RETRIES)
        .replace("[journal]\n[poll]", &format!("{own}[poll]"))
        .replace("[control]\n[[project]]", "[[project]]");
    machine.write("/etc/upgrade-remediator/two/config.toml", second);
    for key in ["access-key", "secret-key"] {
        let seal = format!(
            "install -d -m 0700 /etc/credstore.encrypted && systemd-creds encrypt --with-key=host --name={key} \
             /etc/credstore/upgrade-remediator.{key} /etc/credstore.encrypted/upgrade-remediator@two.{key} && \
             rm /etc/credstore/upgrade-remediator.{key}"
        );
        machine.runs(&["sh", "-c", &seal]);
    }
    machine.write(
        "/etc/systemd/system/upgrade-remediator@two.service.d/credentials.conf",
        "[Service]\nLoadCredentialEncrypted=access-key:upgrade-remediator@two.access-key\n\
         LoadCredentialEncrypted=secret-key:upgrade-remediator@two.secret-key\n",
    );
    machine.runs(&["systemctl", "daemon-reload"]);
    machine.runs(&["systemctl", "start", UNIT, "upgrade-remediator@two"]);
    let of_two = "/etc/upgrade-remediator/two/config.toml";
    let resolved = || {
        let (_, text) = machine.tries(&[BINARY, "history", "--json", "--config", of_two]);
        text.contains("resolved").then_some(())
    };
    eventually("the end of the story", resolved).await;
    assert_eq!(machine.shows(UNIT, "ActiveState"), "active");
    let credential = |key| format!("--property=LoadCredentialEncrypted={key}:upgrade-remediator@two.{key}");
    let (_, checked) = machine.tries(&[
        "systemd-run",
        "--quiet",
        "--wait",
        "--pipe",
        "--collect",
        "--property=User=upgrade-remediator",
        &credential("access-key"),
        &credential("secret-key"),
        BINARY,
        "check",
        "--config",
        of_two,
    ]);
    // Nothing but that it sends requests and has no channel.
    let warnings = checked.matches("warning: ").count();
    assert!(checked.contains("credential") && !checked.contains("error: "), "{checked}");
    assert!(warnings == 1 && checked.contains("there is no [[channel]]"), "{checked}");
    let holds = machine.runs(&[BINARY, "hold", "all", "--reason", "one of two", "--config", of_two]);
    assert!(holds.contains("hold #1"), "{holds}");
    assert!(!machine.runs(&[BINARY, "holds"]).contains("one of two"), "the instances are apart");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_tells_how_it_is_run_with_the_keys_of_the_unit_and_then_reaches_everything() {
    if !is_possible() {
        return;
    }
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    let machine = machine(&bench, RETRIES).await;
    machine.runs(&["systemctl", "start", UNIT]);
    // The keys are the unit's alone: outside it nothing can be signed.
    let (well, told) = machine.tries(&[BINARY, "doctor", "--json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert!(!well);
    let command = told["run_in_the_unit"].as_str().unwrap().replacen("sudo ", "", 1);
    let (well, told) = machine.tries(&["sh", "-c", &command]);
    assert!(well, "{command}\n{told}");
    for step in ["sign-in", "list", "journal"] {
        assert!(told.lines().any(|line| line.contains(step) && line.contains("ok")), "{step}: {told}");
    }
    assert_eq!(machine.shows(UNIT, "ActiveState"), "active");
    assert_eq!(machine.shows(UNIT, "NRestarts"), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_journal_of_the_system_cannot_be_reached_the_log_is_lines() {
    if !is_possible() {
        return;
    }
    let machine = Machine::with_the_package().await;
    machine.write(
        "/tmp/config.toml",
        "[journal]\nurl = \"sqlite:/tmp/journal.db\"\n[log]\nformat = \"journald\"\n",
    );
    for (unit, property) in [("fields", "Nice=0"), ("lines", "InaccessiblePaths=/run/systemd/journal/socket")]
    {
        let (unit, property) = (format!("--unit={unit}"), format!("--property={property}"));
        let run = ["systemd-run", "--wait", "--quiet", &unit, &property];
        machine.runs(
            &[&run[..], &["/usr/bin/upgrade-remediator", "run", "--once", "--config", "/tmp/config.toml"]]
                .concat(),
        );
    }
    machine.says("fields.service", "started in mode dry-run").await;
    machine.says("lines.service", "systemd's journal cannot be reached").await;
    machine.says("lines.service", "INFO started in mode dry-run").await;
    let transports = |unit| -> Vec<Value> {
        let lines = machine.logged(&["--unit", unit, "_COMM=upgrade-remedia"]);
        lines.into_iter().map(|line| line["_TRANSPORT"].clone()).collect()
    };
    assert!(transports("fields.service").iter().all(|transport| transport == "journal"));
    assert!(transports("lines.service").iter().all(|transport| transport == "stdout"));
}
