//! The table 'What the answers to a PUT mean', row by row, but for the rows that let something rest.

use upgrade_remediator::model::reason::Reason;

use super::harness::{FAILED, HOPELESS, HOUR, Harness, MINUTE, SECOND, Setup, shortly_before};

/// The story of a failed task whose first PUT meets this fault.
async fn first_put_meets(fault: &str) -> Harness {
    let harness = Setup::new(&format!("{FAILED}\n[[fault]]\non = \"put\"\n{fault}")).start().await;
    advance_to_first_put(harness).await
}

async fn advance_to_first_put(mut harness: Harness) -> Harness {
    assert_eq!(harness.reconcile().await, "backoff");
    harness.pass(2 * MINUTE).await;
    assert_eq!(harness.sent_at(), [120], "the first PUT leaves when its backoff ends");
    harness
}

#[tokio::test]
async fn a_200_without_an_error_code_is_accepted_and_uses_the_retry() {
    let mut harness = advance_to_first_put(Setup::new(FAILED).start().await).await;
    assert_eq!(harness.meanings(), ["accepted"]);
    let codes = harness.pass(16 * SECOND).await;
    assert_eq!(codes, ["running"], "it is polled again soon");
    harness.pass(2 * HOUR).await;
    assert_eq!((harness.end(), harness.used(), harness.sent().len()), ("resolved".to_owned(), 1, 1));
}

#[tokio::test]
async fn busy_answers_use_no_retry_and_the_same_interval_runs_again_from_the_answer() {
    for fault in [
        "what = \"202-CSS.0011\"",
        "what = \"status\"\nstatus = 409",
        "what = \"status\"\nstatus = 409\ncode = \"CSS.0029\"",
        "what = \"status\"\nstatus = 409\nbody = \"<html>busy</html>\"",
        "what = \"throttled\"",
        "what = \"throttled\"\nretry_after = \"30s\"",
        "what = \"status\"\nstatus = 429\nbody = \"<html>slow down</html>\"",
        "what = \"status\"\nstatus = 429\ncode = \"CSS.0001\"",
        "what = \"status\"\nstatus = 400\ncode = \"CSS.0036\"",
        "what = \"status\"\nstatus = 400\ncode = \"CSS.0077\"",
        "what = \"status\"\nstatus = 400\ncode = \"CSS.0078\"",
        "what = \"status\"\nstatus = 400\ncode = \"CSS.5090\"",
        "what = \"status\"\nstatus = 400\ncode = \"CSS.5140\"",
        "what = \"status\"\nstatus = 400\ncode = \"CSS.0004\"",
        "what = \"status\"\nstatus = 415\ncode = \"CSS.0004\"",
        "what = \"status\"\nstatus = 415\ncode = \"CSS.0036\"",
    ] {
        let mut harness = first_put_meets(fault).await;
        assert_eq!(harness.meanings(), ["busy"], "{fault}");
        assert_eq!(harness.reconcile().await, "service-busy", "{fault}");
        assert_eq!(harness.used(), 0, "{fault}");
        harness.pass(2 * HOUR).await;
        assert_eq!(harness.sent_at(), [120, 240], "{fault}");
        assert_eq!((harness.used(), harness.end()), (1, "resolved".to_owned()), "{fault}");
    }
}

#[tokio::test]
async fn a_retry_after_that_is_longer_than_the_backoff_is_waited_for() {
    for (fault, second) in [
        ("what = \"throttled\"\nretry_after = \"10m\"", 120 + 600),
        ("what = \"202-CSS.0011\"\nretry_after = \"10m\"", 120 + 600),
        ("what = \"throttled\"\nretry_after = \"1m\"", 120 + 120),
    ] {
        let mut harness = first_put_meets(fault).await;
        harness.pass(2 * HOUR).await;
        assert_eq!(harness.sent_at(), [120, second], "{fault}");
    }
}

#[tokio::test]
async fn a_retry_after_delays_one_put_and_not_the_ones_after_it() {
    let faults = format!(
        "{FAILED}\n[[fault]]\non = \"put\"\nwhat = \"throttled\"\nretry_after = \"10m\"\n\
         [[fault]]\non = \"put\"\nnth = 2\nwhat = \"202-CSS.0011\""
    );
    let mut harness = advance_to_first_put(Setup::new(&faults).start().await).await;
    harness.pass(2 * HOUR).await;
    assert_eq!(harness.sent_at(), [120, 720, 840]);
}

