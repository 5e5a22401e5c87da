//! What keeps the daemon from polling a project or from acting in it, beside what the journal
//! records, and which conditions follow. Pure.

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

/// The number of clusters that cannot be polled with a condition each; the remaining ones share one
/// condition.
const ONE_BY_ONE: usize = 3;

/// Why the whole project is unreachable.
struct Outage {
    trouble: &'static str,
    error: String,
    advice: String,
}

/// How much of the project this process has reached.
#[derive(Default, PartialEq, Eq)]
enum Reached {
    #[default]
    None,
    /// The clusters were listed.
    Listed,
    /// The clusters were listed, and one of them was polled or there was none.
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
    /// Whether a failed task waits for this.
    waits: bool,
    long: bool,
}

/// The faults that this process has met in one project. They need not outlive the process.
#[derive(Default)]
pub(super) struct Faults {
    /// The error that prevents the list of clusters, and the error that prevents every poll.
    listing: Option<&'static str>,
    polling: Option<&'static str>,
    /// The newer of the two.
    outage: Option<Outage>,
    /// The clusters that cannot be polled because of the second error.
    affected: BTreeSet<ClusterId>,
    reached: Reached,
    journal: Option<String>,
    connection: Option<String>,
    list: Option<(usize, Option<u64>, Vec<String>)>,
    /// Idle clusters are polled less often than configured, because the request rate does not allow
    /// more.
    pub(super) stretch: Option<Stretch>,
    /// The clusters that cannot be polled, and those of them with a condition of their own.
    unreachable: BTreeMap<ClusterId, Unreachable>,
    one_by_one: BTreeSet<ClusterId>,
    unclear: BTreeMap<ClusterId, Unclear>,
    /// Tasks on which the daemon does not act, by reason: their number, and how many of them were
    /// notified of.
    without_action: BTreeMap<&'static str, (usize, usize)>,
}

/// What conditions follow from beside the faults.
pub(super) struct Known<'a> {
    pub(super) project: &'a ProjectState,
    pub(super) clock_offset: Option<SignedDuration>,
    /// Counts the clusters that are polled.
    pub(super) watched: &'a dyn Fn() -> usize,
    pub(super) now: Moment,
}

impl Faults {
    /// Returns the conditions of the project itself, and of this cluster.
    pub(super) fn conditions(&self, known: &Known<'_>, cluster: Option<&ClusterId>) -> Found {
        let mut unknown = Vec::new();
        if self.reached != Reached::Polled {
            unknown.push(Code::Unreachable);
        }
        if known.clock_offset.is_none() {
            unknown.push(Code::ClockOff);
        }
        if cluster
            .is_some_and(|cluster| self.unreachable.contains_key(cluster) || self.affected.contains(cluster))
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
            self.more_unreachable(known),
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
        let Outage { trouble, error, advice } = self.outage.as_ref().filter(|_| self.is_unreachable())?;
        let (trouble, error, advice) = ((*trouble).to_owned(), error.clone(), advice.clone());
        Some(Condition::Unreachable { trouble, error, advice })
    }

