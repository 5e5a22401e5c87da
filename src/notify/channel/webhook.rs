//! Any receiver: one CloudEvent (1.0, structured JSON) for each message.

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::json;
use sha2::Sha256;

use super::http::{Network, Target, UrlFault};
use super::{Channel, SendError, Sending};
use crate::model::secret::{ExposeSecret as _, Secret};
use crate::notify::message::Message;

/// The header with `sha256=` and the HMAC-SHA256 of the body, in hexadecimal digits.
pub const SIGNATURE_HEADER: &str = "x-upgrade-remediator-signature";
const CONTENT_TYPE: &str = "application/cloudevents+json; charset=utf-8";

/// Posts CloudEvents.
#[derive(Debug)]
pub struct Webhook {
    target: Target,
    key: Option<Secret>,
}

impl Webhook {
    /// Posts to this URL, over this network; with a key each body is signed.
    ///
    /// # Errors
    /// If the URL cannot be used.
    pub fn new(url: &Secret, key: Option<Secret>, network: &Network) -> Result<Self, UrlFault> {
        Ok(Self { target: Target::new(url, true, network)?, key })
    }

    /// Returns the body for a message.
    ///
    /// # Errors
    /// Never, in practice: the rendered value is JSON.
    pub fn body(message: &Message) -> Result<Vec<u8>, serde_json::Error> {
        let kind = match message.notices.as_slice() {
            [notice] if message.total() == 1 => notice.kind.word(),
            _ => "group",
        };
        let mut event = json!({
            "specversion": "1.0",
            "id": message.id,
            "source": "/upgrade-remediator",
            "type": format!("upgrade-remediator.{kind}"),
            "time": message.at,
            "datacontenttype": "application/json",
            "data": message.to_json(),
        });
        let about = message.notices.first().filter(|_| message.notices.len() == 1);
        let cluster = about.and_then(|notice| notice.cluster.as_ref());
        let subject = match cluster {
            Some(cluster) => format!("{}/{}", message.project, cluster.id),
            None => message.project.clone(),
        };
        if let Some(event) = event.as_object_mut().filter(|_| !subject.is_empty()) {
            event.insert("subject".to_owned(), json!(subject));
        }
        serde_json::to_vec(&event)
    }

    /// Returns the value of the signature's header.
    pub fn signature(key: &Secret, body: &[u8]) -> String {
        // HMAC accepts a key of any length.
        let mac =
            Hmac::<Sha256>::new_from_slice(key.expose_secret().as_bytes()).map(|mac| mac.chain_update(body));
        mac.map(|mac| format!("sha256={}", hex::encode(mac.finalize().into_bytes()))).unwrap_or_default()
    }
}

impl Channel for Webhook {
    fn kind(&self) -> &'static str {
        "webhook"
    }

    fn details(&self) -> usize {
        50
    }

    fn send<'a>(&'a self, message: &'a Message) -> Sending<'a> {
        Box::pin(async move {
            let body = Self::body(message).map_err(|error| SendError::passing(error.to_string()))?;
            let signature = self.key.as_ref().map(|key| (SIGNATURE_HEADER, Self::signature(key, &body)));
            let headers: Vec<_> = signature.into_iter().collect();
            self.target.post(CONTENT_TYPE, &[], &headers, body).await
        })
    }
}
