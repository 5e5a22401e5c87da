//! What is announced happens: after each reconcile the outlook of each failed task of the cluster is kept, and held against
//! what was sent.
//!
//! An announcement stands for as long as nobody interferes: no entry of the journal in between but decisions and the request
//! itself, none of another cluster that may change what the project as a whole lets through, no hold that comes or goes, no
//! reload, no clock that is set, and the same process.

use std::sync::{Arc, Mutex, PoisonError};

use upgrade_remediator::model::cluster::{Cluster, ClusterList};
use upgrade_remediator::model::decision::Action;
use upgrade_remediator::model::event::{Entry, Event};
use upgrade_remediator::model::id::ClusterId;
use upgrade_remediator::model::outlook::NextRequest;
use upgrade_remediator::model::project::{Rules, Stretch};
use upgrade_remediator::schedule::{Next, Project};

use super::harness::Harness;
use super::run::{Played, Watched};

/// Requests, answers and commits take a while, and reconciles wait for each other.
const SLACK: i64 = 20_000;

/// What was announced of a task at the end of a reconcile.
#[derive(Debug, Clone)]
pub(crate) struct Announced {
    /// By the true time, in milliseconds.
    at: i64,
    process: u32,
    /// Entries of the journal by then.
    entries: usize,
    cluster: String,
    task: String,
    /// The next request, and when, by the true time.
    next: Option<(Action, i64)>,
    /// The same with the earliest time, where others may go first.
    not_before: Option<(Action, i64)>,
    /// The code of the reason.
    reason: String,
    /// What blocks it, by their codes.
    blocked_by: Vec<String>,
    active_interval: i64,
}

/// The reasons of which the next polls and lists decide what follows. Where a failed task is read as another one than it
/// was, the service has to show the failure again.
const OPEN: [&str; 15] = [
    // A reconcile that ended without its request was cut short.
    "retry-due",
    "abort-due",
    "idle",
    "running",
    "not-listed",
    "list-incomplete",
    "order-unclear",
    "newest-missing",
    "running-missing",
    "shared-task",
    "unknown-status",
    "outcome-unknown",
    "stale-poll",
    "checking-if-gone",
    "slow-poll",
];

/// What blocks by a rule, and not because something does not work.
const RULES: [&str; 11] = [
    "on-hold",
    "window-closed",
    "dry-run",
    "no-policy",
    "clock-off",
    "project-paused",
    "cluster-paused",
    "breaker-open",
    "breaker-probing",
    "actions-in-flight",
    "actions-per-hour",
];

impl Announced {
    /// Whether nothing is promised: what follows depends on the service, or on what does not work.
    fn is_open(&self) -> bool {
        let fails = |code: &String| !RULES.contains(&code.as_str());
        OPEN.contains(&self.reason.as_str()) || self.blocked_by.iter().any(fails)
    }
}

/// A project, and what is announced in it.
pub(crate) struct Announcing {
    pub(crate) project: Arc<Watched>,
    pub(crate) harness: Arc<Harness>,
    pub(crate) process: u32,
    pub(crate) announced: Arc<Mutex<Vec<Announced>>>,
}

impl Announcing {
    fn announce(&self, cluster: &Cluster) {
        let reconciler = &self.project;
        // As the reconciler understands wall time.
        let (at, now) = (self.harness.now(), reconciler.now());
        let active_interval = i64::try_from(reconciler.rules().poll.active_interval.as_millis()).unwrap();
        let due = |next: NextRequest| {
            let wait = next.at.as_millisecond() - now.wall.as_millisecond();
            (next.action, at + wait.max(0))
        };
        let announce = |(task, outlook): (_, upgrade_remediator::model::outlook::Outlook)| Announced {
            at,
            process: self.process,
            entries: self.harness.entries(),
            cluster: cluster.id.to_string(),
            task,
            next: outlook.next.map(due),
            not_before: outlook.not_before.map(due),
            reason: outlook.reason.code,
            blocked_by: outlook.blocked_by.into_iter().map(|block| block.code).collect(),
            active_interval,
        };
        let outlooks = reconciler.outlooks(&cluster.id).into_iter();
        let new = outlooks.map(|(task, outlook)| announce((task.to_string(), outlook)));
        self.announced.lock().unwrap_or_else(PoisonError::into_inner).extend(new);
    }
}

impl Project for Announcing {
    async fn discover(&self) -> Option<ClusterList> {
        self.project.discover().await
    }

    async fn reconcile(&self, cluster: &Cluster) -> Next {
        let next = Project::reconcile(&*self.project, cluster).await;
        self.announce(cluster);
        next
    }

    async fn forget(&self, cluster: &Cluster) -> bool {
        self.project.forget(cluster).await
    }

    fn remembered(&self) -> Vec<Cluster> {
        self.project.remembered()
    }

