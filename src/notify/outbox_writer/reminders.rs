//! Who waits for an operator, and when that is told again.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{OutboxWriter, key_of};
use crate::clock::Clock;
use crate::model::event::Subject;
use crate::model::names::Naming;
use crate::model::outbox::{NewNote, Note, OutboxWrite};
use crate::notify::kind::Kind;
use crate::notify::notice;

/// A task that waits for an operator.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    since: Timestamp,
    /// The entry that handed it over, with the task.
    entry: Option<(u64, Subject)>,
    /// How many reminders are due or were.
    reminded: usize,
}

impl<C: Clock> OutboxWriter<C> {
    /// Takes note of a task that waited for an operator already when the process began.
    pub(in crate::notify) fn waits(&mut self, subject: &Subject, entry: u64, since: Timestamp) {
        let waiting = Waiting { since, entry: Some((entry, subject.clone())), reminded: 0 };
        self.waiting.insert(key_of(subject), waiting);
    }

    /// Projects have other names.
    pub(super) fn rename_waiting(&mut self, naming: &Naming) {
        let waiting = std::mem::take(&mut self.waiting).into_iter().map(|(key, mut waiting)| {
            let Some((_, subject)) = &mut waiting.entry else { return (key, waiting) };
            subject.project = naming.renamed(&subject.project).clone();
            (key_of(subject), waiting)
        });
        self.waiting = waiting.collect();
    }

    /// What is due of the reminders: of each at most one, the latest.
    pub(super) async fn reminders(&mut self) -> Vec<Note> {
        let routes = self.post.routes();
        let now = self.clock.now();
        let mut writes = Vec::new();
        if routes.reminders.is_empty() {
            return self.keep(writes).await;
        }
        let due: Vec<(String, Waiting, usize)> = self
            .waiting
            .iter()
            .filter_map(|(key, waiting)| {
                let reached = reached(&routes.reminders, waiting.since, now.wall);
                (reached > waiting.reminded).then(|| (key.clone(), waiting.clone(), reached))
            })
            .collect();
        for (key, waiting, reached) in due {
            let Some((entry, subject)) = waiting.entry else { continue };
            let Ok(lifecycle) = self.outbox.lifecycle(subject.clone(), u64::MAX >> 1).await else { continue };
            let known = notice::fold(&lifecycle);
            if let Some(waiting) = self.waiting.get_mut(&key) {
                waiting.reminded = reached;
            }
            let Some(known) = known.filter(notice::waits_for_human) else { continue };
            let policy = known.failure.as_ref().and_then(|failure| failure.seen.terms.as_ref());
            let channels = routes.of(policy.map(|terms| terms.policy.as_str()));
            if channels.is_empty() {
                continue;
            }
            writes.push(OutboxWrite::Note(NewNote {
                at: now.wall,
                project: subject.project.to_string(),
                kind: Kind::Reminder.word().to_owned(),
                key: Some(format!("reminder/{entry}/{reached}")),
                entry: Some((entry, subject)),
                channels,
                data: "{}".to_owned(),
            }));
        }
        writes.extend(self.reminders_of_conditions(&routes.reminders, now));
        self.keep(writes).await
    }

    /// In how long the next one is due.
    pub(super) fn next_reminder(&self, now: Timestamp) -> Option<Duration> {
        let routes = self.post.routes();
        let conditions = self.reminded_of().into_iter().map(|standing| standing.since);
        let all = self.waiting.values().map(|waiting| waiting.since).chain(conditions);
        all.filter_map(|since| {
            let age = now.duration_since(since).unsigned_abs();
            routes
                .reminders
                .iter()
                .filter_map(|after| after.checked_sub(age))
                .filter(|left| !left.is_zero())
                .min()
        })
        .min()
    }
}

/// How many of the reminders are due at `now`, of what began at `since`.
pub(super) fn reached(reminders: &[Duration], since: Timestamp, now: Timestamp) -> usize {
    let age = now.duration_since(since).max(SignedDuration::ZERO).unsigned_abs();
    reminders.iter().filter(|after| **after <= age).count()
}
