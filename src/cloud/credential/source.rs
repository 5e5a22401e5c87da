//! Where keys come from, and the source that is at hand: files, variables and credentials of systemd.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use super::Life;
use super::key::Key;
use crate::cloud::error::CloudError;

/// A key as a source gives it.
#[derive(Debug)]
pub struct Fresh {
    /// The key.
    pub key: Key,
    /// How long it is good; for ever where nothing is told.
    pub life: Option<Life>,
}

/// A key under way.
pub type Fetching<'a> = Pin<Box<dyn Future<Output = Result<Fresh, CloudError>> + Send + 'a>>;

/// Gives keys.
pub trait Source: Send + Sync + fmt::Debug + 'static {
    /// Gives a key, which may be the same as before.
    ///
    /// Cancel safety: a key that was under way is lost, and nothing else.
    fn fetch(&self) -> Fetching<'_>;

    /// Whether asking costs nothing and nobody: then it is asked after every refusal.
    fn is_local(&self) -> bool {
        false
    }

    /// Takes out of a stranger's text what it may have repeated of the secrets that the keys are got with.
    fn scrub(&self, text: &str) -> String {
        text.to_owned()
    }

    /// There was a reload: what rests may try again.
    fn wake(&self) {}
}

/// Reads a key, or says why it cannot be had. It must never put a secret into its words.
pub type ReadKey = Box<dyn Fn() -> Result<Key, String> + Send + Sync>;

/// A source on this machine.
pub struct LocalSource(ReadKey);

impl LocalSource {
    /// The source that reads so.
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
