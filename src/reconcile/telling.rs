//! What is told, and what was: so that each change is told once, and a trouble of the whole project is one line
//! and not one for each cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::cloud::CloudError;
use crate::cloud::transport::TransportError;
use crate::journal::JournalError;
use crate::model::cluster::{Cluster, ClusterList};
use crate::model::decision::{Decision, Verdict};
use crate::model::event::{Entry, Event};
use crate::model::id::{ClusterId, ProjectName};
use crate::model::moment::Moment;
use crate::model::outlook::Block;
use crate::model::project::{Stretch, UNCLEAR_PATIENCE};
use crate::model::project_state::Pause;
use crate::model::reason::Reason;
use crate::model::text::chain;
use crate::notify::{Notification, Observer};

/// So many clusters are told of one by one; more are told of as a number.
const ONE_BY_ONE: usize = 3;

/// Tells of one project, and remembers what it told. None of it need outlive the process.
pub(super) struct Telling {
    project: ProjectName,
    observer: Arc<dyn Observer>,
    told: Mutex<Told>,
}

/// What this process has seen of the project so far.
#[derive(Default, PartialEq, Eq)]
enum Sight {
    #[default]
    None,
    /// Its clusters were listed.
    Listed,
    /// And one of them was read, or there was none.
    Seen,
}

#[derive(Default)]
struct Told {
    /// The trouble that keeps the clusters from being listed, and the one that keeps all of them from being read.
    listing: Option<&'static str>,
    reading: Option<&'static str>,
    /// The latest of them that was told, with its words and what to do.
    blind: Option<(&'static str, String)>,
    /// The clusters that the latter still keeps from being read.
    blind_at: BTreeSet<ClusterId>,
    /// Whether it was told that all of the project was seen.
    sight: Sight,
    journal_fails: bool,
    /// A PUT was due, and no connection could be begun for it.
    cannot_connect: bool,
    list_short: bool,
    /// Clusters that cannot be read, with the error's code.
    unreadable: BTreeMap<ClusterId, &'static str>,
    /// Of those, the ones that were told of one by one.
    one_by_one: BTreeSet<ClusterId>,
    /// What was told of a cluster with no task in the journal.
    reasons: BTreeMap<ClusterId, Reason>,
    /// Since when it has not been clear what to do about a cluster, and whether that was told.
    unclear: BTreeMap<ClusterId, (Moment, bool)>,
    /// Tasks that are left alone, by reason: how many, and how many of them were not told of yet.
    left_alone: BTreeMap<&'static str, (usize, usize)>,
}

impl Telling {
    pub(super) fn new(project: ProjectName, observer: Arc<dyn Observer>) -> Self {
        Self { project, observer, told: Mutex::default() }
    }

    /// Something was journaled.
    pub(super) fn journaled(&self, cluster_name: &str, entry: &Entry) {
        // At a first start there may be hundreds of old failures, and of tasks that no policy covers.
        if let Event::Decided { reason, .. } = &entry.event
            && matches!(reason, Reason::TooOld { .. } | Reason::NoPolicy)
        {
            let mut told = self.told();
            let (all, untold) = told.left_alone.entry(reason.code()).or_default();
            *all += 1;
            if *all > ONE_BY_ONE {
                *untold += 1;
                return;
            }
        }
        self.observer.tell(&Notification::Journaled { cluster_name, entry });
    }

    /// The project was paused, rests for longer, or acts again.
    pub(super) fn pause(&self, before: Option<Pause>, after: Option<Pause>) {
        let project = &self.project;
        match (before, after) {
            (Some(before), Some(after)) if before.refusals == after.refusals => {}
            (_, Some(pause)) => self.observer.tell(&Notification::ProjectPaused { project, pause: &pause }),
            (Some(_), None) => self.observer.tell(&Notification::ProjectResumed { project }),
            (None, None) => {}
        }
    }

