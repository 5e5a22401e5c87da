//! `run`: the daemon in the foreground, or one look at everything.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{Failure, Outcome, log_warnings, runtime};
use crate::clock::SystemClock;
use crate::daemon::{self, Projects};
use crate::journal::sqlite::SqliteJournal;
use crate::lifecycle::Signals;
use crate::model::policy::Mode;
use crate::notify::log::LogTeller;
use crate::settings::{Environment, Loaded, Settings};
use crate::telemetry;

/// Runs until a signal, or once.
pub(super) fn run(loaded: &Loaded, environment: &Environment, once: bool) -> Outcome {
    let settings = &loaded.settings;
    telemetry::start(&settings.log.filter, settings.log.format)?;
    log_warnings(loaded);
    let runtime = runtime()?;
    runtime.block_on(async {
        // Before the journal is opened: from here on a signal always stops in order.
        let signals = Signals::listen().context("cannot listen to signals")?;
        let stopping = CancellationToken::new();
        let clock = Arc::new(SystemClock::new());
        let (journal, projects) = build(settings, environment, &clock, &stopping)?;
        tell_start(settings, &journal);
        let work =
            async { if once { projects.watch_once().await } else { projects.watch().await.map(|()| true) } };
        let done = tokio::select! {
            done = work => done.context("a part of the daemon panicked; everything else was stopped")?,
            () = signals.run(stopping.clone()) => return Ok(ExitCode::FAILURE),
        };
        journal.close().await.context("the journal could not be closed")?;
        info!("stopped");
        Ok(if done || stopping.is_cancelled() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

type Built = (SqliteJournal, Projects<SqliteJournal, LogTeller>);

fn build(
    settings: &Settings,
    environment: &Environment,
    clock: &Arc<SystemClock>,
    stopping: &CancellationToken,
) -> Result<Built, Failure> {
    let (journal, ledgers) =
        daemon::open_journal(settings, &**clock).map_err(|error| Failure::of_build(error.into()))?;
    let seed = journal.seed();
    let parts = (Arc::new(journal.clone()), seed, ledgers);
    let projects = Projects::build(settings, environment, parts, clock, &Arc::new(LogTeller), stopping)
        .map_err(Failure::of_build)?;
    Ok((journal, projects))
}

fn tell_start(settings: &Settings, journal: &SqliteJournal) {
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
    if journal.is_new() {
        tracing::warn!(
            journal = %journal.path().display(),
            "a new journal was begun: executions of a task before now count as retries that were used, where no node is completed"
        );
    }
}
