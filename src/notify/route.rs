//! Which channels are notified of what, by the configuration.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::channel::Channel;

/// The configuration of notifications.
#[derive(Clone, Default)]
pub struct Routes {
    /// The channels, by their names.
    pub channels: BTreeMap<String, Arc<dyn Channel>>,
    /// The channels for notifications without a policy.
    pub default: Vec<String>,
    /// The channels of a policy's tasks, if the policy names some.
    pub by_policy: BTreeMap<String, Vec<String>>,
    /// Reminder delays after an escalation.
    pub reminders: Vec<Duration>,
    /// The address of the status page, for links.
    pub page: Option<String>,
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes")
            .field("channels", &self.channels.keys())
            .field("default", &self.default)
            .field("by_policy", &self.by_policy)
            .finish_non_exhaustive()
    }
}

impl Routes {
    /// Returns the channels for a task under this policy, or for tasks without a policy.
    pub fn of(&self, policy: Option<&str>) -> Vec<String> {
        let listed = policy.and_then(|policy| self.by_policy.get(policy)).unwrap_or(&self.default);
        let mut names: Vec<String> = Vec::new();
        for name in listed.iter().filter(|name| self.channels.contains_key(*name)) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }
}
