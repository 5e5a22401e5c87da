//! What the outbox keeps.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;

use upgrade_remediator::model::condition::{Condition, Standing};
use upgrade_remediator::model::event::{Event, Subject};
use upgrade_remediator::model::outbox::{Delivery, Kept, NewNote, OutboxWrite};

use super::{Kind, at, project, wall};

fn subject(task: &str) -> Subject {
    super::subject("prod", "c-1", task)
}

pub(crate) fn note(project: &str, channels: &[&str]) -> NewNote {
    NewNote {
        at: wall(),
        project: project.to_owned(),
        kind: "first-failure".to_owned(),
        entry: Some((7, subject("t-1"))).filter(|_| !project.is_empty()),
        key: None,
        channels: channels.iter().map(|&name| name.to_owned()).collect(),
        data: "{\"a\":\"é\\u0000\"}".to_owned(),
    }
}

pub(crate) fn name(text: &str) -> String {
    text.to_owned()
}

fn delivered(channel: &str, project: &str, through: u64) -> OutboxWrite {
    OutboxWrite::Delivered { channel: name(channel), project: name(project), through }
}

pub(super) async fn what_the_outbox_keeps_comes_back(kind: &impl Kind) {
    let outbox = kind.open();
    assert_eq!(outbox.kept().await.unwrap().read, BTreeMap::new());
    let standing = |seconds| Standing {
        project: project("prod"),
        since: wall(),
        condition: Condition::ClockOff { seconds },
        recalled: false,
    };
    let over = Standing { condition: Condition::JournalFailing { error: name("full") }, ..standing(1) };
    let condition =
        |standing: &Standing, ended| OutboxWrite::Condition { standing: Box::new(standing.clone()), ended };
    let added = outbox
        .write(vec![
            OutboxWrite::Join { channel: name("ops") },
            OutboxWrite::Join { channel: name("night") },
            OutboxWrite::Note(note("prod", &["ops", "night"])),
            OutboxWrite::Note(note("", &["ops"])),
            OutboxWrite::Read { project: project("prod"), through: 8 },
            OutboxWrite::Read { project: project("prod"), through: 9 },
            OutboxWrite::Read { project: project("other"), through: 2 },
            condition(&standing(400), false),
            condition(&over, false),
            condition(&standing(500), false),
            condition(&over, true),
            OutboxWrite::Sending { channel: name("ops"), project: name("prod"), through: 1 },
        ])
        .await
        .unwrap();
    assert_eq!(added[0].number, 1);
    drop(outbox);
    let kept = kind.open().kept().await.unwrap();
    assert_eq!(kept.read, [(project("other"), 2), (project("prod"), 9)].into());
    let mut notes = kept.notes;
    notes.sort_by_key(|note| std::cmp::Reverse(note.note.project.clone()));
    assert_eq!(notes, added);
    assert_eq!(notes[0].note, note("prod", &["ops", "night"]));
    assert_eq!(kept.channels, [name("night"), name("ops")].into());
    assert_eq!(
        kept.deliveries,
        [((name("ops"), name("prod")), Delivery { through: 0, sending: Some(1) })].into()
    );
    assert_eq!(kept.conditions, [standing(500)]);
}

