//! Holds: an operator's order to send nothing for a cluster, a project or everything.
//!
//! A hold blocks the next PUT of any kind, and no poll. Holds stack: each of them blocks what it
//! covers.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::id::{ClusterId, ProjectName};
use super::moment::Moment;
use super::names::Naming;
use super::text::{shown, utc};

/// What a hold covers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Scope {
    /// Every cluster of every project.
    All,
    /// Every cluster of a project, by its name in the configuration.
    Project(ProjectName),
    /// One cluster, by its id.
    Cluster(ClusterId),
}

impl Scope {
    /// Whether it covers this cluster.
    pub fn covers(&self, project: &ProjectName, cluster: &ClusterId) -> bool {
        match self {
            Self::All => true,
            Self::Project(name) => name == project,
            Self::Cluster(id) => id == cluster,
        }
    }
}

impl Scope {
    /// Returns the same scope if its project is kept under another name.
    #[must_use]
    pub fn renamed(&self, naming: &Naming) -> Self {
        match self {
            Self::Project(name) => Self::Project(naming.renamed(name).clone()),
            other => other.clone(),
        }
    }
}

/// As people write it: `all`, `project:NAME`, `cluster:ID`.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Project(name) => write!(f, "project:{name}"),
            Self::Cluster(id) => write!(f, "cluster:{id}"),
        }
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.to_string()
    }
}

impl TryFrom<String> for Scope {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let bad = |error: super::id::IdError| error.to_string();
        match text.split_once(':') {
            None if text == "all" => Ok(Self::All),
            Some(("project", name)) => Ok(Self::Project(ProjectName::new(name).map_err(bad)?)),
            Some(("cluster", id)) => Ok(Self::Cluster(ClusterId::new(id).map_err(bad)?)),
            _ => Err(format!("found \"{}\"; all, project:NAME or cluster:ID is allowed", shown(&text, 80))),
        }
    }
}

/// A hold that an operator wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewHold {
    /// When the operator ordered it.
    pub at: Timestamp,
    /// What it covers.
    pub scope: Scope,
    /// The cluster's name, where the scope is one.
    pub cluster_name: Option<String>,
    /// Its end; `None`: until it is released.
    pub until: Option<Timestamp>,
    /// The operator's reason.
    pub reason: String,
    /// The user's name, or `uid 1000` if there is none.
    pub by: String,
}

/// A hold as it is stored: by wall time alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredHold {
    /// Its number, never used again.
    pub number: u64,
    /// When it began.
    pub at: Timestamp,
    /// What it covers.
    pub scope: Scope,
    /// The cluster's name, where the scope is one.
    pub cluster_name: Option<String>,
    /// Its end; `None`: until it is released.
    pub until: Option<Timestamp>,
    /// The operator's reason.
    pub reason: String,
    /// The user's name, or `uid 1000` if there is none.
    pub by: String,
    /// Who released it, and when.
    pub released: Option<(Timestamp, String)>,
}

impl StoredHold {
    /// Returns the hold with its number.
    pub fn new(number: u64, hold: NewHold) -> Self {
        let NewHold { at, scope, cluster_name, until, reason, by } = hold;
        Self { number, at, scope, cluster_name, until, reason, by, released: None }
    }
}

impl StoredHold {
    /// Returns what it blocks.
    pub fn effect(&self) -> &'static str {
        match self.scope {
            Scope::All => "no request is sent",
            Scope::Project(_) => "no request is sent in this project",
            Scope::Cluster(_) => "no request is sent for this cluster",
        }
    }
}

impl fmt::Display for StoredHold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hold #{} on {}", self.number, self.scope)?;
        if let Some(name) = &self.cluster_name {
            write!(f, " ({})", shown(name, 80))?;
        }
        write!(f, " by {}", self.by)?;
        match self.until {
            Some(until) => write!(f, " until {}", utc(until))?,
            None => f.write_str(" until it is released")?,
        }
        write!(f, ": {}", shown(&self.reason, 200))
    }
}

/// The result of renaming projects, and the holds on them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identified {
    /// The renames.
    pub naming: Naming,
    /// Holds that were placed again: those on a name that another project has taken.
    pub holds: Vec<StoredHold>,
}

