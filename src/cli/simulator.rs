//! `simulator`: a CSS API to point the daemon or any client at.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{CommandResult, Failure, block_on, print};
use crate::clock::{Clock as _, SystemClock};
use crate::lifecycle::Signals;
use crate::simulator::{Scenario, Simulator, World, scenario};

/// What to simulate, and where.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The address to listen at; port 0 chooses a free port.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9180")]
    listen: SocketAddr,
    /// The name of a shipped scenario, or a file.
    #[arg(long, value_name = "FILE-OR-NAME", default_value = "demo")]
    scenario: String,
    /// Write a log of requests and task changes to this file, as JSON lines.
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
}

/// Serves until a signal.
pub(super) fn simulator(options: &Options) -> CommandResult {
    let scenario = Scenario::load(&options.scenario).map_err(|error| Failure::Unusable(error.into()))?;
    block_on(async {
        let signals = Signals::listen().context("cannot listen to signals")?;
        let stopping = CancellationToken::new();
        let listener = TcpListener::bind(options.listen).await.with_context(|| {
            format!("cannot listen at {}; give another address with --listen", options.listen)
        })?;
        let clock = Arc::new(SystemClock::new());
        let key = scenario.key.first().map(|key| key.access_key.clone());
        let seed = scenario.seed;
        let world = World::new(scenario, seed, clock.now().wall);
        let simulator = Simulator::start(listener, world, clock)?;
        if let Some(path) = &options.log {
            let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
            simulator.log_to(file);
        }
        let shipped = scenario::names().collect::<Vec<_>>().join(", ");
        print(&format!(
            "simulating {} at {}\n  access key {}\n  what happened: {}/_simulator/log\n  shipped scenarios: {shipped}\n",
            options.scenario,
            simulator.url(),
            key.as_deref().unwrap_or("none"),
            simulator.url(),
        ))?;
        tokio::select! {
            () = stopping.cancelled() => {}
            () = signals.run(stopping.clone()) => return Ok(ExitCode::FAILURE),
        }
        simulator.shutdown().await;
        Ok(ExitCode::SUCCESS)
    })
}
