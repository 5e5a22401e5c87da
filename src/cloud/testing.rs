//! For the tests of this module: a key, and an API by script.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::credential::{AccessKey, Credential};
use super::transport::{Request, Response, SendingLimits, Transport, TransportError};

pub(super) fn key() -> AccessKey {
    AccessKey::new("AKEXAMPLE0000000TEST".into(), "SKexample0000000000000000000000000000test".into(), None)
        .unwrap()
}

pub(super) fn credential() -> Arc<Credential> {
    Credential::new(key(), 1)
}

/// An answer with a status and a body.
#[expect(clippy::unnecessary_wraps, reason = "as a script takes it")]
pub(super) fn answer(status: u16, body: &str) -> Result<Response, TransportError> {
    Ok(Response { status, headers: Vec::new(), body: Ok(body.as_bytes().to_vec()) })
}

/// An answer with one header.
#[expect(clippy::unnecessary_wraps, reason = "as a script takes it")]
pub(super) fn answer_with(status: u16, header: (&str, &str), body: &str) -> Result<Response, TransportError> {
    let headers = vec![(header.0.to_owned(), header.1.to_owned())];
    Ok(Response { status, headers, body: Ok(body.as_bytes().to_vec()) })
}

/// Returns the scripted answers one after the other, then an empty list always; each takes a
/// second.
#[derive(Clone, Default)]
pub(super) struct ScriptedTransport {
    answers: Arc<Mutex<VecDeque<Result<Response, TransportError>>>>,
    sent: Arc<Mutex<Vec<Request>>>,
}

impl ScriptedTransport {
    pub(super) fn new(answers: impl IntoIterator<Item = Result<Response, TransportError>>) -> Self {
        Self { answers: Arc::new(Mutex::new(answers.into_iter().collect())), sent: Arc::default() }
    }

    /// What was sent.
    pub(super) fn sent(&self) -> Vec<Request> {
        self.sent.lock().unwrap().clone()
    }
}

impl Transport for ScriptedTransport {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        SendingLimits::check(request.limits.as_ref()).map_err(TransportError::TooLate)?;
        self.sent.lock().unwrap().push(request);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let next = self.answers.lock().unwrap().pop_front();
        next.unwrap_or_else(|| answer(200, r#"{"totalSize":0,"clusters":[],"detailList":[]}"#))
    }
}
