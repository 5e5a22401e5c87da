//! Which policy governs a task: the first one with a `match` whose lines all hold; and why another
//! does not.

use std::fmt;

use crate::model::cluster::Cluster;
use crate::model::id::ProjectName;
use crate::model::policy::{Match, Pattern, Policy};
use crate::model::task::TaskKind;
use crate::model::text::shown;

/// Returns the first policy that matches the task, if any.
pub fn governing<'a>(
    policies: &'a [Policy],
    project: &ProjectName,
    cluster: &Cluster,
    kind: TaskKind,
) -> Option<&'a Policy> {
    policies.iter().find(|policy| first_miss(&policy.matches, project, cluster, kind).is_none())
}

/// Returns every policy in its order by its name, with the first line of its `match` that does not
/// hold for the task. The first policy without such a line governs.
pub fn matching<'a>(
    policies: &'a [Policy],
    project: &ProjectName,
    cluster: &Cluster,
    kind: TaskKind,
) -> Vec<(&'a str, Result<(), Mismatch>)> {
    let judge = |policy: &'a Policy| {
        let miss = first_miss(&policy.matches, project, cluster, kind);
        let matched = match miss {
            None => Ok(()),
            Some(line) => Err(line.explain(&policy.matches, project, cluster, kind)),
        };
        (policy.name(), matched)
    };
    policies.iter().map(judge).collect()
}

/// Returns the result of [`matching`], with the line that does not hold in words.
pub fn in_words(
    policies: &[Policy],
    project: &ProjectName,
    cluster: &Cluster,
    kind: TaskKind,
) -> Vec<(String, Option<String>)> {
    let words = |(name, matched): (&str, Result<(), Mismatch>)| {
        (name.to_owned(), matched.err().map(|mismatch| mismatch.to_string()))
    };
    matching(policies, project, cluster, kind).into_iter().map(words).collect()
}

/// A line of a `match`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line<'a> {
    Project,
    Cluster,
    Task,
    Engine,
    Version,
    /// The tag with this name.
    Tag(&'a str),
}

/// Why a policy does not match a task: the line that does not hold, its allowed values, and the
/// value of the task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The line's key: `project`, `cluster`, `task`, `engine`, `version`, `tags.NAME`.
    pub key: String,
    /// The allowed values, as the configuration has them.
    pub wanted: Vec<String>,
    /// The values of the task: the name and the id of a cluster, one word for everything else,
    /// nothing if the task has no such value.
    pub found: Vec<String>,
}

/// `cluster is "logs-eu" (c-1), which none of "prod-*", "*-prod" covers`
impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text: &String| format!("\"{}\"", shown(text, 80));
        match self.found.as_slice() {
            [] => write!(f, "{} is not there or not known", self.key)?,
            [word] => write!(f, "{} is {}", self.key, quoted(word))?,
            [name, id @ ..] => {
                let ids: Vec<_> = id.iter().map(|id| shown(id, 80)).collect();
                write!(f, "{} is {} ({})", self.key, quoted(name), ids.join(", "))?;
            }
        }
        let wanted: Vec<_> = self.wanted.iter().map(quoted).collect();
        match (self.found.is_empty(), wanted.as_slice()) {
            (true, [one]) => write!(f, ", and {one} is wanted"),
            (true, _) => write!(f, ", and one of {} is wanted", wanted.join(", ")),
            (false, [one]) => write!(f, ", which {one} does not cover"),
            (false, _) => write!(f, ", which none of {} covers", wanted.join(", ")),
        }
    }
}

impl Line<'_> {
    fn explain(self, matches: &Match, project: &ProjectName, cluster: &Cluster, kind: TaskKind) -> Mismatch {
        let texts = |patterns: &Option<Vec<Pattern>>| {
            patterns.iter().flatten().map(|pattern| pattern.as_str().to_owned()).collect()
        };
        // Empty if the API returned none.
        let word = |text: &str| if text.is_empty() { Vec::new() } else { vec![text.to_owned()] };
        let (key, wanted, found) = match self {
            Self::Project => ("project", texts(&matches.project), word(project.as_str())),
            Self::Cluster => {
                let found = vec![cluster.name.clone(), cluster.id.as_str().to_owned()];
                ("cluster", texts(&matches.cluster), found)
            }
            Self::Task => {
                let wanted = matches.task.iter().flatten().map(ToString::to_string).collect();
                ("task", wanted, word(kind.word()))
            }
            Self::Engine => ("engine", texts(&matches.engine), word(&cluster.engine)),
            Self::Version => ("version", texts(&matches.version), word(&cluster.version)),
            Self::Tag(name) => {
                let wanted = matches.tags.get(name).map(|pattern| pattern.as_str().to_owned());
                return Mismatch {
                    key: format!("tags.{}", shown(name, 80)),
                    wanted: wanted.into_iter().collect(),
                    found: cluster.tags.get(name).map(str::to_owned).into_iter().collect(),
                };
            }
        };
        Mismatch { key: key.to_owned(), wanted, found }
    }
}

