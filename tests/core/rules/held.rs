//! What a policy and the project's preconditions hold back, and what happens when that ends.

use upgrade_remediator::clock::Clock as _;
use upgrade_remediator::model::policy::Mode;

use super::harness::{FAILED, HOPELESS, HOUR, Harness, MINUTE, SECOND, Setup, code, shortly_before, terms};
use upgrade_remediator::reconcile::Report;

/// So many clusters, each with such a task.
fn fleet(count: usize, task: &str) -> Setup {
    Setup::new(&task.replace("name = \"a\"", &format!("name = \"a\"\ncount = {count}")))
}

#[tokio::test]
async fn dry_run_tells_once_sends_nothing_and_records_no_attempt() {
    for (retries, would) in [(3, "would retry"), (0, "would abort")] {
        let setup = Setup::new(HOPELESS).retries(retries).terms(|terms| terms.mode = Mode::DryRun);
        let mut harness = setup.start().await;
        harness.pass(3 * HOUR).await;
        assert_eq!((harness.reconcile().await, harness.sent().len()), ("dry-run", 0));
        let told: Vec<_> = harness.entries().iter().map(|entry| entry.event.to_string()).collect();
        assert_eq!(told.iter().filter(|told| told.contains(would)).count(), 1, "{told:?}");
        assert_eq!((harness.known().attempts, harness.used(), harness.end()), (0, 0, "open".to_owned()));
        assert_eq!(harness.reconciler.project_state().puts_within_an_hour(harness.entries()[0].at), 0);
    }
}

#[tokio::test]
async fn after_dry_run_and_without_a_policy_nothing_overdue_fires_at_once() {
    for before in [None, Some(Mode::DryRun)] {
        let mut setup = Setup::new(FAILED);
        setup.terms = before.map(|mode| {
            let mut terms = terms();
            terms.mode = mode;
            terms
        });
        let mut harness = setup.start().await;
        harness.pass(HOUR).await;
        assert_eq!(harness.sent().len(), 0);
        assert_eq!(harness.reconcile().await, if before.is_some() { "dry-run" } else { "no-policy" });
        harness.govern(Some(terms())).await;
        assert_eq!(harness.reconcile().await, "was-blocked");
        harness.pass(shortly_before(2 * MINUTE)).await;
        assert_eq!(harness.sent().len(), 0);
        harness.pass(2 * SECOND).await;
        assert_eq!(harness.sent_at(), [3_600 + 120]);
    }
}

#[tokio::test]
async fn a_task_that_no_policy_matches_is_watched_and_never_touched() {
    let mut setup = Setup::new(HOPELESS);
    setup.terms = None;
    let mut harness = setup.start().await;
    harness.pass(6 * HOUR).await;
    assert_eq!((harness.reconcile().await, harness.sent().len()), ("no-policy", 0));
    assert_eq!(harness.recorder.heard("decided"), 1, "told once");
    assert!(harness.requests().len() > 20, "and polling continues");
}

#[tokio::test]
async fn no_more_clusters_than_allowed_have_a_retried_task_running() {
    let mut setup = fleet(5, FAILED);
    setup.limits.max_actions_in_flight = 2;
    let mut harness = setup.start().await;
    harness.pass(10 * MINUTE).await;
    assert_eq!(harness.sent().len(), 2);
    let report = harness.reconcile_at("a-5").await;
    assert_eq!(code(&report), "actions-in-flight");
    harness.pass(6 * HOUR).await;
    let mut running: i32 = 0;
    for entry in harness.log() {
        use upgrade_remediator::simulator::log::{Record, TaskChange};
        if let Record::Task(task) = entry.record {
            match task.change {
                TaskChange::Restarted => running += 1,
                TaskChange::Ended(_) => running -= 1,
                _ => {}
            }
        }
        assert!(running <= 2, "{running} at once");
    }
    assert_eq!(harness.sent().len(), 5);
    for name in ["a-1", "a-2", "a-3", "a-4", "a-5"] {
        assert_eq!(harness.known_of(name).outcome().unwrap().word(), "resolved", "{name}");
    }
}

