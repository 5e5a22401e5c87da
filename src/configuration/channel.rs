//! `[[channel]]`: the notification channels; and `[notify]`: which of them are notified of what.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::kind::{Kind, List, Positive, Word};
use super::names::{self, Names};
use super::network::{Network, Proxy};
use super::reference::SecretReference;
use super::schema::Key;
use super::section::{Section, Unknown};
use super::table::{Help, Keyed, Table as _, table};
use super::text::{
    Endpoint, Hello, Line, MailHost, Mailbox, NameOfProject, Page, Port, TopicUrn, TypeWord, check_name,
};
use super::variant::{Variants as _, Wording, variants};
use crate::model::id::ProjectName;
use crate::model::text::shown;

/// Reminder delays after an escalation.
const REMINDERS: [Duration; 3] = [Duration::from_hours(1), Duration::from_hours(4), Duration::from_hours(24)];

/// `[notify]`, and the `notify` of each policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notify {
    /// The channels for notifications without a policy.
    pub default: Vec<String>,
    /// Reminder delays after an escalation, ascending; each is sent once.
    pub reminders: Vec<Duration>,
    /// The address of the status page, for links.
    pub page: Option<String>,
    /// By the name of the policy, if it names channels.
    pub by_policy: BTreeMap<String, Vec<String>>,
}

/// One `[[channel]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Channel {
    /// Its name, unique.
    pub name: String,
    /// Its type and options.
    pub way: ChannelKind,
    /// The PEM file of CAs that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// The proxy for its requests.
    pub proxy: Option<Proxy>,
}

variants! {
    /// The options of a channel, its secrets by reference.
    pub enum ChannelKind {
        /// One JSON object for each group of notices.
        "webhook" => Webhook,
        /// Alerts of Prometheus.
        "alertmanager" => Alertmanager,
        /// A chat without signatures.
        "slack" => Slack,
        /// A chat.
        "feishu" => Feishu,
        /// A chat.
        "dingtalk" => DingTalk,
        /// A chat without signatures.
        "wecom" => WeCom,
        /// A topic of Simple Message Notification.
        "smn" => Smn,
        /// A server of email.
        "email" => Email,
    }
}

