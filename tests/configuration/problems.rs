//! What is wrong with the configuration is told: all of it, where it stands, and never with a secret.
#![expect(clippy::panic, reason = "test code outside of test functions")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use crate::{POLICY, PROJECT};
use proptest::prelude::*;
use upgrade_remediator::configuration::{
    CredentialSecrets, Environment, FileText, JournalUrl, Loaded, Problems, load, load_texts,
};
use upgrade_remediator::model::policy::{Mode, Policy};
use upgrade_remediator::model::project::Breaker;
use upgrade_remediator::model::secret::ExposeSecret as _;

const CANARY: &str = "canary-7f3a9c";

fn texts(main: &str, policies: &[&str], env: &Environment) -> Result<Loaded, Problems> {
    let name = |n: usize| FileText { file: format!("p{n}.toml").into(), text: policies[n].to_owned() };
    let main = FileText { file: "config.toml".into(), text: main.to_owned() };
    load_texts(&main, &(0..policies.len()).map(name).collect::<Vec<_>>(), env)
}

fn good(main: &str) -> Loaded {
    texts(main, &[], &Environment::default()).unwrap_or_else(|problems| panic!("{problems}"))
}

fn bad(main: &str) -> Problems {
    match texts(main, &[], &Environment::default()) {
        Ok(loaded) => panic!("{main} was taken: {loaded:?}"),
        Err(problems) => problems,
    }
}

