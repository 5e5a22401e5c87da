//! The network between the daemon and a server: CAs of its own and a proxy, which projects and
//! channels have alike.

use serde_json::Value;

use super::reference::SecretReference;
use super::section::Section;
use super::table::{Table as _, table};
use super::text::{CaFile, ProxyUrl, ProxyUser};
use crate::model::proxy;
use crate::model::secret::Secret;

/// The key of the password.
const PASSWORD: &str = "proxy_password";

table! {
    /// The keys, as the file has them.
    pub(super) struct Network {
        ca_file: CaFile,
        proxy: ProxyUrl,
        proxy_user: ProxyUser,
        proxy_password: SecretReference,
    }
}

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

    /// Returns the proxy for connections. `secret` returns the secret of a key.
    pub fn with(&self, secret: impl Fn(&str) -> Option<Secret>) -> proxy::Proxy {
        let login = self.login.as_ref().and_then(|(user, _)| Some((user.clone(), secret(PASSWORD)?)));
        let login = login.map(|(user, password)| proxy::Login { user, password });
        proxy::Proxy { url: self.url.clone(), login }
    }

    /// Returns its keys with their values.
    pub(super) fn list(&self) -> Vec<(&'static str, Value)> {
        let (proxy_user, proxy_password) = self.login.clone().unzip();
        Network { ca_file: None, proxy: Some(self.url.clone()), proxy_user, proxy_password }.list()
    }
}

impl Network {
    /// Returns the proxy, if there is one without problems.
    pub(super) fn proxy(&self, section: &Section<'_>) -> Option<Proxy> {
        let login = match (&self.proxy_user, &self.proxy_password) {
            (Some(user), Some(password)) => Some((user.clone(), password.clone())),
            (Some(_), None) => {
                section.missing(PASSWORD, "missing; a user signs in at the proxy with a password");
                None
            }
            (None, Some(_)) => {
                section.missing("proxy_user", "missing; proxy_user and proxy_password go together");
                None
            }
            (None, None) => None,
        };
        if self.proxy.is_none() && login.is_some() {
            section.missing("proxy", "missing; proxy_user and proxy_password need a proxy");
        }
        Some(Proxy { url: self.proxy.clone()?, login })
    }
}
