//! `[credentials]`: of which type each is, whether it has what it needs, and who takes an agency on with which.

use std::collections::{BTreeMap, BTreeSet};

use super::super::written::{self, Table};
use super::super::{Agency, Credentials};
use super::policy::check_name;
use super::section::Section;
use crate::model::text::shown;
use crate::settings::scalar::Strict;

/// A type of credentials: its keys, those that it needs and those that it may have.
type Type = (&'static str, &'static [&'static str], &'static [&'static str]);
const TYPES: [Type; 6] = [
    ("ak-sk", &["access_key", "secret_key"], &["security_token"]),
    ("password", &["user", "password", "domain"], &[]),
    ("token", &["token"], &[]),
    ("ecs-agency", &[], &[]),
    ("agency", &["source"], &["agency_name", "agency_urn", "domain_name"]),
    ("profile", &[], &["path"]),
];

type WrittenCredentials = BTreeMap<String, Option<Table<written::Credentials>>>;

/// Credentials by name.
pub(super) struct AllCredentials<'a> {
    section: Section<'a>,
    /// Those that are good.
    pub(super) good: BTreeMap<String, Credentials>,
    /// Good or not.
    pub(super) names: BTreeSet<String>,
    /// Which take agencies on with which.
    sources: BTreeMap<String, String>,
}

impl<'a> AllCredentials<'a> {
    /// Checks `[credentials]`.
    pub(super) fn check(section: Section<'a>, written: WrittenCredentials) -> Self {
        let mut all =
            Self { section, good: BTreeMap::new(), names: BTreeSet::new(), sources: BTreeMap::new() };
        for (name, credentials) in written {
            if let Err(problem) = check_name(&name) {
                all.section.error_at_key(&name, problem);
            }
            let here = all.section.child(&name);
            let kind = credentials.as_ref().and_then(|Table(credentials)| kind(&here, credentials));
            all.names.insert(name.clone());
            let (Some(kind), Some(Table(credentials))) = (kind, credentials) else { continue };
            if let Some(Strict(source)) = credentials.source.as_ref().filter(|_| kind == "agency") {
                all.sources.insert(name.clone(), source.clone());
            }
            all.good.extend(good(&here, kind, credentials).map(|good| (name, good)));
        }
        all.check_sources();
        all
    }

    /// Whether the credentials that an agency is taken on with exist, and lead to some that are no agency.
    fn check_sources(&self) {
        for (name, source) in &self.sources {
            let section = self.section.child(name);
            if !self.names.contains(source) {
                self.unknown(&section, "source", source);
                continue;
            }
            let mut seen = BTreeSet::from([name]);
            let mut at = source;
            while seen.insert(at)
                && let Some(next) = self.sources.get(at)
            {
                at = next;
            }
            if name == source {
                section.error("source", "these are the credentials themselves; others are needed");
            } else if self.sources.contains_key(at) {
                section.error("source", "these lead back to themselves: at the end there must be no agency");
            }
        }
    }

    /// Says that there are none of this name.
    pub(super) fn unknown(&self, section: &Section<'_>, key: &str, name: &str) {
        let message = format!("there are no credentials of the name \"{}\"", shown(name, 60));
        let hint = match section.nearest(name, self.names.iter().map(String::as_str)) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => "add a table [credentials.NAME] and give its NAME here".to_owned(),
        };
        section.error_with_hint(key, message, hint);
    }

    /// Warns of those that no project uses, itself or by an agency.
    pub(super) fn warn_of_unused(&self, used: &BTreeSet<String>) {
        let mut used = used.clone();
        let mut sources: Vec<&String> = used.iter().filter_map(|name| self.sources.get(name)).collect();
        while let Some(source) = sources.pop() {
            if used.insert(source.clone()) {
                sources.extend(self.sources.get(source));
            }
        }
        for name in self.names.iter().filter(|name| !used.contains(*name)) {
            self.section.warn(name, "no project uses these credentials");
        }
    }
}

/// Whether there are the keys that the type needs, and no others. The type, if it is one.
fn kind(section: &Section<'_>, written: &written::Credentials) -> Option<&'static str> {
    let given = written.given();
    let allowed = || TYPES.map(|(known, ..)| format!("\"{known}\"")).join(", ");
    let Some(Strict(kind)) = &written.kind else {
        section.missing("type", format!("missing; allowed: {}", allowed()));
        return None;
    };
    let Some((kind, needed, possible)) = TYPES.into_iter().find(|(known, ..)| known == kind) else {
        // The word is not repeated: it stands among secrets.
        let message = format!("unknown type of credentials; allowed: {}", allowed());
        match section.nearest(kind, TYPES.map(|(known, ..)| known)) {
            Some(near) => section.error_with_hint("type", message, format!("did you mean \"{near}\"?")),
            None => section.error("type", message),
        }
        return None;
    };
    for key in needed.iter().filter(|key| !given.contains(key)) {
        section.missing(key, format!("missing; credentials of type \"{kind}\" need it"));
    }
    for key in given.into_iter().filter(|key| !needed.contains(key) && !possible.contains(key)) {
        section.error_at_key(key, format!("credentials of type \"{kind}\" have no such key"));
    }
    Some(kind)
}

/// The credentials of a type, where nothing that it needs is missing or empty.
fn good(section: &Section<'_>, kind: &str, written: written::Credentials) -> Option<Credentials> {
    let text = |key: &str, written: Option<Strict<String>>| {
        let Strict(text) = written?;
        if text.trim().is_empty() {
            section.error(key, "it is empty");
            return None;
        }
        Some(text)
    };
    match kind {
        "ak-sk" => Some(Credentials::AccessKey {
            access_key: written.access_key?.0,
            secret_key: written.secret_key?.0,
            security_token: written.security_token.map(|token| token.0),
        }),
        "password" => {
            let (user, domain) = (text("user", written.user), text("domain", written.domain));
            Some(Credentials::Password { user: user?, password: written.password?.0, domain: domain? })
        }
        "token" => Some(Credentials::Token { token: written.token?.0 }),
        "ecs-agency" => Some(Credentials::EcsAgency),
        "agency" => {
            match (&written.agency_name, &written.agency_urn) {
                (Some(_), Some(_)) => {
                    let message = "agency_name is given too; exactly one of them is needed";
                    section.error_at_key("agency_urn", message);
                }
                (None, None) => {
                    section.missing("agency_name", "missing; agency_name or agency_urn is needed");
                }
                (Some(_), None) if written.domain_name.is_none() => {
                    section.missing("domain_name", "missing; it goes with agency_name");
                }
                (None, Some(_)) if written.domain_name.is_some() => {
                    section.error_at_key(
                        "domain_name",
                        "it goes with agency_name; the account stands in agency_urn",
                    );
                }
                _ => {}
            }
            let (name, urn) =
                (text("agency_name", written.agency_name), text("agency_urn", written.agency_urn));
            let domain = text("domain_name", written.domain_name);
            let agency = match (name, domain, urn) {
                (Some(name), Some(domain), None) => Agency::Named { name, domain },
                (None, None, Some(urn)) => Agency::Urn(urn),
                _ => return None,
            };
            Some(Credentials::Agency { source: written.source?.0, agency })
        }
        _ => {
            let path = match written.path {
                Some(Strict(path)) if section.absolute_path("path", &path) => Some(path.into()),
                Some(_) => return None,
                None => None,
            };
            Some(Credentials::Profile { path })
        }
    }
}
