//! Projects, where they are reached, and their credentials.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use reqwest::Url;

use super::super::files::{Readers, read_bytes};
use super::super::problem::nearest;
use super::super::secret::SecretReference;
use super::super::written::{self, List, Table};
use super::super::{Credentials, Project, defaults};
use super::later::NO_EFFECT;
use super::policy::check_name;
use super::section::Section;
use crate::model::id::{ProjectId, ProjectName};
use crate::model::text::shown;
use crate::settings::scalar::Strict;

/// The types of credentials, with the keys that each takes.
const TYPES: [(&str, &[&str]); 6] = [
    ("ak-sk", &["access_key", "secret_key", "security_token"]),
    ("password", &["user", "password", "domain"]),
    ("token", &["token"]),
    ("ecs-agency", &[]),
    ("agency", &["source", "agency_name", "agency_urn", "domain_name"]),
    ("profile", &["path"]),
];

type WrittenCredentials = BTreeMap<String, Option<Table<written::Credentials>>>;

/// Credentials by name.
pub(super) struct AllCredentials<'a> {
    section: Section<'a>,
    /// Those that are good.
    pub(super) good: BTreeMap<String, Credentials>,
    /// Good or not.
    names: BTreeSet<String>,
}

impl<'a> AllCredentials<'a> {
    /// Checks `[credentials]`.
    pub(super) fn check(section: Section<'a>, written: WrittenCredentials) -> Self {
        let names = written.keys().cloned().collect();
        let good = written
            .into_iter()
            .filter_map(|(name, credentials)| {
                if let Err(problem) = check_name(&name) {
                    section.error_at_key(&name, problem);
                }
                let Table(credentials) = credentials?;
                Some((name.clone(), one_of(&section.child(&name), credentials)?))
            })
            .collect();
        Self { section, good, names }
    }

    fn warn_of_unused(&self, used: &BTreeSet<String>) {
        for name in self.names.difference(used) {
            self.section.warn(name, "no project uses these credentials");
        }
    }
}

fn one_of(section: &Section<'_>, written: written::Credentials) -> Option<Credentials> {
    let given = written.given();
    let Some(Strict(kind)) = written.kind else {
        section.missing("type", "missing; allowed: \"ak-sk\"");
        return None;
    };
    let Some((kind, keys)) = TYPES.into_iter().find(|(known, _)| *known == kind) else {
        // The word is not repeated: it stands among secrets.
        let message = "unknown type of credentials; allowed: \"ak-sk\"";
        match nearest(&kind, TYPES.map(|(known, _)| known)) {
            Some(near) => section.error_with_hint("type", message, format!("did you mean \"{near}\"?")),
            None => section.error("type", message),
        }
        return None;
    };
    for key in given.into_iter().filter(|key| !keys.contains(key)) {
        section.error_at_key(key, format!("credentials of type \"{kind}\" have no such key"));
    }
    if kind != "ak-sk" {
        section.error(
            "type",
            format!("credentials of type \"{kind}\" come in a later version; allowed: \"ak-sk\""),
        );
        return None;
    }
    let required = |key: &str, reference: Option<Strict<SecretReference>>| {
        if reference.is_none() {
            section.missing(key, "missing; credentials of type \"ak-sk\" need it");
        }
        reference.map(|reference| reference.0)
    };
    let access_key = required("access_key", written.access_key);
    let secret_key = required("secret_key", written.secret_key);
    let security_token = written.security_token.map(|token| token.0);
    Some(Credentials::AccessKey { access_key: access_key?, secret_key: secret_key?, security_token })
}

/// What came of `[[project]]`.
#[derive(Default)]
pub(super) struct Projects {
    /// Those that are good.
    pub(super) good: Vec<Project>,
    /// Every name that was given.
    pub(super) names: BTreeSet<String>,
    /// Where each name is given.
    places: BTreeMap<String, String>,
    /// Where each pair of endpoint and project id is given.
    targets: BTreeMap<(String, ProjectId), String>,
    used: BTreeSet<String>,
}

