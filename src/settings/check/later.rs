//! What is accepted and has no effect in this version: checked like everything else, so that a file which loads now
//! loads later too, and answered with a warning, so that nobody relies on it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::super::scalar::Strict;
use super::super::written::{self, List, Table};
use super::policy::check_name;
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

/// `[notify]`.
pub(super) fn notify(section: &Section<'_>, written: &written::Notify, channels: &Channels<'_>) {
    channels.named(section, "default", written.default.as_ref());
    let reminders = written.reminders.iter().flatten().enumerate();
    for (index, reminder) in reminders {
        if reminder.as_ref().is_some_and(|reminder| reminder.0.is_zero()) {
            section.child("reminders").element(index).error_here("found \"0s\"; it must be longer than that");
        }
    }
    warn_where_set(section, &["default", "reminders"]);
}

/// Warns of each key that a user set.
pub(super) fn warn_where_set(section: &Section<'_>, keys: &[&str]) {
    for key in keys.iter().filter(|key| section.is_set(key)) {
        section.warn(key, NO_EFFECT);
    }
}

/// The types of channels, with the keys that each needs and those that it may have.
const TYPES: [(&str, &[&str], &[&str]); 8] = [
    ("webhook", &["url"], &["hmac_secret"]),
    ("alertmanager", &["url"], &[]),
    ("slack", &["url"], &["secret"]),
    ("feishu", &["url"], &["secret"]),
    ("dingtalk", &["url"], &["secret"]),
    ("wecom", &["url"], &[]),
    ("smn", &["project", "topic_urn"], &[]),
    ("email", &["host", "from", "to"], &["port", "user", "password"]),
];

/// The names of the channels.
pub(super) struct Channels<'a> {
    /// `None` where config.toml could not be read: any name may be good.
    names: Option<BTreeSet<String>>,
    projects: Vec<(Section<'a>, String)>,
}

impl<'a> Channels<'a> {
    /// Checks `[[channel]]`; `section` is the list.
    pub(super) fn check(section: &Section<'a>, written: List<Table<written::Channel>>, whole: bool) -> Self {
        let mut places: BTreeMap<String, String> = BTreeMap::new();
        let mut projects = Vec::new();
        for (index, channel) in written.into_iter().enumerate() {
            let Some(Table(channel)) = channel else { continue };
            let section = section.element(index);
            keys(&section, &channel);
            if let Some(Strict(project)) = channel.project {
                projects.push((section.clone(), project));
            }
            let Some(Strict(name)) = channel.name else {
                section.missing("name", "missing; every channel needs a name of its own");
                continue;
            };
            if let Err(problem) = check_name(&name) {
                section.error("name", problem);
            }
            if let Some(place) = places.get(&name) {
                let name = shown(&name, 60);
                section.error("name", format!("the channel \"{name}\" is defined twice: also at {place}"));
            } else {
                places.insert(name, section.place("name"));
            }
            section.warn_here(NO_EFFECT);
        }
        Self { names: whole.then(|| places.into_keys().collect()), projects }
    }

    /// Whether the projects that channels name exist.
    pub(super) fn check_projects(&self, known: &BTreeSet<String>) {
        for (section, project) in self.projects.iter().filter(|(_, project)| !known.contains(project)) {
            section.error("project", format!("there is no project of the name \"{}\"", shown(project, 60)));
        }
    }

    /// Whether the channels that a list names exist.
    pub(super) fn named(&self, section: &Section<'_>, key: &str, written: Option<&List<Strict<String>>>) {
        let Some(known) = &self.names else { return };
        for (index, name) in written.into_iter().flatten().enumerate() {
            let Some(Strict(name)) = name else { continue };
            if known.contains(name) {
                continue;
            }
            let near = match section.nearest(name, known.iter().map(String::as_str)) {
                Some(near) => format!("; did you mean \"{near}\"?"),
                None => String::new(),
            };
            let message = format!("there is no channel of the name \"{}\"{near}", shown(name, 60));
            section.child(key).element(index).error_here(message);
        }
    }
}

fn keys(section: &Section<'_>, channel: &written::Channel) {
    let Some(Strict(kind)) = &channel.kind else {
        section.missing("type", "missing; the type of the channel is needed");
        return;
    };
    let Some((kind, needed, possible)) = TYPES.into_iter().find(|(known, ..)| known == kind) else {
        let allowed = TYPES.map(|(known, ..)| format!("\"{known}\"")).join(", ");
        let message = format!("unknown type of channel; allowed: {allowed}");
        match section.nearest(kind, TYPES.map(|(known, ..)| known)) {
            Some(near) => section.error_with_hint("type", message, format!("did you mean \"{near}\"?")),
            None => section.error("type", message),
        }
        return;
    };
    let given = channel.given();
    for key in needed.iter().filter(|key| !given.contains(key)) {
        section.missing(key, format!("missing; a channel of type \"{kind}\" needs it"));
    }
    for key in given.iter().filter(|key| !needed.contains(key) && !possible.contains(key)) {
        section.error_at_key(key, format!("a channel of type \"{kind}\" has no such key"));
    }
    if channel.port.as_ref().is_some_and(|port| port.0 == 0 || port.0 > u32::from(u16::MAX)) {
        section.error("port", "a port from 1 to 65535 is needed");
    }
    if channel.to.as_ref().is_some_and(Vec::is_empty) {
        section.error("to", "an empty list reaches nobody");
    }
}
