//! `run`: the daemon in the foreground, or one poll of everything.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::progress::Progress;
use super::{CommandResult, Failure, block_on, log_warnings};
use crate::clock::{Clock as _, SystemClock, random_seed};
use crate::configuration::{Configuration, Environment, Http, Loaded};
use crate::control::{Question, Reachable, Server};
use crate::daemon::{self, Broken, Builder, Daemon, Measured, ProjectStates, Projects};
use crate::journal::{Found, Journal, Opened};
use crate::lifecycle::Signals;
use crate::model::command::command;
use crate::model::id::ProjectName;
use crate::model::policy::Mode;
use crate::model::text::{chain, counted, named};
use crate::notify::log::LogObserver;
use crate::notify::{Notifier, NotifyQueue, Routes, Start};
use crate::status::metrics::Metrics;
use crate::supervisor::Supervisor;
use crate::telemetry;
use crate::web;

/// After one poll of everything, the limit of waiting for the notifier.
const NOTIFY_PATIENCE: Duration = Duration::from_secs(20);

/// The parts of the notifications.
struct Notifying {
    post: NotifyQueue,
    clock: Arc<SystemClock>,
    start: Start,
}

/// The parts of the status page and the metrics.
struct Seen {
    metrics: Arc<Metrics>,
    changes: watch::Sender<u64>,
}

impl Notifying {
    /// Starts the notifier, when the channels are built.
    async fn begin(self, journal: &Journal) -> Notifier {
        Notifier::start(&self.post, journal.clone(), &self.clock, self.start).await
    }
}

