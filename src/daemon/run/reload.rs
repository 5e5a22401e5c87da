//! Reloads: reads the configuration again, all or nothing; and builds projects again that turned
//! out to be others, or that have another name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::task::JoinError;
use tracing::{error, info, warn};

use super::Daemon;
use crate::clock::Clock as _;
use crate::configuration::{self, Configuration, JournalLocation, Loaded, Problem, Project, Severity};
use crate::daemon::build::{self, Builder, Connection};
use crate::daemon::changes::changes;
use crate::daemon::channels::Channels;
use crate::daemon::credentials::Credentials;
use crate::daemon::identity::Known;
use crate::daemon::running::Running;
use crate::daemon::{BuildFault, HttpClient, ProjectStates, named};
use crate::journal::JournalError;
use crate::journal::reader::Query;
use crate::model::id::ProjectName;
use crate::model::moment::Moment;
use crate::model::names::{Named, Names, Naming};
use crate::model::policy::Mode;
use crate::model::project::Rules;
use crate::model::project_state::ProjectState;
use crate::model::text::chain;
use crate::status::Refused;

/// Made ready: connections and new clients, states, credentials and channels.
type MadeReady = (
    Vec<(Project, Arc<Connection>, Option<HttpClient>)>,
    BTreeMap<ProjectName, ProjectState>,
    Credentials,
    Channels,
);

/// What a reload has made ready. Making it ready may fail; taking it cannot.
pub(super) struct Ready {
    loaded: Loaded,
    links: Vec<(Project, Arc<Connection>, Option<HttpClient>)>,
    pub(super) states: BTreeMap<ProjectName, ProjectState>,
    credentials: Credentials,
    channels: Channels,
}

/// The effect of a reload on the names of projects.
struct Moving {
    wanted: Vec<Named>,
    naming: Naming,
    /// The watched projects that have another name then, or whose name is another one's: by their
    /// present names. They are built again.
    moved: BTreeSet<ProjectName>,
}

impl Moving {
    /// The name under which the journal keeps now what will be this project's.
    fn source<'a>(&'a self, names: &'a Names, name: &ProjectName) -> Option<&'a ProjectName> {
        let wanted = self.wanted.iter().find(|project| project.name == *name)?;
        names.source_of(wanted, &self.naming)
    }
}

impl Daemon {
    /// Reads the configuration again, all or nothing.
    ///
    /// # Errors
    /// If a part of the daemon panicked.
    pub(super) async fn reload(&mut self) -> Result<(), JoinError> {
        info!(config = %self.config.display(), "reloading the configuration");
        while let Some(carried_out) = self.orders.try_join_next() {
            carried_out?;
        }
        let loaded = match configuration::load(&self.config, &self.environment) {
            Ok(loaded) => loaded,
            Err(problems) => {
                self.tell_why_not("the new configuration cannot be used".to_owned(), &problems.0);
                return Ok(());
            }
        };
        let begins_to_send =
            loaded.configuration.mode == Mode::Enforce && self.configuration().mode != Mode::Enforce;
        if begins_to_send && self.reachable.as_ref().is_some_and(|reachable| !reachable.now()) {
            let why = "the mode is \"enforce\" now, and no operator could place a hold, because the control socket cannot be \
                       created: correct its directory, and reload again";
            self.tell_why_not(why.to_owned(), &[]);
            return Ok(());
        }
        let identities = Arc::clone(&self.builder.identities);
        self.forget_left().await;
        let known = &mut *identities.known.lock().await;
        let moving = self.moving(known, &loaded.configuration);
        if let Some(why) = self.why_not_now(&moving) {
            self.tell_why_not(why, &[]);
            return Ok(());
        }
        let (journal, now) = (self.configuration().journal.clone(), self.builder.clock.now());
        let ready = self.ready(loaded, &moving.moved, |name| match moving.source(&known.names, name) {
            // The scheduler that watches it has it.
            Some(source) if moving.moved.contains(source) && !known.outdated.contains(source) => {
                Ok(ProjectState::default())
            }
            Some(source) => state_of(source, &journal, now),
            None => Ok(ProjectState::default()),
        });
        let mut ready = match ready {
            Ok(ready) => ready,
            Err(BuildFault::Secrets(problems)) => {
                self.tell_why_not(
                    "the secrets of the new configuration cannot be read".to_owned(),
                    &problems.0,
                );
                return Ok(());
            }
            Err(BuildFault::Unusable(problems)) => {
                self.tell_why_not("the new configuration cannot be used".to_owned(), &problems.0);
                return Ok(());
            }
            Err(fault) => {
                self.tell_why_not(chain(&fault), &[]);
                return Ok(());
            }
        };
        let halted = self.halt(&moving.moved).await?;
        let paused = identities.pause_notes().await;
        match self.builder.journal().identify(moving.wanted).await {
            Ok(identified) => {
                for (name, running) in &halted {
                    let new = identified.naming.renamed(name);
                    if let Some(project_state) =
                        ready.states.get_mut(new).filter(|_| !known.outdated.contains(name))
                    {
                        *project_state = running.project.project_state();
                        project_state.wake(now);
                    }
                    known.leave(name);
                }
                identities.take(known, &identified);
                drop(paused);
                self.take(ready, known).await;
            }
            Err(error) => {
                self.revive(halted, known);
                let why =
                    format!("the names of projects could not be written to the journal: {}", chain(&error));
                self.tell_why_not(why, &[]);
            }
        }
        Ok(())
    }

