//! What the configuration allows and an operator should know of before it is too late; and the right form as help.
#![expect(clippy::panic, reason = "test code outside of test functions")]

use std::fs;
use std::path::Path;

use crate::{POLICY, PROJECT};
use upgrade_remediator::configuration::{
    Environment, FileText, Loaded, Problems, Severity, load, load_texts,
};

const OPS: &str = "[[channel]]\nname = 'ops'\ntype = 'wecom'\nurl = { env = 'U' }\n";

fn texts(main: &str, env: &Environment) -> Result<Loaded, Problems> {
    load_texts(&FileText { file: "config.toml".into(), text: main.to_owned() }, &[], env)
}

/// The warnings about a configuration that can be used.
fn warned(main: &str) -> Vec<String> {
    let loaded = texts(main, &Environment::default()).unwrap_or_else(|problems| panic!("{problems}"));
    loaded.warnings.iter().map(ToString::to_string).collect()
}

/// Everything that is said of a configuration that cannot be used.
fn refused(main: &str) -> Problems {
    match texts(main, &Environment::default()) {
        Ok(_) => panic!("this was taken:\n{main}"),
        Err(problems) => problems,
    }
}

#[test]
fn enforce_without_any_channel_is_warned_of() {
    let alone = format!("mode = 'enforce'\n{PROJECT}{POLICY}");
    let told = warned(&alone);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("warning: config.toml:1:1: mode\n"), "{told:?}");
    assert!(told[0].contains("nobody is notified") && told[0].contains("notify-test NAME"), "{told:?}");
    assert_eq!(warned(&format!("{PROJECT}{POLICY}")), [""; 0], "dry-run sends nothing");
    let heard = format!("mode = 'enforce'\n[notify]\ndefault = ['ops']\n{PROJECT}{OPS}{POLICY}");
    assert_eq!(warned(&heard), [""; 0]);
    let env = Environment::new([("UPGRADE_REMEDIATOR__MODE", "enforce")]);
    let by_the_environment = texts(&format!("{PROJECT}{POLICY}"), &env).unwrap().warnings;
    assert!(by_the_environment[0].message.contains("UPGRADE_REMEDIATOR__MODE"), "{by_the_environment:?}");
}

#[test]
fn a_file_of_policies_that_is_not_read_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    fs::write(&path, format!("{PROJECT}{POLICY}")).unwrap();
    let policies = folder.path().join("policies.d");
    fs::create_dir_all(policies.join("prod")).unwrap();
    for name in
        ["10-logs.tml", "20-x.toml.disabled", ".30.toml.swp", "a.toml~", "a.toml.bak", "a.toml.dpkg-new"]
    {
        fs::write(policies.join(name), "broken").unwrap();
    }
    let loaded = load(&path, &Environment::default()).unwrap_or_else(|problems| panic!("{problems}"));
    let files: Vec<_> = loaded.warnings.iter().filter_map(|warning| warning.file.clone()).collect();
    assert_eq!(files, ["10-logs.tml", "20-x.toml.disabled", "prod"].map(|name| policies.join(name)));
    let told = loaded.warnings[0].in_one_line();
    assert!(told.contains("the daemon does not read this") && told.contains("ends in .toml"), "{told}");
}

