//! The strict bridge: layers → `config` → plain JSON values → the shapes of [`super::written`].
//!
//! `config` converts types silently when it deserialises (2.7 becomes 3, `"yes"` becomes true). It is therefore asked
//! for JSON values only, which keep the kinds of TOML, and serde does the rest, strictly. A bad value is told, taken
//! out, and the rest read again: all problems are found at once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::key::{KeyPath, Segment};
use super::layer::{Layer, Origin};
use super::problem::{MAX_PROBLEMS, Problem, nearest};
use super::scalar::kind;

/// What a file (with the layers around it) says, and where each key of it stands.
#[derive(Default)]
pub(super) struct Tree {
    values: Value,
    origins: BTreeMap<KeyPath, Origin>,
    dropped: BTreeSet<KeyPath>,
    file: Option<PathBuf>,
}

/// Which end of an entry a message points at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    Key,
    Value,
}

impl Tree {
    /// A problem at this key, or at the nearest table around it that has a place.
    pub(super) fn problem(&self, path: &KeyPath, at: At, message: impl Into<String>) -> Problem {
        let mut problem = Problem::error(message);
        if !path.segments().is_empty() {
            problem.key = Some(path.label(&self.values));
        }
        let mut place = Some(path.clone());
        while let Some(here) = place {
            match self.origins.get(&here) {
                Some(Origin::File { source, key, value }) => {
                    // For what is missing, the table that lacks it is named by its head.
                    let meant = if at == At::Key || here != *path { key } else { value };
                    return problem.pointing_at(source, meant);
                }
                Some(Origin::Environment(name)) => {
                    problem.message = format!("{} (from the environment variable {name})", problem.message);
                    return problem;
                }
                Some(Origin::Default) => return problem,
                None => place = here.parent(),
            }
        }
        problem.file.clone_from(&self.file);
        problem
    }

    /// Whether a user said it, in a file or in the environment.
    pub(super) fn is_set(&self, path: &KeyPath) -> bool {
        !matches!(self.origins.get(path), None | Some(Origin::Default))
    }

    /// Whether something stood there and was told as a problem already.
    pub(super) fn was_dropped(&self, path: &KeyPath) -> bool {
        self.dropped.contains(path)
    }

    /// Whether something stood there, or in the table there, and was told as a problem already.
    pub(super) fn any_dropped(&self, path: &KeyPath) -> bool {
        let first = self.dropped.range(path..).next();
        first.is_some_and(|found| found.segments().starts_with(path.segments()))
    }

    /// `FILE:LINE` of a key.
    pub(super) fn place(&self, path: &KeyPath) -> Option<String> {
        self.origins.get(path).map(ToString::to_string)
    }

    /// All keys by their labels, with their origins.
    pub(super) fn labelled_origins(&self) -> impl Iterator<Item = (String, String)> {
        self.origins.iter().map(|(path, origin)| (path.label(&self.values), origin.to_string()))
    }

    /// The places of secrets and windows, by their labels, each as a problem that is yet to be found.
    pub(super) fn places(&self) -> impl Iterator<Item = (String, Problem)> {
        let wanted = |path: &&KeyPath| match path.segments() {
            [Segment::Key(top), _, Segment::Key(_)] if top == "credentials" || top == "channel" => true,
            [Segment::Key(top), _, Segment::Key(key)] => {
                (top == "policy" && key == "window") || (top == "project" && key == "proxy_password")
            }
            _ => false,
        };
        let place = |path: &KeyPath| {
            let window = path.last() == Some(&Segment::Key("window".to_owned()));
            let at = if window { At::Key } else { At::Value };
            (path.label(&self.values), self.problem(path, at, ""))
        };
        self.origins.keys().filter(wanted).map(place)
    }

    /// What stands at a key.
    pub(super) fn value(&self, path: &KeyPath) -> Option<&Value> {
        path.find(&self.values)
    }
}

/// Merges the layers, the last one winning, and reads them as a `T`. What could not be read is absent from it.
pub(super) fn read<T: DeserializeOwned + Default>(layers: Vec<Layer>) -> (T, Tree, Vec<Problem>) {
    let mut tree = Tree::default();
    let mut builder = config::Config::builder();
    for layer in layers {
        tree.origins.extend(layer.origins.clone());
        tree.dropped.extend(layer.dropped.clone());
        tree.file = layer.file.clone().or(tree.file);
        builder = builder.add_source(layer);
    }
    let merged = builder.build().and_then(config::Config::try_deserialize::<Value>);
    let Ok(values) = merged else {
        // Nothing that the layers hold leads here; without the error's text, which may repeat a value.
        let problem = tree.problem(&KeyPath::default(), At::Key, "the settings cannot be put together");
        return (T::default(), tree, vec![problem]);
    };
    tree.values = values;

    let mut problems = Vec::new();
    let mut rest = tree.values.clone();
    while problems.len() < MAX_PROBLEMS {
        let error = match serde_path_to_error::deserialize::<_, T>(&rest) {
            Ok(read) => return (read, tree, problems),
            Err(error) => error,
        };
        let mut path = KeyPath::from(error.path());
        problems.push(explain(&tree, &path, &error.into_inner().to_string()));
        tree.dropped.insert(path.clone());
        // Where the key itself is not there, the table around it is what cannot be read.
        while !path.take_out(&mut rest) {
            let Some(parent) = path.parent() else { return (T::default(), tree, problems) };
            path = parent;
            tree.dropped.insert(path.clone());
        }
    }
    let more = "too many problems; those that follow are not shown";
    problems.push(tree.problem(&KeyPath::default(), At::Key, more));
    (T::default(), tree, problems)
}

