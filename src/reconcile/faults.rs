//! What keeps the daemon from seeing a project or from acting in it, as far as no journal tells it, and which conditions follow
//! from that. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;

use super::ReconcileError;
use crate::cloud::CloudError;
use crate::cloud::transport::TransportError;
use crate::journal::JournalError;
use crate::model::cluster::{Cluster, ClusterList};
use crate::model::condition::{Code, Condition, Found};
use crate::model::decision::{Decision, Verdict};
use crate::model::event::{Entry, Event};
use crate::model::id::ClusterId;
use crate::model::moment::Moment;
use crate::model::outlook::Block;
use crate::model::project::{Stretch, UNCLEAR_PATIENCE, is_clock_off};
use crate::model::project_state::ProjectState;
use crate::model::reason::Reason;
use crate::model::text::chain;

/// So many clusters that cannot be polled are conditions of their own; more are one condition.
const ONE_BY_ONE: usize = 3;

/// Why the project as a whole cannot be seen.
struct Blindness {
    trouble: &'static str,
    error: String,
    advice: String,
}

/// How far this process has seen the project.
#[derive(Default, PartialEq, Eq)]
enum Sight {
    #[default]
    None,
    /// Its clusters were listed.
    Listed,
    /// And one of them was polled, or there was none.
    Polled,
}

struct Unreachable {
    name: String,
    code: &'static str,
    error: String,
}

struct Unclear {
    since: Moment,
    name: String,
    reason: Reason,
    /// A failed task waits for it.
    waits: bool,
    long: bool,
}

/// What this process has met in one project. None of it need outlive the process.
#[derive(Default)]
pub(super) struct Faults {
    /// The trouble that keeps the clusters from being listed, and the one that keeps all of them from being polled.
    listing: Option<&'static str>,
    polling: Option<&'static str>,
    /// The latest of them that is new.
    blindness: Option<Blindness>,
    /// The clusters that the latter still keeps from being polled.
    blind_at: BTreeSet<ClusterId>,
    sight: Sight,
    journal: Option<String>,
    connection: Option<String>,
    list: Option<(usize, Option<u64>, Vec<String>)>,
    /// Idle clusters are polled less often than configured, for want of requests.
    pub(super) stretch: Option<Stretch>,
    /// Clusters that cannot be polled, and of those the ones that are conditions of their own.
    unreachable: BTreeMap<ClusterId, Unreachable>,
    one_by_one: BTreeSet<ClusterId>,
    unclear: BTreeMap<ClusterId, Unclear>,
    /// Tasks that are left alone, by reason: how many, and how many of them were not told of yet.
    left_alone: BTreeMap<&'static str, (usize, usize)>,
}

/// What conditions follow from beside the faults.
pub(super) struct Known<'a> {
    pub(super) project: &'a ProjectState,
    pub(super) clock_offset: Option<SignedDuration>,
    pub(super) now: Moment,
}

impl Faults {
    /// The conditions of the project itself, and of this cluster.
    pub(super) fn conditions(&self, known: &Known<'_>, cluster: Option<&ClusterId>) -> Found {
        let mut unknown = Vec::new();
        if self.sight != Sight::Polled {
            unknown.push(Code::Unreachable);
        }
        if known.clock_offset.is_none() {
            unknown.push(Code::ClockOff);
        }
        if cluster
            .is_some_and(|cluster| self.unreachable.contains_key(cluster) || self.blind_at.contains(cluster))
        {
            unknown.push(Code::Unclear);
        }
        let of_project = [
            self.unreachable(),
            known.project.pause.map(|pause| Condition::ProjectPaused {
                cause: pause.cause,
                refusals: pause.refusals,
                until: pause.until.wall,
            }),
            known.project.breaker.open.as_ref().map(|open| Condition::BreakerOpen {
                opening: open.opening.clone(),
                until: open.until.wall,
                probing: open.probe.is_some() || known.now.mono >= open.until.mono,
            }),
            known
                .clock_offset
                .filter(|_| is_clock_off(known.clock_offset))
                .map(|offset| Condition::ClockOff { seconds: offset.as_secs() }),
            self.journal.clone().map(|error| Condition::JournalFailing { error }),
            self.connection.clone().map(|error| Condition::NoConnection { error }),
            self.more_unreachable(),
            self.list.clone().map(|(shown, total, unusable)| Condition::ClusterListIncomplete {
                shown,
                total,
                unusable,
            }),
            self.stretch.map(|stretch| Condition::IdleIntervalStretched {
                per_second: stretch.per_second,
                actual: stretch.actual,
                wanted: stretch.wanted,
            }),
        ];
        let of_cluster =
            cluster.into_iter().flat_map(|id| [self.unreachable_cluster(id), self.unclear_cluster(id)]);
        Found { conditions: of_project.into_iter().chain(of_cluster).flatten().collect(), unknown }
    }