#[test]
fn a_missing_directory_of_journal_or_socket_is_warned_of_with_what_follows() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().display();
    let configuration = |mode: &str, directory: &str| {
        let text = format!(
            "mode = '{mode}'\n[journal]\nurl = 'sqlite:{place}{directory}/journal.db'\n[control]\n\
             socket = '{place}{directory}/control.sock'\n{PROJECT}{POLICY}"
        );
        texts(&text, &Environment::default()).unwrap_or_else(|problems| panic!("{problems}"))
    };
    let told = |loaded: &Loaded, env: &Environment, systemd| -> Vec<String> {
        loaded.check_directories(env, systemd).iter().map(ToString::to_string).collect()
    };
    let none = Environment::default();
    assert_eq!(told(&configuration("enforce", ""), &none, true), [""; 0]);
    let [journal, socket] = told(&configuration("enforce", "/absent"), &none, true).try_into().unwrap();
    for part in [
        "warning: config.toml:3:7: journal.url",
        "/absent does not exist: the daemon does not start",
        "create",
    ] {
        assert!(journal.contains(part), "{part}: {journal}");
    }
    for part in ["config.toml:5:10: control.socket", "does not exist: the daemon does not start in enforce"] {
        assert!(socket.contains(part), "{part}: {socket}");
    }
    let [_, socket] = told(&configuration("dry-run", "/absent"), &none, true).try_into().unwrap();
    assert!(socket.contains("no command can reach the daemon"), "{socket}");
    fs::write(folder.path().join("file"), "").unwrap();
    let [journal, _] = told(&configuration("enforce", "/file"), &none, true).try_into().unwrap();
    assert!(journal.contains("is not a directory"), "{journal}");

    // systemd creates the default ones at start, and has created those that it names.
    let default = texts(&format!("{PROJECT}{POLICY}"), &none).unwrap();
    assert_eq!(told(&default, &none, true), [""; 0]);
    let absent = Environment::new([
        ("STATE_DIRECTORY", folder.path().join("absent")),
        ("RUNTIME_DIRECTORY", folder.path().to_owned()),
    ]);
    let loaded = texts(&format!("{PROJECT}{POLICY}"), &absent).unwrap();
    let [journal] = told(&loaded, &absent, true).try_into().unwrap();
    assert!(journal.contains("journal.url"), "{journal}");
    let everywhere = ["/var/lib/upgrade-remediator", "/run/upgrade-remediator"];
    let missing = everywhere.iter().filter(|path| !Path::new(path).exists()).count();
    assert_eq!(told(&default, &none, false).len(), missing, "without systemd nobody creates them");
}

#[test]
fn a_project_id_that_is_none_is_warned_of() {
    let with =
        |id: &str| warned(&format!("{PROJECT}{POLICY}").replace("6204a5bd270343b5885144cf9c8c158d", id));
    for id in
        ["prod", "eu-west-101", "6204a5bd270343b5885144cf9c8c158", "6204a5bd-2703-43b5-8851-44cf9c8c158d"]
    {
        let told = with(id);
        assert_eq!(told.len(), 1, "{id}: {told:?}");
        for part in
            ["config.toml:4:1: project.prod.project_id", id, "32 hexadecimal digits", "My Credentials"]
        {
            assert!(told[0].contains(part), "{part}: {told:?}");
        }
    }
    assert_eq!(with("00000000000000000000000000000001"), [""; 0]);
}

/// What is wrong, and the help that gives the right form; nothing else is said.
fn helped(text: &str) -> String {
    let problems = refused(text);
    let [problem] = problems.0.as_slice() else { panic!("one problem, one message:\n{problems}") };
    problem.hint.clone().unwrap_or_else(|| panic!("no help:\n{problems}"))
}

#[test]
fn a_table_in_another_form_is_told_with_the_right_one() {
    let policy = |rest: &str| format!("{PROJECT}{POLICY}{rest}");
    let window = |rest: &str| policy(&format!("[policy.window]\ntimezone = 'UTC'\n{rest}"));
    for (text, help) in [
        (
            policy("window = '20:30-05:00'"),
            "write window = { timezone = \"Europe/Berlin\", allow = [{ from = \"20:30\", to = \"05:00\" }] }",
        ),
        (
            policy("window = 'at night'"),
            "write window = { timezone = \"Europe/Berlin\", allow = [{ from = \"22:00\", to = \"06:00\" }] }",
        ),
        (window("allow = '20:30-05:00'"), "write allow = [{ from = \"20:30\", to = \"05:00\" }]"),
        (window("allow = ['20:30 - 05:00']"), "write { from = \"20:30\", to = \"05:00\" }"),
        (policy("expect = '4h'"), "write expect = { per_node = …, allowance = …, no_progress = … }"),
        (policy("match.cluster = 'logs-*'"), "write cluster = [\"…\"]"),
        (format!("control = '/x'\n{}", policy("")), "write control = { socket = … }"),
    ] {
        assert_eq!(helped(&text), help, "{text}");
    }
    assert!(
        !refused(&policy("window = 'canary-22:00'"))
            .to_string()
            .contains("write window = { timezone = \"canary")
    );
}