/// Declares tables of a URL that is a secret, and of an optional secret to sign with.
macro_rules! posts {
    ($($(#[$meta:meta])* $name:ident $($secret:ident)?;)*) => {
        $(table! {
            $(#[$meta])*
            pub struct $name {
                needs {
                    /// The URL.
                    url: SecretReference as SecretReference,
                }
                may {
                    $(
                        /// The secret of the signature.
                        $secret: SecretReference as SecretReference,
                    )?
                }
            }
        })*
    };
}

posts! {
    /// `webhook`.
    Webhook hmac_secret;
    /// `alertmanager`.
    Alertmanager;
    /// `slack`. Its secret is not used.
    Slack secret;
    /// `feishu`.
    Feishu secret;
    /// `dingtalk`.
    DingTalk secret;
    /// `wecom`.
    WeCom;
}

table! {
    /// `smn`: with the credentials, the certificates and the proxy of its project.
    pub struct Smn {
        needs {
            /// The project.
            project: NameOfProject as ProjectName,
            /// The topic.
            topic_urn: TopicUrn as String,
        }
        may {
            /// The endpoint, if it is not that of the region.
            endpoint: Endpoint as String,
        }
    }
}

table! {
    /// `email`.
    pub struct Email {
        needs {
            /// The server.
            host: MailHost as String,
            /// The sender.
            from: Mailbox as String,
            /// The receivers.
            to: List<Mailbox> as Vec<Option<String>>,
        }
        may {
            /// The server's port.
            port: Port as u16,
            /// The user, with the password.
            user: Line as String,
            /// The password.
            password: SecretReference as SecretReference,
            /// The name of this machine in EHLO.
            hello: Hello as String,
        }
    }
}

const WORDING: Wording = Wording {
    missing: "missing; the type of the channel is needed",
    unknown: "unknown type of channel",
    of: "a channel of type",
    need: "needs",
    have: "has",
};

/// Returns the keys of [`Network`] that a channel of this type may have.
fn of_the_network(kind: &str) -> Vec<&'static str> {
    match kind {
        "smn" => Vec::new(),
        "email" => vec!["ca_file"],
        _ => Network::KEYS.to_vec(),
    }
}

table! {
    /// The common keys of all channels.
    struct Common {
        name: Word,
        kind = "type": TypeWord,
    }
}

/// A channel of any type, which is read when it is checked.
pub(super) struct AnyChannel;

impl Keyed for AnyChannel {
    fn keys(path: &[&'static str]) -> Vec<Key> {
        [Common::keys(path), ChannelKind::keys(path), Network::keys(path)].concat()
    }
}

impl Channel {
    /// Returns the references with their keys.
    pub fn references(&self) -> Vec<(&'static str, &SecretReference)> {
        let of_the_proxy = self.proxy.iter().filter_map(Proxy::reference);
        self.way.references().into_iter().chain(of_the_proxy).collect()
    }

    /// Returns the values, without its name.
    pub(super) fn list(&self) -> Vec<(&'static str, Value)> {
        let mut all = vec![("type", json!(self.way.word()))];
        all.extend(self.way.list());
        all.extend(self.ca_file.iter().map(|file| ("ca_file", json!(file.to_string_lossy()))));
        all.extend(self.proxy.iter().flat_map(Proxy::list));
        all
    }
}

/// Returns the help for a channel that is written as a table of its type: `[notify.slack]`.
pub(super) struct InChannels;

impl Help for InChannels {
    fn unknown(key: &str) -> Option<Unknown> {
        ChannelKind::WORDS.contains(&key).then(|| {
            let hint = format!(
                "write a block [[channel]] with name = \"ops\", type = \"{key}\" and the keys of that type, and its name into \
                 [notify]: default = [\"ops\"]"
            );
            ("unknown key; a channel is a [[channel]] of its own".to_owned(), Some(hint))
        })
    }
}

table! {
    /// `[notify]`, as the file has it.
    pub(super) struct WrittenNotify {
        default: List<Word>,
        reminders: List<Positive<Duration>>,
        page: Page,
    }
}

impl WrittenNotify {
    /// Returns the values in force.
    pub(super) fn of(notify: &Notify) -> Self {
        Self {
            default: Some(notify.default.iter().cloned().map(Some).collect()),
            reminders: Some(notify.reminders.iter().copied().map(Some).collect()),
            page: notify.page.clone(),
        }
    }

    /// Without names there are no notifications without a policy.
    pub(super) fn check(self, section: &Section<'_>, channels: &Channels<'_>) -> Notify {
        channels.check_names(section, "default", self.default.as_ref());
        let default: Vec<String> = self.default.into_iter().flatten().flatten().collect();
        let mut reminders: Vec<Duration> = match self.reminders {
            Some(written) => written.into_iter().flatten().collect(),
            None => REMINDERS.to_vec(),
        };
        reminders.sort_unstable();
        reminders.dedup();
        if default.is_empty() && channels.are_some() && section.can_compare(&["default"]) {
            section.warn(
                "default",
                "no channel is notified of a project that cannot be polled, of tasks that no policy covers, and for policies \
                 without notify",
            );
        }
        Notify { default, reminders, page: self.page, by_policy: BTreeMap::new() }
    }
}

/// The channels, and the names that others may use.
pub(super) struct Channels<'a> {
    /// `None` if config.toml or a name could not be read: any name may be valid.
    names: Option<Names>,
    projects: Vec<(Section<'a>, String)>,
    /// The valid ones.
    pub(super) good: Vec<Channel>,
}

impl<'a> Channels<'a> {
    /// Checks `[[channel]]`; `list` is the list.
    pub(super) fn check(list: &Section<'a>, whole: bool) -> Self {
        let mut names = Names::default();
        let (mut projects, mut good) = (Vec::new(), Vec::new());
        for section in list.tables() {
            let written = TypeWord::get(&section, "type");
            let more = |kind: &str| [&["name"], of_the_network(kind).as_slice()].concat();
            let way = WORDING.read::<ChannelKind>(&section, written.as_deref(), more);
            let Some(network) = Network::read(&section, "") else { continue };
            let proxy = network.proxy(&section);
            match written.as_deref() {
                Some("slack") if section.has("secret") => {
                    section.warn("secret", "Slack has no message signatures: the key is not used");
                }
                Some("smn") => {
                    let project = section.child("project").value().as_str();
                    projects.extend(project.map(|project| (section.clone(), project.to_owned())));
                }
                Some("email") => check_email(&section),
                _ => {}
            }
            let Some(name) = names.of(&section, "channel") else { continue };
            if let Err(problem) = check_name(&name) {
                section.error("name", problem);
            }
            good.extend(way.map(|way| Channel { name, way, ca_file: network.ca_file, proxy }));
        }
        // An unreadable name may be any name.
        let readable = list.value().is_null() || list.value().is_array();
        let readable = readable && list.elements().all(|section| section.can_compare(&["name"]));
        Self { names: (whole && readable).then_some(names), projects, good }
    }

    /// Returns whether there is any, valid or not.
    fn are_some(&self) -> bool {
        self.names.as_ref().is_some_and(|names| !names.is_empty())
    }

    /// Warns of channels that no policy or project uses.
    pub(super) fn warn_of_unused(&self, list: &Section<'_>, notify: &Notify) {
        let named = |name: &String| {
            notify.default.contains(name) || notify.by_policy.values().any(|names| names.contains(name))
        };
        for channel in self.good.iter().filter(|channel| !named(&channel.name)) {
            let name = shown(&channel.name, 60);
            list.warn_here(format!(
                "the channel \"{name}\" receives no notification: neither notify.default nor a policy names it"
            ));
        }
    }

    /// Checks whether the projects of channels exist.
    pub(super) fn check_projects(&self, known: &Names) {
        for (section, project) in self.projects.iter().filter(|(_, project)| !known.has(project)) {
            let words = ("the projects are", "add a [[project]] of this name");
            let help = names::help(section, project, known.all(), words);
            let message = format!("there is no project of the name \"{}\"", shown(project, 60));
            section.child("project").refuse(message, Some(help));
        }
    }

    /// Checks whether the channels in a list exist.
    pub(super) fn check_names(
        &self,
        section: &Section<'_>,
        key: &str,
        written: Option<&Vec<Option<String>>>,
    ) {
        let Some(known) = &self.names else { return };
        for (index, name) in written.into_iter().flatten().enumerate() {
            let Some(name) = name.as_ref().filter(|name| !known.has(name)) else { continue };
            let words = ("the channels are", "add a [[channel]] of this name");
            let help = names::help(section, name, known.all(), words);
            let message = format!("there is no channel of the name \"{}\"", shown(name, 60));
            section.child(key).element(index).refuse(message, Some(help));
        }
    }
}

fn check_email(section: &Section<'_>) {
    if section.child("to").value().as_array().is_some_and(Vec::is_empty) {
        section.error("to", "an empty list reaches nobody");
    }
    if section.has("user") != section.has("password") {
        let key = if section.has("user") { "password" } else { "user" };
        section.missing(key, "missing; user and password go together");
    }
}
