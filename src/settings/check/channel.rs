//! Channels, and who hears of what.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use reqwest::Url;

use super::super::channel::{Channel, ChannelKind, Notify};
use super::super::defaults;
use super::super::scalar::Strict;
use super::super::written::{self, List, Table};
use super::policy::check_name;
use super::section::Section;
use crate::model::id::ProjectName;
use crate::model::text::shown;

/// `[notify]`. Nobody hears of what no policy tells of where it names none.
pub(super) fn notify(section: &Section<'_>, written: &written::Notify, channels: &Channels<'_>) -> Notify {
    channels.named(section, "default", written.default.as_ref());
    let default = names(written.default.as_ref());
    for (index, reminder) in written.reminders.iter().flatten().enumerate() {
        if reminder.as_ref().is_some_and(|reminder| reminder.0.is_zero()) {
            section.child("reminders").element(index).error_here("found \"0s\"; it must be longer than that");
        }
    }
    let mut reminders: Vec<Duration> = match &written.reminders {
        Some(written) => written.iter().flatten().map(|reminder| reminder.0).collect(),
        None => defaults::REMINDERS.to_vec(),
    };
    reminders.sort_unstable();
    reminders.dedup();
    if default.is_empty() && channels.are_some() {
        section.warn(
            "default",
            "no channel hears of a project that cannot be seen, of tasks that no policy covers, and of policies without notify",
        );
    }
    let page = written.page.as_ref().and_then(|Strict(page)| {
        let good = Url::parse(page).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.query().is_none()
                && url.fragment().is_none()
        });
        if !good || page.chars().any(|c| c.is_control() || c.is_whitespace()) {
            section.error("page", "the address of the status page is needed: https://HOST[:PORT][/PATH]");
            return None;
        }
        Some(page.clone())
    });
    Notify { default, reminders, page, by_policy: BTreeMap::new() }
}

/// The names that a list holds.
pub(super) fn names(written: Option<&List<Strict<String>>>) -> Vec<String> {
    written.into_iter().flatten().flatten().map(|name| name.0.clone()).collect()
}

/// The types of channels, with the keys that each needs and those that it may have.
const TYPES: [(&str, &[&str], &[&str]); 8] = [
    ("webhook", &["url"], &["hmac_secret", "ca_file", "proxy", "proxy_user", "proxy_password"]),
    ("alertmanager", &["url"], &["ca_file", "proxy", "proxy_user", "proxy_password"]),
    ("slack", &["url"], &["secret", "ca_file", "proxy", "proxy_user", "proxy_password"]),
    ("feishu", &["url"], &["secret", "ca_file", "proxy", "proxy_user", "proxy_password"]),
    ("dingtalk", &["url"], &["secret", "ca_file", "proxy", "proxy_user", "proxy_password"]),
    ("wecom", &["url"], &["ca_file", "proxy", "proxy_user", "proxy_password"]),
    // By the certificates and the proxy of its project.
    ("smn", &["project", "topic_urn"], &["endpoint"]),
    ("email", &["host", "from", "to"], &["port", "user", "password", "hello", "ca_file"]),
];

/// The names of the channels.
pub(super) struct Channels<'a> {
    /// `None` where config.toml could not be read: any name may be good.
    names: Option<BTreeSet<String>>,
    projects: Vec<(Section<'a>, String)>,
    /// Those that are good.
    pub(super) good: Vec<Channel>,
}

impl<'a> Channels<'a> {
    /// Checks `[[channel]]`; `section` is the list.
    pub(super) fn check(section: &Section<'a>, written: List<Table<written::Channel>>, whole: bool) -> Self {
        let mut places: BTreeMap<String, String> = BTreeMap::new();
        let (mut projects, mut good) = (Vec::new(), Vec::new());
        for (index, channel) in written.into_iter().enumerate() {
            let Some(Table(channel)) = channel else { continue };
            let section = section.element(index);
            let kind = keys(&section, &channel);
            if let Some(Strict(project)) = &channel.project {
                projects.push((section.clone(), project.clone()));
            }
            let Some(Strict(name)) = channel.name.clone() else {
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
                places.insert(name.clone(), section.place("name"));
            }
            let ca_file = super::project::ca_file(&section, channel.ca_file.as_ref());
            let login = (channel.proxy_user.as_ref(), channel.proxy_password.as_ref());
            let proxy = super::proxy::proxy(&section, channel.proxy.as_ref(), login);
            let way = kind.and_then(|kind| way(&section, kind, channel));
            good.extend(way.map(|way| Channel { name, way, ca_file, proxy }));
        }
        Self { names: whole.then(|| places.into_keys().collect()), projects, good }
    }

    /// Whether there is any, good or not.
    fn are_some(&self) -> bool {
        self.names.as_ref().is_some_and(|names| !names.is_empty())
    }

