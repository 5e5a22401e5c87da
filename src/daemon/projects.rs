//! The projects of one state of the configuration, for commands that poll everything once.

use std::sync::Arc;

use tokio::task::{JoinError, JoinSet};

use super::build::Builder;
use super::{BuildFault, HttpProject, ProjectStates};
use crate::clock::Clock as _;
use crate::configuration::Configuration;
use crate::schedule::Scheduler;

/// The projects, each with its client and what the journal knows of it.
pub struct Projects {
    all: Vec<Arc<HttpProject>>,
    builder: Builder,
}

impl Projects {
    /// Builds every project. Connects to nothing.
    ///
    /// # Errors
    /// If a secret, a key, an endpoint or a CA cannot be used.
    pub fn build(
        configuration: &Configuration,
        mut builder: Builder,
        mut states: ProjectStates,
    ) -> Result<Self, BuildFault> {
        let now = builder.clock.now();
        let credentials = builder.credentials(configuration)?;
        let mut all = Vec::new();
        for project in &configuration.projects {
            let Some(link) = Builder::link(configuration, project, &credentials)? else { continue };
            let css = builder.client(project, &link)?;
            let (project_state, stopping) = (states.take(&project.name, now), builder.stopping());
            all.push(builder.project(configuration, project, css, project_state, stopping));
            if let Ok(mut known) = builder.identities.known.try_lock() {
                known.watch(&project.name, link.project());
            }
        }
        let channels = builder.channels(configuration, &credentials)?;
        builder.take_credentials(credentials);
        builder.take_channels(channels, configuration);
        Ok(Self { all, builder })
    }

    /// The projects, in the order of the configuration.
    pub fn all(&self) -> &[Arc<HttpProject>] {
        &self.all
    }

    /// Polls everything once. Returns `false` if the clusters of some project could not be listed.
    ///
    /// # Errors
    /// If a part of the daemon panicked.
    pub async fn reconcile_once(&self) -> Result<bool, JoinError> {
        let mut schedulers = JoinSet::new();
        for project in &self.all {
            schedulers.spawn(
                Scheduler::new(Arc::clone(project), Arc::clone(&self.builder.clock))
                    .run_once(self.builder.stopping.clone()),
            );
        }
        let mut all = Ok(true);
        while let Some(ended) = schedulers.join_next().await {
            let seen = ended.and_then(|watched| watched);
            all = all.and_then(|all| seen.map(|seen| all && seen));
        }
        for project in &self.all {
            project.write_what_is_left().await;
        }
        all
    }
}
