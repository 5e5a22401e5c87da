//! `demo`: daemon and simulator in one process, over real HTTP: five lifecycles of failed tasks,
//! printed as they happen, and checked at the end against the simulator's own log. Needs no account
//! and leaves nothing behind.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use anyhow::{Context as _, anyhow};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::table::{table, text};
use super::{CommandResult, Failure, block_on, print, print_json, simulator};
use crate::clock::{Clock as _, SystemClock};
use crate::configuration::{self, Environment, FileText, Loaded};
use crate::daemon::{self, Builder, Daemon};
use crate::lifecycle::Signals;
use crate::model::event::Event;
use crate::model::level::Level;
use crate::model::moment::Moment;
use crate::model::project_state::ProjectState;
use crate::model::record::Phase;
use crate::notify::{Notification, Observer};
use crate::simulator::log::{LogEntry, PutKind, PutRecord, Record};
use crate::simulator::{Scenario, Simulator, World};

/// Every lifecycle ends well before this.
const PATIENCE: Duration = Duration::from_secs(55);
/// The policy of the demo. The rest is the configuration that `simulator --print-config` prints,
/// with [`OVERRIDES`].
const POLICY: &str = include_str!("demo.toml");
/// The differences from a daemon beside the simulator: it sends, and it polls faster.
const OVERRIDES: [(&str, &str); 7] = [
    ("UPGRADE_REMEDIATOR__MODE", "enforce"),
    ("UPGRADE_REMEDIATOR__POLL__DISCOVERY_INTERVAL", "5s"),
    ("UPGRADE_REMEDIATOR__POLL__IDLE_INTERVAL", "1s"),
    ("UPGRADE_REMEDIATOR__POLL__ACTIVE_INTERVAL", "500ms"),
    ("UPGRADE_REMEDIATOR__POLL__SETTLE_INTERVAL", "400ms"),
    ("UPGRADE_REMEDIATOR__POLL__SETTLE_TIMEOUT", "3s"),
    ("UPGRADE_REMEDIATOR__POLL__REQUEST_TIMEOUT", "2s"),
];

/// The expected end of a lifecycle.
struct Story {
    cluster: &'static str,
    about: &'static str,
    end: &'static str,
    retries: usize,
    aborts: usize,
}

const STORIES: [Story; 5] = [
    Story {
        cluster: "second-retry",
        about: "fails twice, then succeeds",
        end: "resolved",
        retries: 2,
        aborts: 0,
    },
    Story {
        cluster: "exhausted-abort",
        about: "always fails, no node completed",
        end: "aborted",
        retries: 3,
        aborts: 1,
    },
    Story {
        cluster: "node-completed",
        about: "always fails, one node completed",
        end: "escalated",
        retries: 3,
        aborts: 0,
    },
    Story {
        cluster: "az-switchover",
        about: "an AZ switchover fails once",
        end: "resolved",
        retries: 1,
        aborts: 0,
    },
    Story {
        cluster: "lost-answer",
        about: "the retry's response is lost",
        end: "resolved",
        retries: 1,
        aborts: 0,
    },
];

/// The real end of a lifecycle.
struct Ending {
    story: &'static Story,
    end: String,
    retries: usize,
    aborts: usize,
    without_intent: usize,
    unsafe_puts: usize,
}

impl Ending {
    fn is_right(&self) -> bool {
        let Story { end, retries, aborts, .. } = self.story;
        self.end == *end
            && self.retries == *retries
            && self.aborts == *aborts
            && self.without_intent == 0
            && self.unsafe_puts == 0
    }
}