    /// Warns of those that nobody names.
    pub(super) fn warn_of_unused(&self, list: &Section<'_>, notify: &Notify) {
        let named = |name: &String| {
            notify.default.contains(name) || notify.by_policy.values().any(|names| names.contains(name))
        };
        for channel in self.good.iter().filter(|channel| !named(&channel.name)) {
            let name = shown(&channel.name, 60);
            list.warn_here(format!(
                "nothing is told to the channel \"{name}\": notify.default and no policy name it"
            ));
        }
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

/// Whether there are the keys that the type needs, and no others. The type, if it is one.
fn keys(section: &Section<'_>, channel: &written::Channel) -> Option<&'static str> {
    let Some(Strict(kind)) = &channel.kind else {
        section.missing("type", "missing; the type of the channel is needed");
        return None;
    };
    let Some((kind, needed, possible)) = TYPES.into_iter().find(|(known, ..)| known == kind) else {
        let allowed = TYPES.map(|(known, ..)| format!("\"{known}\"")).join(", ");
        let message = format!("unknown type of channel; allowed: {allowed}");
        match section.nearest(kind, TYPES.map(|(known, ..)| known)) {
            Some(near) => section.error_with_hint("type", message, format!("did you mean \"{near}\"?")),
            None => section.error("type", message),
        }
        return None;
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
    if channel.user.is_some() != channel.password.is_some() {
        let key = if channel.user.is_some() { "password" } else { "user" };
        section.missing(key, "missing; a user signs in with a password, and nobody without");
    }
    if kind == "slack" && channel.secret.is_some() {
        section.warn("secret", "Slack knows no signature of messages: this is not used");
    }
    Some(kind)
}

/// The channel of a type, where nothing that it needs is missing or bad.
fn way(section: &Section<'_>, kind: &str, written: written::Channel) -> Option<ChannelKind> {
    let text = |key: &str, written: Option<Strict<String>>| {
        let Strict(text) = written?;
        if text.trim().is_empty() || text.chars().any(char::is_control) {
            section.error(key, "a text of one line is needed");
            return None;
        }
        Some(text)
    };
    let url = written.url.map(|url| url.0);
    let secret = written.secret.map(|secret| secret.0);
    Some(match kind {
        "webhook" => {
            ChannelKind::Webhook { url: url?, hmac_secret: written.hmac_secret.map(|secret| secret.0) }
        }
        "alertmanager" => ChannelKind::Alertmanager { url: url? },
        "slack" => ChannelKind::Slack { url: url? },
        "feishu" => ChannelKind::Feishu { url: url?, secret },
        "dingtalk" => ChannelKind::DingTalk { url: url?, secret },
        "wecom" => ChannelKind::WeCom { url: url? },
        "smn" => {
            let urn = text("topic_urn", written.topic_urn)?;
            let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '_');
            if urn.split(':').count() != 5 || !urn.starts_with("urn:smn:") || !urn.chars().all(safe) {
                section.error("topic_urn", "urn:smn:REGION:PROJECT_ID:NAME is needed");
                return None;
            }
            let endpoint = match written.endpoint {
                Some(Strict(text)) => match super::project::endpoint(&text) {
                    Ok(endpoint) => Some(endpoint),
                    Err(problem) => {
                        section.error("endpoint", problem);
                        return None;
                    }
                },
                None => None,
            };
            // Whether there is such a project is told elsewhere.
            ChannelKind::Smn {
                project: ProjectName::new(&written.project?.0).ok()?,
                topic_urn: urn,
                endpoint,
            }
        }
        "email" => {
            let (host, from) = (text("host", written.host), text("from", written.from));
            let to = written.to.map(|to| to.into_iter().flatten().map(|to| to.0).collect::<Vec<_>>());
            if host.as_ref().is_some_and(|host| host.contains(char::is_whitespace) || host.contains('/')) {
                section.error("host", "the name of a host is needed, or its address");
            }
            if from.as_ref().is_some_and(|from| !is_address(from)) {
                section.error("from", "an address of email is needed: NAME@HOST or Text <NAME@HOST>");
            }
            for (index, _) in to.iter().flatten().enumerate().filter(|(_, to)| !is_address(to)) {
                let problem = "an address of email is needed: NAME@HOST or Text <NAME@HOST>";
                section.child("to").element(index).error_here(problem);
            }
            let port = written.port.and_then(|port| u16::try_from(port.0).ok());
            let hello = text("hello", written.hello);
            if hello.as_ref().is_some_and(|hello| !is_hello(hello)) {
                section.error(
                    "hello",
                    "the whole name of this machine is needed, such as \"host.example.com\", or an address in brackets: \"[192.0.2.1]\" or \"[IPv6:2001:db8::1]\"",
                );
            }
            let user = match (text("user", written.user), written.password) {
                (Some(user), Some(password)) => Some((user, password.0)),
                _ => None,
            };
            ChannelKind::Email { host: host?, port, user, hello, from: from?, to: to? }
        }
        _ => return None,
    })
}

/// What EHLO takes: a name of at least two labels, or an address in brackets.
fn is_hello(text: &str) -> bool {
    let literal = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    match literal.map(|text| text.strip_prefix("IPv6:").ok_or(text)) {
        Some(Ok(text)) => text.parse::<Ipv6Addr>().is_ok(),
        Some(Err(text)) => text.parse::<Ipv4Addr>().is_ok(),
        None => crate::model::text::is_full_host_name(text),
    }
}

fn is_address(text: &str) -> bool {
    text.parse::<lettre::message::Mailbox>().is_ok() && !text.chars().any(char::is_control)
}