    /// Logs one line for the fact, and one for each problem of the configuration.
    fn tell_why_not(&mut self, why: String, found: &[Problem]) {
        let at = self.builder.clock.now().wall;
        let config = self.config.display();
        error!(%config, "the reload was refused and the former configuration stays in force: {why}");
        let line = |problem: &Problem| format!("{}: {}", problem.severity.word(), problem.in_one_line());
        let mut problems: Vec<String> = found.iter().map(line).collect();
        for problem in found {
            match problem.severity {
                Severity::Error => error!(%config, "{}", problem.in_one_line()),
                Severity::Warning => warn!(%config, "{}", problem.in_one_line()),
            }
        }
        if problems.is_empty() {
            problems.push(why);
        }
        self.in_force.refused = Some(Refused { at, problems });
    }

    /// Makes everything ready that this configuration needs and that may fail.
    pub(super) fn ready(
        &self,
        loaded: Loaded,
        moved: &BTreeSet<ProjectName>,
        project_state: impl Fn(&ProjectName) -> Result<ProjectState, JournalError>,
    ) -> Result<Ready, BuildFault> {
        self.parts(&loaded, moved, project_state).map_err(|fault| fault.located(&loaded)).map(|parts| {
            let (links, states, credentials, channels) = parts;
            Ready { loaded, links, states, credentials, channels }
        })
    }

    fn parts(
        &self,
        loaded: &Loaded,
        moved: &BTreeSet<ProjectName>,
        project_state: impl Fn(&ProjectName) -> Result<ProjectState, JournalError>,
    ) -> Result<MadeReady, BuildFault> {
        let configuration = &loaded.configuration;
        let credentials = self.builder.credentials(configuration)?;
        let channels = self.builder.channels(configuration, &credentials)?;
        let (mut links, mut states) = (Vec::new(), BTreeMap::new());
        for project in &configuration.projects {
            let Some(link) = Builder::link(configuration, project, &credentials)? else { continue };
            let before = self.running.get(&project.name).filter(|_| !moved.contains(&project.name));
            let same = before.is_some_and(|running| *running.link == link);
            let client = if same { None } else { Some(self.builder.client(project, &link)?) };
            if before.is_none() {
                let known = project_state(&project.name).map_err(BuildFault::NewProject)?;
                states.insert(project.name.clone(), known);
            }
            links.push((project.clone(), Arc::new(link), client));
        }
        Ok((links, states, credentials, channels))
    }

