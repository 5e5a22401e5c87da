//! What is shipped for Prometheus and Grafana: the rules are sound, each alert fires when it should and only then, each has its
//! section in the runbook, and every metric that they name is one of `docs/metrics.md`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::tools::{PROMTOOL, tell};

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(path: &str) -> String {
    fs::read_to_string(project(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn promtool(arguments: &[&str]) -> Result<String, String> {
    tell(Command::new(&*PROMTOOL).args(arguments).current_dir(project("config/monitoring")))
}

/// The value of each line `key: value` of the rules.
fn values(key: &str) -> Vec<String> {
    let rules = text("config/monitoring/alerts.yaml");
    let lines = rules.lines().map(|line| line.trim_start().trim_start_matches("- "));
    lines.filter_map(|line| line.strip_prefix(key)?.strip_prefix(": ")).map(str::to_owned).collect()
}

/// The metrics of the document's table, with the series that a histogram has.
fn documented() -> BTreeSet<String> {
    let document = text("docs/metrics.md");
    let mut names = BTreeSet::new();
    for row in document.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let name = cells[1].trim_matches('`');
        match cells[2] {
            "histogram" => names.extend(["bucket", "sum", "count"].map(|series| format!("{name}_{series}"))),
            "counter" => {
                assert!(name.ends_with("_total"), "{name} is a counter");
                names.insert(name.to_owned());
            }
            "gauge" => {
                names.insert(name.to_owned());
            }
            other => panic!("{name}: the type {other:?}"),
        }
    }
    assert!(names.len() > 35, "{names:?}");
    names
}

/// The names of metrics in an expression, by their prefixes.
fn metrics_in(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words
        .filter(|word| word.starts_with("upgrade_remediator") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_rules_are_sound_and_each_alert_fires_when_it_should() {
    let told = promtool(&["check", "rules", "alerts.yaml"]).unwrap();
    assert!(told.contains(&format!("{} rules found", values("alert").len())), "{told}");
    let told = promtool(&["test", "rules", "alerts.test.yaml"]).unwrap();
    assert!(told.contains("SUCCESS"), "{told}");

    let tests = text("config/monitoring/alerts.test.yaml");
    for alert in values("alert") {
        for how in ["fires", "stays quiet"] {
            assert!(tests.contains(&format!("- name: {alert} {how}\n")), "no test shows that {alert} {how}");
        }
    }
}

/// A test of alerts that cannot fail would be none: with any one expression that never fires, the tests fail.
#[test]
fn the_tests_of_the_alerts_notice_a_broken_one() {
    let folder = tempfile::tempdir().unwrap();
    let rules = text("config/monitoring/alerts.yaml");
    fs::copy(project("config/monitoring/alerts.test.yaml"), folder.path().join("alerts.test.yaml")).unwrap();
    let broken = rules.replacen("upgrade_remediator_tasks_running_too_long > 0", "vector(1) > 2", 1);
    assert_ne!(rules, broken);
    fs::write(folder.path().join("alerts.yaml"), broken).unwrap();
    let test =
        tell(Command::new(&*PROMTOOL).args(["test", "rules", "alerts.test.yaml"]).current_dir(folder.path()));
    assert!(test.unwrap_err().contains("UpgradeRemediatorRunsTooLong"));
}

#[test]
fn each_alert_says_what_a_human_needs_and_has_its_section_in_the_runbook() {
    let alerts = values("alert");
    for key in ["expr", "for", "severity", "summary", "description", "runbook"] {
        assert_eq!(values(key).len(), alerts.len(), "each alert needs {key}");
    }
    let runbook = text("docs/runbook.md");
    let sections: BTreeSet<&str> =
        runbook.lines().filter_map(|line| line.strip_prefix("## Upgrade")).collect();
    assert_eq!(sections.len(), alerts.len(), "the runbook has a section of no alert: {sections:?}");
    for (alert, link) in alerts.iter().zip(values("runbook")) {
        assert_eq!(link, format!("docs/runbook.md#{}", alert.to_lowercase()));
        let section = runbook.split(&format!("\n## {alert}\n")).nth(1);
        let section = section.unwrap_or_else(|| panic!("{alert} has no section in docs/runbook.md"));
        let section = section.split("\n## ").next().unwrap();
        for part in ["**It means:**", "**The daemon by itself:**", "**Look at:**", "**Do:**", "```sh"] {
            assert!(section.contains(part), "{alert}: no {part}");
        }
    }
}

/// The commands of the runbook exist, so that nobody types one at night that does not.
#[test]
fn the_commands_of_the_runbook_exist() {
    let runbook = text("docs/runbook.md");
    let mut commands = BTreeSet::new();
    // Code stands between marks: every other piece.
    for (index, block) in runbook.split("```").enumerate() {
        let code: Vec<&str> = if index % 2 == 1 {
            block.lines().collect()
        } else {
            block.split('`').skip(1).step_by(2).collect()
        };
        for line in code {
            if let Some(command) = line.trim().strip_prefix("upgrade-remediator ") {
                commands.insert(command.split_whitespace().next().unwrap().to_owned());
            }
        }
    }
    assert!(commands.len() >= 8, "{commands:?}");
    for command in commands {
        let help = Command::new(env!("CARGO_BIN_EXE_upgrade-remediator")).args([&command, "--help"]).output();
        assert!(help.unwrap().status.success(), "there is no command {command}");
    }
}

/// The panels of the dashboard.
fn panels() -> Vec<Value> {
    let dashboard: Value = serde_json::from_str(&text("config/monitoring/grafana-dashboard.json")).unwrap();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert!(variables.iter().any(|it| it["name"] == "datasource" && it["type"] == "datasource"));
    dashboard["panels"].as_array().unwrap().clone()
}

fn expressions() -> Vec<String> {
    let targets =
        panels().into_iter().flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default());
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_dashboard_can_be_imported() {
    let panels = panels();
    let rows: Vec<&str> = panels
        .iter()
        .filter(|panel| panel["type"] == "row")
        .map(|panel| panel["title"].as_str().unwrap())
        .collect();
    assert_eq!(rows, ["Overview", "Tasks and decisions", "API", "Journal"]);
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "two panels have one id");
    let mut cells = BTreeSet::new();
    for panel in &panels {
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{panel}");
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(cells.insert((x, y)), "it lies over another one: {panel}");
            }
        }
        for target in panel["targets"].as_array().into_iter().flatten() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{panel}");
        }
    }

    // Its queries are sound: as rules, with what Grafana puts in their place.
    let folder = tempfile::tempdir().unwrap();
    let mut rules = "groups:\n  - name: dashboard\n    rules:\n".to_owned();
    for (index, expression) in expressions().into_iter().enumerate() {
        let expression = expression.replace("$__rate_interval", "5m").replace("$project", ".*");
        let quoted = serde_json::to_string(&expression).unwrap();
        let _ = write!(rules, "      - record: panel:{index}\n        expr: {quoted}\n");
    }
    fs::write(folder.path().join("dashboard.yaml"), rules).unwrap();
    tell(Command::new(&*PROMTOOL).args(["check", "rules", "dashboard.yaml"]).current_dir(folder.path()))
        .unwrap();
}

