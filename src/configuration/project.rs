//! `[[project]]`: the projects, and their connections.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::Value;

use super::credentials::AllCredentials;
use super::kind::Word;
use super::names::Names;
use super::network::{Network, Proxy};
use super::regions;
use super::schema::Key;
use super::section::Section;
use super::table::{Keyed, Table as _, table};
use super::text::{Endpoint, IdOfProject, Region};
use crate::model::id::{ProjectId, ProjectName};
use crate::model::text::shown;

table! {
    /// The keys, as the file has them, without the network.
    struct Written {
        name: Word,
        region: Region,
        project_id: IdOfProject,
        endpoint: Endpoint,
        iam_endpoint: Endpoint,
        credentials: Word,
    }
}

/// A project, which is read when it is checked.
pub(super) struct AnyProject;

impl Keyed for AnyProject {
    fn keys(path: &[&'static str]) -> Vec<Key> {
        [Written::keys(path), Network::keys(path)].concat()
    }
}

/// One project in one region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Its name in all output, unique.
    pub name: ProjectName,
    /// The region: signed requests do not need it, people do.
    pub region: String,
    /// The project's id; if absent, that of the project with the region's name.
    pub project_id: Option<ProjectId>,
    /// `https://HOST[:PORT]`, or `http://` to a loopback address; no path, no slash at the end.
    pub endpoint: String,
    /// Where credentials sign in, of the same form.
    pub iam_endpoint: String,
    /// Where an agency's URN is exchanged for keys, of the same form.
    pub sts_endpoint: String,
    /// A key of the configuration's credentials.
    pub credentials: String,
    /// A PEM file whose certificates are trusted beside the system's; it could be read when this was checked.
    pub ca_file: Option<PathBuf>,
    /// The proxy for all connections of the project.
    pub proxy: Option<Proxy>,
}

impl Project {
    /// Doubts about the hosts that follow from the region alone: the key, and the doubt.
    pub fn doubts(&self) -> Vec<(&'static str, String)> {
        regions::doubts(&self.region, &self.endpoint, &self.sts_endpoint)
    }

    /// Returns the values, without its name.
    pub(super) fn list(&self) -> Vec<(&'static str, Value)> {
        let written = Written {
            name: None,
            region: Some(self.region.clone()),
            project_id: self.project_id.clone(),
            endpoint: Some(self.endpoint.clone()),
            iam_endpoint: Some(self.iam_endpoint.clone()),
            credentials: Some(self.credentials.clone()),
        };
        let network = Network { ca_file: self.ca_file.clone(), ..Network::default() };
        let proxy = self.proxy.iter().flat_map(Proxy::list);
        written.list().into_iter().chain(network.list()).chain(proxy).collect()
    }
}

/// Warns of a region that no table names, where nothing but the region says where the service is.
fn warn_of_region(section: &Section<'_>, region: Option<&str>) {
    let Some(region) = region.filter(|region| !regions::is_known(region)) else { return };
    let host = regions::endpoint(region);
    let message =
        format!("this version knows no region \"{region}\": the daemon would reach the CSS API at {host}");
    let hint = match regions::meant(region) {
        Some(meant) => format!("did you mean \"{meant}\"? If the region is new, give endpoint"),
        None => "correct the region, or give endpoint (and iam_endpoint) if it is new or of another cloud"
            .to_owned(),
    };
    section.child("region").warn_with_hint(message, hint);
}

