//! Conditions that operators are notified of: a note when one begins, changes or ends, and reminders while it lasts.

use std::time::Duration;

use super::OutboxWriter;
use super::reminders::reached;
use crate::clock::Clock;
use crate::model::condition::{Change, Code, Standing, Told};
use crate::model::moment::Moment;
use crate::model::outbox::{Note, OutboxWrite};
use crate::notify::notice::{self, Notice};
use crate::notify::queue::Transient;

impl<C: Clock> OutboxWriter<C> {
    /// The conditions that operators were notified of and that last, as notices.
    pub(in crate::notify) fn lasting(&self) -> Vec<Notice> {
        let routes = self.post.routes();
        let conditions = self.post.conditions();
        let told = conditions.all().filter(|standing| standing.condition.notifies());
        told.map(|standing| notice::of_standing(standing, standing.since, routes.page.as_deref())).collect()
    }

    /// What no entry tells.
    pub(super) async fn transient(&mut self, transient: Transient) -> Vec<Note> {
        match transient {
            Transient::Condition(change) => {
                let writes = self.change(&change);
                self.keep(writes).await
            }
            Transient::Forgotten(standing) => {
                let end = |standing| OutboxWrite::Condition { standing: Box::new(standing), ended: true };
                self.keep(standing.into_iter().map(end).collect()).await
            }
            // The names were changed before any entry was read.
            Transient::Renamed(_) => Vec::new(),
        }
    }

    fn change(&self, change: &Change) -> Vec<OutboxWrite> {
        let routes = self.post.routes();
        let told = change.told();
        let mut writes = Vec::new();
        if told.is_some() || change.lasts() {
            writes.push(OutboxWrite::Condition {
                standing: Box::new(change.standing.clone()),
                ended: !change.lasts(),
            });
        }
        let notice = match told {
            Some(Told::Began) => {
                Some(notice::of_standing(&change.standing, change.at, routes.page.as_deref()))
            }
            Some(Told::Ended) => Some(notice::of_end(&change.standing, change.at)),
            None => None,
        };
        writes.extend(notice.and_then(|notice| self.note(notice, None)));
        writes
    }

    /// Whether it is known that nothing can be written.
    pub(super) fn journal_fails(&self) -> bool {
        self.post.conditions().all().any(|standing| standing.condition.code() == Code::JournalFailing)
    }

    /// Those of which operators are reminded.
    pub(super) fn reminded_of(&self) -> Vec<Standing> {
        let conditions = self.post.conditions();
        let last = |standing: &&Standing| {
            standing.condition.notifies() && !standing.condition.code().ends_by_itself()
        };
        conditions.all().filter(last).cloned().collect()
    }

    /// What is due of the reminders of conditions: of each at most one, the latest.
    pub(super) fn reminders_of_conditions(
        &mut self,
        reminders: &[Duration],
        now: Moment,
    ) -> Vec<OutboxWrite> {
        let page = self.post.routes().page.clone();
        let mut writes = Vec::new();
        for standing in self.reminded_of() {
            let reached = reached(reminders, standing.since, now.wall);
            let since = standing.since.as_millisecond();
            let key = format!("reminder/{}/{}/{since}/{reached}", standing.project, standing.word());
            if reached == 0 || !self.reminded.insert(key.clone()) {
                continue;
            }
            let notice = notice::reminder_of(&standing, now.wall, page.as_deref());
            writes.extend(self.note(notice, Some(key)));
        }
        writes
    }
}
