//! Mistakes that first users make: each is told once, with its cause and the way out.
#![expect(clippy::panic, reason = "test code outside of test functions")]

use std::fs;

use jiff::Timestamp;

use crate::{POLICY, PROJECT};
use upgrade_remediator::configuration::{Environment, FileText, Loaded, Problem, Problems, load, load_texts};

const OPS: &str = "[[channel]]\nname = 'ops'\ntype = 'wecom'\nurl = { env = 'U' }\n";

fn read(main: &str, policies: &str) -> Result<Loaded, Problems> {
    let file = |name: &str, text: &str| FileText { file: name.into(), text: text.to_owned() };
    let more: &[FileText] = if policies.is_empty() { &[] } else { &[file("p.toml", policies)] };
    load_texts(&file("config.toml", main), more, &Environment::default())
}

/// All problems of a configuration that cannot be used.
fn refused(main: &str, policies: &str) -> Vec<Problem> {
    match read(main, policies) {
        Ok(_) => panic!("this was taken:\n{main}\n{policies}"),
        Err(problems) => problems.0,
    }
}

/// The only problem of a configuration that cannot be used.
fn only(main: &str, policies: &str) -> Problem {
    match refused(main, policies).as_slice() {
        [one] => one.clone(),
        found => panic!("one mistake, one message:\n{main}\n{policies}\n{}", Problems(found.to_vec())),
    }
}

/// The warnings about a configuration that can be used, at this time.
fn warned_at(main: &str, now: &str) -> Vec<String> {
    let loaded = read(main, "").unwrap_or_else(|problems| panic!("{problems}"));
    let now: Timestamp = now.parse().unwrap_or_else(|error| panic!("{error}"));
    loaded.warnings_at(now).iter().map(ToString::to_string).collect()
}

fn warned(main: &str) -> Vec<String> {
    warned_at(main, "2026-12-01T00:00:00Z")
}

#[test]
fn a_key_of_another_section_is_told_with_the_section_that_it_belongs_in() {
    let top = |rest: &str| format!("{rest}\n{PROJECT}{POLICY}");
    let policy = |rest: &str| format!("{PROJECT}{POLICY}{rest}\n");
    for (main, help) in [
        (top("[poll]\nmax_actions_per_hour = 5"), "it belongs in [limits]"),
        (
            top("[journal]\nmode = 'enforce'\n[limits]"),
            "it belongs at the top of config.toml, before the first [section], or in [[policy]]; known here: url, retention, password, \
             ca_file, client_cert, client_key, schema, connections, allow_plaintext",
        ),
        (
            top(&format!("{OPS}mode = 'enforce'\n[notify]\ndefault = ['ops']")),
            "it belongs at the top of config.toml, before the first [section], or in [[policy]]; known here: type, url, name, ca_file, proxy, proxy_user, proxy_password",
        ),
        (top("max_actions_per_hour = 5"), "it belongs in [limits]"),
        (top("idle_interval = '5m'"), "it belongs in [poll]"),
        (policy("max_retries = 3"), "it belongs in [policy.retry]"),
        (
            policy("[policy.window]\ntimezone = 'UTC'\nallow = [{ from = '22:00' }]\nmax_retries = 3"),
            "it belongs in [policy.retry]",
        ),
        (policy("[policy.match]\nmode = 'enforce'"), "it belongs in [[policy]]"),
        (
            policy("[policy.window]\ntimezone = 'UTC'\ndays = ['mon']\nallow = [{ from = '22:00' }]"),
            "it belongs in an entry of allow in [policy.window]",
        ),
        (policy("[retry]\nmax_retries = 3"), "write it as [policy.retry]"),
        (policy("[policy.limits]\nrequests_per_second = 3"), "write it as [limits]"),
        (top("[poll]\nagency_name = 'x'"), "it belongs in [credentials.NAME]"),
        // Nothing of this name is anywhere.
        (top("[http]\ncolour = 'red'"), "known here: listen, hosts, expose_without_authentication"),
        // A slip of the name is one still.
        (top("[poll]\nidle_intervall = '5m'"), "did you mean idle_interval?"),
    ] {
        let problem = only(&main, "");
        assert_eq!(problem.hint.as_deref(), Some(help), "{main}");
    }
    for (policies, help) in [
        ("[match]\ncluster = ['a']\n", "write it as [policy.match]"),
        ("max_retries = 3\n", "it belongs in [policy.retry]"),
        (
            "[poll]\nidle_interval = '5m'\n",
            "a file of policies.d holds [[policy]] only; the rest belongs in config.toml",
        ),
    ] {
        assert_eq!(only(&format!("{PROJECT}{POLICY}"), policies).hint.as_deref(), Some(help), "{policies}");
    }
}

