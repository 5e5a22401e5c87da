//! Turns what is journaled, and news that stand in no entry, into notes for the channels.
//!
//! What is to be told and how far the journal is read are kept in one transaction. The outbox shares the journal's
//! file. If the file cannot be written, the only notification is that fact; it is sent from memory.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tracing::warn;

use super::kind::Kind;
use super::notice::{self, Notice, Todo};
use super::queue::{NotifyQueue, Transient};
use crate::clock::Clock;
use crate::journal::{Journal, JournalError};
use crate::model::command::command;
use crate::model::event::{Event, StoredEntry, Subject};
use crate::model::id::ProjectName;
use crate::model::names::Naming;
use crate::model::outbox::{Kept, NewNote, Note, OutboxWrite};
use crate::model::text::{chain, shown};

mod conditions;
mod reminders;

use reminders::Waiting;

/// So many entries are read at once.
const AT_ONCE: u32 = 256;
/// So many notes are kept at most.
pub(super) const MOST_NOTES: u64 = 20_000;
/// What is told at most once is remembered for so long.
const KEYS_FOR: SignedDuration = SignedDuration::from_hours(400 * 24);
/// The outbox is tried again so long after it could not be written.
const AFTER_FAULT: Duration = Duration::from_secs(5);

/// What a note bears that no entry tells.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Data {
    /// The whole notice, where it is of no entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) notice: Option<Notice>,
}

/// The one who writes notes.
pub(super) struct OutboxWriter<C> {
    post: NotifyQueue,
    outbox: Journal,
    clock: Arc<C>,
    /// Up to which number the entries of each project are turned into notes.
    read: BTreeMap<ProjectName, u64>,
    /// The same as it stands in the outbox.
    read_kept: BTreeMap<ProjectName, u64>,
    /// The projects with entries that may not be notes yet.
    unread: BTreeSet<ProjectName>,
    waiting: BTreeMap<String, Waiting>,
    /// Reminders of conditions that were written by this process.
    reminded: BTreeSet<String>,
    /// States that could not be kept yet.
    unkept: VecDeque<OutboxWrite>,
    notes_since_trim: u64,
}

impl<C: Clock> OutboxWriter<C> {
    pub(super) fn new(post: NotifyQueue, outbox: Journal, clock: Arc<C>, kept: &Kept) -> Self {
        Self {
            post,
            outbox,
            clock,
            read: kept.read.clone(),
            read_kept: kept.read.clone(),
            unread: kept.read.keys().cloned().collect(),
            waiting: BTreeMap::new(),
            reminded: BTreeSet::new(),
            unkept: VecDeque::new(),
            notes_since_trim: 0,
        }
    }

    /// Up to which entry of each project it has come.
    pub(super) fn read(&self) -> &BTreeMap<ProjectName, u64> {
        &self.read
    }

    /// Says that there is a new journal in the place of one that is gone.
    pub(super) async fn lost_journal(&mut self, journal: &str) -> Vec<Note> {
        let at = self.clock.now().wall;
        let what = format!(
            "the journal is gone, and a new one was created at {}: requests sent before now are unknown, so earlier runs of a task count against \
             its retry limit",
            shown(journal, 200)
        );
        let mut notice = notice::of_project(Kind::NewJournal, at, "", what, None);
        "the daemon watches every task as if it had not seen it before, by its policies"
            .clone_into(&mut notice.next);
        notice.todo = vec![
            Todo {
                purpose: "if the old journal was lost or moved: stop the daemon and put it back".to_owned(),
                command: "systemctl stop upgrade-remediator".to_owned(),
            },
            Todo {
                purpose: "to send no request until you have checked the failed tasks".to_owned(),
                command: command("hold all --reason \"…\""),
            },
        ];
        let note = self.of_news(notice, None);
        self.keep(vec![OutboxWrite::Note(note)]).await
    }

    /// Everything that is new becomes notes. Returns those, and when to come again at the latest.
    pub(super) async fn work(&mut self) -> (Vec<Note>, Option<Duration>) {
        let mut notes = Vec::new();
        let mut again = None;
        let names_stay = self.post.pause_notes().await;
        let transients = self.post.transients();
        for transient in &transients {
            if let Transient::Renamed(naming) = transient {
                self.rename(naming);
            }
        }
        if !transients.is_empty() {
            // The journal may work again, and have kept what it said it could not.
            self.unread.extend(self.read.keys().cloned());
        }
        self.unread.extend(self.post.unread());
        match self.entries(&mut notes).await {
            Ok(()) => {}
            Err(error) => {
                warn!(
                    "new entries of the daemon's journal cannot be read, so they are not notified yet: {}",
                    chain(&error)
                );
                again = Some(AFTER_FAULT);
            }
        }
        drop(names_stay);
        for transient in transients {
            notes.extend(self.transient(transient).await);
        }
        notes.extend(self.reminders().await);
        if !self.unkept.is_empty() {
            again = Some(AFTER_FAULT);
        }
        let due = self.next_reminder(self.clock.now().wall);
        (notes, again.into_iter().chain(due).min())
    }

