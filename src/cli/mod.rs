//! The command line: one file for each command. Results on stdout, everything else on stderr.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use tokio::runtime::Runtime;

use crate::clock::{Clock as _, SystemClock};
use crate::configuration::{self, Coloured, Configuration, Environment, Loaded, Problems};
use crate::daemon::BuildFault;
use crate::journal::{JournalError, Reader};
use crate::model::command::{self, DEFAULT_CONFIG};
use crate::model::text::chain;
use crate::telemetry;

use hold::Control;

mod check;
mod completions;
mod demo;
mod doctor;
mod explain;
mod history;
mod hold;
mod journal;
mod man;
mod notify_test;
mod order;
mod plan;
mod progress;
mod run;
mod simulator;
mod since;
mod status;
mod table;

/// Retries, aborts or escalates failed upgrades and AZ switchovers of Huawei Cloud CSS clusters.
#[derive(Debug, Parser)]
#[command(name = "upgrade-remediator", version, max_term_width = 100, after_help = EXIT_CODES)]
struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed; 2 wrong usage; 3 warnings only (check) or findings (doctor); 78 unusable configuration.";

#[derive(Debug, Args)]
struct Common {
    /// The configuration file; the policies.d folder beside it is read too.
    // After the options of the command itself.
    #[arg(long, global = true, display_order = 100, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// Print results as JSON.
    #[arg(long, global = true, display_order = 101)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon in the foreground.
    Run {
        /// Poll every cluster once, send what is due as the mode allows, then exit.
        #[arg(long)]
        once: bool,
    },
    /// Poll every cluster once and print what would be done and why; sends no retry or abort, records nothing.
    Plan,
    /// Read all files and print every problem, or the values in effect with secrets masked.
    Check,
    /// Test the access to each project step by step, and print what is wrong and what to do; sends no retry or abort.
    Doctor,
    /// Send a test message to one channel.
    NotifyTest(notify_test::Options),
    /// Print what was observed, decided and sent, with the responses; from the journal while the daemon is down.
    History(history::Options),
    /// Print what the daemon does and why; from the journal while the daemon is down.
    Status(status::Options),
    /// Print why the daemon is or is not acting on a cluster, and what would have to change.
    Explain(explain::Options),
    /// Send no retry or abort for a cluster, a project or all, for a duration or until `release`.
    Hold(hold::HoldOptions),
    /// End the holds of a scope.
    Release(hold::ReleaseOptions),
    /// List the holds in force.
    Holds,
    /// Send one retry now; bypasses backoff, retry limit, window, circuit breaker, limits and escalation.
    RetryNow(order::Options),
    /// Send the abort now; bypasses retry limit, policy and grace too; never with a completed node.
    Abort(order::AbortOptions),
    /// Return an escalated task to the daemon, with no retry counted as used and a new backoff.
    Reset(order::Options),
    /// Run a simulated CSS API with tasks that fail by scenario, for the daemon or any other client.
    Simulator(simulator::Options),
    /// Run daemon and simulator in one process: five scenarios of failed tasks, live. Needs no account.
    Demo,
    /// Copy the journal of the daemon.
    Journal(journal::Options),
    /// Print the completion script for a shell.
    Completions(completions::Options),
    /// Print the manual page.
    Man(man::Options),
    /// Named in the interface already: says that it is not there, and not that nobody knows it.
    #[command(hide = true, disable_help_flag = true)]
    Rehearse {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
        _rest: Vec<std::ffi::OsString>,
    },
}

