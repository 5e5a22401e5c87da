//! Which project is which while the daemon runs: the name under which the journal keeps it, and the
//! looked-up ids.
//!
//! A project whose id is looked up cannot be polled before the id is known. Here it becomes known,
//! and the project is not polled with the history of another project.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{Mutex, Notify, OwnedMutexGuard};
use tracing::info;

use crate::clock::{Clock as _, SystemClock};
use crate::cloud::CloudError;
use crate::cloud::project::{FindProject, Finding};
use crate::journal::Journal;
use crate::model::hold::Holds;
use crate::model::hold::Identified;
use crate::model::id::{ProjectId, ProjectName};
use crate::model::names::{Named, Names};
use crate::model::text::chain;
use crate::notify::NotifyQueue;

/// What is known of the identities of all projects.
pub(super) struct Identities {
    journal: Journal,
    clock: Arc<SystemClock>,
    holds: Arc<RwLock<Holds>>,
    post: std::sync::OnceLock<NotifyQueue>,
    pub(super) known: Mutex<Known>,
    /// Notified when a project has to be built again.
    pub(super) outdated: Notify,
}

/// The same, as it is now.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// As the journal has them.
    pub(super) names: Names,
    /// The watched projects, leaving ones included, with their ids if known.
    watched: BTreeMap<ProjectName, Option<ProjectId>>,
    /// Projects that were built with the history of another project. None of them can be polled.
    pub(super) outdated: BTreeSet<ProjectName>,
}

impl Known {
    /// Adds a watched project, with its id if known.
    pub(super) fn watch(&mut self, name: &ProjectName, id: Option<&ProjectId>) {
        self.outdated.remove(name);
        let known = self.watched.entry(name.clone()).or_default();
        if id.is_some() {
            *known = id.cloned();
        }
    }

    /// Removes a project that is no longer watched.
    pub(super) fn leave(&mut self, name: &ProjectName) {
        self.watched.remove(name);
        self.outdated.remove(name);
    }

    /// Returns another watched project with this id.
    fn other_with(&self, name: &ProjectName, id: &ProjectId) -> Option<&ProjectName> {
        self.watched
            .iter()
            .find(|(other, of)| *other != name && of.as_ref() == Some(id))
            .map(|(other, _)| other)
    }

    /// Returns all watched projects, for the journal.
    fn named(&self) -> Vec<Named> {
        self.watched.iter().map(|(name, id)| Named { name: name.clone(), id: id.clone() }).collect()
    }
}

impl Identities {
    /// Makes it with these names, from the journal.
    pub(super) fn new(
        journal: &Journal,
        clock: &Arc<SystemClock>,
        holds: &Arc<RwLock<Holds>>,
        names: Names,
    ) -> Arc<Self> {
        Arc::new(Self {
            journal: journal.clone(),
            clock: Arc::clone(clock),
            holds: Arc::clone(holds),
            post: std::sync::OnceLock::new(),
            known: Mutex::new(Known { names, ..Known::default() }),
            outdated: Notify::new(),
        })
    }

    /// Notifies this queue of other names.
    pub(super) fn notifying(&self, post: &NotifyQueue) {
        let _ = self.post.set(post.clone());
    }

    /// While the guard lives, no entry is turned into notes: names of projects, by which that is kept, may change.
    pub(super) async fn pause_notes(&self) -> Option<OwnedMutexGuard<()>> {
        match self.post.get() {
            Some(post) => Some(post.pause_notes().await),
            None => None,
        }
    }

    /// Takes in what the journal has done.
    pub(super) fn take(&self, known: &mut Known, identified: &Identified) {
        let now = self.clock.now();
        self.holds.write().unwrap_or_else(PoisonError::into_inner).rename(identified, now);
        known.names = identified.naming.names.clone();
        if let Some(post) = self.post.get() {
            post.renamed(&identified.naming);
        }
        tell(identified);
    }