/// serde's message in the words of the settings. The scalars' own messages pass as they are.
fn explain(tree: &Tree, path: &KeyPath, message: &str) -> Problem {
    if message.starts_with("unknown field ") {
        return unknown_key(tree, path, message);
    }
    let Some((_, expected)) =
        message.strip_prefix("invalid type: ").and_then(|rest| rest.rsplit_once(", expected "))
    else {
        let problem = tree.problem(path, At::Value, message);
        if message.contains("a secret is never written in the settings") {
            return problem.with_hint(
                "write { credential = \"NAME\" } (systemd), { file = \"/PATH\" } or { env = \"NAME\" }; \
                 and change the secret if others could read this file",
            );
        }
        return problem;
    };
    let expected = match expected {
        "a sequence" => "a list",
        "a map" => "a table",
        other => other,
    };
    // Never the value: a secret may stand where a table should.
    let found = tree.value(path);
    let problem = tree.problem(
        path,
        At::Value,
        format!("found {}; {expected} is needed", found.map_or("nothing", kind)),
    );
    match (found, expected, path.last()) {
        (Some(Value::Object(_)), "a list", Some(Segment::Key(key))) => {
            problem.with_hint(format!("write [[{key}]], with two brackets"))
        }
        (Some(Value::String(_)), "a list", Some(Segment::Key(key))) => {
            problem.with_hint(format!("write {key} = [\"…\"]"))
        }
        _ => problem,
    }
}

fn unknown_key(tree: &Tree, path: &KeyPath, message: &str) -> Problem {
    let Some(Segment::Key(written)) = path.last() else { return tree.problem(path, At::Key, "unknown key") };
    // serde lists what it knows after the unknown name: `a`, `b` or `c`.
    let after = message.strip_prefix("unknown field `").and_then(|rest| rest.strip_prefix(written.as_str()));
    let known: Vec<&str> = after.unwrap_or_default().split('`').skip(2).step_by(2).collect();
    let problem = tree.problem(path, At::Key, "unknown key");
    if let Some(near) = nearest(written, known.iter().copied()) {
        return problem.with_hint(format!("did you mean {near}?"));
    }
    if known == ["policy"] {
        return problem
            .with_hint("a file of policies.d holds [[policy]] only; the rest belongs in config.toml");
    }
    problem.with_hint(format!("known here: {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::document;
    use super::super::written::ConfigFile;
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let (layer, mut found) = document::parse(Path::new("c.toml"), text);
        let (_, _, more) = read::<ConfigFile>(vec![layer.unwrap()]);
        found.extend(more);
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_table_written_as_a_list_is_not_taken_for_one() {
        let found = problems("journal = ['sqlite:/x', '1d']\n");
        let marked = "   |\n 1 | journal = [***, ***]\n   |           ^^^^^^^^^^";
        assert_eq!(
            found,
            [format!("error: c.toml:1:11: journal\n  found a list; a table is needed\n{marked}")]
        );
    }

    #[test]
    fn all_bad_values_of_a_list_are_told() {
        let text = "[[policy]]\nname = 'a'\nmatch.cluster = [1, 'x', true]\n";
        let found = problems(text);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("error: c.toml:3:18: policy.a.match.cluster[0]"), "{found:?}");
        assert!(found[1].starts_with("error: c.toml:3:26: policy.a.match.cluster[2]"), "{found:?}");
    }

    #[test]
    fn an_unknown_key_is_pointed_at_itself_and_the_nearest_is_named() {
        let found = problems("[poll]\n  idle_intervall = '5m'\n[xyz]\n");
        assert_eq!(
            found[0],
            "error: c.toml:2:3: poll.idle_intervall\n  unknown key\n   |\n 2 |   idle_intervall = ***\n   \
             |   ^^^^^^^^^^^^^^\n  help: did you mean idle_interval?"
        );
        assert!(
            found[1].starts_with("error: c.toml:3:2: xyz\n  unknown key\n   |\n 3 | [xyz]\n")
                && found[1].contains("\n  help: known here: mode,"),
            "{found:?}"
        );
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn one_bracket_too_few_is_explained() {
        let found = problems("[policy]\nname = 'a'\n");
        assert!(found[0].contains("write [[policy]]"), "{found:?}");
    }

    #[test]
    fn a_value_where_a_table_should_be_is_not_repeated() {
        let found =
            problems("[credentials]\nmain = 'canary-7f3a'\nb.access_key = 'canary-7f3a'\nb.user = 5\n");
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found.iter().all(|problem| !problem.contains("canary")), "{found:?}");
    }

    #[test]
    fn there_is_an_end_to_problems() {
        let text = (0..1_000).fold(String::new(), |text, n| text + &format!("k{n} = 1\n"));
        let found = problems(&text);
        assert_eq!(found.len(), MAX_PROBLEMS + 1);
        assert!(found.last().unwrap().contains("too many problems"));
    }

    #[test]
    fn the_higher_layer_wins_and_is_named() {
        let (low, _) = document::parse(Path::new("low.toml"), "[journal]\nurl = 'a'\nretention = '1d'\n");
        let (high, _) = document::parse(Path::new("high.toml"), "[journal]\nurl = 'b'\n");
        let (file, tree, problems) = read::<ConfigFile>(vec![low.unwrap(), high.unwrap()]);
        assert_eq!(problems, []);
        let journal = file.journal.unwrap().0;
        assert_eq!(journal.url.unwrap().0, "b");
        assert!(journal.retention.is_some());
        let section = KeyPath::default().key("journal");
        assert_eq!(tree.place(&section.key("url")).as_deref(), Some("high.toml:2"));
        assert_eq!(tree.place(&section.key("retention")).as_deref(), Some("low.toml:3"));
    }
}
