//! How channels post: one client for each, to one URL that is a secret.
//!
//! No redirects (a secret goes only to its own receiver), no proxy except one that the
//! configuration names, no repetition, no unverified certificate.

use std::fmt;
use std::time::Duration;

use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Certificate, StatusCode, Url, redirect, retry};

use super::{SendError, Taken};
use crate::model::proxy::Proxy;
use crate::model::secret::{ExposeSecret as _, Secret};
use crate::model::text::{chain, shown};

const TIMEOUT: Duration = Duration::from_secs(15);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A user and password that the proxy refused are not tried again before this: proxies lock out
/// repeated logins.
const AFTER_A_REFUSED_LOGIN: Duration = Duration::from_hours(1);
/// The longest answer that is read.
const BODY_LIMIT: usize = 16 * 1024;
/// The longest part of an answer that is shown.
const LONGEST_ANSWER: usize = 200;
const HTTP_DATE: DateTimeParser = DateTimeParser::new().relaxed_weekday(true);
/// Parts of a URL of at least this length count as secrets, wherever they occur again.
const SECRET_PART: usize = 8;

/// Why a URL cannot be used. It does not contain the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlFault {
    /// It is none.
    #[error("the secret is no URL; https://HOST/PATH is needed, in one line, without quotes and blanks")]
    NotAUrl,
    /// Another scheme.
    #[error("the scheme of the URL is neither https nor http; https://HOST/PATH is needed")]
    Scheme,
    /// A secret would travel in the clear.
    #[error("an http:// URL is allowed only to a loopback address; https://HOST/PATH is needed")]
    Unencrypted,
    /// No certificate can be read there.
    #[error("the file contains no PEM certificate that can be used")]
    CaFile,
    /// No proxy.
    #[error("an http:// or https:// URL is needed")]
    Proxy,
    /// No client can be made.
    #[error("no HTTP client can be made on this machine")]
    Client,
}

impl UrlFault {
    /// The key of the channel that is at fault.
    pub fn key(self) -> &'static str {
        match self {
            Self::NotAUrl | Self::Scheme | Self::Unencrypted | Self::Client => "url",
            Self::CaFile => "ca_file",
            Self::Proxy => "proxy",
        }
    }
}

/// What lies between a channel and its receiver.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// PEM certificates that are trusted beside the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// The proxy for all connections.
    pub proxy: Option<Proxy>,
}

/// The URL to which a channel posts.
pub(super) struct Target {
    client: reqwest::Client,
    url: Url,
    secrets: Vec<String>,
    proxy: Option<Proxy>,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Target(masked)")
    }
}

/// The answer.
pub(super) struct Answered {
    pub(super) status: StatusCode,
    retry_after: Option<Duration>,
    body: String,
}

impl Answered {
    /// A refusal: because of the message itself or not, and with this text, which contains no
    /// secret.
    pub(super) fn refusal(self, refused: bool, detail: String) -> SendError {
        SendError { refused, detail, retry_after: self.retry_after }
    }

    /// The text of the answer; empty if a refusal could not be read.
    pub(super) fn text(&self) -> &str {
        &self.body
    }

    /// Returns whether the status refuses the message itself. Any other refusal may end without a
    /// change of the message.
    pub(super) fn is_of_the_message(&self) -> bool {
        matches!(self.status.as_u16(), 400 | 413 | 415 | 422)
    }
}

impl Target {
    /// Takes a URL. `plain`: it may be `http://` to any host.
    pub(super) fn new(url: &Secret, plain: bool, network: &Network) -> Result<Self, UrlFault> {
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
        // reqwest takes the process's provider, and panics if there is none.
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
            // A message a minute does not profit from a kept connection.
            .pool_max_idle_per_host(0)
            .user_agent(concat!("upgrade-remediator/", env!("CARGO_PKG_VERSION")));
        let proxy = network.proxy.as_ref().map(|proxy| {
            reqwest::Proxy::all(&proxy.url).map(|all| match &proxy.login {
                Some(login) => all.basic_auth(&login.user, login.password.expose_secret()),
                None => all,
            })
        });
        let proxy = proxy.transpose().map_err(|_| UrlFault::Proxy)?;
        let encrypted = url.scheme() == "https"
            || network.proxy.as_ref().is_some_and(|proxy| proxy.url.starts_with("https:"));
        let builder = match proxy {
            Some(proxy) => builder.proxy(proxy),
            None => builder,
        };
        // Without encryption no certificate is needed, and a system without any is no reason to
        // fail.
        let builder = match &network.ca_pem {
            _ if !encrypted => builder.tls_certs_only([]),
            Some(pem) => builder.tls_certs_merge(certificates(pem)?),
            None => builder,
        };
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
        let login = network.proxy.as_ref().and_then(|proxy| proxy.login.as_ref());
        secrets.extend(login.map(|login| login.password.expose_secret().to_owned()));
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Ok(Self { client, url, secrets, proxy: network.proxy.clone() })
    }