/// Why a command did not do its work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The configuration cannot be used: exit code 78.
    Configuration(Problems),
    /// A part of the configuration cannot be used, as its use has shown: exit code 78.
    Unusable(anyhow::Error),
    /// Exit code 2.
    Usage(String),
    /// Anything else: exit code 1.
    Other(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

impl Failure {
    /// The parts could not be built: because of the configuration, or because of the machine.
    fn of_build(fault: BuildFault) -> Self {
        match fault {
            BuildFault::Secrets(problems) | BuildFault::Unusable(problems) => Self::Configuration(problems),
            BuildFault::Journal(error) if error.is_of_the_configuration() => Self::Unusable(error.into()),
            fault => Self::Other(fault.into()),
        }
    }

    /// Problems of the configuration that were found late, with their places.
    fn located(self, loaded: &Loaded) -> Self {
        match self {
            Self::Configuration(problems) => Self::Configuration(loaded.all_located(problems)),
            other => other,
        }
    }
}

type CommandResult = Result<ExitCode, Failure>;

const UNUSABLE_CONFIGURATION: u8 = 78;
const WARNINGS_ONLY: u8 = 3;

/// Reads the arguments, runs the command, and returns the exit code.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let environment = Environment::new(std::env::vars_os());
    let Common { config, json } = arguments.common;
    // Whoever reads the advice may be in another folder.
    command::name_configuration(&std::path::absolute(&config).unwrap_or_else(|_| config.clone()));
    let configuration = || configuration::load(&config, &environment).map_err(Failure::Configuration);
    let control = || {
        let (socket, journal) = match configuration::load(&config, &environment) {
            Ok(loaded) => (loaded.configuration.control, Some(loaded.configuration.journal)),
            Err(_) => (configuration::control_socket_despite_problems(&config, &environment), None),
        };
        Control { config: &config, socket, journal }
    };
    // A daemon must end also if its output is not read; every other command waits for a slow
    // reader.
    let is_waited_for = !matches!(arguments.command, Command::Run { .. });
    let outcome = match arguments.command {
        Command::Run { once } => configuration().and_then(|loaded| {
            run::run(&config, loaded.clone(), &environment, once).map_err(|failure| failure.located(&loaded))
        }),
        Command::Plan => configuration().and_then(|loaded| {
            plan::plan(&loaded, &environment, json).map_err(|failure| failure.located(&loaded))
        }),
        Command::Journal(options) => {
            configuration().and_then(|loaded| journal::journal(&loaded, &options, json))
        }
        Command::Check => check::check(configuration(), &environment, json),
        Command::Doctor => configuration().and_then(|loaded| {
            doctor::doctor(&config, &loaded, &environment, json).map_err(|failure| failure.located(&loaded))
        }),
        Command::NotifyTest(options) => configuration().and_then(|loaded| {
            notify_test::notify_test(&config, &loaded, &environment, &options, json)
                .map_err(|failure| failure.located(&loaded))
        }),
        Command::History(options) => history::history(&control(), configuration, &options, json),
        Command::Status(options) => status::status(&control(), configuration, &options, json),
        Command::Explain(options) => explain::explain(&control(), configuration, &options, json),
        Command::Hold(options) => hold::hold(&control(), options, json),
        Command::Release(options) => hold::release(&control(), options, json),
        Command::Holds => hold::holds(&control(), configuration, json),
        Command::RetryNow(options) => order::retry_now(&control(), options, json),
        Command::Abort(options) => order::abort(&control(), options, json),
        Command::Reset(options) => order::reset(&control(), options, json),
        Command::Simulator(options) => simulator::simulator(&options),
        Command::Demo => demo::demo(json),
        Command::Completions(options) => completions::completions(&options, Arguments::command()),
        Command::Man(options) => man::man(&options, Arguments::command()),
        Command::Rehearse { .. } => Err(Failure::Usage(
            "this version has no command rehearse; test a policy against `simulator`, or with `plan`"
                .to_owned(),
        )),
    };
    outcome.unwrap_or_else(|failure| tell(&failure, &environment, is_waited_for))
}

/// Opens the journal for reading. A missing one is reported, and counts as empty.
fn journal(configuration: &Configuration) -> Result<Option<Reader>, Failure> {
    let journal = journal_if_any(configuration)?;
    if let Err(absent) = &journal {
        hold::note(&chain(absent));
    }
    Ok(journal.ok())
}

/// Opens the journal for reading, or returns that there is none: before the first start there is
/// none yet.
fn journal_if_any(configuration: &Configuration) -> Result<Result<Reader, JournalError>, Failure> {
    match configuration.journal.reader() {
        Err(error) if !error.is_missing() => Err(error.into()),
        found => Ok(found),
    }
}

/// Makes a runtime whose end does not wait: a thread that asks a name server cannot be stopped, and
/// may take most of a minute without an answer. The work itself waits for everything that must be
/// finished.
struct Unwaited(Option<Runtime>);

impl Drop for Unwaited {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Runs asynchronous work, and returns as soon as it is done.
fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    let runtime = Unwaited(Some(runtime));
    // It is there until it is dropped.
    runtime
        .0
        .as_ref()
        .map_or_else(|| Err(anyhow::anyhow!("no runtime").into()), |runtime| runtime.block_on(work))
}

/// Prints an error, once, with its causes.
fn tell(failure: &Failure, environment: &Environment, is_waited_for: bool) -> ExitCode {
    let (text, code) = match failure {
        Failure::Configuration(problems) => (Coloured(problems).to_string(), UNUSABLE_CONFIGURATION),
        Failure::Unusable(error) => (format!("error: {}", chain(error.as_ref())), UNUSABLE_CONFIGURATION),
        Failure::Usage(message) => {
            let _ = Arguments::command().error(clap::error::ErrorKind::ValueValidation, message).print();
            return ExitCode::from(2);
        }
        Failure::Other(error) => (format!("error: {}", chain(error.as_ref())), 1),
    };
    // In the form in which the system's journal recognizes an error.
    let priority = if telemetry::is_to_the_journal(environment) { "<3>" } else { "" };
    let text = format!("{priority}{}", text.replace('\n', &format!("\n{priority}")));
    // If stderr cannot be written, the exit code still shows the error.
    if is_waited_for {
        let _ = writeln!(anstream::stderr(), "{text}");
    } else {
        telemetry::last_word(format!("{text}\n"));
    }
    ExitCode::from(code)
}

/// Prints a result.
fn print(text: &str) -> io::Result<()> {
    print_while_read(text).map(drop)
}

/// Prints a result. Returns `false` if the reader has closed the pipe, so that nothing more need be
/// printed.
fn print_while_read(text: &str) -> io::Result<bool> {
    let mut stdout = anstream::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}

/// Prints a result as JSON.
fn print_json(value: &serde_json::Value) -> Result<(), Failure> {
    Ok(print(&json_text(value)?)?)
}

/// Returns a result as indented JSON.
fn json_text(value: &serde_json::Value) -> Result<String, Failure> {
    Ok(format!("{}\n", serde_json::to_string_pretty(value)?))
}

/// Logs the warnings of the configuration.
fn log_warnings(loaded: &Loaded) {
    for warning in loaded.warnings_at(SystemClock::new().now().wall) {
        // The level says that it is one.
        tracing::warn!("{}", warning.in_one_line());
    }
}
