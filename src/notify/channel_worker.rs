//! Sends the notes of one channel to its receiver: gathers, groups, and retries with a backoff.
//!
//! Sends at most one message a minute for each project. A message that was not accepted is sent
//! again unchanged, under the same id, after its backoff or the receiver's `Retry-After`; later
//! events follow in the next message.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use super::channel::{Channel, SendError, Taken};
use super::kind::Kind;
use super::message::Message;
use super::notice::{self, Notice};
use super::outbox_writer::{Data, MOST_NOTES};
use super::queue::NotifyQueue;
use super::route::Routes;
use crate::clock::Clock;
use crate::journal::Journal;
use crate::model::channel::ChannelCounts;
use crate::model::moment::Mono;
use crate::model::outbox::{Kept, Note, OutboxWrite};
use crate::model::text::{chain, shown, span};

/// Events within this time are in one message.
const GATHER: Duration = Duration::from_secs(2);
/// The shortest time between two accepted messages of a project.
const BETWEEN: Duration = Duration::from_mins(1);
/// The wait after the first failure, doubling up to the longest.
const FIRST_WAIT: Duration = Duration::from_secs(10);
const LONGEST_WAIT: Duration = Duration::from_mins(10);
/// A longer wait that a receiver asks for is shortened to this: operators need the messages.
const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(1);
/// A message that takes longer has failed, and is retried.
const PATIENCE: Duration = Duration::from_secs(30);
/// A message that was refused this often in full is sent in short.
const REFUSALS: u32 = 3;
/// How long a message may take while the daemon stops.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// The notes of one project.
#[derive(Debug, Default)]
struct Line {
    notes: VecDeque<Note>,
    /// Of the oldest notes, only these counts are kept, with the number of the last of them.
    more: BTreeMap<Kind, u64>,
    more_through: u64,
    /// The next message ends with this note.
    sending: Option<u64>,
    ready: Mono,
    last_taken: Option<Mono>,
    refusals: u32,
}

impl Line {
    fn is_empty(&self) -> bool {
        self.notes.is_empty() && self.more.is_empty()
    }
}

/// How the notifier is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// Not yet.
    No,
    /// After one try to send what waits.
    Finish,
    /// At once: what waits is sent after the next start.
    Now,
}

/// What all channel workers share.
pub(super) struct Shared<C> {
    pub(super) post: NotifyQueue,
    pub(super) outbox: Journal,
    pub(super) clock: Arc<C>,
    pub(super) journal_id: String,
}

/// The worker of one channel.
pub(super) struct ChannelWorker<C> {
    name: String,
    shared: Arc<Shared<C>>,
    channel: Arc<dyn Channel>,
    inbox: mpsc::UnboundedReceiver<Note>,
    routes: watch::Receiver<Arc<Routes>>,
    lines: BTreeMap<String, Line>,
    failures: u32,
    /// The receivers that did not accept the last message.
    refused: BTreeSet<String>,
    not_before: Mono,
    next_repeat: Option<Mono>,
    random: StdRng,
}

impl<C: Clock> ChannelWorker<C> {
    /// Makes a worker with the notes that the outbox has for the channel.
    pub(super) fn new(
        name: &str,
        shared: Arc<Shared<C>>,
        channel: Arc<dyn Channel>,
        inbox: mpsc::UnboundedReceiver<Note>,
        kept: &Kept,
        seed: u64,
    ) -> Self {
        let now = shared.clock.now().mono;
        let mut lines: BTreeMap<String, Line> = BTreeMap::new();
        for note in kept.notes.iter().filter(|note| note.note.channels.iter().any(|channel| channel == name))
        {
            let delivery = kept.deliveries.get(&(name.to_owned(), note.note.project.clone()));
            let through = delivery.map_or(0, |delivery| delivery.through);
            if note.number > through {
                let line = lines.entry(note.note.project.clone()).or_default();
                line.sending =
                    delivery.and_then(|delivery| delivery.sending).filter(|sending| *sending > through);
                line.ready = now.after(GATHER);
                line.notes.push_back(note.clone());
            }
        }
        let next_repeat = channel.repeats().map(|_| now);
        let routes = shared.post.watch();
        let channel_worker = Self {
            name: name.to_owned(),
            shared,
            channel,
            inbox,
            routes,
            lines,
            failures: 0,
            refused: BTreeSet::new(),
            not_before: now,
            next_repeat,
            random: StdRng::seed_from_u64(seed),
        };
        channel_worker.count(|_| {});
        channel_worker
    }

