//! The overrides of the environment: `UPGRADE_REMEDIATOR__SECTION__KEY`, for every single value of
//! config.toml's sections.

use config::{Map, Value, ValueKind};

use super::environment::{Environment, PREFIX};
use super::key::KeyPath;
use super::layer::{Layer, Origin};
use super::problem::{MAX_PROBLEMS, Problem, nearest};
use super::schema::Key;
use crate::model::text::shown;

/// Makes the highest layer. A number is read as one only if the key takes one.
pub(super) fn layer(keys: &[Key], env: &Environment) -> (Layer, Vec<Problem>) {
    let known = keys.iter().filter_map(|key| {
        let variable = format!("{PREFIX}{}", key.path.join("__").to_uppercase());
        Some((variable, key.path.as_slice(), key.single?))
    });
    let known: Vec<_> = known.collect();
    let mut layer = Layer::default();
    let mut problems = Vec::new();
    for (name, value) in env.overrides() {
        let shown = name.to_string_lossy();
        let found = known.iter().find(|(variable, ..)| name == variable.as_str());
        let Some((variable, path, read)) = found else {
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
        set(&mut layer.values, path, read(text));
        layer.origins.insert(KeyPath::of(path), Origin::Environment(variable.clone()));
    }
    for (name, rest) in env.near_overrides().take(MAX_PROBLEMS) {
        let shown = shown(name, 200);
        let message = format!(
            "the environment variable {shown} overrides no key: its name begins with one underscore after UPGRADE_REMEDIATOR, not two"
        );
        // The form of both without the second underscore.
        let words: Vec<_> = known.iter().map(|(_, path, _)| path.join("_").to_uppercase()).collect();
        let near = nearest(&rest.replace("__", "_"), words.iter().map(String::as_str));
        let meant =
            near.and_then(|near| words.iter().position(|word| word == near)).and_then(|at| known.get(at));
        let hint = match meant {
            Some((variable, ..)) => format!("did you mean {variable}?"),
            None => format!("write {PREFIX}SECTION__KEY for a key of config.toml, or unset the variable"),
        };
        problems.push(Problem::error(message).as_warning().with_hint(hint));
    }
    (layer, problems)
}

/// Compared without the prefix, which is so long that everything would look near.
fn nearest_variable<'a>(written: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let written = written.strip_prefix(PREFIX).unwrap_or(written);
    nearest(written, known.filter_map(|variable| variable.strip_prefix(PREFIX)))
        .map(|near| format!("{PREFIX}{near}"))
}

fn set(values: &mut Map<String, Value>, path: &[&str], kind: ValueKind) {
    match path {
        [] => {}
        [key] => drop(values.insert((*key).to_owned(), Value::new(None, kind))),
        [table, rest @ ..] => {
            let empty = || Value::new(None, ValueKind::Table(Map::new()));
            let table = values.entry((*table).to_owned()).or_insert_with(empty);
            if let ValueKind::Table(table) = &mut table.kind {
                set(table, rest, kind);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn a_number_is_read_only_where_the_key_takes_one() {
        let env = Environment::new([
            ("UPGRADE_REMEDIATOR__LIMITS__MAX_ACTIONS_PER_HOUR", "7"),
            ("UPGRADE_REMEDIATOR__LOG__FILTER", "7"),
        ]);
        let (layer, problems) = layer(&check::keys(), &env);
        assert_eq!(problems, []);
        let kind =
            |section: &str, key: &str| layer.values[section].clone().into_table().unwrap()[key].kind.clone();
        assert_eq!(kind("limits", "max_actions_per_hour"), ValueKind::I64(7));
        assert_eq!(kind("log", "filter"), ValueKind::String("7".to_owned()));
    }

    #[test]
    fn every_single_value_of_a_section_can_be_overridden() {
        let keys = check::keys();
        let single: Vec<_> = keys.iter().filter(|key| key.single.is_some()).collect();
        assert!(single.iter().all(|key| key.path.len() <= 2 && key.path[0] != "policy"), "{single:?}");
        for key in &single {
            let variable = format!("{PREFIX}{}", key.path.join("__").to_uppercase());
            let (layer, problems) = layer(&keys, &Environment::new([(variable, "x")]));
            assert!(problems.is_empty() && layer.origins.contains_key(&KeyPath::of(&key.path)), "{key:?}");
        }
        assert!(single.iter().any(|key| key.path == ["notify", "page"]), "{single:?}");
        let exposed = Environment::new([("UPGRADE_REMEDIATOR__HTTP__EXPOSE_WITHOUT_AUTHENTICATION", "true")]);
        let http = layer(&keys, &exposed).0.values["http"].clone().into_table().unwrap();
        assert_eq!(http["expose_without_authentication"].kind, ValueKind::Boolean(true));
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
            let (layer, problems) = layer(&check::keys(), &Environment::new([(name, "canary-7f3a")]));
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
    fn a_variable_with_one_underscore_is_a_warning_that_names_the_right_variable() {
        for (name, hint) in [
            ("UPGRADE_REMEDIATOR_MODE", "did you mean UPGRADE_REMEDIATOR__MODE?"),
            ("UPGRADE_REMEDIATOR_MODES", "did you mean UPGRADE_REMEDIATOR__MODE?"),
            (
                "UPGRADE_REMEDIATOR_POLL_IDLE_INTERVAL",
                "did you mean UPGRADE_REMEDIATOR__POLL__IDLE_INTERVAL?",
            ),
            (
                "UPGRADE_REMEDIATOR_POLL__IDLE_INTERVAL",
                "did you mean UPGRADE_REMEDIATOR__POLL__IDLE_INTERVAL?",
            ),
            ("UPGRADE_REMEDIATOR_log_filter", "did you mean UPGRADE_REMEDIATOR__LOG__FILTER?"),
            (
                "UPGRADE_REMEDIATOR_CONFIG",
                "write UPGRADE_REMEDIATOR__SECTION__KEY for a key of config.toml, or unset the variable",
            ),
        ] {
            let (layer, problems) = layer(&check::keys(), &Environment::new([(name, "canary-7f3a")]));
            assert!(layer.values.is_empty() && problems.len() == 1, "{name}: {problems:?}");
            assert_eq!(problems[0].hint.as_deref(), Some(hint), "{name}");
            let shown = problems[0].to_string();
            assert!(!problems[0].is_error() && shown.contains(name) && !shown.contains("canary"), "{shown}");
        }
    }

    #[test]
    fn the_variables_that_a_container_runtime_makes_of_a_service_are_no_slips() {
        for name in [
            "UPGRADE_REMEDIATOR_SERVICE_HOST",
            "UPGRADE_REMEDIATOR_SERVICE_PORT",
            "UPGRADE_REMEDIATOR_SERVICE_PORT_HTTP",
            "UPGRADE_REMEDIATOR_PORT",
            "UPGRADE_REMEDIATOR_PORT_9187_TCP_ADDR",
            "UPGRADE_REMEDIATOR_WEB_SERVICE_HOST",
            "UPGRADE_REMEDIATORS",
        ] {
            let (_, problems) = layer(&check::keys(), &Environment::new([(name, "10.0.0.1")]));
            assert_eq!(problems, [], "{name}");
        }
    }
}