    /// Returns the same receiver with another path: `path` is put after that of the URL.
    pub(super) fn below(mut self, path: &str) -> Self {
        let there = self.url.path().trim_end_matches('/').to_owned();
        if !there.ends_with(path) {
            self.url.set_path(&format!("{there}{path}"));
        }
        self
    }

    /// Adds another text that must not be shown.
    pub(super) fn hiding(mut self, secret: &Secret) -> Self {
        self.secrets.push(secret.expose_secret().to_owned());
        self
    }

    /// Posts this JSON, once. `query` is added to the URL's. A status of success means that it was
    /// accepted.
    pub(super) async fn post(
        &self,
        content_type: &'static str,
        query: &[(&str, String)],
        headers: &[(&'static str, String)],
        body: Vec<u8>,
    ) -> Result<Taken, SendError> {
        let answered = self.exchange(content_type, query, headers, body).await?;
        if answered.status.is_success() { Ok(Taken::default()) } else { Err(self.refused(answered)) }
    }

    /// Returns why an answer with another status is a refusal.
    pub(super) fn refused(&self, answered: Answered) -> SendError {
        let of_the_message = answered.is_of_the_message();
        let detail = self.detail(&answered);
        answered.refusal(of_the_message, detail)
    }

    /// Returns the status and the text of the answer.
    pub(super) fn detail(&self, answered: &Answered) -> String {
        let (status, shown) = (answered.status.as_u16(), self.redacted(answered.text()));
        if shown.is_empty() { format!("HTTP {status}") } else { format!("HTTP {status}: {shown}") }
    }

    /// Posts this JSON, once. `query` is added to the URL's.
    pub(super) async fn exchange(
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
        if let (StatusCode::PROXY_AUTHENTICATION_REQUIRED, "http", Some(proxy)) =
            (status, self.url.scheme(), &self.proxy)
        {
            return Err(of_the_proxy(proxy));
        }
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let retry_after = header(RETRY_AFTER).and_then(|asked| asked_to_wait(asked, header(DATE)));
        let body = match self.body(response).await {
            Err(error) if status.is_success() => return Err(error),
            body => body.unwrap_or_default(),
        };
        Ok(Answered { status, retry_after, body })
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
        if let Some(proxy) = self.proxy.as_ref().filter(|_| Proxy::asks_for_login(&error)) {
            return of_the_proxy(proxy);
        }
        SendError::passing(self.redacted(&chain(&error.without_url())))
    }

    /// Returns a text of the receiver, without secrets and control characters.
    pub(super) fn redacted(&self, text: &str) -> String {
        let mut text = text.trim().to_owned();
        for secret in &self.secrets {
            text = text.replace(secret.as_str(), "***");
        }
        shown(&text, LONGEST_ANSWER)
    }
}

/// Returns the text of a 407.
fn of_the_proxy(proxy: &Proxy) -> SendError {
    let detail = format!("{}: {}", proxy.refusal(), proxy.advice());
    let retry_after = proxy.login.is_some().then_some(AFTER_A_REFUSED_LOGIN);
    SendError { refused: false, detail, retry_after }
}

fn certificates(pem: &[u8]) -> Result<Vec<Certificate>, UrlFault> {
    let certificates = Certificate::from_pem_bundle(pem).map_err(|_| UrlFault::CaFile)?;
    if certificates.is_empty() { Err(UrlFault::CaFile) } else { Ok(certificates) }
}

/// Returns how long a `Retry-After` asks to wait: seconds, or a date, which is compared with the
/// date of the same answer.
fn asked_to_wait(asked: &str, date: Option<&str>) -> Option<Duration> {
    let asked = asked.trim();
    if let Ok(seconds) = asked.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let time = |text: &str| HTTP_DATE.parse_timestamp(text.trim()).ok();
    Duration::try_from(time(asked)?.duration_since(time(date?)?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_to_wait_is_seconds_or_a_date() {
        let date = Some("Mon, 01 Jun 2026 12:00:00 GMT");
        for (asked, date, wait) in [
            ("120", None, Some(120)),
            ("Mon, 01 Jun 2026 12:05:00 GMT", date, Some(300)),
            ("Mon, 01 Jun 2026 11:05:00 GMT", date, None),
            ("Mon, 01 Jun 2026 12:05:00 GMT", None, None),
            ("soon", date, None),
        ] {
            assert_eq!(asked_to_wait(asked, date), wait.map(Duration::from_secs), "{asked}");
        }
    }
}
