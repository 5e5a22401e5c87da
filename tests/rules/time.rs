//! Clocks that are wrong or jump.

use jiff::SignedDuration;

use super::stage::{FAILED, HOUR, MINUTE, SECOND, Script, shortly_before};

#[tokio::test]
async fn while_the_clocks_differ_by_more_than_five_minutes_nothing_is_sent_and_looking_goes_on() {
    for (offset, sends) in [("4m 50s", true), ("-4m 50s", true), ("5m 10s", false), ("-5m 10s", false)] {
        let mut stage = Script::new(&format!("{FAILED}\n[ways]\nclock_offset = \"{offset}\"")).start().await;
        stage.pass(HOUR).await;
        assert_eq!(!stage.sent().is_empty(), sends, "{offset}");
        if !sends {
            let requests = stage.requests().len();
            assert_eq!(stage.look().await, "clock-off", "{offset}");
            assert!(stage.requests().len() > requests, "{offset}");
            let told = stage.known().decided.unwrap().1.to_string();
            let way = if offset.starts_with('-') { "ahead of" } else { "behind" };
            assert!(told.contains(way), "{told}");
        }
    }
}

#[tokio::test]
async fn a_clock_that_is_put_right_lets_the_retry_out_an_initial_interval_later() {
    let mut stage = Script::new(FAILED).start().await;
    stage.look().await;
    stage.clock.jump(SignedDuration::from_mins(10));
    stage.pass(30 * MINUTE).await;
    assert_eq!((stage.look().await, stage.sent().len()), ("clock-off", 0));
    stage.clock.jump(SignedDuration::from_mins(-10));
    assert_eq!(stage.look().await, "held-until-now");
    stage.pass(shortly_before(2 * MINUTE)).await;
    assert_eq!(stage.sent().len(), 0);
    stage.pass(2 * SECOND).await;
    assert_eq!(stage.sent_at(), [30 * 60 + 120]);
}

#[tokio::test]
async fn a_jump_of_the_wall_clock_makes_no_retry_early_or_late() {
    for jump in [-290, 290] {
        let mut stage = Script::new(FAILED).start().await;
        stage.look().await;
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
