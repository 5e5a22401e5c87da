//! The files that are shipped are good, and say what the code does.
#![expect(clippy::unwrap_used, clippy::panic, reason = "test code outside of test functions")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use upgrade_remediator::configuration::{Environment, Loaded, load};
use upgrade_remediator::model::policy::{Expect, Mode, OnExhausted, Policy, Terms};
use upgrade_remediator::model::window::WindowState;

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)
}

fn load_or_show(path: &Path, env: &Environment) -> Loaded {
    load(path, env).unwrap_or_else(|problems| panic!("{problems}"))
}

fn alone(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    fs::write(&path, text).unwrap();
    (folder, path)
}

fn warnings(loaded: &Loaded) -> Vec<String> {
    loaded.warnings.iter().map(ToString::to_string).collect()
}

fn values(loaded: &Loaded) -> BTreeMap<String, Value> {
    loaded.effective().into_iter().map(|effective| (effective.key, effective.value)).collect()
}

/// A line that begins with '#' and no blank, without the '#'.
fn put_to_use(line: &str) -> Option<&str> {
    line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '['))
}

/// config.toml with every line that begins with '#' and no blank put to use.
fn all_keys(folder: &Path) -> String {
    let ca_file = folder.join("ca.pem");
    fs::write(&ca_file, "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n").unwrap();
    let text = fs::read_to_string(shipped("config.toml")).unwrap();
    let mut out = String::new();
    for line in text.lines() {
        out.push_str(put_to_use(line).unwrap_or(line));
        out.push('\n');
    }
    // The keys of a database have an effect with one.
    let file = "sqlite:/var/lib/upgrade-remediator/journal.db";
    assert!(out.contains(file));
    out.replace("/etc/ssl/private-cloud.pem", ca_file.to_str().unwrap())
        .replace(file, "postgres://u@db.example/d")
}

#[test]
fn config_toml_loads_with_its_policies_and_says_that_no_project_is_there() {
    let loaded = load_or_show(&shipped("config.toml"), &Environment::default());
    let names: Vec<_> = loaded.configuration.policies.iter().map(Policy::name).collect();
    assert_eq!(names, ["cautious", "night-window", "standard"]);
    assert_eq!(loaded.configuration.mode, Mode::DryRun);
    let warnings = warnings(&loaded);
    assert!(warnings.len() == 1 && warnings[0].contains("there is no [[project]]"), "{warnings:?}");
}

#[test]
fn config_toml_shows_the_defaults() {
    let (_folder, path) = alone("# nothing\n[[policy]]\nname = 'standard'\n");
    let built_in = load_or_show(&path, &Environment::default());
    let shown = load_or_show(&shipped("config.toml"), &Environment::default());
    let mut shown_values = values(&shown);
    shown_values.retain(|key, _| !key.starts_with("policy.") || key.starts_with("policy.standard."));
    assert_eq!(shown_values, values(&built_in));
}

#[test]
fn config_toml_shows_every_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    fs::write(&path, all_keys(folder.path())).unwrap();
    let loaded = load_or_show(&path, &Environment::default());
    let mut hidden = loaded.effective();
    hidden.retain(|effective| effective.origin == "default" && !effective.key.starts_with("policy."));
    assert_eq!(hidden, [], "keys that config.toml does not show");
    assert_eq!(loaded.configuration.projects.len(), 1);
    for key in [
        "project.prod.endpoint",
        "project.prod.ca_file",
        "project.prod.proxy",
        "project.prod.proxy_user",
        "project.prod.proxy_password",
        "credentials.main.security_token",
        "channel.ops.hmac_secret",
        "channel.ops.ca_file",
        "channel.ops.proxy",
        "channel.ops.proxy_user",
        "channel.ops.proxy_password",
        "channel.mail.hello",
        "channel.topic.endpoint",
        "channel.mail.password",
        "notify.default",
        "notify.page",
    ] {
        assert!(loaded.origins.contains_key(key), "{key}");
    }
    assert_eq!(loaded.configuration.channels.len(), 6);
    assert_eq!(
        loaded.configuration.http.as_ref().map(|http| http.listen.to_string()).as_deref(),
        Some("127.0.0.1:9187")
    );
    // Everything that can be written has an effect.
    let warnings = warnings(&loaded);
    assert!(!warnings.iter().any(|w| w.contains("no effect")), "{warnings:#?}");
}