/// Runs until a signal, or once.
pub(super) fn run(config: &Path, loaded: Loaded, environment: &Environment, once: bool) -> CommandResult {
    // Dropped last: log lines of the end are still written.
    let _log =
        telemetry::start(&loaded.configuration.log.filter, loaded.configuration.log.format, environment)?;
    log_warnings(&loaded);
    block_on(async {
        // Before the journal is opened: from here on a signal always stops in order.
        let signals = Signals::listen().context("cannot listen to signals")?;
        let stopping = CancellationToken::new();
        let clock = Arc::new(SystemClock::new());
        let (opened, mut states) = daemon::open_journal(&loaded.configuration, &clock)
            .map_err(|error| Failure::of_build(error.into()))?;
        states
            .identify(&opened.journal, &loaded.configuration, clock.now())
            .await
            .map_err(|error| Failure::of_build(error.into()))?;
        let left = left_over(&loaded.configuration, &states);
        let mut start =
            daemon::start_of(&states, &loaded.configuration, &opened.journal.meta().id, random_seed());
        start.lost_journal = (opened.found == Found::Lost).then(|| opened.place.clone());
        let post = NotifyQueue::new(Routes::default());
        post.renamed(states.naming());
        let watched = loaded.configuration.projects.iter().map(|project| &project.name);
        if let Err(error) = post.recall(&opened.journal, watched).await {
            warn!(
                "the conditions that were in force cannot be read from the daemon's journal, so they are notified again: {}",
                chain(&error)
            );
        }
        let notifying = Notifying { post: post.clone(), clock: Arc::clone(&clock), start };
        let metrics = Arc::new(Metrics::default());
        let measured = Measured::over(&opened.journal, Arc::clone(&clock), Arc::clone(&metrics));
        let parts = (measured, &mut states);
        let changes = watch::Sender::new(0);
        let observer = Arc::new((LogObserver, (post.clone(), changes.clone())));
        let builder = Builder::new(environment, parts, &clock, &observer, &stopping)
            .notifying(post)
            .remembering(&opened)
            .with_metrics(Arc::clone(&metrics));
        let reload = signals.reload();
        let work = async {
            if once {
                run_once(config, &loaded.configuration, (builder, states, notifying), (&opened, &left)).await
            } else {
                let parts = (builder, states, notifying, Seen { metrics, changes });
                Box::pin(serve(config, loaded, environment.clone(), parts, (&opened, &left), reload)).await
            }
        };
        let done = tokio::select! {
            done = work => Some(done),
            () = signals.run(stopping.clone()) => None,
        };
        // Whatever the result, the journal finishes its earlier writes: otherwise its thread would
        // be abandoned.
        let closed = opened.journal.close().await.context("the journal could not be closed");
        let Some(done) = done else { return Ok(ExitCode::FAILURE) };
        let done = done?;
        closed?;
        info!("stopped");
        Ok(if done || stopping.is_cancelled() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

/// The number of tasks that are named in one line for a project at the start.
const MOST_NAMED: usize = 10;

const PANICKED: &str = "a part of the daemon panicked; everything else was stopped";

async fn run_once(
    config: &Path,
    configuration: &Configuration,
    (builder, states, notifying): (Builder, ProjectStates, Notifying),
    (opened, left): (&Opened, &[LeftOver]),
) -> Result<bool, Failure> {
    let projects = Projects::build(configuration, builder, states).map_err(Failure::of_build)?;
    tell_start(config, configuration, opened, left);
    let clock = Arc::clone(&notifying.clock);
    let notifier = notifying.begin(&opened.journal).await;
    let seen = {
        let watched = projects.all().to_vec();
        let so_far = move || {
            let (done, all) = watched
                .iter()
                .map(|project| project.polled())
                .fold((0, 0), |sum, polled| (sum.0 + polled.0 as u64, sum.1 + polled.1 as u64));
            (done, (all > 0).then_some(all))
        };
        let _progress = Progress::sampled("clusters polled", false, so_far);
        projects.reconcile_once().await
    };
    notifier.finish(&*clock, NOTIFY_PATIENCE).await.context(PANICKED)?;
    Ok(seen.context(PANICKED)?)
}

async fn serve(
    config: &Path,
    loaded: Loaded,
    environment: Environment,
    (builder, states, notifying, seen): (Builder, ProjectStates, Notifying, Seen),
    (opened, left): (&Opened, &[LeftOver]),
    reload: Arc<tokio::sync::Notify>,
) -> Result<bool, Failure> {
    let configuration = loaded.configuration.clone();
    let stopping = builder.stopping();
    let supervisor = Arc::new(Supervisor::of_the_process());
    let mut listening = JoinSet::new();
    // Before any poll: without a way to place a hold the daemon does not begin.
    let (questions, reachable) = listen(&configuration, &mut listening, &stopping).await?;
    let begins = || tell_start(config, &configuration, opened, left);
    let mut daemon = Daemon::build(config.to_owned(), loaded, environment, (builder, states), begins)
        .map_err(Failure::of_build)?
        .supervised(supervisor)
        .reached(reachable);
    if let Some(http) = &configuration.http {
        let view = daemon.view(seen.metrics, seen.changes.subscribe());
        serve_page(http, view, &mut listening, &stopping).await;
    }
    let listening = async move { listening.join_next().await.unwrap_or(Ok(())) };
    let clock = Arc::clone(&notifying.clock);
    let mut notifier = notifying.begin(&opened.journal).await;
    let daemon = daemon.run(reload, questions);
    tokio::pin!(daemon);
    tokio::pin!(listening);
    let (mut hushed, mut listens) = (false, true);
    let ended = loop {
        tokio::select! {
            ended = &mut daemon => break ended,
            // While the reconciles end, so that a stop does not wait for a channel.
            () = stopping.cancelled(), if !hushed => {
                hushed = true;
                notifier.hush();
            }
            listened = &mut listening, if listens => {
                listens = false;
                if let Err(panic) = listened {
                    error!("{PANICKED}");
                    stopping.cancel();
                    daemon.await?;
                    break Err(Broken::from(panic));
                }
            }
            Err(panic) = notifier.broken() => {
                error!("{PANICKED}");
                stopping.cancel();
                daemon.await?;
                return Err(Broken::from(panic).into());
            }
        }
    };
    // Notifications from the time of the stop are kept, and are sent after the next start.
    let told = notifier.stop(&*clock).await.map_err(Broken::from);
    Ok(ended.and(told).map(|()| true)?)
}

/// Listens at the control socket. If it cannot be made, as on a workstation without its directory,
/// the daemon runs without one in dry-run, until it can; in `enforce` it must be possible to place
/// a hold.
async fn listen(
    configuration: &Configuration,
    listening: &mut JoinSet<()>,
    stopping: &CancellationToken,
) -> Result<(mpsc::Receiver<Question>, Option<Reachable>), Failure> {
    let (ask, questions) = mpsc::channel(1);
    let Some(path) = &configuration.control else { return Ok((questions, None)) };
    let mut server = Server::new(path.clone());
    match server.bind().await {
        Ok(()) => {}
        Err(error) if configuration.mode == Mode::Enforce => {
            let todo = "the control socket cannot be created, and without it no operator could place a hold: correct the \
                        directory, set another control.socket, or \"\" for no commands";
            return Err(Failure::Other(anyhow::Error::from(error).context(todo)));
        }
        Err(error) => {
            let (path, error) = (path.display(), chain(&error));
            warn!(
                socket = %path,
                error,
                "no command can reach this daemon, because its control socket cannot be created: {error}; the daemon tries \
                 again every second, and reads control.socket at the start only",
            );
        }
    }
    let reachable = server.reachable();
    listening.spawn(server.run(ask, stopping.clone()));
    Ok((questions, Some(reachable)))
}

/// Serves the status page. If its address is taken, most likely by another instance, the daemon
/// runs without one: its work does not depend on the page.
async fn serve_page<S: web::Source>(
    http: &Http,
    source: Arc<S>,
    listening: &mut JoinSet<()>,
    stopping: &CancellationToken,
) {
    match web::Server::bind(http.listen).await {
        Ok(server) => {
            let url = web::url(server.address());
            info!(url, "the status page is at {url}");
            let router = web::router(source, web::HostFilter::new(http.hosts.clone()));
            listening.spawn(server.run(router, stopping.clone()));
        }
        Err(error) => error!(
            listen = %http.listen, error = chain(&error),
            "the status page and the metrics cannot be served: {}; set another http.listen, or \"\" for none, and restart",
            chain(&error),
        ),
    }
}

fn tell_start(config: &Path, configuration: &Configuration, opened: &Opened, left: &[LeftOver]) {
    let mode = match configuration.mode {
        Mode::DryRun => "dry-run: decides and notifies, sends no retry or abort",
        Mode::Enforce => "enforce: sends retries and aborts",
    };
    info!(
        version = env!("CARGO_PKG_VERSION"),
        projects = configuration.projects.len(),
        policies = configuration.policies.len(),
        journal = %opened.place,
        journal_id = opened.journal.meta().id,
        "started in mode {mode}"
    );
    if configuration.projects.is_empty() {
        let check = command("check");
        info!(
            config = %config.display(),
            "no project is watched yet: add a [[project]] and its [credentials] to {}; then `{check}` prints what is wrong, \
             and a reload (SIGHUP) applies the file",
            config.display(),
        );
    }
    if opened.found == Found::Restored {
        warn!(
            journal = %opened.place,
            "the journal was restored from a backup or lost its end: later requests and holds are unknown, so the daemon \
             placed a hold on all. Check each failed task (`{}`), place the holds that are missing, then: `{}`",
            command("status"),
            command("release all"),
        );
    }
    if opened.found == Found::Lost {
        warn!(
            journal = %opened.place,
            "the journal is gone, and a new one was created: requests sent before now are unknown, so earlier runs of a task \
             count against its retry limit. If the journal was lost or moved by mistake, stop the daemon and put it back"
        );
    } else if opened.found == Found::New {
        info!(
            journal = %opened.place,
            "created a new journal (first start): the daemon cannot know who retried a task before now, so retries of before \
             count as used. This is normal, and nothing has to be done"
        );
    }
    left.iter().for_each(LeftOver::tell);
}

/// What the journal knows of a project that an earlier process left open.
struct LeftOver {
    project: ProjectName,
    /// The tasks that need an operator.
    needs_operator: Vec<String>,
    /// The requests without a confirmed outcome.
    unconfirmed: Vec<String>,
}

fn left_over(configuration: &Configuration, states: &ProjectStates) -> Vec<LeftOver> {
    let of = |project: &ProjectName| {
        let needing = states.needing_operator(project).into_iter();
        let open = states.unconfirmed(project).into_iter();
        LeftOver {
            project: project.clone(),
            needs_operator: needing.map(|(name, code)| format!("{} [{code}]", named(&name, 80))).collect(),
            unconfirmed: open
                .map(|(attempt, name, action)| format!("{attempt} ({}, {action})", named(&name, 80)))
                .collect(),
        }
    };
    configuration.projects.iter().map(|project| of(&project.name)).collect()
}

impl LeftOver {
    /// Logs at most one line of each kind.
    fn tell(&self) {
        let project = &self.project;
        let count = self.needs_operator.len() as u64;
        if count > 0 {
            warn!(
                %project,
                tasks = count,
                "project {project}: {} still {} an operator: {}; to see each: `{}`",
                counted(count, "task", "tasks"),
                if count == 1 { "needs" } else { "need" },
                the_first(&self.needs_operator),
                command("status"),
            );
        }
        let count = self.unconfirmed.len() as u64;
        if count > 0 {
            warn!(
                %project,
                requests = count,
                "project {project}: {} without a confirmed outcome: {}; the next polls confirm {}, and no other request is \
                 sent for {} until then",
                counted(count, "request", "requests"),
                the_first(&self.unconfirmed),
                if count == 1 { "it" } else { "them" },
                if count == 1 { "its task" } else { "their tasks" },
            );
        }
    }
}

/// Names the first of them, and counts the others.
fn the_first(all: &[String]) -> String {
    let shown = all.iter().take(MOST_NAMED).cloned();
    let more = all.len().saturating_sub(MOST_NAMED);
    shown.chain((more > 0).then(|| format!("{more} more"))).collect::<Vec<_>>().join(", ")
}
