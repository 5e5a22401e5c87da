//! The harness: a journal in memory, channels that do as they are told, and virtual time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use upgrade_remediator::clock::Clock;
use upgrade_remediator::daemon::ProjectStates;
use upgrade_remediator::journal::{Journal, MemoryJournal};
use upgrade_remediator::model::answer::{Answer, Meaning};
use upgrade_remediator::model::cluster::Traits;
use upgrade_remediator::model::condition::{Code, Condition, Found};
use upgrade_remediator::model::decision::{Action, PassiveVerdict};
use upgrade_remediator::model::event::{Event, FailureSeen, Shape, Subject};
use upgrade_remediator::model::id::{AttemptId, ClusterId, ProjectName, TaskId};
use upgrade_remediator::model::outlook::{NextRequest, Outlook};
use upgrade_remediator::model::policy::{Mode, Terms};
use upgrade_remediator::model::reason::Reason;
use upgrade_remediator::model::setup::{Nodes, Place};
use upgrade_remediator::model::task::{TaskKind, TaskStatus};
use upgrade_remediator::notify::channel::{Channel, SendError, Sending, Taken};
use upgrade_remediator::notify::message::Message;
use upgrade_remediator::notify::notice;
use upgrade_remediator::notify::{Notification, Notifier, NotifyQueue, Observer as _, Routes, Start};

use crate::clocks::VirtualClock;

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_mins(1);
pub(crate) const HOUR: Duration = Duration::from_hours(1);

/// What a receiver does with a message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Manner {
    Takes,
    Fails,
    AsksToWait(Duration),
    Refuses,
    /// Takes it, but not for this one.
    TakesBut(&'static str),
    /// Takes it, and the answer is lost.
    TakesAndFails,
    Hangs,
}

/// A channel that remembers.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(crate) manner: Mutex<Manner>,
    /// Everything that reached it, and whether it was taken.
    tried: Mutex<Vec<(Duration, Message, bool)>>,
    clock: Arc<VirtualClock>,
}

impl Recorder {
    fn new(clock: &Arc<VirtualClock>) -> Arc<Self> {
        Arc::new(Self {
            manner: Mutex::new(Manner::Takes),
            tried: Mutex::default(),
            clock: Arc::clone(clock),
        })
    }

    pub(crate) fn set(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    /// The messages that it took, with their times.
    pub(crate) fn taken(&self) -> Vec<(Duration, Message)> {
        let tried = self.tried.lock().unwrap();
        tried.iter().filter(|(_, _, taken)| *taken).map(|(at, message, _)| (*at, message.clone())).collect()
    }

    /// When it was tried.
    pub(crate) fn tries(&self) -> Vec<(Duration, Message)> {
        self.tried.lock().unwrap().iter().map(|(at, message, _)| (*at, message.clone())).collect()
    }

    /// The kinds that it took, in order, with their counts.
    pub(crate) fn kinds(&self) -> Vec<String> {
        let words = |message: &Message| {
            let counts = message.counts.iter();
            counts
                .map(|(kind, count)| match count {
                    1 => kind.word().to_owned(),
                    _ => format!("{count} {}", kind.word()),
                })
                .collect::<Vec<_>>()
        };
        self.taken().iter().flat_map(|(_, message)| words(message)).collect()
    }
}

impl Channel for Recorder {
    fn kind(&self) -> &'static str {
        "webhook"
    }

    fn send<'a>(&'a self, message: &'a Message) -> Sending<'a> {
        Box::pin(async move {
            let manner = self.manner.lock().unwrap().clone();
            let taken = matches!(manner, Manner::Takes | Manner::TakesBut(_) | Manner::TakesAndFails);
            self.tried.lock().unwrap().push((self.clock.passed(), message.clone(), taken));
            match manner {
                Manner::Takes => Ok(Taken::default()),
                Manner::TakesBut(who) => {
                    Ok(Taken { refused: [(who.to_owned(), "550 no such user".to_owned())].into() })
                }
                Manner::Fails | Manner::TakesAndFails => Err(SendError::passing("nobody answers")),
                Manner::AsksToWait(wait) => {
                    Err(SendError { retry_after: Some(wait), ..SendError::passing("HTTP 429") })
                }
                Manner::Refuses => Err(SendError::refused("too long")),
                Manner::Hangs => std::future::pending().await,
            }
        })
    }
}

