//! The client of IAM: tokens by password, temporary keys by agency, projects by region. It sends
//! each request once; the caller decides about another try.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Meter;
use super::answer::{Head, chain, shape_of, was_cut};
use super::error::{BuildError, CloudError, Refusal};
use super::http::HttpTransport;
use super::proxy_circuit::ProxyCircuit;
use super::request::Endpoint;
use super::transport::{Request, Response, TOKEN_HEADER, Transport};
use crate::clock::Clock;
use crate::model::moment::Moment;
use crate::model::secret::Secret;

mod agency;
mod password;
mod projects;
pub(super) mod wire;

pub use agency::{Agency, AgencySource};
pub use password::{PasswordSource, ReadSecret, Scope, User};
pub use projects::ProjectByRegion;

/// Answers are short: a token's body without its catalogue, a key, a page of projects.
const BODY_LIMIT: usize = 1024 * 1024;

/// IAM, or its service of temporary keys, at one endpoint.
pub struct Iam<T, C> {
    transport: Arc<T>,
    clock: Arc<C>,
    endpoint: Endpoint,
    meter: Option<Arc<dyn Meter>>,
}

impl<T, C> Clone for Iam<T, C> {
    fn clone(&self) -> Self {
        Self {
            transport: Arc::clone(&self.transport),
            clock: Arc::clone(&self.clock),
            endpoint: self.endpoint.clone(),
            meter: self.meter.clone(),
        }
    }
}

impl<T, C> fmt::Debug for Iam<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iam").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// A successful answer.
struct Granted {
    /// When it came.
    at: Moment,
    head: Head,
    /// The token in its head.
    token: Option<Secret>,
    body: Vec<u8>,
}

impl<C: Clock> Iam<HttpTransport, C> {
    /// Makes a client of IAM over HTTP. It connects when the first request is sent.
    ///
    /// # Errors
    /// If the endpoint or the CA certificates cannot be used.
    pub fn over_http(
        endpoint: &str,
        ca_pem: Option<&[u8]>,
        proxy: Option<&Arc<ProxyCircuit>>,
        request_timeout: Duration,
        clock: Arc<C>,
    ) -> Result<Self, BuildError> {
        let endpoint = Endpoint::parse(endpoint)?;
        let transport = HttpTransport::new(&endpoint, ca_pem, proxy, request_timeout)?;
        Ok(Self { transport: Arc::new(transport), clock, endpoint, meter: None })
    }
}

impl<T: Transport, C: Clock> Iam<T, C> {
    /// Makes a client of IAM over another transport.
    ///
    /// # Errors
    /// If the endpoint cannot be used.
    pub fn new(transport: T, endpoint: &str, clock: Arc<C>) -> Result<Self, BuildError> {
        let endpoint = Endpoint::parse(endpoint)?;
        Ok(Self { transport: Arc::new(transport), clock, endpoint, meter: None })
    }

    /// Notifies this of each request.
    #[must_use]
    pub fn metered(self, meter: Option<Arc<dyn Meter>>) -> Self {
        Self { meter, ..self }
    }

    /// Sends the request, once. `judge` is called with the answer before anything else is made of
    /// it.
    async fn ask(
        &self,
        name: &'static str,
        request: Request,
        scrub: impl Fn(&str) -> String,
        judge: impl FnOnce(Moment, &Head, Option<&Refusal>),
    ) -> Result<Granted, CloudError> {
        let begin = self.clock.now();
        let asked = self.send(name, request, scrub, judge).await;
        if let Some(meter) = &self.meter {
            let result = asked.as_ref().map_or_else(CloudError::code, |_| "ok");
            meter.call(name, result, self.clock.now().since(begin));
        }
        asked
    }

    async fn send(
        &self,
        name: &'static str,
        request: Request,
        scrub: impl Fn(&str) -> String,
        judge: impl FnOnce(Moment, &Head, Option<&Refusal>),
    ) -> Result<Granted, CloudError> {
        let sent = self.transport.send(request).await;
        let at = self.clock.now();
        let response = sent.map_err(|error| {
            tracing::debug!(operation = name, error = chain(&error), "request failed without a response");
            CloudError::from_transport(error, None)
        })?;
        let head = Head::of(&response, at.wall, &scrub);
        tracing::debug!(operation = name, status = head.status, request_id = head.request_id, "answer");
        let token = response.header(TOKEN_HEADER).map(Secret::from);
        let Response { body, .. } = response;
        let granted = matches!(head.status, 200 | 201);
        let refusal = (!granted).then(|| head.refusal(shape_of(&head, &body), &scrub));
        judge(at, &head, refusal.as_ref());
        match body {
            Ok(body) if granted => Ok(Granted { at, head, token, body }),
            Err(error) if was_cut(&head, &error) => Err(CloudError::from_transport(error, head.request_id)),
            body => Err(head.refused_by(&body, &scrub)),
        }
    }
}
