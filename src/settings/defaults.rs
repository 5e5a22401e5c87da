//! Every default of config.toml's own keys, and with them the list of the keys that the environment can override:
//! the scalar ones.
//!
//! Numbers that the model knows are taken from it; the rest stands here and nowhere else. The defaults of a policy
//! are the model's (`Terms::defaults`), those of a project come from its region (`endpoint`).

use std::path::PathBuf;
use std::time::Duration;

use config::{Map, Value, ValueKind};

use super::Project;
use super::duration;
use super::environment::{Environment, PREFIX};
use super::key::KeyPath;
use super::layer::{Layer, Origin};
use super::problem::{Problem, nearest};
use crate::model::policy::Mode;
use crate::model::project::{Breaker, Limits, Poll};

/// What acts when nobody says so: nothing.
pub(super) const MODE: Mode = Mode::DryRun;
/// Where the journal lies outside a unit with a `StateDirectory=`.
const STATE_DIRECTORY: &str = "/var/lib/upgrade-remediator";
/// How long finished tasks are kept.
pub(super) const RETENTION: Duration = Duration::from_hours(365 * 24);
/// Reminder delays after an escalation.
pub(super) const REMINDERS: [Duration; 3] =
    [Duration::from_hours(1), Duration::from_hours(4), Duration::from_hours(24)];
/// Where the control socket lies outside a unit with a `RuntimeDirectory=`.
const RUNTIME_DIRECTORY: &str = "/run/upgrade-remediator";

/// Whether a region is of the EU's cloud, whose accounts no other IAM knows.
fn is_in_the_eu(region: &str) -> bool {
    region.starts_with("eu-west-1")
}

/// The domain of a region's hosts.
fn domain(region: &str) -> &'static str {
    if is_in_the_eu(region) { "myhuaweicloud.eu" } else { "myhuaweicloud.com" }
}

/// The service's host where the region alone is given. The odd ones and the pattern are those of the official SDK's
/// region table, which names this one host of the EU in the other domain ([`doubts`]); private clouds need `endpoint`.
pub(super) fn endpoint(region: &str) -> String {
    let host = match region {
        "cn-north-1" | "cn-east-2" => "es",
        _ => "css",
    };
    format!("https://{host}.{region}.myhuaweicloud.com")
}

/// The regions whose IAM has a host of its own, by the official SDK's table, beside those of the EU; all others share one.
const OWN_IAM: [&str; 27] = [
    "ae-ad-1",
    "af-south-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "cn-east-2",
    "cn-east-3",
    "cn-east-4",
    "cn-east-5",
    "cn-north-1",
    "cn-north-12",
    "cn-north-2",
    "cn-north-4",
    "cn-north-9",
    "cn-south-1",
    "cn-south-2",
    "cn-southwest-2",
    "eu-west-0",
    "la-north-2",
    "la-south-2",
    "me-east-1",
    "my-kualalumpur-1",
    "na-mexico-1",
    "ru-moscow-1",
    "sa-brazil-1",
    "tr-west-1",
];

/// IAM's host where the region alone is given.
pub(super) fn iam_endpoint(region: &str) -> String {
    let domain = domain(region);
    if OWN_IAM.contains(&region) || is_in_the_eu(region) {
        format!("https://iam.{region}.{domain}")
    } else {
        "https://iam.myhuaweicloud.com".to_owned()
    }
}

/// The host that turns an agency's URN into keys: beside the IAM that was given, else the region's.
pub(super) fn sts_endpoint(region: &str, given_iam: Option<&str>) -> String {
    match given_iam {
        Some(iam) => iam.replacen("://iam.", "://sts.", 1),
        None => format!("https://sts.{region}.{}", domain(region)),
    }
}

/// SMN's host where the region alone is given, by the official SDK's table.
pub(super) fn smn_endpoint(region: &str) -> String {
    format!("https://smn.{region}.{}", domain(region))
}

/// What is not sure of the hosts that the region alone gave a project: the key, and what to know.
pub(super) fn doubts(project: &Project) -> Vec<(&'static str, String)> {
    let (region, domain) = (&project.region, domain(&project.region));
    if !is_in_the_eu(region) {
        return Vec::new();
    }
    let mut doubts = Vec::new();
    if project.endpoint == endpoint(region) {
        let other = format!("https://css.{region}.{domain}");
        doubts.push((
            "endpoint",
            format!("sources differ on this host: where it does not answer, give {other}"),
        ));
    }
    if project.sts_endpoint == sts_endpoint(region, None) {
        let sts = &project.sts_endpoint;
        let doubt = format!(
            "{sts}, where an agency's URN is turned into keys, is a guess: no source names that host"
        );
        doubts.push(("iam_endpoint", doubt));
    }
    doubts
}

