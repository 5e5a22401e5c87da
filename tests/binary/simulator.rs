//! The configuration that the simulator prints, as a new user takes it.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use upgrade_remediator::simulator::scenario;

use crate::support::{FAILED_ONCE, Process, alone, eventually, program};

/// What a command prints on stdout and stderr, and its exit code.
async fn ran(command: Command) -> (Option<i32>, String, String) {
    let mut process = Process::start(command);
    let code = process.code().await;
    (code, process.stdout(), process.stderr())
}

/// The command in a shell, in this folder, after the lines that the configuration there says to type before.
fn in_shell(folder: &Path, command: &str) -> Command {
    let printed = fs::read_to_string(folder.join("simulator.toml")).unwrap();
    let exports = printed.lines().filter_map(|line| line.strip_prefix("#   export SIMULATOR"));
    let exports: String = exports.map(|rest| format!("export SIMULATOR{rest}\n")).collect();
    let mut shell = alone("sh");
    shell.arg("-c").arg(format!("{exports}{command}")).current_dir(folder);
    let folder = Path::new(env!("CARGO_BIN_EXE_upgrade-remediator")).parent().unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    shell.env("PATH", path).env("UPGRADE_REMEDIATOR__HTTP__LISTEN", "127.0.0.1:0");
    shell
}

/// Prints the configuration into `simulator.toml` of the folder.
async fn print_config(folder: &Path, arguments: &[&str]) {
    let mut command = program();
    command.args(["simulator", "--print-config"]).args(arguments).current_dir(folder);
    let (code, stdout, stderr) = ran(command).await;
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{arguments:?}");
    fs::write(folder.join("simulator.toml"), stdout).unwrap();
}

async fn passes_check(folder: &Path, of: &str) {
    let (code, stdout, stderr) =
        ran(in_shell(folder, "upgrade-remediator check --config simulator.toml")).await;
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{of}: {stdout}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_with_the_printed_configuration_says_what_it_would_do_to_the_simulated_tasks() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("it's mine.toml");
    fs::write(&file, FAILED_ONCE).unwrap();
    let file = file.to_str().unwrap();
    let mut command = program();
    command.args(["simulator", "--listen", "127.0.0.1:0", "--scenario", file]);
    let simulator = Process::start(command);
    let address = eventually("its address", || {
        Some(simulator.stdout().lines().next()?.rsplit_once(" at http://")?.1.to_owned())
    })
    .await;
    print_config(folder.path(), &["--listen", &address, "--scenario", file]).await;
    passes_check(folder.path(), file).await;

    let run = "exec upgrade-remediator run --config simulator.toml";
    let mut daemon = Process::start(in_shell(folder.path(), run));
    daemon.says("logs: blocked: dry-run: would retry now").await;
    let status = in_shell(folder.path(), "upgrade-remediator status --config simulator.toml");
    let (code, stdout, stderr) = ran(status).await;
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    assert!(stdout.contains("project simulated: 1 cluster"), "{stdout}");
    daemon.signal("TERM");
    assert_eq!(daemon.code().await, Some(0), "{}", daemon.stderr());
    assert!(!daemon.stderr().contains("ERROR"), "{}", daemon.stderr());
    assert!(folder.path().join("journal.db").exists(), "all that the daemon keeps is beside the file");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_printed_configuration_of_every_scenario_passes_check_without_a_warning() {
    let folder = TempDir::new().unwrap();
    for name in scenario::names() {
        print_config(folder.path(), &["--scenario", name]).await;
        passes_check(folder.path(), name).await;
    }
    let keys = "region = \"eu-west-101\"\nproject_id = \"0123456789abcdef0123456789abcdef\"\n[[key]]\n\
                access_key = \"a key\"\nsecret_key = \"with 'quotes'\"\nsecurity_token = \"and a token\"\n";
    let file = folder.path().join("keys.toml");
    fs::write(&file, keys).unwrap();
    print_config(folder.path(), &["--scenario", file.to_str().unwrap(), "--listen", "0.0.0.0:9180"]).await;
    passes_check(folder.path(), keys).await;
    let printed = fs::read_to_string(folder.path().join("simulator.toml")).unwrap();
    for line in [
        "project_id = \"0123456789abcdef0123456789abcdef\"",
        "endpoint = \"http://127.0.0.1:9180\"",
        "security_token = { env = \"SIMULATOR_SECURITY_TOKEN\" }",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line}: {printed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_no_daemon_could_use_is_not_printed() {
    for (arguments, problem) in [
        (["--listen", "127.0.0.1:0"], "the port"),
        (["--listen", "192.0.2.1:9180"], "loopback"),
        (["--log", "log.jsonl"], "--log"),
    ] {
        let mut command = program();
        command.args(["simulator", "--print-config"]).args(arguments);
        let (code, stdout, stderr) = ran(command).await;
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{arguments:?}: {stderr}");
        assert!(stderr.contains(problem), "{arguments:?}: {stderr}");
    }
}