#[test]
fn what_is_taken_from_a_text_in_place_of_a_table_is_times_and_nothing_else() {
    for found in ["canary-7f3a", "22:00-canary", "canary 22:00-06:00"] {
        let help = helped(&format!("{PROJECT}{POLICY}window = '{found}'"));
        assert!(!help.contains("canary") && help.contains("\"22:00\", to = \"06:00\""), "{help}");
    }
}

#[test]
fn the_right_form_that_is_given_can_be_written() {
    for text in ["window = '20:30-05:00'", "window = 'at night'"] {
        let help = helped(&format!("{PROJECT}{POLICY}{text}"));
        let right = help.strip_prefix("write ").unwrap();
        assert_eq!(warned(&format!("{PROJECT}{POLICY}{right}\n")), [""; 0], "{right}");
    }
}

#[test]
fn a_channel_in_the_wrong_place_is_told_with_the_right_form_and_nothing_follows_from_it() {
    for head in ["[notify.slack]", "[slack]", "[notify.webhook]"] {
        for mode in ["dry-run", "enforce"] {
            let text = format!("mode = '{mode}'\n{PROJECT}{POLICY}{head}\nurl = 'canary'\n");
            let help = helped(&text);
            let kind = head.trim_matches(['[', ']']).trim_start_matches("notify.");
            for part in ["[[channel]]", &format!("type = \"{kind}\""), "default = [\"ops\"]"] {
                assert!(help.contains(part), "{head}: {help}");
            }
        }
    }
}

#[test]
fn a_bad_value_is_held_against_no_other_value() {
    let top = |rest: &str| format!("{rest}\n{PROJECT}{POLICY}");
    let policy = |rest: &str| format!("{PROJECT}{POLICY}{rest}\n");
    let window = |rest: &str| policy(&format!("[policy.window]\ntimezone = 'UTC'\n{rest}"));
    for text in [
        // Against the default of 2m.
        policy("retry = { initial_interval = '5 bananas', max_interval = '1m' }"),
        // Against the default of 1h.
        policy("retry = { initial_interval = '2h', max_interval = '3 bananas' }"),
        policy("retry = { initial_interval = 5, max_elapsed_time = '1m' }"),
        policy("retry = { initial_interval = '1h', max_elapsed_time = '1m', max_retries = '0' }"),
        top("[poll]\nrequest_timeout = '10 bananas'\nsettle_timeout = '20s'"),
        top("[poll]\nrequest_timeout = '6m'\nsettle_timeout = 'ten minutes'"),
        top("[poll]\nmax_failure_age = 'a day'\n[journal]\nretention = '3d'"),
        top("[http]\nlisten = '0.0.0.0:9187'\nexpose_without_authentication = 'yes'"),
        window("allow = '22:00-06:00'"),
        window("allow = [{ from = '9:00', to = '00:00' }]"),
        window("deny = 5"),
        top(&format!("{OPS}[notify]\ndefault = 'ops'")),
        top(&format!("{OPS}[notify]\ndefault = 'ops'")) + "notify = ['ops']\n",
        top("[channel]\nname = 'ops'\ntype = 'wecom'\nurl = { env = 'U' }\n[notify]\ndefault = ['ops']"),
        top("mode = 'enforce'\n[channel]\nname = 'ops'\ntype = 'wecom'\nurl = { env = 'U' }"),
        top(&format!("[notify]\ndefault = ['ops']\n{}", OPS.replace("'ops'", "5"))),
    ] {
        let problems = refused(&text);
        let errors: Vec<_> =
            problems.0.iter().filter(|problem| problem.severity == Severity::Error).collect();
        assert!(errors.len() == 1 && problems.0.len() == 1, "{text}\n{problems}");
    }
}
