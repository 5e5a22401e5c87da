//! Clocks that are wrong or jump.

use std::time::Duration;

use jiff::SignedDuration;

use super::harness::{FAILED, HOPELESS, HOUR, MINUTE, SECOND, Setup, shortly_before};
use crate::edited::Edited;

#[tokio::test]
async fn while_the_clocks_differ_by_more_than_five_minutes_nothing_is_sent_and_looking_goes_on() {
    for (offset, sends) in [("4m 50s", true), ("-4m 50s", true), ("5m 10s", false), ("-5m 10s", false)] {
        let mut harness = Setup::new(&format!("{FAILED}\n[ways]\nclock_offset = \"{offset}\"")).start().await;
        harness.pass(HOUR).await;
        assert_eq!(!harness.sent().is_empty(), sends, "{offset}");
        if !sends {
            let requests = harness.requests().len();
            assert_eq!(harness.reconcile().await, "clock-off", "{offset}");
            assert!(harness.requests().len() > requests, "{offset}");
            let told = harness.known().reason().unwrap().to_string();
            let way = if offset.starts_with('-') { "ahead of" } else { "behind" };
            assert!(told.contains(way), "{told}");
        }
    }
}

#[tokio::test]
async fn a_clock_that_is_put_right_lets_the_retry_out_an_initial_interval_later() {
    let mut harness = Setup::new(FAILED).start().await;
    harness.reconcile().await;
    harness.clock.jump(SignedDuration::from_mins(10));
    harness.pass(30 * MINUTE).await;
    assert_eq!((harness.reconcile().await, harness.sent().len()), ("clock-off", 0));
    harness.clock.jump(SignedDuration::from_mins(-10));
    assert_eq!(harness.reconcile().await, "was-blocked");
    harness.pass(shortly_before(2 * MINUTE)).await;
    assert_eq!(harness.sent().len(), 0);
    harness.pass(2 * SECOND).await;
    assert_eq!(harness.sent_at(), [30 * 60 + 120]);
}

#[tokio::test]
async fn a_jump_of_the_wall_clock_makes_no_retry_early_or_late() {
    for jump in [-290, 290] {
        let mut harness = Setup::new(FAILED).start().await;
        harness.reconcile().await;
        harness.clock.jump(SignedDuration::from_secs(jump));
        harness.pass(shortly_before(2 * MINUTE)).await;
        assert_eq!(harness.sent().len(), 0, "{jump}");
        harness.pass(2 * SECOND).await;
        assert_eq!(harness.sent_at(), [120], "{jump}");
    }
}

#[tokio::test]
async fn the_rest_of_a_wait_after_a_restart_goes_by_the_wall_clock_and_is_never_longer_than_the_whole() {
    for (jump, due) in [(0, 120), (60, 120 - 60), (-290, 60 + 120)] {
        let mut harness = Setup::new(FAILED).start().await;
        harness.pass(MINUTE).await;
        harness.clock.jump(SignedDuration::from_secs(jump));
        let (journal, stored) = ((*harness.journal).clone(), harness.journal.stored());
        let mut harness = harness.restarted(journal, &stored).await;
        harness.pass(HOUR).await;
        let first = harness.sent_at()[0];
        assert!((due.max(60)..=due.max(60) + 1).contains(&first), "{jump}: {first}");
    }
}

/// Reconciles for a while with a clock that is off by so much, and has it set right.
async fn off_for<J: upgrade_remediator::journal::Store>(
    harness: &mut super::harness::Harness<J>,
    minutes: i64,
    span: Duration,
) {
    harness.clock.jump(SignedDuration::from_mins(minutes));
    harness.pass(span).await;
    assert_eq!(harness.sent().len(), 0);
    harness.clock.jump(SignedDuration::from_mins(-minutes));
}

