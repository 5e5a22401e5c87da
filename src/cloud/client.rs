//! The client itself: what each call goes through, in its order.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::fmt::rfc2822;
use jiff::{SignedDuration, Timestamp};

use super::credential::{Credential, Pass};
use super::error::{BuildError, CloudError, Refusal};
use super::http::HttpTransport;
use super::pace::{Pace, Rank};
use super::pages::Pages;
use super::paging;
use super::request::{Call, Endpoint, Site};
use super::retry::Retries;
use super::transport::{Response, Transport, TransportError};
use super::wire::shape::{self, Shape};
use super::wire::{self, WireError};
use super::{Css, Permit, Reply};
use crate::clock::Clock;
use crate::model::cluster::{Cluster, ClusterList};
use crate::model::id::{ClusterId, ProjectId, TaskId};
use crate::model::project::Limits;
use crate::model::task::{Abortable, TaskKind, TaskList};
use crate::model::text::shown;

/// A wish to wait is not believed beyond this.
const LONGEST_WISH: Duration = Duration::from_hours(24);
/// Dates of HTTP; a wrong name of the day changes nothing.
const HTTP_DATE: rfc2822::DateTimeParser = rfc2822::DateTimeParser::new().relaxed_weekday(true);

/// What a client is built from.
#[derive(Debug, Clone)]
pub struct Options {
    /// `https://host[:port]`; `http://` only to a loopback address.
    pub endpoint: String,
    /// The project in the URLs.
    pub project: ProjectId,
    /// Certificates of a private CA, in PEM, beside the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// The proxy that everything goes through.
    pub proxy: Option<String>,
    /// For one request, from the connection to the last byte.
    pub request_timeout: Duration,
    /// Requests in flight and in a second.
    pub limits: Limits,
    /// Shared by all clients that use the same key.
    pub credential: Arc<Credential>,
    /// Spreads the waits before retries.
    pub seed: u64,
}

/// The client of one project.
#[derive(Debug)]
pub struct Client<T, C> {
    transport: T,
    clock: Arc<C>,
    site: Site,
    credential: Arc<Credential>,
    pace: Pace,
    retries: Retries,
    pages: Pages,
    clock_offset: Mutex<Option<SignedDuration>>,
}

/// What the head of an answer says.
#[derive(Debug)]
struct Head {
    status: u16,
    request_id: Option<String>,
    retry_after: Option<Duration>,
}

type Body = Result<Vec<u8>, TransportError>;

impl<C: Clock> Client<HttpTransport, C> {
    /// A client that speaks HTTP. It connects when the first request is sent.
    ///
    /// # Errors
    /// Where the endpoint or the CA certificates cannot be used.
    pub fn over_http(options: Options, clock: Arc<C>) -> Result<Self, BuildError> {
        let endpoint = Endpoint::parse(&options.endpoint)?;
        let (ca_pem, proxy) = (options.ca_pem.as_deref(), options.proxy.as_deref());
        let transport = HttpTransport::new(&endpoint, ca_pem, proxy, options.request_timeout)?;
        Self::new(transport, options, clock)
    }
}

impl<T: Transport, C: Clock> Client<T, C> {
    /// A client over another transport, for which `ca_pem`, `proxy` and `request_timeout` mean nothing.
    ///
    /// # Errors
    /// Where the endpoint cannot be used.
    pub fn new(transport: T, options: Options, clock: Arc<C>) -> Result<Self, BuildError> {
        let endpoint = Endpoint::parse(&options.endpoint)?;
        Ok(Self {
            transport,
            clock,
            site: Site { endpoint, project: options.project },
            pace: Pace::new(&options.limits),
            retries: Retries::new(options.seed),
            pages: Pages::default(),
            credential: options.credential,
            clock_offset: Mutex::new(None),
        })
    }

