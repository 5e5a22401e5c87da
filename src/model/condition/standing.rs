//! Which conditions are in force, since when, and what changed.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Code, Condition};
use crate::model::id::{ClusterId, ProjectName};
use crate::model::names::Naming;

/// A condition in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// The project.
    pub project: ProjectName,
    /// Since when.
    pub since: Timestamp,
    /// The condition as it is now.
    #[serde(flatten)]
    pub condition: Condition,
    /// An earlier process found it, and this one has not confirmed it yet.
    #[serde(skip)]
    pub recalled: bool,
}

impl Standing {
    /// The key of a condition: one for each condition of the project, and of each of its clusters.
    pub fn word(&self) -> String {
        let code = self.condition.code().word();
        match self.condition.cluster() {
            Some((cluster, _)) => format!("{code}/{cluster}"),
            None => code.to_owned(),
        }
    }

    /// How long it has lasted, in whole seconds.
    pub fn lasted(&self, now: Timestamp) -> Duration {
        Duration::from_secs(now.duration_since(self.since).unsigned_abs().as_secs())
    }
}

/// A condition began (`before` is `None`), changed, was found again after a restart, or ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// When.
    pub at: Timestamp,
    /// The condition, as it is now or as it was last.
    pub standing: Standing,
    /// What it was before.
    pub before: Option<Condition>,
    /// Whether it is over.
    pub ended: bool,
}

/// What operators are notified of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// The condition, as one that began or changed.
    Began,
    /// Its end.
    Ended,
}

impl Change {
    /// Returns what operators are notified of, if of anything.
    pub fn told(&self) -> Option<Told> {
        let condition = &self.standing.condition;
        let was_told = self.before.as_ref().is_some_and(Condition::notifies);
        if self.ended || !condition.notifies() {
            return was_told.then_some(Told::Ended);
        }
        let same = self.before.as_ref().is_some_and(|before| before.notice_sign() == condition.notice_sign());
        (!was_told || !same).then_some(Told::Began)
    }

    /// Returns whether operators were notified of the condition, and not of its end.
    pub fn lasts(&self) -> bool {
        !self.ended && self.standing.condition.notifies()
    }
}

/// The conditions in force, of all projects.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conditions {
    standing: BTreeMap<ProjectName, BTreeMap<Option<ClusterId>, BTreeMap<Code, Standing>>>,
}

/// The conditions of a project and one of its clusters, by the present state of the daemon.
#[derive(Debug, Default)]
pub struct Found {
    /// What is certain to be in force.
    pub conditions: Vec<Condition>,
    /// Of these it is not known yet whether they are in force.
    pub unknown: Vec<Code>,
}

impl Conditions {
    /// Returns those that were in force when an earlier process ended.
    pub fn recall(kept: Vec<Standing>) -> Self {
        Self::all_of(kept.into_iter().map(|standing| Standing { recalled: true, ..standing }))
    }

    fn all_of(each: impl Iterator<Item = Standing>) -> Self {
        let mut all = Self::default();
        for standing in each {
            all.insert(standing);
        }
        all
    }

    fn insert(&mut self, standing: Standing) {
        let cluster = standing.condition.cluster().map(|(cluster, _)| cluster.clone());
        let of = self.standing.entry(standing.project.clone()).or_default().entry(cluster).or_default();
        of.insert(standing.condition.code(), standing);
    }

    /// Takes in which conditions are in force of the project itself and of this cluster. Returns what changed.
    pub fn update(
        &mut self,
        project: &ProjectName,
        cluster: Option<&ClusterId>,
        found: Found,
        at: Timestamp,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        if found.conditions.is_empty() && !self.standing.contains_key(project) {
            return changes;
        }
        let Found { conditions, unknown } = found;
        let is_found = |code| conditions.iter().any(|condition| condition.code() == code);
        let of = self.standing.entry(project.clone()).or_default();
        for about in [None, cluster.cloned()].into_iter().take(1 + usize::from(cluster.is_some())) {
            let Some(known) = of.get_mut(&about) else { continue };
            let over = known.extract_if(.., |code, _| !is_found(*code) && !unknown.contains(code));
            changes.extend(over.map(|(_, standing)| Change {
                at,
                before: Some(standing.condition.clone()),
                standing,
                ended: true,
            }));
            if known.is_empty() {
                of.remove(&about);
            }
        }
        for condition in conditions {
            let about = condition.cluster().map(|(cluster, _)| cluster.clone());
            let known = of.entry(about).or_default();
            let before = known.get(&condition.code());
            let is_same =
                |before: &Standing| !before.recalled && before.condition.log_sign() == condition.log_sign();
            let same = before.is_some_and(is_same);
            let since = before.map_or(at, |before| before.since);
            let before = before.map(|before| before.condition.clone());
            let standing = Standing { project: project.clone(), since, condition, recalled: false };
            known.insert(standing.condition.code(), standing.clone());
            if !same {
                changes.push(Change { at, standing, before, ended: false });
            }
        }
        if of.is_empty() {
            self.standing.remove(project);
        }
        changes
    }

