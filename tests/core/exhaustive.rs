//! Every state of the smallest core, breadth first: what `tests/core/simulation` draws by chance is walked whole here.
//!
//! One task, and everything that can come between its failure and its end: retries, kills, one act of a person, readings
//! that show the past, PUTs that are lost, late, refused or answered by nobody. What is real: `observe`, `decide`, `news`,
//! the project's state and its fold, the intent and its proof, `reconcile::execute` and the table of answers. What is played: the service
//! (`world`), and a reconcile's own order of these (`daemon`). Time goes by in ticks, of which every wait is a multiple, so that
//! nothing happens between two of them. States that go on alike are one (`digest`).
//!
//! `cargo test --test core exhaustive -- --nocapture` tells what was walked. `EXHAUSTIVE=all` walks further (some minutes, and up
//! to two gigabytes of memory); `EXHAUSTIVE=NAME` walks that one plan.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]
#![expect(clippy::print_stderr, reason = "what was walked, and what failed")]

mod daemon;
mod digest;
mod judge;
mod plans;
mod state;
mod walk;
mod world;

use std::fmt::Write as _;

use plans::{Plan, alike, long, short, untold};
use state::Reached;
use walk::{Walked, goes_on_alike, walk};

/// What the short plans together must reach, so that a walk that went silent fails.
const MUST_BE_REACHED: &[&str] = &[
    "a retry sent",
    "an abort sent",
    "a PUT answered",
    "a PUT answered with 503",
    "a PUT refused",
    "a PUT that is late",
    "a PUT that never arrives",
    "a PUT whose answer is lost",
    "a PUT without a connection",
    "a PUT without effect",
    "a late retry arrives",
    "a late abort arrives",
    "a reconcile that fails",
    "a stale reading",
    "a stale reading acted on",
    "a stale reading taken for news",
    "a reading is known to be stale",
    "killed while it waits",
    "killed between two readings",
    "killed before the intent's commit",
    "killed between commit and PUT",
    "killed between PUT and answer",
    "killed between answer and its journaling",
    "started on the journal of a killed process",
    "a person retries",
    "a person terminates",
    "a person completes a node",
    "a person holds",
    "a person reloads",
    "the task succeeds",
    "a node completes",
    "PARTIAL_FAILED",
    "an attempt is settled",
    "a backoff",
    "an abort waits",
    "aborted",
    "an abort of unknown outcome is an operator's",
    "a completed node forbids the abort",
    "a changed policy forbids the abort",
    "a touch by others is an operator's",
    "a hold holds back",
    "the time is over",
    "the project is paused",
    "the cluster is paused",
    "the service is busy",
    "gone or forbidden",
    "not acceptable",
];

fn tell(plan: &Plan, walked: &Walked) -> String {
    let Walked { states, transitions, depth, .. } = walked;
    let mut text =
        format!("{:32} {states:>10} states {transitions:>10} transitions, {depth} deep\n", plan.name);
    for (wrong, story) in &walked.wrong {
        let _ = writeln!(text, "\n{wrong}, by the shortest way to it:\n{story}");
    }
    text
}

#[test]
fn no_way_through_the_core_breaks_an_invariant() {
    let asked = std::env::var("EXHAUSTIVE").ok();
    let mut plans = short();
    if let Some(asked) = &asked {
        plans.extend(long());
        plans.retain(|plan| asked == "all" || asked == plan.name);
        assert!(!plans.is_empty(), "there is no plan {asked}");
    }
    let (mut reached, mut wrong) = (Reached::new(), String::new());
    let (mut states, mut transitions) = (0, 0);
    for plan in &plans {
        let begun = begun();
        let walked = walk(plan, 5);
        eprint!("{}", tell(plan, &walked));
        eprintln!("{:32} in {:.1?}", "", begun.elapsed());
        if walked.wrong.is_empty() {
            // The walk is the same whenever it is walked: one that is much smaller walks something else.
            assert!(walked.states >= plan.least, "{} walks no more than {} states", plan.name, walked.states);
        } else {
            wrong.push_str(&tell(plan, &walked));
        }
        for (what, number) in walked.reached {
            *reached.entry(what).or_default() += number;
        }
        states += walked.states;
        transitions += walked.transitions;
    }
    let mut list = String::new();
    for (what, number) in &reached {
        let _ = writeln!(list, "{number:>10}  {what}");
    }
    eprintln!("{list}{states} states and {transitions} transitions in {} plans", plans.len());
    assert!(wrong.is_empty(), "{wrong}");
    if asked.is_none_or(|asked| asked == "all") {
        let missing: Vec<_> = MUST_BE_REACHED.iter().filter(|what| !reached.contains_key(**what)).collect();
        assert!(missing.is_empty(), "never reached: {missing:#?}");
        assert!(states > 1_000_000 && transitions > 2_000_000, "{states} states, {transitions} transitions");
    }
}

/// What is left out of a digest decides nothing.
#[test]
fn states_that_are_taken_for_one_go_on_alike() {
    for plan in alike() {
        let compared = goes_on_alike(&plan).unwrap_or_else(|other| panic!("{}: {other}", plan.name));
        eprintln!("{:32} {compared:>10} states were another one again, and went on alike", plan.name);
        assert!(compared > 100, "{compared} say little");
    }
}

/// That the walk finds what the documentation says cannot be helped shows that it would find it elsewhere.
#[test]
fn what_remains_is_found_where_the_api_tells_nothing() {
    let walked = walk(&untold(), 1);
    let (wrong, story) = walked.wrong.first().unwrap();
    assert!(wrong.starts_with("I3: 3 retries") || wrong.starts_with("I2"), "{wrong}\n{story}");
}

/// For people: nothing is judged by it.
#[expect(clippy::disallowed_methods, reason = "how long a walk took is told, and decides nothing")]
fn begun() -> std::time::Instant {
    std::time::Instant::now()
}