    /// A cluster was read, and this was decided. `fails`: a task of it shows a failure that is no record yet.
    pub(super) fn read(&self, cluster: &Cluster, at: Moment, decision: &Decision, fails: bool) {
        let (project, id, cluster_name) = (&self.project, &cluster.id, cluster.name.as_str());
        let mut told = self.told();
        told.blind_at.remove(id);
        // A credential is good for every cluster or for none; any other trouble may be one cluster's alone.
        if told.reading.is_none_or(|trouble| trouble == CloudError::OF_THE_CREDENTIAL) {
            told.blind_at.clear();
        }
        let all_seen = told.blind_at.is_empty();
        drop(told);
        if all_seen {
            self.sees(|told| &mut told.reading);
        }
        self.seen();
        let mut told = self.told();
        let was_unreadable = told.unreadable.remove(id).is_some();
        let was_told = told.one_by_one.remove(id);
        let all_readable = was_unreadable && told.unreadable.is_empty();

        let is_unclear = match decision.reason {
            Reason::UnknownStatus { .. } => true,
            Reason::ListIncomplete
            | Reason::OrderUnclear { .. }
            | Reason::NewestMissing { .. }
            | Reason::SlowPoll { .. } => fails,
            // Else it is handed to an operator after as long.
            Reason::SharedTask { .. } => fails && decision.verdict == Verdict::Wait,
            _ => false,
        };
        let tell_unclear = if is_unclear {
            let (since, tell) = told.unclear.entry(id.clone()).or_insert((at, false));
            let due = !*tell && at.since(*since) >= UNCLEAR_PATIENCE;
            *tell |= due;
            due
        } else {
            told.unclear.remove(id);
            false
        };
        let uncertain = matches!(
            decision.reason,
            Reason::ListIncomplete | Reason::OrderUnclear { .. } | Reason::NewestMissing { .. }
        );
        let before = if uncertain {
            told.reasons.insert(id.clone(), decision.reason.clone())
        } else {
            told.reasons.remove(id)
        };
        drop(told);

        if was_told || all_readable {
            self.observer.tell(&Notification::Readable { project, cluster: id, cluster_name });
        }
        if tell_unclear {
            self.observer.tell(&Notification::Unclear {
                project,
                cluster: id,
                cluster_name,
                reason: &decision.reason,
            });
        }
        if uncertain && before.as_ref() != Some(&decision.reason) {
            self.observer.tell(&Notification::Cluster {
                project,
                cluster: id,
                cluster_name,
                reason: &decision.reason,
            });
        }
    }

    /// A cluster could not be read.
    pub(super) fn unreadable(&self, cluster: &Cluster, error: &CloudError) {
        if is_of_the_project(error) {
            self.told().blind_at.insert(cluster.id.clone());
            self.blind(error, |told| &mut told.reading);
            return;
        }
        let mut told = self.told();
        if told.unreadable.insert(cluster.id.clone(), error.code()) == Some(error.code()) {
            return;
        }
        let others = told.unreadable.len();
        if others > ONE_BY_ONE + 1 {
            return;
        }
        if others <= ONE_BY_ONE {
            told.one_by_one.insert(cluster.id.clone());
        }
        drop(told);
        let (project, cluster_name, error) = (&self.project, cluster.name.as_str(), chain(error));
        if others <= ONE_BY_ONE {
            self.observer.tell(&Notification::Unreadable {
                project,
                cluster: &cluster.id,
                cluster_name,
                error: &error,
            });
        } else {
            self.observer.tell(&Notification::ManyUnreadable { project, error: &error });
        }
    }

    /// The clusters cannot be listed.
    pub(super) fn unlisted(&self, error: &CloudError) {
        self.blind(error, |told| &mut told.listing);
    }

    /// The project as a whole cannot be seen, in one of two ways. The same trouble in both is told once.
    fn blind(&self, error: &CloudError, way: fn(&mut Told) -> &mut Option<&'static str>) {
        let (trouble, advice) = error.trouble();
        let mut told = self.told();
        let known = [told.listing, told.reading].contains(&Some(trouble));
        *way(&mut told) = Some(trouble);
        if !known {
            told.blind = Some((trouble, format!("{}; {advice}", chain(error))));
        }
        drop(told);
        if !known {
            let (project, error) = (&self.project, &chain(error));
            self.observer.tell(&Notification::Unreachable { project, trouble, error, advice: &advice });
        }
    }

    fn sees(&self, way: fn(&mut Told) -> &mut Option<&'static str>) {
        let mut told = self.told();
        let was_blind = way(&mut told).take().is_some();
        let sees = was_blind && told.listing.is_none() && told.reading.is_none();
        drop(told);
        if sees {
            self.observer.tell(&Notification::Reachable { project: &self.project });
        }
    }

    /// Tells once that the project can be seen.
    fn seen(&self) {
        let mut told = self.told();
        let first = told.sight == Sight::Listed && told.listing.is_none() && told.reading.is_none();
        if first {
            told.sight = Sight::Seen;
        }
        drop(told);
        if first {
            self.observer.tell(&Notification::SeenAtFirst { project: &self.project });
        }
    }

    /// Why the project cannot be seen, where it cannot: a word and a sentence.
    pub(super) fn why_blind(&self) -> Option<(&'static str, String)> {
        let told = self.told();
        told.blind.clone().filter(|_| told.listing.is_some() || told.reading.is_some())
    }