    /// Reads, and gives what `read` makes of the body.
    async fn get<R>(
        &self,
        call: Call<'_>,
        read: impl Fn(&[u8]) -> Result<R, WireError> + Send,
    ) -> Result<R, CloudError> {
        let (head, body) = self.retries.run(&*self.clock, || self.get_once(call)).await?;
        read(&body).map_err(|error| match error {
            WireError::ErrorCode => self.refused(&head, shape::read(&body, true)),
            // A page of HTML with status 200 is a portal's or a proxy's.
            WireError::Shape(_) if body.trim_ascii_start().starts_with(b"<") => {
                CloudError::WrongAddress(self.refusal(&head, shape::read(&body, true)))
            }
            WireError::Shape(found) => CloudError::Unreadable {
                detail: shown(&self.credential.key().scrub(&found), 300),
                request_id: head.request_id,
            },
        })
    }

    /// Reads once, and gives the body of an answer with status 200.
    async fn get_once(&self, call: Call<'_>) -> Result<(Head, Vec<u8>), CloudError> {
        let _place = self.pace.place(&*self.clock, Rank::Reading).await;
        // After the place and not before it: who waited for one must not leave with a credential that rests by now.
        let pass = self.credential.enter(&*self.clock).await?;
        let (head, body) =
            self.exchange(call, pass).await.map_err(|error| CloudError::from_transport(error, None))?;
        match body {
            Ok(body) if head.status == 200 => Ok((head, body)),
            Err(error) if was_cut(&head, &error) => Err(CloudError::from_transport(error, head.request_id)),
            body => Err(self.refused(&head, shape_of(&head, &body))),
        }
    }

    /// Sends a PUT, once.
    async fn put(&self, call: Call<'_>, permit: Permit) -> Reply {
        let pass = match self.credential.proven(self.clock.now()) {
            Ok(pass) => pass,
            Err(error) => return Reply::NotSent(error),
        };
        let exchanged = self.exchange(call, pass).await;
        drop(permit);
        match exchanged {
            Ok((head, Err(error))) if was_cut(&head, &error) => {
                let id = head.request_id.map(|id| format!(", request id {id}")).unwrap_or_default();
                Reply::Lost {
                    detail: format!("the answer {} was cut off: {}{id}", head.status, chain(&error)),
                }
            }
            Ok((head, body)) => {
                let shape = shape_of(&head, &body);
                let body = shape.kind;
                let Refusal { status, code, message, request_id, retry_after } = self.refusal(&head, shape);
                Reply::Answer { status, code, message, request_id, retry_after, body }
            }
            Err(error) if error.never_left() => Reply::NotSent(CloudError::from_transport(error, None)),
            Err(error) => Reply::Lost { detail: chain(&error) },
        }
    }

    /// Sends one request with leave of the credential, and learns from the head of the answer: the clock's offset,
    /// and what it says of the credential.
    async fn exchange(&self, call: Call<'_>, pass: Pass<'_>) -> Result<(Head, Body), TransportError> {
        let begin = self.clock.now();
        let request = call.render(&self.site, self.credential.key(), begin.wall);
        let sent = self.transport.send(request).await;
        let now = self.clock.now();
        let duration_ms = u64::try_from(now.since(begin).as_millis()).unwrap_or(u64::MAX);
        let response = sent.inspect_err(|error| {
            tracing::debug!(operation = call.name(), duration_ms, error = chain(error), "no answer");
        })?;
        let head = self.head(&response, now.wall);
        let request_id = head.request_id.as_deref();
        tracing::debug!(operation = call.name(), status = head.status, request_id, duration_ms, "answer");
        if head.status == 429 {
            self.pace.throttled(begin.mono, now.mono, head.retry_after);
        }
        let refusal = (head.status == 401).then(|| self.refusal(&head, shape_of(&head, &response.body)));
        pass.answered(now, refusal.as_ref());
        Ok((head, response.body))
    }

    fn head(&self, response: &Response, now: Timestamp) -> Head {
        let date = response.header("date").and_then(http_date);
        if let Some(date) = date {
            let offset = now.duration_since(date);
            *self.clock_offset.lock().unwrap_or_else(PoisonError::into_inner) = Some(offset);
        }
        let request_id = response.header("x-request-id").or_else(|| response.header("x-iam-trace-id"));
        Head {
            status: response.status,
            request_id: request_id.map(|id| shown(&self.credential.key().scrub(id), 80)),
            // A point in time is reckoned from the service's own, where it tells it.
            retry_after: response.header("retry-after").and_then(|text| wish(text, date.unwrap_or(now))),
        }
    }