#[test]
fn a_colon_instead_of_an_equals_sign_is_one_error_with_its_line_and_the_right_form() {
    for (main, line, help) in [
        ("mode: \"dry-run\"\n", "mode: \"dry-run\"", "write mode = …, with '=' instead of ':'"),
        (
            "[poll]\nidle_interval: 5m\n",
            "idle_interval: 5m",
            "write idle_interval = …, with '=' instead of ':'",
        ),
        (
            "[credentials.main]\nsecret_key: canary\n",
            "secret_key: ***",
            "write secret_key = …, with '=' instead of ':'",
        ),
        ("[[channel]]\nurl: https://h/canary\n", "url: ***", "write url = …, with '=' instead of ':'"),
    ] {
        let problem = only(main, "");
        assert_eq!(problem.hint.as_deref(), Some(help), "{main}");
        assert_eq!(problem.snippet.map(|snippet| snippet.text).as_deref(), Some(line), "{main}");
    }
    for text in ["canary: x\n", "x = '''\ncanary: x\n", "\"canary\": 5\n", "canary:secret@host\n"] {
        for problem in refused(text, "") {
            assert!(!problem.to_string().contains("canary"), "{problem}");
        }
    }
}

#[test]
fn a_key_or_section_that_is_given_twice_is_told_with_the_place_of_the_first() {
    for (main, at, first) in [
        ("mode = 'dry-run'\nmode = 'enforce'\n", 2, 1),
        ("[poll]\n\n[limits]\n[poll]\n", 4, 1),
        ("[[policy]]\nname = 'a'\n[[policy]]\nname = 'b'\nenabled = true\nname = 'c'\n", 6, 4),
        ("[credentials.main]\ntype = 'token'\n[credentials.'main']\n", 3, 1),
        ("[poll]\nidle_interval = '1m'\n'idle_interval' = '2m'\n", 3, 2),
        ("x = { a = 1, b = 2,\na = 3 }\n", 2, 1),
        ("[policy]\n[[policy]]\nname = 'a'\n", 2, 1),
        ("policy = 5\n[[policy]]\nname = 'a'\n", 2, 1),
    ] {
        let problem = only(main, "");
        assert_eq!(problem.line, Some(at), "{main}{problem}");
        let message = format!("not TOML: duplicate key: also at config.toml:{first}");
        assert_eq!(problem.message, message, "{main}");
    }
}

#[test]
fn a_name_that_is_not_there_is_told_with_those_that_are() {
    let with = |find: &str, instead: &str| {
        format!("{PROJECT}{OPS}{POLICY}notify = ['ops']\n").replace(find, instead)
    };
    for (main, message, help) in [
        (
            with("notify = ['ops']", "notify = ['mail']"),
            "there is no channel of the name \"mail\"",
            "the channels are \"ops\"",
        ),
        (
            with("notify = ['ops']", "notify = ['opps']"),
            "there is no channel of the name \"opps\"",
            "did you mean \"ops\"?",
        ),
        (with(OPS, ""), "there is no channel of the name \"ops\"", "add a [[channel]] of this name"),
        (
            with("credentials = 'main'", "credentials = 'prod'"),
            "there are no credentials of the name \"prod\"",
            "the credentials are \"main\"",
        ),
        (
            with(
                "type = 'wecom'\nurl = { env = 'U' }",
                "type = 'smn'\nproject = 'staging'\ntopic_urn = 'urn:smn:a:b:c'",
            ),
            "there is no project of the name \"staging\"",
            "the projects are \"prod\"",
        ),
        (
            with(
                "[[policy]]",
                "[credentials.a]\ntype = 'agency'\nsource = 'other'\nagency_urn = 'x'\n[[policy]]",
            ),
            "there are no credentials of the name \"other\"",
            "the credentials are \"a\", \"main\"",
        ),
    ] {
        // That notify.default names no channel is a warning of its own.
        let errors: Vec<_> = refused(&main, "").into_iter().filter(Problem::is_error).collect();
        let [problem] = errors.as_slice() else { panic!("{main}\n{errors:?}") };
        assert_eq!((problem.message.as_str(), problem.hint.as_deref()), (message, Some(help)), "{main}");
    }
    let no_project = warned(&with("notify", "match.project = ['staging']\nnotify"));
    assert!(no_project.iter().any(|told| told.contains("the projects are \"prod\"")), "{no_project:?}");
    let many = (0..30)
        .fold(String::new(), |text, n| text + &format!("[credentials.n{n:02}]\ntype = 'ecs-agency'\n"));
    let found = refused(&format!("{}{many}", with("credentials = 'main'", "credentials = 'staging'")), "");
    let help = found.into_iter().find(Problem::is_error).and_then(|problem| problem.hint).unwrap_or_default();
    assert!(help.contains("\"main\", \"n00\"") && help.ends_with("and 21 more"), "{help}");
}

