//! `[http]`: where the status page is served, and to whom.

use std::net::SocketAddr;

use super::super::Http;
use super::super::scalar::Strict;
use super::super::written;
use super::section::Section;
use crate::model::text::shown;

/// `listen = ""` turns it off.
pub(super) fn check(section: &Section<'_>, written: written::Http) -> Option<Http> {
    let hosts = hosts(section, written.hosts.unwrap_or_default());
    let exposed = written.expose_without_authentication.is_some_and(|exposed| exposed.0);
    let Strict(listen) = written.listen.filter(|listen| !listen.0.is_empty())?;
    let Ok(listen) = listen.parse::<SocketAddr>() else {
        let found = shown(&listen, 60);
        section.error(
            "listen",
            format!("found \"{found}\"; ADDRESS:PORT such as \"127.0.0.1:9187\" or \"\" is needed"),
        );
        return None;
    };
    if !listen.ip().is_loopback() && !exposed {
        section.error_with_hint(
            "listen",
            format!(
                "{listen} is no loopback address, and whoever reaches it reads the page without a password"
            ),
            "listen at 127.0.0.1 and put a proxy with authentication before it, or acknowledge it with \
             expose_without_authentication = true",
        );
        return None;
    }
    Some(Http { listen, hosts })
}

/// Names alone: addresses and `localhost` are always good.
fn hosts(section: &Section<'_>, written: written::List<Strict<String>>) -> Vec<String> {
    let mut hosts = Vec::new();
    for (index, host) in written.into_iter().enumerate() {
        let Some(Strict(host)) = host else { continue };
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if host.is_empty() || !host.chars().all(is_name) {
            section.child("hosts").element(index).error_here(format!(
                "found \"{}\"; the name of a host is needed, such as \"upgrades.example.com\", without scheme and port",
                shown(&host, 60)
            ));
        } else {
            hosts.push(host.to_ascii_lowercase());
        }
    }
    hosts
}
