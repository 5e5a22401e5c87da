//! What can be asked of what was kept, who may write, and what reports need.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use jiff::Timestamp;
use upgrade_remediator::journal::{Fence, History, HistoryError, Journal, JournalError, Part, Query};
use upgrade_remediator::model::event::{Event, StoredEntry};
use upgrade_remediator::model::hold::{NewHold, Scope};
use upgrade_remediator::model::id::{ClusterId, ProjectName, TaskId};
use upgrade_remediator::model::scope_entry::Line;

use super::{Kind, at, first_seen, subject};

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
        Line::Task(entry) => format!("{} {}", entry.subject.cluster, entry.event.word()),
        Line::Scope(entry) => format!("{} {}", entry.scope, entry.event),
    };
    history.lines().into_iter().map(line).collect()
}

async fn history(journal: &Journal, query: &Query) -> Vec<String> {
    short(&journal.history(query, None).await.unwrap())
}

fn of(cluster: &str) -> Query {
    Query { cluster: Some(cluster.to_owned()), ..Query::default() }
}

pub(super) async fn the_history_shows_holds_among_what_happened(kind: &impl Kind) {
    let journal = kind.open();
    seen(&journal, "prod", "c-1", "logs", 1).await;
    let placed = journal.place_hold(hold("all", 2)).await.unwrap();
    seen(&journal, "prod", "c-2", "search", 3).await;
    journal.release_holds(at(4).wall, vec![placed.number, 99], "uid 7".to_owned()).await.unwrap();
    drop(journal);
    let journal = kind.open();
    let all = [
        "c-1 first-seen",
        "all hold #1 by uid 0 until it is released: maintenance",
        "c-2 first-seen",
        "all hold #1 released by uid 7",
    ];
    assert_eq!(history(&journal, &Query::default()).await, all);
    let since = |seconds| Query { since: Some(at(seconds).wall), ..Query::default() };
    assert_eq!(history(&journal, &since(3)).await, all[2..]);
    let first = journal.history(&Query::default(), None).await.unwrap().lines()[0].position();
    let later = journal.history(&Query::default(), Some(first)).await.unwrap();
    assert_eq!(short(&later), all[1..]);
}

