//! What holds whatever the history of a task was: random stories, driven through observing and deciding as a reconcile
//! does it, without any I/O.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use upgrade_remediator::decide::{StepInput, step};
use upgrade_remediator::model::answer::{Answer, Meaning};
use upgrade_remediator::model::cluster::{Cluster, Traits};
use upgrade_remediator::model::decision::{Action, Decision, Verdict};
use upgrade_remediator::model::event::{Confirmation, Entry, Event, Subject};
use upgrade_remediator::model::hold::Holds;
use upgrade_remediator::model::id::{AttemptId, ClusterId, ProjectName, TaskId};
use upgrade_remediator::model::moment::{Moment, Mono};
use upgrade_remediator::model::policy::{Expect, Match, Mode, OnExhausted, Policy, Retry, Terms};
use upgrade_remediator::model::project::Rules;
use upgrade_remediator::model::project_state::ProjectState;
use upgrade_remediator::model::record::ClusterRecord;
use upgrade_remediator::model::task::{CompletedNodes, Reading, Step, Task, TaskKind, TaskList, TaskStatus};

/// One reading of the task, some time after the last one.
#[derive(Debug, Clone)]
struct Shown {
    wait: Duration,
    status: TaskStatus,
    execute_times: Option<u64>,
    end_minute: Option<u8>,
    completed: CompletedNodes,
    batch: usize,
    steps: Vec<&'static str>,
    touch: u8,
    /// What is answered where something is sent; `None`: nothing is recorded.
    answer: Option<Meaning>,
}

fn shown() -> impl Strategy<Value = Shown> {
    let word = |word: &str| TaskStatus::from(word.to_owned());
    let status = prop_oneof![
        12 => Just(word("FAILED")),
        1 => Just(word("PARTIAL_FAILED")),
        4 => Just(word("RUNNING")),
        1 => Just(word("SUCCESS")),
        1 => Just(word("TERMINATED")),
    ];
    let completed = prop_oneof![
        6 => Just(CompletedNodes::None),
        1 => Just(CompletedNodes::Some(BTreeSet::from(["a".to_owned()]))),
        1 => Just(CompletedNodes::Some(BTreeSet::from(["a".to_owned(), "b".to_owned()]))),
        1 => Just(CompletedNodes::Unreadable("null".to_owned())),
    ];
    let steps = prop::collection::vec(prop_oneof![Just("SUCCESS"), Just("FAILED")], 0..3);
    let answer = prop_oneof![
        5 => Just(Some(Meaning::Accepted)),
        3 => Just(Some(Meaning::Unknown)),
        1 => Just(None),
        1 => Just(Some(Meaning::Busy)),
        1 => Just(Some(Meaning::NotAcceptable)),
        1 => Just(Some(Meaning::GoneOrForbidden)),
        1 => Just(Some(Meaning::ForbiddenCluster)),
    ];
    let end = prop_oneof![2 => Just(None), 5 => (0_u8..4).prop_map(Some)];
    let times = prop_oneof![1 => Just(None), 6 => (1_u64..6).prop_map(Some)];
    let touch = prop_oneof![9 => Just(0_u8), 1 => Just(1_u8)];
    (0_u64..900, status, times, end, completed, 0_usize..3, steps, touch, answer).prop_map(
        |(wait, status, execute_times, end_minute, completed, batch, steps, touch, answer)| Shown {
            wait: Duration::from_secs(wait),
            status,
            execute_times,
            end_minute,
            completed,
            batch,
            steps,
            touch,
            answer,
        },
    )
}

/// Stories in which most readings repeat the one before, as they do in life.
fn story() -> impl Strategy<Value = Vec<Shown>> {
    let reading = (shown(), prop::bool::weighted(0.6), 0_u64..900);
    prop::collection::vec(reading, 1..50).prop_map(|readings| {
        let mut story: Vec<Shown> = Vec::new();
        for (shown, repeats, wait) in readings {
            let shown = match story.last() {
                Some(last) if repeats => {
                    Shown { wait: Duration::from_secs(wait), answer: shown.answer, ..last.clone() }
                }
                _ => shown,
            };
            story.push(shown);
        }
        story
    })
}

fn terms() -> impl Strategy<Value = Terms> {
    (0_u32..4, 0_u64..600, any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>())
        .prop_map(
            |(
                max_retries,
                seconds,
                aborts,
                reset_on_progress,
                count_external,
                retry_partial_failed,
                grace,
            )| Terms {
                on_exhausted: if aborts { OnExhausted::Abort } else { OnExhausted::Escalate },
                abort_grace: Duration::from_secs(if grace { 300 } else { 0 }),
                retry: Retry {
                    max_retries,
                    initial_interval: Duration::from_secs(seconds.max(1)),
                    max_elapsed_time: None,
                    reset_on_progress,
                    count_external,
                    retry_partial_failed,
                    ..Retry::default()
                },
                ..Terms::defaults("any", Mode::Enforce)
            },
        )
}

