//! Puts the outbox writer and the channel workers together, and follows the configuration.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tracing::warn;

use super::channel_worker::{ChannelWorker, Shared, Stop};
use super::notice::{self, Notice};
use super::outbox_writer::OutboxWriter;
use super::queue::NotifyQueue;
use super::route::Routes;
use crate::clock::Clock;
use crate::journal::Journal;
use crate::model::event::{Event, Subject};
use crate::model::id::ProjectName;
use crate::model::outbox::{Kept, Note, OutboxWrite};
use crate::model::record::TaskRecord;
use crate::model::text::chain;

/// The outbox is read again this long after it could not be read.
const AFTER_FAULT: Duration = Duration::from_secs(5);
/// How long a stop takes at most.
const STOP_PATIENCE: Duration = Duration::from_millis(2_500);
/// This number of unfinished tasks at the start is reported to channels that show what lasts.
const STANDING: usize = 500;

/// The state when a process begins, by the journal.
#[derive(Debug, Default)]
pub struct Start {
    /// Which journal it is.
    pub journal_id: String,
    /// The number of the last entry of each project, before this process writes any.
    pub last: BTreeMap<ProjectName, u64>,
    /// When a new journal was begun in the place of one that is gone.
    pub lost_journal: Option<String>,
    /// The unfinished tasks with a failure.
    pub open: Vec<(Subject, TaskRecord)>,
    /// For the jitter of the waits.
    pub seed: u64,
}

/// Sends notifications, in tasks of its own.
#[derive(Debug)]
pub struct Notifier {
    stop: watch::Sender<Stop>,
    stop_couriers: watch::Sender<Stop>,
    tasks: JoinSet<()>,
}

impl Notifier {
    /// Starts the notifier. The caller waits for it before it journals anything, so that nothing is
    /// missed.
    pub async fn start<C: Clock>(
        post: &NotifyQueue,
        outbox: impl Into<Journal>,
        clock: &Arc<C>,
        start: Start,
    ) -> Self {
        let outbox = outbox.into();
        let (stop, stopping) = watch::channel(Stop::No);
        let shared = Arc::new(Shared {
            post: post.clone(),
            outbox: outbox.clone(),
            clock: Arc::clone(clock),
            journal_id: start.journal_id.clone(),
        });
        let mut tasks = JoinSet::new();
        let (stop_couriers, _) = watch::channel(Stop::No);
        let (inboxes, hush) = (BTreeMap::new(), stop_couriers.clone());
        let channel_workers = JoinSet::new();
        let routes = post.watch();
        let mut dispatcher =
            Dispatcher { shared, outbox, routes, stopping, stop_couriers, inboxes, channel_workers, start };
        let kept = dispatcher.outbox.kept().await;
        let mut kept = kept.unwrap_or_else(|error| {
            warn!(
                "the outbox cannot be read, so the notifications in it are not sent yet: {}",
                chain(&error)
            );
            Kept::default()
        });
        let now_routes = Arc::clone(&dispatcher.routes.borrow_and_update());
        // Where nobody was ever to be notified, what is journaled is history.
        if kept.read.is_empty() && kept.channels.is_empty() {
            kept.read = dispatcher.start.last.clone();
        }
        for project in dispatcher.start.last.keys() {
            kept.read.entry(project.clone()).or_default();
        }
        let read = kept.read.clone();
        dispatcher.join(&now_routes, &mut kept, &read).await;
        tasks.spawn(dispatcher.run(kept));
        Self { stop, stop_couriers: hush, tasks }
    }

    /// Ends if a part of it panicked.
    pub async fn broken(&mut self) -> Result<(), JoinError> {
        match self.tasks.join_next().await {
            Some(ended) => ended,
            None => std::future::pending().await,
        }
    }

    /// Sends nothing more, and continues to write the outbox: the daemon is stopping.
    pub fn hush(&self) {
        self.stop_couriers.send_replace(Stop::Now);
    }

    /// Writes the remaining notifications into the outbox, and stops. They are sent after the next
    /// start.
    ///
    /// # Errors
    /// Where a part of it panicked.
    pub async fn stop(mut self, clock: &impl Clock) -> Result<(), JoinError> {
        self.stop.send_replace(Stop::Now);
        tokio::select! {
            ended = self.tasks.join_next() => ended.unwrap_or(Ok(())),
            // A message that hangs, or a journal that somebody has locked.
            () = clock.sleep(STOP_PATIENCE) => Ok(()),
        }
    }

