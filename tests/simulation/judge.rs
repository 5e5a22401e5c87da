//! Judges a run by the world's own log against the journal, never by what the daemon says of itself.

use std::collections::{BTreeMap, BTreeSet};

use upgrade_remediator::model::decision::Action;
use upgrade_remediator::model::event::{Closing, Entry, Event};
use upgrade_remediator::model::history::TaskHistory;
use upgrade_remediator::model::id::{ClusterId, TaskId};
use upgrade_remediator::model::ledger::Ledger;
use upgrade_remediator::model::policy::{Mode, Terms};
use upgrade_remediator::model::reason::Reason;
use upgrade_remediator::model::task::TaskKind;
use upgrade_remediator::simulator::World;
use upgrade_remediator::simulator::log::{
    DeliveryRecord, Hazard, LogEntry, Operation, PutKind, Record, RequestRecord, TaskChange, TaskRecord,
};

use crate::generate::Plan;
use crate::run::Played;
use crate::stage::{Kept, Sent, request_of};

const HOUR: i64 = 3_600_000;
/// No PUT is sent while the clocks differ by more; a little more for the seconds of the `Date`.
const MAX_CLOCK_OFFSET: i64 = 302_000;

/// What is wrong with the run.
pub(crate) fn judge(plan: &Plan, played: &Played) -> Vec<String> {
    let judge = Judge::new(plan, played);
    let mut wrong = Vec::new();
    judge.every_put(&mut wrong);
    judge.budgets(&mut wrong);
    judge.tellings(&mut wrong);
    wrong
}

struct Judge<'a> {
    plan: &'a Plan,
    played: &'a Played,
    kinds: BTreeMap<&'a str, TaskKind>,
    names: BTreeMap<&'a str, &'a str>,
}

/// An intent of the journal.
struct Intent<'a> {
    index: usize,
    entry: &'a Entry,
    kept: Kept,
    action: Action,
}

impl<'a> Judge<'a> {
    fn new(plan: &'a Plan, played: &'a Played) -> Self {
        let kinds = played
            .entries
            .iter()
            .filter_map(|entry| match &entry.event {
                Event::FirstSeen { kind, .. } => Some((entry.subject.task.as_str(), *kind)),
                _ => None,
            })
            .collect();
        let names = played
            .log
            .iter()
            .filter_map(|line| task_of(&line.record))
            .map(|task| (task.cluster.as_str(), task.cluster_name.as_str()))
            .collect();
        Self { plan, played, kinds, names }
    }