pub(super) async fn the_history_of_a_cluster_shows_the_holds_that_cover_it(kind: &impl Kind) {
    let journal = kind.open();
    seen(&journal, "prod", "c-1", "logs", 1).await;
    seen(&journal, "test", "c-2", "search", 1).await;
    for scope in ["all", "project:prod", "project:test", "cluster:c-1", "cluster:c-2"] {
        journal.place_hold(hold(scope, 2)).await.unwrap();
    }
    let scopes = |lines: Vec<String>| {
        let words =
            lines.iter().filter(|line| line.contains("hold #")).map(|line| line.split(' ').next().unwrap());
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    for query in [of("logs"), of("c-1")] {
        assert_eq!(scopes(history(&journal, &query).await), ["all", "cluster:c-1", "project:prod"]);
    }
    let unknown = journal.history(&of("nobody"), None).await.unwrap_err();
    assert!(matches!(unknown, HistoryError::UnknownCluster { .. }), "{unknown}");
}

pub(super) async fn a_long_history_comes_in_parts_and_every_line_once(kind: &impl Kind) {
    let journal = kind.open();
    for part in 0..21 {
        for project in ["b", "a"] {
            let events =
                (0..100).map(|completed| (subject(project, "c-1", "t"), Event::Progress { completed }));
            journal.record(at(part), events.collect()).await.unwrap();
        }
        journal.place_hold(hold("all", part)).await.unwrap();
    }
    let (mut past, mut positions) = (None, Vec::new());
    loop {
        let part = journal.history(&Query::default(), past).await.unwrap();
        assert!(part.lines().len() <= 2_000);
        positions.extend(part.lines().iter().map(|line| line.position()));
        past = positions.last().cloned();
        if !part.more {
            break;
        }
    }
    assert!(positions.is_sorted_by(|earlier, later| earlier < later), "each once, in order of time");
    assert_eq!(positions.len(), 21 * 201);
}

pub(super) async fn what_is_of_scopes_is_no_entry_of_a_task(kind: &impl Kind) {
    let journal = kind.open();
    journal.place_hold(hold("project:prod", 1)).await.unwrap();
    seen(&journal, "prod", "c-1", "logs", 2).await;
    let words =
        |entries: Vec<StoredEntry>| entries.iter().map(|entry| entry.event.word()).collect::<Vec<_>>();
    let project = subject("prod", "c", "t").project;
    assert_eq!(words(journal.entries(Query::default()).await.unwrap()), ["first-seen"]);
    assert_eq!(words(journal.read_project(&project).await.unwrap()), ["first-seen"]);
    assert_eq!(
        words(journal.entries_after(project, 0, 1).await.unwrap()),
        ["first-seen"],
        "they take no place either"
    );
    // Nor are they forgotten with anything.
    journal.forget(vec![subject("prod", "c-1", "t")]).await.unwrap();
    assert_eq!(history(&journal, &Query::default()).await.len(), 1);
}

pub(super) async fn entries_are_those_that_are_asked_for(kind: &impl Kind) {
    let journal = kind.open();
    for (n, (project, cluster, task)) in
        [("a", "c-1", "t-1"), ("a", "c-1", "t-2"), ("a", "c-2", "t-1"), ("b", "c-1", "t-1")]
            .into_iter()
            .enumerate()
    {
        let lines = vec![(subject(project, cluster, task), Event::Missing)];
        journal.record(at(n as u64), lines).await.unwrap();
    }
    let numbers: Vec<u64> = {
        let all = Query { part: Part::History(None), ..Query::default() };
        journal.entries(all).await.unwrap().iter().map(|entry| entry.number).collect()
    };
    // Which of them, in the order in which they were recorded, and those of each project in the order of their numbers.
    let ask = async |query: Query| {
        let entries = journal.entries(query).await.unwrap();
        let mut found: Vec<_> =
            entries.iter().map(|entry| entry.at.duration_since(at(0).wall).as_secs() + 1).collect();
        found.sort_unstable();
        found
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
    let numbered = |after, through| Query {
        project: Some(ProjectName::new("a").unwrap()),
        part: Part::Numbered { after, through },
        ..any()
    };
    assert_eq!(ask(numbered(numbers[0], numbers[2])).await, [2, 3]);
    assert_eq!(ask(Query { at_most: Some(1), ..numbered(numbers[0], u64::MAX) }).await, [2]);
    assert_eq!(ask(numbered(u64::MAX, u64::MAX)).await, [0; 0]);
    assert_eq!(ask(numbered(0, u64::MAX)).await, [1, 2, 3]);
    let renamed = journal.lifecycle(subject("gone", "c-1", "t-2"), 9).await.unwrap();
    assert_eq!(renamed.len(), 1, "its project has another name by now");
}

pub(super) async fn the_clusters_are_known_by_their_last_names(kind: &impl Kind) {
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
    let history = journal.history(&Query::default(), None).await.unwrap();
    let names: Vec<_> = history.names.iter().map(|(id, name)| format!("{id} {name}")).collect();
    assert_eq!(names, ["c-1 logs-eu", "c-2 search"]);
    // By a name that it once had, too.
    assert_eq!(journal.entries(of("logs")).await.unwrap().len(), 2);
}

pub(super) async fn whoever_has_lost_the_lease_keeps_nothing(kind: &impl Kind) {
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

pub(super) async fn what_was_in_force_is_kept_once_for_each_change(kind: &impl Kind) {
    let journal = kind.open();
    for (seconds, what) in [(1, "{\"a\":1}"), (2, "{\"a\":1}"), (3, "{\"a\":2}"), (4, "{\"a\":1}")] {
        journal.note_in_force(at(seconds).wall, what.to_owned()).await.unwrap();
    }
    drop(journal);
    let kept = kind.open().in_force().await.unwrap();
    let expected = [(1, "{\"a\":1}"), (3, "{\"a\":2}"), (4, "{\"a\":1}")];
    assert_eq!(kept, expected.map(|(seconds, what)| (at(seconds).wall, what.to_owned())));
}

pub(super) async fn the_last_sign_of_life_comes_back(kind: &impl Kind) {
    let journal = kind.open();
    assert_eq!(journal.last_alive().await.unwrap(), None::<Timestamp>);
    journal.mark_alive(at(1).wall);
    journal.mark_alive(at(61).wall);
    journal.close().await.unwrap();
    assert_eq!(kind.open().last_alive().await.unwrap(), Some(at(61).wall));
}