/// The values in effect.
fn shown(loaded: &Loaded) -> String {
    loaded.effective().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// A wrong config.toml, and parts of what is told of it.
type Case<'a> = (String, &'a [&'a str]);

fn each_is_told(cases: &[Case<'_>]) {
    for (text, parts) in cases {
        let shown = bad(text).to_string();
        for part in *parts {
            assert!(shown.contains(part), "{part:?} is missing in:\n{shown}\nfor:\n{text}");
        }
        assert!(!shown.contains("canary"), "{shown}");
    }
}

#[test]
fn a_wrong_value_is_named_with_its_key_and_what_is_allowed() {
    let top = |rest: &str| format!("{rest}\n{PROJECT}{POLICY}");
    each_is_told(&[
        (
            top("mode = 'enforced'"),
            &["config.toml:1:8: mode", "\"dry-run\", \"enforce\"", "did you mean"][..],
        ),
        (top("mode = true"), &["found true", "\"dry-run\""]),
        (top("moode = 'dry-run'"), &["config.toml:1:1: moode", "did you mean mode?"]),
        (top("poll = 5"), &["poll", "found a number; a table is needed"]),
        (
            top("[poll]\nidle_interval = 5"),
            &["config.toml:2:17: poll.idle_interval", "found the number 5", "\"30s\""],
        ),
        (top("[poll]\nidle_interval = '5 bananas'"), &["found \"5 bananas\"", "a duration in quotes"]),
        (top("[poll]\nidle_interval = '1mo'"), &["months and years"]),
        (top("[poll]\nidle_interval = '0s'"), &["a longer duration is needed"]),
        (top("[poll]\nrequest_timeout = '-5s'"), &["negative"]),
        (top("[poll]\nmax_failure_age = '0s'"), &["a longer duration is needed"]),
        (top("[limits]\nrequests_per_second = 0"), &["limits.requests_per_second", "at least 1"]),
        (top("[limits]\nrequests_per_second = 2.5"), &["found the number 2.5", "whole number"]),
        (top("[limits]\nmax_actions_per_hour = -1"), &["found the number -1", "whole number"]),
        (top("[breaker]\nfailures = 0"), &["breaker.failures", "at least 1"]),
        (top("[breaker]\nwithin = '0s'"), &["breaker.within", "longer"]),
        (
            top("[journal]\nurl = 'postgres://u:canary@h/d'"),
            &["journal.url", "a password must not stand in the URL, use journal.password"],
        ),
        (top("[journal]\nurl = 'sqlite:relative.db'"), &["journal.url", "must be absolute"]),
        (top("[journal]\nurl = 'mysql:/x'"), &["unknown kind of journal"]),
        (top("[log]\nformat = 'xml'"), &["log.format", "\"auto\", \"text\", \"json\""]),
        (top("[log]\nfilter = 'a=b=c'"), &["log.filter", "not a valid filter"]),
        (top("[http]\nlisten = 'here'"), &["http.listen", "ADDRESS:PORT"]),
        (
            top("[http]\nlisten = '0.0.0.0:9187'"),
            &["http.listen", "not a loopback address", "expose_without_authentication = true"],
        ),
        (top("[http]\nhosts = ['https://a.example/']"), &["http.hosts[0]", "without scheme and port"]),
        (top("[control]\nsocket = 'x'"), &["control.socket", "absolute"]),
        (top(&format!("[control]\nsocket = '/{}'", "x".repeat(103))), &["control.socket", "at most 103"]),
        (top("[notify]\ndefault = ['ops']"), &["notify.default[0]", "no channel of the name \"ops\""]),
        (top("[notify]\nreminders = ['1h', 5]"), &["notify.reminders[1]", "found the number 5"]),
    ]);
}

#[test]
fn a_wrong_project_is_told() {
    let project =
        |rest: &str| format!("[[project]]\nname = 'x'\nregion = 'eu-west-101'\n{rest}\n{PROJECT}{POLICY}");
    each_is_told(&[
        (
            project("credentials = 'main'"),
            &["project.prod.project_id", "same endpoint (config.toml:3)", "give project_id in both"],
        ),
        (
            project("project_id = 'a'\ncredentials = 'main'\niam_endpoint = 'http://iam.example'"),
            &["project.x.iam_endpoint", "loopback"],
        ),
        (project("project_id = 'a/b'\ncredentials = 'main'"), &["project.x.project_id", "'/'"]),
        (project("project_id = 'a'\ncredentials = 'mian'"), &["\"mian\"", "did you mean \"main\"?"]),
        (project("project_id = 'a'"), &["project.x.credentials", "missing"]),
        (
            project("project_id = '6204a5bd270343b5885144cf9c8c158d'\ncredentials = 'main'"),
            &["project.prod.project_id", "config.toml:4 configures the same project"],
        ),
        (
            project(
                "project_id = '6204a5bd270343b5885144cf9c8c158d'\ncredentials = 'main'\nendpoint = 'https://10.0.0.5'",
            ),
            &["project.prod.project_id", "config.toml:4 configures the same project", "both would act"],
        ),
        (
            project("credentials = 'main'\nendpoint = 'https://10.0.0.5'"),
            &["project.prod.project_id", "in the same region (config.toml:3)", "give project_id in both"],
        ),
        (
            project("project_id = 'a'\ncredentials = 'main'\nendpoint = 'http://css.example'"),
            &["project.x.endpoint", "loopback"],
        ),
        (
            project("project_id = 'a'\ncredentials = 'main'\nendpoint = 'https://169.254.169.254'"),
            &["project.x.endpoint", "link-local"],
        ),
        (
            project("project_id = 'a'\ncredentials = 'main'\nproxy = 'http://u:canary@h'"),
            &["project.x.proxy", "not allowed", "give proxy_user, and proxy_password as a reference"],
        ),
        (
            project("project_id = 'a'\ncredentials = 'main'\nproxy = 'http://h'\nproxy_user = 'u'"),
            &["project.x.proxy_password", "missing"],
        ),
        (
            project(
                "project_id = 'a'\ncredentials = 'main'\nproxy = 'http://h'\nproxy_password = { env = 'P' }",
            ),
            &["project.x.proxy_user", "missing"],
        ),
        (
            project(
                "project_id = 'a'\ncredentials = 'main'\nproxy_user = 'u'\nproxy_password = { env = 'P' }",
            ),
            &["project.x.proxy", "missing"],
        ),
        (
            project(
                "project_id = 'a'\ncredentials = 'main'\nproxy = 'http://h'\nproxy_user = 'a:canary'\nproxy_password = { env = 'P' }",
            ),
            &["project.x.proxy_user", "without ':'"],
        ),
        (
            project(
                "project_id = 'a'\ncredentials = 'main'\nproxy = 'http://h'\nproxy_user = 'u'\nproxy_password = 'canary'",
            ),
            &["project.x.proxy_password", "(not shown)"],
        ),
        (
            project("project_id = 'a'\ncredentials = 'main'\nca_file = '/nonexistent/ca.pem'"),
            &["project.x.ca_file", "does not exist"],
        ),
        (
            format!("{PROJECT}{POLICY}{}", PROJECT.split("[cred").next().unwrap()),
            &["project.prod.name", "defined twice: also at config.toml:2"],
        ),
        (
            format!("{POLICY}[[project]]\nname = 'a b'\n"),
            &["project.\"a b\".name", "' '", "region", "such as"],
        ),
    ]);
}

#[test]
fn wrong_credentials_are_told_without_the_secret() {
    let credentials = |rest: &str| format!("{PROJECT}{POLICY}[credentials.b]\n{rest}");
    each_is_told(&[
        (
            credentials("type = 'ak-sk'\naccess_key = 'canary'"),
            &["credentials.b.access_key", "(not shown)", "{ env ="],
        ),
        (
            credentials("type = 'ak-sk'\naccess_key = { env = 'A', file = '/x' }"),
            &["found 2 keys", "exactly one"],
        ),
        (credentials("type = 'ak-sk'\naccess_key = { value = 'canary' }"), &["credential, file, env"]),
        (credentials("type = 'ak-sk'\naccess_key = {}"), &["found 0 keys"]),
        (credentials("type = 'ak-sk'\naccess_key = { env = 'A' }"), &["credentials.b.secret_key", "missing"]),
        (credentials("type = 'ak-sk'\nuser = 'x'"), &["credentials.b.user", "no such key"]),
        (credentials("type = 'token'"), &["credentials.b.token", "missing"]),
        (credentials("type = 'password'\nuser = ' '"), &["b.user", "empty", "b.password", "b.domain"]),
        (credentials("type = 'password'\npassword = 'canary'"), &["credentials.b.password", "(not shown)"]),
        (credentials("type = 'ecs-agency'\ntoken = { env = 'T' }"), &["b.token", "no such key"]),
        (credentials("type = 'agency'"), &["b.source", "missing", "b.agency_name", "agency_urn is needed"]),
        (
            credentials("type = 'agency'\nsource = 'b'\nagency_urn = 'u'"),
            &["b.source", "the same credentials"],
        ),
        (
            credentials("type = 'agency'\nsource = 'mian'\nagency_name = 'n'"),
            &["b.source", "did you mean \"main\"?", "b.domain_name", "goes with agency_name"],
        ),
        (
            credentials("type = 'agency'\nsource = 'main'\nagency_name = 'n'\nagency_urn = 'u'"),
            &["b.agency_urn", "exactly one"],
        ),
        (
            credentials(
                "type = 'agency'\nsource = 'c'\nagency_urn = 'u'\n[credentials.c]\ntype = 'agency'\nsource = 'b'\n\
                 agency_urn = 'u'",
            ),
            &["b.source", "c.source", "form a circle"],
        ),
        (
            credentials("type = 'agency'\nsource = 'main'\nagency_urn = 'u'\ndomain_name = 'd'"),
            &["b.domain_name", "belongs to agency_name"],
        ),
        (credentials("type = 'profile'\npath = 'relative'"), &["credentials.b.path", "absolute"]),
        (credentials("type = 'aksk'"), &["credentials.b.type", "did you mean \"ak-sk\"?"]),
        (credentials("access_key = { env = 'A' }"), &["credentials.b.type", "missing"]),
    ]);
}

#[test]
fn credentials_of_every_type_are_taken_and_shown() {
    let types = "[credentials.pw]\ntype = 'password'\nuser = 'u'\npassword = { env = 'PW' }\ndomain = 'd'\n\
                 [credentials.tk]\ntype = 'token'\ntoken = { env = 'TK' }\n\
                 [credentials.ecs]\ntype = 'ecs-agency'\n\
                 [credentials.v3]\ntype = 'agency'\nsource = 'pw'\nagency_name = 'n'\ndomain_name = 'd'\n\
                 [credentials.v5]\ntype = 'agency'\nsource = 'v3'\nagency_urn = 'iam::d:agency:n'\n\
                 [credentials.pf]\ntype = 'profile'\npath = '/nonexistent/credentials'\n";
    for name in ["pw", "tk", "ecs", "v3", "v5", "pf"] {
        let loaded = good(&format!("{PROJECT}{POLICY}{types}").replace("= 'main'", &format!("= '{name}'")));
        let shown = shown(&loaded);
        assert!(shown.contains("credentials.v5.agency_urn = \"iam::d:agency:n\""), "{shown}");
        let unused: Vec<_> = loaded.warnings.iter().filter_map(|warning| warning.key.as_deref()).collect();
        assert!(!unused.contains(&format!("credentials.{name}").as_str()), "{unused:?}");
        // What an agency is taken on with is in use too, all the way down.
        assert_eq!(
            !unused.contains(&"credentials.pw"),
            matches!(name, "pw" | "v3" | "v5"),
            "{name}: {unused:?}"
        );
    }
    let loaded = good(&format!("{PROJECT}{POLICY}{types}").replace("= 'main'", "= 'v5'"));
    let env = Environment::new([("PW", CANARY)]);
    let secrets = loaded.configuration.resolve_secrets(&env).unwrap();
    assert_eq!(secrets.keys().collect::<Vec<_>>(), ["pw", "v3", "v5"]);
    assert!(!format!("{secrets:?}").contains(CANARY));
    let missing = loaded.configuration.resolve_secrets(&Environment::default()).unwrap_err().to_string();
    assert!(missing.contains("credentials.pw.password") && missing.contains("PW is not set"), "{missing}");
    let loaded = good(&format!("{PROJECT}{POLICY}{types}").replace("= 'main'", "= 'pf'"));
    let missing = loaded.configuration.resolve_secrets(&Environment::default()).unwrap_err().to_string();
    assert!(missing.contains("credentials.pf.path") && missing.contains("does not exist"), "{missing}");
}

#[test]
fn one_project_at_an_endpoint_may_leave_its_id_to_be_looked_up() {
    let text = format!("{PROJECT}{POLICY}").replace("project_id = '6204a5bd270343b5885144cf9c8c158d'\n", "");
    let loaded = good(&text);
    assert_eq!(loaded.configuration.projects[0].project_id, None);
    assert_eq!(loaded.configuration.projects[0].iam_endpoint, "https://iam.eu-west-101.myhuaweicloud.eu");
    let given = good(
        &text
            .replace("credentials = 'main'", "credentials = 'main'\niam_endpoint = 'https://iam.x.example/'"),
    );
    assert_eq!(given.configuration.projects[0].iam_endpoint, "https://iam.x.example");
    assert_eq!(given.configuration.projects[0].sts_endpoint, "https://sts.x.example");
}

#[test]
fn a_channel_that_reaches_nobody_is_told() {
    let top = |rest: &str| format!("{rest}\n{PROJECT}{POLICY}");
    let email = |keys: &str| {
        top(&format!("[[channel]]\nname = 'c'\ntype = 'email'\nhost = 'smtp.example.com'\n{keys}"))
    };
    let smn = |urn: &str| {
        format!("{PROJECT}[[channel]]\nname = 'c'\ntype = 'smn'\nproject = 'prod'\ntopic_urn = '{urn}'")
    };
    each_is_told(&[
        (email("from = 'nobody'\nto = ['a@example.com']"), &["channel.c.from", "NAME@HOST"]),
        (email("from = 'a@example.com'\nto = ['a@example.com', 'b']"), &["channel.c.to[1]", "NAME@HOST"]),
        (email("from = 'a@example.com'\nto = []"), &["channel.c.to", "reaches nobody"]),
        (
            email("from = 'a@example.com'\nto = ['a@example.com']\nuser = 'u'"),
            &["channel.c.password", "user and password go together"],
        ),
        (
            email("from = 'a@example.com'\nto = ['a@example.com']\nport = 70000"),
            &["channel.c.port", "from 1 to 65535"],
        ),
        (
            email("from = 'a@example.com'\nto = ['a@example.com']\nhello = 'logs'"),
            &["channel.c.hello", "the whole name of this machine", "[192.0.2.1]"],
        ),
        (
            email("from = 'a@example.com'\nto = ['a@example.com']\nhello = '[logs]'"),
            &["channel.c.hello", "the whole name of this machine"],
        ),
        (
            email("from = 'a@example.com'\nto = ['a@example.com']\nproxy = 'http://proxy.example.com'"),
            &["channel.c.proxy", "no such key"],
        ),
        (
            email("from = 'a@example.com'\nto = ['a@example.com']\nca_file = '/nonexistent/ca.pem'"),
            &["channel.c.ca_file", "does not exist"],
        ),
        (smn("upgrades"), &["channel.c.topic_urn", "urn:smn:REGION:PROJECT_ID:NAME"]),
        (smn("urn:smn:r:p:../x"), &["channel.c.topic_urn", "urn:smn:REGION:PROJECT_ID:NAME"]),
        (
            format!("{}\nendpoint = 'http://smn.example.com'", smn("urn:smn:r:p:n")),
            &["channel.c.endpoint", "loopback"],
        ),
        (top("[notify]\npage = 'status.example'"), &["notify.page", "https://HOST"]),
        (top("[notify]\nreminders = ['0s']"), &["notify.reminders[0]", "longer"]),
    ]);
}

#[test]
fn channels_that_nobody_hears_of_are_warned_of() {
    let ops = "[[channel]]\nname = 'ops'\ntype = 'slack'\nurl = { env = 'U' }\n";
    let told = |text: &str| {
        let warnings = good(text).warnings;
        warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let unused = told(&format!("{PROJECT}{ops}{POLICY}"));
    assert!(unused.contains("the channel \"ops\" receives no notification"), "{unused}");
    assert!(unused.contains("no channel is notified of a project that cannot be polled"), "{unused}");
    let by_policy = told(&format!("{PROJECT}{ops}{POLICY}notify = ['ops']"));
    assert!(!by_policy.contains("receives no notification"), "{by_policy}");
    assert!(by_policy.contains("no channel is notified of a project that cannot be polled"), "{by_policy}");
    let default = told(&format!("[notify]\ndefault = ['ops']\n{PROJECT}{ops}{POLICY}"));
    assert_eq!(default, "");
    let secret =
        told(&format!("[notify]\ndefault = ['ops']\n{PROJECT}{ops}secret = {{ env = 'S' }}\n{POLICY}"));
    assert!(secret.contains("Slack has no message signatures"), "{secret}");
}

#[test]
fn whom_to_tell_is_taken_as_it_is_written() {
    let loaded = good(&format!(
        "[notify]\ndefault = ['ops']\nreminders = ['1d', '1h', '1h']\npage = 'https://status.example/upgrades'\n{PROJECT}\
         [[channel]]\nname = 'ops'\ntype = 'wecom'\nurl = {{ env = 'U' }}\n{POLICY}notify = []"
    ));
    let notify = &loaded.configuration.notify;
    assert_eq!(notify.default, ["ops"]);
    assert_eq!(notify.reminders, [Duration::from_hours(1), Duration::from_hours(24)]);
    assert_eq!(notify.page.as_deref(), Some("https://status.example/upgrades"));
    assert_eq!(notify.by_policy, [("logs".to_owned(), Vec::new())].into());
    let missing = loaded.configuration.resolve_channels(&Environment::default()).unwrap_err().to_string();
    assert!(missing.contains("channel.ops.url") && missing.contains("environment variable U"), "{missing}");
    let env = Environment::new([("U", "https://chat.example/canary-7f3a9c")]);
    let secrets = loaded.configuration.resolve_channels(&env).unwrap();
    assert_eq!(secrets["ops"]["url"].expose_secret(), "https://chat.example/canary-7f3a9c");
    assert!(!format!("{secrets:?}{}", shown(&loaded)).contains(CANARY));
}

#[test]
fn a_wrong_channel_is_told() {
    let top = |rest: &str| format!("{rest}\n{PROJECT}{POLICY}");
    each_is_told(&[
        (top("[[channel]]\nname = 'c'\ntype = 'webhook'"), &["channel.c.url", "needs it"]),
        (top("[[channel]]\nname = 'c'\ntype = 'wecom'\nurl = 'canary'"), &["channel.c.url", "(not shown)"]),
        (
            top("[[channel]]\nname = 'c'\ntype = 'wecom'\nurl = { env = 'U' }\nport = 1"),
            &["channel.c.port", "no such key"],
        ),
        (
            top(
                "[[channel]]\nname = 'c'\ntype = 'wecom'\nurl = { env = 'U' }\nproxy = 'http://u:canary@proxy.example.com'",
            ),
            &["channel.c.proxy", "user or password", "give proxy_user"],
        ),
        (
            top(
                "[[channel]]\nname = 'c'\ntype = 'wecom'\nurl = { env = 'U' }\nproxy = 'http://h'\nproxy_user = 'u'",
            ),
            &["channel.c.proxy_password", "missing"],
        ),
        (
            top(
                "[[channel]]\nname = 'c'\ntype = 'email'\nhost = 'h'\nfrom = 'a@example.com'\nto = ['a@example.com']\nproxy_password = { env = 'P' }",
            ),
            &["channel.c.proxy_password", "no such key"],
        ),
        (top("[[channel]]\nname = 'c'\ntype = 'webhok'"), &["did you mean \"webhook\"?"]),
        (
            top("[[channel]]\nname = 'c'\ntype = 'smn'\nproject = 'nope'\ntopic_urn = 'u'"),
            &["channel.c.project", "no project"],
        ),
    ]);
}

#[test]
fn a_wrong_policy_is_told() {
    let policy = |rest: &str| format!("{PROJECT}{POLICY}{rest}");
    each_is_told(&[
        (policy("mode = 'off'"), &["policy.logs.mode", "\"dry-run\", \"enforce\""]),
        (policy("enabled = 'yes'"), &["policy.logs.enabled", "true or false"]),
        (policy("on_exhausted = 'terminate'"), &["\"abort\", \"escalate\""]),
        (policy("retry.multiplier = 0.5"), &["policy.logs.retry.multiplier", "at least 1"]),
        (policy("retry.multiplier = nan"), &["retry.multiplier", "not finite"]),
        (policy("retry.multiplier = inf"), &["retry.multiplier", "not finite"]),
        (policy("retry.multiplier = true"), &["found true; a number"]),
        (policy("retry.randomization_factor = 1.5"), &["0 to 1"]),
        (policy("retry.randomization_factor = -0.1"), &["0 to 1"]),
        (policy("retry.initial_interval = '0s'"), &["longer"]),
        (policy("retry.initial_interval = '2h'"), &["retry.initial_interval", "\"2h\"", "\"1h\""]),
        (policy("retry.max_interval = '1m'"), &["retry.max_interval", "longer than max_interval"]),
        (policy("retry.max_elapsed_time = '0s'"), &["\"none\""]),
        (policy("retry.max_retries = 2.7"), &["found the number 2.7"]),
        (policy("retry.max_retrys = 2"), &["did you mean max_retries?"]),
        (policy("retry.reset_on_progress = 1"), &["true or false"]),
        (policy("abort_grace = 900"), &["policy.logs.abort_grace", "in quotes"]),
        (policy("match.cluster = []"), &["match.cluster", "covers nothing"]),
        (policy("match.cluster = 'a'"), &["match.cluster", "write cluster = [\"…\"]"]),
        (policy("match.cluster = ['a', '']"), &["match.cluster[1]", "empty"]),
        (policy("match.cluster = ['a[']"), &["match.cluster[0]", "not a valid glob"]),
        (policy("match.task = ['upgrades']"), &["match.task[0]", "did you mean \"upgrade\"?"]),
        (policy("match.tags = { team = 5 }"), &["match.tags.team", "text in quotes"]),
        (policy("match.tags = ['team']"), &["match.tags", "a table is needed"]),
        (policy("notify = ['ops']"), &["policy.logs.notify[0]", "no channel"]),
        (policy("expect.per_node = 5"), &["expect.per_node", "in quotes"]),
        (policy("window = {}"), &["policy.logs.window.timezone", "missing", "Europe/Berlin"]),
        (policy("window = true"), &["policy.logs.window", "a table is needed"]),
        (policy("enabled = false\nretry.multiplier = 0"), &["at least 1"]),
        (policy(POLICY), &["policy.logs.name", "defined twice: also at config.toml:11"]),
        (policy("[[policy]]\nenabled = true"), &["config.toml:12:1: policy[1].name", "missing"]),
        (policy("[[policy]]\nname = ' x'"), &["blanks at its ends"]),
        ("policy = [1]".to_owned(), &["policy[0]", "a table is needed"]),
        ("[policy]\nname = 'x'".to_owned(), &["write [[policy]]"]),
        ("a = = 1".to_owned(), &["config.toml:1:", "not TOML"]),
    ]);
}

#[test]
fn a_wrong_window_is_told() {
    let window =
        |rest: &str| format!("{PROJECT}{POLICY}[policy.window]\ntimezone = 'Europe/Berlin'\n{rest}\n");
    let allow = |entry: &str| window(&format!("allow = [{entry}]"));
    let deny = |entry: &str| window(&format!("deny = [{entry}]"));
    each_is_told(&[
        (
            window("").replace("Berlin", "Berln"),
            &["config.toml:13:12: policy.logs.window.timezone", "did you mean \"Europe/Berlin\"?"],
        ),
        (window("").replace("Europe/Berlin", "europe/berlin"), &["did you mean \"Europe/Berlin\"?"]),
        (window("").replace("Europe/Berlin", "CET-1CEST"), &["no time zone", "\"CET-1CEST\""]),
        (window("allow = []"), &["policy.logs.window.allow", "never open", "omit the key"]),
        (window("alow = []"), &["did you mean allow?"]),
        (window("allow = {}"), &["window.allow", "a list is needed"]),
        (allow("{ days = [] }"), &["window.allow[0].days", "no day"]),
        (allow("{ days = ['mo'] }"), &["window.allow[0].days[0]", "\"mon\", \"tue\"", "mon-fri"]),
        (allow("{ days = 'mon' }"), &["window.allow[0].days", "write days = "]),
        (allow("{ day = ['mon'] }"), &["window.allow[0].day", "did you mean days?"]),
        (allow("{ from = '9:00' }"), &["window.allow[0].from", "\"00:00\" to \"24:00\""]),
        (allow("{ from = 22 }"), &["window.allow[0].from", "found the number 22"]),
        (allow("{ from = 22:00:00 }"), &["window.allow[0].from", "without quotes"]),
        (allow("{ from = '24:00' }"), &["window.allow[0].from", "cannot start"]),
        (allow("{ from = '22:00', to = '22:00' }"), &["window.allow[0].to", "empty"]),
        (allow("{ to = '00:00' }"), &["window.allow[0].to", "empty"]),
        (deny("{ from = '2026-12-20T00:00' }"), &["window.deny[0].to", "missing"]),
        (
            deny("{ from = '2026-12-20T00:00', to = '2026-12-20T00:00' }"),
            &["window.deny[0].to", "not later than from"],
        ),
        (
            deny("{ from = '2026-12-20', to = '2026-12-21T00:00Z' }"),
            &["window.deny[0].from", "window.deny[0].to", "without a zone"],
        ),
        (window(&format!("deny = [{}]", "{},".repeat(1_001))), &["at most 1000"]),
    ]);
}

#[test]
fn a_window_that_restricts_nothing_is_told() {
    let loaded = good(&format!("{PROJECT}{POLICY}window.timezone = 'UTC'\n"));
    let [warning] = loaded.warnings.as_slice() else { panic!("{:?}", loaded.warnings) };
    assert_eq!(warning.key.as_deref(), Some("policy.logs.window"));
    assert!(warning.message.contains("always open"), "{warning}");
}

#[test]
fn the_keys_of_a_window_have_their_defaults() {
    let window = |rest: &str| {
        let loaded = good(&format!("{PROJECT}{POLICY}[policy.window]\ntimezone = 'UTC'\n{rest}\n"));
        loaded.configuration.policies[0].terms.window.clone().unwrap()
    };
    let is = |text: &str, expected: &[[&str; 2]]| {
        assert_eq!(window(text).open().collect::<Vec<_>>(), expected, "{text}");
    };
    is("allow = [{ days = ['sat'] }]", &[["sat 00:00", "sun 00:00"]]);
    is("allow = [{ days = ['sun'], from = '22:00' }]", &[["sun 22:00", "sun 24:00"]]);
    is("allow = [{ days = ['mon'], to = '06:00' }]", &[["mon 00:00", "mon 06:00"]]);
    is("allow = [{ days = ['tue', 'fri-mon'] }]", &[["mon 00:00", "wed 00:00"], ["fri 00:00", "sun 24:00"]]);
    is("allow = [{}]", &[["mon 00:00", "sun 24:00"]]);
    is("deny = []", &[["mon 00:00", "sun 24:00"]]);
}

#[test]
fn breaker_socket_and_retention_are_read() {
    let text = "journal.retention = '30d'\n[breaker]\nfailures = 3\nwithin = '1m'\ncooldown = '2m'\nprobe = '3m'\n\
                [control]\nsocket = '/x/control.sock'\n";
    let configuration = good(&format!("{text}{PROJECT}{POLICY}")).configuration;
    let minutes = Duration::from_mins;
    let breaker = Breaker { failures: 3, within: minutes(1), cooldown: minutes(2), probe: minutes(3) };
    assert_eq!(configuration.breaker, breaker);
    assert_eq!(configuration.control.as_deref(), Some(Path::new("/x/control.sock")));
    assert_eq!(configuration.retention, Duration::from_hours(30 * 24));

    let short = good(&format!("journal.retention = '1d'\n{PROJECT}{POLICY}"));
    assert_eq!(
        short.configuration.retention,
        Duration::from_hours(4 * 24),
        "never shorter than max_failure_age and a day"
    );
    assert!(short.warnings.iter().any(|warning| warning.message.contains("max_failure_age")));

    let defaults = good(&format!("{PROJECT}{POLICY}")).configuration;
    assert_eq!(defaults.breaker, Breaker::default());
    assert_eq!(defaults.retention, Duration::from_hours(365 * 24));
    let socket = "/run/upgrade-remediator/control.sock";
    assert_eq!(defaults.control.as_deref(), Some(Path::new(socket)));
    let env = Environment::new([("RUNTIME_DIRECTORY", "/run/x")]);
    let runtime = texts(PROJECT, &[], &env).unwrap().configuration;
    assert_eq!(runtime.control.as_deref(), Some(Path::new("/run/x/control.sock")));
    assert_eq!(
        good(&format!("control.socket = ''\n{PROJECT}{POLICY}")).configuration.control,
        None,
        "turned off"
    );
}

#[test]
fn a_value_told_as_bad_is_not_told_as_missing_too() {
    let problems = bad("[[policy]]\nname = 5\n");
    assert_eq!(problems.0.iter().filter(|problem| problem.is_error()).count(), 1, "{problems}");
}

#[test]
fn all_problems_of_all_files_are_told_at_once_in_their_order() {
    let main = "\
mode = 'on'
[poll]
idle_interval = 5
settle_interval = 6
idel_interval = '1m'
[limits]
requests_per_second = 0
[[project]]
name = 'a'
[[policy]]
name = 'x'
retry.multiplier = 0.1
";
    let env = Environment::new([("UPGRADE_REMEDIATOR__POL__IDLE", "1")]);
    let first = "[[policy]]\nname = 'x'\n[poll]\nidle_interval = '1m'\n";
    let problems = texts(main, &[first, "not toml", "[[policy]]\nmode = 1\n"], &env).unwrap_err();
    let places: Vec<_> = problems
        .0
        .iter()
        .filter(|problem| problem.is_error())
        .map(|problem| {
            let file = problem.file.as_ref().map_or("-", |file| file.to_str().unwrap());
            (file, problem.line.unwrap_or(0), problem.key.as_deref().unwrap_or("-"))
        })
        .collect();
    assert_eq!(
        places,
        [
            ("config.toml", 1, "mode"),
            ("config.toml", 3, "poll.idle_interval"),
            ("config.toml", 4, "poll.settle_interval"),
            ("config.toml", 5, "poll.idel_interval"),
            ("config.toml", 7, "limits.requests_per_second"),
            ("config.toml", 8, "project.a.region"),
            ("config.toml", 8, "project.a.credentials"),
            ("config.toml", 12, "policy.x.retry.multiplier"),
            ("p0.toml", 2, "policy.x.name"),
            ("p0.toml", 3, "poll"),
            ("p1.toml", 1, "-"),
            ("p2.toml", 1, "policy[0].name"),
            ("p2.toml", 2, "policy[0].mode"),
            ("-", 0, "-"),
        ],
        "{problems}"
    );
    let shown = problems.to_string();
    assert!(shown.contains("defined twice: also at config.toml:11"), "{shown}");
    assert!(shown.contains("a file of policies.d holds [[policy]] only"), "{shown}");
}

#[test]
fn the_environment_overrides_single_values_and_is_named() {
    let env = Environment::new([
        ("UPGRADE_REMEDIATOR__MODE", "enforce"),
        ("UPGRADE_REMEDIATOR__POLL__IDLE_INTERVAL", "7m"),
        ("UPGRADE_REMEDIATOR__LIMITS__REQUESTS_PER_SECOND", "9"),
        ("UPGRADE_REMEDIATOR__JOURNAL__URL", "sqlite:/x/y.db"),
    ]);
    let main =
        format!("mode = 'dry-run'\n[poll]\nactive_interval = '1m'\nidle_interval = '1m'\n{PROJECT}{POLICY}");
    let loaded = texts(&main, &[], &env).unwrap();
    let configuration = &loaded.configuration;
    assert_eq!(configuration.mode, Mode::Enforce);
    assert_eq!(configuration.policies[0].terms.mode, Mode::Enforce);
    assert_eq!(configuration.poll.idle_interval, Duration::from_mins(7));
    assert_eq!(configuration.poll.active_interval, Duration::from_mins(1));
    assert_eq!(configuration.limits.requests_per_second, 9);
    assert_eq!(configuration.journal_url, JournalUrl::Sqlite("/x/y.db".into()));
    let origin = |key: &str| loaded.origins.get(key).map_or("default", String::as_str);
    assert_eq!(origin("poll.idle_interval"), "environment UPGRADE_REMEDIATOR__POLL__IDLE_INTERVAL");
    assert_eq!(origin("poll.active_interval"), "config.toml:3");
    assert_eq!(origin("poll.settle_timeout"), "default");

    let env = Environment::new([("UPGRADE_REMEDIATOR__LIMITS__REQUESTS_PER_SECOND", "many")]);
    let shown = texts(&main, &[], &env).unwrap_err().to_string();
    assert!(
        shown.contains("found \"many\"") && shown.contains("UPGRADE_REMEDIATOR__LIMITS__REQUESTS"),
        "{shown}"
    );
}

#[test]
fn a_policy_cannot_raise_the_global_mode() {
    let policies =
        "[[policy]]\nname='a'\nmatch.cluster=['a']\nmode='enforce'\n[[policy]]\nname='b'\nmode='dry-run'\n";
    let modes = |mode: &str| -> Vec<Mode> {
        let loaded = good(&format!("mode = '{mode}'\n{PROJECT}{policies}"));
        loaded.configuration.policies.iter().map(|policy| policy.terms.mode).collect()
    };
    assert_eq!(modes("dry-run"), [Mode::DryRun, Mode::DryRun]);
    assert_eq!(modes("enforce"), [Mode::Enforce, Mode::DryRun]);
}

#[test]
fn the_ends_of_what_is_allowed_are_allowed() {
    let text = "abort_grace = '0s'\n[policy.retry]\nmax_retries = 0\nmultiplier = 1\nrandomization_factor = 0.0\n\
                max_elapsed_time = 'none'\ninitial_interval = '1h'\n";
    let loaded = good(&format!("{PROJECT}{POLICY}{text}"));
    let terms = &loaded.configuration.policies[0].terms;
    assert_eq!(terms.abort_grace, Duration::ZERO);
    assert_eq!(terms.retry.max_elapsed_time, None);
    assert!((terms.retry.multiplier - 1.0).abs() < f64::EPSILON);
    assert_eq!(loaded.warnings, []);
}

#[test]
fn a_policy_behind_one_that_covers_everything_is_told() {
    let loaded = good(&format!("{PROJECT}{POLICY}[[policy]]\nname = 'b'\nmatch.cluster = ['x']\n"));
    let [warning] = loaded.warnings.as_slice() else { panic!("{:?}", loaded.warnings) };
    assert_eq!(warning.key.as_deref(), Some("policy.b"));
    assert!(warning.message.contains("\"logs\" before it covers every task"), "{warning}");
}

#[test]
fn a_policy_behind_a_wider_one_is_told_and_no_other() {
    let never_tried = |first: &str, second: &str| {
        let text = format!(
            "{PROJECT}[[policy]]\nname = 'a'\n{first}\n[[policy]]\nname = 'b'\n{second}\n[[policy]]\nname = 'c'\n"
        );
        let warnings = good(&text).warnings;
        let [] = warnings.as_slice() else {
            let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
            assert_eq!(warning.key.as_deref(), Some("policy.b"));
            assert!(
                warning.message.contains("\"a\" before it covers every task that this one covers"),
                "{warning}"
            );
            return true;
        };
        false
    };
    for (first, second) in [
        ("match.cluster = ['logs-*']", "match.cluster = ['logs-a', 'logs-b']"),
        ("match.cluster = ['logs-*']", "match.cluster = ['logs-*']\nmatch.task = ['upgrade']"),
        ("match.task = ['upgrade']", "match.task = ['upgrade']\nmatch.engine = ['opensearch']"),
        ("match.tags = { team = '*' }", "match.tags = { team = 'search', env = 'x' }"),
        ("match.version = ['7.*', '*']\nmatch.cluster = ['x']", "match.cluster = ['x']"),
    ] {
        assert!(never_tried(first, second), "{first} | {second}");
    }
    for (first, second) in [
        ("match.cluster = ['logs-*']", "match.cluster = ['logs-a', 'other']"),
        ("match.cluster = ['logs-*']", "match.cluster = ['logs-?*']"),
        ("match.cluster = ['logs-*']", "match.engine = ['opensearch']"),
        ("match.task = ['upgrade']", "match.cluster = ['x']"),
        ("match.tags = { team = '*' }", "match.cluster = ['x']"),
        ("match.tags = { team = 'a' }", "match.tags = { team = '*' }"),
        ("enabled = false", "match.cluster = ['x']"),
    ] {
        assert!(!never_tried(first, second), "{first} | {second}");
    }
}

#[test]
fn a_match_that_could_not_be_read_is_not_taken_for_one_that_covers_everything() {
    for broken in ["match.clustr = ['a']", "match = 5", "match.cluster = 'a'", "match.cluster = ['a[']"] {
        let problems =
            bad(&format!("{PROJECT}{POLICY}{broken}\n[[policy]]\nname = 'b'\nmatch.cluster = ['x']\n"));
        assert_eq!(problems.0.len(), 1, "{problems}");
    }
}

#[test]
fn a_pattern_that_covers_no_project_is_told_with_the_nearest() {
    let loaded = good(&format!("{PROJECT}{POLICY}match.project = ['prd', 'pr*']\n"));
    let [warning] = loaded.warnings.as_slice() else { panic!("{:?}", loaded.warnings) };
    assert_eq!(warning.key.as_deref(), Some("policy.logs.match.project[0]"));
    assert_eq!(warning.hint.as_deref(), Some("did you mean \"prod\"?"));
}

#[test]
fn files_of_policies_are_tried_in_byte_order_after_those_of_config_toml() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    fs::write(&path, format!("{PROJECT}[[policy]]\nname = 'main'\nmatch.cluster = ['a']\n")).unwrap();
    assert_eq!(
        load(&path, &Environment::default()).unwrap().configuration.policies.len(),
        1,
        "no folder is fine"
    );
    let policies = folder.path().join("policies.d");
    fs::create_dir(&policies).unwrap();
    let write = |file: &str, name: &str, rest: &str| {
        fs::write(policies.join(file), format!("[[policy]]\nname = '{name}'\nmatch.cluster = ['a']\n{rest}"))
            .unwrap();
    };
    write("9.toml", "nine", "");
    write("10.toml", "ten", "");
    write("B.toml", "upper", "enabled = false\n");
    write("a.toml", "lower", "[[policy]]\nname = 'second'\nmatch.cluster = ['a']\n");
    fs::write(policies.join(".hidden.toml"), "broken").unwrap();
    fs::write(policies.join("old.toml.bak"), "broken").unwrap();
    let loaded = load(&path, &Environment::default()).unwrap_or_else(|problems| panic!("{problems}"));
    let names: Vec<_> = loaded.configuration.policies.iter().map(Policy::name).collect();
    assert_eq!(names, ["main", "ten", "nine", "lower", "second"]);
    assert_eq!(
        loaded.origins["policy.ten.match.cluster"],
        format!("{}:3", policies.join("10.toml").display())
    );
}

#[test]
fn every_file_that_cannot_be_read_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    let policies = folder.path().join("policies.d");
    fs::create_dir_all(policies.join("folder.toml")).unwrap();
    fs::write(policies.join("binary.toml"), b"\xff\xfe").unwrap();
    fs::write(policies.join("empty.toml"), b"").unwrap();
    fs::write(policies.join("bad.toml"), b"[[policy]]\nname = 'x'\nmode = 'on'\nnotify = ['ops']\n").unwrap();
    std::os::unix::fs::symlink("nowhere", policies.join("broken.toml")).unwrap();
    let shown = load(&path, &Environment::default()).unwrap_err().to_string();
    for part in [
        "config.toml\n  the file does not exist",
        "folder.toml\n  this is a folder",
        "binary.toml\n  the file is not UTF-8",
        "empty.toml\n  the file is empty",
        "broken.toml\n  the file does not exist",
        "bad.toml:3:8: policy.x.mode",
    ] {
        assert!(shown.contains(part), "{part:?} is missing in:\n{shown}");
    }
    assert!(!shown.contains("no channel"), "config.toml might have named it:\n{shown}");
    assert!(!shown.contains("no [[project]]"), "{shown}");
}

#[test]
fn secrets_are_fetched_apart_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, format!("{CANARY}\n")).unwrap();
    let text = PROJECT.replace("{ env = 'AK' }", "{ credential = 'ak' }")
        + &format!("security_token = {{ file = '{}' }}\n", file.display())
        + POLICY;
    let env = Environment::new([("SK", CANARY)]);
    let loaded = texts(&text, &[], &env).unwrap();
    let shown = |loaded: &Loaded| {
        let lines: Vec<_> = loaded.effective().iter().map(ToString::to_string).collect();
        format!("{loaded:?}{}{}{env:?}", loaded.effective_json(), lines.join("\n"))
    };
    assert!(shown(&loaded).contains("{\"env\":\"SK\"}"), "{}", shown(&loaded));
    assert!(!shown(&loaded).contains(CANARY));

    // Outside the unit the credential is no problem of `check`, and one of `run`.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(loaded.configuration.check_secrets(&env), []);
    let problems = loaded.configuration.resolve_secrets(&env).unwrap_err().to_string();
    assert!(
        problems.contains("credentials.main.access_key\n  systemd gives the credential \"ak\""),
        "{problems}"
    );
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let [open] = loaded.configuration.check_secrets(&env).try_into().unwrap();
    assert!(open.message.contains("0644") && !open.to_string().contains(CANARY), "{open}");

    fs::write(folder.path().join("ak"), "AKID").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let env = Environment::new([
        ("SK", CANARY.into()),
        ("CREDENTIALS_DIRECTORY", folder.path().as_os_str().to_owned()),
    ]);
    let secrets = loaded.configuration.resolve_secrets(&env).unwrap();
    assert!(!format!("{secrets:?}").contains(CANARY));
    let CredentialSecrets::AccessKey { access_key, secret_key, security_token } = &secrets["main"] else {
        panic!("they are of type ak-sk")
    };
    assert_eq!(access_key.expose_secret(), "AKID");
    assert_eq!(secret_key.expose_secret(), CANARY);
    assert_eq!(security_token.as_ref().unwrap().expose_secret(), CANARY);
}

