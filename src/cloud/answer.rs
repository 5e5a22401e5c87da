//! What the head of an answer says, whoever answers.

use std::error::Error;
use std::time::Duration;

use jiff::fmt::rfc2822;
use jiff::{SignedDuration, Timestamp};

use super::error::{CloudError, Refusal};
use super::transport::{Response, TransportError};
use super::wire::shape::{self, Shape};
use crate::model::text::shown;

/// A wish to wait is not believed beyond this.
const LONGEST_WISH: Duration = Duration::from_hours(24);
/// The gateway refuses a request whose date is further off than 15 minutes; from here on a clock is told to be off.
const TOLD_OFFSET: i64 = 60;
/// Dates of HTTP; a wrong name of the day changes nothing.
const HTTP_DATE: rfc2822::DateTimeParser = rfc2822::DateTimeParser::new().relaxed_weekday(true);

/// The body, or why it is not whole.
pub(super) type Body = Result<Vec<u8>, TransportError>;

/// The head of an answer.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) request_id: Option<String>,
    pub(super) retry_after: Option<Duration>,
    /// By how much our wall clock is ahead of the one that answered.
    pub(super) clock_offset: Option<SignedDuration>,
}

impl Head {
    /// That of an answer which came at `now`. `scrub` takes out what it may have repeated of secrets.
    pub(super) fn of(response: &Response, now: Timestamp, scrub: impl Fn(&str) -> String) -> Self {
        let date = response.header("date").and_then(http_date);
        let request_id = response.header("x-request-id").or_else(|| response.header("x-iam-trace-id"));
        Self {
            status: response.status,
            request_id: request_id.map(|id| shown(&scrub(id), 80)),
            // A point in time is reckoned from the service's own, where it tells it.
            retry_after: response.header("retry-after").and_then(|text| wish(text, date.unwrap_or(now))),
            clock_offset: date.map(|date| now.duration_since(date)),
        }
    }

    /// The answer as it is told to people.
    pub(super) fn refusal(&self, shape: Shape, scrub: impl Fn(&str) -> String) -> Refusal {
        let mut message = scrub(&shape.message);
        let off = self.clock_offset.map_or(0, |offset| offset.as_secs());
        // A wrong clock is a common cause of a refused signature, and the answer does not always say so.
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

    /// The same where only the body may tell. One that is encoded, though the service was asked for none, was not sent by
    /// the service.
    pub(super) fn refused_by(&self, body: &Body, scrub: impl Fn(&str) -> String) -> CloudError {
        let shape = shape_of(self, body);
        match body {
            Err(TransportError::Encoded { .. }) if (200..=299).contains(&self.status) => {
                CloudError::WrongAddress(self.refusal(shape, scrub))
            }
            _ => self.refused(shape, scrub),
        }
    }

    /// What it means that this is not the answer that was asked for.
    pub(super) fn refused(&self, shape: Shape, scrub: impl Fn(&str) -> String) -> CloudError {
        let kind = shape.kind;
        CloudError::from_answer(self.refusal(shape, scrub), kind)
    }
}

/// Whether a body broke off that would have been needed to know what the answer means. These go by their status
/// alone: 3xx, 401, 403, 429 and 5xx. One that is too long, or encoded, is not understood, but it did not break off.
pub(super) fn was_cut(head: &Head, error: &TransportError) -> bool {
    let by_status = matches!(head.status, 300..=399 | 401 | 403 | 429 | 500..);
    !by_status && !matches!(error, TransportError::TooLong { .. } | TransportError::Encoded { .. })
}

/// What a body says, as far as errors go.
pub(super) fn shape_of(head: &Head, body: &Body) -> Shape {
    match body {
        Ok(body) => shape::read(body, (200..=299).contains(&head.status)),
        Err(error) => Shape::other(chain(error)),
    }
}

/// The error with what is behind it, in one line.
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

/// How long a `Retry-After` asks to wait: seconds, or a date.
pub(super) fn wish(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    let wish = if let Ok(seconds) = text.parse() {
        Duration::from_secs(seconds)
    } else {
        // A date that lies in the past asks for no wait.
        Duration::try_from(http_date(text)?.duration_since(now)).unwrap_or_default()
    };
    Some(wish.min(LONGEST_WISH))
}
