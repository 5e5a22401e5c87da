//! Holds, and projects under their names.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use jiff::Timestamp;
use upgrade_remediator::journal::Query;
use upgrade_remediator::model::event::{Event, StoredEntry};
use upgrade_remediator::model::hold::{Identified, NewHold, Scope, StoredHold};
use upgrade_remediator::model::id::{ProjectId, ProjectName};
use upgrade_remediator::model::names::{Named, Rename};
use upgrade_remediator::model::outbox::OutboxWrite;

use super::{Kind, at, project, wall};

pub(super) async fn holds_and_their_release_come_back_as_they_were(kind: &impl Kind) {
    let new = |scope: &str, until: Option<Timestamp>| NewHold {
        at: wall(),
        scope: Scope::try_from(scope.to_owned()).unwrap(),
        cluster_name: scope.starts_with("cluster").then(|| "logs \"é\"".to_owned()),
        until,
        reason: "it's \n maintenance".to_owned(),
        by: "uid 1000".to_owned(),
    };
    let journal = kind.open();
    let mut expected = Vec::new();
    for (scope, until) in [("all", None), ("project:prod", Some(at(60).wall)), ("cluster:c-1", None)] {
        expected.push(journal.place_hold(new(scope, until)).await.unwrap());
    }
    let numbers: Vec<u64> = expected.iter().map(|hold| hold.number).collect();
    assert_eq!(numbers, [1, 2, 3]);
    journal.release_holds(at(5).wall, vec![1, 3], "uid 0".to_owned()).await.unwrap();
    journal.release_holds(at(9).wall, vec![1], "uid 7".to_owned()).await.unwrap();
    for released in [0, 2] {
        expected[released].released = Some((at(5).wall, "uid 0".to_owned()));
    }
    drop(journal);
    assert_eq!(kind.found().holds, expected, "a release that was made is not made again");
}

fn named(projects: &[(&str, &str)]) -> Vec<Named> {
    let named = |(name, id): &(&str, &str)| Named {
        name: ProjectName::new(name).unwrap(),
        id: (!id.is_empty()).then(|| ProjectId::new(id).unwrap()),
    };
    projects.iter().map(named).collect()
}

pub(super) async fn what_is_kept_of_a_project_follows_its_id(kind: &impl Kind) {
    let journal = kind.open();
    let now = at(0);
    let subject = |project: &str| super::subject(project, &format!("of-{project}"), "task");
    let unnamed = journal.identify(named(&[("a", "1"), ("b", "2")])).await.unwrap();
    assert!(unnamed.naming.renames.is_empty() && unnamed.holds.is_empty());
    for project in ["a", "b", "a"] {
        journal.record(now, vec![(subject(project), Event::Missing)]).await.unwrap();
    }
    let read = |name, through| OutboxWrite::Read { project: project(name), through };
    journal.write(vec![read("a", 7), read("b", 8)]).await.unwrap();
    let numbers = |entries: &[StoredEntry]| {
        let mut numbers: Vec<_> =
            entries.iter().map(|entry| (entry.subject.cluster.to_string(), entry.number)).collect();
        numbers.sort();
        numbers
    };
    let before = numbers(&journal.entries(Query::default()).await.unwrap());
    for scope in ["project:a", "cluster:of-a", "all"] {
        let scope = Scope::try_from(scope.to_owned()).unwrap();
        let (reason, by) = ("x".to_owned(), "uid 0".to_owned());
        let hold = NewHold { at: now.wall, scope, cluster_name: None, until: None, reason, by };
        journal.place_hold(hold).await.unwrap();
    }
    let renames = |identified: &Identified| {
        let short = |rename: &Rename| format!("{}>{}", rename.from, rename.to);
        identified.naming.renames.iter().map(short).collect::<Vec<_>>()
    };
    // Exchanged, all at once.
    let exchanged = journal.identify(named(&[("b", "1"), ("a", "2")])).await.unwrap();
    assert_eq!(renames(&exchanged), ["a>b", "b>a"]);
    let again = journal.identify(named(&[("b", "1"), ("a", "2")])).await.unwrap();
    assert!(again.naming.renames.is_empty() && again.holds.is_empty(), "once is enough");
    // Another project takes a name: what was said about the name is said of both.
    let taken = journal.identify(named(&[("b", "3"), ("a", "2")])).await.unwrap();
    assert_eq!(renames(&taken), ["b>former-1-1"]);
    let scopes = |holds: &[StoredHold]| holds.iter().map(|hold| hold.scope.to_string()).collect::<Vec<_>>();
    assert_eq!(scopes(&taken.holds), ["project:b"]);
    let through = journal.kept().await.unwrap().read;
    assert_eq!(through, [(project("a"), 8), (project("former-1-1"), 7)].into(), "with what was read of it");
    drop(journal);
    let found = kind.found();
    let mut kept: Vec<_> = found
        .entries
        .iter()
        .map(|entry| format!("{}/{}", entry.subject.project, entry.subject.cluster))
        .collect();
    kept.sort();
    assert_eq!(kept, ["a/of-b", "former-1-1/of-a", "former-1-1/of-a"]);
    assert_eq!(numbers(&found.entries), before, "numbers and order stay");
    assert_eq!(scopes(&found.holds), ["project:former-1-1", "cluster:of-a", "all", "project:b"]);
}
