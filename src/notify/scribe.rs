//! Turns what is journaled, and news that stand in no entry, into notes for the channels.
//!
//! What is to be told and how far the journal is read are kept in one transaction. While the outbox cannot be written
//! the journal cannot either, so that nothing new is to be told but exactly that: such notes go out from memory.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tracing::warn;

use super::kind::Kind;
use super::notice::{self, Notice, Todo, Why};
use super::post::{Post, Word};
use crate::clock::Clock;
use crate::model::event::{Event, StoredEntry, Subject};
use crate::model::moment::Moment;
use crate::model::outbox::{Condition, Kept, NewNote, Note, Outbox, OutboxWrite};
use crate::model::project::RestCause;
use crate::model::reason::Reason;
use crate::model::text::{chain, shown, span};

/// The word of the state in which nothing can be kept.
const JOURNAL_FAILS: &str = "journal-fails";
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

/// A task that waits for a human, or a state of a project.
#[derive(Debug, Clone)]
struct Waiting {
    since: Timestamp,
    /// The entry that handed it over, with the task.
    entry: Option<(u64, Subject)>,
    /// How many reminders are due or were.
    reminded: usize,
}

/// The one who writes notes.
pub(super) struct Scribe<O, C> {
    post: Post,
    outbox: O,
    clock: Arc<C>,
    /// Entries up to this are turned into notes.
    read: u64,
    /// Up to this it stands in the outbox.
    read_kept: u64,
    conditions: BTreeMap<(String, String), Condition>,
    waiting: BTreeMap<String, Waiting>,
    /// Reminders of projects that were written by this process.
    reminded: BTreeSet<String>,
    /// States that could not be kept yet.
    unkept: VecDeque<OutboxWrite>,
    notes_since_trim: u64,
}

impl<O: Outbox, C: Clock> Scribe<O, C> {
    pub(super) fn new(post: Post, outbox: O, clock: Arc<C>, kept: &Kept) -> Self {
        let read = kept.read_through.unwrap_or_default();
        Self {
            post,
            outbox,
            clock,
            read,
            read_kept: read,
            conditions: kept.conditions.clone(),
            waiting: BTreeMap::new(),
            reminded: BTreeSet::new(),
            unkept: VecDeque::new(),
            notes_since_trim: 0,
        }
    }

    /// Takes note of a task that waited for a human already when the process began.
    pub(super) fn waits(&mut self, subject: &Subject, entry: u64, since: Timestamp) {
        let waiting = Waiting { since, entry: Some((entry, subject.clone())), reminded: 0 };
        self.waiting.insert(key_of(subject), waiting);
    }

    /// The states of projects that were told and last, as notices.
    pub(super) fn lasting(&self) -> Vec<Notice> {
        self.conditions.values().filter_map(|condition| serde_json::from_str(&condition.data).ok()).collect()
    }

    /// Up to which entry it has come.
    pub(super) fn read(&self) -> u64 {
        self.read
    }

    /// Says that there is a new journal.
    pub(super) async fn new_journal(&mut self, journal: &str) -> Vec<Note> {
        let at = self.clock.now().wall;
        let what = format!(
            "a new journal was begun at {}: executions of a task before now count as retries that were used, where \
             no node is completed",
            shown(journal, 200)
        );
        let mut notice = notice::of_project(Kind::NewJournal, at, "", what, None);
        "watches every task anew, by its policies".clone_into(&mut notice.next);
        notice.todo = vec![
            Todo {
                purpose: "if the old journal was lost or moved: stop the daemon and put it back".to_owned(),
                command: "systemctl stop upgrade-remediator".to_owned(),
            },
            Todo {
                purpose: "to keep it from acting until you have looked".to_owned(),
                command: "upgrade-remediator hold all --reason \"…\"".to_owned(),
            },
        ];
        let note = self.of_news(notice, None);
        self.keep(vec![OutboxWrite::Note(note)]).await
    }

    /// Everything that is new becomes notes. Returns those, and when to come again at the latest.
    pub(super) async fn work(&mut self) -> (Vec<Note>, Option<Duration>) {
        let mut notes = Vec::new();
        let mut again = None;
        match self.entries(&mut notes).await {
            Ok(()) => {}
            Err(error) => {
                warn!("what is to be told cannot be read from the journal: {}", chain(&error));
                again = Some(AFTER_FAULT);
            }
        }
        for word in self.post.words() {
            notes.extend(self.word(word).await);
        }
        notes.extend(self.reminders().await);
        if !self.unkept.is_empty() {
            again = Some(AFTER_FAULT);
        }
        let due = self.next_reminder(self.clock.now().wall);
        (notes, again.into_iter().chain(due).min())
    }