    async fn entries(&mut self, notes: &mut Vec<Note>) -> Result<(), JournalError> {
        // They are read again once the journal can be written.
        while !self.journal_fails()
            && let Some(project) = self.unread.first().cloned()
        {
            let read = self.read.get(&project).copied().unwrap_or_default();
            let entries = self.outbox.entries_after(project.clone(), read, AT_ONCE).await?;
            let Some(last) = entries.last().map(|entry| entry.number) else {
                self.unread.remove(&project);
                continue;
            };
            let mut writes = Vec::new();
            for entry in &entries {
                self.entry(entry, &mut writes).await?;
            }
            // What tells nothing may be read again after a restart: that costs less than to write it down each time.
            let read_kept = self.read_kept.entry(project.clone()).or_default();
            let overdue = last.saturating_sub(*read_kept) >= u64::from(AT_ONCE);
            let anybody = !self.post.routes().channels.is_empty();
            if !writes.is_empty() || (overdue && anybody) {
                writes.push(OutboxWrite::Read { project: project.clone(), through: last });
                notes.extend(self.outbox.write(writes).await?);
                *read_kept = last;
            }
            self.read.insert(project, last);
        }
        self.trim(notes.len() as u64).await;
        Ok(())
    }

    /// Projects have other names.
    fn rename(&mut self, naming: &Naming) {
        self.rename_waiting(naming);
        for read in [&mut self.read, &mut self.read_kept] {
            let renamed = |(name, through)| (naming.renamed(&name).clone(), through);
            *read = std::mem::take(read).into_iter().map(renamed).collect();
        }
    }

    async fn trim(&mut self, added: u64) {
        self.notes_since_trim += added;
        if self.notes_since_trim < MOST_NOTES / 20 {
            return;
        }
        let now = self.clock.now().wall;
        let keys_since = now.checked_sub(KEYS_FOR).unwrap_or(Timestamp::MIN);
        if self.outbox.write(vec![OutboxWrite::Trim { notes: MOST_NOTES, keys_since }]).await.is_ok() {
            self.notes_since_trim = 0;
        }
    }

    /// What one entry tells.
    async fn entry(
        &mut self,
        entry: &StoredEntry,
        writes: &mut Vec<OutboxWrite>,
    ) -> Result<(), JournalError> {
        let subject = &entry.subject;
        let project = subject.project.to_string();
        let lifecycle = if Kind::needs_history(&entry.event) {
            self.outbox.lifecycle(subject.clone(), entry.number).await?
        } else {
            Vec::new()
        };
        let known = notice::fold(&lifecycle);
        match &entry.event {
            Event::Escalated { .. } => self.waits(subject, entry.number, entry.at),
            Event::Reset { .. } | Event::Ended(_) => drop(self.waiting.remove(&key_of(subject))),
            _ => {}
        }
        let Some(kind) = Kind::of(&entry.event, known.as_ref()) else { return Ok(()) };
        let policy = match &entry.event {
            Event::Failed(seen) => seen.terms.as_ref().map(|terms| terms.policy.clone()),
            // Its task need not have failed.
            Event::RunningTooLong { policy, .. } => Some(policy.clone()),
            _ => known
                .as_ref()
                .and_then(|known| known.failure.as_ref())
                .and_then(|failure| failure.seen.terms.as_ref())
                .map(|terms| terms.policy.clone()),
        };
        let channels = self.post.routes().of(policy.as_deref());
        let failure = known.as_ref().and_then(|known| known.failure.as_ref()).map_or(0, |f| f.seen.number);
        // In dry-run it is told once for each failure, whatever held it back in between.
        let key = matches!(kind, Kind::WouldRetry | Kind::WouldAbort)
            .then(|| format!("{}/{}/{failure}", kind.word(), key_of(subject)));
        if !channels.is_empty() {
            writes.push(OutboxWrite::Note(NewNote {
                at: entry.at,
                project,
                kind: kind.word().to_owned(),
                entry: Some((entry.number, subject.clone())),
                key,
                channels,
                data: "{}".to_owned(),
            }));
        }
        Ok(())
    }

    /// A note of a notice that no entry tells, where anybody is to hear of it.
    fn note(&self, told: Notice, key: Option<String>) -> Option<OutboxWrite> {
        let note = self.of_news(told, key);
        (!note.channels.is_empty()).then_some(OutboxWrite::Note(note))
    }

    fn of_news(&self, told: Notice, key: Option<String>) -> NewNote {
        NewNote {
            at: told.at,
            project: told.project.clone(),
            kind: told.kind.word().to_owned(),
            entry: None,
            key,
            channels: self.post.routes().of(None),
            data: serde_json::to_string(&Data { notice: Some(told) }).unwrap_or_default(),
        }
    }

    /// Keeps it. Where that fails, states are kept later, and notes go out from memory, without a number.
    async fn keep(&mut self, mut writes: Vec<OutboxWrite>) -> Vec<Note> {
        let earlier: Vec<OutboxWrite> = self.unkept.drain(..).collect();
        if writes.is_empty() && earlier.is_empty() {
            return Vec::new();
        }
        let first = earlier.len();
        writes.splice(0..0, earlier);
        // While it is known that nothing can be written, nobody waits for that once more.
        let written = if self.journal_fails() {
            Err(None)
        } else {
            self.outbox.write(writes.clone()).await.map_err(Some)
        };
        match written {
            Ok(notes) => notes,
            Err(error) => {
                if let Some(error) = error {
                    warn!(
                        "notifications cannot be written to the outbox, so they are sent from memory: {}",
                        chain(&error)
                    );
                }
                let mut notes = Vec::new();
                for (place, write) in writes.into_iter().enumerate() {
                    match write {
                        OutboxWrite::Note(note) if place >= first => notes.push(Note { number: 0, note }),
                        OutboxWrite::Note(_) => {}
                        state => self.unkept.push_back(state),
                    }
                }
                notes
            }
        }
    }
}

fn key_of(subject: &Subject) -> String {
    format!("{}/{}/{}", subject.project, subject.cluster, subject.task)
}
