//! What every store does, asked of each kind through the one seam: reads, what is of scopes, the fence, what reports need.
//! A further store joins by one line of `stores!`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use jiff::Timestamp;
use tempfile::TempDir;
use upgrade_remediator::journal::{
    Fence, History, HistoryError, Journal, JournalError, JournalUrl, MemoryJournal, Query,
};
use upgrade_remediator::model::cluster::Traits;
use upgrade_remediator::model::event::{Event, StoredEntry, Subject};
use upgrade_remediator::model::hold::{NewHold, Scope};
use upgrade_remediator::model::id::{ClusterId, ProjectName, TaskId};
use upgrade_remediator::model::moment::{Moment, Mono};
use upgrade_remediator::model::scope_entry::Line;
use upgrade_remediator::model::setup::Nodes;
use upgrade_remediator::model::task::TaskKind;

/// A store that can be left and come back to.
trait Kind {
    fn open(&self) -> Journal;
}

impl Kind for MemoryJournal {
    fn open(&self) -> Journal {
        self.clone().into()
    }
}

/// One that a URL leads to.
struct AtUrl(JournalUrl, #[expect(dead_code, reason = "it is removed with this")] TempDir);

impl Kind for AtUrl {
    fn open(&self) -> Journal {
        self.0.open(at(0).wall, 1, |_| {}).unwrap().journal
    }
}

fn file() -> AtUrl {
    let folder = TempDir::new().unwrap();
    AtUrl(JournalUrl::file(folder.path().join("journal.db")), folder)
}

macro_rules! questions {
    ($kind:expr; $($question:ident)*) => {
        $(
            #[tokio::test]
            async fn $question() {
                super::$question(&$kind).await;
            }
        )*
    };
}

macro_rules! stores {
    ($($name:ident = $kind:expr;)*) => {
        $(
            mod $name {
                use super::*;
                questions! { $kind;
                    the_history_shows_holds_among_what_happened
                    the_history_of_a_cluster_shows_the_holds_that_cover_it
                    a_long_history_comes_in_parts_and_every_line_once
                    what_is_of_scopes_is_no_entry_of_a_task
                    entries_are_those_that_are_asked_for
                    the_clusters_are_known_by_their_last_names
                    whoever_has_lost_the_lease_keeps_nothing
                    what_was_in_force_is_kept_once_for_each_change
                    the_last_sign_of_life_comes_back
                }
            }
        )*
    };
}

stores! {
    memory = MemoryJournal::new(1);
    sqlite = file();
}

fn at(seconds: u64) -> Moment {
    let wall = "2026-01-02T03:04:05.678Z".parse().unwrap();
    Moment { wall, mono: Mono(0) }.after(Duration::from_secs(seconds))
}

fn subject(project: &str, cluster: &str, task: &str) -> Subject {
    Subject {
        project: ProjectName::new(project).unwrap(),
        cluster: ClusterId::new(cluster).unwrap(),
        task: TaskId::new(task).unwrap(),
    }
}

fn first_seen(name: &str) -> Event {
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

fn hold(scope: &str, seconds: u64) -> NewHold {
    NewHold {
        at: at(seconds).wall,
        scope: Scope::try_from(scope.to_owned()).unwrap(),
        cluster_name: None,
        until: None,
        reason: "maintenance".to_owned(),
        by: "uid 0".to_owned(),
    }
}

async fn seen(journal: &Journal, project: &str, cluster: &str, name: &str, seconds: u64) {
    let lines = vec![(subject(project, cluster, "t"), first_seen(name))];
    journal.record(at(seconds), lines).await.unwrap();
}

/// Each line in short.
fn short(history: &History) -> Vec<String> {
    let line = |line: Line<'_>| match line {
        Line::Task(entry) => format!("{} {} {}", entry.number, entry.subject.cluster, entry.event.word()),
        Line::Scope(entry) => format!("{} {} {}", entry.number, entry.scope, entry.event),
    };
    history.lines().into_iter().map(line).collect()
}

async fn history(journal: &Journal, query: &Query) -> Vec<String> {
    short(&journal.history(query).await.unwrap())
}

fn of(cluster: &str) -> Query {
    Query { cluster: Some(cluster.to_owned()), ..Query::default() }
}

async fn the_history_shows_holds_among_what_happened(kind: &impl Kind) {
    let journal = kind.open();
    seen(&journal, "prod", "c-1", "logs", 1).await;
    let placed = journal.place_hold(hold("all", 2)).await.unwrap();
    seen(&journal, "prod", "c-2", "search", 3).await;
    journal.release_holds(at(4).wall, vec![placed.number, 99], "uid 7".to_owned()).await.unwrap();
    drop(journal);
    let journal = kind.open();
    let all = [
        "1 c-1 first-seen",
        "2 all hold #1 by uid 0 until it is released: maintenance",
        "3 c-2 first-seen",
        "4 all hold #1 released by uid 7",
    ];
    assert_eq!(history(&journal, &Query::default()).await, all);
    let since = |seconds| Query { since: Some(at(seconds).wall), ..Query::default() };
    assert_eq!(history(&journal, &since(3)).await, all[2..]);
    assert_eq!(history(&journal, &Query { after: 1, ..Query::default() }).await, all[1..]);
}

async fn the_history_of_a_cluster_shows_the_holds_that_cover_it(kind: &impl Kind) {
    let journal = kind.open();
    seen(&journal, "prod", "c-1", "logs", 1).await;
    seen(&journal, "test", "c-2", "search", 1).await;
    for scope in ["all", "project:prod", "project:test", "cluster:c-1", "cluster:c-2"] {
        journal.place_hold(hold(scope, 2)).await.unwrap();
    }
    let scopes = |lines: Vec<String>| {
        let words =
            lines.iter().filter(|line| line.contains("hold #")).map(|line| line.split(' ').nth(1).unwrap());
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    for query in [of("logs"), of("c-1")] {
        assert_eq!(scopes(history(&journal, &query).await), ["all", "project:prod", "cluster:c-1"]);
    }
    let unknown = journal.history(&of("nobody")).await.unwrap_err();
    assert!(matches!(unknown, HistoryError::UnknownCluster { .. }), "{unknown}");
}

async fn a_long_history_comes_in_parts_and_every_line_once(kind: &impl Kind) {
    let journal = kind.open();
    for part in 0..21 {
        let events = (0..200).map(|completed| (subject("prod", "c-1", "t"), Event::Progress { completed }));
        journal.record(at(part), events.collect()).await.unwrap();
        journal.place_hold(hold("all", part)).await.unwrap();
    }
    let (mut query, mut numbers) = (Query::default(), Vec::new());
    loop {
        let part = journal.history(&query).await.unwrap();
        assert!(part.lines().len() <= 2_000);
        numbers.extend(part.lines().iter().map(|line| line.number()));
        query.after = *numbers.last().unwrap();
        if !part.more {
            break;
        }
    }
    assert!(numbers.into_iter().eq(1..=21 * 201));
}

async fn what_is_of_scopes_is_no_entry_of_a_task(kind: &impl Kind) {
    let journal = kind.open();
    journal.place_hold(hold("project:prod", 1)).await.unwrap();
    seen(&journal, "prod", "c-1", "logs", 2).await;
    let numbers = |entries: Vec<StoredEntry>| entries.iter().map(|entry| entry.number).collect::<Vec<_>>();
    assert_eq!(numbers(journal.entries(Query::default()).await.unwrap()), [2]);
    assert_eq!(numbers(journal.read_project(&subject("prod", "c", "t").project).await.unwrap()), [2]);
    assert_eq!(numbers(journal.entries_after(0, 1).await.unwrap()), [2], "they take no place either");
    assert_eq!(journal.kept().await.unwrap().last_entry, 2);
    // Nor are they forgotten with anything.
    journal.forget(vec![subject("prod", "c-1", "t")]).await.unwrap();
    assert_eq!(history(&journal, &Query::default()).await.len(), 1);
}

async fn entries_are_those_that_are_asked_for(kind: &impl Kind) {
    let journal = kind.open();
    for (n, (project, cluster, task)) in
        [("a", "c-1", "t-1"), ("a", "c-1", "t-2"), ("a", "c-2", "t-1"), ("b", "c-1", "t-1")]
            .into_iter()
            .enumerate()
    {
        let lines = vec![(subject(project, cluster, task), Event::Missing)];
        journal.record(at(n as u64), lines).await.unwrap();
    }
    let ask = async |query: Query| {
        let entries = journal.entries(query).await.unwrap();
        entries.iter().map(|entry| entry.number).collect::<Vec<_>>()
    };
    let any = Query::default;
    let task = Some((ClusterId::new("c-1").unwrap(), TaskId::new("t-1").unwrap()));
    let project = Some(ProjectName::new("a").unwrap());
    assert_eq!(ask(any()).await, [1, 2, 3, 4]);
    assert_eq!(ask(Query { project: project.clone(), ..any() }).await, [1, 2, 3]);
    assert_eq!(ask(Query { task: task.clone(), ..any() }).await, [1, 4]);
    assert_eq!(ask(Query { task, project, ..any() }).await, [1]);
    assert_eq!(ask(of("c-1")).await, [1, 2, 4]);
    assert_eq!(ask(Query { since: Some(at(2).wall), ..any() }).await, [3, 4]);
    assert_eq!(ask(Query { after: 1, through: Some(3), ..any() }).await, [2, 3]);
    assert_eq!(ask(Query { after: 1, at_most: Some(1), ..any() }).await, [2]);
    assert_eq!(ask(Query { after: u64::MAX, ..any() }).await, [0; 0]);
    assert_eq!(ask(Query { through: Some(u64::MAX), ..any() }).await, [1, 2, 3, 4]);
    let renamed = journal.lifecycle(subject("gone", "c-1", "t-2"), 9).await.unwrap();
    assert_eq!(renamed.len(), 1, "its project has another name by now");
}

async fn the_clusters_are_known_by_their_last_names(kind: &impl Kind) {
    let journal = kind.open();
    for (project, cluster, name) in
        [("b", "c-1", "logs"), ("a", "c-2", "search"), ("b", "c-1", "logs-eu"), ("a", "c-1", "logs-eu")]
    {
        seen(&journal, project, cluster, name, 1).await;
    }
    let known = journal.store().clusters().await.unwrap();
    let known: Vec<_> =
        known.iter().map(|known| format!("{}/{} {}", known.project, known.id, known.name)).collect();
    assert_eq!(known, ["a/c-1 logs-eu", "a/c-2 search", "b/c-1 logs-eu"]);
    let history = journal.history(&Query { after: 1, ..Query::default() }).await.unwrap();
    let names: Vec<_> = history.names.iter().map(|(id, name)| format!("{id} {name}")).collect();
    assert_eq!(names, ["c-1 logs-eu", "c-2 search"]);
    // By a name that it once had, too.
    assert_eq!(journal.entries(of("logs")).await.unwrap().len(), 2);
}

async fn whoever_has_lost_the_lease_keeps_nothing(kind: &impl Kind) {
    let journal = kind.open();
    let project = ProjectName::new("prod").unwrap();
    let holds = journal.store().lease(&project).await.unwrap();
    let other = Fence { term: holds.term + 1 };
    let lines = || vec![(subject("prod", "c-1", "t"), Event::Missing)];
    let refused = journal.store().append(other, at(1), lines()).await.unwrap_err();
    assert!(matches!(refused, JournalError::Fenced { .. }), "{refused}");
    assert!(journal.entries(Query::default()).await.unwrap().is_empty());
    let leased = journal.leased(&project).await.unwrap();
    assert_eq!(leased.record(at(1), lines()).await.unwrap()[0].number, 1);
}

async fn what_was_in_force_is_kept_once_for_each_change(kind: &impl Kind) {
    let journal = kind.open();
    for (seconds, what) in [(1, "{\"a\":1}"), (2, "{\"a\":1}"), (3, "{\"a\":2}"), (4, "{\"a\":1}")] {
        journal.note_in_force(at(seconds).wall, what.to_owned()).await.unwrap();
    }
    drop(journal);
    let kept = kind.open().in_force().await.unwrap();
    let expected = [(1, "{\"a\":1}"), (3, "{\"a\":2}"), (4, "{\"a\":1}")];
    assert_eq!(kept, expected.map(|(seconds, what)| (at(seconds).wall, what.to_owned())));
}

async fn the_last_sign_of_life_comes_back(kind: &impl Kind) {
    let journal = kind.open();
    assert_eq!(journal.last_alive().await.unwrap(), None::<Timestamp>);
    journal.mark_alive(at(1).wall);
    journal.mark_alive(at(61).wall);
    drop(journal);
    assert_eq!(kind.open().last_alive().await.unwrap(), Some(at(61).wall));
}
