//! Many failures at once mean that the cloud is ill: the breaker of a project.

use std::time::Duration;

use upgrade_remediator::journal::{Answer, Fence, Layer, MemoryJournal, Store};
use upgrade_remediator::model::event::{Entry, Event, Subject};
use upgrade_remediator::model::moment::Moment;

use super::harness::{HOUR, Harness, MINUTE, Setup, code};
use crate::edited::Edited;

/// So many clusters whose upgrades run, and fail at their first node after five minutes; again, so often.
fn ill(count: usize, times: &str) -> Setup {
    let scenario = format!(
        "node_time = \"10m\"\n[[cluster]]\nname = \"a\"\ncount = {count}\n[[cluster.task]]\nkind = \"upgrade\"\n\
         fail = [{{ node = 1, times = {times}, step = 3 }}]\n"
    );
    let mut setup = Setup::new(&scenario).retries(20);
    setup.breaker.failures = 5;
    setup
}

fn turns(harness: &Harness) -> Vec<&'static str> {
    let turn = |event: &Event| matches!(event, Event::BreakerOpened { .. } | Event::BreakerClosed { .. });
    harness.entries().iter().filter(|entry| turn(&entry.event)).map(|entry| entry.event.word()).collect()
}

fn opened_at(harness: &Harness) -> Vec<Duration> {
    let entries = harness.entries().into_iter();
    let opened = entries.filter(|entry| matches!(entry.event, Event::BreakerOpened { .. }));
    opened.map(|entry| Duration::from_millis(u64::try_from(entry.at.mono.0).unwrap())).collect()
}

#[tokio::test]
async fn many_failures_at_once_stop_the_project_and_one_put_at_a_time_tries_again() {
    let mut harness = ill(8, "2").start().await;
    harness.pass(25 * MINUTE).await;
    assert_eq!(turns(&harness), ["breaker-opened"]);
    assert_eq!(harness.recorder.heard("breaker-opened"), 1, "it tells once");
    let before = harness.sent().len();
    assert!(before < 8, "most were stopped");
    let opened = opened_at(&harness)[0];
    let stopped = harness.sent().iter().all(|sent| sent.at <= opened);
    assert!(stopped, "nothing is sent while it is open");
    assert_eq!(code(&harness.reconcile_at("a-8").await), "breaker-open");

    harness.pass(8 * HOUR).await;
    assert_eq!(turns(&harness).last(), Some(&"breaker-closed"), "{:?}", turns(&harness));
    for n in 1..=8 {
        let known = harness.known_of(&format!("a-{n}"));
        assert_eq!(known.outcome().unwrap().word(), "resolved", "a-{n}");
    }
    // While it was half-open, no two PUTs were under way at once.
    let closed = harness
        .entries()
        .into_iter()
        .find(|entry| matches!(entry.event, Event::BreakerClosed { .. }))
        .unwrap();
    let closed = Duration::from_millis(u64::try_from(closed.at.mono.0).unwrap());
    let probes: Vec<_> =
        harness.sent().iter().filter(|sent| sent.at > opened && sent.at < closed).map(|s| s.at).collect();
    let openings = opened_at(&harness).iter().filter(|at| **at < closed).count();
    assert!(!probes.is_empty() && probes.len() <= openings, "{probes:?} after {openings} openings");
}

#[tokio::test]
async fn what_is_found_at_the_first_look_after_a_start_does_not_open_it() {
    let mut setup = Setup::new(&Edited::of(super::harness::FAILED).set("cluster.count", 9).text());
    setup.breaker.failures = 5;
    let mut harness = setup.start().await;
    harness.pass(10 * MINUTE).await;
    assert_eq!((turns(&harness).len(), harness.sent().len()), (0, 9));
}

#[tokio::test]
async fn an_open_breaker_is_open_after_a_restart_for_what_is_left_of_its_time() {
    let mut harness = ill(8, "\"always\"").start().await;
    harness.pass(12 * MINUTE).await;
    assert_eq!(turns(&harness), ["breaker-opened"]);
    let (opened, sent) = (opened_at(&harness)[0], harness.sent().len());
    let (journal, stored) = ((*harness.journal).clone(), harness.journal.stored());
    let mut harness = harness.restarted(journal, &stored).await;
    harness.pass((opened + 29 * MINUTE).saturating_sub(harness.clock.passed())).await;
    assert_eq!(harness.sent().len(), sent);
    assert_eq!(code(&harness.reconcile_at("a-1").await), "breaker-open");
    harness.pass(5 * MINUTE).await;
    assert_eq!(harness.sent().len(), sent + 1, "one probe");
    harness.pass(20 * MINUTE).await;
    assert_eq!(turns(&harness), ["breaker-opened", "breaker-opened"], "the probe failed");
}

/// A journal that takes its time to keep that a breaker opens.
struct Slow(MemoryJournal);

impl Layer for Slow {
    fn beneath(&self) -> &dyn Store {
        &self.0
    }

    fn append(&self, fence: Fence, at: Moment, lines: Vec<(Subject, Event)>) -> Answer<'_, Vec<Entry>> {
        Box::pin(async move {
            if lines.iter().any(|(_, event)| matches!(event, Event::BreakerOpened { .. })) {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            self.0.append(fence, at, lines).await
        })
    }
}

#[tokio::test]
async fn looks_at_the_same_time_open_it_once() {
    let mut setup = ill(4, "2");
    setup.breaker.failures = 2;
    let mut harness = setup.start_on(Slow(MemoryJournal::new(1)), &[]).await;
    for n in 1..=4 {
        harness.reconcile_at(&format!("a-{n}")).await;
    }
    harness.skip(8 * MINUTE);
    let [one, two, three, four] = [1, 2, 3, 4].map(|n| harness.clusters[&format!("a-{n}")].clone());
    let look = |cluster| harness.reconciler.reconcile(cluster);
    tokio::join!(look(&one), look(&two), look(&three), look(&four));
    assert_eq!(harness.recorder.heard("breaker-opened"), 1);
}
