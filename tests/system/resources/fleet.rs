//! A whole fleet in virtual time: ten thousand clusters fail at once; an hour without a cloud; a month of life.
//!
//! Each runs in a process of its own, so that what is measured is its own.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use upgrade_remediator::journal::reader::Query;
use upgrade_remediator::journal::{JournalReader, SqliteJournal, SqliteOptions};
use upgrade_remediator::model::event::{Event, StoredEntry};
use upgrade_remediator::model::project::Poll;

use super::cloud::{Cloud, DAY, Daemon, HOUR, Kept, MINUTE, Scripted, rules};
use super::machine::{own_descriptors, own_memory};

/// Set in the process that a test runs itself in.
const ALONE: &str = "UPGRADE_REMEDIATOR_RESOURCES_ALONE";
/// Set for the month, which takes a few minutes; a week of fewer clusters is lived otherwise.
const MONTH: &str = "UPGRADE_REMEDIATOR_MONTH";

/// Runs this test in a process of its own. `true` in that one.
fn is_alone(test: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args(["--exact", test, "--nocapture"]).env(ALONE, "yes").output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && told.contains("1 passed"),
        "{told}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    figures(&told);
    false
}

/// What was measured, seen with --nocapture.
#[expect(clippy::print_stdout, reason = "figures are read by people")]
fn figures(told: &str) {
    print!("{told}");
}

/// A journal in a file, in memory where there is such a place: what is flushed a million times is not the point here.
fn journal(clock: &impl upgrade_remediator::clock::Clock) -> (TempDir, SqliteJournal) {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap();
    let options = SqliteOptions::new(clock.now().wall, 1);
    let (journal, _) = SqliteJournal::open(&folder.path().join("journal.db"), &options).unwrap();
    (folder, journal)
}

fn entries(folder: &TempDir) -> Vec<StoredEntry> {
    JournalReader::open(&folder.path().join("journal.db")).unwrap().entries(&Query::default()).unwrap()
}

fn count(entries: &[StoredEntry], is_it: impl Fn(&Event) -> bool) -> usize {
    entries.iter().filter(|entry| is_it(&entry.event)).count()
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_clusters_that_fail_at_once_open_the_breaker_and_keep_nobody_from_being_read() {
    const FAIL: usize = 10_000;
    const ALL: usize = FAIL + 200;
    const FAILS: i64 = 40 * MINUTE;
    if !is_alone(
        "resources::fleet::ten_thousand_clusters_that_fail_at_once_open_the_breaker_and_keep_nobody_from_being_read",
    ) {
        return;
    }
    let failing = |cluster: usize, now: i64| {
        let task = Scripted { number: 0, begins: -HOUR, fails: FAILS, works: false };
        (cluster < FAIL && now >= task.begins).then_some(task)
    };
    let cloud = Cloud::new(ALL, None, failing);
    let (folder, journal) = journal(&*cloud.clock);
    let mut rules = rules();
    // What such a fleet needs for its idle interval; what runs asks for ten times as much.
    rules.limits.requests_per_second = 60;
    let daemon = Daemon::start(&cloud, rules, Kept(journal));
    cloud.until(FAILS).await;
    let before = own_memory("VmRSS");
    let mut oldest = 0;
    for minute in 1..=45 {
        cloud.until(FAILS + minute * MINUTE).await;
        // Those where all is well.
        oldest = oldest.max(cloud.oldest(FAIL..ALL));
    }
    let (grown, puts) = (own_memory("VmHWM").saturating_sub(before), cloud.puts());
    let kept = entries(&folder);
    let failures = count(&kept, |event| matches!(event, Event::Failed(_)));
    let opened = count(&kept, |event| matches!(event, Event::BreakerOpened { .. }));
    figures(&format!(
        "10,000 failing at once: {failures} failures seen, breaker opened {opened} times, {} PUTs in {:?} s, the \
         oldest poll at a healthy cluster {} s, memory {before} KiB before, {grown} KiB more at most; {} requests\n",
        puts.len(),
        puts.iter().map(|put| (put.at - FAILS) / 1_000).collect::<Vec<_>>(),
        oldest / 1_000,
        cloud.requests(),
    ));
    assert!(failures >= FAIL && opened >= 1, "{failures} failures, opened {opened} times");
    // Before the breaker opens, and then one probe each half hour.
    assert!((1..=30).contains(&puts.len()), "{} PUTs", puts.len());
    assert!(puts.iter().all(|put| put.right && !put.aborts), "{puts:?}");
    assert!(oldest <= 11 * MINUTE, "a healthy cluster was not read for {} s", oldest / 1_000);
    // The story of ten thousand failures: about 6 KiB each.
    assert!(grown < 100_000, "{grown} KiB more");
    daemon.stop().await;
}

#[tokio::test(start_paused = true)]
async fn after_an_hour_without_a_cloud_all_is_read_in_time_and_nothing_is_sent_in_a_burst() {
    const FAIL: usize = 30;
    const ALL: usize = 500;
    const ENDS: i64 = 3 * HOUR;
    if !is_alone(
        "resources::fleet::after_an_hour_without_a_cloud_all_is_read_in_time_and_nothing_is_sent_in_a_burst",
    ) {
        return;
    }
    // They fail before the outage, in it and after it.
    let failing = |cluster: usize, now: i64| {
        let fails = 100 * MINUTE + i64::try_from(cluster).unwrap() * 3 * MINUTE;
        let task = Scripted { number: 0, begins: fails - HOUR, fails, works: true };
        (cluster < FAIL && now >= task.begins).then_some(task)
    };
    let cloud = Cloud::new(ALL, Some((2 * HOUR, ENDS)), failing);
    let (folder, journal) = journal(&*cloud.clock);
    let daemon = Daemon::start(&cloud, rules(), Kept(journal));
    cloud.until(2 * HOUR).await;
    let usual = cloud.take_peak();
    cloud.until(ENDS).await;
    let at_most = cloud.take_peak();
    assert!(
        at_most <= u64::from(rules().limits.requests_per_second),
        "{at_most} requests in a second of the outage"
    );
    let mut again = None;
    for second in 1..=20 * 60 {
        cloud.until(ENDS + second * 1_000).await;
        if again.is_none() && cloud.oldest(0..ALL) <= second * 1_000 {
            again = Some(second);
        }
    }
    let peak = cloud.take_peak();
    let puts_soon = cloud.puts().iter().filter(|put| (ENDS..ENDS + 20 * MINUTE).contains(&put.at)).count();
    cloud.until(12 * HOUR).await;
    let (puts, kept) = (cloud.puts(), entries(&folder));
    let intents = count(&kept, |event| matches!(event, Event::Intent { .. }));
    let closed = count(&kept, |event| matches!(event, Event::Ended(_)));
    figures(&format!(
        "an hour's outage: all {ALL} read again after {again:?} s, at most {peak} requests in a second ({usual} before, \
         {at_most} in it), {puts_soon} PUTs in the 20 minutes after it; {} PUTs, {intents} intents, {closed} stories closed\n",
        puts.len(),
    ));
    // The idle interval, and what hung when it ended.
    assert!(again.is_some_and(|again| again <= 660), "{again:?}");
    assert!(peak <= u64::from(rules().limits.requests_per_second), "{peak}");
    assert!(puts.iter().all(|put| !(2 * HOUR..ENDS).contains(&put.at)), "{puts:?}");
    assert!(puts_soon <= 12, "{puts_soon} PUTs at once");
    // One retry for each failure, no attempt lost, and every story at its end.
    assert_eq!((puts.len(), intents, closed), (FAIL, FAIL, FAIL));
    assert!(puts.iter().all(|put| put.right && !put.aborts));
    let mut clusters: Vec<usize> = puts.iter().map(|put| put.cluster).collect();
    clusters.sort_unstable();
    assert_eq!(clusters, (0..FAIL).collect::<Vec<_>>());
    let project_state = daemon.project_state();
    assert!(
        project_state
            .clusters
            .values()
            .flat_map(|cluster| cluster.tasks.values())
            .all(upgrade_remediator::model::record::TaskRecord::is_ended)
    );
    daemon.stop().await;
}

/// What a life takes at one time.
#[derive(Debug, Clone, Copy)]
struct Taken {
    memory: u64,
    descriptors: usize,
    journal: u64,
    entries: usize,
}

fn taken(folder: &TempDir) -> Taken {
    let files = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len());
    Taken {
        memory: own_memory("VmRSS"),
        descriptors: own_descriptors(),
        journal: files.sum(),
        entries: entries(folder).len(),
    }
}

