//! The client itself: the steps of each call, in their order.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use jiff::SignedDuration;

use super::answer::{Body, Head, chain, shape_of, was_cut};
use super::credential::{Credential, Pass};
use super::error::{BuildError, CloudError, Refusal};
use super::http::HttpTransport;
use super::meaning::meaning;
use super::pace::{Rank, RateLimiter};
use super::pages::Pages;
use super::paging;
use super::project::ProjectSource;
use super::proxy_circuit::ProxyCircuit;
use super::request::{Call, Endpoint, Site};
use super::retry::Retries;
use super::transport::{SendingLimits, Transport, TransportError};
use super::wire::shape::{self, Shape};
use super::wire::{self, WireError};
use super::{Css, Delivery, Meter, Permit, SendingSpan};
use crate::clock::Clock;
use crate::model::answer::Answer;
use crate::model::cluster::{Cluster, ClusterList};
use crate::model::id::{ClusterId, ProjectId, TaskId};
use crate::model::moment::Moment;
use crate::model::project::Limits;
use crate::model::task::{Abortable, TaskKind, TaskList};
use crate::model::text::{self, shown};

/// The parts of a client.
#[derive(Debug, Clone)]
pub struct Options {
    /// `https://host[:port]`; `http://` only to a loopback address.
    pub endpoint: String,
    /// The project in the URLs.
    pub project: ProjectSource,
    /// Certificates of a private CA, in PEM, beside the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// The proxy for all connections.
    pub proxy: Option<Arc<ProxyCircuit>>,
    /// For one request, from the connection to the last byte.
    pub request_timeout: Duration,
    /// Requests in flight and in a second.
    pub limits: Limits,
    /// Shared by all clients that use the same key.
    pub credential: Arc<Credential>,
    /// Spreads the waits before retries.
    pub seed: u64,
    /// Is notified of every request.
    pub meter: Option<Arc<dyn Meter>>,
}

/// The client of one project.
#[derive(Debug)]
pub struct Client<T, C> {
    transport: T,
    clock: Arc<C>,
    endpoint: Endpoint,
    project: ProjectSource,
    credential: Arc<Credential>,
    pace: RateLimiter,
    retries: Retries,
    pages: Pages,
    clock_offset: Mutex<Option<SignedDuration>>,
    meter: Option<Arc<dyn Meter>>,
}

impl<C: Clock> Client<HttpTransport, C> {
    /// A client that speaks HTTP. It connects when the first request is sent.
    ///
    /// # Errors
    /// If the endpoint or the CA certificates cannot be used.
    pub fn over_http(options: Options, clock: Arc<C>) -> Result<Self, BuildError> {
        let endpoint = Endpoint::parse(&options.endpoint)?;
        let (ca_pem, proxy) = (options.ca_pem.as_deref(), options.proxy.as_ref());
        let transport = HttpTransport::new(&endpoint, ca_pem, proxy, options.request_timeout)?;
        Self::new(transport, options, clock)
    }
}

impl<T: Transport, C: Clock> Client<T, C> {
    /// Makes a client over another transport, for which `ca_pem`, `proxy` and `request_timeout`
    /// mean nothing.
    ///
    /// # Errors
    /// If the endpoint cannot be used.
    pub fn new(transport: T, options: Options, clock: Arc<C>) -> Result<Self, BuildError> {
        let endpoint = Endpoint::parse(&options.endpoint)?;
        Ok(Self {
            transport,
            clock,
            endpoint,
            project: options.project,
            pace: RateLimiter::new(&options.limits),
            retries: Retries::new(options.seed),
            pages: Pages::default(),
            credential: options.credential,
            clock_offset: Mutex::new(None),
            meter: options.meter,
        })
    }

    /// Reads, and returns what `read` makes of the body, with the moment before the request was
    /// sent.
    async fn get<R>(
        &self,
        call: Call<'_>,
        read: impl Fn(&[u8]) -> Result<R, WireError> + Send,
    ) -> Result<(Moment, R), CloudError> {
        let once = || self.credential.sending(&*self.clock, || self.get_once(call));
        let (asked, head, body) = self.retries.run(&*self.clock, once).await?;
        read(&body).map(|read| (asked, read)).map_err(|error| match error {
            WireError::ErrorCode => self.refused(&head, shape::read(&body, true)),
            // An HTML page with status 200 comes from a portal or a proxy.
            WireError::Shape(_) if body.trim_ascii_start().starts_with(b"<") => {
                CloudError::WrongAddress(self.refusal(&head, shape::read(&body, true)))
            }
            WireError::Shape(found) => CloudError::Unreadable {
                detail: shown(&self.credential.scrub(&found), 300),
                request_id: head.request_id,
            },
        })
    }