#[test]
fn minimal_toml_and_the_policies_beside_it_work_together() {
    let loaded = load_or_show(&shipped("minimal.toml"), &Environment::default());
    assert_eq!(warnings(&loaded), [""; 0]);
    let names: Vec<_> = loaded.configuration.policies.iter().map(Policy::name).collect();
    assert_eq!(names, ["cautious", "night-window", "standard"], "the one that covers every task is the last");
    assert_eq!(loaded.configuration.projects[0].endpoint, "https://css.eu-west-101.myhuaweicloud.com");
    // A policy of somebody's own, by whatever number, is tried before it.
    let (folder, path) = alone(&fs::read_to_string(shipped("minimal.toml")).unwrap());
    let policies = folder.path().join("policies.d");
    fs::create_dir(&policies).unwrap();
    fs::copy(shipped("policies.d/99-standard.toml"), policies.join("99-standard.toml")).unwrap();
    fs::write(policies.join("50-mine.toml"), "[[policy]]\nname = 'mine'\nmatch.cluster = ['a']\n").unwrap();
    let loaded = load_or_show(&path, &Environment::default());
    assert_eq!(warnings(&loaded), [""; 0]);
    let names: Vec<_> = loaded.configuration.policies.iter().map(Policy::name).collect();
    assert_eq!(names, ["mine", "standard"]);
}

#[test]
fn minimal_toml_says_which_lines_to_use_without_systemd() {
    let minimal = fs::read_to_string(shipped("minimal.toml")).unwrap();
    let instead = minimal.lines().filter(|line| !line.contains("{ credential = "));
    let lines: Vec<&str> = instead.map(|line| put_to_use(line).unwrap_or(line)).collect();
    let text = lines.join("\n").replace("/srv/upgrade-remediator", "FOLDER");
    let (folder, path) = alone("x");
    fs::write(&path, text.replace("FOLDER", &folder.path().display().to_string())).unwrap();
    let policies = folder.path().join("policies.d");
    fs::create_dir(&policies).unwrap();
    for entry in fs::read_dir(shipped("policies.d")).unwrap() {
        let file = entry.unwrap();
        fs::copy(file.path(), policies.join(file.file_name())).unwrap();
    }
    let env = Environment::default();
    let loaded = load_or_show(&path, &env);
    assert_eq!(warnings(&loaded), [""; 0]);
    assert_eq!(loaded.check_directories(&env, false), []);
    assert_eq!(loaded.configuration.policies.len(), 3);
}

#[test]
fn the_standard_policy_writes_out_the_defaults() {
    let env = Environment::new([("UPGRADE_REMEDIATOR__MODE", "enforce")]);
    let loaded = load_or_show(&shipped("config.toml"), &env);
    let policies = &loaded.configuration.policies;
    assert_eq!(policies[2].terms, Terms::defaults("standard", Mode::Enforce));
    assert_eq!(policies[2].expect, Expect::default());
    assert_eq!(policies[0].terms.on_exhausted, OnExhausted::Escalate);
}

#[test]
fn the_night_window_is_open_at_night_and_closed_around_the_turn_of_the_year() {
    let loaded = load_or_show(&shipped("config.toml"), &Environment::default());
    let window = loaded.configuration.policies[1].terms.window.as_ref().unwrap();
    let time = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
    // 2026-11-24 is a Tuesday.
    let day = window.at(time("2026-11-24T12:00:00+01:00"));
    assert_eq!(day, WindowState::Closed { opens: Some(time("2026-11-24T22:00:00+01:00")) });
    let weekend = window.at(time("2026-11-28T12:00:00+01:00"));
    assert_eq!(weekend, WindowState::Open { closes: Some(time("2026-11-30T00:00:00+01:00")) });
    let holidays = window.at(time("2026-12-26T12:00:00+01:00"));
    assert_eq!(holidays, WindowState::Closed { opens: Some(time("2027-01-03T00:00:00+01:00")) });
}

#[test]
fn the_file_of_a_performance_run_loads_with_warnings_only() {
    let (folder, path) = alone("x");
    let folder = folder.path().display();
    fs::write(format!("{folder}/ca.pem"), "-----BEGIN CERTIFICATE-----\n").unwrap();
    let text = format!(
        r#"
mode = "dry-run"
[journal]
url = "sqlite:{folder}/journal.db"
[poll]
discovery_interval = "1h"
idle_interval = "1h"
active_interval = "1h"
max_failure_age = "36500d"
[limits]
max_requests_in_flight = 64
requests_per_second = 1000000
max_actions_in_flight = 1000000
max_actions_per_hour = 1000000
[breaker]
failures = 1000000
[http]
listen = ""
[control]
socket = "{folder}/control.sock"
[log]
filter = "warn"
[[project]]
name = "bench"
region = "cn-north-4"
project_id = "6204a5bd270343b5885144cf9c8c158d"
endpoint = "http://127.0.0.1:40123"
ca_file = "{folder}/ca.pem"
credentials = "main"
[credentials.main]
type = "ak-sk"
access_key = {{ env = "HUAWEICLOUD_SDK_AK" }}
secret_key = {{ env = "HUAWEICLOUD_SDK_SK" }}
[[policy]]
name = "all"
[policy.retry]
initial_interval = "1h"
max_interval = "1h"
"#
    );
    fs::write(&path, text).unwrap();
    let loaded = load_or_show(&path, &Environment::default());
    let mut keys: Vec<_> = loaded.warnings.iter().filter_map(|warning| warning.key.clone()).collect();
    keys.sort();
    assert_eq!(keys, [""; 0]);
}
