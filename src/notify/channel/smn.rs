//! Huawei Cloud's Simple Message Notification: one message to a topic, for its subscribers. The
//! publisher signs the request like every other request to the cloud.

use std::fmt;
use std::sync::Arc;

use super::{Channel, Sending};
use crate::notify::message::{Message, cut};

/// The largest size of a subject in bytes.
const SUBJECT: usize = 500;
/// A message may have 256 KiB; this much is still readable.
const TEXT: usize = 60_000;

/// Publishes to one topic.
pub trait Publish: Send + Sync + 'static {
    /// Publishes this, once.
    fn publish(&self, subject: String, text: String) -> Sending<'_>;
}

/// A topic.
pub struct Smn {
    topic: Arc<dyn Publish>,
}

impl fmt::Debug for Smn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Smn")
    }
}

impl Smn {
    /// Makes a channel with this publisher.
    pub fn new(topic: Arc<dyn Publish>) -> Self {
        Self { topic }
    }
}

/// A short message with square brackets may not be delivered.
fn bare(text: &str) -> String {
    text.replace(['[', '【'], "(").replace([']', '】'], ")")
}

/// Returns the subject and the text of a message.
pub fn texts(message: &Message) -> (String, String) {
    (cut(&bare(&message.title()), SUBJECT), bare(&message.text(TEXT)))
}

impl Channel for Smn {
    fn kind(&self) -> &'static str {
        "smn"
    }

    fn send<'a>(&'a self, message: &'a Message) -> Sending<'a> {
        let (subject, text) = texts(message);
        self.topic.publish(subject, text)
    }
}