    /// What keeps every request for the cluster from being sent, whatever is decided.
    pub(super) fn block(&self, cluster: &ClusterId) -> Option<Block> {
        if let Some((code, text)) = self.why_blind() {
            return Some(Block::of(code, &text));
        }
        let told = self.told();
        if told.journal_fails {
            return Some(Block::of("journal-failing", "the daemon's journal cannot be written"));
        }
        told.unreadable
            .get(cluster)
            .map(|code| Block::of(code, "the cluster could not be polled when last tried"))
    }

    /// The clusters were listed.
    pub(super) fn listed(&self, list: &ClusterList) {
        self.sees(|told| &mut told.listing);
        {
            let mut told = self.told();
            if told.sight == Sight::None {
                told.sight = Sight::Listed;
            }
        }
        if list.clusters.is_empty() {
            self.seen();
        }
        let short = !list.is_complete() || !list.unusable.is_empty();
        let before = std::mem::replace(&mut self.told().list_short, short);
        let project = &self.project;
        if short && !before {
            let (seen, total, unusable) = (list.clusters.len(), list.total_size, &list.unusable);
            self.observer.tell(&Notification::ListShort { project, seen, total, unusable });
        }
        let untold: Vec<(&'static str, usize)> = {
            let mut told = self.told();
            let counts = told.left_alone.iter_mut().filter(|(_, (_, untold))| *untold > 0);
            counts.map(|(code, (_, untold))| (*code, std::mem::take(untold))).collect()
        };
        for (code, more) in untold {
            self.observer.tell(&Notification::LeftAlone { project, code, more });
        }
    }

    /// Whether the last list of clusters was shorter than it says.
    pub(super) fn list_is_short(&self) -> bool {
        self.told().list_short
    }

    /// Whether the project cannot be seen at all.
    pub(super) fn is_blind(&self) -> bool {
        let told = self.told();
        told.listing.is_some() || told.reading.is_some()
    }

    /// How many clusters could not be read when last tried.
    pub(super) fn unreadable_clusters(&self) -> usize {
        let told = self.told();
        told.unreadable.keys().collect::<BTreeSet<_>>().union(&told.blind_at.iter().collect()).count()
    }

    /// Whether the journal could not be written when last tried.
    pub(super) fn is_journal_failing(&self) -> bool {
        self.told().journal_fails
    }

    /// Clusters came or went.
    pub(super) fn clusters(&self, came: usize, went: &[ClusterId], watched: usize) {
        {
            let mut told = self.told();
            for cluster in went {
                told.blind_at.remove(cluster);
                told.unreadable.remove(cluster);
                told.one_by_one.remove(cluster);
                told.reasons.remove(cluster);
                told.unclear.remove(cluster);
            }
        }
        self.observer.tell(&Notification::Clusters { project: &self.project, came, went, watched });
    }

    /// Idle clusters are read less often than the settings ask for, or often enough again.
    pub(super) fn stretch(&self, stretch: Option<&Stretch>) {
        self.observer.tell(&Notification::Stretched { project: &self.project, stretch });
    }

    /// The journal could not be written.
    pub(super) fn journal_fails(&self, error: &JournalError) {
        if !std::mem::replace(&mut self.told().journal_fails, true) {
            self.observer.tell(&Notification::JournalFails { project: &self.project, error: &chain(error) });
        }
    }

    /// It was written.
    pub(super) fn journal_works(&self) {
        if std::mem::take(&mut self.told().journal_fails) {
            self.observer.tell(&Notification::JournalWorks { project: &self.project });
        }
    }

    /// A PUT is due and cannot be sent, as the system gives no connection.
    pub(super) fn cannot_connect(&self, error: &TransportError) {
        if !std::mem::replace(&mut self.told().cannot_connect, true) {
            self.observer.tell(&Notification::CannotConnect { project: &self.project, error: &chain(error) });
        }
    }

    /// It gave one.
    pub(super) fn connects(&self) {
        if std::mem::take(&mut self.told().cannot_connect) {
            self.observer.tell(&Notification::Connects { project: &self.project });
        }
    }

    /// Nothing here can be left half-changed by a panic of another poll.
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an error met at one cluster concerns them all.
fn is_of_the_project(error: &CloudError) -> bool {
    matches!(
        error,
        CloudError::Unauthorized(_)
            | CloudError::CredentialResting { .. }
            | CloudError::CredentialUnproven
            | CloudError::SignIn(_)
            | CloudError::Secrets { .. }
            | CloudError::SpentKey
            | CloudError::NoAgency(_)
            | CloudError::NoProject { .. }
            | CloudError::Throttled(_)
            | CloudError::WrongAddress(_)
            | CloudError::Proxy(_)
    )
}
