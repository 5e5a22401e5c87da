//! The identity of a project is its id. What is known of it follows the id when its name is changed, exchanged or given
//! to another project, by a restart and by a reload.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;

use rusqlite::Connection;
use upgrade_remediator::model::event::{Event, Outcome};
use upgrade_remediator::simulator::scenario::DEFAULT_PROJECT_ID;

use crate::support::edited::waiting;
use crate::support::{self, ABORTS, Bench, FAILED_ONCE, Process, RETRIES};

/// How a new configuration comes into force.
#[derive(Debug, Clone, Copy)]
enum By {
    Restart,
    Reload,
}

/// A daemon under a new configuration.
async fn under_a_new_configuration(bench: &Bench, mut daemon: Process, by: By) -> Process {
    match by {
        By::Reload => {
            daemon.signal("HUP");
            daemon.says("the configuration was reloaded").await;
            daemon
        }
        By::Restart => {
            daemon.signal("TERM");
            assert_eq!(daemon.code().await, Some(0));
            let daemon = bench.daemon();
            daemon.says("started in mode").await;
            daemon
        }
    }
}

fn rename(bench: &Bench, from: &str, to: &str) {
    bench.edit(&format!("name = \"{from}\"\nregion"), &format!("name = \"{to}\"\nregion"));
}

fn intents(bench: &Bench) -> usize {
    bench.events().iter().filter(|event| matches!(event, Event::Intent { .. })).count()
}

/// The projects that entries are kept under.
fn kept_under(bench: &Bench) -> Vec<String> {
    let mut names: Vec<_> = bench.entries().iter().map(|entry| entry.subject.project.to_string()).collect();
    names.sort();
    names.dedup();
    names
}

