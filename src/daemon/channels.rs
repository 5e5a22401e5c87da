//! The channels of the configuration: built from it, and kept over a reload if nothing of them has
//! changed.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use super::credentials::Credentials;
use super::{BuildFault, ProjectStates};
use crate::clock::{Clock as _, SystemClock};
use crate::cloud::CloudError;
use crate::cloud::http::HttpTransport;
use crate::cloud::smn::Topic;
use crate::configuration::{self, ChannelKind, ChannelSecrets, Configuration, Environment};
use crate::model::event::Subject;
use crate::model::id::ProjectId;
use crate::model::secret::{ExposeSecret as _, Secret};
use crate::model::text::chain;
use crate::notify::channel::alertmanager::Alertmanager;
use crate::notify::channel::chat::{Chat, Service};
use crate::notify::channel::email::{Email, EmailFault, EmailOptions};
use crate::notify::channel::smn::{Publish, Smn};
use crate::notify::channel::webhook::Webhook;
use crate::notify::channel::{Channel, Network, SendError, Sending, Taken, UrlFault};
use crate::notify::{Routes, Start};

/// A channel with what it was built from.
struct Built {
    way: ChannelKind,
    network: Network,
    secrets: ChannelSecrets,
    channel: Arc<dyn Channel>,
}

/// All channels.
#[derive(Default)]
pub(super) struct Channels {
    built: BTreeMap<String, Built>,
}

impl Channels {
    /// Builds those of this configuration. An unchanged one is kept, with its state.
    pub(super) fn renewed(
        &self,
        configuration: &Configuration,
        environment: &Environment,
        credentials: &Credentials,
        clock: &Arc<SystemClock>,
    ) -> Result<Self, BuildFault> {
        let mut all = configuration.resolve_channels(environment).map_err(BuildFault::Secrets)?;
        let mut built = BTreeMap::new();
        for channel in &configuration.channels {
            let secrets = all.remove(&channel.name).unwrap_or_default();
            let network = network(channel, &secrets)?;
            let same = |before: &&Built| {
                // The credential of a project publishes to a topic, and may be another one now.
                !matches!(channel.way, ChannelKind::Smn(_))
                    && before.way == channel.way
                    && before.network == network
                    && are_the_same(&before.secrets, &secrets)
            };
            let made = match self.built.get(&channel.name).filter(same) {
                Some(before) => Arc::clone(&before.channel),
                None => make(configuration, channel, (&secrets, &network), credentials, clock)?,
            };
            let way = channel.way.clone();
            built.insert(channel.name.clone(), Built { way, network, secrets, channel: made });
        }
        Ok(Self { built })
    }

    /// Returns which channels are notified of what.
    pub(super) fn routes(&self, configuration: &Configuration) -> Routes {
        let notify = &configuration.notify;
        Routes {
            channels: self
                .built
                .iter()
                .map(|(name, built)| (name.clone(), Arc::clone(&built.channel)))
                .collect(),
            default: notify.default.clone(),
            by_policy: notify.by_policy.clone(),
            reminders: notify.reminders.clone(),
            page: notify.page.clone(),
        }
    }
}

/// Builds one channel, to be tested.
///
/// # Errors
/// If a secret cannot be read, or the channel cannot be built.
pub fn channel_of(
    configuration: &Configuration,
    name: &str,
    environment: &Environment,
    clock: &Arc<SystemClock>,
) -> Result<Option<Arc<dyn Channel>>, BuildFault> {
    let one = configuration.channels.iter().filter(|channel| channel.name == name).cloned().collect();
    let mut configuration = Configuration { channels: one, ..configuration.clone() };
    // Only the credentials of the project that publishes are needed.
    let of = configuration.channels.iter().find_map(|channel| match &channel.way {
        ChannelKind::Smn(smn) => Some(smn.project.clone()),
        _ => None,
    });
    configuration.projects.retain(|project| Some(&project.name) == of.as_ref());
    let credentials = Credentials::default().renewed(&configuration, environment, clock)?;
    let mut channels = Channels::default().renewed(&configuration, environment, &credentials, clock)?;
    Ok(channels.built.remove(name).map(|built| built.channel))
}

/// Returns the state at the start, for the notifier.
pub fn start_of(states: &ProjectStates, configuration: &Configuration, journal_id: &str, seed: u64) -> Start {
    let last = states.last.clone();
    let mut start = Start { journal_id: journal_id.to_owned(), last, seed, ..Start::default() };
    for project in &configuration.projects {
        let Some(project_state) = states.of(&project.name) else { continue };
        for (cluster, history) in &project_state.clusters {
            let open = history.tasks.iter().filter(|(_, task)| task.failure.is_some() && !task.is_ended());
            start.open.extend(open.map(|(task, known)| {
                let (project, cluster) = (project.name.clone(), cluster.clone());
                (Subject { project, cluster, task: task.clone() }, known.clone())
            }));
        }
    }
    start
}

