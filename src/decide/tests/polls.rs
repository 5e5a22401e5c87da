//! When a cluster is polled again.

use super::*;

#[test]
fn what_may_still_change_soon_is_looked_at_sooner() {
    let poll = Poll::default();
    let poll_after = |harness: &mut Harness, task: Task| harness.read(&[task]).next_poll;
    let odd = Task { status: TaskStatus::Other("QUEUED".to_owned()), ..failed(1) };

    let nothing = Harness::new().read(&[]);
    assert_eq!((nothing.reason.code(), nothing.next_poll), ("idle", poll.idle_interval));
    let mut idle = Harness::new();
    assert_eq!(poll_after(&mut idle, success(1)), poll.idle_interval);
    assert_eq!(
        poll_after(&mut idle, odd),
        poll.active_interval,
        "a status that we do not know may become another"
    );

    let mut running_alone = Harness::new();
    assert_eq!(poll_after(&mut running_alone, running(1)), poll.active_interval);

    let mut after_a_put = Harness::new();
    assert_eq!(poll_after(&mut after_a_put, failed(1)), poll.active_interval, "backoff");
    after_a_put.pass(2 * MINUTE);
    after_a_put.send(&[failed(1)], Meaning::Accepted);
    after_a_put.pass(Duration::from_secs(15));
    assert_eq!(poll_after(&mut after_a_put, running(2)), poll.settle_interval, "a second reading settles it");
    after_a_put.pass(Duration::from_secs(15));
    assert_eq!(poll_after(&mut after_a_put, running(2)), poll.active_interval, "confirmed");

    let mut succeeded = Harness::new();
    succeeded.read(&[failed(1)]);
    succeeded.pass(2 * MINUTE);
    succeeded.send(&[failed(1)], Meaning::Accepted);
    succeeded.pass(Duration::from_secs(15));
    assert_eq!(poll_after(&mut succeeded, success(2)), poll.settle_interval);
    succeeded.pass(Duration::from_secs(15));
    assert_eq!(poll_after(&mut succeeded, success(2)), poll.idle_interval);
}

#[test]
fn what_an_answer_lacks_is_asked_for_again_as_soon_as_another_one_may_have_it() {
    let older = |task| named("o", "2026-01-01T00:00:00", task);
    let short = TaskList { tasks: vec![failed(1)], unusable: 0, total_size: Some(2) };
    let undated = Task { start_time: None, ..older(success(1)) };

    let mut harness = Harness::new();
    harness.read(&[failed(1), older(running(1))]);
    let short = harness.read_lists(short);
    assert_eq!((short.reason.code(), short.next_poll), ("list-incomplete", harness.poll.active_interval));
    let lacks = harness.read(&[failed(1)]);
    assert_eq!((lacks.reason.code(), lacks.next_poll), ("running-missing", harness.poll.settle_interval));
    // What no answer shows stays as it is.
    let unclear = harness.read(&[failed(1), undated]);
    assert_eq!((unclear.reason.code(), unclear.next_poll), ("order-unclear", harness.poll.idle_interval));
    let mut harness = Harness::new();
    harness.read(&[success(1)]);
    let gone = harness.read(&[]);
    assert_eq!((gone.reason.code(), gone.next_poll), ("newest-missing", harness.poll.idle_interval));
}

#[test]
fn a_wait_that_ends_sooner_than_the_next_look_is_looked_at_when_it_ends() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass((2 * MINUTE).saturating_sub(Duration::from_secs(7)));
    assert_eq!(harness.read(&[failed(1)]).next_poll, Duration::from_secs(7));
}

#[test]
fn what_nobody_will_act_on_is_looked_at_as_if_it_were_idle() {
    let mut harness = Harness::new();
    harness.terms = None;
    let unmatched = harness.read(&[failed(1)]);
    assert_eq!((unmatched.reason.code(), unmatched.next_poll), ("no-policy", harness.poll.idle_interval));
    harness.terms = Some(terms());
    harness.terms.as_mut().unwrap().mode = Mode::DryRun;
    harness.pass(2 * MINUTE);
    let dry = harness.read(&[failed(1)]);
    assert_eq!((dry.reason.code(), dry.next_poll), ("dry-run", harness.poll.active_interval));
}

#[test]
fn an_abort_of_unknown_outcome_is_looked_at_as_often_as_its_task_may_change() {
    for (shown, next_poll) in
        [(running(2), Poll::default().active_interval), (failed(1), Poll::default().idle_interval)]
    {
        let mut harness = Harness::new();
        harness.terms.as_mut().unwrap().retry.max_retries = 0;
        harness.read(&[failed(1)]);
        harness.pass(15 * MINUTE);
        harness.send(&[failed(1)], Meaning::Unknown);
        harness.pass(MINUTE);
        let decision = harness.read(&[shown]);
        assert_eq!((decision.reason.code(), decision.next_poll), ("abort-unknown", next_poll));
    }
}