/// A hold by this process's clocks.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    stored: StoredHold,
    at: Moment,
    /// The end on the monotonic clock; `None`: until it is released.
    until: Option<Moment>,
    released: Option<Moment>,
    /// Placed, and released, by this process, whose monotonic clock has run since then.
    placed_here: bool,
    released_here: bool,
    /// The journal has no end yet, because our clock may have been wrong when the hold was placed.
    end_unjournaled: bool,
}

impl Known {
    /// Returns the hold by the clocks of a process that reads it at `now`.
    fn recall(stored: StoredHold, now: Moment) -> Self {
        Self {
            at: now.recall(stored.at),
            until: stored.until.map(|until| point(now, until)),
            released: stored.released.as_ref().map(|(at, _)| now.recall(*at)),
            stored,
            placed_here: false,
            released_here: false,
            end_unjournaled: false,
        }
    }

    /// Returns when it ends or ended, if that is known.
    fn end(&self) -> Option<Moment> {
        self.released.or(self.until)
    }

    fn is_in_force(&self, now: Moment) -> bool {
        self.end().is_none_or(|end| now.mono < end.mono)
    }
}

/// All holds that matter: those in force, and those that ended while a request waited.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holds(Vec<Known>);

impl Holds {
    /// Returns those of a journal, by the clocks of a process that reads them at `now`. The
    /// remaining time follows from the wall clock.
    pub fn recall(stored: impl IntoIterator<Item = StoredHold>, now: Moment) -> Self {
        Self(stored.into_iter().map(|hold| Known::recall(hold, now)).collect())
    }

    /// Reads those of the journal again, because the clock was set. Changes by this process stay.
    pub fn tie_anew(&mut self, now: Moment) {
        for hold in self.0.iter_mut().filter(|hold| !hold.placed_here) {
            let anew = Known::recall(hold.stored.clone(), now);
            (hold.at, hold.until) = (anew.at, anew.until);
            if !hold.released_here {
                hold.released = anew.released;
            }
        }
    }

    /// Adds one that was placed at `now`.
    pub fn place(&mut self, hold: StoredHold, now: Moment) {
        self.0.push(Known { at: now, placed_here: true, ..Known::recall(hold, now) });
    }

    /// Adds one whose end is known here, and not in the journal yet.
    pub fn place_without_journaled_end(&mut self, hold: StoredHold, until: Moment, now: Moment) {
        let stored = StoredHold { until: Some(until.wall), ..hold };
        let end_unjournaled = true;
        self.0.push(Known { at: now, placed_here: true, end_unjournaled, ..Known::recall(stored, now) });
    }

    /// Returns those whose end the journal does not have, with their end by this process's clocks.
    pub fn without_journaled_end(&self) -> Vec<(StoredHold, Moment)> {
        let open = self.0.iter().filter(|hold| hold.end_unjournaled && hold.released.is_none());
        open.filter_map(|hold| Some((hold.stored.clone(), hold.until?))).collect()
    }

    /// Takes in that the journal has the end of this hold now, under the number of its replacement.
    pub fn end_was_journaled(&mut self, number: u64, stored: StoredHold) {
        if let Some(hold) = self.0.iter_mut().find(|hold| hold.stored.number == number) {
            hold.stored = stored;
            hold.end_unjournaled = false;
        }
    }

    /// Takes other names of projects.
    pub fn rename(&mut self, identified: &Identified, now: Moment) {
        for hold in &mut self.0 {
            hold.stored.scope = hold.stored.scope.renamed(&identified.naming);
        }
        self.0.extend(Self::recall(identified.holds.iter().cloned(), now).0);
    }

    /// Ends these.
    pub fn release(&mut self, numbers: &[u64], now: Moment, by: &str) {
        for hold in self.0.iter_mut().filter(|hold| numbers.contains(&hold.stored.number)) {
            hold.released = Some(now);
            hold.released_here = true;
            hold.stored.released = Some((now.wall, by.to_owned()));
        }
    }

    /// Those in force, oldest first.
    pub fn in_force(&self, now: Moment) -> impl Iterator<Item = &StoredHold> {
        self.0.iter().filter(move |hold| hold.is_in_force(now)).map(|hold| &hold.stored)
    }

    /// Returns the hold that lasts longest for this cluster, if one is in force.
    pub fn covering(&self, project: &ProjectName, cluster: &ClusterId, now: Moment) -> Option<&StoredHold> {
        let covering = self.of(project, cluster).filter(|hold| hold.is_in_force(now));
        let last = |hold: &&Known| hold.until.map_or(i64::MAX, |until| until.mono.0);
        covering.max_by_key(last).map(|hold| &hold.stored)
    }

