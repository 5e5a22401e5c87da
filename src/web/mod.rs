//! The status page, a small JSON API, the metrics and the health, over HTTP. Read only: no request
//! changes anything.
//!
//! All data comes from a [`Source`] at each request. It contains texts of a cloud API or of people:
//! the templates escape them, and control characters are made visible.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::middleware;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use jiff::Timestamp;
use serde::Deserialize;
use tokio::sync::watch;

use crate::model::event::StoredEntry;
use crate::model::explanation::Explanation;
use crate::model::hold::StoredHold;
use crate::model::id::ClusterId;
use crate::status::{Report, json as status_json};

mod health;
mod host_filter;
mod live;
mod page;
mod picture;
mod rows;
mod search;
mod server;
mod texts;
mod words;

pub use host_filter::HostFilter;
pub use server::{BindError, Server};

/// The source of all data.
pub trait Source: Send + Sync + 'static {
    /// Returns the state of the daemon.
    fn report(&self) -> Report;
    /// Returns one cluster by its known state, with the journaled entries of its tasks, the newest
    /// last. `None`: it is not known.
    ///
    /// # Errors
    /// In words, if the journal cannot be read.
    fn cluster(&self, id: &ClusterId) -> impl Future<Output = Result<Option<ClusterView>, String>> + Send;
    /// Returns the journaled entries since then, of one cluster or of all, the newest last and at
    /// most this number, as `history` shows them.
    ///
    /// # Errors
    /// In words, if the journal cannot be read.
    fn history(
        &self,
        cluster: Option<String>,
        since: Option<Timestamp>,
        most: usize,
    ) -> impl Future<Output = Result<Vec<serde_json::Value>, String>> + Send;
    /// Returns whether every part of the daemon answers.
    fn lives(&self) -> impl Future<Output = bool> + Send;
    /// Returns the metrics, in the text form of Prometheus.
    fn metrics(&self) -> Result<String, std::fmt::Error>;
    /// Changes when something was journaled.
    fn changes(&self) -> watch::Receiver<u64>;
}

/// One cluster, for a page.
pub struct ClusterView {
    /// Its known state.
    pub explanation: Explanation,
    /// Its journaled entries.
    pub timeline: Vec<StoredEntry>,
    /// There are more entries than these.
    pub cut: bool,
    /// The holds on it, in force or over.
    pub holds: Vec<StoredHold>,
}

/// The largest number of entries in an answer; `since` and `cluster` select others.
const MOST_ENTRIES: usize = 1_000;

/// What the handlers share.
struct Shared<S> {
    source: Arc<S>,
    live: live::Places,
    readings: live::Places,
}

impl<S> Clone for Shared<S> {
    fn clone(&self) -> Self {
        Self { source: Arc::clone(&self.source), live: self.live.clone(), readings: self.readings.clone() }
    }
}

/// Makes the routes, behind the filter of hosts.
pub fn router<S: Source>(source: Arc<S>, door: HostFilter) -> Router {
    let shared = Shared { source, live: live::Places::of_pages(), readings: live::Places::of_readings() };
    Router::new()
        .route("/", get(index::<S>))
        .route("/clusters/{id}", get(cluster::<S>))
        .route("/events", get(live::events::<S>))
        .route("/style.css", get(|| async { asset("text/css; charset=utf-8", STYLE) }))
        .route("/live.js", get(|| async { asset("text/javascript; charset=utf-8", SCRIPT) }))
        // Browsers ask for it, whatever a page says.
        .route("/favicon.ico", get(|| async { StatusCode::NO_CONTENT }))
        .route("/api/v1/status", get(status_json::<S>))
        .route("/api/v1/clusters/{id}", get(cluster_json::<S>))
        .route("/api/v1/history", get(history::<S>))
        .route("/livez", get(livez::<S>))
        .route("/readyz", get(readyz::<S>))
        .route("/metrics", get(metrics::<S>))
        .fallback(|| async { text(StatusCode::NOT_FOUND, "there is no such page\n") })
        .with_state(shared)
        .layer(middleware::from_fn_with_state(Arc::new(door), host_filter::pass))
}

/// The address, for the log.
pub fn url(address: SocketAddr) -> String {
    format!("http://{address}/")
}