    /// Reads once, and returns the body of an answer with status 200, with the moment before the
    /// request was sent.
    async fn get_once(&self, call: Call<'_>) -> Result<(Moment, Head, Vec<u8>), CloudError> {
        let _place = self.pace.place(&*self.clock, Rank::Reading).await;
        let project = self.project.id().await?;
        // After the place and not before it: a request that waited for a place must not use a
        // credential that is paused by now.
        let pass = self.credential.enter(&*self.clock).await?;
        let asked = self.clock.now();
        let (head, body) = self
            .exchange(call, project, pass, None)
            .await
            .map_err(|error| CloudError::from_transport(error, None))?;
        match body {
            Ok(body) if head.status == 200 => Ok((asked, head, body)),
            Err(error) if was_cut(&head, &error) => Err(CloudError::from_transport(error, head.request_id)),
            body => Err(head.refused_by(&body, |text| self.credential.scrub(text))),
        }
    }

    /// Sends a PUT, once.
    async fn put(&self, call: Call<'_>, permit: Permit) -> Delivery {
        let not_sent = |error: CloudError| Delivery::NotSent(text::chain(&error));
        let pass = match self.credential.proven(self.clock.now()) {
            Ok(pass) => pass,
            Err(error) => return not_sent(error),
        };
        // A permit needs a proven credential, and the request that proved it knew the project.
        let Some(project) = self.project.known() else {
            return not_sent(CloudError::CredentialUnproven);
        };
        let Permit { place, reserve, span } = permit;
        // Its connection uses the reserved descriptor.
        drop(reserve);
        let exchanged = self.exchange(call, project, pass, span).await;
        drop(place);
        match exchanged {
            Ok((head, Err(error))) if was_cut(&head, &error) => {
                let id = head.request_id.map(|id| format!(", request id {id}")).unwrap_or_default();
                let why = format!("the response {} was cut off: {}{id}", head.status, chain(&error));
                Delivery::Sent(Answer::none(why))
            }
            Ok((head, body)) => {
                let shape = shape_of(&head, &body);
                let kind = shape.kind;
                let Refusal { status, code, message, request_id, retry_after } = self.refusal(&head, shape);
                let meaning = meaning(status, code.as_deref(), kind);
                let status = Some(status);
                Delivery::Sent(Answer { meaning, status, code, message, request_id, retry_after })
            }
            Err(error) if error.never_left() => not_sent(CloudError::from_transport(error, None)),
            Err(error) => Delivery::Sent(Answer::none(chain(&error))),
        }
    }

    /// Sends one request with the credential's permission, and takes from the head of the answer
    /// the clock's offset and what it says of the credential.
    async fn exchange(
        &self,
        call: Call<'_>,
        project: &ProjectId,
        pass: Pass<'_>,
        span: Option<SendingSpan>,
    ) -> Result<(Head, Body), TransportError> {
        let begin = self.clock.now();
        let site = Site { endpoint: &self.endpoint, project };
        let mut request = call.render(site, pass.key(), begin.wall);
        if let Some(span) = span {
            let clock = Arc::clone(&self.clock);
            request.limits = Some(SendingLimits {
                may_begin: Arc::new(move || clock.now().mono <= span.begins_by),
                at_most: span.over_by.since(begin.mono),
            });
        }
        let sent = self.transport.send(request).await;
        let now = self.clock.now();
        let duration_ms = u64::try_from(now.since(begin).as_millis()).unwrap_or(u64::MAX);
        let response = sent.inspect_err(|error| {
            tracing::debug!(
                operation = call.name(),
                duration_ms,
                error = chain(error),
                "request failed without a response"
            );
            self.measure(call, || CloudError::code_without_answer(error), begin, now);
        })?;
        let head = Head::of(&response, now.wall, |text| self.credential.scrub(text));
        if let Some(offset) = head.clock_offset {
            *self.clock_offset.lock().unwrap_or_else(PoisonError::into_inner) = Some(offset);
        }
        let request_id = head.request_id.as_deref();
        tracing::debug!(
            operation = call.name(),
            status = head.status,
            request_id,
            duration_ms,
            "response received"
        );
        let result = || match &response.body {
            Ok(_) if head.status == 200 => "ok",
            Err(error) if was_cut(&head, error) => CloudError::code_without_answer(error),
            body => head.refused_by(body, |text| self.credential.scrub(text)).code(),
        };
        self.measure(call, result, begin, now);
        if head.status == 429 {
            self.pace.throttled(begin.mono, now.mono, head.retry_after);
        }
        let refusal = (head.status == 401).then(|| self.refusal(&head, shape_of(&head, &response.body)));
        pass.answered(now, refusal.as_ref());
        Ok((head, response.body))
    }