    fn unreachable(&self) -> Option<Condition> {
        let Blindness { trouble, error, advice } = self.blindness.as_ref().filter(|_| self.is_blind())?;
        let (trouble, error, advice) = ((*trouble).to_owned(), error.clone(), advice.clone());
        Some(Condition::Unreachable { trouble, error, advice })
    }

    fn more_unreachable(&self) -> Option<Condition> {
        let (_, cluster) = self.unreachable.iter().find(|(id, _)| !self.one_by_one.contains(*id))?;
        Some(Condition::ClustersUnreachable { error: cluster.error.clone() })
    }

    fn unreachable_cluster(&self, id: &ClusterId) -> Option<Condition> {
        let Unreachable { name, code, error } =
            self.unreachable.get(id).filter(|_| self.one_by_one.contains(id))?;
        let (name, trouble, error) = (name.clone(), (*code).to_owned(), error.clone());
        Some(Condition::ClusterUnreachable { cluster: id.clone(), name, trouble, error })
    }

    fn unclear_cluster(&self, id: &ClusterId) -> Option<Condition> {
        let Unclear { name, reason, long, .. } = self.unclear.get(id)?;
        let at_once = matches!(
            reason,
            Reason::ListIncomplete | Reason::OrderUnclear { .. } | Reason::NewestMissing { .. }
        );
        (at_once || *long).then(|| Condition::Unclear {
            cluster: id.clone(),
            name: name.clone(),
            reason: reason.clone(),
            long: *long,
        })
    }

    /// A cluster was polled, and this was decided. `fails`: a task of it shows a failure that is not over. `was_long`: it was
    /// unclear for long when an earlier process ended.
    pub(super) fn polled(
        &mut self,
        cluster: &Cluster,
        at: Moment,
        decision: &Decision,
        fails: bool,
        was_long: impl FnOnce() -> bool,
    ) {
        let id = &cluster.id;
        self.blind_at.remove(id);
        // A credential is good for every cluster or for none; any other trouble may be one cluster's alone.
        if self.polling.is_none_or(|trouble| trouble == CloudError::OF_THE_CREDENTIAL) {
            self.blind_at.clear();
        }
        if self.blind_at.is_empty() {
            self.polling = None;
        }
        self.sees();
        self.unreachable.remove(id);
        self.one_by_one.remove(id);
        let reason = &decision.reason;
        let (is_unclear, waits) = match reason {
            Reason::UnknownStatus { .. } => (true, true),
            Reason::ListIncomplete | Reason::OrderUnclear { .. } | Reason::NewestMissing { .. } => {
                (true, fails)
            }
            Reason::SlowPoll { .. } => (fails, fails),
            // Else it is handed to an operator after as long.
            Reason::SharedTask { .. } => (fails && decision.verdict == Verdict::Wait, true),
            _ => (false, false),
        };
        if !is_unclear {
            self.unclear.remove(id);
            return;
        }
        let unclear = self.unclear.entry(id.clone()).or_insert_with(|| Unclear {
            since: at,
            name: cluster.name.clone(),
            reason: reason.clone(),
            waits,
            long: waits && was_long(),
        });
        // The hour counts from when a failed task first waited.
        if waits && !unclear.waits {
            unclear.since = at;
        }
        unclear.waits = waits;
        unclear.long = waits && (unclear.long || at.since(unclear.since) >= UNCLEAR_PATIENCE);
        unclear.reason = reason.clone();
    }

    /// A reconcile of the cluster ended early.
    pub(super) fn met(&mut self, cluster: &Cluster, error: &ReconcileError) {
        match error {
            ReconcileError::Cloud(error) => self.cannot_poll(cluster, error),
            ReconcileError::NoConnection(error) => self.connection(Some(error)),
            ReconcileError::Journal(error) | ReconcileError::SentUnwritten(error) => {
                self.journal(Some(error));
            }
            ReconcileError::Stopping => {}
        }
    }

    /// A cluster could not be polled.
    fn cannot_poll(&mut self, cluster: &Cluster, error: &CloudError) {
        if is_of_the_project(error) {
            self.blind_at.insert(cluster.id.clone());
            self.blind(error, |faults| &mut faults.polling);
            return;
        }
        if self.one_by_one.len() < ONE_BY_ONE {
            self.one_by_one.insert(cluster.id.clone());
        }
        let unreachable = Unreachable { name: cluster.name.clone(), code: error.code(), error: chain(error) };
        self.unreachable.insert(cluster.id.clone(), unreachable);
    }