fn scalars(env: &Environment) -> Vec<(&'static str, &'static str, ValueKind)> {
    let (poll, limits, breaker) = (Poll::default(), Limits::default(), Breaker::default());
    let span = |duration| ValueKind::from(duration::text(duration));
    let count = |count: u32| ValueKind::I64(i64::from(count));
    let inside = |variable: &str, fallback: &str, file: &str| {
        env.directory(variable)
            .unwrap_or_else(|| PathBuf::from(fallback))
            .join(file)
            .to_string_lossy()
            .into_owned()
    };
    let journal = inside("STATE_DIRECTORY", STATE_DIRECTORY, "journal.db");
    vec![
        ("", "mode", MODE.word().into()),
        ("journal", "url", format!("sqlite:{journal}").into()),
        ("journal", "retention", span(RETENTION)),
        ("poll", "discovery_interval", span(poll.discovery_interval)),
        ("poll", "idle_interval", span(poll.idle_interval)),
        ("poll", "active_interval", span(poll.active_interval)),
        ("poll", "settle_interval", span(poll.settle_interval)),
        ("poll", "settle_timeout", span(poll.settle_timeout)),
        ("poll", "max_failure_age", span(poll.max_failure_age)),
        ("poll", "request_timeout", span(poll.request_timeout)),
        ("limits", "max_requests_in_flight", count(limits.max_requests_in_flight)),
        ("limits", "requests_per_second", count(limits.requests_per_second)),
        ("limits", "max_actions_in_flight", count(limits.max_actions_in_flight)),
        ("limits", "max_actions_per_hour", count(limits.max_actions_per_hour)),
        ("breaker", "failures", count(breaker.failures)),
        ("breaker", "within", span(breaker.within)),
        ("breaker", "cooldown", span(breaker.cooldown)),
        ("breaker", "probe", span(breaker.probe)),
        ("http", "listen", "127.0.0.1:9187".into()),
        ("http", "expose_without_authentication", false.into()),
        ("control", "socket", control_socket(env).to_string_lossy().into_owned().into()),
        ("log", "filter", "info".into()),
        ("log", "format", "auto".into()),
    ]
}

/// Where the control socket lies where the settings do not say.
pub(super) fn control_socket(env: &Environment) -> PathBuf {
    env.directory("RUNTIME_DIRECTORY").unwrap_or_else(|| RUNTIME_DIRECTORY.into()).join("control.sock")
}

/// The lowest layer.
pub(super) fn layer(env: &Environment) -> Layer {
    let mut layer = Layer::default();
    for (section, key, kind) in scalars(env) {
        set(&mut layer, section, key, kind, &Origin::Default);
    }
    let reminders: Vec<Value> =
        ["1h", "4h", "1d"].map(|text| Value::new(Some(&Origin::Default.to_string()), text)).into();
    set(&mut layer, "http", "hosts", ValueKind::Array(Vec::new()), &Origin::Default);
    set(&mut layer, "notify", "reminders", ValueKind::Array(reminders), &Origin::Default);
    layer
}

/// The highest layer: `UPGRADE_REMEDIATOR__SECTION__KEY`. A number is read as one only where the key takes one.
pub(super) fn overrides(env: &Environment) -> (Layer, Vec<Problem>) {
    let known: Vec<_> = scalars(env)
        .into_iter()
        .map(|(section, key, kind)| {
            let path = if section.is_empty() { key.to_owned() } else { format!("{section}__{key}") };
            (format!("{PREFIX}{}", path.to_uppercase()), section, key, kind)
        })
        .collect();
    let mut layer = Layer::default();
    let mut problems = Vec::new();
    for (name, value) in env.overrides() {
        let shown = name.to_string_lossy();
        let found = known.iter().find(|(variable, ..)| name == variable.as_str());
        let Some((variable, section, key, kind)) = found else {
            let problem = Problem::error(format!(
                "the environment variable {shown} overrides no key: only single values of config.toml's sections can \
                 be overridden, never projects, credentials, channels or policies"
            ));
            let near = nearest_variable(&shown, known.iter().map(|(variable, ..)| variable.as_str()));
            problems.push(match near {
                Some(near) => problem.with_hint(format!("did you mean {near}?")),
                None => problem,
            });
            continue;
        };
        let Some(text) = value.to_str() else {
            problems.push(Problem::error(format!("the environment variable {shown} is not UTF-8 text")));
            continue;
        };
        let kind = match (kind, text.parse::<i64>()) {
            (ValueKind::I64(_), Ok(number)) => ValueKind::I64(number),
            _ => ValueKind::from(text),
        };
        set(&mut layer, section, key, kind, &Origin::Environment(variable.clone()));
    }
    // Other names that begin like ours are left alone (a container's links are made of a service's name), but for
    // those that were plainly meant to override something.
    for (variable, ..) in &known {
        let slip = variable.replace("__", "_");
        if env.get(&slip).is_some() {
            let problem = Problem::error(format!("the environment variable {slip} overrides nothing"));
            problems.push(problem.as_warning().with_hint(format!("did you mean {variable}?")));
        }
    }
    (layer, problems)
}