#[test]
fn the_password_of_a_proxy_is_a_secret_like_the_others() {
    let proxy = |reference: &str| {
        format!("proxy = 'http://p.example:3128'\nproxy_user = 'robot'\nproxy_password = {{ {reference} }}\n")
    };
    let text = PROJECT
        .replace("credentials = 'main'\n", &format!("credentials = 'main'\n{}", proxy("env = 'P'")))
        + POLICY
        + "[[channel]]\nname = 'c'\ntype = 'wecom'\nurl = { env = 'U' }\n"
        + &proxy("credential = 'pp'");
    let env = Environment::new([("AK", "a"), ("SK", "b"), ("U", "https://c.example")]);
    let loaded = texts(&text, &[], &env).unwrap();
    let listed = shown(&loaded);
    for line in [
        "project.prod.proxy_user = \"robot\"  # config.toml:7",
        "project.prod.proxy_password = {\"env\":\"P\"}  # config.toml:8",
        "channel.c.proxy_password = {\"credential\":\"pp\"}  # config.toml:",
    ] {
        assert!(listed.contains(line), "{line}: {listed}");
    }
    let [missing] = loaded.check_secrets(&env).try_into().unwrap();
    assert!(missing.to_string().contains("config.toml:8:18: project.prod.proxy_password"), "{missing}");
    assert!(missing.message.contains("P is not set"), "{missing}");
    assert!(loaded.configuration.resolve_proxies(&env).is_err());
    assert!(
        loaded.configuration.needs_the_unit(&env) && !loaded.configuration.credentials_need_the_unit(&env)
    );

    let env = Environment::new([("AK", "a"), ("SK", "b"), ("U", "https://c.example"), ("P", CANARY)]);
    let states = loaded.configuration.secrets(&env);
    assert_eq!(
        (states["project.prod.proxy_password"], states["channel.c.proxy_password"]),
        ("found, not shown", "systemd gives it at start")
    );
    let proxies = loaded.configuration.resolve_proxies(&env).unwrap();
    assert!(!format!("{proxies:?}{loaded:?}").contains(CANARY));
    let [proxy] = proxies.into_values().collect::<Vec<_>>().try_into().unwrap();
    assert_eq!(proxy.login.unwrap().password.expose_secret(), CANARY);
}