/// Whether an id has the form of those that the cloud gives.
fn is_of_the_form(id: &ProjectId) -> bool {
    id.as_str().len() == 32 && id.as_str().bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The result of `[[project]]`.
#[derive(Default)]
pub(super) struct Projects {
    /// The valid ones.
    pub(super) good: Vec<Project>,
    /// Every given name.
    pub(super) names: Names,
    /// The place of each id.
    ids: BTreeMap<ProjectId, String>,
    /// The place of the first project of each endpoint and each region.
    targets: BTreeMap<(&'static str, String), String>,
    /// Of them, the place of the first one whose id is to be looked up.
    nameless: BTreeMap<(&'static str, String), String>,
    used: BTreeSet<String>,
}

impl Projects {
    /// Returns whether none was written, valid or not.
    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty() && self.good.is_empty()
    }

    /// Checks `[[project]]`; `list` is the list. `is_doubtful`: there may be others, in what could not be read.
    pub(super) fn check(list: &Section<'_>, credentials: &AllCredentials<'_>, is_doubtful: bool) -> Self {
        let mut projects = Self::default();
        for section in list.tables() {
            section.only(&[Written::KEYS, Network::KEYS].concat(), |_| None);
            let read = Written::read(&section, "").zip(Network::read(&section, ""));
            let good =
                read.and_then(|(written, network)| projects.one(&section, written, network, credentials));
            projects.good.extend(good);
        }
        // What could not be read may use any.
        if !projects.is_empty() && !is_doubtful && !list.any_dropped() {
            credentials.warn_of_unused(&projects.used);
        }
        projects
    }

    fn one(
        &mut self,
        section: &Section<'_>,
        written: Written,
        network: Network,
        credentials: &AllCredentials<'_>,
    ) -> Option<Project> {
        let name = self.names.of(section, "project").and_then(|name| {
            ProjectName::new(&name).map_err(|error| section.error("name", error.to_string())).ok()
        });
        let Written { region, project_id, iam_endpoint, .. } = written;
        if region.is_none() {
            section.missing("region", "missing; such as \"eu-west-101\"");
        }
        if let Some(id) = project_id.as_ref().filter(|id| !is_of_the_form(id)) {
            section.child("project_id").warn_with_hint(
                format!("\"{}\" is not a project id: a project id has 32 hexadecimal digits", shown(id.as_str(), 60)),
                "copy the id from the console, under 'My Credentials', or remove the key: then the daemon looks up the id of \
                 the region's project",
            );
        }
        let bad = |key: &str| section.child(key).any_dropped();
        if written.endpoint.is_none() && !bad("endpoint") {
            warn_of_region(section, region.as_deref());
        }
        let of_the_region = || region.as_deref().filter(|_| !bad("endpoint")).map(regions::endpoint);
        let endpoint = written.endpoint.or_else(of_the_region);
        // An invalid id is reported already, and is not compared.
        if let Some(endpoint) = endpoint.as_ref().filter(|_| !bad("project_id")) {
            self.check_target(section, endpoint, region.as_deref(), project_id.clone());
        }
        let credentials = self.credentials(section, written.credentials, credentials);
        let proxy = network.proxy(section);
        let region = region?;
        Some(Project {
            name: name?,
            project_id,
            endpoint: endpoint?,
            sts_endpoint: regions::sts_endpoint(&region, iam_endpoint.as_deref()),
            iam_endpoint: iam_endpoint.unwrap_or_else(|| regions::iam_endpoint(&region)),
            region,
            credentials: credentials?,
            ca_file: network.ca_file,
            proxy,
        })
    }

    /// Checks that no project is there twice, whatever its endpoint: an id means one project
    /// everywhere. If the id of one is to be looked up, it could be that of another one at the same
    /// endpoint or in the same region.
    fn check_target(
        &mut self,
        section: &Section<'_>,
        endpoint: &str,
        region: Option<&str>,
        project_id: Option<ProjectId>,
    ) {
        let key = if project_id.is_some() { "project_id" } else { "region" };
        let place = section.place(key);
        let at = [("at the same endpoint", Some(endpoint)), ("in the same region", region)];
        let at = at.map(|(what, text)| text.map(|text| (what, text.to_owned())));
        let twice = project_id.as_ref().and_then(|id| self.ids.get(id));
        let others = if project_id.is_some() { &self.nameless } else { &self.targets };
        let could_be_one = at.iter().flatten().find_map(|at| Some((at.0, others.get(at)?)));
        if let Some(other) = twice {
            section.error(
                "project_id",
                format!("{other} configures the same project, and both would act on it: remove one of them"),
            );
        } else if let Some((what, other)) = could_be_one {
            section.missing(
                "project_id",
                format!(
                    "another project is {what} ({other}), and without both ids they could be the same: \
                     give project_id in both"
                ),
            );
        }
        for at in at.into_iter().flatten() {
            if project_id.is_none() {
                self.nameless.entry(at.clone()).or_insert_with(|| place.clone());
            }
            self.targets.entry(at).or_insert_with(|| place.clone());
        }
        if let Some(id) = project_id {
            self.ids.entry(id).or_insert(place);
        }
    }

    fn credentials(
        &mut self,
        section: &Section<'_>,
        written: Option<String>,
        credentials: &AllCredentials<'_>,
    ) -> Option<String> {
        let Some(name) = written else {
            section.missing("credentials", "missing; the name of an entry of [credentials] is needed");
            return None;
        };
        self.used.insert(name.clone());
        if credentials.names.contains(&name) {
            return Some(name);
        }
        credentials.unknown(section, "credentials", &name);
        None
    }
}
