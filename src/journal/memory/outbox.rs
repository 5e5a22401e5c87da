//! The outbox of a journal in memory.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::model::condition::Standing;
use crate::model::names::Naming;
use crate::model::outbox::{Delivery, Kept, Note, OutboxWrite};

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
            let delivery = kept.deliveries.get(&(channel.clone(), note.note.project.clone()));
            kept.channels.contains(channel) && note.number > delivery.map_or(0, |delivery| delivery.through)
        })
    }

    fn let_go(&mut self) {
        let kept = self.kept.clone();
        self.kept.notes.retain(|note| Self::waits(&kept, note));
    }

    /// Projects have other names.
    pub(super) fn rename(&mut self, naming: &Naming) {
        for standing in &mut self.kept.conditions {
            standing.project = naming.renamed(&standing.project).clone();
        }
        let read = std::mem::take(&mut self.kept.read).into_iter();
        self.kept.read = read.map(|(name, through)| (naming.renamed(&name).clone(), through)).collect();
    }

    /// Everything that it keeps.
    pub(super) fn kept(&self) -> Kept {
        let mut kept = self.kept.clone();
        kept.notes.retain(|note| Self::waits(&self.kept, note));
        kept
    }

    /// Does this.
    pub(super) fn one(&mut self, write: OutboxWrite) -> Option<Note> {
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
            OutboxWrite::Read { project, through } => drop(kept.read.insert(project, through)),
            OutboxWrite::Condition { standing, ended } => {
                let is_other =
                    |other: &Standing| (&other.project, other.word()) != (&standing.project, standing.word());
                kept.conditions.retain(is_other);
                if !ended {
                    kept.conditions.push(*standing);
                }
            }
            OutboxWrite::Sending { channel, project, through } => {
                kept.deliveries.entry((channel, project)).or_default().sending = Some(through);
            }
            OutboxWrite::Delivered { channel, project, through } => {
                kept.deliveries.insert((channel, project), Delivery { through, sending: None });
                self.let_go();
            }
            OutboxWrite::Join { channel } => {
                if kept.channels.insert(channel.clone()) {
                    for Note { number, note } in &kept.notes {
                        let to = (channel.clone(), note.project.clone());
                        kept.deliveries.insert(to, Delivery { through: *number, sending: None });
                    }
                }
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
