//! What people read when their configuration is wrong, word by word: the texts under `tests/configuration_messages/`.
//!
//! After a change that is meant: `UPDATE_EXPECTED=1 cargo test --test configuration messages`, and read the difference.
#![expect(clippy::unwrap_used, reason = "test code outside of test functions")]

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use upgrade_remediator::configuration::{Environment, FileText, Problems, load, load_texts};

const PROJECT: &str = "\
[[project]]
name = \"prod\"
region = \"eu-west-101\"
project_id = \"6204a5bd270343b5885144cf9c8c158d\"
credentials = \"main\"
[credentials.main]
type = \"ak-sk\"
access_key = { env = \"AK\" }
secret_key = { env = \"SK\" }
";
const POLICY: &str = "\
[[policy]]
name = \"logs\"
";

fn is_as_expected(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configuration_messages").join(name);
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(&path, text).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    let differs = expected.lines().zip(text.lines()).position(|(expected, found)| expected != found);
    assert!(
        expected == text,
        "{} differs, first in line {}:\n{text}",
        path.display(),
        differs.unwrap_or(expected.lines().count().min(text.lines().count())) + 1
    );
}

/// What is told of config.toml, one file of policies and an environment: problems, or warnings.
fn told(main: &str, policies: &str, env: &Environment) -> String {
    let file = |name: &str, text: &str| FileText { file: name.into(), text: text.to_owned() };
    let files: &[FileText] =
        if policies.is_empty() { &[] } else { &[file("policies.d/10-logs.toml", policies)] };
    match load_texts(&file("config.toml", main), files, env) {
        Err(problems) => problems.to_string(),
        Ok(loaded) => {
            let mut problems = loaded.warnings.clone();
            problems.extend(loaded.check_secrets(env));
            Problems(problems).to_string()
        }
    }
}

#[test]
fn the_twenty_most_likely_mistakes() {
    let keys = Environment::new([("AK", "a"), ("SK", "b")]);
    let typo =
        Environment::new([("UPGRADE_REMEDIATOR__POLL__IDLE_INTERVALL", "1m"), ("AK", "a"), ("SK", "b")]);
    let folder = tempfile::tempdir().unwrap();
    let open = folder.path().join("secret-key");
    fs::write(&open, "not-shown").unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    let open = open.to_str().unwrap();

    let before = |head: &str| format!("{head}\n{PROJECT}{POLICY}");
    let after = |tail: &str| format!("{PROJECT}{POLICY}{tail}\n");
    let project = |find: &str, instead: &str| format!("{PROJECT}{POLICY}").replace(find, instead);
    let window = |rest: &str| after(&format!("[policy.window]\ntimezone = \"Europe/Berlin\"\n{rest}"));
    let cases = [
        ("a key with a slip", before("[poll]\nidle_intervall = \"5m\""), "", &keys),
        ("a duration without its unit", before("[poll]\nidle_interval = 30"), "", &keys),
        ("a duration without quotes", before("[poll]\nidle_interval = 30s"), "", &keys),
        ("a word that is not one of those allowed", before("mode = \"enforced\""), "", &keys),
        ("true in quotes", after("enabled = \"yes\""), "", &keys),
        ("a count with a fraction", after("retry.max_retries = 2.7"), "", &keys),
        ("a multiplier that shrinks", after("retry.multiplier = 0.5"), "", &keys),
        ("a first wait that is longer than the longest", after("retry.initial_interval = \"2h\""), "", &keys),
        ("one bracket too few", project("[[policy]]", "[policy]"), "", &keys),
        ("a text where a list is needed", after("match.cluster = \"logs-*\""), "", &keys),
        (
            "a secret in the file",
            project("{ env = \"SK\" }", "\"wJalrXUtnFEMI\" # from the console"),
            "",
            &keys,
        ),
        (
            "a secret that others can read",
            project("{ env = \"SK\" }", &format!("{{ file = \"{open}\" }}")),
            "",
            &keys,
        ),
        ("credentials that are not there", project("= \"main\"", "= \"mian\""), "", &keys),
        (
            "no ids of two projects at one endpoint",
            project("project_id", "#project_id")
                + "\n[[project]]\nname = \"two\"\nregion = \"eu-west-101\"\ncredentials = \"main\"\n",
            "",
            &keys,
        ),
        (
            "an endpoint without encryption",
            project("region", "endpoint = \"http://css.example.com\"\nregion"),
            "",
            &keys,
        ),
        ("the same policy in two files", after(""), POLICY, &keys),
        ("a setting in a file of policies", before(""), "mode = \"enforce\"\n", &keys),
        ("a time zone that is none", window("").replace("Berlin", "Berln"), "", &keys),
        (
            "days and times in other words",
            window("allow = [{ days = [\"Monday\"], from = \"9:00\" }]"),
            "",
            &keys,
        ),
        ("an environment variable that overrides nothing", before(""), "", &typo),
    ];
    assert_eq!(cases.len(), 20);
    let mut text = String::new();
    for (n, (title, main, policies, env)) in cases.iter().enumerate() {
        let found = told(main, policies, env).replace(open, "/etc/upgrade-remediator/secret-key");
        assert!(!found.contains("wJalr") && !found.contains("not-shown"), "{found}");
        let _ = writeln!(text, "## {}. {title}\n\n{found}\n", n + 1);
    }
    is_as_expected("likely_mistakes.txt", &text);
}

#[test]
fn everything_at_once() {
    let main = "\
mode = \"on\"
[journal]
url = \"postgres://user:canary@db/remediator\" # canary
[poll]
idle_interval = \"5 bananas\"
active_interval = \"0s\"
settle_interval = \"-5s\"
idel_interval = \"canary\"
[limits]
requests_per_second = 0
[breaker]
failures = true
within = \"1 month\"
[notify]
default = [\"opps\"]
[control]
socket = \"control.sock\"
[http]
listen = \"localhost\"
[log]
filter = \"a=b=c\"
[[project]]
name = \"prod\"
region = \"EU West\"
project_id = \"6204a5bd270343b5885144cf9c8c158d\"
endpoint = \"https://user:canary@css.example.com\"
credentials = \"main\"
[[project]]
name = \"prod\"
region = \"eu-west-101\"
project_id = \"a\"
endpoint = \"http://169.254.169.254\"
proxy = \"http://user:canary@proxy:3128\"
credentials = \"other\"
[[project]]
name = \"one\"
region = \"eu-west-101\"
project_id = \"b\"
credentials = \"main\"
[[project]]
name = \"two\"
region = \"eu-west-101\"
project_id = \"b\"
credentials = \"main\"
[credentials.main]
type = \"ak-sk\"
access_key = \"canary\"
secret_key = { value = \"canary\", env = \"SK\" }
[credentials.other]
type = \"password\"
user = \"me\"
password = { env = \"canary canary\" }
[[channel]]
name = \"ops\"
type = \"webhook\"
url = \"https://hooks.example.com/canary\"
[[policy]]
name = \"all\"
enabled = 1
[[policy]]
name = \"hidden\"
match.cluster = []
match.task = [\"upgrades\"]
match.version = [\"7.[\"]
retry = { max_retries = -1, multiplier = nan, randomization_factor = 2, max_elapsed_time = \"never\" }
";
    let policies = "\
[[policy]]
name = \"all\"
on_exhausted = \"terminate\"
notify = [\"ops\", \"opps\"]
[policy.window]
allow = []
deny = [{ from = 2026-12-20T00:00:00, to = \"2026-12-20\" }, { from = \"2027-01-03T00:00\", to = \"2026-12-20T00:00\" }]
[policy.expect]
per_node = \"0s\"
[poll]
idle_interval = \"5m\"
";
    let env = Environment::new([
        ("UPGRADE_REMEDIATOR__LIMITS__MAX_ACTIONS_PER_HOUR", "many"),
        ("UPGRADE_REMEDIATOR__POLICY__ALL__MODE", "canary"),
        ("UPGRADE_REMEDIATOR_MODE", "canary"),
    ]);
    let found = told(main, policies, &env);
    // A name is told, even where it should be none; nothing else is.
    assert!(!found.contains("canary"), "{found}");
    is_as_expected("everything_at_once.txt", &(found + "\n"));
}

#[test]
fn what_can_stand_in_the_place_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("empty"), "").unwrap();
    fs::write(path("binary"), b"\x7fELF\x02\x01\x01\0\0\xff\xfe").unwrap();
    fs::File::create(path("100-mb")).unwrap().set_len(100 << 20).unwrap();
    fs::create_dir(path("folder")).unwrap();
    symlink(path("loop"), path("loop")).unwrap();
    symlink("nowhere", path("to-nowhere")).unwrap();
    let mut text = String::new();
    for name in ["absent", "empty", "binary", "100-mb", "folder", "loop", "to-nowhere"] {
        let problems = load(&path(name), &Environment::default()).unwrap_err().to_string();
        let _ = writeln!(text, "{problems}\n");
    }
    let shown = text.replace(folder.path().to_str().unwrap(), "/etc/upgrade-remediator");
    is_as_expected("files.txt", &shown);
}
