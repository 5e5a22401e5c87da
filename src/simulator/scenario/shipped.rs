//! The scenarios in `config/scenarios`, which are in the binary too.

use super::{Scenario, ScenarioError};

macro_rules! shipped {
    ($($name:literal),* $(,)?) => {
        const SHIPPED: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../../config/scenarios/", $name, ".toml")))),*];
    };
}

shipped![
    "az-switchover",
    "broken-answers",
    "by-hand",
    "demo",
    "exhausted-abort",
    "lost-answer",
    "node-completed",
    "quiet-fleet",
    "second-retry",
    "stale",
    "storm",
    "throttled",
];

/// The names of the shipped scenarios, in order.
pub fn names() -> impl Iterator<Item = &'static str> {
    SHIPPED.iter().map(|(name, _)| *name)
}

pub(super) fn text(name: &str) -> Option<&'static str> {
    SHIPPED.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// A shipped scenario.
///
/// # Errors
/// If there is none of this name.
pub fn named(name: &str) -> Result<Scenario, ScenarioError> {
    let text = text(name).ok_or_else(|| ScenarioError::Unknown { name: name.to_owned() })?;
    Scenario::parse(text, name)
}
