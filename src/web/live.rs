//! Live pages: a stream of events (SSE), each of which says that something changed. The script then reads the page anew,
//! so that there is one way of rendering.

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

/// Changes within this are one.
const TOGETHER: Duration = Duration::from_millis(500);
/// What no entry of the journal tells (a project that cannot be seen, times) is shown after this at the latest.
const AT_LATEST: Duration = Duration::from_secs(10);

/// Room for what keeps its place for long: the other places are for who asks and is answered at once.
#[derive(Clone)]
pub(super) struct Places(Arc<Semaphore>);

impl Places {
    /// For as many live pages at once; others are read anew by hand.
    pub(super) fn of_pages() -> Self {
        Self(Arc::new(Semaphore::new(connections::most(AT_ONCE) / 2)))
    }

    /// For as many readings of the journal at once: one takes as long as its disk.
    pub(super) fn of_readings() -> Self {
        Self(Arc::new(Semaphore::new((connections::most(AT_ONCE) / 4).max(1))))
    }

    /// A place, where there is one.
    pub(super) fn take(&self) -> Option<OwnedSemaphorePermit> {
        self.0.clone().try_acquire_owned().ok()
    }
}

/// What a stream holds on to.
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
