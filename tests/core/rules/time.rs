//! Clocks that are wrong or jump.

use std::time::Duration;

use jiff::SignedDuration;

use super::stage::{FAILED, HOPELESS, HOUR, MINUTE, SECOND, Script, shortly_before};

#[tokio::test]
async fn while_the_clocks_differ_by_more_than_five_minutes_nothing_is_sent_and_looking_goes_on() {
    for (offset, sends) in [("4m 50s", true), ("-4m 50s", true), ("5m 10s", false), ("-5m 10s", false)] {
        let mut stage = Script::new(&format!("{FAILED}\n[ways]\nclock_offset = \"{offset}\"")).start().await;
        stage.pass(HOUR).await;
        assert_eq!(!stage.sent().is_empty(), sends, "{offset}");
        if !sends {
            let requests = stage.requests().len();
            assert_eq!(stage.reconcile().await, "clock-off", "{offset}");
            assert!(stage.requests().len() > requests, "{offset}");
            let told = stage.known().reason().unwrap().to_string();
            let way = if offset.starts_with('-') { "ahead of" } else { "behind" };
            assert!(told.contains(way), "{told}");
        }
    }
}

#[tokio::test]
async fn a_clock_that_is_put_right_lets_the_retry_out_an_initial_interval_later() {
    let mut stage = Script::new(FAILED).start().await;
    stage.reconcile().await;
    stage.clock.jump(SignedDuration::from_mins(10));
    stage.pass(30 * MINUTE).await;
    assert_eq!((stage.reconcile().await, stage.sent().len()), ("clock-off", 0));
    stage.clock.jump(SignedDuration::from_mins(-10));
    assert_eq!(stage.reconcile().await, "was-blocked");
    stage.pass(shortly_before(2 * MINUTE)).await;
    assert_eq!(stage.sent().len(), 0);
    stage.pass(2 * SECOND).await;
    assert_eq!(stage.sent_at(), [30 * 60 + 120]);
}

#[tokio::test]
async fn a_jump_of_the_wall_clock_makes_no_retry_early_or_late() {
    for jump in [-290, 290] {
        let mut stage = Script::new(FAILED).start().await;
        stage.reconcile().await;
        stage.clock.jump(SignedDuration::from_secs(jump));
        stage.pass(shortly_before(2 * MINUTE)).await;
        assert_eq!(stage.sent().len(), 0, "{jump}");
        stage.pass(2 * SECOND).await;
        assert_eq!(stage.sent_at(), [120], "{jump}");
    }
}

#[tokio::test]
async fn the_rest_of_a_wait_after_a_restart_goes_by_the_wall_clock_and_is_never_longer_than_the_whole() {
    for (jump, due) in [(0, 120), (60, 120 - 60), (-290, 60 + 120)] {
        let mut stage = Script::new(FAILED).start().await;
        stage.pass(MINUTE).await;
        stage.clock.jump(SignedDuration::from_secs(jump));
        let (journal, stored) = ((*stage.journal).clone(), stage.journal.stored());
        let mut stage = stage.restarted(journal, &stored).await;
        stage.pass(HOUR).await;
        let first = stage.sent_at()[0];
        assert!((due.max(60)..=due.max(60) + 1).contains(&first), "{jump}: {first}");
    }
}

/// Reconciles for a while with a clock that is off by so much, and has it set right.
async fn off_for<J: upgrade_remediator::journal::Journal>(
    stage: &mut super::stage::Stage<J>,
    minutes: i64,
    span: Duration,
) {
    stage.clock.jump(SignedDuration::from_mins(minutes));
    stage.pass(span).await;
    assert_eq!(stage.sent().len(), 0);
    stage.clock.jump(SignedDuration::from_mins(-minutes));
}

#[tokio::test]
async fn a_clock_that_was_wrong_at_the_start_ends_no_wait_and_no_grace_once_it_is_right() {
    for (retries, due) in [(5, 10 * 60), (0, 15 * 60)] {
        for minutes in [-12, 12] {
            let script = Script::new(HOPELESS).retries(retries);
            let script = script.terms(|terms| terms.retry.initial_interval = 10 * MINUTE);
            let mut stage = script.start().await;
            stage.pass(MINUTE).await;
            let (journal, stored) = ((*stage.journal).clone(), stage.journal.stored());
            stage.clock.jump(SignedDuration::from_mins(minutes));
            let mut stage = stage.restarted(journal, &stored).await;
            stage.clock.jump(SignedDuration::from_mins(-minutes));
            off_for(&mut stage, minutes, 3 * MINUTE).await;
            stage.pass(Duration::from_secs(due - 4 * 60 - 1)).await;
            assert_eq!(stage.sent().len(), 0, "{retries} retries, {minutes} min");
            stage.pass(MINUTE).await;
            let sent = stage.sent_at();
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
    let mut stage = Script::new(&text).start().await;
    stage.pass(2 * MINUTE + SECOND).await;
    assert_eq!(stage.sent().len(), 1);
    let (journal, stored) = ((*stage.journal).clone(), stage.journal.stored());
    stage.clock.jump(SignedDuration::from_mins(12));
    let mut stage = stage.restarted(journal, &stored).await;
    for _ in 0..4 {
        stage.pass(20 * SECOND).await;
        assert!(stage.known().open.is_some(), "two readings agree, and settle_timeout is not over");
    }
    stage.clock.jump(SignedDuration::from_mins(-12));
    stage.pass(2 * MINUTE).await;
    assert!(stage.known().open.is_some() && stage.sent().len() == 1);
    stage.pass(10 * MINUTE).await;
    assert!(stage.known().open.is_none() || stage.sent().len() == 2);
}

#[tokio::test]
async fn what_was_journaled_by_a_clock_that_was_behind_is_not_old_after_a_restart() {
    let mut stage = Script::new(HOPELESS).retries(0).start().await;
    stage.clock.jump(SignedDuration::from_mins(-12));
    stage.pass(3 * MINUTE).await;
    let (journal, stored) = ((*stage.journal).clone(), stage.journal.stored());
    // Set right while no process runs.
    stage.clock.jump(SignedDuration::from_mins(12));
    let mut stage = stage.restarted(journal, &stored).await;
    stage.pass(11 * MINUTE + 58 * SECOND).await;
    assert_eq!(stage.sent().len(), 0, "the grace began three minutes before the restart");
    stage.pass(5 * MINUTE).await;
    assert_eq!(stage.aborts(), 1);
}

#[tokio::test]
async fn no_age_is_judged_by_a_clock_that_is_off_and_a_restart_does_not_forget_that() {
    for (days_old, acted) in [("-30m", true), ("-100h", false)] {
        let text = FAILED.replace("\"-30m\"", "\"-101h\"").replace("\"-5m\"", &format!("\"{days_old}\""));
        let mut stage = Script::new(&text).terms(|terms| terms.retry.max_retries = 1).start().await;
        stage.clock.jump(SignedDuration::from_mins(12));
        stage.pass(MINUTE).await;
        let (journal, stored) = ((*stage.journal).clone(), stage.journal.stored());
        stage.clock.jump(SignedDuration::from_mins(-12));
        let mut stage = stage.restarted(journal, &stored).await;
        stage.pass(10 * MINUTE).await;
        assert_eq!(!stage.sent().is_empty(), acted, "{days_old}");
        let judged = stage.entries().iter().filter(|entry| entry.event.word() == "age-judged").count();
        assert_eq!(judged, 1, "{days_old}");
    }
}