/// What was sent, and on what reading.
struct Sent {
    action: Action,
    read: Task,
    used: u32,
    index: usize,
}

struct Harness {
    now: Moment,
    number: u64,
    project_state: ProjectState,
    entries: Vec<Event>,
    sent: Vec<Sent>,
    decisions: Vec<Decision>,
}

fn task_id() -> TaskId {
    TaskId::new("t").unwrap()
}

fn cluster() -> ClusterId {
    ClusterId::new("c").unwrap()
}

impl Harness {
    fn record(&mut self, event: Event) {
        self.number += 1;
        let subject =
            Subject { project: ProjectName::new("p").unwrap(), cluster: cluster(), task: task_id() };
        self.entries.push(event.clone());
        self.project_state.apply(&Entry { number: self.number, at: self.now, subject, event });
    }

    fn history(&self) -> ClusterRecord {
        self.project_state.cluster(&cluster()).clone()
    }

    /// Takes one reading in, decides on it, and journals what follows.
    fn read(&mut self, shown: &Shown, terms: &Terms) {
        self.now = self.now.after(shown.wait);
        let read = task(shown);
        let list = TaskList { tasks: vec![read.clone()], unusable: 0, total_size: Some(1) };
        let reading = Reading::new(self.now, self.now, [list, TaskList::default()]);
        let (project, id, holds) = (ProjectName::new("p").unwrap(), cluster(), Holds::default());
        let policy = Policy { matches: Match::default(), terms: terms.clone(), expect: Expect::default() };
        let rules = Rules { policies: vec![policy], mode: Mode::Enforce, ..Rules::default() };
        let input = StepInput {
            project: &project,
            cluster: &Cluster::recalled(id.clone(), "c".to_owned(), Traits::default()),
            reading: &reading,
            rules: &rules,
            holds: &holds,
            seed: 1,
            clock_offset: None,
            listed: Some(self.now),
            polled: Some(self.now),
        };
        let done = step(&self.project_state, input, self.now);
        assert_eq!(done, step(&self.project_state, input, self.now), "equal inputs give equal steps");
        let decision = done.decision;
        for (_, event) in done.events {
            self.record(event);
        }
        self.project_state.remember(&id, &reading);
        self.follow(&decision, &read, terms, shown.answer);
        self.decisions.push(decision);
    }

    fn follow(&mut self, decision: &Decision, read: &Task, terms: &Terms, answer: Option<Meaning>) {
        let history = self.history();
        let Some(known) = history.tasks.get(&task_id()).filter(|_| decision.task.is_some()) else { return };
        let reason = decision.reason.clone();
        match &decision.verdict {
            Verdict::Escalate | Verdict::Wait | Verdict::Blocked => {}
            Verdict::Act(order) => {
                let action = order.action();
                self.sent.push(Sent {
                    action,
                    read: read.clone(),
                    used: known.retries_used(terms),
                    index: self.entries.len(),
                });
                let failure = known.failure.as_ref().unwrap().seen.number;
                self.record(Event::Intent { action, failure, waited: Duration::ZERO, reason });
                let attempt = AttemptId(self.number);
                if let Some(meaning) = answer {
                    let answer = Answer {
                        meaning,
                        status: None,
                        code: None,
                        message: String::new(),
                        request_id: None,
                        retry_after: None,
                    };
                    self.record(Event::Answered { attempt, answer });
                }
            }
        }
    }
}

fn task(shown: &Shown) -> Task {
    let failed = shown.status.is_failure();
    let step = |status: &&'static str| Step {
        order: None,
        name: String::new(),
        status: (*status).to_owned(),
        begin_time: None,
        end_time: None,
    };
    let end = shown.end_minute.filter(|_| shown.status != TaskStatus::Running);
    let mut task = Task {
        id: task_id(),
        kind: TaskKind::Upgrade,
        status: shown.status.clone(),
        start_time: Some("2026-01-02T11:00:00".parse().unwrap()),
        end_time: end.map(|minute| format!("2026-01-02T11:5{minute}:00").parse().unwrap()),
        execute_times: shown.execute_times,
        total_nodes: BTreeSet::from(["a", "b", "c"].map(str::to_owned)),
        completed: shown.completed.clone(),
        current_node: "a".to_owned(),
        current_batch: ["a", "b"].into_iter().take(shown.batch).map(str::to_owned).collect(),
        steps: shown.steps.iter().map(step).collect(),
        setup: None,
        whole: None,
    };
    if failed {
        task.whole = Some(format!("{task:?}{}", shown.touch));
    }
    task
}

fn play(story: &[Shown], terms: &Terms) -> Harness {
    let now = Moment { wall: "2026-01-02T12:00:00Z".parse().unwrap(), mono: Mono(0) };
    let mut harness = Harness {
        now,
        number: 0,
        project_state: ProjectState::default(),
        entries: Vec::new(),
        sent: Vec::new(),
        decisions: Vec::new(),
    };
    for shown in story {
        harness.read(shown, terms);
    }
    harness
}