    /// Sends messages until it is to stop.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<Stop>) {
        loop {
            let mode = *stop.borrow_and_update();
            let finishing = mode == Stop::Finish;
            if mode == Stop::Now {
                return;
            }
            while let Ok(note) = self.inbox.try_recv() {
                self.take(note);
            }
            let next = self.next(finishing);
            if finishing && (next.is_none() || self.failures > 0) {
                return;
            }
            let now = self.shared.clock.now().mono;
            let repeat = self.next_repeat;
            let wait =
                next.as_ref().map(|(at, _)| *at).into_iter().chain(repeat).min().map(|at| at.since(now));
            if wait.is_none_or(|wait| !wait.is_zero()) {
                let clock = Arc::clone(&self.shared.clock);
                tokio::select! {
                    note = self.inbox.recv() => match note {
                        Some(note) => self.take(note),
                        None => {
                            // The outbox writer has ended: only a stop can follow.
                            if stop.changed().await.is_err() {
                                return;
                            }
                        }
                    },
                    changed = stop.changed() => if changed.is_err() { return },
                    changed = self.routes.changed() => match changed {
                        Ok(()) => if !self.reload() { return },
                        Err(_) => return,
                    },
                    () = clock.sleep(wait.unwrap_or_default()), if wait.is_some() => {}
                }
                continue;
            }
            if repeat.is_some_and(|at| at <= now) && next.as_ref().is_none_or(|(at, _)| *at > now) {
                self.repeat(&mut stop).await;
                continue;
            }
            if let Some((_, project)) = next {
                self.carry(&project, &mut stop).await;
            }
        }
    }

    /// Takes the channel of a new configuration. Returns `false` if the channel is removed.
    fn reload(&mut self) -> bool {
        let routes = Arc::clone(&self.routes.borrow_and_update());
        let Some(channel) = routes.channels.get(&self.name) else { return false };
        self.channel = Arc::clone(channel);
        self.next_repeat = self.channel.repeats().map(|_| self.shared.clock.now().mono);
        // The new configuration may have removed the cause of the failure.
        self.not_before = self.shared.clock.now().mono;
        true
    }

    fn take(&mut self, note: Note) {
        let ready = self.shared.clock.now().mono.after(GATHER);
        let line = self.lines.entry(note.note.project.clone()).or_default();
        if line.is_empty() {
            line.ready = ready;
        }
        line.notes.push_back(note);
        if line.notes.len() as u64 > MOST_NOTES
            && let Some(oldest) = line.notes.pop_front()
        {
            line.more_through = oldest.number;
            if let Some(kind) = Kind::of_word(&oldest.note.kind) {
                *line.more.entry(kind).or_default() += 1;
            }
        }
        self.count(|_| {});
    }

    /// Returns the next project whose message is due, and when.
    fn next(&self, finishing: bool) -> Option<(Mono, String)> {
        let at = |line: &Line| {
            if finishing {
                return self.not_before;
            }
            let pace = line.last_taken.map(|last| last.after(BETWEEN));
            pace.into_iter().chain([line.ready, self.not_before]).max().unwrap_or(line.ready)
        };
        let lines = self.lines.iter().filter(|(_, line)| !line.is_empty());
        lines.map(|(project, line)| (at(line), project.clone())).min()
    }

    async fn carry(&mut self, project: &str, stop: &mut watch::Receiver<Stop>) {
        let Some(line) = self.lines.get_mut(project) else { return };
        let last = line.notes.iter().map(|note| note.number).max().unwrap_or(line.more_through);
        let through = line.sending.unwrap_or(last);
        let is_new = line.sending.is_none();
        line.sending = Some(through);
        if is_new {
            let write =
                OutboxWrite::Sending { channel: self.name.clone(), project: project.to_owned(), through };
            // Notes without a number are not in the outbox.
            if through > 0
                && let Err(error) = self.shared.outbox.write(vec![write]).await
            {
                warn!(
                    channel = self.name,
                    "the outbox cannot be written; the message is sent all the same: {}",
                    chain(&error)
                );
            }
        }
        let Some(message) = self.compose(project, through).await else {
            self.delivered(project, through, None).await;
            return;
        };
        let total = message.total();
        let channel = Arc::clone(&self.channel);
        let clock = Arc::clone(&self.shared.clock);
        let sent = tokio::select! {
            sent = channel.send(&message) => sent,
            () = clock.sleep(PATIENCE) => {
                Err(SendError::passing(format!("no response within {}", span(PATIENCE))))
            }
            () = stopped(stop, &*clock) => return,
        };
        match sent {
            Ok(taken) => {
                self.tell_of_refused(&taken);
                self.delivered(project, through, Some(total)).await;
            }
            Err(error) => {
                if let Some(line) = self.lines.get_mut(project).filter(|_| error.refused) {
                    line.refusals += 1;
                }
                self.failed(&error);
            }
        }
    }

    /// Drops the notes up to this one. `sent`: how many of them the message had, if there was one.
    async fn delivered(&mut self, project: &str, through: u64, sent: Option<u64>) {
        let now = self.shared.clock.now().mono;
        if let Some(line) = self.lines.get_mut(project) {
            line.notes.retain(|note| note.number > through);
            if line.more_through <= through {
                line.more.clear();
            }
            line.sending = None;
            line.refusals = 0;
            line.ready = now;
            line.last_taken = sent.map(|_| now).or(line.last_taken);
        }
        if let Some(total) = sent {
            if self.failures > 0 {
                info!(channel = self.name, "channel {} accepts messages again", self.name);
            }
            self.failures = 0;
            self.count(|counts| {
                counts.sent += 1;
                counts.notices += total;
                counts.failing_since = None;
                counts.last_error = None;
            });
        }
        let write =
            OutboxWrite::Delivered { channel: self.name.clone(), project: project.to_owned(), through };
        if through > 0
            && let Err(error) = self.shared.outbox.write(vec![write]).await
        {
            warn!(
                channel = self.name,
                "a message was sent, but this cannot be recorded in the outbox, so a restart sends it again: {}",
                chain(&error)
            );
        }
    }

    fn failed(&mut self, error: &SendError) {
        let now = self.shared.clock.now();
        let detail = shown(&error.detail, 300);
        self.failures = self.failures.saturating_add(1);
        let doublings = self.failures.saturating_sub(1).min(16);
        let wait = (FIRST_WAIT * 2_u32.saturating_pow(doublings)).min(LONGEST_WAIT);
        let wait = wait.mul_f64(self.random.random_range(0.8..=1.2)).min(LONGEST_WAIT);
        let wait = wait.max(error.retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER));
        self.not_before = now.mono.after(wait);
        // A repetition, too, has to wait as long as the receiver asks.
        if error.retry_after.is_some() {
            self.next_repeat = self.next_repeat.map(|at| at.max(self.not_before));
        }
        let mut changed = false;
        self.count(|counts| {
            counts.failed += 1;
            counts.failing_since.get_or_insert(now.wall);
            changed = counts.last_error.as_ref() != Some(&detail);
            counts.last_error = Some(detail.clone());
        });
        // Logged on a change, not on a repetition.
        if changed {
            warn!(
                channel = self.name,
                "channel {} did not accept a message: {detail}; the daemon keeps the message and sends it again in {}",
                self.name,
                span(Duration::from_secs(wait.as_secs()))
            );
        }
    }

    /// Logs the receivers that did not accept the message: each once while that lasts.
    fn tell_of_refused(&mut self, taken: &Taken) {
        for (who, why) in taken.refused.iter().filter(|(who, _)| !self.refused.contains(*who)) {
            warn!(
                channel = self.name,
                "channel {}: a message was accepted, but not for {}: {}; the other receivers get every message; check the address",
                self.name,
                shown(who, 100),
                shown(why, 300)
            );
        }
        self.refused = taken.refused.keys().cloned().collect();
    }

    /// Sends again what lasts.
    async fn repeat(&mut self, stop: &mut watch::Receiver<Stop>) {
        let now = self.shared.clock.now();
        self.next_repeat = self.channel.repeats().map(|every| now.mono.after(every));
        let (channel, clock) = (Arc::clone(&self.channel), Arc::clone(&self.shared.clock));
        for subject in channel.lasting() {
            if let Some(outlook) = self.shared.post.outlook(&subject) {
                channel.comes_next(&subject, &outlook.next_with_blocks());
            }
            // There may be many, and each locks the state of its project.
            tokio::task::yield_now().await;
        }
        let Some(sending) = channel.repeat(now.wall) else { return };
        let sent = tokio::select! {
            sent = sending => sent,
            () = clock.sleep(PATIENCE) => Err(SendError::passing(format!("no response within {}", span(PATIENCE)))),
            () = stopped(stop, &*clock) => return,
        };
        match sent {
            Ok(_) if self.failures > 0 => {
                // The receiver accepts messages again: what waits is sent at once.
                self.not_before = now.mono;
            }
            Ok(_) => {}
            Err(error) => self.failed(&error),
        }
    }

    /// Returns the message of all notes up to this one.
    async fn compose(&self, project: &str, through: u64) -> Option<Message> {
        let line = self.lines.get(project)?;
        let notes: Vec<&Note> = line.notes.iter().filter(|note| note.number <= through).collect();
        let mut counts = if line.more_through <= through { line.more.clone() } else { BTreeMap::new() };
        for kind in notes.iter().filter_map(|note| Kind::of_word(&note.note.kind)) {
            *counts.entry(kind).or_default() += 1;
        }
        let mut counts: Vec<(Kind, u64)> = counts.into_iter().collect();
        counts.sort_by_key(|(kind, count)| (std::cmp::Reverse((kind.severity(), *count)), *kind));
        // The most important, and the newest of those.
        let mut chosen: Vec<&Note> =
            notes.iter().copied().filter(|note| Kind::of_word(&note.note.kind).is_some()).collect();
        chosen.sort_by_key(|note| {
            std::cmp::Reverse((Kind::of_word(&note.note.kind).map(Kind::rank), note.number))
        });
        chosen.truncate(self.channel.details());
        chosen.sort_by_key(|note| note.number);
        let routes = self.shared.post.routes();
        let mut notices = Vec::new();
        for note in chosen {
            notices.extend(self.notice(note, routes.page.as_deref()).await);
        }
        let at = notes.iter().map(|note| note.note.at).max()?;
        let id = self.id(project, through, at);
        let short = line.refusals >= REFUSALS;
        (!counts.is_empty()).then(|| Message { id, at, project: project.to_owned(), notices, counts, short })
    }

    /// Makes the notice of a note.
    async fn notice(&self, note: &Note, page: Option<&str>) -> Option<Notice> {
        let Some((entry, subject)) = &note.note.entry else {
            return serde_json::from_str::<Data>(&note.note.data).ok()?.notice;
        };
        let kind = Kind::of_word(&note.note.kind)?;
        let outlook = self.shared.post.outlook(subject);
        let lifecycle = self.shared.outbox.lifecycle(subject.clone(), u64::MAX >> 1).await.ok()?;
        match kind {
            Kind::Reminder => notice::reminder(subject, &lifecycle, outlook, note.note.at, page),
            _ => notice::of_entry(kind, *entry, &lifecycle, outlook, page),
        }
    }

    /// The same for the same message, also after a restart.
    fn id(&self, project: &str, through: u64, at: jiff::Timestamp) -> String {
        let mut hash = Sha256::new();
        for part in [self.shared.journal_id.as_str(), &self.name, project, &through.to_string()] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        if through == 0 {
            hash.update(at.to_string().as_bytes());
        }
        let mut id = hex::encode(hash.finalize());
        id.truncate(32);
        id
    }

    fn count(&self, change: impl FnOnce(&mut ChannelCounts)) {
        let mut all = self.shared.post.lock_counts();
        let counts = all.entry(self.name.clone()).or_default();
        counts.name.clone_from(&self.name);
        self.channel.kind().clone_into(&mut counts.kind);
        change(counts);
        let more: u64 = self.lines.values().flat_map(|line| line.more.values()).sum();
        counts.waiting = more + self.lines.values().map(|line| line.notes.len() as u64).sum::<u64>();
        counts.oldest_waiting =
            self.lines.values().filter_map(|line| line.notes.front()).map(|note| note.note.at).min();
    }
}

impl<C> Drop for ChannelWorker<C> {
    fn drop(&mut self) {
        let gone = !self.shared.post.routes().channels.contains_key(&self.name);
        if gone {
            self.shared.post.lock_counts().remove(&self.name);
        }
    }
}

/// Returns a short time after the order to stop at once.
async fn stopped(stop: &mut watch::Receiver<Stop>, clock: &impl Clock) {
    // The sender of the order may have ended; then there is nothing to wait for.
    let _ = stop.wait_for(|stop| *stop == Stop::Now).await;
    clock.sleep(STOP_GRACE).await;
}
