//! Which policy governs a task: the first one whose every line holds.

use crate::model::cluster::Cluster;
use crate::model::id::ProjectName;
use crate::model::policy::{Match, Pattern, Policy};
use crate::model::task::TaskKind;

/// The first policy that covers the task, if any.
pub fn governing<'a>(
    policies: &'a [Policy],
    project: &ProjectName,
    cluster: &Cluster,
    kind: TaskKind,
) -> Option<&'a Policy> {
    policies.iter().find(|policy| first_miss(&policy.matches, project, cluster, kind).is_none())
}

/// The first line of a `match` that does not hold, by its key; `None` where all hold.
pub fn first_miss(
    matches: &Match,
    project: &ProjectName,
    cluster: &Cluster,
    kind: TaskKind,
) -> Option<&'static str> {
    let covers = |patterns: &Option<Vec<Pattern>>, names: &[&str]| {
        patterns
            .as_ref()
            .is_none_or(|patterns| names.iter().any(|name| patterns.iter().any(|p| p.covers(name))))
    };
    if !covers(&matches.project, &[project.as_str()]) {
        return Some("project");
    }
    if !covers(&matches.cluster, &[&cluster.name, cluster.id.as_str()]) {
        return Some("cluster");
    }
    if matches.task.as_ref().is_some_and(|kinds| !kinds.contains(&kind)) {
        return Some("task");
    }
    if !covers(&matches.engine, &[&cluster.engine]) {
        return Some("engine");
    }
    if !covers(&matches.version, &[&cluster.version]) {
        return Some("version");
    }
    let tagged = |(key, pattern): (&String, &Pattern)| {
        cluster.tags.get(key).is_some_and(|value| pattern.covers(value))
    };
    if !matches.tags.iter().all(tagged) {
        return Some("tags");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::ClusterId;
    use crate::model::policy::{Mode, Terms};

    fn cluster() -> Cluster {
        Cluster {
            id: ClusterId::new("c-1").unwrap(),
            name: "logs-eu".to_owned(),
            engine: "opensearch".to_owned(),
            version: "2.17.1".to_owned(),
            actions: Vec::new(),
            tags: [("team", "search")].into(),
            state: 0,
        }
    }

    fn patterns(texts: &[&str]) -> Vec<Pattern> {
        texts.iter().map(|text| Pattern::new(text).unwrap()).collect()
    }

    #[test]
    fn the_line_that_does_not_hold_is_told() {
        let project = ProjectName::new("prod").unwrap();
        let tags = |value: &str| [("team".to_owned(), Pattern::new(value).unwrap())].into();
        let none = Match::default;
        for (matches, miss) in [
            (none(), None),
            (Match { project: Some(patterns(&["prod*"])), ..none() }, None),
            (Match { project: Some(patterns(&["test*", "dev"])), ..none() }, Some("project")),
            (Match { cluster: Some(patterns(&["logs-*"])), ..none() }, None),
            (Match { cluster: Some(patterns(&["c-1"])), ..none() }, None),
            (Match { cluster: Some(patterns(&["logs"])), ..none() }, Some("cluster")),
            (Match { cluster: Some(patterns(&[])), ..none() }, Some("cluster")),
            (Match { task: Some(vec![TaskKind::AzSwitchover]), ..none() }, Some("task")),
            (Match { engine: Some(patterns(&["elasticsearch"])), ..none() }, Some("engine")),
            (Match { version: Some(patterns(&["2.*"])), ..none() }, None),
            (Match { version: Some(patterns(&["7.10.*"])), ..none() }, Some("version")),
            (Match { tags: tags("sea*"), ..none() }, None),
            (Match { tags: tags("logs"), ..none() }, Some("tags")),
            (
                Match { tags: [("owner".to_owned(), Pattern::new("*").unwrap())].into(), ..none() },
                Some("tags"),
            ),
        ] {
            assert_eq!(first_miss(&matches, &project, &cluster(), TaskKind::Upgrade), miss, "{matches:?}");
        }
    }

    #[test]
    fn the_first_policy_that_matches_wins() {
        let policy = |name: &str, cluster: &str| Policy {
            matches: Match { cluster: Some(patterns(&[cluster])), ..Match::default() },
            terms: Terms::defaults(name, Mode::Enforce),
        };
        let policies = [policy("a", "none"), policy("b", "logs-*"), policy("c", "*")];
        let project = ProjectName::new("prod").unwrap();
        let found = governing(&policies, &project, &cluster(), TaskKind::Upgrade);
        assert_eq!(found.map(Policy::name), Some("b"));
        assert!(governing(&policies[..1], &project, &cluster(), TaskKind::Upgrade).is_none());
    }
}