fn are_the_same(one: &ChannelSecrets, other: &ChannelSecrets) -> bool {
    let exposed = |secrets: &ChannelSecrets| -> Vec<(&'static str, String)> {
        secrets.iter().map(|(key, secret)| (*key, secret.expose_secret().to_owned())).collect()
    };
    exposed(one) == exposed(other)
}

/// Returns the network between a channel and its receiver.
fn network(channel: &configuration::Channel, secrets: &ChannelSecrets) -> Result<Network, BuildFault> {
    let ca_pem = channel.ca_file.as_ref().map(|path| {
        let at = ["channel", &channel.name, "ca_file"];
        fs::read(path).map_err(|error| {
            BuildFault::at(&at, format!("{}: the file cannot be read: {error}", path.display()))
        })
    });
    let proxy = channel.proxy.as_ref().map(|proxy| proxy.with(|key| secrets.get(key).cloned()));
    Ok(Network { ca_pem: ca_pem.transpose()?, proxy })
}

fn make(
    configuration: &Configuration,
    channel: &configuration::Channel,
    (secrets, network): (&ChannelSecrets, &Network),
    credentials: &Credentials,
    clock: &Arc<SystemClock>,
) -> Result<Arc<dyn Channel>, BuildFault> {
    let at = |key| ["channel", channel.name.as_str(), key];
    let of_url = |error: UrlFault| BuildFault::at(&at(error.key()), error.to_string());
    let of_email = |error: EmailFault| BuildFault::at(&at(error.key()), error.to_string());
    let secret = |key: &str| secrets.get(key).cloned();
    // A channel of a checked configuration has what its type needs.
    let url = secret("url").unwrap_or_else(|| Secret::from(String::new()));
    let chat = |service, url: &Secret, secret| {
        let clock = Arc::clone(clock);
        let now = Arc::new(move || clock.now().wall);
        Chat::new(service, url, secret, now, network).map_err(of_url)
    };
    Ok(match &channel.way {
        ChannelKind::Webhook(_) => {
            Arc::new(Webhook::new(&url, secret("hmac_secret"), network).map_err(of_url)?)
        }
        ChannelKind::Alertmanager(_) => Arc::new(Alertmanager::new(&url, network).map_err(of_url)?),
        ChannelKind::Slack(_) => Arc::new(chat(Service::Slack, &url, None)?),
        ChannelKind::Feishu(_) => Arc::new(chat(Service::Feishu, &url, secret("secret"))?),
        ChannelKind::DingTalk(_) => Arc::new(chat(Service::DingTalk, &url, secret("secret"))?),
        ChannelKind::WeCom(_) => Arc::new(chat(Service::WeCom, &url, None)?),
        ChannelKind::Email(email) => {
            let configuration::Email { host, from, to, port, user, hello, .. } = email.clone();
            let user = user.zip(secret("password"));
            let (to, ca_pem) = (to.into_iter().flatten().collect(), network.ca_pem.clone());
            let options = EmailOptions { host, port, user, hello, ca_pem, from, to };
            Arc::new(Email::new(options).map_err(of_email)?)
        }
        ChannelKind::Smn(configuration::Smn { project, topic_urn, endpoint }) => {
            let missing = || {
                let why = format!("project {project} has no credentials, or no id in the URN of the topic");
                BuildFault::at(&at("project"), why)
            };
            let project =
                configuration.projects.iter().find(|known| known.name == *project).ok_or_else(missing)?;
            let site = credentials.site(configuration, project)?;
            let credential = credentials.of(project, &site).ok_or_else(missing)?;
            let id = topic_urn.split(':').nth(3).and_then(|id| ProjectId::new(id).ok());
            let id = id.or_else(|| project.project_id.clone()).ok_or_else(missing)?;
            let of_the_region = || configuration::smn_endpoint(&project.region);
            let topic = Topic::over_http(
                &endpoint.clone().unwrap_or_else(of_the_region),
                (site.ca_pem.as_deref(), site.proxy.as_ref()),
                configuration.poll.request_timeout,
                credential,
                (&id, topic_urn),
                Arc::clone(clock),
            );
            let topic = topic.map_err(|error| BuildFault::at(&at("endpoint"), chain(&error)))?;
            Arc::new(Smn::new(Arc::new(Publisher(topic))))
        }
    })
}

/// Returns a topic as the channel needs it.
struct Publisher(Topic<HttpTransport, SystemClock>);

impl Publish for Publisher {
    fn publish(&self, subject: String, text: String) -> Sending<'_> {
        Box::pin(async move {
            let published = self.0.publish(&subject, &text).await;
            published.map(|()| Taken::default()).map_err(|error| SendError {
                refused: matches!(error, CloudError::Refused(_)),
                retry_after: error.retry_after(),
                detail: match &error {
                    CloudError::Proxy(_) => format!("{}: {}", chain(&error), error.trouble().1),
                    _ => chain(&error),
                },
            })
        })
    }
}