    /// The clusters cannot be listed.
    pub(super) fn cannot_list(&mut self, error: &CloudError) {
        self.blind(error, |faults| &mut faults.listing);
    }

    /// The project as a whole cannot be seen, in one of two ways. The same trouble in both is one.
    fn blind(&mut self, error: &CloudError, way: fn(&mut Self) -> &mut Option<&'static str>) {
        let (trouble, advice) = error.trouble();
        let is_known = [self.listing, self.polling].contains(&Some(trouble));
        *way(self) = Some(trouble);
        if !is_known {
            self.blindness = Some(Blindness { trouble, error: chain(error), advice: advice.into_owned() });
        }
        // It certainly cannot be seen now.
        self.sight = Sight::Polled;
    }

    fn sees(&mut self) {
        if self.sight == Sight::Listed && !self.is_blind() {
            self.sight = Sight::Polled;
        }
    }

    /// The clusters were listed.
    pub(super) fn listed(&mut self, list: &ClusterList) {
        self.listing = None;
        if self.sight == Sight::None {
            self.sight = Sight::Listed;
        }
        if list.clusters.is_empty() {
            self.sees();
        }
        let is_short = !list.is_complete() || !list.unusable.is_empty();
        self.list = is_short.then(|| (list.clusters.len(), list.total_size, list.unusable.clone()));
    }

    /// Clusters are gone.
    pub(super) fn gone(&mut self, went: &[ClusterId]) {
        for cluster in went {
            self.blind_at.remove(cluster);
            self.unreachable.remove(cluster);
            self.one_by_one.remove(cluster);
            self.unclear.remove(cluster);
        }
    }

    /// The journal could not be written, or (`None`) was.
    pub(super) fn journal(&mut self, error: Option<&JournalError>) {
        self.journal = error.map(|error| chain(error));
    }

    /// A request was due and no connection could be begun for it, or (`None`) one was.
    pub(super) fn connection(&mut self, error: Option<&TransportError>) {
        self.connection = error.map(|error| chain(error));
    }

    /// Whether the project cannot be seen at all.
    pub(super) fn is_blind(&self) -> bool {
        self.listing.is_some() || self.polling.is_some()
    }

    /// How many clusters could not be polled when last tried.
    pub(super) fn unreachable_clusters(&self) -> usize {
        let blind = self.blind_at.iter().filter(|id| !self.unreachable.contains_key(*id)).count();
        self.unreachable.len() + blind
    }

    /// Whether a failed task of the cluster has waited for an hour because its lists do not show what to do.
    pub(super) fn is_unclear_for_long(&self, cluster: &ClusterId) -> bool {
        self.unclear.get(cluster).is_some_and(|unclear| unclear.long)
    }

    /// What keeps every request for the cluster from being sent, whatever is decided.
    pub(super) fn block(&self, cluster: &ClusterId) -> Option<Block> {
        if let Some(condition) = self.unreachable() {
            return Some(Block::of(condition.code().word(), &condition.text()));
        }
        if self.journal.is_some() {
            return Some(Block::of(Code::JournalFailing.word(), "the daemon's journal cannot be written"));
        }
        let Unreachable { error, .. } = self.unreachable.get(cluster)?;
        Some(Block::of(
            Code::ClusterUnreachable.word(),
            &format!("the cluster could not be polled when last tried: {error}"),
        ))
    }

    /// Whether this entry is told by itself. At a first start there may be hundreds of old failures, and of tasks that no
    /// policy covers.
    pub(super) fn is_told(&mut self, entry: &Entry) -> bool {
        let Event::Decided { reason, .. } = &entry.event else { return true };
        if !matches!(reason, Reason::TooOld { .. } | Reason::NoPolicy) {
            return true;
        }
        let (all, untold) = self.left_alone.entry(reason.code()).or_default();
        *all += 1;
        let is_told = *all <= ONE_BY_ONE;
        *untold += usize::from(!is_told);
        is_told
    }

    /// How many more tasks are left alone than were told of, by the code of the reason.
    pub(super) fn left_alone(&mut self) -> Vec<(&'static str, usize)> {
        let untold = self.left_alone.iter_mut().filter(|(_, (_, untold))| *untold > 0);
        untold.map(|(code, (_, untold))| (*code, std::mem::take(untold))).collect()
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

#[cfg(test)]
mod tests;
