//! The effective values with their origins, for `check`: what the daemon would run with, secrets as references.

use std::fmt;
use std::path::Path;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::duration;
use super::key::KeyPath;
use super::{Channel, ChannelKind, Credentials, JournalUrl, Loaded, LogFormat, Project, Proxy};
use crate::model::policy::{Mode, OnExhausted, Pattern, Policy};

/// One key, the value in force, and where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Effective {
    /// Its path, elements of lists by their name: `policy.logs.retry.max_retries`.
    pub key: String,
    /// The value; durations as text.
    pub value: Value,
    /// `FILE:LINE`, `default` or `environment NAME`.
    pub origin: String,
}

/// `key = value  # origin`
impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}  # {}", self.key, self.value, self.origin)
    }
}

impl Loaded {
    /// Which settings these are: the first 12 hexadecimal digits of SHA-256 over every key that has an effect and its
    /// value. Secrets are in it as references only, and where a value comes from does not count.
    pub fn hash(&self) -> String {
        let mut hash = Sha256::new();
        for Effective { key, value, .. } in self.effective() {
            hash.update(format!("{key} = {value}\n"));
        }
        let mut digits = hex::encode(hash.finalize());
        digits.truncate(12);
        digits
    }

    /// Every key that has an effect.
    pub fn effective(&self) -> Vec<Effective> {
        let mut list = Listing { loaded: self, values: Vec::new() };
        let top = KeyPath::default();
        let settings = &self.settings;
        list.add(&top.key("mode"), json!(settings.mode.word()));
        let JournalUrl::Sqlite(path) = &settings.journal;
        list.add(&top.key("journal").key("url"), json!(format!("sqlite:{}", path.display())));
        list.add(&top.key("journal").key("retention"), json!(duration::text(settings.retention)));
        let poll = &settings.poll;
        for (key, value) in [
            ("discovery_interval", poll.discovery_interval),
            ("idle_interval", poll.idle_interval),
            ("active_interval", poll.active_interval),
            ("settle_interval", poll.settle_interval),
            ("settle_timeout", poll.settle_timeout),
            ("max_failure_age", poll.max_failure_age),
            ("request_timeout", poll.request_timeout),
        ] {
            list.add(&top.key("poll").key(key), json!(duration::text(value)));
        }
        let limits = &settings.limits;
        for (key, value) in [
            ("max_requests_in_flight", limits.max_requests_in_flight),
            ("requests_per_second", limits.requests_per_second),
            ("max_actions_in_flight", limits.max_actions_in_flight),
            ("max_actions_per_hour", limits.max_actions_per_hour),
        ] {
            list.add(&top.key("limits").key(key), json!(value));
        }
        let breaker = &settings.breaker;
        list.add(&top.key("breaker").key("failures"), json!(breaker.failures));
        for (key, value) in
            [("within", breaker.within), ("cooldown", breaker.cooldown), ("probe", breaker.probe)]
        {
            list.add(&top.key("breaker").key(key), json!(duration::text(value)));
        }
        let socket = settings.control.as_deref().map(Path::to_string_lossy).unwrap_or_default();
        list.add(&top.key("control").key("socket"), json!(socket));
        let http = settings.http.as_ref();
        let listen = http.map(|http| http.listen.to_string()).unwrap_or_default();
        list.add(&top.key("http").key("listen"), json!(listen));
        list.add(&top.key("http").key("hosts"), json!(http.map_or(&[][..], |http| &http.hosts)));
        let exposed = http.is_some_and(|http| !http.listen.ip().is_loopback());
        list.add(&top.key("http").key("expose_without_authentication"), json!(exposed));
        list.add(&top.key("log").key("filter"), json!(settings.log.filter));
        list.add(&top.key("log").key("format"), log_format(settings.log.format));
        let notify = &settings.notify;
        list.add(&top.key("notify").key("default"), json!(notify.default));
        let reminders = notify.reminders.iter().map(|after| duration::text(*after));
        list.add(&top.key("notify").key("reminders"), json!(reminders.collect::<Vec<_>>()));
        if let Some(page) = &notify.page {
            list.add(&top.key("notify").key("page"), json!(page));
        }
        for channel in &settings.channels {
            list.channel(&top.key("channel").key(&channel.name), channel);
        }
        for project in &settings.projects {
            list.project(&top.key("project").key(project.name.as_str()), project);
        }
        for (name, credentials) in &settings.credentials {
            list.credentials(&top.key("credentials").key(name), credentials);
        }
        for policy in &settings.policies {
            list.policy(&top.key("policy").key(policy.name()), policy);
        }
        list.values
    }