pub(super) async fn a_note_goes_when_the_last_channel_has_told_it(kind: &impl Kind) {
    let outbox = kind.open();
    let join = |channel: &str| OutboxWrite::Join { channel: name(channel) };
    outbox.write(vec![join("ops"), join("night")]).await.unwrap();
    outbox
        .write(vec![
            OutboxWrite::Note(note("prod", &["ops", "night"])),
            OutboxWrite::Note(note("prod", &["ops"])),
            OutboxWrite::Note(note("other", &["ops"])),
        ])
        .await
        .unwrap();
    let notes = |kept: Kept| {
        let mut notes: Vec<_> = kept.notes.into_iter().map(|kept| kept.note.project).collect();
        notes.sort();
        notes
    };
    outbox.write(vec![delivered("ops", "prod", 2)]).await.unwrap();
    assert_eq!(notes(outbox.kept().await.unwrap()), ["other", "prod"], "the night has not heard of one yet");
    // A channel that is gone is not waited for, and what it knew goes with it.
    outbox.write(vec![OutboxWrite::Leave { channel: name("night") }]).await.unwrap();
    let kept = outbox.kept().await.unwrap();
    assert!(!kept.channels.contains("night"));
    assert_eq!(notes(kept), ["other"]);
    // It comes back as a new one: older notes do not concern it.
    outbox.write(vec![join("night"), OutboxWrite::Note(note("prod", &["night"]))]).await.unwrap();
    let kept = outbox.kept().await.unwrap();
    let of_other = kept.notes.iter().find(|note| note.note.project == "other").unwrap();
    assert_eq!(kept.deliveries[&(name("night"), name("other"))].through, of_other.number);
    assert_eq!(notes(kept), ["other", "prod"]);
    // To join twice is to join once.
    outbox.write(vec![join("night"), delivered("ops", "other", 3)]).await.unwrap();
    assert_eq!(notes(outbox.kept().await.unwrap()), ["prod"]);
}

pub(super) async fn what_has_a_key_is_kept_once(kind: &impl Kind) {
    let outbox = kind.open();
    outbox.write(vec![OutboxWrite::Join { channel: name("ops") }]).await.unwrap();
    let keyed = || OutboxWrite::Note(NewNote { key: Some(name("reminder/1/1")), ..note("prod", &["ops"]) });
    let first = outbox.write(vec![keyed()]).await.unwrap();
    assert_eq!(first.len(), 1);
    assert_eq!(outbox.write(vec![keyed(), keyed()]).await.unwrap(), []);
    // Not after it was told either, nor after a restart.
    outbox.write(vec![delivered("ops", "prod", first[0].number)]).await.unwrap();
    assert_eq!(outbox.kept().await.unwrap().notes, []);
    drop(outbox);
    let outbox = kind.open();
    assert_eq!(outbox.write(vec![keyed()]).await.unwrap(), []);
    // But the key is given up with time.
    let later = "2027-01-02T00:00:00Z".parse().unwrap();
    outbox.write(vec![OutboxWrite::Trim { notes: 0, keys_since: later }]).await.unwrap();
    assert_eq!(outbox.write(vec![keyed()]).await.unwrap().len(), 1);
}

pub(super) async fn no_more_notes_are_kept_than_it_is_told(kind: &impl Kind) {
    let outbox = kind.open();
    let mut writes = vec![OutboxWrite::Join { channel: name("ops") }];
    writes.extend((0..10).map(|_| OutboxWrite::Note(note("prod", &["ops"]))));
    outbox.write(writes).await.unwrap();
    outbox.write(vec![OutboxWrite::Trim { notes: 3, keys_since: wall() }]).await.unwrap();
    let numbers: Vec<u64> = outbox.kept().await.unwrap().notes.iter().map(|note| note.number).collect();
    assert_eq!(numbers, [8, 9, 10]);
}

pub(super) async fn the_notifier_reads_entries_in_parts_and_tasks_whole(kind: &impl Kind) {
    let journal = kind.open();
    for completed in 1..=3 {
        let line = |task| (subject(task), Event::Progress { completed });
        journal.record(at(0), vec![line("t-1"), line("t-2")]).await.unwrap();
    }
    let after = journal.entries_after(project("prod"), 2, 3).await.unwrap();
    assert_eq!(after.iter().map(|entry| entry.number).collect::<Vec<_>>(), [3, 4, 5]);
    assert_eq!(journal.entries_after(project("prod"), 6, 3).await.unwrap(), []);
    assert_eq!(journal.entries_after(project("other"), 0, 3).await.unwrap(), []);
    let story = journal.lifecycle(subject("t-2"), 4).await.unwrap();
    assert_eq!(story.iter().map(|entry| entry.number).collect::<Vec<_>>(), [2, 4]);
    assert!(story.iter().all(|entry| entry.subject == subject("t-2") && entry.at == wall()));
}
