//! How channels post: one client for each, to one URL that is a secret.
//!
//! No redirect (a secret goes where it was meant to go), no proxy of the environment, no resend, no unverified
//! certificate.

use std::fmt;
use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Url, redirect, retry};

use super::SendError;
use crate::model::secret::{ExposeSecret as _, Secret};
use crate::model::text::{chain, shown};

const TIMEOUT: Duration = Duration::from_secs(15);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// What comes back is short, or of no interest.
const BODY_LIMIT: usize = 16 * 1024;
/// So much of an answer is told.
const TOLD: usize = 200;
/// Parts of a URL that are as long are taken for secrets, wherever they turn up again.
const SECRET_PART: usize = 8;

/// Why a URL cannot be used. It does not repeat it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlFault {
    /// It is none.
    #[error("it is no URL")]
    NotAUrl,
    /// Another scheme.
    #[error("its scheme must be https or http")]
    Scheme,
    /// A secret would travel in the clear.
    #[error("it must be https; http is taken only to a loopback address")]
    Unencrypted,
    /// No client can be made.
    #[error("no HTTP client can be made on this machine")]
    Client,
}

/// Where a channel posts to.
pub(super) struct Target {
    client: reqwest::Client,
    url: Url,
    secrets: Vec<String>,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Target(masked)")
    }
}

/// What came back with a status of success.
pub(super) type Answered = String;

impl Target {
    /// Takes a URL. `plain`: it may be `http://` to any host.
    pub(super) fn new(url: &Secret, plain: bool) -> Result<Self, UrlFault> {
        let url = Url::parse(url.expose_secret()).map_err(|_| UrlFault::NotAUrl)?;
        let host = url.host_str().ok_or(UrlFault::NotAUrl)?;
        let address = host.trim_start_matches('[').trim_end_matches(']');
        let loopback = host == "localhost"
            || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        match url.scheme() {
            "https" => {}
            "http" if plain || loopback => {}
            "http" => return Err(UrlFault::Unencrypted),
            _ => return Err(UrlFault::Scheme),
        }
        // reqwest takes the process's provider, and panics where there is none.
        let _ = rustls::crypto::ring::default_provider().install_default();
        #[expect(
            clippy::disallowed_methods,
            reason = "this module is the one that builds the clients of channels"
        )]
        let builder = reqwest::Client::builder();
        let builder = builder
            .retry(retry::never())
            .redirect(redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            // A message a minute gains nothing from a connection that is kept.
            .pool_max_idle_per_host(0)
            .user_agent(concat!("upgrade-remediator/", env!("CARGO_PKG_VERSION")));
        // Without encryption no certificate is needed, and a system without any is no reason to fail.
        let builder = if url.scheme() == "https" { builder } else { builder.tls_certs_only([]) };
        let client = builder.build().map_err(|_| UrlFault::Client)?;
        let mut secrets: Vec<String> = url
            .path()
            .split('/')
            .map(str::to_owned)
            .chain(url.query_pairs().map(|(_, value)| value.into_owned()))
            .chain([url.username().to_owned(), url.password().unwrap_or_default().to_owned()])
            .filter(|part| part.len() >= SECRET_PART)
            .collect();
        secrets.push(url.as_str().to_owned());
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Ok(Self { client, url, secrets })
    }

    /// The same at another path: `path` is put after what the URL has.
    pub(super) fn below(mut self, path: &str) -> Self {
        let there = self.url.path().trim_end_matches('/').to_owned();
        if !there.ends_with(path) {
            self.url.set_path(&format!("{there}{path}"));
        }
        self
    }

    /// Another text that must not be told.
    pub(super) fn hiding(mut self, secret: &Secret) -> Self {
        self.secrets.push(secret.expose_secret().to_owned());
        self
    }

    /// Posts this JSON, once. `query` is added to the URL's.
    pub(super) async fn post(
        &self,
        content_type: &'static str,
        query: &[(&str, String)],
        headers: &[(&'static str, String)],
        body: Vec<u8>,
    ) -> Result<Answered, SendError> {
        let mut url = self.url.clone();
        if !query.is_empty() {
            let mut pairs = url.query_pairs_mut();
            for (name, value) in query {
                pairs.append_pair(name, value);
            }
        }
        let mut sent = HeaderMap::new();
        sent.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        sent.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        for (name, value) in headers {
            let value = HeaderValue::from_str(value)
                .map_err(|_| SendError::passing("a header that cannot be sent"))?;
            sent.insert(HeaderName::from_static(name), value);
        }
        let request = self.client.post(url).headers(sent).body(body);
        let response = request.send().await.map_err(|error| self.broken(error))?;
        let status = response.status();
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(Duration::from_secs);
        let text = self.body(response).await;
        if status.is_success() {
            return text;
        }
        let told = text.map(|text| self.told(&text)).unwrap_or_default();
        let told = if told.is_empty() { String::new() } else { format!(": {told}") };
        // What says that the message itself is at fault. Anything else may be mended elsewhere.
        let refused = matches!(status.as_u16(), 400 | 413 | 415 | 422);
        Err(SendError { refused, detail: format!("HTTP {}{told}", status.as_u16()), retry_after })
    }

    async fn body(&self, mut response: reqwest::Response) -> Result<String, SendError> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.broken(error))? {
            body.extend_from_slice(&chunk);
            if body.len() > BODY_LIMIT {
                body.truncate(BODY_LIMIT);
                break;
            }
        }
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    fn broken(&self, error: reqwest::Error) -> SendError {
        SendError::passing(self.told(&chain(&error.without_url())))
    }

    /// A text of the other side, without secrets and control characters.
    pub(super) fn told(&self, text: &str) -> String {
        let mut text = text.trim().to_owned();
        for secret in &self.secrets {
            text = text.replace(secret.as_str(), "***");
        }
        shown(&text, TOLD)
    }
}
