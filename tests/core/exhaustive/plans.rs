//! What is walked: the same core under different skies, as all of them at once would be too many.

use std::time::Duration;

use upgrade_remediator::model::policy::{Mode, Retry, Terms};
use upgrade_remediator::model::project::Poll;

use super::daemon::Configuration;
use super::judge::Act;
use super::world::{Shows, TICK};

/// What is walked.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) name: &'static str,
    pub(crate) configuration: Configuration,
    pub(crate) shows: Shows,
    /// A failed task that the one walked has replaced is listed too.
    pub(crate) older: bool,
    /// A reading shows what was true so many ticks ago, at the most.
    pub(crate) lag: u8,
    /// A PUT that is late arrives within so many ticks.
    pub(crate) delay: u8,
    pub(crate) crashes: u8,
    /// For how long a killed process may be down.
    pub(crate) downs: &'static [u8],
    /// What one person may do, once.
    pub(crate) acts: &'static [Act],
    /// So many PUTs may meet another fate than the plain one.
    pub(crate) odd: u8,
    pub(crate) fates: &'static [Fate],
    /// So many looks may fail.
    pub(crate) unread: u8,
    /// The task may end as `PARTIAL_FAILED`.
    pub(crate) partial: bool,
    /// A node may complete, and the task succeed.
    pub(crate) nodes: bool,
    /// So many states there are at least.
    pub(crate) least: usize,
}

/// What becomes of a PUT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Fate {
    /// It arrives and is answered.
    Answered,
    /// It arrives, and the answer is lost.
    AnswerLost,
    /// It arrives, and the answer is a 503 with Retry-After.
    Failing,
    /// It arrives later, when nobody waits any more.
    Late,
    /// It never arrives.
    Lost,
    /// There was no connection.
    NotSent,
    /// 200, and nothing happens.
    WithoutEffect,
    /// It is refused with this status and code.
    Refused(u16, &'static str),
}

impl Fate {
    pub(crate) const ALL: &'static [Self] = &[
        Self::AnswerLost,
        Self::Failing,
        Self::Late,
        Self::Lost,
        Self::NotSent,
        Self::WithoutEffect,
        // One for each meaning.
        Self::Refused(409, "CSS.0029"),
        Self::Refused(400, "CSS.0001"),
        Self::Refused(404, "CSS.0007"),
        Self::Refused(404, "APIGW.0101"),
        Self::Refused(401, "APIGW.0301"),
        Self::Refused(403, "APIGW.0401"),
        Self::Refused(403, "APIGW.0302"),
    ];
}

/// In the console, and on the service's side.
const CONSOLE: &[Act] =
    &[Act::Retry, Act::Terminate { mark: false }, Act::Terminate { mark: true }, Act::CompleteNode];
/// To the daemon.
const OPERATOR: &[Act] = &[Act::Hold, Act::Reload];
/// By which nothing certain comes back.
const UNCLEAR: &[Fate] = &[Fate::AnswerLost, Fate::Late, Fate::Lost];

fn terms(policy: &str) -> Terms {
    let retry = Retry {
        max_retries: 2,
        initial_interval: TICK,
        multiplier: 2.0,
        max_interval: TICK * 4,
        randomization_factor: 0.0,
        max_elapsed_time: None,
        ..Retry::default()
    };
    // Shorter than readings are late.
    Terms { abort_grace: TICK, retry, ..Terms::defaults(policy, Mode::Enforce) }
}

/// Nothing but the task, our PUTs and readings that are late.
fn plain(name: &'static str, lag: u8) -> Plan {
    let delay = 1;
    let poll = Poll {
        idle_interval: TICK * 2,
        active_interval: TICK,
        settle_interval: TICK,
        // What is late is late by less: that is what the setting promises.
        settle_timeout: TICK * u32::from(lag + delay + 1),
        max_failure_age: Duration::from_hours(1_000_000),
        ..Poll::default()
    };
    let configuration = Configuration::new(&poll, [terms("one"), terms("other")]);
    Plan {
        name,
        configuration,
        shows: Shows { executions: true, endings: true },
        older: false,
        lag,
        delay,
        crashes: 0,
        downs: &[0],
        acts: &[],
        odd: 0,
        fates: Fate::ALL,
        unread: 0,
        partial: false,
        nodes: false,
        least: 1,
    }
}