#[tokio::test]
async fn no_more_puts_than_allowed_are_sent_within_any_hour() {
    let mut setup = fleet(7, HOPELESS).retries(3);
    setup.limits.max_actions_per_hour = 4;
    let mut harness = setup.start().await;
    harness.pass(10 * HOUR).await;
    let sent = harness.sent_at();
    assert_eq!(sent.len(), 7 * 4, "in the end everything goes out: {sent:?}");
    for window in sent.windows(5) {
        assert!(window[4] - window[0] >= 3_600, "{window:?}");
    }
}

#[tokio::test]
async fn puts_of_the_last_hour_are_counted_over_a_restart() {
    let mut setup = fleet(3, FAILED);
    setup.limits.max_actions_per_hour = 1;
    let mut harness = setup.start().await;
    harness.pass(5 * MINUTE).await;
    assert_eq!(harness.sent().len(), 1);
    let (journal, stored) = ((*harness.journal).clone(), harness.journal.stored());
    let mut harness = harness.restarted(journal, &stored).await;
    harness.pass(50 * MINUTE).await;
    assert_eq!(harness.sent().len(), 1);
    harness.pass(20 * MINUTE).await;
    assert_eq!(harness.sent().len(), 2);
}

#[tokio::test]
async fn time_that_runs_out_with_retries_left_is_a_humans_and_never_an_abort() {
    // Waits of 2, 4 and 8 minutes: the third passes the limit of 10 minutes. What the task runs in between does not
    // count.
    let setup = Setup::new(HOPELESS).terms(|terms| terms.retry.max_elapsed_time = Some(10 * MINUTE));
    let mut harness = setup.start().await;
    harness.pass(6 * HOUR).await;
    assert_eq!((harness.sent().len(), harness.aborts()), (2, 0));
    assert_eq!(harness.end(), "human: max-elapsed-time");

    let setup = Setup::new(HOPELESS).terms(|terms| terms.retry.max_elapsed_time = Some(14 * MINUTE));
    let mut harness = setup.start().await;
    harness.pass(6 * HOUR).await;
    assert_eq!((harness.sent().len(), harness.end()), (3, "human: max-elapsed-time".to_owned()));
}

#[tokio::test]
async fn jitter_spreads_a_fleet_that_failed_at_once() {
    let setup = fleet(40, FAILED).terms(|terms| terms.retry.randomization_factor = 0.2);
    let mut harness = setup.start().await;
    harness.pass(5 * MINUTE).await;
    let sent = harness.sent_at();
    assert!(sent.iter().all(|at| (96..=144).contains(at)), "{sent:?}");
    let distinct: std::collections::BTreeSet<_> = sent.iter().collect();
    assert!(distinct.len() > 12, "{sent:?}");
}

#[tokio::test]
async fn looks_at_the_same_time_keep_the_limits_too() {
    let mut setup = fleet(4, FAILED);
    setup.limits.max_actions_in_flight = 2;
    setup.limits.max_actions_per_hour = 3;
    let mut harness = setup.start().await;
    for name in ["a-1", "a-2", "a-3", "a-4"] {
        harness.reconcile_at(name).await;
    }
    harness.skip(2 * MINUTE);
    let cluster = |name: &str| harness.clusters[name].clone();
    let [one, two, three, four] = ["a-1", "a-2", "a-3", "a-4"].map(cluster);
    let look = |cluster| harness.reconciler.reconcile(cluster);
    let reports = tokio::join!(look(&one), look(&two), look(&three), look(&four));
    let sent = [reports.0, reports.1, reports.2, reports.3].iter().filter(|report| report.sent).count();
    assert_eq!((sent, harness.sent().len()), (2, 2));
}

#[tokio::test]
async fn two_looks_at_one_cluster_at_the_same_time_send_one_put() {
    let mut harness = Setup::new(FAILED).start().await;
    harness.reconcile().await;
    harness.skip(2 * MINUTE);
    let cluster = harness.clusters["a"].clone();
    let look = || harness.reconciler.reconcile(&cluster);
    tokio::join!(look(), look(), look());
    assert_eq!(harness.sent().len(), 1);
}

#[tokio::test]
async fn once_the_daemon_is_stopping_nothing_is_sent() {
    let mut harness = Setup::new(FAILED).start().await;
    harness.reconcile().await;
    harness.skip(2 * MINUTE);
    harness.stopping.cancel();
    let report = harness.reconcile_at("a").await;
    assert!(!report.sent && report.decision.is_none(), "{report:?}");
    assert_eq!(harness.sent().len(), 0);
}