#[tokio::test]
async fn a_service_that_is_busy_for_a_day_is_a_humans() {
    let text = format!("{FAILED}\n[[fault]]\non = \"put\"\ntimes = \"always\"\nwhat = \"202-CSS.0011\"");
    let mut harness = advance_to_first_put(Setup::new(&text).lazily().start().await).await;
    harness.pass(shortly_before(24 * HOUR)).await;
    assert_eq!(harness.end(), "open");
    harness.pass(2 * SECOND).await;
    assert_eq!(harness.end(), "human: busy-too-long");
    assert_eq!(harness.used(), 0);
    let sent = harness.sent().len();
    harness.pass(24 * HOUR).await;
    assert_eq!(harness.sent().len(), sent, "after an escalation nothing is sent");
}

#[tokio::test]
async fn what_is_not_acceptable_is_never_repeated_and_told_with_all_that_support_asks_for() {
    for (status, code) in [
        (400, "CSS.0001"),
        (400, "CSS.6000"),
        (400, "APIGW.0201"),
        (406, "CSS.0001"),
        (407, ""),
        (408, ""),
        (410, "CSS.0001"),
        (413, "CSS.0030"),
        (414, ""),
        (415, "CSS.5108"),
        (418, ""),
        (419, "CSS.0023"),
        (422, "CSS.0040"),
        (425, ""),
        (451, "X.1"),
        (494, "APIGW.0201"),
    ] {
        let code_line = if code.is_empty() { String::new() } else { format!("code = \"{code}\"") };
        let message_line = if code.is_empty() { "" } else { "message = \"No such thing.\"" };
        let fault =
            format!("what = \"status\"\nstatus = {status}\n{code_line}\n{message_line}\ntimes = \"always\"");
        let mut harness = first_put_meets(&fault).await;
        assert_eq!(harness.meanings(), ["not-acceptable"], "{status} {code}");
        assert_eq!(harness.reconcile().await, "not-acceptable", "{status} {code}");
        let reasons = harness.escalations();
        let [Reason::NotAcceptable { answer }] = reasons.as_slice() else { panic!("{reasons:?}") };
        assert_eq!(answer.status, Some(status));
        assert_eq!(answer.code.as_deref().unwrap_or_default(), code);
        assert_eq!(answer.message.contains("No such thing."), !code.is_empty(), "{answer:?}");
        assert_eq!(answer.request_id.as_deref(), Some(&*harness.sent()[0].request.answer.request_id));
        let told = reasons[0].to_string();
        assert!(told.contains(&status.to_string()) && told.contains(code), "{told}");
        assert!(told.contains(&harness.sent()[0].request.answer.request_id), "{told}");
        harness.pass(3 * HOUR).await;
        assert_eq!(harness.reconcile().await, "needs-operator");
        assert_eq!((harness.sent().len(), harness.used()), (1, 0), "{status} {code}");
    }
}

/// Faults after which nobody can say from the answer whether the PUT was taken; in each the story says whether it
/// was.
const UNKNOWN: &[&str] = &[
    "what = \"server-error\"",
    "what = \"status\"\nstatus = 500",
    "what = \"status\"\nstatus = 500\ncode = \"CSS.9999\"",
    "what = \"status\"\nstatus = 500\ncode = \"CSS.0011\"",
    "what = \"status\"\nstatus = 502\nbody = \"<html>Bad Gateway</html>\"",
    "what = \"status\"\nstatus = 503",
    "what = \"status\"\nstatus = 504\ncode = \"APIGW.0201\"",
    "what = \"status\"\nstatus = 599",
    "what = \"cut\"",
    "what = \"html\"",
    "what = \"nonsense\"",
    "what = \"200-errCode\"",
    "what = \"status\"\nstatus = 201",
    "what = \"status\"\nstatus = 202",
    "what = \"status\"\nstatus = 204",
];

#[tokio::test]
async fn an_unknown_outcome_that_was_taken_is_found_by_reading_and_nothing_is_sent_twice() {
    for fault in UNKNOWN {
        let mut harness = first_put_meets(&format!("{fault}\ntaken = true")).await;
        assert_eq!(harness.meanings(), ["unknown"], "{fault}");
        assert_eq!(harness.reconcile().await, "running", "{fault}");
        assert_eq!(harness.known().retries_used(&super::harness::terms()), 1, "{fault}: while it is open");
        harness.pass(2 * HOUR).await;
        assert_eq!((harness.sent().len(), harness.used()), (1, 1), "{fault}");
        assert_eq!(harness.end(), "resolved", "{fault}");
    }
}