    fn refused(&self, head: &Head, shape: Shape) -> CloudError {
        let body = shape.kind;
        CloudError::from_answer(self.refusal(head, shape), body)
    }

    fn refusal(&self, head: &Head, shape: Shape) -> Refusal {
        let scrub = |text: String| self.credential.key().scrub(&text);
        Refusal {
            status: head.status,
            code: shape.code.map(scrub),
            message: scrub(shape.message),
            request_id: head.request_id.clone(),
            retry_after: head.retry_after,
        }
    }
}

impl<T: Transport, C: Clock> Css for Client<T, C> {
    async fn clusters(&self) -> Result<ClusterList, CloudError> {
        let pages = paging::collect(|start| {
            self.get(Call::Clusters { start }, move |body| self.pages.read(start, body))
        })
        .await?;
        Ok(ClusterList { clusters: pages.items, unusable: pages.unusable, total_size: pages.total_size })
    }

    async fn cluster(&self, id: &ClusterId) -> Result<Cluster, CloudError> {
        self.get(Call::Cluster(id), |body| wire::cluster(body, id)).await
    }

    async fn tasks(&self, cluster: &ClusterId, kind: TaskKind) -> Result<TaskList, CloudError> {
        let pages = paging::collect(|start| {
            self.get(Call::Tasks { cluster, kind, start }, move |body| wire::tasks(body, kind))
        })
        .await?;
        // Two different tasks of one id: one of them is not what it says, and nobody can tell which.
        let unusable = pages.unusable.len() as u64 + pages.conflicts;
        Ok(TaskList { tasks: pages.items, unusable, total_size: pages.total_size })
    }

    async fn permit(&self) -> Result<Permit, CloudError> {
        // Before the wait, so that it is not in vain, and after it, because it may have been long.
        self.credential.proven(self.clock.now())?;
        let place = self.pace.place(&*self.clock, Rank::Acting).await;
        self.credential.proven(self.clock.now())?;
        Ok(Permit { _place: Some(place) })
    }

    async fn retry(&self, cluster: &ClusterId, task: &TaskId, permit: Permit) -> Reply {
        self.put(Call::Retry { cluster, task }, permit).await
    }

    async fn abort(&self, cluster: &ClusterId, task: &Abortable, permit: Permit) -> Reply {
        self.put(Call::Abort { cluster, task }, permit).await
    }

    fn requests_per_second(&self) -> Option<f64> {
        Some(self.pace.per_second(self.clock.now().mono))
    }

    fn clock_offset(&self) -> Option<SignedDuration> {
        *self.clock_offset.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a body broke off that would have been needed to know what the answer means. These go by their status
/// alone: 3xx, 401, 403, 429 and 5xx. One that is too long is not understood, but it did not break off.
fn was_cut(head: &Head, error: &TransportError) -> bool {
    let by_status = matches!(head.status, 300..=399 | 401 | 403 | 429 | 500..);
    !by_status && !matches!(error, TransportError::TooLong { .. })
}

fn shape_of(head: &Head, body: &Body) -> Shape {
    match body {
        Ok(body) => shape::read(body, (200..=299).contains(&head.status)),
        Err(error) => Shape::other(chain(error)),
    }
}

/// The error with what is behind it, in one line.
fn chain(error: &TransportError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    shown(&text, 300)
}

fn http_date(text: &str) -> Option<Timestamp> {
    HTTP_DATE.parse_timestamp(text).ok()
}

/// How long a `Retry-After` asks to wait: seconds, or a date.
fn wish(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    let wish = if let Ok(seconds) = text.parse() {
        Duration::from_secs(seconds)
    } else {
        // A date that lies in the past asks for no wait.
        Duration::try_from(http_date(text)?.duration_since(now)).unwrap_or_default()
    };
    Some(wish.min(LONGEST_WISH))
}

#[cfg(test)]
mod tests;