    /// The same as one JSON object: key → `{"value": …, "origin": …}`.
    pub fn effective_json(&self) -> Value {
        let entry = |effective: Effective| {
            (effective.key, json!({ "value": effective.value, "origin": effective.origin }))
        };
        Value::Object(self.effective().into_iter().map(entry).collect::<Map<_, _>>())
    }
}

struct Listing<'a> {
    loaded: &'a Loaded,
    values: Vec<Effective>,
}

impl Listing<'_> {
    fn add(&mut self, path: &KeyPath, value: Value) {
        self.add_from(path, value, path);
    }

    fn add_from(&mut self, path: &KeyPath, value: Value, source: &KeyPath) {
        let key = path.to_string();
        let origin =
            self.loaded.origins.get(&source.to_string()).cloned().unwrap_or_else(|| "default".to_owned());
        self.values.push(Effective { key, value, origin });
    }

    fn project(&mut self, path: &KeyPath, project: &Project) {
        self.add(&path.key("region"), json!(project.region));
        if let Some(id) = &project.project_id {
            self.add(&path.key("project_id"), json!(id.as_str()));
        }
        self.add(&path.key("endpoint"), json!(project.endpoint));
        self.add(&path.key("iam_endpoint"), json!(project.iam_endpoint));
        self.add(&path.key("credentials"), json!(project.credentials));
        if let Some(file) = &project.ca_file {
            self.add(&path.key("ca_file"), json!(file.to_string_lossy()));
        }
        self.proxy(path, project.proxy.as_ref());
    }

    fn proxy(&mut self, path: &KeyPath, proxy: Option<&Proxy>) {
        let Some(proxy) = proxy else { return };
        self.add(&path.key("proxy"), json!(proxy.url));
        if let Some((user, _)) = &proxy.login {
            self.add(&path.key("proxy_user"), json!(user));
        }
        if let Some((key, reference)) = proxy.reference() {
            self.add(&path.key(key), reference.to_json());
        }
    }

    fn credentials(&mut self, path: &KeyPath, credentials: &Credentials) {
        self.add(&path.key("type"), json!(credentials.kind()));
        for (key, value) in credentials.plain() {
            self.add(&path.key(key), json!(value));
        }
        for (key, reference) in credentials.references() {
            self.add(&path.key(key), reference.to_json());
        }
    }

    fn channel(&mut self, path: &KeyPath, channel: &Channel) {
        self.add(&path.key("type"), json!(channel.way.word()));
        for (key, reference) in channel.way.references() {
            self.add(&path.key(key), reference.to_json());
        }
        match &channel.way {
            ChannelKind::Smn { project, topic_urn, endpoint } => {
                self.add(&path.key("project"), json!(project.as_str()));
                self.add(&path.key("topic_urn"), json!(topic_urn));
                if let Some(endpoint) = endpoint {
                    self.add(&path.key("endpoint"), json!(endpoint));
                }
            }
            ChannelKind::Email { host, port, user, hello, from, to } => {
                self.add(&path.key("host"), json!(host));
                if let Some(port) = port {
                    self.add(&path.key("port"), json!(port));
                }
                if let Some((user, _)) = user {
                    self.add(&path.key("user"), json!(user));
                }
                if let Some(hello) = hello {
                    self.add(&path.key("hello"), json!(hello));
                }
                self.add(&path.key("from"), json!(from));
                self.add(&path.key("to"), json!(to));
            }
            _ => {}
        }
        if let Some(file) = &channel.ca_file {
            self.add(&path.key("ca_file"), json!(file.to_string_lossy()));
        }
        self.proxy(path, channel.proxy.as_ref());
    }

    fn policy(&mut self, path: &KeyPath, policy: &Policy) {
        let terms = &policy.terms;
        // Where the global mode lowers it, that is where it comes from.
        let lowered = self.loaded.settings.mode == Mode::DryRun;
        let source = if lowered { KeyPath::default() } else { path.clone() }.key("mode");
        self.add_from(&path.key("mode"), json!(terms.mode.word()), &source);
        let at_the_end = match terms.on_exhausted {
            OnExhausted::Abort => "abort",
            OnExhausted::Escalate => "escalate",
        };
        self.add(&path.key("on_exhausted"), json!(at_the_end));
        self.add(&path.key("abort_grace"), json!(duration::text(terms.abort_grace)));
        if let Some(names) = self.loaded.settings.notify.by_policy.get(policy.name()) {
            self.add(&path.key("notify"), json!(names));
        }

        let (matches, at) = (&policy.matches, path.key("match"));
        let patterns = |list: &[Pattern]| json!(list.iter().map(Pattern::as_str).collect::<Vec<_>>());
        for (key, list) in [
            ("project", &matches.project),
            ("cluster", &matches.cluster),
            ("engine", &matches.engine),
            ("version", &matches.version),
        ] {
            if let Some(list) = list {
                self.add(&at.key(key), patterns(list));
            }
        }
        if let Some(kinds) = &matches.task {
            self.add(&at.key("task"), json!(kinds.iter().map(|kind| kind.word()).collect::<Vec<_>>()));
        }
        for (tag, pattern) in &matches.tags {
            self.add(&at.key("tags").key(tag), json!(pattern.as_str()));
        }

        let (retry, at) = (&terms.retry, path.key("retry"));
        let no_end = || "none".to_owned();
        for (key, value) in [
            ("max_retries", json!(retry.max_retries)),
            ("initial_interval", json!(duration::text(retry.initial_interval))),
            ("multiplier", json!(retry.multiplier)),
            ("max_interval", json!(duration::text(retry.max_interval))),
            ("randomization_factor", json!(retry.randomization_factor)),
            ("max_elapsed_time", json!(retry.max_elapsed_time.map_or_else(no_end, duration::text))),
            ("reset_on_progress", json!(retry.reset_on_progress)),
            ("retry_partial_failed", json!(retry.retry_partial_failed)),
            ("count_external", json!(retry.count_external)),
        ] {
            self.add(&at.key(key), value);
        }

        let (expect, at) = (&policy.expect, path.key("expect"));
        for (key, value) in [
            ("per_node", expect.per_node),
            ("allowance", expect.allowance),
            ("no_progress", expect.no_progress),
        ] {
            self.add(&at.key(key), json!(duration::text(value)));
        }

        if let Some(window) = &terms.window {
            let at = path.key("window");
            self.add(&at.key("timezone"), json!(window.timezone()));
            self.add(&at.key("allow"), json!(window.open().collect::<Vec<_>>()));
            let denied = window.denied().iter().map(|(from, to)| [from, to].map(minutes));
            self.add(&at.key("deny"), json!(denied.collect::<Vec<_>>()));
        }
    }
}

/// As the settings write it.
fn minutes(time: &jiff::civil::DateTime) -> String {
    time.strftime("%Y-%m-%dT%H:%M").to_string()
}

fn log_format(format: LogFormat) -> Value {
    match format {
        LogFormat::Auto => json!("auto"),
        LogFormat::Text => json!("text"),
        LogFormat::Json => json!("json"),
        LogFormat::Journald => json!("journald"),
    }
}