    /// Takes a new configuration: no timer, no request and no unchanged connection is lost.
    async fn take(&mut self, ready: Ready, known: &mut Known) {
        let lines = changes(&self.loaded, &ready.loaded);
        for warning in ready.loaded.warnings_at(self.builder.clock.now().wall) {
            warn!("{}", warning.in_one_line());
        }
        let rules = build::rules(&ready.loaded.configuration);
        let mut clients: BTreeMap<ProjectName, Option<HttpClient>> = BTreeMap::new();
        let mut ready = ready;
        for (project, link, client) in &mut ready.links {
            if let Some(running) = self.running.get_mut(&project.name) {
                known.watch(&project.name, link.project());
                running.link = Arc::clone(link);
                running.leaving = false;
                clients.insert(project.name.clone(), client.take());
            }
        }
        for (name, running) in &mut self.running {
            let reconciler = &running.project;
            if let Some(client) = clients.remove(name) {
                reconciler.reload(rules.clone(), client).await;
                running.nudge.notify_one();
            } else {
                // Its plans end with it: without a policy nothing is sent. Open requests are still
                // confirmed.
                let rules = Rules { policies: Vec::new(), ..(*reconciler.rules()).clone() };
                reconciler.reload(rules, None).await;
                running.leaving = true;
            }
        }
        let came = ready.states.len();
        // Before any use of them: what is woken has to be proven again.
        ready.credentials.wake();
        self.begin(ready, known);
        self.note_in_force().await;
        info!(changes = lines.len(), projects = self.running.len(), came, "the configuration was reloaded");
        for line in lines {
            info!("changed: {line}");
        }
    }

    /// Takes the configuration and credentials, and begins to watch the new projects.
    pub(super) fn begin(&mut self, ready: Ready, known: &mut Known) {
        let Ready { loaded, links, mut states, credentials, channels, .. } = ready;
        build::tell_of_limits(&loaded.configuration);
        self.builder.take_credentials(credentials);
        self.builder.take_channels(channels, &loaded.configuration);
        for (project, link, client) in links {
            let (Some(project_state), Some(client)) = (states.remove(&project.name), client) else {
                continue;
            };
            self.put_under_watch(&loaded.configuration, &project, link, client, project_state, known);
        }
        self.in_force.hash = loaded.hash();
        let now = self.builder.clock.now().wall;
        self.in_force.warnings = loaded.warnings_at(now).iter().map(Problem::in_one_line).collect();
        self.loaded = loaded;
        self.in_force.since = now;
        self.in_force.refused = None;
    }

    fn put_under_watch(
        &mut self,
        configuration: &Configuration,
        project: &Project,
        link: Arc<Connection>,
        client: HttpClient,
        project_state: ProjectState,
        known: &mut Known,
    ) {
        let name = project.name.clone();
        known.watch(&name, link.project());
        let halt = self.stopping.child_token();
        let project = self.builder.project(configuration, project, client, project_state, halt.clone());
        let stop = halt.child_token();
        let nudge = Arc::default();
        let liveness = self.watch(name.clone(), Arc::clone(&project), Arc::clone(&nudge), stop.clone());
        self.running.insert(name, Running { project, link, halt, stop, nudge, liveness, leaving: false });
    }

    /// Returns the effect of this configuration on the names of projects.
    fn moving(&self, known: &Known, configuration: &Configuration) -> Moving {
        let wanted = named(configuration);
        // Other names do not matter here: those projects are not watched.
        let naming = known.names.naming(&wanted, |name| self.running.contains_key(name));
        let mut moved = known.outdated.clone();
        moved.extend(naming.renames.iter().flat_map(|rename| [rename.from.clone(), rename.to.clone()]));
        // If an id is looked up, another connection may lead to another project.
        let looked_up = configuration.projects.iter().filter(|project| project.project_id.is_none());
        moved.extend(
            looked_up
                .filter(|project| !self.configuration().projects.contains(project))
                .map(|p| p.name.clone()),
        );
        moved.retain(|name| self.running.contains_key(name));
        Moving { wanted, naming, moved }
    }

