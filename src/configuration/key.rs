//! The path of a key: `poll.idle_interval`, `policy[1].match.cluster[0]`.

use std::fmt;

use serde_json::Value;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Segment {
    /// Into a table.
    Key(String),
    /// Into a list, from 0.
    Index(usize),
}

/// From the top of a file to one key. Empty: the file as a whole.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct KeyPath(Vec<Segment>);

impl KeyPath {
    /// Through tables, from the top.
    pub(super) fn of(keys: &[&str]) -> Self {
        Self(keys.iter().map(|key| Segment::Key((*key).to_owned())).collect())
    }

    pub(super) fn key(&self, key: &str) -> Self {
        self.with(Segment::Key(key.to_owned()))
    }

    pub(super) fn index(&self, index: usize) -> Self {
        self.with(Segment::Index(index))
    }

    pub(super) fn with(&self, segment: Segment) -> Self {
        let mut segments = self.0.clone();
        segments.push(segment);
        Self(segments)
    }

    /// The path without its last step; the empty path has none.
    pub(super) fn parent(&self) -> Option<Self> {
        let (_, rest) = self.0.split_last()?;
        Some(Self(rest.to_vec()))
    }

    pub(super) fn last(&self) -> Option<&Segment> {
        self.0.last()
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// Returns it for people: elements of lists of tables by their name if they have one,
    /// `policy.logs.enabled`.
    pub(super) fn label(&self, root: &Value) -> String {
        let mut shown = Self::default();
        let mut at = Some(root);
        for segment in &self.0 {
            at = at.and_then(|at| match segment {
                Segment::Key(key) => at.get(key),
                Segment::Index(index) => at.get(index),
            });
            let name = at.and_then(|element| element.get("name")).and_then(Value::as_str);
            shown = match (segment, name) {
                (Segment::Index(_), Some(name)) => shown.key(name),
                _ => shown.with(segment.clone()),
            };
        }
        shown.to_string()
    }
}

/// Returns whether a key needs no quotes in TOML.
pub(super) fn is_bare(key: &str) -> bool {
    !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(key) => {
                    if n > 0 {
                        f.write_str(".")?;
                    }
                    if is_bare(key) {
                        f.write_str(key)?;
                    } else {
                        let shown: String = key.chars().take(80).collect();
                        write!(f, "{shown:?}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn elements_are_known_by_their_names() {
        let root = json!({"policy": [{"name": "logs", "retry": {"n": 1}}, {"name": "a b"}, {"x": 1}, 5]});
        let policy = KeyPath::default().key("policy");
        assert_eq!(policy.index(0).key("retry").key("n").label(&root), "policy.logs.retry.n");
        assert_eq!(policy.index(1).key("x").label(&root), "policy.\"a b\".x");
        assert_eq!(policy.index(2).key("x").label(&root), "policy[2].x");
        assert_eq!(policy.index(9).key("x").label(&root), "policy[9].x");
    }
}
