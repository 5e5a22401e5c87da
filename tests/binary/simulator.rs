//! The configuration that the simulator prints, and the commands of the documents: as a new user types them.

use std::fs;
use std::path::{Path, PathBuf};
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

/// The lines that a printed configuration says to type before any command.
fn exports(printed: &str) -> Vec<String> {
    let lines = printed.lines().filter_map(|line| line.strip_prefix("#   "));
    lines.filter(|line| line.starts_with("export SIMULATOR")).map(str::to_owned).collect()
}

/// The command in a shell, in this folder, after the lines that the configuration there says to type before.
fn in_shell(folder: &Path, command: &str) -> Command {
    let printed = fs::read_to_string(folder.join("simulator.toml")).unwrap();
    let mut script = exports(&printed);
    script.push(command.to_owned());
    let mut shell = alone("sh");
    shell.arg("-c").arg(script.join("\n")).current_dir(folder);
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
    daemon.says("logs: blocked: no request is sent in dry-run").await;
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
                access_key = \"a-key\"\nsecret_key = \"with'quotes'\"\nsecurity_token = \"and-a-token\"\n";
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

fn document(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// What the shell is given in the fenced blocks of a document: behind a prompt where there is one in the block.
fn commands(document: &str) -> Vec<String> {
    let mut commands = Vec::new();
    for block in document.split("```").skip(1).step_by(2) {
        let (language, text) = block.split_once('\n').unwrap_or_default();
        let text = text.replace("\\\n", " ");
        match language {
            "console" => {
                commands.extend(
                    text.lines().filter_map(|line| line.trim_start().strip_prefix("$ ")).map(str::to_owned),
                );
            }
            "sh" => commands.extend(text.lines().map(str::to_owned)),
            _ => {}
        }
    }
    commands
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_five_minutes_of_the_readme_are_what_the_printed_configuration_asks_for() {
    let readme = document("README.md");
    let typed = commands(&readme);
    let folder = TempDir::new().unwrap();
    print_config(folder.path(), &[]).await;
    let printed = fs::read_to_string(folder.path().join("simulator.toml")).unwrap();
    let exports = exports(&printed);
    let mut expected = vec![
        "upgrade-remediator simulator",
        "upgrade-remediator simulator --print-config >simulator.toml",
        exports[0].as_str(),
        exports[1].as_str(),
        "upgrade-remediator check --config simulator.toml",
        "upgrade-remediator run --config simulator.toml",
        "upgrade-remediator notify-test chat --config simulator.toml",
    ];
    // In this order, whatever stands between them.
    expected.reverse();
    for command in &typed {
        expected.pop_if(|next| command == next);
    }
    assert_eq!(expected, [""; 0], "not in README.md, or out of order: {typed:#?}");

    // The channel, as the README puts it to use.
    let edit = typed.iter().find(|command| command.starts_with("sed ")).unwrap();
    let url = typed.iter().find(|command| command.starts_with("export CHAT_URL=")).unwrap();
    let check = format!("{edit} && {url} && upgrade-remediator check --config simulator.toml");
    let (code, stdout, stderr) = ran(in_shell(folder.path(), &check)).await;
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    assert!(stdout.ends_with("OK: mode dry-run, 1 project, 1 policy, 1 channel\n"), "{stdout}");
}

/// Every document with commands.
fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = vec![root.join("README.md"), root.join("systemd/README.md")];
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    found.extend(docs.filter(|path| path.extension().is_some_and(|ending| ending == "md")));
    found
}

/// The arguments of each call of ours in a line for the shell.
fn calls(line: &str) -> Vec<Vec<String>> {
    let words = shlex::split(line).unwrap_or_default();
    let ends =
        |word: &String| ["|", "&&", "||", ";", "&", ")"].contains(&word.as_str()) || word.starts_with('>');
    let mut calls = Vec::new();
    for part in words.split(ends) {
        // Not the name of the unit, or of the user, in a command of the system.
        let ours = |word: &String| word.ends_with("upgrade-remediator");
        let prefix = ["sudo", "systemd-run"];
        let is_first = part.first().is_some_and(|first| ours(first) || prefix.contains(&first.as_str()));
        if let (true, Some(at)) = (is_first, part.iter().rposition(ours)) {
            calls.push(part[at + 1..].to_vec());
        }
    }
    calls
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_in_the_documents_is_one_that_the_binary_takes() {
    let mut count = 0;
    for path in documents() {
        let text = fs::read_to_string(&path).unwrap();
        for arguments in commands(&text).iter().flat_map(|line| calls(line)) {
            let mut command = program();
            // What comes before this is looked at all the same.
            command.args(&arguments).arg("--help");
            let (code, _, stderr) = ran(command).await;
            assert_eq!(code, Some(0), "{}: {arguments:?}: {stderr}", path.display());
            count += 1;
        }
    }
    assert!(count > 20, "only {count} commands were found");
}