    /// Returns why projects cannot be given other names now.
    fn why_not_now(&self, moving: &Moving) -> Option<String> {
        if !moving.moved.is_empty() && !self.orders.is_empty() {
            return Some("projects were renamed while a command is in progress: reload again".to_owned());
        }
        let aside = moving.naming.renames.iter().filter(|rename| rename.aside).map(|rename| &rename.from);
        let open = |name: &&ProjectName| {
            self.running.get(*name).is_some_and(|running| running.project.has_open_attempts())
        };
        aside.into_iter().find(open).map(|name| {
            format!(
                "project {name} now has another id, and the outcome of a request of the former project {name} is unknown: \
                 reload again once the outcome is confirmed, or give the new project another name"
            )
        })
    }

    /// Ends these projects as a stop of the process does, and waits for it: the outcome of their
    /// requests is journaled.
    async fn halt(
        &mut self,
        names: &BTreeSet<ProjectName>,
    ) -> Result<BTreeMap<ProjectName, Running>, JoinError> {
        let mut waiting = names.clone();
        for running in names.iter().filter_map(|name| self.running.get(name)) {
            running.halt.cancel();
        }
        while !waiting.is_empty() {
            match self.schedulers.join_next().await {
                Some(Ok((name, watched))) if waiting.remove(&name) => watched?,
                Some(ended) => self.ended(ended)?,
                None => break,
            }
        }
        let mut halted = BTreeMap::new();
        for name in names {
            if let Some(running) = self.running.remove(name) {
                running.project.write_what_is_left().await;
                halted.insert(name.clone(), running);
            }
        }
        Ok(halted)
    }

    /// Watches projects again as they were, with their state.
    fn revive(&mut self, halted: BTreeMap<ProjectName, Running>, known: &mut Known) {
        for (name, running) in halted {
            let mut project_state = running.project.project_state();
            project_state.wake(self.builder.clock.now());
            self.again(&name, running.link, project_state, known);
        }
    }

    /// Builds projects again whose history turned out to be another one's.
    ///
    /// # Errors
    /// If a part of the daemon panicked.
    pub(super) async fn build_anew(&mut self) -> Result<(), JoinError> {
        let identities = Arc::clone(&self.builder.identities);
        let known = &mut *identities.known.lock().await;
        let names = known.outdated.iter().filter(|name| self.running.contains_key(*name)).cloned().collect();
        let (journal, now) = (self.configuration().journal.clone(), self.builder.clock.now());
        for (name, running) in self.halt(&names).await? {
            match state_of(&name, &journal, now) {
                Ok(project_state) => self.again(&name, running.link, project_state, known),
                Err(error) => {
                    error!(project = %name, "project {name} is not watched until a reload or restart, because the journal cannot be read: {}", chain(&error));
                }
            }
        }
        Ok(())
    }

    /// Watches a project of the configuration in force again, with a client of its own.
    fn again(
        &mut self,
        name: &ProjectName,
        link: Arc<Connection>,
        project_state: ProjectState,
        known: &mut Known,
    ) {
        let Some(project) =
            self.configuration().projects.iter().find(|project| project.name == *name).cloned()
        else {
            return known.leave(name);
        };
        match self.builder.client(&project, &link) {
            Ok(client) => {
                self.put_under_watch(
                    &self.loaded.configuration.clone(),
                    &project,
                    link,
                    client,
                    project_state,
                    known,
                );
            }
            Err(fault) => {
                error!(project = %name, "project {name} is not watched until a reload or restart: {}", chain(&fault));
            }
        }
    }

    /// Projects that are no longer watched conflict with none.
    pub(super) async fn forget_left(&mut self) {
        if self.left.is_empty() {
            return;
        }
        let identities = Arc::clone(&self.builder.identities);
        let mut known = identities.known.lock().await;
        for name in std::mem::take(&mut self.left) {
            if !self.running.contains_key(&name) {
                known.leave(&name);
            }
        }
    }
}

/// Returns the journal's state of a project that is new in the configuration, and may be an old
/// one.
fn state_of(
    name: &ProjectName,
    journal: &JournalLocation,
    now: Moment,
) -> Result<ProjectState, JournalError> {
    let mut states = ProjectStates::default();
    let entries = journal.reader()?.entries(&Query { project: Some(name.clone()), ..Query::default() })?;
    for entry in entries {
        states.fold(entry, now);
    }
    Ok(states.take(name, now))
}
