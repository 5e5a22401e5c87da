//! Daemons on one journal in PostgreSQL, as on two machines: one acts at a time, and the other one continues from it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::process::Command;

use crate::server::{PASSWORD, fresh_name, server};
use crate::support::{Bench, FAILED_ONCE, Process, eventually, let_pass};

const RETRIES: &str = r#"
[[policy]]
name = "standard"
match = {}
retry = { max_retries = 3, initial_interval = "2s", max_interval = "2s", randomization_factor = 0.0 }
"#;

/// The machine of this name, with this simulated service and this schema.
struct Machine<'a> {
    bench: &'a Bench,
    name: &'static str,
}

impl<'a> Machine<'a> {
    fn new(bench: &'a Bench, name: &'static str, schema: &str) -> Self {
        let folder = bench.folder.path().join(name);
        fs::create_dir(&folder).unwrap();
        let written = fs::read_to_string(bench.config()).unwrap();
        let file = format!("url = \"sqlite:{}\"", bench.journal().display());
        let database = format!(
            "url = \"{}\"\npassword = {{ env = \"TEST_JOURNAL\" }}\nschema = \"{schema}\"",
            server().url()
        );
        let socket = folder.join("control.sock");
        let written = written
            .replace(&file, &database)
            .replace(&bench.socket().display().to_string(), &socket.display().to_string());
        assert!(written.contains("TEST_JOURNAL") && written.contains(socket.to_str().unwrap()));
        fs::write(folder.join("config.toml"), written).unwrap();
        Self { bench, name }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = crate::support::program();
        command
            .args(arguments)
            .arg("--config")
            .arg(self.bench.folder.path().join(self.name).join("config.toml"));
        let with = self.bench.command(&[]);
        command.envs(with.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("TEST_JOURNAL", PASSWORD);
        command
    }

    fn daemon(&self) -> Process {
        Process::start(self.command(&["run"]))
    }

    async fn runs(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut process = Process::start(self.command(arguments));
        (process.code().await.unwrap(), process.stdout(), process.stderr())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_was_taken_over_from_sends_nothing_when_it_wakes() {
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    let schema = fresh_name();
    let (first, second) = (Machine::new(&bench, "first", &schema), Machine::new(&bench, "second", &schema));
    let mut paused = first.daemon();
    paused.says("wait: retry 1 of 3").await;
    paused.signal("STOP");
    let other = second.daemon();
    other.says("resolved by retry").await;
    paused.signal("CONT");
    paused.says("another process has taken over the journal").await;
    assert_eq!(bench.puts().len(), 1, "one failure, one request");
    assert!(paused.runs(), "it says so, and lives");
    let (code, history, _) = second.runs(&["history"]).await;
    assert_eq!((code, history.matches("sending retry request").count()), (0, 1), "{history}");
    paused.kill();
    other.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_on_another_machine_confirms_what_a_killed_one_sent() {
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    let schema = fresh_name();
    let (first, second) = (Machine::new(&bench, "first", &schema), Machine::new(&bench, "second", &schema));
    let killed = first.daemon();
    killed.says("wait: retry 1 of 3").await;
    eventually("the request", || (!bench.puts().is_empty()).then_some(())).await;
    killed.kill();
    // Nobody answers on this machine, and the journal still does.
    let (code, status, told) = first.runs(&["status"]).await;
    assert_eq!(code, 0, "{told}");
    assert!(status.contains("logs") && told.contains("may run on this machine or on another one"), "{told}");
    let mut other = second.daemon();
    other.says("confirmed: accepted").await;
    other.says("resolved by retry").await;
    assert_eq!(bench.puts().len(), 1);
    other.signal("TERM");
    assert_eq!(other.code().await, Some(0));
    // The same machine goes on where the other one ended.
    let again = first.daemon();
    again.says("started in mode enforce").await;
    let_pass(std::time::Duration::from_secs(1)).await;
    assert_eq!(bench.puts().len(), 1);
    assert!(!again.stderr().contains("created a new journal"), "{}", again.stderr());
    again.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_refuses_ends_the_start_and_names_the_key() {
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    let machine = Machine::new(&bench, "only", &fresh_name());
    let mut command = machine.command(&["run"]);
    command.env("TEST_JOURNAL", "wrong-password");
    let mut refused = Process::start(command);
    assert_eq!(refused.code().await, Some(78));
    let told = refused.stderr();
    assert!(told.contains("check journal.password, and the user in journal.url"), "{told}");
    assert!(!told.contains("wrong-password") && !told.contains(PASSWORD), "{told}");
    let (code, _, told) = machine.runs(&["history"]).await;
    assert_ne!(code, 0);
    assert!(told.contains("start the daemon once, or correct journal.url"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_in_a_file_is_copied_and_the_daemon_continues_from_the_database() {
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    let schema = fresh_name();
    let machine = Machine::new(&bench, "database", &schema);
    let from = format!("sqlite:{}", bench.journal().display());
    let copy = ["journal", "copy", "--from", &from];
    let (code, _, told) = machine.runs(&copy).await;
    assert!(code == 1 && told.contains("there is no journal at"), "{told}");
    let mut daemon = bench.daemon();
    daemon.says("wait: retry 1 of 3").await;
    assert_eq!(bench.runs(&["hold", "all", "--reason", "moving"]).await.0, 0);
    let (code, _, told) = machine.runs(&copy).await;
    assert!(code == 1 && told.contains("is in use by"), "{told}");
    daemon.signal("TERM");
    assert_eq!(daemon.code().await, Some(0));
    let before = bench.runs(&["history", "--json"]).await.1;
    let (code, told, error) = machine.runs(&copy).await;
    assert!(code == 0 && told.contains("and 1 entry of holds"), "{told}{error}");
    assert_eq!(machine.runs(&["history", "--json"]).await.1, before, "numbers and times stay");
    let (code, _, told) = machine.runs(&copy).await;
    assert!(code == 1 && told.contains("is not empty, and nothing was copied"), "{told}");
    let daemon = machine.daemon();
    daemon.says("started in mode enforce").await;
    assert!(!daemon.stderr().contains("created a new journal"));
    let_pass(std::time::Duration::from_secs(3)).await;
    assert_eq!(bench.puts().len(), 0, "the hold is in force");
    assert_eq!(machine.runs(&["release", "all"]).await.0, 0);
    daemon.says("resolved by retry").await;
    assert_eq!(bench.puts().len(), 1);
    daemon.kill();
}
