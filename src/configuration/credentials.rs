//! `[credentials]`: the type of each, its required keys, and the source of each agency.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::Value;

use super::kind::{Kind as _, Word};
use super::names;
use super::reference::SecretReference;
use super::schema::Key;
use super::section::Section;
use super::table::{Keyed, Table, table};
use super::text::{AbsolutePath, Filled, TypeWord, check_name};
use super::variant::{Wording, variants};
use crate::model::secret::Secret;
use crate::model::text::shown;

variants! {
    /// Credentials, their secrets by reference.
    pub enum Credentials {
        /// Permanent keys, or temporary ones with a token.
        "ak-sk" => AkSk,
        /// A user of an account signs in.
        "password" => Password,
        /// A token from elsewhere.
        "token" => Token,
        /// The agency of the machine, from its metadata service.
        "ecs-agency" => EcsAgency,
        /// Assumed by other credentials.
        "agency" => Assumed,
        /// The configuration of the official tools.
        "profile" => Profile,
    }
}

table! {
    /// `ak-sk`.
    pub struct AkSk {
        needs {
            /// The access key id.
            access_key: SecretReference as SecretReference,
            /// The secret access key.
            secret_key: SecretReference as SecretReference,
        }
        may {
            /// Belongs to temporary keys.
            security_token: SecretReference as SecretReference,
        }
    }
}

table! {
    /// `password`.
    pub struct Password {
        needs {
            /// The user's name.
            user: Filled as String,
            /// The account's name.
            domain: Filled as String,
            /// The password.
            password: SecretReference as SecretReference,
        }
        may {}
    }
}

table! {
    /// `token`.
    pub struct Token {
        needs {
            /// The token.
            token: SecretReference as SecretReference,
        }
        may {}
    }
}

table! {
    /// `ecs-agency`.
    pub struct EcsAgency {
        needs {}
        may {}
    }
}

table! {
    /// `profile`.
    pub struct Profile {
        needs {}
        may {
            /// A file; if absent, the usual places of the tools.
            path: AbsolutePath as PathBuf,
        }
    }
}

table! {
    /// `agency`, as the file has it.
    struct WrittenAgency {
        needs {
            source: Word,
        }
        may {
            agency_name: Filled,
            domain_name: Filled,
            agency_urn: Filled,
        }
    }
}

/// `agency`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assumed {
    /// The name of other credentials.
    pub source: String,
    /// The agency.
    pub agency: Agency,
}

/// An agency, by either of the two ways of assuming one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Agency {
    /// By its name, and that of the account that created it.
    Named {
        /// The agency's name.
        name: String,
        /// The account's name.
        domain: String,
    },
    /// By its URN.
    Urn(String),
}

impl Keyed for Assumed {
    fn keys(path: &[&'static str]) -> Vec<Key> {
        WrittenAgency::keys(path)
    }
}

impl Table for Assumed {
    const KEYS: &'static [&'static str] = WrittenAgency::KEYS;

    fn read(at: &Section<'_>, needed: &str) -> Option<Self> {
        match (at.has("agency_name"), at.has("agency_urn"), at.has("domain_name")) {
            (true, true, _) => {
                at.error_at_key("agency_urn", "agency_name is given too; exactly one of them is needed");
            }
            (false, false, _) if needed.is_empty() => {}
            (false, false, _) => at.missing("agency_name", "missing; agency_name or agency_urn is needed"),
            (true, false, false) => at.missing("domain_name", "missing; it goes with agency_name"),
            (false, true, true) => {
                let message =
                    "not allowed with agency_urn, which contains the account; it belongs to agency_name";
                at.error_at_key("domain_name", message);
            }
            _ => {}
        }
        let WrittenAgency { source, agency_name, domain_name, agency_urn } = WrittenAgency::read(at, needed)?;
        let agency = match (agency_name, domain_name, agency_urn) {
            (Some(name), Some(domain), None) => Agency::Named { name, domain },
            (None, None, Some(urn)) => Agency::Urn(urn),
            _ => return None,
        };
        Some(Self { source, agency })
    }