const STYLE: &str = include_str!("assets/style.css");
const SCRIPT: &str = include_str!("assets/live.js");

fn asset(kind: &'static str, content: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind)], content).into_response()
}

fn text(status: StatusCode, text: impl Into<String>) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text.into()).into_response()
}

fn json(value: &impl serde::Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => text(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("the answer cannot be written as JSON: {error}\n"),
        ),
    }
}

fn rendered(page: &impl askama::Template) -> Response {
    match page.render() {
        Ok(page) => Html(page).into_response(),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("the page cannot be made: {error}\n")),
    }
}

async fn index<S: Source>(
    State(shared): State<Shared<S>>,
    Query(parameters): Query<Vec<(String, String)>>,
) -> Response {
    let search = search::Search::new(&parameters);
    rendered(&page::Index::new(&shared.source.report(), &search))
}

async fn view<S: Source>(shared: &Shared<S>, id: &str) -> Result<ClusterView, Response> {
    let unknown = || text(StatusCode::NOT_FOUND, "no cluster of this id is known\n");
    let id = ClusterId::new(id).map_err(|_| unknown())?;
    let Some(_reading) = shared.readings.take() else { return Err(too_many_read()) };
    match shared.source.cluster(&id).await {
        Ok(Some(view)) => Ok(view),
        Ok(None) => Err(unknown()),
        Err(why) => Err(text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n"))),
    }
}

async fn cluster<S: Source>(State(shared): State<Shared<S>>, Path(id): Path<String>) -> Response {
    match view(&shared, &id).await {
        Ok(view) => rendered(&page::Cluster::new(&view)),
        Err(answer) => answer,
    }
}

async fn status_json<S: Source>(State(shared): State<Shared<S>>) -> Response {
    json(&shared.source.report())
}

async fn cluster_json<S: Source>(State(shared): State<Shared<S>>, Path(id): Path<String>) -> Response {
    match view(&shared, &id).await {
        Ok(view) => {
            let timeline: Vec<_> = view.timeline.iter().map(status_json::entry).collect();
            json(&serde_json::json!({
                "explanation": view.explanation, "timeline": timeline, "timeline_is_cut": view.cut,
            }))
        }
        Err(answer) => answer,
    }
}

/// A request for a sign of life must always get a place.
fn too_many_read() -> Response {
    let why = "too many requests read the journal at once: send it again in a second\n";
    ([(header::RETRY_AFTER, "1")], text(StatusCode::SERVICE_UNAVAILABLE, why)).into_response()
}

/// Which part of the history.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    cluster: Option<String>,
    since: Option<String>,
}

async fn history<S: Source>(State(shared): State<Shared<S>>, Query(wanted): Query<Wanted>) -> Response {
    let Ok(since) = wanted.since.map(|since| since.parse::<Timestamp>()).transpose() else {
        return text(StatusCode::BAD_REQUEST, "since has to be a time such as 2026-01-02T03:04:05Z\n");
    };
    let Some(_reading) = shared.readings.take() else { return too_many_read() };
    match shared.source.history(wanted.cluster, since, MOST_ENTRIES).await {
        Ok(lines) => json(&lines),
        Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

async fn livez<S: Source>(State(shared): State<Shared<S>>) -> Response {
    if shared.source.lives().await {
        text(StatusCode::OK, "alive\n")
    } else {
        text(StatusCode::SERVICE_UNAVAILABLE, "a part of the daemon gives no sign of life\n")
    }
}

async fn readyz<S: Source>(State(shared): State<Shared<S>>) -> Response {
    let missing = health::missing(&shared.source.report());
    if missing.is_empty() {
        text(StatusCode::OK, "ready\n")
    } else {
        text(StatusCode::SERVICE_UNAVAILABLE, missing.join("\n") + "\n")
    }
}

async fn metrics<S: Source>(State(shared): State<Shared<S>>) -> Response {
    match shared.source.metrics() {
        Ok(metrics) => {
            ([(header::CONTENT_TYPE, crate::status::metrics::CONTENT_TYPE)], metrics).into_response()
        }
        Err(error) => {
            text(StatusCode::INTERNAL_SERVER_ERROR, format!("the metrics cannot be written: {error}\n"))
        }
    }
}
