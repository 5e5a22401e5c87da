//! Layers of configuration: each is a `config::Source` with the origin of every value.
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

/// The origin of a value.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    /// The environment variable of this name.
    Environment(String),
    /// A file: the places of the key and of its value.
    File { source: Arc<SourceText>, key: Range<usize>, value: Range<usize> },
}

/// Returns it as `check` shows it with an effective value: `environment NAME`, `FILE:LINE`.
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
    /// Keys that could not be read: they are reported already, and must not be reported as missing.
    pub(super) dropped: BTreeSet<KeyPath>,
    /// The file, if it is one.
    pub(super) file: Option<PathBuf>,
}

/// Without the values: there may be a secret among them that is still to be refused.
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
