//! The outbox of a journal in memory.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::MemoryJournal;
use crate::journal::JournalError;
use crate::model::event::{Entry, StoredEntry, Subject};
use crate::model::outbox::{Delivery, Kept, Note, Outbox, OutboxWrite};

/// What waits to be told, in memory.
#[derive(Debug, Default)]
pub(in crate::journal) struct OutboxInMemory {
    kept: Kept,
    last_note: u64,
    keys: BTreeMap<String, Timestamp>,
}

impl OutboxInMemory {
    /// Whether a channel still waits for this note.
    fn waits(kept: &Kept, note: &Note) -> bool {
        note.note.channels.iter().any(|channel| {
            let through = |since: &u64| {
                let delivery = kept.deliveries.get(&(channel.clone(), note.note.project.clone()));
                (*since).max(delivery.map_or(0, |delivery| delivery.through))
            };
            kept.channels.get(channel).is_some_and(|since| note.number > through(since))
        })
    }

    fn let_go(&mut self) {
        let kept = self.kept.clone();
        self.kept.notes.retain(|note| Self::waits(&kept, note));
    }

    fn one(&mut self, write: OutboxWrite) -> Option<Note> {
        let kept = &mut self.kept;
        match write {
            OutboxWrite::Note(note) => {
                if let Some(key) = &note.key
                    && self.keys.insert(key.clone(), note.at).is_some()
                {
                    return None;
                }
                self.last_note += 1;
                let note = Note { number: self.last_note, note };
                kept.notes.push(note.clone());
                return Some(note);
            }
            OutboxWrite::Read { through } => kept.read_through = Some(through),
            OutboxWrite::Condition { project, word, now: Some(condition) } => {
                kept.conditions.insert((project, word), condition);
            }
            OutboxWrite::Condition { project, word, now: None } => {
                kept.conditions.remove(&(project, word));
            }
            OutboxWrite::Sending { channel, project, through } => {
                kept.deliveries.entry((channel, project)).or_default().sending = Some(through);
            }
            OutboxWrite::Delivered { channel, project, through } => {
                kept.deliveries.insert((channel, project), Delivery { through, sending: None });
                self.let_go();
            }
            OutboxWrite::Join { channel } => {
                kept.channels.entry(channel).or_insert(self.last_note);
            }
            OutboxWrite::Leave { channel } => {
                kept.channels.remove(&channel);
                kept.deliveries.retain(|(of, _), _| *of != channel);
                self.let_go();
            }
            OutboxWrite::Trim { notes, keys_since } => {
                let oldest = self.last_note.saturating_sub(notes);
                kept.notes.retain(|note| note.number > oldest);
                self.keys.retain(|_, at| *at >= keys_since);
            }
        }
        None
    }
}

impl Outbox for MemoryJournal {
    type Error = JournalError;

    async fn kept(&self) -> Result<Kept, JournalError> {
        let last_entry = self.last();
        Ok(self.outbox(|outbox| {
            let mut kept = outbox.kept.clone();
            kept.notes.retain(|note| OutboxInMemory::waits(&outbox.kept, note));
            Kept { last_entry, ..kept }
        }))
    }

    async fn entries_after(&self, number: u64, at_most: u32) -> Result<Vec<StoredEntry>, JournalError> {
        let at_most = usize::try_from(at_most).unwrap_or(usize::MAX);
        Ok(self.stored_where(|entry| entry.number > number, at_most))
    }

    async fn story(&self, subject: Subject, through: u64) -> Result<Vec<StoredEntry>, JournalError> {
        let of = |entry: &Entry, of: &Subject| entry.number <= through && entry.subject == *of;
        let story = self.stored_where(|entry| of(entry, &subject), usize::MAX);
        if !story.is_empty() {
            return Ok(story);
        }
        // Its project has another name by now.
        let of_any =
            |entry: &Entry| of(entry, &Subject { project: entry.subject.project.clone(), ..subject.clone() });
        Ok(self.stored_where(of_any, usize::MAX))
    }

    async fn write(&self, writes: Vec<OutboxWrite>) -> Result<Vec<Note>, JournalError> {
        self.write_outbox(|outbox| writes.into_iter().filter_map(|write| outbox.one(write)).collect())
    }
}
