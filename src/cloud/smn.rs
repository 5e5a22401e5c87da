//! Simple Message Notification: publishes a message to a topic, with the key of a project.

use std::sync::Arc;
use std::time::Duration;

use super::answer::{Head, shape_of};
use super::credential::Credential;
use super::error::{BuildError, CloudError};
use super::http::HttpTransport;
use super::proxy_circuit::ProxyCircuit;
use super::request::{Endpoint, Plain};
use super::transport::{Method, Transport};
use crate::clock::Clock;
use crate::model::id::ProjectId;

/// The answer is two ids.
const BODY_LIMIT: usize = 64 * 1024;

/// One topic.
#[derive(Debug)]
pub struct Topic<T, C> {
    transport: T,
    clock: Arc<C>,
    endpoint: Endpoint,
    credential: Arc<Credential>,
    path: String,
}

impl<C: Clock> Topic<HttpTransport, C> {
    /// Makes a topic over HTTP, from its checked URN. It connects when the first message is sent.
    ///
    /// # Errors
    /// If the endpoint or the CA certificates cannot be used.
    pub fn over_http(
        endpoint: &str,
        (ca_pem, proxy): (Option<&[u8]>, Option<&Arc<ProxyCircuit>>),
        request_timeout: Duration,
        credential: Arc<Credential>,
        (project, urn): (&ProjectId, &str),
        clock: Arc<C>,
    ) -> Result<Self, BuildError> {
        let endpoint = Endpoint::parse(endpoint)?;
        let transport = HttpTransport::new(&endpoint, ca_pem, proxy, request_timeout)?;
        let path = format!("/v2/{project}/notifications/topics/{urn}/publish");
        Ok(Self { transport, clock, endpoint, credential, path })
    }
}

impl<T: Transport, C: Clock> Topic<T, C> {
    /// Publishes, once: a message whose key was refused was not published.
    ///
    /// # Errors
    /// The refusal of SMN, or the error of the connection.
    pub async fn publish(&self, subject: &str, message: &str) -> Result<(), CloudError> {
        self.credential.sending(&*self.clock, || self.publish_once(subject, message)).await
    }

    async fn publish_once(&self, subject: &str, message: &str) -> Result<(), CloudError> {
        let pass = self.credential.enter(&*self.clock).await?;
        let body = serde_json::json!({ "subject": subject, "message": message }).to_string();
        let plain = Plain {
            method: Method::Post,
            path: self.path.clone(),
            body: body.into_bytes(),
            body_limit: BODY_LIMIT,
            ..Plain::default()
        };
        let request = plain.with_key(&self.endpoint, pass.key(), self.clock.now().wall);
        let sent = self.transport.send(request).await;
        let now = self.clock.now();
        let response = sent.map_err(|error| CloudError::from_transport(error, None))?;
        let head = Head::of(&response, now.wall, |text| self.credential.scrub(text));
        let shape = shape_of(&head, &response.body);
        let refusal = (head.status == 401)
            .then(|| head.refusal(shape_of(&head, &response.body), |text| self.credential.scrub(text)));
        pass.answered(now, refusal.as_ref());
        if matches!(head.status, 200 | 201) {
            return Ok(());
        }
        Err(head.refused(shape, |text| self.credential.scrub(text)))
    }
}
