//! `simulator`: a CSS API to point the daemon or any client at.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
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
    /// Print a configuration for a daemon that watches this simulator, and end. Its journal and its control socket are in
    /// the current directory.
    #[arg(long, conflicts_with = "log")]
    print_config: bool,
}

/// The policy and the channel of the printed configuration.
const POLICY: &str = include_str!("simulator_policy.toml");

/// Serves until a signal, or prints a configuration.
pub(super) fn simulator(options: &Options) -> CommandResult {
    let scenario = Scenario::load(&options.scenario).map_err(|error| Failure::Unusable(error.into()))?;
    if options.print_config {
        print(&whole_configuration(options, &scenario)?)?;
        return Ok(ExitCode::SUCCESS);
    }
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

/// Returns a complete configuration, after the exports at its beginning.
fn whole_configuration(options: &Options, scenario: &Scenario) -> Result<String, Failure> {
    let endpoint = endpoint(options.listen)?;
    let folder = std::env::current_dir().context("no current directory for the journal")?;
    let base = configuration(scenario, &endpoint, &folder)?;
    let exports: Vec<String> = secrets(scenario)
        .iter()
        .map(|(_, variable, value)| Ok(format!("  export {variable}={}\n", quoted(value)?)))
        .collect::<Result<_, Failure>>()?;
    let about = format!(
        "A daemon that watches: upgrade-remediator simulator --listen {} --scenario {}\n\n\
         The key pair that the simulator accepts, for the commands with this file:\n{}\
         Then, with this FILE:\n  upgrade-remediator check --config FILE\n  upgrade-remediator run --config FILE\n\n\
         Every key with its default is in config/config.toml of the sources, and in /etc/upgrade-remediator/config.toml of \
         the package.",
        options.listen,
        quoted(&options.scenario)?,
        exports.concat(),
    );
    let about: String = about.lines().map(|line| format!("# {line}").trim_end().to_owned() + "\n").collect();
    Ok(format!("{about}\n{base}{POLICY}"))
}

/// Returns the address at which a daemon reaches a simulator that listens there.
fn endpoint(listen: SocketAddr) -> Result<String, Failure> {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    if listen.port() == 0 {
        return Err(Failure::Usage(
            "--print-config needs the port of the simulator in --listen, not 0".to_owned(),
        ));
    }
    if !ip.is_loopback() {
        return Err(Failure::Usage(format!(
            "no daemon can watch a simulator at {listen}: http:// is allowed to a loopback address only; give one with --listen"
        )));
    }
    Ok(format!("http://{}", SocketAddr::new(ip, listen.port())))
}

fn quoted(text: &str) -> Result<std::borrow::Cow<'_, str>, Failure> {
    shlex::try_quote(text)
        .with_context(|| format!("{text:?} cannot be given to a shell"))
        .map_err(Failure::from)
}

/// Returns the configuration of a daemon that watches the simulator at `endpoint`, without
/// policies: in dry-run, with its files in `folder`.
pub(super) fn configuration(
    scenario: &Scenario,
    endpoint: &str,
    folder: &Path,
) -> Result<String, anyhow::Error> {
    let text = |text: &str| toml::Value::from(text).to_string();
    let folder = folder.to_str().with_context(|| format!("the path {} is no UTF-8", folder.display()))?;
    let secrets: Vec<String> = secrets(scenario)
        .iter()
        .map(|(key, variable, _)| format!("{key} = {{ env = \"{variable}\" }}"))
        .collect();
    Ok(format!(
        include_str!("simulator.toml"),
        journal = text(&format!("sqlite:{folder}/journal.db")),
        socket = text(&format!("{folder}/control.sock")),
        region = text(&scenario.region),
        project = text(&scenario.project_id),
        endpoint = text(endpoint),
        secrets = secrets.join("\n"),
    ))
}

/// Returns the parts of the first key of the scenario: the configuration's key, the variable that
/// has the value, and the value.
pub(super) fn secrets(scenario: &Scenario) -> Vec<(&'static str, &'static str, &str)> {
    let key = scenario.key.first();
    let token = key.and_then(|key| key.security_token.as_deref());
    let pair = key.map_or((scenario::DEFAULT_ACCESS_KEY, scenario::DEFAULT_SECRET_KEY), |key| {
        (key.access_key.as_str(), key.secret_key.as_str())
    });
    let mut secrets =
        vec![("access_key", "SIMULATOR_ACCESS_KEY", pair.0), ("secret_key", "SIMULATOR_SECRET_KEY", pair.1)];
    secrets.extend(token.map(|token| ("security_token", "SIMULATOR_SECURITY_TOKEN", token)));
    secrets
}