#[tokio::test]
async fn a_hold_stops_the_next_put_of_any_kind_and_nothing_else() {
    for (setup, held) in [(Setup::new(FAILED), 2 * MINUTE), (Setup::new(HOPELESS).retries(0), 15 * MINUTE)] {
        let mut harness = setup.start().await;
        harness.pass(MINUTE).await;
        let hold = harness.hold("project:prod").await;
        let looks = harness.pass(5 * HOUR).await;
        assert_eq!((harness.sent().len(), harness.reconcile().await), (0, "on-hold"));
        assert!(looks.len() > 100, "polling continues: {}", looks.len());
        harness.release(hold);
        assert_eq!(harness.reconcile().await, "was-blocked");
        harness.pass(shortly_before(2 * MINUTE)).await;
        assert_eq!(harness.sent().len(), 0, "nothing overdue fires at once");
        harness.pass(2 * SECOND).await;
        assert_eq!(harness.sent().len(), 1, "held for {held:?} of its wait");
    }
}

#[tokio::test]
async fn a_hold_that_comes_between_the_decision_and_the_commit_stops_the_put() {
    let mut harness = Setup::new(FAILED).start().await;
    harness.reconcile().await;
    harness.skip(2 * MINUTE);
    let cluster = harness.clusters["a"].clone();
    // The first poll said that a retry is due. The hold is placed while the second one is under way.
    let before = reads(&harness);
    let mut reconcile = Box::pin(harness.reconciler.reconcile(&cluster));
    until_polls(&harness, &mut reconcile, before + 3).await;
    let gate = harness.reconciler.pause().await;
    until_polls(&harness, &mut reconcile, before + 4).await;
    let new = upgrade_remediator::model::hold::NewHold {
        at: harness.clock.now().wall,
        scope: upgrade_remediator::model::hold::Scope::All,
        cluster_name: None,
        until: None,
        reason: "stop".to_owned(),
        by: "uid 7".to_owned(),
    };
    let hold = upgrade_remediator::model::hold::StoredHold::new(1, new);
    harness.holds.write().unwrap().place(hold, harness.clock.now());
    drop(gate);
    let report = reconcile.await;
    assert_eq!((code(&report), harness.sent().len()), ("on-hold", 0));
}

fn reads(harness: &Harness) -> usize {
    harness.requests().iter().filter(|(_, request)| request.method == "GET").count()
}

/// Lets the reconcile go on until so many requests were read. It must not end by then.
async fn until_polls(
    harness: &Harness,
    reconcile: &mut (impl Future<Output = Report> + Unpin),
    lists: usize,
) {
    tokio::select! {
        biased;
        // Looked at before each step of the reconcile, so that it is not a whole request further on.
        () = async { while reads(harness) < lists { tokio::task::yield_now().await } } => {}
        report = reconcile => panic!("it ended: {report:?}"),
    }
}

#[tokio::test]
async fn a_reading_that_another_client_made_sends_nothing() {
    let mut harness = Setup::new(FAILED).start().await;
    harness.reconcile().await;
    harness.skip(2 * MINUTE);
    let cluster = harness.clusters["a"].clone();
    // The client is exchanged while the second poll is under way.
    let before = reads(&harness);
    let mut reconcile = Box::pin(harness.reconciler.reconcile(&cluster));
    until_polls(&harness, &mut reconcile, before + 3).await;
    let gate = harness.reconciler.pause().await;
    let rules = (*harness.reconciler.rules()).clone();
    let mut reload = Box::pin(harness.reconciler.reload(rules, Some(harness.client())));
    tokio::select! {
        biased;
        () = &mut reload => panic!("it passed the gate"),
        () = tokio::task::yield_now() => {}
    }
    until_polls(&harness, &mut reconcile, before + 4).await;
    // The reconcile stands behind the reload by now, or will in a moment.
    tokio::select! {
        biased;
        report = &mut reconcile => panic!("it passed the gate: {report:?}"),
        () = tokio::time::sleep(SECOND / 20) => {}
    }
    drop(gate);
    let ((), report) = tokio::join!(reload, reconcile);
    assert_eq!((report.sent, report.next_poll, harness.sent().len()), (false, std::time::Duration::ZERO, 0));
    assert!(harness.reconcile_at("a").await.sent, "the next reconcile reads with the new one");
}