#[test]
fn credentials_that_no_project_uses_are_told_and_not_fetched() {
    let loaded = good(&format!(
        "{PROJECT}{POLICY}[credentials.old]\ntype = 'ak-sk'\naccess_key = {{ env = 'X' }}\nsecret_key = {{ env = 'Y' }}\n"
    ));
    let [warning] = loaded.warnings.as_slice() else { panic!("{:?}", loaded.warnings) };
    assert_eq!(warning.key.as_deref(), Some("credentials.old"));
    let env = Environment::new([("AK", "a"), ("SK", "b")]);
    assert_eq!(loaded.configuration.resolve_secrets(&env).unwrap().len(), 1);
}

#[test]
fn a_pattern_of_any_form_is_an_error_or_a_pattern() {
    for pattern in [
        "{".repeat(64) + &"}".repeat(64),
        "[".repeat(128),
        "[!-]".repeat(32),
        "?".repeat(128),
        "*".repeat(128),
        "{a,".repeat(42),
        "\\".to_owned(),
    ] {
        let pattern = pattern.replace('\\', "\\\\");
        let _ = texts(&format!("{POLICY}match.cluster = [\"{pattern}\"]"), &[], &Environment::default());
    }
}

/// Pieces of configuration, so that more than syntax errors is reached.
fn piece() -> impl Strategy<Value = String> {
    let keys = "(mode|poll|idle_interval|policy|project|name|match|cluster|credentials|main|access_key|retry|[a-z.'\"é]{0,6})";
    let values = "(5|-1|1e9|nan|'x'|'5m'|'none'|true|\\[\\]|\\[1, 'a'\\]|\\{\\}|\\{ env = 'A' \\}|1979-05-27|[!-~é]{0,8})";
    prop_oneof![
        (keys, values).prop_map(|(key, value)| format!("{key} = {value}\n")),
        keys.prop_map(|key| format!("[{key}]\n")),
        keys.prop_map(|key| format!("[[{key}]]\n")),
        (keys, keys, values).prop_map(|(table, key, value)| format!("{table}.{key} = {value}\n")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text_is_a_configuration_or_problems(main in ".*", policies in "\\PC*") {
        let _ = texts(&main, &[&policies], &Environment::default());
    }

    #[test]
    fn arbitrary_pieces_are_a_configuration_or_problems(
        main in proptest::collection::vec(piece(), 0..12),
        policies in proptest::collection::vec(piece(), 0..6),
    ) {
        let found = texts(&main.concat(), &[&policies.concat()], &Environment::default());
        if let Err(problems) = found {
            prop_assert!(problems.has_errors());
            prop_assert!(problems.0.iter().all(|problem| !problem.message.is_empty()));
        }
    }

    #[test]
    fn an_arbitrary_pattern_is_a_pattern_or_a_problem(pattern in "[a-c*?!\\[\\]{},^-]{1,128}") {
        let text = format!("{POLICY}match.cluster = ['{pattern}']\n");
        let _ = texts(&text, &[], &Environment::default());
    }

    #[test]
    fn an_arbitrary_environment_is_an_override_or_a_problem(name in "[A-Z_]{0,20}", value in ".*") {
        let env = Environment::new([(format!("UPGRADE_REMEDIATOR__{name}"), value)]);
        let _ = texts(PROJECT, &[], &env);
    }
}

#[test]
fn the_listing_names_the_effective_mode_and_where_it_comes_from() {
    let loaded =
        good(&format!("mode = 'dry-run'\n{PROJECT}{POLICY}mode = 'enforce'\nretry.max_interval = '3h'\n"));
    let lines: Vec<_> = loaded.effective().iter().map(ToString::to_string).collect();
    for line in [
        "mode = \"dry-run\"  # config.toml:1",
        "journal.url = \"sqlite:/var/lib/upgrade-remediator/journal.db\"  # default",
        "project.prod.endpoint = \"https://css.eu-west-101.myhuaweicloud.com\"  # default",
        "credentials.main.secret_key = {\"env\":\"SK\"}  # config.toml:10",
        "policy.logs.mode = \"dry-run\"  # config.toml:1",
        "policy.logs.retry.max_interval = \"3h\"  # config.toml:14",
        "policy.logs.retry.max_retries = 5  # default",
    ] {
        assert!(lines.iter().any(|found| found == line), "{line} is missing in {lines:#?}");
    }
    assert_eq!(loaded.effective_json()["limits.requests_per_second"]["value"], 20);
}

#[test]
fn a_path_without_a_folder_is_read_from_where_the_process_stands() {
    let shown = load(Path::new("no-such-config.toml"), &Environment::default()).unwrap_err().to_string();
    assert!(shown.contains("no-such-config.toml\n  the file does not exist"), "{shown}");
}
