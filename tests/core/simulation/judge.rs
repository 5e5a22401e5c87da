//! Judges a run by the world's own log against the journal, never by what the daemon says of itself.

use std::collections::{BTreeMap, BTreeSet};

use upgrade_remediator::model::decision::Action;
use upgrade_remediator::model::event::{Entry, Event, Outcome};
use upgrade_remediator::model::id::{ClusterId, TaskId};
use upgrade_remediator::model::policy::{Mode, Terms};
use upgrade_remediator::model::project_state::ProjectState;
use upgrade_remediator::model::reason::Reason;
use upgrade_remediator::model::record::TaskRecord;
use upgrade_remediator::model::task::TaskKind;
use upgrade_remediator::simulator::World;
use upgrade_remediator::simulator::log::{
    DeliveryRecord, Hazard, LogEntry, Operation, PutKind, Record, RequestRecord, TaskChange, TaskLog,
};

use super::generate::{Held, Plan, PolicyPlan};
use super::harness::{Kept, Sent, Taken, request_of};
use super::run::Played;

const HOUR: i64 = 3_600_000;
/// No PUT is sent while the clocks differ by more; a little more for the seconds of the `Date`.
const MAX_CLOCK_OFFSET: i64 = 302_000;
/// As long as the harness's journal may take for a commit, which others may overtake.
const LONGEST_COMMIT: i64 = 15;

/// What is wrong with the run.
pub(crate) fn judge(plan: &Plan, played: &Played) -> Vec<String> {
    let judge = Judge::new(plan, played);
    let mut wrong = Vec::new();
    judge.every_put(&mut wrong);
    judge.budgets(&mut wrong);
    judge.tellings(&mut wrong);
    judge.closings(&mut wrong);
    judge.given_up(&mut wrong);
    judge.called_for_strays(&mut wrong);
    wrong
}

