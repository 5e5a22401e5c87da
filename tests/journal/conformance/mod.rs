//! What every store does, asked of each kind through the one seam. A further store joins by one line of `stores!`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use jiff::Timestamp;
use tempfile::TempDir;
use upgrade_remediator::journal::postgres::connect::Limits;
use upgrade_remediator::journal::postgres::{
    Connector, PostgresOptions, PostgresUrl, ReadSecret, SchemaName,
};
use upgrade_remediator::journal::{DatabaseClock, Journal, JournalLocation, MemoryJournal, Opening, Query};
use upgrade_remediator::model::cluster::Traits;
use upgrade_remediator::model::event::{Event, StoredEntry, Subject};
use upgrade_remediator::model::hold::StoredHold;
use upgrade_remediator::model::id::{ClusterId, ProjectName, TaskId};
use upgrade_remediator::model::moment::{Moment, Mono};
use upgrade_remediator::model::secret::Secret;
use upgrade_remediator::model::setup::Nodes;
use upgrade_remediator::model::task::TaskKind;

use crate::server::{PASSWORD, Pooler, fresh_name, server};

pub(crate) mod entries;
mod history;
pub(crate) mod outbox;
mod scopes;

/// A store that can be left and come back to, as a restart does.
pub(crate) trait Kind {
    fn open(&self) -> Journal;
    /// What a start finds. Nobody else has it open.
    fn found(&self) -> Found;
}

pub(crate) struct Found {
    pub(crate) entries: Vec<StoredEntry>,
    pub(crate) holds: Vec<StoredHold>,
}

impl Kind for MemoryJournal {
    fn open(&self) -> Journal {
        self.clone().into()
    }
    fn found(&self) -> Found {
        Found { entries: self.stored(), holds: self.holds() }
    }
}

/// One that a daemon can be told of.
pub(crate) struct At {
    pub(crate) location: JournalLocation,
    opening: Opening,
    /// It is removed with this.
    folder: Option<TempDir>,
}

impl At {
    fn new(location: JournalLocation, folder: Option<TempDir>) -> Self {
        Self { location, opening: opening(), folder }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.as_ref().unwrap().path().join("journal.db")
    }
}

/// Time stands still, for a database too.
pub(crate) fn opening() -> Opening {
    static SEED: AtomicU64 = AtomicU64::new(1);
    let (now, seed) = (at(0), SEED.fetch_add(1, Ordering::Relaxed));
    let clock = Some(DatabaseClock { mono: now.mono, wall: now.wall });
    Opening { now: Arc::new(move || now), seed, clock }
}

impl Kind for At {
    fn open(&self) -> Journal {
        self.location.open(&self.opening, |_| {}).unwrap().journal
    }
    fn found(&self) -> Found {
        let mut entries = Vec::new();
        let holds = self.location.open(&self.opening, |entry| entries.push(entry)).unwrap().holds;
        let reader = self.location.reader().unwrap();
        assert_eq!(reader.holds().unwrap(), holds, "a reader finds what a daemon finds");
        assert_eq!(reader.entries(&Query::default()).unwrap(), entries);
        Found { entries, holds }
    }
}

pub(crate) fn file() -> At {
    let folder = TempDir::new().unwrap();
    At::new(JournalLocation::file(folder.path().join("journal.db")), Some(folder))
}

/// A schema of its own in a real database.
pub(crate) fn in_postgres(url: &str) -> At {
    let options = PostgresOptions {
        password: Some(ReadSecret::constant(Secret::from(PASSWORD))),
        schema: SchemaName::new(&fresh_name()).unwrap(),
        ..PostgresOptions::new(PostgresUrl::parse(url).unwrap())
    };
    // Nothing here is about how quick this machine is.
    let limits = Limits { connect: PATIENT, whole: PATIENT, statement: PATIENT };
    At::new(JournalLocation::Postgres(Connector::new(options).unwrap().with_limits(limits)), None)
}

pub(crate) const PATIENT: Duration = Duration::from_mins(1);

static POOLER: LazyLock<Pooler> = LazyLock::new(|| Pooler::start(server(), &[]));

pub(crate) fn wall() -> Timestamp {
    "2026-01-02T03:04:05.678Z".parse().unwrap()
}

pub(crate) fn at(seconds: u64) -> Moment {
    Moment { wall: wall(), mono: Mono(0) }.after(Duration::from_secs(seconds))
}

pub(crate) fn project(name: &str) -> ProjectName {
    ProjectName::new(name).unwrap()
}

pub(crate) fn subject(of: &str, cluster: &str, task: &str) -> Subject {
    Subject {
        project: project(of),
        cluster: ClusterId::new(cluster).unwrap(),
        task: TaskId::new(task).unwrap(),
    }
}

pub(crate) fn first_seen(name: &str) -> Event {
    Event::FirstSeen {
        kind: TaskKind::Upgrade,
        cluster_name: name.to_owned(),
        traits: Traits::default(),
        start_time: None,
        execute_times: Some(1),
        completed: None,
        external: 0,
        setup: None,
        nodes: Nodes::default(),
    }
}

macro_rules! questions {
    ($kind:expr; $($part:ident: $($question:ident)*;)*) => {
        $($(
            #[tokio::test(flavor = "multi_thread")]
            async fn $question() {
                super::$part::$question(&$kind).await;
            }
        )*)*
    };
}

macro_rules! stores {
    ($($name:ident = $kind:expr;)*) => {
        $(
            mod $name {
                use super::*;
                questions! { $kind;
                    entries:
                        every_event_comes_back_as_it_was
                        numbers_grow_and_are_never_used_again
                        nothing_recorded_is_nothing_kept
                        an_attempt_has_the_number_of_its_intent
                        an_intent_for_another_task_than_its_order_is_refused
                        what_many_record_at_once_stays_together
                        what_is_forgotten_is_gone_and_its_numbers_are_never_used_again
                        what_is_kept_of_a_breaker_outlives_the_task_that_it_was_kept_with
                        times_are_kept_to_the_millisecond
                        ten_thousand_entries_load_in_order
                        any_text_and_any_number_comes_back;
                    scopes:
                        holds_and_their_release_come_back_as_they_were
                        what_is_kept_of_a_project_follows_its_id;
                    history:
                        the_history_shows_holds_among_what_happened
                        the_history_of_a_cluster_shows_the_holds_that_cover_it
                        a_long_history_comes_in_parts_and_every_line_once
                        what_is_of_scopes_is_no_entry_of_a_task
                        entries_are_those_that_are_asked_for
                        the_clusters_are_known_by_their_last_names
                        whoever_has_lost_the_lease_keeps_nothing
                        what_was_in_force_is_kept_once_for_each_change
                        the_last_sign_of_life_comes_back;
                    outbox:
                        what_the_outbox_keeps_comes_back
                        a_note_goes_when_the_last_channel_has_told_it
                        what_has_a_key_is_kept_once
                        no_more_notes_are_kept_than_it_is_told
                        the_notifier_reads_entries_in_parts_and_tasks_whole;
                }
            }
        )*
    };
}

stores! {
    memory = MemoryJournal::new(1);
    sqlite = file();
    postgres = in_postgres(&server().url());
    pgbouncer = in_postgres(&POOLER.url());
}