/// Compared without the prefix, which is long enough to make everything look near.
fn nearest_variable<'a>(written: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let written = written.strip_prefix(PREFIX).unwrap_or(written);
    nearest(written, known.filter_map(|variable| variable.strip_prefix(PREFIX)))
        .map(|near| format!("{PREFIX}{near}"))
}

fn set(layer: &mut Layer, section: &str, key: &str, kind: ValueKind, origin: &Origin) {
    let text = origin.to_string();
    let value = Value::new(Some(&text), kind);
    let top = KeyPath::default();
    if section.is_empty() {
        layer.values.insert(key.to_owned(), value);
        layer.origins.insert(top.key(key), origin.clone());
        return;
    }
    let table = layer
        .values
        .entry(section.to_owned())
        .or_insert_with(|| Value::new(None, ValueKind::Table(Map::new())));
    if let ValueKind::Table(table) = &mut table.kind {
        table.insert(key.to_owned(), value);
    }
    layer.origins.insert(top.key(section).key(key), origin.clone());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folders_that_systemd_gives_are_used() {
        let env = Environment::new([("STATE_DIRECTORY", "/state"), ("RUNTIME_DIRECTORY", "/run/x:/run/y")]);
        let layer = layer(&env);
        let text = |section: &str, key: &str| {
            let table = layer.values[section].clone().into_table().unwrap();
            table[key].clone().into_string().unwrap()
        };
        assert_eq!(text("journal", "url"), "sqlite:/state/journal.db");
        assert_eq!(text("control", "socket"), "/run/x/control.sock");
    }

    #[test]
    fn the_odd_hosts_are_known() {
        assert_eq!(endpoint("eu-west-101"), "https://css.eu-west-101.myhuaweicloud.com");
        assert_eq!(iam_endpoint("eu-west-101"), "https://iam.eu-west-101.myhuaweicloud.eu");
        assert_eq!(sts_endpoint("eu-west-101", None), "https://sts.eu-west-101.myhuaweicloud.eu");
        assert_eq!(smn_endpoint("eu-west-101"), "https://smn.eu-west-101.myhuaweicloud.eu");
        assert_eq!(smn_endpoint("eu-west-0"), "https://smn.eu-west-0.myhuaweicloud.com");
        assert_eq!(endpoint("cn-north-1"), "https://es.cn-north-1.myhuaweicloud.com");
        assert_eq!(endpoint("cn-east-2"), "https://es.cn-east-2.myhuaweicloud.com");
        assert_eq!(endpoint("cn-north-11"), "https://css.cn-north-11.myhuaweicloud.com");
    }

    #[test]
    fn every_region_has_its_hosts() {
        for (region, css, iam) in [
            ("cn-north-1", "es.cn-north-1", "iam.cn-north-1"),
            ("cn-north-2", "css.cn-north-2", "iam.cn-north-2"),
            ("cn-north-4", "css.cn-north-4", "iam.cn-north-4"),
            ("cn-north-9", "css.cn-north-9", "iam.cn-north-9"),
            ("cn-north-11", "css.cn-north-11", "iam"),
            ("cn-north-12", "css.cn-north-12", "iam.cn-north-12"),
            ("cn-east-2", "es.cn-east-2", "iam.cn-east-2"),
            ("cn-east-3", "css.cn-east-3", "iam.cn-east-3"),
            ("cn-east-4", "css.cn-east-4", "iam.cn-east-4"),
            ("cn-east-5", "css.cn-east-5", "iam.cn-east-5"),
            ("cn-south-1", "css.cn-south-1", "iam.cn-south-1"),
            ("cn-south-2", "css.cn-south-2", "iam.cn-south-2"),
            ("cn-south-4", "css.cn-south-4", "iam"),
            ("cn-southwest-2", "css.cn-southwest-2", "iam.cn-southwest-2"),
            ("cn-southwest-3", "css.cn-southwest-3", "iam"),
            ("ap-southeast-1", "css.ap-southeast-1", "iam.ap-southeast-1"),
            ("ap-southeast-2", "css.ap-southeast-2", "iam.ap-southeast-2"),
            ("ap-southeast-3", "css.ap-southeast-3", "iam.ap-southeast-3"),
            ("ap-southeast-4", "css.ap-southeast-4", "iam.ap-southeast-4"),
            ("ap-southeast-5", "css.ap-southeast-5", "iam"),
            ("af-south-1", "css.af-south-1", "iam.af-south-1"),
            ("af-north-1", "css.af-north-1", "iam"),
            ("ae-ad-1", "css.ae-ad-1", "iam.ae-ad-1"),
            ("me-east-1", "css.me-east-1", "iam.me-east-1"),
            ("tr-west-1", "css.tr-west-1", "iam.tr-west-1"),
            ("my-kualalumpur-1", "css.my-kualalumpur-1", "iam.my-kualalumpur-1"),
            ("la-north-2", "css.la-north-2", "iam.la-north-2"),
            ("la-south-2", "css.la-south-2", "iam.la-south-2"),
            ("na-mexico-1", "css.na-mexico-1", "iam.na-mexico-1"),
            ("sa-brazil-1", "css.sa-brazil-1", "iam.sa-brazil-1"),
            ("ru-moscow-1", "css.ru-moscow-1", "iam.ru-moscow-1"),
        ] {
            assert_eq!(endpoint(region), format!("https://{css}.myhuaweicloud.com"));
            assert_eq!(iam_endpoint(region), format!("https://{iam}.myhuaweicloud.com"));
            assert_eq!(sts_endpoint(region, None), format!("https://sts.{region}.myhuaweicloud.com"));
        }
        let given = |iam| sts_endpoint("eu-de", Some(iam));
        assert_eq!(given("https://iam.eu-de.otc.t-systems.com"), "https://sts.eu-de.otc.t-systems.com");
        assert_eq!(given("http://127.0.0.1:8080"), "http://127.0.0.1:8080");
    }

    #[test]
    fn a_number_is_read_only_where_the_key_takes_one() {
        let env = Environment::new([
            ("UPGRADE_REMEDIATOR__LIMITS__MAX_ACTIONS_PER_HOUR", "7"),
            ("UPGRADE_REMEDIATOR__LOG__FILTER", "7"),
        ]);
        let (layer, problems) = overrides(&env);
        assert_eq!(problems, []);
        let kind =
            |section: &str, key: &str| layer.values[section].clone().into_table().unwrap()[key].kind.clone();
        assert_eq!(kind("limits", "max_actions_per_hour"), ValueKind::I64(7));
        assert_eq!(kind("log", "filter"), ValueKind::String("7".to_owned()));
    }

    #[test]
    fn a_variable_that_overrides_nothing_is_an_error_with_the_nearest_name() {
        for (name, near) in [
            ("UPGRADE_REMEDIATOR__POLL__IDLE_INTERVALL", Some("UPGRADE_REMEDIATOR__POLL__IDLE_INTERVAL?")),
            ("UPGRADE_REMEDIATOR__poll__idle_interval", Some("UPGRADE_REMEDIATOR__POLL__IDLE_INTERVAL?")),
            ("UPGRADE_REMEDIATOR__MODES", Some("UPGRADE_REMEDIATOR__MODE?")),
            ("UPGRADE_REMEDIATOR__POLICY__PROD__MODE", None),
            ("UPGRADE_REMEDIATOR__POLL", None),
            ("UPGRADE_REMEDIATOR__", None),
        ] {
            let (layer, problems) = overrides(&Environment::new([(name, "canary-7f3a")]));
            assert!(layer.values.is_empty() && problems.len() == 1, "{name}");
            let shown = problems[0].to_string();
            assert!(shown.contains(name) && !shown.contains("canary"), "{shown}");
            match near {
                Some(near) => assert!(shown.contains(near), "{shown}"),
                None => assert_eq!(problems[0].hint, None, "{shown}"),
            }
        }
    }

    #[test]
    fn a_variable_with_another_prefix_is_left_alone_but_for_a_slip() {
        let (layer, problems) = overrides(&Environment::new([
            ("UPGRADE_REMEDIATOR_CONFIG", "x"),
            ("UPGRADE_REMEDIATOR_SERVICE_HOST", "10.0.0.1"),
            ("UPGRADE_REMEDIATOR_MODE", "enforce"),
            ("UPGRADE_REMEDIATOR_POLL_IDLE_INTERVAL", "1m"),
        ]));
        assert!(layer.values.is_empty());
        let hints: Vec<_> = problems.iter().filter_map(|problem| problem.hint.as_deref()).collect();
        assert_eq!(
            hints,
            [
                "did you mean UPGRADE_REMEDIATOR__MODE?",
                "did you mean UPGRADE_REMEDIATOR__POLL__IDLE_INTERVAL?"
            ]
        );
        assert!(problems.iter().all(|problem| !problem.is_error()));
    }
}