/// The retries of ours that these entries count as accepted or leave open.
fn retries_since(entries: &[Event]) -> u32 {
    let mut used = 0;
    let mut open = None;
    for event in entries {
        match event {
            Event::Intent { action: Action::Retry, .. } => {
                used += 1;
                open = Some(());
            }
            // Not accepted, for certain: it is given back.
            Event::Confirmed { settlement: Confirmation::NotAccepted, .. } => {
                used -= u32::from(open.take().is_some());
            }
            Event::Answered { answer, .. }
                if !matches!(answer.meaning, Meaning::Accepted | Meaning::Unknown) =>
            {
                used -= u32::from(open.take().is_some());
            }
            Event::Confirmed { .. } => open = None,
            _ => {}
        }
    }
    used
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn an_abort_is_only_decided_on_a_failed_task_that_surely_has_no_node_done(
        story in story(), terms in terms()
    ) {
        let harness = play(&story, &terms);
        for sent in harness.sent.iter().filter(|sent| sent.action == Action::Abort) {
            prop_assert_eq!(sent.read.status.word(), "FAILED");
            prop_assert_eq!(&sent.read.completed, &CompletedNodes::None);
            prop_assert!(sent.read.current_batch.len() < 2);
            let done = !sent.read.steps.is_empty()
                && sent.read.steps.iter().all(|step| step.status == "SUCCESS");
            prop_assert!(!done);
            prop_assert!(sent.used >= terms.retry.max_retries);
            prop_assert_eq!(terms.on_exhausted, OnExhausted::Abort);
        }
    }

    #[test]
    fn no_more_retries_are_used_than_the_budget_since_the_last_progress(
        story in story(), terms in terms()
    ) {
        let harness = play(&story, &terms);
        for sent in harness.sent.iter().filter(|sent| sent.action == Action::Retry) {
            prop_assert!(sent.used < terms.retry.max_retries);
            let before = &harness.entries[..sent.index];
            let progress = before.iter().rposition(|event| matches!(event, Event::Progress { .. }));
            let since = progress.filter(|_| terms.retry.reset_on_progress).map_or(0, |index| index + 1);
            prop_assert!(retries_since(&before[since..]) < terms.retry.max_retries);
        }
    }

    #[test]
    fn nothing_is_sent_while_an_attempt_is_open_or_after_the_end(story in story(), terms in terms()) {
        let harness = play(&story, &terms);
        let (mut open, mut over) = (None, false);
        for event in &harness.entries {
            match event {
                Event::Intent { action, .. } => {
                    prop_assert!(open.is_none(), "a second PUT while one is open");
                    prop_assert!(!over, "a PUT after an abort or an escalation");
                    open = Some(*action);
                }
                Event::Answered { answer, .. } => match (answer.meaning, open) {
                    (Meaning::Accepted, Some(Action::Abort)) => over = true,
                    (Meaning::Accepted | Meaning::Unknown, _) => {}
                    _ => open = None,
                },
                // A failure that is seen to be new ends the doubt about an abort.
                Event::Confirmed { .. } | Event::Failed(_) => open = None,
                Event::Escalated { .. } => over = true,
                _ => {}
            }
        }
    }

    #[test]
    fn the_exhaustion_action_comes_once_for_a_failure(story in story(), terms in terms()) {
        let harness = play(&story, &terms);
        let escalations =
            harness.entries.iter().filter(|event| matches!(event, Event::Escalated { .. })).count();
        prop_assert!(escalations <= 1, "handed to an operator {escalations} times");
        let mut aborts = 0;
        for (index, event) in harness.entries.iter().enumerate() {
            match event {
                Event::Failed(_) => aborts = 0,
                Event::Intent { action: Action::Abort, .. } => {
                    let refused = matches!(
                        harness.entries.get(index + 1),
                        Some(Event::Answered { answer, .. })
                            if !matches!(answer.meaning, Meaning::Accepted | Meaning::Unknown)
                    );
                    prop_assert_eq!(aborts, 0, "a second abort");
                    aborts += u32::from(!refused);
                }
                _ => {}
            }
        }
    }

    #[test]
    fn equal_stories_end_alike(story in story(), terms in terms()) {
        let (one, other) = (play(&story, &terms), play(&story, &terms));
        prop_assert_eq!(one.decisions, other.decisions);
        prop_assert_eq!(one.project_state, other.project_state);
    }
}

#[test]
fn the_stories_reach_what_they_are_about() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let (mut retries, mut aborts, mut escalations) = (0, 0, 0);
    for _ in 0..500 {
        let (story, terms) = (story(), terms()).new_tree(&mut runner).unwrap().current();
        let harness = play(&story, &terms);
        retries += harness.sent.iter().filter(|sent| sent.action == Action::Retry).count();
        aborts += harness.sent.iter().filter(|sent| sent.action == Action::Abort).count();
        escalations +=
            harness.entries.iter().filter(|event| matches!(event, Event::Escalated { .. })).count();
    }
    assert!(retries > 100 && aborts > 10 && escalations > 100, "{retries} {aborts} {escalations}");
}
