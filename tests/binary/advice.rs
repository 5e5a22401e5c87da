//! Every command that the program prints as advice names the configuration in use, wherever it is printed: log, page, JSON,
//! messages, and what the commands themselves print.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::net::TcpListener;
use upgrade_remediator::model::event::Event;

use crate::support::edited::{Edited, waiting};
use crate::support::{ABORTS, Bench, CALLS_A_HUMAN, FAILED_ONCE, Process, RETRIES, eventually, get, program};

/// What a shell has to quote, in the folder that the daemon is started in.
const FILE: &str = "our config.toml";

/// A receiver of messages, which keeps their bodies.
async fn receiver() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let got: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&got);
    let keep = move |body: String| async move { kept.lock().unwrap().push(body) };
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(keep)).await });
    (port, got)
}

/// The names of all commands, as the program lists them.
fn verbs() -> Vec<String> {
    let help = program().arg("--help").output().unwrap().stdout;
    let help = String::from_utf8(help).unwrap();
    let commands = help.split_once("Commands:\n").unwrap().1.split_once("\n\n").unwrap().0;
    let verbs = commands.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    verbs.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
}

/// The commands in a text that name no configuration, each with what stands around it.
fn bare(text: &str, verbs: &[String]) -> Vec<String> {
    let is_bare = |at: &usize| {
        let rest = &text[at + "upgrade-remediator ".len()..];
        let verb = rest.split(|c: char| c != '-' && !c.is_ascii_lowercase()).next().unwrap();
        verbs.iter().any(|known| known == verb)
    };
    let places = text.match_indices("upgrade-remediator ").map(|(at, _)| at).filter(is_bare);
    places.map(|at| text[at..].chars().take(60).collect()).collect()
}

#[test]
fn a_command_without_a_configuration_is_found() {
    let verbs = verbs();
    assert!(verbs.len() > 12, "{verbs:?}");
    let text = "upgrade-remediator hold all; `upgrade-remediator --config x status`; systemctl stop upgrade-remediator and \
                <code>upgrade-remediator retry-now</code>";
    assert_eq!(bare(text, &verbs).len(), 2);
}

/// A daemon that was started in the folder of its configuration with a relative path to it, with these channels.
fn in_its_folder(bench: &Bench, arguments: &[&str]) -> Command {
    let mut command = program();
    let of_the_bench = bench.command(&[]);
    command.envs(of_the_bench.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.args(arguments).args(["--config", FILE]).current_dir(bench.folder.path());
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_that_is_advice_names_the_configuration_wherever_it_is_printed() {
    let named = |name: &str| {
        FAILED_ONCE.replace("node_time = \"200ms\"\n", "").replace("\"logs\"", &format!("{name:?}"))
    };
    let fault = "[[fault]]\non = \"tasks\"\ncluster = \"lost\"\ntimes = \"always\"\nwhat = \"status\"\nstatus = 500\n";
    let scenario = ["escalated", "ending", "held", "lost"].map(named).concat() + fault;
    let of = |cluster: &str, policy: &str| {
        Edited::of(policy)
            .set("policy.name", cluster)
            .set_toml("policy.match", &format!("{{ cluster = [{cluster:?}] }}"))
            .text()
    };
    let (ending, held) = (waiting(ABORTS, "1h"), waiting(RETRIES, "1h"));
    let policies = [of("escalated", CALLS_A_HUMAN), of("ending", &ending), of("held", &held)].join("\n");
    let bench = Bench::new(&scenario, &policies).await;
    let (port, got) = receiver().await;
    let url = bench.folder.path().join("url");
    fs::write(&url, format!("http://127.0.0.1:{port}/")).unwrap();
    fs::set_permissions(&url, fs::Permissions::from_mode(0o600)).unwrap();
    let channel = |kind: &str| {
        format!("[[channel]]\nname = {kind:?}\ntype = {kind:?}\nurl = {{ file = \"{}\" }}\n", url.display())
    };
    let channels = channel("webhook") + &channel("alertmanager");
    let notify = "[notify]\ndefault = [\"webhook\", \"alertmanager\"]\n";
    bench.edit("[[project]]", &format!("{channels}{notify}[[project]]"));
    bench.edit("listen = \"\"", "listen = \"127.0.0.1:0\"");
    let file = bench.folder.path().canonicalize().unwrap().join(FILE);
    fs::rename(bench.config(), &file).unwrap();

    let daemon = Process::start(in_its_folder(&bench, &["run"]));
    let address = daemon.page().await;
    bench.journaled("the escalation", |event| matches!(event, Event::Escalated { .. })).await;
    for command in [
        &["hold", "held", "--reason", "by a test"][..],
        &["status"],
        &["explain", "held"],
        &["plan"],
        &["doctor"],
        &["check"],
    ] {
        let mut process = Process::start(in_its_folder(&bench, command));
        process.code().await.unwrap();
        assert_eq!(
            bare(&(process.stdout() + &process.stderr()), &verbs()),
            Vec::<String>::new(),
            "{command:?}"
        );
    }
    let ours = format!("upgrade-remediator --config '{}'", file.display());
    for line in ["before acting by hand", "to stop the abort", "to test each step"] {
        daemon.says(&format!("{line}: `{ours} ")).await;
    }

    let (_, _, status) = get(address, "/api/v1/status");
    let report: Value = serde_json::from_str(&status).unwrap();
    let tasks = report["projects"][0]["tasks"].as_array().unwrap();
    let ids = tasks.iter().map(|task| task["cluster"].as_str().unwrap());
    let pages = ids.flat_map(|id| [format!("/clusters/{id}"), format!("/api/v1/clusters/{id}")]);
    let pages: Vec<String> = pages.chain(["/".to_owned(), "/api/v1/status".to_owned()]).collect();
    assert!(pages.len() >= 8, "{pages:?}");
    let mut all: Vec<(String, String)> = Vec::new();
    for page in pages {
        let (code, _, body) = get(address, &page);
        assert_eq!(code, 200, "{page}: {body}");
        all.push((page, body.replace("&#39;", "'")));
    }
    let log = daemon.stderr();
    for (at, _) in log.match_indices(&ours) {
        assert!(log[..at].ends_with('`'), "a command in the log has no end: {}", &log[at..]);
    }
    let messages = eventually("the messages of both channels", || {
        let got = got.lock().unwrap().join("\n");
        let has = |part: &str| got.contains(part);
        (has("specversion") && has("startsAt") && has(" reset ") && has("to stop the abort")).then_some(got)
    })
    .await;
    all.push(("the messages".to_owned(), messages));
    all.push(("the log".to_owned(), daemon.stderr()));
    for (place, text) in &all {
        assert_eq!(bare(text, &verbs()), Vec::<String>::new(), "{place}: {text}");
    }
    let text = |place: &str| &all.iter().find(|(known, _)| known == place).unwrap().1;
    for (place, commands) in [
        ("/", &["hold<", "explain CLUSTER<", "release cluster:", "doctor<"][..]),
        ("/api/v1/status", &["release cluster:", "doctor`"]),
        ("the messages", &["hold cluster:", "explain ", "reset ", "retry-now "]),
    ] {
        for command in commands {
            let whole = format!("{ours} {command}");
            assert!(text(place).contains(&whole), "{place}: no {whole:?} in {}", text(place));
        }
    }
    assert!(all.iter().filter(|(place, _)| place.starts_with("/clusters/")).all(|(_, text)| {
        ["explain ", "hold cluster:"]
            .iter()
            .all(|command| text.contains(&format!("<code class=\"command\">{ours} {command}")))
    }));
}
