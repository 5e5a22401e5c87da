//! Names of things. Each kind is a type of its own, so that a wrong id is a compile error.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::{Deserialize, Serialize};

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the variants' docs tell their fields")]
pub enum IdError {
    /// Nothing, or more than [`MAX_ID_LENGTH`] bytes.
    #[error("{kind} {shown:?} has {length} bytes; 1 to {MAX_ID_LENGTH} are allowed")]
    Length { kind: &'static str, shown: String, length: usize },
    /// A character that could change the meaning of a URL, or cannot be shown.
    #[error("{kind} {shown:?} has the character {found:?}; letters, digits, '-', '_' and '.' are allowed")]
    Character { kind: &'static str, shown: String, found: char },
    /// `.` and `..` are path segments with a meaning of their own.
    #[error("{kind} {shown:?} is a path segment with a meaning of its own")]
    Dots { kind: &'static str, shown: String },
}

/// The API's ids are UUIDs of 36 bytes; project ids have 32. A larger limit, but a limit.
pub const MAX_ID_LENGTH: usize = 128;

fn check(kind: &'static str, text: &str) -> Result<(), IdError> {
    let shown = || text.chars().take(MAX_ID_LENGTH).collect::<String>();
    if text.is_empty() || text.len() > MAX_ID_LENGTH {
        return Err(IdError::Length { kind, shown: shown(), length: text.len() });
    }
    if let Some(found) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))) {
        return Err(IdError::Character { kind, shown: shown(), found });
    }
    if text == "." || text == ".." {
        return Err(IdError::Dots { kind, shown: shown() });
    }
    Ok(())
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// Takes the id from a text that the API, a file or a user gave.
            ///
            /// # Errors
            /// If the text could not be one path segment of a URL.
            pub fn new(text: &str) -> Result<Self, IdError> {
                check($kind, text)?;
                Ok(Self(text.into()))
            }

            /// The id as text, safe as one path segment of a URL.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().to_owned()
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    };
}

id!(
    /// The `project_id` of the API's URLs.
    ProjectId,
    "project id"
);
id!(
    /// A cluster's `id`.
    ClusterId,
    "cluster id"
);
id!(
    /// A task's `id`: the API's `action_id`.
    TaskId,
    "task id"
);

impl TaskId {
    /// Returns a short stand-in for the id, to distinguish it from others within one process.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

id!(
    /// The name an operator gave to a project in the configuration.
    ProjectName,
    "project name"
);
/// One request of the daemon: the number of its intent in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AttemptId(pub u64);

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_could_change_a_url_is_refused() {
        for bad in ["", ".", "..", "a/b", "a?b", "a%2f", "a#b", "a b", "a\n", "a\u{0}", "é", "a;b", "a\\b"] {
            assert!(ClusterId::new(bad).is_err(), "{bad:?} was taken");
        }
        assert!(ClusterId::new(&"x".repeat(MAX_ID_LENGTH + 1)).is_err());
        assert_eq!(
            ClusterId::new("ea244205-d641-45d9-9dcb-ab2236bcd07e").unwrap().as_str(),
            "ea244205-d641-45d9-9dcb-ab2236bcd07e"
        );
    }

    #[test]
    fn a_bad_id_is_refused_when_deserialised_too() {
        assert!(serde_json::from_str::<TaskId>("\"a/../b\"").is_err());
    }
}
