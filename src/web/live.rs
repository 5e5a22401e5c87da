//! Live pages: a stream of events (SSE), each of which says that something changed. The script then
//! loads the page again, so that only the templates render pages.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::server::AT_ONCE;
use super::{Shared, Source, text};
use crate::connections;

/// Changes within this time are one event.
const TOGETHER: Duration = Duration::from_millis(500);
/// Changes without an entry of the journal (a project that cannot be polled, times) are shown after
/// this time at the latest.
const AT_LATEST: Duration = Duration::from_secs(10);

/// The places for slow connections: the other places are for requests that are answered at once.
#[derive(Clone)]
pub(super) struct Places(Arc<Semaphore>);

impl Places {
    /// For this number of concurrent live pages; further ones have to be loaded again by hand.
    pub(super) fn of_pages() -> Self {
        Self(Arc::new(Semaphore::new(connections::most(AT_ONCE) / 2)))
    }

    /// For this number of concurrent reads of the journal: each takes as long as its disk.
    pub(super) fn of_readings() -> Self {
        Self(Arc::new(Semaphore::new((connections::most(AT_ONCE) / 4).max(1))))
    }

    /// Returns a place, if there is one.
    pub(super) fn take(&self) -> Option<OwnedSemaphorePermit> {
        self.0.clone().try_acquire_owned().ok()
    }
}

/// The resources of a stream.
struct Stream {
    changes: watch::Receiver<u64>,
    _place: OwnedSemaphorePermit,
    first: bool,
}

pub(super) async fn events<S: Source>(State(shared): State<Shared<S>>) -> Response {
    let Some(place) = shared.live.take() else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "as many pages are live as may be\n");
    };
    let stream = Stream { changes: shared.source.changes(), _place: place, first: true };
    let events = futures_util::stream::unfold(stream, |mut stream| async {
        if !std::mem::take(&mut stream.first) {
            match tokio::time::timeout(AT_LATEST, stream.changes.changed()).await {
                // The daemon is stopping.
                Ok(Err(_)) => return None,
                Ok(Ok(())) => tokio::time::sleep(TOGETHER).await,
                Err(_) => {}
            }
        }
        let revision = *stream.changes.borrow_and_update();
        let event = Event::default().event("changed").data(revision.to_string());
        Some((Ok::<_, Infallible>(event), stream))
    });
    Sse::new(events).into_response()
}
