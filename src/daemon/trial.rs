//! Building what the configuration describes as the daemon does, by the same functions, and throwing it away: for `check`.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::build::Builder;
use super::{BuildFault, ProjectStates, channel_of};
use crate::clock::SystemClock;
use crate::configuration::{Configuration, Environment, Problem};
use crate::journal::memory::MemoryJournal;
use crate::notify::log::LogObserver;

/// What the daemon could not use: of each project and each channel the first such key, certificate or address. Secrets
/// that cannot be had at all are left out. Connects to nothing.
pub fn unusable(
    configuration: &Configuration,
    environment: &Environment,
    clock: &Arc<SystemClock>,
) -> Vec<Problem> {
    let journal = (MemoryJournal::new(0).into(), &mut ProjectStates::default());
    let builder =
        Builder::new(environment, journal, clock, &Arc::new(LogObserver), &CancellationToken::new());
    let mut found = Vec::new();
    let mut note = |built: Result<(), BuildFault>| {
        let Err(BuildFault::Unusable(problems)) = built else { return };
        for problem in problems.0 {
            if !found.contains(&problem) {
                found.push(problem);
            }
        }
    };
    let none = Configuration {
        projects: Vec::new(),
        channels: Vec::new(),
        policies: Vec::new(),
        ..configuration.clone()
    };
    for project in &configuration.projects {
        let one = Configuration { projects: vec![project.clone()], ..none.clone() };
        note(builder.credentials(&one).and_then(|credentials| {
            let link = Builder::link(&one, project, &credentials)?;
            link.map_or(Ok(()), |link| builder.client(project, &link).map(drop))
        }));
    }
    for channel in &configuration.channels {
        note(channel_of(configuration, &channel.name, environment, clock).map(drop));
    }
    found
}
