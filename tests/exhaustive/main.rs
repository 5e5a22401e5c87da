//! Every state of the smallest core, breadth first: what the simulation draws by chance is here walked whole.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]
#![expect(clippy::print_stderr, reason = "what was walked, and what failed")]

mod daemon;
mod digest;
mod judge;
mod walk;
mod world;

use std::time::Duration;

use upgrade_remediator::model::policy::{Mode, Retry, Terms};
use upgrade_remediator::model::project::{Breaker, Limits, Poll};

use daemon::Settings;
use judge::Act;
use walk::{Fate, Plan, walk};
use world::{Shows, TICK};

const ACTS: &[Act] = &[
    Act::Retry,
    Act::Terminate { mark: false },
    Act::Terminate { mark: true },
    Act::CompleteNode,
    Act::Hold,
    Act::Reload,
];

fn terms(policy: &str) -> Terms {
    Terms {
        abort_grace: TICK,
        retry: Retry {
            max_retries: 2,
            initial_interval: TICK,
            multiplier: 2.0,
            max_interval: TICK * 8,
            randomization_factor: 0.0,
            max_elapsed_time: None,
            ..Retry::default()
        },
        ..Terms::defaults(policy, Mode::Enforce)
    }
}

fn plan() -> Plan {
    let poll = Poll {
        idle_interval: TICK * 2,
        active_interval: TICK,
        settle_interval: TICK,
        settle_timeout: TICK * 4,
        max_failure_age: Duration::from_hours(1_000_000),
        ..Poll::default()
    };
    Plan {
        name: "everything",
        settings: Settings {
            poll,
            limits: Limits::default(),
            breaker: Breaker::default(),
            terms: [terms("one"), terms("other")],
        },
        shows: Shows { executions: true, endings: true },
        older: false,
        lag: 2,
        delay: 1,
        crashes: 2,
        downs: &[0],
        acts: ACTS,
        odd: 1,
        fates: Fate::ALL,
        unread: 0,
        partial: true,
        nodes: true,
        most: usize::MAX,
    }
}

#[test]
fn dev() {
    let get = |name: &str| std::env::var(name).ok().and_then(|it| it.parse::<usize>().ok());
    let mut plan = plan();
    plan.crashes = get("CRASHES").unwrap_or(0) as u8;
    plan.odd = get("ODD").unwrap_or(1) as u8;
    if get("ACTS") == Some(0) {
        plan.acts = &[];
    }
    if let Some(lag) = get("LAG") {
        plan.lag = lag as u8;
        plan.settings.poll.settle_timeout = TICK * (lag as u32 + 2);
    }
    if let Some(act) = get("ACT") {
        plan.acts = &ACTS[act..=act];
    }
    plan.partial = get("PARTIAL").unwrap_or(0) > 0;
    plan.nodes = get("NODES").unwrap_or(1) > 0;
    plan.most = get("MOST").unwrap_or(usize::MAX);
    let begun = std::time::Instant::now();
    let walked = walk(&plan, get("ENOUGH").unwrap_or(8));
    eprintln!(
        "{} states, {} transitions, depth {}, complete {}, {:?}",
        walked.states,
        walked.transitions,
        walked.depth,
        walked.complete,
        begun.elapsed()
    );
    for (what, number) in &walked.reached {
        eprintln!("{number:>8} {what}");
    }
    for (wrong, story) in &walked.wrong {
        eprintln!("=== {wrong}\n{story}");
    }
}