async fn an_aborted_task_is_not_aborted_again(by: By) {
    let bench = Bench::new(FAILED_ONCE, ABORTS).await;
    let daemon = bench.daemon();
    let aborted = |event: &Event| matches!(event, Event::Ended(Outcome::Aborted));
    bench.journaled("the abort", aborted).await;
    rename(&bench, "test", "renamed");
    let daemon = under_a_new_configuration(&bench, daemon, by).await;
    daemon.says("project test was renamed to renamed").await;
    bench.looks_on(30).await;
    assert_eq!((bench.puts().len(), intents(&bench)), (1, 1), "{by:?}");
    assert_eq!(kept_under(&bench), ["renamed"], "{by:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_aborted_task_of_a_project_renamed_by_a_restart_is_not_aborted_again() {
    an_aborted_task_is_not_aborted_again(By::Restart).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_aborted_task_of_a_project_renamed_by_a_reload_is_not_aborted_again() {
    an_aborted_task_is_not_aborted_again(By::Reload).await;
}

async fn an_open_request_goes_with_its_project(by: By) {
    let lost = "[[fault]]\non = \"retry\"\nwhat = \"status\"\nstatus = 503\n";
    let bench = Bench::new(&format!("{FAILED_ONCE}{lost}"), RETRIES).await;
    bench.edit("settle_timeout = \"2s\"", "settle_timeout = \"4s\"");
    let daemon = bench.daemon();
    bench.journaled("the answer", |event| matches!(event, Event::Answered { .. })).await;
    rename(&bench, "test", "renamed");
    let _daemon = under_a_new_configuration(&bench, daemon, by).await;
    bench.looks_on(10).await;
    assert_eq!(intents(&bench), 1, "{by:?}: whether it was accepted is not known yet");
    let settled = |event: &Event| matches!(event, Event::Confirmed { .. });
    bench.journaled("what became of the request", settled).await;
    assert_eq!(kept_under(&bench), ["renamed"], "{by:?}");
    bench.judge();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_request_of_a_project_renamed_by_a_restart_is_settled_and_no_second_one_goes_out() {
    an_open_request_goes_with_its_project(By::Restart).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_request_of_a_project_renamed_by_a_reload_is_settled_and_no_second_one_goes_out() {
    an_open_request_goes_with_its_project(By::Reload).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_under_way_while_its_project_is_renamed_is_one_request() {
    let slow = "[[fault]]\non = \"retry\"\nwhat = \"delay\"\ndelay = \"600ms\"\n";
    let bench = Bench::new(&format!("{FAILED_ONCE}{slow}"), RETRIES).await;
    let daemon = bench.daemon();
    bench.journaled("the intent", |event| matches!(event, Event::Intent { .. })).await;
    rename(&bench, "test", "renamed");
    let _daemon = under_a_new_configuration(&bench, daemon, By::Reload).await;
    let resolved = |event: &Event| matches!(event, Event::Ended(_));
    bench.journaled("the end", resolved).await;
    assert_eq!((bench.puts().len(), intents(&bench)), (1, 1));
    assert_eq!(kept_under(&bench), ["renamed"]);
    bench.judge();
}

async fn a_hold_on_the_old_name_still_holds(by: By) {
    let bench = Bench::new(FAILED_ONCE, &waiting(RETRIES, "3s")).await;
    let daemon = bench.daemon();
    bench.journaled("the wait", |event| matches!(event, Event::Decided { .. })).await;
    let (code, _, err) = bench.runs(&["hold", "project:test", "--reason", "maintenance"]).await;
    assert_eq!(code, 0, "{err}");
    rename(&bench, "test", "renamed");
    let _daemon = under_a_new_configuration(&bench, daemon, by).await;
    let (_, out, _) = bench.runs(&["holds"]).await;
    assert!(out.contains("project:renamed") && !out.contains("project:test"), "{by:?}: {out}");
    support::let_pass(std::time::Duration::from_secs(4)).await;
    assert_eq!(bench.puts().len(), 0, "{by:?}");
    let (code, _, err) = bench.runs(&["release", "project:renamed"]).await;
    assert_eq!(code, 0, "{err}");
    support::eventually("the retry", || (!bench.puts().is_empty()).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_on_a_project_renamed_by_a_restart_still_holds() {
    a_hold_on_the_old_name_still_holds(By::Restart).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_on_a_project_renamed_by_a_reload_still_holds() {
    a_hold_on_the_old_name_still_holds(By::Reload).await;
}

/// Two services, each with a task that fails, watched by one daemon as `test` and `other`.
async fn two_projects() -> (Bench, Bench) {
    let bench = Bench::new(FAILED_ONCE, ABORTS).await;
    let other =
        Bench::new(&format!("project_id = \"of-other\"\n{}", FAILED_ONCE.replace("logs", "more")), ABORTS)
            .await;
    bench.edit(
        "[credentials.test]",
        &format!(
            "[[project]]\nname = \"other\"\nregion = \"eu-west-101\"\nproject_id = \"of-other\"\nendpoint = \"{}\"\n\
             credentials = \"test\"\n[credentials.test]",
            other.simulator.url()
        ),
    );
    (bench, other)
}

async fn two_projects_exchange_their_names(by: By) {
    let (bench, other) = two_projects().await;
    let daemon = bench.daemon();
    let aborted = |event: &Event| matches!(event, Event::Ended(Outcome::Aborted));
    support::eventually("both aborts", || {
        (bench.events().iter().filter(|event| aborted(event)).count() == 2).then_some(())
    })
    .await;
    let before: Vec<String> = under(&bench);
    rename(&bench, "test", "between");
    rename(&bench, "other", "test");
    rename(&bench, "between", "other");
    let _daemon = under_a_new_configuration(&bench, daemon, by).await;
    bench.looks_on(20).await;
    other.looks_on(20).await;
    assert_eq!((bench.puts().len(), other.puts().len(), intents(&bench)), (1, 1, 2), "{by:?}");
    let exchanged: Vec<String> = before
        .iter()
        .map(|line| match line.split_once(' ').unwrap() {
            ("test", cluster) => format!("other {cluster}"),
            (_, cluster) => format!("test {cluster}"),
        })
        .collect();
    let mut after = under(&bench);
    after.truncate(exchanged.len());
    assert_eq!(after, exchanged, "{by:?}");
}

/// The project and the cluster of each entry.
fn under(bench: &Bench) -> Vec<String> {
    bench
        .entries()
        .iter()
        .map(|entry| format!("{} {}", entry.subject.project, entry.subject.cluster))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_projects_that_exchange_their_names_by_a_restart_keep_their_histories() {
    two_projects_exchange_their_names(By::Restart).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_projects_that_exchange_their_names_by_a_reload_keep_their_histories() {
    two_projects_exchange_their_names(By::Reload).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_another_project_takes_leaves_its_history_to_the_former_one() {
    let (bench, other) = two_projects().await;
    let whole = fs::read_to_string(bench.config()).unwrap();
    let with_id = |id: &str, url: &str| {
        let (before, rest) = whole.split_once("[[project]]").unwrap();
        let (_, after) = rest.split_once("[credentials.test]").unwrap();
        let project = format!(
            "[[project]]\nname = \"test\"\nregion = \"eu-west-101\"\nproject_id = \"{id}\"\nendpoint = \"{url}\"\n\
             credentials = \"test\"\n"
        );
        fs::write(bench.config(), format!("{before}{project}[credentials.test]{after}")).unwrap();
    };
    with_id(DEFAULT_PROJECT_ID, &bench.simulator.url());
    let daemon = bench.daemon();
    let aborts = |count| {
        let aborted = |event: &&Event| matches!(event, Event::Ended(Outcome::Aborted));
        (bench.events().iter().filter(aborted).count() == count).then_some(())
    };
    support::eventually("the abort", || aborts(1)).await;
    with_id("of-other", &other.simulator.url());
    let daemon = under_a_new_configuration(&bench, daemon, By::Reload).await;
    support::eventually("the abort of the other project", || aborts(2)).await;
    assert_eq!((bench.puts().len(), other.puts().len()), (1, 1));
    assert_eq!(kept_under(&bench), [format!("former-{DEFAULT_PROJECT_ID}-1"), "test".to_owned()]);
    // And back, by a restart: each finds its own again.
    with_id(DEFAULT_PROJECT_ID, &bench.simulator.url());
    let daemon = under_a_new_configuration(&bench, daemon, By::Restart).await;
    bench.looks_on(20).await;
    with_id("of-other", &other.simulator.url());
    let _daemon = under_a_new_configuration(&bench, daemon, By::Reload).await;
    other.looks_on(20).await;
    assert_eq!((bench.puts().len(), other.puts().len(), intents(&bench)), (1, 1, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plan_knows_what_was_done_under_the_old_name_before_the_daemon_does() {
    let bench = Bench::new(FAILED_ONCE, ABORTS).await;
    let mut daemon = bench.daemon();
    bench.journaled("the abort", |event| matches!(event, Event::Ended(Outcome::Aborted))).await;
    daemon.signal("TERM");
    assert_eq!(daemon.code().await, Some(0));
    rename(&bench, "test", "renamed");
    let (_, out, err) = bench.runs(&["plan", "--json"]).await;
    let plan: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(plan[0]["reason"]["code"], "aborted-by-us", "{out}{err}");
    assert_eq!(kept_under(&bench), ["test"], "it changes nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_of_an_older_version_learns_the_ids_at_its_first_start() {
    let bench = Bench::new(FAILED_ONCE, ABORTS).await;
    let mut daemon = bench.daemon();
    bench.journaled("the abort", |event| matches!(event, Event::Ended(Outcome::Aborted))).await;
    daemon.signal("TERM");
    assert_eq!(daemon.code().await, Some(0));
    // As the version before left it.
    let shell = Connection::open(bench.journal()).unwrap();
    let holds = include_str!("../../src/journal/schema/0002_holds.sql");
    let outbox = include_str!("../../src/journal/schema/0003_outbox.sql");
    let back = "DROP TABLE project; DROP TABLE in_force; DROP VIEW holds; DROP VIEW breaker; DROP INDEX entry_by_time; \
                DROP VIEW outbox; DROP TABLE note; DROP TABLE channel; DROP TABLE delivery; DROP TABLE condition; \
                DROP TABLE reading; PRAGMA user_version = 3";
    shell.execute_batch(&format!("{back};{holds};{outbox}")).unwrap();
    drop(shell);
    let daemon = bench.daemon();
    bench.looks_on(10).await;
    rename(&bench, "test", "renamed");
    let _daemon = under_a_new_configuration(&bench, daemon, By::Restart).await;
    bench.looks_on(20).await;
    assert_eq!((bench.puts().len(), intents(&bench)), (1, 1));
    assert_eq!(kept_under(&bench), ["renamed"]);
}