#[tokio::test(start_paused = true)]
async fn over_a_month_of_life_memory_descriptors_and_journal_stay_as_they_are() {
    if !is_alone("resources::fleet::over_a_month_of_life_memory_descriptors_and_journal_stay_as_they_are") {
        return;
    }
    let month = std::env::var_os(MONTH).is_some();
    // From when on everything that can be forgotten is being forgotten, and how long that is polled.
    let (clusters, retention, from, until) = if month { (100, 4, 14, 28) } else { (20, 1, 4, 8) };
    // Every day an upgrade of each cluster, which fails after an hour and succeeds when it is retried.
    let daily = move |cluster: usize, now: i64| {
        let offset = DAY * i64::try_from(cluster).unwrap() / i64::try_from(clusters).unwrap();
        let number = (now - offset).div_euclid(DAY);
        let begins = number * DAY + offset;
        (number >= 0).then_some(Scripted { number, begins, fails: begins + HOUR, works: true })
    };
    let cloud = Cloud::new(clusters, None, daily);
    let (folder, journal) = journal(&*cloud.clock);
    let day = std::time::Duration::from_hours(24);
    let rules = {
        let mut rules = rules();
        rules.retention = Some(day * retention);
        rules.poll = Poll { max_failure_age: day, ..rules.poll };
        // A hundred clusters that fail once a day are no sign of an ill cloud.
        rules.breaker.failures = 50;
        rules
    };
    let daemon = Daemon::start(&cloud, rules, Kept(journal));
    let mut days = Vec::new();
    for day in 1..=until {
        cloud.until(day * DAY).await;
        days.push(taken(&folder));
        figures(&format!(
            "day {day}: {:?}, {} requests, {} PUTs\n",
            days.last().unwrap(),
            cloud.requests(),
            cloud.puts().len()
        ));
    }
    let days = &days[usize::try_from(from).unwrap() - 1..];
    let (first, last) = (days[0], days[days.len() - 1]);
    assert!(
        cloud.puts().len() >= clusters * usize::try_from(until - 1).unwrap(),
        "{} PUTs",
        cloud.puts().len()
    );
    assert!(cloud.puts().iter().all(|put| put.right && !put.aborts));
    assert_eq!(last.descriptors, first.descriptors);
    // A page of the allocator here and there; a leak of one task's story would be more.
    assert!(last.memory <= first.memory + 1_024, "{} KiB and then {} KiB", first.memory, last.memory);
    assert!(
        last.journal <= first.journal + first.journal / 10,
        "{} bytes and then {}",
        first.journal,
        last.journal
    );
    assert!(
        last.entries <= first.entries + first.entries / 10,
        "{} entries and then {}",
        first.entries,
        last.entries
    );
    daemon.stop().await;
}