    /// The terms in force for this task in this process.
    fn terms(&self, process: u32, cluster: &str, task: &str) -> Option<&'a Terms> {
        let (_, epoch) =
            usize::try_from(process).ok()?.checked_sub(1).and_then(|n| self.played.processes.get(n))?;
        self.plan.terms(*epoch, self.names.get(cluster)?, *self.kinds.get(task)?)
    }

    fn entries_of(&self, task: &'a str) -> impl DoubleEndedIterator<Item = (usize, &'a Entry, Kept)> {
        let entries = self.played.entries.iter().zip(&self.played.kept).enumerate();
        let entries: Vec<_> = entries
            .filter(|(_, (entry, _))| entry.subject.task.as_str() == task)
            .map(|(index, (entry, kept))| (index, entry, *kept))
            .collect();
        entries.into_iter()
    }

    fn changes_of(&self, task: &'a str) -> impl DoubleEndedIterator<Item = (&'a LogEntry, &'a TaskChange)> {
        self.played.log.iter().filter_map(move |line| {
            task_of(&line.record).filter(|change| change.task == task).map(|change| (line, &change.change))
        })
    }

    fn line(&self, number: u64) -> Option<&'a LogEntry> {
        self.played.log.get(usize::try_from(number).ok()?.checked_sub(1)?)
    }

    fn every_put(&self, wrong: &mut Vec<String>) {
        let mut used = BTreeSet::new();
        for (index, sent) in self.played.sent.iter().enumerate() {
            let mut say = |text: String| {
                wrong.push(format!(
                    "PUT {} ({} of task {} at {}): {text}",
                    index + 1,
                    sent.action,
                    sent.task,
                    sent.at
                ));
            };
            let intent = self.intent(sent);
            match &intent {
                None => say("no intent in the journal".to_owned()),
                Some(intent) if !used.insert(intent.index) => say("a second PUT for one intent".to_owned()),
                Some(intent) if intent.action != sent.action => {
                    say(format!("the intent says {}", intent.action));
                }
                Some(_) => {}
            }
            match self.terms(sent.process, &sent.cluster, &sent.task) {
                None => say("no policy covers the task".to_owned()),
                Some(terms) if terms.mode == Mode::DryRun => say("the mode is dry-run".to_owned()),
                Some(terms) => {
                    if let Some(intent) = &intent {
                        self.timing(terms, sent, intent, &mut say);
                    }
                }
            }
            self.after_earlier_ones(index, sent, &mut say);
            self.hazards(sent, &mut say);
            self.guards(index, sent, &mut say);
        }
        // And nothing reached the service that did not go through here.
        let arrived: Vec<u64> =
            self.played.sent.iter().filter_map(|sent| sent.arrived).map(|(_, number)| number).collect();
        for line in &self.played.log {
            if let Some(request) = request_of(&line.record)
                && matches!(request.operation, Operation::Retry | Operation::Abort)
                && !arrived.contains(&line.number)
            {
                wrong.push(format!("a PUT of unknown origin: {request:?}"));
            }
        }
    }

    /// I1: the intent that this PUT carries out, committed by the same process before it left.
    fn intent(&self, sent: &'a Sent) -> Option<Intent<'a>> {
        self.entries_of(&sent.task)
            .filter_map(|(index, entry, kept)| match &entry.event {
                Event::Intent { action, .. } => Some(Intent { index, entry, kept, action: *action }),
                _ => None,
            })
            .filter(|intent| intent.kept.at <= sent.at && intent.kept.process == sent.process)
            .rfind(|intent| !intent.kept.in_doubt)
    }

    /// I2: nothing while an earlier PUT may have been accepted, and nothing after an abort.
    fn after_earlier_ones(&self, index: usize, sent: &'a Sent, say: &mut impl FnMut(String)) {
        for earlier in self.played.sent.iter().take(index).filter(|earlier| earlier.task == sent.task) {
            if self.hidden_by_hand(earlier, sent) {
                continue;
            }
            let Some((at, number)) = earlier.arrived.filter(|(at, _)| *at <= sent.at) else {
                if earlier.arrived.is_some() {
                    say(format!("the PUT of {} is still on its way", earlier.at));
                }
                continue;
            };
            let taken =
                self.line(number).and_then(|line| request_of(&line.record)).is_some_and(|put| put.taken);
            if !taken {
                if earlier.action == Action::Abort && earlier.answer != Some(200) && !self.refused(number) {
                    self.must_have_failed_anew(earlier, number, sent, "an abort of unknown outcome", say);
                }
                continue;
            }
            if earlier.action == Action::Abort && earlier.answer == Some(200) && self.whole(number) {
                say(format!("the task was aborted by the PUT of {at}"));
            } else {
                self.must_have_failed_anew(earlier, number, sent, "an earlier PUT", say);
            }
        }
        let escalated = self.entries_of(&sent.task).find(|(_, entry, kept)| {
            kept.at < sent.at && !kept.in_doubt && matches!(entry.event, Event::Escalated { .. })
        });
        if let Some((_, entry, kept)) = escalated {
            say(format!("a human has it since {}: {:?}", kept.at, entry.event));
        }
    }

    /// Whether the earlier PUT was late, and a person retried the task meanwhile: what that brings about cannot be
    /// told from an effect of ours.
    fn hidden_by_hand(&self, earlier: &Sent, sent: &Sent) -> bool {
        let late = earlier.arrived.is_none_or(|(at, _)| at > earlier.at + 60);
        let by_hand = |line: &LogEntry| match &line.record {
            Record::ByHand(put) => put.task == sent.task && put.kind == PutKind::Retry && put.taken,
            _ => false,
        };
        let between = earlier.at..=sent.at;
        late && self.played.log.iter().any(|line| between.contains(&line.at.0) && by_hand(line))
    }

    fn must_have_failed_anew(
        &self,
        earlier: &Sent,
        number: u64,
        sent: &'a Sent,
        what: &str,
        say: &mut impl FnMut(String),
    ) {
        let failed_since = self
            .changes_of(&sent.task)
            .any(|(line, change)| line.number > number && line.at.0 <= sent.at && is_failure(change));
        if !failed_since {
            say(format!("{what} of {} was taken, and the task has not failed since", earlier.at));
        }
    }

    fn whole(&self, number: u64) -> bool {
        let request = self.line(number).and_then(|line| request_of(&line.record));
        request.is_some_and(|request| {
            request.answer.delivery == DeliveryRecord::Whole && request.answer.code.is_none()
        })
    }

    /// Whether the answer said clearly that it was not accepted.
    fn refused(&self, number: u64) -> bool {
        let request = self.line(number).and_then(|line| request_of(&line.record));
        request.is_some_and(|request| !is_unclear(request))
    }

    /// I3, I4: not before the backoff, and not before the grace.
    fn timing(&self, terms: &Terms, sent: &'a Sent, intent: &Intent<'a>, say: &mut impl FnMut(String)) {
        let before = || self.entries_of(&sent.task).filter(|(index, ..)| *index < intent.index);
        let Some((failed_index, failed, failed_kept)) =
            before().rfind(|(_, entry, _)| matches!(entry.event, Event::Failed(_)))
        else {
            return say("no failure was seen".to_owned());
        };
        match sent.action {
            Action::Retry => {
                let Event::Failed(seen) = &failed.event else { return };
                let waited = elapsed((failed, failed_kept), sent, intent) + millis(seen.seen_before);
                let least = terms.retry.initial_interval.mul_f64(1.0 - terms.retry.randomization_factor);
                // Times are kept to the millisecond.
                if waited + 2 < millis(least) {
                    say(format!("only {waited} ms after the failure was first seen, not {least:?}"));
                }
            }
            Action::Abort => {
                let pending = before().filter(|(index, ..)| *index > failed_index).find(|(_, entry, _)| {
                    matches!(&entry.event, Event::Decided { reason: Reason::AbortPending { .. }, .. })
                });
                let Some((_, pending, kept)) = pending else {
                    return say("its retries were never told to be used up".to_owned());
                };
                let waited = elapsed((pending, kept), sent, intent);
                if waited + 2 < millis(terms.abort_grace) {
                    say(format!("only {waited} ms of {:?} grace", terms.abort_grace));
                }
            }
        }
    }

    /// I4: no hazard that the last reading could have shown.
    fn hazards(&self, sent: &'a Sent, say: &mut impl FnMut(String)) {
        let Some((_, number)) = sent.arrived else { return };
        let Some(put) = self
            .line(number)
            .and_then(|line| request_of(&line.record))
            .and_then(|request| request.put.as_ref())
        else {
            return;
        };
        let Some(shown) = self.last_reading(sent) else { return say("nothing was read before".to_owned()) };
        for hazard in &put.hazards {
            let since = match hazard {
                Hazard::NodeCompleted => {
                    self.last_change(&sent.task, number, |change| *change == TaskChange::NodeCompleted)
                }
                Hazard::NotFailed => self.last_change(&sent.task, number, |change| {
                    matches!(change, TaskChange::Appeared | TaskChange::Restarted | TaskChange::Terminated)
                }),
                Hazard::NotNewest => self.first_newer(sent, number),
                Hazard::AnotherRuns => self.other_runs_since(sent, number),
                // A termination by hand may leave nothing to be read; one of ours is judged elsewhere.
                Hazard::AfterTermination => None,
            };
            if since.is_some_and(|since| since < shown) {
                say(format!("{hazard:?} since {since:?}, and the last reading shows {shown}: {put:?}"));
            }
        }
    }

    /// The time whose state the last readings of both lists show.
    fn last_reading(&self, sent: &Sent) -> Option<i64> {
        let read = |mode: &str| {
            self.played.log.iter().rev().find_map(|line| {
                let request = request_of(&line.record)?;
                let good = line.at.0 <= sent.at
                    && request.taken
                    && request.operation == Operation::Tasks
                    && request.cluster.as_deref() == Some(sent.cluster.as_str())
                    && request.action_mode.as_deref() == Some(mode);
                good.then_some(line.at.0)
            })
        };
        let stale = self.plan.stale;
        Some(read("UPGRADING")?.min(read("AZ_MIGRATION")?) - stale)
    }

    fn last_change(&self, task: &'a str, before: u64, of: impl Fn(&TaskChange) -> bool) -> Option<i64> {
        let mut changes = self.changes_of(task);
        changes.rfind(|(line, change)| line.number < before && of(change)).map(|(line, _)| line.at.0)
    }

    fn others(&self, sent: &'a Sent, before: u64) -> impl Iterator<Item = (&'a LogEntry, &'a TaskRecord)> {
        self.played.log.iter().filter_map(move |line| {
            let change = task_of(&line.record)?;
            let other = change.cluster == sent.cluster && change.task != sent.task && line.number < before;
            other.then_some((line, change))
        })
    }

    fn first_newer(&self, sent: &'a Sent, before: u64) -> Option<i64> {
        let own = self.last_change(&sent.task, before, |change| *change == TaskChange::Appeared)?;
        self.others(sent, before)
            .filter(|(line, change)| change.change == TaskChange::Appeared && line.at.0 > own)
            .map(|(line, _)| line.at.0)
            .min()
    }

    fn other_runs_since(&self, sent: &'a Sent, before: u64) -> Option<i64> {
        let mut running: BTreeMap<&str, i64> = BTreeMap::new();
        for (line, change) in self.others(sent, before) {
            match change.change {
                // What appeared before the beginning had ended before it too.
                TaskChange::Appeared if line.at.0 < 0 => {}
                TaskChange::Appeared | TaskChange::Restarted => {
                    running.insert(&change.task, line.at.0);
                }
                TaskChange::Ended(_) => {
                    running.remove(change.task.as_str());
                }
                TaskChange::NodeCompleted | TaskChange::Terminated => {}
            }
        }
        running.into_values().min()
    }

    /// The limits of the project and the agreement of the clocks.
    fn guards(&self, index: usize, sent: &Sent, say: &mut impl FnMut(String)) {
        if self.plan.wall_jumps {
            // A jump between the reading and the PUT is seen by the next answer only.
            let steady = self.played.wall_steady(sent.at);
            if steady && sent.clock_ahead.abs() > MAX_CLOCK_OFFSET {
                say(format!("the clocks differ by {} ms", sent.clock_ahead));
            }
            return;
        }
        let within =
            self.played.sent.iter().take(index).filter(|earlier| sent.at - earlier.at < HOUR - 1_000);
        let limit = self.plan.limits.max_actions_per_hour;
        if within.count() >= usize::try_from(limit).unwrap_or(usize::MAX) {
            say(format!("more than {limit} PUTs within an hour"));
        }
    }

    /// I3: no more retries taken than the policy allows since the last progress, but for those that nobody could
    /// know to be taken.
    fn budgets(&self, wrong: &mut Vec<String>) {
        let mut counts: BTreeMap<&str, [(u32, u32); 2]> = BTreeMap::new();
        for line in &self.played.log {
            if let Some(change) = task_of(&line.record)
                && change.change == TaskChange::NodeCompleted
            {
                counts.entry(&change.task).or_default()[0] = (0, 0);
            }
            let Some(sent) = self
                .played
                .sent
                .iter()
                .find(|sent| sent.arrived.is_some_and(|(_, number)| number == line.number))
                .filter(|sent| sent.action == Action::Retry)
            else {
                continue;
            };
            let Some(request) = request_of(&line.record) else { continue };
            let Some(terms) = self.terms(sent.process, &sent.cluster, &sent.task) else { continue };
            let unclear = sent.answer.is_none() || is_unclear(request);
            let counts = counts.entry(&sent.task).or_default();
            let allowed = terms.retry.max_retries;
            let (taken, unclear_before) = counts[usize::from(!terms.retry.reset_on_progress)];
            if taken >= allowed + unclear_before {
                wrong.push(format!(
                    "PUT of task {} at {}: {taken} retries were taken before, {unclear_before} of them unclear; {allowed} are allowed",
                    sent.task, sent.at
                ));
            }
            for count in counts {
                count.0 += u32::from(request.taken);
                count.1 += u32::from(unclear);
            }
        }
    }

    /// What is told once is told once.
    fn tellings(&self, wrong: &mut Vec<String>) {
        let tasks: BTreeSet<&str> =
            self.played.entries.iter().map(|entry| entry.subject.task.as_str()).collect();
        for task in tasks {
            let sure = || self.entries_of(task).filter(|(_, _, kept)| !kept.in_doubt);
            let escalations =
                sure().filter(|(_, entry, _)| matches!(entry.event, Event::Escalated { .. })).count();
            if escalations > 1 {
                wrong.push(format!("task {task} was handed to a human {escalations} times"));
            }
        }
    }
}

