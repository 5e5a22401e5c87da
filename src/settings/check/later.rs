//! What is accepted and has no effect in this version: checked like everything else, so that a file which loads now
//! loads later too, and answered with a warning, so that nobody relies on it.

use std::net::SocketAddr;

use super::super::scalar::Strict;
use super::super::written;
use super::section::Section;
use crate::model::text::shown;

/// The answer to what is accepted and not used.
pub(super) const NO_EFFECT: &str = "has no effect in this version";

/// `[http]`: `""` turns off what is off.
pub(super) fn http(section: &Section<'_>, written: written::Http) {
    let Some(Strict(listen)) = written.listen.filter(|listen| !listen.0.is_empty()) else { return };
    if listen.parse::<SocketAddr>().is_err() {
        section.error(
            "listen",
            format!(
                "found \"{}\"; ADDRESS:PORT such as \"127.0.0.1:9187\" or \"\" is needed",
                shown(&listen, 60)
            ),
        );
    }
    warn_where_set(section, &["listen"]);
}

/// Warns of each key that a user set.
pub(super) fn warn_where_set(section: &Section<'_>, keys: &[&str]) {
    for key in keys.iter().filter(|key| section.is_set(key)) {
        section.warn(key, NO_EFFECT);
    }
}