#[test]
fn only_metrics_that_exist_are_used_and_every_one_of_ours_is_shown() {
    let documented = documented();
    let rules = text("config/monitoring/alerts.yaml");
    // An expression stands alone on the line after its key.
    let lines: Vec<&str> = rules.lines().map(str::trim).collect();
    let in_rules: BTreeSet<String> = lines
        .windows(2)
        .filter(|pair| pair[0].starts_with("expr:"))
        .flat_map(|pair| metrics_in(pair[1]))
        .collect();
    assert!(in_rules.len() > 15, "{in_rules:?}");
    let in_dashboard: BTreeSet<String> =
        expressions().iter().flat_map(|expression| metrics_in(expression)).collect();
    let used: BTreeSet<String> = in_rules.union(&in_dashboard).cloned().collect();
    let unknown: Vec<_> = used.difference(&documented).collect();
    assert_eq!(unknown, Vec::<&String>::new(), "not in docs/metrics.md");

    // What is measured and shown nowhere is measured for nobody; these are for queries by hand.
    let by_hand = ["projects", "config_last_reload_success_timestamp_seconds"];
    let shown = |name: &&String| {
        let name = name.strip_prefix("upgrade_remediator_");
        name.is_some_and(|name| {
            !by_hand.contains(&name) && !name.ends_with("_sum") && !name.ends_with("_count")
        })
    };
    let unused: Vec<_> = documented.difference(&used).filter(shown).collect();
    assert_eq!(unused, Vec::<&String>::new(), "in no alert and no panel");
}