/// How long after `from` this was: by the true time within one process, else by whichever of the two clocks
/// gives more, as a restart goes by the wall clock.
fn elapsed(from: (&Entry, Kept), sent: &Sent, intent: &Intent<'_>) -> i64 {
    let truly = sent.at - from.1.at;
    if from.1.process == sent.process {
        return truly;
    }
    let wall = intent.entry.at.wall.duration_since(from.0.at.wall).as_millis();
    truly.max(i64::try_from(wall).unwrap_or(i64::MAX))
}

fn millis(span: std::time::Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

fn task_of(record: &Record) -> Option<&TaskRecord> {
    match record {
        Record::Task(task) => Some(task),
        _ => None,
    }
}

fn is_failure(change: &TaskChange) -> bool {
    matches!(change, TaskChange::Ended(status) if status == "FAILED" || status == "PARTIAL_FAILED")
}

/// Whether the answer to a PUT leaves open what became of it.
fn is_unclear(request: &RequestRecord) -> bool {
    let answer = &request.answer;
    match answer.status {
        _ if answer.delivery != DeliveryRecord::Whole => true,
        None => true,
        // A body that is not understood, or an errCode.
        Some(200..=299) => answer.code.as_deref() != Some("CSS.0011") && request.fault.is_some(),
        Some(status) => status >= 500,
    }
}

/// I5: the clusters whose newest task has not come to its end yet, with the reason.
pub(crate) fn unfinished(world: &World, ledger: &Ledger) -> Vec<String> {
    let state = world.state();
    let vanished: BTreeSet<&str> = world
        .log()
        .iter()
        .filter_map(|line| task_of(&line.record))
        .filter(|task| task.change == TaskChange::Terminated)
        .map(|task| task.cluster.as_str())
        .collect();
    let mut open = Vec::new();
    for cluster in state["clusters"].as_array().into_iter().flatten() {
        let (id, name) = (cluster["id"].as_str().unwrap(), cluster["name"].as_str().unwrap());
        let script = world.scenario().cluster.iter().find(|script| script.name == name);
        let short = script.is_some_and(|script| script.ways.tasks.is_some());
        if cluster["deleted"] == true || short || has_rivals(world, id) || cluster["engine"] == "logstash" {
            continue;
        }
        let Some(task) = cluster["tasks"].as_array().and_then(|tasks| tasks.last()) else { continue };
        let task_id = task["id"].as_str().unwrap();
        let known = ClusterId::new(id).ok().and_then(|id| ledger.clusters.get(&id));
        let known = known.zip(TaskId::new(task_id).ok()).and_then(|(history, task)| history.tasks.get(&task));
        let wrong = match task["status"].as_str().unwrap() {
            "RUNNING" => Some("runs"),
            "SUCCESS" => known
                .filter(|known| known.closed.is_none() && known.escalated.is_none())
                .map(|_| "succeeded, and its story is open"),
            // Where the newest one vanished, the one before it is history all the same.
            "FAILED" | "PARTIAL_FAILED" if vanished.contains(id) => None,
            "FAILED" | "PARTIAL_FAILED" => match known {
                None => Some("failed, and is not known"),
                Some(known) => end_of(known).is_none().then_some("failed, and nothing was done about it"),
            },
            _ => None,
        };
        if let Some(wrong) = wrong {
            let last = known.map(|known| (&known.decided, &known.open, &known.closed));
            open.push(format!("the newest task {task_id} of {name} {wrong}; last {last:?}"));
        }
    }
    open
}

/// Whether the newest tasks of the cluster began within the same second: nobody can tell which is the newest.
fn has_rivals(world: &World, cluster: &str) -> bool {
    let began = world.log().iter().filter_map(|line| {
        let task = task_of(&line.record)?;
        let began = task.cluster == cluster && task.change == TaskChange::Appeared;
        began.then_some(line.at.0.div_euclid(1_000))
    });
    let mut began: Vec<_> = began.collect();
    began.sort_unstable();
    matches!(began.as_slice(), [.., one, other] if one == other)
}

/// How the story of a failed task ended, where it has.
pub(crate) fn end_of(known: &TaskHistory) -> Option<String> {
    if let Some((closing, _)) = &known.closed {
        return match closing {
            // It fails again: another story begins.
            Closing::Remedied | Closing::SolvedByOthers => None,
            _ => Some(closing.word().to_owned()),
        };
    }
    if let Some(escalation) = &known.escalated {
        return Some(format!("escalated: {}", escalation.reason.code()));
    }
    let (_, reason) = known.decided.as_ref()?;
    matches!(reason, Reason::DryRun { .. } | Reason::NoPolicy | Reason::TooOld { .. })
        .then(|| reason.code().to_owned())
}

/// What a request was hit by, and on which operation.
pub(crate) fn faults_hit(played: &Played, whats: &[String]) -> BTreeMap<String, u64> {
    let mut hit = BTreeMap::new();
    for request in played.log.iter().filter_map(|line| request_of(&line.record)) {
        let Some(what) = request.fault.and_then(|number| whats.get(number - 1)) else { continue };
        let on = match request.operation {
            Operation::Retry | Operation::Abort => "PUT",
            _ => "reading",
        };
        *hit.entry(format!("{what} on a {on}")).or_default() += 1;
    }
    hit
}

/// What people did.
pub(crate) fn by_hand(played: &Played) -> BTreeMap<String, u64> {
    let mut done = BTreeMap::new();
    for line in &played.log {
        let word = match &line.record {
            Record::ByHand(put) if put.kind == PutKind::Retry => "by hand: retry",
            Record::ByHand(_) => "by hand: abort",
            Record::ClusterDeleted { .. } => "a cluster is deleted",
            _ => continue,
        };
        *done.entry(word.to_owned()).or_default() += 1;
    }
    done
}
