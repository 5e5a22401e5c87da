//! `check`: every problem of the configuration, or the values in effect with their origins, secrets masked.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{CommandResult, Failure, UNUSABLE_CONFIGURATION, WARNINGS_ONLY, print, print_json};
use crate::clock::{Clock as _, SystemClock};
use crate::configuration::{
    self, Coloured, Configuration, Environment, GIVEN_AT_START, Loaded, Problem, Problems, Project,
};
use crate::daemon;
use crate::journal::JournalError;
use crate::model::text::{chain, counted, span};
use crate::model::window::{HORIZON, Window, WindowState};

/// This folder exists if systemd is the machine's init, as `sd_booted` checks.
const SYSTEMD: &str = "/run/systemd/system";

/// Prints the problems, or the configuration.
pub(super) fn check(loaded: Result<Loaded, Failure>, environment: &Environment, json: bool) -> CommandResult {
    let now = SystemClock::new().now().wall;
    let (loaded, problems) = match loaded {
        Ok(loaded) => {
            let mut problems = loaded.warnings_at(now);
            problems.extend(loaded.check_secrets(environment));
            let unusable =
                daemon::unusable(&loaded.configuration, environment, &Arc::new(SystemClock::new()));
            problems.extend(unusable.into_iter().map(|problem| loaded.located(problem)));
            problems.extend(loaded.check_directories(environment, Path::new(SYSTEMD).is_dir()));
            problems.extend(unusable_journal(&loaded));
            (Some(loaded), Problems(problems))
        }
        Err(Failure::Configuration(problems)) => (None, problems),
        Err(failure) => return Err(failure),
    };
    let errors = problems.has_errors();
    let good = loaded.as_ref().filter(|_| !errors);
    if json {
        print_json(&json!({
            "problems": problems.0.iter().map(as_json).collect::<Vec<_>>(),
            "effective": good.as_ref().map(|loaded| effective_json(loaded, environment)),
            "windows": good.as_ref().map(|loaded| windows_json(loaded, now)),
            "not_checked": loaded.as_ref().map(|loaded| not_checked(loaded, environment)),
        }))?;
    } else {
        let mut text = good.as_ref().map(|loaded| effective(loaded, environment, now)).unwrap_or_default();
        let blank = if text.is_empty() { "" } else { "\n" };
        let unchecked = loaded.as_ref().map(|loaded| not_checked(loaded, environment)).unwrap_or_default();
        let unchecked = match unchecked.as_slice() {
            [] => String::new(),
            [one] => format!("; not checked: {one} (systemd gives it at start)"),
            more => format!("; not checked: {} (systemd gives them at start)", more.join(", ")),
        };
        if let (true, Some(loaded)) = (problems.0.is_empty(), &good) {
            let _ = writeln!(text, "{blank}{}{unchecked}", all_good(&loaded.configuration));
        } else {
            let _ = writeln!(text, "{blank}{}{unchecked}", Coloured(&problems));
        }
        print(&text)?;
    }
    Ok(if errors {
        ExitCode::from(UNUSABLE_CONFIGURATION)
    } else if problems.0.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(WARNINGS_ONLY)
    })
}

/// The secrets that systemd gives at start and has not given here.
fn not_checked(loaded: &Loaded, environment: &Environment) -> Vec<String> {
    let secrets = loaded.configuration.secrets(environment).into_iter();
    secrets.filter(|(_, state)| *state == GIVEN_AT_START).map(|(key, _)| key).collect()
}

/// What keeps every daemon from using the file of the journal, as far as reading it shows. What may be otherwise for the
/// daemon's user, or in a moment, is left out, and so is a directory that is not there.
fn unusable_journal(loaded: &Loaded) -> Option<Problem> {
    use JournalError as Fault;
    // A database is not asked: `doctor` does that.
    loaded.configuration.journal_url.path()?;
    let error = loaded.configuration.journal.reader().err()?;
    let lasts = matches!(
        error,
        Fault::IsDirectory { .. }
            | Fault::NotAFile { .. }
            | Fault::DanglingLink { .. }
            | Fault::HardLinked { .. }
            | Fault::NotAJournal { .. }
            | Fault::Foreign { .. }
            | Fault::Newer { .. }
            | Fault::Corrupt { .. }
            | Fault::LeftOver { .. }
    );
    let problem = Problem::error(format!("{}: the daemon does not start", chain(&error)));
    lasts.then(|| loaded.located(problem.at_key("journal.url").as_warning()))
}

