//! What the files say, before any of it is known to make sense: the shape of every table, unknown keys refused.
//! Absent keys are `None`; the elements of lists are options, so that a bad one does not hide the others.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::civil::{DateTime, Days, TimeOfDay};
use super::scalar::{Endless, Scalar, Strict, kind, word};
use super::secret::SecretReference;
use crate::model::policy::{Mode, OnExhausted};
use crate::model::task::TaskKind;

/// A table and nothing else: what serde derives for a struct would take a list for its fields in order.
#[derive(Debug, Default)]
pub(super) struct Table<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Table<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TableVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for TableVisitor<T> {
            type Value = Table<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Table)
            }
        }
        deserializer.deserialize_map(TableVisitor(PhantomData))
    }
}

/// A list; a bad element is told and left out.
pub(super) type List<T> = Vec<Option<T>>;

/// config.toml.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfigFile {
    pub(super) mode: Option<Strict<Mode>>,
    pub(super) journal: Option<Table<Journal>>,
    pub(super) poll: Option<Table<Poll>>,
    pub(super) limits: Option<Table<Limits>>,
    pub(super) breaker: Option<Table<Breaker>>,
    pub(super) notify: Option<Table<Notify>>,
    pub(super) http: Option<Table<Http>>,
    pub(super) control: Option<Table<Control>>,
    pub(super) log: Option<Table<Log>>,
    pub(super) project: Option<List<Table<Project>>>,
    pub(super) credentials: Option<BTreeMap<String, Option<Table<Credentials>>>>,
    pub(super) channel: Option<List<Table<Channel>>>,
    pub(super) policy: Option<List<Table<Policy>>>,
}