    /// Returns all known ones that cover this cluster, in force or over.
    pub fn all_on(&self, project: &ProjectName, cluster: &ClusterId) -> impl Iterator<Item = &StoredHold> {
        self.of(project, cluster).map(|hold| &hold.stored)
    }

    /// Returns when a hold on the cluster last ended after `since`, if none is in force.
    pub fn ended_since(
        &self,
        since: Moment,
        project: &ProjectName,
        cluster: &ClusterId,
        now: Moment,
    ) -> Option<Moment> {
        let ends = self.of(project, cluster).filter_map(Known::end);
        ends.filter(|end| since.mono < end.mono && end.mono <= now.mono).max_by_key(|end| end.mono)
    }

    /// Returns those whose time ended after `since` and up to `now`.
    pub fn ended_by_themselves(&self, since: Moment, now: Moment) -> impl Iterator<Item = &StoredHold> {
        let over = move |end: Moment| since.mono < end.mono && end.mono <= now.mono;
        let ended = self.0.iter().filter(move |hold| hold.released.is_none() && hold.until.is_some_and(over));
        ended.map(|hold| &hold.stored)
    }

    /// When the next hold ends by itself.
    pub fn next_end(&self, now: Moment) -> Option<Moment> {
        let ends = self.0.iter().filter(|hold| hold.is_in_force(now)).filter_map(|hold| hold.until);
        ends.min_by_key(|end| end.mono)
    }

    fn of(&self, project: &ProjectName, cluster: &ClusterId) -> impl Iterator<Item = &Known> {
        self.0.iter().filter(move |hold| hold.stored.scope.covers(project, cluster))
    }
}

