//! Scenarios and policies of tests, as TOML with other values for some keys.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use toml::{Table, Value};

/// Something in TOML, and what a test has otherwise in it.
#[derive(Debug, Clone)]
pub(crate) struct Edited(Table);

impl Edited {
    pub(crate) fn of(text: &str) -> Self {
        Self(text.parse().unwrap())
    }

    /// Sets the key at the end of this path, in every element of the arrays on the way: `cluster.task.start` is the start of
    /// every task. What the path leads through must be there.
    pub(crate) fn set(mut self, path: &str, value: impl Into<Value>) -> Self {
        let (way, key) = path.rsplit_once('.').unwrap_or(("", path));
        let mut tables = vec![&mut self.0];
        for step in way.split('.').filter(|step| !step.is_empty()) {
            let inner = tables.into_iter().flat_map(|table| match table.get_mut(step) {
                Some(Value::Table(table)) => vec![table],
                Some(Value::Array(all)) => all.iter_mut().filter_map(Value::as_table_mut).collect(),
                _ => Vec::new(),
            });
            tables = inner.collect();
        }
        assert!(!tables.is_empty(), "nothing leads to {path}");
        let value = value.into();
        for table in tables {
            table.insert(key.to_owned(), value.clone());
        }
        self
    }

    /// The same, with a value in TOML.
    pub(crate) fn set_toml(self, path: &str, value: &str) -> Self {
        let table: Table = format!("value = {value}").parse().unwrap();
        self.set(path, table["value"].clone())
    }

    pub(crate) fn text(&self) -> String {
        toml::to_string(&self.0).unwrap()
    }
}

/// This policy, whose waits all last so long.
pub(crate) fn waiting(policy: &str, wait: &str) -> String {
    let mut policy = Edited::of(policy).set("policy.abort_grace", wait);
    if policy.text().contains("_interval = ") {
        policy = policy.set("policy.retry.initial_interval", wait).set("policy.retry.max_interval", wait);
    }
    policy.text()
}