#[tokio::test]
async fn a_clock_that_was_wrong_at_the_start_ends_no_wait_and_no_grace_once_it_is_right() {
    for (retries, due) in [(5, 10 * 60), (0, 15 * 60)] {
        for minutes in [-12, 12] {
            let setup = Setup::new(HOPELESS).retries(retries);
            let setup = setup.terms(|terms| terms.retry.initial_interval = 10 * MINUTE);
            let mut harness = setup.start().await;
            harness.pass(MINUTE).await;
            let (journal, stored) = ((*harness.journal).clone(), harness.journal.stored());
            harness.clock.jump(SignedDuration::from_mins(minutes));
            let mut harness = harness.restarted(journal, &stored).await;
            harness.clock.jump(SignedDuration::from_mins(-minutes));
            off_for(&mut harness, minutes, 3 * MINUTE).await;
            harness.pass(Duration::from_secs(due - 4 * 60 - 1)).await;
            assert_eq!(harness.sent().len(), 0, "{retries} retries, {minutes} min");
            harness.pass(MINUTE).await;
            let sent = harness.sent_at();
            assert!(
                sent.len() == 1 && (due..due + 60).contains(&sent[0]),
                "{retries} retries, {minutes} min: {sent:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_clock_that_was_wrong_at_the_start_gives_up_nothing_and_settles_nothing() {
    // The answer to the first PUT is lost. By a clock that is ahead it is long ago, and counts as not accepted.
    let text = format!("{FAILED}\n[[fault]]\non = \"retry\"\nwhat = \"server-error\"");
    let mut harness = Setup::new(&text).start().await;
    harness.pass(2 * MINUTE + SECOND).await;
    assert_eq!(harness.sent().len(), 1);
    let (journal, stored) = ((*harness.journal).clone(), harness.journal.stored());
    harness.clock.jump(SignedDuration::from_mins(12));
    let mut harness = harness.restarted(journal, &stored).await;
    for _ in 0..4 {
        harness.pass(20 * SECOND).await;
        assert!(harness.known().open.is_some(), "two readings agree, and settle_timeout is not over");
    }
    harness.clock.jump(SignedDuration::from_mins(-12));
    harness.pass(2 * MINUTE).await;
    assert!(harness.known().open.is_some() && harness.sent().len() == 1);
    harness.pass(10 * MINUTE).await;
    assert!(harness.known().open.is_none() || harness.sent().len() == 2);
}

#[tokio::test]
async fn what_was_journaled_by_a_clock_that_was_behind_is_not_old_after_a_restart() {
    let mut harness = Setup::new(HOPELESS).retries(0).start().await;
    harness.clock.jump(SignedDuration::from_mins(-12));
    harness.pass(3 * MINUTE).await;
    let (journal, stored) = ((*harness.journal).clone(), harness.journal.stored());
    // Set right while no process runs.
    harness.clock.jump(SignedDuration::from_mins(12));
    let mut harness = harness.restarted(journal, &stored).await;
    harness.pass(11 * MINUTE + 58 * SECOND).await;
    assert_eq!(harness.sent().len(), 0, "the grace began three minutes before the restart");
    harness.pass(5 * MINUTE).await;
    assert_eq!(harness.aborts(), 1);
}

#[tokio::test]
async fn no_age_is_judged_by_a_clock_that_is_off_and_a_restart_does_not_forget_that() {
    for (days_old, acted) in [("-30m", true), ("-100h", false)] {
        let text =
            Edited::of(FAILED).set("cluster.task.start", "-101h").set("cluster.task.end", days_old).text();
        let mut harness = Setup::new(&text).terms(|terms| terms.retry.max_retries = 1).start().await;
        harness.clock.jump(SignedDuration::from_mins(12));
        harness.pass(MINUTE).await;
        let (journal, stored) = ((*harness.journal).clone(), harness.journal.stored());
        harness.clock.jump(SignedDuration::from_mins(-12));
        let mut harness = harness.restarted(journal, &stored).await;
        harness.pass(10 * MINUTE).await;
        assert_eq!(!harness.sent().is_empty(), acted, "{days_old}");
        let judged = harness.entries().iter().filter(|entry| entry.event.word() == "age-judged").count();
        assert_eq!(judged, 1, "{days_old}");
    }
}