/// A file of policies.d.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyFile {
    pub(super) policy: Option<List<Table<Policy>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Journal {
    pub(super) url: Option<Strict<String>>,
    pub(super) retention: Option<Strict<Duration>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Poll {
    pub(super) discovery_interval: Option<Strict<Duration>>,
    pub(super) idle_interval: Option<Strict<Duration>>,
    pub(super) active_interval: Option<Strict<Duration>>,
    pub(super) settle_interval: Option<Strict<Duration>>,
    pub(super) settle_timeout: Option<Strict<Duration>>,
    pub(super) max_failure_age: Option<Strict<Duration>>,
    pub(super) request_timeout: Option<Strict<Duration>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    pub(super) max_requests_in_flight: Option<Strict<u32>>,
    pub(super) requests_per_second: Option<Strict<u32>>,
    pub(super) max_actions_in_flight: Option<Strict<u32>>,
    pub(super) max_actions_per_hour: Option<Strict<u32>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Breaker {
    pub(super) failures: Option<Strict<u32>>,
    pub(super) within: Option<Strict<Duration>>,
    pub(super) cooldown: Option<Strict<Duration>>,
    pub(super) probe: Option<Strict<Duration>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Notify {
    pub(super) default: Option<List<Strict<String>>>,
    pub(super) reminders: Option<List<Strict<Duration>>>,
    pub(super) page: Option<Strict<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Http {
    pub(super) listen: Option<Strict<String>>,
    pub(super) hosts: Option<List<Strict<String>>>,
    pub(super) expose_without_authentication: Option<Strict<bool>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Control {
    pub(super) socket: Option<Strict<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    pub(super) filter: Option<Strict<String>>,
    pub(super) format: Option<Strict<Format>>,
}

/// `[log].format` as it can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Auto,
    Text,
    Json,
    Journald,
}

impl Scalar for Format {
    fn take(found: &Value) -> Result<Self, String> {
        let words =
            [("auto", Self::Auto), ("text", Self::Text), ("json", Self::Json), ("journald", Self::Journald)];
        word(found, &words)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the fields bear the names of the keys")]
pub(super) struct Project {
    pub(super) name: Option<Strict<String>>,
    pub(super) region: Option<Strict<String>>,
    pub(super) project_id: Option<Strict<String>>,
    pub(super) endpoint: Option<Strict<String>>,
    pub(super) iam_endpoint: Option<Strict<String>>,
    pub(super) credentials: Option<Strict<String>>,
    pub(super) ca_file: Option<Strict<String>>,
    pub(super) proxy: Option<Strict<String>>,
    pub(super) proxy_user: Option<Strict<String>>,
    pub(super) proxy_password: Option<Strict<SecretReference>>,
}

/// The keys of every type of credentials; which of them belong together is checked later.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Credentials {
    #[serde(rename = "type")]
    pub(super) kind: Option<Strict<String>>,
    pub(super) access_key: Option<Strict<SecretReference>>,
    pub(super) secret_key: Option<Strict<SecretReference>>,
    pub(super) security_token: Option<Strict<SecretReference>>,
    pub(super) user: Option<Strict<String>>,
    pub(super) password: Option<Strict<SecretReference>>,
    pub(super) domain: Option<Strict<String>>,
    pub(super) token: Option<Strict<SecretReference>>,
    pub(super) source: Option<Strict<String>>,
    pub(super) agency_name: Option<Strict<String>>,
    pub(super) agency_urn: Option<Strict<String>>,
    pub(super) domain_name: Option<Strict<String>>,
    pub(super) path: Option<Strict<String>>,
}

impl Credentials {
    /// The keys that were given, but for `type`.
    pub(super) fn given(&self) -> Vec<&'static str> {
        [
            ("access_key", self.access_key.is_some()),
            ("secret_key", self.secret_key.is_some()),
            ("security_token", self.security_token.is_some()),
            ("user", self.user.is_some()),
            ("password", self.password.is_some()),
            ("domain", self.domain.is_some()),
            ("token", self.token.is_some()),
            ("source", self.source.is_some()),
            ("agency_name", self.agency_name.is_some()),
            ("agency_urn", self.agency_urn.is_some()),
            ("domain_name", self.domain_name.is_some()),
            ("path", self.path.is_some()),
        ]
        .into_iter()
        .filter_map(|(key, given)| given.then_some(key))
        .collect()
    }
}

/// The keys of every type of channel; which of them belong together is checked later.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Channel {
    pub(super) name: Option<Strict<String>>,
    #[serde(rename = "type")]
    pub(super) kind: Option<Strict<String>>,
    pub(super) url: Option<Strict<SecretReference>>,
    pub(super) hmac_secret: Option<Strict<SecretReference>>,
    pub(super) secret: Option<Strict<SecretReference>>,
    pub(super) project: Option<Strict<String>>,
    pub(super) topic_urn: Option<Strict<String>>,
    pub(super) endpoint: Option<Strict<String>>,
    pub(super) host: Option<Strict<String>>,
    pub(super) port: Option<Strict<u32>>,
    pub(super) user: Option<Strict<String>>,
    pub(super) password: Option<Strict<SecretReference>>,
    pub(super) hello: Option<Strict<String>>,
    pub(super) from: Option<Strict<String>>,
    pub(super) to: Option<List<Strict<String>>>,
    pub(super) ca_file: Option<Strict<String>>,
    pub(super) proxy: Option<Strict<String>>,
    pub(super) proxy_user: Option<Strict<String>>,
    pub(super) proxy_password: Option<Strict<SecretReference>>,
}

impl Channel {
    /// The keys that were given, but for `name` and `type`.
    pub(super) fn given(&self) -> Vec<&'static str> {
        [
            ("url", self.url.is_some()),
            ("hmac_secret", self.hmac_secret.is_some()),
            ("secret", self.secret.is_some()),
            ("project", self.project.is_some()),
            ("topic_urn", self.topic_urn.is_some()),
            ("endpoint", self.endpoint.is_some()),
            ("host", self.host.is_some()),
            ("port", self.port.is_some()),
            ("user", self.user.is_some()),
            ("password", self.password.is_some()),
            ("hello", self.hello.is_some()),
            ("from", self.from.is_some()),
            ("to", self.to.is_some()),
            ("ca_file", self.ca_file.is_some()),
            ("proxy", self.proxy.is_some()),
            ("proxy_user", self.proxy_user.is_some()),
            ("proxy_password", self.proxy_password.is_some()),
        ]
        .into_iter()
        .filter_map(|(key, given)| given.then_some(key))
        .collect()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Policy {
    pub(super) name: Option<Strict<String>>,
    pub(super) enabled: Option<Strict<bool>>,
    pub(super) mode: Option<Strict<Mode>>,
    pub(super) on_exhausted: Option<Strict<OnExhausted>>,
    pub(super) abort_grace: Option<Strict<Duration>>,
    pub(super) notify: Option<List<Strict<String>>>,
    #[serde(rename = "match")]
    pub(super) matches: Option<Table<Match>>,
    pub(super) retry: Option<Table<Retry>>,
    pub(super) window: Option<Table<Window>>,
    pub(super) expect: Option<Table<Expect>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Match {
    pub(super) project: Option<List<Strict<String>>>,
    pub(super) cluster: Option<List<Strict<String>>>,
    pub(super) task: Option<List<Strict<TaskKind>>>,
    pub(super) engine: Option<List<Strict<String>>>,
    pub(super) version: Option<List<Strict<String>>>,
    pub(super) tags: Option<BTreeMap<String, Strict<String>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the fields bear the names of the keys")]
pub(super) struct Retry {
    pub(super) max_retries: Option<Strict<u32>>,
    pub(super) initial_interval: Option<Strict<Duration>>,
    pub(super) multiplier: Option<Strict<f64>>,
    pub(super) max_interval: Option<Strict<Duration>>,
    pub(super) randomization_factor: Option<Strict<f64>>,
    pub(super) max_elapsed_time: Option<Strict<Endless>>,
    pub(super) reset_on_progress: Option<Strict<bool>>,
    pub(super) retry_partial_failed: Option<Strict<bool>>,
    pub(super) count_external: Option<Strict<bool>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Window {
    pub(super) timezone: Option<Strict<String>>,
    pub(super) allow: Option<List<Table<Allowed>>>,
    pub(super) deny: Option<List<Table<Denied>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Allowed {
    pub(super) days: Option<List<Strict<Days>>>,
    pub(super) from: Option<Strict<TimeOfDay>>,
    pub(super) to: Option<Strict<TimeOfDay>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Denied {
    pub(super) from: Option<Strict<DateTime>>,
    pub(super) to: Option<Strict<DateTime>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expect {
    pub(super) per_node: Option<Strict<Duration>>,
    pub(super) allowance: Option<Strict<Duration>>,
    pub(super) no_progress: Option<Strict<Duration>>,
}

/// Exactly one of the three keys, each with text. Nothing that was found is repeated: it may be the secret itself.
impl Scalar for SecretReference {
    fn take(found: &Value) -> Result<Self, String> {
        let Value::Object(table) = found else {
            return Err(format!(
                "found {} (not shown); a secret is never written in the settings, only where it is to be found",
                kind(found)
            ));
        };
        let mut entries = table.iter();
        let (Some((key, value)), None) = (entries.next(), entries.next()) else {
            return Err(format!(
                "found {} keys; exactly one of credential, file and env is needed",
                table.len()
            ));
        };
        let Some(value) = value.as_str().filter(|value| !value.is_empty()) else {
            return Err("the reference is empty or not text".to_owned());
        };
        match key.as_str() {
            "credential" => Self::credential(value),
            "file" => Self::file(value),
            "env" => Self::environment(value),
            _ => Err("unknown kind of reference; allowed: credential, file, env".to_owned()),
        }
    }
}
