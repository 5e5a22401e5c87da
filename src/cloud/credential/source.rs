//! The sources of keys, and the local one: files, variables and credentials of systemd.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use super::Life;
use super::key::Key;
use crate::cloud::error::CloudError;

/// A key from a source.
#[derive(Debug)]
pub struct Fresh {
    /// The key.
    pub key: Key,
    /// How long it is valid; without an end if absent.
    pub life: Option<Life>,
}

/// A future key.
pub type Fetching<'a> = Pin<Box<dyn Future<Output = Result<Fresh, CloudError>> + Send + 'a>>;

/// A source of keys.
pub trait Source: Send + Sync + fmt::Debug + 'static {
    /// Returns a key, which may be the same as before.
    ///
    /// Cancel safety: a key on its way is lost, and nothing else.
    fn fetch(&self) -> Fetching<'_>;

    /// Returns whether asking costs nothing: then it is asked after every refusal.
    fn is_local(&self) -> bool {
        false
    }

    /// Removes from a text what it may repeat of the secrets of this source.
    fn scrub(&self, text: &str) -> String {
        text.to_owned()
    }

    /// Takes in a reload: what is paused may try again.
    fn wake(&self) {}
}

/// Reads a key, or says why it cannot be read. The text must never contain a secret.
pub type ReadKey = Box<dyn Fn() -> Result<Key, String> + Send + Sync>;

/// A source on this machine.
pub struct LocalSource(ReadKey);

impl LocalSource {
    /// Makes the source that reads so.
    pub fn new(read: ReadKey) -> Box<Self> {
        Box::new(Self(read))
    }
}

impl fmt::Debug for LocalSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalSource")
    }
}

impl Source for LocalSource {
    fn fetch(&self) -> Fetching<'_> {
        let read = (self.0)().map(|key| Fresh { key, life: None });
        Box::pin(std::future::ready(read.map_err(|detail| CloudError::Secrets { detail })))
    }

    fn is_local(&self) -> bool {
        true
    }
}
