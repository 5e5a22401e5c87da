//! Channels and who hears of what, as checked; and the secrets of channels.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::environment::Environment;
use super::key::KeyPath;
use super::problem::{Problem, Problems};
use super::secret::{SecretReference, Unavailable};
use super::{ProjectName, Proxy, Settings};
use crate::model::secret::Secret;

/// `[notify]`, and the `notify` of each policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notify {
    /// The channels that hear of what no policy tells of.
    pub default: Vec<String>,
    /// Reminder delays after an escalation, ascending; each is sent once.
    pub reminders: Vec<Duration>,
    /// The address of the status page, for links.
    pub page: Option<String>,
    /// By the name of the policy, where it says whom to tell.
    pub by_policy: BTreeMap<String, Vec<String>>,
}

/// One `[[channel]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// Its name, unique.
    pub name: String,
    /// What it is.
    pub way: ChannelKind,
    /// The PEM file of CAs that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// The proxy that its requests go through.
    pub proxy: Option<Proxy>,
}

/// A way to people, its secrets by reference.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields bear the names of the keys")]
pub enum ChannelKind {
    /// `webhook`.
    Webhook { url: SecretReference, hmac_secret: Option<SecretReference> },
    /// `alertmanager`.
    Alertmanager { url: SecretReference },
    /// `slack`.
    Slack { url: SecretReference },
    /// `feishu`.
    Feishu { url: SecretReference, secret: Option<SecretReference> },
    /// `dingtalk`.
    DingTalk { url: SecretReference, secret: Option<SecretReference> },
    /// `wecom`.
    WeCom { url: SecretReference },
    /// `smn`.
    Smn { project: ProjectName, topic_urn: String, endpoint: Option<String> },
    /// `email`.
    Email {
        host: String,
        port: Option<u16>,
        user: Option<(String, SecretReference)>,
        hello: Option<String>,
        from: String,
        to: Vec<String>,
    },
}

impl Channel {
    /// The references with their keys.
    pub fn references(&self) -> Vec<(&'static str, &SecretReference)> {
        let of_the_proxy = self.proxy.iter().filter_map(Proxy::reference);
        self.way.references().into_iter().chain(of_the_proxy).collect()
    }
}

impl ChannelKind {
    /// The word under `type`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Webhook { .. } => "webhook",
            Self::Alertmanager { .. } => "alertmanager",
            Self::Slack { .. } => "slack",
            Self::Feishu { .. } => "feishu",
            Self::DingTalk { .. } => "dingtalk",
            Self::WeCom { .. } => "wecom",
            Self::Smn { .. } => "smn",
            Self::Email { .. } => "email",
        }
    }

    /// The references with their keys.
    pub fn references(&self) -> Vec<(&'static str, &SecretReference)> {
        match self {
            Self::Webhook { url, hmac_secret } => [("url", url)]
                .into_iter()
                .chain(hmac_secret.iter().map(|secret| ("hmac_secret", secret)))
                .collect(),
            Self::Feishu { url, secret } | Self::DingTalk { url, secret } => {
                [("url", url)].into_iter().chain(secret.iter().map(|secret| ("secret", secret))).collect()
            }
            Self::Alertmanager { url } | Self::Slack { url } | Self::WeCom { url } => vec![("url", url)],
            Self::Smn { .. } => Vec::new(),
            Self::Email { user, .. } => user.iter().map(|(_, password)| ("password", password)).collect(),
        }
    }
}

/// The secrets of one channel, by their keys.
pub type ChannelSecrets = BTreeMap<&'static str, Secret>;

impl Settings {
    /// Fetches the secrets of all channels, by the channels' names.
    ///
    /// # Errors
    /// All that are missing, empty, readable by others or no text.
    pub fn resolve_channels(&self, env: &Environment) -> Result<BTreeMap<String, ChannelSecrets>, Problems> {
        let (mut all, mut problems) = (BTreeMap::new(), Vec::new());
        for channel in &self.channels {
            let mut secrets = ChannelSecrets::new();
            for (key, reference) in channel.references() {
                match reference.fetch(env) {
                    Ok(secret) => drop(secrets.insert(key, secret)),
                    Err(why) => problems.push(why.problem_at(at(&channel.name, key))),
                }
            }
            all.insert(channel.name.clone(), secrets);
        }
        if problems.is_empty() { Ok(all) } else { Err(Problems(problems)) }
    }

    /// What [`Self::resolve_channels`] would find wrong, but for what systemd gives at start.
    pub(super) fn check_channel_secrets(&self, env: &Environment) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (channel, key, why) in self.missing_of_channels(env) {
            if let Unavailable::Broken(..) = why {
                problems.push(why.problem_at(at(channel, key)));
            }
        }
        problems
    }

    /// Whether channels have a secret that systemd gives at start, and has not given here.
    pub(super) fn channels_need_the_unit(&self, env: &Environment) -> bool {
        self.missing_of_channels(env).any(|(_, _, why)| matches!(why, Unavailable::GivenAtStart { .. }))
    }

    /// Whether this channel, or the project that it publishes with, has a secret that systemd gives at start, and has
    /// not given here.
    pub fn channel_needs_the_unit(&self, name: &str, env: &Environment) -> bool {
        let given = |why: &Unavailable| matches!(why, Unavailable::GivenAtStart { .. });
        let own = self.missing_of_channels(env).any(|(channel, _, why)| channel == name && given(&why));
        let publishes = self
            .channels
            .iter()
            .any(|channel| channel.name == name && matches!(channel.way, ChannelKind::Smn { .. }));
        own || (publishes && self.credentials_need_the_unit(env))
    }

    fn missing_of_channels<'a>(
        &'a self,
        env: &'a Environment,
    ) -> impl Iterator<Item = (&'a str, &'static str, Unavailable)> {
        self.channels.iter().flat_map(move |channel| {
            let references = channel.references().into_iter();
            references.filter_map(move |(key, reference)| {
                reference.fetch(env).err().map(|why| (channel.name.as_str(), key, why))
            })
        })
    }
}

/// The key of a channel's secret.
pub(super) fn at(name: &str, key: &str) -> String {
    KeyPath::default().key("channel").key(name).key(key).to_string()
}
