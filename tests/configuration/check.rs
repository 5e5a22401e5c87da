//! `check`, as somebody at a terminal or a script sees it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "test code outside of test functions")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use jiff::Timestamp;
use serde_json::Value;
use tempfile::TempDir;

const CANARY: &str = "canary-7f3a9c";
const PROJECT: &str = "\
mode = \"dry-run\"
[[project]]
name = \"prod\"
region = \"eu-west-101\"
project_id = \"6204a5bd270343b5885144cf9c8c158d\"
credentials = \"main\"
[credentials.main]
type = \"ak-sk\"
access_key = { credential = \"access-key\" }
secret_key = { env = \"TEST_SECRET_KEY\" }
";
const NIGHT: &str = "\
[[policy]]
name = \"night\"
match.cluster = [\"search-*\"]
[policy.window]
timezone = \"Europe/Berlin\"
allow = [{ from = \"22:00\", to = \"06:00\" }]
";
const NEVER: &str = "\
[[policy]]
name = \"never\"
[policy.window]
timezone = \"UTC\"
deny = [{ from = \"2020-01-01T00:00\", to = \"9000-01-01T00:00\" }]
";

/// A folder with a config.toml.
struct Folder(TempDir);

/// How `check` ended.
struct Checked {
    code: Option<i32>,
    stdout: String,
}

impl Folder {
    fn new(text: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        fs::write(folder.config(), text).unwrap();
        folder
    }

    fn config(&self) -> PathBuf {
        self.0.path().join("config.toml")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_upgrade-remediator"));
        command.args(arguments).arg("--config").arg(self.config());
        command.env_clear().env("TEST_SECRET_KEY", CANARY).env("TEST_URL", "https://hooks.example/x");
        command.env("STATE_DIRECTORY", self.0.path()).env("RUNTIME_DIRECTORY", self.0.path());
        command
    }

    fn check(&self, arguments: &[&str]) -> Checked {
        let output = self.command(&[&["check"], arguments].concat()).output().unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
        assert!(!stdout.contains(CANARY) && !stdout.contains('\u{1b}'), "{stdout}");
        Checked { code: output.status.code(), stdout }
    }

    fn json(&self) -> (Option<i32>, Value) {
        let checked = self.check(&["--json"]);
        let value = serde_json::from_str(&checked.stdout).unwrap_or_else(|error| panic!("{error}"));
        (checked.code, value)
    }

    /// A place in config.toml.
    fn at(&self, line: usize, column: usize) -> String {
        format!("{}:{line}:{column}", self.config().display())
    }
}

#[test]
fn each_value_has_its_origin_and_each_secret_is_masked() {
    let folder = Folder::new(&format!("{PROJECT}{NIGHT}"));
    let Checked { code, stdout } = folder.check(&[]);
    assert_eq!(code, Some(0), "{stdout}");
    let config = folder.config().display().to_string();
    for line in [
        format!("mode = \"dry-run\"  # {config}:1\n"),
        "poll.idle_interval = \"10m\"  # default\n".to_owned(),
        "breaker.failures = 10  # default\n".to_owned(),
        format!(
            "credentials.main.access_key = {{\"credential\":\"access-key\"}}  # {config}:9; systemd gives it at start\n"
        ),
        format!(
            "credentials.main.secret_key = {{\"env\":\"TEST_SECRET_KEY\"}}  # {config}:10; found, not shown\n"
        ),
        format!("policy.night.window.timezone = \"Europe/Berlin\"  # {config}:15\n"),
    ] {
        assert!(stdout.contains(&line), "{line} is missing in:\n{stdout}");
    }

    let (code, found) = folder.json();
    assert_eq!(code, Some(0));
    let effective = &found["effective"];
    assert_eq!(effective["credentials.main.access_key"]["secret"], "systemd gives it at start");
    assert_eq!(effective["credentials.main.secret_key"]["secret"], "found, not shown");
    assert_eq!(effective["mode"]["origin"], format!("{config}:1"));
}

#[test]
fn a_good_check_ends_with_one_line_that_says_so() {
    let channel = "[[channel]]\nname = \"ops\"\ntype = \"wecom\"\nurl = { env = \"TEST_URL\" }\n";
    let told =
        format!("{PROJECT}[notify]\ndefault = [\"ops\"]\n{channel}{NIGHT}").replace("dry-run", "enforce");
    for (text, line) in [
        (format!("{PROJECT}{NIGHT}"), "OK: mode dry-run, 1 project, 1 policy, no channels"),
        (told, "OK: mode enforce, 1 project, 1 policy, 1 channel"),
    ] {
        let Checked { code, stdout } = Folder::new(&text).check(&[]);
        let line = format!("{line}; not checked: credentials.main.access_key (systemd gives it at start)");
        assert_eq!((code, stdout.lines().last()), (Some(0), Some(line.as_str())), "{stdout}");
    }
}

#[test]
fn what_is_found_before_it_is_too_late_is_a_warning_of_its_own_exit_code() {
    let folder = Folder::new(&format!("{PROJECT}{NIGHT}").replace("dry-run", "enforce"));
    let policies = folder.0.path().join("policies.d");
    fs::create_dir(&policies).unwrap();
    fs::write(policies.join("10-logs.tml"), "").unwrap();
    let mut command = folder.command(&["check"]);
    command
        .env("RUNTIME_DIRECTORY", folder.0.path().join("absent"))
        .env("UPGRADE_REMEDIATOR_MODE", "dry-run");
    let output = command.output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(3), "{stdout}");
    for part in ["there is no [[channel]]", "10-logs.tml", "control.socket", "UPGRADE_REMEDIATOR__MODE?"] {
        assert!(stdout.contains(part), "{part} is missing in:\n{stdout}");
    }
    assert!(stdout.contains("\n0 errors, 4 warnings; not checked: credentials.main.access_key "), "{stdout}");
}

#[test]
fn a_window_says_when_it_next_opens_or_closes() {
    let folder = Folder::new(&format!("{PROJECT}{NIGHT}"));
    let stdout = folder.check(&[]).stdout;
    let line = stdout.lines().find(|line| line.starts_with("policy.night.window is ")).unwrap();
    let shown = ["open until ", "closed until "].iter().any(|word| line.contains(word));
    assert!(shown && (line.contains(" CET (for ") || line.contains(" CEST (for ")), "{line}");

    let (_, found) = folder.json();
    let window = &found["windows"]["night"];
    let open = window["open"].as_bool().unwrap();
    let change: Timestamp = window[if open { "closes" } else { "opens" }].as_str().unwrap().parse().unwrap();
    let berlin = jiff::tz::TimeZone::get("Europe/Berlin").unwrap();
    assert_eq!(berlin.to_datetime(change).hour(), if open { 6 } else { 22 });
}

#[test]
fn a_window_that_does_not_open_any_more_is_a_warning() {
    let folder = Folder::new(&format!("{PROJECT}{NEVER}"));
    let Checked { code, stdout } = folder.check(&[]);
    assert_eq!(code, Some(3), "{stdout}");
    let heading =
        format!("warning: {}: policy.never.window\n  the window does not open within", folder.at(13, 9));
    assert!(stdout.contains(&heading) && stdout.contains("0 errors, 1 warning; not checked: "), "{stdout}");
    assert!(stdout.contains("policy.never.window is closed for the next 400 days at least"), "{stdout}");
    let (code, found) = folder.json();
    assert_eq!((code, &found["windows"]["never"]["opens"]), (Some(3), &Value::Null));
}

#[test]
fn a_secret_that_others_can_read_is_an_error_at_its_place_for_check_and_run() {
    let folder = Folder::new("");
    let key = folder.0.path().join("key");
    fs::write(&key, CANARY).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let reference = format!("{{ file = \"{}\" }}", key.display());
    let text = PROJECT
        .replace("{ env = \"TEST_SECRET_KEY\" }", &reference)
        .replace("{ credential = \"access-key\" }", "{ env = \"TEST_SECRET_KEY\" }");
    fs::write(folder.config(), text + NIGHT).unwrap();

    let Checked { code, stdout } = folder.check(&[]);
    assert_eq!(code, Some(78), "{stdout}");
    let marks = "^".repeat(reference.len());
    for part in [
        format!("error: {}: credentials.main.secret_key\n", folder.at(10, 14)),
        "other users than the owner can read the file (mode 0644)".to_owned(),
        format!("\n 10 | secret_key = {reference}\n    |              {marks}\n"),
    ] {
        assert!(stdout.contains(&part), "{part} is missing in:\n{stdout}");
    }
    let (code, found) = folder.json();
    assert_eq!((code, &found["effective"], &found["windows"]), (Some(78), &Value::Null, &Value::Null));
    assert_eq!(found["problems"][0]["source"], format!("secret_key = {reference}"));

    let run = folder.command(&["run", "--once"]).output().unwrap();
    let stderr = String::from_utf8(run.stderr).unwrap();
    assert_eq!(run.status.code(), Some(78), "{stderr}");
    assert!(
        stderr.contains(&format!("error: {}", folder.at(10, 14))) && !stderr.contains(CANARY),
        "{stderr}"
    );
}

#[test]
fn a_key_and_a_url_that_run_cannot_use_are_errors_of_check_with_the_same_words_at_their_places() {
    let folder = Folder::new("");
    let file = |name: &str, text: &str| {
        let path = folder.0.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        format!("{{ file = \"{}\" }}", path.display())
    };
    let good = ("AKEXAMPLE", "https://hooks.example/x");
    for (key, url, at, message) in [
        ("AK EXAMPLE", good.1, "credentials.main.access_key", "the access key holds a blank"),
        ("AK\u{e4}", good.1, "credentials.main.access_key", "the access key holds a blank"),
        ("\u{feff}AK", good.1, "credentials.main.access_key", "begins with a byte order mark"),
        (good.0, "hooks.example/x", "channel.ops.url", "https://HOST/PATH is needed"),
        (good.0, "https://hooks example/x", "channel.ops.url", "https://HOST/PATH is needed"),
        (good.0, "\"https://hooks.example/x\"", "channel.ops.url", "without quotes"),
        (good.0, "ftp://hooks.example/x", "channel.ops.url", "neither https nor http"),
        (good.0, "http://hooks.example/x", "channel.ops.url", "only to a loopback address"),
    ] {
        let project = PROJECT.replace("{ credential = \"access-key\" }", &file("key", key));
        let channel = format!("[[channel]]\nname = \"ops\"\ntype = \"slack\"\nurl = {}\n", file("url", url));
        fs::write(folder.config(), format!("{project}{channel}{NIGHT}")).unwrap();
        let Checked { code, stdout } = folder.check(&[]);
        assert_eq!(code, Some(78), "{stdout}");
        let line = stdout.lines().find(|line| line.starts_with("error: ")).unwrap();
        assert!(line.contains("config.toml:") && line.ends_with(at), "{stdout}");
        assert!(stdout.contains(message), "{message}: {stdout}");
        let run = folder.command(&["run", "--once"]).output().unwrap();
        let stderr = String::from_utf8(run.stderr).unwrap();
        assert!(
            run.status.code() == Some(78) && stderr.contains(line) && stderr.contains(message),
            "{stderr}"
        );
    }
}

#[test]
fn a_journal_that_no_daemon_can_use_is_said() {
    let folder = Folder::new(&format!("{PROJECT}{NIGHT}"));
    let journal = folder.0.path().join("journal.db");
    fs::create_dir(&journal).unwrap();
    let found = folder.check(&[]);
    assert!(found.code == Some(3) && found.stdout.contains("is a directory"), "{}", found.stdout);
    fs::remove_dir(&journal).unwrap();
    fs::write(&journal, "x".repeat(9_999)).unwrap();
    let found = folder.check(&[]);
    assert!(found.code == Some(3) && found.stdout.contains("not an SQLite database"), "{}", found.stdout);
    assert!(found.stdout.contains("the daemon does not start"), "{}", found.stdout);
}

#[test]
fn an_inline_secret_is_hidden_on_its_own_line() {
    let text = PROJECT.replace("{ credential = \"access-key\" }", &format!("\"{CANARY}\" # {CANARY}"));
    let Checked { code, stdout } = Folder::new(&(text + NIGHT)).check(&[]);
    assert_eq!(code, Some(78));
    assert!(stdout.contains("\n 9 | access_key = ***\n   |              ^^^\n"), "{stdout}");
}

#[test]
fn a_command_of_a_later_version_says_so() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_upgrade-remediator"));
    let output = command.args(["rehearse", "--policy", "x.toml", "--scenario", "demo"]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), &[][..]));
    assert!(stderr.contains("this version has no command rehearse"), "{stderr}");
}