/// The windows by the names of their policies.
fn windows(loaded: &Loaded) -> impl Iterator<Item = (&str, &Window)> {
    loaded
        .configuration
        .policies
        .iter()
        .filter_map(|policy| Some((policy.name(), policy.terms.window.as_ref()?)))
}

/// Prints that nothing is wrong, and what the daemon would run with.
fn all_good(configuration: &Configuration) -> String {
    let count = |all: usize, one, many| counted(all as u64, one, many);
    format!(
        "OK: mode {}, {}, {}, {}",
        configuration.mode.word(),
        count(configuration.projects.len(), "project", "projects"),
        count(configuration.policies.len(), "policy", "policies"),
        count(configuration.channels.len(), "channel", "channels")
    )
}

/// Returns the doubtful values, by their keys.
fn doubts(loaded: &Loaded) -> BTreeMap<String, String> {
    let of = |project: &Project| {
        let key = |key| configuration::key_of(&["project", project.name.as_str(), key]);
        project.doubts().into_iter().map(move |(of, doubt)| (key(of), doubt)).collect::<Vec<_>>()
    };
    loaded.configuration.projects.iter().flat_map(of).collect()
}

/// Returns the name in the listing of the values.
fn window_key(policy: &str) -> String {
    configuration::key_of(&["policy", policy, "window"])
}

/// Prints one line for each value, and for each window its next change.
fn effective(loaded: &Loaded, environment: &Environment, now: Timestamp) -> String {
    let secrets = loaded.configuration.secrets(environment);
    let doubts = doubts(loaded);
    let mut text = String::new();
    for value in loaded.effective() {
        let secret = secrets.get(&value.key).map(|state| format!("; {state}")).unwrap_or_default();
        let doubt = doubts.get(&value.key).map(|doubt| format!("; {doubt}")).unwrap_or_default();
        let _ = writeln!(text, "{value}{secret}{doubt}");
    }
    for (name, window) in windows(loaded) {
        let _ = writeln!(text, "{} is {}", window_key(name), what_next(window, now));
    }
    text
}

fn what_next(window: &Window, now: Timestamp) -> String {
    let (word, change) = match window.at(now) {
        WindowState::Open { closes } => ("open", closes),
        WindowState::Closed { opens } => ("closed", opens),
    };
    match change {
        Some(change) => {
            let wait = change.duration_since(now).unsigned_abs();
            format!("{word} until {} (for {})", window.shown(change), span(wait))
        }
        None => format!("{word} for the next {} days at least", HORIZON.as_hours() / 24),
    }
}

fn effective_json(loaded: &Loaded, environment: &Environment) -> Value {
    let mut values = loaded.effective_json();
    for (key, state) in loaded.configuration.secrets(environment) {
        if let Some(value) = values.get_mut(&key) {
            value["secret"] = json!(state);
        }
    }
    for (key, doubt) in doubts(loaded) {
        if let Some(value) = values.get_mut(&key) {
            value["doubt"] = json!(doubt);
        }
    }
    values
}

fn windows_json(loaded: &Loaded, now: Timestamp) -> Value {
    let state = |(name, window): (&str, &Window)| {
        let state = match window.at(now) {
            WindowState::Open { closes } => json!({ "open": true, "closes": closes }),
            WindowState::Closed { opens } => json!({ "open": false, "opens": opens }),
        };
        (name.to_owned(), state)
    };
    windows(loaded).map(state).collect::<serde_json::Map<_, _>>().into()
}

fn as_json(problem: &Problem) -> Value {
    json!({
        "severity": problem.severity.word(),
        "file": problem.file.as_ref().map(|file| file.to_string_lossy()),
        "line": problem.line,
        "column": problem.column,
        "key": problem.key,
        "message": problem.message,
        "hint": problem.hint,
        "source": problem.snippet.as_ref().map(|snippet| &snippet.text),
    })
}