#[test]
fn a_duration_of_another_unit_is_told_with_the_units() {
    for wrong in ["10M", "10 moons", ""] {
        let problem = only(&format!("[poll]\nidle_interval = '{wrong}'\n{PROJECT}{POLICY}"), "");
        assert!(problem.message.contains("(units: ms, s, m, h, d, w)"), "{problem}");
    }
    for unit in ["ms", "s", "m", "h", "d", "w"] {
        assert!(
            read(&format!("[poll]\nidle_interval = '20{unit}'\n{PROJECT}{POLICY}"), "").is_ok(),
            "{unit}"
        );
    }
}

#[test]
fn what_only_follows_from_an_error_is_not_told() {
    for (main, policies) in [
        (PROJECT.replace("[[project]]", "[[projects]]") + POLICY, ""),
        (PROJECT.replace("[[project]]", "[project]") + POLICY, ""),
        (format!("{PROJECT}[[policies]]\nname = 'a'\n"), ""),
        (PROJECT.to_owned(), "[policy]\nname = 'a'\n"),
        (PROJECT.to_owned(), "[[policys]]\nname = 'a'\n"),
        (PROJECT.to_owned(), "[[policy]]\nname = \n"),
        (PROJECT.replace("= 'main'", "= 'mian'") + POLICY, ""),
        (format!("[notify]\ndefault = ['opps']\n{PROJECT}{OPS}{POLICY}"), ""),
        (format!("mode = 'enforce'\n{PROJECT}{POLICY}{}", OPS.replace("[[channel]]", "[[channels]]")), ""),
    ] {
        assert!(only(&main, policies).is_error(), "{main}");
    }
    let lonely = warned(&format!("{}{POLICY}", &PROJECT[PROJECT.find("[cred").unwrap()..]));
    assert!(lonely.len() == 1 && lonely[0].contains("there is no [[project]]"), "{lonely:?}");
}

#[test]
fn a_file_in_the_place_of_policies_d_is_told_as_what_it_is_and_nothing_follows_from_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    fs::write(&path, PROJECT).unwrap();
    fs::write(folder.path().join("policies.d"), "[[policy]]\nname = 'a'\n").unwrap();
    let problems = load(&path, &Environment::default()).unwrap_err();
    let [problem] = problems.0.as_slice() else { panic!("{problems}") };
    assert_eq!(problem.file, Some(folder.path().join("policies.d")));
    assert_eq!(problem.message, "this is not a folder");
    assert!(
        problem.hint.as_deref().is_some_and(|hint| hint.contains("policies.d/50-policies.toml")),
        "{problem}"
    );

    fs::remove_file(folder.path().join("policies.d")).unwrap();
    fs::create_dir(folder.path().join("policies.d")).unwrap();
    fs::write(folder.path().join("policies.d/a.toml"), b"\xff\xfe").unwrap();
    let problems = load(&path, &Environment::default()).unwrap_err();
    assert!(problems.0.len() == 1 && problems.has_errors(), "{problems}");
}