#[tokio::test]
async fn an_unknown_outcome_that_was_not_taken_uses_no_retry_and_is_sent_again_once_that_is_certain() {
    for fault in UNKNOWN {
        let mut harness = first_put_meets(fault).await;
        assert_eq!(harness.meanings(), ["unknown"], "{fault}");
        assert_eq!(harness.reconcile().await, "outcome-unknown", "{fault}");
        let codes = harness.pass(shortly_before(5 * MINUTE)).await;
        assert!(codes.iter().all(|code| *code == "outcome-unknown"), "{fault}: {codes:?}");
        assert_eq!(harness.sent().len(), 1, "{fault}");
        harness.pass(2 * HOUR).await;
        let sent = harness.sent_at();
        assert_eq!(sent.len(), 2, "{fault}: {sent:?}");
        assert!((120 + 300 + 15..=120 + 300 + 30).contains(&sent[1]), "{fault}: {sent:?}");
        assert_eq!((harness.used(), harness.end()), (1, "resolved".to_owned()), "{fault}");
    }
}

#[tokio::test]
async fn an_answer_that_was_cut_off_is_unknown() {
    let mut harness = first_put_meets("what = \"truncated\"").await;
    assert_eq!(harness.meanings(), ["unknown"]);
    harness.pass(2 * HOUR).await;
    assert_eq!((harness.sent().len(), harness.used(), harness.end()), (1, 1, "resolved".to_owned()));
}

#[tokio::test]
async fn an_answer_that_never_comes_is_unknown() {
    let mut setup =
        Setup::new(&format!("{FAILED}\n[[fault]]\non = \"put\"\nwhat = \"delay\"\ndelay = \"1h\""));
    setup.poll.request_timeout = SECOND;
    let mut harness = advance_to_first_put(setup.start().await).await;
    assert_eq!(harness.meanings(), ["unknown"]);
    harness.pass(2 * HOUR).await;
    assert_eq!((harness.sent().len(), harness.used(), harness.end()), (1, 1, "resolved".to_owned()));
}

#[tokio::test]
async fn the_retry_after_of_a_5xx_is_waited_for_before_anything_is_settled() {
    let fault = "what = \"status\"\nstatus = 503\nretry_after = \"20m\"";
    let mut harness = first_put_meets(fault).await;
    harness.pass(shortly_before(20 * MINUTE)).await;
    assert!(harness.known().open.is_some());
    harness.pass(2 * HOUR).await;
    assert!((120 + 1_200 + 15..=120 + 1_200 + 30).contains(&harness.sent_at()[1]), "{:?}", harness.sent_at());

    let mut harness = first_put_meets(&format!("{fault}\ntaken = true")).await;
    harness.pass(shortly_before(20 * MINUTE)).await;
    assert!(harness.known().open.is_some(), "not before it is over");
    harness.pass(2 * HOUR).await;
    assert_eq!((harness.sent().len(), harness.used(), harness.end()), (1, 1, "resolved".to_owned()));
}

#[tokio::test]
async fn three_unknown_outcomes_in_a_row_that_were_not_taken_are_a_humans() {
    let text = format!("{HOPELESS}\n[[fault]]\non = \"put\"\ntimes = \"always\"\nwhat = \"server-error\"");
    let mut harness = advance_to_first_put(Setup::new(&text).start().await).await;
    harness.pass(3 * HOUR).await;
    assert_eq!((harness.sent().len(), harness.used()), (3, 0));
    assert_eq!(harness.end(), "human: not-accepted");
}

#[tokio::test]
async fn an_accepted_put_between_two_unknown_ones_ends_the_row() {
    // Not taken, not taken, taken without effect, not taken, not taken, taken.
    let text = format!(
        "{FAILED}\n[[fault]]\non = \"put\"\ntimes = 2\nwhat = \"server-error\"\n\
         [[fault]]\non = \"put\"\nnth = 3\nwhat = \"empty\"\n\
         [[fault]]\non = \"put\"\nnth = 4\ntimes = 2\nwhat = \"server-error\""
    );
    let mut harness = advance_to_first_put(Setup::new(&text).start().await).await;
    harness.pass(5 * HOUR).await;
    assert_eq!((harness.sent().len(), harness.used()), (6, 2));
    assert_eq!(harness.end(), "resolved");
}

#[tokio::test]
async fn an_accepted_put_without_effect_uses_the_retry_and_two_in_a_row_are_a_humans() {
    let text = format!("{HOPELESS}\n[[fault]]\non = \"put\"\ntimes = \"always\"\nwhat = \"empty\"");
    let mut harness = advance_to_first_put(Setup::new(&text).start().await).await;
    assert_eq!(harness.meanings(), ["accepted"]);
    harness.pass(5 * MINUTE + 16 * SECOND).await;
    assert_eq!((harness.used(), harness.reconcile().await), (1, "backoff"));
    harness.pass(3 * HOUR).await;
    let sent = harness.sent_at();
    assert_eq!(sent.len(), 2);
    assert!(sent[1] >= 120 + 300 + 240, "the next backoff starts when that is certain: {sent:?}");
    assert_eq!((harness.used(), harness.end()), (2, "human: without-effect".to_owned()));
}