    /// Returns whether the project of this name, whose id was found to be this one, may be polled.
    async fn claim(&self, name: &ProjectName, id: ProjectId) -> Result<ProjectId, CloudError> {
        let no = |detail: String| Err(CloudError::NoProject { detail });
        let known = &mut *self.known.lock().await;
        if let Some(other) = known.other_with(name, &id) {
            return no(format!(
                "the region's project is {id}, which is already watched as project {other}; project {name} is not \
                 polled and sends no request, because both would act on it"
            ));
        }
        if known.outdated.contains(name) {
            return no(format!("the daemon loads the journal of project {id} first"));
        }
        known.watched.insert(name.clone(), Some(id.clone()));
        let is_its_own = match known.names.id_of(name) {
            Some(kept) => *kept == id,
            None => known.names.name_of(&id).is_none(),
        };
        if known.names.id_of(name) == Some(&id) {
            return Ok(id);
        }
        let wanted = known.named();
        let _paused = self.pause_notes().await;
        let identified = match self.journal.identify(wanted).await {
            Ok(identified) => identified,
            Err(error) => {
                known.watched.insert(name.clone(), None);
                return no(format!(
                    "the id of the project could not be written to the journal: {}",
                    chain(&error)
                ));
            }
        };
        for rename in &identified.naming.renames {
            // A project whose id is not known yet was built with a history that has another name by
            // now.
            if known.watched.get(&rename.from).is_some_and(Option::is_none) {
                known.outdated.insert(rename.from.clone());
            }
        }
        self.take(known, &identified);
        if is_its_own {
            return Ok(id);
        }
        known.watched.insert(name.clone(), None);
        known.outdated.insert(name.clone());
        self.outdated.notify_one();
        no(format!(
            "project {name} now has another id, {id}; the daemon loads the journal of that project first"
        ))
    }
}

/// Logs which projects have another name now.
pub(super) fn tell(identified: &Identified) {
    for rename in &identified.naming.renames {
        let (from, to) = (&rename.from, &rename.to);
        if rename.aside {
            info!(project = %from, "the journal renames the former project {from} to {to}, because another project takes the name");
        } else {
            info!(project = %to, "project {from} was renamed to {to}: its history, holds and open requests are kept");
        }
    }
}

/// Finds the id of a project, and checks whether it may be polled under its name.
pub(super) struct Claiming<F> {
    pub(super) finder: F,
    pub(super) name: ProjectName,
    pub(super) identities: Arc<Identities>,
}