#[test]
fn a_filter_of_the_log_that_gives_this_program_no_level_is_warned_of() {
    let with = |filter: &str| warned(&format!("[log]\nfilter = '{filter}'\n{PROJECT}{POLICY}"));
    for (filter, part) in [
        ("inof", "did you mean \"info\"?"),
        ("WARNING", "did you mean \"warn\"?"),
        ("upgrade-remediator=debug", "did you mean \"upgrade_remediator=debug\"?"),
        ("hyper=debug", "add a level for everything else: \"info,hyper=debug\""),
        ("upgrade_remediatr=debug,hyper=info", "add a level for everything else"),
    ] {
        let told = with(filter);
        assert_eq!(told.len(), 1, "{filter}: {told:?}");
        assert!(
            told[0].contains("config.toml:2:1: log.filter")
                && told[0].contains("nothing of this program is logged"),
            "{told:?}"
        );
        assert!(told[0].contains(part), "{part}: {told:?}");
    }
    for filter in [
        "info",
        "INFO",
        "off",
        "4",
        "hyper=debug,warn",
        "upgrade_remediator=debug",
        "upgrade_remediator::schedule=trace",
        "upgrade_remediator",
        "[span]=info",
        "[{cluster}]=trace",
    ] {
        assert_eq!(with(filter), [""; 0], "{filter}");
    }
}

#[test]
fn a_regular_expression_in_the_place_of_a_glob_is_warned_of() {
    let with = |rest: &str| warned(&format!("{PROJECT}{POLICY}match.{rest}\n"));
    for (pattern, meant) in [
        ("^logs-.*$", Some("logs-*")),
        ("^logs-", Some("logs-*")),
        ("-logs$", Some("*-logs")),
        ("logs-.*", Some("logs-*")),
        (".+-logs", Some("?*-logs")),
        ("^(a|b)$", None),
        ("logs-\\\\d", None),
    ] {
        let told = with(&format!("cluster = [\"{pattern}\"]"));
        assert_eq!(told.len(), 1, "{pattern}: {told:?}");
        assert!(
            told[0].contains("policy.logs.match.cluster[0]")
                && told[0].contains("looks like a regular expression"),
            "{told:?}"
        );
        match meant {
            Some(meant) => assert!(told[0].contains(&format!("did you mean \"{meant}\"?")), "{told:?}"),
            None => assert!(!told[0].contains("did you mean"), "{told:?}"),
        }
    }
    assert_eq!(with("tags = { team = '^a$' }").len(), 1);
    for good in [
        "cluster = ['logs-*', 'a.b', '[ab]-{x,y}-?']",
        "version = ['7.*', '7.10.*']",
        "engine = ['elasticsearch']",
    ] {
        assert_eq!(with(good), [""; 0], "{good}");
    }
}

#[test]
fn a_region_that_no_table_knows_is_warned_of_where_the_region_alone_gives_the_host() {
    let with = |region: &str, rest: &str| {
        warned(&format!("{PROJECT}{POLICY}").replace("'eu-west-101'", &format!("'{region}'\n{rest}")))
    };
    for (region, part) in [
        ("eu-west-1", "did you mean \"eu-west-101\"?"),
        ("cn-nort-4", "did you mean \"cn-north-4\"?"),
        ("mars-1", "give endpoint"),
    ] {
        let told = with(region, "");
        assert_eq!(told.len(), 1, "{region}: {told:?}");
        for part in ["config.toml:3:1: project.prod.region", &format!("css.{region}.myhuaweicloud.com"), part]
        {
            assert!(told[0].contains(part), "{part}: {told:?}");
        }
    }
    assert_eq!(with("mars-1", "endpoint = 'https://css.mars.example'"), [""; 0]);
    for known in ["eu-west-101", "eu-west-0", "cn-north-4", "ap-southeast-5"] {
        assert_eq!(with(known, ""), [""; 0], "{known}");
    }
}

#[test]
fn an_entry_of_deny_that_is_over_is_warned_of() {
    let main = format!(
        "{PROJECT}{POLICY}[policy.window]\ntimezone = 'Europe/Berlin'\ndeny = [{{ from = '2024-12-20T00:00', to = \
         '2025-01-03T00:00' }}, {{ from = '2025-12-20T00:00', to = '2026-01-03T00:00' }}]\n"
    );
    assert_eq!(warned_at(&main, "2025-01-02T22:59:59Z"), [""; 0], "until its end, in the zone of the window");
    let told = warned_at(&main, "2025-01-02T23:00:00Z");
    assert_eq!(told.len(), 1, "{told:?}");
    for part in [
        "config.toml:14:1: policy.logs.window.deny",
        "2024-12-20T00:00",
        "2025-01-03T00:00",
        "is over and denies nothing",
    ] {
        assert!(told[0].contains(part), "{part}: {told:?}");
    }
    let both = warned_at(&main, "2026-12-01T00:00:00Z");
    assert!(both.len() == 1 && both[0].contains("2 entries"), "{both:?}");
}
