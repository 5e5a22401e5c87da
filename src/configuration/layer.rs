//! Layers of configuration: each is a `config::Source` whose every value bears its origin.
//!
//! `config` loses the origin of tables when it merges layers, and knows none for keys. Each layer therefore also
//! carries a map from key paths to origins.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use config::{ConfigError, Map, Source, Value};

use super::key::KeyPath;
use super::source::SourceText;

/// Where a value comes from.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    /// The environment variable of this name.
    Environment(String),
    /// A file: the places of the key and of its value.
    File { source: Arc<SourceText>, key: Range<usize>, value: Range<usize> },
}

/// As it is shown with an effective value: `environment NAME`, `FILE:LINE`.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File { source, value, .. } => {
                write!(f, "{}:{}", source.file().display(), source.line(value.start))
            }
        }
    }
}

/// One source of configuration.
#[derive(Clone, Default)]
pub(super) struct Layer {
    pub(super) values: Map<String, Value>,
    pub(super) origins: BTreeMap<KeyPath, Origin>,
    /// Keys that stood there and could not be read: told already, not to be told as missing.
    pub(super) dropped: BTreeSet<KeyPath>,
    /// The file, where it is one.
    pub(super) file: Option<PathBuf>,
}

/// Without the values: a secret may stand among them that is yet to be refused.
impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layer").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.values.clone())
    }
}