/// Everything together. Dropping what runs is a kill.
pub(crate) struct Harness {
    pub(crate) journal: MemoryJournal,
    pub(crate) clock: Arc<VirtualClock>,
    pub(crate) post: NotifyQueue,
    pub(crate) channels: BTreeMap<&'static str, Arc<Recorder>>,
    pub(crate) running: Option<Notifier>,
    routes: Routes,
    /// What the daemon foresees of every task.
    foreseen: Arc<Mutex<Option<Foreseen>>>,
}

/// What blocks the next request, and which it is.
#[derive(Clone)]
struct Foreseen {
    blocks: Vec<Reason>,
    next: Option<NextRequest>,
}

impl Harness {
    /// With these channels, of which the first is the default one, and reminders after an hour, four and a day.
    pub(crate) async fn new(names: &[&'static str]) -> Self {
        let clock = Arc::new(VirtualClock::beginning("2026-06-01T12:00:00Z".parse().unwrap()));
        let channels: BTreeMap<&'static str, Arc<Recorder>> =
            names.iter().map(|name| (*name, Recorder::new(&clock))).collect();
        let routes = Routes {
            channels: channels
                .iter()
                .map(|(name, channel)| ((*name).to_owned(), Arc::clone(channel) as Arc<dyn Channel>))
                .collect(),
            default: names.iter().take(1).map(|name| (*name).to_owned()).collect(),
            by_policy: BTreeMap::new(),
            reminders: vec![HOUR, 4 * HOUR, 24 * HOUR],
            page: Some("https://status.example".to_owned()),
        };
        let post = NotifyQueue::new(routes.clone());
        let mut harness = Self {
            journal: MemoryJournal::new(1),
            clock,
            post,
            channels,
            running: None,
            routes,
            foreseen: Arc::default(),
        };
        harness.start().await;
        harness
    }

    pub(crate) fn channel(&self, name: &str) -> &Recorder {
        &self.channels[name]
    }

    /// Changes the routes, as a reload does.
    pub(crate) fn reload(&mut self, change: impl FnOnce(&mut Routes)) {
        change(&mut self.routes);
        self.post.take(self.routes.clone());
    }

    /// Starts the process, as after a restart.
    pub(crate) async fn start(&mut self) {
        let mut states = ProjectStates::default();
        for entry in self.journal.stored() {
            states.fold(entry, self.clock.now());
        }
        let project = ProjectName::new("prod").unwrap();
        let project_state = states.take(&project, self.clock.now());
        let stored = self.journal.stored().into_iter();
        let last = stored.map(|entry| (entry.subject.project, entry.number)).collect();
        let mut start = Start { journal_id: "j".to_owned(), last, seed: 1, ..Start::default() };
        for (cluster, history) in &project_state.clusters {
            for (task, known) in history.tasks.iter().filter(|(_, task)| !task.is_ended()) {
                if known.failure.is_some() {
                    let subject =
                        Subject { project: project.clone(), cluster: cluster.clone(), task: task.clone() };
                    start.open.push((subject, known.clone()));
                }
            }
        }
        self.post = NotifyQueue::new(self.routes.clone());
        let watched = ["prod", "live"].map(|name| ProjectName::new(name).unwrap());
        self.post.recall(&Journal::from(self.journal.clone()), &watched).await.unwrap();
        let (journal, foreseen) = (self.journal.clone(), Arc::clone(&self.foreseen));
        self.post.foreseen_by(&subject("prod", "any").project, move |subject| {
            let Foreseen { blocks, next } = foreseen.lock().unwrap().clone()?;
            let story: Vec<_> = journal.stored().into_iter().filter(|it| it.subject == *subject).collect();
            let known = notice::fold(&story)?;
            Some(Outlook::new(Some(&known), &known.last_known(), &blocks, next))
        });
        self.running = Some(Notifier::start(&self.post, self.journal.clone(), &self.clock, start).await);
    }

    /// From now on the daemon foresees this of every task.
    pub(crate) fn foresees(&self, blocks: &[Reason], next: Option<NextRequest>) {
        *self.foreseen.lock().unwrap() = Some(Foreseen { blocks: blocks.to_vec(), next });
    }

    /// Kills it, with nothing finished.
    pub(crate) async fn kill(&mut self) {
        self.running = None;
        // Its tasks end when they are next polled.
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }

    /// Journals this of a task in one cluster of its own, and tells of it.
    pub(crate) async fn journal(&self, project: &str, name: &str, events: Vec<Event>) -> u64 {
        let subject = subject(project, name);
        let lines = events.into_iter().map(|event| (subject.clone(), event)).collect();
        let entries = Journal::from(self.journal.clone()).record(self.clock.now(), lines).await.unwrap();
        for entry in &entries {
            self.post.tell(&Notification::Journaled { cluster_name: name, entry });
        }
        entries.last().unwrap().number
    }

    /// These conditions are in force of the project `prod` now, and of these it is not known.
    pub(crate) fn finds(&self, conditions: Vec<Condition>, unknown: Vec<Code>) {
        let project = ProjectName::new("prod").unwrap();
        let cluster = conditions.iter().find_map(|condition| condition.cluster().map(|(id, _)| id.clone()));
        let found = Found { conditions, unknown };
        let shared = self.post.share_conditions();
        let changes = shared.lock().unwrap().update(&project, cluster.as_ref(), found, self.clock.now().wall);
        for change in &changes {
            self.post.tell(&Notification::Condition(change));
        }
    }

    /// Lets time pass.
    pub(crate) async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

pub(crate) fn subject(project: &str, name: &str) -> Subject {
    Subject {
        project: ProjectName::new(project).unwrap(),
        cluster: ClusterId::new(&format!("id-of-{name}")).unwrap(),
        task: TaskId::new(&format!("task-of-{name}")).unwrap(),
    }
}

pub(crate) fn first_seen(name: &str) -> Event {
    Event::FirstSeen {
        kind: TaskKind::Upgrade,
        cluster_name: name.to_owned(),
        traits: Traits::default(),
        start_time: "2026-06-01T09:30:00".parse().ok(),
        execute_times: Some(1),
        completed: Some(0),
        external: 0,
        setup: None,
        nodes: Nodes::default(),
    }
}

pub(crate) fn terms(policy: &str) -> Terms {
    Terms::defaults(policy, Mode::Enforce)
}

/// The n-th failure, at the first of three nodes, or at the second with the first one done.
pub(crate) fn failed(number: u32, completed: u32, terms: Option<Terms>) -> Event {
    let node = |n: u32| format!("ess-esn-{n}-1");
    let done = if completed == 0 { String::new() } else { node(1) };
    let current = node(completed + 1);
    let whole = format!(
        r#"{{"completedNodes":"{done}","currentNodeName":"{current}","totalNodes":"{},{},{}"}}"#,
        node(1),
        node(2),
        node(3)
    );
    Event::Failed(Box::new(FailureSeen {
        number,
        status: TaskStatus::Failed,
        shape: Shape { execute_times: Some(u64::from(number)), end_time: "2026-06-01T11:58:00".parse().ok() },
        seen_before: Duration::ZERO,
        whole,
        completed: Some(completed),
        total: 3,
        failing: format!("{current}, step 0 Data migration"),
        external: 0,
        too_old: false,
        age_unknown: false,
        seen_to_happen: true,
        terms,
        place: Place::default(),
    }))
}

/// A first failure with the decision that follows it.
pub(crate) fn fails(name: &str, policy: Option<&str>) -> Vec<Event> {
    let reason = match policy {
        Some(_) => Reason::Backoff {
            retry: 1,
            max_retries: 5,
            wait: 2 * MINUTE,
            until: "2026-06-01T12:02:00Z".parse().unwrap(),
        },
        None => Reason::NoPolicy,
    };
    let verdict = if policy.is_some() { PassiveVerdict::Wait } else { PassiveVerdict::Blocked };
    vec![first_seen(name), failed(1, 0, policy.map(terms)), Event::Decided { verdict, reason }]
}

pub(crate) fn sends(action: Action, retry: u32) -> Event {
    let reason = match action {
        Action::Retry => Reason::RetryDue { retry, max_retries: 5, waited: 2 * MINUTE },
        Action::Abort => Reason::AbortDue { used: 5, max_retries: 5, grace: 15 * MINUTE },
    };
    Event::Intent { action, failure: retry, waited: 2 * MINUTE, reason }
}

pub(crate) fn accepted(attempt: u64) -> Event {
    let answer = Answer {
        meaning: Meaning::Accepted,
        status: Some(200),
        code: None,
        message: String::new(),
        request_id: Some(format!("69ab7ef7d79ae840fd15d149eb7d8{attempt:03}")),
        retry_after: None,
    };
    Event::Answered { attempt: AttemptId(attempt), answer }
}

pub(crate) fn escalated() -> Event {
    Event::Escalated { reason: Reason::RetriesExhausted { used: 5, external: 0 } }
}