    /// Tries once to send all that waits, for at most this time, and stops.
    ///
    /// # Errors
    /// Where a part of it panicked.
    pub async fn finish(mut self, clock: &impl Clock, patience: Duration) -> Result<(), JoinError> {
        self.stop.send_replace(Stop::Finish);
        tokio::select! {
            ended = self.tasks.join_next() => ended.unwrap_or(Ok(())),
            () = clock.sleep(patience) => self.stop(clock).await,
        }
    }
}

/// Runs the outbox writer, and a channel worker for each channel.
struct Dispatcher<C> {
    shared: Arc<Shared<C>>,
    outbox: Journal,
    routes: watch::Receiver<Arc<Routes>>,
    stopping: watch::Receiver<Stop>,
    /// The channel workers stop after everything was handed out to them.
    stop_couriers: watch::Sender<Stop>,
    inboxes: BTreeMap<String, mpsc::UnboundedSender<Note>>,
    channel_workers: JoinSet<()>,
    start: Start,
}

impl<C: Clock> Dispatcher<C> {
    async fn run(mut self, kept: Kept) {
        let clock = Arc::clone(&self.shared.clock);
        let now_routes = Arc::clone(&self.routes.borrow());
        let (post, outbox) = (self.shared.post.clone(), self.outbox.clone());
        let mut outbox_writer = OutboxWriter::new(post, outbox, Arc::clone(&clock), &kept);
        self.begin(&mut outbox_writer, &now_routes).await;
        self.follow(&now_routes, &kept);
        if let Some(journal) = self.start.lost_journal.take() {
            let notes = outbox_writer.lost_journal(&journal).await;
            self.hand_out(&notes);
        }
        loop {
            let (notes, again) = outbox_writer.work().await;
            self.hand_out(&notes);
            let mut stopping = self.stopping.clone();
            if *stopping.borrow_and_update() != Stop::No {
                break;
            }
            tokio::select! {
                () = self.shared.post.woken() => {}
                () = clock.sleep(again.unwrap_or_default()), if again.is_some() => {}
                changed = stopping.changed() => if changed.is_err() { break },
                changed = self.routes.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    let now_routes = Arc::clone(&self.routes.borrow_and_update());
                    if let Some(mut kept) = self.kept().await {
                        self.join(&now_routes, &mut kept, outbox_writer.read()).await;
                        self.follow(&now_routes, &kept);
                    }
                }
                Some(ended) = self.channel_workers.join_next() => pass_on(ended),
            }
        }
        // Notifications from the time of the stop.
        let (notes, _) = outbox_writer.work().await;
        self.hand_out(&notes);
        let mut stopping = self.stopping.clone();
        loop {
            let mode = *stopping.borrow_and_update();
            self.stop_couriers.send_if_modified(|stop| {
                let changes = *stop != Stop::Now && *stop != mode;
                if changes {
                    *stop = mode;
                }
                changes
            });
            tokio::select! {
                ended = self.channel_workers.join_next() => match ended {
                    Some(ended) => pass_on(ended),
                    None => return,
                },
                // The sender of the order may have ended: then stop.
                changed = stopping.changed() => if changed.is_err() {
                    self.stop_couriers.send_replace(Stop::Now);
                    while let Some(ended) = self.channel_workers.join_next().await {
                        pass_on(ended);
                    }
                    return;
                },
            }
        }
    }

    /// Reads the outbox. Returns `None` if the notifier is to stop first.
    async fn kept(&self) -> Option<Kept> {
        loop {
            match self.outbox.kept().await {
                Ok(kept) => return Some(kept),
                Err(error) => {
                    warn!("the outbox cannot be read, so no notification is sent: {}", chain(&error));
                }
            }
            let mut stopping = self.stopping.clone();
            let now = stopping.wait_for(|stop| *stop != Stop::No);
            tokio::select! {
                () = self.shared.clock.sleep(AFTER_FAULT) => {}
                _ = now => return None,
            }
        }
    }

    /// Writes into the outbox which channels there are.
    async fn join(&self, routes: &Routes, kept: &mut Kept, read: &BTreeMap<ProjectName, u64>) {
        let mut writes: Vec<OutboxWrite> = Vec::new();
        for channel in kept.channels.iter().filter(|name| !routes.channels.contains_key(*name)) {
            writes.push(OutboxWrite::Leave { channel: channel.clone() });
        }
        for channel in routes.channels.keys().filter(|name| !kept.channels.contains(*name)) {
            writes.push(OutboxWrite::Join { channel: channel.clone() });
        }
        if writes.is_empty() {
            return;
        }
        // Entries from before the first channel was configured are not reported.
        let reading = |(project, through): (&ProjectName, &u64)| OutboxWrite::Read {
            project: project.clone(),
            through: *through,
        };
        writes.extend(read.iter().map(reading));
        match self.outbox.write(writes).await {
            Ok(_) => {
                if let Ok(now) = self.outbox.kept().await {
                    *kept = now;
                }
            }
            Err(error) => {
                warn!("the list of channels cannot be written to the daemon's journal: {}", chain(&error));
            }
        }
    }

    /// Reports the present state to the outbox writer, and to channels that show what lasts.
    async fn begin(&mut self, outbox_writer: &mut OutboxWriter<C>, routes: &Routes) {
        let mut standing: BTreeMap<String, Vec<Notice>> = BTreeMap::new();
        let mut add = |channels: Vec<String>, notice: &Notice| {
            for channel in channels {
                standing.entry(channel).or_default().push(notice.clone());
            }
        };
        let wants_to_know = routes.channels.values().any(|channel| channel.repeats().is_some());
        let mut open = std::mem::take(&mut self.start.open);
        // Those that need an operator first.
        open.sort_by_key(|(_, known)| known.escalated.is_none());
        let mut reported = 0;
        for (subject, known) in open {
            let wanted = wants_to_know && reported < STANDING;
            if !wanted && !notice::waits_for_human(&known) {
                continue;
            }
            let outlook = self.shared.post.outlook(&subject);
            let Ok(lifecycle) = self.outbox.lifecycle(subject.clone(), u64::MAX >> 1).await else { continue };
            let escalation = lifecycle.iter().rfind(|entry| matches!(entry.event, Event::Escalated { .. }));
            if let Some(escalation) = escalation.filter(|_| notice::waits_for_human(&known)) {
                outbox_writer.waits(&subject, escalation.number, escalation.at);
            }
            let Some(kind) = notice::standing(&known).filter(|_| wanted) else { continue };
            let last = lifecycle.iter().rfind(|entry| match kind {
                super::kind::Kind::Reminder => matches!(entry.event, Event::Escalated { .. }),
                super::kind::Kind::Exhausted => matches!(entry.event, Event::Decided { .. }),
                _ => matches!(entry.event, Event::Failed(_)),
            });
            let page = routes.page.as_deref();
            let notice =
                last.and_then(|entry| notice::of_entry(kind, entry.number, &lifecycle, outlook, page));
            if let Some(notice) = notice {
                let policy = known.failure.as_ref().and_then(|failure| failure.seen.terms.as_ref());
                add(routes.of(policy.map(|terms| terms.policy.as_str())), &notice);
                reported += 1;
            }
        }
        for notice in outbox_writer.lasting() {
            add(routes.of(None), &notice);
        }
        for (channel, notices) in standing {
            if let Some(channel) = routes.channels.get(&channel) {
                channel.stands(notices);
            }
        }
    }

    /// Makes a channel worker for each channel.
    fn follow(&mut self, routes: &Routes, kept: &Kept) {
        self.inboxes.retain(|name, _| routes.channels.contains_key(name));
        for (place, (name, channel)) in (0_u64..).zip(&routes.channels) {
            if self.inboxes.contains_key(name) {
                continue;
            }
            let (inbox, notes) = mpsc::unbounded_channel();
            self.inboxes.insert(name.clone(), inbox);
            let seed = self.start.seed.wrapping_add(place);
            let channel_worker =
                ChannelWorker::new(name, Arc::clone(&self.shared), Arc::clone(channel), notes, kept, seed);
            self.channel_workers.spawn(channel_worker.run(self.stop_couriers.subscribe()));
        }
    }

    fn hand_out(&self, notes: &[Note]) {
        for note in notes {
            for inbox in note.note.channels.iter().filter_map(|name| self.inboxes.get(name)) {
                // A removed channel needs no change.
                let _ = inbox.send(note.clone());
            }
        }
    }
}

/// A panic of a channel worker is one of the notifier, and its owner is notified.
fn pass_on(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}
