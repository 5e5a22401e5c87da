//! The head of an answer, from any server.

use std::error::Error;
use std::time::Duration;

use jiff::fmt::rfc2822;
use jiff::{SignedDuration, Timestamp};

use super::error::{CloudError, Refusal};
use super::transport::{Response, TransportError};
use super::wire::shape::{self, Shape};
use crate::model::text::shown;

/// A longer `Retry-After` is shortened to this.
const LONGEST_WISH: Duration = Duration::from_hours(24);
/// The gateway refuses a request whose date is further off than 15 minutes; from here on a clock
/// counts as wrong.
const TOLD_OFFSET: i64 = 60;
/// Dates of HTTP; a wrong name of the day changes nothing.
const HTTP_DATE: rfc2822::DateTimeParser = rfc2822::DateTimeParser::new().relaxed_weekday(true);

/// The body, or why it is incomplete.
pub(super) type Body = Result<Vec<u8>, TransportError>;

/// The head of an answer.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) request_id: Option<String>,
    pub(super) retry_after: Option<Duration>,
    /// By how much our wall clock is ahead of the server's.
    pub(super) clock_offset: Option<SignedDuration>,
}

impl Head {
    /// Makes the head of an answer that came at `now`. `scrub` removes secrets that it may repeat.
    pub(super) fn of(response: &Response, now: Timestamp, scrub: impl Fn(&str) -> String) -> Self {
        let date = response.header("date").and_then(http_date);
        let request_id = response.header("x-request-id").or_else(|| response.header("x-iam-trace-id"));
        Self {
            status: response.status,
            request_id: request_id.map(|id| shown(&scrub(id), 80)),
            // A point in time is relative to the API's clock, if the answer has its date.
            retry_after: response.header("retry-after").and_then(|text| wish(text, date.unwrap_or(now))),
            clock_offset: date.map(|date| now.duration_since(date)),
        }
    }

    /// Returns the answer as messages show it.
    pub(super) fn refusal(&self, shape: Shape, scrub: impl Fn(&str) -> String) -> Refusal {
        let mut message = scrub(&shape.message);
        let off = self.clock_offset.map_or(0, |offset| offset.as_secs());
        // A wrong clock is a common cause of a refused signature, and not every answer says so.
        if self.status == 401 && off.abs() >= TOLD_OFFSET {
            let way = if off > 0 { "ahead" } else { "behind" };
            let told = format!("this machine's clock is off by {} s ({way} of the API's clock)", off.abs());
            message = if message.is_empty() { told } else { format!("{told}: {message}") };
        }
        Refusal {
            status: self.status,
            code: shape.code.map(|code| scrub(&code)),
            message,
            request_id: self.request_id.clone(),
            retry_after: self.retry_after,
        }
    }

    /// Returns the same if only the body can show it. An encoded body was not sent by the CSS API,
    /// because no request asks for one.
    pub(super) fn refused_by(&self, body: &Body, scrub: impl Fn(&str) -> String) -> CloudError {
        let shape = shape_of(self, body);
        match body {
            Err(TransportError::Encoded { .. }) if (200..=299).contains(&self.status) => {
                CloudError::WrongAddress(self.refusal(shape, scrub))
            }
            _ => self.refused(shape, scrub),
        }
    }

    /// Returns the error of an answer that is not the requested one.
    pub(super) fn refused(&self, shape: Shape, scrub: impl Fn(&str) -> String) -> CloudError {
        let kind = shape.kind;
        CloudError::from_answer(self.refusal(shape, scrub), kind)
    }
}

/// Returns whether a body broke off that is needed for the meaning of the answer. 3xx, 401, 403,
/// 429 and 5xx have their meaning from the status alone. A body that is too long or encoded is not
/// understood, but it did not break off.
pub(super) fn was_cut(head: &Head, error: &TransportError) -> bool {
    let by_status = matches!(head.status, 300..=399 | 401 | 403 | 429 | 500..);
    !by_status && !matches!(error, TransportError::TooLong { .. } | TransportError::Encoded { .. })
}

/// Returns the error in a body.
pub(super) fn shape_of(head: &Head, body: &Body) -> Shape {
    match body {
        Ok(body) => shape::read(body, (200..=299).contains(&head.status)),
        Err(error) => Shape::other(chain(error)),
    }
}

/// Returns the error with its causes, in one line.
pub(super) fn chain(error: &TransportError) -> String {
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

/// Returns how long a `Retry-After` asks to wait: seconds, or a date.
pub(super) fn wish(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    let wish = if let Ok(seconds) = text.parse() {
        Duration::from_secs(seconds)
    } else {
        // A date in the past asks for no wait.
        Duration::try_from(http_date(text)?.duration_since(now)).unwrap_or_default()
    };
    Some(wish.min(LONGEST_WISH))
}