/// What no reading can tell ('What remains', docs/safety.md): neither field says that there was another execution.
pub(crate) fn untold() -> Plan {
    let shows = Shows { executions: false, endings: false };
    Plan { odd: 1, fates: &[Fate::AnswerLost], shows, ..plain("neither executeTimes nor endTime tell", 1) }
}

/// Those of the plain `cargo test`.
pub(crate) fn short() -> Vec<Plan> {
    vec![
        Plan { unread: 1, partial: true, nodes: true, least: 250_000, ..plain("nodes", 1) },
        older_and_timed(),
        Plan { crashes: 2, odd: 1, fates: UNCLEAR, least: 300_000, ..plain("two kills", 2) },
        Plan { crashes: 1, odd: 1, downs: &[0, 5], least: 100_000, ..plain("every answer and a kill", 1) },
        Plan { acts: CONSOLE, least: 150_000, ..plain("a person at the console", 2) },
        Plan {
            acts: OPERATOR,
            crashes: 1,
            odd: 1,
            fates: &[Fate::Lost],
            least: 200_000,
            ..plain("a person at the daemon", 1)
        },
        Plan {
            acts: CONSOLE,
            odd: 1,
            fates: UNCLEAR,
            least: 150_000,
            ..plain("a person while a PUT is open", 1)
        },
        Plan {
            crashes: 1,
            odd: 1,
            fates: UNCLEAR,
            shows: Shows { executions: false, endings: true },
            least: 20_000,
            ..plain("executeTimes stays as it is", 1)
        },
        Plan {
            crashes: 1,
            odd: 1,
            fates: UNCLEAR,
            shows: Shows { executions: true, endings: false },
            least: 25_000,
            ..plain("there is no endTime", 1)
        },
    ]
}

/// The task has replaced another one that failed, and its first wait is all that the policy allows for.
fn older_and_timed() -> Plan {
    let mut plan =
        Plan { older: true, crashes: 1, least: 1_500, ..plain("an older task and little time", 1) };
    for rules in &mut plan.configuration.rules {
        rules.policies[0].terms.retry.max_elapsed_time = Some(TICK);
    }
    plan
}

/// Small ones, with something of everything.
pub(crate) fn alike() -> Vec<Plan> {
    let person = |act| Plan { acts: act, ..plain("one act of a person", 1) };
    vec![
        older_and_timed(),
        Plan { crashes: 1, downs: &[0, 5], ..plain("a kill", 2) },
        Plan { odd: 2, ..plain("every answer", 1) },
        Plan { partial: true, nodes: true, ..plain("nodes", 1) },
        person(CONSOLE),
        person(OPERATOR),
    ]
}

/// Those of `EXHAUSTIVE=all`: one act of a person at a time, with everything else at once.
pub(crate) fn long() -> Vec<Plan> {
    let least = 100_000;
    let person = |name, act: &'static [Act]| Plan {
        crashes: 2,
        odd: 1,
        fates: UNCLEAR,
        acts: act,
        least,
        ..plain(name, 1)
    };
    vec![
        Plan { crashes: 2, odd: 2, fates: UNCLEAR, downs: &[0, 5], least, ..plain("long: two odd PUTs", 1) },
        Plan { crashes: 2, odd: 1, unread: 1, least, ..plain("long: every answer", 2) },
        Plan {
            crashes: 1,
            odd: 1,
            fates: UNCLEAR,
            nodes: true,
            partial: true,
            least,
            ..plain("long: nodes", 1)
        },
        person("long: a retry by hand", &[Act::Retry]),
        person("long: a termination", &[Act::Terminate { mark: false }]),
        person("long: a termination that is seen", &[Act::Terminate { mark: true }]),
        person("long: a node by hand", &[Act::CompleteNode]),
        person("long: a hold", &[Act::Hold]),
        person("long: a reload", &[Act::Reload]),
        Plan { crashes: 1, acts: CONSOLE, least, ..plain("long: a person and late readings", 2) },
        Plan { acts: CONSOLE, nodes: true, least, ..plain("long: a person and nodes", 1) },
    ]
}
