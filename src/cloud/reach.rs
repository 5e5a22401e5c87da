//! Checks whether an endpoint can be reached at all, without any key: for `doctor`.

use std::sync::Arc;

use jiff::SignedDuration;

use super::answer::Head;
use super::error::{BuildError, CloudError};
use super::http::HttpTransport;
use super::proxy_circuit::ProxyCircuit;
use super::request::{Endpoint, Plain};
use super::transport::Transport as _;
use crate::clock::Clock;

/// The answer is not used, and short.
const BODY_LIMIT: usize = 64 * 1024;

/// An endpoint, and its connection.
#[derive(Debug)]
pub struct Reach {
    endpoint: Endpoint,
    transport: HttpTransport,
}

impl Reach {
    /// Takes an endpoint.
    ///
    /// # Errors
    /// If it, the CA certificates or the proxy cannot be used.
    pub fn new(
        endpoint: &str,
        ca_pem: Option<&[u8]>,
        proxy: Option<&Arc<ProxyCircuit>>,
        timeout: std::time::Duration,
    ) -> Result<Self, BuildError> {
        let endpoint = Endpoint::parse(endpoint)?;
        let transport = HttpTransport::new(&endpoint, ca_pem, proxy, timeout)?;
        Ok(Self { endpoint, transport })
    }

    /// Requests the root, unsigned. Any answer is a success; it shows by how much our clock is
    /// ahead.
    ///
    /// # Errors
    /// If no server answers, or with an invalid certificate.
    pub async fn ask(&self, clock: &impl Clock) -> Result<Option<SignedDuration>, CloudError> {
        let plain = Plain { path: "/".to_owned(), body_limit: BODY_LIMIT, ..Plain::default() };
        let sent = self.transport.send(plain.unsigned(&self.endpoint)).await;
        let response = sent.map_err(|error| CloudError::from_transport(error, None))?;
        Ok(Head::of(&response, clock.now().wall, str::to_owned).clock_offset)
    }
}
