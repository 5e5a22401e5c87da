//! Temporary keys of the agency of the machine itself, from its metadata service.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::answer::{Head, shape_of};
use super::credential::{Fetching, Fresh, Source};
use super::error::{BuildError, CloudError};
use super::http::HttpTransport;
use super::iam::wire;
use super::request::{Endpoint, Plain};
use super::transport::{Method, Response, Transport};
use crate::clock::Clock;
use crate::cloud::credential::key::mask;
use crate::model::moment::Moment;
use crate::model::secret::{ExposeSecret, Secret};

/// The metadata service is on the machine's own link, and answers at once or not at all.
const TIMEOUT: Duration = Duration::from_secs(3);
const BODY_LIMIT: usize = 64 * 1024;
/// The requested validity of a token.
const TOKEN_LIFE: Duration = Duration::from_hours(6);
/// A service without tokens is asked for one again after this.
const WITHOUT_TOKENS: Duration = Duration::from_hours(24);
/// The text of a refusal that does not concern the token.
const NO_AGENCY: &[u8] = b"Please configure Cloud Service Agency first";
const WHOSE: &str = "the metadata service";

/// Asks the metadata service for the keys of this machine's agency.
pub struct MetadataSource<T, C> {
    transport: T,
    clock: Arc<C>,
    endpoint: Endpoint,
    token: Mutex<Token>,
}

/// The state of the token.
#[derive(Default)]
enum Token {
    /// Nothing yet.
    #[default]
    Unknown,
    /// The service requires none, until then.
    Unwanted(Moment),
    /// One that is valid until then.
    Held(Secret, Moment),
}

impl<T, C> fmt::Debug for MetadataSource<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetadataSource").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl<C: Clock> MetadataSource<HttpTransport, C> {
    /// Makes a client of this machine's metadata service. It uses no proxy.
    ///
    /// # Errors
    /// If the client cannot be built.
    pub fn over_http(clock: Arc<C>) -> Result<Box<Self>, BuildError> {
        let endpoint = Endpoint::metadata();
        let transport = HttpTransport::new(&endpoint, None, None, TIMEOUT)?;
        Ok(Box::new(Self::with(transport, endpoint, clock)))
    }

    /// One on a loopback address, for tests.
    ///
    /// # Errors
    /// If the address cannot be used.
    #[doc(hidden)]
    pub fn at(base: &str, clock: Arc<C>) -> Result<Box<Self>, BuildError> {
        let endpoint = Endpoint::parse(base)?;
        let transport = HttpTransport::new(&endpoint, None, None, TIMEOUT)?;
        Ok(Box::new(Self::with(transport, endpoint, clock)))
    }
}

impl<T: Transport, C: Clock> MetadataSource<T, C> {
    fn with(transport: T, endpoint: Endpoint, clock: Arc<C>) -> Self {
        Self { transport, clock, endpoint, token: Mutex::default() }
    }

    async fn fetch_key(&self) -> Result<Fresh, CloudError> {
        let mut renewed = false;
        loop {
            let token = self.token().await?;
            let (at, head, body) = self.read_key(token.as_ref()).await?;
            let scrub = |text: &str| self.scrub(text);
            match (head.status, body) {
                (200, Ok(body)) => {
                    return wire::temporary_key(&body, WHOSE, head.request_id.as_ref(), (at, at.wall));
                }
                (200, Err(error)) => return Err(CloudError::from_transport(error, head.request_id)),
                (status, body) => {
                    let unset = body.as_ref().is_ok_and(|body| contains(body, NO_AGENCY));
                    if unset {
                        return Err(CloudError::NoAgency(head.refusal(shape_of(&head, &body), scrub)));
                    }
                    // A token that is no longer valid, or one that is required by now.
                    if status != 401 || renewed {
                        return Err(not_given(&head, shape_of(&head, &body), scrub));
                    }
                    renewed = true;
                    self.set_token(Token::Unknown);
                }
            }
        }
    }

    async fn read_key(
        &self,
        token: Option<&Secret>,
    ) -> Result<(Moment, Head, super::answer::Body), CloudError> {
        let plain = Plain {
            path: "/openstack/latest/securitykey".to_owned(),
            headers: token
                .map(|token| ("x-metadata-token", token.expose_secret().to_owned()))
                .into_iter()
                .collect(),
            body_limit: BODY_LIMIT,
            ..Plain::default()
        };
        self.send(plain).await
    }

    async fn send(&self, plain: Plain) -> Result<(Moment, Head, super::answer::Body), CloudError> {
        let sent = self.transport.send(plain.unsigned(&self.endpoint)).await;
        let at = self.clock.now();
        let response = sent.map_err(|error| CloudError::from_transport(error, None))?;
        let head = Head::of(&response, at.wall, |text| self.scrub(text));
        tracing::debug!(operation = "metadata", status = head.status, "answer");
        let Response { body, .. } = response;
        Ok((at, head, body))
    }

    /// Returns the token to send; `None` if the service requires none.
    async fn token(&self) -> Result<Option<Secret>, CloudError> {
        let now = self.clock.now();
        match &*self.token.lock().unwrap_or_else(PoisonError::into_inner) {
            Token::Unwanted(until) if now.mono < until.mono => return Ok(None),
            Token::Held(token, until) if now.mono < until.mono => return Ok(Some(token.clone())),
            _ => {}
        }
        let plain = Plain {
            method: Method::PutForToken,
            path: "/meta-data/latest/api/token".to_owned(),
            headers: vec![("x-metadata-token-ttl-seconds", TOKEN_LIFE.as_secs().to_string())],
            body_limit: BODY_LIMIT,
            ..Plain::default()
        };
        let (at, head, body) = self.send(plain).await?;
        let body = match (head.status, body) {
            (200, Ok(body)) => body,
            (404 | 405 | 503, _) => {
                self.set_token(Token::Unwanted(at.after(WITHOUT_TOKENS)));
                return Ok(None);
            }
            (200, Err(error)) => return Err(CloudError::from_transport(error, head.request_id)),
            (_, body) => return Err(not_given(&head, shape_of(&head, &body), |text| self.scrub(text))),
        };
        let token = String::from_utf8(body).unwrap_or_default().trim().to_owned();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            let detail = format!("the response of {WHOSE}: the value for a token is not a token");
            return Err(CloudError::Unreadable { detail, request_id: head.request_id });
        }
        let token = Secret::from(token);
        self.set_token(Token::Held(token.clone(), at.after(TOKEN_LIFE * 9 / 10)));
        Ok(Some(token))
    }

    fn set_token(&self, token: Token) {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = token;
    }
}

/// A refusal here concerns this machine and its token, and locks no account.
fn not_given(head: &Head, shape: super::wire::shape::Shape, scrub: impl Fn(&str) -> String) -> CloudError {
    match head.refused(shape, scrub) {
        CloudError::Unauthorized(refusal) => CloudError::Refused(refusal),
        other => other,
    }
}

fn contains(body: &[u8], part: &[u8]) -> bool {
    body.windows(part.len()).any(|window| window == part)
}

impl<T: Transport, C: Clock> Source for MetadataSource<T, C> {
    fn fetch(&self) -> Fetching<'_> {
        Box::pin(self.fetch_key())
    }

    fn scrub(&self, text: &str) -> String {
        match &*self.token.lock().unwrap_or_else(PoisonError::into_inner) {
            Token::Held(token, _) => mask(text, token),
            _ => text.to_owned(),
        }
    }
}