impl Projects {
    /// Whether none was written, good or not.
    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty() && self.good.is_empty()
    }

    /// Checks `[[project]]`; `section` is the list.
    pub(super) fn check(
        section: &Section<'_>,
        written: List<Table<written::Project>>,
        credentials: &AllCredentials<'_>,
    ) -> Self {
        let mut projects = Self::default();
        for (index, project) in written.into_iter().enumerate() {
            if let Some(Table(project)) = project {
                let good = projects.one(&section.element(index), &project, credentials);
                projects.good.extend(good);
            }
        }
        credentials.warn_of_unused(&projects.used);
        projects
    }

    fn one(
        &mut self,
        section: &Section<'_>,
        written: &written::Project,
        credentials: &AllCredentials<'_>,
    ) -> Option<Project> {
        let name = self.name(section, written.name.as_ref());
        let region = region(section, written.region.as_ref());
        let project_id = project_id(section, written.project_id.as_ref());
        let endpoint = match (&written.endpoint, &region) {
            (Some(Strict(text)), _) => {
                endpoint(text).map_err(|problem| section.error("endpoint", problem)).ok()
            }
            (None, Some(region)) => Some(defaults::endpoint(region)),
            (None, None) => None,
        };
        if let (Some(endpoint), Some(project_id)) = (&endpoint, &project_id) {
            let place = section.place("project_id");
            if let Some(other) = self.targets.insert((endpoint.clone(), project_id.clone()), place) {
                section.error(
                    "project_id",
                    format!("the same project at the same endpoint stands at {other}: both would act on it"),
                );
            }
        }
        let credentials = self.credentials(section, written.credentials.as_ref(), credentials);
        later_keys(section, written);
        let ca_file = ca_file(section, written.ca_file.as_ref());
        Some(Project {
            name: name?,
            region: region?,
            project_id: project_id?,
            endpoint: endpoint?,
            credentials: credentials?,
            ca_file,
        })
    }

    fn name(&mut self, section: &Section<'_>, written: Option<&Strict<String>>) -> Option<ProjectName> {
        let Some(Strict(name)) = written else {
            section.missing("name", "missing; every project needs a name of its own");
            return None;
        };
        self.names.insert(name.clone());
        match self.places.get(name) {
            Some(place) => {
                let name = shown(name, 60);
                section.error("name", format!("the project \"{name}\" is defined twice: also at {place}"));
            }
            None => {
                self.places.insert(name.clone(), section.place("name"));
            }
        }
        ProjectName::new(name).map_err(|error| section.error("name", error.to_string())).ok()
    }

    fn credentials(
        &mut self,
        section: &Section<'_>,
        written: Option<&Strict<String>>,
        credentials: &AllCredentials<'_>,
    ) -> Option<String> {
        let Some(Strict(name)) = written else {
            section.missing("credentials", "missing; the name of an entry of [credentials] is needed");
            return None;
        };
        self.used.insert(name.clone());
        if credentials.names.contains(name) {
            return Some(name.clone());
        }
        let message = format!("there are no credentials of the name \"{}\"", shown(name, 60));
        match nearest(name, credentials.names.iter().map(String::as_str)) {
            Some(near) => {
                section.error_with_hint("credentials", message, format!("did you mean \"{near}\"?"));
            }
            None => section.error_with_hint(
                "credentials",
                message,
                "add a table [credentials.NAME] and give its NAME here",
            ),
        }
        None
    }
}

fn region(section: &Section<'_>, written: Option<&Strict<String>>) -> Option<String> {
    let Some(Strict(region)) = written else {
        section.missing("region", "missing; such as \"eu-west-101\"");
        return None;
    };
    let plain = region.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    // It becomes a label of a host name.
    if plain && !region.is_empty() && region.len() <= 63 && !region.starts_with('-') && !region.ends_with('-')
    {
        return Some(region.clone());
    }
    section.error(
        "region",
        format!(
            "found \"{}\"; small letters, digits and '-' are allowed, such as \"eu-west-101\"",
            shown(region, 60)
        ),
    );
    None
}

fn project_id(section: &Section<'_>, written: Option<&Strict<String>>) -> Option<ProjectId> {
    let Some(Strict(id)) = written else {
        section.missing(
            "project_id",
            "missing; looking it up from the region comes in a later version: copy it from the console (My Credentials)",
        );
        return None;
    };
    ProjectId::new(id).map_err(|error| section.error("project_id", error.to_string())).ok()
}

