//! The effective values with their origins, for `check`. Secrets are references.

use std::fmt;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::channel::WrittenNotify;
use super::checked::Loaded;
use super::journal::WrittenJournal;
use super::key::KeyPath;
use super::policy;
use super::sections::{WrittenBreaker, WrittenControl, WrittenHttp, WrittenLimits, WrittenLog, WrittenPoll};
use super::table::Table as _;
use super::variant::Variants as _;
use crate::journal::JournalLocation;
use crate::model::policy::Mode;

/// One key, the value in force, and its origin.
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
    /// Returns the identifier of this configuration: the first 12 hexadecimal digits of SHA-256
    /// over every key with an effect and its value. It contains secrets as references only, and no
    /// origins.
    pub fn hash(&self) -> String {
        let mut hash = Sha256::new();
        for Effective { key, value, .. } in self.effective() {
            hash.update(format!("{key} = {value}\n"));
        }
        let mut digits = hex::encode(hash.finalize());
        digits.truncate(12);
        digits
    }

    /// Returns every key that has an effect.
    pub fn effective(&self) -> Vec<Effective> {
        let mut list = Listing { loaded: self, values: Vec::new() };
        let top = KeyPath::default();
        let configuration = &self.configuration;
        list.add(&top.key("mode"), json!(configuration.mode.word()));
        let (url, retention) = (Some(configuration.journal_url.clone()), Some(configuration.retention));
        let database = match &configuration.journal {
            JournalLocation::Sqlite(_) => WrittenJournal::default(),
            JournalLocation::Postgres(_) => configuration.database.written(),
        };
        list.table(&["journal"], WrittenJournal { url, retention, ..database }.list());
        list.table(&["poll"], WrittenPoll::with_all_of(&configuration.poll).list());
        list.table(&["limits"], WrittenLimits::with_all_of(&configuration.limits).list());
        list.table(&["breaker"], WrittenBreaker::with_all_of(&configuration.breaker).list());
        list.table(&["control"], WrittenControl { socket: Some(configuration.control.clone()) }.list());
        list.table(&["http"], WrittenHttp::of(configuration.http.as_ref()).list());
        list.table(&["log"], WrittenLog::with_all_of(&configuration.log).list());
        list.table(&["notify"], WrittenNotify::of(&configuration.notify).list());
        for channel in &configuration.channels {
            list.table(&["channel", &channel.name], channel.list());
        }
        for project in &configuration.projects {
            list.table(&["project", project.name.as_str()], project.list());
        }
        for (name, credentials) in &configuration.credentials {
            list.table(&["credentials", name], vec![("type", json!(credentials.word()))]);
            list.table(&["credentials", name], credentials.list());
        }
        for policy in &configuration.policies {
            let path = KeyPath::of(&["policy", policy.name()]);
            // If the global mode lowers it, that is its origin.
            let source = if configuration.mode == Mode::DryRun { &top } else { &path }.key("mode");
            list.add_from(&path.key("mode"), json!(policy.terms.mode.word()), &source);
            for (key, value) in policy::list(&path, policy, configuration.notify.by_policy.get(policy.name()))
            {
                list.add(&key, value);
            }
        }
        list.values
    }

    /// Returns the same as one JSON object: key → `{"value": …, "origin": …}`.
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
    fn table(&mut self, path: &[&str], values: Vec<(&'static str, Value)>) {
        let path = KeyPath::of(path);
        for (key, value) in values {
            self.add(&path.key(key), value);
        }
    }

    fn add(&mut self, path: &KeyPath, value: Value) {
        self.add_from(path, value, path);
    }

    fn add_from(&mut self, path: &KeyPath, value: Value, source: &KeyPath) {
        let key = path.to_string();
        let origin =
            self.loaded.origins.get(&source.to_string()).cloned().unwrap_or_else(|| "default".to_owned());
        self.values.push(Effective { key, value, origin });
    }
}
