//! How long the journal keeps what is finished.

use std::time::Duration;

use super::stage::{HOPELESS, HOUR, Script, Stage};

const DAY: Duration = Duration::from_hours(24);

/// A task that is aborted after a quarter of an hour, and what the service shows of it then.
async fn aborted(leaves: &str) -> Stage {
    let scenario = format!("{HOPELESS}\n[ways]\nafter_abort = \"{leaves}\"\n");
    let mut script = Script::new(&scenario).retries(0).lazily();
    script.poll.idle_interval = HOUR;
    script.poll.discovery_interval = HOUR;
    script.retention = Some(10 * DAY);
    let mut stage = script.start().await;
    stage.pass(HOUR).await;
    assert_eq!((stage.aborts(), stage.end()), (1, "aborted".to_owned()));
    stage
}

#[tokio::test]
async fn a_task_is_forgotten_some_time_after_its_end_once_the_service_lists_it_no_more() {
    let mut stage = aborted("vanishes").await;
    let before = stage.entries();
    stage.pass(9 * DAY).await;
    assert_eq!(stage.entries(), before, "nothing is written, and nothing is forgotten");
    stage.pass(2 * DAY).await;
    assert_eq!(stage.entries(), []);
    assert!(stage.reconciler.project_state().clusters.values().all(|cluster| cluster.tasks.is_empty()));
    stage.pass(2 * DAY).await;
    assert_eq!(stage.sent().len(), 1);
}

#[tokio::test]
async fn the_last_word_on_a_task_that_the_service_still_lists_is_never_removed() {
    let mut stage = aborted("nothing").await;
    let before = stage.entries();
    stage.pass(40 * DAY).await;
    assert_eq!(stage.entries(), before);
    assert_eq!((stage.sent().len(), stage.reconcile().await), (1, "aborted-by-us"));
}

#[tokio::test]
async fn what_ended_on_a_cluster_that_went_is_forgotten_too() {
    let scenario = HOPELESS.replace("name = \"a\"", "name = \"a\"\ndeleted_at = \"5h\"");
    let mut script = Script::new(&scenario).retries(0).lazily();
    script.poll.discovery_interval = HOUR;
    script.retention = Some(10 * DAY);
    let mut stage = script.start().await;
    stage.pass(5 * DAY).await;
    assert!(stage.clusters.is_empty() && !stage.entries().is_empty());
    stage.pass(6 * DAY).await;
    assert_eq!(stage.entries(), []);
}
