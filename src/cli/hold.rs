//! `hold`, `release` and `holds`: blocking requests for clusters, over the daemon's control socket.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::table::{table, text};
use super::{CommandResult, Failure, journal, print, print_json};
use crate::clock::{Clock as _, SystemClock};
use crate::configuration::{Loaded, parse_duration};
use crate::control::{Answer, AskError, Request, ask};
use crate::journal::{Holder, HolderUnknown, JournalLocation, Reader};
use crate::model::command::command;
use crate::model::hold::{Holds, StoredHold};
use crate::model::moment::Moment;
use crate::model::text::{chain, shown, utc};

/// What to leave alone, for how long, and why.
#[derive(Debug, Args)]
pub(super) struct HoldOptions {
    /// A cluster's name or id, project:NAME, or all.
    scope: String,
    /// The duration of the hold ("2h", "1h 30m", "3d"); without it the hold lasts until `release`.
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
    lasts: Option<Duration>,
    /// The reason, shown wherever the hold is shown.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Which holds to end.
#[derive(Debug, Args)]
pub(super) struct ReleaseOptions {
    /// A cluster's name or id, project:NAME, or all; ends the holds of exactly this scope.
    scope: String,
}

/// Places a hold.
pub(super) fn hold(control: &Control<'_>, options: HoldOptions, as_json: bool) -> CommandResult {
    let HoldOptions { scope, lasts, reason } = options;
    let down = how_to_stop_for_good(control.config);
    match put(control, &Request::Hold { scope, lasts, reason }, "no hold was placed", &down)? {
        Answer::Held { hold, dry_run, written } => {
            if as_json {
                print_json(&json!({ "hold": hold, "dry_run": dry_run }))?;
            } else {
                let release = command(format_args!("release {written}"));
                let note =
                    if dry_run { "\nThe daemon is in dry-run and sends no request anyway." } else { "" };
                print(&format!(
                    "{hold}\nNo retry or abort will be sent in this scope. Polling continues.{note}\nTo end it: {release}\n"
                ))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        answer => Err(unexpected(answer)),
    }
}

/// Ends holds.
pub(super) fn release(control: &Control<'_>, options: ReleaseOptions, as_json: bool) -> CommandResult {
    let request = Request::Release { scope: options.scope };
    match put(control, &request, "no hold was released, and holds outlive a restart", START_IT)? {
        Answer::Released { released, still } => {
            if as_json {
                print_json(&json!({ "released": released, "still_held_by": still }))?;
            } else {
                let mut lines: Vec<String> =
                    released.iter().map(|hold| format!("released: {hold}\n")).collect();
                lines.extend(still.iter().map(|hold| format!("still held by: {hold}\n")));
                if still.is_empty() {
                    lines.push(
                        "Overdue requests are checked again and wait one more interval; no request is sent immediately.\n"
                            .to_owned(),
                    );
                }
                print(&lines.concat())?;
            }
            Ok(ExitCode::SUCCESS)
        }
        answer => Err(unexpected(answer)),
    }
}

/// Prints the holds in force: the daemon's, or those of the journal while it is down.
pub(super) fn holds(
    control: &Control<'_>,
    configuration: impl FnOnce() -> Result<Loaded, Failure>,
    as_json: bool,
) -> CommandResult {
    let holds = match control.ask(&Request::Holds) {
        Ok(Answer::Holds { holds }) => holds,
        Ok(answer) => return Err(unexpected(answer)),
        Err(Unanswered::Nobody(nobody)) => {
            let holds = journaled(&configuration()?)?;
            let stop = how_to_stop_for_good(control.config);
            let when_down =
                format!("these holds are in the journal, and are in force when the daemon starts. {stop}");
            control.note_of_journal(&nobody, &when_down);
            holds
        }
        Err(Unanswered::Failed(error)) => return Err(Failure::Other(error.into())),
    };
    if as_json {
        print_json(&json!(holds))?;
    } else if holds.is_empty() {
        print("no hold is in force\n")?;
    } else {
        print(&as_table(&holds))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The way to the daemon.
pub(super) struct Control<'a> {
    /// The file of its configuration.
    pub(super) config: &'a Path,
    /// Its socket.
    pub(super) socket: Option<PathBuf>,
    /// Its journal, if the configuration can be read: the daemon has its lock.
    pub(super) journal: Option<JournalLocation>,
}

impl Control<'_> {
    /// Asks the daemon.
    pub(super) fn ask(&self, request: &Request) -> Result<Answer, Unanswered> {
        let Some(socket) = self.socket.as_deref() else {
            let why = "control.socket is \"\" in the configuration, so no command can reach the daemon";
            return Err(Unanswered::Nobody(why.to_owned()));
        };
        ask(socket, request).map_err(|error| match error {
            AskError::NotRunning { .. } => Unanswered::Nobody(chain(&error)),
            error => Unanswered::Failed(error),
        })
    }

    /// Returns whether a daemon runs that does not answer: it has the lock of the journal.
    pub(super) fn presence(&self) -> Presence {
        let Some(journal) = &self.journal else {
            return Presence::unknown(", as the configuration cannot be read");
        };
        match journal.holder() {
            Ok(None) => Presence::Down,
            Ok(Some(holder)) => Presence::Runs(running(&holder)),
            Err(HolderUnknown::Database) => Presence::Unknown(
                "a daemon may run on this machine or on another one: the journal is in a database, which does not show it. To stop \
                 a daemon: systemctl stop upgrade-remediator"
                    .to_owned(),
            ),
            Err(error) => Presence::unknown(&format!(" by {} ({})", journal.place(), chain(&error))),
        }
    }

    /// Notes that the following output comes from the journal, and why. `when_down`: what that
    /// means if no daemon runs.
    pub(super) fn note_of_journal(&self, nobody: &str, when_down: &str) {
        match self.presence() {
            Presence::Down => note(&format!("{nobody}: {when_down}")),
            Presence::Runs(how) | Presence::Unknown(how) => note(&format!(
                "{nobody}, but {how}. The following comes from the daemon's journal and may be older than the daemon's state."
            )),
        }
    }
}

/// Whether a daemon runs that does not answer. In words, with what to do.
pub(super) enum Presence {
    /// The lock of the journal is free.
    Down,
    /// The lock of the journal is taken.
    Runs(String),
    /// It is unknown.
    Unknown(String),
}

impl Presence {
    fn unknown(why: &str) -> Self {
        Self::Unknown(format!(
            "whether a daemon runs cannot be determined{why}: assume that one runs and sends due requests. Repeat the \
             command as root or as the daemon's user; to stop the daemon: systemctl stop upgrade-remediator"
        ))
    }
}

/// Describes a daemon that has the lock of its journal and does not answer, and what to do about
/// it.
fn running(Holder { pid, journal }: &Holder) -> String {
    let who = pid.map_or_else(|| "its pid cannot be read".to_owned(), |pid| format!("pid {pid}"));
    let kill = match pid.filter(|pid| is_one_of_us(*pid)) {
        Some(pid) => format!("kill -TERM {pid}, or "),
        // The pid of another container, most likely, which means nothing here.
        None => String::new(),
    };
    format!(
        "a daemon runs ({who}; it locks {}), cannot be reached there, and continues to send due requests. To stop it: \
         {kill}systemctl stop upgrade-remediator. A daemon creates a removed control socket again within a second; to reach \
         a daemon whose socket has another path, use its configuration and RUNTIME_DIRECTORY",
        journal.display(),
    )
}

/// Returns whether the process of this pid has the name of this program: a signal to any other one
/// would do harm.
fn is_one_of_us(pid: u32) -> bool {
    let name = |process: &str| fs::read_to_string(format!("/proc/{process}/comm")).ok();
    name("self").is_some_and(|ours| name(&pid.to_string()) == Some(ours))
}

/// Why there is no answer.
pub(super) enum Unanswered {
    /// No daemon was reached, so nothing was done. In words.
    Nobody(String),
    /// A daemon was reached.
    Failed(AskError),
}

/// What to do first if an order needs the daemon.
pub(super) const START_IT: &str = "Start the daemon first: systemctl start upgrade-remediator; to see why it is down: journalctl -u upgrade-remediator";

/// Sends an order to the daemon. `undone`: what was not done if it cannot be reached; `when_down`:
/// what to do if it is down.
pub(super) fn put(
    control: &Control<'_>,
    request: &Request,
    undone: &str,
    when_down: &str,
) -> Result<Answer, Failure> {
    match control.ask(request) {
        Ok(Answer::Refused { why }) => Err(Failure::Other(anyhow::anyhow!(why))),
        Ok(answer) => Ok(answer),
        Err(Unanswered::Nobody(nobody)) => Err(Failure::Other(match control.presence() {
            Presence::Down => anyhow::anyhow!("{nobody}, so {undone}. {when_down}"),
            Presence::Runs(how) | Presence::Unknown(how) => {
                anyhow::anyhow!("{nobody}, so {undone}; but {how}")
            }
        })),
        Err(Unanswered::Failed(error)) => Err(Failure::Other(error.into())),
    }
}

/// Returns what to do instead while no daemon runs.
fn how_to_stop_for_good(config: &Path) -> String {
    format!(
        "While the daemon is down, no request is sent. To keep it down: systemctl disable --now upgrade-remediator, or set \
         mode = \"dry-run\" in {} before the daemon is started again.",
        config.display()
    )
}

fn journaled(loaded: &Loaded) -> Result<Vec<StoredHold>, Failure> {
    let Some(reader) = journal(&loaded.configuration)? else { return Ok(Vec::new()) };
    holds_in_force(&reader, SystemClock::new().now())
}

/// Returns the holds of the journal that are in force.
pub(super) fn holds_in_force(reader: &Reader, now: Moment) -> Result<Vec<StoredHold>, Failure> {
    Ok(Holds::recall(reader.holds()?, now).in_force(now).cloned().collect())
}

fn as_table(holds: &[StoredHold]) -> String {
    let mut rows = table(&["HOLD", "SCOPE", "UNTIL", "BY", "REASON"]);
    for hold in holds {
        let scope = match &hold.cluster_name {
            Some(name) => format!("{}\n({})", hold.scope, shown(name, 40)),
            None => hold.scope.to_string(),
        };
        let until = hold.until.map_or_else(|| "(no end)".to_owned(), utc);
        rows.add_row([format!("#{}", hold.number), scope, until, hold.by.clone(), shown(&hold.reason, 200)]);
    }
    text(&rows)
}

pub(super) fn unexpected(answer: Answer) -> Failure {
    let why = match answer {
        Answer::Refused { why } => why,
        _ => "the daemon's response does not fit the command".to_owned(),
    };
    Failure::Other(anyhow::anyhow!(why))
}

#[expect(clippy::print_stderr, reason = "a note beside the result")]
pub(super) fn note(text: &str) {
    eprintln!("{text}");
}