    fn changed(&self, came: usize, went: &[ClusterId], watched: usize) {
        self.project.changed(came, went, watched);
    }

    fn rules(&self) -> Arc<Rules> {
        self.project.rules()
    }

    fn requests_per_second(&self) -> Option<f64> {
        self.project.requests_per_second()
    }

    fn stretched(&self, stretch: Option<Stretch>) {
        self.project.stretched(stretch);
    }
}

/// What was announced and did not happen, or happened without; and how many announcements were held against what was sent:
/// requests that were announced, and announcements of a time that nothing came between.
pub(crate) fn judge(played: &Played) -> (Vec<String>, [u64; 2]) {
    let mut wrong = Vec::new();
    let mut checked = [0, 0];
    for sent in &played.sent {
        let of_task = |one: &&Announced| one.task == sent.task && one.cluster == sent.cluster;
        let mut before = played.announced.iter().filter(of_task);
        let last = before.rfind(|one| one.process == sent.process && one.at <= sent.at);
        let Some(last) = last.filter(|last| !last.is_open() && !is_disturbed(played, last, sent.at)) else {
            continue;
        };
        // Which request is the probe is not announced.
        let is_probe = |code: &String| matches!(code.as_str(), "breaker-open" | "project-paused");
        if last.next.or(last.not_before).is_none() && last.blocked_by.iter().any(is_probe) {
            continue;
        }
        match last.next.or(last.not_before) {
            Some((action, due)) if action == sent.action && due <= sent.at + SLACK => checked[0] += 1,
            _ => wrong.push(format!("{sent:?} was sent, and this was announced: {last:?}")),
        }
    }
    for (place, one) in played.announced.iter().enumerate() {
        let Some((action, due)) = one.next else { continue };
        let deadline = due + one.active_interval + SLACK;
        let of_task = |later: &&Announced| later.task == one.task && later.cluster == one.cluster;
        // A reconcile after the deadline, in which it would have been sent at the latest.
        let later = played.announced.iter().skip(place + 1).filter(of_task);
        let Some(later) = later.take_while(|later| later.process == one.process).find(|it| it.at > deadline)
        else {
            continue;
        };
        // A window that closes within one active interval of the time may come before the poll.
        let is_closed = later.blocked_by.iter().any(|code| code == "window-closed");
        if is_closed || is_disturbed(played, one, later.at) {
            continue;
        }
        checked[1] += 1;
        // One that could not be sent, as no connection was to be had, was tried as announced.
        let is_it = |(entry, kept): (&Entry, &super::harness::Kept)| {
            let is_tried = matches!(&entry.event, Event::Intent { action: tried, .. } if *tried == action);
            is_tried && entry.subject.task.as_str() == one.task && (one.at..=later.at).contains(&kept.at)
        };
        if !played.entries.iter().zip(&played.kept).any(is_it) {
            wrong.push(format!("{one:?} was announced and not sent by then: {later:?}"));
        }
    }
    (wrong, checked)
}

/// Whether somebody or something interfered after the announcement.
fn is_disturbed(played: &Played, one: &Announced, until: i64) -> bool {
    let within = |at: i64| (one.at..=until).contains(&at);
    let people = played.holdings.iter().any(|holding| {
        let times = [Some(holding.placed.0), holding.ends, holding.released.map(|(at, _)| at)];
        times.into_iter().flatten().any(within)
    });
    // They are noted at their beginning, and take a while.
    let begun = played.reloads.iter().any(|(at, _)| within(*at));
    let reloaded = begun || played.epochs.iter().any(|epoch| within(epoch.at));
    let jumped = played.jumps.iter().any(|at| within(*at));
    let entries = played.entries.iter().zip(&played.kept).skip(one.entries);
    let journaled = entries
        .take_while(|(_, kept)| kept.at <= until)
        .any(|(entry, kept)| kept.in_doubt || may_interfere(entry, one));
    let of_task = |other: &&Announced| other.task == one.task && other.cluster == one.cluster;
    let mut others = played.announced.iter().filter(of_task);
    let failed = others.any(|other| within(other.at) && other.is_open());
    people || reloaded || jumped || journaled || failed
}

fn may_interfere(entry: &Entry, one: &Announced) -> bool {
    let own = entry.subject.cluster.as_str() == one.cluster;
    match &entry.event {
        Event::Decided { .. } | Event::NewestSeen { .. } => false,
        // The request itself, and what comes after it.
        Event::Intent { .. } | Event::Answered { .. } | Event::NotSent { .. } => !own,
        Event::FirstSeen { .. }
        | Event::Running { .. }
        | Event::Missing
        | Event::Reappeared
        | Event::ConfirmingPoll { .. }
        | Event::Changed { .. }
        | Event::Unpolled => own,
        _ => true,
    }
}