struct Judge<'a> {
    plan: &'a Plan,
    played: &'a Played,
    kinds: BTreeMap<&'a str, TaskKind>,
    names: BTreeMap<&'a str, &'a str>,
    /// The cluster of each task.
    owners: BTreeMap<&'a str, &'a str>,
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
        let tasks = || played.log.iter().filter_map(|line| task_of(&line.record));
        let names = tasks().map(|task| (task.cluster.as_str(), task.cluster_name.as_str())).collect();
        let owners = tasks().map(|task| (task.task.as_str(), task.cluster.as_str())).collect();
        Self { plan, played, kinds, names, owners }
    }

    /// Whether it tells of a task of another cluster, which an answer about this one showed.
    fn is_stray(&self, entry: &Entry) -> bool {
        let owner = self.owners.get(entry.subject.task.as_str());
        owner.is_some_and(|owner| *owner != entry.subject.cluster.as_str())
    }

    /// Which of the plan's policies were in force in this process when the journal had so many entries.
    fn epoch(&self, process: u32, entries: usize) -> Option<usize> {
        let epochs = self.played.epochs.iter();
        let mut epochs = epochs.rev();
        epochs.find(|epoch| epoch.process == process && epoch.entries <= entries).map(|epoch| epoch.of)
    }

    /// The policy in force for this task when the intent was committed.
    fn policy(&self, intent: &Intent<'_>, cluster: &str, task: &str) -> Option<&'a PolicyPlan> {
        let epoch = self.epoch(intent.kept.process, intent.index)?;
        self.plan.policy(epoch, self.names.get(cluster)?, *self.kinds.get(task)?)
    }

    fn entries_of(&self, task: &'a str) -> impl DoubleEndedIterator<Item = (usize, &'a Entry, Kept)> {
        let entries = self.played.entries.iter().zip(&self.played.kept).enumerate();
        let entries: Vec<_> = entries
            .filter(|(_, (entry, _))| entry.subject.task.as_str() == task && !self.is_stray(entry))
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
            if let Some(intent) = &intent {
                match self.policy(intent, &sent.cluster, &sent.task) {
                    None => say("no policy covers the task".to_owned()),
                    Some(policy) => {
                        if policy.terms.mode == Mode::DryRun {
                            say("the mode is dry-run".to_owned());
                        }
                        self.timing(&policy.terms, sent, intent, &mut say);
                        self.window(policy, sent, &mut say);
                        if sent.action == Action::Abort {
                            self.abort(policy, sent, intent, &mut say);
                        }
                    }
                }
                self.held(sent, intent, &mut say);
                self.breaker(intent, &mut say);
                self.paused(index, intent, &mut say);
            }
            self.whose(sent, &mut say);
            self.read_again(sent, &mut say);
            self.after_earlier_ones(index, sent, &mut say);
            self.hazards(sent, &mut say);
            self.preconditions(index, sent, &mut say);
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
            say(format!("an operator has it since {}: {:?}", kept.at, entry.event));
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
        // A minute ago: the service shows it late.
        let between = earlier.at - 60_000..=sent.at;
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
                let least = self.least_wait(terms, sent);
                // Times are kept to the millisecond.
                if waited + 2 < least {
                    say(format!("only {waited} ms after the failure was first seen, not {least}"));
                }
                if self.plan.plain {
                    self.not_late(terms, waited, least, sent, say);
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

    /// The interval before this retry less its jitter, by the retries that were certainly used before.
    fn least_wait(&self, terms: &Terms, sent: &'a Sent) -> i64 {
        let retry = &terms.retry;
        let progress = self
            .changes_of(&sent.task)
            .any(|(line, change)| line.at.0 <= sent.at && *change == TaskChange::NodeCompleted);
        let known = |earlier: &&Sent| {
            let whole = earlier.arrived.is_some_and(|(_, number)| {
                let request = self.line(number).and_then(|line| request_of(&line.record));
                request.is_some_and(|request| request.taken) && self.whole(number)
            });
            earlier.task == sent.task
                && earlier.at < sent.at
                && earlier.action == Action::Retry
                && earlier.answer == Some(200)
                && whole
        };
        // Where a node was completed, when the daemon learned of it decides what counts.
        let used = if progress { 0 } else { self.played.sent.iter().filter(known).count() };
        let mut interval = retry.initial_interval;
        for _ in 0..used {
            interval = interval.mul_f64(retry.multiplier).min(retry.max_interval);
        }
        millis(interval.min(retry.max_interval).mul_f64(1.0 - retry.randomization_factor))
    }

    /// I5: where nothing else goes wrong, a retry is sent when its backoff is over, also after a restart.
    fn not_late(&self, terms: &Terms, waited: i64, least: i64, sent: &Sent, say: &mut impl FnMut(String)) {
        let jitter = terms.retry.randomization_factor;
        // A retry whose answer a kill cut off may count all the same, once a reading has settled it.
        let cut_off = |earlier: &&Sent| {
            let of_it = earlier.task == sent.task && earlier.action == Action::Retry;
            of_it && earlier.at < sent.at && earlier.answer.is_none()
        };
        let cut_off = self.played.sent.iter().filter(cut_off).count();
        let grown = terms.retry.multiplier.powi(i32::try_from(cut_off).unwrap_or(i32::MAX));
        let most = std::time::Duration::from_millis(least.unsigned_abs());
        let most = most.mul_f64(grown).min(terms.retry.max_interval);
        let most = millis(most.div_f64(1.0 - jitter).mul_f64(1.0 + jitter).min(terms.retry.max_interval));
        let begun = self.played.epochs.iter().filter(|epoch| epoch.at <= sent.at).map(|epoch| epoch.at).max();
        // A process that has just begun reads everything first, and tasks that ran are read twice.
        let after_start = begun.map_or(0, |begun| sent.at - begun);
        let slack = 2 * millis(self.plan.poll.active_interval) + 10_000;
        if waited > most + slack && after_start > slack {
            say(format!("{waited} ms after the failure was first seen, and {most} were the longest backoff"));
        }
    }

    /// I3: within the window of the policy.
    fn window(&self, policy: &PolicyPlan, sent: &Sent, say: &mut impl FnMut(String)) {
        let Some((of, from, to)) = policy.window else { return };
        let wall = sent.at + sent.clock_ahead + self.service_off();
        let (from, to) = (i64::from(from) * 60_000, i64::from(to) * 60_000);
        let open = |wall: i64| (from..to).contains(&wall.rem_euclid(i64::from(of) * 60_000));
        // It was judged when the intent was decided, and the commit took a while.
        if !open(wall) && !open(wall - 2_000) && self.played.wall_steady(sent.at) {
            say(format!(
                "outside of the window, {} ms after its span began",
                wall.rem_euclid(i64::from(of) * 60_000)
            ));
        }
    }

    fn service_off(&self) -> i64 {
        self.played.service_off
    }

    /// I3: not under a hold that was placed and answered before the intent.
    fn held(&self, sent: &Sent, intent: &Intent<'_>, say: &mut impl FnMut(String)) {
        for holding in &self.played.holdings {
            let covers = match holding.held {
                Held::All | Held::Project => true,
                Held::OtherProject => false,
                Held::Cluster(_) => holding.cluster.as_deref() == Some(sent.cluster.as_str()),
            };
            let placed = intent.index >= holding.placed.1;
            let released = holding.released.is_some_and(|(_, entries)| intent.index >= entries);
            // After a restart the rest of a hold is what the wall clock says.
            let by_wall = self.plan.wall_jumps && holding.process != intent.kept.process;
            let over = holding.ends.is_some_and(|ends| intent.kept.at >= ends || by_wall);
            if covers && placed && !released && !over {
                say(format!("under a hold: {holding:?}"));
            }
        }
    }

    /// I3: not while the breaker is open, and not where it should be.
    fn breaker(&self, intent: &Intent<'_>, say: &mut impl FnMut(String)) {
        let configuration = &self.plan.breaker;
        // It was judged when its commit began: what another poll journaled meanwhile stood in nobody's way.
        let overtook =
            |kept: &Kept| kept.process == intent.kept.process && intent.kept.at - kept.at <= LONGEST_COMMIT;
        let before = || self.played.entries.iter().zip(&self.played.kept).take(intent.index);
        let turn = before().rposition(|(entry, kept)| {
            let turns = matches!(entry.event, Event::BreakerOpened { .. } | Event::BreakerClosed { .. });
            turns && !(kept.in_doubt && kept.process == intent.kept.process) && !overtook(kept)
        });
        let last = turn.and_then(|turn| before().nth(turn));
        // A wait over a restart goes by the wall clock, which may have been set right meanwhile.
        let since = |(entry, kept): (&Entry, &Kept)| {
            let truly = intent.kept.at - kept.at;
            let wall = intent.entry.at.wall.duration_since(entry.at.wall).as_millis();
            if kept.process == intent.kept.process {
                truly
            } else {
                truly.max(i64::try_from(wall).unwrap_or(i64::MAX))
            }
        };
        let steady = |kept: &Kept| !self.plan.wall_jumps || kept.process == intent.kept.process;
        if let Some((opened @ Entry { event: Event::BreakerOpened { .. }, .. }, kept)) = last {
            let since = since((opened, kept));
            if since + 100 < millis(configuration.cooldown) && steady(kept) {
                say(format!("the breaker opened {since} ms before"));
            }
            return;
        }
        let from = turn.map_or(0, |turn| turn + 1);
        let recent: BTreeSet<&str> = before()
            .skip(from)
            .filter(|(entry, kept)| {
                let counts =
                    matches!(&entry.event, Event::Failed(seen) if seen.seen_to_happen && !seen.too_old);
                let recent = since((entry, kept)) + 1_000 < millis(configuration.within);
                counts && !kept.in_doubt && recent && steady(kept) && !overtook(kept)
            })
            .map(|(entry, _)| entry.subject.task.as_str())
            .collect();
        if recent.len() >= usize::try_from(configuration.failures).unwrap_or(usize::MAX) {
            say(format!(
                "{} tasks failed within {:?}, and the breaker is closed",
                recent.len(),
                configuration.within
            ));
        }
    }

    /// I3: not within half an hour of an answer that stops the project.
    fn paused(&self, index: usize, intent: &Intent<'_>, say: &mut impl FnMut(String)) {
        const REST: i64 = 30 * 60_000;
        for earlier in self.played.sent.iter().take(index) {
            let Some((arrived, number)) = earlier.arrived.filter(|_| earlier.answer.is_some()) else {
                continue;
            };
            let request = self.line(number).and_then(|line| request_of(&line.record));
            if !request.is_some_and(stops_the_project) {
                continue;
            }
            let Some(of) = self.intent(earlier) else { continue };
            let answered = self.played.entries.iter().zip(&self.played.kept).enumerate().find(|(_, (entry, kept))| {
                !kept.in_doubt
                    && matches!(&entry.event, Event::Answered { attempt, .. } if attempt.0 == of.entry.number)
            });
            let Some((at, (_, kept))) = answered else { continue };
            let reloaded =
                self.played.reloads.iter().any(|(_, entries)| (at..=intent.index).contains(entries));
            let steady = !self.plan.wall_jumps || kept.process == intent.kept.process;
            // It rests from the answer on, which may be journaled late.
            let set =
                self.played.sent.get(index).map_or(0, |sent| (sent.clock_ahead - earlier.clock_ahead).abs());
            let since = intent.kept.at - arrived + set;
            if intent.index > at && since + 100 < REST && !reloaded && steady {
                say(format!("the project is paused since {since} ms"));
            }
        }
    }

    /// Nothing for a task of another cluster, and nothing while another one shows it too.
    fn whose(&self, sent: &Sent, say: &mut impl FnMut(String)) {
        if self.owners.get(sent.task.as_str()).is_some_and(|owner| *owner != sent.cluster) {
            say(format!("it is a task of another cluster than {}", sent.cluster));
        }
        let of_it = |taken: &&Taken| taken.process == sent.process && taken.at <= sent.at;
        let answers = || self.played.taken.iter().filter(of_it);
        let others: BTreeSet<_> = answers().map(|taken| taken.cluster.as_str()).collect();
        for other in others.into_iter().filter(|other| *other != sent.cluster && !self.may_be_gone(other)) {
            let last = |is_last_list| {
                answers().rfind(|taken| taken.cluster == other && taken.is_last_list == is_last_list)
            };
            let (Some(first), Some(second)) = (last(false), last(true)) else { continue };
            // Read whole, in the order of a reconcile, and a moment ago.
            let whole =
                first.at <= second.at && second.at - first.at <= 5_000 && second.at <= sent.at - 2_000;
            if whole && [first, second].iter().any(|taken| taken.stray.as_ref() == Some(&sent.task)) {
                say(format!("cluster {other} shows it too since {}", second.at));
            }
        }
    }

    /// Whether lists leave the cluster out at some time: what was read of it before counts no more then.
    fn may_be_gone(&self, cluster: &str) -> bool {
        let deleted = |line: &LogEntry| matches!(&line.record, Record::ClusterDeleted { cluster: id, .. } if id == cluster);
        self.played.left_out.contains(cluster) || self.played.log.iter().any(deleted)
    }

    /// Nobody is called because of an answer that was wrong for less than an hour.
    fn called_for_strays(&self, wrong: &mut Vec<String>) {
        for (entry, kept) in self.played.entries.iter().zip(&self.played.kept) {
            let Event::Escalated { reason: Reason::SharedTask { .. } } = &entry.event else { continue };
            let task = &entry.subject.task;
            let shown = self
                .played
                .taken
                .iter()
                .any(|taken| taken.at + HOUR <= kept.at && taken.stray.as_deref() == Some(task.as_str()));
            if !shown {
                wrong.push(format!(
                    "task {task} was given up at {} for an answer about another cluster",
                    kept.at
                ));
            }
        }
    }

    /// Rule 10: what is acted on is another reading than the one that said that something is due.
    fn read_again(&self, sent: &Sent, say: &mut impl FnMut(String)) {
        const SOON: i64 = 12_000;
        // A request that is answered late, or not at all, takes as long as it may.
        let span = SOON * 2 + millis(self.plan.poll.request_timeout);
        let begun = |line: &&LogEntry| (sent.at - span..=sent.at).contains(&line.at.0);
        let lines = self.played.log.iter().rev().take_while(|line| line.at.0 >= sent.at - span);
        let mut readings = Vec::new();
        for request in lines.filter(begun).filter_map(|line| Some((line.at.0, request_of(&line.record)?))) {
            let (at, request) = request;
            if request.method == "GET" && (!request.taken || request.fault.is_some()) {
                // What was asked for again takes its time.
                return;
            }
            let of_it = request.operation == Operation::Tasks
                && request.cluster.as_deref() == Some(sent.cluster.as_str())
                && request.action_mode.as_deref() == Some("AZ_MIGRATION");
            if of_it {
                readings.push(at);
            }
        }
        // A service that throttles is asked slowly for a while.
        let throttled =
            self.played.log.iter().take_while(|line| line.at.0 <= sent.at).any(|line| {
                request_of(&line.record).is_some_and(|request| request.answer.status == Some(429))
            });
        let limits = &self.plan.limits;
        let quiet = self.plan.weather.no_connection == 0.0 && limits.requests_per_second > 2 && !throttled;
        let soon = readings.iter().filter(|at| sent.at - **at <= SOON).count();
        if quiet && soon < 2 {
            say(format!("it was read {soon} times just before"));
        }
    }

    /// I4: an abort only where no node can be completed, the retries are used up, and the policy is the one under
    /// which the failure was first seen.
    fn abort(&self, policy: &PolicyPlan, sent: &'a Sent, intent: &Intent<'a>, say: &mut impl FnMut(String)) {
        let name = self.names.get(sent.cluster.as_str()).copied().unwrap_or_default();
        if self.played.unreadable.contains(name) {
            say("completedNodes cannot be read".to_owned());
        }
        let most = self.most_retries(&sent.task, sent.at);
        if most < policy.terms.retry.max_retries && !self.terminated_by_hand(&sent.task, sent.at) {
            let allowed = policy.terms.retry.max_retries;
            say(format!("at most {most} of {allowed} retries were used up"));
        }
        let failed = self
            .entries_of(&sent.task)
            .filter(|(index, ..)| *index < intent.index)
            .rfind(|(_, entry, _)| matches!(entry.event, Event::Failed(_)));
        let Some((index, _, kept)) = failed else { return };
        // The reading and its record may lie on both sides of a reload.
        let first = [index, index.saturating_sub(6)].map(|index| {
            let epoch = self.epoch(kept.process, index).or_else(|| self.epoch(kept.process, index + 6));
            epoch.and_then(|epoch| self.plan.policy(epoch, name, *self.kinds.get(sent.task.as_str())?))
        });
        if !first.iter().flatten().any(|first| first.terms == policy.terms) {
            say("the failure was first seen under another policy".to_owned());
        }
    }

    /// How many retries of whomever can have counted by then: those that the service took, those that it said it
    /// took, and those before the journal began.
    fn most_retries(&self, task: &str, by: i64) -> u32 {
        let restarts = self.played.log.iter().filter(|line| {
            let restarted =
                task_of(&line.record).is_some_and(|it| it.task == task && it.change == TaskChange::Restarted);
            restarted && line.at.0 <= by
        });
        let without_effect = self.played.sent.iter().filter(|sent| {
            let taken =
                sent.arrived.and_then(|(_, number)| self.line(number)).and_then(|it| request_of(&it.record));
            sent.task == task
                && sent.at <= by
                && !taken.is_some_and(|request| request.taken)
                && sent.answer == Some(200)
        });
        let before =
            self.played.log.iter().find_map(|line| task_of(&line.record).filter(|it| it.task == task));
        let before = before.map_or(0, |it| it.execution.saturating_sub(1));
        let restarts = restarts.count();
        // Where executeTimes grows by two, each counts as one of ours and one of others.
        let name = task_of_name(self.played, task);
        let grows = if self.played.grows_by_two.contains(name) { 2 } else { 1 };
        u32::try_from(restarts * grows + without_effect.count()).unwrap_or(u32::MAX)
            + u32::try_from(before).unwrap_or(u32::MAX)
    }

    /// When our last retry arrived, where it was taken and answered and the task has not failed since.
    fn runs_by_our_retry(&self, task: &'a str, by: i64) -> Option<i64> {
        let of_it = |sent: &&Sent| sent.task == task && sent.action == Action::Retry && sent.at <= by;
        let last = self.played.sent.iter().rfind(of_it).filter(|sent| sent.answer == Some(200))?;
        let (at, number) = last.arrived?;
        let request = self.line(number).and_then(|line| request_of(&line.record))?;
        let mut since = self.changes_of(task).filter(|(line, _)| line.number > number && line.at.0 <= by);
        let runs = request.taken && !since.any(|(_, change)| is_failure(change));
        (runs && !self.failed_by_hand_unseen(last, number)).then_some(at)
    }

    /// Whether a person retried the task and it failed again just before our PUT, and no reading showed that yet: what
    /// is shown of that later cannot be told from an effect of ours.
    fn failed_by_hand_unseen(&self, sent: &'a Sent, number: u64) -> bool {
        let Some(shown) = self.last_reading(sent) else { return false };
        let retried = self.played.log.iter().find(|line| {
            matches!(&line.record, Record::ByHand(put) if put.task == sent.task && put.kind == PutKind::Retry
                && put.taken && line.at.0 > shown && line.number < number)
        });
        let failed = self.last_change(&sent.task, number, is_failure);
        retried.zip(failed).is_some_and(|(retried, failed)| failed > retried.at.0)
    }

    /// What a termination by hand leaves may be taken for the effect of a PUT that is late.
    fn terminated_by_hand(&self, task: &str, by: i64) -> bool {
        self.played.log.iter().any(|line| {
            line.at.0 <= by
                && matches!(&line.record, Record::ByHand(put) if put.task == task && put.kind == PutKind::Abort)
        })
    }

    /// Nobody is called for retries that were not used.
    fn given_up(&self, wrong: &mut Vec<String>) {
        for (index, (entry, kept)) in self.played.entries.iter().zip(&self.played.kept).enumerate() {
            let task = entry.subject.task.as_str();
            if self.is_stray(entry) {
                continue;
            }
            if let Event::Failed(_) = &entry.event
                && let Some(at) = self.runs_by_our_retry(task, kept.at)
            {
                wrong.push(format!(
                    "a failure of task {task} was seen anew at {}, and the retry of {at} still runs",
                    kept.at
                ));
            }
            let Event::Escalated { reason: Reason::RetriesExhausted { .. } | Reason::NodeCompleted { .. } } =
                &entry.event
            else {
                continue;
            };
            if let Some(at) = self.runs_by_our_retry(task, kept.at) {
                wrong.push(format!(
                    "task {task} was given up at {}, and the retry of {at} still runs",
                    kept.at
                ));
            }
            let (Some(name), Some(kind)) =
                (self.names.get(entry.subject.cluster.as_str()), self.kinds.get(task))
            else {
                continue;
            };
            // It was decided by what was in force a moment before, where a reload came between.
            let ended = |at: i64| at < kept.at - 30_000;
            let of_it = || self.played.epochs.iter().filter(|epoch| epoch.process == kept.process);
            let later = of_it().filter(|epoch| epoch.entries <= index && !ended(epoch.at));
            let before = of_it().rfind(|epoch| ended(epoch.at));
            let allowed = later
                .chain(before)
                .map(|epoch| epoch.of)
                .filter_map(|epoch| self.plan.policy(epoch, name, *kind))
                .map(|policy| policy.terms.retry.max_retries)
                .min();
            let by_hand = self.terminated_by_hand(task, kept.at);
            if by_hand {
                continue;
            }
            let most = self.most_retries(task, kept.at);
            if allowed.is_some_and(|allowed| most < allowed) {
                wrong.push(format!(
                    "task {task} was given up at {} when at most {most} of {allowed:?} retries were used",
                    kept.at
                ));
            }
        }
    }

    /// What is told to have ended has ended: by the world's log.
    fn closings(&self, wrong: &mut Vec<String>) {
        for (entry, kept) in self.played.entries.iter().zip(&self.played.kept) {
            let Event::Ended(closing) = &entry.event else { continue };
            let (cluster, task) = (entry.subject.cluster.as_str(), entry.subject.task.as_str());
            let by_then = || self.played.log.iter().filter(|line| line.at.0 <= kept.at);
            let true_one = match closing {
                Outcome::Gone => {
                    by_then().any(|line| match &line.record {
                        Record::ClusterDeleted { cluster: id, .. } => id == cluster,
                        Record::Task(it) => it.task == task && it.change == TaskChange::Terminated,
                        _ => false,
                    }) || self.played.short.contains(cluster)
                        || self.played.left_out.contains(cluster)
                        || self.played.left_out.contains(task)
                        || self.is_stray(entry)
                }
                Outcome::ResolvedByRetry | Outcome::ResolvedExternally => by_then().any(|line| {
                    task_of(&line.record).is_some_and(|it| {
                        it.task == task
                            && matches!(&it.change, TaskChange::Ended(status) if status == "SUCCESS")
                    })
                }),
                Outcome::Superseded { by } => by_then().any(|line| {
                    task_of(&line.record).is_some_and(|it| {
                        it.cluster == cluster && it.task == by.as_str() && it.change == TaskChange::Appeared
                    })
                }),
                Outcome::Aborted => true,
            };
            if !true_one {
                wrong.push(format!(
                    "task {task} was closed at {} as {}, which it is not",
                    kept.at,
                    closing.word()
                ));
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

    fn others(&self, sent: &'a Sent, before: u64) -> impl Iterator<Item = (&'a LogEntry, &'a TaskLog)> {
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
    fn preconditions(&self, index: usize, sent: &Sent, say: &mut impl FnMut(String)) {
        if self.plan.wall_jumps {
            // A jump between the reading and the PUT is seen by the next answer only.
            let steady = self.played.wall_steady(sent.at);
            if steady && sent.clock_ahead.abs() > MAX_CLOCK_OFFSET {
                say(format!("the clocks differ by {} ms", sent.clock_ahead));
            }
            return;
        }
        // After a restart the hour is reckoned by the wall clock, which may have been set right meanwhile.
        let within = self.played.sent.iter().take(index).filter(|earlier| {
            let set = (sent.clock_ahead - earlier.clock_ahead).abs();
            sent.at - earlier.at < HOUR - 1_000 - set
        });
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
            let Some(policy) = self.intent(sent).and_then(|it| self.policy(&it, &sent.cluster, &sent.task))
            else {
                continue;
            };
            let terms = &policy.terms;
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
                wrong.push(format!("task {task} was handed to an operator {escalations} times"));
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

/// The name of the task's cluster.
fn task_of_name<'a>(played: &'a Played, task: &str) -> &'a str {
    let records = played.log.iter().filter_map(|line| task_of(&line.record));
    records.filter(|it| it.task == task).map(|it| it.cluster_name.as_str()).next().unwrap_or_default()
}

fn task_of(record: &Record) -> Option<&TaskLog> {
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

/// Whether the answer says that no PUT of this project can pass.
fn stops_the_project(request: &RequestRecord) -> bool {
    let code = request.answer.code.as_deref().unwrap_or_default();
    let whole = request.answer.delivery == DeliveryRecord::Whole;
    let stops = match request.answer.status {
        Some(403) => matches!(code, "APIGW.0302" | "CSS.0010" | "CSS.5045"),
        Some(404) => !code.starts_with("CSS."),
        Some(302 | 405) => true,
        _ => false,
    };
    whole && stops
}

/// I5: the clusters whose newest task has not come to its end yet, with the reason.
pub(crate) fn unfinished(plan: &Plan, world: &World, project_state: &ProjectState) -> Vec<String> {
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
        let known = ClusterId::new(id).ok().and_then(|id| project_state.clusters.get(&id));
        let known = known.zip(TaskId::new(task_id).ok()).and_then(|(history, task)| history.tasks.get(&task));
        let wrong = match task["status"].as_str().unwrap() {
            "RUNNING" => Some("runs"),
            "SUCCESS" => known.filter(|known| known.is_pending()).map(|_| "succeeded, and its story is open"),
            // Where the newest one vanished, the one before it is history all the same.
            "FAILED" | "PARTIAL_FAILED" if vanished.contains(id) => None,
            "FAILED" | "PARTIAL_FAILED" => match known {
                None => Some("failed, and is not known"),
                Some(known) if plan.holds_to_the_end() && is_held(known) => None,
                // A dry-run ends with what it would send, which a closed window hides.
                Some(known) if plan.runs_dry_in_a_window() && is_out_of_window(known) => None,
                Some(known) if plan.has_too_short_a_window() && waits_for_a_window(known) => None,
                Some(known) => end_of(known).is_none().then_some("failed, and nothing was done about it"),
            },
            _ => None,
        };
        if let Some(wrong) = wrong {
            let last = known.map(|known| (&known.decided, &known.open, known.outcome()));
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

/// Whether a hold is what keeps the task from its end.
fn is_held(known: &TaskRecord) -> bool {
    matches!(known.reason(), Some(Reason::OnHold { .. }))
}

/// Held back by a window, or waiting once more after it opened.
fn waits_for_a_window(known: &TaskRecord) -> bool {
    let waits = matches!(known.reason(), Some(Reason::WasBlocked { .. } | Reason::Backoff { .. }));
    waits || is_out_of_window(known)
}

fn is_out_of_window(known: &TaskRecord) -> bool {
    matches!(known.reason(), Some(Reason::WindowClosed { .. }))
}

/// How the story of a failed task ended, where it has.
pub(crate) fn end_of(known: &TaskRecord) -> Option<String> {
    if let Some(outcome) = known.outcome() {
        return match outcome {
            // It fails again: another story begins.
            Outcome::ResolvedByRetry | Outcome::ResolvedExternally => None,
            _ => Some(outcome.word().to_owned()),
        };
    }
    if let Some(escalation) = &known.escalated {
        return Some(format!("escalated: {}", escalation.reason.code()));
    }
    let reason = known.reason()?;
    matches!(reason, Reason::DryRun { .. } | Reason::NoPolicy | Reason::TooOld { .. })
        .then(|| reason.code().to_owned())
}

/// What a request was hit by, and on which operation.
pub(crate) fn faults_hit(played: &Played, whats: &[String]) -> BTreeMap<String, u64> {
    let mut hit = BTreeMap::new();
    for request in played.log.iter().filter_map(|line| request_of(&line.record)) {
        let Some(what) = request.fault.and_then(|number| whats.get(number - 1)) else { continue };
        let on = match request.operation {
            Operation::Retry => "retry",
            Operation::Abort => "abort",
            Operation::Tasks => "reading",
            _ => "list",
        };
        *hit.entry(format!("table|{what}|{on}")).or_default() += 1;
    }
    hit
}

/// What else happened in the world, by how the story of the task stood by then.
pub(crate) fn by_others(played: &Played) -> BTreeMap<String, u64> {
    let mut done = BTreeMap::new();
    for line in &played.log {
        let (word, task, cluster) = match &line.record {
            Record::ByHand(put) if put.kind == PutKind::Retry => {
                ("retried by hand", Some(&put.task), &put.cluster)
            }
            Record::ByHand(put) => ("terminated by hand", Some(&put.task), &put.cluster),
            Record::ClusterDeleted { cluster, .. } => ("a cluster is deleted", None, cluster),
            Record::Task(it) if it.change == TaskChange::Appeared && line.at.0 > 0 => {
                ("a new task", None, &it.cluster)
            }
            _ => continue,
        };
        let of_it = |entry: &Entry| {
            entry.subject.cluster.as_str() == cluster
                && task.is_none_or(|task| entry.subject.task.as_str() == task)
        };
        let before = played.entries.iter().zip(&played.kept).filter(|(_, kept)| kept.at <= line.at.0);
        let last = before.rev().find(|(entry, _)| of_it(entry)).map(|(entry, _)| &entry.event);
        let stand = match last {
            None => "not known yet",
            Some(Event::FirstSeen { .. } | Event::Running { .. } | Event::Progress { .. }) => "it runs",
            Some(Event::Intent { .. }) => "a PUT is under way",
            Some(Event::Answered { .. } | Event::ConfirmingPoll { .. }) => "a PUT is settled",
            Some(Event::Ended(_) | Event::Escalated { .. }) => "it has its end",
            Some(Event::Decided { reason, .. }) => match reason {
                Reason::Running { .. } => "it runs",
                Reason::OutcomeUnknown { .. } | Reason::CheckingIfGone { .. } | Reason::StalePoll => {
                    "a PUT is settled"
                }
                _ => "it waits",
            },
            Some(_) => "it waits",
        };
        *done.entry(format!("table|{word}|{stand}")).or_default() += 1;
    }
    done
}

/// How many tasks failed.
pub(crate) fn failures(played: &Played) -> u64 {
    played.log.iter().filter_map(|line| task_of(&line.record)).filter(|it| is_failure(&it.change)).count()
        as u64
}