    fn list(&self) -> Vec<(&'static str, Value)> {
        let (agency_name, domain_name, agency_urn) = match self.agency.clone() {
            Agency::Named { name, domain } => (Some(name), Some(domain), None),
            Agency::Urn(urn) => (None, None, Some(urn)),
        };
        WrittenAgency { source: self.source.clone(), agency_name, domain_name, agency_urn }.list()
    }

    fn references(&self) -> Vec<(&'static str, &SecretReference)> {
        Vec::new()
    }
}

/// The secrets of one entry of `[credentials]`. Its `Debug` masks them.
#[derive(Debug, Clone)]
pub enum CredentialSecrets {
    /// Permanent keys, or temporary ones with a token.
    AccessKey {
        /// The access key id.
        access_key: Secret,
        /// The secret access key.
        secret_key: Secret,
        /// `X-Security-Token`.
        security_token: Option<Secret>,
    },
    /// A user's password.
    Password(Secret),
    /// `X-Auth-Token`.
    Token(Secret),
    /// The configuration has no secret: it comes from other credentials, or from elsewhere.
    Elsewhere,
}

table! {
    /// The common keys of all types.
    struct Common {
        kind = "type": TypeWord,
    }
}

/// An entry of any type, which is read when it is checked.
pub(super) struct AnyCredentials;

impl Keyed for AnyCredentials {
    fn keys(path: &[&'static str]) -> Vec<Key> {
        [Common::keys(path), Credentials::keys(path)].concat()
    }
}

const WORDING: Wording = Wording {
    missing: "missing; allowed: {allowed}",
    unknown: "unknown type of credentials",
    of: "credentials of type",
    need: "need",
    have: "have",
};

/// Credentials by name.
pub(super) struct AllCredentials<'a> {
    section: Section<'a>,
    /// The valid ones.
    pub(super) good: BTreeMap<String, Credentials>,
    /// Valid or not.
    pub(super) names: BTreeSet<String>,
    /// The source of each agency.
    sources: BTreeMap<String, String>,
}

impl<'a> AllCredentials<'a> {
    /// Checks `[credentials]`.
    pub(super) fn check(section: Section<'a>) -> Self {
        let (good, names, sources) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        let mut all = Self { section, good, names, sources };
        for (name, here) in all.section.clone().entries() {
            if let Err(problem) = check_name(name) {
                all.section.error_at_key(name, problem);
            }
            all.names.insert(name.to_owned());
            if !here.value().is_object() {
                continue;
            }
            let kind = TypeWord::get(&here, "type");
            if let (Some("agency"), Some(source)) = (kind.as_deref(), here.child("source").value().as_str()) {
                all.sources.insert(name.to_owned(), source.to_owned());
            }
            let good = WORDING.read(&here, kind.as_deref(), |_| Vec::new());
            all.good.extend(good.map(|good| (name.to_owned(), good)));
        }
        all.check_sources();
        all
    }

    /// Checks whether the source of an agency exists, and leads to credentials that are no agency.
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
                section.error("source", "the source is the same credentials; name others");
            } else if self.sources.contains_key(at) {
                section.error("source", "the sources form a circle: the last source must not be an agency");
            }
        }
    }

    /// Adds the problem that there are none of this name.
    pub(super) fn unknown(&self, section: &Section<'_>, key: &str, name: &str) {
        let message = format!("there are no credentials of the name \"{}\"", shown(name, 60));
        let words = ("the credentials are", "add a table [credentials.NAME] and give its NAME here");
        let help = names::help(section, name, self.names.iter().map(String::as_str), words);
        section.child(key).refuse(message, Some(help));
    }

    /// Warns of those that no project uses, directly or by an agency.
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