    /// The meaning of an error is worked out only if it is counted.
    fn measure(&self, call: Call<'_>, result: impl FnOnce() -> &'static str, begin: Moment, now: Moment) {
        if let Some(meter) = &self.meter {
            meter.call(call.name(), result(), now.since(begin));
        }
    }

    fn refused(&self, head: &Head, shape: Shape) -> CloudError {
        head.refused(shape, |text| self.credential.scrub(text))
    }

    fn refusal(&self, head: &Head, shape: Shape) -> Refusal {
        head.refusal(shape, |text| self.credential.scrub(text))
    }
}

impl<T: Transport, C: Clock> Css for Client<T, C> {
    async fn clusters(&self) -> Result<ClusterList, CloudError> {
        let pages = paging::collect(async |start| {
            let (_, page) =
                self.get(Call::Clusters { start }, move |body| self.pages.read(start, body)).await?;
            Ok(page)
        })
        .await?;
        // An element may repeat a secret, also with the escape that JSON has for a slash.
        let shown =
            |text: &String| shown(&self.credential.scrub(&text.replace("\\/", "/")), wire::SHOWN_ELEMENT);
        let unusable = pages.unusable.iter().map(shown).collect();
        Ok(ClusterList { clusters: pages.items, unusable, total_size: pages.total_size })
    }

    async fn cluster(&self, id: &ClusterId) -> Result<Cluster, CloudError> {
        let (_, cluster) = self.get(Call::Cluster(id), |body| wire::cluster(body, id)).await?;
        Ok(cluster)
    }

    async fn tasks(&self, cluster: &ClusterId, kind: TaskKind) -> Result<(Moment, TaskList), CloudError> {
        let first = OnceLock::new();
        let pages = paging::collect(async |start| {
            let (asked, page) =
                self.get(Call::Tasks { cluster, kind, start }, move |body| wire::tasks(body, kind)).await?;
            first.get_or_init(|| asked);
            Ok(page)
        })
        .await?;
        let asked = first.get().copied().unwrap_or_else(|| self.clock.now());
        // Two different tasks with one id: one of them has a wrong id, and it is unknown which one.
        let unusable = pages.unusable.len() as u64 + pages.conflicts;
        Ok((asked, TaskList { tasks: pages.items, unusable, total_size: pages.total_size }))
    }

    async fn permit(&self) -> Result<Permit, CloudError> {
        // Before the wait, so that it is not in vain, and after it, because it may have been long.
        self.credential.proven(self.clock.now())?;
        let place = self.pace.place(&*self.clock, Rank::Acting).await;
        self.credential.proven(self.clock.now())?;
        let reserve = self.transport.reserve().map_err(|error| CloudError::from_transport(error, None))?;
        Ok(Permit { place: Some(place), reserve, span: None })
    }

    async fn retry(&self, cluster: &ClusterId, task: &TaskId, permit: Permit) -> Delivery {
        self.put(Call::Retry { cluster, task }, permit).await
    }

    async fn abort(&self, cluster: &ClusterId, task: &Abortable, permit: Permit) -> Delivery {
        self.put(Call::Abort { cluster, task }, permit).await
    }

    fn requests_per_second(&self) -> Option<f64> {
        Some(self.pace.per_second(self.clock.now().mono))
    }

    fn credential(&self) -> Option<String> {
        Some(self.credential.in_words(self.clock.now()))
    }

    fn clock_offset(&self) -> Option<SignedDuration> {
        *self.clock_offset.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
