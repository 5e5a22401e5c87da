//! `proxy`, `proxy_user` and `proxy_password`, which projects and channels have alike.

use reqwest::Url;

use super::super::Proxy;
use super::super::secret::SecretReference;
use super::section::Section;
use crate::settings::scalar::Strict;

/// Who signs in: `proxy_user` and `proxy_password`.
type Login<'a> = (Option<&'a Strict<String>>, Option<&'a Strict<SecretReference>>);

/// The proxy, where there is one and nothing about it is wrong.
pub(super) fn proxy(
    section: &Section<'_>,
    written: Option<&Strict<String>>,
    login: Login<'_>,
) -> Option<Proxy> {
    let login = self::login(section, login);
    let Some(Strict(text)) = written else {
        if login.is_some() {
            section.missing("proxy", "missing; proxy_user and proxy_password are for a proxy");
        }
        return None;
    };
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
            if url.username().is_empty() && url.password().is_none() && !text.contains('@') {
                return Some(Proxy { url: text.clone(), login });
            }
            section.error(
                "proxy",
                "a user or password in a URL is not allowed; give proxy_user, and proxy_password as a reference",
            );
        }
        _ => section.error("proxy", "an http:// or https:// URL is needed"),
    }
    None
}

fn login(section: &Section<'_>, (user, password): Login<'_>) -> Option<(String, SecretReference)> {
    match (user, password) {
        (Some(Strict(user)), Some(Strict(password))) => {
            if user.trim().is_empty() || user.contains(':') || user.chars().any(char::is_control) {
                section.error("proxy_user", "a text of one line without ':' is needed");
            }
            return Some((user.clone(), password.clone()));
        }
        (Some(_), None) => {
            section.missing("proxy_password", "missing; a user signs in at the proxy with a password");
        }
        (None, Some(_)) => section.missing("proxy_user", "missing; the password needs its user"),
        (None, None) => {}
    }
    None
}
