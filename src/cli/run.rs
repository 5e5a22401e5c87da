//! `run`: the daemon in the foreground, or one look at everything.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{Failure, Outcome, log_warnings, runtime};
use crate::clock::SystemClock;
use crate::control::{Question, Server};
use crate::daemon::{self, Broken, Builder, Ledgers, Measured, Projects, Service};
use crate::journal::sqlite::SqliteJournal;
use crate::lifecycle::Signals;
use crate::model::policy::Mode;
use crate::notify::log::LogTeller;
use crate::settings::{Environment, Loaded, Settings};
use crate::status::metrics::Metrics;
use crate::supervisor::Supervisor;
use crate::telemetry;

type Projectless = Builder<Measured<SqliteJournal>, LogTeller>;

/// Runs until a signal, or once.
pub(super) fn run(config: &Path, loaded: Loaded, environment: &Environment, once: bool) -> Outcome {
    telemetry::start(&loaded.settings.log.filter, loaded.settings.log.format, environment)?;
    log_warnings(&loaded);
    let runtime = runtime()?;
    runtime.block_on(async {
        // Before the journal is opened: from here on a signal always stops in order.
        let signals = Signals::listen().context("cannot listen to signals")?;
        let stopping = CancellationToken::new();
        let clock = Arc::new(SystemClock::new());
        let (journal, mut ledgers) = daemon::open_journal(&loaded.settings, &*clock)
            .map_err(|error| Failure::of_build(error.into()))?;
        let metrics = Arc::new(Metrics::default());
        let measured = Measured::new(journal.clone(), Arc::clone(&clock), Arc::clone(&metrics));
        let parts = (Arc::new(measured), journal.seed(), &mut ledgers);
        let builder = Builder::new(environment, parts, &clock, &Arc::new(LogTeller), &stopping)
            .with_metrics(Arc::clone(&metrics));
        let reload = signals.reload();
        let work = async {
            if once {
                look_once(config, &loaded.settings, builder, ledgers, &journal).await
            } else {
                serve(config, loaded, environment.clone(), builder, ledgers, &journal, reload).await
            }
        };
        let done = tokio::select! {
            done = work => done?,
            () = signals.run(stopping.clone()) => return Ok(ExitCode::FAILURE),
        };
        journal.close().await.context("the journal could not be closed")?;
        info!("stopped");
        Ok(if done || stopping.is_cancelled() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

const PANICKED: &str = "a part of the daemon panicked; everything else was stopped";

async fn look_once(
    config: &Path,
    settings: &Settings,
    builder: Projectless,
    ledgers: Ledgers,
    journal: &SqliteJournal,
) -> Result<bool, Failure> {
    let projects = Projects::build(settings, builder, ledgers).map_err(Failure::of_build)?;
    tell_start(config, settings, journal);
    Ok(projects.watch_once().await.context(PANICKED)?)
}

async fn serve(
    config: &Path,
    loaded: Loaded,
    environment: Environment,
    builder: Projectless,
    ledgers: Ledgers,
    journal: &SqliteJournal,
    reload: Arc<tokio::sync::Notify>,
) -> Result<bool, Failure> {
    let settings = loaded.settings.clone();
    let stopping = builder.stopping();
    let supervisor = Arc::new(Supervisor::of_the_process());
    let service = Service::build(config.to_owned(), loaded, environment, builder, ledgers)
        .map_err(Failure::of_build)?
        .supervised(supervisor);
    let (questions, listening) = listen(&settings, &stopping)?;
    tell_start(config, &settings, journal);
    let service = service.run(reload, questions);
    tokio::pin!(service);
    tokio::select! {
        ended = &mut service => Ok(ended.map(|()| true)?),
        Err(panic) = listening => {
            error!("{PANICKED}");
            stopping.cancel();
            service.await?;
            Err(Broken::from(panic).into())
        }
    }
}

/// Listens at the control socket. Where its directory is missing, as on a workstation, the daemon runs without one.
/// Also returns what ends where whoever listens has panicked.
fn listen(
    settings: &Settings,
    stopping: &CancellationToken,
) -> Result<(mpsc::Receiver<Question>, impl Future<Output = Result<(), JoinError>>), Failure> {
    let (ask, questions) = mpsc::channel(1);
    let mut listening = JoinSet::new();
    if let Some(path) = &settings.control {
        if path.parent().is_some_and(Path::is_dir) {
            let server = Server::bind(path).context("the control socket cannot be made")?;
            listening.spawn(server.run(ask, stopping.clone()));
        } else {
            warn!(
                socket = %path.display(),
                "there is no control socket, as its directory is missing: hold, release and holds cannot reach this daemon",
            );
        }
    }
    let listening = async move { listening.join_next().await.unwrap_or(Ok(())) };
    Ok((questions, listening))
}

fn tell_start(config: &Path, settings: &Settings, journal: &SqliteJournal) {
    let mode = match settings.mode {
        Mode::DryRun => "dry-run: decides and tells, sends nothing",
        Mode::Enforce => "enforce: sends retries and aborts",
    };
    info!(
        version = env!("CARGO_PKG_VERSION"),
        projects = settings.projects.len(),
        policies = settings.policies.len(),
        journal = %journal.path().display(),
        journal_id = journal.id(),
        "started in mode {mode}"
    );
    if settings.projects.is_empty() {
        info!(
            config = %config.display(),
            "nothing is watched yet: write a [[project]] and its [credentials] into {config}; then `upgrade-remediator \
             check --config {config}` tells what is wrong, and a reload (SIGHUP) takes it",
            config = config.display(),
        );
    }
    if journal.is_new() {
        tracing::warn!(
            journal = %journal.path().display(),
            "a new journal was begun: executions of a task before now count as retries that were used, where no node is completed"
        );
    }
}