    /// The condition of this code, of a project or one of its clusters.
    pub fn get(&self, project: &ProjectName, cluster: Option<&ClusterId>, code: Code) -> Option<&Standing> {
        self.standing.get(project)?.get(&cluster.cloned())?.get(&code)
    }

    /// Those of a project, in the order of their codes.
    pub fn of<'a>(&'a self, project: &ProjectName) -> impl Iterator<Item = &'a Standing> + use<'a> {
        self.standing.get(project).into_iter().flat_map(BTreeMap::values).flat_map(BTreeMap::values)
    }

    /// All of them, by project.
    pub fn all(&self) -> impl Iterator<Item = &Standing> {
        self.standing.values().flat_map(BTreeMap::values).flat_map(BTreeMap::values)
    }

    /// Removes a project that is no longer watched. Returns the conditions that were in force in
    /// it.
    pub fn forget(&mut self, project: &ProjectName) -> Vec<Standing> {
        let of = self.standing.remove(project).unwrap_or_default();
        of.into_values().flat_map(BTreeMap::into_values).collect()
    }

    /// Takes other names of projects.
    pub fn rename(&mut self, naming: &Naming) {
        let all: Vec<Standing> = self.all().cloned().collect();
        let renamed =
            |standing: Standing| Standing { project: naming.renamed(&standing.project).clone(), ..standing };
        *self = Self::all_of(all.into_iter().map(renamed));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::names::Rename;
    use crate::model::project::PauseCause;

    fn prod() -> ProjectName {
        ProjectName::new("prod").unwrap()
    }

    fn at(second: usize) -> Timestamp {
        Timestamp::from_second(1_000_000 + i64::try_from(second).unwrap()).unwrap()
    }

    fn condition(which: u8, variant: u32) -> Condition {
        match which {
            0 => Condition::ProjectPaused {
                cause: PauseCause::Forbidden,
                refusals: variant,
                until: Timestamp::UNIX_EPOCH,
            },
            1 => Condition::Unreachable {
                trouble: variant.to_string(),
                error: String::new(),
                advice: String::new(),
            },
            _ => Condition::ClusterListIncomplete { shown: 1, total: Some(2), unusable: Vec::new() },
        }
    }

    /// What one poll finds of a condition.
    #[derive(Debug, Clone, Copy)]
    enum Look {
        Unknown,
        NotInForce,
        InForce(u32),
    }

    fn found() -> impl Strategy<Value = Vec<Look>> {
        let look =
            prop_oneof![Just(Look::Unknown), Just(Look::NotInForce), (0..3_u32).prop_map(Look::InForce)];
        prop::collection::vec(look, 3)
    }

    fn as_found(states: &[Look]) -> Found {
        let mut all = Found::default();
        for (which, state) in (0_u8..).zip(states) {
            match state {
                Look::InForce(variant) => all.conditions.push(condition(which, *variant)),
                Look::NotInForce => {}
                Look::Unknown => all.unknown.push(condition(which, 0).code()),
            }
        }
        all
    }

    fn named(name: &str) -> ProjectName {
        ProjectName::new(name).unwrap()
    }

    fn lost(id: &str) -> Condition {
        let cluster = ClusterId::new(id).unwrap();
        let text = String::new;
        Condition::ClusterUnreachable { cluster, name: text(), trouble: text(), error: text() }
    }

    fn one(condition: Condition) -> Found {
        Found { conditions: vec![condition], unknown: Vec::new() }
    }

    fn words(all: &Conditions) -> Vec<String> {
        all.all().map(|standing| format!("{} {}", standing.project, standing.word())).collect()
    }

    #[test]
    fn each_cluster_has_conditions_of_its_own() {
        let mut all = Conditions::default();
        let (one_id, two_id) = (ClusterId::new("c-1").unwrap(), ClusterId::new("c-2").unwrap());
        all.update(&prod(), Some(&one_id), one(lost("c-1")), at(1));
        all.update(&prod(), Some(&two_id), one(lost("c-2")), at(2));
        assert_eq!(words(&all), ["prod cluster-unreachable/c-1", "prod cluster-unreachable/c-2"]);
        let known = all.get(&prod(), Some(&two_id), Code::ClusterUnreachable).unwrap();
        assert_eq!((known.since, known.lasted(at(62))), (at(2), Duration::from_mins(1)));
        assert_eq!(all.get(&prod(), None, Code::ClusterUnreachable), None);
        // A poll of one cluster says nothing of the others, nor does one of the project.
        let ended = all.update(&prod(), Some(&one_id), Found::default(), at(3));
        assert!(ended.len() == 1 && ended[0].ended && !ended[0].lasts());
        all.update(&prod(), None, Found::default(), at(3));
        assert_eq!(words(&all), ["prod cluster-unreachable/c-2"]);
        all.update(&prod(), Some(&two_id), Found::default(), at(4));
        assert_eq!(all, Conditions::default(), "what is empty takes no room");
    }

    #[test]
    fn a_project_is_renamed_and_forgotten_with_its_conditions() {
        let mut all = Conditions::default();
        all.update(&prod(), None, one(condition(0, 1)), at(1));
        all.update(&named("test"), None, one(condition(1, 1)), at(1));
        let rename = Rename { from: prod(), to: named("live"), aside: false };
        all.rename(&Naming { renames: vec![rename], ..Naming::default() });
        assert_eq!(words(&all), ["live project-paused", "test unreachable"]);
        assert_eq!(all.forget(&named("live")).len(), 1);
        assert_eq!(words(&all), ["test unreachable"]);
    }

    #[test]
    fn operators_are_reminded_of_what_lasts_and_notifies_alone() {
        let change = |condition, ended| {
            let standing = Standing { project: prod(), since: at(1), condition, recalled: false };
            Change { at: at(1), standing, before: None, ended }
        };
        assert!(change(condition(0, 1), false).lasts());
        assert!(!change(condition(0, 1), true).lasts(), "it is over");
        assert!(!change(condition(2, 1), false).lasts(), "nobody is notified of it");
        let never_told = Change { before: Some(condition(2, 1)), ..change(condition(0, 1), true) };
        assert_eq!(never_told.told(), None, "what nobody was notified of has no end to tell");
    }

    #[test]
    fn what_an_earlier_process_found_is_logged_once_more_when_it_is_found_again() {
        let mut all = Conditions::default();
        all.update(&prod(), None, one(condition(0, 1)), at(1));
        let mut again = Conditions::recall(all.all().cloned().collect());
        let changes = again.update(&prod(), None, one(condition(0, 1)), at(9));
        assert!(changes.len() == 1 && changes[0].told().is_none() && changes[0].standing.since == at(1));
        assert!(again.update(&prod(), None, one(condition(0, 1)), at(10)).is_empty());
    }

    proptest! {
        /// For any sequence of polls and restarts: a condition has its last certain state, and its
        /// beginning; operators are notified of a beginning before an end, of each once, and a
        /// restart changes nothing for them.
        #[test]
        fn what_stands_is_what_was_last_certain_and_each_change_is_notified_once(
            looks in prop::collection::vec((found(), any::<bool>()), 1..30)
        ) {
            let mut all = Conditions::default();
            let mut last = [None; 3];
            let mut told: [Option<String>; 3] = Default::default();
            for (second, (states, restarts)) in looks.iter().enumerate() {
                if *restarts {
                    let kept = all.all().filter(|standing| standing.condition.notifies()).cloned().collect();
                    all = Conditions::recall(kept);
                    last[2] = None;
                }
                for change in all.update(&prod(), None, as_found(states), at(second)) {
                    let which = [Code::ProjectPaused, Code::Unreachable, Code::ClusterListIncomplete]
                        .iter()
                        .position(|code| *code == change.standing.condition.code())
                        .unwrap();
                    match change.told() {
                        Some(Told::Began) => {
                            let sign = change.standing.condition.notice_sign();
                            prop_assert_ne!(told[which].as_ref(), Some(&sign));
                            told[which] = Some(sign);
                        }
                        Some(Told::Ended) => prop_assert!(told[which].take().is_some()),
                        None => {}
                    }
                }
                for (which, state) in states.iter().enumerate() {
                    last[which] = match (state, last[which]) {
                        (Look::Unknown, before) => before,
                        (Look::NotInForce, _) => None,
                        (Look::InForce(variant), before) => {
                            Some((*variant, before.map_or(second, |(_, since)| since)))
                        }
                    };
                }
                let standing: Vec<_> =
                    all.of(&prod()).map(|standing| (standing.condition.clone(), standing.since)).collect();
                let expected: Vec<_> = [1_u8, 0, 2]
                    .iter()
                    .filter_map(|which| last[usize::from(*which)].map(|last| (which, last)))
                    .map(|(which, (variant, since))| (condition(*which, variant), at(since)))
                    .collect();
                prop_assert_eq!(standing, expected);
                prop_assert_eq!(told[2].as_ref(), None);
                for which in 0..2 {
                    prop_assert_eq!(told[which].is_some(), last[which].is_some());
                }
            }
        }
    }
}