/// Runs the lifecycles, prints them, and checks them.
pub(super) fn demo(json: bool) -> CommandResult {
    let endings = block_on(async {
        let signals = Signals::listen().context("cannot listen to signals")?;
        let stopping = CancellationToken::new();
        tokio::select! {
            endings = stories(json, &stopping) => endings,
            () = signals.run(stopping.clone()) => Err(interrupted()),
        }
    })?;
    if json {
        print_json(&endings.iter().map(as_json).collect())?;
    } else {
        print(&closing_table(&endings))?;
    }
    let right = endings.iter().all(Ending::is_right);
    Ok(if right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn interrupted() -> Failure {
    anyhow!("interrupted").into()
}

/// Runs them until all have ended, or until `stopping`.
async fn stories(quiet: bool, stopping: &CancellationToken) -> Result<Vec<Ending>, Failure> {
    let clock = Arc::new(SystemClock::new());
    let began = clock.now();
    let scenario = Scenario::load("demo")?;
    let seed = scenario.seed;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("cannot listen on a loopback port")?;
    let simulator =
        Simulator::start(listener, World::new(scenario.clone(), seed, began.wall), Arc::clone(&clock))?;

    // Removed when it is dropped, whatever the result.
    let folder = tempfile::Builder::new()
        .prefix("upgrade-remediator-demo-")
        .tempdir()
        .context("no folder for the journal")?;
    let environment = environment(&scenario);
    let loaded = load(&scenario, &simulator.url(), folder.path(), &environment)?;
    let (opened, mut states) = daemon::open_journal(&loaded.configuration, &clock)?;
    let observer = Arc::new(Storyteller { clock: Arc::clone(&clock), began, quiet });
    let parts = (opened.journal.clone(), &mut states);
    let builder = Builder::new(&environment, parts, &clock, &observer, stopping);
    let daemon = Daemon::build(PathBuf::from("demo.toml"), loaded, environment, (builder, states), || {})?;
    let projects = daemon.projects();
    if !quiet {
        print(&introduction(&simulator.url()))?;
    }

    let project_state = || projects.first().map(|project| project.project_state()).unwrap_or_default();
    let ended = async {
        while clock.now().since(began) < PATIENCE && !all_ended(&project_state()) {
            clock.sleep(Duration::from_millis(100)).await;
        }
        // Another PUT would come now.
        clock.sleep(Duration::from_secs(1)).await;
    };
    let ended = async {
        let ended = stopping.run_until_cancelled(ended).await.is_some();
        stopping.cancel();
        ended
    };
    // There are no reloads and no commands.
    let (_ask, questions) = mpsc::channel(1);
    let (watched, ended) = tokio::join!(daemon.run(Arc::default(), questions), ended);
    watched.context("a part of the daemon panicked")?;
    let endings = judge(&project_state(), &simulator.log());
    opened.journal.close().await?;
    simulator.shutdown().await;
    folder.close().context("the journal's folder could not be removed")?;
    if !ended {
        return Err(interrupted());
    }
    if endings.is_empty() { Err(anyhow!("no scenario ran").into()) } else { Ok(endings) }
}

fn environment(scenario: &Scenario) -> Environment {
    let secrets = simulator::secrets(scenario).into_iter().map(|(_, variable, value)| (variable, value));
    Environment::new(OVERRIDES.into_iter().chain(secrets))
}

fn load(
    scenario: &Scenario,
    endpoint: &str,
    folder: &Path,
    environment: &Environment,
) -> Result<Loaded, Failure> {
    let text = simulator::configuration(scenario, endpoint, folder)?;
    let main = FileText { file: PathBuf::from("simulator.toml"), text };
    let policy = FileText { file: PathBuf::from("demo.toml"), text: POLICY.to_owned() };
    configuration::load_texts(&main, &[policy], environment).map_err(Failure::Configuration)
}

fn all_ended(project_state: &ProjectState) -> bool {
    STORIES.iter().all(|story| end_of(project_state, story.cluster).is_some())
}

/// Returns how the lifecycle of a cluster's task ended, if it has.
fn end_of(project_state: &ProjectState, cluster: &str) -> Option<String> {
    let tasks = project_state.clusters.values().flat_map(|history| history.tasks.values());
    let task = tasks.into_iter().find(|task| task.cluster_name == cluster)?;
    match task.phase() {
        Phase::Ended(outcome, _) => Some(outcome.word().to_owned()),
        Phase::Escalated(_) => Some("escalated".to_owned()),
        Phase::Running | Phase::Failed(_) | Phase::OutcomeUnknown(_) => None,
    }
}

/// Compares the journal with the simulator's log.
fn judge(project_state: &ProjectState, log: &[LogEntry]) -> Vec<Ending> {
    let mut puts: BTreeMap<&str, Vec<&PutRecord>> = BTreeMap::new();
    for entry in log {
        if let Record::Request(request) = &entry.record
            && let (Some(put), Some(name)) = (&request.put, &request.cluster_name)
        {
            puts.entry(name).or_default().push(put);
        }
    }
    let attempts = |cluster: &str| {
        let tasks = project_state.clusters.values().flat_map(|history| history.tasks.values());
        tasks.filter(|task| task.cluster_name == cluster).map(|task| task.attempts as usize).sum::<usize>()
    };
    let ending = |story: &'static Story| {
        let puts = puts.get(story.cluster).map(Vec::as_slice).unwrap_or_default();
        let of = |kind| puts.iter().filter(|put| put.kind == kind).count();
        Ending {
            story,
            end: end_of(project_state, story.cluster).unwrap_or_else(|| "not ended".to_owned()),
            retries: of(PutKind::Retry),
            aborts: of(PutKind::Abort),
            without_intent: puts.len().saturating_sub(attempts(story.cluster)),
            unsafe_puts: puts.iter().filter(|put| put.is_unsafe).count(),
        }
    };
    STORIES.iter().map(ending).collect()
}

fn introduction(url: &str) -> String {
    format!(
        "A daemon and a simulated CSS API at {url}, in one process, over real HTTP.\n\
         Five tasks fail. Waits are seconds here; in production they are minutes and hours.\n\n"
    )
}

fn closing_table(endings: &[Ending]) -> String {
    let mut rows = table(&["CLUSTER", "SCENARIO", "OUTCOME", "RETRIES", "ABORTS", "AS EXPECTED"]);
    for ending in endings {
        rows.add_row([
            ending.story.cluster.to_owned(),
            ending.story.about.to_owned(),
            ending.end.replace('-', " "),
            ending.retries.to_string(),
            ending.aborts.to_string(),
            if ending.is_right() { "yes".to_owned() } else { format!("NO: {} expected", ending.story.end) },
        ]);
    }
    let puts: usize = endings.iter().map(|ending| ending.retries + ending.aborts).sum();
    format!(
        "\n{}\n{puts} retry and abort requests reached the simulator, by its own log; each was in the journal first.\n",
        text(&rows)
    )
}

fn as_json(ending: &Ending) -> serde_json::Value {
    json!({
        "cluster": ending.story.cluster,
        "story": ending.story.about,
        "ended": ending.end,
        "expected": ending.story.end,
        "retries": ending.retries,
        "aborts": ending.aborts,
        "puts_without_intent": ending.without_intent,
        "unsafe_puts": ending.unsafe_puts,
        "as_it_should": ending.is_right(),
    })
}

/// Prints the lifecycles as they happen.
struct Storyteller {
    clock: Arc<SystemClock>,
    began: Moment,
    quiet: bool,
}

impl Observer for Storyteller {
    fn tell(&self, notification: &Notification<'_>) {
        if self.quiet {
            return;
        }
        let Notification::Journaled { cluster_name, entry } = notification else { return };
        let Some((label, colour)) = label(&entry.event) else { return };
        let style = Style::new().fg_color(Some(colour.into())).bold();
        let since = self.clock.now().since(self.began);
        let (tenths, cluster) = (since.as_millis() / 100, cluster_name);
        let words = entry.event.words(entry.number);
        // A closed terminal must not stop the lifecycles.
        let _ = print(&format!(
            "{:>4}.{}s  {cluster:<16} {style}{label:<9}{style:#} {words}\n",
            tenths / 10,
            tenths % 10
        ));
    }
}

fn label(event: &Event) -> Option<(&'static str, AnsiColor)> {
    Some(match event {
        Event::FirstSeen { .. } | Event::Running { .. } | Event::Progress { .. } => ("seen", AnsiColor::Cyan),
        Event::Failed(_) => ("seen", AnsiColor::Yellow),
        Event::Intent { .. } => ("sent", AnsiColor::Magenta),
        Event::Answered { .. } => ("answered", AnsiColor::Magenta),
        Event::Confirmed { .. } => ("confirmed", AnsiColor::Blue),
        Event::Escalated { .. } => ("operator", AnsiColor::Red),
        Event::Ended(_) => ("ended", AnsiColor::Green),
        Event::Decided { .. } if event.level() > Level::Debug => ("decided", AnsiColor::Blue),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_that_ends_otherwise_is_not_right() {
        let right = || Ending {
            story: &STORIES[0],
            end: "resolved".to_owned(),
            retries: 2,
            aborts: 0,
            without_intent: 0,
            unsafe_puts: 0,
        };
        assert!(right().is_right());
        assert!(!Ending { end: "not ended".to_owned(), ..right() }.is_right());
        assert!(!Ending { retries: 3, ..right() }.is_right());
        assert!(!Ending { aborts: 1, ..right() }.is_right());
        assert!(!Ending { without_intent: 1, ..right() }.is_right());
        assert!(!Ending { unsafe_puts: 1, ..right() }.is_right());
    }

    #[test]
    fn the_demos_configuration_is_valid() {
        let scenario = Scenario::load("demo").unwrap();
        let environment = environment(&scenario);
        let loaded = load(&scenario, "http://127.0.0.1:1", Path::new("/nowhere"), &environment).ok().unwrap();
        // The demo notifies on the terminal, by no channel.
        let keys: Vec<_> = loaded.warnings.iter().map(|warning| warning.key.as_deref()).collect();
        assert_eq!(keys, [Some("mode")]);
    }
}
