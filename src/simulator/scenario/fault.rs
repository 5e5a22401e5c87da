//! Faults of the connection and the gateway: which requests they hit, and their effect.

use std::fmt;
use std::time::Duration;

use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer};

use crate::simulator::log::Operation;
use crate::simulator::time::{Offset, some_length};

/// One fault. The first fault that hits a request decides; every fault counts the requests that it
/// could hit.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// On which operation.
    pub on: On,
    /// On which cluster: the name of a `[[cluster]]`, or of one member of a fleet. Absent: all.
    #[serde(default)]
    pub cluster: Option<String>,
    /// The first matching request that is hit, counted from 1.
    #[serde(default = "first")]
    pub nth: u64,
    /// How many matching requests are hit from there on.
    #[serde(default)]
    pub times: Times,
    /// The probability with which each of these is hit.
    #[serde(default = "certain")]
    pub probability: f64,
    /// Only requests from this time on count.
    #[serde(default)]
    pub from: Option<Offset>,
    /// Only requests before this time count.
    #[serde(default)]
    pub until: Option<Offset>,
    /// What happens.
    pub what: What,
    /// Whether the request takes effect although the response is an error.
    #[serde(default)]
    pub taken: bool,
    /// The answer's status, for `status`.
    #[serde(default)]
    pub status: Option<u16>,
    /// The answer's error code.
    #[serde(default)]
    pub code: Option<String>,
    /// The answer's error message.
    #[serde(default)]
    pub message: Option<String>,
    /// The answer's body, word for word, instead of code and message.
    #[serde(default)]
    pub body: Option<String>,
    /// The answer's `Retry-After`, sent in whole seconds.
    #[serde(default, deserialize_with = "some_length")]
    pub retry_after: Option<Duration>,
    /// The delay of the answer, with any kind of fault.
    #[serde(default, deserialize_with = "some_length")]
    pub delay: Option<Duration>,
}

/// The operation that a fault hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum On {
    /// The list of clusters.
    List,
    /// One cluster's detail.
    Detail,
    /// A cluster's tasks, of either kind.
    Tasks,
    /// A retry.
    Retry,
    /// An abort.
    Abort,
    /// A retry or an abort.
    Put,
    /// The start of an upgrade or an AZ switchover.
    Post,
    /// The target images.
    Images,
    /// The lookup of the project.
    Projects,
    /// All of these.
    Any,
}

impl On {
    pub(crate) fn covers(self, operation: Operation) -> bool {
        match self {
            Self::List => operation == Operation::List,
            Self::Detail => operation == Operation::Detail,
            Self::Tasks => operation == Operation::Tasks,
            Self::Retry => operation == Operation::Retry,
            Self::Abort => operation == Operation::Abort,
            Self::Put => matches!(operation, Operation::Retry | Operation::Abort),
            Self::Post => matches!(operation, Operation::StartUpgrade | Operation::StartAzSwitchover),
            Self::Images => operation == Operation::Images,
            Self::Projects => operation == Operation::Projects,
            Self::Any => true,
        }
    }
}

/// The effect on a request that is hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// 202 with CSS.0011: a 2xx that means another operation runs, and nothing was done.
    #[serde(rename = "202-CSS.0011")]
    Busy,
    /// The given `status`, with `code` and `message`, or `body`, or nothing.
    Status,
    /// 400 with CSS.0036, an internal error by its text.
    BadRequest,
    /// 403 with CSS.0015.
    Forbidden,
    /// 404 with APIGW.0101: the gateway knows no such API.
    GatewayNotFound,
    /// 429 with APIGW.0308, and `Retry-After` if `retry_after` is given.
    Throttled,
    /// 500 with CSS.0005, before or (with `taken`) after the request took effect.
    ServerError,
    /// The connection ends, before or (with `taken`) after the request took effect.
    Cut,
    /// The answer is right but comes after `delay`.
    Delay,
    /// 200 with a body that is not JSON.
    Nonsense,
    /// The right answer, with only half of the body.
    Truncated,
    /// 200 with a page of HTML.
    Html,
    /// 200 with an errCode in its body.
    #[serde(rename = "200-errCode")]
    OkWithErrCode,
    /// 200 without a body: to a PUT it means accepted, without any effect.
    Empty,
}

impl What {
    /// Returns whether the answer is the right one, so that the request takes effect in any case.
    pub(crate) fn keeps_answer(self) -> bool {
        matches!(self, Self::Delay | Self::Truncated)
    }
}

/// How often something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// This number of times in a row.
    Count(u64),
    /// Always.
    Always,
}

impl Times {
    /// Returns whether the `n`th is one of those that begin with `first`.
    pub(crate) fn covers(self, first: u64, n: u64) -> bool {
        match self {
            Self::Always => n >= first,
            Self::Count(times) => n.checked_sub(first).is_some_and(|past| past < times),
        }
    }
}

impl Default for Times {
    fn default() -> Self {
        Self::Count(1)
    }
}

impl<'de> Deserialize<'de> for Times {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TimesVisitor;

        impl Visitor<'_> for TimesVisitor {
            type Value = Times;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of times, or \"always\"")
            }

            fn visit_i64<E: serde::de::Error>(self, count: i64) -> Result<Times, E> {
                u64::try_from(count)
                    .map(Times::Count)
                    .map_err(|_| E::custom("a number of times is not negative"))
            }

            fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<Times, E> {
                if word == "always" {
                    Ok(Times::Always)
                } else {
                    Err(E::invalid_value(serde::de::Unexpected::Str(word), &self))
                }
            }
        }

        deserializer.deserialize_any(TimesVisitor).map_err(D::Error::custom)
    }
}

fn first() -> u64 {
    1
}
fn certain() -> f64 {
    1.0
}