    async fn entries(&mut self, notes: &mut Vec<Note>) -> Result<(), O::Error> {
        // They are read again once the journal can be written.
        while !self.journal_fails() {
            let entries = self.outbox.entries_after(self.read, AT_ONCE).await?;
            let Some(last) = entries.last().map(|entry| entry.number) else { break };
            let mut writes = Vec::new();
            let conditions = self.conditions.clone();
            for entry in &entries {
                if let Err(error) = self.entry(entry, &mut writes).await {
                    self.conditions = conditions;
                    return Err(error);
                }
            }
            // What tells nothing may be read again after a restart: that costs less than to write it down each time.
            let overdue = last.saturating_sub(self.read_kept) >= u64::from(AT_ONCE);
            let anybody = !self.post.routes().channels.is_empty();
            if !writes.is_empty() || (overdue && anybody) {
                writes.push(OutboxWrite::Read { through: last });
                match self.outbox.write(writes).await {
                    Ok(added) => notes.extend(added),
                    Err(error) => {
                        self.conditions = conditions;
                        return Err(error);
                    }
                }
                self.read_kept = last;
            }
            self.read = last;
        }
        self.trim(notes.len() as u64).await;
        Ok(())
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

    /// What one entry tells, and what it changes of the states of its project.
    async fn entry(&mut self, entry: &StoredEntry, writes: &mut Vec<OutboxWrite>) -> Result<(), O::Error> {
        let subject = &entry.subject;
        let project = subject.project.to_string();
        let breaker = (project.clone(), "breaker".to_owned());
        let half_opens = self.conditions.get(&breaker).is_some_and(|breaker| breaker.sign == "open");
        let story = if Kind::needs_history(&entry.event) {
            self.outbox.story(subject.clone(), entry.number).await?
        } else {
            Vec::new()
        };
        let known = notice::fold(&story);
        self.watch_clock(entry, writes);
        match &entry.event {
            Event::Escalated { .. } => self.waits(subject, entry.number, entry.at),
            Event::Reset { .. } | Event::Closed(_) => drop(self.waiting.remove(&key_of(subject))),
            _ => {}
        }
        let Some(kind) = Kind::of(&entry.event, known.as_ref(), half_opens) else { return Ok(()) };
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
        let of_project = kind.is_of_project() || kind == Kind::BreakerHalfOpen;
        let routes = self.post.routes();
        let channels = routes.of(if of_project { None } else { policy.as_deref() });
        let failure = known.as_ref().and_then(|known| known.failure.as_ref()).map_or(0, |f| f.seen.number);
        // In dry-run it is told once for each failure, whatever held it back in between.
        let key = matches!(kind, Kind::WouldRetry | Kind::WouldAbort)
            .then(|| format!("{}/{}/{failure}", kind.word(), key_of(subject)));
        let sign = match kind {
            Kind::BreakerOpened => Some(Some("open")),
            Kind::BreakerHalfOpen => Some(Some("half-open")),
            Kind::BreakerClosed => Some(None),
            _ => None,
        };
        if let Some(sign) = sign {
            let story = match story.as_slice() {
                [] => self.outbox.story(subject.clone(), entry.number).await?,
                _ => story,
            };
            let told = notice::of_entry(kind, entry.number, &story, routes.page.as_deref());
            let now = sign.zip(told).map(|(sign, told)| condition(entry.at, sign, &told));
            self.change(&project, "breaker", now, writes);
        }
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

    /// The clocks of a whole project differ, though each decision is of one task.
    fn watch_clock(&mut self, entry: &StoredEntry, writes: &mut Vec<OutboxWrite>) {
        let project = entry.subject.project.as_str();
        let off = self.conditions.contains_key(&(project.to_owned(), "clock-off".to_owned()));
        match &entry.event {
            Event::Decided { reason: reason @ Reason::ClockOff { .. }, .. } if !off => {
                let what = shown(&reason.to_string(), 500);
                let mut told =
                    notice::of_project(Kind::ClockOff, entry.at, project, what, Some(notice::why(reason)));
                "no retry and no abort is sent in the project until the clocks agree; looking goes on"
                    .clone_into(&mut told.next);
                told.todo = vec![todo("to set this machine's clock", "timedatectl"), doctor()];
                let now = Some(condition(entry.at, "off", &told));
                self.change(project, "clock-off", now, writes);
                writes.extend(self.note(told, None));
            }
            Event::Intent { .. }
            | Event::Decided { reason: Reason::HeldUntilNow { .. } | Reason::DryRun { .. }, .. }
                if off =>
            {
                self.change(project, "clock-off", None, writes);
                let what = "our clock and the service's agree again".to_owned();
                writes.extend(
                    self.note(notice::of_project(Kind::ClockRight, entry.at, project, what, None), None),
                );
            }
            _ => {}
        }
    }

    /// What no entry tells.
    async fn word(&mut self, word: Word) -> Vec<Note> {
        let at = self.clock.now().wall;
        let mut writes = Vec::new();
        match word {
            Word::UnknownStatus { project, cluster, cluster_name, word } => {
                let what = format!(
                    "its newest task has had the unknown status \"{}\" for an hour and is left alone",
                    shown(&word, 60)
                );
                let mut told = notice::of_project(Kind::UnknownStatus, at, project.as_str(), what, None);
                let name = shown(&cluster_name, 80);
                told.title = format!("{name}: {}", Kind::UnknownStatus.title());
                "nothing is sent for it while it shows this status; it is still read"
                    .clone_into(&mut told.next);
                told.todo = vec![
                    todo("to see what it shows", &format!("upgrade-remediator explain {cluster}")),
                    todo("to look at it in the console", ""),
                ];
                // After a restart an hour passes again: once a day is enough.
                let day = at.strftime("%F");
                let key = format!("unknown-status/{project}/{cluster}/{}/{day}", shown(&word, 60));
                told.link = notice::link(self.post.routes().page.as_deref(), Some(&cluster));
                told.cluster = Some(notice::About { id: cluster, name, task: None });
                writes.extend(self.note(told, Some(key)));
            }
            Word::Rests { project, cause, refusals, until } => {
                self.rests(project.as_str(), at, (cause, refusals, until), &mut writes);
            }
            Word::Acts { project } => {
                let what = format!("project {project} acts again: the service took what was sent as a probe");
                self.ends(project.as_str(), "rests", Kind::Acts, at, &what, &mut writes);
            }
            Word::Blind { project, trouble, error, advice } => {
                let same = self.is(project.as_str(), "blind", trouble);
                if !same {
                    let why = Why { code: trouble.to_owned(), sentence: shown(&error, 1_000) };
                    let what = "nothing of it can be read, and nothing is sent in it".to_owned();
                    let mut told = notice::of_project(Kind::Blind, at, project.as_str(), what, Some(why));
                    "tries again by itself; what fell due meanwhile goes out spread over time, not at once"
                        .clone_into(&mut told.next);
                    told.todo = vec![todo(&shown(&advice, 500), ""), doctor()];
                    told.link = notice::link(self.post.routes().page.as_deref(), None);
                    let now = Some(condition(at, trouble, &told));
                    self.change(project.as_str(), "blind", now, &mut writes);
                    writes.extend(self.note(told, None));
                }
            }
            Word::Sees { project } | Word::SeenAtFirst { project } => {
                let what = format!("project {project} can be seen again");
                self.ends(project.as_str(), "blind", Kind::Sees, at, &what, &mut writes);
            }
            Word::JournalFails { project, error } => {
                let why = Why { code: "journal".to_owned(), sentence: shown(&error, 1_000) };
                let what = "nothing is sent while the journal cannot be written".to_owned();
                let mut told = notice::of_project(Kind::JournalFails, at, project.as_str(), what, Some(why));
                "tries again at each look; looking goes on".clone_into(&mut told.next);
                told.todo =
                    vec![todo("to see the space that is left where the journal lies", "df -h"), doctor()];
                if !self.is(project.as_str(), JOURNAL_FAILS, "") {
                    // In memory alone: nothing can be kept while it lasts, and a journal that is opened is well.
                    let key = (project.to_string(), JOURNAL_FAILS.to_owned());
                    self.conditions.insert(key, condition(at, "", &told));
                    writes.extend(self.note(told, None));
                }
            }
            Word::JournalWorks { project } => {
                let what = "the journal is written again".to_owned();
                self.ends(project.as_str(), JOURNAL_FAILS, Kind::JournalWorks, at, &what, &mut writes);
            }
        }
        self.keep(writes).await
    }

    fn rests(
        &mut self,
        project: &str,
        at: Timestamp,
        (cause, refusals, until): (RestCause, u32, Timestamp),
        writes: &mut Vec<OutboxWrite>,
    ) {
        let (code, what, advice) = match cause {
            RestCause::Forbidden => (
                "forbidden",
                "the service forbids what was sent",
                "check that the credential has css:cluster:retryAction, then reload",
            ),
            RestCause::WrongAddress => (
                "wrong-address",
                "something other than the service answered what was sent",
                "check the endpoint, and any proxy before it, then reload",
            ),
        };
        // That it goes on resting after a probe is no news.
        let same = self.is(project, "rests", code);
        let why = Why { code: code.to_owned(), sentence: format!("{what} ({refusals} in a row)") };
        let mut told = notice::of_project(Kind::Rests, at, project, what.to_owned(), Some(why));
        told.next = format!("sends nothing until {}, then one PUT as a probe", notice::at(until));
        told.todo = vec![todo(advice, "systemctl reload upgrade-remediator"), doctor()];
        if !same {
            let now = Some(condition(at, code, &told));
            self.change(project, "rests", now, writes);
            writes.extend(self.note(told, None));
        }
    }

    /// Whether it is known that nothing can be written.
    fn journal_fails(&self) -> bool {
        self.conditions.keys().any(|(_, word)| word == JOURNAL_FAILS)
    }

    /// Whether this state lasts already, and nothing of it has changed.
    fn is(&self, project: &str, word: &str, sign: &str) -> bool {
        let known = self.conditions.get(&(project.to_owned(), word.to_owned()));
        known.is_some_and(|known| known.sign == sign)
    }

    /// A state that was told ends.
    fn ends(
        &mut self,
        project: &str,
        word: &str,
        kind: Kind,
        at: Timestamp,
        what: &str,
        writes: &mut Vec<OutboxWrite>,
    ) {
        let Some(before) = self.conditions.get(&(project.to_owned(), word.to_owned())) else { return };
        let lasted = at.duration_since(before.since).unsigned_abs();
        let what = format!("{what}, after {}", span(Duration::from_secs(lasted.as_secs())));
        self.change(project, word, None, writes);
        let mut told = notice::of_project(kind, at, project, what, None);
        "goes on as before".clone_into(&mut told.next);
        writes.extend(self.note(told, None));
    }

    fn change(&mut self, project: &str, word: &str, now: Option<Condition>, writes: &mut Vec<OutboxWrite>) {
        let (project, word) = (project.to_owned(), word.to_owned());
        let key = (project.clone(), word.clone());
        match now.clone() {
            Some(condition) => drop(self.conditions.insert(key, condition)),
            None => drop(self.conditions.remove(&key)),
        }
        writes.push(OutboxWrite::Condition { project, word, now });
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
                    warn!("what is to be told cannot be kept, and goes out all the same: {}", chain(&error));
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

    /// What is due of the reminders: of each at most one, the latest.
    async fn reminders(&mut self) -> Vec<Note> {
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
            let Ok(story) = self.outbox.story(subject.clone(), u64::MAX >> 1).await else { continue };
            let known = notice::fold(&story);
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
        writes.extend(self.reminders_of_projects(&routes.reminders, now));
        self.keep(writes).await
    }

    /// The same of projects that cannot be seen, rest, or whose clock is off.
    fn reminders_of_projects(&mut self, reminders: &[Duration], now: Moment) -> Vec<OutboxWrite> {
        let mut writes = Vec::new();
        for ((project, word), condition) in &self.conditions {
            if !matches!(word.as_str(), "blind" | "rests" | "clock-off") {
                continue;
            }
            let reached = reached(reminders, condition.since, now.wall);
            if reached == 0 {
                continue;
            }
            let since = condition.since.as_millisecond();
            let key = format!("reminder/{project}/{word}/{since}/{reached}");
            let Ok(mut told) = serde_json::from_str::<Notice>(&condition.data) else { continue };
            if !self.reminded.insert(key.clone()) {
                continue;
            }
            let lasts = now.wall.duration_since(condition.since).unsigned_abs();
            let lasts = span(Duration::from_secs(lasts.as_secs()));
            told.at = now.wall;
            told.title = format!("{}, for {lasts}", told.title);
            told.what =
                format!("{}; this has lasted for {lasts}, since {}", told.what, notice::at(condition.since));
            writes.extend(self.note(told, Some(key)));
        }
        writes
    }

    fn next_reminder(&self, now: Timestamp) -> Option<Duration> {
        let routes = self.post.routes();
        let states =
            self.conditions.iter().filter(|((_, word), _)| word != "breaker" && word != JOURNAL_FAILS);
        let all =
            self.waiting.values().map(|waiting| waiting.since).chain(states.map(|(_, state)| state.since));
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
fn reached(reminders: &[Duration], since: Timestamp, now: Timestamp) -> usize {
    let age = now.duration_since(since).max(SignedDuration::ZERO).unsigned_abs();
    reminders.iter().filter(|after| **after <= age).count()
}

fn condition(since: Timestamp, sign: &str, told: &Notice) -> Condition {
    Condition { since, sign: sign.to_owned(), data: serde_json::to_string(told).unwrap_or_default() }
}

fn key_of(subject: &Subject) -> String {
    format!("{}/{}/{}", subject.project, subject.cluster, subject.task)
}

fn todo(purpose: &str, command: &str) -> Todo {
    Todo { purpose: purpose.to_owned(), command: command.to_owned() }
}

fn doctor() -> Todo {
    todo("to have each step tried", "upgrade-remediator doctor")
}
