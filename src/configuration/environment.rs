//! The process environment, as an argument: nothing in the configuration reads the real one, so
//! that tests and `check` control it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

/// The prefix of variables that override a key of config.toml; `__` divides section and key.
pub const PREFIX: &str = "UPGRADE_REMEDIATOR__";
/// A name with only this prefix overrides nothing.
const STEM: &str = "UPGRADE_REMEDIATOR_";

/// The environment variables of a process. Its `Debug` names them without their values, which may be secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment {
    vars: BTreeMap<OsString, OsString>,
}

impl Environment {
    /// Makes it from these variables; the command line passes `std::env::vars_os()`.
    pub fn new<K: Into<OsString>, V: Into<OsString>>(vars: impl IntoIterator<Item = (K, V)>) -> Self {
        Self { vars: vars.into_iter().map(|(name, value)| (name.into(), value.into())).collect() }
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.vars.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    /// Returns the first folder of a list in systemd's form (`$STATE_DIRECTORY`), if there is one.
    pub fn directory(&self, name: &str) -> Option<PathBuf> {
        let folders = self.get(name)?;
        std::env::split_paths(folders).find(|folder| folder != Path::new(""))
    }

    /// Returns the variables that override a key, in the order of their names.
    pub(super) fn overrides(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.vars
            .iter()
            .filter(|(name, _)| name.as_encoded_bytes().starts_with(PREFIX.as_bytes()))
            .map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// Returns the variables that look like overrides and are none, in the order of their names:
    /// the whole name, and the rest of it. Those that a container runtime derives from a service's
    /// name are left out (`UPGRADE_REMEDIATOR_PORT_9187_TCP`).
    pub(super) fn near_overrides(&self) -> impl Iterator<Item = (&str, &str)> {
        let is_link =
            |rest: &str| rest.ends_with("SERVICE_HOST") || rest.split('_').any(|part| part == "PORT");
        let names = self.vars.keys().filter_map(|name| name.to_str());
        names
            .filter(|name| !name.starts_with(PREFIX))
            .filter_map(|name| Some((name, name.strip_prefix(STEM)?)))
            .filter(move |(_, rest)| !is_link(rest))
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.vars.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_names_and_no_values() {
        let env = Environment::new([("HUAWEICLOUD_SDK_SK", "canary-7f3a")]);
        let shown = format!("{env:?}");
        assert!(shown.contains("HUAWEICLOUD_SDK_SK") && !shown.contains("canary"), "{shown}");
    }

    #[test]
    fn the_first_folder_of_a_list_counts() {
        let env = Environment::new([("STATE_DIRECTORY", "/var/lib/a:/var/lib/b"), ("EMPTY", "")]);
        assert_eq!(env.directory("STATE_DIRECTORY"), Some("/var/lib/a".into()));
        assert_eq!(env.directory("EMPTY"), None);
        assert_eq!(env.directory("ABSENT"), None);
    }
}