/// Returns a point of wall time, past or to come, on this process's clocks.
fn point(now: Moment, wall: Timestamp) -> Moment {
    let ahead = wall.duration_since(now.wall);
    if ahead > SignedDuration::ZERO {
        Moment { wall, ..now.after(ahead.unsigned_abs()) }
    } else {
        now.recall(wall)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::moment::Mono;

    fn now() -> Moment {
        Moment { wall: "2026-01-02T03:04:05Z".parse().unwrap(), mono: Mono(1_000) }
    }

    fn project() -> ProjectName {
        ProjectName::new("prod").unwrap()
    }

    fn cluster(id: &str) -> ClusterId {
        ClusterId::new(id).unwrap()
    }

    fn hold(number: u64, scope: &str, minutes: Option<u64>) -> StoredHold {
        let new = NewHold {
            at: now().wall,
            scope: Scope::try_from(scope.to_owned()).unwrap(),
            cluster_name: None,
            until: minutes.map(|minutes| now().after(Duration::from_mins(minutes)).wall),
            reason: "maintenance".to_owned(),
            by: "uid 0".to_owned(),
        };
        StoredHold::new(number, new)
    }

    #[test]
    fn a_scope_is_written_as_it_is_read_and_nothing_else_is_one() {
        for text in ["all", "project:prod", "cluster:ea244205-d641"] {
            assert_eq!(Scope::try_from(text.to_owned()).unwrap().to_string(), text);
        }
        for text in ["", "ALL", "project:", "cluster:a/b", "node:x", "all:x"] {
            assert!(Scope::try_from(text.to_owned()).is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn holds_stack_and_each_covers_its_own_scope() {
        let mut holds = Holds::default();
        holds.place(hold(1, "cluster:a", Some(10)), now());
        holds.place(hold(2, "project:prod", Some(30)), now());
        let covering = |holds: &Holds, id: &str, minutes| {
            let at = now().after(Duration::from_mins(minutes));
            holds.covering(&project(), &cluster(id), at).map(|hold| hold.number)
        };
        assert_eq!(
            [covering(&holds, "a", 5), covering(&holds, "b", 5)],
            [Some(2), Some(2)],
            "the longest is named"
        );
        let other = ProjectName::new("test").unwrap();
        assert_eq!(holds.covering(&other, &cluster("a"), now()).map(|hold| hold.number), Some(1));
        holds.release(&[2], now().after(Duration::from_mins(6)), "uid 0");
        assert_eq!([covering(&holds, "a", 7), covering(&holds, "b", 7)], [Some(1), None]);
        assert_eq!(covering(&holds, "a", 10), None, "it ends by itself");
        let all_on =
            |id: &str| holds.all_on(&project(), &cluster(id)).map(|hold| hold.number).collect::<Vec<_>>();
        assert_eq!([all_on("a"), all_on("b")], [vec![1, 2], vec![2]], "over or not");
    }

    #[test]
    fn the_end_of_a_hold_is_known_for_a_while_so_that_nothing_fires_at_once() {
        let mut holds = Holds::default();
        holds.place(hold(1, "all", Some(10)), now());
        let at = |minutes| now().after(Duration::from_mins(minutes));
        let ended = |since, now| holds.ended_since(since, &project(), &cluster("a"), now);
        assert_eq!(ended(at(0), at(9)), None);
        assert_eq!(ended(at(0), at(11)).map(|end| end.wall), Some(at(10).wall));
        assert_eq!(ended(at(10), at(11)), None, "what began to wait later never waited under it");
    }

    #[test]
    fn a_restart_keeps_the_rest_of_a_hold_and_a_jump_of_the_wall_clock_ends_none() {
        let stored = hold(1, "all", Some(10));
        let later = Moment { mono: Mono(7), ..now().after(Duration::from_mins(4)) };
        let holds = Holds::recall([stored], later);
        assert_eq!(holds.in_force(later.after(Duration::from_mins(5))).count(), 1);
        assert_eq!(holds.in_force(later.after(Duration::from_mins(6))).count(), 0);
        let jumped = Moment { wall: now().after(Duration::from_hours(9)).wall, ..later };
        assert_eq!(holds.in_force(jumped).count(), 1);
        assert_eq!(holds.next_end(later).map(|end| end.since(later)), Some(Duration::from_mins(6)));
    }

    #[test]
    fn a_clock_that_is_set_ends_no_hold_that_it_had_not_ended_and_none_that_was_placed_meanwhile() {
        let hours = |hours: i64| jiff::SignedDuration::from_hours(hours);
        // Our clock is eight hours ahead when the journal is read, and by it a hold of an hour is
        // over.
        let ahead = Moment { wall: now().wall.checked_add(hours(8)).unwrap(), ..now() };
        let mut holds = Holds::recall([hold(1, "all", Some(60))], ahead);
        assert_eq!(holds.in_force(ahead).count(), 0);
        let mut here = hold(2, "project:prod", Some(120));
        (here.at, here.until) = (ahead.wall, Some(ahead.after(Duration::from_hours(2)).wall));
        holds.place(here, ahead);
        holds.tie_anew(now());
        let numbers = |minutes| {
            let at = now().after(Duration::from_mins(minutes));
            holds.in_force(at).map(|hold| hold.number).collect::<Vec<_>>()
        };
        assert_eq!(numbers(0), [1, 2]);
        assert_eq!(numbers(59), [1, 2]);
        assert_eq!(numbers(60), [2], "by the time that passed");
        assert_eq!(numbers(120), [0; 0]);
    }

    #[test]
    fn what_was_released_here_stays_released_when_the_clock_is_set() {
        let mut holds = Holds::recall([hold(1, "all", None)], now());
        holds.release(&[1], now(), "uid 0");
        let later = now().after(Duration::from_mins(5));
        let behind =
            Moment { wall: now().wall.checked_sub(jiff::SignedDuration::from_hours(8)).unwrap(), ..later };
        holds.tie_anew(behind);
        assert_eq!(holds.in_force(behind).count(), 0);
        assert_eq!(holds.in_force(later).count(), 0);
    }

    #[test]
    fn an_end_that_the_journal_does_not_know_ends_the_hold_here_all_the_same() {
        let mut holds = Holds::default();
        let until = now().after(Duration::from_mins(30));
        holds.place_without_journaled_end(hold(1, "all", None), until, now());
        assert_eq!(holds.in_force(now()).next().unwrap().until, Some(until.wall));
        assert_eq!(holds.in_force(until).count(), 0);
        assert_eq!(
            holds.without_journaled_end(),
            [(StoredHold { until: Some(until.wall), ..hold(1, "all", None) }, until)]
        );
        holds.end_was_journaled(1, hold(2, "all", Some(30)));
        assert!(holds.without_journaled_end().is_empty());
        assert_eq!(holds.in_force(now()).map(|hold| hold.number).collect::<Vec<_>>(), [2]);
    }
}