impl<F: FindProject> FindProject for Claiming<F> {
    fn find(&self) -> Finding<'_> {
        Box::pin(async move {
            let id = self.finder.find().await?;
            self.identities.claim(&self.name, id).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::MemoryJournal;
    use crate::model::event::{Event, Subject};
    use crate::model::hold::{NewHold, Scope};
    use crate::model::id::{ClusterId, TaskId};

    fn name(text: &str) -> ProjectName {
        ProjectName::new(text).unwrap()
    }

    fn id(text: &str) -> ProjectId {
        ProjectId::new(text).unwrap()
    }

    fn subject(project: &str) -> Subject {
        Subject {
            project: name(project),
            cluster: ClusterId::new(&format!("of-{project}")).unwrap(),
            task: TaskId::new("task").unwrap(),
        }
    }

    /// A journal in which these projects are kept, each with an entry and a hold; and what is known of them.
    async fn journaled(kept: &[(&str, &str)]) -> (MemoryJournal, Arc<Identities>) {
        let (memory, clock) = (MemoryJournal::new(1), Arc::new(SystemClock::new()));
        let journal = Journal::from(memory.clone());
        let named = |(text, of): &(&str, &str)| Named { name: name(text), id: Some(id(of)) };
        let names = journal.identify(kept.iter().map(named).collect()).await.unwrap().naming.names;
        let holds = Arc::new(RwLock::new(Holds::default()));
        for (project, _) in kept {
            journal.record(clock.now(), vec![(subject(project), Event::Missing)]).await.unwrap();
            let hold = NewHold {
                at: clock.now().wall,
                scope: Scope::Project(name(project)),
                cluster_name: None,
                until: None,
                reason: "x".to_owned(),
                by: "uid 0".to_owned(),
            };
            let hold = journal.place_hold(hold).await.unwrap();
            holds.write().unwrap().place(hold, clock.now());
        }
        let identities = Identities::new(&journal, &clock, &holds, names);
        (memory, identities)
    }

    async fn watch(identities: &Identities, project: &str, of: Option<&str>) {
        identities.known.lock().await.watch(&name(project), of.map(id).as_ref());
    }

    async fn outdated(identities: &Identities) -> Vec<String> {
        identities.known.lock().await.outdated.iter().map(ToString::to_string).collect()
    }

    fn kept_under(journal: &MemoryJournal) -> Vec<String> {
        journal
            .entries()
            .iter()
            .map(|entry| format!("{}/{}", entry.subject.project, entry.subject.cluster))
            .collect()
    }

    fn held(identities: &Identities) -> Vec<String> {
        let now = identities.clock.now();
        let mut held: Vec<String> =
            identities.holds.read().unwrap().in_force(now).map(|hold| hold.scope.to_string()).collect();
        held.sort();
        held
    }

    #[tokio::test]
    async fn a_project_that_is_found_to_be_one_that_is_watched_is_not_read() {
        let (_, identities) = journaled(&[]).await;
        watch(&identities, "public", Some("1")).await;
        watch(&identities, "private", None).await;
        for _ in 0..2 {
            let refused = identities.claim(&name("private"), id("1")).await.unwrap_err();
            assert!(refused.to_string().contains("already watched as project public"), "{refused}");
        }
        // The other project is removed.
        identities.known.lock().await.leave(&name("public"));
        assert!(identities.claim(&name("private"), id("1")).await.is_ok());
        watch(&identities, "later", None).await;
        assert!(identities.claim(&name("later"), id("1")).await.is_err(), "the first that was found has it");
        assert!(identities.claim(&name("private"), id("1")).await.is_ok());
    }

    #[tokio::test]
    async fn a_project_that_is_found_to_be_the_one_that_is_kept_goes_on() {
        let (journal, identities) = journaled(&[("a", "1")]).await;
        watch(&identities, "a", None).await;
        assert_eq!(identities.claim(&name("a"), id("1")).await.unwrap(), id("1"));
        assert_eq!(kept_under(&journal), ["a/of-a"]);
        watch(&identities, "new", None).await;
        assert_eq!(identities.claim(&name("new"), id("2")).await.unwrap(), id("2"));
        let known = identities.known.lock().await;
        assert_eq!(known.names.name_of(&id("2")), Some(&name("new")));
    }

    #[tokio::test]
    async fn a_project_that_is_found_to_be_another_one_takes_up_that_ones_history_first() {
        let (journal, identities) = journaled(&[("a", "1"), ("b", "2")]).await;
        watch(&identities, "a", None).await;
        // The history of project 2 is kept under b, which is no longer watched.
        for _ in 0..2 {
            let refused = identities.claim(&name("a"), id("2")).await.unwrap_err();
            assert!(refused.to_string().contains("the daemon loads the journal of"), "{refused}");
        }
        assert_eq!(outdated(&identities).await, ["a"]);
        assert_eq!(kept_under(&journal), ["former-1-1/of-a", "a/of-b"]);
        assert_eq!(
            held(&identities),
            ["project:a", "project:a", "project:former-1-1"],
            "what was held stays held"
        );
        // Built again, it continues.
        watch(&identities, "a", None).await;
        assert!(identities.claim(&name("a"), id("2")).await.is_ok());
    }

    #[tokio::test]
    async fn two_projects_that_are_found_to_have_exchanged_their_names_are_both_built_anew() {
        let (journal, identities) = journaled(&[("a", "1"), ("b", "2")]).await;
        watch(&identities, "a", None).await;
        watch(&identities, "b", None).await;
        assert!(identities.claim(&name("a"), id("2")).await.is_err());
        assert!(identities.claim(&name("b"), id("1")).await.is_err(), "it was built with the history of 2");
        assert_eq!(outdated(&identities).await, ["a", "b"]);
        for project in ["a", "b"] {
            watch(&identities, project, None).await;
        }
        assert!(identities.claim(&name("a"), id("2")).await.is_ok());
        assert!(identities.claim(&name("b"), id("1")).await.is_err(), "it was built with an empty history");
        watch(&identities, "b", None).await;
        assert!(identities.claim(&name("b"), id("1")).await.is_ok());
        assert_eq!(kept_under(&journal), ["b/of-a", "a/of-b"]);
    }
}