/// The origin of a URL that requests may be sent to. The URL is not repeated: it may bear a password.
fn endpoint(text: &str) -> Result<String, String> {
    const EXPECTED: &str = "https://HOST or https://HOST:PORT is needed";
    if text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\') {
        return Err(format!("the URL has blanks, control characters or backslashes; {EXPECTED}"));
    }
    if !text.starts_with("https://") && !text.starts_with("http://") {
        return Err(format!("it begins neither with https:// nor with http://; {EXPECTED}"));
    }
    let url = Url::parse(text).map_err(|error| format!("it is no URL ({error}); {EXPECTED}"))?;
    if !url.username().is_empty() || url.password().is_some() || text.contains('@') {
        return Err("a user or password in a URL is not allowed; use credentials".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("a query or fragment is not allowed; {EXPECTED}"));
    }
    if url.path() != "/" {
        return Err(format!("a path is not allowed; {EXPECTED}"));
    }
    if url.port() == Some(0) {
        return Err("port 0 cannot be reached".to_owned());
    }
    if url.scheme() == "http" && !is_loopback(&url) {
        return Err(
            "http:// is allowed only to a loopback address (127.0.0.1, [::1]); use https://".to_owned()
        );
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// By address and not by name: what a name means is decided elsewhere.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn ca_file(section: &Section<'_>, written: Option<&Strict<String>>) -> Option<PathBuf> {
    let Strict(path) = written?;
    if !section.absolute_path("ca_file", path) {
        return None;
    }
    match read_bytes(path.as_ref(), Readers::Anybody) {
        Err(error) => section.error("ca_file", format!("{}: {error}", shown(path, 200))),
        Ok(bytes) => {
            let mark = b"-----BEGIN CERTIFICATE-----";
            if !bytes.windows(mark.len()).any(|part| part == mark) {
                section
                    .error("ca_file", format!("{}: no PEM certificate stands in the file", shown(path, 200)));
            }
        }
    }
    Some(path.into())
}

fn later_keys(section: &Section<'_>, written: &written::Project) {
    if let Some(Strict(text)) = &written.iam_endpoint {
        if let Err(problem) = endpoint(text) {
            section.error("iam_endpoint", problem);
        }
        section.warn("iam_endpoint", NO_EFFECT);
    }
    if let Some(Strict(text)) = &written.proxy {
        match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
                if !url.username().is_empty() || url.password().is_some() {
                    section.error("proxy", "a user or password in a URL is not allowed");
                }
            }
            _ => section.error("proxy", "an http:// or https:// URL is needed"),
        }
        section.warn("proxy", NO_EFFECT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_an_origin() {
        for (text, origin) in [
            ("https://css.eu-west-101.myhuaweicloud.com", "https://css.eu-west-101.myhuaweicloud.com"),
            ("https://css.example/", "https://css.example"),
            ("https://CSS.example:443", "https://css.example"),
            ("https://css.example:8443", "https://css.example:8443"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://[::1]:8080", "http://[::1]:8080"),
        ] {
            assert_eq!(endpoint(text).as_deref(), Ok(origin), "{text}");
        }
    }

    #[test]
    fn an_endpoint_that_is_more_or_less_than_an_origin_is_refused() {
        for (text, part) in [
            ("css.example", "begins neither"),
            ("ftp://css.example", "begins neither"),
            ("https://", "no URL"),
            ("https://user:canary@css.example", "password"),
            ("https://@css.example", "password"),
            ("https://css.example/v1.0", "path"),
            ("https://css.example?x=1", "query"),
            ("https://css.example#x", "fragment"),
            ("https://css.example:0", "port 0"),
            ("https:\\\\css.example", "backslashes"),
            (" https://css.example", "blanks"),
            ("http://css.example", "loopback"),
            ("http://localhost:8080", "loopback"),
            ("http://128.0.0.1", "loopback"),
            ("http://0.0.0.0:1", "loopback"),
            ("http://127.0.0.1.example", "loopback"),
        ] {
            let problem = endpoint(text).unwrap_err();
            assert!(problem.contains(part) && !problem.contains("canary"), "{text}: {problem}");
        }
    }
}