/// Returns the first line of a `match` that does not hold; `None` if all hold.
fn first_miss<'a>(
    matches: &'a Match,
    project: &ProjectName,
    cluster: &Cluster,
    kind: TaskKind,
) -> Option<Line<'a>> {
    let covers = |patterns: &Option<Vec<Pattern>>, names: &[&str]| {
        patterns
            .as_ref()
            .is_none_or(|patterns| names.iter().any(|name| patterns.iter().any(|p| p.covers(name))))
    };
    if !covers(&matches.project, &[project.as_str()]) {
        return Some(Line::Project);
    }
    if !covers(&matches.cluster, &[&cluster.name, cluster.id.as_str()]) {
        return Some(Line::Cluster);
    }
    if matches.task.as_ref().is_some_and(|kinds| !kinds.contains(&kind)) {
        return Some(Line::Task);
    }
    if !covers(&matches.engine, &[&cluster.engine]) {
        return Some(Line::Engine);
    }
    if !covers(&matches.version, &[&cluster.version]) {
        return Some(Line::Version);
    }
    let untagged = |(key, pattern): &(&String, &Pattern)| {
        !cluster.tags.get(key).is_some_and(|value| pattern.covers(value))
    };
    matches.tags.iter().find(untagged).map(|(key, _)| Line::Tag(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::ClusterId;
    use crate::model::policy::{Expect, Mode, Terms};
    use crate::model::setup::Nodes;

    fn cluster() -> Cluster {
        Cluster {
            id: ClusterId::new("c-1").unwrap(),
            name: "logs-eu".to_owned(),
            engine: "opensearch".into(),
            version: "2.17.1".into(),
            actions: Vec::new(),
            tags: [("team", "search")].into(),
            nodes: Nodes::default(),
            state: 0,
        }
    }

    fn patterns(texts: &[&str]) -> Vec<Pattern> {
        texts.iter().map(|text| Pattern::new(text).unwrap()).collect()
    }

    fn policy(name: &str, matches: Match) -> Policy {
        Policy { matches, terms: Terms::defaults(name, Mode::Enforce), expect: Expect::default() }
    }

    /// Returns what one policy's `match` says of an upgrade of the cluster.
    fn shown(matches: Match) -> String {
        let project = ProjectName::new("prod").unwrap();
        let policies = [policy("logs", matches)];
        match matching(&policies, &project, &cluster(), TaskKind::Upgrade).as_slice() {
            [("logs", Ok(()))] => "covers".to_owned(),
            [("logs", Err(mismatch))] => mismatch.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_line_that_does_not_hold_says_what_it_wants_and_what_is_there() {
        let tags = |name: &str, value: &str| Match {
            tags: [(name.to_owned(), Pattern::new(value).unwrap())].into(),
            ..Match::default()
        };
        let none = Match::default;
        for (matches, sentence) in [
            (none(), "covers"),
            (
                Match { project: Some(patterns(&["test*"])), ..none() },
                "project is \"prod\", which \"test*\" does not cover",
            ),
            (
                Match { cluster: Some(patterns(&["prod-*", "*-prod"])), ..none() },
                "cluster is \"logs-eu\" (c-1), which none of \"prod-*\", \"*-prod\" covers",
            ),
            (Match { cluster: Some(patterns(&["logs-??"])), ..none() }, "covers"),
            (Match { cluster: Some(patterns(&["c-[0-3]"])), ..none() }, "covers"),
            (
                Match { cluster: Some(patterns(&["LOGS-EU"])), ..none() },
                "cluster is \"logs-eu\" (c-1), which \"LOGS-EU\" does not cover",
            ),
            (
                Match { task: Some(vec![TaskKind::AzSwitchover]), ..none() },
                "task is \"upgrade\", which \"az-switchover\" does not cover",
            ),
            (
                Match { engine: Some(patterns(&["elasticsearch"])), ..none() },
                "engine is \"opensearch\", which \"elasticsearch\" does not cover",
            ),
            (Match { engine: Some(patterns(&["{elastic,open}search"])), ..none() }, "covers"),
            (
                Match { version: Some(patterns(&["7.10.*", "1.*"])), ..none() },
                "version is \"2.17.1\", which none of \"7.10.*\", \"1.*\" covers",
            ),
            (tags("team", "sea*"), "covers"),
            (tags("team", "logs"), "tags.team is \"search\", which \"logs\" does not cover"),
            (tags("owner", "*"), "tags.owner is not there or not known, and \"*\" is wanted"),
        ] {
            assert_eq!(shown(matches), sentence);
        }
    }

    #[test]
    fn what_the_api_did_not_give_is_not_known() {
        let silent = Cluster { version: "".into(), ..cluster() };
        let project = ProjectName::new("prod").unwrap();
        let policies = [policy("a", Match { version: Some(patterns(&["7.*", "8.*"])), ..Match::default() })];
        let found = matching(&policies, &project, &silent, TaskKind::Upgrade);
        let sentence = found[0].1.as_ref().unwrap_err().to_string();
        assert_eq!(sentence, "version is not there or not known, and one of \"7.*\", \"8.*\" is wanted");
    }

    #[test]
    fn every_policy_is_judged_in_its_order_and_the_first_that_covers_governs() {
        let policies = [
            policy("a", Match { cluster: Some(patterns(&["x"])), ..Match::default() }),
            policy("b", Match { engine: Some(patterns(&["open*"])), ..Match::default() }),
            policy("c", Match::default()),
        ];
        let project = ProjectName::new("prod").unwrap();
        let found = matching(&policies, &project, &cluster(), TaskKind::Upgrade);
        let covers: Vec<_> = found.iter().map(|(name, matched)| (*name, matched.is_ok())).collect();
        assert_eq!(covers, [("a", false), ("b", true), ("c", true)]);
        let governing = governing(&policies, &project, &cluster(), TaskKind::Upgrade);
        assert_eq!(governing.map(Policy::name), Some("b"));
    }

    #[test]
    fn the_line_that_does_not_hold_is_told() {
        let project = ProjectName::new("prod").unwrap();
        let tags = |value: &str| [("team".to_owned(), Pattern::new(value).unwrap())].into();
        let none = Match::default;
        for (matches, miss) in [
            (none(), None),
            (Match { project: Some(patterns(&["prod*"])), ..none() }, None),
            (Match { project: Some(patterns(&["test*", "dev"])), ..none() }, Some(Line::Project)),
            (Match { cluster: Some(patterns(&["logs-*"])), ..none() }, None),
            (Match { cluster: Some(patterns(&["c-1"])), ..none() }, None),
            (Match { cluster: Some(patterns(&["logs"])), ..none() }, Some(Line::Cluster)),
            (Match { cluster: Some(patterns(&[])), ..none() }, Some(Line::Cluster)),
            (Match { task: Some(vec![TaskKind::AzSwitchover]), ..none() }, Some(Line::Task)),
            (Match { engine: Some(patterns(&["elasticsearch"])), ..none() }, Some(Line::Engine)),
            (Match { version: Some(patterns(&["2.*"])), ..none() }, None),
            (Match { version: Some(patterns(&["7.10.*"])), ..none() }, Some(Line::Version)),
            (Match { tags: tags("sea*"), ..none() }, None),
            (Match { tags: tags("logs"), ..none() }, Some(Line::Tag("team"))),
            (
                Match { tags: [("owner".to_owned(), Pattern::new("*").unwrap())].into(), ..none() },
                Some(Line::Tag("owner")),
            ),
        ] {
            assert_eq!(first_miss(&matches, &project, &cluster(), TaskKind::Upgrade), miss, "{matches:?}");
        }
    }

    #[test]
    fn the_first_policy_that_matches_wins() {
        let of = |name: &str, cluster: &str| {
            policy(name, Match { cluster: Some(patterns(&[cluster])), ..Match::default() })
        };
        let policies = [of("a", "none"), of("b", "logs-*"), of("c", "*")];
        let project = ProjectName::new("prod").unwrap();
        let found = governing(&policies, &project, &cluster(), TaskKind::Upgrade);
        assert_eq!(found.map(Policy::name), Some("b"));
        assert!(governing(&policies[..1], &project, &cluster(), TaskKind::Upgrade).is_none());
    }
}
