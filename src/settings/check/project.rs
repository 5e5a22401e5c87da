//! `[[project]]`: which they are, and where they are reached.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use reqwest::Url;

use super::super::files::{Readers, read_bytes};
use super::super::written::{self, List, Table};
use super::super::{Project, defaults};
use super::credentials::AllCredentials;
use super::proxy::proxy;
use super::section::Section;
use crate::model::id::{ProjectId, ProjectName};
use crate::model::text::shown;
use crate::settings::scalar::Strict;

/// What came of `[[project]]`.
#[derive(Default)]
pub(super) struct Projects {
    /// Those that are good.
    pub(super) good: Vec<Project>,
    /// Every name that was given.
    pub(super) names: BTreeSet<String>,
    /// Where each name is given.
    places: BTreeMap<String, String>,
    /// Where each id is given.
    ids: BTreeMap<ProjectId, String>,
    /// Where the first project of each endpoint and each region stands.
    targets: BTreeMap<(&'static str, String), String>,
    /// Of them, where the first one whose id is to be looked up stands.
    nameless: BTreeMap<(&'static str, String), String>,
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
        let project_id = written.project_id.as_ref().map(|Strict(id)| {
            ProjectId::new(id).map_err(|error| section.error("project_id", error.to_string())).ok()
        });
        let endpoint = match (&written.endpoint, &region) {
            (Some(Strict(text)), _) => {
                endpoint(text).map_err(|problem| section.error("endpoint", problem)).ok()
            }
            (None, Some(region)) => Some(defaults::endpoint(region)),
            (None, None) => None,
        };
        // An id that cannot be used was told already, and is held against nothing.
        if let (Some(endpoint), Some(project_id)) =
            (&endpoint, project_id.clone().map_or(Some(None), |id| id.map(Some)))
        {
            self.check_target(section, endpoint, region.as_deref(), project_id);
        }
        let credentials = self.credentials(section, written.credentials.as_ref(), credentials);
        let given_iam = written.iam_endpoint.as_ref().map(|Strict(text)| {
            self::endpoint(text).map_err(|problem| section.error("iam_endpoint", problem)).ok()
        });
        let ca_file = ca_file(section, written.ca_file.as_ref());
        let login = (written.proxy_user.as_ref(), written.proxy_password.as_ref());
        let proxy = proxy(section, written.proxy.as_ref(), login);
        let region = region?;
        let given_iam = match given_iam {
            Some(given) => Some(given?),
            None => None,
        };
        Some(Project {
            name: name?,
            project_id: match project_id {
                Some(id) => Some(id?),
                None => None,
            },
            endpoint: endpoint?,
            sts_endpoint: defaults::sts_endpoint(&region, given_iam.as_deref()),
            iam_endpoint: given_iam.unwrap_or_else(|| defaults::iam_endpoint(&region)),
            region,
            credentials: credentials?,
            ca_file,
            proxy,
        })
    }

    /// No project may be there twice, whatever its endpoint: an id means one project everywhere. Where the id of one is
    /// to be looked up, it could be that of another one at the same endpoint or in the same region.
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
                format!("the same project stands at {other}, and both would act on it: one of them must go"),
            );
        } else if let Some((what, other)) = could_be_one {
            section.missing(
                "project_id",
                format!(
                    "another project stands {what} ({other}), and without both ids they could be one: give \
                     project_id in both"
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
        credentials.unknown(section, "credentials", name);
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

/// The origin of a URL that requests may be sent to. The URL is not repeated: it may bear a password.
pub(super) fn endpoint(text: &str) -> Result<String, String> {
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
    if let Some(what) = address(&url).and_then(nowhere) {
        return Err(format!("the address is {what}, where no CSS service is; {EXPECTED}"));
    }
    if url.scheme() == "http" && !address(&url).is_some_and(|address| address.is_loopback()) {
        return Err(
            "http:// is allowed only to a loopback address (127.0.0.1, [::1]); use https://".to_owned()
        );
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// The address that is written as the host. What a name means is decided elsewhere.
fn address(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    address.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// What an address is that no request with a signature may go to: where machines find their metadata, or nobody.
fn nowhere(address: IpAddr) -> Option<&'static str> {
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    if link_local {
        return Some("link-local");
    }
    if address.is_multicast() || address == IpAddr::V4(std::net::Ipv4Addr::BROADCAST) {
        return Some("one of many hosts");
    }
    address.is_unspecified().then_some("unspecified")
}

/// The path of a file with certificates.
pub(super) fn ca_file(section: &Section<'_>, written: Option<&Strict<String>>) -> Option<PathBuf> {
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
            ("http://0.0.0.0:1", "unspecified"),
            ("https://[::]", "unspecified"),
            ("https://169.254.169.254", "link-local"),
            ("https://2852039166", "link-local"),
            ("https://0xa9.0xfe.0xa9.0xfe", "link-local"),
            ("https://[fe80::1]", "link-local"),
            ("https://[::ffff:169.254.169.254]", "link-local"),
            ("https://224.0.0.1", "many hosts"),
            ("https://[ff02::1]", "many hosts"),
            ("http://127.0.0.1.example", "loopback"),
        ] {
            let problem = endpoint(text).unwrap_err();
            assert!(problem.contains(part) && !problem.contains("canary"), "{text}: {problem}");
        }
    }
}