    fn more_unreachable(&self, known: &Known<'_>) -> Option<Condition> {
        let (_, cluster) = self.unreachable.iter().find(|(id, _)| !self.one_by_one.contains(*id))?;
        let (failing, watched) = (self.unreachable.len(), (known.watched)());
        Some(Condition::ClustersUnreachable { error: cluster.error.clone(), failing, watched })
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

    /// Takes in a poll of the cluster and its decision. `fails`: a failure of one of its tasks is
    /// not over. `was_long`: the cluster had been unclear for long when an earlier process ended.
    pub(super) fn polled(
        &mut self,
        cluster: &Cluster,
        at: Moment,
        decision: &Decision,
        fails: bool,
        was_long: impl FnOnce() -> bool,
    ) {
        let id = &cluster.id;
        self.affected.remove(id);
        // A credential is valid for all clusters or for none; any other error may concern one
        // cluster alone.
        if self.polling.is_none_or(|trouble| trouble == CloudError::OF_THE_CREDENTIAL) {
            self.affected.clear();
        }
        if self.affected.is_empty() {
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
            // Otherwise the task is escalated after the same time.
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
        // The hour starts when a failed task first waited.
        if waits && !unclear.waits {
            unclear.since = at;
        }
        unclear.waits = waits;
        unclear.long = waits && (unclear.long || at.since(unclear.since) >= UNCLEAR_PATIENCE);
        unclear.reason = reason.clone();
    }

    /// Takes in an error that ended a reconcile of the cluster early.
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

    /// Takes in that a cluster could not be polled.
    fn cannot_poll(&mut self, cluster: &Cluster, error: &CloudError) {
        if is_of_the_project(error) {
            self.affected.insert(cluster.id.clone());
            self.unreachable_by(error, |faults| &mut faults.polling);
            return;
        }
        if self.one_by_one.len() < ONE_BY_ONE {
            self.one_by_one.insert(cluster.id.clone());
        }
        let unreachable = Unreachable { name: cluster.name.clone(), code: error.code(), error: chain(error) };
        self.unreachable.insert(cluster.id.clone(), unreachable);
    }

    /// Takes in that the clusters cannot be listed.
    pub(super) fn cannot_list(&mut self, error: &CloudError) {
        self.unreachable_by(error, |faults| &mut faults.listing);
    }

    /// Takes in an error that makes the whole project unreachable, in one of two ways. The same
    /// error in both ways is one fault.
    fn unreachable_by(&mut self, error: &CloudError, way: fn(&mut Self) -> &mut Option<&'static str>) {
        let (trouble, advice) = error.trouble();
        let is_known = [self.listing, self.polling].contains(&Some(trouble));
        *way(self) = Some(trouble);
        if !is_known {
            self.outage = Some(Outage { trouble, error: chain(error), advice: advice.into_owned() });
        }
        // This error proves that the project is unreachable.
        self.reached = Reached::Polled;
    }

    fn sees(&mut self) {
        if self.reached == Reached::Listed && !self.is_unreachable() {
            self.reached = Reached::Polled;
        }
    }

    /// Takes in that the clusters were listed.
    pub(super) fn listed(&mut self, list: &ClusterList) {
        self.listing = None;
        if self.reached == Reached::None {
            self.reached = Reached::Listed;
        }
        if list.clusters.is_empty() {
            self.sees();
        }
        let is_short = !list.is_complete() || !list.unusable.is_empty();
        self.list = is_short.then(|| (list.clusters.len(), list.total_size, list.unusable.clone()));
    }

    /// Takes in that clusters are gone.
    pub(super) fn gone(&mut self, went: &[ClusterId]) {
        for cluster in went {
            self.affected.remove(cluster);
            self.unreachable.remove(cluster);
            self.one_by_one.remove(cluster);
            self.unclear.remove(cluster);
        }
    }

    /// Takes in that the journal could not be written, or (`None`) was written.
    pub(super) fn journal(&mut self, error: Option<&JournalError>) {
        self.journal = error.map(|error| chain(error));
    }

    /// Takes in that no connection could be begun for a due request, or (`None`) that one was.
    pub(super) fn connection(&mut self, error: Option<&TransportError>) {
        self.connection = error.map(|error| chain(error));
    }

    /// Returns whether the whole project is unreachable.
    pub(super) fn is_unreachable(&self) -> bool {
        self.listing.is_some() || self.polling.is_some()
    }

    /// Returns how many clusters could not be polled at the last try.
    pub(super) fn unreachable_clusters(&self) -> usize {
        let others = self.affected.iter().filter(|id| !self.unreachable.contains_key(*id)).count();
        self.unreachable.len() + others
    }

    /// Returns whether a failed task of the cluster has waited for an hour because its lists do not
    /// show what to do.
    pub(super) fn is_unclear_for_long(&self, cluster: &ClusterId) -> bool {
        self.unclear.get(cluster).is_some_and(|unclear| unclear.long)
    }

    /// Returns what blocks every request for the cluster, whatever the decision is.
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

    /// Returns whether this entry is notified of by itself. A first start may find hundreds of old
    /// failures, and of tasks that no policy covers.
    pub(super) fn is_notified(&mut self, entry: &Entry) -> bool {
        let Event::Decided { reason, .. } = &entry.event else { return true };
        if !matches!(reason, Reason::TooOld { .. } | Reason::NoPolicy) {
            return true;
        }
        let (all, unnotified) = self.without_action.entry(reason.code()).or_default();
        *all += 1;
        let is_notified = *all <= ONE_BY_ONE;
        *unnotified += usize::from(!is_notified);
        is_notified
    }

    /// Returns how many tasks without action were not notified of, by the code of the reason.
    pub(super) fn without_action(&mut self) -> Vec<(&'static str, usize)> {
        let unnotified = self.without_action.iter_mut().filter(|(_, (_, unnotified))| *unnotified > 0);
        unnotified.map(|(code, (_, unnotified))| (*code, std::mem::take(unnotified))).collect()
    }
}

/// Returns whether an error met at one cluster concerns all of them.
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
