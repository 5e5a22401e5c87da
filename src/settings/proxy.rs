//! The proxy of a project or a channel, as checked; and fetching its password.

use std::collections::BTreeMap;

use super::environment::Environment;
use super::problem::Problems;
use super::secret::{SecretReference, Unavailable};
use super::{Project, ProjectName, Settings, key_of};
use crate::model::proxy;
use crate::model::secret::Secret;

/// The key of the password.
const PASSWORD: &str = "proxy_password";

/// A proxy, its password by reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Its URL, without user and password.
    pub url: String,
    /// The user, and the password.
    pub login: Option<(String, SecretReference)>,
}

impl Proxy {
    /// The reference to the password, with its key.
    pub fn reference(&self) -> Option<(&'static str, &SecretReference)> {
        self.login.as_ref().map(|(_, password)| (PASSWORD, password))
    }

    /// The proxy as connections use it. `secret` gives the secret of a key.
    pub fn with(&self, secret: impl Fn(&str) -> Option<Secret>) -> proxy::Proxy {
        let login = self.login.as_ref().and_then(|(user, _)| Some((user.clone(), secret(PASSWORD)?)));
        let login = login.map(|(user, password)| proxy::Login { user, password });
        proxy::Proxy { url: self.url.clone(), login }
    }
}

impl Settings {
    /// Fetches the passwords of the projects' proxies: the proxies by the names of the projects.
    ///
    /// # Errors
    /// All that are missing, empty, readable by others or no text.
    pub fn resolve_proxies(
        &self,
        env: &Environment,
    ) -> Result<BTreeMap<ProjectName, proxy::Proxy>, Problems> {
        let (mut all, mut problems) = (BTreeMap::new(), Vec::new());
        for project in &self.projects {
            let Some(proxy) = &project.proxy else { continue };
            let password = match proxy.reference().map(|(key, reference)| (key, reference.fetch(env))) {
                Some((key, Err(why))) => {
                    problems.push(why.problem_at(at(project, key)));
                    continue;
                }
                Some((_, Ok(password))) => Some(password),
                None => None,
            };
            all.insert(project.name.clone(), proxy.with(|_| password.clone()));
        }
        if problems.is_empty() { Ok(all) } else { Err(Problems(problems)) }
    }

    /// The secrets of the projects' proxies, by their keys.
    pub(super) fn references_of_proxies(&self) -> impl Iterator<Item = (String, &SecretReference)> {
        self.projects.iter().filter_map(|project| {
            let (key, reference) = project.proxy.as_ref()?.reference()?;
            Some((at(project, key), reference))
        })
    }

    /// Those that cannot be had.
    pub(super) fn missing_of_proxies(
        &self,
        env: &Environment,
    ) -> impl Iterator<Item = (String, Unavailable)> {
        self.references_of_proxies()
            .filter_map(|(at, reference)| reference.fetch(env).err().map(|why| (at, why)))
    }
}

/// The key of a project's secret.
fn at(project: &Project, key: &str) -> String {
    key_of(&["project", project.name.as_str(), key])
}
